//! An object in one piece that is not held: one GET that feeds one PUT, compared on the way with the
//! MD5 that its ETag is.

use std::sync::atomic::AtomicU32;
use std::sync::{Mutex, PoisonError};

use super::part::WINDOW;
use super::proof::Verdict;
use super::single::Readings;
use super::stream::{self, Wanted};
use super::{Attempt, Copied, Turn};
use crate::error::{Error, ErrorKind, Result};
use crate::quirk::Quirk;
use crate::record::Proven;
use crate::retry::retry;
use crate::store::{GetRequest, ObjectMeta, Proof, Streamed, Written};

/// What became of one reading.
enum Passed {
    Taken(Box<ObjectMeta>, Written, Verdict),
    /// It has no MD5 to be compared with, or is larger: not this way.
    NotThis,
    /// The same bytes for the second time, and not those of the ETag or the checksum. Whether they are
    /// those of the checksum.
    Doubted(Box<ObjectMeta>, bool),
}

impl Attempt<'_> {
    /// Whether an object of `size` bytes goes in one streamed piece, if its ETag is an MD5. A store that
    /// wants its bodies signed cannot take one before it is whole, and CRC-64/NVME would have to be
    /// in front.
    pub(super) fn may_be_streamed(&self, size: u64) -> bool {
        let (engine, bucket) = (self.engine, &self.job.des.bucket);
        let checksum = engine.settings.checksum;
        let signed = engine.destination.profile().has(bucket, Quirk::SignedBodies);
        size <= engine.settings.stream_threshold
            && checksum.md5
            && !checksum.crc64nvme
            && !signed
            && self.source_tells_md5()
    }

    /// Copies the object whole, through a window of memory. What was read never replaces what is at
    /// the destination unless its MD5 is the source's ETag: the request is cut before its last bytes.
    pub(super) async fn copy_streamed(&self, seen: Option<&ObjectMeta>) -> Result<Turn> {
        let engine = self.engine;
        let size = seen.map_or(self.job.size, |meta| meta.size);
        let _window = engine.reserve(size.min(WINDOW), self.halt).await?;
        let (readings, others) = (Mutex::new(Readings::default()), AtomicU32::new(0));
        let pass = || async { self.pass_whole(seen, &readings, &others).await };
        match retry(self.data(size), &self.halt.abort, pass).await? {
            Passed::NotThis => Ok(Turn::InParts),
            // What the ETag says is not of these bytes: they have a better witness.
            Passed::Doubted(_, true) => Ok(Turn::InParts),
            Passed::Doubted(meta, false) => {
                // Not damaged: the bucket's ETags are its own, and prove nothing.
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
        let readings = || readings.lock().unwrap_or_else(PoisonError::into_inner);
        let room = engine.destination.room(&job.des.bucket).await?;
        let request = GetRequest {
            id: job.src.clone(),
            version: self.version.clone(),
            range: None,
            if_match: seen.map(|meta| meta.etag.clone()),
        };
        let answer = engine.source.get(&request).await?;
        let (meta, length) = (answer.meta.clone(), answer.content_length);
        if let Err(broken) = self.has_its_length(&meta, seen).await? {
            let again = Error::new(ErrorKind::Damaged, broken.to_string());
            return readings().broken(broken).and(Err(again));
        }
        let Some(md5) = meta.md5().filter(|_| self.may_be_streamed(length)) else {
            return Ok(Passed::NotThis);
        };
        let new = self.new_object(&meta).await?;
        let hasher = Some(engine.lanes.hasher());
        let wanted = Wanted { hasher, md5: Some(md5), whole: meta.sum, ..Wanted::default() };
        let (body, watched) = stream::watch(answer.body, length, wanted);
        let body = Streamed { body, length, room };
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
            // What ended the body is the reason why the request failed.
            (_, Some(Err(error))) => return Err(error),
            (Err(_), _) if !self.may_be_streamed(length) => return Ok(Passed::NotThis),
            // What it refuses is found out where it can be asked again.
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

/// A signature that does not match may be one that a body held in memory would have: it is signed
/// otherwise, or its headers go in another form.
pub(super) fn is_odd(error: &Error) -> bool {
    error.code() == "SignatureDoesNotMatch"
}
