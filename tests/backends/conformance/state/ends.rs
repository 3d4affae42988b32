//! What holds for the end of an attempt.

use std::time::Duration;

use s3_migration::record::{JobStatus, Outcome, Record, RecordStore};

use super::{assert_fenced, at, begun, end, load, start};

pub async fn an_end_closes_the_attempt_that_was_begun(store: &dyn RecordStore) {
    store.begin(&start("key", "t1", 10)).await.unwrap();
    store.finish(&[end("key", Some("t1"), 10, 25)]).await.unwrap();
    let expected = Record {
        status: JobStatus::Done,
        end_time: Some(at(25)),
        spent: Some(Duration::from_secs(15)),
        progress: 100,
        ..begun("key")
    };
    assert_eq!(load(store, "key").await, expected);
}

/// Promise 8.
pub async fn the_same_end_may_be_recorded_twice(store: &dyn RecordStore) {
    store.begin(&start("key", "t1", 10)).await.unwrap();
    store.finish(&[end("key", Some("t1"), 10, 25)]).await.unwrap();
    let once = load(store, "key").await;
    store.finish(&[end("key", Some("t1"), 10, 25)]).await.unwrap();
    assert_eq!(load(store, "key").await, once);
}

pub async fn an_end_without_a_start_is_an_attempt_of_its_own(store: &dyn RecordStore) {
    let failed = Outcome {
        status: JobStatus::Failed,
        error: Some("access denied: s3:PutObject on 'ü'\n".to_owned()),
        ..end("key", None, 10, 12)
    };
    store.finish(std::slice::from_ref(&failed)).await.unwrap();
    let first = Record {
        upload: None,
        status: JobStatus::Failed,
        lease: None,
        end_time: Some(at(12)),
        spent: Some(Duration::from_secs(2)),
        progress: 0,
        last_error: failed.error,
        ..begun("key")
    };
    assert_eq!(load(store, "key").await, first);
    store.finish(&[end("key", None, 30, 31)]).await.unwrap();
    let second = Record {
        status: JobStatus::Done,
        tries: 2,
        start_time: at(30),
        end_time: Some(at(31)),
        spent: Some(Duration::from_secs(1)),
        progress: 100,
        last_error: None,
        ..first
    };
    assert_eq!(load(store, "key").await, second);
}

/// Promise 8.
pub async fn a_replaced_token_ends_nothing(store: &dyn RecordStore) {
    store.begin(&start("key", "t1", 10)).await.unwrap();
    store.begin(&start("key", "t2", 20)).await.unwrap();
    let before = load(store, "key").await;
    assert_fenced(store, &[end("key", Some("t1"), 10, 30)]).await;
    assert_eq!(load(store, "key").await, before);
    store.finish(&[end("key", Some("t2"), 20, 30)]).await.unwrap();
    assert_eq!(load(store, "key").await.status, JobStatus::Done);
}

pub async fn an_attempt_without_a_token_takes_over(store: &dyn RecordStore) {
    store.begin(&start("key", "t1", 10)).await.unwrap();
    store.finish(&[end("key", None, 20, 21)]).await.unwrap();
    let record = load(store, "key").await;
    assert_eq!((record.lease.clone(), record.tries), (None, 2));
    assert_fenced(store, &[end("key", Some("t1"), 10, 30)]).await;
    assert_eq!(load(store, "key").await, record);
}

/// Promise 2.
pub async fn an_end_that_learned_nothing_keeps_what_a_resume_needs(store: &dyn RecordStore) {
    store.begin(&start("key", "t1", 10)).await.unwrap();
    let refused = Outcome {
        size: 3,
        version: None,
        etag: None,
        status: JobStatus::Failed,
        error: Some("the source cannot be reached".to_owned()),
        ..end("key", None, 20, 21)
    };
    store.finish(&[refused]).await.unwrap();
    let (record, begun) = (load(store, "key").await, begun("key"));
    assert_eq!(record.status, JobStatus::Failed);
    assert_eq!((record.etag, record.upload), (begun.etag, begun.upload));
    // Nor has it taken the object from whoever is at work on it.
    store.finish(&[end("key", Some("t1"), 10, 30)]).await.unwrap();
    assert_eq!(load(store, "key").await.status, JobStatus::Done);
}

/// Promise 2.
pub async fn an_end_that_learned_nothing_is_counted_once(store: &dyn RecordStore) {
    store.begin(&start("key", "t1", 10)).await.unwrap();
    let refused = Outcome {
        etag: None,
        status: JobStatus::Failed,
        error: Some("the source cannot be reached".to_owned()),
        ..end("key", None, 20, 21)
    };
    for _ in 0..2 {
        store.finish(std::slice::from_ref(&refused)).await.unwrap();
        assert_eq!(load(store, "key").await.tries, 2);
    }
}
