//! A worker that is stopped gives its object to another one, which goes on where it stopped.

use std::time::Duration;

use crate::door::Door;
use testkit::proxy::{Fault, Proxy, Rule};
use testkit::stage::{MIB, Stage, noise, until};

const PART: usize = 5 * MIB;
const PARTS: usize = 8;

/// Promise 7.
#[tokio::test]
async fn a_worker_stopped_in_the_middle_of_an_object_hands_it_over_at_once() {
    let stage = Stage::put(20).await;
    let body = noise(PARTS * PART, 1);
    stage.put_source("large", &body).await;
    assert_eq!(stage.run(&["jobsender"]).await.code, Some(0));
    // Whoever does not give the message back keeps it for longer than this test waits. Two parts and
    // a piece of the third pass the door.
    let slow = [("VisibilityTimeout", "3600"), ("MaxThread", "1"), ("GraceTime", "60")];
    let door = Door::after(stage.server.address(), (2 * PART + PART / 2) as u64).await;
    let mut first = stage.worker(&[slow[0], slow[1], slow[2], ("Source_Endpoint", door.url())]);
    until("two parts are there", async || (stage.parts().await.len() == 2).then_some(())).await;
    assert_eq!(stage.depth().await, (0, 1));

    first.terminate().await;
    door.open();
    assert_eq!(first.ended().await.code(), Some(0), "{}", first.log());
    assert_eq!(stage.depth().await, (1, 0), "the message can be received: {}", first.log());
    assert_eq!(
        stage.parts().await,
        [PART as i64; 3],
        "the running part was finished, no other begun"
    );
    assert_eq!(stage.record("large").await["jobStatus"], "RUNNING");

    let door = Door::open_to(stage.server.address()).await;
    let second = stage.worker(&[slow[0], ("Source_Endpoint", door.url())]);
    stage.until_done(1).await;
    assert!(stage.arrived("moved/large").await.is_some_and(|arrived| arrived == body));
    second.until_logged("continues an upload begun earlier").await;
    // All of it, since the source's MD5 is that of the whole; what is there is not sent again.
    let (passed, whole) = (door.passed() as usize, PARTS * PART);
    assert!((whole..whole + MIB).contains(&passed), "{passed} bytes were read of {whole}");
    let record = stage.record("large").await;
    assert_eq!((&record["tryTimes"], &record["jobStatus"]), (&"2".into(), &"DONE".into()));
    assert_eq!(stage.status().await["dead"], 0);
}

/// Promise 7.
#[tokio::test]
async fn a_stop_cuts_a_part_that_outlasts_the_grace_time_and_loses_nothing() {
    let stage = Stage::put(20).await;
    let body = noise(3 * PART, 2);
    stage.put_source("stuck", &body).await;
    stage.put_source("small", b"small").await;
    assert_eq!(stage.run(&["jobsender"]).await.code, Some(0));
    let door = Door::after(stage.server.address(), PART as u64).await;
    let settings = [("VisibilityTimeout", "3600"), ("GraceTime", "1"), ("MaxThread", "1")];
    let with_door = [settings[0], settings[1], settings[2], ("Source_Endpoint", door.url())];
    let mut first = stage.worker(&with_door);
    until("both jobs are taken", async || (stage.depth().await.0 == 0).then_some(())).await;
    first.terminate().await;
    assert_eq!(first.ended().await.code(), Some(0), "{}", first.log());
    let done = stage.records("DONE").await.len() as u64;
    assert_eq!(stage.depth().await, (2 - done, 0), "nobody holds a message: {}", first.log());

    let _second = stage.worker(&settings[..1]);
    stage.until_done(2).await;
    assert!(stage.arrived("moved/stuck").await.is_some_and(|arrived| arrived == body));
    assert_eq!(stage.arrived("moved/small").await.as_deref(), Some(b"small".as_slice()));
}

/// A worker with a proxy in front of its source is stopped while a call to it is held; it must end
/// without an answer, and give its message back. Returns the worker's log.
async fn stopped_while_held(call: &'static str, mut faults: Vec<Rule>) -> String {
    let stage = Stage::put(20).await;
    stage.put_source("small", b"small").await;
    assert_eq!(stage.run(&["jobsender"]).await.code, Some(0));
    let proxy = Proxy::before(stage.server.address()).await;
    faults.push(Rule::on(call, Fault::Hold));
    let held = proxy.inject(1, faults);
    let settings = [("VisibilityTimeout", "3600"), ("GraceTime", "1")];
    let mut first = stage.worker(&[settings[0], settings[1], ("Source_Endpoint", proxy.url())]);
    held.held().await;
    first.terminate().await;
    assert_eq!(first.ended().await.code(), Some(0), "{}", first.log());
    assert_eq!(stage.depth().await, (1, 0), "nobody holds the message: {}", first.log());

    let _second = stage.worker(&settings[..1]);
    stage.until_done(1).await;
    assert_eq!(stage.arrived("moved/small").await.as_deref(), Some(b"small".as_slice()));
    first.log()
}

/// Promise 7.
#[tokio::test]
async fn a_stop_does_not_wait_for_the_check_of_a_copy() {
    stopped_while_held("HeadObject", Vec::new()).await;
}

/// Promise 7.
#[tokio::test]
async fn a_stop_does_not_wait_to_learn_whose_fault_it_is() {
    // The first listing is the proof at the start.
    let denied = Rule::on("GetObject", Fault::error(403, "AccessDenied"));
    let proven = Rule::on("ListObjectsV2", Fault::Delay(Duration::ZERO)).once();
    let log = stopped_while_held("ListObjectsV2", vec![denied, proven]).await;
    assert!(!log.contains("does not answer"), "it has not waited for the listing: {log}");
}

/// Promise 7.
#[tokio::test]
async fn a_stop_does_not_wait_for_the_proof_at_the_start() {
    let log = stopped_while_held("ListObjectsV2", Vec::new()).await;
    assert!(!log.contains("does not answer"), "it has not waited for the listing: {log}");
}

/// Promise 7.
#[tokio::test]
async fn a_killed_worker_loses_nothing() {
    let stage = Stage::put(20).await;
    let body = noise(4 * PART, 3);
    stage.put_source("large", &body).await;
    assert_eq!(stage.run(&["jobsender"]).await.code, Some(0));
    let door = Door::after(stage.server.address(), (PART + PART / 2) as u64).await;
    let visibility = ("VisibilityTimeout", "10");
    let first = stage.worker(&[visibility, ("MaxThread", "1"), ("Source_Endpoint", door.url())]);
    until("a part is there", async || (stage.parts().await.len() == 1).then_some(())).await;
    drop(first);
    let second = stage.worker(&[visibility]);
    stage.until_done(1).await;
    second.until_logged("continues an upload begun earlier").await;
    assert!(stage.arrived("moved/large").await.is_some_and(|arrived| arrived == body));
}
