//! One pair of buckets in a comparison: what becomes of each of its objects, and its counts.

use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::comparison::Comparison;
use super::difference::Difference;
use super::judge::Judge;
use super::recorded::Copies;
use super::sent_notes::Mark;
use super::unlisted::LooksLeft;
use super::{Finds, ForecastCounts, Summary, Verdict};
use crate::error::{Error, Result};
use crate::job::{Job, SeenCopy};
use crate::mutex::lock;
use crate::object::{Etag, NO_VERSION, ObjectId};
use crate::record::RecordId;
use crate::retry::Policy;
use crate::store::{Flaw, Listed, Odd};

/// A job and the mark of its object.
pub(super) type Marked = (Job, Mark);

/// An object to copy whose earlier job may still be waiting.
pub(super) struct Doubtful {
    job: Job,
    mark: Mark,
    difference: Difference,
}

/// The comparison of one pair.
pub(super) struct OnePair {
    pub(super) comparison: Comparison,
    pub(super) judge: Judge,
    pub(super) finds: Vec<Arc<dyn Finds>>,
    /// How many objects may still be looked up because the destination does not list them.
    pub(super) looks: LooksLeft,
    /// Where jobs go.
    jobs: mpsc::Sender<Vec<Marked>>,
    /// What copying will cost, of the ranges that have ended; `None`: no estimate.
    outlook: Option<Mutex<ForecastCounts>>,
    /// Cancels the comparison of this pair.
    pub(super) cancel: CancellationToken,
}

impl OnePair {
    pub(super) fn new(
        comparison: Comparison,
        judge: Judge,
        finds: Vec<Arc<dyn Finds>>,
        jobs: mpsc::Sender<Vec<Marked>>,
        outlook: Option<ForecastCounts>,
        cancel: CancellationToken,
    ) -> Self {
        let (looks, outlook) = (LooksLeft::default(), outlook.map(Mutex::new));
        Self { comparison, judge, finds, looks, jobs, outlook, cancel }
    }

    /// Whether jobs are sent.
    pub(super) fn sends(&self) -> bool {
        self.comparison.outlet().is_some()
    }

    /// Hands jobs over to the queue.
    pub(super) async fn ship(&self, jobs: Vec<Marked>) -> Result<()> {
        if jobs.is_empty() {
            return Ok(());
        }
        // The receiver is gone if sending has failed, which has cancelled all of this.
        self.jobs.send(jobs).await.map_err(|gone| Error::cancelled().with_source(gone))
    }

    /// An empty outlook, in which a range counts what copying will cost.
    pub(super) fn outlook(&self) -> Option<ForecastCounts> {
        Some(lock(self.outlook.as_ref()?).empty())
    }

    /// Adds what a range has counted.
    pub(super) fn add_outlook(&self, of_range: Option<ForecastCounts>) {
        if let (Some(outlook), Some(of_range)) = (&self.outlook, of_range) {
            lock(outlook).merge(&of_range);
        }
    }

    /// What copying will cost, at the end.
    pub(super) fn take_outlook(&self) -> Option<ForecastCounts> {
        self.outlook.as_ref().map(|outlook| std::mem::take(&mut *lock(outlook)))
    }

    /// The records of what was copied, if versions or what was written are compared.
    pub(super) fn copies(&self, after: Option<&str>) -> Option<Copies> {
        let terms = &self.comparison.terms;
        let written = self.comparison.as_closing().map(|closing| closing.state());
        let state = Arc::clone(terms.versions.as_ref().or(written)?);
        let policy = Policy::control(terms.max_retry);
        Some(Copies::new(state, &self.judge.pair, after, policy, self.cancel.clone()))
    }

    /// Counts each object that was sent before and still waits or runs; returns the jobs of the
    /// others.
    pub(super) async fn settle(
        &self,
        doubtful: Vec<Doubtful>,
        summary: &mut Summary,
        outlook: &mut Option<ForecastCounts>,
    ) -> Vec<Marked> {
        let (Some(sent), false) = (&self.judge.sent, doubtful.is_empty()) else {
            return Vec::new();
        };
        let asked: Vec<(RecordId, Mark)> = doubtful
            .iter()
            .map(|doubtful| (RecordId::of(&doubtful.job.src, &doubtful.job.des), doubtful.mark))
            .collect();
        let waiting = sent.are_waiting(&asked).await;
        let settled = doubtful.iter().zip(waiting).filter_map(|(doubtful, waits)| {
            let Doubtful { job, mark, difference } = doubtful;
            let listed = Listed::new(job.src.key.as_str(), job.size);
            let verdict = if waits { Verdict::InQueue } else { Verdict::Copy(*difference) };
            summary.count(listed, &verdict);
            if let Some(outlook) = outlook {
                outlook.count(listed, &verdict);
            }
            self.finds.iter().for_each(|finds| finds.found(job, listed, &verdict));
            (!waits && self.sends()).then(|| (job.clone(), *mark))
        });
        settled.collect()
    }

    /// An object to copy that was sent before.
    pub(super) fn doubtful(&self, listed: Listed<'_>, verdict: &Verdict<'_>) -> Option<Doubtful> {
        let Verdict::Copy(difference) = verdict else { return None };
        let mark = self.judge.sent_before(listed)?;
        Some(Doubtful { job: self.job(listed), mark, difference: *difference })
    }

    pub(super) fn job(&self, listed: Listed<'_>) -> Job {
        let version = listed.version.filter(|version| *version != NO_VERSION).map(str::to_owned);
        let RecordId { src, des } = self.judge.ids(listed.key);
        Job::copy(src, des, listed.size, version)
    }

    /// Counts an object; returns its job if it must be copied and there is a queue.
    pub(super) fn found(&self, listed: Listed<'_>, verdict: &Verdict<'_>) -> Option<Marked> {
        let is_copied = matches!(verdict, Verdict::Copy(_)) && self.sends();
        if let Verdict::KeyTooLong(_) = verdict {
            let bucket = &self.judge.pair.src_bucket;
            error!(object = %ObjectId::new(bucket, listed.key), "{verdict}");
        }
        if self.finds.is_empty() && !is_copied {
            return None;
        }
        let job = self.job(listed);
        self.finds.iter().for_each(|finds| finds.found(&job, listed, verdict));
        is_copied.then(|| (job, self.judge.mark(listed)))
    }

    /// Reports the source's objects that cannot be copied; `copies`: such objects at the
    /// destination. If both sides have an object with the same key bytes and size, no copy is
    /// needed.
    pub(super) fn account_for_odd(&self, odd: &[Odd], copies: &[Odd], summary: &mut Summary) {
        let bucket = &self.judge.pair.src_bucket;
        for one in odd {
            let key = String::from_utf8_lossy(&one.key);
            let listed = Listed::new(&key, one.size.unwrap_or_default());
            let is_copy = |copy: &Odd| copy.key == one.key && copy.size == one.size;
            let is_there = one.flaw == Flaw::NotUtf8
                && !self.judge.criteria.overwrite
                && copies.iter().any(is_copy);
            match self.judge.left_out(listed) {
                Some(rule) => summary.count(listed, &Verdict::Ignored(rule)),
                None if is_there => summary.count(listed, &Verdict::AlreadyThere),
                None => {
                    error!("cannot be copied: {}/{one}", bucket.escape_debug());
                    summary.count_impossible(bucket, one);
                }
            }
        }
        let is_copy = |copy: &&Odd| odd.iter().any(|one| one.key == copy.key);
        let only = copies.iter().filter(|copy| !is_copy(copy));
        for copy in only {
            summary.only_at_destination += 1;
            summary.only_at_destination_bytes += copy.size.unwrap_or_default();
        }
    }

    /// Reports an object that only the destination has; it is to be deleted if deletions are wanted
    /// and no rule leaves it out.
    pub(super) fn only_there(&self, listed: Listed<'_>, summary: &mut Summary) {
        summary.only_at_destination += 1;
        summary.only_at_destination_bytes += listed.size;
        let Some(deletions) = &self.comparison.terms.deletions else { return };
        // The prefix's own marker is not a copy of an object.
        if listed.key.is_empty() || self.judge.left_out(listed).is_some() {
            return;
        }
        summary.to_delete += 1;
        let RecordId { src, des } = self.judge.ids(listed.key);
        self.finds.iter().for_each(|finds| finds.doomed(&des, listed));
        let seen = SeenCopy { size: listed.size, etag: listed.etag.map(Etag::new) };
        deletions.add(Job::delete(src, des, seen));
    }
}
