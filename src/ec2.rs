//! A worker's EC2 instance: notices its end in time, keeps its group from ending it mid-work.
//!
//! Three notices start the drain: a Spot interruption, a rebalance recommendation, and a
//! termination by the autoscaling group. All are read from the instance metadata service, which is
//! polled every five seconds, as AWS advises for the first
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html>).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::aws::load_sdk_config;
use crate::config::Config;
use crate::ec2::autoscaling::ScalingGroup;
use crate::ec2::metadata::Metadata;
use crate::ec2::notices::{MetadataReading, Notice};
use crate::error::{Error, ErrorKind, Result};
use crate::monitor::Monitor;
use crate::mutex::lock;
use crate::retry::{Policy, retry};
use crate::shutdown::Halt;

pub mod autoscaling;
pub mod metadata;
pub mod notices;

/// Interval between two polls of the metadata service.
const LOOK: Duration = Duration::from_secs(5);
/// After this many unanswered polls, there is no metadata service.
const LOOKS_IN_VAIN: u32 = 3;
/// Interval between two checks of the messages in work, a number in memory.
const TICK: Duration = Duration::from_secs(1);
/// Pause after a refusal by the group.
const REFUSED: Duration = Duration::from_secs(30);
/// Interval between two extensions of a hook's timeout. The shortest timeout of a hook is 30 s, the
/// default an hour (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks.html>).
const PROLONG: Duration = Duration::from_secs(20);
/// The longest time for the final calls to the group.
const FAREWELL: Duration = Duration::from_secs(30);

/// Watches the instance and protects it from scale-in until [`Self::leave`]; dropping it ends the
/// watch.
#[derive(Debug)]
pub struct Instance {
    told: Arc<InstanceFacts>,
    tasks: JoinSet<()>,
}

/// What is known about the instance.
#[derive(Debug)]
struct InstanceFacts {
    metadata: Metadata,
    /// The names of the autoscaling group and its hook.
    names: Option<(String, Option<String>)>,
    group: OnceCell<ScalingGroup>,
    /// Whether the metadata service has answered.
    answers: AtomicBool,
    /// Whether the group terminates the instance.
    ended: AtomicBool,
    /// The scale-in protection last set; `None`: never set, or the result is unknown.
    protected: Mutex<Option<bool>>,
    grace: Duration,
}

impl Instance {
    /// Watches the instance from now on, if configured: a notice of its end stops `halt`. If no
    /// metadata service answers, this is not an instance, and nothing happens.
    pub fn attend(config: &Config, monitor: &Arc<Monitor>, halt: &Halt) -> Option<Self> {
        let metadata = config.instance.watch.then(Metadata::new)??;
        let hook = config.instance.lifecycle_hook.clone();
        let told = Arc::new(InstanceFacts {
            metadata,
            names: config.instance.group.clone().map(|group| (group, hook)),
            group: OnceCell::new(),
            answers: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            protected: Mutex::new(None),
            grace: config.mode.grace_time,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(watch(Arc::clone(&told), halt.clone()));
        if told.names.is_some() {
            tasks.spawn(keep(Arc::clone(&told), Arc::clone(monitor), halt.clone()));
            tasks.spawn(prolong(Arc::clone(&told)));
        }
        Some(Self { told, tasks })
    }

    /// The work has ended: the group may terminate the instance, at once if it waits for that.
    pub async fn leave(mut self) {
        self.tasks.shutdown().await;
        if tokio::time::timeout(FAREWELL, self.told.farewell()).await.is_err() {
            warn!("could not inform the autoscaling group in time that this worker has ended");
        }
    }
}

/// Looks for notices as long as the worker runs: a second one may leave less time than the first.
async fn watch(told: Arc<InstanceFacts>, halt: Halt) {
    let (mut in_vain, mut heeded) = (0, None);
    let mut cut: Option<Instant> = None;
    loop {
        match told.read().await {
            Ok(reading) => {
                let notice = notices::notice(&reading, SystemTime::now());
                if let Some(notice) = notice.filter(|notice| heeded != Some(notice.cause)) {
                    heeded = Some(notice.cause);
                    cut = told.heed(notice, &halt).or(cut);
                }
            }
            Err(error) if !told.answers.load(Ordering::Relaxed) => {
                debug!("{error}");
                in_vain += 1;
                if in_vain == LOOKS_IN_VAIN {
                    return told.is_no_instance();
                }
            }
            // It has answered before and will again.
            Err(error) => debug!("{error}"),
        }
        let next = Instant::now() + LOOK;
        tokio::time::sleep_until(cut.map_or(next, |cut| cut.min(next))).await;
        if cut.take_if(|cut| *cut <= Instant::now()).is_some() {
            halt.abort.cancel();
        }
    }
}

/// Extends the hook's timeout while the worker drains. It is a separate task, so that a group that
/// does not answer cannot delay a Spot notice.
async fn prolong(told: Arc<InstanceFacts>) {
    loop {
        tokio::time::sleep(PROLONG).await;
        if told.ended.load(Ordering::Relaxed) {
            told.prolong().await;
        }
    }
}

/// Keeps the group from scaling this instance in while it works.
///
/// Between the last check of an idle worker and its first message the group may choose this
/// instance; then the hook gives the worker time to drain.
async fn keep(told: Arc<InstanceFacts>, monitor: Arc<Monitor>, halt: Halt) {
    let (mut last_work, mut warned) = (Instant::now(), false);
    // The final calls to the group follow when all work is done.
    while !halt.is_stopping() {
        let in_work = monitor.in_work() > 0;
        if in_work {
            last_work = Instant::now();
        }
        let wanted = notices::protection(told.protected(), in_work, last_work.elapsed());
        let refused = match wanted {
            Some(on) if told.answers.load(Ordering::Relaxed) => told.protect(on).await.err(),
            _ => None,
        };
        if let Some(error) = &refused {
            match warned {
                true => debug!("{error}"),
                false => {
                    warn!("this instance is not protected from scale-in while it works: {error}")
                }
            }
            warned = true;
        }
        tokio::time::sleep(if refused.is_some() { REFUSED } else { TICK }).await;
    }
}

impl InstanceFacts {
    /// Reads the metadata service. A path that fails does not hide the others; fails only if none
    /// can be read.
    async fn read(&self) -> Result<MetadataReading> {
        let (spot, rebalance, lifecycle) = tokio::join!(
            self.metadata.get("spot/instance-action"),
            self.metadata.get("events/recommendations/rebalance"),
            self.metadata.get("autoscaling/target-lifecycle-state"),
        );
        let reading = match (spot, rebalance, lifecycle) {
            (Err(error), Err(_), Err(_)) => return Err(error),
            (spot, rebalance, lifecycle) => MetadataReading {
                spot: spot.unwrap_or_default(),
                rebalance: rebalance.unwrap_or_default(),
                lifecycle: lifecycle.unwrap_or_default(),
            },
        };
        self.answers.store(true, Ordering::Relaxed);
        // A termination is never revoked.
        self.ended.fetch_or(notices::is_ended(&reading), Ordering::Relaxed);
        Ok(reading)
    }

    fn is_no_instance(&self) {
        match &self.names {
            None => debug!("this is not an EC2 instance, or its metadata service is off"),
            Some((group, _)) => warn!(
                "AutoScalingGroup is {group}, but no instance metadata service answers: this \
                 worker gets no notice before its instance ends, and no protection from scale-in"
            ),
        }
    }

    /// Starts the drain; returns when it must be over, if that is before the end of the grace time.
    fn heed(&self, notice: Notice, halt: &Halt) -> Option<Instant> {
        let grace = notice.grace(self.grace);
        let seconds = grace.as_secs();
        info!("{}: draining, running parts have {seconds} s to finish", notice.cause);
        halt.stop_because(&notice.cause.to_string());
        (grace < self.grace).then(|| Instant::now() + grace)
    }

    fn protected(&self) -> Option<bool> {
        *lock(&self.protected)
    }

    async fn group(&self) -> Result<&ScalingGroup> {
        let connect = || async {
            let Some((name, _)) = &self.names else {
                return Err(Error::usage("AutoScalingGroup is not set"));
            };
            let missing = || {
                Error::new(ErrorKind::Unavailable, "the metadata service returns no instance-id")
            };
            let instance = self.metadata.get("instance-id").await?.ok_or_else(missing)?;
            Ok(ScalingGroup::new(&load_sdk_config().await?, name, instance.trim()))
        };
        self.group.get_or_try_init(connect).await
    }

    async fn protect(&self, on: bool) -> Result<()> {
        let group = self.group().await?;
        // If the answer is lost or the call is cut off, the instance may be protected.
        self.note(None);
        group.protect(on).await?;
        debug!(protected = on, "scale-in protection");
        self.note(Some(on));
        Ok(())
    }

    fn note(&self, protected: Option<bool>) {
        *lock(&self.protected) = protected;
    }

    fn hook(&self) -> Option<&str> {
        self.names.as_ref().and_then(|(_, hook)| hook.as_deref())
    }

    async fn prolong(&self) {
        let Some(hook) = self.hook() else { return };
        let prolonged = async { self.group().await?.prolong(hook).await };
        if let Err(error) = prolonged.await {
            warn!("the lifecycle hook {hook} could not be extended: {error}");
        }
    }

    /// Completes the hook, or else removes the protection.
    async fn farewell(&self) {
        if !self.answers.load(Ordering::Relaxed) || self.names.is_none() {
            return;
        }
        // The termination may be newer than the last poll; if this read fails, the last result
        // stands.
        let _ = self.read().await;
        let is_ended = self.ended.load(Ordering::Relaxed);
        let never = CancellationToken::new();
        let said = match (is_ended, self.hook()) {
            (true, Some(hook)) => {
                let complete = || async { self.group().await?.complete(hook).await };
                retry(Policy::probe(), &never, complete).await.inspect(|()| {
                    info!(
                        "the lifecycle hook is completed: the autoscaling group may end this \
                         instance"
                    );
                })
            }
            // An instance that is being terminated has no protection to remove.
            (true, None) => Ok(()),
            (false, _) if self.protected() != Some(false) => {
                retry(Policy::probe(), &never, || self.protect(false)).await
            }
            (false, _) => Ok(()),
        };
        if let Err(error) = said {
            warn!("could not inform the autoscaling group that this worker has ended: {error}");
        }
    }
}
