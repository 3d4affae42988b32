//! How an object is split, and which parts of an earlier attempt may be trusted.
//!
//! Limits: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>.
//!
//! Pure: a layout follows from sizes and limits.

use std::fmt;

use crate::object::{ByteRange, Etag, MIB};
use crate::store::{Part, PartsSeen};

/// Most parts of one upload.
pub const MAX_PARTS: u64 = 10_000;
/// Smallest part, except the last one, in bytes.
pub const MIN_PART_BYTES: u64 = 5 * MIB;
/// Largest part, and largest object of a single PUT, in bytes.
pub const MAX_PART_BYTES: u64 = 5 * 1024 * MIB;
/// Largest object in bytes: 10,000 parts of 5 GiB, about 48.8 TiB.
pub const MAX_OBJECT_BYTES: u64 = MAX_PARTS * MAX_PART_BYTES;

/// The object is larger than the destination can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// Bytes of the object.
    pub size: u64,
    /// Most parts of one upload.
    pub max_parts: u64,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = self.max_parts * MAX_PART_BYTES;
        write!(f, "{} bytes are more than the {most} that the destination holds", self.size)
    }
}

/// How an object is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// One GET and one PUT.
    Single,
    /// Ranges and parts.
    Multipart(Layout),
}

/// Chooses the route for an object of `size` bytes: up to `threshold` bytes in one piece, above it
/// in parts of `chunk` bytes, grown to whole MiB so that there are at most `max_parts`.
pub fn route(size: u64, threshold: u64, chunk: u64, max_parts: u64) -> Result<Route, TooLarge> {
    let max_parts = max_parts.clamp(1, MAX_PARTS);
    if size > max_parts * MAX_PART_BYTES {
        return Err(TooLarge { size, max_parts });
    }
    if size <= threshold.min(MAX_PART_BYTES) {
        return Ok(Route::Single);
    }
    let fitting = size.div_ceil(max_parts).next_multiple_of(MIB);
    let part_size = chunk.max(fitting).clamp(MIN_PART_BYTES, MAX_PART_BYTES);
    Ok(Route::Multipart(Layout { size, part_size }))
}

/// How many parts a store accepts, if its refusal of part `number` says so ("between 1 and 1000,
/// inclusive"): a round number below the refused one. Otherwise, one part fewer.
pub fn parts_allowed(number: u32, refusal: &str) -> u64 {
    let words = refusal.split(|c: char| !c.is_ascii_digit());
    let told = words.filter_map(|word| word.parse::<u64>().ok());
    let below = u64::from(number).saturating_sub(1).max(1);
    told.filter(|told| told.is_multiple_of(100) && (100..=below).contains(told))
        .max()
        .unwrap_or(below)
}

/// Whether a refusal mentions a part's number, or too many parts.
pub fn speaks_of_part_numbers(refusal: &str) -> bool {
    let refusal = refusal.to_ascii_lowercase();
    let says = |words: &str| refusal.contains(words);
    says("part number")
        || says("partnumber")
        || says("toomanyparts")
        || says("too many parts")
        || says("number of parts")
        || says("maximum parts")
}

/// Part sizes of common tools, the most usual first: the AWS CLI and SDKs, rclone, s5cmd, s3cmd and
/// Hadoop. In MiB.
const USUAL_MIB: [u64; 16] = [8, 16, 64, 5, 10, 15, 32, 50, 100, 128, 25, 20, 256, 512, 1024, 500];

/// What was guessed about the part sizes in one bucket, and whether it was right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guesses {
    right: Option<u64>,
    wrong: Vec<u64>,
}

impl Guesses {
    /// A guess has turned out right or wrong.
    pub fn note(&mut self, part_size: u64, right: bool) {
        if right {
            self.right = Some(part_size);
            self.wrong.retain(|wrong| *wrong != part_size);
        } else if self.right != Some(part_size) && !self.wrong.contains(&part_size) {
            self.wrong.push(part_size);
        }
    }

    /// The layout in which an object of `size` bytes was probably written, if its ETag is the
    /// digest of parts of unknown size: one part, or parts of whole MiB. A size that was right in
    /// this bucket comes first, sizes that were wrong are left out.
    pub fn layout(&self, size: u64, etag: &Etag) -> Option<Layout> {
        let count = etag.parts()?;
        let fits = |part_size: &u64| {
            preserved(size, etag, PartsSeen { count, first: *part_size }).is_some()
        };
        if count == 1 {
            return Some(Layout { size, part_size: size }).filter(|_| fits(&size));
        }
        let usual = USUAL_MIB.iter().map(|mib| mib * MIB);
        // The smallest size in whole MiB, and powers of two.
        let smallest = size.div_ceil(u64::from(count)).next_multiple_of(MIB);
        let powers = (0..13).map(|shift| MIB << shift);
        let likely = self.right.into_iter().chain(usual).chain(powers).chain([smallest]);
        let mut likely = likely.filter(|part_size| !self.wrong.contains(part_size));
        likely.find(fits).map(|part_size| Layout { size, part_size })
    }
}

/// An object's division into parts of equal size, except the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of the object.
    pub size: u64,
    /// Bytes of every part but the last.
    pub part_size: u64,
}

impl Layout {
    /// How many parts there are, at least one.
    pub fn count(self) -> u32 {
        // At most 10,000 in a layout that `route` or `adopt` made.
        self.size.div_ceil(self.part_size).max(1) as u32
    }

    /// The bytes of part `number`, counted from 1; `None` outside the layout.
    pub fn range(self, number: u32) -> Option<ByteRange> {
        let start = u64::from(number.checked_sub(1)?).checked_mul(self.part_size)?;
        let len = self.size.checked_sub(start)?.min(self.part_size);
        (len > 0).then_some(ByteRange { start, len })
    }

    fn holds(self, part: &Part) -> bool {
        self.range(part.number).is_some_and(|range| range.len == part.size)
    }

    fn is_legal(self) -> bool {
        let within = self.part_size > 0 && self.part_size <= MAX_PART_BYTES;
        within && self.fits(MAX_PARTS)
    }

    /// Whether there are at most this many parts.
    pub fn fits(self, max_parts: u64) -> bool {
        self.size.div_ceil(self.part_size) <= max_parts
    }
}

/// The layout with the recorded part size, if all parts already at the destination fit into it as
/// parts of an object of `size` bytes. A single one that does not fit makes the whole upload
/// untrustworthy.
pub fn adopt(size: u64, part_size: u64, parts: &[Part]) -> Option<Layout> {
    let layout = Layout { size, part_size };
    // An upload with parts that are too small for S3 could never be completed.
    let can_complete = layout.is_legal() && (part_size >= MIN_PART_BYTES || layout.count() == 1);
    (can_complete && parts.iter().all(|part| layout.holds(part))).then_some(layout)
}

/// The layout in which the source object of `size` bytes was written, so that the copy gets the
/// same ETag: as many parts as its ETag says, all of the first one's size. `None` if its parts
/// differ in size or S3 accepts no such parts.
pub fn preserved(size: u64, etag: &Etag, seen: PartsSeen) -> Option<Layout> {
    let layout = Layout { size, part_size: seen.first };
    let uniform =
        layout.is_legal() && etag.parts() == Some(seen.count) && layout.count() == seen.count;
    let can_complete = seen.first >= MIN_PART_BYTES || seen.count == 1;
    (uniform && can_complete).then_some(layout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Etag;

    const GIB: u64 = 1024 * MIB;

    fn part(number: u32, size: u64) -> Part {
        Part { number, size, etag: Etag::new("e"), crc64nvme: None }
    }

    #[test]
    fn the_threshold_itself_still_goes_in_one_piece() {
        let route = |size| route(size, 5 * MIB, 5 * MIB, MAX_PARTS).unwrap();
        assert_eq!(route(0), Route::Single);
        assert_eq!(route(5 * MIB), Route::Single);
        let layout = Layout { size: 5 * MIB + 1, part_size: 5 * MIB };
        assert_eq!(route(5 * MIB + 1), Route::Multipart(layout));
        assert_eq!(layout.range(2), Some(ByteRange { start: 5 * MIB, len: 1 }));
        assert_eq!((layout.range(0), layout.range(3)), (None, None));
    }

    /// Promise 6.
    #[test]
    fn parts_grow_so_that_ten_thousand_suffice() {
        for size in [50_000 * MIB, 50_000 * MIB + 1, 500 * GIB, MAX_OBJECT_BYTES] {
            let Route::Multipart(layout) = route(size, 5 * MIB, 5 * MIB, MAX_PARTS).unwrap() else {
                panic!("{size} must be multipart");
            };
            assert!(u64::from(layout.count()) <= MAX_PARTS, "{layout:?}");
            assert!(layout.part_size <= MAX_PART_BYTES, "{layout:?}");
            assert_eq!(layout.part_size % MIB, 0);
        }
        let too_large = TooLarge { size: MAX_OBJECT_BYTES + 1, max_parts: MAX_PARTS };
        assert_eq!(route(MAX_OBJECT_BYTES + 1, 0, 5 * MIB, MAX_PARTS), Err(too_large));
    }

    /// Promise 3.
    #[test]
    fn parts_grow_further_where_a_store_takes_fewer() {
        let of = |size, max_parts| route(size, 5 * MIB, 5 * MIB, max_parts).unwrap();
        for (size, max_parts, part_size) in
            [(30 * MIB, 4, 8 * MIB), (30 * MIB, 6, 5 * MIB), (6000 * MIB, 1000, 6 * MIB)]
        {
            let Route::Multipart(layout) = of(size, max_parts) else { panic!("{size}") };
            assert_eq!(layout.part_size, part_size, "{size} in {max_parts}");
            assert!(layout.fits(max_parts));
        }
        for (number, refusal, allowed) in [
            (1001, "Part number must be an integer between 1 and 1000, inclusive", 1000),
            (1020, "Part number must be an integer between 1 and 1000, inclusive", 1000),
            // The store says one thing and does another.
            (5, "Part number must be an integer between 1 and 1000, inclusive", 4),
            (5, "no", 4),
            (1, "no", 1),
        ] {
            assert_eq!(parts_allowed(number, refusal), allowed, "{number} {refusal}");
        }
        assert!(speaks_of_part_numbers("InvalidPartNumber: no"));
        assert!(!speaks_of_part_numbers("EntityTooLarge: the part is too large"));
    }

    /// Promise 3.
    #[test]
    fn likely_layouts_are_guessed_where_nobody_tells() {
        let etag = |count| Etag::new(format!("d41d8cd98f00b204e9800998ecf8427e-{count}"));
        let of = |guesses: &Guesses, size, count| {
            guesses.layout(size, &etag(count)).map(|layout| layout.part_size)
        };
        let none = Guesses::default();
        for (size, count, part_size) in [
            (12 * MIB, 2, Some(8 * MIB)),
            (12 * MIB, 3, Some(5 * MIB)),
            (30 * MIB, 2, Some(16 * MIB)),
            (100 * MIB, 2, Some(64 * MIB)),
            (70 * MIB, 10, Some(7 * MIB)), // unusual, and only one fits
            (9 * MIB, 1, Some(9 * MIB)),
            (3 * MIB, 2, None), // S3 takes no parts as small
        ] {
            assert_eq!(of(&none, size, count), part_size, "{size} in {count}");
        }
        let mut seen = Guesses::default();
        seen.note(8 * MIB, false);
        assert_eq!(of(&seen, 12 * MIB, 2), Some(10 * MIB));
        seen.note(7 * MIB, true);
        assert_eq!(of(&seen, 12 * MIB, 2), Some(7 * MIB));
    }

    /// Promise 3.
    #[test]
    fn the_sources_own_layout_is_kept_where_it_is_uniform() {
        let preserved = |size, count, first| {
            let etag = Etag::new(format!("d41d8cd98f00b204e9800998ecf8427e-{count}"));
            preserved(size, &etag, PartsSeen { count, first })
        };
        let layout = |size, part_size| Some(Layout { size, part_size });
        assert_eq!(preserved(20 * MIB, 3, 8 * MIB), layout(20 * MIB, 8 * MIB));
        assert_eq!(preserved(100, 1, 100), layout(100, 100));
        assert_eq!(
            preserved(MAX_OBJECT_BYTES, 10_000, MAX_PART_BYTES),
            layout(MAX_OBJECT_BYTES, MAX_PART_BYTES)
        );
        for (size, count, first) in [
            (20 * MIB, 2, 8 * MIB), // other parts are larger
            (20 * MIB, 4, 8 * MIB), // or smaller
            (20 * MIB, 20, MIB),    // smaller than S3 takes
            (0, 1, 0),
            (6 * 1024 * MIB, 1, 6 * 1024 * MIB),
        ] {
            assert_eq!(preserved(size, count, first), None, "{size} {count} {first}");
        }
        let plain = Etag::new("d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(super::preserved(9, &plain, PartsSeen { count: 1, first: 9 }), None);
    }

    /// Promise 2.
    #[test]
    fn the_parts_of_any_layout_cover_the_object_once() {
        for _ in 0..2_000 {
            let size = fastrand::u64(1..200 * GIB);
            let chunk = fastrand::u64(5..600) * MIB;
            let Route::Multipart(layout) = route(size, 0, chunk, MAX_PARTS).unwrap() else {
                unreachable!()
            };
            let mut at = 0;
            for number in 1..=layout.count() {
                let range = layout.range(number).unwrap();
                assert_eq!(range.start, at, "{layout:?}");
                at += range.len;
            }
            assert_eq!(at, size, "{layout:?}");
            assert_eq!(layout.range(layout.count() + 1), None);
        }
    }

    /// Promise 2.
    #[test]
    fn a_changed_chunk_size_adopts_the_layout_that_is_there() {
        let size = 23 * MIB;
        let held = [part(1, 8 * MIB), part(3, 7 * MIB)];
        let layout = Layout { size, part_size: 8 * MIB };
        assert_eq!(adopt(size, 8 * MIB, &held), Some(layout));
    }

    /// Promise 2.
    #[test]
    fn parts_that_fit_no_single_layout_are_not_trusted() {
        let size = 23 * MIB;
        let recorded = 8 * MIB;
        assert_eq!(adopt(size, recorded, &[part(1, 5 * MIB)]), None, "another size");
        assert_eq!(adopt(size, recorded, &[part(4, 8 * MIB)]), None, "past the end");
        assert_eq!(adopt(size, recorded, &[part(3, 8 * MIB)]), None, "last part too long");
        assert_eq!(adopt(size, 3 * MIB, &[]), None, "parts that S3 does not take");
        assert_eq!(adopt(size, 0, &[]), None, "no part size");
        assert_eq!(adopt(60_000 * MIB, 5 * MIB, &[]), None, "too many parts");
    }
}
