//! `worker`: takes jobs until it is stopped.

use std::io;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{Exit, stop_on_signal};
use crate::cli::WorkerArgs;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::instance::Instance;
use crate::monitor::Monitor;
use crate::profiles::Profiles;
use crate::services::{self, Sides};
use crate::shutdown::Halt;
use crate::systemd::Telling;
use crate::worker::{Settings, Worker};

pub(super) async fn execute(config: &Config, args: &WorkerArgs) -> Result<Exit> {
    let parameters = services::parameters();
    let queue = services::queue(config).await?;
    let state = services::state(config).await?;
    let sides = Sides::open(config, &parameters, false).await?;
    let monitor = Arc::new(Monitor::default());
    let profiles = Profiles::load(config, &sides, &state).await;
    let engine = services::engine(config, sides, state, Arc::clone(&monitor));
    let memory_mib = engine.budget.total() / crate::object::MIB;
    let parallel = services::at_once(config).objects;
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
    let events = services::event_rules(config, &parameters);
    let settings = Settings { events, ..services::worker_settings(config) };
    let telling = Telling::worker(&monitor, settings.limits(), &halt);
    let attended = Instance::attend(config, &monitor, &halt);
    let ended = Worker::new(queue, engine, settings).run(&halt).await;
    if let Some(instance) = attended {
        instance.leave().await;
    }
    drop(telling);
    end.cancel();
    traffic.await.map_err(|join| Error::cancelled().with_source(join))?;
    learning.await.map_err(|join| Error::cancelled().with_source(join))?;
    signals.abort();
    let counts = monitor.counts();
    info!(done = counts.done, failed = counts.failed, returned = counts.returned, "worker stopped");
    ended.map(|()| Exit::Done)
}

fn stop_on_closed_stdin(halt: &Halt) {
    let stop = halt.stop.clone();
    // A thread of its own: a blocking read would keep the runtime from ending.
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        stop.cancel();
    });
}
