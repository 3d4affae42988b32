//! One message: its lease, its jobs, their outcomes on record, and only then its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::Worker;
use crate::error::{Error, ErrorKind, Next, Result};
use crate::job::{self, Job, Refusal};
use crate::queue::Message;
use crate::queue::lease::{Lease, Loss};
use crate::retry::{Policy, retry};
use crate::shutdown::Halt;
use crate::state::{JobStatus, Outcome};
use crate::transfer::{Copied, Fence};

/// A passing trouble gives the object a rest that doubles with each receipt, up to this.
const LONGEST_REST: Duration = Duration::from_secs(300);
/// Jobs of one pack or event that run at once.
const JOBS_AT_ONCE: usize = 8;

/// How one job of a message ended.
enum Ended {
    Copied(Copied),
    /// A further try may succeed.
    Again(Error),
    /// It will not.
    Failed(Error),
}

/// What all jobs of one message share.
struct Delivery {
    receives: u32,
    /// The message has one job only.
    alone: bool,
    halt: Halt,
    /// Cancelled when the lease is lost or everything is cut. Outcomes go on record until then, also
    /// where the time for the message is used up.
    held: CancellationToken,
    /// The time for the message is used up.
    time_up: AtomicBool,
}

impl Worker {
    /// One message from receipt to its end. Never fails: what goes wrong is logged, recorded and
    /// left to the queue.
    pub(super) async fn handle(self: Arc<Self>, message: Message, halt: Halt) {
        let incoming = match job::parse(&message.body, &self.settings.event_target) {
            Ok(incoming) => incoming,
            Err(refusal) => return self.refuse(&message, &refusal).await,
        };
        for reason in &incoming.dropped {
            info!(message = message.id, "nothing to do: {reason}");
        }
        let jobs = incoming.jobs;
        if jobs.is_empty() {
            return log_failure("delete", self.queue.delete(&message.receipt).await);
        }
        if halt.is_stopping() {
            let released = self.queue.release(&message.receipt, Duration::ZERO).await;
            return log_failure("release", released);
        }
        let (receives, alone) = (message.receive_count, jobs.len() == 1);
        let (queue, visibility) = (Arc::clone(&self.queue), self.settings.visibility);
        let lease = Lease::hold(queue, message, visibility, &halt.abort);
        // The loss of the lease aborts the work.
        let held = lease.token();
        let halt = Halt { stop: halt.stop.child_token(), abort: held.child_token() };
        let delivery = Delivery { receives, alone, halt, held, time_up: AtomicBool::new(false) };
        let ended = self.work(&jobs, &delivery).await;
        self.settle(lease, &jobs, &ended, &delivery).await;
    }

    /// What is no job is not deleted: it is given back until the queue itself makes a dead letter
    /// of it. A message of a newer form waits longer, for a newer worker.
    async fn refuse(&self, message: &Message, refusal: &Refusal) {
        error!(message = message.id, receives = message.receive_count, "refused: {refusal}");
        let delay = match refusal {
            Refusal::Newer(_) => self.settings.visibility,
            Refusal::NotAJob(_) | Refusal::NoDestination => {
                rest(message.receive_count).min(self.settings.visibility)
            }
        };
        log_failure("release", self.queue.release(&message.receipt, delay).await);
    }

    async fn work(&self, jobs: &[Job], delivery: &Delivery) -> Vec<Ended> {
        // The time for one message stops the work at the next part.
        let time_up = async {
            tokio::time::sleep(self.settings.job_timeout).await;
            delivery.time_up.store(true, Ordering::Release);
            delivery.halt.drain(self.settings.grace).await;
            std::future::pending().await
        };
        // By index: a closure over borrowed jobs is not general enough for a spawned task.
        let work = stream::iter(0..jobs.len())
            .map(|at| self.one(&jobs[at], delivery))
            .buffered(JOBS_AT_ONCE)
            .collect::<Vec<_>>();
        tokio::select! {
            ended = work => ended,
            never = time_up => never,
        }
    }

    /// Copies one object and puts the outcome on record.
    async fn one(&self, job: &Job, delivery: &Delivery) -> Ended {
        let start_time = SystemTime::now();
        let fence = Fence::new(&self.engine.instance);
        let ended = match self.engine.transfer(job, &fence, &delivery.halt).await {
            Ok(copied) => Ended::Copied(copied),
            Err(error) => self.judge(error, delivery),
        };
        let recorded = match self.outcome(job, &ended, start_time, &fence) {
            Some(outcome) => self.record(outcome, &delivery.held).await,
            None => Ok(()),
        };
        match (recorded, ended) {
            // Another attempt has the record; the object is there and proven all the same.
            (Err(error), Ended::Copied(copied)) if error.kind() == ErrorKind::LeaseLost => {
                info!(object = %job.src, "copied, but another attempt keeps the record");
                Ended::Copied(copied)
            }
            (Err(error), _) => {
                warn!(object = %job.src, "goes back, the outcome could not be recorded: {error}");
                Ended::Again(error)
            }
            (Ok(()), ended) => {
                self.tell(job, delivery.receives, &ended);
                ended
            }
        }
    }

    fn tell(&self, job: &Job, receives: u32, ended: &Ended) {
        let monitor = &self.engine.monitor;
        match ended {
            Ended::Copied(copied) => {
                self.fit();
                monitor.done(copied.size, &job.src);
            }
            Ended::Again(error) if error.kind() == ErrorKind::Cancelled => {
                debug!(object = %job.src, "stopped, goes back to the queue");
            }
            Ended::Again(error) => {
                monitor.returned();
                warn!(object = %job.src, receives, "goes back to the queue: {error}");
            }
            Ended::Failed(error) => {
                monitor.failed();
                error!(object = %job.src, receives, "failed: {error}");
            }
        }
    }

    /// What an error means for the job. In a message of several jobs a failure is not final: the
    /// job is sent on by itself and fails there.
    fn judge(&self, error: Error, delivery: &Delivery) -> Ended {
        let error = match error.kind() {
            ErrorKind::Cancelled if delivery.time_up.load(Ordering::Acquire) => {
                let seconds = self.settings.job_timeout.as_secs();
                let message = format!(
                    "not finished within JobTimeout of {seconds} s; its parts stay, the next \
                     attempt continues"
                );
                Error::new(ErrorKind::Unavailable, message)
            }
            ErrorKind::Cancelled | ErrorKind::LeaseLost => return Ended::Again(error),
            ErrorKind::Unfit => {
                let again = Error::new(ErrorKind::Unfit, error.to_string());
                self.unfit(error);
                return Ended::Again(again);
            }
            _ => error,
        };
        match error.kind().next() {
            _ if !delivery.alone => Ended::Again(error),
            Next::RecordFailure => Ended::Failed(error),
            Next::Retry | Next::ReturnToQueue => {
                match delivery.receives < self.settings.max_receives {
                    true => Ended::Again(error),
                    false => {
                        let receives = delivery.receives;
                        Ended::Failed(error.context(format_args!("given up, receipt {receives}")))
                    }
                }
            }
        }
    }

    /// What goes on record; nothing where the work was merely stopped, because the parts and the
    /// record of their upload stay as they are.
    fn outcome(
        &self,
        job: &Job,
        ended: &Ended,
        start_time: SystemTime,
        fence: &Fence,
    ) -> Option<Outcome> {
        let (status, copied, error) = match ended {
            Ended::Copied(copied) => (JobStatus::Done, Some(copied), None),
            Ended::Failed(error) => (JobStatus::Failed, None, Some(error.to_string())),
            Ended::Again(error) if error.kind() == ErrorKind::Cancelled => return None,
            Ended::Again(error) => (JobStatus::Running, None, Some(error.to_string())),
        };
        Some(Outcome {
            id: job.into(),
            size: copied.map_or(job.size, |copied| copied.size),
            version: copied.map_or(job.version.clone(), |copied| copied.version.clone()),
            etag: copied.map(|copied| copied.etag.clone()),
            status,
            instance: self.engine.instance.clone(),
            lease: fence.begun(),
            start_time,
            end_time: SystemTime::now(),
            error,
        })
    }

    async fn record(&self, outcome: Outcome, held: &CancellationToken) -> Result<()> {
        let outcomes = [outcome];
        let finish = || async { self.engine.state.finish(&outcomes).await };
        retry(Policy::control(self.settings.max_retry), held, finish).await
    }

    /// Makes a dead letter of a job that failed. Where there is no dead letter queue the job stays
    /// in the queue, since its failure must not be the only trace of it.
    async fn bury(&self, lease: Lease, job: &Job, error: &Error, delay: Duration) -> Result<()> {
        let receipt = lease.message().receipt.clone();
        if lease.bury(&job.to_message(), &error.to_string()).await? {
            return Ok(());
        }
        warn!(object = %job.src, "there is no dead letter queue: the failed job stays in the queue");
        self.queue.release(&receipt, delay).await
    }

    /// Lets go of the message: deleted when every job is done, a dead letter when its one job
    /// failed, else given back. A message of several jobs sends on what is left of it first.
    async fn settle(&self, lease: Lease, jobs: &[Job], ended: &[Ended], delivery: &Delivery) {
        match lease.lost() {
            // It is somebody else's message now.
            Some(loss @ (Loss::Taken | Loss::RanOut)) => {
                return warn!(message = lease.message().id, "the work was stopped: {loss}");
            }
            Some(loss @ Loss::Limit) => info!(message = lease.message().id, "{loss}"),
            None => {}
        }
        let delay = match delivery.halt.is_stopping() {
            true => Duration::ZERO,
            false => rest(delivery.receives),
        };
        let settled = match (jobs, ended) {
            (_, ended) if ended.iter().all(|ended| matches!(ended, Ended::Copied(_))) => {
                lease.delete().await
            }
            ([job], [Ended::Failed(error)]) => self.bury(lease, job, error, delay).await,
            ([_], _) => lease.release(delay).await,
            _ => self.send_on(lease, jobs, ended, delay).await,
        };
        log_failure("settle", settled);
    }

    /// Sends each job that is not done by itself, and only then deletes the message of all.
    async fn send_on(
        &self,
        lease: Lease,
        jobs: &[Job],
        ended: &[Ended],
        delay: Duration,
    ) -> Result<()> {
        let left = jobs.iter().zip(ended);
        let left = left.filter(|(_, ended)| !matches!(ended, Ended::Copied(_)));
        let left: Vec<String> = left.map(|(job, _)| job.to_message()).collect();
        match self.queue.send(&left).await {
            Ok(()) => lease.delete().await,
            Err(error) => {
                warn!("what is left of a message could not be sent on: {error}");
                lease.release(delay).await
            }
        }
    }
}

/// How long an object rests after its `receives`-th failure.
fn rest(receives: u32) -> Duration {
    let seconds = 1u64 << receives.saturating_sub(1).min(16);
    Duration::from_secs(seconds).min(LONGEST_REST)
}

fn log_failure(call: &str, result: Result<()>) {
    if let Err(error) = result {
        // The message becomes visible again by itself: at least once is safe.
        warn!("the queue refused to {call} a message: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_doubles_and_is_bounded() {
        assert_eq!(rest(1), Duration::from_secs(1));
        assert_eq!(rest(4), Duration::from_secs(8));
        assert_eq!(rest(u32::MAX), LONGEST_REST);
    }
}
