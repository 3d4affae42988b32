//! How fast the embedded queue is: jobs sent in batches, received ten at a time, deleted singly.
//!
//! `cargo run --release --example costs -- queue 20000`

use std::time::{Duration, Instant};

use s3_migration::error::{Error, Result};
use s3_migration::job::Job;
use s3_migration::object::ObjectId;
use s3_migration::queue::Queue;
use s3_migration::queue::sqlite::SqliteQueue;
use s3_migration::sqlite::Database;

#[tokio::main]
pub async fn run(jobs: Option<String>) -> Result<()> {
    let jobs: usize = jobs.and_then(|text| text.parse().ok()).unwrap_or(20_000);
    let folder = tempfile::tempdir().map_err(|e| Error::usage(format!("no folder: {e}")))?;
    let database = Database::open(folder.path().join("queue.sqlite")).await?;
    let queue = SqliteQueue::open(&database, "throughput", 60).await?;
    let bodies: Vec<String> = (0..jobs)
        .map(|n| {
            let src = ObjectId::new("source", format!("prefix/{n:012}"));
            let des = ObjectId::new("destination", format!("prefix/{n:012}"));
            Job::copy(src, des, 4096, None).to_message()
        })
        .collect();
    let began = Instant::now();
    for batch in bodies.chunks(100) {
        queue.send(batch).await?;
    }
    let sent = began.elapsed();
    let mut deleted = 0;
    while deleted < jobs {
        for message in queue.receive(10, Duration::ZERO, Duration::from_secs(60)).await? {
            queue.delete(&message.receipt).await?;
            deleted += 1;
        }
    }
    println!(
        "{jobs} jobs: sent in {sent:.2?}, sent, received and deleted in {:.2?}",
        began.elapsed()
    );
    Ok(())
}
