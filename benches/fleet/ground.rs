//! Where a fleet works: a queue with its jobs, a table, two endpoints, and a folder for its logs.

use std::cell::Cell;
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_sdk_sqs::types::QueueAttributeName as Name;
use tempfile::TempDir;
use testkit::bench::null_endpoint::{SINK, SOURCE};
use testkit::bench::served::Served;
use testkit::ministack::{ACCOUNT_A, Ministack};
use testkit::resources::{self, Queues};

use crate::Result;

/// Between two looks at the queue or the sink.
const LOOK: Duration = Duration::from_millis(100);
/// What a worker says when it takes up what another one has left.
const CONTINUES: &str = "continues an upload begun earlier";
/// The unit of the times in /proc (`getconf CLK_TCK`).
const TICKS: f64 = 100.0;

/// Everything that one fleet needs; nothing of it is used by another.
pub struct Ground {
    endpoints: Served,
    objects: u64,
    queues: Queues,
    config: SdkConfig,
    environment: Vec<(&'static str, String)>,
    program: String,
    folder: TempDir,
    workers: Cell<u32>,
}

/// One worker's process. It is killed when it is dropped.
pub struct Worker(Child);

impl Ground {
    /// With the jobs of this many objects of `size` bytes in the queue, and these lines more in the
    /// section of the destination.
    pub async fn new(
        objects: u64,
        size: u64,
        server: &Ministack,
        program: &str,
        of_destination: &str,
    ) -> Result<Self> {
        let config = server.sdk_config(ACCOUNT_A);
        let arguments = ["serve".to_owned(), objects.to_string(), size.to_string()];
        let ground = Self {
            endpoints: Served::start(arguments, 2)?,
            objects,
            queues: resources::queues(&config, 20).await,
            environment: server.environment(ACCOUNT_A),
            program: program.to_owned(),
            folder: tempfile::tempdir()?,
            workers: Cell::new(0),
            config,
        };
        let table = resources::table(&ground.config).await;
        ground.write_configuration(&table, of_destination)?;
        ground.run(&["jobsender"])?;
        Ok(ground)
    }

    /// Sets a key of the configuration for the processes that start after this.
    pub fn set(&mut self, key: &'static str, value: &str) {
        self.environment.push((key, value.to_owned()));
    }

    /// Every worker may do as much at once as a small instance; all else is as shipped.
    fn write_configuration(&self, table: &str, of_destination: &str) -> Result<()> {
        let file = |name: &str| self.folder.path().join(name);
        let pairs = serde_json::json!([{"src_bucket": SOURCE, "src_prefix": "",
                                        "des_bucket": SINK, "des_prefix": ""}]);
        fs::write(file("pairs.json"), pairs.to_string())?;
        let side = |name: &str, at| {
            let url = self.endpoints.url(at);
            format!("[{name}]\nEndpoint = {url}\nRegion = us-east-1\nCredentials = default\n")
        };
        let text = format!(
            "[Basic]\ntable_queue_name = {table}\nsqs_queue_name = {}\nbucket_para_file = {}\n\
             ignore_list_file = {}\n\
             [Mode]\nMaxParallelFile = 2\nMaxThread = 4\nMaxMemory = 64\nPackObjects = 50\n\
             [Debug]\nLogFormat = text\n{}{}{of_destination}",
            self.queues.name,
            file("pairs.json").display(),
            file("ignored.txt").display(),
            side("Source", 0),
            side("Destination", 1),
        );
        fs::write(file("ignored.txt"), "")?;
        Ok(fs::write(file("fleet.ini"), text)?)
    }

    /// Runs a command until it ends.
    fn run(&self, what: &[&str]) -> Result<()> {
        let ended = self.command(what).output()?;
        match ended.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&ended.stderr).into()),
        }
    }

    /// Changes the limit of both sides, in MiB a second.
    pub fn limit(&self, rate: u64) -> Result<()> {
        self.run(&["limit", &format!("{rate}M")])
    }

    fn command(&self, what: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().envs(self.environment.clone()).current_dir(self.folder.path());
        command.arg("--config").arg("fleet.ini").args(what).stdin(Stdio::null());
        command
    }

    /// A further worker, whose log is kept.
    pub fn worker(&self) -> Result<Worker> {
        let number = self.workers.replace(self.workers.get() + 1);
        let log = File::create(self.folder.path().join(format!("worker-{number}.log")))?;
        let mut command = self.command(&["worker"]);
        Ok(Worker(command.stdout(Stdio::null()).stderr(log).spawn()?))
    }

    /// Waits until the queue is empty; an error if not everything is at the destination then.
    pub async fn until_done(&self) -> Result<()> {
        let client = aws_sdk_sqs::Client::new(&self.config);
        let names =
            [Name::ApproximateNumberOfMessages, Name::ApproximateNumberOfMessagesNotVisible];
        loop {
            let asked = client.get_queue_attributes().queue_url(&self.queues.url);
            let asked = asked.set_attribute_names(Some(names.to_vec())).send().await;
            let left = asked?.attributes.unwrap_or_default();
            if names.iter().all(|name| left.get(name).is_some_and(|left| left == "0")) {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        match self.arrived()? {
            arrived if arrived >= self.objects => Ok(()),
            arrived => Err(format!("{arrived} of {} objects arrived", self.objects).into()),
        }
    }

    /// Waits until the destination has been asked `operation` so often.
    pub async fn until_asked(&self, operation: &str, times: u64) -> Result<()> {
        while self.asked(operation)? < times {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Whether all objects are at the destination.
    pub fn is_done(&self) -> Result<bool> {
        Ok(self.arrived()? >= self.objects)
    }

    /// Bytes that the destination has received, also those of parts that are not whole yet.
    pub fn received(&self) -> Result<u64> {
        Ok(self.endpoints.get("/_received")?.trim().parse()?)
    }

    fn arrived(&self) -> Result<u64> {
        Ok(self.asked("PutObject")? + self.asked("CompleteMultipartUpload")?)
    }

    /// How often the destination has been asked `operation`.
    pub fn asked(&self, operation: &str) -> Result<u64> {
        let counts: serde_json::Value = serde_json::from_str(&self.endpoints.get("/_counts")?)?;
        Ok(counts[operation].as_u64().unwrap_or_default())
    }

    /// Seconds from this moment to each at which a worker took up what another had left.
    pub fn continued_after(&self, moment: SystemTime) -> Result<Vec<f64>> {
        let mut seconds = Vec::new();
        for number in 0..self.workers.get() {
            let log = self.folder.path().join(format!("worker-{number}.log"));
            for line in fs::read_to_string(log)?.lines().filter(|line| line.contains(CONTINUES)) {
                let time = line.split_whitespace().nth(1).ok_or("a line of the log has no time")?;
                let time = humantime::parse_rfc3339(time)?;
                seconds.push(time.duration_since(moment)?.as_secs_f64());
            }
        }
        Ok(seconds)
    }
}

impl Worker {
    /// Ends it as systemd does; the CPU seconds that it has used.
    pub fn stop(&mut self) -> Result<f64> {
        let id = self.0.id();
        // User and system time of all its threads (proc(5)).
        let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks =
            fields.skip(11).take(2).map(str::parse::<f64>).sum::<std::result::Result<f64, _>>()?;
        Command::new("kill").arg("-TERM").arg(id.to_string()).status()?;
        match self.0.wait()?.success() {
            true => Ok(ticks / TICKS),
            false => Err(format!("worker {id} did not end well").into()),
        }
    }

    /// Ends it by SIGKILL.
    pub fn kill(mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
