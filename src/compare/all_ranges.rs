//! All keys of one pair: lists both sides in ranges, each in a task of its own, and splits them.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::both_sides::BothSides;
use super::comparison::Gathered;
use super::keyspace;
use super::one_pair::OnePair;
use super::one_range::{OneRange, RangeEnd};
use super::origin::KeyOrigin;
use super::ranges::{Bounds, RangeId, Ranges};
use crate::error::{Error, Result};
use crate::mutex::lock;
use crate::params::Pair;

/// What the ranges of one pair share.
pub(super) struct AllRanges {
    pub(super) pair: Arc<OnePair>,
    pub(super) sides: BothSides,
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
    let (terms, pages) = (&comparison.terms, comparison.pages(&pair.judge.pair, origins).await?);
    let versions = terms.versions.is_some();
    let all = AllRanges {
        pair: Arc::clone(pair),
        sides: BothSides::new(&pair.judge.pair, versions, pages, terms.max_retry, &pair.cancel),
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
        if !self.sides.begin_anywhere() {
            return;
        }
        for id in self.ranges().split() {
            // The receiver is gone once the comparison has been given up.
            let _ = self.new.try_send(id);
        }
    }
}
