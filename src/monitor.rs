//! Counts objects and bytes once: for progress, summaries, traffic lines, this process's watchdog.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::error::Error;
use crate::monitor::activity::Activity;
use crate::monitor::liveness::Signs;
use crate::mutex::lock;
use crate::object::ObjectId;
use crate::record::{Proofs, Proven};

pub mod activity;
pub mod liveness;
mod pulse;
pub mod spread;

use pulse::Pulse;
pub use pulse::{InWork, LoopTurn};

/// The three directions of the traffic lines; the metric filters use their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traffic {
    Downloading,
    Uploading,
    Complete,
}

/// Learns of every object that ends, by its source and its destination.
pub trait Ends: fmt::Debug + Send + Sync {
    /// The object of this many bytes arrived.
    fn done(&self, src: &ObjectId, des: &ObjectId, bytes: u64);

    /// The object failed for good.
    fn failed(&self, src: &ObjectId, des: &ObjectId);
}

/// Counts since the last line.
#[derive(Debug, Default)]
struct Interval {
    bytes: u64,
    count: u64,
    last: Option<ObjectId>,
}

/// Counters of one process.
#[derive(Debug, Default)]
pub struct Monitor {
    done: AtomicU64,
    done_bytes: AtomicU64,
    deleted: AtomicU64,
    failed: AtomicU64,
    returned: AtomicU64,
    downloaded: AtomicU64,
    uploaded: AtomicU64,
    intervals: [Mutex<Interval>; 3],
    proofs: Mutex<Proofs>,
    tags_denied: AtomicBool,
    ends: OnceLock<Arc<dyn Ends>>,
    pulse: Pulse,
    activity: Arc<Activity>,
}

/// A reading of the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Objects that arrived.
    pub done: u64,
    /// Their bytes.
    pub done_bytes: u64,
    /// How they were verified.
    pub proofs: Proofs,
    /// Objects deleted at the destination.
    pub deleted: u64,
    /// Objects that failed for good.
    pub failed: u64,
    /// How often an object went back to the queue.
    pub returned: u64,
    /// Bytes read from the source, including those read again.
    pub downloaded: u64,
    /// Bytes accepted by the destination, including those sent again.
    pub uploaded: u64,
}

impl Monitor {
    /// Also reports every object that ends to `ends`; only the first call counts.
    pub fn report_to(&self, ends: Arc<dyn Ends>) {
        let _ = self.ends.set(ends);
    }

    /// Counts `bytes` of an object read.
    pub fn downloaded(&self, bytes: u64, object: &ObjectId) {
        self.downloaded.fetch_add(bytes, Ordering::Relaxed);
        self.traffic(Traffic::Downloading, bytes, object);
    }

    /// Counts `bytes` of an object accepted by the destination.
    pub fn uploaded(&self, bytes: u64, object: &ObjectId) {
        self.uploaded.fetch_add(bytes, Ordering::Relaxed);
        self.traffic(Traffic::Uploading, bytes, object);
    }

    /// Counts an object of `bytes` that is at the destination and on record, with how it was
    /// verified.
    pub fn done(&self, bytes: u64, proven: Proven, object: &ObjectId, des: &ObjectId) {
        if let Some(ends) = self.ends.get() {
            ends.done(object, des, bytes);
        }
        lock(&self.proofs).count(proven);
        self.done.fetch_add(1, Ordering::Relaxed);
        self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.traffic(Traffic::Complete, bytes, object);
    }

    /// Counts an object that is deleted at the destination and on record as deleted.
    pub fn deleted(&self) {
        self.deleted.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an object that failed for good.
    pub fn failed(&self, src: &ObjectId, des: &ObjectId) {
        if let Some(ends) = self.ends.get() {
            ends.failed(src, des);
        }
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an object that went back to the queue.
    pub fn returned(&self) {
        self.returned.fetch_add(1, Ordering::Relaxed);
    }

    /// Warns that tags may not be read: once, not for every object.
    pub fn tags_denied(&self, error: &Error) {
        if !self.tags_denied.swap(true, Ordering::Relaxed) {
            warn!("objects are copied without their tags: {error}");
        }
    }

    /// Counts a message as in work until the returned value is dropped.
    pub fn begin_message(self: &Arc<Self>) -> InWork {
        InWork::begin(Arc::clone(self))
    }

    /// What it is doing, in more detail.
    pub fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// The number of messages in work.
    pub fn in_work(&self) -> usize {
        self.pulse.in_work()
    }

    /// Notes that the receive loop has started a turn; `turn`: what it does next.
    pub fn turned(&self, turn: LoopTurn) {
        self.pulse.turned(turn);
    }

    /// What the receive loop last began to do.
    pub fn turn(&self) -> LoopTurn {
        self.pulse.turn()
    }

    /// The signs of life of the worker.
    pub fn signs(&self) -> Signs {
        self.pulse.signs()
    }

    /// The counters now.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            done: read(&self.done),
            done_bytes: read(&self.done_bytes),
            proofs: *lock(&self.proofs),
            deleted: read(&self.deleted),
            failed: read(&self.failed),
            returned: read(&self.returned),
            downloaded: read(&self.downloaded),
            uploaded: read(&self.uploaded),
        }
    }

    fn traffic(&self, traffic: Traffic, bytes: u64, object: &ObjectId) {
        debug!("--->{traffic:?} {bytes} {object}");
        let mut interval = self.interval(traffic);
        interval.bytes += bytes;
        interval.count += 1;
        interval.last = Some(object.clone());
    }

    fn interval(&self, traffic: Traffic) -> std::sync::MutexGuard<'_, Interval> {
        // A poisoned counter is still a counter.
        self.intervals[traffic as usize].lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Writes the sums since the last call, a line for each direction with traffic. At DEBUG every
    /// part has had a line of its own, so no sum is written: the metric filters add up all lines.
    pub fn log_traffic(&self) {
        for traffic in [Traffic::Downloading, Traffic::Uploading, Traffic::Complete] {
            let Interval { bytes, count, last } = std::mem::take(&mut *self.interval(traffic));
            if let Some(last) = last
                && !tracing::enabled!(tracing::Level::DEBUG)
            {
                info!("--->{traffic:?} {bytes} {last} (the last of {count})");
            }
        }
    }

    /// Calls [`Self::log_traffic`] every `interval` until `end`, and once more then.
    pub async fn log_traffic_every(&self, interval: Duration, end: CancellationToken) {
        while end.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
            self.log_traffic();
        }
        self.log_traffic();
    }
}
