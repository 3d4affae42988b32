//! Limits, pause and budget of a fleet on DynamoDB.

use s3_migration::limits::beat::Beat;
use s3_migration::limits::{MEMBER, board_of_queue};
use s3_migration::record::dynamodb::DynamoRecords;
use s3_migration::record::{BoardChange, Notes};
use serde_json::Value;
use testkit::stage::{Stage, noise, ran, until};

use crate::ledger::Ledger;

/// What each process of the fleet has written last.
async fn beats(stage: &Stage, records: &DynamoRecords) -> Vec<Beat> {
    let key = board_of_queue(&stage.queues.name);
    let board = records.board(&key, &BoardChange::default()).await.unwrap().unwrap();
    let members = board.iter().filter(|(part, _)| part.starts_with(MEMBER));
    members.map(|(_, text)| Beat::parse(text).unwrap()).collect()
}

async fn command(stage: &Stage, args: &[&str]) -> Value {
    let ran = stage.run(&[args, &["--json"]].concat()).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let mut all: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    all[0].take()
}

const OBJECTS: u64 = 30;

/// Promises 7, 9.
#[tokio::test]
async fn a_fleet_is_limited_paused_and_resumed_by_one_command_each() {
    let mut stage = Stage::put(5).await;
    stage.pack_objects = 1;
    for n in 0..OBJECTS {
        stage.put_source(&format!("object/{n:02}"), &noise(1000, n)).await;
    }
    assert_eq!(stage.run(&["jobsender"]).await.code, Some(0));
    let limited = command(&stage, &["limit", "50M", "--requests", "200"]).await;
    assert_eq!(limited["processes"], 0, "the jobsender has left: {limited}");
    command(&stage, &["pause"]).await;
    let mut workers = [stage.worker(&[]), stage.worker(&[])];
    for worker in &workers {
        worker.until_logged("paused: the command pause").await;
        worker.until_logged("limits of the fleet: source bandwidth 50M, requests 200").await;
    }
    let records = DynamoRecords::connect(&stage.a, &stage.table).await.unwrap();
    until("both have looked three times", async || {
        let beats = beats(&stage, &records).await;
        (beats.len() == 2 && beats.iter().all(|beat| beat.number >= 3)).then_some(())
    })
    .await;
    assert!(stage.arrived_keys().await.is_empty(), "a paused fleet has copied something");
    assert_eq!(stage.depth().await, (OBJECTS, 0), "nor taken a message");
    let shown = command(&stage, &["limit"]).await;
    assert_eq!((&shown["processes"], &shown["paused"]), (&2.into(), &true.into()), "{shown}");
    assert_eq!(shown["destination"]["bandwidth_now"], 50 << 20, "{shown}");
    assert!(shown["in_force_within_seconds"].as_u64().unwrap() <= 30, "{shown}");

    command(&stage, &["resume"]).await;
    stage.until_done(OBJECTS).await;
    // Every process says by itself what it does; nobody scans the table for it.
    let ledger = Ledger::before(stage.server.address()).await;
    let mut status = stage.program(&["status", "--fleet", "--json"]);
    status.env("AWS_ENDPOINT_URL", ledger.url());
    let shown: Value = serde_json::from_str(&ran(status).await.stdout).expect("JSON");
    let shown = &shown[0];
    let alive = shown["workers"].as_array().unwrap();
    assert!(alive.len() == 2 && alive.iter().all(|worker| worker["lives"] == true), "{shown}");
    assert_eq!(shown["phases"][0]["objects"], OBJECTS, "what the jobsender listed: {shown}");
    assert_eq!(ledger.counts().get("Scan"), None, "{:?}", ledger.counts());
    for worker in &mut workers {
        worker.terminate().await;
        assert!(worker.ended().await.success());
    }
    assert_eq!(beats(&stage, &records).await, [], "a worker that ends leaves the board");
}

/// Promise 9.
#[tokio::test]
async fn a_used_up_budget_pauses_the_whole_fleet() {
    let mut stage = Stage::put(5).await;
    stage.pack_objects = 1;
    for n in 0..OBJECTS {
        stage.put_source(&format!("object/{n:02}"), &noise(1000, n)).await;
    }
    // The listing has cost something already, and the budget is the fleet's.
    assert_eq!(stage.run(&["jobsender"]).await.code, Some(0));
    let rich = stage.worker(&[]);
    let poor = stage.worker(&[("MaxCost", "0.000001")]);
    poor.until_logged("paused: MaxCost = 0.000001 is reached: ").await;
    rich.until_logged("paused: MaxCost = 0.000001 is reached: ").await;
    let shown = command(&stage, &["limit"]).await;
    assert!(shown["pause_reason"].as_str().unwrap().contains("USD were spent"), "{shown}");
}
