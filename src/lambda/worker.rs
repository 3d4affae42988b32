//! The worker function: each message of a batch goes the way of any worker's, within the time of
//! the invocation.

use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::event::sqs::SqsBatchResponse;
use futures_util::StreamExt;
use futures_util::stream;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{Instrument, info, warn};

use super::batch::Batch;
use super::clock::Clock;
use super::kept::Kept;
use super::queue::FunctionQueue;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::limits::beat::Member;
use crate::logging::scope;
use crate::object::MIB;
use crate::queue::Message;
use crate::shutdown::Halt;
use crate::wiring;
use crate::worker::{Turn, Worker, WorkerSettings, report_panic};

/// Half of the longest time of an invocation.
const HALF_A_LIFE: Duration = Duration::from_secs(450);
/// Leases that are taken at once.
const LEASES_AT_ONCE: usize = 16;
/// While the fleet is paused, messages rest this long: resuming takes no longer, and as many
/// invocations are paid for.
const PAUSED_REST: Duration = Duration::from_secs(300);

/// The function; one invocation at a time, as Lambda has it.
pub(super) struct WorkerFunction {
    config: Config,
    opened: Mutex<Option<Opened>>,
}

/// A worker with all that it works with.
struct Opened {
    kept: Kept,
    queue: Arc<FunctionQueue>,
    worker: Arc<Worker>,
    visibility: Duration,
    /// Larger objects are left to workers that are no functions.
    largest: Option<u64>,
}

impl Opened {
    async fn new(config: &Config) -> Result<Self> {
        let parameters = wiring::parameters();
        let kept = Kept::open(config, &parameters, Member::Worker);
        let (queue, kept) = tokio::try_join!(wiring::sqs_queue(config), kept)?;
        // What is read a second time leaves half of an invocation for what is new.
        let mut in_time = config.clone();
        in_time.mode.job_timeout = in_time.mode.job_timeout.min(HALF_A_LIFE);
        let (sides, state) = (kept.sides.clone(), Arc::clone(&kept.state));
        let engine = wiring::engine(&in_time, sides, state, Arc::clone(&kept.monitor));
        let memory_mib = engine.budget.total() / MIB;
        let parallel = wiring::at_once(config).objects;
        info!(instance = engine.instance, memory_mib, parallel, "worker function ready");
        let events = wiring::event_rules(config, &parameters);
        let settings = WorkerSettings { events, ..wiring::worker_settings(config) };
        let visibility = settings.visibility;
        let queue = Arc::new(FunctionQueue::new(queue));
        let worker = Worker::new(Arc::clone(&queue) as _, engine, settings);
        let largest = config.mode.lambda_max_bytes;
        Ok(Self { kept, queue, worker, visibility, largest })
    }
}

impl WorkerFunction {
    pub(super) fn new(config: Config) -> Self {
        Self { config, opened: Mutex::default() }
    }

    /// Handles the messages of one event within `left`; names those that are to come again.
    pub(super) async fn invoke(&self, event: Value, left: Duration) -> Result<SqsBatchResponse> {
        let (begun, clock) = (Instant::now(), Clock::of(left));
        let batch = Batch::parse(event)?;
        let config = self.on_the_queue_of(&batch)?;
        let mut place = self.opened.lock().await;
        if place.as_ref().is_none_or(|opened| opened.kept.is_stale()) {
            *place = Some(Opened::new(&config).await?);
        }
        let Some(opened) = place.as_mut() else { return Err(Error::cancelled()) };
        let halt = Halt::new();
        let (cut, answer) = (begun + clock.cut, begun + clock.answer);
        let is_in_time = tokio::time::timeout_at(answer, handled(opened, &batch, cut, &halt)).await;
        if is_in_time.is_err() {
            warn!("messages could not be settled in time: they come again when their leases end");
        }
        let deleted = opened.queue.take_deleted();
        opened.worker.tell_repeats(Duration::ZERO);
        let _ = tokio::time::timeout_at(answer, opened.kept.keep_learned()).await;
        // A worker that is unfit is not kept: the next invocation begins with what is then right.
        if let Err(unfit) = opened.worker.check_fitness() {
            *place = None;
            return Err(unfit);
        }
        Ok(batch.answer(&deleted))
    }

    /// The configuration on the queue from which the event comes. The original's worker function
    /// names no queue; if one is named, it must be this one.
    fn on_the_queue_of(&self, batch: &Batch) -> Result<Config> {
        let (mut config, name) = (self.config.clone(), batch.queue_name());
        let named = config.basic.sqs_queue_name.as_str();
        let is_default = named == Config::default().basic.sqs_queue_name;
        if named.rsplit('/').next() != Some(name) && !is_default {
            return Err(Error::usage(format!(
                "the event comes from the queue {name}, but sqs_queue names {named}"
            )));
        }
        if is_default {
            name.clone_into(&mut config.basic.sqs_queue_name);
        }
        Ok(config)
    }
}

/// Handles all messages at once, within the worker's limits. At `cut`, nothing begins any more.
async fn handled(opened: &mut Opened, batch: &Batch, cut: Instant, halt: &Halt) {
    let Opened { kept, queue, worker, visibility, largest } = opened;
    kept.look().await;
    let (visibility, largest) = (*visibility, *largest);
    let leases = stream::iter(&batch.records).map(|record| queue.lease(record, visibility));
    let messages: Vec<Message> =
        leases.buffer_unordered(LEASES_AT_ONCE).filter_map(std::future::ready).collect().await;
    let paused = kept.is_paused();
    worker.leave_above(largest.filter(|_| kept.has_machines()));
    let monitor = Arc::clone(&kept.monitor);
    let work = async {
        let mut running = JoinSet::new();
        for message in messages {
            let (worker, halt) = (Arc::clone(worker), halt.child());
            let in_work = monitor.begin_message();
            let lines = scope::of_job(&message.id);
            let work = async move {
                match paused {
                    true => worker.put_off_paused(message, PAUSED_REST, halt).await,
                    false => {
                        let turn = Turn::until(worker.job_timeout(), cut);
                        worker.handle(message, turn, halt).await;
                    }
                }
                drop(in_work);
            };
            running.spawn(work.instrument(lines));
        }
        let stop = async {
            tokio::time::sleep_until(cut).await;
            halt.stop_because("the end of the invocation");
            std::future::pending().await
        };
        let all = async {
            while let Some(ended) = running.join_next().await {
                report_panic(ended);
            }
        };
        tokio::select! {
            () = all => {}
            never = stop => never,
        }
    };
    kept.alongside(work).await;
}
