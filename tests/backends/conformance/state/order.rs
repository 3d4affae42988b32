//! What holds for outcomes of jobs whose order matters: those of events, and deletions.

use std::time::Duration;

use s3_migration::error::ErrorKind;
use s3_migration::object::Etag;
use s3_migration::object::sequencer::Sequencer;
use s3_migration::record::{JobStatus, Order, Outcome, RecordStore, Stamp, Start, UploadRef};

use super::{assert_fenced, at, end, id, load, seal, start};

fn sequencer(text: &str) -> Option<Sequencer> {
    Sequencer::parse(text)
}

fn order(text: &str, seen: Option<Stamp>) -> Option<Order> {
    Some(Order { sequencer: sequencer(text), seen })
}

/// The end of an event's attempt that has seen this state of the record.
fn event_end(text: &str, seen: Option<Stamp>, second: u64) -> Outcome {
    Outcome { order: order(text, seen), ..end("key", None, second, second + 1) }
}

fn deletion(text: &str, seen: Option<Stamp>, second: u64) -> Outcome {
    let end = event_end(text, seen, second);
    Outcome { etag: None, version: None, size: 0, deleted: true, ..end }
}

async fn stamp(store: &dyn RecordStore) -> Option<Stamp> {
    Some(load(store, "key").await.stamp())
}

pub async fn an_events_end_puts_its_sequencer_on_record(store: &dyn RecordStore) {
    store.finish(&[event_end("00A1", None, 10)]).await.unwrap();
    let first = load(store, "key").await;
    assert_eq!((first.sequencer, first.tries, first.deleted), (sequencer("00A1"), 1, false));
    // What came by no event leaves it alone.
    store.finish(&[end("key", None, 20, 21)]).await.unwrap();
    assert_eq!(load(store, "key").await.sequencer, sequencer("00A1"));
    let seen = stamp(store).await;
    store.finish(&[event_end("00A2", seen, 30)]).await.unwrap();
    assert_eq!(load(store, "key").await.sequencer, sequencer("00A2"));
    store.begin(&start("key", "t1", 40)).await.unwrap();
    let large = Outcome { order: order("00A3", None), ..end("key", Some("t1"), 40, 50) };
    store.finish(&[large]).await.unwrap();
    let last = load(store, "key").await;
    assert_eq!((last.sequencer, last.status), (sequencer("00A3"), JobStatus::Done));
}

/// Promise 2.
pub async fn of_two_attempts_at_once_one_ends(store: &dyn RecordStore) {
    // Both have seen that there is no record.
    let (first, second) = (event_end("2", None, 10), event_end("1", None, 11));
    store.finish(&[first]).await.unwrap();
    let once = load(store, "key").await;
    assert_fenced(store, std::slice::from_ref(&second)).await;
    assert_eq!(load(store, "key").await, once);
    // Both have seen the same one.
    let seen = stamp(store).await;
    store.finish(&[event_end("4", seen, 20)]).await.unwrap();
    let twice = load(store, "key").await;
    assert_fenced(store, &[event_end("5", seen, 21)]).await;
    assert_fenced(store, &[deletion("6", seen, 22)]).await;
    assert_eq!(load(store, "key").await, twice);
}

/// Promise 2.
pub async fn whoever_has_been_at_work_meanwhile_refuses_an_ordered_end(store: &dyn RecordStore) {
    let ended = || event_end("9", None, 5);
    store.finish(&[end("key", None, 1, 2)]).await.unwrap();
    assert_fenced(store, &[ended()]).await;
    // A comparison's job, a beginning, and its end.
    let seen = stamp(store).await;
    store.finish(&[end("key", None, 10, 11)]).await.unwrap();
    assert_fenced(store, &[Outcome { order: order("9", seen), ..ended() }]).await;
    let seen = stamp(store).await;
    store.begin(&start("key", "t1", 20)).await.unwrap();
    assert_fenced(store, &[Outcome { order: order("9", seen), ..ended() }]).await;
    let seen = stamp(store).await;
    store.finish(&[end("key", Some("t1"), 20, 30)]).await.unwrap();
    assert_fenced(store, &[Outcome { order: order("9", seen), ..ended() }]).await;
    let seen = stamp(store).await;
    store.finish(&[Outcome { order: order("9", seen), ..ended() }]).await.unwrap();
}

pub async fn an_ordered_end_may_be_recorded_twice(store: &dyn RecordStore) {
    for text in ["1", "2"] {
        let seen = store.load(&id("key")).await.unwrap().map(|record| record.stamp());
        for outcome in [event_end(text, seen, 10), deletion(text, seen, 10)] {
            let seen = store.load(&id("key")).await.unwrap().map(|record| record.stamp());
            let outcome = Outcome { order: order(text, seen), start_time: at(9), ..outcome };
            store.finish(std::slice::from_ref(&outcome)).await.unwrap();
            let once = load(store, "key").await;
            store.finish(std::slice::from_ref(&outcome)).await.unwrap();
            assert_eq!(load(store, "key").await, once, "{text}");
        }
    }
}

/// Clocks tell more than a database may keep.
pub async fn a_state_is_known_again_whatever_its_times_are(store: &dyn RecordStore) {
    for nanos in [1, 499_999, 500_000, 123_456_789, 999_499_999, 999_999_999] {
        let seen = store.load(&id("key")).await.unwrap().map(|record| record.stamp());
        let ended = event_end("1", seen, 10);
        let end_time = ended.end_time + Duration::from_nanos(nanos);
        let ended = Outcome { end_time, ..ended };
        store.finish(&[ended]).await.unwrap_or_else(|error| panic!("{nanos}: {error}"));
    }
    let stale = event_end("2", None, 20);
    assert_fenced(store, &[stale]).await;
}

/// Promise 2.
pub async fn a_start_behind_a_later_event_is_refused(store: &dyn RecordStore) {
    store.finish(&[event_end("00B", None, 10)]).await.unwrap();
    let once = load(store, "key").await;
    let started =
        |text: &str, token: &str| Start { sequencer: sequencer(text), ..start("key", token, 20) };
    let refused = store.begin(&started("00A", "t1")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LeaseLost, "{refused}");
    assert_eq!(load(store, "key").await, once);
    for text in ["00B0", "00B1"] {
        store.begin(&started(text, text)).await.unwrap();
        store.begin(&started(text, text)).await.expect("its answer may have been lost");
    }
    // A start is no event's end.
    assert_eq!(load(store, "key").await.sequencer, sequencer("00B"));
}

pub async fn an_end_behind_a_beginning_breaks_its_fence(store: &dyn RecordStore) {
    for ended in [event_end, deletion] {
        store.begin(&start("key", "t1", 10)).await.unwrap();
        let seen = stamp(store).await;
        store.finish(&[ended("1", seen, 20)]).await.unwrap();
        let refused = store.seal(&seal("key", "t1")).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::LeaseLost);
        assert_fenced(store, &[end("key", Some("t1"), 10, 30)]).await;
    }
}

/// Promise 2.
pub async fn a_deletion_is_on_record_and_is_no_copy(store: &dyn RecordStore) {
    store.finish(&[event_end("1", None, 10)]).await.unwrap();
    let seen = stamp(store).await;
    store.finish(&[deletion("2", seen, 20)]).await.unwrap();
    let deleted = load(store, "key").await;
    assert_eq!((deleted.status, deleted.deleted), (JobStatus::Done, true));
    assert_eq!((deleted.size, deleted.version, deleted.etag), (0, None, None));
    assert_eq!((deleted.last_error, deleted.sequencer), (None, sequencer("2")));
    assert_eq!(store.copied(&[id("key")]).await.unwrap(), [None]);
    let tally = store.tally(at(0)).await.unwrap();
    assert_eq!((tally.done, tally.done_bytes), (1, 0));
    // A failure tells nothing about the destination, a copy does.
    let failed = Outcome { etag: None, status: JobStatus::Failed, ..end("key", None, 30, 31) };
    store.finish(&[failed]).await.unwrap();
    assert!(load(store, "key").await.deleted);
    store.begin(&start("key", "t1", 40)).await.unwrap();
    assert!(load(store, "key").await.deleted, "until it has ended well");
    store.finish(&[end("key", Some("t1"), 40, 50)]).await.unwrap();
    assert!(!load(store, "key").await.deleted);
    let seen = stamp(store).await;
    store.finish(&[deletion("3", seen, 60)]).await.unwrap();
    let seen = stamp(store).await;
    store.finish(&[event_end("4", seen, 70)]).await.unwrap();
    assert!(!load(store, "key").await.deleted);
    assert!(store.copied(&[id("key")]).await.unwrap()[0].is_some());
}

pub async fn a_deletion_drops_the_upload_that_was_begun(store: &dyn RecordStore) {
    store.begin(&start("key", "t1", 10)).await.unwrap();
    let seen = stamp(store).await;
    let answers = store.finish_each(&[deletion("1", seen, 20)]).await;
    let expected = UploadRef { id: "upload t1".to_owned(), part_size: 5 << 30 };
    assert_eq!(answers.into_iter().next().unwrap().unwrap(), Some(expected));
    let record = load(store, "key").await;
    assert_eq!((record.upload, record.lease, record.etag), (None, None, None));
    // One that has become its object is not to be aborted.
    store.begin(&start("key", "t2", 30)).await.unwrap();
    let whole = Outcome { etag: Some(Etag::new("etag-1")), ..end("key", Some("t2"), 30, 40) };
    store.finish(&[whole]).await.unwrap();
    let seen = stamp(store).await;
    let answers = store.finish_each(&[deletion("2", seen, 50)]).await;
    assert_eq!(answers.into_iter().next().unwrap().unwrap(), None);
    assert_eq!(load(store, "key").await.upload, None);
}

pub async fn ordered_ends_of_a_batch_stand_by_themselves(store: &dyn RecordStore) {
    let ended = |key: &str, seen| Outcome { id: id(key), ..event_end("5", seen, 10) };
    store.finish(&[ended("old", None), end("foreign", None, 1, 2)]).await.unwrap();
    let seen = Some(load(store, "old").await.stamp());
    let removed = Outcome { id: id("gone"), ..deletion("5", None, 10) };
    let later = Outcome { end_time: at(30), ..ended("old", seen) };
    let batch = [ended("new", None), later, ended("foreign", None), removed];
    let answers = store.finish_each(&batch).await;
    let kinds: Vec<_> = answers.into_iter().map(|a| a.err().map(|error| error.kind())).collect();
    assert_eq!(kinds, [None, None, Some(ErrorKind::LeaseLost), None]);
    for key in ["new", "old", "gone"] {
        let record = load(store, key).await;
        assert_eq!((record.sequencer, record.deleted), (sequencer("5"), key == "gone"), "{key}");
    }
    assert_eq!(load(store, "foreign").await.sequencer, None);
}
