//! Leases between processes: a second process holds a message and is killed.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use s3_migration::queue::Queue;
use s3_migration::queue::lease::Lease;
use s3_migration::queue::sqlite::SqliteQueue;
use s3_migration::sqlite::Database;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::conformance::queue::{HIDDEN, take_one};

/// Names the file to the second process, which is this test binary once more.
const FILE: &str = "S3_MIGRATION_TEST_QUEUE_FILE";

/// What the second process says once it holds the message.
const HELD: &str = "the-message-is-held";

/// Long enough for heartbeats to come through on a busy machine.
const VISIBILITY: Duration = Duration::from_secs(6);

async fn open(file: impl AsRef<Path>) -> SqliteQueue {
    let db = Database::open(file).await.unwrap();
    SqliteQueue::open(&db, "jobs", 5).await.unwrap()
}

/// The second process: receives, holds, and lives until it is killed or left alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_process() {
    let Some(file) = std::env::var_os(FILE) else { return };
    let queue = open(file).await;
    let message = take_one(&queue, VISIBILITY).await;
    let lease = Lease::hold(Arc::new(queue), message, VISIBILITY, &CancellationToken::new());
    println!("{HELD}");
    // Blocks this thread alone; the heartbeat runs on the runtime's.
    let _ = std::io::stdin().read_line(&mut String::new());
    drop(lease);
}

async fn start_second_process(file: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "conformance::processes::second_process", "--nocapture"])
        .env(FILE, file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.contains(HELD) {
            return child;
        }
    }
    panic!("the second process ended without a message");
}

/// Promise 7.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_held_by_a_killed_process_comes_back_when_its_lease_ends() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("queue.sqlite");
    let queue = open(&file).await;
    queue.send(&["one".to_owned()]).await.unwrap();
    let mut child = start_second_process(&file).await;
    assert_eq!(queue.depth().await.unwrap().running, 1);
    // Longer than one visibility: only the other process's heartbeat keeps the message hidden.
    let seen = queue.receive(1, VISIBILITY + Duration::from_secs(2), HIDDEN).await.unwrap();
    assert!(seen.is_empty(), "{seen:?}");
    // SIGKILL.
    child.kill().await.unwrap();
    let message = take_one(&queue, HIDDEN).await;
    assert_eq!((message.body.as_str(), message.receive_count), ("one", 2));
    queue.delete(&message.receipt).await.unwrap();
}
