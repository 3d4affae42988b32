//! What is deleted at the source: propagated if that is wanted, and nothing else is ever deleted.

use std::sync::Arc;

use s3_migration::job::{Job, SeenCopy, pack};
use s3_migration::object::{Etag, ObjectId};
use serde_json::Value;

use crate::bench::LARGE;
use crate::cloud::Cloud;
use crate::history::{BY_VERSION, DELETE, History, sequencer};
use testkit::proxy::{Fault, Faults, Rule};
use testkit::resources::s3;
use testkit::stage::until;

/// Promise 2.
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

// The object is there again when its deletion's event comes: its own event brings it, or has.
/// Promise 2.
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
/// Promise 2.
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

// A version that is deleted for good need not have been the current one; and if it was, no event
// speaks of the one that is current now.
/// Promise 2.
#[tokio::test]
async fn a_deleted_version_leaves_what_is_current_at_the_destination() {
    let history = History::of(1000, true).await;
    let worker = history.cloud.worker(&[DELETE, BY_VERSION]);
    let mut versions = Vec::new();
    for n in [1, 2, 3] {
        let event = history.put(n).await;
        versions.push(event.version());
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
    let marker = marked.version();
    let unmarked = history.delete(7, marker).await;
    history.send_and_wait(&unmarked).await;
    history.assert_content(1, 7).await;
}

/// A deletion is held: a new object is written and brought before it is carried out.
async fn hits_a_newer_copy_and_makes_it_good(history: &History, held: Arc<Faults>) {
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

// The source had nothing when it was asked; a new object is written and brought before the deletion
// is carried out, which takes the new copy away. The record tells, and it is brought again.
/// Promise 2.
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
    hits_a_newer_copy_and_makes_it_good(&history, held).await;
}

// The copy was read before the object was deleted, and is written after its deletion was propagated.
/// Promise 2.
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

// Only the source's own word that it has no such key deletes anything.
/// Promise 2.
#[tokio::test]
async fn what_the_source_does_not_say_deletes_nothing() {
    let history = History::of(1000, false).await;
    let _worker = history.cloud.worker(&[DELETE, ("MaxRetry", "2")]);
    let created = history.put(1).await;
    history.send_and_wait(&created).await;
    let removed = history.delete(2, None).await;
    let denied = || Fault::error(403, "AccessDenied");
    let rules = vec![Rule::on("HeadObject", denied()), Rule::on("GetObject", denied())];
    let refused = history.cloud.source.inject(1, rules);
    history.send(&removed).await;
    let (letter, reason) = history.cloud.stage.dead_letter().await;
    let reason = reason.expect("a reason");
    assert!(reason.contains("s3:ListBucket"), "{reason}");
    assert!(letter.starts_with(r#"{"PackVersion":2,"#), "no older worker copies it: {letter}");
    refused.end();

    // Nor does a bucket that nobody has named.
    history.send(&removed.clone().of_bucket("no-such-bucket")).await;
    let (_, reason) = history.cloud.stage.dead_letter().await;
    let reason = reason.expect("a reason");
    assert!(reason.contains("no pair of the bucket list names"), "{reason}");

    assert_eq!(history.cloud.destination.calls("DeleteObject"), 0);
    assert!(history.arrived().await.is_some());
    // The dead letter can be sent again once the permission is there.
    history.cloud.stage.send(&letter).await;
    until("it is deleted", async || history.arrived().await.is_none().then_some(())).await;
}

/// Promise 2.
#[tokio::test]
async fn deletions_stay_where_they_are_not_propagated() {
    let history = History::of(1000, false).await;
    let worker = history.cloud.worker(&[]);
    let created = history.put(1).await;
    history.send_and_wait(&created).await;
    let removed = history.delete(2, None).await;
    history.send_and_wait(&removed).await;
    worker.until_logged("deletions are not propagated, since PropagateDelete is False").await;
    assert!(history.arrived().await == Some(history.content(1)));
    assert_eq!(history.cloud.destination.calls("DeleteObject"), 0);
}

/// The deletion that a comparison sends.
fn deletion(cloud: &Cloud, key: &str, seen: SeenCopy) -> Job {
    let des = ObjectId::new(&cloud.stage.destination, format!("moved/{key}"));
    Job::delete(ObjectId::new(&cloud.stage.source, key), des, seen)
}

// Who sends a deletion has been asked to: PropagateDelete is about events only. But what was seen may
// be out of date by now, on either side.
/// Promise 2.
#[tokio::test]
async fn the_deletions_of_a_comparison_delete_what_was_seen_and_nothing_else() {
    let cloud = Cloud::of(&[]).await;
    let client = s3(cloud.stage.at_destination());
    let mut etags = Vec::new();
    for (key, body) in
        [("gone", "1"), ("also gone", "12"), ("back", "123"), ("replaced", "1234"), ("other", "5")]
    {
        let put = client.put_object().bucket(&cloud.stage.destination).key(format!("moved/{key}"));
        let put = put.body(body.as_bytes().to_vec().into()).send().await.expect("PutObject");
        etags.push(put.e_tag.map(Etag::new));
    }
    cloud.stage.put_source("back", b"123").await;
    let seen = |at: usize, size: u64| SeenCopy { size, etag: etags[at].clone() };
    let jobs = [
        deletion(&cloud, "gone", seen(0, 1)),
        deletion(&cloud, "also gone", SeenCopy { size: 2, etag: None }),
        deletion(&cloud, "back", seen(2, 3)),
        deletion(&cloud, "replaced", seen(0, 4)),
        deletion(&cloud, "other", SeenCopy { size: 4, etag: None }),
        deletion(&cloud, "never there", seen(0, 1)),
    ];
    cloud.stage.send(&pack(&jobs)).await;
    let worker = cloud.worker(&[]);
    cloud.stage.until_done(3).await;
    let left = ["moved/back", "moved/other", "moved/replaced"];
    assert_eq!(cloud.stage.arrived_keys().await, left);
    worker.until_logged("passed over: the source has the object now").await;
    worker.until_logged("passed over: the destination has another object than the one seen").await;
    for key in ["gone", "also gone", "never there"] {
        let record = cloud.stage.record(key).await;
        assert_eq!((&record["deleted"], &record["Size"]), (&"True".into(), &"0".into()), "{key}");
        assert_eq!(record["sequencer"], Value::Null);
    }
    // Again, alone, and as what is left of a pack is sent on: nothing changes.
    cloud.stage.send(&jobs[0].to_message()).await;
    cloud.stage.until_done(3).await;
    assert_eq!(cloud.stage.arrived_keys().await, left);
    // An object that is written again is copied by the next comparison, also if versions are
    // compared by the records.
    cloud.stage.put_source("gone", b"1").await;
    let put = client.put_object().bucket(&cloud.stage.destination).key("moved/gone");
    put.body(b"2".to_vec().into()).send().await.expect("PutObject");
    let mut compare = cloud.stage.program(&["jobsender", "--json"]);
    compare.env("JobsenderCompareVersionId", "True");
    let compared = testkit::stage::ran(compare).await;
    let found: Value = serde_json::from_str(&compared.stdout).expect("JSON");
    assert_eq!(found[0]["version_differs"], 2, "{found}");
}

// As an event's, but without a place among the events: the record tells that somebody was at work.
/// Promise 2.
#[tokio::test]
async fn a_deletion_of_a_comparison_that_hits_a_newer_copy_is_made_good() {
    let history = History::of(1000, false).await;
    let _worker = history.cloud.worker(&[]);
    let created = history.put(1).await;
    history.send_and_wait(&created).await;
    history.delete(2, None).await;
    let rule = Rule::on("DeleteObject", Fault::Hold).once();
    let held = history.cloud.destination.inject(1, vec![rule]);
    let src = ObjectId::new(&history.cloud.stage.source, history.key);
    let des = format!("moved/{}", history.key);
    let des = ObjectId::new(&history.cloud.stage.destination, des);
    let deletion = Job::delete(src, des, SeenCopy { size: 1000, etag: None });
    history.cloud.stage.send(&deletion.to_message()).await;
    hits_a_newer_copy_and_makes_it_good(&history, held).await;
}

// Its version is still there to be read, but it is not the newest that there is of it.
/// Promise 2.
#[tokio::test]
async fn a_version_of_what_has_been_deleted_is_not_brought_back() {
    let history = History::of(1000, true).await;
    let worker = history.cloud.worker(&[DELETE, BY_VERSION]);
    let created = history.put(1).await;
    history.send_and_wait(&created).await;
    history.send_and_wait(&history.delete(2, None).await).await;
    history.send_and_wait(&created.uncounted()).await;
    worker.until_logged("passed over: its object has been deleted since").await;
    history.assert_deleted(2).await;
}

// What of a pack could not be done goes on by itself, still as a deletion.
/// Promise 2.
#[tokio::test]
async fn a_deletion_that_fails_is_tried_again_as_one() {
    let cloud = Cloud::of(&[]).await;
    let client = s3(cloud.stage.at_destination());
    for key in ["moved/a", "moved/b"] {
        let put = client.put_object().bucket(&cloud.stage.destination).key(key);
        put.body(b"1".to_vec().into()).send().await.expect("PutObject");
    }
    let rule = Rule::on("DeleteObject", Fault::error(500, "InternalError")).containing("moved/a");
    let failing = cloud.destination.inject(1, vec![rule.most(3)]);
    let jobs = ["a", "b"].map(|key| deletion(&cloud, key, SeenCopy { size: 1, etag: None }));
    cloud.stage.send(&pack(&jobs)).await;
    let _worker = cloud.worker(&[("MaxRetry", "2")]);
    cloud.stage.until_done(2).await;
    assert!(failing.missed().is_empty());
    assert_eq!(cloud.stage.arrived_keys().await, [""; 0]);
    assert_eq!(cloud.stage.status().await["dead"], 0);
}
