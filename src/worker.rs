//! The worker: takes jobs, moves each object, records the outcome, and only then lets go of the
//! message.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, stream};
use tokio::task::JoinSet;
use tracing::{debug, error, info, warn};

use crate::config::Config;
use crate::error::{Error, ErrorKind, Next, Result};
use crate::job::{self, EventTarget, Job, Refusal};
use crate::queue::lease::Lease;
use crate::queue::{Message, Queue};
use crate::retry::{Policy, retry};
use crate::shutdown::Halt;
use crate::state::{JobStatus, Outcome};
use crate::transfer::{Copied, Engine, Fence};

/// Amazon SQS gives at most ten messages a call.
const MAX_BATCH: usize = 10;
/// A passing trouble gives the object a rest that doubles with each receipt, up to this.
const LONGEST_REST: Duration = Duration::from_secs(300);
/// Jobs of one pack or event that run at once.
const JOBS_AT_ONCE: usize = 8;

/// What of the configuration a worker obeys.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Objects at once.
    pub parallel: usize,
    /// Longest time on one object.
    pub job_timeout: Duration,
    /// How long a received message is hidden.
    pub visibility: Duration,
    /// How long one call waits for messages.
    pub poll: Duration,
    /// How long running parts may take to finish after a stop.
    pub grace: Duration,
    /// Tries for one call.
    pub max_retry: u32,
    /// A message received this often is not given back again: its failure is recorded.
    pub max_receives: u32,
    /// Where objects go that arrive by event.
    pub event_target: EventTarget,
}

impl Settings {
    /// For a queue that a call waits on for `poll`.
    pub fn new(config: &Config, poll: Duration, max_receives: u32) -> Self {
        Self {
            parallel: config.mode.max_parallel_file,
            job_timeout: config.mode.job_timeout,
            visibility: config.mode.visibility_timeout,
            poll,
            grace: config.mode.grace_time,
            max_retry: config.mode.max_retry,
            max_receives,
            event_target: EventTarget {
                bucket: config.basic.des_bucket_default.clone(),
                prefix: config.basic.des_prefix_default.clone(),
            },
        }
    }
}

/// Takes jobs from one queue until it is stopped.
#[derive(Debug)]
pub struct Worker {
    queue: Arc<dyn Queue>,
    engine: Arc<Engine>,
    settings: Settings,
}

/// How one job of a message ended.
enum Ended {
    Copied(Copied),
    /// A further try may succeed.
    Again(Error),
    /// It will not.
    Failed(Error),
}

impl Worker {
    /// A worker on `queue`.
    pub fn new(queue: Arc<dyn Queue>, engine: Arc<Engine>, settings: Settings) -> Arc<Self> {
        Arc::new(Self { queue, engine, settings })
    }

    /// Works until `halt` says stop, then lets running parts finish and gives back the rest.
    pub async fn run(self: &Arc<Self>, halt: &Halt) -> Result<()> {
        let mut running = JoinSet::new();
        let ended = self.take_jobs(&mut running, halt).await;
        self.drain(running, halt).await;
        ended
    }

    async fn take_jobs(self: &Arc<Self>, running: &mut JoinSet<()>, halt: &Halt) -> Result<()> {
        let mut outage = 0;
        while !halt.is_stopping() {
            while let Some(ended) = running.try_join_next() {
                report_panic(ended);
            }
            let free = self.settings.parallel.saturating_sub(running.len());
            if free == 0 {
                if let Some(Some(ended)) = halt.unless_stopping(running.join_next()).await {
                    report_panic(ended);
                }
                continue;
            }
            // Not raced against the stop: a dropped receive would strand its messages.
            let (poll, visibility) = (self.settings.poll, self.settings.visibility);
            match self.queue.receive(free.min(MAX_BATCH), poll, visibility).await {
                Ok(messages) => {
                    outage = 0;
                    for message in messages {
                        let (worker, halt) = (Arc::clone(self), halt.child());
                        running.spawn(async move { worker.handle(message, halt).await });
                    }
                }
                Err(error) if error.kind().next() == Next::Retry => {
                    outage += 1;
                    warn!(outage, "the queue does not answer, waiting: {error}");
                    let pause = Duration::from_secs(1 << outage.min(5));
                    halt.unless_stopping(tokio::time::sleep(pause)).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn drain(&self, mut running: JoinSet<()>, halt: &Halt) {
        if !running.is_empty() {
            info!(
                objects = running.len(),
                "stopping: running parts finish, the rest is given back"
            );
        }
        let grace = halt.drain(self.settings.grace);
        tokio::pin!(grace);
        let mut in_grace = true;
        loop {
            tokio::select! {
                ended = running.join_next() => match ended {
                    None => return,
                    Some(ended) => report_panic(ended),
                },
                () = &mut grace, if in_grace => in_grace = false,
            }
        }
    }

    /// One message from receipt to its end. Never fails: what goes wrong is logged, recorded and
    /// left to the queue.
    async fn handle(self: Arc<Self>, message: Message, halt: Halt) {
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
        let receives = message.receive_count;
        let (queue, visibility) = (Arc::clone(&self.queue), self.settings.visibility);
        let lease = Lease::hold(queue, message, visibility, &halt.abort);
        // The loss of the lease aborts the work.
        let halt = Halt { stop: halt.stop.child_token(), abort: lease.token().child_token() };
        let ended = self.work(&jobs, receives, &halt).await;
        self.settle(lease, receives, &jobs, &ended, &halt).await;
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

    async fn work(&self, jobs: &[Job], receives: u32, halt: &Halt) -> Vec<Ended> {
        // The time for one message stops the work at the next part.
        let time_up = async {
            tokio::time::sleep(self.settings.job_timeout).await;
            halt.drain(self.settings.grace).await;
            std::future::pending().await
        };
        let alone = jobs.len() == 1;
        // By index: a closure over borrowed jobs is not general enough for a spawned task.
        let work = stream::iter(0..jobs.len())
            .map(|at| self.one(&jobs[at], receives, alone, halt))
            .buffered(JOBS_AT_ONCE)
            .collect::<Vec<_>>();
        tokio::select! {
            ended = work => ended,
            never = time_up => never,
        }
    }

    /// Copies one object and puts the outcome on record. In a message of several jobs (`alone` is
    /// false) a failure is not final: the job is sent on by itself and fails there.
    async fn one(&self, job: &Job, receives: u32, alone: bool, halt: &Halt) -> Ended {
        let start_time = SystemTime::now();
        let fence = Fence::new(&self.engine.instance);
        let ended = match self.engine.transfer(job, &fence, halt).await {
            Ok(copied) => Ended::Copied(copied),
            Err(error) => self.judge(error, receives, alone),
        };
        if let Some(outcome) = self.outcome(job, &ended, start_time, &fence)
            && let Err(error) = self.record(outcome, halt).await
        {
            warn!(object = %job.src, "goes back, the outcome could not be recorded: {error}");
            return Ended::Again(error);
        }
        self.tell(job, receives, &ended);
        ended
    }

    fn tell(&self, job: &Job, receives: u32, ended: &Ended) {
        let monitor = &self.engine.monitor;
        match ended {
            Ended::Copied(copied) => monitor.done(copied.size, &job.src),
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

    fn judge(&self, error: Error, receives: u32, alone: bool) -> Ended {
        let stopped = matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::LeaseLost);
        if !alone || stopped {
            return Ended::Again(error);
        }
        match error.kind().next() {
            Next::RecordFailure => Ended::Failed(error),
            Next::Retry | Next::ReturnToQueue if receives < self.settings.max_receives => {
                Ended::Again(error)
            }
            Next::Retry | Next::ReturnToQueue => {
                Ended::Failed(error.context(format_args!("given up after {receives} receipts")))
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

    async fn record(&self, outcome: Outcome, halt: &Halt) -> Result<()> {
        let outcomes = [outcome];
        let finish = || async { self.engine.state.finish(&outcomes).await };
        retry(Policy::control(self.settings.max_retry), &halt.abort, finish).await
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
    async fn settle(
        &self,
        lease: Lease,
        receives: u32,
        jobs: &[Job],
        ended: &[Ended],
        halt: &Halt,
    ) {
        let delay = match halt.is_stopping() {
            true => Duration::ZERO,
            false => rest(receives),
        };
        let settled = match (jobs, ended) {
            (_, ended) if ended.iter().all(|ended| matches!(ended, Ended::Copied(_))) => {
                lease.delete().await
            }
            ([job], [Ended::Failed(error)]) => self.bury(lease, job, error, delay).await,
            ([_], _) => lease.release(delay).await,
            _ => {
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
        };
        log_failure("settle", settled);
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

fn report_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(panic) = ended {
        error!("a job's task failed, its message comes back when its lease ends: {panic}");
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
