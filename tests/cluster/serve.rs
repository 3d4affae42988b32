//! The page and the metrics of a fleet on SQS and DynamoDB.

use s3_migration::job::Job;
use s3_migration::object::ObjectId;
use testkit::process::Running;
use testkit::stage::{Stage, noise, until};
use testkit::web::{get, served};

/// Promise 1.
#[tokio::test]
async fn a_fleet_is_served_from_its_table_and_a_worker_by_itself() {
    let stage = Stage::put(5).await;
    stage.put_source("there", &noise(1000, 1)).await;
    assert_eq!(stage.run(&["jobsender"]).await.code, Some(0));
    let gone = Job::copy(
        ObjectId::new(&stage.source, "gone"),
        ObjectId::new(&stage.destination, "moved/gone"),
        5,
        None,
    );
    stage.send(&gone.to_message()).await;
    let mut worker = stage.program(&["worker"]);
    worker.env("MetricsAddress", "127.0.0.1:0");
    let mut worker = Running::start(worker);
    let own = served(&mut worker).await;
    until("one object is copied, and one has failed", async || {
        let metrics = get(&own, "/metrics").await.with_status(200).body;
        let has = |line: &str| metrics.lines().any(|one| one == line);
        let both = has("s3_migration_objects_copied_total 1")
            && has("s3_migration_objects_failed_total 1");
        both.then_some(())
    })
    .await;
    let mut status = Running::start(stage.program(&["status", "--serve", "127.0.0.1:0"]));
    let address = served(&mut status).await;
    until("the page shows what the worker has written", async || {
        let state = get(&address, "/api/state").await.with_status(200).json();
        let total = &state["fleets"][0]["total"];
        (total["copied"] == 1 && total["failed"] == 1).then_some(())
    })
    .await;
    let metrics = get(&address, "/metrics").await.with_status(200).body;
    assert!(
        metrics.contains("s3_migration_fleet_objects_copied_total{fleet=\"the fleet of"),
        "{metrics}"
    );
    let page = get(&address, "/api/failures").await.with_status(200).json();
    let failures = page["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 1, "{page}");
    assert_eq!(failures[0]["reason"], "gone-at-source", "{page}");
    assert_eq!(page["next"], serde_json::Value::Null, "{page}");
    for running in [worker, status] {
        running.signal("TERM");
        running.ended().await.with_status(0);
    }
}
