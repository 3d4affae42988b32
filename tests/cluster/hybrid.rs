//! Functions and cluster workers drain one queue together, while functions die.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use testkit::lambda::{Function, Invoked, LONGEST};
use testkit::proxy::{Outcome, Proxy, Seen};
use testkit::stage::{MIB, Stage, noise, until};

use crate::door::Door;

const SMALL: u64 = 60;
const LARGE: u64 = 6;
/// Functions at once, each invoked again and again.
const FUNCTIONS: usize = 6;
/// The call by which a function takes a lease.
const LEASE: &str = "ChangeMessageVisibility";
/// One in this many invocations is killed, after a random number of its calls.
const STRUCK: u64 = 5;

async fn fill(stage: &Stage) {
    for n in 0..SMALL + LARGE {
        let size = if n < SMALL { 100 + n as usize } else { 11 * MIB };
        let key = format!("{n:03}");
        stage.put_source(&key, &noise(size, n)).await;
        let job = json!({"Src_bucket": stage.source, "Src_key": key, "Size": size,
            "versionId": "null", "Des_bucket": stage.destination, "Des_key": key});
        stage.send(&job.to_string()).await;
    }
}

/// A new process, and the proxy by which its calls of the queue are seen.
async fn begin(stage: &Stage) -> (Function, Proxy) {
    let queue = Proxy::before(stage.server.address()).await;
    let settings =
        [("VisibilityTimeout", "10"), ("MaxThread", "2"), ("AWS_ENDPOINT_URL_SQS", queue.url())];
    (stage.function("worker", &settings).await, queue)
}

/// How many leases have been taken.
fn taken(seen: &[Seen]) -> usize {
    let is_taken =
        |seen: &&Seen| seen.call.operation == LEASE && seen.outcome == Outcome::Status(200);
    seen.iter().filter(is_taken).count()
}

/// One place of the function's concurrency: polls, invokes, and starts a new process if the last one
/// has died, until the queue is empty.
async fn drain(stage: &Stage, seed: u64, invocations: &AtomicUsize) {
    let mut random = seed;
    let mut function = None;
    while stage.depth().await != (0, 0) {
        let messages = stage.poll(3).await;
        if messages.is_empty() {
            continue;
        }
        invocations.fetch_add(1, Ordering::Relaxed);
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (running, queue) = match function.take() {
            Some(both) => both,
            None => begin(stage).await,
        };
        let dies = (random >> 33).is_multiple_of(STRUCK);
        // Not before it has its leases: until then the queue's own 15 minutes apply.
        let leases = taken(&queue.seen()) + messages.len();
        let struck = async {
            queue.until("its leases", |seen| taken(seen) >= leases).await;
            // At once, or when so many more calls have been made: each ends a message.
            let calls = queue.seen().len() + (random >> 40) as usize % 3;
            queue.until("further calls", |seen| seen.len() >= calls).await;
        };
        let invoked = tokio::select! {
            invoked = stage.bring(&running, &messages, LONGEST) => invoked,
            () = struck, if dies => {
                running.strike();
                Invoked::Killed
            }
        };
        match invoked {
            Invoked::Answer(_) => function = Some((running, queue)),
            // Its messages come back when its own leases end, not after the queue's 15 minutes.
            Invoked::Killed => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_function_leaves_large_objects_to_the_cluster_while_there_is_one() {
    let stage = Stage::put(20).await;
    let large = noise(11 * MIB, 1);
    for key in ["busy", "large"] {
        stage.put_source(key, &large).await;
    }
    let job = |key: &str| {
        json!({"Src_bucket": stage.source, "Src_key": key, "Size": large.len(),
            "versionId": "null", "Des_bucket": stage.destination, "Des_key": key})
        .to_string()
    };
    stage.send(&job("busy")).await;
    // The worker has an object in its hands, and no room for another one.
    let door = Door::after(stage.server.address(), MIB as u64).await;
    let settings = [("MaxParallelFile", "1"), ("Source_Endpoint", door.url())];
    let worker = stage.worker(&settings);
    until("the worker is busy", async || (stage.depth().await == (0, 1)).then_some(())).await;
    stage.send(&job("large")).await;
    let function = stage.function("worker", &[("LambdaMaxBytes", "10M")]).await;
    let messages = stage.polled(1).await;
    let failures = stage.bring(&function, &messages, LONGEST).await.failures();
    assert_eq!(failures, [messages[0].id.as_str()]);
    assert!(function.log().await.contains("left to a worker that is no function"));
    door.open();
    stage.until_done(2).await;
    let by = stage.record("large").await["instanceID"].as_str().unwrap().to_owned();
    assert!(!by.starts_with("lambda-"), "{by}");
    drop(worker);
}

/// Promises 1, 7, 8.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_and_workers_drain_one_queue_though_functions_die() {
    let stage = &Stage::put(20).await;
    stage.set_visibility(900).await;
    fill(stage).await;
    let _workers = [(); 2].map(|()| stage.worker(&[("VisibilityTimeout", "10")]));
    let invocations = &AtomicUsize::new(0);
    let draining = (0..FUNCTIONS as u64).map(|seed| drain(stage, seed, invocations));
    futures_util::future::join_all(draining).await;
    stage.until_done(SMALL + LARGE).await;
    for n in 0..SMALL + LARGE {
        let size = if n < SMALL { 100 + n as usize } else { 11 * MIB };
        let arrived = stage.arrived(&format!("{n:03}")).await;
        assert!(arrived.is_some_and(|arrived| arrived == noise(size, n)), "{n:03}");
    }
    assert_eq!(stage.status().await["dead"], 0);
    let invocations = invocations.load(Ordering::Relaxed);
    assert!(invocations >= FUNCTIONS, "the workers did everything: {invocations} invocations");
}
