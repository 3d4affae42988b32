//! What holds for pages of all records.

use std::collections::BTreeSet;

use s3_migration::object::ObjectId;
use s3_migration::record::{
    JobStatus, NoteKey, Outcome, Record, RecordId, RecordStore, RecordsRequest,
};

use super::{control_texts, end, load, odd_texts, start};

/// What has not come to its end by then will never.
const MOST_PAGES: usize = 100;

async fn pages(store: &dyn RecordStore, within: Option<ObjectId>) -> Vec<Vec<Record>> {
    let mut request = RecordsRequest { within, token: None };
    let mut pages = Vec::new();
    loop {
        let page = store.records(&request).await.unwrap();
        pages.push(page.records);
        assert!(pages.len() < MOST_PAGES, "no end: {request:?}");
        request.token = page.next;
        if request.token.is_none() {
            return pages;
        }
    }
}

fn of(src: &str, des: &str) -> Outcome {
    let id = RecordId { src: ObjectId::new("src", src), des: ObjectId::new(des, src) };
    Outcome { id, error: Some("e".repeat(600)), ..end("", None, 10, 20) }
}

/// Promise 1.
pub async fn every_record_comes_once_page_by_page(store: &dyn RecordStore) {
    // More than a thousand rows, and more than a mebibyte: a page of either backend ends before.
    let keys = (0..2500).map(|n| format!("{n:04}"));
    let keys: Vec<String> = keys.chain(odd_texts()).chain(control_texts()).collect();
    let mut outcomes: Vec<Outcome> = keys.iter().map(|key| of(key, "des")).collect();
    outcomes[7].status = JobStatus::Failed;
    store.finish(&outcomes).await.unwrap();
    store.finish(&[of("0001", "elsewhere")]).await.unwrap();
    store.set_note(&NoteKey::new("n"), b"no record").await.unwrap();
    store.begin(&start("begun", "t1", 10)).await.unwrap();
    let expected: BTreeSet<RecordId> = outcomes
        .iter()
        .map(|outcome| outcome.id.clone())
        .chain([of("0001", "elsewhere").id, super::id("begun")])
        .collect();
    for within in [None, Some(ObjectId::new("des", ""))] {
        let pages = pages(store, within.clone()).await;
        assert!(pages.len() > 1, "all on one page");
        let records = pages.concat();
        let ids: BTreeSet<RecordId> = records.iter().map(|record| record.id.clone()).collect();
        assert_eq!(records.len(), ids.len(), "a record comes twice");
        let is_asked = |id: &&RecordId| within.is_none() || id.des.bucket == "des";
        assert_eq!(ids, expected.iter().filter(is_asked).cloned().collect(), "{within:?}");
        let begun = records.iter().find(|record| record.id == super::id("begun"));
        if let Some(begun) = begun {
            assert_eq!(*begun, load(store, "begun").await);
        }
    }
}

/// Promise 2.
pub async fn records_of_a_bucket_and_prefix_come_alone(store: &dyn RecordStore) {
    let all = ["a", "a/", "a/1", "a/2", "a0", "b/1"].map(|key| of(key, "des"));
    store.finish(&all).await.unwrap();
    store.finish(&[of("a/1", "other")]).await.unwrap();
    for (bucket, prefix, expected) in [
        ("des", "a/", vec!["a/", "a/1", "a/2"]),
        ("other", "a/", vec!["a/1"]),
        ("des", "c", vec![]),
        ("nowhere", "", vec![]),
    ] {
        let records = pages(store, Some(ObjectId::new(bucket, prefix))).await.concat();
        let mut keys: Vec<_> = records.iter().map(|record| record.id.des.key.as_str()).collect();
        keys.sort_unstable();
        assert_eq!(keys, expected, "{bucket}/{prefix}");
    }
}
