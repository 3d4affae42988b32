//! The parts of one object: which are missing, in what order and how many at once they move; each is
//! a ranged GET that feeds an UploadPart, hashed on the way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::Engine;
use super::evidence::Asker;
use super::proof::{self, ProofVerdict};
use super::single::MAX_READS;
use super::single_streamed::is_odd;
use super::stream::{self, BodyWants, Seen, Stretches};
use super::turn::Room;
use super::whole_digest::Whole;
use crate::digest;
use crate::error::{Error, ErrorKind, Result};
use crate::logging::scope;
use crate::object::{ByteRange, Etag, MIB, ObjectId};
use crate::quirk::Quirk;
use crate::retry::Retrying;
use crate::shutdown::Halt;
use crate::store::pace::Paced;
use crate::store::{Body, GetRequest, Md5, Part, Payload, Proof, Reads, Upload, Uploads, Written};
use crate::transfer::layout::{self, Layout};

/// The memory that a streamed part may occupy: the connections' buffers and the bytes that wait to
/// be hashed.
pub(super) const WINDOW: u64 = 2 * MIB;
/// After this many parts in a row whose ETag is not their MD5, the network is hardly to blame.
const DOUBTFUL: u32 = 2;

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
    /// Cancelled when the destination has accepted a part.
    pub first_part: CancellationToken,
    /// The digest of the whole, if the source has one to compare it with.
    pub whole: Option<Whole>,
    /// How many parts in a row had an ETag that was not their MD5.
    pub others: AtomicU32,
    /// How many answers had another extent than asked for.
    pub broken: AtomicU32,
}

impl PartMover {
    /// Sends the missing parts. If the whole is hashed in order, the parts already held are read
    /// again at the same time. Returns the parts that are then at the destination, in no order.
    pub async fn complete(self: &Arc<Self>, held: Vec<Part>, first: bool) -> Result<Vec<Part>> {
        let held: BTreeMap<u32, Part> = held.into_iter().map(|part| (part.number, part)).collect();
        let held_bytes: u64 = held.values().map(|part| part.size).sum();
        let ordered = self.whole.as_ref().is_some_and(Whole::needs_order);
        // If the content of one part is unknown, the whole cannot be judged.
        let shows = held.values().all(|part| self.held(part).is_some());
        let reads = first && ordered && shows && held_bytes <= self.engine.settings.read_again;
        if !reads || held.is_empty() || self.reads_in_order(2) {
            let missing = (1..=self.layout.count()).filter(|number| !held.contains_key(number));
            let missing = missing.collect();
            let mut parts = match held.is_empty() {
                true => self.in_turn(self.send(missing)).await?,
                false => self.send(missing).await?,
            };
            parts.extend(held.into_values());
            return Ok(parts);
        }
        let all: Vec<(u32, Option<Part>)> =
            (1..=self.layout.count()).map(|number| (number, held.get(&number).cloned())).collect();
        let every = self.each(all, |mover, (number, part)| {
            async move {
                match part {
                    Some(part) if mover.is_read_again(&part).await? => {
                        mover.has_ended(number).await;
                        Ok(part)
                    }
                    _ => mover.send_one(number).await,
                }
            }
            .instrument(scope::of_part(number))
        });
        self.in_turn(every).await
    }

    /// All parts of the object, one after the other as far as the whole needs them in order and
    /// memory is short.
    async fn in_turn<T>(&self, every: impl Future<Output = T>) -> T {
        let Some(whole) = &self.whole else { return every.await };
        whole.begin_turns().await;
        let done = every.await;
        whole.end_turns();
        done
    }

    /// A part has been sent or read, or has failed: those after it may be waiting for it.
    async fn has_ended(&self, number: u32) {
        if let Some(whole) = &self.whole {
            whole.ended(number).await;
        }
    }

    /// Room for the bytes of a part until the whole needs them; fails if the work stops first.
    async fn room(&self, number: u32, len: u64) -> Result<Room> {
        let Some(whole) = &self.whole else { return Ok(Room::Nowhere) };
        let room = whole.room(number, len, &self.engine.budget);
        self.halt.unless_stopping(room).await.ok_or_else(Error::cancelled)
    }

    /// Reads a part that is at the destination for the digest of the whole; `false` if the
    /// destination has other bytes.
    async fn is_read_again(&self, part: &Part) -> Result<bool> {
        let Some(whole) = &self.whole else { return Ok(true) };
        let room = self.room(part.number, part.size).await?;
        if !room.keeps() {
            return Ok(true);
        }
        let _window = self.engine.reserve(room.window(part.size, WINDOW), &self.halt).await?;
        let seen = self.read_again(part.number, &room).await?;
        // What the destination holds may have become unknown meanwhile.
        let Some(same) = self.holds(part, &seen) else { return Ok(true) };
        if same {
            whole.add(part.number, seen, room.into_spare()).await;
        }
        Ok(same)
    }

    /// Sends these parts; returns what was sent, in no order.
    pub async fn send(self: &Arc<Self>, numbers: Vec<u32>) -> Result<Vec<Part>> {
        if self.reads_in_order(numbers.len()) {
            return self.send_in_order(numbers).await;
        }
        self.each(numbers, |mover, number| async move {
            mover.send_one(number).instrument(scope::of_part(number)).await
        })
        .await
    }

    /// Whether the source ignores ranges: then reading each part by itself would read everything
    /// before it, each time.
    fn reads_in_order(&self, parts: usize) -> bool {
        let whole_only = self.engine.source.profile().has(&self.src.bucket, Quirk::NoRanges);
        whole_only && parts > 1 && self.layout.part_size <= self.engine.largest_held()
    }

    /// Sends the parts from one read of the whole object, each held in memory on its way. A read
    /// that breaks starts over from the beginning, for the parts that are left.
    async fn send_in_order(&self, numbers: Vec<u32>) -> Result<Vec<Part>> {
        let sent = Mutex::new(Vec::with_capacity(numbers.len()));
        let pass = || async {
            let whole = ByteRange { start: 0, len: self.layout.size };
            let mut body = Stretches::of(self.get(whole).await?);
            let mut at = 0;
            let left = numbers.iter().skip(sent.lock().await.len());
            for &number in left {
                if self.halt.is_stopping() {
                    return Err(Error::cancelled());
                }
                let range = self.range(number)?;
                let _reservation = self.engine.reserve(range.len, &self.halt).await?;
                let bytes = body.next(range.start - at, range.len).await?;
                at = range.start + range.len;
                self.engine.monitor.downloaded(range.len, &self.src);
                let written = self.put(number, bytes, Room::Nowhere).await?;
                sent.lock().await.push(part_of(number, range, written));
            }
            Ok(())
        };
        self.destination().data(self.layout.size, pass).await?;
        Ok(sent.into_inner())
    }

    /// The parts at the destination that hold what the source has there, checked by reading the
    /// source again. An ETag that is no MD5 proves nothing.
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
                    // The parts of an upload that is gone end by themselves; if parts are refused
                    // as too many, the lowest of them shows how many are accepted.
                    if error.kind() != ErrorKind::UploadGone {
                        running.abort_all();
                    }
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

    /// A part is streamed if a digest in the destination's answer proves it. Otherwise it is held,
    /// so that its digest can go first. A part too large to be held needs an upload with checksums.
    async fn send_one(&self, number: u32) -> Result<Part> {
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
    async fn put(&self, number: u32, bytes: Bytes, room: Room) -> Result<Written> {
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

    async fn proves(&self, part: &Part) -> Result<bool> {
        let range = self.range(part.number)?;
        let _window = self.engine.reserve(range.len.min(WINDOW), &self.halt).await?;
        let read = || async {
            let body = self.get(range).await?;
            let hasher = self.engine.lanes.hasher();
            let (mut body, watched) = stream::watch(body, BodyWants::md5(Some(hasher)));
            while body.try_next().await?.is_some() {}
            watched.outcome().map_or(Ok(None), |seen| seen.md5)
        };
        let md5 = self.source().data(range.len, read).await?;
        self.engine.monitor.downloaded(range.len, &self.src);
        Ok(md5.is_some_and(|md5| part.etag.same_digest(&digest::single_etag(&md5))))
    }

    pub(super) fn source(&self) -> Retrying<'_, Paced> {
        self.engine.at_source(&self.halt.abort)
    }

    fn destination(&self) -> Retrying<'_, Paced> {
        self.engine.at_destination(&self.halt.abort)
    }

    pub(super) fn range(&self, number: u32) -> Result<ByteRange> {
        let outside = || Error::invalid(format!("{}: no part {number}", self.src));
        self.layout.range(number).ok_or_else(outside)
    }

    /// Reads a range of the object that is copied. A store that ignores ranges sends the whole
    /// object.
    pub(super) async fn get(&self, range: ByteRange) -> Result<Body> {
        let (source, bucket) = (&self.engine.source, &self.src.bucket);
        let all = range.len == self.layout.size;
        let ranged = !all && !source.profile().has(bucket, Quirk::NoRanges);
        let request = GetRequest {
            id: self.src.clone(),
            version: self.version.clone(),
            range: ranged.then_some(range),
            if_match: Some(self.etag.clone()),
        };
        let answer = match source.get(&request).await {
            Err(error) if ranged && refuses_ranges(&error) => {
                // Learned below, if the store then answers with the whole object.
                let all = GetRequest { range: None, ..request };
                source.get(&all).await.map_err(|_| error)?
            }
            answer => answer?,
        };
        let (start, length, whole) = (answer.start, answer.body.length(), answer.whole);
        match answered(range, self.layout.size, start, length, whole) {
            Answered::Range => Ok(answer.body),
            Answered::Whole if !ranged => Ok(answer.body.cut(range.start, range.len)),
            Answered::Whole => {
                let evidence = format_args!(
                    "GetObject s3://{} answered {length} bytes to {}",
                    self.src,
                    range.header()
                );
                source.profile().learn(bucket, Quirk::NoRanges, evidence);
                Ok(answer.body.cut(range.start, range.len))
            }
            Answered::Otherwise => {
                let whole = whole.map_or("unknown".to_owned(), |whole| whole.to_string());
                let message = format!(
                    "{}: {} of {} bytes were requested with the ETag {}, and the source answers \
                     {length} from byte {start}, of {whole}: a wrong answer, nothing was written",
                    self.src,
                    range.header(),
                    self.layout.size,
                    self.etag
                );
                let kind = match self.broken.fetch_add(1, Ordering::Relaxed) + 1 < MAX_READS {
                    true => ErrorKind::Damaged,
                    false => ErrorKind::Invalid,
                };
                Err(Error::new(kind, message))
            }
        }
    }
}

/// Whether a refusal may be about `Range`, from a store that does not know it.
fn refuses_ranges(error: &Error) -> bool {
    let status = error.evidence().map_or(0, |evidence| evidence.status);
    let of_the_object = matches!(error.kind(), ErrorKind::Archived | ErrorKind::Denied);
    matches!(status, 400 | 405 | 416 | 501) && !of_the_object
}

/// What an answer to a range is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answered {
    /// What was asked for.
    Range,
    /// The whole object, although a range was asked for.
    Whole,
    /// Neither: another object, or another place in it.
    Otherwise,
}

/// Whether `length` bytes from `start`, of an object of `whole` bytes if the answer says so, are
/// this range of an object of `size` bytes.
fn answered(range: ByteRange, size: u64, start: u64, length: u64, whole: Option<u64>) -> Answered {
    let right_size = whole.is_none_or(|whole| whole == size);
    // A partial answer without Content-Range looks like a whole one of that length.
    let untold = start == 0 && whole == Some(length);
    match length {
        length if length == range.len && start == range.start && right_size => Answered::Range,
        length if length == size && start == 0 && right_size => Answered::Whole,
        length if length == range.len && untold && range.len < size => Answered::Range,
        _ => Answered::Otherwise,
    }
}

fn part_of(number: u32, range: ByteRange, written: Written) -> Part {
    let Written { etag, crc64nvme, .. } = written;
    Part { number, size: range.len, etag, crc64nvme }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise 3.
    #[test]
    fn an_answer_is_the_range_or_the_whole_or_broken() {
        let range = ByteRange { start: 5, len: 5 };
        for (start, length, whole, expected) in [
            (5, 5, Some(12), Answered::Range),
            (5, 5, None, Answered::Range),
            (0, 5, Some(5), Answered::Range), // no Content-Range
            (0, 12, Some(12), Answered::Whole),
            (5, 5, Some(13), Answered::Otherwise), // another object
            (6, 5, Some(12), Answered::Otherwise), // another place
            (5, 4, Some(12), Answered::Otherwise),
            (0, 0, Some(0), Answered::Otherwise),
            (0, 13, Some(13), Answered::Otherwise),
        ] {
            assert_eq!(
                answered(range, 12, start, length, whole),
                expected,
                "{start} {length} {whole:?}"
            );
        }
        let all = ByteRange { start: 0, len: 12 };
        assert_eq!(answered(all, 12, 0, 12, Some(12)), Answered::Range);
        assert_eq!(answered(all, 12, 0, 11, Some(11)), Answered::Otherwise);
    }
}
