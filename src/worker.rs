//! `worker`: takes messages, carries out their jobs, records outcomes, deletes messages last.
//!
//! This file receives messages and shuts down cleanly; `message` handles one message, `round` works
//! on the objects in it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{Instrument, error, info, warn};

use crate::config::Config;
use crate::error::{Asked, Error, ErrorKind, Next, Result};
use crate::logging::scope;
use crate::monitor::LoopTurn;
use crate::monitor::liveness::Limits;
use crate::mutex::lock;
use crate::params::Pair;
use crate::queue::{MAX_BATCH, Queue};
use crate::shutdown::Halt;
use crate::store::Side;
use crate::transfer::Engine;

pub mod blame;
mod events;
mod gates;
mod job_end;
mod message;
mod recording;
mod repeats;
mod round;
mod settle;
mod turn;
mod witness;

use events::Listener;
pub use events::{RuleBook, Rules};
use gates::{Both, Gates, Rest};
use repeats::Repeats;
use round::WaitingLine;
pub use turn::Turn;
use witness::Witnesses;

/// This many attempts in a row that fail because of this worker, not of the object, end the worker.
const MAX_UNFIT: usize = 3;
/// While the queue does not answer, the log repeats it this often.
const SAID_AGAIN: Duration = Duration::from_secs(60);
/// The grace time of a worker that is stopped while the fleet is paused.
const PAUSED_GRACE: Duration = Duration::from_secs(2);
/// A loop that waits for room runs this often, as a sign of life.
const BEAT: Duration = Duration::from_secs(10);

/// The part of the configuration that a worker uses.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// Messages at once: each one large object, or many small ones.
    pub parallel: usize,
    /// Longest time on one message.
    pub job_timeout: Duration,
    /// How long a received message is hidden.
    pub visibility: Duration,
    /// How long one call waits for messages.
    pub poll: Duration,
    /// How long running parts may take to finish after a stop.
    pub grace: Duration,
    /// Tries for one call.
    pub max_retry: u32,
    /// A message received this often is not given back again: its failure is recorded. The queue's
    /// own limit applies if it is lower.
    pub max_receives: u32,
    /// Every finished object has a line at INFO.
    pub log_objects: bool,
    /// How events are handled.
    pub events: Arc<dyn RuleBook>,
    /// Both sides have just been listed with the same credentials, and somebody watches: a fault
    /// that does not recover by itself ends the work instead of being waited for.
    pub watched: bool,
    /// How often failures with the same reason are counted in the log.
    pub log_interval: Duration,
}

impl WorkerSettings {
    /// Settings for `parallel` objects at once, from a queue on which a call waits for `poll`.
    pub fn new(config: &Config, parallel: usize, poll: Duration, max_receives: u32) -> Self {
        Self {
            parallel,
            job_timeout: config.mode.job_timeout,
            visibility: config.mode.visibility_timeout,
            poll,
            grace: config.mode.grace_time,
            max_retry: config.mode.max_retry,
            max_receives,
            log_objects: config.debug.log_objects,
            events: Arc::new(Rules::without_list(config)),
            watched: false,
            log_interval: config.debug.log_interval,
        }
    }

    /// The longest times that a worker with these settings takes while it is alive.
    pub fn limits(&self) -> Limits {
        Limits { job_timeout: self.job_timeout, grace: self.grace }
    }
}

/// Takes jobs from one queue until it is stopped.
#[derive(Debug)]
pub struct Worker {
    queue: Arc<dyn Queue>,
    engine: Arc<Engine>,
    settings: WorkerSettings,
    line: WaitingLine,
    listener: Listener,
    gates: Gates,
    witnesses: Witnesses,
    repeats: Repeats,
    /// Attempts in a row that failed because of this worker.
    unfit: Mutex<Vec<Error>>,
    /// Larger objects are left to other workers.
    largest: AtomicU64,
    /// Why the queue does not answer.
    outage: Mutex<Option<String>>,
    /// The error which shows for good that this worker is at fault.
    ended: Mutex<Option<Error>>,
}

impl Worker {
    /// A worker on `queue`.
    pub fn new(
        queue: Arc<dyn Queue>,
        engine: Arc<Engine>,
        mut settings: WorkerSettings,
    ) -> Arc<Self> {
        match queue.max_receives() {
            Some(limit) => settings.max_receives = settings.max_receives.min(limit),
            None => warn!(
                "the queue has no dead letter queue: a job that fails for good stays in it and is \
                 tried again and again; give the queue a redrive policy"
            ),
        }
        let line = WaitingLine::new(settings.parallel, engine.settings.max_thread);
        let listener = Listener::new(Arc::clone(&settings.events));
        let source = Arc::clone(&engine.source);
        let both = Both { source, destination: Arc::clone(&engine.destination) };
        let gates = Gates::new(both, settings.parallel);
        let (unfit, outage, ended) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (witnesses, repeats) = (Witnesses::default(), Repeats::default());
        Arc::new(Self {
            queue,
            engine,
            settings,
            line,
            listener,
            gates,
            witnesses,
            repeats,
            unfit,
            largest: AtomicU64::new(u64::MAX),
            outage,
            ended,
        })
    }

    /// What the work waits for, if it is known to wait.
    pub fn waits_for(&self) -> Option<String> {
        let outage = lock(&self.outage).clone();
        outage.map(|why| format!("waiting: {why}")).or_else(|| self.gates.closed_place())
    }

    /// What happens to an object that is not done yet. A `run` has no queue that its user knows.
    fn put_back(&self) -> &'static str {
        if self.settings.watched { "is tried again later" } else { "goes back to the queue" }
    }

    /// Works until `halt` says stop, then lets running parts finish and gives back the rest. Ends
    /// by itself if the queue refuses, or if this worker turns out to be unfit.
    pub async fn run(self: &Arc<Self>, halt: &Halt) -> Result<()> {
        let work = async {
            let mut running = JoinSet::new();
            let ended = self.take_jobs(&mut running, halt).await;
            halt.stop.cancel();
            while let Some(ended) = running.try_join_next() {
                report_panic(ended);
            }
            // If everything is done, there is nothing to stop.
            if !running.is_empty() && (halt.cause().is_some() || ended.is_err()) {
                let rest = match self.settings.watched {
                    true => "is left for the next run",
                    false => "goes back to the queue",
                };
                info!(running = running.len(), "stopping: running parts finish, the rest {rest}");
            }
            while let Some(ended) = running.join_next().await {
                report_panic(ended);
            }
            self.tell_repeats(Duration::ZERO);
            ended
        };
        // The grace time counts from the stop, even if a long poll is running then.
        let grace = async {
            halt.stop.cancelled().await;
            // What had begun before a pause has had its time, and the rest does not begin.
            let most = if self.is_paused() { PAUSED_GRACE } else { self.settings.grace };
            tokio::time::sleep(most.min(self.settings.grace)).await;
            halt.abort.cancel();
            std::future::pending().await
        };
        tokio::select! {
            ended = work => ended,
            never = grace => never,
        }
    }

    async fn take_jobs(self: &Arc<Self>, running: &mut JoinSet<()>, halt: &Halt) -> Result<()> {
        let (mut outage, mut told) = (0, None);
        while !halt.is_stopping() {
            while let Some(ended) = running.try_join_next() {
                report_panic(ended);
            }
            self.check_fitness()?;
            self.tell_repeats(self.settings.log_interval);
            self.engine.monitor.turned(LoopTurn::Rests);
            self.engine.monitor.activity().waits(self.gates.waits());
            if self.is_paused() {
                let resumed = self.engine.source.throttle().resumed();
                let _ = halt.unless_stopping(tokio::time::timeout(BEAT, resumed)).await;
                continue;
            }
            let Some(rest) = halt.unless_stopping(self.gates.rest()).await else { break };
            let most = match rest {
                Rest::Take => MAX_BATCH,
                Rest::TakeOne => 1,
                Rest::Wait(time) => {
                    halt.unless_stopping(tokio::time::sleep(time.min(BEAT))).await;
                    continue;
                }
            };
            let free = self.settings.parallel.saturating_sub(running.len());
            if free == 0 {
                self.engine.monitor.turned(LoopTurn::Full);
                let ended = tokio::time::timeout(BEAT, running.join_next());
                if let Some(Ok(Some(ended))) = halt.unless_stopping(ended).await {
                    report_panic(ended);
                }
                continue;
            }
            self.engine.monitor.turned(if outage > 0 { LoopTurn::Outage } else { LoopTurn::Asks });
            // Raced against neither the stop nor the abort: a dropped receive would strand its
            // messages until their leases end. Messages received after a stop are given back at
            // once.
            let (poll, visibility) = (self.settings.poll, self.settings.visibility);
            let receive = self.queue.receive(free.min(most), poll, visibility);
            match receive.await {
                Ok(messages) => {
                    outage = 0;
                    lock(&self.outage).take();
                    for message in messages {
                        let (worker, halt) = (Arc::clone(self), halt.child());
                        let turn = Turn::of(self.settings.job_timeout);
                        let in_work = self.engine.monitor.begin_message();
                        let lines = scope::of_job(&message.id);
                        let work = async move {
                            worker.handle(message, turn, halt).await;
                            drop(in_work);
                        };
                        running.spawn(work.instrument(lines));
                    }
                }
                Err(error) if error.kind().next() == Next::Retry => {
                    outage += 1;
                    self.engine.monitor.turned(LoopTurn::Outage);
                    self.tell_outage(&error, &mut told);
                    let pause = Duration::from_secs(1 << outage.min(5));
                    halt.unless_stopping(tokio::time::sleep(pause)).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says that the queue does not answer, once a minute.
    fn tell_outage(&self, error: &Error, told: &mut Option<Instant>) {
        *lock(&self.outage) = Some(error.to_string());
        if told.is_some_and(|told| told.elapsed() < SAID_AGAIN) {
            return;
        }
        *told = Some(Instant::now());
        match self.settings.watched {
            true => warn!("waiting: {error}"),
            false => warn!("the queue does not answer, waiting: {error}"),
        }
    }

    /// Returns an error as soon as too many attempts in a row failed because of this worker: more
    /// jobs would only use up their receipts. A supervisor may start a better worker.
    pub fn check_fitness(&self) -> Result<()> {
        if let Some(error) = self.ended().take() {
            return Err(error);
        }
        if let Some(error) = self.gates.hopeless().filter(|_| self.settings.watched) {
            return Err(error);
        }
        let mut unfit = lock(&self.unfit);
        match unfit.len() {
            MAX_UNFIT.. => unfit.pop().map_or(Ok(()), Err),
            _ => Ok(()),
        }
    }

    fn ended(&self) -> MutexGuard<'_, Option<Error>> {
        lock(&self.ended)
    }

    /// Makes a neutral call to each of these places, before any message is taken.
    pub async fn prove(&self, pairs: &[Pair]) -> Result<()> {
        let of_pair = |pair: &Pair| {
            [(Side::Source, &pair.src_bucket), (Side::Destination, &pair.des_bucket)]
                .map(|(side, bucket)| Asked { side: side.name(), bucket: bucket.clone() })
        };
        let places: BTreeSet<Asked> = pairs.iter().flat_map(of_pair).collect();
        self.gates.prove(&places).await?;
        let misplaced = self.gates.misplaced();
        let is_lost = |pair: &Pair| of_pair(pair).iter().any(|place| misplaced.contains_key(place));
        match misplaced.values().next() {
            Some(why) if pairs.iter().all(is_lost) => {
                Err(Error::new(ErrorKind::NotFound, why.as_str()))
            }
            _ => Ok(()),
        }
    }

    /// From now on, larger objects are left to other workers; `None`: none are.
    pub fn leave_above(&self, largest: Option<u64>) {
        self.largest.store(largest.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The longest time on one message.
    pub fn job_timeout(&self) -> Duration {
        self.settings.job_timeout
    }

    /// Nothing new begins: see `crate::limits`.
    pub fn is_paused(&self) -> bool {
        self.engine.source.throttle().is_paused()
    }

    fn fit(&self) {
        lock(&self.unfit).clear();
    }

    fn unfit(&self, error: Error) {
        lock(&self.unfit).push(error);
    }
}

/// Logs that a message's task has panicked.
pub fn report_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(panic) = ended {
        error!("a job's task failed, its message comes back when its lease ends: {panic}");
    }
}
