//! An object in one piece: one GET, one PUT.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;

use super::proof::{self, read_exactly};
use super::{Attempt, Copied, Turn};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::digest;
use crate::retry::retry;
use crate::store::{GetRequest, Md5, ObjectMeta};

/// How often an object is read whose bytes are never those that its ETag says.
const MAX_READS: u32 = 5;

/// What one GET brought.
enum Fetched {
    Whole(Box<ObjectMeta>, Bytes),
    /// More than was reserved; this many bytes.
    Larger(u64),
    /// It was written in parts, and its copy shall be.
    InParts,
}

/// What became of the bytes of one GET.
enum Stored {
    Copied(Copied),
    /// The destination refused them: they are not what the source's ETag says, but have this MD5.
    Doubted(Md5),
}

impl Attempt<'_> {
    /// Copies the object whole. Without `seen` the GET's own answer tells everything about the
    /// object, so that a small one costs two requests in all.
    pub(super) async fn copy_single(&self, seen: Option<&ObjectMeta>) -> Result<Turn> {
        let engine = self.engine;
        let mut size = seen.map_or(self.job.size, |meta| meta.size);
        let mut doubted = None;
        for _ in 0..MAX_READS {
            if size > engine.largest_single() {
                return Ok(Turn::InParts);
            }
            let _reservation = engine.reserve(size, self.halt).await?;
            let fetch = || async { self.fetch(size, seen).await };
            match retry(self.data(size), &self.halt.abort, fetch).await? {
                Fetched::Whole(meta, body) => match self.store(*meta, body, doubted).await? {
                    Stored::Copied(copied) => return Ok(Turn::Copied(copied)),
                    Stored::Doubted(md5) => doubted = Some(md5),
                },
                Fetched::InParts => return Ok(Turn::InParts),
                // The job's size is out of date: reserve what is really needed and ask again.
                Fetched::Larger(larger) => size = larger,
            }
        }
        let message = format!(
            "{}: read {MAX_READS} times, and the bytes are not those that its ETag says",
            self.job.src
        );
        Err(Error::new(ErrorKind::Damaged, message))
    }

    /// A PUT that had to be tried again may have come minutes after its GET, and after the copy of a
    /// newer object by somebody else: nothing fences an object in one piece.
    async fn still_current(&self, meta: &ObjectMeta) -> Result<()> {
        match self.head_source().await {
            Ok(now) if now.etag == meta.etag => Ok(()),
            Ok(_) => Err(self.changed("it was replaced before its copy was written")),
            // What has been deleted since was copied as it was.
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
        let (size, meta) = (answer.content_length, answer.meta.clone());
        if seen.is_none() && self.may_have_layout(&meta) {
            return Ok(Fetched::InParts);
        }
        if size > reserved {
            return Ok(Fetched::Larger(size));
        }
        let body = read_exactly(answer, size).await?;
        let kept = meta.crc64nvme.filter(|_| engine.settings.checksum.crc64nvme);
        if kept.is_some_and(|kept| kept != digest::crc64nvme(&body)) {
            let message =
                format!("{}: the bytes differ from the source's CRC-64/NVME", self.job.src);
            return Err(Error::new(ErrorKind::Damaged, message));
        }
        engine.monitor.downloaded(size, &self.job.src);
        Ok(Fetched::Whole(Box::new(meta), body))
    }

    /// One PUT that demands the MD5 which the source's ETag vouches for. Where the bytes have
    /// another one they are read again; where a second reading gives the same bytes, the ETag is
    /// of a kind of its own.
    async fn store(&self, meta: ObjectMeta, body: Bytes, doubted: Option<Md5>) -> Result<Stored> {
        let (engine, job, size) = (self.engine, self.job, body.len() as u64);
        let vouched = meta.md5().filter(|_| engine.settings.checksum.md5);
        let vouched = match doubted {
            Some(md5) if md5 == digest::md5(&body) => {
                engine.monitor.etag_is_no_md5(&job.src);
                None
            }
            _ => vouched,
        };
        let new = self.new_object(&meta).await?;
        if self.halt.abort.is_cancelled() {
            return Err(Error::cancelled());
        }
        let proof = proof::proof(engine.settings.checksum, &body, vouched);
        let tries = AtomicU32::new(0);
        let put = || async {
            tries.fetch_add(1, Ordering::Relaxed);
            let written = engine.destination.put(&job.des, &new, body.clone(), proof).await;
            let stored = written.and_then(|written| {
                proof::compare(&written, proof, &job.des.to_string())?;
                Ok(None)
            });
            match stored {
                Err(error) if error.kind() == ErrorKind::Damaged && vouched.is_some() => {
                    let md5 = digest::md5(&body);
                    if vouched == Some(md5) { Err(error) } else { Ok(Some(md5)) }
                }
                stored => stored,
            }
        };
        if let Some(md5) = retry(self.data(size), &self.halt.abort, put).await? {
            return Ok(Stored::Doubted(md5));
        }
        engine.monitor.uploaded(size, &job.src);
        if tries.into_inner() > 1 {
            self.still_current(&meta).await?;
        }
        Ok(Stored::Copied(Copied { size, etag: meta.etag, version: meta.version }))
    }
}
