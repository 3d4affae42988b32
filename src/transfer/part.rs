//! One part: a ranged GET that feeds an UploadPart, hashed on the way.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::proof::{self, Verdict, body_of, read_exactly};
use super::{Engine, stream};
use crate::error::{Error, ErrorKind, Result};
use crate::object::{ByteRange, Etag, MIB, ObjectId};
use crate::observe::scope;
use crate::plan::digest;
use crate::plan::parts::Layout;
use crate::retry::{Policy, retry};
use crate::shutdown::Halt;
use crate::store::{GetAnswer, GetRequest, Part, Payload, Proof, Upload, Written};

/// What a part that passes through may occupy: the connections' buffers and what waits to be
/// hashed.
const WINDOW: u64 = 2 * MIB;

/// Moves the parts of one object into one upload. Every read is pinned to one source ETag.
#[derive(Debug)]
pub(super) struct PartMover {
    pub engine: Arc<Engine>,
    pub src: ObjectId,
    pub version: Option<String>,
    pub etag: Etag,
    pub upload: Upload,
    pub layout: Layout,
    /// The upload was created with CRC-64/NVME checksums, so that each part must bring one.
    pub crc64nvme: bool,
    pub halt: Halt,
    /// Cancelled when the destination has taken a part.
    pub first_part: CancellationToken,
}

impl PartMover {
    /// Sends these parts; what was sent, in no order.
    pub async fn send(self: &Arc<Self>, numbers: Vec<u32>) -> Result<Vec<Part>> {
        self.each(numbers, |mover, number| async move {
            mover.send_one(number).instrument(scope::of_part(number)).await
        })
        .await
    }

    /// Those parts at the destination that hold what the source has there, by reading it again. An
    /// ETag that is no MD5 proves nothing.
    pub async fn proven(self: &Arc<Self>, parts: Vec<Part>) -> Result<Vec<Part>> {
        let prove = |mover: Arc<Self>, part: Part| async move {
            let proven = mover.proves(&part).instrument(scope::of_part(part.number)).await?;
            Ok(proven.then_some(part))
        };
        Ok(self.each(parts, prove).await?.into_iter().flatten().collect())
    }

    /// Works on these parts, as many at once as MaxThread allows. After a stop the running ones
    /// finish and no others begin.
    async fn each<I, T, F>(
        self: &Arc<Self>,
        items: Vec<I>,
        work: impl Fn(Arc<Self>, I) -> F,
    ) -> Result<Vec<T>>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let (count, mut waiting) = (items.len(), items.into_iter());
        let mut running = JoinSet::new();
        let mut finished = Vec::with_capacity(count);
        let mut failure = None;
        loop {
            while running.len() < self.engine.settings.max_thread
                && failure.is_none()
                && !self.halt.is_stopping()
                && let Some(item) = waiting.next()
            {
                running.spawn(work(Arc::clone(self), item).in_current_span());
            }
            match running.join_next().await {
                None => break,
                Some(Ok(Ok(done))) => finished.push(done),
                Some(Ok(Err(error))) => {
                    running.abort_all();
                    failure.get_or_insert(error);
                }
                Some(Err(join)) if join.is_cancelled() => {}
                Some(Err(panic)) => {
                    let message = "a part's task failed";
                    return Err(Error::new(ErrorKind::Unavailable, message).with_source(panic));
                }
            }
        }
        match failure {
            Some(error) => Err(error),
            None if finished.len() < count => Err(Error::cancelled()),
            None => Ok(finished),
        }
    }

    /// A part is streamed where a digest in the destination's answer proves it, and else held, so
    /// that its digest can go in front. One that is too large to be held needs an upload with
    /// checksums.
    async fn send_one(&self, number: u32) -> Result<Part> {
        let (engine, target) = (&self.engine, &self.upload.target);
        let range = self.range(number)?;
        let part = |written: Written| {
            let Written { etag, crc64nvme, .. } = written;
            Part { number, size: range.len, etag, crc64nvme }
        };
        if self.crc64nvme || !engine.is_opaque(&target.bucket) {
            match self.pass(number, range).await {
                Ok((written, Verdict::Proven)) => {
                    if !written.etag_is_md5() {
                        engine.note_opaque(&target.bucket);
                    }
                    return Ok(part(written));
                }
                Ok((_, Verdict::Open)) => engine.note_opaque(&target.bucket),
                Err(error) if !self.crc64nvme && wants_digest_in_front(&error) => {
                    engine.note_opaque(&target.bucket);
                }
                Err(error) => return Err(error),
            }
        }
        if range.len <= engine.largest_held() {
            return Ok(part(self.hold(number, range).await?));
        }
        if !self.crc64nvme {
            let message =
                format!("{target}: ETags are no MD5 there, so the upload needs checksums");
            return Err(Error::new(ErrorKind::UploadGone, message));
        }
        Err(Error::invalid(format!(
            "{target}: the destination answers neither MD5 ETags nor CRC-64/NVME checksums, and a \
             part of {} MiB is too large to be held: raise MaxMemory in [Mode], or lower ChunkSize",
            range.len.div_ceil(MIB)
        )))
    }

    /// Streams one part through a window of memory.
    async fn pass(&self, number: u32, range: ByteRange) -> Result<(Written, Verdict)> {
        let engine = &self.engine;
        let _window = engine.reserve(range.len.min(WINDOW), &self.halt).await?;
        let policy = Policy::data(engine.settings.max_retry, range.len);
        let pass = || async { self.pass_once(number, range).await };
        let passed = retry(policy, &self.halt.abort, pass).await?;
        engine.monitor.downloaded(range.len, &self.src);
        self.taken(range.len);
        Ok(passed)
    }

    async fn pass_once(&self, number: u32, range: ByteRange) -> Result<(Written, Verdict)> {
        let (engine, upload) = (&self.engine, &self.upload);
        let what = format!("{} part {number}", upload.target);
        let room = engine.destination.room(&upload.target.bucket).await?;
        let body = body_of(self.get(range).await?, range.len)?;
        let hasher = engine.settings.checksum.md5.then(|| engine.lanes.hasher());
        let (body, watched) = stream::watch(body, range.len, hasher);
        let trailer = self.crc64nvme;
        let payload = Payload::Streamed { body, length: range.len, trailer, room };
        let written = engine.destination.upload_part(upload, number, payload).await;
        let (written, md5) = match (written, watched.outcome()) {
            // What ended the body is the reason why the request failed.
            (_, Some(Err(error))) => return Err(error),
            (Err(error), _) => return Err(error),
            (Ok(_), None) => {
                let message = format!("{what}: the destination answered before it had all bytes");
                return Err(Error::new(ErrorKind::Damaged, message));
            }
            (Ok(written), Some(Ok(md5))) => (written, md5),
        };
        let verdict = proof::compare(&written, Proof { md5, crc64nvme: None }, &what)?;
        match self.crc64nvme && written.crc64nvme.is_some() {
            // The store itself has compared the trailer with what it took.
            true => Ok((written, Verdict::Proven)),
            false => Ok((written, verdict)),
        }
    }

    /// One part through memory, its digest in front.
    async fn hold(&self, number: u32, range: ByteRange) -> Result<Written> {
        let (engine, upload) = (&self.engine, &self.upload);
        let _reservation = engine.reserve(range.len, &self.halt).await?;
        let policy = Policy::data(engine.settings.max_retry, range.len);
        let read = || async { read_exactly(self.get(range).await?, range.len).await };
        let bytes: Bytes = retry(policy, &self.halt.abort, read).await?;
        engine.monitor.downloaded(range.len, &self.src);
        let crc64nvme = self.crc64nvme.then(|| digest::crc64nvme(&bytes));
        let proof = Proof { md5: Some(digest::md5(&bytes)), crc64nvme };
        let put = || async {
            let payload = Payload::Held { bytes: bytes.clone(), proof };
            let written = engine.destination.upload_part(upload, number, payload).await?;
            proof::compare(&written, proof, &format!("{} part {number}", upload.target))?;
            Ok(written)
        };
        let written = retry(policy, &self.halt.abort, put).await?;
        self.taken(range.len);
        Ok(written)
    }

    /// The destination has taken so many bytes.
    fn taken(&self, bytes: u64) {
        self.first_part.cancel();
        self.engine.monitor.uploaded(bytes, &self.src);
    }

    async fn proves(&self, part: &Part) -> Result<bool> {
        let range = self.range(part.number)?;
        let _window = self.engine.reserve(range.len.min(WINDOW), &self.halt).await?;
        let policy = Policy::data(self.engine.settings.max_retry, range.len);
        let read = || async {
            let body = body_of(self.get(range).await?, range.len)?;
            let hasher = self.engine.lanes.hasher();
            let (mut body, watched) = stream::watch(body, range.len, Some(hasher));
            while body.try_next().await?.is_some() {}
            watched.outcome().unwrap_or(Ok(None))
        };
        let md5 = retry(policy, &self.halt.abort, read).await?;
        self.engine.monitor.downloaded(range.len, &self.src);
        Ok(md5.is_some_and(|md5| part.etag.same_digest(&digest::single_etag(&md5))))
    }

    fn range(&self, number: u32) -> Result<ByteRange> {
        let outside = || Error::invalid(format!("{}: no part {number}", self.src));
        self.layout.range(number).ok_or_else(outside)
    }

    async fn get(&self, range: ByteRange) -> Result<GetAnswer> {
        let request = GetRequest {
            id: self.src.clone(),
            version: self.version.clone(),
            range: Some(range),
            if_match: Some(self.etag.clone()),
        };
        self.engine.source.get(&request).await
    }
}

/// A bucket with Object Lock takes no part without a digest in its headers or behind its body
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock-managing.html>): 400
/// InvalidRequest, "Content-MD5 OR x-amz-checksum- HTTP header is required".
fn wants_digest_in_front(error: &Error) -> bool {
    error.kind() == ErrorKind::Invalid && error.to_string().contains("Content-MD5")
}
