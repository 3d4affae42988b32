//! Copies or deletes one object: what is pinned, how it is split, resumed and proven.

use std::sync::Arc;
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use crate::config::{Checksum, Config, StorageClass};
use crate::error::{Error, Result};
use crate::job::Job;
use crate::monitor::Monitor;
use crate::object::Etag;
use crate::record::{Attempts, Notes, Proven};
use crate::retry::Retrying;
use crate::shutdown::Halt;
use crate::store::pace::Paced;
use crate::transfer::layout::Layout;

mod attempt;
mod claim;
mod completion;
mod deletion;
pub mod event_order;
mod evidence;
mod in_event_order;
pub mod layout;
pub mod memory;
mod multipart;
mod part;
mod part_read;
pub mod part_times;
mod parts;
pub mod preserved;
mod proof;
mod resume;
mod sample;
mod second_look;
mod single;
mod single_streamed;
mod source;
mod stream;
pub mod tag_asking;
mod tags;
#[cfg(test)]
mod tests;
mod turn;
mod whole_digest;

use attempt::{Attempt, Cut, Planned, Turn};
use claim::Progress;
pub use claim::{Claim, Delivered, Report, Standing};
pub use evidence::StoreEvidence;
pub use sample::Looks;

use crate::digest::lanes::Lanes;
use memory::{MemoryBudget, Reservation};
use part_times::PartTimes;

/// The part of the configuration that a transfer uses.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Objects of up to this many bytes are copied by one GET and one PUT.
    pub threshold: u64,
    /// Objects of up to this many bytes whose ETag is an MD5 are streamed by one GET and one PUT.
    pub stream_threshold: u64,
    /// Bytes of a part, before it grows.
    pub chunk: u64,
    /// Most parts of one upload.
    pub max_parts: u64,
    /// Tries for one call.
    pub max_retry: u32,
    /// Parts of one object at once.
    pub max_thread: usize,
    /// Bytes of an object that are read a second time, at most.
    pub read_again: u64,
    /// Storage class at the destination.
    pub storage_class: StorageClass,
    /// Out of 1,000 copied objects, this many have their headers and metadata compared.
    pub sample_rate: u32,
    /// An object that was uploaded in equal parts is written in the same parts.
    pub preserve_etag: bool,
    /// The digests that verify every body.
    pub checksum: Checksum,
    /// Headers and user metadata are copied as well.
    pub copy_metadata: bool,
    /// Tags are copied as well.
    pub copy_tags: bool,
    /// Abort what an earlier run began instead of resuming it.
    pub clean_unfinished_upload: bool,
    /// Re-read the parts that an earlier run sent.
    pub verify_twice: bool,
    /// Look the version up at the start and check it at the end.
    pub update_version: bool,
    /// Fetch that version, not the latest.
    pub get_with_version: bool,
    /// Events about deletions at the source are carried out.
    pub propagate_delete: bool,
}

impl Settings {
    /// Taken from the configuration, with `max_thread` parts of one object at once.
    pub fn new(config: &Config, max_thread: usize) -> Self {
        let (mode, debug) = (&config.mode, &config.debug);
        Self {
            threshold: mode.resumable_threshold,
            stream_threshold: mode.stream_threshold,
            chunk: debug.chunk_size,
            max_parts: config.destination.max_parts,
            max_retry: mode.max_retry,
            max_thread,
            read_again: resume::most_read_again(mode.job_timeout),
            storage_class: mode.storage_class.clone(),
            sample_rate: mode.sample_rate,
            preserve_etag: mode.preserve_etag,
            checksum: mode.checksum,
            copy_metadata: mode.copy_metadata,
            copy_tags: mode.copy_tags,
            clean_unfinished_upload: debug.clean_unfinished_upload,
            verify_twice: debug.if_verify_md5_twice,
            update_version: mode.update_version_id,
            get_with_version: mode.get_object_with_version_id,
            propagate_delete: mode.propagate_delete,
        }
    }
}

/// Moves objects; shared by all jobs of a worker.
#[derive(Debug)]
pub struct Engine {
    /// Where objects are read.
    pub source: Arc<Paced>,
    /// Where they are written.
    pub destination: Arc<Paced>,
    /// The records.
    pub state: Arc<dyn Attempts>,
    /// What workers note for each other.
    pub notes: Arc<dyn Notes>,
    /// Limits the bytes in memory.
    pub budget: MemoryBudget,
    /// Hashes the bytes.
    pub lanes: Lanes,
    /// What both sides' answers have shown about their digests.
    pub evidence: StoreEvidence,
    /// Which copies are checked as a sample, and what the source says about tags.
    pub looks: Looks,
    /// The settings of every transfer.
    pub settings: Settings,
    /// How long parts have lately taken.
    pub part_times: PartTimes,
    /// Counts progress.
    pub monitor: Arc<Monitor>,
    /// This worker's name in the records.
    pub instance: String,
}

/// An object that is at the destination, and proven.
#[derive(Clone, Debug)]
pub struct Copied {
    /// Bytes.
    pub size: u64,
    /// The source's ETag to which every read was pinned.
    pub etag: Etag,
    /// The source's version, if known.
    pub version: Option<String>,
    /// How it is proven.
    pub proven: Proven,
    /// The destination's own ETag, if it has answered one.
    pub written: Option<Etag>,
}

/// How a job succeeded.
#[derive(Clone, Debug)]
pub enum Done {
    /// The destination has the source's object.
    Copied(Copied),
    /// The destination has no object, as the source has none.
    Deleted,
    /// There was nothing to do, for this reason; nothing is recorded.
    PassedOver(&'static str),
}

impl Engine {
    /// Carries `job` out: copies its object, or deletes it.
    pub async fn transfer(self: &Arc<Self>, job: &Job, claim: &Claim, halt: &Halt) -> Report {
        let (started, progress) = (SystemTime::now(), Progress::default());
        // UpdateVersionId looks the version up itself.
        let Settings { get_with_version, update_version, .. } = self.settings;
        let version = job.version.clone().filter(|_| get_with_version && !update_version);
        let attempt =
            Attempt { engine: self, job, halt, version, claim, progress: &progress, started };
        let ended = attempt.run().await;
        progress.report(ended, claim)
    }
}

impl Engine {
    /// The source, with calls that are tried again until `cancel`.
    fn at_source<'a>(&'a self, cancel: &'a CancellationToken) -> Retrying<'a, Paced> {
        Retrying::new(&*self.source, self.settings.max_retry, cancel)
    }

    /// The destination, with calls that are tried again until `cancel`.
    fn at_destination<'a>(&'a self, cancel: &'a CancellationToken) -> Retrying<'a, Paced> {
        Retrying::new(&*self.destination, self.settings.max_retry, cancel)
    }

    fn largest_held(&self) -> u64 {
        self.budget.largest_held()
    }

    /// The largest object that goes in one piece.
    pub fn largest_single(&self) -> u64 {
        self.settings.threshold.min(self.largest_held())
    }

    /// Whether an upload into `bucket` uses CRC-64/NVME checksums: if they are configured, or if
    /// nothing else could prove parts that are too large to be held.
    fn wants_crc64nvme(&self, bucket: &str, layout: Layout) -> bool {
        let too_large = layout.part_size.min(layout.size) > self.largest_held();
        self.settings.checksum.has_crc64nvme() || (too_large && self.is_opaque(bucket))
    }

    /// Reserves a share of the memory budget; fails if the work stops first.
    async fn reserve(&self, bytes: u64, halt: &Halt) -> Result<Reservation> {
        let reserved = halt.unless_stopping(self.budget.reserve(bytes)).await;
        reserved.unwrap_or_else(|| Err(Error::cancelled()))
    }
}
