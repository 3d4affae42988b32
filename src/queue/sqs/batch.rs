//! Divides bodies into batches.
//!
//! Pure: bodies go in and batches come out, so the limits are tested without a queue.

use std::ops::Range;

use crate::queue::MAX_BATCH;

/// The message size limit of a queue that does not report one, and the batch size that every region
/// accepts.
pub(super) const DEFAULT_MAX_BYTES: usize = 256 * 1024;

/// A body too large for any batch: its index and size.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong {
    pub(super) index: usize,
    pub(super) bytes: usize,
}

/// Divides bodies of these sizes, in order, into batches of at most [`MAX_BATCH`], none larger than
/// the batch limit of a queue that accepts messages of `max_bytes`.
///
/// A region whose queues accept larger messages accepts batches of that size too, and no region
/// accepts less than [`DEFAULT_MAX_BYTES`].
pub(super) fn batches(
    sizes: impl Iterator<Item = usize>,
    max_bytes: usize,
) -> Result<Vec<Range<usize>>, TooLong> {
    let max_batch = max_bytes.max(DEFAULT_MAX_BYTES);
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut filled = 0;
    for (index, bytes) in sizes.enumerate() {
        if bytes > max_bytes {
            return Err(TooLong { index, bytes });
        }
        match ranges.last_mut() {
            Some(last) if last.len() < MAX_BATCH && filled + bytes <= max_batch => {
                last.end = index + 1;
                filled += bytes;
            }
            _ => {
                ranges.push(index..index + 1);
                filled = bytes;
            }
        }
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    #[test]
    fn batches_hold_ten_messages_and_no_more_bytes_than_allowed() {
        let small = batches([1; 21].into_iter(), DEFAULT_MAX_BYTES);
        assert_eq!(small, Ok(vec![0..10, 10..20, 20..21]));

        let large = batches([100 * KIB, 156 * KIB, 1, 200 * KIB].into_iter(), 256 * KIB);
        assert_eq!(large, Ok(vec![0..2, 2..4]));

        // A queue of small messages still accepts full-size batches.
        assert_eq!(batches([KIB; 11].into_iter(), KIB), Ok(vec![0..10, 10..11]));
        assert_eq!(batches([1024 * KIB; 2].into_iter(), 1024 * KIB), Ok(vec![0..1, 1..2]));
        assert_eq!(batches(std::iter::empty(), KIB), Ok(vec![]));
    }

    #[test]
    fn a_body_over_the_limit_is_named_before_anything_is_sent() {
        let outcome = batches([5, KIB + 1].into_iter(), KIB);
        assert_eq!(outcome, Err(TooLong { index: 1, bytes: KIB + 1 }));
    }
}
