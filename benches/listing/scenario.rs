//! What is compared, and the command line of the real binary for it.

use std::error::Error;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use s3_migration::queue::sqlite::SqliteQueue;
use s3_migration::sqlite::Database;
use serde::Deserialize;
use testkit::bench::listing::bucket::{Lacks, Side};
use testkit::bench::listing::endpoint::{BUCKETS, STATS, Stats};
use testkit::bench::listing::keys::Layout;
use testkit::bench::measure::{self, Cost};
use testkit::bench::served::Served;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const KEY: (&str, &str) = ("BENCHKEY", "not-a-secret-it-opens-loopback-only");
/// As the shipped ini has it.
const QUEUE: &str = "s3_migration_file_list";
const SQLITE: &str = "bench.sqlite";
/// Between two looks at the queue.
const LOOK: Duration = Duration::from_millis(2);
/// The first job must be there within this.
const PATIENCE: Duration = Duration::from_secs(600);

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub layout: Layout,
    pub destination: Side,
    /// The jobs are really sent, to the embedded queue.
    pub sends: bool,
    /// Every answer is held back, and the sweep's number of keys is served.
    pub distant: bool,
    /// `ListConcurrency`; `None`: as shipped.
    pub at_once: Option<u32>,
}

/// How it is run.
pub struct Setup<'a> {
    pub program: &'a str,
    /// Lines for `[Mode]`.
    pub settings: &'a [String],
    pub keys: u64,
    pub latency: Duration,
}

/// What came of it.
pub struct Outcome {
    pub cost: Cost,
    pub stats: Stats,
    /// Seconds from the start of a process that sends to its first job in the queue.
    pub first_job: f64,
}

/// What `jobsender --json` says of a pair, as far as it is checked here.
#[derive(Debug, Deserialize)]
struct Said {
    listed: u64,
    to_copy: u64,
    already_there: u64,
}

impl Scenario {
    /// Runs it, and fails if the comparison does not find what is there.
    pub fn run(&self, setup: &Setup<'_>) -> Result<Outcome> {
        let (folder, served) = (tempfile::tempdir()?, self.serve(setup)?);
        self.write_files(folder.path(), &served, setup)?;
        let output = folder.path().join("output");
        let log = folder.path().join("log");
        let mut command = self.jobsender(folder.path(), setup);
        command.arg("--json");
        if !self.sends {
            command.arg("--dry-run");
        }
        let cost = measure::run(&mut command, File::create(&output)?, Some(File::create(&log)?))?;
        if !cost.fine {
            return Err(fs::read_to_string(&log)?.trim().into());
        }
        self.check(&fs::read_to_string(&output)?, setup.keys)?;
        let stats = serde_json::from_str(&served.get(STATS)?)?;
        Ok(Outcome { cost, stats, first_job: self.first_job(setup)? })
    }

    fn serve(&self, setup: &Setup<'_>) -> Result<Served> {
        let layout = if self.layout == Layout::Flat { "flat" } else { "tree" };
        let latency = setup.latency.as_millis().to_string();
        let arguments = ["serve", layout, &setup.keys.to_string(), &latency].map(str::to_owned);
        Served::start(arguments, 1)
    }

    fn check(&self, output: &str, keys: u64) -> Result<()> {
        let said: Vec<Said> = serde_json::from_str(output)?;
        let Lacks { missing, different } = Lacks::of(keys);
        let to_copy = if self.destination == Side::Empty { keys } else { missing + different };
        match said.as_slice() {
            [pair]
                if (pair.listed, pair.to_copy) == (keys, to_copy)
                    && pair.already_there == keys - to_copy =>
            {
                Ok(())
            }
            said => Err(format!("of {keys} keys {to_copy} are to be copied, not: {said:?}").into()),
        }
    }

    /// Starts a process that sends, and ends it once the first job is in the queue.
    fn first_job(&self, setup: &Setup<'_>) -> Result<f64> {
        let (folder, served) = (tempfile::tempdir()?, self.serve(setup)?);
        self.write_files(folder.path(), &served, setup)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let open = async {
            let database = Database::open(folder.path().join(SQLITE)).await?;
            SqliteQueue::open(&database, QUEUE, 60).await
        };
        let queue = runtime.block_on(open)?;
        let mut command = self.jobsender(folder.path(), setup);
        let began = Instant::now();
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut first = None;
        while first.is_none() && began.elapsed() < PATIENCE && child.try_wait()?.is_none() {
            std::thread::sleep(LOOK);
            if !runtime.block_on(queue.is_empty())? {
                first = Some(began.elapsed().as_secs_f64());
            }
        }
        let _ = child.kill();
        child.wait()?;
        // It may have sent all it had and ended since.
        let there = !runtime.block_on(queue.is_empty())?;
        let late = there.then(|| began.elapsed().as_secs_f64());
        first.or(late).ok_or_else(|| "no job was sent".into())
    }

    fn write_files(&self, folder: &Path, served: &Served, setup: &Setup<'_>) -> Result<()> {
        let destination = BUCKETS.iter().find(|(_, side)| *side == self.destination);
        let destination = destination.ok_or("no such bucket")?.0;
        let pair = serde_json::json!([{"src_bucket": BUCKETS[0].0, "des_bucket": destination}]);
        fs::write(folder.join("pairs.json"), pair.to_string())?;
        let at_once = self.at_once.map(|n| format!("ListConcurrency = {n}"));
        let mode: Vec<String> = setup.settings.iter().cloned().chain(at_once).collect();
        let side =
            format!("Endpoint = {}\nRegion = us-east-1\nCredentials = default\n", served.url(0));
        let text = format!(
            "[Basic]\nbucket_para_file = pairs.json\nssm_parameter_ignore_list =\n\
             [Mode]\n{}\n[Source]\n{side}[Destination]\n{side}\
             [Backend]\nQueue = embedded\nState = embedded\nPath = {}\n",
            mode.join("\n"),
            folder.join(SQLITE).display(),
        );
        Ok(fs::write(folder.join("bench.ini"), text)?)
    }

    fn jobsender(&self, folder: &Path, setup: &Setup<'_>) -> Command {
        let mut command = Command::new(setup.program);
        command.env_clear().current_dir(folder);
        command.env("AWS_ACCESS_KEY_ID", KEY.0).env("AWS_SECRET_ACCESS_KEY", KEY.1);
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", folder);
        command.arg("--config").arg(folder.join("bench.ini")).arg("jobsender");
        command
    }
}
