//! The jobsender when the queue, the table or a listing fails, and when it is killed.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use serde_json::Value;
use tokio::process::Command;

use crate::bench::Bench;
use crate::cloud::Cloud;
use testkit::local::ALL;
use testkit::proxy::{Fault, Rule};
use testkit::stage::{Ran, ran};

const SEND: &str = "SendMessageBatch";
const LIST: &str = "ListObjectsV2";
/// Each object in a message of its own.
const APART: (&str, &str) = ("PackObjects", "1");

/// A jobsender that goes by the proxies.
fn jobsender(cloud: &Cloud, settings: &[(&str, &str)]) -> Command {
    let mut program = cloud.stage.program(&["jobsender", "--json"]);
    program.env("AWS_ENDPOINT_URL_SQS", cloud.queue.url());
    program.env("AWS_ENDPOINT_URL_DYNAMODB", cloud.table.url());
    program.env("Source_Endpoint", cloud.source.url());
    program.env("Destination_Endpoint", cloud.destination.url());
    program.envs(settings.iter().copied());
    program
}

fn accounts(ran: &Ran, status: i32) -> Value {
    assert_eq!(ran.code, Some(status), "{ran:?}");
    let accounts: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    accounts[0].clone()
}

/// Every job in the queue, each object as often as it is there.
async fn queued(cloud: &Cloud) -> Vec<String> {
    let (waiting, _) = cloud.stage.depth().await;
    let mut keys = Vec::new();
    while (keys.len() as u64) < waiting {
        keys.extend(cloud.stage.take().await.into_iter().map(|body| {
            let job = s3_migration::job::parse(&body, &Default::default()).expect("a job");
            job.jobs[0].src.key.as_str().to_owned()
        }));
    }
    keys.sort();
    keys
}

/// Promise 1.
#[tokio::test]
async fn a_queue_that_loses_answers_and_throttles_gets_every_job() {
    let cloud = Cloud::of(&[10; 40]).await;
    let faults = cloud.queue.inject(
        1,
        vec![
            Rule::on(SEND, Fault::error(400, "RequestThrottled")).once(),
            Rule::on(SEND, Fault::internal_error()).once(),
            Rule::on(SEND, Fault::Reset).once(),
            Rule::on(SEND, Fault::LostAnswer).once(),
        ],
    );
    let sent = accounts(&ran(jobsender(&cloud, &[APART])).await, 0);
    assert_eq!((&sent["sent"], &sent["messages"]), (&40.into(), &40.into()), "{sent}");
    assert!(faults.missed().is_empty(), "{:?}", faults.missed());
    let keys: BTreeSet<String> = queued(&cloud).await.into_iter().collect();
    assert_eq!(keys.len(), 40);
}

/// Promise 1.
#[tokio::test]
async fn a_jobsender_killed_midway_sends_the_rest_and_nothing_twice() {
    let cloud = Cloud::of(&[10; 120]).await;
    // Some batches pass; what follows never reaches the queue.
    let faults = cloud.queue.inject(1, vec![Rule::on(SEND, Fault::Hold).after(4)]);
    let mut killed = jobsender(&cloud, &[APART]).spawn().expect("a jobsender");
    faults.held().await;
    // What was sent has been noted by then: a note for each batch that has passed.
    cloud.stage.until_notes(4).await;
    killed.kill().await.expect("killed");
    faults.drop_held();
    faults.end();
    assert_eq!(cloud.stage.depth().await, (40, 0));

    let again = accounts(&ran(jobsender(&cloud, &[APART])).await, 0);
    assert_eq!((&again["in_queue"], &again["sent"]), (&40.into(), &80.into()), "{again}");
    let keys = queued(&cloud).await;
    let different: BTreeSet<&String> = keys.iter().collect();
    assert_eq!((keys.len(), different.len()), (120, 120), "each once");
}

/// Promise 1.
#[tokio::test]
async fn a_jobsender_whose_notes_are_refused_sends_all_the_same() {
    let cloud = Cloud::of(&[10; 3]).await;
    cloud.table.inject(1, vec![Rule::on("PutItem", Fault::error(400, "AccessDeniedException"))]);
    let ran = ran(jobsender(&cloud, &[])).await;
    assert_eq!(accounts(&ran, 0)["sent"], 3);
    assert!(ran.stderr.contains("could not be noted"), "{ran:?}");
}

/// Promise 1.
#[tokio::test]
async fn a_queue_that_refuses_from_some_point_on_leaves_accounts_that_balance() {
    let cloud = Cloud::of(&[10; 120]).await;
    let denied = Fault::error(403, "AccessDenied");
    cloud.queue.inject(1, vec![Rule::on(SEND, denied).after(4)]);
    let ran = ran(jobsender(&cloud, &[APART])).await;
    let found = accounts(&ran, 1);
    let count = |name: &str| found[name].as_u64().expect("a number");
    assert_eq!((count("sent"), cloud.stage.depth().await), (40, (40, 0)), "{found}");
    assert_eq!(count("failed_to_send"), 80, "{found}");
    assert_eq!(count("listed"), 120, "{found}");
    assert!(ran.stderr.contains("the queue no longer accepts jobs"), "{ran:?}");
}

/// Promise 1.
#[tokio::test]
async fn a_new_object_is_sent_although_the_queue_is_not_empty() {
    let cloud = Cloud::of(&[10; 3]).await;
    cloud.send().await;
    cloud.stage.put_source("object/new", b"new").await;
    cloud.stage.put_source("object/01", b"replaced by more").await;
    let again = accounts(&ran(jobsender(&cloud, &[])).await, 0);
    assert_eq!((&again["in_queue"], &again["sent"]), (&2.into(), &2.into()), "{again}");
    let third = accounts(&ran(jobsender(&cloud, &[])).await, 0);
    assert_eq!((&third["in_queue"], &third["sent"]), (&4.into(), &0.into()), "{third}");
}

/// Promise 1.
#[tokio::test]
async fn a_range_that_cannot_be_listed_is_named_and_the_run_is_not_whole() {
    let mut bench = Bench::empty().await;
    for n in 0..1500 {
        bench.put(&format!("key/{n:04}"), Vec::new()).await;
    }
    bench.local.set("MaxRetry", "2");
    // The probe and the first page pass.
    bench.source.inject(1, vec![Rule::on(LIST, Fault::internal_error()).after(2)]);
    let ended =
        bench.local.run(&["run", ALL[0], ALL[1], "--dry-run", "--json"]).await.with_status(1);
    let found = ended.json()[0].clone();
    assert_eq!(found["listed"], 1000, "{found}");
    let missing = found["missing"].as_array().expect("a list");
    assert!(missing.iter().any(|range| range["after"] == "key/0999"), "{found}");
    assert!(missing.iter().any(|range| range["through"].is_null()), "to the end: {found}");
    let text = bench.local.run(&["run", ALL[0], ALL[1], "--dry-run"]).await;
    assert!(text.stdout.contains("NOT COMPARED: ") || text.status == Some(3), "{}", text.all());
}

/// Promise 9.
#[tokio::test]
async fn listings_that_are_throttled_on_both_sides_are_patient() {
    let bench = Bench::empty().await;
    let put = |n: u32| {
        let source = &bench.local.source;
        async move { source.put(&format!("{}/{n:04}", n % 7), Vec::new()).await }
    };
    futures_util::stream::iter(0..3000).for_each_concurrent(16, put).await;
    let throttled = || vec![Rule::on(LIST, Fault::slow_down()).after(1).chance(0.4)];
    let source = bench.source.inject(1, throttled());
    bench.destination.inject(2, throttled());
    let ended =
        bench.local.run(&["run", ALL[0], ALL[1], "--dry-run", "--json"]).await.with_status(0);
    assert_eq!(ended.json()[0]["listed"], 3000);
    assert!(source.injected() > 0);
}

/// Promise 1.
#[tokio::test]
async fn what_has_failed_since_it_was_sent_is_sent_again_although_the_queue_is_not_empty() {
    let cloud = Cloud::of(&[10; 2]).await;
    let sent = accounts(&ran(jobsender(&cloud, &[APART])).await, 0);
    assert_eq!(sent["sent"], 2, "{sent}");
    // One job is carried out in vain, and the other one waits.
    cloud.source.inject(
        1,
        vec![Rule::on("GetObject", Fault::error(403, "AccessDenied")).containing("object/00")],
    );
    let held = Rule::on("GetObject", Fault::Hold).containing("object/01");
    let held = cloud.source.inject(2, vec![held]);
    let worker = cloud.worker(&[("MaxParallelFile", "2")]);
    held.held().await;
    let (letter, _) = cloud.stage.dead_letter().await;
    assert!(letter.contains("object/00"), "{letter}");
    let again = accounts(&ran(jobsender(&cloud, &[APART])).await, 0);
    assert_eq!((&again["sent"], &again["in_queue"]), (&1.into(), &1.into()), "{again}");
    held.let_go();
    worker.terminate().await;
}
