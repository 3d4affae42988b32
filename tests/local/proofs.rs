//! What an object is proven by, and what becomes of one that does not hold still.

use std::sync::{Arc, OnceLock};

use aws_sdk_s3::Client;
use s3_endpoint::{Gate, Passage};
use s3_migration::queue::{Depth, Queue};

use crate::faults::queue;
use testkit::gate::Hold;
use testkit::local::{ALL, BUCKETS, Local, MIB, noise};
use testkit::process::until;

/// Promise 3.
#[tokio::test]
async fn an_object_uploaded_in_equal_parts_gets_the_same_etag() {
    let mut local = Local::new().await;
    let body = noise(20 * MIB, 1);
    local.source.put_in_parts("seven", &body.chunks(7 * MIB).collect::<Vec<_>>()).await;
    local.source.put_in_parts("one", &[&body[..100]]).await;
    local.source.put("plain", body[..100].to_vec()).await;
    local.migrate().await.with_status(0);
    for key in ["seven", "one", "plain"] {
        assert_eq!(local.destination.etag(key).await, local.source.etag(key).await, "{key}");
    }
    assert_eq!(local.destination.requests("UploadPart"), 3 + 1);
    assert!(local.destination.get("seven").await == body);

    // Not if it is not wanted.
    let other = Local::new().await;
    let source = local.source.endpoint.url();
    local.set("Source_Endpoint", &source);
    local.set("Destination_Endpoint", &other.destination.endpoint.url());
    local.set("PreserveEtag", "off");
    local.set("Backend_Path", "another.sqlite");
    local.migrate().await.with_status(0);
    assert_ne!(other.destination.etag("seven").await, local.source.etag("seven").await);
    assert_eq!(other.destination.requests("UploadPart"), 4, "of ChunkSize");
    assert_eq!(other.destination.requests("PutObject"), 2);
}

/// Promise 3.
#[tokio::test]
async fn parts_of_unequal_size_arrive_in_parts_of_our_own() {
    let local = Local::new().await;
    let body = noise(16 * MIB, 1);
    let (first, rest) = body.split_at(5 * MIB);
    local.source.put_in_parts("odd", &[first, rest]).await;
    // Like equal parts, as far as the first one and their number tell.
    let (first, rest) = body.split_at(6 * MIB);
    local.source.put_in_parts("deceiving", &[first, &rest[..5 * MIB], &rest[5 * MIB..]]).await;
    local.migrate().await.with_status(0);
    for key in ["odd", "deceiving"] {
        assert!(local.destination.get(key).await == body, "{key}");
        assert_ne!(local.destination.etag(key).await, local.source.etag(key).await, "{key}");
    }
    assert_eq!(local.destination.uploads().await, 0);
}

/// Promise 3.
#[tokio::test]
async fn the_requests_are_no_more_than_the_parts_need() {
    let mut local = Local::new().await;
    local.set("MaxThread", "3");
    local.source.put("small", noise(100, 1)).await;
    local.source.put("large", noise(8 * 5 * MIB, 1)).await;
    let before = (local.source.all_requests(), local.destination.all_requests());
    local.migrate().await.with_status(0);
    let asked = |operation: &str| {
        let count = |place: &std::collections::BTreeMap<String, u64>| {
            place.get(operation).copied().unwrap_or_default()
        };
        let now = count(&local.source.all_requests()) + count(&local.destination.all_requests());
        now - count(&before.0) - count(&before.1)
    };
    for (operation, times) in [
        ("GetObject", 1 + 8),
        ("PutObject", 1),
        ("UploadPart", 8),
        ("HeadObject", 1),
        ("CreateMultipartUpload", 1),
        ("ListMultipartUploads", 1),
        ("ListParts", 1),
        ("CompleteMultipartUpload", 1),
        ("AbortMultipartUpload", 0),
    ] {
        assert_eq!(asked(operation), times, "{operation}");
    }
}

/// Replaces the source's object before each call of one operation.
struct Restless {
    operation: &'static str,
    source: OnceLock<Client>,
}

#[async_trait::async_trait]
impl Gate for Restless {
    async fn before(&self, operation: &str, _: &str, key: &str) -> Passage {
        let Some(client) = self.source.get().filter(|_| operation == self.operation) else {
            return Passage::Free;
        };
        let body = noise(12 * MIB, fastrand::u64(..));
        let put = client.put_object().bucket(BUCKETS[0]).key(key).body(body.into());
        put.send().await.unwrap();
        Passage::Free
    }
}

/// Promise 2.
#[tokio::test]
async fn an_object_that_keeps_changing_is_recorded_as_such() {
    let source = OnceLock::new();
    let restless = Arc::new(Restless { operation: "CreateMultipartUpload", source });
    let mut local = Local::gated(Some(Arc::clone(&restless))).await;
    local.embedded();
    local.source.put("restless", noise(12 * MIB, 1)).await;
    restless.source.set(local.source.client.clone()).unwrap();
    local.run(&["jobsender"]).await.with_status(0);
    let mut worker = local.spawn(&["worker"]);
    worker.logs("keeps changing: replaced during each of 4 copies").await;
    let queue = queue(&local).await;
    until("an empty queue", async || queue.is_empty().await.unwrap()).await;
    worker.signal("TERM");
    worker.ended().await.with_status(0);
    assert_eq!(queue.depth().await.unwrap(), Depth { waiting: 0, running: 0, dead: Some(1) });
    assert_eq!(local.destination.uploads().await, 0, "no upload is left");
    assert_eq!(local.destination.requests("CreateMultipartUpload"), 4);
    assert_eq!(local.destination.keys().await, [""; 0]);
}

/// Promise 8.
#[tokio::test]
async fn the_upload_of_an_object_that_is_gone_is_cleared_away() {
    let gate = Hold::new("UploadPart", 1);
    let mut local = Local::gated(Some(Arc::clone(&gate))).await;
    local.set("MaxThread", "1");
    local.source.put("gone", noise(4 * 5 * MIB, 1)).await;
    let run = local.spawn(&["run", ALL[0], ALL[1]]);
    gate.reached().await;
    let delete = local.source.client.delete_object().bucket(BUCKETS[0]).key("gone");
    delete.send().await.unwrap();
    gate.open();
    let ended = run.ended().await;
    assert!(ended.all().contains("NoSuchKey"), "{}", ended.all());
    assert_eq!(local.destination.uploads().await, 0, "no upload is left");
}

/// Promise 8.
#[tokio::test]
async fn the_upload_of_an_object_that_has_become_small_is_given_up() {
    let gate = Hold::new("UploadPart", 1);
    let mut local = Local::gated(Some(Arc::clone(&gate))).await;
    local.set("MaxThread", "1");
    local.source.put("shrinks", noise(4 * 5 * MIB, 1)).await;
    let run = local.spawn(&["run", ALL[0], ALL[1]]);
    gate.reached().await;
    run.kill().await;
    gate.forget();
    assert_eq!(local.destination.uploads().await, 1);
    local.source.put("shrinks", noise(100, 2)).await;
    local.migrate().await.with_status(0);
    assert!(local.destination.get("shrinks").await == noise(100, 2));
    assert_eq!(local.destination.uploads().await, 0, "no upload is left");
}
