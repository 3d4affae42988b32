//! Many small objects in one message: what a run sends, and what ends a worker in the middle.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use s3_endpoint::{Gate, Passage};
use s3_migration::queue::sqlite::SqliteQueue;
use s3_migration::queue::{Depth, Queue};
use s3_migration::sqlite::Database;

use testkit::gate::Hold;
use testkit::local::{ALL, Local, MIB, SQLITE, noise};
use testkit::process::{Running, until};

const OBJECTS: u64 = 30;
/// This many of them arrive before the next PUT is held.
const ARRIVED: u64 = 10;
/// PUTs that are under way when it is held.
const AT_ONCE: u64 = 2;

async fn queue(local: &Local, max_receives: u32) -> SqliteQueue {
    let database = Database::open(local.work().join(SQLITE)).await.unwrap();
    SqliteQueue::open(&database, "s3_migration_file_list", max_receives).await.unwrap()
}

/// A source of small objects, this many to a message.
async fn packs_of(objects: u64, gate: Option<Arc<Hold>>) -> Local {
    let mut local = Local::gated(gate).await;
    for n in 0..OBJECTS {
        local.source.put(&format!("{n:02}"), noise(100, n)).await;
    }
    local.embedded();
    local.set("PackObjects", &objects.to_string());
    local
}

/// One pack in the queue, and a worker held in the middle of it.
async fn a_worker_in_a_pack(visibility_seconds: u32) -> (Local, Arc<Hold>, Running) {
    let gate = Hold::new("PutObject", ARRIVED);
    let mut local = packs_of(OBJECTS, Some(Arc::clone(&gate))).await;
    local.set("MaxParallelFile", "1");
    local.set("MaxThread", &AT_ONCE.to_string());
    local.set("VisibilityTimeout", &visibility_seconds.to_string());
    let sent = local.run(&["jobsender", "--json"]).await.with_status(0).json();
    assert_eq!((&sent[0]["to_copy"], &sent[0]["messages"]), (&OBJECTS.into(), &1.into()));
    let worker = local.spawn(&["worker"]);
    gate.reached().await;
    (local, gate, worker)
}

async fn finish(local: &Local, worker: Running) {
    let queue = queue(local, 60).await;
    until("an empty queue", async || queue.is_empty().await.unwrap()).await;
    worker.signal("TERM");
    worker.ended().await.with_status(0);
    for n in 0..OBJECTS {
        assert_eq!(local.destination.get(&format!("{n:02}")).await, noise(100, n), "{n}");
    }
    let status = local.run(&["status", "--json"]).await.with_status(0).json();
    for (name, expected) in [("done", OBJECTS), ("failed", 0), ("dead", 0), ("waiting", 0)] {
        assert_eq!(status[name], expected, "{name} of {status}");
    }
}

/// Promise 7.
#[tokio::test]
async fn a_pack_of_a_killed_worker_is_done_by_another() {
    let (local, gate, first) = a_worker_in_a_pack(10).await;
    first.kill().await;
    gate.forget();
    let second = local.spawn(&["worker"]);
    finish(&local, second).await;
}

/// Promise 7.
#[tokio::test]
async fn a_worker_told_to_stop_records_what_is_done_and_hands_back_the_rest() {
    // Whoever had to wait for the lease would wait longer than the test does.
    let (local, gate, mut first) = a_worker_in_a_pack(3600).await;
    first.signal("TERM");
    first.logs("stopping: running parts finish").await;
    gate.open();
    first.ended().await.with_status(0);
    let arrived = local.destination.keys().await.len() as u64;
    assert!((ARRIVED + 1..=ARRIVED + AT_ONCE).contains(&arrived), "no other began: {arrived}");
    let status = local.run(&["status", "--json"]).await.with_status(0).json();
    assert_eq!((&status["done"], &status["waiting"]), (&arrived.into(), &1.into()), "{status}");
    let queue = queue(&local, 60).await;
    let expected = Depth { waiting: 1, running: 0, dead: Some(0) };
    assert_eq!(queue.depth().await.unwrap(), expected, "the rest is one message again");

    let second = local.spawn(&["worker"]);
    finish(&local, second).await;
    assert_eq!(local.source.requests("GetObject"), OBJECTS, "nothing is read twice");
}

/// Promise 7.
#[tokio::test]
async fn what_of_a_pack_outlasts_its_time_goes_on_in_another_message() {
    let gate = Hold::new("PutObject", ARRIVED);
    let mut local = packs_of(OBJECTS, Some(Arc::clone(&gate))).await;
    local.set("JobTimeout", "5");
    local.set("GraceTime", "0");
    local.run(&["jobsender"]).await.with_status(0);
    let mut worker = local.spawn(&["worker"]);
    // Everything has been read, and what is not held has arrived.
    local.asked("PutObject", OBJECTS).await;
    worker.logs("not finished within JobTimeout of 5 s").await;
    gate.forget();
    finish(&local, worker).await;
    let again = OBJECTS - ARRIVED;
    for requests in [local.source.requests("GetObject"), local.destination.requests("PutObject")] {
        assert_eq!(requests, OBJECTS + again, "what was done is not done again");
    }
}

#[tokio::test]
async fn all_packs_of_a_worker_share_one_ceiling() {
    let gate = Hold::new("PutObject", 0);
    let mut local = packs_of(10, Some(Arc::clone(&gate))).await;
    local.set("MaxParallelFile", "2");
    local.set("MaxThread", "3");
    local.run(&["jobsender"]).await.with_status(0);
    let worker = local.spawn(&["worker"]);
    local.asked("PutObject", 6).await;
    // Long enough for all the others, if nothing kept them.
    let status = local.run(&["status", "--json"]).await.with_status(0).json();
    assert_eq!((&status["waiting"], &status["running"]), (&1.into(), &2.into()), "{status}");
    assert_eq!(local.destination.requests("PutObject"), 6, "2 x 3 at once, of two packs of 10");
    // The destination alone is not asked for more at once either: but then all the others of both
    // packs would have been read by now, and would wait for it.
    assert_eq!(local.source.requests("GetObject"), 6, "nothing is read that has no room");
    gate.open();
    finish(&local, worker).await;
}

/// Promise 1.
#[tokio::test]
async fn a_run_of_many_small_objects_sends_few_messages() {
    let local = Local::new().await;
    for n in 0..1000 {
        local.source.put(&format!("small/{n:04}"), noise(100, n)).await;
    }
    for n in 0..2 {
        local.source.put(&format!("large/{n}"), noise(6 * MIB, n)).await;
    }
    let frozen = local.source.client.put_object().bucket("from-here").key("small/0500");
    frozen.storage_class("GLACIER".into()).body(vec![1].into()).send().await.unwrap();

    let ended = local.run(&["run", ALL[0], ALL[1], "--json"]).await.with_status(1);
    let report = ended.json();
    let compared = &report["compared"];
    assert_eq!((&compared["to_copy"], &compared["messages"]), (&1002.into(), &12.into()));
    assert_eq!((&report["copied"], &report["failed_count"]), (&1001.into(), &1.into()));
    let closing = &report["closing"];
    assert_eq!((&closing["already_there"], &closing["archived"]), (&1001.into(), &1.into()));
    // The large ones are streamed in one piece.
    assert_eq!(local.destination.requests("PutObject"), 1001);
}

#[tokio::test]
async fn objects_have_messages_of_their_own_where_that_is_wanted() {
    let mut local = Local::new().await;
    local.embedded();
    local.set("PackObjects", "1");
    for n in 0..5 {
        local.source.put(&format!("{n}"), noise(10, n)).await;
    }
    let sent = local.run(&["jobsender"]).await.with_status(0);
    assert!(sent.stdout.contains("in                        5 messages"), "{}", sent.all());
    let bodies = queue(&local, 60).await.receive(9, Default::default(), SECOND).await.unwrap();
    assert!(bodies.iter().all(|message| message.body.starts_with("{\"Src_bucket\"")));
    assert_eq!(bodies.len(), 5);
}

const SECOND: std::time::Duration = std::time::Duration::from_secs(1);

/// Lets every other part pass and holds the ones between for good.
struct EveryOther(AtomicU64);

#[async_trait::async_trait]
impl Gate for EveryOther {
    async fn before(&self, operation: &str, _: &str, _: &str) -> Passage {
        match operation == "UploadPart" && self.0.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
            true => std::future::pending().await,
            false => Passage::Free,
        }
    }
}

/// Promise 7.
#[tokio::test]
async fn an_object_that_advances_is_never_given_up_however_many_turns_it_takes() {
    let mut local = Local::gated(Some(Arc::new(EveryOther(AtomicU64::new(0))))).await;
    local.embedded();
    // One part takes a fraction of a second; the rest of the time is for a machine under load.
    for (key, value) in
        [("MaxThread", "1"), ("MaxReceiveCount", "2"), ("JobTimeout", "8"), ("GraceTime", "0")]
    {
        local.set(key, value);
    }
    // One part a turn: three turns are cut, more than the queue allows receipts.
    let body = noise(3 * 5 * MIB + 1, 1);
    local.source.put("large", body.clone()).await;
    local.run(&["jobsender"]).await.with_status(0);
    let worker = local.spawn(&["worker"]);
    let queue = queue(&local, 2).await;
    until("an empty queue", async || queue.is_empty().await.unwrap()).await;
    worker.signal("TERM");
    worker.ended().await.with_status(0);
    assert!(local.destination.get("large").await == body);
    assert_eq!(queue.depth().await.unwrap().dead, Some(0));
    let status = local.run(&["status", "--json"]).await.with_status(0).json();
    assert_eq!((&status["done"], &status["failed"]), (&1.into(), &0.into()), "{status}");
    assert_eq!(local.destination.requests("CreateMultipartUpload"), 1);
    assert_eq!(local.destination.requests("UploadPart"), 7, "three of them were held");
}

/// Promise 7.
#[tokio::test]
async fn an_object_that_never_advances_is_given_up_after_its_receipts() {
    let gate = Hold::new("UploadPart", 0);
    let mut local = Local::gated(Some(Arc::clone(&gate))).await;
    local.embedded();
    for (key, value) in [("MaxReceiveCount", "2"), ("JobTimeout", "1"), ("GraceTime", "0")] {
        local.set(key, value);
    }
    local.set("StreamThreshold", "0");
    local.source.put("large", noise(6 * MIB, 1)).await;
    local.run(&["jobsender"]).await.with_status(0);
    let worker = local.spawn(&["worker"]);
    let queue = queue(&local, 2).await;
    until("a dead letter", async || queue.depth().await.unwrap().dead == Some(1)).await;
    worker.signal("TERM");
    let ended = worker.ended().await.with_status(0);
    assert!(ended.stderr.contains("given up, receipt 2: not finished"), "{}", ended.all());
    let status = local.run(&["status", "--json"]).await.with_status(0).json();
    assert_eq!((&status["done"], &status["failed"]), (&0.into(), &1.into()), "{status}");
}

#[tokio::test]
async fn status_makes_no_file() {
    let mut local = Local::new().await;
    local.embedded();
    let before = local.files();
    let status = local.run(&["status"]).await.with_status(0);
    assert!(
        status.stdout.starts_with("nothing yet: there is no s3_migration.sqlite"),
        "{}",
        status.all()
    );
    let json = local.run(&["status", "--json"]).await.with_status(0).json();
    assert_eq!((&json["waiting"], &json["done"], &json["dead"]), (&0.into(), &0.into(), &0.into()));
    assert_eq!(local.files(), before);
}
