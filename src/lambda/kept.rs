//! What a function keeps from one invocation to the next: connections, credentials, and what it has
//! learned.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info};

use super::queue::FunctionQueue;
use crate::config::Config;
use crate::error::Result;
use crate::limits::beat::Member;
use crate::limits::fleet::Fleet;
use crate::monitor::Monitor;
use crate::object::MIB;
use crate::wiring::known_stores::Profiles;
use crate::wiring::{self, Sides, fleets};
use crate::worker::{Worker, WorkerSettings};

/// After a longer standstill everything is opened anew: connections are dead, credentials may be
/// old, and the other members of the fleet are about to add this one's counts to the past, which
/// they do after ten minutes.
const STANDSTILL: Duration = Duration::from_secs(300);

/// A worker with all that it works with.
pub(super) struct Kept {
    pub(super) queue: Arc<FunctionQueue>,
    pub(super) worker: Arc<Worker>,
    pub(super) monitor: Arc<Monitor>,
    pub(super) visibility: Duration,
    fleet: Fleet,
    profiles: Profiles,
    log_interval: Duration,
    /// When the fleet was last looked at, by the clock of the day: no other goes on while the
    /// process is frozen.
    looked: SystemTime,
}

impl Kept {
    /// Opens everything.
    pub(super) async fn open(config: &Config) -> Result<Self> {
        let parameters = wiring::parameters();
        let (queue, state, sides) = tokio::try_join!(
            wiring::sqs_queue(config),
            wiring::state(config),
            Sides::open(config, &parameters, false),
        )?;
        let monitor = Arc::new(Monitor::default());
        let profiles = Profiles::load(config, &sides, &state).await;
        let member = Member::Worker;
        let fleet = fleets::enter(config, &sides, &state, member, Some(&monitor)).await?;
        let engine = wiring::engine(config, sides, state, Arc::clone(&monitor));
        let memory_mib = engine.budget.total() / MIB;
        let parallel = wiring::at_once(config).objects;
        info!(instance = engine.instance, memory_mib, parallel, "worker function ready");
        let events = wiring::event_rules(config, &parameters);
        let settings = WorkerSettings { events, ..wiring::worker_settings(config) };
        let (visibility, log_interval) = (settings.visibility, settings.log_interval);
        let queue = Arc::new(FunctionQueue::new(queue));
        let worker = Worker::new(Arc::clone(&queue) as _, engine, settings);
        let looked = SystemTime::now();
        Ok(Self { queue, worker, monitor, visibility, fleet, profiles, log_interval, looked })
    }

    /// Whether it has stood still for so long that it is better opened anew.
    pub(super) fn is_stale(&self) -> bool {
        self.standstill() > STANDSTILL
    }

    fn standstill(&self) -> Duration {
        // A clock that was set back says nothing: then it is looked at again.
        SystemTime::now().duration_since(self.looked).unwrap_or(STANDSTILL)
    }

    /// The limits and the pause that are in force now.
    pub(super) async fn look(&mut self) {
        self.fleet.look_if_due(self.standstill()).await;
        self.looked = SystemTime::now();
    }

    /// Does `work`, and what goes on alongside: the fleet is looked at, traffic is logged. Both end
    /// with the work, and what was learned is stored.
    pub(super) async fn alongside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let end = CancellationToken::new();
        let traffic = tokio::spawn({
            let (monitor, interval, end) =
                (Arc::clone(&self.monitor), self.log_interval, end.clone());
            async move { monitor.log_traffic_every(interval, end).await }.in_current_span()
        });
        let done = tokio::select! {
            done = work => done,
            never = self.fleet.watch() => match never {},
        };
        self.looked = SystemTime::now();
        self.worker.tell_repeats(Duration::ZERO);
        end.cancel();
        let _ = traffic.await;
        done
    }

    /// Stores what was learned of the stores.
    pub(super) async fn keep_learned(&self) {
        self.profiles.keep().await;
    }
}
