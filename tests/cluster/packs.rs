//! Many small objects in one message: what they cost, and what becomes of one that fails.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use s3_migration::estimate::work::{Messages, Work};
use s3_migration::estimate::{Estimate, PricedPlaces, TransferWay, estimate};
use serde_json::{Value, json};

use crate::ledger::{BOARD_CALLS, Ledger};
use testkit::resources;
use testkit::stage::{MIB, Stage, noise, ran};

const SMALL: u64 = 1000;
const LARGE: u64 = 3;

/// A thousand small objects and a few in parts.
async fn fill(stage: &Stage) {
    let small = stream::iter(0..SMALL).map(|n| async move {
        stage.put_source(&format!("small/{n:04}"), &noise(100, n)).await;
    });
    small.buffer_unordered(16).collect::<Vec<()>>().await;
    for n in 0..LARGE {
        stage.put_source(&format!("large/{n}"), &noise(9 * MIB, n)).await;
    }
}

fn sum(counts: &BTreeMap<String, u64>, names: &[&str]) -> u64 {
    names.iter().filter_map(|name| counts.get(*name)).sum()
}

/// Promise 1.
#[tokio::test]
async fn a_thousand_small_objects_cost_one_request_in_twenty_five() {
    let stage = Stage::put(5).await;
    fill(&stage).await;
    let ledger = Ledger::before(stage.server.address()).await;
    let mut jobsender = stage.program(&["jobsender", "--json"]);
    jobsender.env("AWS_ENDPOINT_URL", ledger.url());
    let sent = ran(jobsender).await;
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let sent: Value = serde_json::from_str(&sent.stdout).expect("JSON");
    assert_eq!((&sent[0]["to_copy"], &sent[0]["messages"]), (&json!(1003), &json!(13)), "{sent}");
    assert_eq!(stage.depth().await, (13, 0));

    let mut worker = stage.worker(&[("AWS_ENDPOINT_URL", ledger.url())]);
    stage.until_done(SMALL + LARGE).await;
    let counts = ledger.counts();
    worker.terminate().await;
    assert_eq!(worker.ended().await.code(), Some(0), "{}", worker.log());

    assert!(counts[BOARD_CALLS] > 0, "{counts:?}");
    // How often a lease is extended is a matter of time.
    let queue = ["SendMessageBatch", "ReceiveMessage", "DeleteMessage"];
    assert!(sum(&counts, &queue) <= SMALL / 25, "{counts:?}");
    // Each object in parts has its begin, its seal and its end.
    let in_parts = 3 * LARGE;
    assert!(counts["UpdateItem"] >= in_parts, "{counts:?}");
    let table = ["BatchExecuteStatement", "UpdateItem"];
    assert!(sum(&counts, &table) - in_parts <= SMALL / 25, "{counts:?}");
    // The jobsender looks for notes of what was sent, leaves one for each request to the queue, and the
    // accounts; it and the worker look for what is known of both stores.
    let notes = sum(&counts, &["SendMessageBatch"]) + 1 + 2 + 2;
    assert!(sum(&counts, &["PutItem", "BatchGetItem"]) <= notes, "{counts:?}");
    // Those are looked up as well; nothing small is.
    assert!(sum(&counts, &["GetItem"]) <= 2 * LARGE, "{counts:?}");
    as_estimated(&counts);

    let again = stage.run(&["jobsender", "--json"]).await;
    let again: Value = serde_json::from_str(&again.stdout).expect("JSON");
    assert_eq!(again[0]["already_there"], SMALL + LARGE, "{again}");
    let record = stage.record("small/0500").await;
    for (name, expected) in [
        ("tryTimes", "1"),
        ("Size", "100"),
        ("versionId", "null"),
        ("desKey", "moved/small/0500"),
        ("lastTimeProgress", "100"),
    ] {
        assert_eq!(record[name], expected, "{name} of {record}");
    }
}

/// What a dry run says of queue and table is what they are asked.
fn as_estimated(counts: &BTreeMap<String, u64>) {
    let messages = Messages { packs: SMALL / 100, singles: LARGE };
    let mut work = Work { messages, ..Work::default() };
    (0..SMALL).for_each(|_| work.copy(100, None, None));
    (0..LARGE).for_each(|_| work.copy(9 * MIB as u64, None, None));
    let [source, destination, queue, table] = [None; 4];
    let places = PricedPlaces { source, destination, queue, table, way: TransferWay::Internet };
    let Estimate { queue, table, .. } = estimate(&work, &places);
    assert_eq!(queue.send, counts["SendMessageBatch"], "{counts:?}");
    assert_eq!(queue.delete, counts["DeleteMessage"], "{counts:?}");
    assert_eq!(table.read, counts["GetItem"], "{counts:?}");
    assert_eq!(table.write, SMALL + 3 * LARGE);
}

/// Promise 1.
#[tokio::test]
async fn one_object_of_a_pack_that_is_gone_fails_by_itself() {
    let stage = Stage::put(5).await;
    for n in 0..30 {
        stage.put_source(&format!("{n:02}"), &noise(10, n)).await;
    }
    assert_eq!(stage.run(&["jobsender"]).await.code, Some(0));
    assert_eq!(stage.depth().await, (1, 0));
    let client = resources::s3(stage.at_source());
    let gone = client.delete_object().bucket(&stage.source).key("17");
    gone.send().await.expect("DeleteObject");

    let _worker = stage.worker(&[]);
    let (letter, reason) = stage.dead_letter().await;
    let letter: Value = serde_json::from_str(&letter).expect("a plain job");
    assert_eq!((&letter["Src_key"], &letter["Des_key"]), (&json!("17"), &json!("moved/17")));
    assert!(reason.expect("a reason").contains("GetObject"));
    stage.until_done(29).await;
    let failed = stage.records("FAILED").await;
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0]["desKey"], "moved/17");
    assert_eq!(stage.arrived_keys().await.len(), 29);
    let status = stage.status().await;
    assert_eq!((&status["done"], &status["failed"]), (&json!(29), &json!(1)), "{status}");
}
