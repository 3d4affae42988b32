//! The ranges in which an interval of keys is listed; they are split while listing goes on.
//!
//! A range is what one task lists and compares by itself. The task says how far it has come
//! ([`Ranges::advance`]) and learns how far it may go; a split gives the keys after that to another
//! task. So every key belongs to exactly one range, whatever is split when.
//!
//! Pure: a task lists, and says how far it has come.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::keyspace::{Alphabet, common};

/// A range that is guessed to have at most this many pages left is not split.
const WORTH: f64 = 8.0;
/// One split in this many of the same range includes a nested cut.
const TURN: usize = 4;
/// Limit for ranges begun per step forward: a small bucket costs few requests, and as many answers
/// may be empty as it takes to improve the guess.
const BEGUN_PER_STEP: u64 = 4;

/// Identifies a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RangeId(u64);

/// Keys after `after`, up to and including `through`; `None`: unbounded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// The range begins after this key.
    pub after: Option<String>,
    /// The range's last possible key.
    pub through: Option<String>,
}

impl Bounds {
    /// Whether the range continues after `key`.
    pub fn goes_beyond(&self, key: &str) -> bool {
        self.through.as_deref().is_none_or(|through| through > key)
    }
}

/// How far a task has come.
#[derive(Clone, Copy, Debug)]
pub struct RangeStep<'a> {
    /// The first fetched key.
    pub first: &'a str,
    /// Everything up to this key is fetched.
    pub claim: &'a str,
    /// The last fetched key of either side.
    pub fetched: &'a str,
}

#[derive(Debug)]
struct Range {
    bounds: Bounds,
    /// Requests have been answered up to this key, so a split must come after it.
    fetched: Option<String>,
    /// How many leading characters the fetched keys share.
    alike: usize,
    /// Pages guessed to be left; `None` before the first step.
    left: Option<f64>,
    /// How often the range has been split, which decides the kinds of cuts.
    splits: usize,
}

/// All ranges of one interval.
#[derive(Debug)]
pub struct Ranges {
    alphabet: Alphabet,
    running: BTreeMap<RangeId, Range>,
    at_once: usize,
    longest: usize,
    begun: u64,
    steps: u64,
}

impl Ranges {
    /// The interval as one range; at most `at_once` ranges are listed at once. No cut is longer
    /// than `longest` bytes, the longest key that may be requested.
    pub fn new(bounds: Bounds, at_once: usize, longest: usize) -> (Self, RangeId) {
        let mut ranges = Self {
            alphabet: Alphabet::default(),
            running: BTreeMap::new(),
            at_once: at_once.max(1),
            longest,
            begun: 0,
            steps: 0,
        };
        let id = ranges.begin(bounds);
        (ranges, id)
    }

    /// The range's current bounds.
    pub fn bounds(&self, id: RangeId) -> Bounds {
        self.running.get(&id).map(|range| range.bounds.clone()).unwrap_or_default()
    }

    /// The number of ranges that have not ended.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Whether a task that has fetched up to `key` must fetch more.
    pub fn goes_beyond(&self, id: RangeId, key: &str) -> bool {
        self.running.get(&id).is_some_and(|range| range.bounds.goes_beyond(key))
    }

    /// Protects everything up to `step.claim` from splits if the range continues after it.
    /// Otherwise returns `false` and changes nothing: the range must then be closed.
    pub fn advance(&mut self, id: RangeId, step: RangeStep<'_>) -> bool {
        let Self { alphabet, running, steps, .. } = self;
        let Some(range) = running.get_mut(&id).filter(|r| r.bounds.goes_beyond(step.claim)) else {
            return false;
        };
        *steps += 1;
        // The spacing of keys here is a better guide than the range's beginning, before which there
        // may be a long gap.
        let through = range.bounds.through.as_deref();
        range.left = Some(alphabet.ratio(step.first, step.fetched, through));
        range.alike = common(step.first, step.fetched);
        range.fetched = Some(step.fetched.to_owned());
        true
    }

    /// Takes in what keys look like; a few keys of a page are enough. The leading characters that
    /// all of them share say nothing about what others may be like.
    pub fn see<'a>(&mut self, keys: impl Iterator<Item = &'a str> + Clone) {
        let beginning = |one: &'a str, key: &str| {
            let alike = common(one, key);
            one.char_indices().nth(alike).map_or(one, |(end, _)| &one[..end])
        };
        let alike = keys.clone().reduce(beginning).map_or(0, |alike| alike.chars().count());
        let alike = if keys.clone().nth(1).is_some() { alike } else { 0 };
        keys.for_each(|key| self.alphabet.see(key, alike));
    }

    /// The task takes the rest of its range, or gives it up; returns the range's last possible key.
    /// `keys`: how many keys are still left.
    pub fn close(&mut self, id: RangeId, keys: usize) -> Option<String> {
        self.steps += u64::from(keys > 0);
        self.running.remove(&id).and_then(|range| range.bounds.through)
    }

    /// New ranges for idle tasks, taken from the ranges that have most left.
    pub fn split(&mut self) -> Vec<RangeId> {
        let mut new = Vec::new();
        loop {
            let may = (self.steps * BEGUN_PER_STEP).saturating_sub(self.begun);
            let idle = self.at_once.saturating_sub(self.running.len());
            let count = idle.min(usize::try_from(may).unwrap_or(usize::MAX));
            let (Some((id, left)), true) = (self.largest(), count > 0) else { return new };
            // Each piece must be worth a range of its own.
            let most = (left / WORTH) as usize;
            new.extend(self.split_one(id, count.div_ceil(self.worthy()).min(most), left));
        }
    }

    /// The range with the most pages left by guess, if it is worth a split.
    fn largest(&self) -> Option<(RangeId, f64)> {
        let worth =
            |(id, range): (&RangeId, &Range)| Some((*id, range.left.filter(|left| *left > WORTH)?));
        let worthy = self.running.iter().filter_map(worth);
        worthy.max_by(|one, other| one.1.total_cmp(&other.1))
    }

    fn worthy(&self) -> usize {
        let is_worth = |range: &&Range| range.left.is_some_and(|left| left > WORTH);
        self.running.values().filter(is_worth).count().max(1)
    }

    /// Cuts a range with about `left` pages left into itself and up to `count` more.
    fn split_one(&mut self, id: RangeId, count: usize, left: f64) -> Vec<RangeId> {
        let Some(range) = self.running.get_mut(&id) else { return Vec::new() };
        // Not split again before its next step.
        range.left = None;
        range.splits += 1;
        let Some(low) = range.fetched.as_deref() else { return Vec::new() };
        let high = range.bounds.through.clone();
        // If there is no telling how much is left, half of the cuts look for the end. Otherwise a
        // nested cut is added now and then, since the guess may be wrong.
        let nests = if left.is_finite() { 0 } else { count / 2 };
        let nests = nests.max(usize::from(range.splits % TURN == 0));
        let cuts = self.alphabet.cuts(
            low,
            high.as_deref(),
            range.alike,
            (count - nests.min(count), nests),
        );
        let cuts: Vec<String> = cuts.into_iter().filter(|cut| cut.len() <= self.longest).collect();
        let Some(first) = cuts.first() else { return Vec::new() };
        range.bounds.through = Some(first.clone());
        let ends = cuts.iter().skip(1).cloned().map(Some).chain([high]);
        let bounds: Vec<Bounds> = cuts
            .iter()
            .zip(ends)
            .map(|(after, through)| Bounds { after: Some(after.clone()), through })
            .collect();
        bounds.into_iter().map(|bounds| self.begin(bounds)).collect()
    }

    /// One more range: of an interval that the others do not have.
    pub fn begin(&mut self, bounds: Bounds) -> RangeId {
        let id = RangeId(self.begun);
        self.begun += 1;
        let range = Range { bounds, fetched: None, alike: 0, left: None, splits: 0 };
        self.running.insert(id, range);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(at_once: usize) -> (Ranges, RangeId) {
        Ranges::new(Bounds::default(), at_once, 1024)
    }

    fn step<'a>(first: &'a str, claim: &'a str, fetched: &'a str) -> RangeStep<'a> {
        RangeStep { first, claim, fetched }
    }

    /// A task that has come to this key of many closely spaced ones.
    fn at(ranges: &mut Ranges, id: RangeId, key: &str) -> bool {
        ranges.see([key].into_iter());
        ranges.advance(id, step(key, key, key))
    }

    /// Promise 1.
    #[test]
    fn what_is_split_off_begins_where_the_rest_ends() {
        let (mut ranges, id) = whole(8);
        assert!(at(&mut ranges, id, "k/000999"));
        let new = ranges.split();
        assert!(!new.is_empty());
        let mut through = ranges.bounds(id).through;
        for id in new {
            let bounds = ranges.bounds(id);
            assert_eq!(bounds.after, through);
            through = bounds.through;
        }
        assert_eq!(through, None);
    }

    /// Promise 1.
    #[test]
    fn a_split_never_takes_what_was_claimed_or_fetched() {
        let (mut ranges, id) = whole(64);
        ranges.see(["0123456789"].into_iter());
        ranges.advance(id, step("3001", "3002", "3005"));
        ranges.split();
        let through = ranges.bounds(id).through.unwrap();
        assert!(through.as_str() > "3005", "{through}");
        // A claim that reaches the end is not accepted: the range is closed there.
        assert!(!ranges.advance(id, step("3006", &through, "z")));
        assert_eq!(ranges.close(id, 1), Some(through));
    }

    /// Promise 1.
    #[test]
    fn a_small_bucket_costs_few_requests() {
        let (mut ranges, id) = whole(64);
        assert!(ranges.split().is_empty(), "nothing is known yet");
        at(&mut ranges, id, "a");
        assert!(ranges.split().len() < BEGUN_PER_STEP as usize);
        assert!(ranges.split().is_empty(), "not before it has told more");
    }

    /// Promise 1.
    #[test]
    fn a_range_with_little_left_is_not_split() {
        let (mut ranges, id) =
            Ranges::new(Bounds { after: Some("0".into()), through: Some("2".into()) }, 64, 1024);
        ranges.see(["0123456789"].into_iter());
        ranges.advance(id, step("10", "19", "19"));
        assert!(ranges.split().is_empty());
    }

    /// Promise 1.
    #[test]
    fn no_more_are_listed_at_once_than_allowed() {
        let (mut ranges, id) = whole(3);
        for step in 0..9 {
            at(&mut ranges, id, &format!("k{step}"));
            ranges.split();
            assert!(ranges.running() <= 3);
        }
        assert_eq!(whole(0).0.at_once, 1);
        ranges.close(id, 0);
        assert!(!at(&mut ranges, id, "x"));
    }
}
