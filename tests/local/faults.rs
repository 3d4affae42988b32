//! What goes wrong between the steps, with an object or with the worker itself.

use std::sync::Arc;

use s3_migration::queue::sqlite::SqliteQueue;
use s3_migration::queue::{Depth, Queue};
use s3_migration::sqlite::Database;

use testkit::gate::Hold;
use testkit::local::{ALL, Local, MIB, SQLITE, noise};
use testkit::process::until;

pub async fn queue(local: &Local) -> SqliteQueue {
    let database = Database::open(local.work().join(SQLITE)).await.unwrap();
    SqliteQueue::open(&database, "s3_migration_file_list", 60).await.unwrap()
}

/// Promise 8.
#[tokio::test]
async fn an_object_completed_but_not_recorded_is_known_by_its_seal() {
    let gate = Hold::new("CompleteMultipartUpload", 0);
    let mut local = Local::gated(Some(Arc::clone(&gate))).await;
    local.embedded();
    local.set("VisibilityTimeout", "10");
    let body = noise(3 * 5 * MIB, 1);
    local.source.put("large", body.clone()).await;
    local.run(&["jobsender"]).await.with_status(0);
    let first = local.spawn(&["worker"]);
    gate.reached().await;

    // Nothing can be put on record from here on: the completion arrives, its outcome does not.
    let books = rusqlite::Connection::open(local.work().join(SQLITE)).unwrap();
    books.execute_batch("BEGIN IMMEDIATE").unwrap();
    gate.open();
    until("the object", async || local.destination.keys().await == ["large"]).await;
    first.kill().await;
    books.execute_batch("ROLLBACK").unwrap();
    drop(books);

    let second = local.spawn(&["worker"]);
    let queue = queue(&local).await;
    until("an empty queue", async || queue.is_empty().await.unwrap()).await;
    second.signal("TERM");
    second.ended().await.with_status(0);
    assert_eq!(local.destination.requests("UploadPart"), 3, "no part is sent again");
    assert_eq!(local.destination.requests("CreateMultipartUpload"), 1);
    assert_eq!(queue.depth().await.unwrap(), Depth { waiting: 0, running: 0, dead: Some(0) });
    assert!(local.destination.get("large").await == body);
    let status = local.run(&["status", "--json"]).await.with_status(0).json();
    assert_eq!((&status["done"], &status["failed"]), (&1.into(), &0.into()));
}

/// Promises 0, 9.
#[tokio::test]
async fn a_worker_with_wrong_credentials_stops_and_buries_nothing() {
    let mut local = Local::new().await;
    local.embedded();
    for n in 0..20 {
        local.source.put(&format!("object/{n}"), noise(10, n)).await;
    }
    local.run(&["jobsender"]).await.with_status(0);
    local.spoil_credentials(1, Some("another+Secret"), None);
    let ended = local.run(&["worker"]).await.with_status(3);
    ended.says(&["SignatureDoesNotMatch", "destination", "secret access key"]);
    let depth = queue(&local).await.depth().await.unwrap();
    assert_eq!((depth.waiting + depth.running, depth.dead), (1, Some(0)), "the pack of all 20");
    let status = local.run(&["status", "--json"]).await.with_status(0).json();
    assert_eq!(status["failed"], 0);
}

/// Promise 1.
#[tokio::test]
async fn a_key_that_would_be_too_long_is_named_and_the_others_arrive() {
    let local = Local::new().await;
    let long = "k".repeat(1020);
    local.source.put(&long, vec![1]).await;
    local.source.put("short", vec![2]).await;
    let ended = local.run(&["run", ALL[0], "s3://to-there/backup"]).await.with_status(1);
    for words in [
        "1027 bytes",
        "choose a shorter prefix",
        "impossible",
        "1 of 2 objects impossible, each is named in the log",
    ] {
        assert!(ended.all().contains(words), "no {words:?} in {}", ended.all());
    }
    assert_eq!(local.destination.keys().await, ["backup/short"]);
}

/// The most memory that a process has had, in MiB (`VmHWM`, proc_pid_status(5)).
fn peak_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() / 1024
}

/// Promise 6.
#[tokio::test]
async fn a_part_larger_than_the_memory_passes_through_it() {
    let mut local = Local::new().await;
    local.embedded();
    local.set("MaxMemory", "16");
    local.set("ChunkSize", "128");
    let body = noise(300 * MIB, 1);
    local.source.put("large", body.clone()).await;
    local.run(&["jobsender"]).await.with_status(0);
    let worker = local.spawn(&["worker"]);
    let queue = queue(&local).await;
    until("an empty queue", async || queue.is_empty().await.unwrap()).await;
    let peak = peak_mib(worker.id());
    worker.signal("TERM");
    worker.ended().await.with_status(0);
    assert_eq!(local.destination.requests("UploadPart"), 3);
    assert!(local.destination.get("large").await == body);
    assert!(peak <= 16 + 64, "{peak} MiB");
}

/// Promise 2.
#[tokio::test]
async fn a_source_replaced_while_it_is_copied_arrives_new_and_whole() {
    let gate = Hold::new("UploadPart", 2);
    let mut local = Local::gated(Some(Arc::clone(&gate))).await;
    local.set("MaxThread", "1");
    local.source.put("large", noise(5 * 5 * MIB, 1)).await;
    let run = local.spawn(&["run", ALL[0], ALL[1]]);
    gate.reached().await;
    local.source.put("large", noise(5 * 5 * MIB, 2)).await;
    gate.open();
    run.ended().await.with_status(0);
    assert!(local.destination.get("large").await == noise(5 * 5 * MIB, 2));
    assert_eq!(local.destination.uploads().await, 0, "the upload of the old one is given up");
}
