//! Moving one object: the way it takes, what is pinned, and what is proven at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use tracing::{debug, info};

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::job::Job;
use crate::monitor::Monitor;
use crate::object::Etag;
use crate::plan::digest;
use crate::plan::parts::{self, Route};
use crate::retry::{Policy, retry};
use crate::shutdown::Halt;
use crate::state::StateStore;
use crate::store::{GetAnswer, Headers, Md5, NewObject, ObjectMeta, ObjectStore, Written};

pub mod memory;
mod multipart;
mod part;
mod resume;
mod single;

use memory::{MemoryBudget, Reservation};

/// How often a copy is begun anew because the source changed or the upload vanished meanwhile.
const MAX_FRESH_STARTS: u32 = 3;

/// What of the configuration a transfer obeys.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Up to this many bytes one GET and one PUT.
    pub threshold: u64,
    /// Bytes of a part, before it grows.
    pub chunk: u64,
    /// Tries for one call.
    pub max_retry: u32,
    /// Parts of one object at once.
    pub max_thread: usize,
    /// Storage class at the destination; `None`: the source's own.
    pub storage_class: Option<String>,
    /// Headers and user metadata travel along.
    pub copy_metadata: bool,
    /// Tags travel along.
    pub copy_tags: bool,
    /// Abort what an earlier run began instead of resuming it.
    pub clean_unfinished_upload: bool,
    /// Re-read the parts that an earlier run sent.
    pub verify_twice: bool,
    /// Look the version up at the start and check it at the end.
    pub update_version: bool,
    /// Fetch that version, not the latest.
    pub get_with_version: bool,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        let (mode, debug) = (&config.mode, &config.debug);
        Self {
            threshold: mode.resumable_threshold,
            chunk: debug.chunk_size,
            max_retry: mode.max_retry,
            max_thread: mode.max_thread,
            storage_class: mode.storage_class.clone(),
            copy_metadata: mode.copy_metadata,
            copy_tags: mode.copy_tags,
            clean_unfinished_upload: debug.clean_unfinished_upload,
            verify_twice: debug.if_verify_md5_twice,
            update_version: mode.update_version_id,
            get_with_version: mode.get_object_with_version_id,
        }
    }
}

/// Moves objects; shared by all jobs of a worker.
#[derive(Debug)]
pub struct Engine {
    /// Where objects are read.
    pub source: Arc<dyn ObjectStore>,
    /// Where they are written.
    pub destination: Arc<dyn ObjectStore>,
    /// The records.
    pub state: Arc<dyn StateStore>,
    /// Bytes that may be in memory.
    pub budget: MemoryBudget,
    /// What to obey.
    pub settings: Settings,
    /// Who to tell.
    pub monitor: Arc<Monitor>,
    /// This worker's name in the records.
    pub instance: String,
}

/// An attempt's fencing token: the record lets only the attempt that began last end it.
#[derive(Debug)]
pub struct Fence {
    token: String,
    begun: AtomicBool,
}

impl Fence {
    /// A token that no other attempt has.
    pub fn new(instance: &str) -> Self {
        let token = format!("{instance}/{:016x}", fastrand::u64(..));
        Self { token, begun: AtomicBool::new(false) }
    }

    /// The token, once the attempt has put its begin on record.
    pub fn begun(&self) -> Option<String> {
        self.begun.load(Ordering::Acquire).then(|| self.token.clone())
    }
}

/// One try at one object.
struct Attempt<'a> {
    engine: &'a Arc<Engine>,
    job: &'a Job,
    halt: &'a Halt,
    /// The version that every read asks for.
    version: Option<String>,
    fence: &'a Fence,
    started: SystemTime,
}

/// An object that is at the destination, proven.
#[derive(Clone, Debug)]
pub struct Copied {
    /// Bytes.
    pub size: u64,
    /// The source's ETag that every read was pinned to.
    pub etag: Etag,
    /// The source's version, where it is known.
    pub version: Option<String>,
}

/// Where the copy of an object turns out to need another way than its job said.
enum Turn {
    Copied(Copied),
    /// The source holds more than one piece may have.
    TooLargeForOnePiece,
}

impl Engine {
    /// Copies the object of `job`. Begins anew where the source is replaced meanwhile, at most a
    /// few times. `fence` is this attempt's token in the record.
    pub async fn transfer(
        self: &Arc<Self>,
        job: &Job,
        fence: &Fence,
        halt: &Halt,
    ) -> Result<Copied> {
        let started = SystemTime::now();
        let version = job.version.clone().filter(|_| self.settings.get_with_version);
        let attempt = Attempt { engine: self, job, halt, version, fence, started };
        let mut fresh_starts = 0;
        loop {
            let error = match attempt.copy().await {
                Ok(copied) => return Ok(copied),
                Err(error) => error,
            };
            let begin_anew =
                matches!(error.kind(), ErrorKind::SourceChanged | ErrorKind::UploadGone);
            if !begin_anew || halt.is_stopping() {
                return Err(error);
            }
            if error.kind() == ErrorKind::UploadGone
                && let Some(copied) = attempt.finished_by_another().await?
            {
                info!(object = %job.src, "another worker finished the object");
                return Ok(copied);
            }
            fresh_starts += 1;
            if fresh_starts > MAX_FRESH_STARTS {
                return Err(error.context(format_args!("begun anew {MAX_FRESH_STARTS} times")));
            }
            debug!(object = %job.src, "begun anew: {error}");
        }
    }
}

impl Engine {
    /// A share of the memory budget; what has not begun when the work stops gets none.
    async fn reserve(&self, bytes: u64, halt: &Halt) -> Result<Reservation> {
        let reserved = halt.unless_stopping(self.budget.reserve(bytes)).await;
        reserved.unwrap_or_else(|| Err(Error::cancelled()))
    }
}

impl Attempt<'_> {
    async fn copy(&self) -> Result<Copied> {
        let settings = &self.engine.settings;
        if settings.update_version {
            return self.copy_recorded_version().await;
        }
        if self.job.size <= settings.threshold
            && let Turn::Copied(copied) = self.copy_single(None).await?
        {
            return Ok(copied);
        }
        self.copy_seen(&self.head_source().await?).await
    }

    /// UpdateVersionId: the version is looked up first, read where GetObjectWithVersionId says so,
    /// and must still be the current one at the end.
    async fn copy_recorded_version(&self) -> Result<Copied> {
        let meta = self.head_source().await?;
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
        match self.route(meta.size)? {
            Route::Multipart(layout) => self.copy_multipart(meta, layout).await,
            Route::Single => match self.copy_single(Some(meta)).await? {
                Turn::Copied(copied) => Ok(copied),
                Turn::TooLargeForOnePiece => {
                    Err(self.changed("its size differs from the one just seen"))
                }
            },
        }
    }

    fn route(&self, size: u64) -> Result<Route> {
        let settings = &self.engine.settings;
        parts::route(size, settings.threshold, settings.chunk)
            .map_err(|too_large| Error::invalid(format!("{}: {too_large}", self.job.src)))
    }

    fn control(&self) -> Policy {
        Policy::control(self.engine.settings.max_retry)
    }

    fn data(&self, bytes: u64) -> Policy {
        Policy::data(self.engine.settings.max_retry, bytes)
    }

    fn changed(&self, how: &str) -> Error {
        let message = format!("{}: the source changed during its copy: {how}", self.job.src);
        Error::new(ErrorKind::SourceChanged, message)
    }

    async fn head_source(&self) -> Result<ObjectMeta> {
        let (engine, version) = (self.engine, self.version.as_deref());
        let head = || async { engine.source.head(&self.job.src, version).await };
        retry(self.control(), &self.halt.abort, head).await
    }

    /// What the new object is given besides its bytes.
    async fn new_object(&self, meta: &ObjectMeta) -> Result<NewObject> {
        let settings = &self.engine.settings;
        let tags = match meta.tag_count > 0 && settings.copy_tags {
            true => self.tags(meta).await?,
            false => Vec::new(),
        };
        let headers = match settings.copy_metadata {
            true => meta.headers.clone(),
            false => Headers::default(),
        };
        let own = || meta.storage_class.clone();
        let storage_class = settings.storage_class.clone().or_else(own);
        Ok(NewObject { headers, storage_class, tags })
    }

    /// A missing permission to read tags is worth a warning, not the object.
    async fn tags(&self, meta: &ObjectMeta) -> Result<Vec<(String, String)>> {
        let (engine, job) = (self.engine, self.job);
        let version = self.version.as_deref().or(meta.version.as_deref());
        // Asking for a version needs another permission; without GetObjectWithVersionId it is not
        // asked for.
        let version = version.filter(|_| engine.settings.get_with_version);
        let read = || async { engine.source.tags(&job.src, version).await };
        match retry(self.control(), &self.halt.abort, read).await {
            Err(error) if error.kind() == ErrorKind::Denied => {
                engine.monitor.tags_denied(&error);
                Ok(Vec::new())
            }
            answer => answer,
        }
    }
}

/// Reads a whole body of exactly `expected` bytes and its MD5; one that is short or long is
/// `Damaged`. The digest grows as the bytes come, so that no part stops the runtime for long.
async fn read_exactly(answer: GetAnswer, expected: u64) -> Result<(Bytes, Md5)> {
    let GetAnswer { content_length, mut body, .. } = answer;
    if content_length != expected {
        return Err(wrong_length(expected, content_length));
    }
    let mut bytes = BytesMut::with_capacity(expected as usize);
    let mut hasher = digest::Hasher::default();
    while let Some(chunk) = body.try_next().await? {
        let so_far = bytes.len() as u64 + chunk.len() as u64;
        if so_far > expected {
            return Err(wrong_length(expected, so_far));
        }
        hasher.update(&chunk);
        bytes.extend_from_slice(&chunk);
    }
    if bytes.len() as u64 != expected {
        return Err(wrong_length(expected, bytes.len() as u64));
    }
    Ok((bytes.freeze(), hasher.finish()))
}

fn wrong_length(expected: u64, got: u64) -> Error {
    let message = format!("the source's answer has {got} bytes instead of {expected}");
    Error::new(ErrorKind::Damaged, message)
}

/// The destination's ETag against the digest computed here. Where an ETag is no MD5 (SSE-KMS, or a
/// store with tags of its own), the Content-MD5 that the store checked has to suffice.
fn check_etag(written: &Written, md5: &Md5, what: &str) -> Result<()> {
    let expected = digest::single_etag(md5);
    if !written.etag_is_md5() || written.etag.same_digest(&expected) {
        return Ok(());
    }
    let message =
        format!("{what}: the destination holds {} where {expected} was sent", written.etag);
    Err(Error::new(ErrorKind::Damaged, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{StreamExt, stream};

    fn answer(content_length: u64, chunks: &[&'static [u8]]) -> GetAnswer {
        let chunks: Vec<Result<Bytes>> =
            chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk))).collect();
        let meta = ObjectMeta {
            size: content_length,
            etag: Etag::new("e"),
            version: None,
            last_modified: None,
            storage_class: None,
            tag_count: 0,
            headers: Headers::default(),
        };
        GetAnswer { meta, content_length, body: stream::iter(chunks).boxed() }
    }

    #[tokio::test]
    async fn a_body_that_is_short_or_long_is_never_used() {
        let (read, md5) = read_exactly(answer(4, &[b"ab", b"cd"]), 4).await.unwrap();
        assert_eq!(read, Bytes::from_static(b"abcd"));
        assert_eq!(md5, digest::md5(b"abcd"));
        for wrong in [answer(4, &[b"ab"]), answer(4, &[b"abcde"]), answer(5, &[b"abcde"])] {
            let error = read_exactly(wrong, 4).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged);
        }
    }

    #[test]
    fn an_md5_etag_that_differs_is_damage_and_another_kind_is_no_proof() {
        let md5 = digest::md5(b"sent");
        let written = |etag: Etag, sse: Option<&str>| Written { etag, sse: sse.map(str::to_owned) };
        let other = digest::single_etag(&digest::md5(b"stored"));
        assert!(check_etag(&written(digest::single_etag(&md5), None), &md5, "p").is_ok());
        assert!(check_etag(&written(other.clone(), None), &md5, "p").is_err());
        assert!(check_etag(&written(other.clone(), Some("AES256")), &md5, "p").is_err());
        assert!(check_etag(&written(other, Some("aws:kms")), &md5, "p").is_ok());
        assert!(check_etag(&written(Etag::new("opaque"), None), &md5, "p").is_ok());
    }
}
