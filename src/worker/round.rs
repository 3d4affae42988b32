//! The objects of one message: as many at once as there are connections, their outcomes recorded in
//! batches.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::future::OptionFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, warn};

use super::Worker;
use super::gates::{self, Ruled};
use super::job_end::JobEnd;
use super::recording::record;
use super::turn::Turn;
use crate::error::{Asked, Error, ErrorKind, Next};
use crate::job::Job;
use crate::logging::scope;
use crate::record::{JobStatus, MAX_WRITTEN, Outcome, RecordId, Recorded};
use crate::retry::Retrying;
use crate::shutdown::Halt;
use crate::transfer::{Claim, Delivered, Done, Report, Standing};
use crate::worker::blame;

/// Stands in an error's text if the answer has no code.
const NO_CODE: &str = "no error code";
/// Prefix of a refusal that was compared with no other object.
const ALONE: &str = "no other object was tried meanwhile";
/// An object refused alone has failed at this many receipts, at least 15 seconds after the
/// first.
const ENOUGH_ALONE: u32 = 5;
/// The pause before a second try of an object whose refusal explains nothing.
const SECOND_LOOK: Duration = Duration::from_secs(1);
/// An outcome waits for others at most this long, the default interval of heartbeats: if objects
/// end more slowly, the record costs no more requests than the lease.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// What all jobs of one message share.
#[derive(Debug)]
pub(super) struct Delivery {
    pub jobs: Vec<Job>,
    /// How often the message has been received.
    pub receives: u32,
    /// Stops or aborts the work on this message.
    pub halt: Halt,
    /// The time for the message.
    pub turn: Turn,
    /// Cancelled when the lease is lost or everything is aborted. Outcomes are recorded until then,
    /// even if the time for the message is used up.
    pub held: CancellationToken,
    /// Cancelled when the destination has accepted a part of the only object.
    first_part: CancellationToken,
    time_up: AtomicBool,
    gained: AtomicBool,
}

impl Delivery {
    pub(super) fn new(
        jobs: Vec<Job>,
        receives: u32,
        turn: Turn,
        halt: &Halt,
        held: CancellationToken,
    ) -> Self {
        // The loss of the lease aborts the work.
        let halt = halt.within(&held);
        let (time_up, gained) = (AtomicBool::new(false), AtomicBool::new(false));
        let first_part = CancellationToken::new();
        Self { jobs, receives, halt, turn, held, first_part, time_up, gained }
    }

    /// Whether the message has only one job.
    pub(super) fn alone(&self) -> bool {
        self.jobs.len() == 1
    }

    fn places(&self) -> BTreeSet<Asked> {
        let mut jobs: Vec<&Job> = self.jobs.iter().collect();
        jobs.dedup_by_key(|job| (&job.src.bucket, &job.des.bucket));
        jobs.into_iter().flat_map(gates::places).collect()
    }

    fn delivered(&self) -> Delivered {
        Delivered { again: self.receives > 1, alone: self.alone() }
    }

    /// Whether the time for the message is used up.
    pub(super) fn is_time_up(&self) -> bool {
        self.time_up.load(Ordering::Acquire)
    }

    /// Whether this turn has brought parts of an object to the destination from which the next one
    /// continues.
    pub(super) fn gained(&self) -> bool {
        self.gained.load(Ordering::Acquire)
    }
}

/// The connections that all objects of a worker share: an object in parts takes MaxThread of them,
/// an object in one piece takes one. First come, first served, so that a later message does not
/// overtake an earlier one.
#[derive(Debug)]
pub(super) struct WaitingLine {
    connections: Arc<Semaphore>,
    /// What an object in parts takes.
    in_parts: u32,
}

impl WaitingLine {
    /// Connections for `parallel` objects of `max_thread` parts each.
    pub(super) fn new(parallel: usize, max_thread: usize) -> Self {
        let all = parallel.saturating_mul(max_thread).clamp(1, Semaphore::MAX_PERMITS);
        let in_parts = u32::try_from(max_thread.clamp(1, all)).unwrap_or(u32::MAX);
        Self { connections: Arc::new(Semaphore::new(all)), in_parts }
    }

    /// Waits for room; `None` if the work stops first.
    async fn room(&self, large: bool, halt: &Halt) -> Option<OwnedSemaphorePermit> {
        let wanted = if large { self.in_parts } else { 1 };
        let room = Arc::clone(&self.connections).acquire_many_owned(wanted);
        // The semaphore is never closed.
        halt.unless_stopping(room).await?.ok()
    }
}

/// An object that has ended, by its index in the message.
struct Finished {
    at: usize,
    ended: JobEnd,
    outcome: Option<Outcome>,
}

impl Worker {
    /// Works on all objects of a message; returns how each ended, in the message's order.
    pub(super) async fn work(self: &Arc<Self>, delivery: &Arc<Delivery>) -> Vec<JobEnd> {
        if !self.settings.watched {
            let places = delivery.places();
            let proven = delivery.halt.unless_aborted(self.gates.prove(&places)).await;
            if let Some(Err(error)) = proven {
                self.ended().get_or_insert_with(|| error.another());
                return delivery.jobs.iter().map(|_| JobEnd::Back(error.another())).collect();
            }
        }
        // When the time for this message is used up, the work stops at the next part.
        let time_up = async {
            delivery.turn.over(&self.engine.part_times).await;
            delivery.time_up.store(true, Ordering::Release);
            self.wind_up(delivery).await;
            std::future::pending().await
        };
        tokio::select! {
            ended = Round::new(self, delivery).run() => ended,
            never = time_up => never,
        }
    }

    /// Stops the work on a message whose time is used up, and aborts the rest of it after the grace
    /// time, or when everything is cut. If the message is one object and none of its parts has arrived by then, it gets the
    /// same time again for one of them: otherwise large parts on a slow link would be sent in vain,
    /// turn after turn.
    async fn wind_up(&self, delivery: &Delivery) {
        let Halt { stop, abort, .. } = &delivery.halt;
        stop.cancel();
        let in_parts = delivery.alone() && self.is_large(&delivery.jobs[0]);
        let grace = async {
            if let Some(cut) = delivery.turn.cut() {
                return tokio::time::sleep_until(cut).await;
            }
            tokio::time::sleep(self.settings.grace).await;
            if in_parts && !self.engine.settings.clean_unfinished_upload {
                let a_part = delivery.first_part.cancelled();
                let _ = tokio::time::timeout(self.settings.job_timeout, a_part).await;
            }
        };
        tokio::select! {
            () = grace => abort.cancel(),
            () = abort.cancelled() => {}
        }
    }

    /// Carries out one job, if its places accept objects.
    async fn one(
        self: Arc<Self>,
        at: usize,
        delivery: Arc<Delivery>,
        room: OwnedSemaphorePermit,
    ) -> Finished {
        let (job, start_time) = (&delivery.jobs[at], SystemTime::now());
        let first_part = match delivery.alone() {
            true => delivery.first_part.clone(),
            false => CancellationToken::new(),
        };
        let claim = Claim::new(&self.engine.instance, delivery.delivered(), first_part);
        let probe = match self.gates.admit(job) {
            Err(closed) => return Finished { at, ended: JobEnd::Back(closed), outcome: None },
            Ok(probe) => probe,
        };
        let _held = self.engine.monitor.activity().hold(&job.src, job.size);
        let begun = Instant::now();
        let Report { ended, standing, advanced } = self.tried(job, &claim, &delivery).await;
        let ended = match ended {
            Ok(done) => {
                if !self.is_large(job) {
                    self.engine.part_times.note(begun.elapsed());
                }
                match &done {
                    Done::Copied(copied) => {
                        self.gates.passed(job);
                        self.witnesses.know(job, copied);
                    }
                    // It has not made the call that was refused.
                    Done::Deleted | Done::PassedOver(_) => self.gates.probe_over(job),
                }
                JobEnd::Done(done)
            }
            Err(error) => {
                // While it waits to see what others get, it must not hold the connections that
                // they need.
                drop(room);
                // Parts that the next attempt throws away are no gain.
                let advanced = advanced && !self.engine.settings.clean_unfinished_upload;
                if advanced {
                    delivery.gained.store(true, Ordering::Release);
                }
                let blamed = Box::pin(self.blamed(error, job, probe, &delivery, advanced));
                // To find out whose fault it is takes calls that may never be answered.
                delivery.halt.unless_aborted(blamed).await.unwrap_or_else(|| {
                    self.gates.probe_over(job);
                    self.judge(Error::cancelled(), &delivery, advanced)
                })
            }
        };
        let outcome = self.outcome(job, &ended, &delivery, start_time, standing);
        Finished { at, ended, outcome }
    }

    /// The transfer, tried a second time if the answer explains nothing: a bare 400 may be a
    /// proxy's temporary fault.
    async fn tried(&self, job: &Job, claim: &Claim, delivery: &Delivery) -> Report {
        let first = self.engine.transfer(job, claim, &delivery.halt).await;
        let is_odd = |error: &Error| error.kind() == ErrorKind::Invalid && error.is_bare();
        if !first.ended.as_ref().is_err_and(is_odd) || delivery.halt.is_stopping() {
            return first;
        }
        delivery.halt.unless_stopping(tokio::time::sleep(SECOND_LOOK)).await;
        let mut second = self.engine.transfer(job, claim, &delivery.halt).await;
        // One claim, so that either may have recorded its start.
        second.standing.lease = second.standing.lease.or(first.standing.lease);
        second
    }

    /// What a refusal means for the job, once it is clear whose fault it is.
    async fn blamed(
        &self,
        error: Error,
        job: &Job,
        probe: bool,
        delivery: &Delivery,
        advanced: bool,
    ) -> JobEnd {
        let stopping = || delivery.halt.is_stopping();
        if error.is_of_records() {
            self.gates.probe_over(job);
            let is_passing = error.kind().next() != Next::RecordFailure;
            let error = if is_passing { error } else { error.of_kind(ErrorKind::Unfit) };
            return self.judge(error, delivery, advanced);
        }
        if probe
            && self.gates.is_doubtful(&error)
            && self.is_taken_again(&error, job, &delivery.halt).await == Some(true)
        {
            self.gates.acquit(&error);
        }
        let ruled = match !probe && delivery.alone() && self.is_known(&error, job).await {
            true => Ruled::Own(error),
            false => self.gates.rule(error, job, probe, stopping).await,
        };
        match ruled {
            Ruled::Own(error) => self.own(error, job, delivery, advanced).await,
            Ruled::Back(error) => JobEnd::Back(error),
            Ruled::Alone(error) => match self.is_taken_again(&error, job, &delivery.halt).await {
                Some(true) => {
                    self.gates.acquit(&error);
                    self.own(error, job, delivery, advanced).await
                }
                Some(false) => {
                    self.gates.condemn(&error);
                    JobEnd::Back(error)
                }
                None if self.may_wait_for_others(delivery) => JobEnd::Again(error.context(ALONE)),
                None => self.own(error, job, delivery, advanced).await,
            },
            Ruled::Unfit(error) => {
                self.ended().get_or_insert_with(|| error.another());
                JobEnd::Back(error)
            }
        }
    }

    /// Whether an object that was refused alone goes back to the queue, since others may be tried
    /// before it is received again. Not if somebody watches at a terminal.
    fn may_wait_for_others(&self, delivery: &Delivery) -> bool {
        !self.settings.watched && !self.is_last(delivery) && delivery.receives < ENOUGH_ALONE
    }

    async fn own(&self, error: Error, job: &Job, delivery: &Delivery, advanced: bool) -> JobEnd {
        let error = self.named_odd(error, job).await;
        self.judge(error, delivery, advanced)
    }

    /// Whether the record already has the same refusal from a message of several jobs, in which
    /// others succeeded. It need not be compared again, since there may be no others left.
    async fn is_known(&self, error: &Error, job: &Job) -> bool {
        let Some(evidence) = error.evidence() else { return false };
        let code = if evidence.code.is_empty() { NO_CODE } else { &evidence.code };
        let record = self.engine.state.load(&RecordId::of(&job.src, &job.des)).await.ok().flatten();
        record.is_some_and(|record| {
            let same = |last: &str| {
                !last.starts_with(ALONE) && last.contains(code) && last.contains(&evidence.call)
            };
            record.status == JobStatus::Running && record.last_error.as_deref().is_some_and(same)
        })
    }

    /// Adds to a refusal of this object alone what is odd about it: if a signature fails for one
    /// object only, its key or its headers are the cause.
    async fn named_odd(&self, error: Error, job: &Job) -> Error {
        let is_askers = blame::about(&error) == blame::About::Asker;
        let is_bare = error.is_bare() && error.kind() == ErrorKind::Invalid;
        if !is_askers && !is_bare {
            return error;
        }
        let never = CancellationToken::new();
        let source = Retrying::probing(&*self.engine.source, &never);
        let seen = source.head(&job.src, None).await.ok();
        let headers = seen.as_ref().map(|meta| &meta.headers);
        let error = match error.kind() {
            ErrorKind::Unfit => error.of_kind(ErrorKind::Invalid),
            _ => error,
        };
        let error =
            error.note("the same credentials work for other objects here, so it is this object");
        match blame::oddities(job.des.key.as_str(), headers) {
            odd if odd.is_empty() => error.note("its key and headers show nothing unusual"),
            odd => error.note(odd.join(", ")),
        }
    }

    fn is_large(&self, job: &Job) -> bool {
        job.size > self.engine.largest_single()
    }

    /// Aborts the uploads that these outcomes have made worthless, because they began with another
    /// version of the object. Only the outcomes know of them.
    async fn give_up_dropped(
        &self,
        jobs: &[Job],
        batch: &[Finished],
        answers: &[Recorded],
        held: &CancellationToken,
    ) {
        let recorded = batch.iter().filter(|finished| finished.outcome.is_some());
        for (finished, answer) in recorded.zip(answers) {
            if let Ok(Some(dropped)) = answer {
                self.engine.give_up(&jobs[finished.at].des, dropped, held).await;
            }
        }
    }

    /// Records a batch. Only what is on record counts as done.
    async fn record(
        self: Arc<Self>,
        batch: Vec<Finished>,
        delivery: Arc<Delivery>,
    ) -> Vec<Finished> {
        let outcomes: Vec<Outcome> =
            batch.iter().filter_map(|finished| finished.outcome.clone()).collect();
        let state = Retrying::new(&*self.engine.state, self.settings.max_retry, &delivery.held);
        let answers = record(state, &outcomes).await;
        self.give_up_dropped(&delivery.jobs, &batch, &answers, &delivery.held).await;
        let mut answers = answers.into_iter();
        let recorded = batch.into_iter().map(|mut finished| {
            let outcome = finished.outcome.take();
            let ordered = outcome.as_ref().is_some_and(|outcome| outcome.order.is_some());
            let answer = outcome.as_ref().and_then(|_| answers.next());
            let object = &delivery.jobs[finished.at].src;
            finished.ended = match (answer, finished.ended) {
                // Another attempt owns the record; the object is there and proven all the same.
                (Some(Err(error)), JobEnd::Done(done))
                    if error.kind() == ErrorKind::LeaseLost && !ordered =>
                {
                    info!(%object, "copied, but another attempt keeps the record");
                    return Finished { ended: JobEnd::Done(done), ..finished };
                }
                // The object is there, but not on record: it is sent on together with the stopped
                // ones.
                (Some(Err(error)), _) if error.kind() == ErrorKind::Cancelled => {
                    return Finished { ended: JobEnd::Stopped(error), ..finished };
                }
                (Some(Err(error)), _) => {
                    warn!(%object, "goes back, the outcome could not be recorded: {error}");
                    // If records are refused for good, all work of this worker is worthless.
                    let lost = error.kind() == ErrorKind::LeaseLost;
                    if !lost && error.kind().next() != Next::Retry {
                        self.unfit(error.another());
                    }
                    return Finished { ended: JobEnd::Again(error), ..finished };
                }
                (_, ended) => ended,
            };
            self.tell(&delivery.jobs[finished.at], &delivery, &finished.ended);
            if let (JobEnd::Done(_), Some(outcome)) = (&finished.ended, &outcome) {
                self.tell_object(outcome, delivery.receives);
            }
            finished
        });
        recorded.collect()
    }
}

/// The work on one message: objects in progress, objects that wait to be recorded, and objects that
/// have ended.
struct Round<'a> {
    worker: &'a Arc<Worker>,
    delivery: &'a Arc<Delivery>,
    next: usize,
    running: JoinSet<Finished>,
    waiting: Vec<Finished>,
    /// When the first of `waiting` has waited long enough.
    due: Instant,
    recording: JoinSet<Vec<Finished>>,
    ended: Vec<Option<JobEnd>>,
}

impl<'a> Round<'a> {
    fn new(worker: &'a Arc<Worker>, delivery: &'a Arc<Delivery>) -> Self {
        Self {
            worker,
            delivery,
            next: 0,
            running: JoinSet::new(),
            waiting: Vec::new(),
            due: Instant::now(),
            recording: JoinSet::new(),
            ended: delivery.jobs.iter().map(|_| None).collect(),
        }
    }

    async fn run(mut self) -> Vec<JobEnd> {
        let (jobs, line) = (&self.delivery.jobs, &self.worker.line);
        // Kept from one iteration to the next: otherwise it would lose its place in the queue.
        let mut asking = None;
        loop {
            if asking.is_none()
                && let Some(job) = jobs.get(self.next)
            {
                let large = self.worker.is_large(job);
                asking = Some(Box::pin(line.room(large, &self.delivery.halt)));
            }
            tokio::select! {
                Some(finished) = self.running.join_next() => match finished {
                    Ok(finished) => self.finished(finished),
                    Err(panic) => error!("an object's task failed: {panic}"),
                },
                Some(recorded) = self.recording.join_next() => match recorded {
                    Ok(recorded) => recorded.into_iter().for_each(|one| self.end(one)),
                    Err(panic) => error!("a recording task failed: {panic}"),
                },
                Some(room) = OptionFuture::from(asking.as_mut()) => {
                    asking = None;
                    self.begin(room);
                }
                () = tokio::time::sleep_until(self.due), if !self.waiting.is_empty() => self.record(),
                // No outcome waits for others that may be aborted at any moment.
                () = self.delivery.halt.stop.cancelled(), if !self.waiting.is_empty() => self.record(),
                else => break,
            }
            let all = self.next == jobs.len() && self.running.is_empty();
            if self.waiting.len() >= MAX_WRITTEN || (all && !self.waiting.is_empty()) {
                self.record();
            }
        }
        let lost = || JobEnd::Again(Error::invalid("the task of this object failed"));
        self.ended.into_iter().map(|ended| ended.unwrap_or_else(lost)).collect()
    }

    /// Begins the next object. Without room the work is stopping, and none of the rest begins.
    fn begin(&mut self, room: Option<OwnedSemaphorePermit>) {
        let Some(room) = room else {
            for at in std::mem::replace(&mut self.next, self.ended.len())..self.ended.len() {
                let job = &self.delivery.jobs[at];
                let ended = self.worker.judge(Error::cancelled(), self.delivery, false);
                let now = SystemTime::now();
                let outcome =
                    self.worker.outcome(job, &ended, self.delivery, now, Standing::default());
                self.finished(Finished { at, ended, outcome });
            }
            return;
        };
        let (worker, delivery) = (Arc::clone(self.worker), Arc::clone(self.delivery));
        let one = worker.one(self.next, delivery, room);
        let lines = scope::of_object(&self.delivery.jobs[self.next].src);
        self.running.spawn(one.instrument(lines));
        self.next += 1;
    }

    fn finished(&mut self, finished: Finished) {
        let Some(outcome) = &finished.outcome else {
            self.worker.tell(&self.delivery.jobs[finished.at], self.delivery, &finished.ended);
            return self.end(finished);
        };
        // The end of an object in parts is worth its own request.
        let at_once = outcome.lease.is_some();
        if self.waiting.is_empty() {
            self.due = Instant::now() + LONGEST_WAIT;
        }
        self.waiting.push(finished);
        if at_once {
            self.record();
        }
    }

    fn record(&mut self) {
        let batch = std::mem::take(&mut self.waiting);
        let (worker, delivery) = (Arc::clone(self.worker), Arc::clone(self.delivery));
        self.recording.spawn(worker.record(batch, delivery).in_current_span());
    }

    fn end(&mut self, finished: Finished) {
        self.ended[finished.at] = Some(finished.ended);
    }
}
