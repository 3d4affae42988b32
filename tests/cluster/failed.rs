//! `failed` on SQS and DynamoDB: what it finds on record and among the dead letters, and sends again.

use s3_migration::job::Job;
use s3_migration::object::ObjectId;
use serde_json::Value;

use testkit::stage::{Stage, Worker};

fn job(stage: &Stage, key: &str) -> Job {
    let des = ObjectId::new(&stage.destination, format!("moved/{key}"));
    Job::copy(ObjectId::new(&stage.source, key), des, 5, None)
}

async fn failed(stage: &Stage, arguments: &[&str]) -> Value {
    let ran = stage.run(&[&["failed", "--json"], arguments].concat()).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.stdout).expect("JSON")
}

/// Leaves no long poll that would take a message.
async fn stop(worker: &mut Worker) {
    worker.terminate().await;
    worker.ended().await;
}

/// Promises 1, 10.
#[tokio::test]
async fn what_failed_is_found_and_sent_again_from_letters_and_records_alike() {
    let stage = Stage::put(10).await;
    for key in ["a/1", "a/2", "b"] {
        stage.send(&job(&stage, key).to_message()).await;
    }
    stage.send("hello").await;
    let mut worker = stage.worker(&[]);
    testkit::stage::until("three failures and four letters", async || {
        let dead = stage.status().await["dead"].as_u64();
        (stage.records("FAILED").await.len() == 3 && dead == Some(4)).then_some(())
    })
    .await;
    stop(&mut worker).await;

    // Looking hides nothing from who looks next.
    for _ in 0..2 {
        let found = failed(&stage, &[]).await;
        assert_eq!(found["failed"], 4, "{found}");
        let reasons: Vec<_> = found["reasons"].as_array().unwrap().iter().collect();
        assert_eq!(
            (&reasons[0]["reason"], &reasons[0]["objects"]),
            (&"gone-at-source".into(), &3.into())
        );
        assert_eq!(
            (&reasons[1]["reason"], &reasons[1]["objects"]),
            (&"not-a-job".into(), &1.into())
        );
        let no_job =
            found["objects"].as_array().unwrap().iter().find(|one| one["on_record"] == false);
        assert_eq!(no_job.unwrap()["src_key"], Value::Null);
    }
    let told = stage.run(&["failed", "--prefix", "a/"]).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    for words in
        ["2 objects failed", "gone-at-source: 2 objects", "NoSuchKey", "deleted on purpose"]
    {
        assert!(told.stdout.contains(words), "no {words:?} in {told:?}");
    }

    // The letter of one object is lost, as after the queue's retention.
    loop {
        let (body, _) = stage.dead_letter().await;
        if body.contains("a/1") {
            break;
        }
        stage.send(&body).await;
        let mut worker = stage.worker(&[]);
        testkit::stage::until("it is a letter again", async || {
            (stage.depth().await == (0, 0) && stage.status().await["dead"].as_u64() == Some(4))
                .then_some(())
        })
        .await;
        stop(&mut worker).await;
    }
    for key in ["a/1", "a/2", "b"] {
        stage.put_source(key, b"there").await;
    }
    let sent = failed(&stage, &["--redrive", "--prefix", "a/"]).await;
    assert_eq!(
        (&sent["sent"], &sent["from_dead_letters"], &sent["from_records"], &sent["marked"]),
        (&2.into(), &1.into(), &1.into(), &2.into()),
        "{sent}"
    );
    assert_eq!(stage.depth().await, (2, 0));
    assert_eq!(stage.record("a/1").await["redrives"], "1");
    assert_eq!(stage.record("b").await["redrives"], Value::Null);
    let found = failed(&stage, &["--reason", "gone"]).await;
    assert_eq!((&found["failed"], &found["redriven"]), (&3.into(), &2.into()), "{found}");
    let twice = failed(&stage, &["--redrive", "--prefix", "a/"]).await;
    assert_eq!((&twice["sent"], &twice["waiting"]), (&0.into(), &2.into()), "{twice}");

    let rest = failed(&stage, &["--redrive"]).await;
    assert_eq!(
        (&rest["sent"], &rest["from_dead_letters"], &rest["not_a_job"]),
        (&1.into(), &1.into(), &1.into()),
        "{rest}"
    );
    let _worker = stage.worker(&[]);
    stage.until_done(3).await;
    assert_eq!(stage.status().await["dead"], 1, "only what is no job");
    assert_eq!(failed(&stage, &["--reason", "gone"]).await["failed"], 0);
}
