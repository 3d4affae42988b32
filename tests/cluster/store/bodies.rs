//! Bodies on their way: streamed, cut, with checksums.

use crc_fast::{CrcAlgorithm, checksum};
use futures_util::stream;
use s3_migration::store::{Body, Part, Payload, Upload};

use super::*;
use testkit::stage::{MIB, noise};

async fn begin(lab: &Lab, new: &NewObject) -> Upload {
    lab.store.create_upload(&lab.id("k"), new).await.expect("an upload").upload
}

fn crc(body: &[u8]) -> u64 {
    checksum(CrcAlgorithm::Crc64Nvme, body)
}

/// A body in pieces that fit nothing, `length` being what is said of it.
fn streamed(pieces: Vec<Result<Bytes, Error>>, length: usize, trailer: bool) -> Payload {
    Payload::Streamed { body: Body::new(stream::iter(pieces), length as u64), trailer }
}

fn pieces(body: &[u8]) -> Vec<Result<Bytes, Error>> {
    body.chunks(70_001).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect()
}

fn held(body: &[u8], proof: Proof) -> Payload {
    Payload::Held { bytes: Bytes::copy_from_slice(body), proof }
}

/// Promise 3.
pub async fn a_streamed_part_is_stored_with_and_without_a_checksum_behind_it(lab: &Lab) {
    let body = noise(MIB + 7, 1);
    for trailer in [false, true] {
        let upload = begin(lab, &NewObject::default()).await;
        let payload = streamed(pieces(&body), body.len(), trailer);
        let written = lab.store.upload_part(&upload, 1, payload).await.expect("a part");
        assert_eq!(written.etag.as_str(), hex::encode(md5(&body).md5.unwrap()), "{trailer}");
        assert!(written.crc64nvme.is_none_or(|told| told == crc(&body)), "{trailer}");
        let parts = lab.store.list_parts(&upload).await.expect("a list");
        assert_eq!(parts.len(), 1);
        lab.store.complete_upload(&upload, &parts, None).await.expect("completed");
        assert!(lab.get("k").await.expect("a get") == body, "{trailer}");
    }
}

/// Promise 3.
pub async fn a_streamed_body_that_is_cut_or_of_another_length_stores_nothing(lab: &Lab) {
    let body = noise(MIB, 2);
    let upload = begin(lab, &NewObject::default()).await;
    for trailer in [false, true] {
        let cut = || Error::new(ErrorKind::SourceChanged, "the source changed");
        let mut broken = pieces(&body);
        *broken.last_mut().expect("pieces") = Err(cut());
        let mut broken_behind = pieces(&body);
        broken_behind.push(Err(cut()));
        for (payload, expected) in [
            (streamed(pieces(&body), body.len() + 1, trailer), ErrorKind::Damaged),
            (streamed(pieces(&body), body.len() - 1, trailer), ErrorKind::Damaged),
            (streamed(broken, body.len(), trailer), ErrorKind::SourceChanged),
            (streamed(broken_behind, body.len(), trailer), ErrorKind::SourceChanged),
        ] {
            let sent = lab.store.upload_part(&upload, 1, payload).await;
            assert_eq!(kind(sent), Some(expected), "{trailer}");
        }
    }
    assert_eq!(lab.store.list_parts(&upload).await.expect("a list"), []);
    // The store takes the next one as if nothing had been.
    let part = lab.store.upload_part(&upload, 1, held(&body, md5(&body))).await;
    part.expect("a part");
}

/// Promise 3.
pub async fn a_body_with_another_checksum_is_refused(lab: &Lab) {
    let upload = begin(lab, &NewObject::default()).await;
    let wrong = Proof { md5: None, crc64nvme: Some(crc(b"as it was")) };
    let sent = lab.store.upload_part(&upload, 1, held(b"damaged on the way", wrong)).await;
    assert_eq!(kind(sent), Some(ErrorKind::Damaged));
    assert_eq!(lab.store.list_parts(&upload).await.expect("a list"), []);
    let body = Bytes::from_static(b"damaged on the way");
    let put = lab.store.put(&lab.id("k"), &NewObject::default(), body.clone(), wrong).await;
    assert_eq!(kind(put), Some(ErrorKind::Damaged));
    assert_eq!(kind(lab.get("k").await), Some(ErrorKind::NotFound));

    let right = Proof { md5: md5(&body).md5, crc64nvme: Some(crc(&body)) };
    let put = lab.store.put(&lab.id("k"), &NewObject::default(), body.clone(), right).await;
    assert_eq!(put.expect("a put").etag.md5(), right.md5);
    let sent = lab.store.upload_part(&upload, 1, held(&body, right)).await.expect("a part");
    assert_eq!(sent.crc64nvme, right.crc64nvme);
}

pub async fn the_checksum_of_an_upload_is_that_of_the_whole(lab: &Lab) {
    let new = NewObject { crc64nvme: true, ..NewObject::default() };
    let bodies = [noise(5 * MIB, 3), noise(3, 4)];
    let upload = begin(lab, &new).await;
    let mut sent = Vec::new();
    for (number, body) in (1..).zip(&bodies) {
        let payload = match number {
            1 => streamed(pieces(body), body.len(), true),
            _ => held(body, Proof { md5: None, crc64nvme: Some(crc(body)) }),
        };
        let written = lab.store.upload_part(&upload, number, payload).await.expect("a part");
        assert_eq!(written.crc64nvme, Some(crc(body)));
        let (size, etag) = (body.len() as u64, written.etag);
        sent.push(Part { number, size, etag, crc64nvme: written.crc64nvme });
    }
    assert_eq!(lab.store.list_parts(&upload).await.expect("a list"), sent);
    let whole = crc(&bodies.concat());
    let refused = lab.store.complete_upload(&upload, &sent, Some(whole ^ 1)).await;
    assert_eq!(kind(refused), Some(ErrorKind::Damaged));
    let other = vec![sent[0].clone(), Part { crc64nvme: Some(1), ..sent[1].clone() }];
    let refused = lab.store.complete_upload(&upload, &other, Some(whole)).await;
    assert_eq!(kind(refused), Some(ErrorKind::UploadGone), "as a part of another ETag");
    let written = lab.store.complete_upload(&upload, &sent, Some(whole)).await.expect("completed");
    assert_eq!(written.crc64nvme, Some(whole));
}
