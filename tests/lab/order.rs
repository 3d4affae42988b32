//! Events that come late, twice, in any order and at once: the destination ends as the source is. The
//! events are written here, so that their order is the test's; real ones are in `tests/cluster/`.

use serde_json::{Value, json};

use crate::bench::LARGE;
use crate::cloud::Cloud;
use crate::faulty::{Fault, Rule};
use crate::stage::{noise, until};
use crate::support::resources::{s3, set_versioning};

const BY_VERSION: (&str, &str) = ("GetObjectWithVersionId", "True");
const DELETE: (&str, &str) = ("PropagateDelete", "True");
/// The shortest time that a dead worker's message stays hidden.
const SHORT: (&str, &str) = ("VisibilityTimeout", "10");

const CREATED: &str = "ObjectCreated:Put";
const REMOVED: &str = "ObjectRemoved:Delete";
const MARKED: &str = "ObjectRemoved:DeleteMarkerCreated";

/// A source with one object and its history.
struct History {
    cloud: Cloud,
    key: &'static str,
    size: usize,
}

/// An event as it was written down when it happened.
#[derive(Clone)]
struct Event(Value);

impl History {
    async fn of(size: usize, versions: bool) -> Self {
        let cloud = Cloud::of(&[]).await;
        if versions {
            set_versioning(&s3(cloud.stage.at_source()), &cloud.stage.source, true).await;
        }
        Self { cloud, key: "a+b/ü", size }
    }

    /// The object's content number `n`.
    fn content(&self, n: u64) -> Vec<u8> {
        noise(self.size, n)
    }

    /// Writes content `n`; the event has `n` as its sequencer.
    async fn put(&self, n: u64) -> Event {
        let put = s3(self.cloud.stage.at_source()).put_object().bucket(&self.cloud.stage.source);
        let put = put.key(self.key).body(self.content(n).into()).send().await.expect("PutObject");
        self.event(CREATED, n, put.version_id)
    }

    /// Deletes the object, or the version.
    async fn delete(&self, n: u64, version: Option<String>) -> Event {
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

    async fn send(&self, event: &Event) {
        self.cloud.stage.send(&event.0.to_string()).await;
    }

    /// Sends an event and waits until it is carried out.
    async fn send_and_wait(&self, event: &Event) {
        self.send(event).await;
        self.done().await;
    }

    /// The queue is empty and the record is done.
    async fn done(&self) {
        self.cloud.stage.until_done(1).await;
    }

    async fn arrived(&self) -> Option<Vec<u8>> {
        self.cloud.stage.arrived(&format!("arrived/{}", self.key)).await
    }

    /// Everything is at its end, content `n` is there, and event `recorded` is the latest.
    async fn assert_content(&self, n: u64, recorded: u64) {
        self.done().await;
        assert!(self.arrived().await == Some(self.content(n)), "it is not content {n}");
        let record = self.cloud.stage.record(self.key).await;
        assert_eq!((&record["sequencer"], &record["deleted"]), (&sequencer(recorded), &Value::Null));
        self.assert_nothing_left().await;
    }

    /// Everything is at its end, nothing is there, and event `recorded` is the latest.
    async fn assert_deleted(&self, recorded: u64) {
        self.done().await;
        assert_eq!(self.arrived().await, None);
        let record = self.cloud.stage.record(self.key).await;
        assert_eq!((&record["sequencer"], &record["deleted"]), (&sequencer(recorded), &"True".into()));
        assert_eq!((&record["Size"], &record["lastError"]), (&"0".into(), &Value::Null));
        self.assert_nothing_left().await;
    }

    async fn assert_nothing_left(&self) {
        assert_eq!(self.cloud.uploads().await, 0);
        assert_eq!(self.cloud.stage.status().await["dead"], 0);
    }

    fn written(&self) -> usize {
        let calls = |operation| self.cloud.destination.calls(operation);
        calls("PutObject") + calls("UploadPart") + calls("DeleteObject")
    }
}

/// As the record has it.
fn sequencer(n: u64) -> Value {
    format!("00{n:X}").into()
}

#[tokio::test]
async fn a_late_event_is_passed_over_whatever_the_switches() {
    for size in [1000, LARGE] {
        for (versions, settings) in [(false, vec![]), (true, vec![]), (true, vec![BY_VERSION])] {
            let history = History::of(size, versions).await;
            let (first, second) = (history.put(1).await, history.put(2).await);
            let worker = history.cloud.worker(&settings);
            history.send_and_wait(&second).await;
            let written = history.written();
            for event in [&first, &first] {
                history.send_and_wait(event).await;
            }
            worker.until_logged("passed over: a later event's outcome is there").await;
            assert_eq!(history.written(), written, "nothing is written again");
            // The same once more may be what its answer's loss has left.
            history.send_and_wait(&second).await;
            history.assert_content(2, 2).await;
        }
    }
}

// The older event's attempt has read the old content and is slow; the newer one's is done meanwhile.
#[tokio::test]
async fn an_older_attempt_that_writes_last_is_made_good() {
    for (versions, settings) in [(false, vec![]), (true, vec![BY_VERSION])] {
        let history = History::of(1000, versions).await;
        let first = history.put(1).await;
        let held = history.cloud.destination.inject(1, vec![Rule::on("PutObject", Fault::Hold).once()]);
        let _worker = history.cloud.worker(&settings);
        history.send(&first).await;
        held.held().await;
        let second = history.put(2).await;
        history.send(&second).await;
        until("the newer event is on record", async || {
            (history.cloud.stage.records("DONE").await.len() == 1).then_some(())
        })
        .await;
        assert!(history.arrived().await == Some(history.content(2)));
        held.let_go();
        history.assert_content(2, 2).await;
    }
}

// The newer event's attempt has written, the older one's writes over it and is on record first.
#[tokio::test]
async fn an_older_attempt_that_is_on_record_first_is_made_good() {
    let history = History::of(1000, true).await;
    let (first, second) = (history.put(1).await, history.put(2).await);
    let rule = Rule::on("PutObject", Fault::HoldAnswer).once();
    let held = history.cloud.destination.inject(1, vec![rule]);
    let _worker = history.cloud.worker(&[BY_VERSION]);
    history.send(&second).await;
    held.held().await;
    history.send(&first).await;
    until("the older event is on record", async || {
        (history.cloud.stage.records("DONE").await.len() == 1).then_some(())
    })
    .await;
    assert!(history.arrived().await == Some(history.content(1)));
    held.let_go();
    history.assert_content(2, 2).await;
}

// It has written over the newer content and dies before anybody knows of it. Whoever gets its message
// finds a late event, and looks at the destination before passing it over.
#[tokio::test]
async fn an_older_attempt_that_dies_after_its_last_write_is_made_good() {
    let history = History::of(1000, true).await;
    let (first, second) = (history.put(1).await, history.put(2).await);
    let puts = history.cloud.destination.inject(1, vec![Rule::on("PutObject", Fault::Hold).once()]);
    let killed = history.cloud.worker(&[BY_VERSION, SHORT]);
    history.send(&first).await;
    puts.held().await;
    let newer = history.cloud.stage.worker(&[BY_VERSION]);
    history.send(&second).await;
    until("the newer event is on record", async || {
        (history.cloud.stage.records("DONE").await.len() == 1).then_some(())
    })
    .await;
    let records = history.cloud.table.inject(1, vec![Rule::on("UpdateItem", Fault::Hold)]);
    puts.let_go();
    records.held().await;
    assert!(history.arrived().await == Some(history.content(1)));
    drop(killed);
    records.drop_held();
    records.end();
    history.assert_content(2, 2).await;
    drop(newer);
}

// Objects in parts: the token of the newer attempt's beginning, or its outcome, fences the older one.
#[tokio::test]
async fn an_older_attempt_in_parts_does_not_complete_over_a_newer_one() {
    let history = History::of(LARGE, true).await;
    let (first, second) = (history.put(1).await, history.put(2).await);
    let _worker = history.cloud.worker(&[BY_VERSION]);
    // Before it has even begun, and before its last call.
    for operation in ["CreateMultipartUpload", "CompleteMultipartUpload"] {
        let rule = Rule::on(operation, Fault::Hold).once();
        let held = history.cloud.destination.inject(1, vec![rule]);
        history.send(&first).await;
        held.held().await;
        history.send(&second).await;
        until("the newer event is on record", async || {
            let record = history.cloud.stage.records("DONE").await;
            (record.first().is_some_and(|r| r["sequencer"] == sequencer(2))).then_some(())
        })
        .await;
        held.let_go();
        history.assert_content(2, 2).await;
        let table = aws_sdk_dynamodb::Client::new(&history.cloud.stage.a);
        let key = format!("{}/{}", history.cloud.stage.source, history.key);
        let key = aws_sdk_dynamodb::types::AttributeValue::S(key);
        let delete = table.delete_item().table_name(&history.cloud.stage.table).key("Key", key);
        delete.send().await.expect("DeleteItem");
    }
}

#[tokio::test]
async fn a_deletion_is_propagated_and_nothing_late_undoes_it() {
    for size in [1000, LARGE] {
        for (versions, settings) in [(false, vec![DELETE]), (true, vec![DELETE, BY_VERSION])] {
            let history = History::of(size, versions).await;
            let worker = history.cloud.worker(&settings);
            let created = history.put(1).await;
            history.send_and_wait(&created).await;
            let removed = history.delete(2, None).await;
            history.send_and_wait(&removed).await;
            history.assert_deleted(2).await;
            for event in [&created, &removed, &created] {
                history.send_and_wait(event).await;
                history.assert_deleted(2).await;
            }
            worker.until_logged("passed over: a later event's outcome is there").await;
            // A new object is brought all the same, and nothing late deletes it.
            let again = history.put(3).await;
            history.send_and_wait(&again).await;
            for event in [&removed, &created] {
                history.send_and_wait(event).await;
            }
            history.assert_content(3, 3).await;
        }
    }
}

// A late event that fails leaves the later one's outcome on record, or restores it.
#[tokio::test]
async fn a_late_event_that_fails_leaves_no_unfinished_record() {
    let history = History::of(1000, true).await;
    let (first, second) = (history.put(1).await, history.put(2).await);
    let worker = history.cloud.worker(&[BY_VERSION, ("MaxRetry", "1")]);
    // Its destination is gone through no fault of ours, and cannot be written.
    history.send_and_wait(&second).await;
    let client = s3(history.cloud.stage.at_destination());
    let delete = client.delete_object().bucket(&history.cloud.stage.destination);
    let delete = delete.key(format!("arrived/{}", history.key));
    delete.send().await.expect("DeleteObject");
    let rule = Rule::on("PutObject", Fault::internal_error());
    let refused = history.cloud.destination.inject(1, vec![rule]);
    history.send(&first).await;
    worker.until_logged("goes back to the queue").await;
    let put = client.put_object().bucket(&history.cloud.stage.destination);
    let put = put.key(format!("arrived/{}", history.key)).body(history.content(2).into());
    put.send().await.expect("PutObject");
    refused.end();
    history.assert_content(2, 2).await;
}

// The object is there again when its deletion's event comes: its own event brings it, or has.
#[tokio::test]
async fn a_deletion_that_its_object_has_outlived_is_passed_over() {
    let history = History::of(1000, false).await;
    let worker = history.cloud.worker(&[DELETE]);
    let created = history.put(1).await;
    history.send_and_wait(&created).await;
    let removed = history.delete(2, None).await;
    let again = history.put(3).await;
    history.send_and_wait(&removed).await;
    worker.until_logged("passed over: the source has the object now").await;
    assert_eq!(history.cloud.destination.calls("DeleteObject"), 0);
    history.assert_content(1, 1).await;
    history.send_and_wait(&again).await;
    history.assert_content(3, 3).await;
}

// What is gone before its event comes was never to be copied.
#[tokio::test]
async fn an_event_whose_object_is_gone_is_no_failure_where_deletions_follow() {
    let history = History::of(1000, false).await;
    let created = history.put(1).await;
    let removed = history.delete(2, None).await;
    let worker = history.cloud.worker(&[DELETE]);
    history.send(&created).await;
    worker.until_logged("passed over: the object is gone").await;
    history.send_and_wait(&removed).await;
    history.assert_deleted(2).await;
}

// A version that is deleted for good need not have been the current one; and where it was, no event
// speaks of the one that is current now.
#[tokio::test]
async fn a_deleted_version_leaves_what_is_current_at_the_destination() {
    let history = History::of(1000, true).await;
    let worker = history.cloud.worker(&[DELETE, BY_VERSION]);
    let mut versions = Vec::new();
    for n in [1, 2, 3] {
        let event = history.put(n).await;
        versions.push(event.0["Records"][0]["s3"]["object"]["versionId"].as_str().map(str::to_owned));
        history.send_and_wait(&event).await;
    }
    let written = history.written();
    let old = history.delete(4, versions[1].clone()).await;
    history.send_and_wait(&old).await;
    worker.until_logged("passed over: the source has the object now").await;
    assert_eq!(history.written(), written);
    history.assert_content(3, 3).await;
    // The first one is current again.
    let current = history.delete(5, versions[2].clone()).await;
    history.send_and_wait(&current).await;
    history.assert_content(1, 5).await;
    // A marker hides it, and is deleted itself.
    let marked = history.delete(6, None).await;
    history.send_and_wait(&marked).await;
    history.assert_deleted(6).await;
    let marker = marked.0["Records"][0]["s3"]["object"]["versionId"].as_str().map(str::to_owned);
    let unmarked = history.delete(7, marker).await;
    history.send_and_wait(&unmarked).await;
    history.assert_content(1, 7).await;
}

// The source had nothing when it was asked; a new object is written and brought before the deletion
// is carried out, which takes the new copy away. The record tells, and it is brought again.
#[tokio::test]
async fn a_deletion_that_hits_a_newer_copy_is_made_good() {
    let history = History::of(1000, false).await;
    let _worker = history.cloud.worker(&[DELETE]);
    let created = history.put(1).await;
    history.send_and_wait(&created).await;
    let removed = history.delete(2, None).await;
    let rule = Rule::on("DeleteObject", Fault::Hold).once();
    let held = history.cloud.destination.inject(1, vec![rule]);
    history.send(&removed).await;
    held.held().await;
    let again = history.put(3).await;
    history.send(&again).await;
    until("the new object is on record", async || {
        (history.cloud.stage.record(history.key).await["sequencer"] == sequencer(3)).then_some(())
    })
    .await;
    held.let_go();
    history.assert_content(3, 3).await;
    assert_eq!(history.cloud.destination.calls("DeleteObject"), 1);
}

// The copy was read before the object was deleted, and is written after its deletion was propagated.
#[tokio::test]
async fn a_copy_that_is_written_after_its_deletion_is_deleted() {
    let history = History::of(1000, false).await;
    let created = history.put(1).await;
    let held = history.cloud.destination.inject(1, vec![Rule::on("PutObject", Fault::Hold).once()]);
    let _worker = history.cloud.worker(&[DELETE]);
    history.send(&created).await;
    held.held().await;
    let removed = history.delete(2, None).await;
    history.send(&removed).await;
    until("the deletion is on record", async || {
        (history.cloud.stage.records("DONE").await.len() == 1).then_some(())
    })
    .await;
    held.let_go();
    history.assert_deleted(2).await;
}
