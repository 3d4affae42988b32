//! One range of keys, compared by one task.

use std::sync::Arc;

use super::all_ranges::AllRanges;
use super::one_pair::{Doubtful, Marked};
use super::recorded::Copies;
use super::unlisted::Unlisted;
use super::{ForecastCounts, Summary, Verdict};
use crate::compare::difference::{self, Difference};
use crate::compare::listing::{Listing, ListingEnd};
use crate::compare::ranges::{Bounds, RangeId, RangeStep};
use crate::error::{Error, Result};
use crate::store::Listed;

/// How many keys of a page show what keys look like.
const SAMPLED: usize = 32;

/// How a range ended.
pub(super) struct RangeEnd {
    pub(super) summary: Summary,
    /// Why the range is not complete, and which part of it is missing.
    pub(super) failed: Option<(Error, Bounds)>,
    /// What is left of it for another comparison to continue with.
    pub(super) left: Option<Bounds>,
}

/// How far a range was compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Came {
    ToItsEnd,
    /// The comparison was interrupted: see [`super::Terms::interrupt`].
    Halfway,
}

/// Compares both sides of one range.
pub(super) struct OneRange {
    all: Arc<AllRanges>,
    id: RangeId,
    source: Listing,
    destination: Listing,
    copies: Option<Copies>,
    summary: Summary,
    outlook: Option<ForecastCounts>,
    /// Everything up to this key is accounted for.
    done: Option<String>,
    /// The range's last possible key, once the range is closed.
    end: Option<Option<String>>,
    jobs: Vec<Marked>,
}

impl OneRange {
    pub(super) fn new(all: &Arc<AllRanges>, id: RangeId) -> Self {
        let after = all.ranges().bounds(id).after;
        let [source, destination] = all.sides.listings(after.as_deref());
        let copies = all.pair.copies(after.as_deref());
        let (outlook, all) = (all.pair.outlook(), Arc::clone(all));
        Self {
            all,
            id,
            source,
            destination,
            copies,
            summary: Summary::default(),
            outlook,
            done: after,
            end: None,
            jobs: Vec::new(),
        }
    }

    /// Compares the range to its end.
    pub(super) async fn run(mut self) -> RangeEnd {
        let compared = self.compare().await;
        self.summary.source_pages = self.source.pages();
        self.summary.destination_pages = self.destination.pages();
        let halfway = matches!(compared, Ok(Came::Halfway));
        if !halfway {
            let (source, destination) = (self.source.end(), self.destination.end());
            self.summary.unchecked_ends = u64::from(source.max(destination) > ListingEnd::Checked);
            // Keys that the destination does not list are reported as missing, so its end needs no
            // caveat.
            self.summary.doubtful_ends = u64::from(source == ListingEnd::Doubtful);
        }
        let rest = match (&compared, halfway) {
            (Ok(_), false) => None,
            _ => {
                let through = self.close();
                Some(Bounds { after: self.done.take(), through })
            }
        };
        let (failed, left) = match compared {
            Ok(_) => (None, rest),
            Err(error) => (rest.map(|rest| (error, rest)), None),
        };
        self.all.split();
        self.all.pair.add_outlook(self.outlook);
        RangeEnd { summary: self.summary, failed, left }
    }

    async fn compare(&mut self) -> Result<Came> {
        let interrupt = self.all.pair.comparison.terms.interrupt.clone();
        loop {
            // Up to the claim, everything is fetched on both sides. What is fetched and not yet
            // compared may be dropped: the rest of the range begins before it.
            let Some(filled) = interrupt.run_until_cancelled(self.fill()).await else {
                return Ok(Came::Halfway);
            };
            let claim = filled?.filter(|claim| self.advance(claim));
            let ended = claim.is_none();
            let through = claim.or_else(|| self.close());
            if let Some(copies) = &mut self.copies {
                let keys = self.source.keys_at_hand();
                let wanted =
                    keys.take_while(|key| through.as_deref().is_none_or(|end| *key <= end));
                copies.fill(wanted).await?;
            }
            let before = self.summary.listed;
            let (doubtful, unlisted) = self.merge(through.as_deref());
            let Self { summary, outlook, .. } = self;
            let pair = &self.all.pair;
            let again = pair.settle(doubtful, summary, outlook).await;
            let missing = pair.look_at_unlisted(unlisted, summary, outlook).await;
            self.jobs.extend(again.into_iter().chain(missing));
            pair.comparison.terms.reach.add(self.summary.listed - before);
            pair.ship(std::mem::take(&mut self.jobs)).await?;
            self.done = through;
            if ended {
                return Ok(Came::ToItsEnd);
            }
        }
    }

    /// Takes the rest of the range for good; returns its last possible key.
    fn close(&mut self) -> Option<String> {
        let keys = self.source.at_hand() + self.destination.at_hand();
        self.end.get_or_insert_with(|| self.all.ranges().close(self.id, keys)).clone()
    }

    /// Fetches the next pages of both sides; returns the key up to which both are known, `None`: to
    /// the end.
    async fn fill(&mut self) -> Result<Option<String>> {
        let (all, id) = (&self.all, self.id);
        let goes_on = |key: &str| all.ranges().goes_beyond(id, key);
        Listing::fill_both(&mut self.source, &mut self.destination, goes_on).await
    }

    /// Takes the keys up to `claim`; `false` if the range ends with them or before.
    fn advance(&self, claim: &str) -> bool {
        let sides = [&self.source, &self.destination];
        let first = sides.iter().filter_map(|side| side.first_at_hand()).min().unwrap_or(claim);
        let fetched = sides.iter().filter_map(|side| side.last_at_hand()).max().unwrap_or(claim);
        let mut ranges = self.all.ranges();
        for side in sides {
            ranges.see(side.sample(SAMPLED).map(|listed| listed.key));
        }
        let goes_on = ranges.advance(self.id, RangeStep { first, claim, fetched });
        drop(ranges);
        self.all.split();
        goes_on
    }

    /// Compares what is fetched, up to `through`; what was sent before or is not listed is returned
    /// and not yet counted.
    fn merge(&mut self, through: Option<&str>) -> (Vec<Doubtful>, Vec<Unlisted>) {
        let (mut doubtful, mut unlisted) = (Vec::new(), Vec::new());
        let odd = self.source.take_odd(through);
        self.all.pair.account_for_odd(&odd, &self.destination.take_odd(through), &mut self.summary);
        let is_at_source = |key: &str| odd.iter().any(|odd| odd.key == key.as_bytes());
        let within = |listed: &Listed<'_>| through.is_none_or(|through| listed.key <= through);
        let Self { source, destination, all, copies, summary, outlook, jobs, .. } = self;
        let pair = &all.pair;
        loop {
            let left = source.peek().filter(within);
            let right = destination.peek().filter(within);
            let step = difference::step(left.map(|l| l.key), right.map(|r| r.key));
            match (step, left, right) {
                (Some(difference::MergeStep::DestinationOnly), _, Some(right)) => {
                    if !is_at_source(right.key) {
                        pair.only_there(right, summary);
                    }
                    destination.skip();
                }
                (Some(step), Some(left), right) => {
                    let copy = right.filter(|_| step == difference::MergeStep::Both);
                    let copied = copies.as_mut().map(|copies| copies.of(left.key));
                    let copied = copied.as_ref().map(Option::as_ref);
                    let versions = copied.filter(|_| pair.comparison.terms.versions.is_some());
                    let versions = versions.map(|copied| copied.map(|copied| &copied.revision));
                    let mut verdict = pair.judge.judge(left, copy, versions);
                    if let (Verdict::AlreadyThere, Some(copy), Some(closing)) =
                        (&verdict, copy, pair.comparison.as_closing())
                        && closing.differs(&pair.judge.pair, left, copy, copied.flatten())
                    {
                        verdict = Verdict::Copy(Difference::WrittenDiffers);
                    }
                    if let Some(sent_before) = pair.doubtful(left, &verdict) {
                        doubtful.push(sent_before);
                    } else if let Some(one) = pair.unlisted(left, &verdict, copied) {
                        unlisted.push(one);
                    } else {
                        summary.count(left, &verdict);
                        if let Some(outlook) = outlook {
                            outlook.count(left, &verdict);
                        }
                        jobs.extend(pair.found(left, &verdict));
                    }
                    source.skip();
                    if step == difference::MergeStep::Both {
                        destination.skip();
                    }
                }
                _ => return (doubtful, unlisted),
            }
        }
    }
}
