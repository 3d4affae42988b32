//! The demo's workers, processes of this program, and the barrier at which one of them dies.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use s3_endpoint::{Gate, Passage};
use tokio::process::{Child, Command};
use tokio::signal::unix::SignalKind;
use tokio::sync::{Mutex, watch};

use super::{DESTINATION_BUCKET, QUEUE, VISIBILITY_SECONDS};
use crate::error::{Error, ErrorKind, Result};
use crate::logging::say;
use crate::mutex::lock;
use crate::record::{JobStatus, RecordStore};

/// A stopped worker that has not ended after this time is reported.
const DRAIN: Duration = Duration::from_secs(60);

/// A made-up access key for one side.
pub(super) struct AccessKey {
    pub profile: &'static str,
    pub access_key: String,
    pub secret_key: String,
}

impl AccessKey {
    pub fn random(profile: &'static str) -> Self {
        let access_key = format!("DEMO{:016X}", fastrand::u64(..));
        let secret_key = format!("{:032x}", fastrand::u128(..));
        Self { profile, access_key, secret_key }
    }
}

/// The worker processes.
pub(super) struct Fleet {
    program: PathBuf,
    folder: PathBuf,
    workers: Mutex<Vec<Child>>,
}

impl Fleet {
    /// Writes what the workers read: an ini, and a credentials file with a profile for each side.
    pub fn prepare(
        program: PathBuf,
        folder: &Path,
        keys: &[AccessKey; 2],
        urls: &[String; 2],
    ) -> Result<Self> {
        let ini = format!(
            "[Basic]\nsqs_queue_name = {QUEUE}\n\
             [Mode]\nVisibilityTimeout = {VISIBILITY_SECONDS}\n\
             [Debug]\nLoggingLevel = WARNING\nLogFormat = text\n\
             [Source]\nEndpoint = {}\nCredentials = profile\nProfile = {}\n\
             [Destination]\nEndpoint = {}\nCredentials = profile\nProfile = {}\n\
             [Backend]\nQueue = embedded\nState = embedded\nPath = {}\n",
            urls[0],
            keys[0].profile,
            urls[1],
            keys[1].profile,
            folder.join("queue-and-state.sqlite").display(),
        );
        let credentials: String = keys
            .iter()
            .map(|key| {
                format!(
                    "[{}]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
                    key.profile, key.access_key, key.secret_key
                )
            })
            .collect();
        let write = |name: &str, text: &str| {
            fs::write(folder.join(name), text)
                .map_err(|e| Error::usage(format!("the demo's {name} cannot be written: {e}")))
        };
        write("demo.ini", &ini)?;
        write("credentials", &credentials)?;
        Ok(Self { program, folder: folder.to_owned(), workers: Mutex::default() })
    }

    pub async fn start(&self, count: usize) -> Result<()> {
        let mut workers = self.workers.lock().await;
        for _ in 0..count {
            workers.push(self.spawn()?);
        }
        let ids: Vec<String> =
            workers.iter().filter_map(Child::id).map(|id| id.to_string()).collect();
        say(format_args!("{count} workers started: processes {}", ids.join(" and ")));
        Ok(())
    }

    fn spawn(&self) -> Result<Child> {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.folder.join("demo.ini"));
        command.args(["worker", "--until-stdin-closes"]);
        // The user's own setup must not reach the demo: every configuration key can be set by a
        // variable of its name.
        command.env_clear();
        for name in ["PATH", "TMPDIR", "RUST_BACKTRACE", "LANG"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.env("AWS_SHARED_CREDENTIALS_FILE", self.folder.join("credentials"));
        command.env("AWS_CONFIG_FILE", self.folder.join("no-config"));
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        // The pipe closes when this process ends for any reason, and that ends the worker.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true);
        command
            .spawn()
            .map_err(|e| Error::usage(format!("a worker process cannot be started: {e}")))
    }

    /// Kills the worker that the record names as the holder of the object.
    pub async fn kill_holder(
        &self,
        state: &dyn RecordStore,
        bucket: &str,
        key: &str,
    ) -> Result<u32> {
        let records = state.with_status(JobStatus::Running, usize::MAX).await?;
        let held = |src: &crate::object::ObjectId| src.bucket == bucket && src.key.as_str() == key;
        let holder = records.iter().find(|record| held(&record.id.src));
        let instance = holder.map(|record| record.instance.clone()).unwrap_or_default();
        let pid = instance.rsplit('-').next().and_then(|pid| pid.parse::<u32>().ok());
        let mut workers = self.workers.lock().await;
        let at = workers.iter().position(|worker| worker.id().is_some() && worker.id() == pid);
        let (Some(at), Some(pid)) = (at, pid) else {
            return Err(Error::invalid(format!("no worker of the demo holds {key}: {instance}")));
        };
        let mut worker = workers.swap_remove(at);
        let killed = worker.kill().await;
        killed.map_err(|e| Error::usage(format!("worker {pid} cannot be killed: {e}")))?;
        Ok(pid)
    }

    /// Fails if a worker has ended by itself: the demo would wait for ever.
    pub async fn check_alive(&self) -> Result<()> {
        for worker in self.workers.lock().await.iter_mut() {
            if let Ok(Some(status)) = worker.try_wait() {
                // A terminal interrupts all processes at once, and a worker that has just started
                // cannot handle that yet.
                if status.signal() == Some(SignalKind::interrupt().as_raw_value()) {
                    return Err(super::stopped());
                }
                let message = format!("a worker ended by itself, {status}; its reason is above");
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
        }
        Ok(())
    }

    /// Stops the workers and waits for them to end.
    pub async fn drain(&self) -> Result<()> {
        for mut worker in self.workers.lock().await.drain(..) {
            drop(worker.stdin.take());
            let status = tokio::time::timeout(DRAIN, worker.wait()).await;
            match status {
                Ok(Ok(status)) if status.success() => {}
                Ok(Ok(status)) => {
                    return Err(Error::invalid(format!("a worker ended with {status}")));
                }
                Ok(Err(_)) | Err(_) => return Err(Error::invalid("a worker did not stop in time")),
            }
        }
        Ok(())
    }

    /// Kills all workers when the demo is aborted.
    pub async fn kill_all(&self) {
        for mut worker in self.workers.lock().await.drain(..) {
            // It may be dead already.
            let _ = worker.kill().await;
        }
    }
}

/// Lets the first parts of one object pass. Until it is opened, all further part requests hang for
/// good.
#[derive(Debug)]
pub(super) struct Barrier {
    /// The object, and how many of its parts pass.
    armed: StdMutex<Option<(String, u64)>>,
    asked: AtomicU64,
    asked_at_death: AtomicU64,
    held: watch::Sender<bool>,
    open: watch::Sender<bool>,
}

impl Default for Barrier {
    fn default() -> Self {
        Self {
            armed: StdMutex::default(),
            asked: AtomicU64::new(0),
            asked_at_death: AtomicU64::new(0),
            held: watch::Sender::new(false),
            open: watch::Sender::new(false),
        }
    }
}

impl Barrier {
    /// Lets a third of the object's `parts` pass, at least one; returns how many.
    pub fn arm(&self, key: &str, parts: u64) -> u64 {
        let pass = (parts / 3).max(1);
        *lock(&self.armed) = Some((key.to_owned(), pass));
        pass
    }

    /// Waits until a part is held: all that pass are under way or have arrived.
    pub async fn reached(&self) {
        // The sender lives as long as `self`.
        let _ = self.held.subscribe().wait_for(|held| *held).await;
    }

    /// The object's worker is dead: from now on all parts pass.
    pub fn open(&self) {
        self.asked_at_death.store(self.asked(), Ordering::Relaxed);
        self.open.send_replace(true);
    }

    /// Whether the object's worker is dead, and no other has sent a part since.
    pub fn is_orphaned(&self) -> bool {
        *self.open.borrow() && self.asked() == self.asked_at_death.load(Ordering::Relaxed)
    }

    /// The number of UploadPart requests for the object so far.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// How many parts of this object pass, if it is the armed one.
    fn passing(&self, bucket: &str, key: &str) -> Option<u64> {
        let armed = lock(&self.armed);
        let (victim, pass) = armed.as_ref()?;
        (bucket == DESTINATION_BUCKET && victim == key).then_some(*pass)
    }
}

#[async_trait]
impl Gate for Barrier {
    async fn before(&self, operation: &str, bucket: &str, key: &str) -> Passage {
        if operation != "UploadPart" {
            return Passage::Free;
        }
        let Some(pass) = self.passing(bucket, key) else { return Passage::Free };
        let asked_before = self.asked.fetch_add(1, Ordering::Relaxed);
        if asked_before < pass || *self.open.borrow() {
            return Passage::Free;
        }
        self.held.send_replace(true);
        // The caller is about to be killed: its request must not arrive afterwards.
        std::future::pending().await
    }
}
