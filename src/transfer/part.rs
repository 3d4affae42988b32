//! One part: a ranged GET that feeds an UploadPart, hashed on the way. The answer proves it, or it is
//! held so that its digest goes first.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::time::Instant;

use super::evidence::Asker;
use super::parts::{PartMover, WINDOW, part_of};
use super::proof::{self, ProofVerdict};
use super::single_streamed::is_odd;
use super::stream::{self, BodyWants, Seen};
use super::turn::Room;
use super::whole_digest::Whole;
use crate::digest;
use crate::error::{Error, ErrorKind, Result};
use crate::object::{ByteRange, MIB};
use crate::quirk::Quirk;
use crate::store::{Md5, Part, Payload, Proof, Reads, Uploads, Written};
use crate::transfer::layout;

/// After this many parts in a row whose ETag is not their MD5, the network is hardly to blame.
const DOUBTFUL: u32 = 2;

impl PartMover {
    /// A part is streamed if a digest in the destination's answer proves it. Otherwise it is held,
    /// so that its digest can go first. A part too large to be held needs an upload with checksums.
    pub(super) async fn send_one(&self, number: u32) -> Result<Part> {
        let room = self.room(number, self.range(number)?.len).await?;
        let begun = Instant::now();
        let sent = self.sent(number, room).await;
        self.has_ended(number).await;
        match sent {
            Ok(part) => {
                self.engine.part_times.note(begun.elapsed());
                Ok(part)
            }
            Err(error) if has_too_high_number(number, &error) => {
                let target = &self.upload.target;
                let allowed = layout::parts_allowed(number, &said(&error));
                let message =
                    format!("{target}: no more than {allowed} parts are accepted ({error})");
                let known =
                    self.engine.destination.profile().value(&target.bucket, Quirk::MaxParts);
                if known.is_none_or(|known| allowed < known) {
                    let profile = self.engine.destination.profile();
                    profile.learn_value(&target.bucket, Quirk::MaxParts, allowed, error);
                }
                Err(Error::new(ErrorKind::UploadGone, message))
            }
            Err(error) => Err(error),
        }
    }

    async fn sent(&self, number: u32, mut room: Room) -> Result<Part> {
        let (engine, target) = (&self.engine, &self.upload.target);
        let range = self.range(number)?;
        if self.crc64nvme || !self.must_be_held() {
            match self.pass(number, range, &mut room).await {
                Ok((written, ProofVerdict::Proven)) => return Ok(part_of(number, range, written)),
                Ok((_, ProofVerdict::Open)) => {}
                Err(error) if !self.crc64nvme && wants_digest_in_front(&error) => {
                    engine.note_digests_first(&target.bucket);
                }
                // The store has just been found to accept no streamed body, or perhaps not this
                // one.
                Err(error) if !self.crc64nvme && (self.must_be_held() || is_odd(&error)) => {
                    drop(error);
                }
                Err(error) => return Err(error),
            }
        }
        if range.len <= engine.largest_held() {
            return Ok(part_of(number, range, self.hold(number, range, room).await?));
        }
        if !self.crc64nvme {
            let message =
                format!("{target}: ETags are not MD5s there, so the upload needs checksums");
            return Err(Error::new(ErrorKind::UploadGone, message));
        }
        Err(Error::invalid(format!(
            "{target}: the destination answers neither MD5 ETags nor CRC-64/NVME checksums, and a \
             part of {} MiB is too large to be held: raise MaxMemory in [Mode], or lower ChunkSize",
            range.len.div_ceil(MIB)
        )))
    }

    /// Whether a part's digest must go before its body: if the answer will not show it, if its
    /// SHA-256 is wanted, or if two parts in a row had an ETag that was not their MD5.
    fn must_be_held(&self) -> bool {
        let bucket = &self.upload.target.bucket;
        let signed = self.engine.destination.profile().has(bucket, Quirk::SignedBodies);
        let first = self.engine.is_opaque(bucket) || self.engine.wants_digests_first(bucket);
        first || signed || self.is_doubtful()
    }

    /// Whether the last parts had ETags that were not their MD5s.
    fn is_doubtful(&self) -> bool {
        self.others.load(Ordering::Relaxed) >= DOUBTFUL
    }

    /// Streams one part through a window of memory. Its `room` is used up if the part is proven.
    async fn pass(
        &self,
        number: u32,
        range: ByteRange,
        room: &mut Room,
    ) -> Result<(Written, ProofVerdict)> {
        let engine = &self.engine;
        let _window = engine.reserve(room.window(range.len, WINDOW), &self.halt).await?;
        let keep = room.keeps();
        let pass = || async { self.pass_once(number, range, keep).await };
        let (written, verdict, seen) = self.destination().data(range.len, pass).await?;
        engine.monitor.downloaded(range.len, &self.src);
        self.taken(range.len);
        if let (Some(whole), ProofVerdict::Proven) = (&self.whole, verdict) {
            whole.add(number, seen, std::mem::replace(room, Room::Nowhere).into_spare()).await;
        }
        Ok((written, verdict))
    }

    async fn pass_once(
        &self,
        number: u32,
        range: ByteRange,
        keep: bool,
    ) -> Result<(Written, ProofVerdict, Seen)> {
        let (engine, upload) = (&self.engine, &self.upload);
        let what = format!("{} part {number}", upload.target);
        let room = engine.destination.room(&upload.target.bucket).await?;
        let body = self.get(range).await?;
        // Whether the answer has a checksum is known only when everything has been sent.
        let hashed = self.whole.is_some() || !engine.is_opaque(&upload.target.bucket);
        let wanted = BodyWants {
            hasher: hashed.then(|| engine.lanes.hasher()),
            md5: None,
            sum: self.whole.as_ref().and_then(Whole::joined),
            crc64nvme: self.crc64nvme,
            keep,
            ..BodyWants::default()
        };
        let (body, watched) = stream::watch(body, wanted);
        let payload = Payload::Streamed { body: body.with_room(room), trailer: self.crc64nvme };
        let written = engine.destination.upload_part(upload, number, payload).await;
        let (written, md5, seen) = match (written, watched.outcome()) {
            // The error that ended the body is the reason why the request failed.
            (_, Some(Seen { md5: Err(error), .. })) => return Err(error),
            (Err(error), _) => return Err(error),
            (Ok(_), None) => {
                let message = format!("{what}: the destination answered before it had all bytes");
                return Err(Error::new(ErrorKind::Damaged, message));
            }
            (Ok(written), Some(Seen { md5: Ok(md5), other, sum, crc64nvme, kept })) => {
                (written, md5, Seen { md5: Ok(md5), other, sum, crc64nvme, kept })
            }
        };
        let crc64nvme = seen.crc64nvme.filter(|_| self.crc64nvme);
        let verdict = match self.compared(&written, Proof { md5, crc64nvme }, &what) {
            // Sent once more, after its digest, it shows whether the ETags are the store's own:
            // more tries like this one would show nothing.
            Err(_)
                if !self.crc64nvme && self.is_doubtful() && range.len <= engine.largest_held() =>
            {
                ProofVerdict::Open
            }
            compared => compared?,
        };
        Ok((written, verdict, seen))
    }

    /// Reads one part into memory and sends it, its digest first.
    async fn hold(&self, number: u32, range: ByteRange, room: Room) -> Result<Written> {
        let engine = &self.engine;
        let _reservation = engine.reserve(range.len, &self.halt).await?;
        let read = || async { self.get(range).await?.read_all().await };
        let bytes: Bytes = self.source().data(range.len, read).await?;
        engine.monitor.downloaded(range.len, &self.src);
        self.put(number, bytes, room).await
    }

    /// Sends one part from memory. If the ETag in the answer repeatedly differs from its MD5,
    /// although the store would have refused another body, the store has ETags of its own.
    pub(super) async fn put(&self, number: u32, bytes: Bytes, room: Room) -> Result<Written> {
        let (engine, upload, len) = (&self.engine, &self.upload, bytes.len() as u64);
        let crc64nvme = self.crc64nvme.then(|| digest::crc64nvme(&bytes));
        let md5 = engine.lanes.md5(&bytes).await;
        let proof = Proof { md5: Some(md5), crc64nvme };
        let what = format!("{} part {number}", upload.target);
        let put = || async {
            let payload = Payload::Held { bytes: bytes.clone(), proof };
            let written = engine.destination.upload_part(upload, number, payload).await?;
            match self.compared(&written, proof, &what) {
                Err(_)
                    if self.others.load(Ordering::Relaxed) > DOUBTFUL
                        && self.has_own_etags(&written, md5).await? =>
                {
                    Ok(written)
                }
                Err(error) => Err(error),
                Ok(_) => Ok(written),
            }
        };
        let written = self.destination().data(len, put).await?;
        self.taken(len);
        if let Some(whole) = &self.whole {
            whole.add_held(number, bytes, md5, room).await;
        }
        Ok(written)
    }

    /// Compares the answer to a part with its digests. Counts the parts in a row whose ETag is not
    /// their MD5, and notes a bucket whose ETags are no MD5s.
    fn compared(&self, written: &Written, sent: Proof, what: &str) -> Result<ProofVerdict> {
        let bucket = &self.upload.target.bucket;
        if !written.etag_is_md5() {
            self.engine.note_opaque(bucket);
        }
        let compared = proof::compare(written, sent, self.engine.is_opaque(bucket), what);
        match &compared {
            Ok(_) => self.others.store(0, Ordering::Relaxed),
            Err(_) => drop(self.others.fetch_add(1, Ordering::Relaxed)),
        }
        compared
    }

    async fn has_own_etags(&self, written: &Written, md5: Md5) -> Result<bool> {
        let asker = Asker { engine: &self.engine, target: &self.upload.target, halt: &self.halt };
        asker.has_own_etags(&written.etag, md5, None).await
    }

    /// The destination has accepted this many bytes.
    fn taken(&self, bytes: u64) {
        self.first_part.cancel();
        self.engine.monitor.uploaded(bytes, &self.src);
    }
}

/// What the store said in a refusal, without our prefix: a key may contain any words.
fn said(error: &Error) -> String {
    error.evidence().map(|said| format!("{}: {}", said.code, said.text)).unwrap_or_default()
}

/// Whether a refusal is about a part number above what the store accepts.
fn has_too_high_number(number: u32, error: &Error) -> bool {
    error.kind() == ErrorKind::Invalid && number > 1 && layout::speaks_of_part_numbers(&said(error))
}

/// A bucket with Object Lock accepts no part without a digest in its headers or after its body
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock-managing.html>): 400
/// InvalidRequest, "Content-MD5 OR x-amz-checksum- HTTP header is required".
fn wants_digest_in_front(error: &Error) -> bool {
    error.kind() == ErrorKind::Invalid && said(error).contains("Content-MD5")
}
