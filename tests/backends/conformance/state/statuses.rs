//! What holds for records by their status.

use std::collections::BTreeSet;

use s3_migration::object::ObjectId;
use s3_migration::record::{
    JobStatus, NoteKey, Outcome, Proofs, Record, RecordId, RecordStore, RecordTally, RecordsPage,
};

use super::{at, end, id, load, start};

pub async fn records_are_tallied(store: &dyn RecordStore) {
    store.begin(&start("running", "t1", 50)).await.unwrap();
    let sized = |size, outcome| Outcome { size, ..outcome };
    store
        .finish(&[
            sized(1000, end("early", None, 20, 30)),
            sized(200, end("at the edge", None, 40, 60)),
            sized(30, end("late", None, 61, 90)),
            sized(4, Outcome { status: JobStatus::Failed, ..end("failed", None, 61, 95) }),
        ])
        .await
        .unwrap();
    let expected = RecordTally {
        running: 1,
        running_bytes: 1 << 45,
        done: 3,
        done_bytes: 1230,
        proofs: Proofs::default(),
        failed: 1,
        recent: 2,
        recent_bytes: 230,
        span: Some((at(20), at(95))),
    };
    assert_eq!(store.tally(at(60)).await.unwrap(), expected);
}

pub async fn records_are_found_by_status(store: &dyn RecordStore) {
    let failed = |key: &str| Outcome {
        status: JobStatus::Failed,
        error: Some(format!("{key} is gone")),
        ..end(key, None, 10, 20)
    };
    store.finish(&[failed("a"), end("b", None, 10, 20), failed("c")]).await.unwrap();
    let mut found = store.with_status(JobStatus::Failed, 10).await.unwrap();
    found.sort_by(|a, b| a.id.cmp(&b.id));
    let errors: Vec<_> = found.iter().map(|r| r.last_error.as_deref()).collect();
    assert_eq!(errors, [Some("a is gone"), Some("c is gone")]);
    assert_eq!(store.with_status(JobStatus::Failed, 1).await.unwrap().len(), 1);
    assert_eq!(store.with_status(JobStatus::Running, 10).await.unwrap(), []);
}

pub async fn records_with_a_status_come_on_pages(store: &dyn RecordStore) {
    let failed = |key: String| Outcome { status: JobStatus::Failed, ..end(&key, None, 10, 20) };
    let outcomes: Vec<Outcome> = (0..1005).map(|n| failed(format!("failed/{n}"))).collect();
    store.finish(&outcomes).await.unwrap();
    store.finish(&[end("done", None, 10, 20)]).await.unwrap();
    store.set_note(&NoteKey::new("n"), b"no record").await.unwrap();
    let (mut keys, mut token) = (BTreeSet::new(), None);
    loop {
        let page = store.page_with_status(JobStatus::Failed, token.as_deref()).await.unwrap();
        for record in page.records {
            assert_eq!(record.status, JobStatus::Failed);
            assert!(keys.insert(record.id.src.key.clone()), "twice: {}", record.id.src);
        }
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(keys.len(), 1005);
    let running = store.page_with_status(JobStatus::Running, None).await.unwrap();
    assert_eq!(running, RecordsPage::default());
}

/// Promise 1.
pub async fn only_the_failure_that_was_seen_is_marked_as_sent_again(store: &dyn RecordStore) {
    let failed = |from, to| Outcome { status: JobStatus::Failed, ..end("key", None, from, to) };
    store.finish(&[failed(10, 20)]).await.unwrap();
    // Shares the source, so that its record is under the other key of the table.
    let other = RecordId { des: ObjectId::new("elsewhere", "key"), ..id("key") };
    store.finish(&[Outcome { id: other.clone(), ..failed(10, 30) }]).await.unwrap();
    let first = load(store, "key").await;
    assert!(!first.is_redriven());
    assert!(store.mark_redriven(&first.id, first.stamp()).await.unwrap());
    let marked = load(store, "key").await;
    assert!(marked.is_redriven());
    assert_eq!(marked, Record { redriven: Some(at(20)), redrives: 1, ..first.clone() });
    let untouched = store.load(&other).await.unwrap().unwrap();
    assert!(!untouched.is_redriven());
    assert!(store.mark_redriven(&other, untouched.stamp()).await.unwrap());
    assert!(store.load(&other).await.unwrap().unwrap().is_redriven());

    // A later failure is not the one that was sent again, whatever the clocks say.
    store.finish(&[failed(5, 15)]).await.unwrap();
    let again = load(store, "key").await;
    assert_eq!((again.is_redriven(), again.redrives, again.tries), (false, 1, 2));
    assert!(!store.mark_redriven(&first.id, first.stamp()).await.unwrap());
    assert_eq!(load(store, "key").await, again);
    assert!(store.mark_redriven(&first.id, again.stamp()).await.unwrap());
    assert_eq!(load(store, "key").await.redrives, 2);

    store.finish(&[end("key", None, 40, 50)]).await.unwrap();
    let done = load(store, "key").await;
    assert!(!store.mark_redriven(&done.id, done.stamp()).await.unwrap());
    assert!(!store.mark_redriven(&id("never"), done.stamp()).await.unwrap());
    assert_eq!(store.load(&id("never")).await.unwrap(), None);
}
