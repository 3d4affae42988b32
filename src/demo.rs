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
use crate::format::human;
use crate::logging::say;
use crate::monitor::Counts;
use crate::object::{MIB, ObjectId};
use crate::params::Pair;
use crate::progress::{Progress, Totals};
use crate::queue::sqlite::SqliteQueue;
use crate::record::RecordStore;
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

const SOURCE_BUCKET: &str = "demo-source";
const DESTINATION_BUCKET: &str = "demo-destination";
const QUEUE: &str = "demo";
/// The demo's threshold and part size: the defaults of the configuration.
const PART: u64 = 5 * MIB;
/// Short, so that the dead worker's object is soon received again.
const VISIBILITY_SECONDS: u64 = 10;
const MAX_RETRY: u32 = 20;
const LOOK: Duration = Duration::from_millis(200);

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
    let verified = result?;
    say(format_args!("whole demo: {}", human::duration(began.elapsed())));
    Ok(verified)
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

    async fn play(&self, dir: Option<&Path>) -> Result<bool> {
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
        let death = self.migrate(&compared, &uploaded).await?;
        let moved = began.elapsed();
        let verified = self.prove(&uploaded, death).await?;
        let rate = human::rate(uploaded.bytes, moved);
        say(format_args!("migrated in {}, {rate}", human::duration(moved)));
        Ok(verified)
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
        };
        comparison.compare(&pair, &[]).await
    }

    /// Runs two workers; the one that holds the largest object is killed midway.
    async fn migrate(&self, compared: &Summary, uploaded: &Uploaded) -> Result<Option<Death>> {
        if let Some((key, parts)) = &uploaded.victim {
            self.barrier.arm(key, *parts);
        }
        self.fleet.start(2).await?;
        let totals = Arc::new(Totals::default());
        totals.add(compared.to_copy, compared.to_copy_bytes);
        totals.listing_done();
        let counts = Arc::new(SharedCounts::default());
        let progress = Progress::start(totals, {
            let counts = Arc::clone(&counts);
            move || counts.read()
        });
        let kill = async {
            match &uploaded.victim {
                Some((key, parts)) => self.kill_one(key, *parts).await.map(Some),
                None => {
                    say("no object is large enough for parts: no worker is killed");
                    Ok(None)
                }
            }
        };
        // A held part keeps its job in flight, so the queue is not empty before the kill.
        let (death, ()) = tokio::try_join!(kill, self.wait_until_empty(&counts))?;
        progress.finish();
        self.fleet.drain().await?;
        Ok(death)
    }

    async fn wait_until_empty(&self, counts: &SharedCounts) -> Result<()> {
        loop {
            let tally = self.state.tally(std::time::SystemTime::UNIX_EPOCH).await?;
            counts.set(tally.done, tally.done_bytes, tally.failed);
            if self.queue.is_empty().await? {
                return Ok(());
            }
            self.fleet.check_alive().await?;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Kills the worker that holds the object `key` when some of its parts have arrived.
    async fn kill_one(&self, key: &str, parts: u64) -> Result<Death> {
        self.barrier.reached().await;
        let killed = self.fleet.kill_holder(&self.state, SOURCE_BUCKET, key).await?;
        let mut held = 0;
        for listed in self.destination.list_uploads(&ObjectId::new(DESTINATION_BUCKET, key)).await?
        {
            held += self.destination.list_parts(&listed.upload).await?.len();
        }
        say(format_args!(
            "worker {killed} killed (SIGKILL) with {held} of {parts} parts of \"{key}\" at the \
             destination; the job comes back when its lease of {VISIBILITY_SECONDS} s ends"
        ));
        let death = Death { held, asked: self.barrier.asked() };
        self.barrier.open();
        Ok(death)
    }

    async fn prove(&self, uploaded: &Uploaded, death: Option<Death>) -> Result<bool> {
        say(format_args!("reading every object on both sides and comparing every byte ..."));
        let result = verify::compare_all(
            (&self.source, SOURCE_BUCKET),
            (&self.destination, DESTINATION_BUCKET),
        )
        .await?;
        for difference in &result.differences {
            say(format_args!("DIFFERS  {difference}"));
        }
        let stats = self.destination_endpoint.stats();
        let requests = |operation: &str| stats.get(operation).map_or(0, |stats| stats.requests);
        if let (Some((key, parts)), Some(death)) = (&uploaded.victim, death) {
            let target = ObjectId::new(DESTINATION_BUCKET, key);
            let left = self.destination.list_uploads(&target).await?.len();
            let (held, after) = (death.held, self.barrier.asked() - death.asked);
            say(format_args!(
                "\"{key}\": {parts} parts, {held} kept from the killed worker, {after} sent by the \
                 other; unfinished uploads left: {left}"
            ));
            if left > 0 {
                return Ok(false);
            }
        }
        say(format_args!(
            "requests at the destination: {} PutObject, {} UploadPart, {} CompleteMultipartUpload",
            human::count(requests("PutObject")),
            human::count(requests("UploadPart")),
            human::count(requests("CompleteMultipartUpload")),
        ));
        let all = result.differences.is_empty() && result.equal == uploaded.objects;
        say(format_args!(
            "verified: {} of {} objects equal in every byte and header, {}",
            human::count(result.equal),
            human::count(uploaded.objects),
            human::bytes(result.bytes),
        ));
        Ok(all)
    }
}

/// The state when a worker was killed.
struct Death {
    /// Parts of its object at the destination.
    held: usize,
    /// UploadPart requests for its object so far.
    asked: u64,
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
