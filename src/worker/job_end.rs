//! How one object of a message ended: what it means for the job, and what goes on record.

use std::time::{Duration, SystemTime};

use tracing::{debug, error, info, warn};

use super::Worker;
use super::repeats::{Event, Repeated};
use super::round::Delivery;
use crate::error::{Error, ErrorKind, Next};
use crate::job::Job;
use crate::logging::scope;
use crate::object::Etag;
use crate::reason::Reason;
use crate::record::{JobStatus, Order, Outcome, RecordId};
use crate::transfer::{Done, Standing};

/// How one job of a message ended.
#[derive(Debug)]
pub(super) enum JobEnd {
    /// The object was copied and proven, or deleted, or there was nothing to do.
    Done(Done),
    /// Stopped before its end: by a stop, or because the time for the message is used up.
    Stopped(Error),
    /// Another try may succeed.
    Again(Error),
    /// It was refused, or not even tried, through no fault of its own: it costs no receipt.
    Back(Error),
    /// Another try will not succeed.
    Failed(Error),
}

impl Worker {
    /// What an error means for the job. `advanced`: this turn has brought parts of the object to
    /// the destination.
    pub(super) fn judge(&self, error: Error, delivery: &Delivery, advanced: bool) -> JobEnd {
        let error = match error.kind() {
            ErrorKind::Cancelled if delivery.is_time_up() => {
                let message = format!(
                    "{}; its parts stay, the next attempt continues",
                    delivery.turn.unfinished()
                );
                let error = Error::new(ErrorKind::Unavailable, message);
                if advanced || !delivery.alone() || !self.is_last(delivery) {
                    return JobEnd::Stopped(error);
                }
                error
            }
            ErrorKind::Cancelled => return JobEnd::Stopped(error),
            ErrorKind::LeaseLost => return JobEnd::Again(error),
            ErrorKind::Unfit => {
                let again = Error::new(ErrorKind::Unfit, error.to_string());
                self.unfit(error);
                return JobEnd::Again(again);
            }
            _ => error,
        };
        match error.kind().next() {
            Next::RecordFailure => JobEnd::Failed(error),
            // A message of several jobs is divided at its last receipt, and each job is tried by
            // itself.
            Next::Retry | Next::ReturnToQueue if delivery.alone() && self.is_last(delivery) => {
                let receives = delivery.receives;
                JobEnd::Failed(error.context(format_args!("given up, receipt {receives}")))
            }
            Next::Retry | Next::ReturnToQueue => JobEnd::Again(error),
        }
    }

    /// Whether the message must not be given back again.
    pub(super) fn is_last(&self, delivery: &Delivery) -> bool {
        delivery.receives >= self.settings.max_receives
    }

    /// The outcome to record; `None` if the work was merely stopped, because the parts and the
    /// record of their upload stay as they are. In a message of several jobs a failure is not
    /// final: the job is sent on by itself and fails there.
    pub(super) fn outcome(
        &self,
        job: &Job,
        ended: &JobEnd,
        delivery: &Delivery,
        start_time: SystemTime,
        Standing { lease, order }: Standing,
    ) -> Option<Outcome> {
        let (status, done, error) = match ended {
            JobEnd::Done(Done::PassedOver(_)) => return None,
            JobEnd::Done(done) => (JobStatus::Done, Some(done), None),
            JobEnd::Failed(error) if delivery.alone() => (JobStatus::Failed, None, Some(error)),
            JobEnd::Stopped(error) if error.kind() == ErrorKind::Cancelled => return None,
            // The record belongs to another attempt.
            JobEnd::Again(error) if error.kind() == ErrorKind::LeaseLost => return None,
            JobEnd::Stopped(_) if lease.is_none() && !delivery.alone() => return None,
            JobEnd::Back(_) => return None,
            JobEnd::Stopped(error) | JobEnd::Again(error) | JobEnd::Failed(error) => {
                (JobStatus::Running, None, Some(error))
            }
        };
        let copied = match done {
            Some(Done::Copied(copied)) => Some(copied),
            _ => None,
        };
        let deleted = matches!(done, Some(Done::Deleted));
        let asked = job.version.clone().filter(|_| !job.deletes());
        Some(Outcome {
            id: RecordId::of(&job.src, &job.des),
            size: copied.map_or(job.size, |copied| copied.size),
            version: copied.map_or(asked, |copied| copied.version.clone()),
            etag: copied.map(|copied| copied.etag.clone()),
            proven: copied.map(|copied| copied.proven),
            written: copied.and_then(|copied| copied.written.clone()),
            deleted,
            // A failure must not overwrite a later event's outcome either, but it is no event's
            // outcome itself.
            order: order.map(|order| match done {
                Some(_) => order,
                None => Order { sequencer: None, ..order },
            }),
            status,
            instance: self.engine.instance.clone(),
            lease,
            start_time,
            end_time: SystemTime::now(),
            error: error.map(ToString::to_string),
        })
    }

    /// A line for an object that is copied or deleted. Millions of them cost more than they tell, so
    /// it is at INFO only if it was asked for (`LogObjects`).
    pub(super) fn tell_object(&self, outcome: &Outcome, receives: u32) {
        let _lines = scope::of_object(&outcome.id.src).entered();
        if outcome.deleted {
            let object = &outcome.id.des;
            return match self.settings.log_objects {
                true => info!(%object, "deleted at the destination, the source has none"),
                false => debug!(%object, "deleted at the destination, the source has none"),
            };
        }
        let (object, bytes) = (&outcome.id.src, outcome.size);
        let spent = outcome.end_time.duration_since(outcome.start_time).unwrap_or_default();
        self.engine.monitor.activity().took(bytes, spent);
        let spent_ms = u64::try_from(spent.as_millis()).unwrap_or(u64::MAX);
        let parts = outcome.written.as_ref().and_then(Etag::parts).unwrap_or(1);
        match self.settings.log_objects {
            true => info!(%object, bytes, spent_ms, parts, receives, "copied"),
            false => debug!(%object, bytes, spent_ms, parts, receives, "copied"),
        }
    }

    /// Counts and logs the end of one object.
    pub(super) fn tell(&self, job: &Job, delivery: &Delivery, ended: &JobEnd) {
        let (monitor, receives) = (&self.engine.monitor, delivery.receives);
        let back = self.put_back();
        let _lines = scope::of_object(&job.src).entered();
        match ended {
            JobEnd::Done(done) => {
                self.fit();
                match done {
                    Done::Copied(copied) => {
                        monitor.done(copied.size, copied.proven, &job.src, &job.des);
                        monitor.activity().copied(&job.src, &job.des, copied.size);
                    }
                    Done::Deleted => monitor.deleted(),
                    Done::PassedOver(why) => info!(object = %job.src, "passed over: {why}"),
                }
            }
            JobEnd::Stopped(error) if error.kind() == ErrorKind::Cancelled || !delivery.alone() => {
                debug!(object = %job.src, "stopped, {back}");
            }
            // The next invocation goes on: that is the way of a function.
            JobEnd::Stopped(error) if delivery.turn.cut().is_some() => {
                monitor.returned();
                info!(object = %job.src, receives, "{back}: {error}");
            }
            JobEnd::Back(error) => {
                monitor.returned();
                debug!(object = %job.src, "{back}, not its own fault: {error}");
            }
            JobEnd::Failed(error) if delivery.alone() => {
                monitor.failed(&job.src, &job.des);
                monitor.activity().failed(&job.src, &job.des, job.size, error);
                match self.repeats.is_first(Event::Failed, Reason::of(&error.to_string())) {
                    true => error!(object = %job.src, receives, "failed: {error}"),
                    false => debug!(object = %job.src, receives, "failed: {error}"),
                }
            }
            JobEnd::Stopped(error) | JobEnd::Again(error) | JobEnd::Failed(error) => {
                monitor.returned();
                match self.repeats.is_first(Event::Returned, Reason::of(&error.to_string())) {
                    true => warn!(object = %job.src, receives, "{back}: {error}"),
                    false => debug!(object = %job.src, receives, "{back}: {error}"),
                }
            }
        }
    }

    /// Logs how many objects more than the first have failed or gone back for each reason, if it
    /// was not logged within `interval`.
    pub fn tell_repeats(&self, interval: Duration) {
        for Repeated { event, reason, objects } in self.repeats.due(interval) {
            let (reason, s) = (reason.word(), if objects == 1 { "" } else { "s" });
            let back = self.put_back();
            match event {
                Event::Failed => error!(objects, "failed: {objects} more object{s}, {reason}"),
                Event::Returned => {
                    warn!(objects, "{back}: {objects} more object{s}, {reason}");
                }
            }
        }
    }
}
