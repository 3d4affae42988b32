//! Objects: listed, read and written.

use futures_util::{StreamExt, stream};
use s3_migration::store::{Headers, ListPage, ListRequest, Listed};

use super::*;

/// All pages of a listing.
pub async fn list(lab: &Lab, mut request: ListRequest) -> Vec<ListPage> {
    request.bucket.clone_from(&lab.bucket);
    let mut pages = Vec::new();
    loop {
        let mut page = lab.store.list(&request).await.expect("a page");
        let next = page.next.take();
        pages.push(page);
        match next {
            None => return pages,
            next => request.token = next,
        }
    }
}

async fn keys(lab: &Lab, prefix: &str, start_after: Option<&str>) -> Vec<String> {
    let start_after = start_after.map(|key| key.as_bytes().to_vec());
    let request = ListRequest { prefix: prefix.to_owned(), start_after, ..ListRequest::default() };
    let pages = list(lab, request).await;
    pages.iter().flat_map(ListPage::iter).map(|listed| listed.key.to_owned()).collect()
}

pub async fn a_listing_goes_on_by_token_in_byte_order(lab: &Lab) {
    let mut expected: Vec<String> = (0..1003).map(|n| format!("k{n}")).collect();
    stream::iter(&expected)
        .for_each_concurrent(8, |key| async { drop(lab.put(key, b"").await) })
        .await;
    expected.sort();
    let pages = list(lab, ListRequest::default()).await;
    let sizes: Vec<usize> = pages.iter().map(ListPage::len).collect();
    assert_eq!(sizes, [1000, 3]);
    let listed: Vec<&str> =
        pages.iter().flat_map(ListPage::iter).map(|listed| listed.key).collect();
    assert_eq!(listed, expected);
}

pub async fn a_listing_begins_at_the_prefix_and_after_a_key(lab: &Lab) {
    for key in ["a", "b/1", "b/2", "b/3", "c"] {
        lab.put(key, b"body").await;
    }
    assert_eq!(keys(lab, "b/", None).await, ["b/1", "b/2", "b/3"]);
    assert_eq!(keys(lab, "b/", Some("b/1")).await, ["b/2", "b/3"]);
    assert_eq!(keys(lab, "", Some("b/2x")).await, ["b/3", "c"]);
    assert_eq!(keys(lab, "none", None).await, [""; 0]);
    let listed = list(lab, ListRequest { prefix: "c".into(), ..ListRequest::default() }).await;
    let listed: Vec<Listed<'_>> = listed.iter().flat_map(ListPage::iter).collect();
    let [listed] = &listed[..] else { panic!("one object") };
    let etag = hex::encode(md5(b"body").md5.unwrap());
    assert_eq!((listed.size, listed.etag), (4, Some(etag.as_str())));
    assert!(listed.last_modified.is_some());
}

/// Promise 4.
pub async fn every_key_is_listed_written_and_read_as_it_is(lab: &Lab) {
    let long = "ü".repeat(512);
    let mut expected = vec![
        "./x",
        "../y",
        "/leading",
        "a/../b",
        "line\nbreak",
        "\u{1}\u{7f}",
        "a//b",
        "trailing/",
        " space ",
        "+",
        "%2F",
        "a%20b",
        "ü/文件",
        "a&b=c?d#e",
        "x<y>\"'",
        "\u{1f600}",
        "e\u{301}",
        "\u{e9}",
        "..hidden",
        "dir/...",
        "~",
        "*",
        "\\",
        "|",
        &long,
    ];
    for key in &expected {
        lab.put(key, key.as_bytes()).await;
    }
    for key in &expected {
        assert_eq!(lab.get(key).await.unwrap_or_default(), key.as_bytes(), "{key:?}");
    }
    expected.sort();
    assert_eq!(keys(lab, "", None).await, expected);
    for key in ["+", "a//", "ü/"] {
        let begin: Vec<&str> = expected.iter().copied().filter(|k| k.starts_with(key)).collect();
        assert_eq!(keys(lab, key, None).await, begin);
    }
}

pub async fn a_head_and_a_get_tell_the_same(lab: &Lab) {
    for body in [&b"some bytes"[..], b""] {
        let written = lab.put("k", body).await;
        assert!(written.etag_is_md5());
        assert_eq!(written.etag.as_str(), hex::encode(md5(body).md5.unwrap()));
        let head = lab.store.head(&lab.id("k"), None).await.expect("a head");
        assert_eq!((head.size, &head.etag), (body.len() as u64, &written.etag));
        assert!(head.last_modified.is_some());
        let answer = lab.store.get(&lab.whole("k")).await.expect("a get");
        assert_eq!(answer.body.length(), body.len() as u64);
        assert_eq!((answer.meta.size, &answer.meta.etag), (head.size, &head.etag));
        assert_eq!(answer.meta.last_modified, head.last_modified);
        assert_eq!(whole_body(answer).await.expect("a body"), body);
    }
}

pub async fn a_range_is_read_and_the_whole_size_told(lab: &Lab) {
    let etag = lab.put("k", b"0123456789").await.etag;
    for (start, len, expected) in [(0, 4, "0123"), (4, 5, "45678"), (9, 1, "9"), (8, 100, "89")] {
        let answer = lab.store.get(&lab.range("k", start, len)).await.expect("a range");
        assert_eq!(answer.body.length(), expected.len() as u64);
        assert_eq!((answer.meta.size, &answer.meta.etag), (10, &etag));
        assert_eq!(whole_body(answer).await.expect("a body"), expected.as_bytes());
    }
    let beyond = lab.store.get(&lab.range("k", 10, 1)).await;
    assert_eq!(kind(beyond), Some(ErrorKind::SourceChanged), "it was longer when it was listed");
}

/// Promise 2.
pub async fn a_read_that_is_pinned_fails_once_the_object_is_replaced(lab: &Lab) {
    let etag = lab.put("k", b"old").await.etag;
    let pinned = lab.pinned("k", &etag);
    let answer = lab.store.get(&pinned).await.expect("still the same");
    assert_eq!(whole_body(answer).await.expect("a body"), b"old");
    lab.put("k", b"new").await;
    assert_eq!(kind(lab.store.get(&pinned).await), Some(ErrorKind::SourceChanged));
    let range = GetRequest { if_match: Some(etag), ..lab.range("k", 0, 2) };
    assert_eq!(kind(lab.store.get(&range).await), Some(ErrorKind::SourceChanged));
}

pub async fn what_is_missing_is_not_found(lab: &Lab) {
    let (store, new) = (&lab.store, NewObject::default());
    let missing = |answer, place: &str, call: &str| {
        let Err::<(), Error>(error) = answer else { panic!("{call} of {place} is there") };
        assert_eq!(error.kind(), ErrorKind::NotFound, "{call}: {error}");
        for part in [place, call, "source"] {
            assert!(error.to_string().contains(part), "{part} is not in: {error}");
        }
    };
    let key = lab.id("absent");
    missing(store.head(&key, None).await.map(drop), "absent", "HeadObject");
    missing(store.get(&lab.whole("absent")).await.map(drop), "absent", "GetObject");
    missing(store.tags(&key, None).await.map(drop), "absent", "GetObjectTagging");
    let nowhere = ObjectId::new("no-such-bucket", "k");
    missing(store.head(&nowhere, None).await.map(drop), "no-such-bucket", "HeadObject");
    let get = GetRequest { id: nowhere.clone(), ..lab.whole("k") };
    missing(store.get(&get).await.map(drop), "no-such-bucket", "GetObject");
    let put = store.put(&nowhere, &new, Bytes::new(), md5(b"")).await;
    missing(put.map(drop), "no-such-bucket", "PutObject");
    let created = store.create_upload(&nowhere, &new).await;
    missing(created.map(drop), "no-such-bucket", "CreateMultipartUpload");
    let listing = ListRequest { bucket: nowhere.bucket.clone(), ..ListRequest::default() };
    missing(store.list(&listing).await.map(drop), "no-such-bucket", "ListObjectsV2");
    let uploads = store.list_uploads(&nowhere).await;
    missing(uploads.map(drop), "no-such-bucket", "ListMultipartUploads");
}

/// Promise 2.
pub async fn what_is_current_is_told_and_what_is_not_there_only_of_the_key(lab: &Lab) {
    let etag = lab.put("there", b"body").await.etag;
    let meta = lab.store.current(&lab.id("there")).await.expect("an answer").expect("an object");
    assert_eq!((meta.size, meta.etag), (4, etag));
    lab.put("empty", b"").await;
    assert!(lab.store.current(&lab.id("empty")).await.expect("an answer").is_some());
    assert_eq!(lab.store.current(&lab.id("absent")).await.expect("an answer"), None);
    let nowhere = lab.store.current(&ObjectId::new("no-such-bucket", "k")).await;
    let error = nowhere.expect_err("a missing bucket says nothing about its keys");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("NoSuchBucket"), "{error}");
}

/// Promise 2.
pub async fn what_is_deleted_is_gone_and_may_be_deleted_again(lab: &Lab) {
    let odd = "a//b ü+%2F\n";
    for key in [odd, "other"] {
        lab.put(key, b"body").await;
    }
    for _ in 0..2 {
        lab.store.delete(&lab.id(odd)).await.expect("a deletion");
        assert_eq!(lab.store.current(&lab.id(odd)).await.expect("an answer"), None);
    }
    assert_eq!(keys(lab, "", None).await, ["other"]);
    let nowhere = lab.store.delete(&ObjectId::new("no-such-bucket", "k")).await;
    let error = nowhere.expect_err("a missing bucket");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("DeleteObject"), "{error}");
}

/// Promise 3.
pub async fn a_body_with_another_digest_is_refused(lab: &Lab) {
    let body = Bytes::from_static(b"damaged on the way");
    let put = lab.store.put(&lab.id("k"), &NewObject::default(), body, md5(b"as it was")).await;
    assert_eq!(kind(put), Some(ErrorKind::Damaged));
    assert_eq!(kind(lab.store.head(&lab.id("k"), None).await), Some(ErrorKind::NotFound));
}

/// Every header that travels with an object.
pub fn all_headers() -> Headers {
    let text = |text: &str| Some(text.to_owned());
    let user = [("colour", "blue"), ("empty-ish", "-"), ("with-space", "a b")];
    Headers {
        content_type: text("text/x-log; charset=utf-8"),
        content_encoding: text("gzip"),
        content_language: text("de, en"),
        content_disposition: text("attachment; filename=\"a b.txt\""),
        cache_control: text("no-cache, max-age=7"),
        expires: text("Wed, 21 Oct 2026 07:28:00 GMT"),
        website_redirect: None,
        user: user.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    }
}

/// Promise 5.
pub async fn headers_and_user_metadata_come_back(lab: &Lab) {
    let new = NewObject { headers: all_headers(), ..NewObject::default() };
    // No gzip at all: a body is never decoded.
    let body = Bytes::from_static(b"not compressed");
    lab.store.put(&lab.id("k"), &new, body.clone(), md5(&body)).await.expect("a put");
    let head = lab.store.head(&lab.id("k"), None).await.expect("a head");
    assert_eq!(head.headers, new.headers);
    let answer = lab.store.get(&lab.whole("k")).await.expect("a get");
    assert_eq!(answer.meta.headers, new.headers);
    assert_eq!(whole_body(answer).await.expect("a body"), body);
}

/// Tags that must be escaped in a header.
pub fn some_tags() -> Vec<(String, String)> {
    let tags = [("a b", "1&2=3"), ("plus+", "ü/文"), ("z", "")];
    tags.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec()
}

pub async fn tags_come_back(lab: &Lab) {
    let new = NewObject { tags: some_tags(), ..NewObject::default() };
    lab.store.put(&lab.id("k"), &new, Bytes::new(), md5(b"")).await.expect("a put");
    let answer = lab.store.get(&lab.whole("k")).await.expect("a get");
    assert_eq!(answer.meta.tag_count, Some(3));
    let mut tags = lab.store.tags(&lab.id("k"), None).await.expect("tags");
    tags.sort();
    assert_eq!(tags, new.tags);
    lab.put("plain", b"").await;
    assert_eq!(lab.store.tags(&lab.id("plain"), None).await.expect("tags"), []);
}
