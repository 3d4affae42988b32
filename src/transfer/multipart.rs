//! An object in parts: resumed where an earlier attempt stopped, completed from what the
//! destination itself lists.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tracing::{debug, info, warn};

use super::part::PartMover;
use super::proof;
use super::resume::{Begun, Found, MOST_PROVEN_BYTES};
use super::{Attempt, Copied};
use crate::error::{Error, ErrorKind, Next, Result};
use crate::object::Etag;
use crate::plan::digest;
use crate::plan::parts::Layout;
use crate::retry::{Policy, retry};
use crate::state::{Seal, Start, UploadRef};
use crate::store::{Created, NewObject, ObjectMeta, Part, Proof, Upload, Written};

/// How often parts that the destination does not list as they were sent are sent again.
const MAX_ROUNDS: u32 = 3;

impl Attempt<'_> {
    pub(super) async fn copy_multipart(
        &self,
        meta: &ObjectMeta,
        planned: Layout,
    ) -> Result<Copied> {
        let copied =
            Copied { size: meta.size, etag: meta.etag.clone(), version: meta.version.clone() };
        let begun = match self.find(meta).await? {
            Found::Object => return Ok(copied),
            Found::Upload(begun) => begun,
            Found::Nothing => self.create(meta, planned).await?,
        };
        self.record_start(meta, &begun).await?;
        let (mover, nothing_held) = (self.mover(meta, &begun), begun.held.is_empty());
        let held = match self.engine.settings.verify_twice {
            true => self.proven(&mover, begun.held).await?,
            false => begun.held,
        };
        let mut parts = match self.fill(&mover, held).await {
            Ok(parts) => parts,
            Err(error) => {
                self.give_up_empty(&mover, nothing_held, &error).await;
                return Err(error);
            }
        };
        if self.could_have_source_etag(meta, &mover, &parts) {
            // Either a part is damaged, or the source's are of unequal size after all.
            info!(object = %self.job.src, "the parts do not make the source's ETag: read again");
            let proven = self.proven(&mover, parts).await?;
            parts = self.fill(&mover, proven).await?;
        }
        self.complete(meta, &mover, &parts).await?;
        Ok(copied)
    }

    /// Those of the parts that are what the source has there now. ETags that are no MD5 tell nothing:
    /// these parts were verified when they were sent, and stay.
    async fn proven(&self, mover: &Arc<PartMover>, parts: Vec<Part>) -> Result<Vec<Part>> {
        let bucket = &self.job.des.bucket;
        if self.engine.is_opaque(bucket) {
            let object = &self.job.des;
            warn!(%object, "its parts cannot be verified again, since their ETags are no MD5");
            return Ok(parts);
        }
        let proven = mover.proven(parts.clone()).await?;
        let Some((first, others)) = parts.split_first().filter(|_| proven.is_empty()) else {
            return Ok(proven);
        };
        // Damage of every part, or SSE-KMS: the answer to one that is sent again tells.
        let mut sent = mover.send(vec![first.number]).await?;
        if self.engine.is_opaque(bucket) {
            sent.extend_from_slice(others);
        }
        Ok(sent)
    }

    /// An upload without a part, of an object that cannot be copied: nobody will continue it.
    async fn give_up_empty(&self, mover: &PartMover, nothing_held: bool, error: &Error) {
        let nothing = nothing_held && !self.claim.first_part.is_cancelled();
        if nothing && error.kind().next() == Next::RecordFailure {
            let upload =
                UploadRef { id: mover.upload.id.clone(), part_size: mover.layout.part_size };
            self.engine.give_up(&self.job.des, &upload, &self.halt.abort).await;
        }
    }

    /// Whether the object should get the source's ETag, for it has the same number of parts, and
    /// does not. Beyond what can be read again within one turn, its parts are taken for unequal
    /// ones at the source: each has been proven on its own.
    fn could_have_source_etag(&self, meta: &ObjectMeta, mover: &PartMover, parts: &[Part]) -> bool {
        let same_layout = meta.etag.parts() == Some(mover.layout.count());
        let preserves = self.may_have_layout(meta) && same_layout;
        let preserves = preserves && meta.size <= MOST_PROVEN_BYTES;
        let opaque = self.engine.is_opaque(&self.job.des.bucket);
        let made = digest::multipart_etag(parts.iter().map(|part| &part.etag));
        preserves && !opaque && made.is_some_and(|made| !made.same_digest(&meta.etag))
    }

    pub(super) fn mover(&self, meta: &ObjectMeta, begun: &Begun) -> Arc<PartMover> {
        Arc::new(PartMover {
            engine: Arc::clone(self.engine),
            src: self.job.src.clone(),
            version: self.version.clone(),
            etag: meta.etag.clone(),
            upload: begun.upload.clone(),
            layout: begun.layout,
            crc64nvme: begun.crc64nvme,
            halt: self.halt.clone(),
            first_part: self.claim.first_part.clone(),
        })
    }

    async fn create(&self, meta: &ObjectMeta, layout: Layout) -> Result<Begun> {
        let crc64nvme = self.engine.wants_crc64nvme(&self.job.des.bucket, layout);
        let new = NewObject { crc64nvme, ..self.new_object(meta).await? };
        let (engine, target) = (self.engine, &self.job.des);
        let tries = AtomicU32::new(0);
        let create = || async {
            tries.fetch_add(1, Ordering::Relaxed);
            engine.destination.create_upload(target, &new).await
        };
        let Created { upload, hides_md5 } = retry(self.control(), &self.halt.abort, create).await?;
        if tries.into_inner() > 1 {
            self.abort_empty_others(&upload).await?;
        }
        if hides_md5 {
            engine.note_opaque(&target.bucket);
            if !crc64nvme && engine.wants_crc64nvme(&target.bucket, layout) {
                // Known before the first part: nothing could prove one that is too large to hold.
                self.abort(&upload).await?;
                return Box::pin(self.create(meta, layout)).await;
            }
        }
        Ok(Begun { upload, layout, crc64nvme, held: Vec::new() })
    }

    /// A creation whose answer was lost, or whose worker died before it was on record, has left an
    /// empty upload that nobody knows of. Another worker's that was begun this very moment looks the
    /// same; it begins anew then.
    pub(super) async fn abort_empty_others(&self, known: &Upload) -> Result<()> {
        for listed in self.list_uploads().await? {
            let other = listed.upload.id != known.id;
            if other && self.held(&listed.upload).await?.is_some_and(|held| held.is_empty()) {
                self.abort(&listed.upload).await?;
            }
        }
        Ok(())
    }

    async fn record_start(&self, meta: &ObjectMeta, begun: &Begun) -> Result<()> {
        let held_bytes: u64 = begun.held.iter().map(|part| part.size).sum();
        if held_bytes > 0 {
            let parts = begun.held.len();
            info!(object = %self.job.src, parts, held_bytes, "continues an upload begun earlier");
        }
        let start = Start {
            id: self.job.into(),
            size: meta.size,
            version: meta.version.clone(),
            etag: meta.etag.clone(),
            upload: UploadRef { id: begun.upload.id.clone(), part_size: begun.layout.part_size },
            instance: self.engine.instance.clone(),
            lease: self.claim.token.clone(),
            start_time: self.started,
            sequencer: self.claim.order().and_then(|order| order.sequencer),
            progress: (held_bytes.saturating_mul(100) / meta.size.max(1)).min(100) as u8,
        };
        let begin = || async { self.engine.state.begin(&start).await };
        if let Err(error) = retry(self.control(), &self.halt.abort, begin).await {
            // A later event is on record, and this upload is not.
            if error.kind() == ErrorKind::LeaseLost {
                self.give_up_superseded(&begun.upload).await?;
            }
            return Err(error);
        }
        self.claim.begun.store(true, Ordering::Release);
        Ok(())
    }

    /// Sends what is missing until the destination's own list shows every part as it was sent.
    async fn fill(&self, mover: &Arc<PartMover>, held: Vec<Part>) -> Result<Vec<Part>> {
        let mut good: BTreeMap<u32, Part> =
            held.into_iter().map(|part| (part.number, part)).collect();
        for _ in 0..MAX_ROUNDS {
            let missing =
                (1..=mover.layout.count()).filter(|number| !good.contains_key(number)).collect();
            let sent = mover.send(missing).await?;
            good.extend(sent.into_iter().map(|part| (part.number, part)));
            let listed = self.held(&mover.upload).await?;
            if self.lists_no_parts() {
                return Ok(good.into_values().collect());
            }
            let Some(listed) = listed else { return Err(self.gone()) };
            let there: BTreeMap<u32, &Etag> =
                listed.iter().map(|part| (part.number, &part.etag)).collect();
            good.retain(|number, part| there.get(number).is_some_and(|etag| **etag == part.etag));
            if good.len() == mover.layout.count() as usize && good.len() == listed.len() {
                return Ok(good.into_values().collect());
            }
            debug!(object = %self.job.des, "the destination's parts are not those sent");
        }
        let message =
            format!("{}: the destination does not list the parts that it took", self.job.des);
        Err(Error::new(ErrorKind::Damaged, message))
    }

    fn gone(&self) -> Error {
        let message = format!("{}: the upload is no longer there", self.job.des);
        Error::new(ErrorKind::UploadGone, message)
    }

    /// Completes the upload and compares the object's ETag with the one computed from the parts.
    /// Where the upload is gone because an earlier completion's answer was lost, or because another
    /// worker was faster, the object itself is the proof.
    async fn complete(&self, meta: &ObjectMeta, mover: &PartMover, parts: &[Part]) -> Result<()> {
        let engine = self.engine;
        let whole = self.whole_checksum(meta, mover, parts).await?;
        let expected = digest::multipart_etag(parts.iter().map(|part| &part.etag));
        if let Err(error) = self.seal(mover, expected.clone()).await {
            if error.kind() == ErrorKind::LeaseLost {
                self.give_up_superseded(&mover.upload).await?;
            }
            return Err(error);
        }
        let complete =
            || async { engine.destination.complete_upload(&mover.upload, parts, whole).await };
        let policy = Policy::completion(engine.settings.max_retry);
        match retry(policy, &self.halt.abort, complete).await {
            Ok(written) => {
                let sent = Proof { md5: None, crc64nvme: whole };
                proof::compare(&written, sent, &self.job.des.to_string())?;
                self.check_object(&written, expected.as_ref())
            }
            Err(error) if error.kind() == ErrorKind::UploadGone => {
                let head = || async { engine.destination.head(&self.job.des, None).await };
                match retry(self.control(), &self.halt.abort, head).await {
                    Ok(there) if expected.is_some_and(|etag| etag.same_digest(&there.etag)) => {
                        Ok(())
                    }
                    Ok(_) => Err(error),
                    Err(missing) if missing.kind() == ErrorKind::NotFound => Err(error),
                    Err(other) => Err(other),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// The CRC-64/NVME of the whole object out of its parts', where the upload has such checksums.
    /// One that is not the source's own makes the upload worthless.
    async fn whole_checksum(
        &self,
        meta: &ObjectMeta,
        mover: &PartMover,
        parts: &[Part],
    ) -> Result<Option<u64>> {
        if !mover.crc64nvme {
            return Ok(None);
        }
        let whole = digest::whole_crc64nvme(parts.iter().map(|part| (part.crc64nvme, part.size)));
        match (whole, meta.crc64nvme) {
            (Some(made), Some(own)) if made != own => {
                self.abort(&mover.upload).await?;
                let message = format!(
                    "{}: the parts make a CRC-64/NVME of {made:016x}, the source's is {own:016x}",
                    self.job.des
                );
                Err(Error::new(ErrorKind::UploadGone, message))
            }
            _ => Ok(whole),
        }
    }

    /// Puts the object's future ETag on record, and learns whether this attempt may still complete.
    async fn seal(&self, mover: &PartMover, target_etag: Option<Etag>) -> Result<()> {
        let seal = Seal {
            id: self.job.into(),
            lease: self.claim.token.clone(),
            upload_id: mover.upload.id.clone(),
            target_etag,
        };
        let seal = || async { self.engine.state.seal(&seal).await };
        retry(self.control(), &self.halt.abort, seal).await
    }

    fn check_object(&self, written: &Written, expected: Option<&Etag>) -> Result<()> {
        // A store whose multipart ETags have another form than S3's cannot be checked by it.
        let comparable = written.etag.parts().is_some();
        match expected {
            Some(expected)
                if comparable && !written.is_kms() && !written.etag.same_digest(expected) =>
            {
                let message = format!(
                    "{}: the destination made {} of parts that make {expected}",
                    self.job.des, written.etag
                );
                Err(Error::new(ErrorKind::Damaged, message))
            }
            _ => Ok(()),
        }
    }
}
