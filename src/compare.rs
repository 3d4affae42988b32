//! `jobsender`: lists both sides in ranges of keys, merges them, sends what differs.

use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::compare::difference::Criteria;
use crate::compare::listing::Pages;
use crate::config::Compare;
use crate::error::{Error, ErrorKind, Next, Result};
use crate::filter::Filter;
use crate::job::{Job, PackLimits};
use crate::object::{MAX_KEY_BYTES, ObjectId, destination_prefix};
use crate::params::Pair;

use crate::compare::ranges::{Bounds, RangeId, Ranges};
use crate::filter::patterns::Patterns;
use crate::queue::Queue;
use crate::record::RecordStore;
use crate::retry::{Policy, retry};
use crate::store::{ListRequest, Listed, ObjectStore};

mod closing;
mod comparison;
mod counting;
mod deletions;
pub mod difference;
mod explain;
mod judge;
pub mod keyspace;
pub mod listing;
mod named_keys;
mod one_range;
mod origin;
mod position;
pub mod ranges;
mod recorded;
mod sender;
mod sent_notes;
mod summary;
#[cfg(test)]
mod tests;
mod unlisted;

pub use closing::Closing;
use comparison::Context;
pub use counting::Outlook;
pub use deletions::Deletions;
use judge::Judge;
pub use named_keys::Names;
use one_range::{Ended, Range};
pub use origin::Origin;
pub use position::Reach;
use sender::{Sender, Tally};
pub use sent_notes::Sent;
pub use summary::{MissingRange, Summary, Verdict};

/// Batches of jobs that wait for the queue: how far listing may run ahead of sending.
const JOBS_AHEAD: usize = 16;

/// Receives what a comparison finds.
pub trait Finds: Send + Sync {
    /// Called for every listed object, in key order within a range of keys. `job`: what would be
    /// sent.
    fn found(&self, job: &Job, listed: Listed<'_>, verdict: &Verdict<'_>);

    /// Called for every object at the destination that is to be deleted.
    fn doomed(&self, _des: &ObjectId, _listed: Listed<'_>) {}
}

/// Compares bucket pairs, and sends what differs if it has a queue.
#[derive(Clone, Debug)]
pub struct Jobsender {
    /// Where the objects are.
    pub source: Arc<dyn ObjectStore>,
    /// Where they go.
    pub destination: Arc<dyn ObjectStore>,
    /// Where jobs go; `None` for a dry run or a closing comparison.
    pub queue: Option<Arc<dyn Queue>>,
    /// Limits for jobs that share a message.
    pub packs: PackLimits,
    /// Records that say which version was copied; `None` if versions are not compared.
    pub versions: Option<Arc<dyn RecordStore>>,
    /// Compares what was written with what is listed; `None`: no such comparison.
    pub closing: Option<Arc<Closing>>,
    /// What counts as a difference.
    pub criteria: Criteria,
    /// Objects to leave out.
    pub ignore: Arc<Patterns>,
    /// Objects to look at.
    pub filter: Arc<Filter>,
    /// Where the keys of the source and of the destination come from.
    pub origins: [Origin; 2],
    /// The file that names the objects to look at; `None`: all keys are looked at.
    pub names: Option<Names>,
    /// How many ranges of keys are listed at once, or how many named objects are looked at.
    pub at_once: usize,
    /// What earlier comparisons have sent, and where this one notes what it sends; `None`: no
    /// notes.
    pub sent: Option<Arc<Sent>>,
    /// Also sends what earlier comparisons have already sent.
    pub resend: bool,
    /// Collects the deletions of all pairs; `None`: nothing is deleted. [`Self::send_deletions`]
    /// sends them.
    pub deletions: Option<Arc<Deletions>>,
    /// Adds up what copying will cost; `None`: no estimate.
    pub outlook: Option<Arc<Mutex<Outlook>>>,
    /// How far the comparison has come, updated as it goes.
    pub reach: Arc<Reach>,
    /// This comparison closes a migration: an object that the destination does not list is looked
    /// up by itself before it is called missing.
    pub is_closing: bool,
    /// Tries for one call.
    pub max_retry: u32,
    /// Cancels the comparison.
    pub cancel: CancellationToken,
}

impl Jobsender {
    /// Compares the sizes of all objects, one range of keys after another, and sends nothing.
    pub fn new(
        source: Arc<dyn ObjectStore>,
        destination: Arc<dyn ObjectStore>,
        packs: PackLimits,
        max_retry: u32,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            source,
            destination,
            queue: None,
            packs,
            versions: None,
            closing: None,
            criteria: Criteria::only(Compare::Size),
            ignore: Arc::default(),
            filter: Arc::default(),
            origins: Default::default(),
            names: None,
            at_once: 1,
            sent: None,
            resend: false,
            deletions: None,
            outlook: None,
            reach: Arc::default(),
            is_closing: false,
            max_retry,
            cancel,
        }
    }

    /// Lists one page of each side of each pair, so that a wrong name, address, key or permission
    /// shows before anything is sent.
    pub async fn probe(&self, pairs: &[Pair]) -> Result<()> {
        for pair in pairs {
            let [from, to] = &self.origins;
            let [source, destination] = self.requests(pair);
            let (source, destination) =
                tokio::join!(self.probe_one(from, source), self.probe_one(to, destination));
            source?;
            destination?;
        }
        Ok(())
    }

    /// A side that is not listed needs no permission to list.
    async fn probe_one(
        &self,
        origin: &Origin,
        (store, request): (&Arc<dyn ObjectStore>, ListRequest),
    ) -> Result<()> {
        if self.names.is_some() || matches!(origin, Origin::Inventory(_)) {
            return Ok(());
        }
        retry(Policy::probe(), &self.cancel, || store.list(&request)).await.map(drop)
    }

    /// The list requests of both sides: the source's, then the destination's.
    fn requests(&self, pair: &Pair) -> [(&Arc<dyn ObjectStore>, ListRequest); 2] {
        let request = |bucket: &str, prefix: &str| ListRequest {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            ..ListRequest::default()
        };
        let source = ListRequest {
            versions: self.versions.is_some(),
            ..request(&pair.src_bucket, &pair.src_prefix)
        };
        let destination = request(&pair.des_bucket, &pair.copies_prefix());
        [(&self.source, source), (&self.destination, destination)]
    }

    /// Compares one pair and sends what differs; `finds` receive every object. The summary's
    /// missing ranges name what could not be listed. An error means that there is no summary: what
    /// has been sent by then stays sent, and the next comparison finds the rest.
    pub async fn compare(&self, pair: &Pair, finds: &[Arc<dyn Finds>]) -> Result<Summary> {
        if let Some(names) = &self.names {
            return self.compare_named(pair, names.read(), finds).await;
        }
        let at_once = self.ranges_at_once();
        // No key lies after those that begin with the prefix.
        let bounds = Bounds { after: None, through: keyspace::behind(&pair.src_prefix) };
        let longest = MAX_KEY_BYTES.saturating_sub(destination_prefix(&pair.des_prefix).len());
        let (ranges, first) = Ranges::new(bounds, at_once, longest);
        // Each is a running range, so the channel always has room.
        let (new, begun) = mpsc::channel(at_once.max(1));
        let pages = self.pages(pair, &self.cancel).await?;
        let (context, sender) = self.begin(pair, finds, pages, ranges, new);
        let listed = list(&context, first, begun).await;
        // Drops the last sender of jobs, so that the receiving task ends.
        drop(context);
        let tally = sender.await;
        self.account(listed, tally)
    }

    /// Sorted pages are read once, from beginning to end, so they make a single range.
    fn ranges_at_once(&self) -> usize {
        if self.origins.iter().all(Origin::has_ranges) { self.at_once } else { 1 }
    }

    fn begin(
        &self,
        pair: &Pair,
        finds: &[Arc<dyn Finds>],
        pages: [Pages; 2],
        ranges: Ranges,
        new: mpsc::Sender<RangeId>,
    ) -> (Arc<Context>, impl Future<Output = Tally> + use<>) {
        let cancel = self.cancel.child_token();
        let (jobs, taken) = mpsc::channel(JOBS_AHEAD);
        let sender = self.sender(taken, &cancel);
        let context = Context {
            jobsender: self.clone(),
            judge: Judge::of(self, pair),
            finds: finds.to_vec(),
            pages,
            firsts: Default::default(),
            looks: Default::default(),
            jobs,
            new,
            ranges: Mutex::new(ranges),
            cancel,
        };
        (Arc::new(context), sender)
    }

    /// Sends what arrives on the channel, until all of its senders are gone.
    fn sender(
        &self,
        mut taken: mpsc::Receiver<Vec<one_range::Marked>>,
        cancel: &CancellationToken,
    ) -> impl Future<Output = Tally> + use<> {
        let sender = self.queue.clone().map(|queue| {
            let policy = Policy::control(self.max_retry);
            let (stop, listing) = (self.cancel.clone(), cancel.clone());
            Sender::new(queue, self.sent.clone(), self.packs, policy, stop, listing)
        });
        let mut task = JoinSet::new();
        task.spawn(async move {
            match sender {
                Some(sender) => sender.run(taken).await,
                None => {
                    taken.close();
                    Tally::default()
                }
            }
        });
        async move {
            let ended = task.join_next().await;
            ended.and_then(std::result::Result::ok).unwrap_or_default()
        }
    }

    /// Combines the counts of what was listed and what was sent.
    fn account(&self, listed: Listing, tally: Tally) -> Result<Summary> {
        let Listing { mut summary, error, unlisted } = listed;
        (summary.sent, summary.failed_to_send) = (tally.sent, tally.failed);
        summary.messages = tally.messages;
        match (tally.error, error) {
            // If something has been sent, the summary says what was sent and what was not.
            (Some(unsent), _) if summary.sent > 0 && unsent.kind() != ErrorKind::Cancelled => {
                error!("the queue does not take jobs any more, nothing more is compared: {unsent}");
            }
            (Some(error), _) | (None, Some(error)) => return Err(error),
            (None, None) => {}
        }
        if let Some(error) = unlisted.filter(|_| summary.listed == 0) {
            return Err(error);
        }
        match summary.balances(self.queue.is_some()) {
            true => Ok(summary),
            false => Err(Error::invalid(format!("the accounts do not balance: {summary:?}"))),
        }
    }
}

/// What the ranges found.
#[derive(Default)]
struct Listing {
    summary: Summary,
    /// Why the comparison was given up.
    error: Option<Error>,
    /// The first reason why keys are missing.
    unlisted: Option<Error>,
}

/// Compares the first range and all ranges split off from it, each in its own task.
async fn list(
    context: &Arc<Context>,
    first: RangeId,
    mut begun: mpsc::Receiver<RangeId>,
) -> Listing {
    let mut listing = Listing::default();
    let mut tasks = JoinSet::new();
    let begin = |tasks: &mut JoinSet<Ended>, id| tasks.spawn(Range::new(context, id).run());
    begin(&mut tasks, first);
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
            None => return listing,
            Some(Ok(ended)) => listing.add(ended, &context.cancel),
            Some(Err(join)) => {
                listing.error.get_or_insert(Error::cancelled().with_source(join));
                context.cancel.cancel();
            }
        }
        // A range that was split off before its task ended waits in the channel; it is never only
        // in the plan.
    }
}

impl Listing {
    fn add(&mut self, Ended { summary, failed }: Ended, cancel: &CancellationToken) {
        self.summary.add(&summary);
        let Some((error, bounds)) = failed else { return };
        let missing = MissingRange::new(bounds, error.to_string());
        // The first error is the cause; later ones only say "cancelled".
        if error.kind().next() != Next::Retry {
            self.error.get_or_insert(error);
            cancel.cancel();
        } else {
            // All other keys may still work.
            warn!("not compared: {missing}");
            self.unlisted.get_or_insert(error);
        }
        self.summary.missing.push(missing);
    }
}
