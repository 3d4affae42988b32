//! An object in parts: resumed where an earlier attempt stopped, filled until the destination itself
//! lists every part. `completion.rs` makes the object of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tracing::{debug, info, warn};

use super::parts::PartMover;
use super::resume::{Begun, Found};
use super::whole_digest::Whole;
use super::{Attempt, Copied, Cut, Planned};
use crate::digest;
use crate::error::{Error, ErrorKind, Next, Result};
use crate::object::Etag;
use crate::record::{Proven, RecordId, Start, UploadRef};
use crate::store::{Created, NewObject, ObjectMeta, Part, Upload, Uploads};
use crate::transfer::layout::Layout;

/// How often parts are sent again if the destination does not list them as they were sent.
const MAX_ROUNDS: u32 = 3;

impl Attempt<'_> {
    pub(super) async fn copy_multipart(
        &self,
        meta: &ObjectMeta,
        planned: Planned,
    ) -> Result<Copied> {
        let copied = |proven, written| {
            let (size, etag, version) = (meta.size, meta.etag.clone(), meta.version.clone());
            Copied { size, etag, version, proven, written }
        };
        let begun = match self.find(meta).await? {
            Found::Object(proven) => return Ok(copied(proven, None)),
            Found::Upload(begun) => begun,
            Found::Nothing => self.create(meta, planned.layout).await?,
        };
        self.record_start(meta, &begun).await?;
        let (mover, nothing_held) = (self.mover(meta, &begun), begun.held.is_empty());
        let unjudged = begun.held.iter().filter(|_| !begun.judged);
        let mut unjudged: BTreeSet<u32> = unjudged.map(|part| part.number).collect();
        let held = match self.engine.settings.verify_twice {
            true => self.proven(&mover, begun.held, &mut unjudged).await?,
            false => begun.held,
        };
        let mut parts = match self.fill(&mover, held).await {
            Ok(parts) => parts,
            Err(error) => {
                self.give_up_empty(&mover, nothing_held, &error).await;
                return Err(error);
            }
        };
        if self.could_have_source_etag(meta, planned, &mover, &parts) {
            // Either a part is damaged, or the source's parts are of unequal size after all.
            info!(object = %self.job.src, "the parts do not give the source's ETag: read again");
            let proven = self.proven(&mover, parts, &mut unjudged).await?;
            parts = self.fill(&mover, proven).await?;
        }
        let by_etag = self.makes_source_etag(meta, planned, &mover, &parts);
        let vouched = self.whole_is_right(meta, &mover, &mut parts, by_etag).await?;
        let judged = vouched || self.judge_held(&mover, &mut parts, unjudged).await?;
        let verified = judged && self.parts_are_verified(&mover, &parts).await?;
        let proven = Proven::new(vouched, verified);
        let written = self.complete(meta, &mover, &parts, proven).await?;
        self.clear_late_uploads(&mover.upload).await;
        Ok(copied(proven, written))
    }

    /// Whether the parts make the source's own ETag, which also shows whether the guess of its
    /// parts was right.
    fn makes_source_etag(
        &self,
        meta: &ObjectMeta,
        planned: Planned,
        mover: &PartMover,
        parts: &[Part],
    ) -> bool {
        let opaque = self.engine.is_opaque(&self.job.des.bucket);
        let made = digest::multipart_etag(parts.iter().map(|part| &part.etag));
        let makes = !opaque
            && made.is_some_and(|made| {
                meta.multipart_digest().is_some_and(|own| made.same_digest(own))
            });
        let guessed = planned.cut == Cut::PerhapsAsTheSource && planned.layout == mover.layout;
        if guessed && !opaque {
            let (evidence, bucket) = (&self.engine.evidence, &self.job.src.bucket);
            evidence.note_guess(bucket, mover.layout.part_size, makes);
        }
        makes
    }

    /// Compares the parts with these numbers, which an earlier attempt sent, with the source, and
    /// sends damaged ones again: that attempt may have died between a damaged part and the answer
    /// that shows the damage, and nothing vouches for the whole object. `false`: it would take longer
    /// than one turn.
    async fn judge_held(
        &self,
        mover: &Arc<PartMover>,
        parts: &mut Vec<Part>,
        mut unjudged: BTreeSet<u32>,
    ) -> Result<bool> {
        if unjudged.is_empty() {
            return Ok(true);
        }
        let (held, mut good): (Vec<Part>, Vec<Part>) =
            parts.iter().cloned().partition(|part| unjudged.contains(&part.number));
        let (object, count) = (&self.job.src, held.len());
        if held.iter().map(|part| part.size).sum::<u64>() > self.engine.settings.read_again {
            warn!(%object, parts = count, "the parts that an earlier attempt sent are too large to be read again: they are not verified");
            return Ok(false);
        }
        if self.engine.is_opaque(&self.job.des.bucket) {
            info!(%object, parts = count, "the destination's ETags are not MD5s: what an earlier attempt sent before it knew that is sent again");
        } else {
            info!(%object, parts = count, "the source has no digest of the whole: what an earlier attempt sent is read again");
            let proven = self.proven(mover, held, &mut unjudged).await?;
            good.extend(proven.into_iter().filter(|part| !unjudged.contains(&part.number)));
        }
        *parts = self.fill_again(mover, good).await?;
        Ok(true)
    }

    /// Whether the destination has verified every part: it answers a digest of each, as its ETag or
    /// its checksum, or would have refused another body by its Content-MD5.
    async fn parts_are_verified(&self, mover: &PartMover, parts: &[Part]) -> Result<bool> {
        match parts.iter().all(|part| mover.held(part).is_some()) {
            true => Ok(true),
            false => self.refuses_wrong_bodies().await,
        }
    }

    /// The parts that match what the source has now; none of them is `unjudged` any more. ETags that
    /// are no MD5 show nothing: those parts stay as they are.
    async fn proven(
        &self,
        mover: &Arc<PartMover>,
        parts: Vec<Part>,
        unjudged: &mut BTreeSet<u32>,
    ) -> Result<Vec<Part>> {
        let bucket = &self.job.des.bucket;
        if self.engine.is_opaque(bucket) {
            let object = &self.job.des;
            warn!(%object, "its parts cannot be verified again, since their ETags are not MD5s");
            return Ok(parts);
        }
        let proven = mover.proven(parts.clone()).await?;
        let Some((first, others)) = parts.split_first().filter(|_| proven.is_empty()) else {
            unjudged.clear();
            return Ok(proven);
        };
        // Either every part is damaged, or it is SSE-KMS: the answer to a part sent again shows
        // which.
        let mut sent = mover.send(vec![first.number]).await?;
        unjudged.remove(&first.number);
        match self.engine.is_opaque(bucket) {
            true => sent.extend_from_slice(others),
            false => unjudged.clear(),
        }
        Ok(sent)
    }

    /// Gives up an upload without a part if the object cannot be copied, or if its bytes were never
    /// right: there is nothing to continue.
    async fn give_up_empty(&self, mover: &PartMover, nothing_held: bool, error: &Error) {
        let nothing = nothing_held && !self.claim.first_part.is_cancelled();
        let damaged = error.kind() == ErrorKind::Damaged;
        if nothing && (damaged || error.kind().next() == Next::RecordFailure) {
            let upload =
                UploadRef { id: mover.upload.id.clone(), part_size: mover.layout.part_size };
            self.engine.give_up(&self.job.des, &upload, &self.halt.abort).await;
        }
    }

    /// Whether the object should get the source's ETag, since it has the same number of parts, but
    /// does not. If the object is too large to be read again within one turn, its parts are assumed
    /// to be unequal at the source: each has been proven on its own.
    fn could_have_source_etag(
        &self,
        meta: &ObjectMeta,
        planned: Planned,
        mover: &PartMover,
        parts: &[Part],
    ) -> bool {
        let same_layout = meta.etag.parts() == Some(mover.layout.count());
        // A wrong guess is not damage.
        let guessed = planned.cut == Cut::PerhapsAsTheSource;
        let preserves = self.may_have_layout(meta) && same_layout && !guessed;
        let preserves = preserves && meta.size <= self.engine.settings.read_again;
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
            whole: self.vow(meta).map(|vow| Whole::new(vow, &self.engine.lanes)),
            others: AtomicU32::new(0),
            broken: AtomicU32::new(0),
        })
    }

    async fn create(&self, meta: &ObjectMeta, layout: Layout) -> Result<Begun> {
        let crc64nvme = self.engine.wants_crc64nvme(&self.job.des.bucket, layout);
        let new = NewObject { crc64nvme, ..self.new_object(meta).await? };
        let (engine, target) = (self.engine, &self.job.des);
        let (tries, destination) = (AtomicU32::new(0), self.at_destination());
        let create = || {
            tries.fetch_add(1, Ordering::Relaxed);
            destination.inner.create_upload(target, &new)
        };
        let Created { upload, hides_md5 } = destination.control(create).await?;
        if tries.into_inner() > 1 {
            self.abort_empty_others(&upload).await?;
        }
        if hides_md5 {
            engine.note_opaque(&target.bucket);
            if !crc64nvme && engine.wants_crc64nvme(&target.bucket, layout) {
                // Known before the first part: nothing could prove a part that is too large to
                // hold.
                self.abort(&upload).await?;
                return Box::pin(self.create(meta, layout)).await;
            }
        }
        let digests_first = engine.is_opaque(&target.bucket);
        Ok(Begun { upload, layout, crc64nvme, held: Vec::new(), judged: true, digests_first })
    }

    /// Aborts empty uploads left by a creation whose answer was lost, or by a worker that died
    /// before recording it. An upload that another worker has just begun looks the same; that
    /// worker then starts again.
    pub(super) async fn abort_empty_others(&self, known: &Upload) -> Result<()> {
        for listed in self.list_uploads().await? {
            let other = listed.upload.id != known.id;
            if other && self.held(&listed.upload).await?.is_some_and(|held| held.is_empty()) {
                self.abort(&listed.upload).await?;
            }
        }
        Ok(())
    }

    /// An attempt that died while it began an upload may have begun it after this one had looked for
    /// it. If the uploads cannot be listed now, an empty one costs nothing but a line in a list.
    async fn clear_late_uploads(&self, own: &Upload) {
        if self.claim.delivered.again
            && let Err(error) = self.abort_empty_others(own).await
        {
            debug!(object = %self.job.des, "empty uploads may be left: {error}");
        }
    }

    async fn record_start(&self, meta: &ObjectMeta, begun: &Begun) -> Result<()> {
        let held_bytes: u64 = begun.held.iter().map(|part| part.size).sum();
        if held_bytes > 0 {
            let parts = begun.held.len();
            info!(object = %self.job.src, parts, held_bytes, "continues an upload begun earlier");
        }
        let start = Start {
            id: RecordId::of(&self.job.src, &self.job.des),
            size: meta.size,
            version: meta.version.clone(),
            etag: meta.etag.clone(),
            upload: UploadRef { id: begun.upload.id.clone(), part_size: begun.layout.part_size },
            digests_first: begun.digests_first,
            instance: self.engine.instance.clone(),
            lease: self.claim.token.clone(),
            start_time: self.started,
            sequencer: self.progress.order.get().and_then(|order| order.sequencer.clone()),
            progress: (held_bytes.saturating_mul(100) / meta.size.max(1)).min(100) as u8,
        };
        if let Err(error) = self.on_record().begin(&start).await {
            // A later event is on record, and this upload is not.
            if error.kind() == ErrorKind::LeaseLost {
                self.give_up_superseded(&begun.upload).await?;
            }
            return Err(error);
        }
        self.progress.begun.store(true, Ordering::Release);
        Ok(())
    }

    /// Records that the upload holds damage, so that no other attempt continues it.
    pub(super) async fn record_distrust(&self, meta: &ObjectMeta, mover: &PartMover) -> Result<()> {
        let layout = Layout { part_size: UploadRef::DISTRUSTED, ..mover.layout };
        let (upload, crc64nvme) = (mover.upload.clone(), mover.crc64nvme);
        let (judged, digests_first) = (true, false);
        let begun = Begun { upload, layout, crc64nvme, held: Vec::new(), judged, digests_first };
        self.record_start(meta, &begun).await
    }

    /// Sends what is missing until the destination's own list shows every part as it was sent.
    /// Parts already held are read again for the digest of the whole, if it needs them in order.
    async fn fill(&self, mover: &Arc<PartMover>, held: Vec<Part>) -> Result<Vec<Part>> {
        self.filled(mover, held, true).await
    }

    /// The same, after everything has been read: the parts already held are not read again.
    pub(super) async fn fill_again(
        &self,
        mover: &Arc<PartMover>,
        held: Vec<Part>,
    ) -> Result<Vec<Part>> {
        self.filled(mover, held, false).await
    }

    async fn filled(
        &self,
        mover: &Arc<PartMover>,
        held: Vec<Part>,
        first: bool,
    ) -> Result<Vec<Part>> {
        let mut good: BTreeMap<u32, Part> =
            held.into_iter().map(|part| (part.number, part)).collect();
        for round in 0..MAX_ROUNDS {
            let held = std::mem::take(&mut good).into_values().collect();
            let parts = mover.complete(held, first && round == 0).await?;
            good.extend(parts.into_iter().map(|part| (part.number, part)));
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

    pub(super) fn gone(&self) -> Error {
        let message = format!("{}: the upload is no longer there", self.job.des);
        Error::new(ErrorKind::UploadGone, message)
    }
}
