//! One pair: lists both sides in ranges of keys, each in a task of its own.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Verification;
use super::evidence::Hidden;
use super::journal::{Journal, Left};
use super::look::Looker;
use super::one_range::OneRange;
use crate::compare::both_sides::BothSides;
use crate::compare::listing::{Listing, Pages};
use crate::compare::ranges::{Bounds, RangeId, Ranges};
use crate::compare::{Comparison, KeyOrigin, Terms, keyspace};
use crate::error::{Error, Next, Result};
use crate::mutex::lock;
use crate::params::Pair;
use crate::quirk::Quirk;
use crate::store::Listed;

/// What the ranges of one pair share.
pub(super) struct OnePair {
    pub(super) verification: Arc<Verification>,
    pub(super) looker: Arc<Looker>,
    pub(super) pair: Pair,
    /// ETags that say nothing, as far as the configuration and the stores tell beforehand.
    pub(super) hidden: Hidden,
    pub(super) cancel: CancellationToken,
    journal: Arc<Mutex<Journal>>,
    sides: BothSides,
    /// Ranges that wait for a task.
    new: mpsc::Sender<RangeId>,
    /// Pages can be read from any key on.
    has_ranges: bool,
}

/// Looks at what is left of a pair.
pub(super) async fn look_at(
    verification: &Arc<Verification>,
    looker: &Arc<Looker>,
    journal: &Arc<Mutex<Journal>>,
    (at, pair): (usize, &Pair),
    cancel: &CancellationToken,
) -> Result<()> {
    let left = lock(journal).pairs().get(at).map(|pair| pair.left.clone()).unwrap_or_default();
    // No key lies after those that begin with the prefix.
    let end = keyspace::behind(&pair.src_prefix);
    let bounds = |Left { after, through }| Bounds { after, through: through.or(end.clone()) };
    let mut left = left.into_iter().map(bounds);
    let Some(first) = left.next() else { return Ok(()) };
    let has_ranges = verification.origins.iter().all(KeyOrigin::has_ranges);
    // Sorted pages are read once, from beginning to end, so they make a single range.
    let at_once = if has_ranges { verification.at_once.max(1) } else { 1 };
    let longest = pair.longest_key();
    let (ranges, first) = Ranges::new(first, at_once, longest);
    // Each is a running range, so the channel always has room.
    let (new, begun) = mpsc::channel(at_once);
    let cancel = cancel.child_token();
    let pages = pages(verification, pair, &cancel).await?;
    let one = OnePair {
        verification: Arc::clone(verification),
        looker: Arc::clone(looker),
        pair: pair.clone(),
        hidden: hidden(verification, pair),
        journal: Arc::clone(journal),
        sides: BothSides::new(pair, false, pages, verification.max_retry, &cancel),
        new,
        has_ranges,
        cancel,
    };
    let ids = one.journal().begin(at, ranges, first, left.collect());
    let ended = Arc::new(one).run(ids, begun).await;
    let mut journal = lock(journal);
    journal.end()?;
    ended?;
    let Some(state) = journal.pairs().get(at) else { return Ok(()) };
    match state.counts.balances() {
        true => Ok(()),
        false => Err(Error::invalid(format!("the counts do not balance: {:?}", state.counts))),
    }
}

/// Both sides' pages; what must be sorted is sorted first.
async fn pages(
    verification: &Verification,
    pair: &Pair,
    cancel: &CancellationToken,
) -> Result<[Pages; 2]> {
    let Verification { source, destination, max_retry, .. } = verification;
    let terms = Terms::of_sizes(Arc::clone(source), Arc::clone(destination), *max_retry);
    Comparison::dry_run(terms, cancel.clone()).pages(pair, &verification.origins).await
}

fn hidden(verification: &Verification, pair: &Pair) -> Hidden {
    let Verification { source, destination, kms, .. } = verification;
    let has = |quirk| {
        source.profile().has(&pair.src_bucket, quirk)
            || destination.profile().has(&pair.des_bucket, quirk)
    };
    Hidden {
        md5: *kms || has(Quirk::OwnEtags),
        parts: *kms || has(Quirk::OwnEtags) || has(Quirk::OwnMultipartEtags),
    }
}

impl OnePair {
    /// Looks at these ranges and at all that are split off from them.
    async fn run(
        self: Arc<Self>,
        ids: Vec<RangeId>,
        mut begun: mpsc::Receiver<RangeId>,
    ) -> Result<()> {
        let mut tasks = JoinSet::new();
        let begin = |tasks: &mut JoinSet<_>, id: RangeId| {
            let range = OneRange::new(&self, id);
            tasks.spawn(async move { (id, range.run().await) });
        };
        for id in ids {
            begin(&mut tasks, id);
        }
        let (mut fatal, mut unlisted) = (None, None);
        loop {
            let ended = tokio::select! {
                biased;
                Some(id) = begun.recv() => {
                    begin(&mut tasks, id);
                    continue;
                }
                ended = tasks.join_next() => ended,
            };
            let (id, ended) = match ended {
                None => break,
                Some(Ok(ended)) => ended,
                Some(Err(join)) => {
                    fatal.get_or_insert(Error::cancelled().with_source(join));
                    self.cancel.cancel();
                    continue;
                }
            };
            match ended {
                Ok(()) => {}
                // The first error is the cause; later ones only say "stopped".
                Err(error) if error.kind().next() != Next::Retry => {
                    fatal.get_or_insert(error);
                    self.cancel.cancel();
                }
                // All other keys may still work.
                Err(error) => {
                    if let Some(missing) = self.journal().fail(id, &error) {
                        warn!("not looked at: {missing}");
                    }
                    unlisted.get_or_insert(error);
                }
            }
        }
        match (fatal, unlisted) {
            (Some(error), _) => Err(error),
            (None, Some(error)) if !self.has_counted() => Err(error),
            (None, _) => Ok(()),
        }
    }

    fn has_counted(&self) -> bool {
        let journal = self.journal();
        journal.pairs().iter().any(|pair| pair.counts.source_objects + pair.counts.extra > 0)
    }

    pub(super) fn journal(&self) -> MutexGuard<'_, Journal> {
        lock(&self.journal)
    }

    /// Gives work to idle tasks.
    pub(super) fn split(&self) {
        if !self.sides.begin_anywhere() {
            return;
        }
        for id in self.journal().split() {
            // The receiver is gone once the verification has been given up.
            let _ = self.new.try_send(id);
        }
    }

    /// Both sides' listings after the source's key `after`.
    pub(super) fn listings(&self, after: Option<&str>) -> [Listing; 2] {
        self.sides.listings(after.filter(|_| self.has_ranges))
    }

    /// Whether a rule leaves an object out. An object at the destination is judged as its source
    /// would be.
    pub(super) fn leaves_out(&self, listed: &Listed<'_>) -> bool {
        let Verification { ignore, filter, .. } = &*self.verification;
        let path = match ignore.is_empty() && !filter.asks_path() {
            true => String::new(),
            false => format!("{}/{}", self.pair.src_bucket, listed.key),
        };
        self.pair.leaves_nothing_of(listed.key)
            || ignore.matches(&path).is_some()
            || filter.leaves_out(&path, Some(listed.size), listed.last_modified).is_some()
    }
}
