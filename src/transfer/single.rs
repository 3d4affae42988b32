//! An object in one piece, through memory: one GET, one PUT.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;

use super::proof::{self, ProofVerdict};
use super::{Attempt, Copied, Turn};
use crate::digest::sums;
use crate::error::{Error, ErrorKind, Result};
use crate::record::Proven;
use crate::store::{GetRequest, Md5, ObjectMeta, Proof, Reads, Writes, Written};

/// How often an object is read if its bytes never match its ETag, or its length never matches its
/// listing.
pub(super) const MAX_READS: u32 = 5;

/// The result of one GET.
enum Fetched {
    Whole(Box<ObjectMeta>, Bytes),
    /// It is larger than was reserved: this many bytes.
    Larger(u64),
    /// It was written in parts, and its copy is to be as well.
    InParts,
}

/// Whether the source itself vouches for what was read.
pub(super) enum Vouched {
    /// It has a digest of the whole, and the bytes match it.
    Yes,
    /// It has no usable digest.
    Untold,
    /// It has a digest, and the bytes do not match it.
    No,
}

/// The reads of one object so far.
#[derive(Debug, Default)]
pub(super) struct Readings {
    /// The MD5 of the last read that did not match what the source vouches for.
    doubted: Option<Md5>,
    /// How often an answer had another length than its object.
    broken: u32,
}

impl Readings {
    /// A read with this MD5 does not match what the source vouches for. Returns whether the one
    /// before was the same.
    pub(super) fn repeats(&mut self, md5: Md5) -> bool {
        self.doubted.replace(md5) == Some(md5)
    }

    /// An answer with another length: worth another read, a few times.
    pub(super) fn broken(&mut self, error: Error) -> Result<()> {
        self.broken += 1;
        match self.broken < MAX_READS {
            true => Ok(()),
            false => Err(error),
        }
    }
}

impl Attempt<'_> {
    /// Copies the object whole. Without `seen` the GET's own answer provides everything about the
    /// object, so that a small one costs two requests in all.
    pub(super) async fn copy_single(&self, seen: Option<&ObjectMeta>) -> Result<Turn> {
        let engine = self.engine;
        let mut size = seen.map_or(self.job.size, |meta| meta.size);
        let mut readings = Readings::default();
        for _ in 0..2 * MAX_READS {
            if size > engine.largest_single() {
                return Ok(Turn::InParts);
            }
            let _reservation = engine.reserve(size, self.halt).await?;
            let fetch = || async { self.fetch(size, seen).await };
            let (meta, body) = match self.at_source().data(size, fetch).await? {
                Fetched::Whole(meta, body) => (*meta, body),
                Fetched::InParts => return Ok(Turn::InParts),
                // The job's size is out of date: reserve what is needed and read again.
                Fetched::Larger(larger) => {
                    size = larger;
                    continue;
                }
            };
            if let Err(broken) = self.has_its_length(&meta, seen).await? {
                readings.broken(broken)?;
                continue;
            }
            let md5 = engine.lanes.md5(&body).await;
            let vouched = match self.vouched(&meta, &body, md5) {
                Vouched::Yes => true,
                Vouched::Untold => false,
                // Read again: the network may have damaged it.
                Vouched::No if !readings.repeats(md5) => continue,
                Vouched::No => Box::pin(self.judge_source(&meta)).await?,
            };
            return self.store(meta, body, md5, vouched).await.map(Turn::Copied);
        }
        let message = format!(
            "{}: read {MAX_READS} times, and the bytes do not match its ETag",
            self.job.src
        );
        Err(Error::new(ErrorKind::Damaged, message))
    }

    /// Compares the bytes with the source's digests of the whole object.
    fn vouched(&self, meta: &ObjectMeta, body: &[u8], md5: Md5) -> Vouched {
        let sum = meta.sum.map(|kept| kept == sums::of(kept.algorithm(), body));
        let etag = meta.md5().filter(|_| self.source_tells_md5()).map(|own| own == md5);
        match (sum, etag) {
            (Some(false), _) | (None, Some(false)) => Vouched::No,
            (Some(true), _) => Vouched::Yes,
            (None, Some(true)) => {
                self.engine.evidence.note_md5(&self.job.src.bucket);
                Vouched::Yes
            }
            (None, None) => Vouched::Untold,
        }
    }

    /// Two reads brought the same bytes, which are not what the source vouches for: damage there,
    /// or ETags of its own kind. `false`: the source vouches for nothing.
    pub(super) async fn judge_source(&self, meta: &ObjectMeta) -> Result<bool> {
        if let Some(sum) = meta.sum {
            return Err(self.damaged_at_source(sum.algorithm().name()));
        }
        match self.is_damaged_at_source().await? {
            true => Err(self.damaged_at_source("ETag, an MD5")),
            false => Ok(false),
        }
    }

    /// A PUT that had to be retried may have come minutes after its GET, and after somebody else
    /// copied a newer object: nothing fences an object in one piece.
    async fn still_current(&self, meta: &ObjectMeta) -> Result<()> {
        match self.head_source().await {
            Ok(now) if now.etag == meta.etag => Ok(()),
            Ok(_) => Err(self.changed("it was replaced before its copy was written")),
            // An object deleted since was still copied correctly.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn fetch(&self, reserved: u64, seen: Option<&ObjectMeta>) -> Result<Fetched> {
        let engine = self.engine;
        let request = GetRequest {
            id: self.job.src.clone(),
            version: self.version.clone(),
            range: None,
            if_match: seen.map(|meta| meta.etag.clone()),
        };
        let answer = engine.source.get(&request).await?;
        let (size, meta) = (answer.body.length(), answer.meta);
        if seen.is_none() && self.may_have_layout(&meta) {
            return Ok(Fetched::InParts);
        }
        if size > reserved {
            return Ok(Fetched::Larger(size));
        }
        let body = answer.body.read_all().await?;
        engine.monitor.downloaded(size, &self.job.src);
        Ok(Fetched::Whole(Box::new(meta), body))
    }

    /// One PUT, proven by the destination's answer.
    async fn store(
        &self,
        meta: ObjectMeta,
        body: Bytes,
        md5: Md5,
        vouched: bool,
    ) -> Result<Copied> {
        let (engine, job, size) = (self.engine, self.job, body.len() as u64);
        let new = self.new_object(&meta).await?;
        if self.halt.abort.is_cancelled() {
            return Err(Error::cancelled());
        }
        let sent = proof::proof(engine.settings.checksum, &body, md5);
        let (tries, others) = (AtomicU32::new(0), AtomicU32::new(0));
        let put = || async {
            tries.fetch_add(1, Ordering::Relaxed);
            let written = engine.destination.put(&job.des, &new, body.clone(), sent).await?;
            let verdict = self.compared(&written, sent, (md5, size), &others).await?;
            Ok((written, verdict))
        };
        let (written, verdict) = self.at_destination().data(size, put).await?;
        engine.monitor.uploaded(size, &job.src);
        if tries.into_inner() > 1 {
            Box::pin(self.still_current(&meta)).await?;
        }
        let verified = self.is_verified(verdict, sent.md5.is_some()).await?;
        Ok(Copied {
            size,
            proven: Proven::new(vouched, verified),
            written: Some(written.etag),
            etag: meta.etag,
            version: meta.version,
        })
    }

    /// Compares the answer to a whole object with its digests. An ETag that differs twice is
    /// investigated: the store may have ETags of its own.
    pub(super) async fn compared(
        &self,
        written: &Written,
        sent: Proof,
        (md5, size): (Md5, u64),
        others: &AtomicU32,
    ) -> Result<ProofVerdict> {
        let opaque = self.engine.is_opaque(&self.job.des.bucket);
        // If no checksum is echoed, the ETag still proves it.
        let echoed = written.crc64nvme.is_some() && sent.crc64nvme.is_some();
        let own = Proof { md5: sent.md5.or(Some(md5).filter(|_| !echoed)), ..sent };
        let compared = proof::compare(written, own, opaque, &self.job.des);
        let seen_before = || others.fetch_add(1, Ordering::Relaxed) > 0;
        match compared {
            Err(error) if written.etag_is_md5() && seen_before() => {
                match Box::pin(self.has_own_etags(&written.etag, md5, size)).await? {
                    true => Ok(ProofVerdict::Open),
                    false => Err(error),
                }
            }
            compared => compared,
        }
    }

    /// Whether the destination has verified what it accepted: its answer says so, or it would have
    /// refused anything else.
    pub(super) async fn is_verified(&self, verdict: ProofVerdict, md5_sent: bool) -> Result<bool> {
        match verdict {
            ProofVerdict::Proven => Ok(true),
            ProofVerdict::Open => Ok(md5_sent && Box::pin(self.refuses_wrong_bodies()).await?),
        }
    }
}
