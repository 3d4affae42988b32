//! `cleanup`: unfinished uploads at the destination, sorted by the records: those that this
//! system began, and those that it does not know.
//!
//! Only what a record names is ever aborted, and not while a worker may be filling it.

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::error::{ErrorKind, Result};
use crate::object::ObjectId;
use crate::record::{JobStatus, Record, RecordStore};
use crate::retry::{Policy, retry};
use crate::store::pace::Paced;
use crate::store::{ListedUpload, Upload, UploadMarker, Uploads};

mod hold;

pub use hold::Hold;

/// What becomes of an upload's job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// A worker may be filling it now.
    Held,
    /// Its job waits for another attempt, which would continue the upload.
    Waiting,
    /// Its job has failed for good; sent again, it would continue the upload.
    Failed,
    /// No record names it.
    Unknown,
}

impl Standing {
    /// `held`, `waiting`, `failed` or `unknown`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// An unfinished upload.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// The upload.
    pub upload: Upload,
    /// When it was created, or the latest attempt to fill it began.
    pub since: Option<SystemTime>,
    /// The storage class of its parts, if the store says.
    pub class: Option<String>,
    /// The bytes of its parts; `None` if the store does not say.
    pub bytes: Option<u64>,
    /// What becomes of its job.
    pub standing: Standing,
}

/// What was done about an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Only looked at.
    Listed,
    /// It is gone, and its parts with it.
    Aborted,
    /// Left: a worker may be filling it.
    Held,
    /// Left: it is younger than asked for.
    Young,
    /// Left: no record names it.
    Unknown,
    /// It could not be aborted.
    Refused(String),
}

impl Outcome {
    /// `listed`, `aborted`, `held`, `young`, `unknown` or `refused`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Aborted => "aborted",
            Self::Held => "held",
            Self::Young => "young",
            Self::Unknown => "unknown",
            Self::Refused(_) => "refused",
        }
    }
}

/// Receives each upload with what was done about it.
pub type Each<'a> = &'a mut (dyn FnMut(&Unfinished, &Outcome) -> Result<()> + Send);

/// Looks for unfinished uploads, and aborts them.
#[derive(Clone, Debug)]
pub struct Cleanup {
    /// The records.
    pub records: Arc<dyn RecordStore>,
    /// The side at which uploads are.
    pub destination: Arc<Paced>,
    /// Until when a worker may hold an upload.
    pub hold: Hold,
    /// How patient each call is.
    pub policy: Policy,
    /// Aborts what is on record, not held and at least this old; `None`: aborts nothing.
    pub abort: Option<Duration>,
    /// Ends the work after the call in progress.
    pub stop: CancellationToken,
}

/// Distinguishes the uploads on record from others, in 8 bytes each.
#[derive(Debug, Default)]
struct OnRecord {
    uploads: HashSet<u64>,
    buckets: BTreeSet<String>,
}

fn number(upload: &Upload) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&upload.target, &upload.id).hash(&mut hasher);
    hasher.finish()
}

impl Cleanup {
    /// Calls `each` with every unfinished upload: first those on record, within `places` if any are
    /// given; then the others in these places, or in all buckets that the records name. A place is
    /// a bucket and the beginning of keys there. `false`: stopped before the end.
    pub async fn look(&self, places: &[ObjectId], each: Each<'_>) -> Result<bool> {
        let mut known = OnRecord::default();
        for status in [JobStatus::Running, JobStatus::Failed] {
            let mut token: Option<String> = None;
            loop {
                let asked = token.as_deref();
                let page = self.call(|| self.records.page_with_status(status, asked)).await?;
                for record in page.records {
                    if self.stop.is_cancelled() {
                        return Ok(false);
                    }
                    self.look_at(record, places, &mut known, each).await?;
                }
                token = page.next;
                if token.is_none() {
                    break;
                }
            }
        }
        let all = known.buckets.iter().map(|bucket| ObjectId::new(bucket, ""));
        let all: Vec<ObjectId> = if places.is_empty() { all.collect() } else { places.to_vec() };
        for place in &all {
            if !self.look_for_unknown(place, &known, each).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn look_at(
        &self,
        record: Record,
        places: &[ObjectId],
        known: &mut OnRecord,
        each: Each<'_>,
    ) -> Result<()> {
        let des = &record.id.des;
        let Some(begun) = &record.upload else { return Ok(()) };
        if !places.is_empty() && !places.iter().any(|place| is_within(des, place)) {
            return Ok(());
        }
        let upload = Upload { target: des.clone(), id: begun.id.clone() };
        known.buckets.insert(des.bucket.clone());
        known.uploads.insert(number(&upload));
        let Some(bytes) = self.bytes(&upload).await? else { return Ok(()) };
        let listed = self.call(|| self.destination.list_uploads(des)).await.unwrap_or_default();
        let listed = listed.into_iter().find(|listed| listed.upload.id == upload.id);
        let (since, class) = listed.map(|listed| (listed.initiated, listed.class)).unzip();
        let unfinished = Unfinished {
            since: since.flatten().or(Some(record.start_time)),
            class: class.flatten(),
            bytes,
            standing: self.hold.standing(&record, SystemTime::now()),
            upload,
        };
        let outcome = match self.abort {
            Some(age) => self.abort(&unfinished, &record, age).await,
            None => Outcome::Listed,
        };
        each(&unfinished, &outcome)
    }

    /// The bytes of an upload's parts, `Some(None)` if the store cannot say; `None` if the upload
    /// does not exist.
    async fn bytes(&self, upload: &Upload) -> Result<Option<Option<u64>>> {
        match self.call(|| self.destination.list_parts(upload)).await {
            Ok(parts) => Ok(Some(Some(parts.iter().map(|part| part.size).sum()))),
            Err(error) => match error.kind() {
                ErrorKind::UploadGone | ErrorKind::NotFound => Ok(None),
                // A store that lists no parts.
                ErrorKind::Invalid => Ok(Some(None)),
                _ => Err(error),
            },
        }
    }

    async fn look_for_unknown(
        &self,
        place: &ObjectId,
        known: &OnRecord,
        each: Each<'_>,
    ) -> Result<bool> {
        let mut after: Option<UploadMarker> = None;
        loop {
            let asked = after.as_ref();
            let listed = self.call(|| self.destination.uploads_below(place, asked)).await;
            let page = match listed {
                Ok(page) => page,
                Err(error) if error.kind() == ErrorKind::Invalid => {
                    warn!("uploads that no record names cannot be listed: {error}");
                    return Ok(true);
                }
                Err(error) => return Err(error),
            };
            for ListedUpload { upload, initiated, class } in page.uploads {
                if self.stop.is_cancelled() {
                    return Ok(false);
                }
                if known.uploads.contains(&number(&upload)) {
                    continue;
                }
                let Some(bytes) = self.bytes(&upload).await? else { continue };
                let standing = Standing::Unknown;
                let unknown = Unfinished { upload, since: initiated, class, bytes, standing };
                let outcome = self.abort.map_or(Outcome::Listed, |_| Outcome::Unknown);
                each(&unknown, &outcome)?;
            }
            // A store that answers a marker with the same marker would never end.
            match page.next {
                Some(next) if after.as_ref() != Some(&next) => after = Some(next),
                _ => return Ok(true),
            }
        }
    }

    /// Aborts the upload that `record` names, unless it is held or younger than this.
    async fn abort(&self, unfinished: &Unfinished, record: &Record, age: Duration) -> Outcome {
        let is_old =
            |since: SystemTime| SystemTime::now().duration_since(since).is_ok_and(|is| is >= age);
        match unfinished.standing {
            Standing::Held => return Outcome::Held,
            Standing::Unknown => return Outcome::Unknown,
            Standing::Waiting | Standing::Failed => {}
        }
        if !unfinished.since.is_some_and(is_old) {
            return Outcome::Young;
        }
        // A worker may have taken it up since the page of records was read.
        match self.call(|| self.records.load(&record.id)).await {
            Ok(Some(now)) if now.stamp() == record.stamp() && now.lease == record.lease => {}
            Ok(_) => return Outcome::Held,
            Err(error) => return Outcome::Refused(error.to_string()),
        }
        match self.call(|| self.destination.abort_upload(&unfinished.upload)).await {
            Ok(()) => Outcome::Aborted,
            Err(error) => Outcome::Refused(error.to_string()),
        }
    }

    async fn call<T, F>(&self, call: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        retry(self.policy, &CancellationToken::new(), call).await
    }
}

/// Whether an object belongs to a place: in its bucket, with its beginning.
fn is_within(object: &ObjectId, place: &ObjectId) -> bool {
    object.bucket == place.bucket && object.key.as_str().starts_with(place.key.as_str())
}
