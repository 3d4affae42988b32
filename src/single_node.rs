//! `run`: jobsender and worker in one process, on the embedded queue and record.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::lock::Lock;
use self::outcome::end_of;
use self::pair_counts::ByPair;
use self::sign::Sign;
use self::state::StateKeeper;
use crate::compare::difference::Difference;
use crate::compare::to_activity::ToActivity;
use crate::compare::{
    Comparison, Finds, ForecastCounts, Outlet, Summary, Tally, Terms, Unmatched, Verdict,
};
use crate::config::Config;
use crate::digest;
use crate::error::{Error, Result};
use crate::failed::{self, FailedObject, Failure};
use crate::job::{Job, PackLimits};
use crate::limits::beat::Member;
use crate::limits::board_of_runs;
use crate::limits::fleet::{Membership, begin_anew};
use crate::monitor::{Counts, Monitor, activity};
use crate::mutex::lock;
use crate::object::ObjectId;
use crate::params::Pair;
use crate::progress::{Phase, Progress, Totals, Watched};
use crate::queue::sqlite::SqliteQueue;
use crate::record::RecordStore;
use crate::record::sqlite::SqliteRecords;
use crate::retry::Retrying;
use crate::shutdown::Halt;
use crate::sqlite::Database;
use crate::store::Listed;
use crate::wiring::known_stores::Profiles;
use crate::wiring::{self, Sides, fleets};
use crate::worker::Worker;

mod lock;
mod outcome;
mod pair_counts;
mod sign;
mod state;

pub use outcome::RunReport;
pub use pair_counts::PairCounts;
pub use state::{RunEnd, RunState, runs};

/// An object that has failed this often counts as a failure of the run; a cluster has a queue that
/// waits.
const MAX_RECEIVES: u32 = 5;
/// A single process cannot hand an object to another. Just below the queue's own limit of 12 hours.
pub const JOB_TIMEOUT: Duration = Duration::from_secs(11 * 60 * 60);
/// How often the queue is checked for being empty.
const TICK: Duration = Duration::from_millis(200);
/// Differences and failures that the summary names; the rest are only counted.
const NAMED: usize = 20;

/// Asks whether a run may copy what its comparison has found.
#[async_trait]
pub trait Consent: Send + Sync {
    /// Where the comparison of a pair begins to add up its costs.
    fn outlook(&self) -> ForecastCounts;

    /// Shows what was found for these pairs, and asks.
    async fn ask(&self, pairs: &[Pair], found: Vec<(Summary, ForecastCounts)>) -> Result<bool>;
}

/// What the first comparison of a run found.
struct Found {
    summary: Summary,
    unmatched: Vec<Unmatched>,
    /// Whether it may be copied.
    consented: bool,
}

impl Found {
    /// Of a comparison that has not come to its end.
    fn so_far(tally: &Tally) -> Self {
        Self { summary: tally.summary(), unmatched: Vec::new(), consented: true }
    }
}

/// What the progress of a run is made of.
struct Watch {
    monitor: Arc<Monitor>,
    worker: Arc<Worker>,
}

impl Watched for Watch {
    fn counts(&self) -> Counts {
        self.monitor.counts()
    }

    fn waits_for(&self) -> Option<String> {
        self.worker.waits_for()
    }
}

/// Receives every object that failed.
pub type Each<'a> = &'a mut (dyn FnMut(&Failure) -> Result<()> + Send);

/// A migration by this process alone.
pub struct Run {
    terms: Terms,
    packs: PackLimits,
    worker: Arc<Worker>,
    queue: Arc<SqliteQueue>,
    monitor: Arc<Monitor>,
    state: Arc<SqliteRecords>,
    totals: Arc<Totals>,
    pairs: Vec<Pair>,
    finds: Vec<Arc<dyn Finds>>,
    halt: Halt,
    profiles: Profiles,
    name: String,
    by_pair: Arc<ByPair>,
    sign: Option<Sign>,
    fleet: Option<Membership>,
    _lock: Lock,
}

impl Run {
    /// Opens the embedded queue and state for what differs by these `terms`; `finds` receive it. Jobs
    /// that an earlier run left are dropped, since the comparison finds them again; parts and
    /// records stay, so the work continues.
    pub async fn open(
        config: &Config,
        sides: Sides,
        terms: Terms,
        pairs: Vec<Pair>,
        mut finds: Vec<Arc<dyn Finds>>,
        halt: Halt,
    ) -> Result<Self> {
        let name = queue_name(config, &pairs);
        let database = Database::open(&config.backend.path).await?;
        let lock = Lock::take(&config.backend.path, &name)?;
        let sign = Sign::leave(&name, &config.backend.path)?;
        let receives = config.backend.max_receive_count;
        let queue = Arc::new(SqliteQueue::open(&database, &name, receives).await?);
        queue.clear().await?;
        let monitor = Arc::new(Monitor::default());
        let state = Arc::new(SqliteRecords::new(&database));
        let records: Arc<dyn RecordStore> = Arc::<SqliteRecords>::clone(&state);
        begin_anew(&*records, &board_of_runs()).await?;
        let fleet = fleets::join(config, &sides, &records, Member::Run, Some(&monitor)).await?;
        let profiles = Profiles::load(config, &sides, &records).await;
        let terms = match config.mode.jobsender_compare_version_id {
            true => Terms { versions: Some(records), ..terms },
            false => terms,
        };
        let records = Arc::<SqliteRecords>::clone(&state);
        let engine = wiring::engine(config, sides, records, Arc::clone(&monitor));
        let mut settings = wiring::worker_settings(config);
        settings.poll = TICK;
        settings.max_receives = MAX_RECEIVES;
        settings.job_timeout = JOB_TIMEOUT;
        settings.watched = true;
        let worker = Worker::new(Arc::<SqliteQueue>::clone(&queue), engine, settings);
        let totals = Arc::new(Totals::default());
        let by_pair = Arc::new(ByPair::new(&pairs));
        monitor.report_to(Arc::<ByPair>::clone(&by_pair));
        finds.push(Arc::<Totals>::clone(&totals));
        finds.push(Arc::<ByPair>::clone(&by_pair));
        finds.push(Arc::new(ToActivity(Arc::clone(monitor.activity()))));
        Ok(Self {
            terms,
            packs: wiring::packs(config),
            worker,
            queue,
            monitor,
            state,
            totals,
            pairs,
            finds,
            halt,
            profiles,
            name,
            by_pair,
            sign,
            fleet: Some(fleet),
            _lock: lock,
        })
    }

    /// What it counts.
    pub fn monitor(&self) -> &Arc<Monitor> {
        &self.monitor
    }

    /// Compares, copies, compares again; calls `each` with every object that failed. With a
    /// `consent`, everything is compared before anything is copied, and nothing is copied without
    /// it.
    pub async fn execute(
        mut self,
        consent: Option<&dyn Consent>,
        each: Each<'_>,
    ) -> Result<RunReport> {
        let began = Instant::now();
        if consent.is_some() {
            self.totals.enter(Phase::Listing);
        }
        let watched =
            Watch { monitor: Arc::clone(&self.monitor), worker: Arc::clone(&self.worker) };
        let progress = Progress::start(Arc::clone(&self.totals), watched);
        let (state, view) = (Arc::clone(&self.state), progress.view());
        let keeper = StateKeeper::start(state, &self.name, Arc::clone(&self.by_pair), view).await;
        let mut ended = self.work(consent, each, &progress).await;
        progress.finish();
        if let Ok(report) = &mut ended {
            report.seconds = began.elapsed().as_secs_f64();
        }
        keeper.end(end_of(&ended)).await;
        if let Some(fleet) = self.fleet.take() {
            fleet.leave().await;
        }
        let is_complete = ended.as_ref().is_ok_and(RunReport::is_complete);
        if let Some(sign) = self.sign.take().filter(|_| is_complete) {
            sign.remove();
        }
        ended
    }

    async fn work(
        &self,
        consent: Option<&dyn Consent>,
        each: Each<'_>,
        progress: &Progress,
    ) -> Result<RunReport> {
        let worker_halt = self.halt.child();
        // Without a question the worker copies while it is compared.
        let go = CancellationToken::new();
        if consent.is_none() {
            go.cancel();
        }
        let worker = {
            let (worker, halt, go) = (Arc::clone(&self.worker), worker_halt.clone(), go.clone());
            tokio::spawn(async move {
                match halt.unless_stopping(go.cancelled()).await {
                    Some(()) => worker.run(&halt).await,
                    None => Ok(()),
                }
            })
        };
        let so_far = Arc::new(Tally::default());
        let copied = async {
            let found = self.compare(&worker_halt, &so_far, consent, progress).await?;
            if found.consented {
                go.cancel();
                self.totals.enter(Phase::Copying);
                self.wait_until_empty(&worker_halt).await?;
            }
            Ok::<_, Error>(found)
        };
        let copied = copied.await;
        worker_halt.stop.cancel();
        let worked = worker.await.map_err(|join| Error::cancelled().with_source(join))?;
        self.profiles.keep().await;
        let interrupted = self.halt.is_stopping();
        let ended_by = worked.err().inspect(crate::logging::ended_by);
        let found = match copied {
            Err(error) if !interrupted && ended_by.is_none() => return Err(error),
            copied => copied.unwrap_or_else(|_| Found::so_far(&so_far)),
        };
        if !found.consented {
            self.queue.clear().await?;
        }
        let Counts { done, done_bytes, proofs, uploaded, deleted, .. } = self.monitor.counts();
        let mut report = RunReport {
            compared: found.summary,
            copied: done,
            copied_bytes: done_bytes,
            proofs,
            deleted,
            uploaded_bytes: uploaded,
            unmatched: found.unmatched,
            declined: !found.consented,
            interrupted,
            ended_by: ended_by.map(|error| error.to_string()),
            ..RunReport::default()
        };
        self.add_failures(&mut report, each).await?;
        if !interrupted && !report.declined && report.ended_by.is_none() {
            self.close(&mut report).await?;
            self.profiles.keep().await;
        }
        report.losses = self.profiles.losses();
        Ok(report)
    }

    /// Compares all pairs, sends what differs, and asks for the consent that is needed.
    async fn compare(
        &self,
        worker: &Halt,
        so_far: &Arc<Tally>,
        consent: Option<&dyn Consent>,
        progress: &Progress,
    ) -> Result<Found> {
        let queue = Arc::<SqliteQueue>::clone(&self.queue);
        self.monitor.activity().begin(activity::Phase::Comparing);
        let outlet = Outlet { queue, packs: self.packs, sent: None, resend: false };
        // If the worker ends with an error, further listing is pointless.
        let comparison = Comparison::sending(self.terms.clone(), outlet, worker.stop.clone());
        let mut summary = Summary::default();
        let (mut of_pairs, mut forecasts) = (Vec::with_capacity(self.pairs.len()), Vec::new());
        let mut finds = self.finds.clone();
        finds.push(Arc::<Tally>::clone(so_far));
        for pair in &self.pairs {
            match consent {
                None => of_pairs.push(comparison.compare(pair, &finds).await?),
                Some(consent) => {
                    let forecast = comparison.forecast(pair, &finds, consent.outlook()).await?;
                    of_pairs.push(forecast.0);
                    forecasts.push(forecast.1);
                }
            }
        }
        comparison.send_deletions(of_pairs.iter_mut().collect()).await;
        let of_all: Vec<&Summary> = of_pairs.iter().collect();
        let unmatched = self.terms.unmatched(&self.pairs, &of_all, &worker.stop).await;
        unmatched.iter().for_each(|one| warn!("{one}"));
        of_pairs.iter().for_each(|of_pair| summary.add(of_pair));
        self.monitor.activity().listed_all();
        self.monitor.activity().begin(activity::Phase::Copying);
        info!(listed = summary.listed, to_copy = summary.to_copy, "compared");
        let consented = match consent {
            Some(consent) if summary.sent + summary.deletions_sent > 0 => {
                progress.pause();
                let found = of_pairs.into_iter().zip(forecasts).collect();
                let asked = worker.unless_stopping(consent.ask(&self.pairs, found)).await;
                progress.go_on();
                asked.transpose()?.unwrap_or(false)
            }
            _ => true,
        };
        Ok(Found { summary, unmatched, consented })
    }

    /// Waits until everything is copied, or the run is stopped.
    async fn wait_until_empty(&self, worker: &Halt) -> Result<()> {
        let queue = Retrying::new(&*self.queue, self.terms.max_retry, &worker.stop);
        while !worker.is_stopping() {
            match queue.control(|| queue.inner.is_empty()).await {
                Ok(true) => break,
                Ok(false) => drop(worker.unless_stopping(tokio::time::sleep(TICK)).await),
                Err(_) if worker.is_stopping() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn add_failures(&self, report: &mut RunReport, each: Each<'_>) -> Result<()> {
        let named = &mut report.failed;
        let groups = failed::of_queue(&*self.queue, |failure| {
            if named.len() < NAMED {
                named.push(FailedObject::of(failure));
            }
            each(failure)
        })
        .await?;
        (report.failed_count, ..) = groups.totals();
        report.failed_left_out = report.failed_count - report.failed.len() as u64;
        report.failed_reasons = groups.counts();
        Ok(())
    }

    /// The closing comparison: both sides are listed again, nothing is sent.
    async fn close(&self, report: &mut RunReport) -> Result<()> {
        let records = Arc::<SqliteRecords>::clone(&self.state);
        let comparison = Comparison::closing(self.terms.clone(), records, self.halt.stop.clone());
        let differing = Arc::new(Differing::default());
        self.monitor.activity().begin(activity::Phase::Closing);
        let watched = Arc::new(ToActivity(Arc::clone(self.monitor.activity())));
        let finds: [Arc<dyn Finds>; 3] =
            [Arc::<Differing>::clone(&differing), Arc::<Totals>::clone(&self.totals), watched];
        self.totals.enter(Phase::Closing);
        let mut closing = Summary::default();
        for pair in &self.pairs {
            closing.add(&comparison.compare(pair, &finds).await?);
        }
        let differ = comparison.doubts().await;
        closing.differ_after_all(differ.len() as u64);
        differing.add(&differ);
        if closing.to_copy > 0 {
            warn!(objects = closing.to_copy, "the closing comparison finds differences");
        }
        report.caveat = closing.caveat();
        report.closing = Some(closing);
        let Named { named, left_out } = std::mem::take(&mut *differing.named());
        (report.differing, report.differing_left_out) = (named, left_out);
        Ok(())
    }
}

/// The keys that differ.
#[derive(Default)]
struct Differing(Mutex<Named>);

/// The first of them, and how many more there are.
#[derive(Default)]
struct Named {
    named: Vec<String>,
    left_out: u64,
}

impl Named {
    fn add(&mut self, name: impl FnOnce() -> String) {
        match self.named.len() < NAMED {
            true => self.named.push(name()),
            false => self.left_out += 1,
        }
    }
}

impl Differing {
    fn named(&self) -> MutexGuard<'_, Named> {
        lock(&self.0)
    }

    /// Adds objects whose ETags differ from the source's.
    fn add(&self, objects: &[ObjectId]) {
        let mut named = self.named();
        let why = Verdict::Copy(Difference::EtagDiffers);
        objects.iter().for_each(|object| named.add(|| format!("{object} ({why})")));
    }
}

impl Finds for Differing {
    fn found(&self, job: &Job, _: Listed<'_>, verdict: &Verdict<'_>) {
        let there = matches!(verdict, Verdict::AlreadyThere | Verdict::Ignored(_));
        if !there {
            self.named().add(|| format!("{} ({verdict})", job.src.exact()));
        }
    }
}

/// One queue per migration: another pair or endpoint on the same file has a different one.
fn queue_name(config: &Config, pairs: &[Pair]) -> String {
    let urls = [&config.source.endpoint.url, &config.destination.endpoint.url];
    let urls = urls.into_iter().map(|url| url.as_deref().unwrap_or_default());
    let namings: Vec<_> = pairs.iter().map(Pair::naming).collect();
    let pairs = pairs.iter().zip(&namings).flat_map(|(pair, naming)| {
        [&*pair.src_bucket, &*pair.src_prefix, &*pair.des_bucket, naming]
    });
    format!("run-{:016x}", digest::lasting_id(urls.chain(pairs)))
}
