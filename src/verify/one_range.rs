//! One range of keys: merges both listings, and collects what must be looked at more closely.

use std::sync::Arc;

use super::evidence::{EtagsSaw, Evidence, How, Seen, etags};
use super::findings::{Finding, Wrong};
use super::journal::{Come, Gain};
use super::look::Ask;
use super::one_pair::OnePair;
use crate::compare::difference::{MergeStep, step};
use crate::compare::listing::{Listing, ListingEnd};
use crate::compare::ranges::{RangeId, RangeStep};
use crate::error::Result;
use crate::object::{Etag, MIB, ObjectId, ObjectKey};
use crate::store::{Listed, Odd};
use crate::transfer::preserved::Wanted;

/// How many keys of a page show what keys look like.
const SAMPLED: usize = 32;
/// After this many closer looks, or this many bytes to read, what is known is counted: an
/// interruption costs no more than that.
const ASKS: usize = 128;
const READ: u64 = 256 * MIB;

/// Looks at one range.
pub(super) struct OneRange {
    pair: Arc<OnePair>,
    id: RangeId,
    source: Listing,
    destination: Listing,
    /// Keys up to this one are not this range's, if the pages cannot begin after it.
    skips_through: Option<String>,
}

/// A piece of a merge.
#[derive(Default)]
struct Merged {
    gain: Gain,
    asks: Vec<Ask>,
    bytes: u64,
    /// The last key; `None`: it has come as far as it was to.
    at: Option<String>,
}

impl Merged {
    fn is_full(&self) -> bool {
        self.asks.len() >= ASKS || self.bytes >= READ
    }
}

impl OneRange {
    pub(super) fn new(pair: &Arc<OnePair>, id: RangeId) -> Self {
        let after = pair.journal().bounds(id).after;
        let [source, destination] = pair.listings(after.as_deref());
        Self { pair: Arc::clone(pair), id, source, destination, skips_through: after }
    }

    /// Looks at the range to its end.
    pub(super) async fn run(mut self) -> Result<()> {
        let looked = self.look().await;
        if looked.is_err() {
            // What is left must not be split off any more.
            self.close();
        }
        self.pair.split();
        looked
    }

    async fn look(&mut self) -> Result<()> {
        loop {
            // Up to the claim, everything is fetched on both sides.
            let claim = self.fill().await?.filter(|claim| self.advance(claim));
            let is_last = claim.is_none();
            let through = claim.or_else(|| self.close());
            self.look_through(through, is_last).await?;
            if is_last {
                return Ok(());
            }
        }
    }

    /// Takes the rest of the range for good; returns its last possible key.
    fn close(&mut self) -> Option<String> {
        let keys = self.source.at_hand() + self.destination.at_hand();
        self.pair.journal().close(self.id, keys)
    }

    /// Fetches the next pages of both sides; returns the key up to which both are known, `None`: to
    /// the end.
    async fn fill(&mut self) -> Result<Option<String>> {
        let (pair, id) = (&self.pair, self.id);
        let goes_on =
            |key: &str| pair.journal().ranges().is_some_and(|ranges| ranges.goes_beyond(id, key));
        Listing::fill_both(&mut self.source, &mut self.destination, goes_on).await
    }

    /// Takes the keys up to `claim`; `false` if the range ends with them or before.
    fn advance(&self, claim: &str) -> bool {
        let sides = [&self.source, &self.destination];
        let first = sides.iter().filter_map(|side| side.first_at_hand()).min().unwrap_or(claim);
        let fetched = sides.iter().filter_map(|side| side.last_at_hand()).max().unwrap_or(claim);
        let mut journal = self.pair.journal();
        let Some(ranges) = journal.ranges() else { return false };
        for side in sides {
            ranges.see(side.sample(SAMPLED).map(|listed| listed.key));
        }
        let goes_on = ranges.advance(self.id, RangeStep { first, claim, fetched });
        drop(journal);
        self.pair.split();
        goes_on
    }

    /// Looks at what is fetched, up to `through`, and counts it piece by piece.
    async fn look_through(&mut self, through: Option<String>, is_last: bool) -> Result<()> {
        let odd = self.source.take_odd(through.as_deref());
        let odd_copies = self.destination.take_odd(through.as_deref());
        loop {
            let Merged { mut gain, asks, at, .. } = self.merge(through.as_deref(), &odd);
            for found in self.pair.look_at(asks).await? {
                gain.add(found);
            }
            if let Some(at) = at {
                self.pair.journal().commit(self.id, Come::Through(at), &gain)?;
                continue;
            }
            self.account_for_odd(&odd, &odd_copies, &mut gain);
            if is_last {
                self.count_ends(&mut gain);
            }
            let through = through.filter(|_| !is_last);
            let come = through.map_or(Come::ToTheEnd, Come::Through);
            return self.pair.journal().commit(self.id, come, &gain);
        }
    }

    fn count_ends(&self, gain: &mut Gain) {
        for side in [&self.source, &self.destination] {
            gain.counts.unchecked_ends += u64::from(side.end() == ListingEnd::Unchecked);
            gain.counts.doubtful_ends += u64::from(side.end() == ListingEnd::Doubtful);
        }
    }

    /// Merges both sides up to `through`, or until there is enough to look at.
    fn merge(&mut self, through: Option<&str>, odd: &[Odd]) -> Merged {
        let mut merged = Merged::default();
        let within = |listed: &Listed<'_>| through.is_none_or(|through| listed.key <= through);
        let Self { pair, source, destination, skips_through, .. } = self;
        loop {
            let left = source.peek().filter(within);
            let right = destination.peek().filter(within);
            let step = step(left.map(|l| l.key), right.map(|r| r.key));
            let Some(key) = left.map(|l| l.key).into_iter().chain(right.map(|r| r.key)).min()
            else {
                return merged;
            };
            let is_skipped = skips_through.as_deref().is_some_and(|skipped| key <= skipped);
            match (step, left, right) {
                _ if is_skipped => {}
                (Some(MergeStep::Both), Some(left), Some(right)) => {
                    pair.both(left, right, &mut merged);
                }
                (Some(MergeStep::SourceOnly), Some(left), _) => pair.only_here(left, &mut merged),
                (Some(MergeStep::DestinationOnly), _, Some(right))
                    if !odd.iter().any(|odd| odd.key == right.key.as_bytes()) =>
                {
                    pair.only_there(right, &mut merged.gain);
                }
                _ => {}
            }
            merged.at = merged.is_full().then(|| key.to_owned());
            match step {
                Some(MergeStep::Both) => {
                    source.skip();
                    destination.skip();
                }
                Some(MergeStep::SourceOnly) => source.skip(),
                Some(MergeStep::DestinationOnly) | None => destination.skip(),
            }
            if merged.at.is_some() {
                return merged;
            }
        }
    }

    /// Counts what the listings show and nobody can ask for.
    fn account_for_odd(&self, odd: &[Odd], copies: &[Odd], gain: &mut Gain) {
        for one in odd {
            let key = String::from_utf8_lossy(&one.key).into_owned();
            let listed = Listed::new(&key, one.size.unwrap_or_default());
            if self.pair.leaves_out(&listed) {
                gain.counts.left_out += 1;
                continue;
            }
            gain.counts.source_objects += 1;
            gain.counts.source_bytes += listed.size;
            gain.counts.not_looked_at += 1;
            let finding = self.pair.finding(&key, vec![one.flaw.as_str().to_owned()]);
            gain.findings.push((Wrong::NotLookedAt, finding));
        }
        for copy in copies.iter().filter(|copy| !odd.iter().any(|one| one.key == copy.key)) {
            let key = String::from_utf8_lossy(&copy.key).into_owned();
            self.pair.only_there(Listed::new(&key, copy.size.unwrap_or_default()), gain);
        }
    }
}

fn seen(listed: &Listed<'_>) -> Seen {
    Seen { size: listed.size, etag: listed.etag.map(Etag::new) }
}

impl OnePair {
    /// An object that both sides list.
    fn both(&self, source: Listed<'_>, copy: Listed<'_>, merged: &mut Merged) {
        if self.leaves_out(&source) {
            merged.gain.counts.left_out += 1;
            return;
        }
        let (key, size) = (source.key, source.size);
        merged.gain.counts.source_objects += 1;
        merged.gain.counts.source_bytes += size;
        let (source, copy) = (seen(&source), seen(&copy));
        if source.size != copy.size {
            return self.differs(key, &[How::Size], Vec::new(), &mut merged.gain);
        }
        let (head, deep) = (self.verification.head.takes(key), self.verification.deep.takes(key));
        let saw = etags(source.etag.as_ref(), copy.etag.as_ref(), self.hidden);
        if head || deep || saw == EtagsSaw::Different {
            let (key, copy) = (key.to_owned(), Some(copy));
            merged.asks.push(Ask { key, source, copy, head, deep });
            merged.bytes += if deep { size } else { 0 };
            return;
        }
        let wanted = Wanted { metadata: false, tags: false, class: None };
        let (listed, heads, same_bytes, hidden) = ([&source, &copy], None, None, self.hidden);
        let evidence = Evidence { listed, heads, same_bytes, hidden, wanted };
        self.count(key, size, evidence.judge(), &mut merged.gain);
    }

    /// An object that only the source lists.
    fn only_here(&self, source: Listed<'_>, merged: &mut Merged) {
        if self.leaves_out(&source) {
            merged.gain.counts.left_out += 1;
            return;
        }
        merged.gain.counts.source_objects += 1;
        merged.gain.counts.source_bytes += source.size;
        if !self.looker.asks_for_unlisted() {
            return self.misses(source.key, source.size, &mut merged.gain);
        }
        let (head, deep) =
            (self.verification.head.takes(source.key), self.verification.deep.takes(source.key));
        let (key, source) = (source.key.to_owned(), seen(&source));
        merged.asks.push(Ask { key, source, copy: None, head, deep });
    }

    /// An object that only the destination lists.
    fn only_there(&self, copy: Listed<'_>, gain: &mut Gain) {
        if self.leaves_out(&copy) {
            gain.counts.left_out += 1;
            return;
        }
        gain.counts.extra += 1;
        gain.counts.extra_bytes += copy.size;
        let finding = self.finding(copy.key, vec![Wrong::Extra.as_str().to_owned()]);
        gain.findings.push((Wrong::Extra, finding));
    }

    /// A line about the object with this key.
    pub(super) fn finding(&self, key: &str, how: Vec<String>) -> Finding {
        let source = ObjectId::new(&self.pair.src_bucket, key);
        let destination = self.pair.target(&ObjectKey::new(key));
        let address = |id: &ObjectId| format!("s3://{}/{}", id.bucket, id.key.as_str());
        let (source, destination) = (address(&source), address(&destination));
        Finding { key: key.to_owned(), how, lost: Vec::new(), source, destination }
    }
}
