//! A body on its way through: hashed as it passes, never held.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::proof::wrong_length;
use crate::error::{Error, Result};
use crate::lanes::LaneHasher;
use crate::store::{Body, Md5};

/// What became of a body that was watched: nothing as long as it has not ended.
type Outcome = Arc<Mutex<Option<Result<Option<Md5>>>>>;

/// The end of a body that somebody else reads.
pub(super) struct Watched(Outcome);

impl Watched {
    /// The body's MD5 where it was hashed, the error that ended it, or `None` where its reader has
    /// not read to its end.
    pub fn outcome(self) -> Option<Result<Option<Md5>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct Passing {
    body: Body,
    left: u64,
    length: u64,
    hasher: Option<LaneHasher>,
    outcome: Outcome,
}

/// Passes a body of exactly `length` bytes through, hashing it on the way. One that is cut, short or
/// long ends in an error before its last byte has left.
pub(super) fn watch(body: Body, length: u64, hasher: Option<LaneHasher>) -> (Body, Watched) {
    let outcome = Outcome::default();
    let watched = Watched(Arc::clone(&outcome));
    let passing = Passing { body, left: length, length, hasher, outcome };
    let stream = stream::unfold(Some(passing), |passing| async {
        let mut passing = passing?;
        match passing.next().await {
            Ok(Some(chunk)) => Some((Ok(chunk), Some(passing))),
            Ok(None) => None,
            Err(error) => {
                // Two owners want to know: the request must be cut, and the reason kept.
                let cut = Error::new(error.kind(), error.to_string());
                passing.end(Err(error));
                Some((Err(cut), None))
            }
        }
    });
    (stream.boxed(), watched)
}

impl Passing {
    async fn next(&mut self) -> Result<Option<bytes::Bytes>> {
        if self.left == 0 {
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
        // Ended before the last bytes leave: who sends a body of known length asks for no more.
        if self.left == 0 {
            if let Some(more) = self.body.try_next().await?.filter(|more| !more.is_empty()) {
                return Err(wrong_length(self.length, self.length + more.len() as u64));
            }
            let md5 = match self.hasher.take() {
                Some(hasher) => Some(hasher.finish().await?),
                None => None,
            };
            self.end(Ok(md5));
        }
        Ok(Some(chunk))
    }

    fn end(&self, outcome: Result<Option<Md5>>) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::error::ErrorKind;
    use crate::lanes::Lanes;
    use crate::plan::digest;

    async fn pass(chunks: Vec<Result<Bytes>>, length: u64) -> (Result<Vec<Bytes>>, Watched) {
        let hasher = Some(Lanes::new().hasher());
        let (body, watched) = watch(stream::iter(chunks).boxed(), length, hasher);
        (body.try_collect().await, watched)
    }

    #[tokio::test]
    async fn what_passes_is_hashed() {
        let chunks = || vec![Ok(Bytes::from_static(b"ab")), Ok(Bytes::from_static(b"cd"))];
        let (passed, watched) = pass(chunks(), 4).await;
        assert_eq!(passed.unwrap().concat(), b"abcd");
        assert_eq!(watched.outcome().unwrap().unwrap(), Some(digest::md5(b"abcd")));
    }

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
            assert_eq!(watched.outcome().unwrap().unwrap_err().kind(), kind);
        }
    }

    #[tokio::test]
    async fn a_body_that_is_not_read_to_its_end_has_no_outcome() {
        let chunks = stream::iter([Ok(Bytes::from_static(b"ab")), Ok(Bytes::from_static(b"cd"))]);
        let (mut body, watched) = watch(chunks.boxed(), 4, None);
        body.try_next().await.unwrap();
        assert!(watched.outcome().is_none());
    }
}
