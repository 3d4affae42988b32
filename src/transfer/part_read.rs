//! Reads a range of the object that is copied, and checks that the answer is that range of that
//! object.

use std::sync::atomic::Ordering;

use super::parts::PartMover;
use super::single::MAX_READS;
use crate::error::{Error, ErrorKind, Result};
use crate::object::ByteRange;
use crate::quirk::Quirk;
use crate::store::{Body, GetRequest, Reads};

impl PartMover {
    /// Reads a range of the object that is copied. A store that ignores ranges sends the whole
    /// object.
    pub(super) async fn get(&self, range: ByteRange) -> Result<Body> {
        let (source, bucket) = (&self.engine.source, &self.src.bucket);
        let all = range.len == self.layout.size;
        let ranged = !all && !source.profile().has(bucket, Quirk::NoRanges);
        let request = GetRequest {
            id: self.src.clone(),
            version: self.version.clone(),
            range: ranged.then_some(range),
            if_match: Some(self.etag.clone()),
        };
        let answer = match source.get(&request).await {
            Err(error) if ranged && refuses_ranges(&error) => {
                // Learned below, if the store then answers with the whole object.
                let all = GetRequest { range: None, ..request };
                source.get(&all).await.map_err(|_| error)?
            }
            answer => answer?,
        };
        let (start, length, whole) = (answer.start, answer.body.length(), answer.whole);
        match answered(range, self.layout.size, start, length, whole) {
            Answered::Range => Ok(answer.body),
            Answered::Whole if !ranged => Ok(answer.body.cut(range.start, range.len)),
            Answered::Whole => {
                let evidence = format_args!(
                    "GetObject s3://{} answered {length} bytes to {}",
                    self.src,
                    range.header()
                );
                source.profile().learn(bucket, Quirk::NoRanges, evidence);
                Ok(answer.body.cut(range.start, range.len))
            }
            Answered::Otherwise => {
                let whole = whole.map_or("unknown".to_owned(), |whole| whole.to_string());
                let message = format!(
                    "{}: {} of {} bytes were requested with the ETag {}, and the source answers \
                     {length} from byte {start}, of {whole}: a wrong answer, nothing was written",
                    self.src,
                    range.header(),
                    self.layout.size,
                    self.etag
                );
                let kind = match self.broken.fetch_add(1, Ordering::Relaxed) + 1 < MAX_READS {
                    true => ErrorKind::Damaged,
                    false => ErrorKind::Invalid,
                };
                Err(Error::new(kind, message))
            }
        }
    }
}

/// Whether a refusal may be about `Range`, from a store that does not know it.
fn refuses_ranges(error: &Error) -> bool {
    let status = error.evidence().map_or(0, |evidence| evidence.status);
    let of_the_object = matches!(error.kind(), ErrorKind::Archived | ErrorKind::Denied);
    matches!(status, 400 | 405 | 416 | 501) && !of_the_object
}

/// What an answer to a range is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answered {
    /// What was asked for.
    Range,
    /// The whole object, although a range was asked for.
    Whole,
    /// Neither: another object, or another place in it.
    Otherwise,
}

/// Whether `length` bytes from `start`, of an object of `whole` bytes if the answer says so, are
/// this range of an object of `size` bytes.
fn answered(range: ByteRange, size: u64, start: u64, length: u64, whole: Option<u64>) -> Answered {
    let right_size = whole.is_none_or(|whole| whole == size);
    // A partial answer without Content-Range looks like a whole one of that length.
    let untold = start == 0 && whole == Some(length);
    match length {
        length if length == range.len && start == range.start && right_size => Answered::Range,
        length if length == size && start == 0 && right_size => Answered::Whole,
        length if length == range.len && untold && range.len < size => Answered::Range,
        _ => Answered::Otherwise,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise 3.
    #[test]
    fn an_answer_is_the_range_or_the_whole_or_broken() {
        let range = ByteRange { start: 5, len: 5 };
        for (start, length, whole, expected) in [
            (5, 5, Some(12), Answered::Range),
            (5, 5, None, Answered::Range),
            (0, 5, Some(5), Answered::Range), // no Content-Range
            (0, 12, Some(12), Answered::Whole),
            (5, 5, Some(13), Answered::Otherwise), // another object
            (6, 5, Some(12), Answered::Otherwise), // another place
            (5, 4, Some(12), Answered::Otherwise),
            (0, 0, Some(0), Answered::Otherwise),
            (0, 13, Some(13), Answered::Otherwise),
        ] {
            assert_eq!(
                answered(range, 12, start, length, whole),
                expected,
                "{start} {length} {whole:?}"
            );
        }
        let all = ByteRange { start: 0, len: 12 };
        assert_eq!(answered(all, 12, 0, 12, Some(12)), Answered::Range);
        assert_eq!(answered(all, 12, 0, 11, Some(11)), Answered::Otherwise);
    }
}
