//! Streams a body and hashes it as it passes; its bytes are held only on request.

use std::sync::{Arc, Mutex};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{TryStreamExt, stream};

use super::whole_digest::Reading;
use crate::digest;
use crate::digest::lanes::LaneHasher;
use crate::digest::sums::{self, Algorithm, Sum};
use crate::error::{Error, ErrorKind, Result};
use crate::mutex::lock;
use crate::store::{Body, Md5};

/// What to learn about a body as it passes.
#[derive(Debug, Default)]
pub(super) struct BodyWants {
    /// Hashes it.
    pub hasher: Option<LaneHasher>,
    /// The MD5 that it must have: a body with another one is cut before its last bytes.
    pub md5: Option<Md5>,
    /// Its checksum of this kind.
    pub sum: Option<Algorithm>,
    /// The checksum that it must have, enforced like `md5`.
    pub whole: Option<Sum>,
    /// Its CRC-64/NVME.
    pub crc64nvme: bool,
    /// The bytes themselves; the caller has reserved the room.
    pub keep: bool,
}

impl BodyWants {
    /// The MD5, if there is a hasher for it.
    pub fn md5(hasher: Option<LaneHasher>) -> Self {
        Self { hasher, ..Self::default() }
    }
}

/// What was learned about a body that has ended.
#[derive(Debug)]
pub(super) struct Seen {
    /// Its MD5 if it was hashed, or the error that ended it.
    pub md5: Result<Option<Md5>>,
    /// The MD5 of a body that was cut because its digest was not the expected one.
    pub other: Option<Md5>,
    /// Its checksum.
    pub sum: Option<Sum>,
    /// Its CRC-64/NVME.
    pub crc64nvme: Option<u64>,
    /// Its bytes.
    pub kept: Vec<Bytes>,
}

impl Seen {
    /// A body with this MD5; nothing else is known.
    pub(super) fn of(md5: Md5) -> Self {
        Self { md5: Ok(Some(md5)), other: None, sum: None, crc64nvme: None, kept: Vec::new() }
    }

    /// The digests of a complete read.
    pub(super) fn reading(&self) -> Option<Reading> {
        let Ok(Some(md5)) = self.md5 else { return None };
        Some(Reading { md5, crc64nvme: self.crc64nvme? })
    }
}

/// The outcome of a watched body: nothing until it has ended.
type Outcome = Arc<Mutex<Option<Seen>>>;

/// The outcome of a body that another task reads.
pub(super) struct WatchedBody(Outcome);

impl WatchedBody {
    /// What was learned; `None` if its reader has not read it to the end.
    pub fn outcome(self) -> Option<Seen> {
        lock(&self.0).take()
    }
}

/// A body from which one stretch after the other is read into memory.
pub(super) struct Stretches {
    body: Body,
    /// What has come of the next stretch.
    ahead: Bytes,
}

impl Stretches {
    pub fn of(body: Body) -> Self {
        Self { body, ahead: Bytes::new() }
    }

    /// The `len` bytes after the next `skip`.
    pub async fn next(&mut self, mut skip: u64, len: u64) -> Result<Bytes> {
        let mut bytes = BytesMut::with_capacity(len as usize);
        loop {
            let gap = skip.min(self.ahead.len() as u64);
            skip -= gap;
            self.ahead.advance(gap as usize);
            let missing = (len as usize).saturating_sub(bytes.len());
            bytes.extend_from_slice(&self.ahead.split_to(missing.min(self.ahead.len())));
            if bytes.len() as u64 == len {
                return Ok(bytes.freeze());
            }
            let beyond = || Error::new(ErrorKind::Damaged, "the body ends before this stretch");
            self.ahead = self.body.try_next().await?.ok_or_else(beyond)?;
        }
    }
}

struct Passing {
    body: Body,
    hasher: Option<LaneHasher>,
    md5: Option<Md5>,
    sum: Option<sums::SumHasher>,
    whole: Option<Sum>,
    crc64nvme: Option<sums::SumHasher>,
    kept: Option<Vec<Bytes>>,
    outcome: Outcome,
}

/// Passes a body through, hashing it on the way. A body whose digest is not the expected one ends
/// in an error before its last bytes have passed.
pub(super) fn watch(body: Body, wanted: BodyWants) -> (Body, WatchedBody) {
    let (length, outcome) = (body.length(), Outcome::default());
    let watched = WatchedBody(Arc::clone(&outcome));
    let BodyWants { hasher, md5, sum, whole, crc64nvme, keep } = wanted;
    let crc64nvme = crc64nvme.then(|| sums::SumHasher::new(Algorithm::Crc64Nvme));
    let sum = whole.map(|whole| whole.algorithm()).or(sum).map(sums::SumHasher::new);
    let kept = keep.then(Vec::new);
    let passing = Passing { body, hasher, md5, sum, whole, crc64nvme, kept, outcome };
    let pieces = stream::unfold(Some(passing), |passing| async {
        let mut passing = passing?;
        match passing.next().await {
            Ok(Some(chunk)) => Some((Ok(chunk), Some(passing))),
            Ok(None) => None,
            Err(error) => {
                // Both sides need the error: the request must be cut, and the reason kept.
                let cut = Error::new(error.kind(), error.to_string());
                passing.end(Err(error), None);
                Some((Err(cut), None))
            }
        }
    });
    (Body::new(pieces, length), watched)
}

impl Passing {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(chunk) = self.body.try_next().await? else {
            // An empty body has no last chunk.
            self.end(Ok(None), None);
            return Ok(None);
        };
        if let Some(hasher) = &mut self.hasher {
            hasher.push(chunk.clone()).await;
        }
        if let Some(sum) = &mut self.sum {
            sum.update(&chunk);
        }
        if let Some(crc64nvme) = &mut self.crc64nvme {
            crc64nvme.update(&chunk);
        }
        if let Some(kept) = &mut self.kept {
            kept.push(chunk.clone());
        }
        // Ends before the last bytes leave: a sender of a body of known length asks for no more.
        if self.body.is_whole() {
            let md5 = match self.hasher.take() {
                Some(hasher) => Some(hasher.finish().await?),
                None => None,
            };
            if let (Some(md5), Some(wanted)) = (md5, self.md5)
                && md5 != wanted
            {
                let [read, said] = [md5, wanted].map(|md5| digest::single_etag(&md5));
                let message = format!("the bytes read give {read}, the source's ETag is {said}");
                self.end(Err(Error::new(ErrorKind::Damaged, message.as_str())), Some(md5));
                return Err(Error::new(ErrorKind::Damaged, message));
            }
            if let (Some(wanted), Some(sum)) = (self.whole, self.sum.clone())
                && sum.finish() != wanted
            {
                let name = wanted.algorithm().name();
                let message = format!("the bytes read have another {name} than the source says");
                self.end(Err(Error::new(ErrorKind::Damaged, message.as_str())), md5);
                return Err(Error::new(ErrorKind::Damaged, message));
            }
            self.end(Ok(md5), None);
        }
        Ok(Some(chunk))
    }

    /// Only the first end counts: an error may be reported a second time.
    fn end(&mut self, md5: Result<Option<Md5>>, other: Option<Md5>) {
        let sum = self.sum.take().map(sums::SumHasher::finish);
        let crc64nvme = self.crc64nvme.take().and_then(|crc| crc.finish().as_crc64nvme());
        let kept = self.kept.take().unwrap_or_default();
        let mut outcome = lock(&self.outcome);
        outcome.get_or_insert(Seen { md5, other, sum, crc64nvme, kept });
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;
    use crate::digest::lanes::Lanes;

    async fn pass(chunks: Vec<Result<Bytes>>, length: u64) -> (Result<Vec<Bytes>>, WatchedBody) {
        let wanted = BodyWants::md5(Some(Lanes::new().hasher()));
        let (body, watched) = watch(Body::new(stream::iter(chunks), length), wanted);
        (body.try_collect().await, watched)
    }

    /// Promise 3.
    #[tokio::test]
    async fn what_passes_is_hashed() {
        let chunks = || vec![Ok(Bytes::from_static(b"ab")), Ok(Bytes::from_static(b"cd"))];
        let (passed, watched) = pass(chunks(), 4).await;
        assert_eq!(passed.unwrap().concat(), b"abcd");
        assert_eq!(watched.outcome().unwrap().md5.unwrap(), Some(digest::md5(b"abcd")));
    }

    /// Promise 3.
    #[tokio::test]
    async fn a_body_that_is_short_long_or_cut_ends_in_its_own_error() {
        let piece = || Ok(Bytes::from_static(b"ab"));
        let cut = || Err(Error::new(ErrorKind::Unavailable, "cut"));
        for (chunks, length, kind) in [
            (vec![piece()], 4, ErrorKind::Damaged),
            (vec![piece(), piece()], 3, ErrorKind::Damaged),
            (vec![piece(), piece()], 2, ErrorKind::Damaged),
            (vec![piece(), cut()], 4, ErrorKind::Unavailable),
        ] {
            let (passed, watched) = pass(chunks, length).await;
            assert_eq!(passed.unwrap_err().kind(), kind);
            assert_eq!(watched.outcome().unwrap().md5.unwrap_err().kind(), kind);
        }
    }

    /// Promise 3.
    #[tokio::test]
    async fn a_body_of_another_md5_ends_before_its_last_bytes() {
        for (md5, is_right) in [(digest::md5(b"abcd"), true), (digest::md5(b"abce"), false)] {
            let chunks = vec![Ok(Bytes::from_static(b"ab")), Ok(Bytes::from_static(b"cd"))];
            let hasher = Some(Lanes::new().hasher());
            let sum = Some(Algorithm::Crc32C);
            let wanted =
                BodyWants { hasher, md5: Some(md5), sum, keep: true, ..BodyWants::default() };
            let (body, watched) = watch(Body::new(stream::iter(chunks), 4), wanted);
            let passed: Vec<Result<Bytes>> = body.collect().await;
            let seen = watched.outcome().unwrap();
            assert_eq!(passed.last().unwrap().is_ok(), is_right);
            assert_eq!(seen.md5.is_ok(), is_right);
            assert_eq!(seen.other, (!is_right).then(|| digest::md5(b"abcd")));
            assert_eq!(seen.sum, Some(sums::of(Algorithm::Crc32C, b"abcd")));
            assert_eq!(seen.kept.concat(), b"abcd");
        }
    }

    /// Promise 3.
    #[tokio::test]
    async fn a_body_of_another_checksum_ends_before_its_last_bytes() {
        for (of, is_right) in [(b"abcd", true), (b"abce", false)] {
            let chunks = vec![Ok(Bytes::from_static(b"ab")), Ok(Bytes::from_static(b"cd"))];
            let whole = Some(sums::of(Algorithm::Sha256, of));
            let wanted = BodyWants { whole, ..BodyWants::md5(Some(Lanes::new().hasher())) };
            let (body, watched) = watch(Body::new(stream::iter(chunks), 4), wanted);
            let passed: Vec<Result<Bytes>> = body.collect().await;
            let seen = watched.outcome().unwrap();
            assert_eq!(passed.last().unwrap().is_ok(), is_right);
            assert_eq!(seen.other, (!is_right).then(|| digest::md5(b"abcd")));
        }
    }

    /// Promise 3.
    #[tokio::test]
    async fn stretches_are_read_wherever_the_chunks_end() {
        let chunks = ["ab", "", "cde", "f"].map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
        let mut stretches = Stretches::of(Body::new(stream::iter(chunks), 6));
        for (skip, len, expected) in [(0, 1, "a"), (0, 0, ""), (2, 1, "d"), (0, 2, "ef")] {
            assert_eq!(stretches.next(skip, len).await.unwrap(), expected, "{skip} {len}");
        }
        assert_eq!(stretches.next(0, 1).await.unwrap_err().kind(), ErrorKind::Damaged);
    }

    /// Promise 3.
    #[tokio::test]
    async fn a_body_that_is_not_read_to_its_end_has_no_outcome() {
        let chunks = stream::iter([Ok(Bytes::from_static(b"ab")), Ok(Bytes::from_static(b"cd"))]);
        let (mut body, watched) = watch(Body::new(chunks, 4), BodyWants::default());
        body.try_next().await.unwrap();
        assert!(watched.outcome().is_none());
    }
}
