//! The ranges that an interval of keys is listed in, split while listing goes on.
//!
//! A range is what one task lists and compares by itself. Whoever lists says how far it has come
//! ([`Ranges::advance`]) and is told how far it may go; a split gives what lies behind that to another
//! task. So every key belongs to exactly one range, whatever is split when.
//!
//! Pure: a task lists, and says how far it has come.

use std::collections::BTreeMap;

use super::keyspace::{Alphabet, common};

/// A range that is guessed to have no more pages than this is left to whoever lists it.
const WORTH: f64 = 8.0;
/// One cut in so many of the same range is of the other kind.
const TURN: usize = 4;
/// Ranges begun, at most, for each step forward: a small bucket costs few requests, and as many
/// answers may be empty as a guess needs to become good.
const BEGUN_PER_STEP: u64 = 4;

/// Names a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RangeId(u64);

/// Keys above `after` up to and with `through`; `None`: without bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The range begins behind this.
    pub after: Option<String>,
    /// The range's last possible key.
    pub through: Option<String>,
}

impl Bounds {
    /// Whether the range goes on behind `key`.
    pub fn goes_beyond(&self, key: &str) -> bool {
        self.through.as_deref().is_none_or(|through| through > key)
    }
}

/// How far a task has come.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The first key at hand.
    pub first: &'a str,
    /// Up to here everything is at hand.
    pub claim: &'a str,
    /// The last key at hand on either side.
    pub fetched: &'a str,
}

#[derive(Debug)]
struct Range {
    bounds: Bounds,
    /// Up to here requests have been answered, so that a split comes behind it.
    fetched: Option<String>,
    /// Characters that the keys at hand have in common.
    alike: usize,
    /// Pages that are guessed to be left; `None` before the first step.
    left: Option<f64>,
    /// How often it has been split, so that its cuts are of one kind and the other in turn.
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
    /// The interval as one range; at most `at_once` are listed at once. No cut is longer than `longest`
    /// bytes, the longest key that may be asked for.
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

    /// The range as it is now.
    pub fn bounds(&self, id: RangeId) -> Bounds {
        self.running.get(&id).map(|range| range.bounds.clone()).unwrap_or_default()
    }

    /// Ranges that have not ended.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Whether a task that has fetched up to `key` has to fetch more.
    pub fn goes_beyond(&self, id: RangeId, key: &str) -> bool {
        self.running.get(&id).is_some_and(|range| range.bounds.goes_beyond(key))
    }

    /// Takes everything up to `step.claim` out of reach of splits, where the range goes on behind it;
    /// if it does not, answers `false` and changes nothing: then the range is to be closed.
    pub fn advance(&mut self, id: RangeId, step: Step<'_>) -> bool {
        let Self { alphabet, running, steps, .. } = self;
        let Some(range) = running.get_mut(&id).filter(|r| r.bounds.goes_beyond(step.claim)) else {
            return false;
        };
        *steps += 1;
        // How close together keys are here says more than the range's beginning, before which there
        // may be nothing for long.
        let through = range.bounds.through.as_deref();
        range.left = Some(alphabet.ratio(step.first, step.fetched, through));
        range.alike = common(step.first, step.fetched);
        range.fetched = Some(step.fetched.to_owned());
        true
    }

    /// Takes in what keys look like: a few of a page are enough. The characters that all of these begin
    /// with tell nothing of what others may be like.
    pub fn see<'a>(&mut self, keys: impl Iterator<Item = &'a str> + Clone) {
        let beginning = |one: &'a str, key: &str| {
            let alike = common(one, key);
            one.char_indices().nth(alike).map_or(one, |(end, _)| &one[..end])
        };
        let alike = keys.clone().reduce(beginning).map_or(0, |alike| alike.chars().count());
        let alike = if keys.clone().nth(1).is_some() { alike } else { 0 };
        keys.for_each(|key| self.alphabet.see(key, alike));
    }

    /// The task takes the rest of its range, or gives it up; answers the range's last possible key.
    /// `keys`: how many there still were.
    pub fn close(&mut self, id: RangeId, keys: usize) -> Option<String> {
        self.steps += u64::from(keys > 0);
        self.running.remove(&id).and_then(|range| range.bounds.through)
    }

    /// New ranges for those who have nothing to do, out of those that have most left.
    pub fn split(&mut self) -> Vec<RangeId> {
        let mut new = Vec::new();
        loop {
            let may = (self.steps * BEGUN_PER_STEP).saturating_sub(self.begun);
            let idle = self.at_once.saturating_sub(self.running.len());
            let count = idle.min(usize::try_from(may).unwrap_or(usize::MAX));
            let (Some((id, left)), true) = (self.largest(), count > 0) else { return new };
            // Each piece is to be worth a range of its own.
            let most = (left / WORTH) as usize;
            new.extend(self.split_one(id, count.div_ceil(self.worthy()).min(most), left));
        }
    }

    /// The range that is guessed to have most pages left, where that is worth a split.
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

    /// Cuts a range of which so many pages are guessed to be left into itself and up to `count` more.
    fn split_one(&mut self, id: RangeId, count: usize, left: f64) -> Vec<RangeId> {
        let Some(range) = self.running.get_mut(&id) else { return Vec::new() };
        // Not again before it has told how it fares.
        range.left = None;
        range.splits += 1;
        let Some(low) = range.fetched.as_deref() else { return Vec::new() };
        let high = range.bounds.through.clone();
        // Where there is no telling how much is left, the end is looked for; elsewhere a nest now and
        // then, since the guess may be wrong.
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

    fn begin(&mut self, bounds: Bounds) -> RangeId {
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

    fn step<'a>(first: &'a str, claim: &'a str, fetched: &'a str) -> Step<'a> {
        Step { first, claim, fetched }
    }

    /// A task that has come to this key of many, which are close together.
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
        // A claim that reaches the end is none: the range is closed there.
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
