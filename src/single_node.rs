//! `run`: jobsender and worker in one process, on the embedded queue and record.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde::Serialize;
use tracing::{info, warn};

use self::lock::Lock;
use crate::compare::difference::Difference;
use crate::compare::{Comparison, Finds, Outlet, Summary, Tally, Terms, Unmatched, Verdict};
use crate::config::Config;
use crate::digest;
use crate::error::{Error, Result};
use crate::job::{Job, PackLimits};
use crate::monitor::{Counts, Monitor};
use crate::mutex::lock;
use crate::object::ObjectId;
use crate::params::Pair;
use crate::progress::{Progress, Totals};
use crate::queue::Queue;
use crate::queue::sqlite::SqliteQueue;
use crate::record::sqlite::SqliteRecords;
use crate::record::{Proofs, RecordStore};
use crate::retry::Retrying;
use crate::shutdown::Halt;
use crate::sqlite::Database;
use crate::store::Listed;
use crate::wiring::known_stores::{MetadataLoss, Profiles};
use crate::wiring::{self, Sides};
use crate::worker::Worker;

mod lock;

/// An object that has failed this often counts as a failure of the run; a cluster has a queue that
/// waits.
const MAX_RECEIVES: u32 = 5;
/// A single process cannot hand an object to another. Just below the queue's own limit of 12 hours.
const JOB_TIMEOUT: Duration = Duration::from_secs(11 * 60 * 60);
/// How often the queue is checked for being empty.
const TICK: Duration = Duration::from_millis(200);
/// Differences and failures that the summary names; the rest are only counted.
const NAMED: usize = 20;

/// How a run ended.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RunReport {
    /// What the comparison at the start found.
    pub compared: Summary,
    /// Objects copied by this run.
    pub copied: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// What proves those copies.
    pub proofs: Proofs,
    /// Objects deleted at the destination by this run.
    pub deleted: u64,
    /// Bytes that the destination accepted, including parts that were sent again.
    pub uploaded_bytes: u64,
    /// Objects that failed, with their last error; at most twenty are named.
    pub failed: Vec<FailedObject>,
    /// Total number of failures.
    pub failed_count: u64,
    /// What the closing comparison found.
    pub closing: Option<Summary>,
    /// A note to the closing comparison's numbers, if those cannot include everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caveat: Option<&'static str>,
    /// Keys that the closing comparison found to differ; at most twenty are named.
    pub differing: Vec<String>,
    /// What copies are known to lack of what their sources have, other than bytes; found by
    /// comparing a sample of them.
    pub losses: Vec<MetadataLoss>,
    /// What was named and matches nothing: a source that lists no object, a pattern.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unmatched: Vec<Unmatched>,
    /// A signal stopped the run before it was finished.
    pub interrupted: bool,
    /// Why the work ended before it was finished, if no object was the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
    /// The report that was written, if one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<serde_json::Value>,
    /// Seconds from start to end.
    pub seconds: f64,
}

/// One object that did not arrive.
#[derive(Clone, Debug, Serialize)]
pub struct FailedObject {
    /// `bucket/key` at the source.
    pub object: String,
    /// The last error.
    pub error: String,
}

impl RunReport {
    /// Everything that was listed and not ignored is at the destination.
    pub fn is_complete(&self) -> bool {
        let whole = self.closing.as_ref().is_some_and(|c| c.to_copy == 0 && c.is_whole());
        let whole = whole && self.compared.deletions_refused.is_none();
        !self.interrupted && self.ended_by.is_none() && self.failed_count == 0 && whole
    }
}

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
        let receives = config.backend.max_receive_count;
        let queue = Arc::new(SqliteQueue::open(&database, &name, receives).await?);
        queue.clear().await?;
        let monitor = Arc::new(Monitor::default());
        let state = Arc::new(SqliteRecords::new(&database));
        let records: Arc<dyn RecordStore> = Arc::<SqliteRecords>::clone(&state);
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
        finds.push(Arc::<Totals>::clone(&totals));
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
            _lock: lock,
        })
    }

    /// Compares, copies, compares again.
    pub async fn execute(self) -> Result<RunReport> {
        let began = Instant::now();
        let progress = Progress::start(Arc::clone(&self.totals), {
            let monitor = Arc::clone(&self.monitor);
            move || monitor.counts()
        });
        let worker_halt = self.halt.child();
        let worker = {
            let (worker, halt) = (Arc::clone(&self.worker), worker_halt.clone());
            tokio::spawn(async move { worker.run(&halt).await })
        };
        let so_far = Arc::new(Tally::default());
        let copied = self.copy_all(&worker_halt, &so_far).await;
        worker_halt.stop.cancel();
        let worked = worker.await.map_err(|join| Error::cancelled().with_source(join))?;
        self.profiles.keep().await;
        progress.finish();
        let interrupted = self.halt.is_stopping();
        let ended_by = worked.err().inspect(crate::logging::ended_by);
        let (compared, unmatched) = match copied {
            Err(error) if !interrupted && ended_by.is_none() => return Err(error),
            copied => copied.unwrap_or_else(|_| (so_far.summary(), Vec::new())),
        };
        let Counts { done, done_bytes, proofs, uploaded, deleted, .. } = self.monitor.counts();
        let mut report = RunReport {
            compared,
            copied: done,
            copied_bytes: done_bytes,
            proofs,
            deleted,
            uploaded_bytes: uploaded,
            unmatched,
            interrupted,
            ended_by: ended_by.map(|error| error.to_string()),
            ..RunReport::default()
        };
        self.add_failures(&mut report).await?;
        if !interrupted && report.ended_by.is_none() {
            self.close(&mut report).await?;
            self.profiles.keep().await;
        }
        report.losses = self.profiles.losses();
        report.seconds = began.elapsed().as_secs_f64();
        Ok(report)
    }

    /// Sends what differs, and waits until the queue is empty or the run is stopped.
    async fn copy_all(
        &self,
        worker: &Halt,
        so_far: &Arc<Tally>,
    ) -> Result<(Summary, Vec<Unmatched>)> {
        let queue = Arc::<SqliteQueue>::clone(&self.queue);
        let outlet = Outlet { queue, packs: self.packs, sent: None, resend: false };
        // If the worker ends with an error, further listing is pointless.
        let comparison = Comparison::sending(self.terms.clone(), outlet, worker.stop.clone());
        let mut summary = Summary::default();
        let mut of_pairs = Vec::with_capacity(self.pairs.len());
        let mut finds = self.finds.clone();
        finds.push(Arc::<Tally>::clone(so_far));
        for pair in &self.pairs {
            of_pairs.push(comparison.compare(pair, &finds).await?);
        }
        comparison.send_deletions(of_pairs.iter_mut().collect()).await;
        let of_all: Vec<&Summary> = of_pairs.iter().collect();
        let unmatched = self.terms.unmatched(&self.pairs, &of_all, &worker.stop).await;
        unmatched.iter().for_each(|one| warn!("{one}"));
        of_pairs.iter().for_each(|of_pair| summary.add(of_pair));
        self.totals.listing_done();
        info!(listed = summary.listed, to_copy = summary.to_copy, "compared");
        let queue = Retrying::new(&*self.queue, self.terms.max_retry, &worker.stop);
        while !worker.is_stopping() {
            match queue.control(|| queue.inner.is_empty()).await {
                Ok(true) => break,
                Ok(false) => drop(worker.unless_stopping(tokio::time::sleep(TICK)).await),
                Err(_) if worker.is_stopping() => break,
                Err(error) => return Err(error),
            }
        }
        Ok((summary, unmatched))
    }

    async fn add_failures(&self, report: &mut RunReport) -> Result<()> {
        report.failed_count = self.queue.depth().await?.dead.unwrap_or_default();
        for letter in self.queue.dead(NAMED).await? {
            let job = crate::job::parse(&letter.body, &Default::default());
            let object = match job {
                Ok(incoming) if incoming.jobs.len() > 1 => {
                    let (first, others) = (incoming.jobs[0].src.exact(), incoming.jobs.len() - 1);
                    format!("{first} and {others} more")
                }
                Ok(incoming) if !incoming.jobs.is_empty() => incoming.jobs[0].src.exact(),
                _ => "a message that is not a job".to_owned(),
            };
            report.failed.push(FailedObject { object, error: letter.reason });
        }
        Ok(())
    }

    /// The closing comparison: both sides are listed again, nothing is sent.
    async fn close(&self, report: &mut RunReport) -> Result<()> {
        let records = Arc::<SqliteRecords>::clone(&self.state);
        let comparison = Comparison::closing(self.terms.clone(), records, self.halt.stop.clone());
        let differing = Arc::new(Differing::default());
        let finds: [Arc<dyn Finds>; 1] = [Arc::<Differing>::clone(&differing)];
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
        report.differing = std::mem::take(&mut *differing.named());
        Ok(())
    }
}

/// The first keys that differ.
#[derive(Default)]
struct Differing(Mutex<Vec<String>>);

impl Differing {
    fn named(&self) -> MutexGuard<'_, Vec<String>> {
        lock(&self.0)
    }
}

impl Differing {
    /// Adds objects whose ETags differ from the source's.
    fn add(&self, objects: &[ObjectId]) {
        let mut named = self.named();
        let room = NAMED.saturating_sub(named.len());
        let why = Verdict::Copy(Difference::EtagDiffers);
        named.extend(objects.iter().take(room).map(|object| format!("{object} ({why})")));
    }
}

impl Finds for Differing {
    fn found(&self, job: &Job, _: Listed<'_>, verdict: &Verdict<'_>) {
        let there = matches!(verdict, Verdict::AlreadyThere | Verdict::Ignored(_));
        let mut named = self.named();
        if !there && named.len() < NAMED {
            named.push(format!("{} ({verdict})", job.src.exact()));
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
