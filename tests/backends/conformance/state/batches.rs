//! What holds for outcomes that are put on record many at once.

use s3_migration::error::ErrorKind;
use s3_migration::object::ObjectId;
use s3_migration::record::{JobStatus, Outcome, Record, RecordId, RecordStore};

use super::{assert_fenced, at, end, id, load, start};

pub async fn a_batch_with_one_fenced_end_records_the_others(store: &dyn RecordStore) {
    for key in ["a", "b", "c"] {
        store.begin(&start(key, "t1", 10)).await.unwrap();
    }
    store.begin(&start("b", "t2", 20)).await.unwrap();
    let mut batch = ["a", "b", "c"].map(|key| end(key, Some("t1"), 10, 30)).to_vec();
    batch.push(end("d", None, 10, 30));
    assert_fenced(store, &batch).await;
    for (key, status) in [
        ("a", JobStatus::Done),
        ("b", JobStatus::Running),
        ("c", JobStatus::Done),
        ("d", JobStatus::Done),
    ] {
        assert_eq!(load(store, key).await.status, status, "{key}");
    }
}

/// Promise 1.
pub async fn a_large_batch_is_recorded_whole(store: &dyn RecordStore) {
    let keys: Vec<String> = (0..130).map(|n| format!("k{n}")).collect();
    let ends: Vec<Outcome> = keys.iter().map(|key| end(key, None, 10, 20)).collect();
    store.finish(&ends).await.unwrap();
    assert_eq!(store.tally(at(0)).await.unwrap().done, 130);
}

/// Promise 1.
pub async fn each_end_of_a_batch_has_its_own_answer(store: &dyn RecordStore) {
    for (key, token) in [("a", "t1"), ("b", "t1"), ("b", "t2")] {
        store.begin(&start(key, token, 10)).await.unwrap();
    }
    let batch = [
        end("new 1", None, 10, 30),
        end("b", Some("t1"), 10, 30),
        end("a", Some("t1"), 10, 30),
        end("new 2", None, 10, 30),
    ];
    let answers = store.finish_each(&batch).await;
    let kinds: Vec<_> = answers.into_iter().map(|answer| answer.err().map(|e| e.kind())).collect();
    assert_eq!(kinds, [None, Some(ErrorKind::LeaseLost), None, None]);
    assert_eq!(load(store, "b").await.lease.as_deref(), Some("t2"), "the live attempt's token");
    for key in ["new 1", "a", "new 2"] {
        assert_eq!(load(store, key).await.status, JobStatus::Done, "{key}");
    }
    assert_eq!(store.finish_each(&[]).await.len(), 0);
}

/// Promise 8.
pub async fn a_batch_counts_the_tries_of_what_is_known_and_of_what_is_new(store: &dyn RecordStore) {
    let failed = Outcome {
        status: JobStatus::Failed,
        error: Some("denied".to_owned()),
        etag: None,
        ..end("known", None, 10, 20)
    };
    store.finish(&[failed]).await.unwrap();
    let batch = ["x", "known", "y"].map(|key| end(key, None, 30, 40));
    store.finish(&batch).await.unwrap();
    let known = load(store, "known").await;
    assert_eq!((known.tries, known.first_time, known.last_error), (2, at(10), None));
    // What a batch makes is what a single write makes.
    store.finish(&[end("z", None, 30, 40)]).await.unwrap();
    let single = load(store, "z").await;
    for key in ["x", "y"] {
        assert_eq!(load(store, key).await, Record { id: id(key), ..single.clone() });
    }
}

/// Promise 8.
pub async fn a_batch_that_is_sent_again_changes_nothing(store: &dyn RecordStore) {
    let batch: Vec<Outcome> = (0..30).map(|n| end(&format!("k{n}"), None, 10, 20)).collect();
    store.finish(&batch).await.unwrap();
    let once = load(store, "k29").await;
    store.finish(&batch).await.unwrap();
    assert_eq!(load(store, "k29").await, once);
    let tally = store.tally(at(0)).await.unwrap();
    assert_eq!((tally.done, load(store, "k0").await.end_time), (30, Some(at(20))));
}

/// Promise 8.
pub async fn one_key_twice_in_a_batch_is_two_attempts(store: &dyn RecordStore) {
    let batch = [end("key", None, 10, 20), end("other", None, 10, 20), end("key", None, 30, 40)];
    store.finish(&batch).await.unwrap();
    let record = load(store, "key").await;
    assert_eq!((record.tries, record.end_time), (2, Some(at(40))));
}

/// Promise 8.
pub async fn pairs_that_share_a_source_share_a_batch(store: &dyn RecordStore) {
    let ids = ["des-1", "des-2", "des-3"].map(|bucket| RecordId {
        src: ObjectId::new("src", "key"),
        des: ObjectId::new(bucket, "key"),
    });
    let batch = ids.each_ref().map(|id| Outcome { id: id.clone(), ..end("key", None, 10, 20) });
    store.finish(&batch).await.unwrap();
    for id in &ids {
        let record = store.load(id).await.unwrap().expect("no record");
        assert_eq!((&record.id, record.status, record.tries), (id, JobStatus::Done, 1));
    }
}
