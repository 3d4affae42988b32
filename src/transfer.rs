//! Copies or deletes one object: what is pinned, how it is split, resumed and proven.

use std::sync::Arc;
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::config::{Checksum, Config, StorageClass};
use crate::error::{Error, ErrorKind, Result};
use crate::job::Job;
use crate::monitor::Monitor;
use crate::object::{Etag, ObjectId};
use crate::quirk::Quirk;
use crate::record::{Proven, RecordStore};
use crate::retry::Retrying;
use crate::shutdown::Halt;
use crate::store::pace::Paced;
use crate::store::{Headers, ListRequest, NewObject, ObjectMeta, ObjectStore, PartsSeen};
use crate::transfer::layout::{Layout, Route};

mod claim;
mod deletion;
pub mod event_order;
mod evidence;
pub mod layout;
pub mod memory;
mod multipart;
mod ordered;
mod part;
pub mod preserved;
mod proof;
mod resume;
mod sample;
mod second_look;
mod single;
mod single_streamed;
mod stream;
pub mod tag_asking;
mod tags;
mod whole_digest;

pub use claim::{Claim, Delivered};
pub use evidence::Evidence;
pub use sample::Looks;

use crate::digest::lanes::Lanes;
use memory::{MemoryBudget, Reservation};
use single::MAX_READS;

/// How often a copy starts again because the source changed or the upload vanished meanwhile.
const MAX_FRESH_STARTS: u32 = 3;
/// Tries for asking about an object's parts: a store that does not know the request may answer
/// anything.
const ASKED_FOR_PARTS: u32 = 3;

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
    pub state: Arc<dyn RecordStore>,
    /// Limits the bytes in memory.
    pub budget: MemoryBudget,
    /// Hashes the bytes.
    pub lanes: Lanes,
    /// What both sides' answers have shown about their digests.
    pub evidence: Evidence,
    /// Which copies are checked as a sample, and what the source says about tags.
    pub looks: Looks,
    /// The settings of every transfer.
    pub settings: Settings,
    /// Counts progress.
    pub monitor: Arc<Monitor>,
    /// This worker's name in the records.
    pub instance: String,
}

/// One try at one object.
struct Attempt<'a> {
    engine: &'a Arc<Engine>,
    job: &'a Job,
    halt: &'a Halt,
    /// The version that every read asks for.
    version: Option<String>,
    claim: &'a Claim,
    started: SystemTime,
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

/// How a layout relates to the source's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// It is the source's.
    AsTheSource,
    /// It is probably the source's: the store does not say.
    PerhapsAsTheSource,
    /// It does not.
    Anyhow,
}

/// The parts in which an object is to be copied.
#[derive(Clone, Copy, Debug)]
struct Planned {
    layout: Layout,
    cut: Cut,
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

/// The copy in one piece: done, or found to need another way than the job said.
enum Turn {
    Copied(Copied),
    /// It must go in parts: too large for one piece, or written in parts at the source.
    InParts,
}

impl Engine {
    /// Carries `job` out: copies its object, or deletes it.
    pub async fn transfer(self: &Arc<Self>, job: &Job, claim: &Claim, halt: &Halt) -> Result<Done> {
        let started = SystemTime::now();
        // UpdateVersionId looks the version up itself.
        let Settings { get_with_version, update_version, .. } = self.settings;
        let version = job.version.clone().filter(|_| get_with_version && !update_version);
        let attempt = Attempt { engine: self, job, halt, version, claim, started };
        let record = attempt.standing().await?;
        let done = attempt.carry_out(record.as_ref()).await?;
        if let Done::Copied(copied) = &done {
            attempt.look_at_copy(copied).await;
        }
        Ok(done)
    }
}

/// If the source was replaced during each of several copies, the failure is recorded. If the upload
/// keeps vanishing, somebody else is interfering, and the next attempt may be alone.
fn given_up(error: Error) -> Error {
    match error.kind() {
        ErrorKind::SourceChanged => {
            let copies = MAX_FRESH_STARTS + 1;
            Error::invalid(format!(
                "keeps changing: replaced during each of {copies} copies; send it again when it \
                 rests ({error})"
            ))
        }
        _ => error.context(format_args!("begun anew {MAX_FRESH_STARTS} times")),
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

    /// The largest body that is held in memory: others still find room next to it.
    fn largest_held(&self) -> u64 {
        self.budget.total() / 2
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

impl Attempt<'_> {
    /// Copies the object. Starts again if the source is replaced meanwhile, a few times at most.
    async fn copied(&self) -> Result<Copied> {
        let object = &self.job.src;
        let mut fresh_starts = 0;
        loop {
            let max_parts = self.max_parts();
            let error = match self.copy().await {
                Ok(copied) => return Ok(copied),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Err(self.missing(error).await);
                }
                Err(error) if error.kind() == ErrorKind::Archived => {
                    self.engine.source.profile().lock_archives(&self.job.src.bucket);
                    return Err(error);
                }
                Err(error) => error,
            };
            let begin_anew =
                matches!(error.kind(), ErrorKind::SourceChanged | ErrorKind::UploadGone);
            if !begin_anew || self.halt.is_stopping() {
                return Err(error);
            }
            if self.max_parts() < max_parts {
                debug!(%object, "begun anew in fewer parts: {error}");
                continue;
            }
            if error.kind() == ErrorKind::UploadGone
                && let Some(copied) = self.finished_by_another().await?
            {
                info!(%object, "another worker finished the object");
                return Ok(copied);
            }
            fresh_starts += 1;
            if fresh_starts > MAX_FRESH_STARTS {
                self.clear_away().await;
                return Err(given_up(error));
            }
            debug!(%object, "begun anew: {error}");
        }
    }

    async fn copy(&self) -> Result<Copied> {
        if self.engine.settings.update_version {
            return self.copy_recorded_version().await;
        }
        if self.job.size <= self.engine.largest_single()
            && let Turn::Copied(copied) = self.copy_single(None).await?
        {
            return Ok(copied);
        }
        let streamed = self.job.size > self.engine.largest_single();
        if streamed
            && self.may_be_streamed(self.job.size)
            && let Turn::Copied(copied) = self.copy_streamed(None).await?
        {
            return Ok(copied);
        }
        self.copy_seen(&self.head_right().await?).await
    }

    /// UpdateVersionId: the version is looked up first, read by its ID if GetObjectWithVersionId is
    /// set, and must still be the current one at the end.
    async fn copy_recorded_version(&self) -> Result<Copied> {
        let meta = self.head_right().await?;
        let version = meta.version.clone().filter(|_| self.engine.settings.get_with_version);
        let pinned = Attempt { version, ..*self };
        let copied = pinned.copy_seen(&meta).await?;
        let now = self.head_source().await?;
        match now.etag == copied.etag && now.version == copied.version {
            true => Ok(copied),
            false => Err(self.changed("another version is there at the end")),
        }
    }

    async fn copy_seen(&self, meta: &ObjectMeta) -> Result<Copied> {
        if let Some(planned) = self.source_layout(meta).await? {
            return self.copy_multipart(meta, planned).await;
        }
        let in_parts = meta.size > self.engine.largest_single();
        if in_parts
            && meta.md5().is_some()
            && self.may_be_streamed(meta.size)
            && let Turn::Copied(copied) = self.copy_streamed(Some(meta)).await?
        {
            return Ok(copied);
        }
        match self.route(meta.size)? {
            Route::Multipart(layout) => {
                self.copy_multipart(meta, Planned { layout, cut: Cut::Anyhow }).await
            }
            Route::Single => match self.copy_single(Some(meta)).await? {
                Turn::Copied(copied) => Ok(copied),
                Turn::InParts => Err(self.changed("its size differs from the one just seen")),
            },
        }
    }

    /// Most parts of one upload at the destination.
    pub(super) fn max_parts(&self) -> u64 {
        let learned =
            self.engine.destination.profile().value(&self.job.des.bucket, Quirk::MaxParts);
        learned.unwrap_or(layout::MAX_PARTS).min(self.engine.settings.max_parts)
    }

    fn route(&self, size: u64) -> Result<Route> {
        let settings = &self.engine.settings;
        layout::route(size, self.engine.largest_single(), settings.chunk, self.max_parts())
            .map_err(|too_large| Error::invalid(format!("{}: {too_large}", self.job.src)))
    }

    /// Whether the object was written in parts that its copy could have too, with an ETag that
    /// follows from them.
    fn may_have_layout(&self, meta: &ObjectMeta) -> bool {
        self.engine.settings.preserve_etag && meta.multipart_digest().is_some()
    }

    /// The parts in which the source's object was written, if they are known and equal, or a likely
    /// guess: if the store does not say, the finished ETag shows whether the guess was right.
    async fn source_layout(&self, meta: &ObjectMeta) -> Result<Option<Planned>> {
        if !self.may_have_layout(meta) {
            return Ok(None);
        }
        let seen = self.parts_seen(meta).await?;
        let guesses = || self.engine.evidence.guesses(&self.job.src.bucket);
        let (layout, cut) = match seen {
            Some(seen) => (layout::preserved(meta.size, &meta.etag, seen), Cut::AsTheSource),
            None => (guesses().layout(meta.size, &meta.etag), Cut::PerhapsAsTheSource),
        };
        let planned = layout.map(|layout| Planned { layout, cut });
        Ok(planned.filter(|planned| planned.layout.fits(self.max_parts())))
    }

    /// How the object was written in parts; `None` if the store does not say, in whichever way it
    /// refuses.
    async fn parts_seen(&self, meta: &ObjectMeta) -> Result<Option<PartsSeen>> {
        let (source, version) =
            (self.at_source().with_tries(ASKED_FOR_PARTS), self.version.as_deref());
        let seen = source.parts_seen(&self.job.src, version, &meta.etag).await;
        seen.or_else(|error| match error.kind() {
            // The fault may be temporary.
            ErrorKind::Unavailable | ErrorKind::Throttled | ErrorKind::Invalid => Ok(None),
            _ => Err(error),
        })
    }

    /// Whether the answer to a read has as many bytes as its object. The job's size comes from the
    /// listing: if the answer has another size under the listing's own ETag, it is broken (and if
    /// the listing has changed as well, the job is out of date).
    async fn has_its_length(
        &self,
        meta: &ObjectMeta,
        seen: Option<&ObjectMeta>,
    ) -> Result<Result<(), Error>> {
        let expected = seen.map_or(self.job.size, |seen| seen.size);
        if meta.size == expected {
            return Ok(Ok(()));
        }
        let same = match seen {
            Some(seen) => (seen.etag == meta.etag).then_some(seen.size),
            None => self.listed_under(&meta.etag).await?,
        };
        Ok(match same {
            Some(size) if size != meta.size => Err(Error::invalid(format!(
                "{}: the source answers {} bytes under the ETag {} with which it lists {size}: a \
                 broken reading each time, nothing was written",
                self.job.src, meta.size, meta.etag
            ))),
            _ => Ok(()),
        })
    }

    /// What the source says about the object, checked against its own listing.
    async fn head_right(&self) -> Result<ObjectMeta> {
        let head = || async {
            let meta = self.head_source().await?;
            match self.has_its_length(&meta, None).await? {
                Ok(()) => Ok(meta),
                Err(broken) => Err(Error::new(ErrorKind::Damaged, broken.to_string())),
            }
        };
        let seen = self.at_source().with_tries(MAX_READS).control(head).await;
        seen.map_err(|error| match error.kind() {
            ErrorKind::Damaged => Error::invalid(error.to_string()),
            _ => error,
        })
    }

    /// The size with which the source lists the object now, if it does so under this ETag.
    async fn listed_under(&self, etag: &Etag) -> Result<Option<u64>> {
        let ObjectId { bucket, key } = &self.job.src;
        let (bucket, prefix) = (bucket.clone(), key.as_str().to_owned());
        let request = ListRequest { bucket, prefix, ..ListRequest::default() };
        let page = match self.at_source().list(&request).await {
            Ok(page) => page,
            Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
            // A worker may lack the permission to list.
            Err(error) => {
                debug!("whether the size is right cannot be told: {error}");
                return Ok(None);
            }
        };
        let mut rows = page.iter();
        let row = rows.find(|row| row.key == key.as_str());
        Ok(row.filter(|row| row.etag.map(Etag::new).as_ref() == Some(etag)).map(|row| row.size))
    }

    fn at_source(&self) -> Retrying<'_, Paced> {
        self.engine.at_source(&self.halt.abort)
    }

    fn at_destination(&self) -> Retrying<'_, Paced> {
        self.engine.at_destination(&self.halt.abort)
    }

    fn on_record(&self) -> Retrying<'_, dyn RecordStore> {
        Retrying::new(&*self.engine.state, self.engine.settings.max_retry, &self.halt.abort)
    }

    fn changed(&self, how: &str) -> Error {
        let message = format!("{}: the source changed during its copy: {how}", self.job.src);
        Error::new(ErrorKind::SourceChanged, message)
    }

    async fn head_source(&self) -> Result<ObjectMeta> {
        self.at_source().head(&self.job.src, self.version.as_deref()).await
    }

    /// What the new object gets in addition to its bytes.
    async fn new_object(&self, meta: &ObjectMeta) -> Result<NewObject> {
        let settings = &self.engine.settings;
        let tags = match settings.copy_tags {
            true => self.tags_of(meta).await?,
            false => Vec::new(),
        };
        if settings.copy_metadata {
            self.note_missing(meta);
        }
        let headers = match settings.copy_metadata {
            true => meta.headers.clone(),
            false => Headers::default(),
        };
        let storage_class = settings.storage_class.of(meta.storage_class.as_deref());
        Ok(NewObject { headers, storage_class, tags, crc64nvme: false })
    }
}
