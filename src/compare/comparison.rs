//! What the ranges of one comparison share.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::judge::Judge;
use super::one_range::Marked;
use super::recorded::Copies;
use super::sent_notes::Mark;
use super::unlisted::Looks;
use super::{Finds, Jobsender, Outlook, Summary, Verdict};
use crate::compare::difference::Difference;
use crate::compare::listing::{Asking, Listing, Pages};
use crate::compare::ranges::{RangeId, Ranges};
use crate::job::{Job, Seen};
use crate::object::{Etag, NO_VERSION, ObjectId, ObjectKey, destination_key, destination_prefix};
use crate::params::Pair;
use crate::record::RecordId;
use crate::retry::Policy;
use crate::store::{Flaw, ListRequest, Listed, Odd};

/// An object to copy whose earlier job may still be waiting.
pub(super) struct Doubtful {
    job: Job,
    mark: Mark,
    difference: Difference,
}

/// One comparison.
pub(super) struct Context {
    pub(super) jobsender: Jobsender,
    pub(super) judge: Judge,
    pub(super) finds: Vec<Arc<dyn Finds>>,
    /// Both sides' pages.
    pub(super) pages: [Pages; 2],
    /// The first key of each side.
    pub(super) firsts: [Arc<OnceLock<String>>; 2],
    /// How many objects may still be looked up because the destination does not list them.
    pub(super) looks: Looks,
    /// Where jobs go.
    pub(super) jobs: mpsc::Sender<Vec<Marked>>,
    /// Ranges that wait for a task.
    pub(super) new: mpsc::Sender<RangeId>,
    pub(super) ranges: Mutex<Ranges>,
    /// Cancels the whole comparison.
    pub(super) cancel: CancellationToken,
}

impl Context {
    pub(super) fn ranges(&self) -> MutexGuard<'_, Ranges> {
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives work to idle tasks.
    pub(super) fn split(&self) {
        let Pair { src_bucket, des_bucket, .. } = &self.judge.pair;
        let [source, destination] = &self.pages;
        if !source.begin_anywhere(src_bucket) || !destination.begin_anywhere(des_bucket) {
            return;
        }
        for id in self.ranges().split() {
            // The receiver is gone once the comparison has been given up.
            let _ = self.new.try_send(id);
        }
    }

    /// An empty outlook, in which a range counts what copying will cost.
    pub(super) fn outlook(&self) -> Option<Outlook> {
        let outlook = self.jobsender.outlook.as_ref()?;
        Some(outlook.lock().unwrap_or_else(PoisonError::into_inner).empty())
    }

    /// Adds what a range has counted.
    pub(super) fn add_outlook(&self, of_range: Option<Outlook>) {
        if let (Some(outlook), Some(of_range)) = (&self.jobsender.outlook, of_range) {
            outlook.lock().unwrap_or_else(PoisonError::into_inner).merge(&of_range);
        }
    }

    /// Both sides' listings after the source's key `after`.
    pub(super) fn listings(&self, after: Option<&str>) -> [Listing; 2] {
        let pair = &self.judge.pair;
        let strip = [0, destination_prefix(&pair.des_prefix).len()];
        let target = |key: &str| destination_key(&pair.des_prefix, &ObjectKey::new(key));
        let bytes = |key: ObjectKey| key.as_str().as_bytes().to_vec();
        let after = [after.map(ObjectKey::new).map(bytes), after.map(target).map(bytes)];
        let policy = Policy::listing(self.jobsender.max_retry);
        let requests = self.jobsender.requests(pair).into_iter().zip(&self.pages);
        let requests = requests.zip(strip).zip(after).zip(&self.firsts);
        let mut listings =
            requests.map(|(((((_, request), pages), strip), start_after), first)| {
                let (first, cancel) = (Arc::clone(first), self.cancel.clone());
                let asking = Asking { pages: pages.clone(), policy, first, cancel };
                Listing::new(asking, ListRequest { start_after, ..request }, strip)
            });
        std::array::from_fn(|_| listings.next().unwrap_or_else(|| unreachable!("two sides")))
    }

    /// The records of what was copied, if versions or what was written are compared.
    pub(super) fn copies(&self, after: Option<&str>) -> Option<Copies> {
        let closing = self.jobsender.closing.as_ref().map(|closing| closing.state());
        let state = Arc::clone(self.jobsender.versions.as_ref().or(closing)?);
        let policy = Policy::control(self.jobsender.max_retry);
        Some(Copies::new(state, &self.judge.pair, after, policy, self.cancel.clone()))
    }

    /// Counts each object that was sent before and still waits or runs; returns the jobs of the
    /// others.
    pub(super) async fn settle(
        &self,
        doubtful: Vec<Doubtful>,
        summary: &mut Summary,
        outlook: &mut Option<Outlook>,
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
            (!waits && self.jobsender.queue.is_some()).then(|| (job.clone(), *mark))
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
        let pair = &self.judge.pair;
        let version = listed.version.filter(|version| *version != NO_VERSION).map(str::to_owned);
        let src = ObjectId::new(&pair.src_bucket, listed.key);
        let des_key = destination_key(&pair.des_prefix, &src.key);
        let des = ObjectId { bucket: pair.des_bucket.clone(), key: des_key };
        Job::copy(src, des, listed.size, version)
    }

    /// Counts an object; returns its job if it must be copied and there is a queue.
    pub(super) fn found(&self, listed: Listed<'_>, verdict: &Verdict<'_>) -> Option<Marked> {
        let pair = &self.judge.pair;
        let is_copied = matches!(verdict, Verdict::Copy(_)) && self.jobsender.queue.is_some();
        if let Verdict::KeyTooLong(_) = verdict {
            error!(object = %ObjectId::new(&pair.src_bucket, listed.key), "{verdict}");
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
                && !self.jobsender.criteria.overwrite
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
        let Some(deletions) = &self.jobsender.deletions else { return };
        // The prefix's own marker is not a copy of an object.
        if listed.key.is_empty() || self.judge.left_out(listed).is_some() {
            return;
        }
        summary.to_delete += 1;
        let pair = &self.judge.pair;
        let src = ObjectId::new(&pair.src_bucket, listed.key);
        let des_key = destination_key(&pair.des_prefix, &src.key);
        let des = ObjectId { bucket: pair.des_bucket.clone(), key: des_key };
        self.finds.iter().for_each(|finds| finds.doomed(&des, listed));
        let seen = Seen { size: listed.size, etag: listed.etag.map(Etag::new) };
        deletions.add(Job::delete(src, des, seen));
    }
}
