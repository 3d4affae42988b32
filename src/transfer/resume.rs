//! Finds the upload that an earlier attempt began, and decides what of it may be trusted.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Attempt, Copied, Delivered, Done, Engine};
use crate::error::{Error, ErrorKind, Result};
use crate::object::{ByteRange, MIB, ObjectId};
use crate::quirk::Quirk;
use crate::record::{JobStatus, Proven, Record, RecordId, UploadRef};
use crate::store::{GetRequest, ListRequest, ListedUpload, ObjectMeta, Part, Reads, Upload};
use crate::transfer::layout::{self, Layout};

/// Parts that are not known to be this object's are read again and compared, up to what 10 Mbit/s
/// carry within JobTimeout. Such a read cannot be resumed, so a longer one would never end.
pub(super) fn most_read_again(job_timeout: Duration) -> u64 {
    const BYTES_A_SECOND: u64 = 10_000_000 / 8;
    let bytes = job_timeout.as_secs().saturating_mul(BYTES_A_SECOND);
    bytes.clamp(256 * MIB, 4 * 1024 * MIB)
}

/// An upload to fill, and the parts of this source object that it holds.
pub(super) struct Begun {
    pub upload: Upload,
    pub layout: Layout,
    /// It was created with CRC-64/NVME checksums.
    pub crc64nvme: bool,
    pub held: Vec<Part>,
    /// Every held part is known to be what the source has: it was compared, or the destination took
    /// it only with its checksum. Otherwise the attempt that sent it may have died before it
    /// compared the answer.
    pub judged: bool,
    /// Every held part was sent after its digest, and every other one will be.
    pub digests_first: bool,
}

/// What an earlier attempt left.
pub(super) enum Found {
    /// Nothing that may be trusted.
    Nothing,
    /// An upload to continue.
    Upload(Begun),
    /// The whole object, proven by this: only the answer to its completion was lost.
    Object(Proven),
}

impl Engine {
    /// Aborts an upload that nobody will continue. If this fails, the leftover costs a little money
    /// but does no harm.
    pub async fn give_up(&self, target: &ObjectId, upload: &UploadRef, cancel: &CancellationToken) {
        let upload = Upload { target: target.clone(), id: upload.id.clone() };
        match self.at_destination(cancel).abort_upload(&upload).await {
            Ok(()) => debug!(object = %target, upload = upload.id, "aborted a useless upload"),
            Err(error) => warn!(object = %target, "an upload could not be aborted: {error}"),
        }
    }
}

impl Attempt<'_> {
    /// Finds what there is to continue. The record ties an upload to its source object. An upload
    /// without a record might hold another object's parts: it is taken over only after each of them
    /// has been compared with the source.
    pub(super) async fn find(&self, meta: &ObjectMeta) -> Result<Found> {
        if self.engine.settings.clean_unfinished_upload {
            for listed in self.list_uploads().await? {
                self.abort(&listed.upload).await?;
            }
            return Ok(Found::Nothing);
        }
        let record = self.record().await?;
        if let Some(record) = &record
            && self.was_copied(record, meta).await?
        {
            return Ok(Found::Object(proven(record, meta)));
        }
        if let Some((record, recorded)) = record.as_ref().and_then(unfinished)
            && let Some(found) = self.continue_recorded(record, recorded, meta).await?
        {
            return Ok(found);
        }
        Ok(match self.adopt(meta).await? {
            Some(begun) => Found::Upload(begun),
            None => Found::Nothing,
        })
    }

    /// Continues the upload on record; aborts it if nothing of it can be used.
    async fn continue_recorded(
        &self,
        record: &Record,
        recorded: &UploadRef,
        meta: &ObjectMeta,
    ) -> Result<Option<Found>> {
        let upload = Upload { target: self.job.des.clone(), id: recorded.id.clone() };
        if is_of(record, meta) {
            match self.held(&upload).await? {
                None if self.is_complete(record, meta).await? => {
                    return Ok(Some(Found::Object(proven(record, meta))));
                }
                // Its parts are there, and another worker may have the permission to list them.
                None if self.may_be_listed_later(recorded) => {
                    info!(object = %self.job.src, "the upload begun earlier is left as it is");
                    self.progress.anew.store(true, Ordering::Relaxed);
                    return Ok(None);
                }
                Some(held) => {
                    let layout = layout::adopt(meta.size, recorded.part_size, &held);
                    if let Some(layout) = layout.filter(|layout| layout.fits(self.max_parts()))
                        && let Some(begun) = self.continued(upload.clone(), layout, held)
                    {
                        let begun = self.with_digests_first(begun, record.digests_first);
                        self.abort_empty_others(&begun.upload).await?;
                        return Ok(Some(Found::Upload(begun)));
                    }
                }
                None => {}
            }
        }
        info!(object = %self.job.src, "starts over: the earlier upload belongs to another version of the object, is damaged, or no longer exists");
        self.progress.anew.store(true, Ordering::Relaxed);
        self.abort(&upload).await?;
        Ok(None)
    }

    /// Whether an earlier attempt at this very job finished, and only its message came back. The
    /// source's times are needed: otherwise an object that has since been given other headers
    /// under the same ETag would be taken for the copied one.
    async fn was_copied(&self, record: &Record, meta: &ObjectMeta) -> Result<bool> {
        let done =
            self.claim.delivered.again && record.status == JobStatus::Done && is_of(record, meta);
        let same_version = record.version.is_some() && record.version == meta.version;
        let unchanged = same_version || meta.last_modified <= Some(record.start_time);
        Ok(done && unchanged && self.is_complete(record, meta).await?)
    }

    /// The newest upload of this very key that is no older than the source object: its worker died
    /// before it could record it in place of an earlier one, or the record is lost. All its parts
    /// must be proven before it is recorded as this object's. An upload without parts proves
    /// nothing: it may have been begun with the headers of an earlier object, and is aborted.
    async fn adopt(&self, meta: &ObjectMeta) -> Result<Option<Begun>> {
        let mut newest: Option<(ListedUpload, Vec<Part>)> = None;
        for listed in self.list_uploads().await? {
            match self.held(&listed.upload).await? {
                None => {}
                Some(held) if held.is_empty() => self.abort(&listed.upload).await?,
                Some(held) => {
                    let newer = newest.as_ref().is_none_or(|(n, _)| n.initiated < listed.initiated);
                    if newer && listed.initiated >= meta.last_modified {
                        newest = Some((listed, held));
                    }
                }
            }
        }
        let Some((ListedUpload { upload, .. }, held)) = newest else { return Ok(None) };
        let part_size = held.iter().map(|part| part.size).max().unwrap_or_default();
        let held_bytes: u64 = held.iter().map(|part| part.size).sum();
        let layout = layout::adopt(meta.size, part_size, &held);
        let Some(layout) = layout.filter(|layout| layout.fits(self.max_parts())) else {
            return Ok(None);
        };
        if held_bytes > self.engine.settings.read_again {
            return Ok(None);
        }
        let Some(begun) = self.continued(upload, layout, held) else { return Ok(None) };
        let proven = self.mover(meta, &begun).proven(begun.held.clone()).await?;
        let is_proven = proven.len() == begun.held.len();
        Ok(is_proven.then_some(Begun { judged: true, ..begun }))
    }

    /// A worker sends digests first if it knows that the destination's ETags are its own. What
    /// another one has found out about them is on record with its upload.
    fn with_digests_first(&self, begun: Begun, digests_first: bool) -> Begun {
        if digests_first {
            self.engine.note_opaque(&self.job.des.bucket);
        }
        Begun { judged: begun.judged || digests_first, digests_first, ..begun }
    }

    /// An upload to continue; `None` if it lacks the checksums that a new one would have.
    fn continued(&self, upload: Upload, layout: Layout, held: Vec<Part>) -> Option<Begun> {
        let crc64nvme = held.iter().any(|part| part.crc64nvme.is_some());
        let wanted = self.engine.wants_crc64nvme(&upload.target.bucket, layout);
        let (judged, digests_first) = (crc64nvme, false);
        (crc64nvme || !wanted).then_some(Begun {
            upload,
            layout,
            crc64nvme,
            held,
            judged,
            digests_first,
        })
    }

    /// What a missing object means. Only the bucket's own answer counts: a 404 without a code may
    /// be a proxy's page, or come from a store in failover. Then nothing is given up, and another
    /// try may find the object. If the object is gone, its upload is useless too.
    pub(super) async fn missing(&self, error: Error) -> Error {
        match self.is_gone().await {
            Ok(true) => {
                self.clear_away().await;
                error
            }
            _ if error.is_bare() => {
                let error = error.of_kind(ErrorKind::Unavailable);
                error.note("the bucket itself does not confirm that it is gone")
            }
            _ => error,
        }
    }

    /// Whether the source itself says that it has no such object, or no such version of it.
    async fn is_gone(&self) -> Result<bool> {
        let source = self.at_source();
        let request = GetRequest {
            id: self.job.src.clone(),
            version: self.version.clone(),
            range: Some(ByteRange { start: 0, len: 1 }),
            if_match: None,
        };
        match source.control(|| source.inner.get(&request)).await {
            Ok(_) => Ok(false),
            Err(error) if error.kind() == ErrorKind::NotFound && !error.is_bare() => {
                Ok(error.code() != "NoSuchBucket")
            }
            Err(error) if error.kind() == ErrorKind::NotFound && self.version.is_none() => {
                self.is_not_listed().await
            }
            // An empty object has no first byte.
            Err(error) if error.kind() == ErrorKind::SourceChanged => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn is_not_listed(&self) -> Result<bool> {
        let id = &self.job.src;
        let request = ListRequest {
            bucket: id.bucket.clone(),
            prefix: id.key.as_str().to_owned(),
            ..ListRequest::default()
        };
        let page = self.at_source().list(&request).await?;
        let listed = page.iter().any(|listed| listed.key == id.key.as_str());
        Ok(!listed && (page.next.is_none() || !page.is_empty()))
    }

    /// Gives up the unfinished upload on record: its object is gone, or keeps changing.
    pub(super) async fn clear_away(&self) {
        let Ok(Some(record)) = self.record().await else { return };
        let Some((_, recorded)) = unfinished(&record) else { return };
        self.engine.give_up(&self.job.des, recorded, &self.halt.abort).await;
    }

    /// A job that names a version may come late or twice. If the current version has been copied
    /// since, it stays; what has been deleted since is not brought back. The jobs of a comparison,
    /// many to a message, name what was just listed, and are looked up only when they come again.
    /// `known`: the record, if the order of the job matters.
    pub(super) async fn superseded(&self, known: Option<&Record>) -> Result<Option<Done>> {
        let Delivered { again, alone } = self.claim.delivered;
        let Some(asked) = self.version.as_ref().filter(|_| again || alone) else { return Ok(None) };
        let record = match self.progress.order.get() {
            Some(_) => known.cloned(),
            None => self.record().await?,
        };
        let Some(record) = record.filter(|record| record.status == JobStatus::Done) else {
            return Ok(None);
        };
        let other = record.version.as_ref().is_some_and(|known| known != asked);
        if !other && !record.deleted {
            return Ok(None);
        }
        Ok(match self.now_at_source().await? {
            None if record.deleted => Some(Done::PassedOver("its object has been deleted since")),
            Some(now) if other && now.version == record.version && is_of(&record, &now) => {
                info!(object = %self.job.src, "a newer version than the job's has been copied since");
                let proven = proven(&record, &now);
                let (size, etag, version) = (now.size, now.etag, now.version);
                Some(Done::Copied(Copied { size, etag, version, proven, written: None }))
            }
            _ => None,
        })
    }

    /// The upload vanished while it was being filled. Whether that is because another attempt
    /// completed it, with the same source object.
    pub(super) async fn finished_by_another(&self) -> Result<Option<Copied>> {
        let meta = self.head_source().await?;
        match self.record().await? {
            Some(record) if is_of(&record, &meta) && self.is_complete(&record, &meta).await? => {
                let proven = proven(&record, &meta);
                let ObjectMeta { size, etag, version, .. } = meta;
                Ok(Some(Copied { size, etag, version, proven, written: record.target_etag }))
            }
            _ => Ok(None),
        }
    }

    /// Another attempt has begun since. If the record does not name this upload, nobody will ever
    /// continue it.
    pub(super) async fn give_up_superseded(&self, upload: &Upload) -> Result<()> {
        let named = self.record().await?.and_then(|record| record.upload);
        match named.is_some_and(|named| named.id == upload.id) {
            true => Ok(()),
            false => self.abort(upload).await,
        }
    }

    /// Whether the destination has the very object that the record says the upload would become.
    async fn is_complete(&self, record: &Record, meta: &ObjectMeta) -> Result<bool> {
        let Some(target) = &record.target_etag else { return Ok(false) };
        match self.at_destination().head(&self.job.des, None).await {
            Ok(there) => Ok(there.size == meta.size && there.etag.same_digest(target)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn record(&self) -> Result<Option<Record>> {
        let id = RecordId::of(&self.job.src, &self.job.des);
        self.on_record().load(&id).await
    }

    /// The parts that the destination holds; `None` if the upload is no longer there, or if parts
    /// cannot be listed: see [`Self::lists_no_parts`].
    pub(super) async fn held(&self, upload: &Upload) -> Result<Option<Vec<Part>>> {
        if self.lists_no_parts() {
            return Ok(None);
        }
        match self.at_destination().list_parts(upload).await {
            Ok(parts) => Ok(Some(parts)),
            Err(error) if error.kind() == ErrorKind::UploadGone => Ok(None),
            Err(error) if is_unknown(&error) => {
                let profile = self.engine.destination.profile();
                profile.learn(&self.job.des.bucket, Quirk::NoPartListing, error);
                Ok(None)
            }
            // It may be about this worker's permissions, or temporary.
            Err(error) if is_forbidden(&error) => {
                match self.asker().refuses_part_listing().await? {
                    true => Ok(None),
                    false => Err(error.of_kind(ErrorKind::Unavailable)),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Whether it is only this worker that may not list the parts, and the upload is worth keeping.
    fn may_be_listed_later(&self, recorded: &UploadRef) -> bool {
        self.engine.may_not_list_parts(&self.job.des.bucket)
            && recorded.part_size != UploadRef::DISTRUSTED
    }

    /// Whether the destination does not say which parts it has. Then only the parts that this
    /// attempt has sent are known, from the answers to them.
    pub(super) fn lists_no_parts(&self) -> bool {
        let (engine, bucket) = (self.engine, &self.job.des.bucket);
        let unknown = engine.destination.profile().has(bucket, Quirk::NoPartListing);
        unknown || engine.may_not_list_parts(bucket)
    }

    /// The unfinished uploads of this object. If they cannot be listed, only the one on record is
    /// taken over or cleared away.
    pub(super) async fn list_uploads(&self) -> Result<Vec<ListedUpload>> {
        let (profile, bucket) = (self.engine.destination.profile(), &self.job.des.bucket);
        if profile.has(bucket, Quirk::NoUploadListing) {
            return Ok(Vec::new());
        }
        match self.at_destination().list_uploads(&self.job.des).await {
            Err(error) if is_unlisted(&error) => {
                profile.learn(bucket, Quirk::NoUploadListing, error);
                Ok(Vec::new())
            }
            uploads => uploads,
        }
    }

    pub(super) async fn abort(&self, upload: &Upload) -> Result<()> {
        debug!(object = %upload.target, upload = upload.id, "abort the upload");
        self.at_destination().abort_upload(upload).await
    }
}

/// Whether listing uploads or parts is refused as such: not permitted, or not known to the store.
fn is_unlisted(error: &Error) -> bool {
    is_unknown(error) || is_forbidden(error)
}

fn is_unknown(error: &Error) -> bool {
    let status = error.evidence().map_or(0, |evidence| evidence.status);
    let unknown = matches!(error.code(), "NotImplemented" | "MethodNotAllowed" | "NotSupported");
    matches!(status, 405 | 501) || (unknown && !matches!(status, 401 | 403))
}

fn is_forbidden(error: &Error) -> bool {
    let status = error.evidence().map_or(0, |evidence| evidence.status);
    matches!(status, 401 | 403) && error.kind() == ErrorKind::Denied
}

/// Whether the record is about the source object that is there now.
fn is_of(record: &Record, meta: &ObjectMeta) -> bool {
    record.etag.as_ref() == Some(&meta.etag) && record.size == meta.size
}

/// How an object that is there as recorded is proven: as the record says, or else by what an equal
/// ETag shows.
fn proven(record: &Record, meta: &ObjectMeta) -> Proven {
    let same = record.target_etag.as_ref() == Some(&meta.etag) && meta.multipart_digest().is_some();
    record.proven.unwrap_or(if same { Proven::Source } else { Proven::Transit })
}

/// The record's upload, unless it has been completed.
fn unfinished(record: &Record) -> Option<(&Record, &UploadRef)> {
    let upload = record.upload.as_ref()?;
    (record.status != JobStatus::Done).then_some((record, upload))
}
