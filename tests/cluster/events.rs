//! Objects that arrive by S3 event. SNS and EventBridge envelopes are sent as their services write
//! them (<https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>,
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>); the plain notification
//! comes from the server itself.

use aws_sdk_s3::types::{Event, NotificationConfiguration, QueueConfiguration};
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::{Value, json};

use crate::stage::{MIB, Stage, noise, until};
use crate::support::resources;

/// Lets every new object of the source send an event to the queue.
async fn watch(stage: &Stage) {
    let sqs = aws_sdk_sqs::Client::new(&stage.a);
    let attributes = sqs.get_queue_attributes().queue_url(&stage.queues.url);
    let attributes = attributes.attribute_names(QueueAttributeName::QueueArn).send().await;
    let arn = attributes.expect("GetQueueAttributes").attributes.expect("attributes")
        [&QueueAttributeName::QueueArn]
        .clone();
    let to_queue = QueueConfiguration::builder().queue_arn(arn).events(Event::S3ObjectCreated);
    let to_queue = to_queue.build().expect("a whole configuration");
    let configuration = NotificationConfiguration::builder().queue_configurations(to_queue).build();
    let put = resources::s3(&stage.a).put_bucket_notification_configuration();
    let put = put.bucket(&stage.source).notification_configuration(configuration);
    put.send().await.expect("PutBucketNotificationConfiguration");
}

async fn until_arrived(stage: &Stage, key: &str, body: &[u8]) {
    let key = format!("arrived/{key}");
    let arrived = until(&format!("{key} arrives"), async || stage.arrived(&key).await).await;
    assert!(arrived == body, "{key}: {} bytes", arrived.len());
}

fn record(stage: &Stage, key: &str, size: usize) -> Value {
    json!({"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
           "s3": {"bucket": {"name": stage.source},
                  "object": {"key": key, "size": size, "eTag": "e", "sequencer": "0"}}})
}

#[tokio::test]
async fn an_object_put_into_a_watched_bucket_arrives_at_the_default_destination() {
    let stage = Stage::put(5).await;
    let _worker = stage.worker(&[]);
    watch(&stage).await;
    for (key, size) in [("plain", 100), ("a+b c/ü %2F", 200), ("large", 6 * MIB)] {
        let body = noise(size, size as u64);
        stage.put_source(key, &body).await;
        until_arrived(&stage, key, &body).await;
        assert_eq!(stage.record(key).await["desKey"], format!("arrived/{key}"));
    }
    // Amazon S3 writes this when a notification is set up.
    let test = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": stage.source});
    stage.send(&test.to_string()).await;
    stage.until_done(3).await;
    assert_eq!(stage.status().await["dead"], 0);
}

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
        (&json!("absent"), &json!("arrived/absent"))
    );
    assert!(reason.expect("a reason").contains("absent"));
    stage.until_done(1).await;
    assert_eq!(stage.record("absent").await["jobStatus"], "FAILED");
}
