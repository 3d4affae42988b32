//! The pure decisions against naive models.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::select;
use s3_migration::compare::difference::{Criteria, MergeStep, difference, step};
use s3_migration::config::Compare;
use s3_migration::digest;
use s3_migration::filter::patterns::Patterns;
use s3_migration::job::{Job, Packed, Routes, pack, pack_within, parse};
use s3_migration::object::{Etag, MIB, ObjectId, ObjectKey, destination_key};
use s3_migration::store::{ListPage, Listed, Part};
use s3_migration::transfer::layout::{
    Layout, MAX_OBJECT_BYTES, MAX_PART_BYTES, MAX_PARTS, MIN_PART_BYTES, Route, adopt, route,
};

/// Sizes about the limits as often as any other.
fn size() -> impl Strategy<Value = u64> {
    let edges =
        vec![0, 1, MIN_PART_BYTES, MAX_PART_BYTES, MAX_PARTS * MIN_PART_BYTES, MAX_OBJECT_BYTES];
    prop_oneof![
        (select(edges), -2i64..3).prop_map(|(edge, by)| edge.saturating_add_signed(by)),
        0..200 * MIB,
        0..=MAX_OBJECT_BYTES,
    ]
}

fn part_size() -> impl Strategy<Value = u64> {
    prop_oneof![5 * MIB..600 * MIB, (5u64..5120).prop_map(|mib| mib * MIB), 0..=u64::MAX]
}

fn part(layout: Layout, number: u32) -> Part {
    let size = layout.range(number).map_or(0, |range| range.len);
    Part { number, size, etag: Etag::new("e"), crc64nvme: None }
}

proptest! {
    /// Promise 2.
    #[test]
    fn every_object_has_a_way_that_s3_takes(
        size in size(), threshold in size(), chunk in part_size()
    ) {
        match route(size, threshold, chunk, MAX_PARTS) {
            Err(_) => prop_assert!(size > MAX_OBJECT_BYTES),
            Ok(Route::Single) => prop_assert!(size <= threshold && size <= MAX_PART_BYTES),
            Ok(Route::Multipart(layout)) => {
                prop_assert!(size > threshold.min(MAX_PART_BYTES));
                prop_assert_eq!(layout.size, size);
                prop_assert!((MIN_PART_BYTES..=MAX_PART_BYTES).contains(&layout.part_size));
                prop_assert!(u64::from(layout.count()) <= MAX_PARTS);
                // Never smaller parts than asked for, if S3 takes those.
                prop_assert!(layout.part_size >= chunk.min(MAX_PART_BYTES));
                // What was planned may be continued.
                prop_assert_eq!(adopt(size, layout.part_size, &[]), Some(layout));
            }
        }
    }

    /// Promise 2.
    #[test]
    fn ranges_follow_each_other_from_the_first_byte_to_the_last(
        size in size(), chunk in part_size(), number in 1u32..10_001
    ) {
        let Ok(Route::Multipart(layout)) = route(size, 0, chunk, MAX_PARTS) else { return Ok(()) };
        let last = layout.count();
        let number = 1 + (number - 1) % last;
        let range = layout.range(number).expect("a part of the layout");
        prop_assert_eq!(range.start, u64::from(number - 1) * layout.part_size);
        let next = layout.range(number + 1);
        match next {
            Some(next) => prop_assert_eq!(range.start + range.len, next.start),
            None => prop_assert_eq!((number, range.start + range.len), (last, size)),
        }
        let header = format!("bytes={}-{}", range.start, range.start + range.len - 1);
        prop_assert_eq!(range.header(), header);
        prop_assert_eq!((layout.range(0), layout.range(last + 1)), (None, None));
    }

    /// Promise 2.
    /// An upload is continued with exactly those parts that its own layout has, and with no other.
    #[test]
    fn an_upload_is_continued_only_with_the_parts_of_one_layout(
        size in 1..400 * MIB,
        recorded in 5 * MIB..60 * MIB,
        held in prop::collection::btree_set(1u32..90, 0..12),
        wrong in prop::option::of((1u32..90, 0..60 * MIB)),
    ) {
        let layout = Layout { size, part_size: recorded };
        let held: BTreeSet<u32> = held.into_iter().filter(|n| *n <= layout.count()).collect();
        let mut parts: Vec<Part> = held.iter().map(|number| part(layout, *number)).collect();
        prop_assert_eq!(adopt(size, recorded, &parts), Some(layout));
        if let Some((number, size_of_it)) = wrong
            && layout.range(number).is_none_or(|range| range.len != size_of_it)
        {
            parts.push(Part { number, size: size_of_it, etag: Etag::new("e"), crc64nvme: None });
            prop_assert_eq!(adopt(size, recorded, &parts), None);
        }
    }

    /// Promise 3.
    #[test]
    fn an_etag_of_parts_tells_every_part_and_their_order(
        digests in prop::collection::vec(any::<[u8; 16]>(), 1..6), bit in 0usize..128
    ) {
        let etags: Vec<Etag> = digests.iter().map(digest::single_etag).collect();
        let whole = digest::multipart_etag(etags.iter()).expect("digests");
        let count = format!("-{}", digests.len());
        prop_assert!(whole.as_str().ends_with(&count));
        let mut other = digests.clone();
        other[0][bit / 8] ^= 1 << (bit % 8);
        let other: Vec<Etag> = other.iter().map(digest::single_etag).collect();
        prop_assert_ne!(digest::multipart_etag(other.iter()).expect("digests"), whole.clone());
        let reversed = digest::multipart_etag(etags.iter().rev()).expect("digests");
        let palindrome = digests.iter().eq(digests.iter().rev());
        prop_assert_eq!(reversed == whole, palindrome);
    }

    /// Promise 4.
    /// The destination's key is the source's, byte for byte, after the prefix and one slash.
    #[test]
    fn a_destination_key_ends_with_the_source_key_as_it_is(
        prefix in "[a/.%+ ü]{0,6}", key in any::<String>(), other in any::<String>()
    ) {
        let to = |key: &str| destination_key(&prefix, &ObjectKey::new(key)).as_str().to_owned();
        let (mapped, mapped_other) = (to(&key), to(&other));
        prop_assert!(mapped.ends_with(&key));
        let front = &mapped[..mapped.len() - key.len()];
        match prefix.as_str() {
            "" | "/" => prop_assert_eq!(front, ""),
            prefix => {
                prop_assert!(front.ends_with('/') && front.starts_with(prefix.trim_end_matches('/')));
            }
        }
        // Two keys never meet, and their order stays: the merge walks both listings at once.
        prop_assert_eq!(key.cmp(&other), mapped.cmp(&mapped_other));
    }

    /// Promise 1.
    /// Walking two listings finds what comparing two maps finds.
    #[test]
    fn a_merge_finds_what_two_maps_find(
        source in prop::collection::btree_map("[ab/\u{fffd}\u{10000}]{1,3}", 0u64..3, 0..30),
        destination in prop::collection::btree_map("[ab/\u{fffd}\u{10000}]{1,3}", 0u64..3, 0..30),
    ) {
        let listed = |map: &BTreeMap<String, u64>| -> ListPage {
            map.iter().map(|(key, size)| Listed::new(key, *size)).collect()
        };
        let (left, right) = (listed(&source), listed(&destination));
        let (mut l, mut r) = (left.iter().peekable(), right.iter().peekable());
        let (mut copied, mut kept, mut only) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(step) = step(l.peek().map(|x| x.key), r.peek().map(|x| x.key)) {
            let from = if step == MergeStep::DestinationOnly { None } else { l.next() };
            let to = if step == MergeStep::SourceOnly { None } else { r.next() };
            match (from, to) {
                (Some(from), to) if difference(Criteria::only(Compare::Size), from, to).is_some() => {
                    copied.push(from.key);
                }
                (Some(from), _) => kept.push(from.key),
                (None, Some(to)) => only.push(to.key),
                (None, None) => unreachable!(),
            }
        }
        let same = |key: &&String| destination.get(*key) == source.get(*key);
        let (expected_kept, expected_copied): (Vec<&String>, Vec<&String>) =
            source.keys().partition(same);
        prop_assert_eq!(copied, expected_copied);
        prop_assert_eq!(kept, expected_kept);
        let only_there = destination.keys().filter(|key| !source.contains_key(*key));
        prop_assert_eq!(only, only_there.collect::<Vec<_>>());
    }

    /// Promise 1.
    #[test]
    fn jobs_come_out_of_a_pack_as_they_went_in(
        jobs in prop::collection::vec(job(), 1..20), limit in 200usize..3000
    ) {
        let read = |text: &String| parse(text, &Routes::default()).expect("ours").jobs;
        prop_assert_eq!(&read(&pack(&jobs)), &jobs);
        let packs = pack_within(&jobs, limit);
        for Packed { body, objects } in &packs {
            prop_assert_eq!(read(body).len(), *objects);
            prop_assert!(body.len() <= limit || *objects == 1);
            prop_assert!(body.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        }
        let all: Vec<Job> = packs.iter().flat_map(|packed| read(&packed.body)).collect();
        prop_assert_eq!(all, jobs);
    }

    /// Promise 1.
    /// Against a matcher that tries everything.
    #[test]
    fn the_ignore_list_matches_what_a_naive_matcher_matches(
        patterns in prop::collection::vec(prop::collection::vec(piece(), 1..6), 1..4),
        path in "[ab/.\\-\\]x]{0,7}",
    ) {
        let rules: Vec<String> =
            patterns.iter().map(|pieces| pieces.iter().map(Piece::text).collect()).collect();
        let list = Patterns::parse(&rules.join("\n")).expect("a small list");
        let path: Vec<char> = path.chars().collect();
        let expected = patterns.iter().position(|pieces| fits(pieces, &path));
        let path: String = path.into_iter().collect();
        prop_assert_eq!(list.matches(&path), expected.map(|at| rules[at].as_str()), "{:?}", rules);
    }
}

fn job() -> impl Strategy<Value = Job> {
    let key = prop_oneof!["[a-c/]{1,6}", "\\PC{1,10}", "[\u{0}-\u{1f}\"\\\\é\u{1f600}]{1,5}"];
    let version = prop::option::of("[a-z]{1,3}")
        .prop_filter("that is none", |version| version.as_deref() != Some("null"));
    (key, "[a-b/]{0,3}", any::<u32>(), version).prop_map(|(key, prefix, size, version)| {
        let src = ObjectId::new("from", key.clone());
        Job::copy(src, ObjectId::new("to", prefix + &key), u64::from(size), version)
    })
}

/// One piece of a pattern.
#[derive(Clone, Debug)]
enum Piece {
    Char(char),
    Any,
    Many,
    /// Ranges from a character to one that is not smaller.
    Class(bool, Vec<(char, char)>),
}

fn piece() -> impl Strategy<Value = Piece> {
    let range = select(vec![('a', 'a'), ('a', 'b'), ('b', 'x'), ('.', '/'), ('x', 'x')]);
    prop_oneof![
        4 => select(vec!['a', 'b', '/', '.', '-', 'x', ']']).prop_map(Piece::Char),
        2 => Just(Piece::Any),
        2 => Just(Piece::Many),
        2 => (any::<bool>(), prop::collection::vec(range, 1..3))
            .prop_map(|(not, ranges)| Piece::Class(not, ranges)),
    ]
}

impl Piece {
    fn text(&self) -> String {
        match self {
            Self::Char(c) => c.to_string(),
            Self::Any => "?".to_owned(),
            Self::Many => "*".to_owned(),
            Self::Class(not, ranges) => {
                let ranges: String =
                    ranges.iter().map(|(from, to)| format!("{from}-{to}")).collect();
                format!("[{}{ranges}]", if *not { "!" } else { "" })
            }
        }
    }
}

fn fits(pieces: &[Piece], path: &[char]) -> bool {
    let Some((first, rest)) = pieces.split_first() else { return path.is_empty() };
    if let Piece::Many = first {
        return (0..=path.len()).any(|skipped| fits(rest, &path[skipped..]));
    }
    let Some((c, path)) = path.split_first() else { return false };
    let one = match first {
        Piece::Char(expected) => expected == c,
        Piece::Any | Piece::Many => true,
        Piece::Class(not, ranges) => {
            ranges.iter().any(|(from, to)| (from..=to).contains(&c)) != *not
        }
    };
    one && fits(rest, path)
}
