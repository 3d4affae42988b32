//! What holds for the upload of an attempt: its parts, its seal, its proof.

use s3_migration::error::ErrorKind;
use s3_migration::object::Etag;
use s3_migration::record::{
    JobStatus, Outcome, Proofs, Proven, Record, RecordStore, Start, UploadRef,
};

use super::{at, begun, end, load, seal, start};

/// Promise 3.
pub async fn what_is_known_of_the_parts_is_about_the_upload_on_record(store: &dyn RecordStore) {
    for (token, digests_first) in [("t1", true), ("t2", false), ("t3", true), ("t4", true)] {
        let start = Start { digests_first, ..start("key", token, 10) };
        store.begin(&start).await.unwrap();
        assert_eq!(load(store, "key").await.digests_first, digests_first, "{token}");
    }
    // A failure keeps the upload.
    let failed = Outcome { status: JobStatus::Failed, ..end("key", Some("t4"), 10, 20) };
    store.finish(&[failed]).await.unwrap();
    assert!(load(store, "key").await.digests_first);
}

/// Promise 8.
pub async fn a_seal_is_on_record_for_its_upload_only(store: &dyn RecordStore) {
    store.begin(&start("key", "t1", 10)).await.unwrap();
    store.seal(&seal("key", "t1")).await.unwrap();
    let (target_etag, proven) = (Some(Etag::new("target-2")), Some(Proven::Transit));
    let sealed = Record { target_etag, proven, ..begun("key") };
    assert_eq!(load(store, "key").await, sealed);
    store.begin(&start("key", "t2", 20)).await.unwrap();
    assert_eq!(load(store, "key").await.target_etag, None, "another upload");
    let again = Start { upload: begun("key").upload.unwrap(), ..start("key", "t3", 30) };
    store.begin(&again).await.unwrap();
    assert_eq!(load(store, "key").await.target_etag, sealed.target_etag, "the same upload");
}

/// Promise 3.
pub async fn an_upload_that_is_distrusted_is_on_record_as_such(store: &dyn RecordStore) {
    let first = start("key", "t1", 10);
    store.begin(&first).await.unwrap();
    let upload = UploadRef { part_size: UploadRef::DISTRUSTED, ..first.upload.clone() };
    store.begin(&Start { upload: upload.clone(), ..first }).await.unwrap();
    assert_eq!(load(store, "key").await.upload, Some(upload));
}

/// Promise 8.
pub async fn a_replaced_token_seals_nothing(store: &dyn RecordStore) {
    store.begin(&start("key", "t1", 10)).await.unwrap();
    store.begin(&start("key", "t2", 20)).await.unwrap();
    let refused = store.seal(&seal("key", "t1")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LeaseLost);
    assert_eq!(load(store, "key").await.target_etag, None);
}

pub async fn what_a_copy_is_proven_by_is_on_record(store: &dyn RecordStore) {
    let (own, other) = (Some(Etag::new("etag-1")), Some(Etag::new("other")));
    let kinds = [Proven::Source, Proven::Transit, Proven::Nothing];
    for (at, (proven, written)) in
        kinds.into_iter().zip([own.clone(), other.clone(), None]).enumerate()
    {
        let (key, proven) = (format!("key {at}"), Some(proven));
        store.begin(&start(&key, "t1", 10)).await.unwrap();
        let sealed = store.seal(&seal(&key, "t1")).await;
        sealed.unwrap();
        assert_eq!(load(store, &key).await.proven, Some(Proven::Transit), "as it was sealed");
        let end = Outcome { proven, written: written.clone(), ..end(&key, Some("t1"), 10, 25) };
        store.finish(&[end]).await.unwrap();
        let record = load(store, &key).await;
        assert_eq!((record.proven, record.written), (proven, written), "{key}");
    }
    let expected = Proofs { source: 1, transit: 1, none: 1 };
    assert_eq!(store.tally(at(0)).await.unwrap().proofs, expected);
    // Another attempt begins with nothing proven.
    store.begin(&start("key 0", "t2", 30)).await.unwrap();
    assert_eq!(load(store, "key 0").await.proven, None);
}

/// Promise 2.
pub async fn an_upload_does_not_outlive_its_etag(store: &dyn RecordStore) {
    let begun = start("key", "t1", 10);
    store.begin(&begun).await.unwrap();
    let same = Outcome { status: JobStatus::Running, ..end("key", None, 15, 16) };
    let other = Outcome { etag: Some(Etag::new("etag-2")), ..end("key", None, 20, 21) };
    // Whoever drops an upload learns of it, once: nobody else would abort it.
    for (outcome, dropped) in [(same, None), (other.clone(), Some(begun.upload)), (other, None)] {
        let answers = store.finish_each(&[outcome]).await;
        assert_eq!(answers.into_iter().next().unwrap().unwrap(), dropped);
    }
    let record = load(store, "key").await;
    assert_eq!((record.etag, record.upload), (Some(Etag::new("etag-2")), None));
}
