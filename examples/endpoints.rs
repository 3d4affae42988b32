//! Two S3 endpoints on loopback to try `run` by hand and to measure it.
//!
//! `cargo run --release --example endpoints -- FOLDER SMALL_OBJECTS LARGE_MIB` fills the source
//! with this many objects of 4 KiB and one large one, writes FOLDER/run.ini, and prints the command
//! to run. At end of input (Ctrl-D) it prints how often each S3 operation was asked, and ends.

use std::path::PathBuf;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use s3_endpoint::{Endpoint, EndpointOptions};
use s3_migration::digest;
use s3_migration::error::{Error, Result};
use s3_migration::object::{MIB, ObjectId};
use s3_migration::store::s3::S3Store;
use s3_migration::store::{NewObject, Part, Payload, Side, Uploads, Writes};

const KEY: (&str, &str) = ("EXAMPLEKEY", "not-a-secret-it-opens-loopback-only");
const SMALL_BYTES: usize = 4096;
const LARGE_PART: u64 = 16 * MIB;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map(PathBuf::from);
    let folder = folder.ok_or_else(|| Error::usage("name a folder for the endpoints' data"))?;
    let mut number = || arguments.next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let (small, large_mib) = (number(), number());
    let source = start(&folder, "source").await?;
    let destination = start(&folder, "destination").await?;
    fill(&source.url(), small, large_mib).await?;
    let ini = folder.join("run.ini");
    let text = format!(
        "[Source]\nEndpoint = {}\n[Destination]\nEndpoint = {}\n[Backend]\nPath = {}\n",
        source.url(),
        destination.url(),
        folder.join("run.sqlite").display()
    );
    std::fs::write(&ini, text).map_err(|e| Error::usage(format!("{}: {e}", ini.display())))?;
    println!(
        "AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={} AWS_REGION=us-east-1 \
         s3-migration --config {} run s3://source s3://destination",
        KEY.0,
        KEY.1,
        ini.display()
    );
    let input =
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    let _ = input.await;
    for (side, endpoint) in [("source", &source), ("destination", &destination)] {
        for (operation, stats) in endpoint.stats() {
            println!("{side} {operation} {}", stats.requests);
        }
    }
    Ok(())
}

async fn start(folder: &std::path::Path, bucket: &str) -> Result<Endpoint> {
    Endpoint::start(EndpointOptions {
        folder: folder.join(bucket),
        access_key: KEY.0.to_owned(),
        secret_key: KEY.1.to_owned(),
        buckets: vec![bucket.to_owned()],
        gate: None,
        own_etags: false,
    })
    .await
    .map_err(|error| Error::usage(error.to_string()))
}

async fn fill(url: &str, small: u64, large_mib: u64) -> Result<()> {
    let store = S3Store::with_key(Side::Source, url, KEY.0, KEY.1).await;
    let (store, new) = (&store, &NewObject::default());
    let piece = |seed: u64, len: usize| {
        let mut bytes = vec![0; len];
        fastrand::Rng::with_seed(seed).fill(&mut bytes);
        Bytes::from(bytes)
    };
    stream::iter(0..small)
        .map(|n| async move {
            let (id, body) =
                (ObjectId::new("source", format!("small/{n:07}")), piece(n, SMALL_BYTES));
            store.put(&id, new, body.clone(), digest::md5(&body).into()).await
        })
        .buffer_unordered(16)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    if large_mib == 0 {
        return Ok(());
    }
    let upload = store.create_upload(&ObjectId::new("source", "large"), new).await?.upload;
    let (mut parts, mut left) = (Vec::new(), large_mib * MIB);
    while left > 0 {
        let (number, size) = (parts.len() as u32 + 1, left.min(LARGE_PART));
        let body = piece(u64::from(number), size as usize);
        let payload = Payload::Held { proof: digest::md5(&body).into(), bytes: body };
        let written = store.upload_part(&upload, number, payload).await?;
        parts.push(Part { number, size, etag: written.etag, crc64nvme: None });
        left -= size;
    }
    store.complete_upload(&upload, &parts, None).await.map(|_| ())
}
