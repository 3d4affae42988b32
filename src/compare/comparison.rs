//! One comparison of a migration: what is compared, and whether it counts, sends or closes.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::both_sides;
use super::closing::Closing;
use super::deletions::Deletions;
use super::difference::Criteria;
use super::judge::Judge;
use super::one_pair::{Marked, OnePair};
use super::one_range::RangeEnd;
use super::ranges::Bounds;
use super::sender::{Sender, SentTally};
use super::sent_notes::Sent;
use super::{
    Finds, ForecastCounts, JOBS_AHEAD, KeyOrigin, Matched, MissingRange, Names, Reach, Summary,
    all_ranges,
};
use crate::config::Compare;
use crate::error::{Error, ErrorKind, Next, Result};
use crate::filter::Filter;
use crate::filter::patterns::Patterns;
use crate::job::PackLimits;
use crate::object::ObjectId;
use crate::params::Pair;
use crate::queue::Queue;
use crate::record::RecordStore;
use crate::retry::{Policy, Retrying};
use crate::store::{ListRequest, Reads};

/// Which keys are compared.
#[derive(Clone, Debug)]
pub enum Keys {
    /// All that both sides have: where the source's come from, and the destination's.
    All([KeyOrigin; 2]),
    /// Those in a file.
    Named(Names),
}

impl Default for Keys {
    fn default() -> Self {
        Self::All(Default::default())
    }
}

/// What is compared, and how: the same in every comparison of a migration.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Where the objects are.
    pub source: Arc<dyn Reads>,
    /// Where they go.
    pub destination: Arc<dyn Reads>,
    /// What counts as a difference.
    pub criteria: Criteria,
    /// Objects to leave out.
    pub ignore: Arc<Patterns>,
    /// Objects to look at.
    pub filter: Arc<Filter>,
    /// Which of these patterns have matched a key.
    pub matched: Arc<Matched>,
    /// Which keys are compared.
    pub keys: Keys,
    /// Records that say which version was copied; `None` if versions are not compared.
    pub versions: Option<Arc<dyn RecordStore>>,
    /// Collects the deletions of all pairs; `None`: nothing is deleted.
    /// [`Comparison::send_deletions`] sends them.
    pub deletions: Option<Arc<Deletions>>,
    /// How many ranges of keys are listed at once, or how many named objects are looked at.
    pub at_once: usize,
    /// How far the comparison has come, updated as it goes.
    pub reach: Arc<Reach>,
    /// Interrupts the comparison: it ends in good order, and says which ranges are left.
    pub interrupt: CancellationToken,
    /// Tries for one call.
    pub max_retry: u32,
}

impl Terms {
    /// The sizes of all objects, one range of keys after another.
    pub fn of_sizes(source: Arc<dyn Reads>, destination: Arc<dyn Reads>, max_retry: u32) -> Self {
        Self {
            source,
            destination,
            criteria: Criteria::only(Compare::Size),
            ignore: Arc::default(),
            filter: Arc::default(),
            matched: Arc::default(),
            keys: Keys::default(),
            versions: None,
            deletions: None,
            at_once: 1,
            reach: Arc::default(),
            interrupt: CancellationToken::new(),
            max_retry,
        }
    }

    /// Lists one page of each side of each pair, so that a wrong name, address, key or permission
    /// shows before anything is sent. A side that is not listed needs no permission to list.
    pub async fn probe(&self, pairs: &[Pair], cancel: &CancellationToken) -> Result<()> {
        let Keys::All([from, to]) = &self.keys else { return Ok(()) };
        let probe = async |origin: &KeyOrigin, (store, request): Listing<'_>| {
            if matches!(origin, KeyOrigin::Inventory(_)) {
                return Ok(());
            }
            Retrying::probing(&**store, cancel).list(&request).await.map(drop)
        };
        for pair in pairs {
            let [source, destination] = self.requests(pair);
            let (source, destination) = tokio::join!(probe(from, source), probe(to, destination));
            source?;
            destination?;
        }
        Ok(())
    }

    /// The list requests of both sides: the source's, then the destination's.
    pub(super) fn requests(&self, pair: &Pair) -> [Listing<'_>; 2] {
        let [source, destination] = both_sides::requests(pair, self.versions.is_some());
        [(&self.source, source), (&self.destination, destination)]
    }
}

/// A store, and what is listed of it.
pub(super) type Listing<'a> = (&'a Arc<dyn Reads>, ListRequest);

/// Where the jobs of a comparison go.
#[derive(Clone, Debug)]
pub struct Outlet {
    /// The queue.
    pub queue: Arc<dyn Queue>,
    /// Limits for jobs that share a message.
    pub packs: PackLimits,
    /// What earlier comparisons have sent, and where this one notes what it sends; `None`: no
    /// notes.
    pub sent: Option<Arc<Sent>>,
    /// Also sends what earlier comparisons have already sent.
    pub resend: bool,
}

/// What a comparison does with what it finds.
#[derive(Clone, Debug)]
enum Purpose {
    DryRun,
    Sending(Outlet),
    Closing(Arc<Closing>),
}

/// A comparison of bucket pairs. It does not change once it is made.
#[derive(Clone, Debug)]
pub struct Comparison {
    pub(super) terms: Terms,
    purpose: Purpose,
    pub(super) cancel: CancellationToken,
}

impl Comparison {
    /// What is compared.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Finds what differs and sends nothing.
    pub fn dry_run(terms: Terms, cancel: CancellationToken) -> Self {
        Self { terms, purpose: Purpose::DryRun, cancel }
    }

    /// Sends a job for everything that differs.
    pub fn sending(terms: Terms, outlet: Outlet, cancel: CancellationToken) -> Self {
        Self { terms, purpose: Purpose::Sending(outlet), cancel }
    }

    /// Closes a migration: compares what is listed with what was written, as `records` know it. An
    /// object that the destination does not list is looked up by itself before it is called
    /// missing. Nothing is sent or deleted, and what `--overwrite` has copied counts as any other.
    pub fn closing(
        mut terms: Terms,
        records: Arc<dyn RecordStore>,
        cancel: CancellationToken,
    ) -> Self {
        // An inventory shows only the state before the run.
        if let Keys::All([_, destination @ KeyOrigin::Inventory(_)]) = &mut terms.keys {
            *destination = KeyOrigin::Listing;
        }
        terms.deletions = None;
        terms.criteria.overwrite = false;
        Self { terms, purpose: Purpose::Closing(Arc::new(Closing::new(records))), cancel }
    }

    pub(super) fn outlet(&self) -> Option<&Outlet> {
        match &self.purpose {
            Purpose::Sending(outlet) => Some(outlet),
            Purpose::DryRun | Purpose::Closing(_) => None,
        }
    }

    /// What a closing comparison compares with.
    pub(super) fn as_closing(&self) -> Option<&Closing> {
        match &self.purpose {
            Purpose::Closing(closing) => Some(closing),
            Purpose::DryRun | Purpose::Sending(_) => None,
        }
    }

    /// After a closing comparison of all pairs: the objects that are on no record and do differ.
    pub async fn doubts(&self) -> Vec<ObjectId> {
        let Some(closing) = self.as_closing() else { return Vec::new() };
        let sides = [&*self.terms.source, &*self.terms.destination];
        closing.doubts(sides, self.terms.max_retry, &self.cancel).await
    }

    /// Compares one pair and sends what differs; `finds` receive every object. The summary's
    /// missing ranges name what could not be listed. An error means that there is no summary: what
    /// has been sent by then stays sent, and the next comparison finds the rest.
    pub async fn compare(&self, pair: &Pair, finds: &[Arc<dyn Finds>]) -> Result<Summary> {
        self.run(pair, finds, None, &[]).await.map(|(summary, _, _)| summary)
    }

    /// Like [`Self::compare`], for the ranges that an earlier comparison has left, or for all keys
    /// if there are none. Also returns the ranges that this one leaves if it is interrupted.
    pub async fn compare_on(
        &self,
        pair: &Pair,
        finds: &[Arc<dyn Finds>],
        from: &[Bounds],
    ) -> Result<(Summary, Vec<Bounds>)> {
        self.run(pair, finds, None, from).await.map(|(summary, _, left)| (summary, left))
    }

    /// Like [`Self::compare`]; also adds up what copying will cost, beginning with `outlook`.
    pub async fn forecast(
        &self,
        pair: &Pair,
        finds: &[Arc<dyn Finds>],
        outlook: ForecastCounts,
    ) -> Result<(Summary, ForecastCounts)> {
        let (summary, outlook, _) = self.run(pair, finds, Some(outlook), &[]).await?;
        Ok((summary, outlook.unwrap_or_default()))
    }

    async fn run(
        &self,
        pair: &Pair,
        finds: &[Arc<dyn Finds>],
        outlook: Option<ForecastCounts>,
        from: &[Bounds],
    ) -> Result<(Summary, Option<ForecastCounts>, Vec<Bounds>)> {
        let cancel = self.cancel.child_token();
        let (jobs, taken) = mpsc::channel(JOBS_AHEAD);
        let sending = self.send_what_arrives(taken, &cancel);
        let judge = Judge::of(self, pair);
        let one = OnePair::new(self.clone(), judge, finds.to_vec(), jobs, outlook, cancel);
        let one = Arc::new(one);
        let mut gathered = match &self.terms.keys {
            Keys::Named(names) => one.look_at_all(names.read()).await,
            Keys::All(origins) => all_ranges::compare(&one, origins, from).await?,
        };
        let left = std::mem::take(&mut gathered.left);
        let outlook = one.take_outlook();
        // Drops the last sender of jobs, so that the receiving task ends.
        drop(one);
        let tally = sending.await;
        Ok((self.account(gathered, tally)?, outlook, left))
    }

    /// Sends what arrives on the channel, until all of its senders are gone.
    pub(super) fn send_what_arrives(
        &self,
        mut taken: mpsc::Receiver<Vec<Marked>>,
        cancel: &CancellationToken,
    ) -> impl Future<Output = SentTally> + use<> {
        let sender = self.outlet().map(|Outlet { queue, packs, sent, .. }| {
            let policy = Policy::control(self.terms.max_retry);
            let (stop, listing) = (self.cancel.clone(), cancel.clone());
            Sender::new(Arc::clone(queue), sent.clone(), *packs, policy, stop, listing)
        });
        let mut task = JoinSet::new();
        task.spawn(async move {
            match sender {
                Some(sender) => sender.run(taken).await,
                None => {
                    taken.close();
                    SentTally::default()
                }
            }
        });
        async move {
            let ended = task.join_next().await;
            ended.and_then(std::result::Result::ok).unwrap_or_default()
        }
    }

    /// Combines the counts of what was found and what was sent.
    fn account(&self, gathered: Gathered, tally: SentTally) -> Result<Summary> {
        let Gathered { mut summary, error, unlisted, .. } = gathered;
        (summary.sent, summary.failed_to_send) = (tally.sent, tally.failed);
        summary.messages = tally.messages;
        match (tally.error, error) {
            // If something has been sent, the summary says what was sent and what was not.
            (Some(unsent), _) if summary.sent > 0 && unsent.kind() != ErrorKind::Cancelled => {
                error!("the queue no longer accepts jobs, so the comparison stops: {unsent}");
            }
            (Some(error), _) | (None, Some(error)) => return Err(error),
            (None, None) => {}
        }
        if let Some(error) = unlisted.filter(|_| summary.listed == 0) {
            return Err(error);
        }
        match summary.balances(self.outlet().is_some()) {
            true => Ok(summary),
            false => Err(Error::invalid(format!("the counts do not add up: {summary:?}"))),
        }
    }
}

/// What has been found of one pair.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) summary: Summary,
    /// Why the comparison was given up.
    pub(super) error: Option<Error>,
    /// The first reason why keys are missing.
    unlisted: Option<Error>,
    /// What an interrupted comparison has left.
    left: Vec<Bounds>,
}

impl Gathered {
    /// Adds a range that has ended.
    pub(super) fn add(
        &mut self,
        RangeEnd { summary, failed, left }: RangeEnd,
        cancel: &CancellationToken,
    ) {
        self.summary.add(&summary);
        self.left.extend(left);
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
