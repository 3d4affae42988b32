//! The memory of an endpoint stays flat with the size of an object, and small with their number. In a
//! process of its own, because the peak is that of the whole process.

use std::process::Command;
use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{BUCKET, Lab, MIB};

const OBJECTS: usize = 3_000;
const SIZE: usize = 128 * MIB;
/// Several times what the buffers of one call take, and a small part of the object.
const ALLOWED_KIB: u64 = 16 * 1024;

#[tokio::test]
async fn a_large_object_passes_through_little_memory() {
    if !is_alone("memory::a_large_object_passes_through_little_memory") {
        return;
    }
    let lab = Lab::new().await;
    lab.put("warm", vec![1; MIB]).await;
    lab.get("warm").await;
    many_small_objects_take_little_memory(&lab).await;
    let put = lab.signed_put("k").await;
    let expiry = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let get = lab.client.get_object().bucket(BUCKET).key("k").presigned(expiry).await.unwrap();
    let before = peak_kib();

    let mut stream = request(&lab, &format!("PUT {put}"), SIZE).await;
    let chunk = vec![7; MIB];
    for _ in 0..SIZE / MIB {
        stream.write_all(&chunk).await.unwrap();
    }
    assert!(drain(stream).await > 0);
    assert_eq!(lab.endpoint.stats()["PutObject"].bytes_in, (SIZE + MIB + OBJECTS) as u64);

    let stream = request(&lab, &format!("GET {}", get.uri()), 0).await;
    assert!(drain(stream).await > SIZE);
    let grown = peak_kib() - before;
    assert!(grown < ALLOWED_KIB, "the peak grew by {grown} KiB");
}

/// Each would keep the buffer of its request alive, if a header were kept as it came.
async fn many_small_objects_take_little_memory(lab: &Lab) {
    let before = peak_kib();
    for n in 0..OBJECTS {
        lab.put(&format!("small/{n}"), vec![1]).await;
    }
    let grown = peak_kib() - before;
    assert!(grown < ALLOWED_KIB, "{OBJECTS} objects took {grown} KiB");
}

/// Whether the test is alone in its process; if not, it has been run again in one, and has passed there.
/// (`testkit` has the same for the tests of the main package, and depends on this crate.)
fn is_alone(test: &str) -> bool {
    const ALONE: &str = "S3_ENDPOINT_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut again = Command::new(std::env::current_exe().unwrap());
    let ended = again.args(["--exact", test, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let said = [ended.stdout, ended.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    // No test of another name would pass as well.
    let has_passed = ended.status.success() && said[0].contains("1 passed");
    assert!(has_passed, "{test} in a process of its own: {}\n{}", said[0], said[1]);
    false
}

async fn request(lab: &Lab, line: &str, length: usize) -> TcpStream {
    let base = lab.endpoint.url();
    let host = base.strip_prefix("http://").unwrap();
    let line = line.replace(&base, "");
    let mut stream = TcpStream::connect(host).await.unwrap();
    let head = format!(
        "{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// Reads to the end; how many bytes there were.
async fn drain(mut stream: TcpStream) -> usize {
    let (mut buffer, mut total) = (vec![0; MIB], 0);
    loop {
        match stream.read(&mut buffer).await.unwrap() {
            0 => return total,
            read => total += read,
        }
    }
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse().unwrap()
}
