//! How a body and an object are proven.

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;

use crate::config::Checksum;
use crate::digest;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Body, GetAnswer, Md5, Proof, Written};

/// Reads a whole body of exactly `expected` bytes into memory; a short or long one is `Damaged`.
pub(super) async fn read_exactly(answer: GetAnswer, expected: u64) -> Result<Bytes> {
    let mut body = body_of(answer, expected)?;
    let mut bytes = BytesMut::with_capacity(expected as usize);
    while let Some(chunk) = body.try_next().await? {
        let so_far = bytes.len() as u64 + chunk.len() as u64;
        if so_far > expected {
            return Err(wrong_length(expected, so_far));
        }
        bytes.extend_from_slice(&chunk);
    }
    match bytes.len() as u64 == expected {
        true => Ok(bytes.freeze()),
        false => Err(wrong_length(expected, bytes.len() as u64)),
    }
}

/// The body of an answer, if it announces as many bytes as were asked for.
pub(super) fn body_of(answer: GetAnswer, expected: u64) -> Result<Body> {
    match answer.content_length == expected {
        true => Ok(answer.body),
        false => Err(wrong_length(expected, answer.content_length)),
    }
}

pub(super) fn wrong_length(expected: u64, got: u64) -> Error {
    let message = format!("the source's answer has {got} bytes instead of {expected}");
    Error::new(ErrorKind::Damaged, message)
}

/// The digests to send with a body in memory that has this MD5.
pub(super) fn proof(wanted: Checksum, bytes: &Bytes, md5: Md5) -> Proof {
    Proof {
        md5: wanted.has_md5().then_some(md5),
        crc64nvme: wanted.has_crc64nvme().then(|| digest::crc64nvme(bytes)),
    }
}

/// Whether what was stored is what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The store answers a digest, and it is the one computed here.
    Proven,
    /// The store's answer shows nothing: its ETags are no MD5, and it names no checksum.
    Open,
}

/// Compares the destination's answer with the digests computed here; `Damaged` if one differs.
/// `opaque`: its ETags are known to be no MD5s.
pub(super) fn compare(written: &Written, sent: Proof, opaque: bool, what: &str) -> Result<Verdict> {
    let mut verdict = Verdict::Open;
    if let Some(md5) = sent.md5.filter(|_| written.etag_is_md5() && !opaque) {
        if written.etag.md5() != Some(md5) {
            let (expected, held) = (digest::single_etag(&md5), &written.etag);
            let message = format!("{what}: the destination holds {held} where {expected} was sent");
            return Err(Error::new(ErrorKind::Damaged, message));
        }
        verdict = Verdict::Proven;
    }
    if let (Some(crc), Some(held)) = (sent.crc64nvme, written.crc64nvme) {
        if crc != held {
            let message = format!(
                "{what}: the destination's CRC-64/NVME is {held:016x} where {crc:016x} was sent"
            );
            return Err(Error::new(ErrorKind::Damaged, message));
        }
        verdict = Verdict::Proven;
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};

    use super::*;
    use crate::object::Etag;
    use crate::store::{Headers, ObjectMeta};

    fn answer(content_length: u64, chunks: &[&'static [u8]]) -> GetAnswer {
        let chunks: Vec<Result<Bytes>> =
            chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk))).collect();
        let meta = ObjectMeta {
            size: content_length,
            etag: Etag::new("e"),
            version: None,
            last_modified: None,
            storage_class: None,
            restored: false,
            tag_count: None,
            missing_meta: 0,
            headers: Headers::default(),
            sse: None,
            sum: None,
        };
        let (start, whole) = (0, Some(content_length));
        GetAnswer { meta, content_length, start, whole, body: stream::iter(chunks).boxed() }
    }

    /// Promise 3.
    #[tokio::test]
    async fn a_body_that_is_short_or_long_is_never_used() {
        let read = read_exactly(answer(4, &[b"ab", b"cd"]), 4).await.unwrap();
        assert_eq!(read, Bytes::from_static(b"abcd"));
        for wrong in [answer(4, &[b"ab"]), answer(4, &[b"abcde"]), answer(5, &[b"abcde"])] {
            let error = read_exactly(wrong, 4).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged);
        }
    }

    /// Promise 3.
    #[test]
    fn an_md5_etag_that_differs_is_damage_and_another_kind_is_no_proof() {
        let md5 = digest::md5(b"sent");
        let verdict = |etag: &Etag, sse: Option<&str>| {
            let sse = sse.map(str::to_owned);
            compare(&Written { etag: etag.clone(), sse, crc64nvme: None }, md5.into(), false, "p")
                .ok()
        };
        let (right, other) = (digest::single_etag(&md5), digest::single_etag(&digest::md5(b"x")));
        assert_eq!(verdict(&right, None), Some(Verdict::Proven));
        assert_eq!(verdict(&other, None), None);
        assert_eq!(verdict(&other, Some("AES256")), None);
        assert_eq!(verdict(&other, Some("aws:kms")), Some(Verdict::Open));
        assert_eq!(verdict(&other, Some("aws:kms:dsse")), Some(Verdict::Open));
        assert_eq!(verdict(&Etag::new("opaque"), None), Some(Verdict::Open));
    }

    /// Promise 3.
    #[test]
    fn a_checksum_that_the_store_answers_is_a_proof_under_any_encryption() {
        let sent = Proof { md5: Some(digest::md5(b"sent")), crc64nvme: Some(7) };
        let verdict = |crc64nvme| {
            let sse = Some("aws:kms".to_owned());
            compare(&Written { etag: Etag::new("opaque"), sse, crc64nvme }, sent, false, "p").ok()
        };
        assert_eq!(verdict(Some(7)), Some(Verdict::Proven));
        assert_eq!(verdict(Some(8)), None);
        assert_eq!(verdict(None), Some(Verdict::Open));
    }

    /// Promise 3.
    #[test]
    fn an_etag_of_a_store_that_has_its_own_tells_nothing() {
        let md5 = digest::md5(b"sent");
        let other = digest::single_etag(&digest::md5(b"x"));
        let written = Written { etag: other, sse: None, crc64nvme: None };
        assert_eq!(compare(&written, md5.into(), true, "p").ok(), Some(Verdict::Open));
    }

    /// Promise 3.
    #[test]
    fn a_body_is_sent_with_what_is_wanted() {
        let (bytes, md5) = (Bytes::from_static(b"read"), digest::md5(b"read"));
        let crc64nvme = Some(digest::crc64nvme(b"read"));
        assert_eq!(proof(Checksum::Both, &bytes, md5), Proof { md5: Some(md5), crc64nvme });
        assert_eq!(proof(Checksum::Crc64Nvme, &bytes, md5), Proof { md5: None, crc64nvme });
    }
}
