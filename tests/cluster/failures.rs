//! What is no job, and jobs that cannot be done: neither harms a worker, neither is lost.

use s3_migration::job::Job;
use s3_migration::object::ObjectId;
use serde_json::Value;

use testkit::resources;
use testkit::stage::Stage;

fn job(stage: &Stage, key: &str, size: u64) -> Job {
    let des = ObjectId::new(&stage.destination, format!("moved/{key}"));
    Job::copy(ObjectId::new(&stage.source, key), des, size, None)
}

/// Promise 1.
#[tokio::test]
async fn a_message_that_is_no_job_becomes_a_dead_letter_and_the_worker_works_on() {
    let stage = Stage::put(2).await;
    let mut worker = stage.worker(&[]);
    for nonsense in ["hello", r#"{"Src_bucket":"s"}"#, r#"{"PackVersion":99,"Groups":[]}"#] {
        stage.send(nonsense).await;
    }
    let mut letters = Vec::new();
    for _ in 0..2 {
        letters.push(stage.dead_letter().await.0);
    }
    letters.sort();
    assert_eq!(letters, ["hello", r#"{"Src_bucket":"s"}"#]);
    for reason in ["not valid JSON", "Src_key is missing", "update the worker"] {
        worker.until_logged(reason).await;
    }
    stage.put_source("good", b"good").await;
    stage.send(&job(&stage, "good", 4).to_message()).await;
    testkit::stage::until("the good job is done", async || stage.arrived("moved/good").await).await;
    assert!(worker.lives(), "{}", worker.log());
    let recorded = async || (stage.records("DONE").await.len() == 1).then_some(());
    testkit::stage::until("it is on record", recorded).await;
    // Packed in a newer form: hidden for longer, for a newer worker to come.
    assert_eq!(stage.depth().await.0 + stage.depth().await.1, 1, "{}", worker.log());
}

/// Promise 1.
#[tokio::test]
async fn a_job_whose_object_is_missing_is_on_record_and_a_dead_letter_at_its_first_receipt() {
    let stage = Stage::put(10).await;
    stage.put_source("there", b"there").await;
    let (absent, bucket) = (job(&stage, "absent", 5), "no-such-bucket-anywhere");
    let mut nowhere = job(&stage, "there", 5);
    nowhere.des.bucket = bucket.to_owned();
    stage.send(&absent.to_message()).await;
    stage.send(&nowhere.to_message()).await;
    let mut worker = stage.worker(&[]);
    let (body, reason) = stage.dead_letter().await;
    let reason = reason.expect("a reason");
    assert!(body.contains("absent") && reason.contains("GetObject"), "{body}: {reason}");
    let record: Value = stage.record("absent").await;
    assert_eq!((&record["jobStatus"], &record["tryTimes"]), (&"FAILED".into(), &"1".into()));
    assert!(record["lastError"].as_str().is_some_and(|e| e.contains("absent")), "{record}");
    // A bucket that is not there is not the object's fault: its job waits, and the others go on.
    worker
        .until_logged(&format!("bucket {bucket} (destination) cannot be found by this worker"))
        .await;
    let status = stage.status().await;
    assert_eq!((&status["failed"], &status["done"]), (&1.into(), &0.into()), "{status}");
    assert!(worker.lives(), "{}", worker.log());

    // What failed is not lost to the next comparison.
    stage.put_source("absent", b"later").await;
    assert_eq!(stage.run(&["jobsender"]).await.code, Some(0));
    let both = async || (stage.records("DONE").await.len() == 2).then_some(());
    testkit::stage::until("both are done, whatever waits", both).await;
}

/// Promise 1.
#[tokio::test]
async fn without_a_dead_letter_queue_a_failed_job_stays_in_the_queue() {
    let mut stage = Stage::put(10).await;
    stage.queues.name = resources::plain_queue(&stage.a).await;
    let client = aws_sdk_sqs::Client::new(&stage.a);
    let url = client.get_queue_url().queue_name(&stage.queues.name).send().await;
    stage.queues.url = url.expect("GetQueueUrl").queue_url.expect("a URL");
    stage.send(&job(&stage, "absent", 5).to_message()).await;
    let worker = stage.worker(&[]);
    worker.until_logged("there is no dead letter queue").await;
    assert_eq!(stage.record("absent").await["jobStatus"], "FAILED");
    let (waiting, held) = stage.depth().await;
    assert_eq!(waiting + held, 1, "{}", worker.log());
}
