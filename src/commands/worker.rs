//! `worker`: processes jobs until it is stopped.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{Exit, serving, stop_on_signal};
use crate::cli::WorkerArgs;
use crate::config::{Config, QueueBackend};
use crate::ec2::Instance;
use crate::error::{Error, Result};
use crate::limits::beat::Member;
use crate::monitor::Monitor;
use crate::params::{Pair, ParameterStore, load_pairs};
use crate::record::Proofs;
use crate::shutdown::Halt;
use crate::systemd::ServiceReport;
use crate::wiring::known_stores::Profiles;
use crate::wiring::{self, Sides, fleets};
use crate::worker::{Worker, WorkerSettings};

/// If loading the bucket list takes longer, the worker goes on without it.
const LIST_LIMIT: Duration = Duration::from_secs(5);

pub(super) async fn execute(config: &Config, args: &WorkerArgs) -> Result<Exit> {
    let listening = serving::open_metrics(config).await?;
    let parameters = wiring::parameters();
    let queue = wiring::queue(config).await?;
    let state = wiring::state(config).await?;
    let sides = Sides::open(config, &parameters, false).await?;
    let monitor = Arc::new(Monitor::default());
    let fleet = fleets::join(config, &sides, &state, Member::Worker, Some(&monitor)).await?;
    let throttles = [&sides.source, &sides.destination].map(|side| Arc::clone(side.throttle()));
    let profiles = Profiles::load(config, &sides, &state).await;
    let engine = wiring::engine(config, sides, state, Arc::clone(&monitor));
    let memory_mib = engine.budget.total() / crate::object::MIB;
    let parallel = wiring::at_once(config).objects;
    let halt = Halt::new();
    let signals = stop_on_signal(&halt)?;
    info!(instance = engine.instance, memory_mib, parallel, "worker started");
    if args.until_stdin_closes {
        stop_on_closed_stdin(&halt);
    }
    let end = CancellationToken::new();
    let traffic = tokio::spawn({
        let (monitor, interval, end) =
            (Arc::clone(&monitor), config.debug.log_interval, end.clone());
        async move { monitor.log_traffic_every(interval, end).await }
    });
    let learning = tokio::spawn(profiles.keep_until(end.clone()));
    let events = wiring::event_rules(config, &parameters);
    let settings = WorkerSettings { events, ..wiring::worker_settings(config) };
    let telling = ServiceReport::worker(&monitor, settings.limits(), &halt);
    let limits = settings.limits();
    let serving = listening.map(|at| serving::of_worker(at, &monitor, throttles, limits, &halt));
    let attended = Instance::attend(config, &monitor, &halt);
    let worker = Worker::new(queue, engine, settings);
    let proving = async { worker.prove(&known_pairs(config, &*parameters).await).await };
    let ended = match halt.unless_stopping(proving).await {
        Some(Err(error)) => Err(error),
        // If it is stopping, this says so and ends.
        Some(Ok(())) | None => worker.run(&halt).await,
    };
    if let Some(instance) = attended {
        instance.leave().await;
    }
    drop(telling);
    if let Some(serving) = serving {
        serving.end().await;
    }
    fleet.leave().await;
    end.cancel();
    traffic.await.map_err(|join| Error::cancelled().with_source(join))?;
    learning.await.map_err(|join| Error::cancelled().with_source(join))?;
    signals.abort();
    let counts = monitor.counts();
    let Proofs { source, transit, none } = counts.proofs;
    let (done, failed, returned) = (counts.done, counts.failed, counts.returned);
    info!(
        done,
        failed,
        returned,
        proven_by_source = source,
        proven_in_transit = transit,
        not_proven = none,
        "worker stopped"
    );
    ended.map(|()| Exit::Done)
}

/// The pairs whose buckets a worker can probe before it receives a message. It needs no bucket
/// list, and may not be allowed to read it; then it probes the buckets of its first message before
/// it works on that.
async fn known_pairs(config: &Config, parameters: &dyn ParameterStore) -> Vec<Pair> {
    // Without Amazon's queue, there is probably no Parameter Store either.
    let parameters = (config.backend.queue == QueueBackend::Sqs).then_some(parameters);
    let list = load_pairs(config, parameters);
    match tokio::time::timeout(LIST_LIMIT, list).await {
        Ok(Ok(pairs)) => pairs,
        _ => Vec::new(),
    }
}

fn stop_on_closed_stdin(halt: &Halt) {
    let stop = halt.stop.clone();
    // Its own thread, because a blocking read would keep the runtime from ending.
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        stop.cancel();
    });
}
