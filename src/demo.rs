//! `demo`: a real migration between two S3 endpoints of its own, one worker killed midway.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use s3_endpoint::{Endpoint, EndpointOptions, Gate, StartError};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::compare::{Comparison, Outlet, Summary, Terms};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::format::escape::shown;
use crate::format::human;
use crate::logging::say;
use crate::monitor::Counts;
use crate::object::{MIB, ObjectId};
use crate::params::Pair;
use crate::progress::{Phase, Progress, Totals};
use crate::queue::sqlite::SqliteQueue;
use crate::record::RecordList;
use crate::record::sqlite::SqliteRecords;
use crate::shutdown::Halt;
use crate::sqlite::Database;
use crate::store::s3::S3Store;
use crate::store::{ObjectStore, Side};
use crate::wiring;

mod data;
mod fleet;
mod verify;

use data::Uploaded;
use fleet::{Barrier, Fleet};
use verify::DemoProof;

const SOURCE_BUCKET: &str = "demo-source";
const DESTINATION_BUCKET: &str = "demo-destination";
const QUEUE: &str = "demo";
/// The demo's threshold and part size: the defaults of the configuration.
const PART: u64 = 5 * MIB;
/// Short, so that the dead worker's object is soon received again.
const VISIBILITY_SECONDS: u64 = 10;
const MAX_RETRY: u32 = 20;
const LOOK: Duration = Duration::from_millis(200);
/// If nothing is finished for this long after the kill, only the killed worker's objects are left.
const QUIET: Duration = Duration::from_secs(1);
/// The longest wait for parts that are on their way before their worker is killed.
const ARRIVAL: Duration = Duration::from_secs(10);

/// Runs the demo on the files of `dir`, or on generated data. `true`: every object arrived, equal
/// byte for byte. Everything is in a temporary folder, which is always removed.
pub async fn run(dir: Option<&Path>, program: PathBuf, halt: &Halt) -> Result<bool> {
    let began = Instant::now();
    let stage = Stage::build(program).await?;
    let result = tokio::select! {
        result = stage.play(dir) => result,
        () = halt.stop.cancelled() => Err(stopped()),
    };
    stage.clear().await;
    result?.tell(began.elapsed())
}

fn no_endpoint(error: StartError) -> Error {
    Error::new(ErrorKind::Unavailable, error.to_string()).with_source(error)
}

fn stopped() -> Error {
    Error::new(ErrorKind::Cancelled, "the demo was stopped")
}

/// Two endpoints, a queue and a table, in one folder.
struct Stage {
    folder: TempDir,
    barrier: Arc<Barrier>,
    source_endpoint: Endpoint,
    destination_endpoint: Endpoint,
    source: Arc<dyn ObjectStore>,
    destination: Arc<dyn ObjectStore>,
    queue: Arc<SqliteQueue>,
    state: SqliteRecords,
    fleet: Fleet,
}

impl Stage {
    async fn build(program: PathBuf) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("s3-migration-demo-").tempdir();
        let folder = folder.map_err(|error| {
            Error::usage(format!("no temporary folder: {error}; set TMPDIR to a folder with room"))
        })?;
        let barrier = Arc::new(Barrier::default());
        let keys = [fleet::AccessKey::random("source"), fleet::AccessKey::random("destination")];
        let gates = [None, Some(Arc::clone(&barrier))];
        let buckets = [SOURCE_BUCKET, DESTINATION_BUCKET];
        let mut endpoints = Vec::new();
        for ((key, bucket), gate) in keys.iter().zip(buckets).zip(gates) {
            let options = EndpointOptions {
                folder: folder.path().join(bucket),
                access_key: key.access_key.clone(),
                secret_key: key.secret_key.clone(),
                buckets: vec![bucket.to_owned()],
                gate: gate.map(|gate| gate as Arc<dyn Gate>),
                own_etags: false,
            };
            endpoints.push(Endpoint::start(options).await.map_err(no_endpoint)?);
        }
        let (Some(destination_endpoint), Some(source_endpoint)) =
            (endpoints.pop(), endpoints.pop())
        else {
            return Err(Error::invalid("two endpoints were started"));
        };
        let database = Database::open(folder.path().join("queue-and-state.sqlite")).await?;
        let urls = [source_endpoint.url(), destination_endpoint.url()];
        let [source, destination] = &keys;
        let fleet = Fleet::prepare(program, folder.path(), &keys, &urls)?;
        Ok(Self {
            source: Arc::new(
                S3Store::with_key(Side::Source, &urls[0], &source.access_key, &source.secret_key)
                    .await,
            ),
            destination: Arc::new(
                S3Store::with_key(
                    Side::Destination,
                    &urls[1],
                    &destination.access_key,
                    &destination.secret_key,
                )
                .await,
            ),
            queue: Arc::new(SqliteQueue::open(&database, QUEUE, 60).await?),
            state: SqliteRecords::new(&database),
            folder,
            barrier,
            source_endpoint,
            destination_endpoint,
            fleet,
        })
    }

    /// Removes everything: workers, endpoints, files.
    async fn clear(self) {
        self.fleet.kill_all().await;
        self.source_endpoint.stop().await;
        self.destination_endpoint.stop().await;
        if let Err(error) = self.folder.close() {
            eprintln!("the demo's temporary folder could not be removed: {error}");
        }
    }

    async fn play(&self, dir: Option<&Path>) -> Result<Ending> {
        say(format_args!("source       {} in {}", SOURCE_BUCKET, self.source_endpoint.url()));
        say(format_args!(
            "destination  {} in {}",
            DESTINATION_BUCKET,
            self.destination_endpoint.url()
        ));
        let uploaded = match dir {
            Some(dir) => data::upload_folder(&self.source, SOURCE_BUCKET, dir).await?,
            None => data::upload_made(&self.source, SOURCE_BUCKET).await?,
        };
        say(format_args!("{uploaded}"));
        let began = Instant::now();
        let compared = self.send().await?;
        say(format_args!(
            "jobsender: {} objects listed, {} sent in {} messages",
            human::count(compared.listed),
            human::count(compared.to_copy),
            human::count(compared.messages)
        ));
        let (death, waited) = self.migrate(&compared, &uploaded).await?;
        let moved = began.elapsed();
        let proof = self.prove().await?;
        let death = match death {
            Some(death) => Some(self.after(death).await?),
            None => None,
        };
        Ok(Ending { uploaded, proof, death, copying: moved.saturating_sub(waited), waited })
    }

    async fn send(&self) -> Result<Summary> {
        let (source, destination) = (Arc::clone(&self.source), Arc::clone(&self.destination));
        let (queue, packs) =
            (Arc::<SqliteQueue>::clone(&self.queue), wiring::packs(&Config::default()));
        let outlet = Outlet { queue, packs, sent: None, resend: false };
        let terms = Terms::of_sizes(source, destination, MAX_RETRY);
        let comparison = Comparison::sending(terms, outlet, CancellationToken::new());
        let pair = Pair {
            src_bucket: SOURCE_BUCKET.to_owned(),
            src_prefix: String::new(),
            des_bucket: DESTINATION_BUCKET.to_owned(),
            des_prefix: String::new(),
            strip: false,
        };
        comparison.compare(&pair, &[]).await
    }

    /// Runs two workers; the one that holds the largest object is killed midway. Also returns how
    /// long nothing was copied, because all that was left was the killed worker's object.
    async fn migrate(
        &self,
        compared: &Summary,
        uploaded: &Uploaded,
    ) -> Result<(Option<Death>, Duration)> {
        let victim = uploaded.victim.clone().map(|(key, parts)| {
            let pass = self.barrier.arm(&key, parts);
            Victim { key, parts, pass }
        });
        self.fleet.start(2).await?;
        let totals = Arc::new(Totals::default());
        totals.add(compared.to_copy, compared.to_copy_bytes);
        totals.enter(Phase::Copying);
        let counts = Arc::new(SharedCounts::default());
        let progress = Progress::start(totals, {
            let counts = Arc::clone(&counts);
            move || counts.read()
        });
        let kill = async {
            match victim {
                Some(victim) => self.kill_one(victim).await.map(Some),
                None => {
                    say("no object is large enough for parts: no worker is killed");
                    Ok(None)
                }
            }
        };
        // A held part keeps its job in flight, so the queue is not empty before the kill.
        let (death, waited) = tokio::try_join!(kill, self.wait_until_empty(&counts))?;
        progress.finish();
        self.fleet.drain().await?;
        Ok((death, waited))
    }

    /// Returns how long nothing was copied, because all that was left was the killed worker's.
    async fn wait_until_empty(&self, counts: &SharedCounts) -> Result<Duration> {
        let (mut done, mut since, mut is_waiting) = (0, Instant::now(), false);
        let mut waited = Duration::ZERO;
        loop {
            let tally = self.state.tally(std::time::SystemTime::UNIX_EPOCH).await?;
            counts.set(tally.done, tally.done_bytes, tally.failed);
            if self.queue.is_empty().await? {
                return Ok(waited);
            }
            if tally.done != done || !self.barrier.is_orphaned() {
                if is_waiting {
                    waited += since.elapsed();
                    say("the other worker has it now, and sends only the parts that are missing");
                }
                (done, since, is_waiting) = (tally.done, Instant::now(), false);
            } else if !is_waiting && since.elapsed() > QUIET {
                is_waiting = true;
                say(format_args!(
                    "the rest is copied; waiting for the lease of the killed worker to run out \
                     (at most {VISIBILITY_SECONDS} s)"
                ));
            }
            self.fleet.check_alive().await?;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Kills the worker that holds the object once a third of its parts are at the destination.
    async fn kill_one(&self, victim: Victim) -> Result<Death> {
        self.barrier.reached().await;
        let target = ObjectId::new(DESTINATION_BUCKET, &victim.key);
        // A part that never arrives must not stop the show: it is sent again.
        let arrived = async {
            while self.parts_of(&target).await? < victim.pass {
                tokio::time::sleep(LOOK).await;
            }
            Ok::<_, Error>(())
        };
        if let Ok(arrived) = tokio::time::timeout(ARRIVAL, arrived).await {
            arrived?;
        }
        let worker = self.fleet.kill_holder(&self.state, SOURCE_BUCKET, &victim.key).await?;
        let (kept, asked) = (self.parts_of(&target).await?, self.barrier.asked());
        say(format_args!(
            "worker {worker} killed (SIGKILL): {kept} of {} parts of \"{}\" are there",
            victim.parts,
            shown(&victim.key)
        ));
        self.barrier.open();
        Ok(Death { victim, worker, kept, asked, sent_after: 0, uploads_left: 0 })
    }

    /// Parts of unfinished uploads.
    async fn parts_of(&self, target: &ObjectId) -> Result<u64> {
        let mut parts = 0;
        for listed in self.destination.list_uploads(target).await? {
            parts += self.destination.list_parts(&listed.upload).await?.len() as u64;
        }
        Ok(parts)
    }

    async fn prove(&self) -> Result<DemoProof> {
        say("reading every object on both sides and comparing every byte ...");
        let (source, destination) = (&self.source, &self.destination);
        verify::compare_all((source, SOURCE_BUCKET), (destination, DESTINATION_BUCKET)).await
    }

    /// What has become of the killed worker's object.
    async fn after(&self, death: Death) -> Result<Death> {
        let target = ObjectId::new(DESTINATION_BUCKET, &death.victim.key);
        let uploads_left = self.destination.list_uploads(&target).await?.len();
        let sent_after = self.barrier.asked() - death.asked;
        Ok(Death { sent_after, uploads_left, ..death })
    }
}

/// The object whose worker is killed.
struct Victim {
    key: String,
    parts: u64,
    /// Parts that arrive before that.
    pass: u64,
}

/// A worker's death, and what came of it.
struct Death {
    victim: Victim,
    /// The process that was killed.
    worker: u32,
    /// Parts of its object that were at the destination.
    kept: u64,
    /// UploadPart requests for its object until then.
    asked: u64,
    /// UploadPart requests for it afterwards.
    sent_after: u64,
    /// Unfinished uploads of it at the end.
    uploads_left: usize,
}

/// All that the last screen tells.
struct Ending {
    uploaded: Uploaded,
    proof: DemoProof,
    death: Option<Death>,
    /// How long objects were being copied.
    copying: Duration,
    /// How long nothing was, since a lease had to run out.
    waited: Duration,
}

impl Ending {
    /// Prints the last screen: nine lines of at most 80 columns, if keys are not too long. Returns
    /// whether every object arrived, equal byte for byte, and nothing else was left.
    fn tell(&self, whole: Duration) -> Result<bool> {
        let Self { uploaded, proof, death, copying, waited } = self;
        for difference in &proof.differences {
            say(format_args!("DIFFERS  {difference}"));
        }
        let (objects, bytes) = (human::count(uploaded.objects), human::bytes(uploaded.bytes));
        say("\nWhat you have just seen");
        say(format_args!("  copied   {objects} objects, {bytes}, from one S3 server to another"));
        if let Some(Death { victim, worker, kept, sent_after, uploads_left, .. }) = death {
            let (key, parts) = (shown(&victim.key), victim.parts);
            say(format_args!(
                "  killed   worker {worker}, with {kept} of {parts} parts of \"{key}\" sent"
            ));
            say(format_args!(
                "  resumed  by the other worker, which sent {sent_after} parts; uploads left: \
                 {uploads_left}"
            ));
        }
        let equal = human::count(proof.equal);
        say(format_args!(
            "  proven   {equal} of {objects} objects read on both sides: equal bytes and headers"
        ));
        let (rate, copying) = (human::rate(uploaded.bytes, *copying), human::duration(*copying));
        let (waited, whole) = (human::duration(*waited), human::duration(whole));
        say(format_args!(
            "  time     copying {copying} ({rate}), waiting for the lease {waited}, all {whole}"
        ));
        let all = proof.differences.is_empty() && proof.equal == uploaded.objects;
        let is_clean = death.as_ref().is_none_or(|death| death.uploads_left == 0);
        say("Next, with your own buckets");
        say("  s3-migration run s3://SOURCE s3://DESTINATION --dry-run   (then without it)");
        Ok(all && is_clean)
    }
}

/// The counts from the records, for the progress line.
#[derive(Debug, Default)]
struct SharedCounts {
    done: AtomicU64,
    bytes: AtomicU64,
    failed: AtomicU64,
}

impl SharedCounts {
    fn set(&self, done: u64, bytes: u64, failed: u64) {
        self.done.store(done, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
        self.failed.store(failed, Ordering::Relaxed);
    }

    fn read(&self) -> Counts {
        Counts {
            done: self.done.load(Ordering::Relaxed),
            done_bytes: self.bytes.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            ..Counts::default()
        }
    }
}
