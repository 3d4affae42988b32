//! What a function keeps from one invocation to the next: connections, credentials, and what it has
//! learned.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::config::Config;
use crate::error::Result;
use crate::limits::beat::Member;
use crate::limits::fleet::Fleet;
use crate::monitor::Monitor;
use crate::params::ParameterStore;
use crate::record::RecordStore;
use crate::wiring::known_stores::Profiles;
use crate::wiring::{self, Sides, fleets};

/// After a longer standstill everything is opened anew: connections are dead, credentials may be
/// old, and the other members of the fleet are about to add this one's counts to the past, which
/// they do after ten minutes.
const STANDSTILL: Duration = Duration::from_secs(300);

/// What both functions work with.
pub(super) struct Kept {
    pub(super) sides: Sides,
    pub(super) state: Arc<dyn RecordStore>,
    pub(super) monitor: Arc<Monitor>,
    fleet: Fleet,
    profiles: Profiles,
    log_interval: Duration,
    /// When the last work ended, by the clock of the day: no other goes on while the process is
    /// frozen.
    ended: SystemTime,
}

impl Kept {
    /// Opens everything, and joins the fleet as `member`.
    pub(super) async fn open(
        config: &Config,
        parameters: &Arc<dyn ParameterStore>,
        member: Member,
    ) -> Result<Self> {
        let sides = Sides::open(config, parameters, false);
        let (state, sides) = tokio::try_join!(wiring::state(config), sides)?;
        let monitor = Arc::new(Monitor::default());
        let profiles = Profiles::load(config, &sides, &state).await;
        let fleet = fleets::enter(config, &sides, &state, member, Some(&monitor)).await?;
        let (log_interval, ended) = (config.debug.log_interval, SystemTime::now());
        Ok(Self { sides, state, monitor, fleet, profiles, log_interval, ended })
    }

    /// Whether it has stood still for so long that it is better opened anew.
    pub(super) fn is_stale(&self) -> bool {
        // A clock that was set back says nothing.
        let standstill = SystemTime::now().duration_since(self.ended).unwrap_or_default();
        standstill > STANDSTILL
    }

    /// Learns of the limits and the pause that are in force now.
    pub(super) async fn look(&mut self) {
        self.fleet.look_if_due().await;
    }

    /// Whether the fleet is paused.
    pub(super) fn is_paused(&self) -> bool {
        self.sides.source.throttle().is_paused()
    }

    /// Whether a worker lives that is no function.
    pub(super) fn has_machines(&self) -> bool {
        self.fleet.has_machines()
    }

    /// Does `work`, and what goes on alongside: the fleet is looked at, traffic is logged. Both end
    /// with the work.
    pub(super) async fn alongside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let end = CancellationToken::new();
        let traffic = tokio::spawn({
            let (monitor, interval, end) =
                (Arc::clone(&self.monitor), self.log_interval, end.clone());
            async move { monitor.log_traffic_every(interval, end).await }.in_current_span()
        });
        // If this is dropped, the task ends too.
        let ending = end.drop_guard();
        let done = tokio::select! {
            done = work => done,
            never = self.fleet.watch() => match never {},
        };
        self.ended = SystemTime::now();
        drop(ending);
        let _ = traffic.await;
        done
    }

    /// Stores what was learned of the stores.
    pub(super) async fn keep_learned(&self) {
        self.profiles.keep().await;
    }
}
