//! Objects that take more than one turn: what is held against them, and what is not.

use std::time::Duration;

use s3_migration::queue::sqlite::SqliteQueue;
use s3_migration::queue::{Depth, Queue};
use s3_migration::sqlite::Database;

use crate::bench::{Bench, LARGE};
use testkit::local::{BUCKETS, SQLITE, noise};
use testkit::process::until;
use testkit::proxy::{Fault, Rule};

/// An object in three parts, its job in an embedded queue that allows two receipts, and a worker's
/// settings.
async fn bench(job_timeout: &str) -> (Bench, SqliteQueue) {
    let mut bench = Bench::empty().await;
    bench.local.embedded();
    for (key, value) in [("MaxReceiveCount", "2"), ("JobTimeout", job_timeout), ("GraceTime", "0")]
    {
        bench.local.set(key, value);
    }
    bench.put("large", noise(LARGE, 0)).await;
    bench.local.run(&["jobsender"]).await.with_status(0);
    let database = Database::open(bench.local.work().join(SQLITE)).await.unwrap();
    let queue = SqliteQueue::open(&database, "s3_migration_file_list", 2).await.unwrap();
    (bench, queue)
}

// Each turn sends parts, and none can use what the one before has sent.
/// Promise 7.
#[tokio::test]
async fn an_object_that_is_replaced_in_every_turn_comes_to_an_end() {
    let (bench, queue) = bench("1").await;
    // Nothing is ever completed.
    let held = bench.destination.inject(1, vec![Rule::on("UploadPart", Fault::Hold).part(3)]);
    let worker = bench.local.spawn(&["worker"]);
    let replaced = async {
        for turn in 1.. {
            held.held_at_least(turn).await;
            let put = bench.local.source.client.put_object().bucket(BUCKETS[0]).key("large");
            put.body(noise(LARGE, turn).into()).send().await.expect("PutObject");
        }
    };
    tokio::select! {
        () = replaced => {}
        () = until("a dead letter", async || queue.depth().await.unwrap().dead == Some(1)) => {}
    }
    worker.signal("TERM");
    let ended = worker.ended().await.with_status(0);
    assert!(ended.stderr.contains("given up, receipt 2"), "{}", ended.all());
    let status = bench.local.run(&["status", "--json"]).await.with_status(0).json();
    assert_eq!((&status["done"], &status["failed"]), (&0.into(), &1.into()), "{status}");
}

// Large parts on a slow line: if all were cut whenever the time is used up, none would ever arrive.
/// Promise 7.
#[tokio::test]
async fn where_no_part_arrives_in_time_one_is_waited_for() {
    let (bench, queue) = bench("6").await;
    let slow = Rule::on("UploadPart", Fault::Delay(Duration::from_secs(7)));
    bench.destination.inject(1, vec![slow]);
    let worker = bench.local.spawn(&["worker"]);
    until("an empty queue", async || queue.is_empty().await.unwrap()).await;
    worker.signal("TERM");
    worker.ended().await.with_status(0);
    bench.assert_arrived().await;
    assert!(matches!(queue.depth().await.unwrap(), Depth { dead: Some(0), .. }));
}
