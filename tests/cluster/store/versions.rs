//! A bucket with versions. Only ministack has them.

use futures_util::{StreamExt, stream};
use s3_migration::store::{ListPage, ListRequest};

use super::*;
use testkit::resources::{s3, set_versioning};

/// A lab whose bucket keeps versions, and a client of its server.
async fn versioned() -> (Lab, aws_sdk_s3::Client) {
    let lab = ministack().await;
    let client = s3(&Ministack::shared().sdk_config(ACCOUNT_A));
    set_versioning(&client, &lab.bucket, true).await;
    (lab, client)
}

/// What the listing shows of each key: its size and version.
async fn current(lab: &Lab, prefix: &str) -> Vec<(String, u64, String)> {
    let prefix = prefix.to_owned();
    let request = ListRequest { prefix, versions: true, ..ListRequest::default() };
    let pages = super::objects::list(lab, request).await;
    let shown = pages.iter().flat_map(ListPage::iter).map(|listed| {
        (listed.key.to_owned(), listed.size, listed.version.expect("a version").to_owned())
    });
    shown.collect()
}

/// Promise 2.
#[tokio::test]
async fn a_version_is_told_and_can_be_read_after_it_was_replaced() {
    let (lab, client) = versioned().await;
    lab.put("k", b"old").await;
    let old = lab.store.head(&lab.id("k"), None).await.expect("a head").version;
    let old = old.expect("a version");
    lab.put("k", b"newer").await;
    assert_eq!(lab.get("k").await.expect("a get"), b"newer");
    let head = lab.store.head(&lab.id("k"), Some(&old)).await.expect("a head");
    assert_eq!((head.size, head.version.as_ref()), (3, Some(&old)));
    let request = GetRequest { version: Some(old.clone()), ..lab.whole("k") };
    let answer = lab.store.get(&request).await.expect("a get");
    assert_eq!(answer.meta.version, Some(old));
    assert_eq!(whole_body(answer).await.expect("a body"), b"old");

    let delete = client.delete_object().bucket(&lab.bucket).key("k");
    let marker = delete.send().await.expect("DeleteObject").version_id;
    let latest = lab.store.head(&lab.id("k"), None).await;
    assert_eq!(kind(latest), Some(ErrorKind::NotFound), "a delete marker is no object");
    assert_eq!(lab.store.current(&lab.id("k")).await.expect("an answer"), None);
    let named = lab.store.head(&lab.id("k"), marker.as_deref()).await.expect_err("no object");
    assert_eq!(named.kind(), ErrorKind::NotFound);
    assert!(named.to_string().contains("delete marker"), "{named}");
}

/// Promise 2.
#[tokio::test]
async fn a_listing_of_versions_shows_the_current_ones_and_no_deleted_object() {
    let (lab, client) = versioned().await;
    for key in ["a//b", "c d+%2F", "ü/文件", "line\nbreak"] {
        lab.put(key, b"old").await;
        lab.put(key, b"newer").await;
    }
    lab.put("deleted", b"body").await;
    client.delete_object().bucket(&lab.bucket).key("deleted").send().await.expect("DeleteObject");
    set_versioning(&client, &lab.bucket, false).await;
    lab.put("suspended", b"s").await;

    let mut expected = Vec::new();
    for key in ["a//b", "c d+%2F", "line\nbreak", "suspended", "ü/文件"] {
        let head = lab.store.head(&lab.id(key), None).await.expect("a head");
        let version = head.version.unwrap_or("null".to_owned());
        expected.push((key.to_owned(), head.size, version));
    }
    assert_eq!(expected[3].2, "null");
    assert_eq!(current(&lab, "").await, expected);
    assert_eq!(current(&lab, "c ").await, expected[1..2]);
}

// A page holds a thousand versions, be they current or not: the token names one amid a key.
/// Promise 2.
#[tokio::test]
async fn a_listing_of_versions_goes_on_amid_the_versions_of_a_key() {
    let (lab, _) = versioned().await;
    let many = (0..1100).map(|_| "many".to_owned());
    let keys = ["before".to_owned()].into_iter().chain(many).chain(["+behind %".to_owned()]);
    stream::iter(keys.chain((0..7).map(|n| format!("zü\n{n}"))))
        .for_each_concurrent(8, |key| {
            let lab = &lab;
            async move { drop(lab.put(&key, b"body").await) }
        })
        .await;
    let listed = current(&lab, "").await;
    let keys: Vec<&str> = listed.iter().map(|(key, ..)| key.as_str()).collect();
    let behind = ["zü\n0", "zü\n1", "zü\n2", "zü\n3", "zü\n4", "zü\n5", "zü\n6"];
    assert_eq!(keys, [&["+behind %", "before", "many"][..], &behind[..]].concat());
    let latest = lab.store.head(&lab.id("many"), None).await.expect("a head").version;
    assert_eq!(Some(&listed[2].2), latest.as_ref());
}

#[tokio::test]
async fn a_bucket_without_versions_has_null_versions() {
    let lab = ministack().await;
    lab.put("k", b"body").await;
    assert_eq!(current(&lab, "").await, [("k".to_owned(), 4, "null".to_owned())]);
}
