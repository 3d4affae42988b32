//! The parts of one object: which are missing, in what order and how many at once they move.
//! `part.rs` moves one of them, `part_read.rs` reads its bytes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use futures_util::TryStreamExt;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::Engine;
use super::stream::{self, BodyWants, Stretches};
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
use crate::store::{Part, Reads, Upload, Written};
use crate::transfer::layout::Layout;

/// The memory that a streamed part may occupy: the connections' buffers and the bytes that wait to
/// be hashed.
pub(super) const WINDOW: u64 = 2 * MIB;
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
    pub(super) async fn has_ended(&self, number: u32) {
        if let Some(whole) = &self.whole {
            whole.ended(number).await;
        }
    }

    /// Room for the bytes of a part until the whole needs them; fails if the work stops first.
    pub(super) async fn room(&self, number: u32, len: u64) -> Result<Room> {
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

    pub(super) fn destination(&self) -> Retrying<'_, Paced> {
        self.engine.at_destination(&self.halt.abort)
    }

    pub(super) fn range(&self, number: u32) -> Result<ByteRange> {
        let outside = || Error::invalid(format!("{}: no part {number}", self.src));
        self.layout.range(number).ok_or_else(outside)
    }
}

pub(super) fn part_of(number: u32, range: ByteRange, written: Written) -> Part {
    let Written { etag, crc64nvme, .. } = written;
    Part { number, size: range.len, etag, crc64nvme }
}
