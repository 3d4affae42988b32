//! What `--serve` and `MetricsAddress` show: the fleets and the failures of this configuration.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::backends::Backends;
use super::limit::Place;
use super::watch::overviews;
use crate::cli::ServeArgs;
use crate::config::{Config, QueueBackend, StateBackend};
use crate::error::{Error, ErrorKind, Result};
use crate::failed::{AskedFailures, FailurePage, Failures, ReasonCount, Wanted};
use crate::limits::beat::Member;
use crate::limits::{board_of_queue, board_of_runs};
use crate::monitor::Monitor;
use crate::monitor::liveness::Limits;
use crate::mutex::lock;
use crate::overview::Overview;
use crate::retry::Policy;
use crate::serve::metrics::{Process, ProcessSlot};
use crate::serve::{Door, Health, Listening, Serving, Shown, Source};
use crate::shutdown::Halt;
use crate::single_node::Run;
use crate::store::pace::throttle::Throttle;
use crate::wiring::{self, Sides};

/// Between two looks at a file of this machine, and at a table.
const NEAR: Duration = Duration::from_secs(1);
const FAR: Duration = Duration::from_secs(2);
/// Between two searches for fleets that have joined.
const FIND: Duration = Duration::from_secs(30);
/// How often a call to the queue or the table is tried.
const TRIES: u32 = 3;

/// Takes the address of `--serve`, if it is given.
pub(super) async fn open(config: &Config, args: &ServeArgs) -> Result<Option<Listening>> {
    match args.serve {
        Some(address) => {
            let door = Door::new(address, config.basic.serve_token_file.as_deref())?;
            door.open().await.map(Some)
        }
        None => Ok(None),
    }
}

/// A dry run is over before anybody has looked at it.
pub(super) fn refuse_dry_run(dry_run: bool, args: &ServeArgs) -> Result<()> {
    match dry_run && args.serve.is_some() {
        true => Err(Error::usage("--serve shows objects being moved, and --dry-run moves none")),
        false => Ok(()),
    }
}

/// Takes the address at which a worker serves its metrics, if there is one.
pub(super) async fn open_metrics(config: &Config) -> Result<Option<Listening>> {
    open(config, &ServeArgs { serve: config.basic.metrics_address, serve_token_file: None }).await
}

/// The page of a run.
pub(super) async fn of_run(
    config: &Config,
    listening: Listening,
    run: &Run,
    throttles: [Arc<Throttle>; 2],
) -> Result<Serving> {
    let mut config = config.clone();
    (config.backend.queue, config.backend.state) = (QueueBackend::Embedded, StateBackend::Embedded);
    let place = Place {
        state: wiring::state(&config).await?,
        key: board_of_runs(),
        name: format!("the runs on {}", config.backend.path.display()),
    };
    let process = ProcessSlot::default();
    let monitor = Arc::clone(run.monitor());
    let counts = Process { kind: Member::Run, began: SystemTime::now(), monitor, throttles };
    *lock(&process) = Some(counts);
    let source = FromRecords::new(config, vec![place]);
    let shown = Shown { process, source: Some(Arc::new(source)), health: healthy(None) };
    Ok(listening.serve(shown))
}

/// The page of a jobsender, if one is asked for.
pub(super) async fn of_jobsender(
    config: &Config,
    args: &ServeArgs,
    process: &ProcessSlot,
    halt: &Halt,
) -> Result<Option<Serving>> {
    let Some(listening) = open(config, args).await? else { return Ok(None) };
    let (queue, table) = (&config.basic.sqs_queue_name, &config.basic.table_queue_name);
    let place = Place {
        state: wiring::state(config).await?,
        key: board_of_queue(queue),
        name: match config.backend.state {
            StateBackend::Embedded => format!("the workers on {}", config.backend.path.display()),
            StateBackend::DynamoDb => format!("the fleet of queue {queue}, table {table}"),
        },
    };
    let source: Arc<dyn Source> = Arc::new(FromRecords::new(config.clone(), vec![place]));
    let health = healthy(Some(halt.clone()));
    let shown = Shown { process: Arc::clone(process), source: Some(source), health };
    Ok(Some(listening.serve(shown)))
}

/// From now on, this is what the process counts.
pub(super) fn count(slot: &ProcessSlot, kind: Member, monitor: &Arc<Monitor>, sides: &Sides) {
    let throttles = [&sides.source, &sides.destination].map(|side| Arc::clone(side.throttle()));
    let (began, monitor) = (SystemTime::now(), Arc::clone(monitor));
    *lock(slot) = Some(Process { kind, began, monitor, throttles });
}

/// The page of the fleets that the configuration means, until it is stopped.
pub(super) async fn of_status(config: &Config, args: &ServeArgs, halt: &Halt) -> Result<()> {
    let Some(listening) = open(config, args).await? else { return Ok(()) };
    let source: Arc<dyn Source> = Arc::new(FromRecords::new(config.clone(), Vec::new()));
    let health = healthy(Some(halt.clone()));
    let shown = Shown { process: ProcessSlot::default(), source: Some(source), health };
    let serving = listening.serve(shown);
    halt.stop.cancelled().await;
    serving.end().await;
    Ok(())
}

/// The metrics of a worker.
pub(super) fn of_worker(
    listening: Listening,
    monitor: &Arc<Monitor>,
    throttles: [Arc<Throttle>; 2],
    limits: Limits,
    halt: &Halt,
) -> Serving {
    let counts = Process {
        kind: Member::Worker,
        began: SystemTime::now(),
        monitor: Arc::clone(monitor),
        throttles,
    };
    let (seen, own, halt) = (Arc::clone(monitor), Arc::clone(monitor), halt.clone());
    let health = Health {
        // A worker that drains is watched by those who wait for it.
        hangs: Box::new(move || limits.hung(seen.signs(), None).map(|hung| hung.to_string())),
        idle: Box::new(move || match halt.is_stopping() {
            true => Some("stopping".to_owned()),
            false if own.signs().since_turn.is_none() => Some("starting".to_owned()),
            false => None,
        }),
    };
    let process = Arc::new(std::sync::Mutex::new(Some(counts)));
    listening.serve(Shown { process, source: None, health })
}

/// A process that answers is alive.
fn healthy(halt: Option<Halt>) -> Health {
    let is_stopping = move || halt.as_ref().is_some_and(Halt::is_stopping);
    Health {
        hangs: Box::new(|| None),
        idle: Box::new(move || is_stopping().then(|| "stopping".to_owned())),
    }
}

/// The numbers of the page, from boards and records.
struct FromRecords {
    config: Config,
    /// Those that were given, or that were found at this time.
    places: Mutex<(Vec<Place>, Option<Instant>)>,
    finds: bool,
    backends: Mutex<Option<Arc<Failures>>>,
}

impl FromRecords {
    /// Of these places; without any, of those that the configuration means, as they come.
    fn new(config: Config, places: Vec<Place>) -> Self {
        let finds = places.is_empty();
        Self { config, places: Mutex::new((places, None)), finds, backends: Mutex::default() }
    }

    /// Where failures are; `None`: nothing has been recorded yet.
    async fn failures(&self) -> Result<Option<Arc<Failures>>> {
        let mut opened = self.backends.lock().await;
        if opened.is_none() {
            let Some(Backends { records, queues, of_run, .. }) =
                Backends::open(&self.config).await?
            else {
                return Ok(None);
            };
            // Reading Amazon's dead letters hides them from `failed`, so a page leaves them alone.
            let is_here = of_run || self.config.backend.queue == QueueBackend::Embedded;
            *opened = Some(Arc::new(Failures {
                records,
                queues: if is_here { queues } else { Vec::new() },
                takes: None,
                policy: Policy::control(TRIES),
                stop: CancellationToken::new(),
            }));
        }
        Ok(opened.clone())
    }
}

#[async_trait]
impl Source for FromRecords {
    fn every(&self) -> Duration {
        match self.config.backend.state {
            StateBackend::Embedded => NEAR,
            StateBackend::DynamoDb if self.config.file.is_none() => NEAR,
            StateBackend::DynamoDb => FAR,
        }
    }

    async fn overviews(&self) -> Result<Vec<Overview>> {
        let mut places = self.places.lock().await;
        let (known, found) = &mut *places;
        let is_old = found.is_none_or(|at| known.is_empty() || at.elapsed() >= FIND);
        if self.finds && is_old {
            match Place::find(&self.config).await {
                Ok(places) => (*known, *found) = (places, Some(Instant::now())),
                // Nobody has begun yet.
                Err(error) if error.kind() == ErrorKind::Usage => return Ok(Vec::new()),
                Err(error) => return Err(error),
            }
        }
        overviews(&self.config, known).await
    }

    async fn failures(&self, asked: &AskedFailures) -> Result<FailurePage> {
        match FromRecords::failures(self).await? {
            Some(failures) => failures.page(asked).await,
            None => Ok(FailurePage::default()),
        }
    }

    async fn reasons(&self) -> Result<Vec<ReasonCount>> {
        match FromRecords::failures(self).await? {
            Some(failures) => {
                let found = failures.look(&Wanted::default(), |_| Ok(())).await?;
                Ok(found.groups.counts())
            }
            None => Ok(Vec::new()),
        }
    }
}
