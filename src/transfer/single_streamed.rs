//! An object in one piece that is not held: one GET that feeds one PUT, with the MD5 compared with
//! its ETag on the way.

use std::sync::Mutex;
use std::sync::atomic::AtomicU32;

use super::parts::WINDOW;
use super::proof::ProofVerdict;
use super::single::Readings;
use super::stream::{self, BodyWants};
use super::{Attempt, Copied, Turn};
use crate::config::Checksum;
use crate::error::{Error, ErrorKind, Result};
use crate::mutex::lock;
use crate::quirk::Quirk;
use crate::record::Proven;
use crate::store::{GetRequest, ObjectMeta, Proof, Reads, Writes, Written};

/// The result of one read.
enum Passed {
    Taken(Box<ObjectMeta>, Written, ProofVerdict),
    /// It cannot be streamed, for example because it has no MD5 to compare with, or is larger.
    NotThis,
    /// The same bytes came for the second time, and do not match the ETag or the checksum. Whether
    /// they match the checksum.
    Doubted(Box<ObjectMeta>, bool),
}

impl Attempt<'_> {
    /// Whether an object of `size` bytes is streamed in one piece, if its ETag is an MD5. A store
    /// that wants signed bodies cannot take one before it is whole, and a CRC-64/NVME would have to
    /// come first.
    pub(super) fn may_be_streamed(&self, size: u64) -> bool {
        let (engine, bucket) = (self.engine, &self.job.des.bucket);
        let checksum = engine.settings.checksum;
        let signed = engine.destination.profile().has(bucket, Quirk::SignedBodies);
        size <= engine.settings.stream_threshold
            && checksum == Checksum::Md5
            && !signed
            && self.source_tells_md5()
    }

    /// Copies the object whole, through a window of memory. The bytes never replace what is at the
    /// destination unless their MD5 is the source's ETag: the request is cut before its last bytes.
    pub(super) async fn copy_streamed(&self, seen: Option<&ObjectMeta>) -> Result<Turn> {
        let engine = self.engine;
        let size = seen.map_or(self.job.size, |meta| meta.size);
        let _window = engine.reserve(size.min(WINDOW), self.halt).await?;
        let (readings, others) = (Mutex::new(Readings::default()), AtomicU32::new(0));
        let pass = || async { self.pass_whole(seen, &readings, &others).await };
        match self.at_destination().data(size, pass).await? {
            Passed::NotThis => Ok(Turn::InParts),
            // The ETag does not match, but the checksum does, and is the better witness.
            Passed::Doubted(_, true) => Ok(Turn::InParts),
            Passed::Doubted(meta, false) => {
                // If it is not damaged, the bucket's ETags are of its own kind and prove nothing.
                self.judge_source(&meta).await?;
                Ok(Turn::InParts)
            }
            Passed::Taken(meta, written, verdict) => {
                let size = meta.size;
                engine.monitor.downloaded(size, &self.job.src);
                engine.monitor.uploaded(size, &self.job.src);
                let verified = self.is_verified(verdict, true).await?;
                Ok(Turn::Copied(Copied {
                    size,
                    proven: Proven::new(true, verified),
                    written: Some(written.etag),
                    etag: meta.etag,
                    version: meta.version,
                }))
            }
        }
    }

    async fn pass_whole(
        &self,
        seen: Option<&ObjectMeta>,
        readings: &Mutex<Readings>,
        others: &AtomicU32,
    ) -> Result<Passed> {
        let (engine, job) = (self.engine, self.job);
        let readings = || lock(readings);
        let room = engine.destination.room(&job.des.bucket).await?;
        let request = GetRequest {
            id: job.src.clone(),
            version: self.version.clone(),
            range: None,
            if_match: seen.map(|meta| meta.etag.clone()),
        };
        let answer = engine.source.get(&request).await?;
        let (meta, length) = (answer.meta, answer.body.length());
        if let Err(broken) = self.has_its_length(&meta, seen).await? {
            let again = Error::new(ErrorKind::Damaged, broken.to_string());
            return readings().broken(broken).and(Err(again));
        }
        let Some(md5) = meta.md5().filter(|_| self.may_be_streamed(length)) else {
            return Ok(Passed::NotThis);
        };
        let new = self.new_object(&meta).await?;
        let hasher = Some(engine.lanes.hasher());
        let wanted = BodyWants { hasher, md5: Some(md5), whole: meta.sum, ..BodyWants::default() };
        let (body, watched) = stream::watch(answer.body, wanted);
        let body = body.with_room(room);
        let written = engine.destination.put_streamed(&job.des, &new, body, Some(md5)).await;
        let (written, outcome) = (written, watched.outcome());
        if let Some(other) = outcome.as_ref().and_then(|outcome| outcome.other) {
            let repeats = readings().repeats(other);
            if repeats {
                let sum = outcome.as_ref().and_then(|outcome| outcome.sum);
                let is_right = sum.is_some() && sum == meta.sum;
                return Ok(Passed::Doubted(Box::new(meta), is_right));
            }
        }
        let written = match (written, outcome.map(|outcome| outcome.md5)) {
            // The error that ended the body is the reason why the request failed.
            (_, Some(Err(error))) => return Err(error),
            (Err(_), _) if !self.may_be_streamed(length) => return Ok(Passed::NotThis),
            // The reason is found out by a way of copying that can repeat the request.
            (Err(error), _) if error.kind() == ErrorKind::Invalid || is_odd(&error) => {
                return Ok(Passed::NotThis);
            }
            (Err(error), _) => return Err(error),
            (Ok(_), None) => {
                let message =
                    format!("{}: the destination answered before it had all bytes", job.des);
                return Err(Error::new(ErrorKind::Damaged, message));
            }
            (Ok(written), Some(Ok(_))) => written,
        };
        engine.evidence.note_md5(&job.src.bucket);
        let sent = Proof { md5: Some(md5), crc64nvme: None };
        let verdict = self.compared(&written, sent, (md5, length), others).await?;
        Ok(Passed::Taken(Box::new(meta), written, verdict))
    }
}

/// A mismatching signature may not occur with a body held in memory: that body is signed
/// differently, or its headers are sent in another form.
pub(super) fn is_odd(error: &Error) -> bool {
    error.code() == "SignatureDoesNotMatch"
}
