//! Multipart uploads.

use s3_migration::digest;
use s3_migration::store::{Part, Payload, Upload};

use super::objects::{all_headers, some_tags};
use super::*;
use testkit::stage::{MIB, noise};

async fn begin(lab: &Lab, key: &str) -> Upload {
    lab.store.create_upload(&lab.id(key), &NewObject::default()).await.expect("an upload").upload
}

async fn send(lab: &Lab, upload: &Upload, number: u32, body: &[u8]) -> Part {
    let bytes = Bytes::copy_from_slice(body);
    let sent = lab
        .store
        .upload_part(upload, number, Payload::Held { bytes, proof: md5(body) })
        .await
        .expect("a part");
    assert_eq!(sent.etag.as_str(), hex::encode(md5(body).md5.unwrap()));
    Part { number, size: body.len() as u64, etag: sent.etag, crc64nvme: None }
}

pub async fn parts_become_the_object(lab: &Lab) {
    let bodies = [noise(5 * MIB, 1), noise(5 * MIB, 2), noise(7, 3)];
    let upload = begin(lab, "k").await;
    assert_eq!(lab.store.list_parts(&upload).await.expect("a list"), []);
    let mut sent = Vec::new();
    for number in [3, 1, 2] {
        sent.push(send(lab, &upload, number, &bodies[number as usize - 1]).await);
    }
    sent.sort_by_key(|part| part.number);
    let listed = lab.store.list_parts(&upload).await.expect("a list");
    assert_eq!(listed, sent);
    assert_eq!(kind(lab.get("k").await), Some(ErrorKind::NotFound), "nothing before the end");

    let written = lab.store.complete_upload(&upload, &listed, None).await.expect("completed");
    let expected = digest::multipart_etag(listed.iter().map(|part| &part.etag));
    assert_eq!(Some(&written.etag), expected.as_ref());
    let head = lab.store.head(&lab.id("k"), None).await.expect("a head");
    assert_eq!((head.size, head.etag), (10 * MIB as u64 + 7, written.etag));
    assert!(lab.get("k").await.expect("a get") == bodies.concat());
}

/// Promise 3.
pub async fn a_part_with_another_digest_is_refused(lab: &Lab) {
    let upload = begin(lab, "k").await;
    let body = Bytes::from_static(b"damaged on the way");
    let sent = lab
        .store
        .upload_part(&upload, 1, Payload::Held { bytes: body, proof: md5(b"as it was") })
        .await;
    assert_eq!(kind(sent), Some(ErrorKind::Damaged));
    assert_eq!(lab.store.list_parts(&upload).await.expect("a list"), []);
}

pub async fn a_part_sent_again_replaces_the_one_before(lab: &Lab) {
    let upload = begin(lab, "k").await;
    send(lab, &upload, 1, b"first").await;
    let second = send(lab, &upload, 1, b"the second").await;
    let listed = lab.store.list_parts(&upload).await.expect("a list");
    assert_eq!(listed, [second]);
    lab.store.complete_upload(&upload, &listed, None).await.expect("completed");
    assert_eq!(lab.get("k").await.expect("a get"), b"the second");
}

/// Promise 8.
pub async fn only_uploads_of_the_very_key_are_listed(lab: &Lab) {
    let listed = async |key: &str| {
        let uploads = lab.store.list_uploads(&lab.id(key)).await.expect("a list");
        assert!(uploads.iter().all(|listed| listed.initiated.is_some()));
        let mut ids: Vec<String> = uploads.into_iter().map(|listed| listed.upload.id).collect();
        ids.sort();
        ids
    };
    let mut twice = vec![begin(lab, "k ü+").await.id, begin(lab, "k ü+").await.id];
    twice.sort();
    let others = [begin(lab, "k").await, begin(lab, "k ü+/more").await];
    assert_eq!(listed("k ü+").await, twice);
    assert_eq!(listed("k").await, [others[0].id.clone()]);
    assert_eq!(listed("absent").await, [""; 0]);
    lab.store.abort_upload(&others[0]).await.expect("aborted");
    assert_eq!(listed("k").await, [""; 0]);
    assert_eq!(listed("k ü+").await, twice);
}

/// Promise 8.
pub async fn an_upload_that_has_ended_is_gone(lab: &Lab) {
    let (completed, aborted) = (begin(lab, "completed").await, begin(lab, "aborted").await);
    let part = send(lab, &completed, 1, b"body").await;
    send(lab, &aborted, 1, b"body").await;
    lab.store
        .complete_upload(&completed, std::slice::from_ref(&part), None)
        .await
        .expect("completed");
    lab.store.abort_upload(&aborted).await.expect("aborted");
    for upload in [&aborted, &completed] {
        let body = Bytes::from_static(b"late");
        let sent = lab
            .store
            .upload_part(upload, 2, Payload::Held { bytes: body.clone(), proof: md5(&body) })
            .await;
        assert_eq!(kind(sent), Some(ErrorKind::UploadGone), "{upload:?}");
        let listed = lab.store.list_parts(upload).await;
        assert_eq!(kind(listed), Some(ErrorKind::UploadGone), "{upload:?}");
        let uploads = lab.store.list_uploads(&upload.target).await.expect("a list");
        assert_eq!(uploads, [], "{upload:?}");
    }
    let again = lab.store.complete_upload(&aborted, &[part], None).await;
    assert_eq!(kind(again), Some(ErrorKind::UploadGone));
    for upload in [&aborted, &completed] {
        lab.store.abort_upload(upload).await.expect("aborting what is gone succeeds");
    }
    assert_eq!(kind(lab.get("aborted").await), Some(ErrorKind::NotFound));
    assert_eq!(lab.get("completed").await.expect("a get"), b"body");
}

pub async fn a_completion_with_a_wrong_part_leaves_the_upload(lab: &Lab) {
    let upload = begin(lab, "k").await;
    let good = send(lab, &upload, 1, b"body").await;
    let other = Part { etag: Etag::new(hex::encode(md5(b"other").md5.unwrap())), ..good.clone() };
    let absent = Part { number: 2, ..good.clone() };
    for wrong in [vec![other], vec![good.clone(), absent]] {
        let refused = lab.store.complete_upload(&upload, &wrong, None).await;
        assert_eq!(kind(refused), Some(ErrorKind::UploadGone), "{wrong:?}");
    }
    assert_eq!(kind(lab.get("k").await), Some(ErrorKind::NotFound));
    lab.store.complete_upload(&upload, &[good], None).await.expect("still there");
}

/// Promise 5.
pub async fn metadata_of_an_upload_is_that_of_the_object(lab: &Lab) {
    let new = NewObject { headers: all_headers(), ..NewObject::default() };
    let upload = lab.store.create_upload(&lab.id("k"), &new).await.expect("an upload").upload;
    let part = send(lab, &upload, 1, b"body").await;
    lab.store.complete_upload(&upload, &[part], None).await.expect("completed");
    let head = lab.store.head(&lab.id("k"), None).await.expect("a head");
    assert_eq!(head.headers, new.headers);
}

/// Promise 5.
pub async fn tags_of_an_upload_are_those_of_the_object(lab: &Lab) {
    let new = NewObject { tags: some_tags(), ..NewObject::default() };
    let upload = lab.store.create_upload(&lab.id("k"), &new).await.expect("an upload").upload;
    let part = send(lab, &upload, 1, b"body").await;
    lab.store.complete_upload(&upload, &[part], None).await.expect("completed");
    let mut tags = lab.store.tags(&lab.id("k"), None).await.expect("tags");
    tags.sort();
    assert_eq!(tags, new.tags);
    assert_eq!(lab.store.head(&lab.id("k"), None).await.expect("a head").tag_count, Some(3));
}

pub async fn more_parts_than_fit_one_page_are_listed_in_order(lab: &Lab) {
    let upload = begin(lab, "k").await;
    let mut sent = Vec::new();
    for number in 1..=1002 {
        sent.push(send(lab, &upload, number, &number.to_be_bytes()).await);
    }
    assert_eq!(lab.store.list_parts(&upload).await.expect("a list"), sent);
}

pub async fn a_part_that_is_too_small_is_refused_at_completion(lab: &Lab) {
    let upload = begin(lab, "k").await;
    let parts = [send(lab, &upload, 1, b"small").await, send(lab, &upload, 2, b"last").await];
    let refused = lab.store.complete_upload(&upload, &parts, None).await;
    assert_eq!(kind(refused), Some(ErrorKind::Invalid));
    assert_eq!(lab.store.list_parts(&upload).await.expect("a list"), parts);
}
