//! What holds for pages of finished copies. They are asked of stores that keep an order.

use std::collections::BTreeSet;

use s3_migration::object::{Etag, ObjectId, ObjectKey, Revision};
use s3_migration::record::{
    CopiesRequest, Copy, JobStatus, Order, Outcome, RecordId, RecordStore, Start,
};

use super::{control_texts, end, odd_texts, start};

/// What has not come to its end by then will never.
const MOST_PAGES: usize = 100;

/// A request for all copies in this bucket.
pub fn all_copies(bucket: &str) -> CopiesRequest {
    CopiesRequest { bucket: bucket.to_owned(), ..CopiesRequest::default() }
}

fn copy_of(src: (&str, &str), des: (&str, &str)) -> Copy {
    let src = ObjectId::new(src.0, src.1);
    let des = ObjectId::new(des.0, des.1);
    // Each has a content of its own, so that none can be taken for another.
    let version = hex::encode(format!("{} {}", src.bucket, src.key.as_str()));
    let etag = Some(Etag::new(hex::encode(format!("{} {}", des.bucket, des.key.as_str()))));
    let id = RecordId { src, des };
    Copy { id, revision: Revision { version: Some(version), etag }, written: None }
}

fn in_des(key: &str) -> Copy {
    copy_of(("src", key), ("des", key))
}

fn done(copy: &Copy) -> Outcome {
    let Copy { id, revision: Revision { version, etag }, .. } = copy.clone();
    Outcome { id, version, etag, ..end("", None, 10, 20) }
}

async fn record(store: &dyn RecordStore, copies: &[Copy]) {
    store.finish(&copies.iter().map(done).collect::<Vec<_>>()).await.unwrap();
}

/// All pages, the first by `request` and the others by the tokens, whether or not they name where
/// the first began.
async fn pages(store: &dyn RecordStore, request: &CopiesRequest, repeats: bool) -> Vec<Vec<Copy>> {
    let mut request = request.clone();
    let mut pages = Vec::new();
    loop {
        let page = store.copies(&request).await.unwrap().expect("a store that keeps an order");
        pages.push(page.copies);
        assert!(pages.len() < MOST_PAGES, "no end: {request:?}");
        if page.next.is_none() {
            return pages;
        }
        request.token = page.next;
        if !repeats {
            request.after = None;
        }
    }
}

async fn all(store: &dyn RecordStore, request: &CopiesRequest) -> Vec<Copy> {
    pages(store, request, true).await.concat()
}

fn keys(copies: &[Copy]) -> Vec<&str> {
    copies.iter().map(|copy| copy.id.des.key.as_str()).collect()
}

/// Promise 2.
pub async fn copies_come_whole_and_in_byte_order(store: &dyn RecordStore) {
    // Neither UTF-16 nor a dictionary has this order.
    let orders = ["\u{fffd}", "\u{10000}", "Z", "a", "a ", "a/", "a0", "é", "e\u{301}"];
    let odd = odd_texts().into_iter().chain(control_texts());
    let keys: BTreeSet<String> = odd.chain(orders.map(str::to_owned)).collect();
    let copies: Vec<Copy> = keys.iter().map(|key| in_des(key)).collect();
    let backwards: Vec<Copy> = copies.iter().rev().cloned().collect();
    record(store, &backwards).await;
    record(store, &[copy_of(("src", "k"), ("elsewhere", "k"))]).await;
    assert_eq!(all(store, &all_copies("des")).await, copies);
    assert_eq!(all(store, &all_copies("nowhere")).await, []);
}

/// Promise 2.
pub async fn copies_are_what_has_ended_well_and_was_not_deleted(store: &dyn RecordStore) {
    let copies = ["again", "back", "deleted", "done", "failed", "null", "running", "without"];
    let copies = copies.map(in_des);
    let [again, back, deleted, plain, failed, null, running, without] = &copies;
    record(store, &[again.clone(), deleted.clone(), plain.clone()]).await;
    for begun in [again, running] {
        let id = begun.id.clone();
        store.begin(&Start { id, ..start("", "t", 30) }).await.unwrap();
    }
    let seen = store.load(&deleted.id).await.unwrap().map(|record| record.stamp());
    let order = Some(Order { sequencer: None, seen });
    let deletion = Outcome { etag: None, version: None, deleted: true, order, ..done(deleted) };
    let ends = [
        Outcome { status: JobStatus::Running, ..done(back) },
        Outcome { status: JobStatus::Failed, ..done(failed) },
        Outcome { end_time: super::at(40), ..deletion },
        Outcome { version: Some("null".to_owned()), ..done(null) },
        Outcome { version: None, ..done(without) },
    ];
    store.finish(&ends).await.unwrap();
    let found = all(store, &all_copies("des")).await;
    assert_eq!(keys(&found), ["done", "null", "without"]);
    let versions: Vec<_> = found.iter().map(|copy| copy.revision.version.clone()).collect();
    assert_eq!(versions, [plain.revision.version.clone(), None, None]);
    // As a lookup by key says it.
    let ids = copies.clone().map(|copy| copy.id);
    let looked_up = store.copied(&ids).await.unwrap();
    let looked_up: Vec<_> = ids.into_iter().zip(looked_up).collect();
    let looked_up = looked_up
        .into_iter()
        .filter_map(|(id, revision)| Some(Copy { id, revision: revision?, written: None }));
    assert_eq!(looked_up.collect::<Vec<_>>(), found);
}

/// Promise 2.
pub async fn copies_of_a_prefix_and_behind_a_key(store: &dyn RecordStore) {
    let there = ["a", "p", "p.", "p/", "p/a", "p/a\u{0}", "p/b", "p/ü", "p/\u{10000}", "p0", "q"];
    record(store, &there.map(in_des)).await;
    for prefix in ["", "p", "p/", "p/a", "x"] {
        for after in [
            None,
            Some(""),
            Some("a"),
            Some("p/"),
            Some("p/a"),
            Some("p/a!"),
            Some("p/\u{10000}"),
            Some("p0"),
            Some("zz"),
        ] {
            let request = CopiesRequest {
                prefix: prefix.to_owned(),
                after: after.map(ObjectKey::new),
                ..all_copies("des")
            };
            let found = all(store, &request).await;
            let expected = there.into_iter().filter(|key| key.starts_with(prefix));
            let expected = expected.filter(|key| after.is_none_or(|after| *key > after));
            assert_eq!(keys(&found), expected.collect::<Vec<_>>(), "{prefix:?} behind {after:?}");
        }
    }
}

/// Promise 2.
pub async fn copies_of_two_pairs_are_told_apart(store: &dyn RecordStore) {
    let sources_of_one = ["src-1", "src-2", "src-3"].map(|src| copy_of((src, "k"), ("des", "k")));
    let destinations_of_one = ["l", "m", "n"].map(|des| copy_of(("src", "k"), ("des", des)));
    record(store, &sources_of_one).await;
    record(store, &destinations_of_one).await;
    let mut found = all(store, &all_copies("des")).await;
    assert_eq!(keys(&found), ["k", "k", "k", "l", "m", "n"]);
    found[..3].sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(found[..3], sources_of_one);
    assert_eq!(found[3..], destinations_of_one, "by the key of a record beside another's too");
}

/// Promise 2.
pub async fn many_copies_come_on_pages(store: &dyn RecordStore) {
    // More than a thousand rows, and more than a mebibyte: a page of either backend ends before. It
    // ends among the copies of one destination, of which some have failed.
    let name = |n: usize| {
        let key = |n: usize| format!("p//\"\n\u{1}/{n:04}{}", "k".repeat(700));
        copy_of(("src", &key(n)), ("des", &key(n / 30)))
    };
    let copies: Vec<Copy> = (0..1400).map(name).collect();
    let fails = |n: &usize| n % 7 == 3;
    let ends = (0..).zip(&copies).map(|(n, copy)| {
        let status = if fails(&n) { JobStatus::Failed } else { JobStatus::Done };
        Outcome { status, ..done(copy) }
    });
    store.finish(&ends.collect::<Vec<_>>()).await.unwrap();
    record(store, &["o", "q"].map(in_des)).await;
    // Pages of other keys lie between where it begins and what is wanted.
    let after = Some(ObjectKey::new("o"));
    let request = CopiesRequest { prefix: "q".to_owned(), after, ..all_copies("des") };
    assert_eq!(keys(&all(store, &request).await), ["q"]);
    let after = copies[40].id.des.key.clone();
    for (prefix, after, first) in
        [("p/", None, 0), ("p/", Some(after.clone()), 60), ("", Some(after), 60)]
    {
        let request = CopiesRequest { prefix: prefix.to_owned(), after, ..all_copies("des") };
        for repeats in [true, false] {
            let pages = pages(store, &request, repeats).await;
            assert!(pages.len() > 1, "all on one page");
            let mut found = pages.concat();
            assert!(found.is_sorted_by_key(|copy| copy.id.des.key.as_str()));
            found.retain(|copy| copy.id.des.key.as_str() != "q");
            let mut expected: Vec<_> =
                (first..1400).filter(|n| !fails(n)).map(|n| &copies[n].id).collect();
            let mut found: Vec<_> = found.iter().map(|copy| &copy.id).collect();
            found.sort();
            expected.sort();
            assert!(found == expected, "{} of {}", found.len(), expected.len());
        }
    }
}
