//! Streams a body and hashes it as it passes; its bytes are held only on request.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::proof::wrong_length;
use super::whole_digest::Reading;
use crate::digest;
use crate::digest::lanes::LaneHasher;
use crate::digest::sums::{self, Algorithm, Sum};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Body, Md5};

/// What to learn about a body as it passes.
#[derive(Debug, Default)]
pub(super) struct Wanted {
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

impl Wanted {
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
pub(super) struct Watched(Outcome);

impl Watched {
    /// What was learned; `None` if its reader has not read it to the end.
    pub fn outcome(self) -> Option<Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The `len` bytes of a body after the first `skip`.
pub(super) fn cut(body: Body, skip: u64, len: u64) -> Body {
    let next = |(mut body, mut skip, left): (Body, u64, u64)| async move {
        if left == 0 {
            return Ok(None);
        }
        while let Some(mut chunk) = body.try_next().await? {
            let ahead = skip.min(chunk.len() as u64);
            skip -= ahead;
            chunk.advance(ahead as usize);
            chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len()));
            if !chunk.is_empty() {
                let left = left - chunk.len() as u64;
                return Ok(Some((chunk, (body, skip, left))));
            }
        }
        Ok(None)
    };
    stream::try_unfold((body, skip, len), next).boxed()
}

/// Reads the `len` bytes after the first `skip` into memory, and returns them with the rest of the
/// body.
pub(super) async fn take(mut body: Body, mut skip: u64, len: u64) -> Result<(Bytes, Body)> {
    let mut bytes = BytesMut::with_capacity(len as usize);
    let mut left = len;
    while left > 0 {
        let Some(mut chunk) = body.try_next().await? else {
            return Err(wrong_length(len, len - left));
        };
        let ahead = skip.min(chunk.len() as u64);
        skip -= ahead;
        chunk.advance(ahead as usize);
        let wanted = chunk.split_to(left.min(chunk.len() as u64) as usize);
        left -= wanted.len() as u64;
        bytes.extend_from_slice(&wanted);
        if !chunk.is_empty() {
            body = stream::once(async { Ok(chunk) }).chain(body).boxed();
        }
    }
    Ok((bytes.freeze(), body))
}

struct Passing {
    body: Body,
    left: u64,
    length: u64,
    hasher: Option<LaneHasher>,
    md5: Option<Md5>,
    sum: Option<sums::Hasher>,
    whole: Option<Sum>,
    crc64nvme: Option<sums::Hasher>,
    kept: Option<Vec<Bytes>>,
    outcome: Outcome,
}

/// Passes a body of exactly `length` bytes through, hashing it on the way. A body that is cut,
/// short or long ends in an error before its last byte has left.
pub(super) fn watch(body: Body, length: u64, wanted: Wanted) -> (Body, Watched) {
    let outcome = Outcome::default();
    let watched = Watched(Arc::clone(&outcome));
    let Wanted { hasher, md5, sum, whole, crc64nvme, keep } = wanted;
    let crc64nvme = crc64nvme.then(|| sums::Hasher::new(Algorithm::Crc64Nvme));
    let sum = whole.map(|whole| whole.algorithm()).or(sum).map(sums::Hasher::new);
    let kept = keep.then(Vec::new);
    let passing =
        Passing { body, left: length, length, hasher, md5, sum, whole, crc64nvme, kept, outcome };
    let stream = stream::unfold(Some(passing), |passing| async {
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
    (stream.boxed(), watched)
}

impl Passing {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.left == 0 {
            // An empty body has no last chunk.
            if self.length == 0 {
                self.end(Ok(None), None);
            }
            return Ok(None);
        }
        let Some(chunk) = self.body.try_next().await? else {
            return Err(wrong_length(self.length, self.length - self.left));
        };
        let len = chunk.len() as u64;
        if len > self.left {
            return Err(wrong_length(self.length, self.length - self.left + len));
        }
        self.left -= len;
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
        if self.left == 0 {
            if let Some(more) = self.body.try_next().await?.filter(|more| !more.is_empty()) {
                return Err(wrong_length(self.length, self.length + more.len() as u64));
            }
            let md5 = match self.hasher.take() {
                Some(hasher) => Some(hasher.finish().await?),
                None => None,
            };
            if let (Some(md5), Some(wanted)) = (md5, self.md5)
                && md5 != wanted
            {
                let [read, said] = [md5, wanted].map(|md5| digest::single_etag(&md5));
                let message = format!("the bytes read make {read}, the source's ETag is {said}");
                self.end(Err(Error::new(ErrorKind::Damaged, message.as_str())), Some(md5));
                return Err(Error::new(ErrorKind::Damaged, message));
            }
            if let (Some(wanted), Some(sum)) = (self.whole, self.sum.clone())
                && sum.finish() != wanted
            {
                let name = wanted.algorithm().name();
                let message = format!("the bytes read have another {name} than the source tells");
                self.end(Err(Error::new(ErrorKind::Damaged, message.as_str())), md5);
                return Err(Error::new(ErrorKind::Damaged, message));
            }
            self.end(Ok(md5), None);
        }
        Ok(Some(chunk))
    }

    /// Only the first end counts: an error may be reported a second time.
    fn end(&mut self, md5: Result<Option<Md5>>, other: Option<Md5>) {
        let sum = self.sum.take().map(sums::Hasher::finish);
        let crc64nvme = self.crc64nvme.take().and_then(|crc| crc.finish().as_crc64nvme());
        let kept = self.kept.take().unwrap_or_default();
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.get_or_insert(Seen { md5, other, sum, crc64nvme, kept });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::lanes::Lanes;

    async fn pass(chunks: Vec<Result<Bytes>>, length: u64) -> (Result<Vec<Bytes>>, Watched) {
        let wanted = Wanted::md5(Some(Lanes::new().hasher()));
        let (body, watched) = watch(stream::iter(chunks).boxed(), length, wanted);
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
            let wanted = Wanted { hasher, md5: Some(md5), sum, keep: true, ..Wanted::default() };
            let (body, watched) = watch(stream::iter(chunks).boxed(), 4, wanted);
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
            let wanted = Wanted { whole, ..Wanted::md5(Some(Lanes::new().hasher())) };
            let (body, watched) = watch(stream::iter(chunks).boxed(), 4, wanted);
            let passed: Vec<Result<Bytes>> = body.collect().await;
            let seen = watched.outcome().unwrap();
            assert_eq!(passed.last().unwrap().is_ok(), is_right);
            assert_eq!(seen.other, (!is_right).then(|| digest::md5(b"abcd")));
        }
    }

    /// Promise 3.
    #[tokio::test]
    async fn a_piece_is_cut_out_of_a_body_wherever_its_chunks_end() {
        for (skip, len, expected) in
            [(0, 3, "abc"), (2, 2, "cd"), (3, 3, "def"), (5, 9, "f"), (9, 1, ""), (1, 0, "")]
        {
            let chunks =
                ["ab", "", "cde", "f"].map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
            let body = cut(stream::iter(chunks).boxed(), skip, len);
            let piece: Vec<Bytes> = body.try_collect().await.unwrap();
            assert_eq!(piece.concat(), expected.as_bytes(), "{skip} {len}");
        }
    }

    /// Promise 3.
    #[tokio::test]
    async fn a_body_that_is_not_read_to_its_end_has_no_outcome() {
        let chunks = stream::iter([Ok(Bytes::from_static(b"ab")), Ok(Bytes::from_static(b"cd"))]);
        let (mut body, watched) = watch(chunks.boxed(), 4, Wanted::default());
        body.try_next().await.unwrap();
        assert!(watched.outcome().is_none());
    }
}
