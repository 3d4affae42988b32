//! An object with a history, and the events of it. They are written here, so that their order is the
//! test's; real ones are in `tests/cluster/`.

use serde_json::{Value, json};

use crate::cloud::Cloud;
use testkit::resources::{s3, set_versioning};
use testkit::stage::noise;

pub const BY_VERSION: (&str, &str) = ("GetObjectWithVersionId", "True");
pub const DELETE: (&str, &str) = ("PropagateDelete", "True");

const CREATED: &str = "ObjectCreated:Put";
const REMOVED: &str = "ObjectRemoved:Delete";
const MARKED: &str = "ObjectRemoved:DeleteMarkerCreated";

/// A source with one object and its history.
pub struct History {
    pub cloud: Cloud,
    pub key: &'static str,
    size: usize,
}

/// An event as it was written down when it happened.
#[derive(Clone)]
pub struct Event(Value);

impl History {
    pub async fn of(size: usize, versions: bool) -> Self {
        let cloud = Cloud::of(&[]).await;
        if versions {
            set_versioning(&s3(cloud.stage.at_source()), &cloud.stage.source, true).await;
        }
        Self { cloud, key: "a+b/ü", size }
    }

    /// The object's content number `n`.
    pub fn content(&self, n: u64) -> Vec<u8> {
        noise(self.size, n)
    }

    /// Writes content `n`; the event has `n` as its sequencer.
    pub async fn put(&self, n: u64) -> Event {
        let put = s3(self.cloud.stage.at_source()).put_object().bucket(&self.cloud.stage.source);
        let put = put.key(self.key).body(self.content(n).into()).send().await.expect("PutObject");
        self.event(CREATED, n, put.version_id)
    }

    /// Deletes the object, or the version.
    pub async fn delete(&self, n: u64, version: Option<String>) -> Event {
        let client = s3(self.cloud.stage.at_source());
        let delete = client.delete_object().bucket(&self.cloud.stage.source).key(self.key);
        let delete = delete.set_version_id(version.clone()).send().await.expect("DeleteObject");
        match (version, delete.version_id) {
            (None, Some(marker)) => self.event(MARKED, n, Some(marker)),
            (version, _) => self.event(REMOVED, n, version),
        }
    }

    fn event(&self, name: &str, n: u64, version: Option<String>) -> Event {
        let key = "a%2Bb/%C3%BC";
        // Of unequal length, as they may be.
        let sequencer = format!("00{n:X}{}", if n.is_multiple_of(2) { "00" } else { "" });
        let mut object = json!({"key": key, "sequencer": sequencer});
        if let Some(version) = version {
            object["versionId"] = version.into();
        }
        if name == CREATED {
            object["size"] = self.size.into();
        }
        let bucket = &self.cloud.stage.source;
        Event(json!({"Records": [{"eventVersion": "2.1", "eventSource": "aws:s3",
                                  "eventName": name,
                                  "s3": {"bucket": {"name": bucket}, "object": object}}]}))
    }

    pub async fn send(&self, event: &Event) {
        self.cloud.stage.send(&event.0.to_string()).await;
    }

    /// Sends an event and waits until it is carried out.
    pub async fn send_and_wait(&self, event: &Event) {
        self.send(event).await;
        self.done().await;
    }

    /// The queue is empty and the record is done.
    async fn done(&self) {
        self.cloud.stage.until_done(1).await;
    }

    pub async fn arrived(&self) -> Option<Vec<u8>> {
        self.cloud.stage.arrived(&format!("moved/{}", self.key)).await
    }

    /// Everything is at its end, content `n` is there, and event `recorded` is the latest.
    pub async fn assert_content(&self, n: u64, recorded: u64) {
        self.done().await;
        assert!(self.arrived().await == Some(self.content(n)), "it is not content {n}");
        let record = self.cloud.stage.record(self.key).await;
        assert_eq!(
            (&record["sequencer"], &record["deleted"]),
            (&sequencer(recorded), &Value::Null)
        );
        self.assert_nothing_left().await;
    }

    /// Everything is at its end, nothing is there, and event `recorded` is the latest.
    pub async fn assert_deleted(&self, recorded: u64) {
        self.done().await;
        assert_eq!(self.arrived().await, None);
        let record = self.cloud.stage.record(self.key).await;
        assert_eq!(
            (&record["sequencer"], &record["deleted"]),
            (&sequencer(recorded), &"True".into())
        );
        assert_eq!((&record["Size"], &record["lastError"]), (&"0".into(), &Value::Null));
        self.assert_nothing_left().await;
    }

    pub async fn assert_nothing_left(&self) {
        assert_eq!(self.cloud.uploads().await, 0);
        assert_eq!(self.cloud.stage.status().await["dead"], 0);
    }

    pub fn written(&self) -> usize {
        let calls = |operation| self.cloud.destination.calls(operation);
        calls("PutObject") + calls("UploadPart") + calls("DeleteObject")
    }
}

/// As the record has it.
pub fn sequencer(n: u64) -> Value {
    format!("00{n:X}").into()
}

impl Event {
    /// The version that it names.
    pub fn version(&self) -> Option<String> {
        self.0["Records"][0]["s3"]["object"]["versionId"].as_str().map(str::to_owned)
    }

    /// As a store writes it that counts no events.
    pub fn uncounted(mut self) -> Self {
        self.0["Records"][0]["s3"]["object"]["sequencer"] = "".into();
        self
    }

    /// About another bucket.
    pub fn of_bucket(mut self, bucket: &str) -> Self {
        self.0["Records"][0]["s3"]["bucket"]["name"] = bucket.into();
        self
    }
}
