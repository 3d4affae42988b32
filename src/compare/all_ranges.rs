//! All keys of one pair: lists both sides in ranges, each in a task of its own, and splits them.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::comparison::Gathered;
use super::keyspace;
use super::listing::{Asking, Listing, Pages};
use super::one_pair::OnePair;
use super::one_range::{OneRange, RangeEnd};
use super::origin::KeyOrigin;
use super::ranges::{Bounds, RangeId, Ranges};
use crate::error::{Error, Result};
use crate::mutex::lock;
use crate::object::{KeyNames, ObjectKey};
use crate::params::Pair;
use crate::retry::Policy;
use crate::store::ListRequest;

/// What the ranges of one pair share.
pub(super) struct AllRanges {
    pub(super) pair: Arc<OnePair>,
    /// Both sides' pages.
    pages: [Pages; 2],
    /// The first key of each side.
    firsts: [Arc<OnceLock<String>>; 2],
    /// Ranges that wait for a task.
    new: mpsc::Sender<RangeId>,
    ranges: Mutex<Ranges>,
}

/// Compares all keys of a pair, or those of the ranges `from` which an earlier comparison was
/// interrupted. What must be sorted is sorted first; if that fails, there is nothing to compare.
pub(super) async fn compare(
    pair: &Arc<OnePair>,
    origins: &[KeyOrigin; 2],
    from: &[Bounds],
) -> Result<Gathered> {
    let comparison = &pair.comparison;
    // Sorted pages are read once, from beginning to end, so they make a single range.
    let has_ranges = origins.iter().all(KeyOrigin::has_ranges);
    let at_once = if has_ranges { comparison.terms.at_once } else { 1 };
    let Pair { src_prefix, .. } = &pair.judge.pair;
    // No key lies after those that begin with the prefix.
    let bounds = Bounds { after: None, through: keyspace::behind(src_prefix) };
    let longest = pair.judge.pair.longest_key();
    let (first, others) =
        from.split_first().map_or((bounds, &[][..]), |(first, others)| (first.clone(), others));
    let (mut ranges, first) = Ranges::new(first, at_once, longest);
    let first: Vec<RangeId> = std::iter::once(first)
        .chain(others.iter().map(|bounds| ranges.begin(bounds.clone())))
        .collect();
    // Each is a running range, so the channel always has room.
    let (new, begun) = mpsc::channel(at_once.max(1));
    let all = AllRanges {
        pair: Arc::clone(pair),
        pages: comparison.pages(&pair.judge.pair, origins).await?,
        firsts: Default::default(),
        new,
        ranges: Mutex::new(ranges),
    };
    Ok(run(&Arc::new(all), first, begun).await)
}

/// Compares the first ranges and all ranges split off from them, each in its own task.
async fn run(
    all: &Arc<AllRanges>,
    first: Vec<RangeId>,
    mut begun: mpsc::Receiver<RangeId>,
) -> Gathered {
    let mut gathered = Gathered::default();
    let cancel = &all.pair.cancel;
    let mut tasks = JoinSet::new();
    let begin = |tasks: &mut JoinSet<RangeEnd>, id| tasks.spawn(OneRange::new(all, id).run());
    for id in first {
        begin(&mut tasks, id);
    }
    loop {
        let ended = tokio::select! {
            biased;
            Some(id) = begun.recv() => {
                begin(&mut tasks, id);
                continue;
            }
            ended = tasks.join_next() => ended,
        };
        match ended {
            None => return gathered,
            Some(Ok(ended)) => gathered.add(ended, cancel),
            Some(Err(join)) => {
                gathered.error.get_or_insert(Error::cancelled().with_source(join));
                cancel.cancel();
            }
        }
        // A range that was split off before its task ended waits in the channel; it is never only
        // in the plan.
    }
}

impl AllRanges {
    pub(super) fn ranges(&self) -> MutexGuard<'_, Ranges> {
        lock(&self.ranges)
    }

    /// Gives work to idle tasks.
    pub(super) fn split(&self) {
        let Pair { src_bucket, des_bucket, .. } = &self.pair.judge.pair;
        let [source, destination] = &self.pages;
        if !source.begin_anywhere(src_bucket) || !destination.begin_anywhere(des_bucket) {
            return;
        }
        for id in self.ranges().split() {
            // The receiver is gone once the comparison has been given up.
            let _ = self.new.try_send(id);
        }
    }

    /// Both sides' listings after the source's key `after`.
    pub(super) fn listings(&self, after: Option<&str>) -> [Listing; 2] {
        let (pair, terms) = (&self.pair.judge.pair, &self.pair.comparison.terms);
        let names = [KeyNames::default(), pair.names_of_copies()];
        let bytes = |key: ObjectKey| key.as_str().as_bytes().to_vec();
        let after = after.map(ObjectKey::new);
        let target = after.as_ref().map(|after| pair.target(after).key);
        let after = [after, target].map(|after| after.map(bytes));
        let policy = Policy::listing(terms.max_retry);
        let requests = terms.requests(pair).into_iter().zip(&self.pages);
        let requests = requests.zip(names).zip(after).zip(&self.firsts);
        let mut listings =
            requests.map(|(((((_, request), pages), names), start_after), first)| {
                let (first, cancel) = (Arc::clone(first), self.pair.cancel.clone());
                let asking = Asking { pages: pages.clone(), policy, first, cancel };
                Listing::new(asking, ListRequest { start_after, ..request }, names)
            });
        std::array::from_fn(|_| listings.next().unwrap_or_else(|| unreachable!("two sides")))
    }
}
