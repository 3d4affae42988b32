//! Counts the requests that copy an object, without sending any.
//!
//! Pure: what an object needs follows from its size and from how it is copied.

use serde::Serialize;

use crate::object::MIB;
use crate::transfer::layout::{self, MAX_PART_BYTES, MAX_PARTS, MIN_PART_BYTES, Route};

/// Entries per page of ListParts
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html>).
const PARTS_PAGE: u64 = 1000;

/// How objects are copied, as far as it affects the requests. The defaults are those of the ini.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// ResumableThreshold in bytes: up to this size one GET and one PUT.
    pub threshold: u64,
    /// StreamThreshold in bytes: up to this size an object with an MD5 ETag is streamed in one
    /// piece.
    pub stream: u64,
    /// ChunkSize in bytes.
    pub chunk: u64,
    /// PreserveEtag: a multipart object is written in the same parts.
    pub preserve_etag: bool,
    /// UpdateVersionId: the version is looked up at the start and at the end.
    pub update_version: bool,
    /// CopyTags: tags are copied with the object.
    pub copy_tags: bool,
}

impl Default for Manner {
    fn default() -> Self {
        let (threshold, chunk) = (5 * MIB, 5 * MIB);
        let stream = 8 * MIB;
        Self {
            threshold,
            stream,
            chunk,
            preserve_etag: true,
            update_version: false,
            copy_tags: true,
        }
    }
}

/// Objects to copy, and the requests that it takes when nothing goes wrong: no retries, no
/// resumption, no tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CopyTally {
    /// Objects copied in one piece.
    pub small: u64,
    /// Their bytes.
    pub small_bytes: u64,
    /// Objects copied in parts.
    pub large: u64,
    /// Their bytes.
    pub large_bytes: u64,
    /// Objects larger than S3 allows: each fails after one HEAD.
    pub too_large: u64,
    /// GetObject at the source.
    pub gets: u64,
    /// HeadObject at the source.
    pub heads: u64,
    /// UploadPart at the destination.
    pub parts: u64,
    /// ListParts at the destination: one page per thousand parts.
    pub parts_pages: u64,
}

impl CopyTally {
    /// Counts an object of `size` bytes; `source_parts`: the number of parts from its ETag.
    pub fn add(&mut self, size: u64, source_parts: Option<u32>, manner: Manner) {
        let laid_out = source_parts.filter(|_| manner.preserve_etag);
        // A small object is read at once; only the answer shows that it was written in parts.
        let streamed = size > manner.threshold && size <= manner.stream;
        let at_once = (size <= manner.threshold || streamed) && !manner.update_version;
        let whole = source_parts.is_none() && streamed;
        if at_once && (laid_out.is_some() || (streamed && !whole)) {
            self.gets += 1;
        }
        if !at_once || laid_out.is_some() || (streamed && !whole) {
            self.heads += 1;
        }
        if manner.update_version {
            self.heads += 1;
        }
        if laid_out.is_some() {
            self.heads += 1;
        }
        let kept = laid_out.map(u64::from).filter(|count| may_keep(size, *count));
        match (kept, layout::route(size, manner.threshold, manner.chunk, MAX_PARTS)) {
            (Some(count), Ok(_)) => self.in_parts(size, count),
            (None, Ok(Route::Multipart(_))) if whole => self.in_one_piece(size),
            (None, Ok(Route::Multipart(layout))) => self.in_parts(size, layout.count().into()),
            (None, Ok(Route::Single)) => self.in_one_piece(size),
            (_, Err(_)) => self.too_large += 1,
        }
    }

    fn in_one_piece(&mut self, size: u64) {
        self.small += 1;
        self.small_bytes = self.small_bytes.saturating_add(size);
        self.gets += 1;
    }

    fn in_parts(&mut self, size: u64, parts: u64) {
        self.large += 1;
        self.large_bytes = self.large_bytes.saturating_add(size);
        self.gets += parts;
        self.parts += parts;
        self.parts_pages += parts.div_ceil(PARTS_PAGE);
    }

    /// Adds the counts of another tally.
    pub fn merge(&mut self, other: &Self) {
        self.small += other.small;
        self.small_bytes = self.small_bytes.saturating_add(other.small_bytes);
        self.large += other.large;
        self.large_bytes = self.large_bytes.saturating_add(other.large_bytes);
        self.too_large += other.too_large;
        self.gets += other.gets;
        self.heads += other.heads;
        self.parts += other.parts;
        self.parts_pages += other.parts_pages;
    }

    /// Bytes to read.
    pub fn bytes(&self) -> u64 {
        self.small_bytes.saturating_add(self.large_bytes)
    }
}

/// Whether an object of `size` bytes can have `count` parts, equal except for the last, that S3
/// accepts. The listing does not give the part size; [`layout::preserved`] decides when it is
/// known.
fn may_keep(size: u64, count: u64) -> bool {
    match count {
        0 => false,
        1 => size > 0 && size <= MAX_PART_BYTES,
        _ => {
            let (smallest, largest) = (size.div_ceil(count), size.saturating_sub(1) / (count - 1));
            let exists = smallest <= largest && count <= MAX_PARTS;
            exists && smallest <= MAX_PART_BYTES && largest >= MIN_PART_BYTES
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::layout::MAX_OBJECT_BYTES;

    const KEPT: Manner = Manner {
        threshold: 5 * MIB,
        stream: 8 * MIB,
        chunk: 5 * MIB,
        preserve_etag: true,
        update_version: false,
        copy_tags: true,
    };

    fn one(size: u64, source_parts: Option<u32>, manner: Manner) -> CopyTally {
        let mut tally = CopyTally::default();
        tally.add(size, source_parts, manner);
        tally
    }

    #[test]
    fn a_small_object_is_read_once_and_nothing_else() {
        for size in [0, 1, 5 * MIB] {
            let expected =
                CopyTally { small: 1, small_bytes: size, gets: 1, ..CopyTally::default() };
            assert_eq!(one(size, None, KEPT), expected);
        }
    }

    #[test]
    fn one_with_an_md5_etag_is_streamed_and_one_in_parts_is_asked_for_in_vain() {
        let expected =
            CopyTally { small: 1, small_bytes: 7 * MIB, gets: 1, ..CopyTally::default() };
        assert_eq!(one(7 * MIB, None, KEPT), expected);
        let in_parts = one(7 * MIB, Some(2), KEPT);
        assert_eq!((in_parts.large, in_parts.gets, in_parts.heads), (1, 3, 2));
    }

    #[test]
    fn a_large_object_is_looked_at_once_and_read_in_parts() {
        let parts = |size, large_parts, parts_pages| CopyTally {
            large: 1,
            large_bytes: size,
            gets: large_parts,
            heads: 1,
            parts: large_parts,
            parts_pages,
            ..CopyTally::default()
        };
        assert_eq!(one(8 * MIB + 1, None, KEPT), parts(8 * MIB + 1, 2, 1));
        let manner = Manner { stream: 0, ..KEPT };
        assert_eq!(one(5 * MIB + 1, None, manner), parts(5 * MIB + 1, 2, 1));
        assert_eq!(one(5000 * MIB, None, KEPT), parts(5000 * MIB, 1000, 1));
        assert_eq!(one(5001 * MIB, None, KEPT), parts(5001 * MIB, 1001, 2));
        let manner = Manner { chunk: 100 * MIB, ..KEPT };
        assert_eq!(one(5000 * MIB, None, manner), parts(5000 * MIB, 50, 1));
    }

    #[test]
    fn the_sources_own_parts_are_kept_where_they_can_be() {
        let large = one(1024 * MIB, Some(64), KEPT);
        assert_eq!((large.heads, large.gets, large.parts), (2, 64, 64));
        let manner = Manner { preserve_etag: false, ..KEPT };
        let large = one(1024 * MIB, Some(64), manner);
        assert_eq!((large.heads, large.gets, large.parts), (1, 205, 205));
        // Parts of 4 MiB, which S3 does not accept: copied in parts of our own size.
        let large = one(40 * MIB, Some(10), KEPT);
        assert_eq!((large.heads, large.parts), (2, 8));
        // A small object in a single part: read, two HEADs, and uploaded.
        let small = one(100, Some(1), KEPT);
        assert_eq!((small.small, small.large), (0, 1));
        assert_eq!((small.gets, small.heads, small.parts), (2, 2, 1));
        // In two parts, which are too small: a PUT.
        let small = one(2 * MIB, Some(2), KEPT);
        assert_eq!((small.small, small.large, small.gets, small.heads), (1, 0, 2, 2));
    }

    #[test]
    fn parts_may_be_kept_where_some_size_of_theirs_is_legal() {
        assert!(may_keep(9 * MIB, 2), "8 MiB and 1 MiB");
        assert!(may_keep(10 * MIB, 2));
        assert!(!may_keep(5 * MIB, 2), "4.9 MiB and less");
        assert!(may_keep(MAX_OBJECT_BYTES, 10_000) && !may_keep(MAX_OBJECT_BYTES, 10_001));
        assert!(!may_keep(MAX_PART_BYTES + 1, 1) && may_keep(MAX_PART_BYTES, 1));
        assert!(!may_keep(0, 1) && !may_keep(0, 0) && !may_keep(1, 2));
    }

    #[test]
    fn versions_that_are_looked_up_cost_a_look_at_each_end() {
        let manner = Manner { update_version: true, ..KEPT };
        let small = one(100, None, manner);
        assert_eq!((small.small, small.gets, small.heads), (1, 1, 2));
        let large = one(10 * MIB, Some(2), manner);
        assert_eq!((large.large, large.gets, large.heads), (1, 2, 3));
        let small = one(100, Some(1), manner);
        assert_eq!((small.large, small.gets, small.heads), (1, 1, 3), "no GET for nothing");
    }

    #[test]
    fn an_object_that_s3_does_not_hold_is_looked_at_and_left() {
        let tally = one(MAX_OBJECT_BYTES + 1, None, KEPT);
        assert_eq!(tally, CopyTally { too_large: 1, heads: 1, ..CopyTally::default() });
    }
}
