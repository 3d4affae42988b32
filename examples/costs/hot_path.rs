//! What the calls that move bytes cost: `cargo run --release --example costs -- hot_path`.
//!
//! Starts a cheap S3 server of its own as a process (`costs hot_path serve`), and moves objects through
//! this one, first on the lean way and then by the SDK: small ones (one GetObject and one PutObject
//! of 4 KiB), and parts of 8 MiB, held (GetObject, MD5, UploadPart) and streamed through. Prints
//! this process's CPU time.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use s3_migration::digest;
use s3_migration::digest::lanes::Lanes;
use s3_migration::error::{Error, Result};
use s3_migration::object::{ByteRange, MIB, ObjectId};
use s3_migration::store::s3::S3Store;
use s3_migration::store::{
    Body, GetRequest, NewObject, Payload, Proof, Reads, Side, Upload, Uploads, Writes,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SMALL: u64 = 4096;
const PART: u64 = 8 * MIB;
/// Objects and parts at once.
const AT_ONCE: usize = 16;

#[tokio::main]
pub async fn run(only: Option<String>) -> Result<()> {
    if only.as_deref() == Some("serve") {
        return serve().await;
    }
    let program = std::env::current_exe().map_err(|e| Error::usage(e.to_string()))?;
    let mut server = Command::new(program)
        .args(["hot_path", "serve"])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| Error::usage(e.to_string()))?;
    let mut url = String::new();
    let output = server.stdout.take().ok_or_else(|| Error::usage("no output"))?;
    BufReader::new(output).read_line(&mut url).map_err(|e| Error::usage(e.to_string()))?;
    for way in ["lean", "sdk"] {
        if only.as_deref().is_some_and(|only| !only.starts_with(way)) {
            continue;
        }
        let store = S3Store::with_key(Side::Source, url.trim(), "key", "secret").await;
        let store = Arc::new(if way == "lean" { store } else { store.by_sdk() });
        let is =
            |what: &str| only.as_deref().is_none_or(|only| only == way || only.ends_with(what));
        if is("small") {
            measure(way, "small, CPU-ms an object", 20_000, 1e-3, |_| small(&store)).await?;
        }
        let lanes = Lanes::new();
        let gib = 1024 / (PART / MIB);
        if is("held") {
            measure(way, "held parts, CPU-s a GiB", 4 * gib, gib as f64, |i| {
                held(&store, &lanes, i)
            })
            .await?;
        }
        if is("streamed") {
            let call = |i| streamed(&store, &lanes, i);
            measure(way, "streamed parts, CPU-s a GiB", 4 * gib, gib as f64, call).await?;
        }
    }
    let _ = server.kill();
    Ok(())
}

async fn measure<F>(
    way: &str,
    what: &str,
    calls: u64,
    per: f64,
    call: impl Fn(u64) -> F,
) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    // The first ones find the bucket's place and open the connections.
    stream::iter(0..64).map(&call).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    let (cpu, start) = (cpu_seconds(), Instant::now());
    stream::iter(0..calls).map(&call).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    let (user, system) = cpu_seconds();
    let unit = calls as f64 / per;
    let (user, system) = ((user - cpu.0) / unit, (system - cpu.1) / unit);
    println!(
        "{way}: {what}: {:.3} (user {user:.3}, system {system:.3}), {:.2} s in all",
        user + system,
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

async fn small(store: &S3Store) -> Result<()> {
    let answer = store.get(&request(SMALL)).await?;
    let body = answer.body.try_collect::<BytesMut>().await?.freeze();
    let proof = digest::md5(&body).into();
    store.put(&ObjectId::new("bucket", "small"), &NewObject::default(), body, proof).await?;
    Ok(())
}

async fn held(store: &S3Store, lanes: &Lanes, number: u64) -> Result<()> {
    let mut body = store.get(&request(PART)).await?.body;
    let mut bytes = BytesMut::with_capacity(PART as usize);
    let mut hasher = lanes.hasher();
    while let Some(chunk) = body.try_next().await? {
        bytes.extend_from_slice(&chunk);
        hasher.push(chunk).await;
    }
    let proof = Proof::from(hasher.finish().await.expect("a digest"));
    let payload = Payload::Held { bytes: bytes.freeze(), proof };
    store.upload_part(&upload(), number as u32 + 1, payload).await?;
    Ok(())
}

async fn streamed(store: &S3Store, lanes: &Lanes, number: u64) -> Result<()> {
    let body = store.get(&request(PART)).await?.body;
    let hashing = stream::try_unfold((body, lanes.hasher()), |(mut body, mut hasher)| async move {
        let Some(chunk) = body.try_next().await? else {
            hasher.finish().await.expect("a digest");
            return Ok(None);
        };
        hasher.push(chunk.clone()).await;
        Ok::<_, Error>(Some((chunk, (body, hasher))))
    });
    let payload = Payload::Streamed { body: Body::new(hashing, PART), trailer: false };
    store.upload_part(&upload(), number as u32 + 1, payload).await?;
    Ok(())
}

fn request(len: u64) -> GetRequest {
    let range = Some(ByteRange { start: 0, len });
    GetRequest { id: ObjectId::new("bucket", "key"), version: None, range, if_match: None }
}

fn upload() -> Upload {
    Upload { target: ObjectId::new("bucket", "key"), id: "upload".to_owned() }
}

/// Answers GET with as many bytes as the range says, and takes every PUT.
async fn serve() -> Result<()> {
    let failed = |e: std::io::Error| Error::usage(e.to_string());
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
    println!("http://{}", listener.local_addr().map_err(failed)?);
    let zeros = Bytes::from(vec![0; PART as usize]);
    loop {
        let (stream, _) = listener.accept().await.map_err(failed)?;
        let zeros = zeros.clone();
        tokio::spawn(async move { drop(connection(stream, zeros).await) });
    }
}

async fn connection(mut stream: TcpStream, zeros: Bytes) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = BytesMut::with_capacity(1 << 20);
    loop {
        let end = loop {
            match buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None if stream.read_buf(&mut buffer).await? == 0 => return Ok(()),
                None => {}
            }
        };
        let head = String::from_utf8_lossy(&buffer.split_to(end)).to_lowercase();
        let value = |name: &str| {
            let (_, rest) = head.split_once(name)?;
            rest.lines().next().map(|line| line.trim().to_owned())
        };
        if head.starts_with("get") {
            let last = value("bytes=0-").and_then(|text| text.parse().ok()).unwrap_or(0);
            let answer = format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nETag: \"e\"\r\n\
                 Content-Type: text/plain\r\nContent-Range: bytes 0-{last}/{PART}\r\n\r\n",
                last + 1
            );
            stream.write_all(answer.as_bytes()).await?;
            stream.write_all(&zeros[..=last]).await?;
        } else {
            let mut left = value("content-length:").and_then(|text| text.parse().ok()).unwrap_or(0);
            while left > buffer.len() {
                left -= buffer.len();
                buffer.clear();
                stream.read_buf(&mut buffer).await?;
            }
            drop(buffer.split_to(left));
            buffer.reserve(1 << 20);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: \"e\"\r\n\r\n";
            stream.write_all(answer).await?;
        }
    }
}

/// User and system time of this process so far, in seconds (proc(5), ticks of 10 ms).
fn cpu_seconds() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(2).filter_map(|text| text.parse().ok()).collect();
    match ticks[..] {
        [user, system] => (user / 100.0, system / 100.0),
        _ => (0.0, 0.0),
    }
}
