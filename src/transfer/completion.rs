//! Completes an upload: the record is sealed first, and the object that the store made of the parts is
//! compared with them.

use futures_util::TryStreamExt;

use super::Attempt;
use super::parts::{PartMover, WINDOW};
use super::proof;
use super::stream::{self, BodyWants};
use crate::digest;
use crate::error::{Error, ErrorKind, Result};
use crate::object::Etag;
use crate::quirk::Quirk;
use crate::record::{Proven, RecordId, Seal};
use crate::store::{GetRequest, ObjectMeta, Part, Proof, Reads, Uploads, Written};

impl Attempt<'_> {
    /// Completes the upload and compares the object's ETag with the one computed from the parts. If
    /// the upload is gone because an earlier completion's answer was lost, or because another
    /// worker was faster, the object itself is the proof. Returns the destination's ETag.
    pub(super) async fn complete(
        &self,
        meta: &ObjectMeta,
        mover: &PartMover,
        parts: &[Part],
        proven: Proven,
    ) -> Result<Option<Etag>> {
        let engine = self.engine;
        let whole = self.whole_checksum(meta, mover, parts).await?;
        let expected = digest::multipart_etag(parts.iter().map(|part| &part.etag));
        if let Err(error) = self.seal(mover, expected.clone(), proven).await {
            if error.kind() == ErrorKind::LeaseLost {
                self.give_up_superseded(&mover.upload).await?;
            }
            return Err(error);
        }
        let complete = || async {
            let written = engine.destination.complete_upload(&mover.upload, parts, whole).await?;
            // An answer that names no object means nothing as long as the upload is there.
            match is_mute(&written) && self.held(&mover.upload).await?.is_some() {
                true => Err(self.no_object()),
                false => Ok(written),
            }
        };
        match self.at_destination().completion(complete).await {
            Ok(written) if is_mute(&written) => {
                self.there_in_its_place(self.gone(), mover, expected, parts).await
            }
            Ok(written) => {
                let sent = Proof { md5: None, crc64nvme: whole };
                proof::compare(&written, sent, false, &self.job.des)?;
                self.check_object(&written, mover, expected, parts).await
            }
            Err(error) if error.kind() == ErrorKind::UploadGone => {
                self.there_in_its_place(error, mover, expected, parts).await
            }
            Err(error) => Err(error),
        }
    }

    fn no_object(&self) -> Error {
        let message = format!("{}: the answer to the completion names no object", self.job.des);
        Error::new(ErrorKind::Unavailable, message)
    }

    /// The upload is gone, and no answer says why: returns the ETag of the object that is there, if
    /// it is made of these parts. Multipart ETags may be the store's own, so another ETag proves
    /// nothing, and the bytes decide. Returns `gone` if it is another object, or if that cannot be
    /// found out.
    async fn there_in_its_place(
        &self,
        gone: Error,
        mover: &PartMover,
        expected: Option<Etag>,
        parts: &[Part],
    ) -> Result<Option<Etag>> {
        let there = match self.at_destination().head(&self.job.des, None).await {
            Ok(there) => there,
            Err(missing) if missing.kind() == ErrorKind::NotFound => return Err(gone),
            Err(other) => return Err(other),
        };
        if expected.is_some_and(|etag| etag.same_digest(&there.etag)) {
            return Ok(Some(there.etag));
        }
        let is_it = there.size == mover.layout.size
            && digest::made_of_fewer(&there.etag, parts.iter().map(|part| &part.etag)).is_none()
            && self.reads_back_in_parts(mover, parts).await? == Some(true);
        match is_it {
            true => Ok(Some(there.etag)),
            false => Err(gone),
        }
    }

    /// The CRC-64/NVME of the whole object, computed from its parts, if the upload has such
    /// checksums. If it is not the source's own, the upload is worthless.
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
        match (whole, meta.sum.and_then(|sum| sum.as_crc64nvme())) {
            (Some(made), Some(own)) if made != own => {
                self.abort(&mover.upload).await?;
                let message = format!(
                    "{}: the CRC-64/NVME of its parts is {made:016x}, the source's is {own:016x}",
                    self.job.des
                );
                Err(Error::new(ErrorKind::UploadGone, message))
            }
            _ => Ok(whole),
        }
    }

    /// Records the object's future ETag, and learns whether this attempt may still complete.
    async fn seal(
        &self,
        mover: &PartMover,
        target_etag: Option<Etag>,
        proven: Proven,
    ) -> Result<()> {
        let seal = Seal {
            id: RecordId::of(&self.job.src, &self.job.des),
            lease: self.claim.token.clone(),
            upload_id: mover.upload.id.clone(),
            target_etag,
            proven,
        };
        self.on_record().seal(&seal).await
    }

    /// Checks that the store has joined the parts correctly. An ETag that does not follow from
    /// these parts means damage, or that the store has ETags of its own: then the size must be
    /// right, the ETag must not be that of fewer parts, and the first such object of the bucket is
    /// read back.
    async fn check_object(
        &self,
        written: &Written,
        mover: &PartMover,
        expected: Option<Etag>,
        parts: &[Part],
    ) -> Result<Option<Etag>> {
        let (profile, des) = (self.engine.destination.profile(), &self.job.des);
        let own = || Ok(Some(written.etag.clone()));
        let Some(expected) = expected.filter(|_| !written.hides_md5()) else { return own() };
        if written.etag.same_digest(&expected) {
            return own();
        }
        let there = match self.at_destination().head(des, None).await {
            Ok(there) => there,
            // A worker may lack the permission to look.
            Err(error) if error.kind() == ErrorKind::Denied && written.etag.parts().is_none() => {
                return own();
            }
            Err(error) => return Err(error),
        };
        let (etag, known) = (&written.etag, own());
        let damaged = |what: String| {
            let message = format!(
                "{des}: the parts give the ETag {expected}, but the destination made {etag}, {what}: \
                 damaged while its parts were joined"
            );
            Err(Error::new(ErrorKind::Damaged, message))
        };
        if there.size != mover.layout.size {
            return damaged(format!("{} bytes instead of {}", there.size, mover.layout.size));
        }
        if let Some(fewer) = digest::made_of_fewer(etag, parts.iter().map(|part| &part.etag)) {
            return damaged(format!("which is the ETag of {fewer}"));
        }
        if there.multipart_digest().is_none() && there.md5().is_none() && there.sse.is_some() {
            // The object is under SSE-KMS, which the answer to the completion did not say.
            return known;
        }
        if profile.has(&des.bucket, Quirk::OwnMultipartEtags) {
            return known;
        }
        if self.reads_back_in_parts(mover, parts).await? == Some(false) {
            return damaged("and other bytes were read back".to_owned());
        }
        let evidence = format_args!(
            "{des}: {etag} from parts that give {expected}, with the right size and bytes"
        );
        profile.learn(&des.bucket, Quirk::OwnMultipartEtags, evidence);
        known
    }

    /// Whether the destination's object has the bytes of its parts: all of them, or only the first
    /// and the last part if the object is too large to read in one turn. `None` if it cannot be
    /// found out: the ETags are no MD5s, or the object may not be read.
    async fn reads_back_in_parts(&self, mover: &PartMover, parts: &[Part]) -> Result<Option<bool>> {
        let engine = self.engine;
        if engine.is_opaque(&self.job.des.bucket) {
            return Ok(None);
        }
        let is_small = mover.layout.size <= engine.settings.read_again;
        let ends = [Some(1), Some(mover.layout.count())];
        for part in parts.iter().filter(|part| is_small || ends.contains(&Some(part.number))) {
            let Some(range) = mover.layout.range(part.number) else {
                return Ok(Some(false));
            };
            let _window = engine.reserve(range.len.min(WINDOW), self.halt).await?;
            let request = GetRequest {
                id: self.job.des.clone(),
                version: None,
                range: Some(range),
                if_match: None,
            };
            let read = || async {
                let answer = engine.destination.get(&request).await?;
                let body = match answer.body.length() == range.len {
                    true => answer.body,
                    false => answer.body.cut(range.start, range.len),
                };
                let wanted = BodyWants::md5(Some(engine.lanes.hasher()));
                let (mut body, watched) = stream::watch(body, wanted);
                while body.try_next().await?.is_some() {}
                watched.outcome().map_or(Ok(None), |seen| seen.md5)
            };
            match self.at_destination().data(range.len, read).await {
                Ok(Some(md5)) if part.etag.same_digest(&digest::single_etag(&md5)) => {}
                Ok(_) => return Ok(Some(false)),
                Err(error) if error.kind() == ErrorKind::Denied => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(true))
    }
}

/// Whether an answer does not name the object that was made.
fn is_mute(written: &Written) -> bool {
    written.etag.as_str().is_empty()
}
