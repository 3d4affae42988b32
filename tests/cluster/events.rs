//! Objects that arrive by S3 event. SNS and EventBridge envelopes are sent as their services write
//! them (<https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>,
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>); the plain notification
//! comes from the server itself.

use aws_sdk_s3::types::{Event, NotificationConfiguration, QueueConfiguration};
use aws_sdk_sqs::types::QueueAttributeName;
use aws_sdk_ssm::types::ParameterType;
use serde_json::{Value, json};

use testkit::resources;
use testkit::stage::{MIB, Stage, noise, until};

/// Lets every new object of the source, and every deletion, send an event to the queue.
async fn watch(stage: &Stage) {
    let sqs = aws_sdk_sqs::Client::new(&stage.a);
    let attributes = sqs.get_queue_attributes().queue_url(&stage.queues.url);
    let attributes = attributes.attribute_names(QueueAttributeName::QueueArn).send().await;
    let arn = attributes.expect("GetQueueAttributes").attributes.expect("attributes")
        [&QueueAttributeName::QueueArn]
        .clone();
    let to_queue = QueueConfiguration::builder().queue_arn(arn);
    let to_queue = to_queue.events(Event::S3ObjectCreated).events(Event::S3ObjectRemoved);
    let to_queue = to_queue.build().expect("a whole configuration");
    let configuration = NotificationConfiguration::builder().queue_configurations(to_queue).build();
    let put = resources::s3(&stage.a).put_bucket_notification_configuration();
    let put = put.bucket(&stage.source).notification_configuration(configuration);
    put.send().await.expect("PutBucketNotificationConfiguration");
}

async fn until_arrived(stage: &Stage, key: &str, body: &[u8]) {
    let key = format!("moved/{key}");
    let arrived = until(&format!("{key} arrives"), async || stage.arrived(&key).await).await;
    assert!(arrived == body, "{key}: {} bytes", arrived.len());
}

fn record(stage: &Stage, key: &str, size: usize) -> Value {
    json!({"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
           "s3": {"bucket": {"name": stage.source},
                  "object": {"key": key, "size": size, "eTag": "e", "sequencer": "0"}}})
}

#[tokio::test]
async fn an_object_put_into_a_watched_bucket_arrives_where_its_pair_says() {
    let stage = Stage::put(5).await;
    let _worker = stage.worker(&[]);
    watch(&stage).await;
    let keys = [("plain", 100), ("a+b c/ü %2F", 200), ("large", 6 * MIB)];
    for (key, size) in keys {
        let body = noise(size, size as u64);
        stage.put_source(key, &body).await;
        until_arrived(&stage, key, &body).await;
    }
    // Amazon S3 writes this when a notification is set up.
    let test = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": stage.source});
    stage.send(&test.to_string()).await;
    stage.until_done(3).await;
    for (key, _) in keys {
        assert_eq!(stage.record(key).await["desKey"], format!("moved/{key}"));
    }
    assert_eq!(stage.status().await["dead"], 0);
}

// What is in the queue by itself, with the sequencers of the server, in whatever order it comes.
/// Promise 2.
#[tokio::test]
async fn objects_written_and_deleted_in_a_watched_bucket_end_as_at_the_source() {
    for versions in [false, true] {
        let stage = Stage::put(5).await;
        let client = resources::s3(stage.at_source());
        if versions {
            resources::set_versioning(&client, &stage.source, true).await;
        }
        watch(&stage).await;
        for n in 0..5_u8 {
            for key in ["last put", "last deleted ü+"] {
                stage.put_source(key, &[n; 100]).await;
            }
            let delete = |key| client.delete_object().bucket(&stage.source).key(key).send();
            if n % 2 == 0 {
                delete("last deleted ü+").await.expect("DeleteObject");
            } else {
                delete("last put").await.expect("DeleteObject");
            }
        }
        let version = ("GetObjectWithVersionId", if versions { "True" } else { "False" });
        let settings = [("PropagateDelete", "True"), version];
        let _workers = [stage.worker(&settings), stage.worker(&settings)];
        // The server sends its events when it gets round to it.
        until("both are as at the source", async || {
            let put = stage.arrived("moved/last put").await == Some(vec![4; 100]);
            (put && stage.arrived_keys().await.len() == 1).then_some(())
        })
        .await;
        stage.until_done(2).await;
        assert_eq!(stage.arrived_keys().await, ["moved/last put"]);
        let deleted = stage.record("last deleted ü+").await;
        let put = stage.record("last put").await;
        assert_eq!((&deleted["deleted"], &put["deleted"]), (&json!("True"), &Value::Null));
        assert!(put["sequencer"].is_string() && deleted["sequencer"].is_string());
        assert_eq!(stage.status().await["dead"], 0);
    }
}

// EventBridge tells what was deleted as well, and Amazon S3's rules delete as users do.
/// Promise 2.
#[tokio::test]
async fn deletions_by_event_bridge_and_by_lifecycle_are_propagated() {
    let stage = Stage::put(5).await;
    let worker = stage.worker(&[("PropagateDelete", "True"), ("LogObjects", "True")]);
    let bridge = |kind: &str, key: &str, sequencer: &str| {
        json!({"version": "0", "id": "i", "detail-type": kind, "source": "aws.s3",
            "detail": {"version": "0", "bucket": {"name": stage.source}, "reason": "PutObject",
                "deletion-type": "Permanently Deleted",
                "object": {"key": key, "size": 3, "etag": "e", "sequencer": sequencer}}})
    };
    for key in ["by bridge +", "by rule"] {
        stage.put_source(key, b"123").await;
        stage.send(&bridge("Object Created", key, "00A").to_string()).await;
        until_arrived(&stage, key, b"123").await;
        let delete = resources::s3(stage.at_source()).delete_object().bucket(&stage.source);
        delete.key(key).send().await.expect("DeleteObject");
    }
    stage.send(&bridge("Object Deleted", "by bridge +", "00B").to_string()).await;
    let mut expired = record(&stage, "by+rule", 0);
    expired["eventName"] = "LifecycleExpiration:Delete".into();
    expired["s3"]["object"] = json!({"key": "by+rule", "sequencer": "00B"});
    stage.send(&json!({"Records": [expired]}).to_string()).await;
    until("both are deleted", async || stage.arrived_keys().await.is_empty().then_some(())).await;
    stage.until_done(2).await;
    worker.until_logged("deleted at the destination").await;
}

/// Promise 1.
#[tokio::test]
async fn every_record_of_an_event_is_carried_out_also_out_of_an_envelope() {
    let stage = Stage::put(5).await;
    let keys = ["one", "two ü", "three+", "by sns", "by bridge +%20"];
    for key in keys {
        stage.put_source(key, key.as_bytes()).await;
    }
    let several = json!({"Records": [
        record(&stage, "one", 3), record(&stage, "two+%C3%BC", 6), record(&stage, "three%2B", 6)]});
    let notification = json!({"Records": [record(&stage, "by+sns", 6)]}).to_string();
    let sns = json!({"Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:::t",
                     "Subject": "Amazon S3 Notification", "Message": notification});
    let bridge = json!({"version": "0", "id": "i", "detail-type": "Object Created",
        "source": "aws.s3", "account": "111111111111", "region": "us-east-1",
        "detail": {"version": "0", "bucket": {"name": stage.source}, "reason": "PutObject",
                   "object": {"key": "by bridge +%20", "size": 14, "etag": "e", "sequencer": "0"}}});
    for message in [several, sns, bridge] {
        stage.send(&message.to_string()).await;
    }
    let _worker = stage.worker(&[]);
    stage.until_done(keys.len() as u64).await;
    for key in keys {
        until_arrived(&stage, key, key.as_bytes()).await;
    }
    assert_eq!(stage.status().await["dead"], 0);
}

/// Promise 1.
#[tokio::test]
async fn one_record_that_fails_leaves_the_others_of_its_event_done() {
    let stage = Stage::put(5).await;
    stage.put_source("there", b"there").await;
    let event = json!({"Records": [record(&stage, "absent", 5), record(&stage, "there", 5)]});
    stage.send(&event.to_string()).await;
    let _worker = stage.worker(&[]);
    until_arrived(&stage, "there", b"there").await;
    let (letter, reason) = stage.dead_letter().await;
    let letter: Value = serde_json::from_str(&letter).expect("a job");
    assert_eq!(
        (&letter["Src_key"], &letter["Des_key"]),
        (&json!("absent"), &json!("moved/absent"))
    );
    assert!(reason.expect("a reason").contains("absent"));
    stage.until_done(1).await;
    assert_eq!(stage.record("absent").await["jobStatus"], "FAILED");
}

// A cluster that compares nothing: its bucket list is the template's default.
#[tokio::test]
async fn without_a_bucket_list_events_of_one_bucket_go_to_the_default_place() {
    let stage = Stage::put(2).await;
    let list = resources::parameter(&stage.a, ParameterType::String, "[]").await;
    let settings = [("ssm_parameter_bucket", list.as_str())];
    let mut jobsender = stage.program(&["jobsender"]);
    jobsender.envs(settings);
    let compared = testkit::stage::ran(jobsender).await;
    assert_eq!(compared.code, Some(0), "{compared:?}");
    let _worker = stage.worker(&settings);
    stage.put_source("k+1", b"one").await;
    let mut other = record(&stage, "k%2B1", 3);
    stage.send(&json!({"Records": [&other]}).to_string()).await;
    let what = "it arrives at the default place";
    let arrived = until(what, async || stage.arrived("arrived/k+1").await).await;
    assert_eq!(arrived, b"one");
    other["s3"]["bucket"]["name"] = json!("another-bucket");
    stage.send(&json!({"Records": [other]}).to_string()).await;
    let (letter, reason) = stage.dead_letter().await;
    assert!(letter.contains("another-bucket"), "{letter}");
    assert!(reason.expect("a reason").contains("name both in the bucket list"));
}
