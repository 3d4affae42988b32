//! The digest of a whole object whose parts are read concurrently and in no order: compared with
//! what the source vouches for before the upload is completed.
//!
//! A CRC of the whole follows from those of its parts. An MD5 or a SHA needs the bytes in order:
//! parts that come early are kept until their turn (`turn`), and what could not be kept, or was sent
//! by an earlier attempt, is read again. Only bytes that are known to be at the destination count.
//! If a read brings other bytes, the whole is wrong; if it is unknown what the destination holds of a
//! part, the whole is untold.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio::sync::{Mutex, MutexGuard};
use tracing::debug;

use super::Attempt;
use super::memory::{MemoryBudget, Spare};
use super::parts::{PartMover, WINDOW};
use super::stream::{self, BodyWants, Seen};
use super::turn::{Room, Turn};
use crate::digest::Md5Hasher;
use crate::digest::lanes::{LaneHasher, Lanes};
use crate::digest::sums::{self, Algorithm, Sum};
use crate::error::{Error, ErrorKind, Result};
use crate::object::ByteRange;
use crate::store::{Md5, ObjectMeta, Part};

/// What the source says about the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vow {
    Sum(Sum),
    Md5(Md5),
}

impl Vow {
    /// The checksum, if it follows from those of the parts.
    fn joined(self) -> Option<Sum> {
        match self {
            Self::Sum(sum) => Some(sum).filter(|sum| sum.algorithm().is_joined()),
            Self::Md5(_) => None,
        }
    }

    /// Hashes the bytes in their order, on another thread if possible.
    fn hasher(self, lanes: &Lanes) -> InOrder {
        match self {
            Self::Sum(sum) => InOrder::Sum(sums::SumHasher::new(sum.algorithm())),
            Self::Md5(_) => InOrder::Md5(lanes.hasher()),
        }
    }
}

/// The hasher of a whole whose bytes come in order.
#[derive(Debug)]
enum InOrder {
    Md5(LaneHasher),
    Sum(sums::SumHasher),
}

impl InOrder {
    async fn push(&mut self, bytes: Bytes) {
        match self {
            Self::Md5(hasher) => hasher.push(bytes).await,
            Self::Sum(hasher) => hasher.update(&bytes),
        }
    }

    async fn finish(self) -> Result<Vow> {
        match self {
            Self::Md5(hasher) => Ok(Vow::Md5(hasher.finish().await?)),
            Self::Sum(hasher) => Ok(Vow::Sum(hasher.finish())),
        }
    }
}

/// The same, for when a part may have to be taken back.
#[derive(Clone, Debug)]
pub(super) enum Running {
    Md5(Md5Hasher),
    Sum(Box<sums::SumHasher>),
}

impl Running {
    pub(super) fn new(vow: Vow) -> Self {
        match vow {
            Vow::Sum(sum) => Self::Sum(Box::new(sums::SumHasher::new(sum.algorithm()))),
            Vow::Md5(_) => Self::Md5(Md5Hasher::default()),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(hasher) => hasher.update(bytes),
            Self::Sum(hasher) => hasher.update(bytes),
        }
    }

    pub(super) fn finish(self) -> Vow {
        match self {
            Self::Md5(hasher) => Vow::Md5(hasher.finish()),
            Self::Sum(hasher) => Vow::Sum(hasher.finish()),
        }
    }
}

/// The digest of a whole, being computed.
#[derive(Debug)]
pub(super) struct Whole {
    vow: Vow,
    lanes: Lanes,
    parts: Mutex<Parts>,
    turn: Turn,
}

/// What is known about the parts, as they were last sent.
#[derive(Debug, Default)]
pub(super) struct Parts {
    sums: BTreeMap<u32, Sum>,
    md5s: BTreeMap<u32, Md5>,
    /// All parts before this one have gone into the hasher.
    next: u32,
    hasher: Option<InOrder>,
    /// Parts that came early.
    early: BTreeMap<u32, (Vec<Bytes>, Spare)>,
    /// A part that was already hashed was sent again, with other bytes.
    stale: bool,
}

/// Whether the parts match what the source vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Right,
    /// They have this digest instead; `None`: the source brings other bytes than the destination
    /// holds.
    Wrong(Option<Vow>),
    /// Too much would have to be read again, or it is unknown what the destination holds.
    Untold,
}

/// What is known about the bytes of a part at the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Md5(Md5),
    Crc64Nvme(u64),
}

/// The digests of a part as read once from the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub md5: Md5,
    pub crc64nvme: u64,
}

impl Held {
    /// Whether these are the same bytes.
    pub(super) fn is(self, reading: Reading) -> bool {
        match self {
            Self::Md5(md5) => md5 == reading.md5,
            Self::Crc64Nvme(crc) => crc == reading.crc64nvme,
        }
    }
}

/// A part that is being fed to the hasher of the whole.
struct Feeding<'a> {
    into: &'a mut InOrder,
    md5: LaneHasher,
    crc64nvme: crc_fast::Digest,
    left: u64,
}

impl Whole {
    /// Nothing has come yet.
    pub(super) fn new(vow: Vow, lanes: &Lanes) -> Self {
        let parts = Parts { next: 1, hasher: Some(vow.hasher(lanes)), ..Parts::default() };
        Self { vow, lanes: lanes.clone(), parts: Mutex::new(parts), turn: Turn::default() }
    }

    /// What the source says about it.
    pub(super) fn vow(&self) -> Vow {
        self.vow
    }

    /// What is known about the parts.
    pub(super) async fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().await
    }

    /// Whether the bytes are needed in order.
    pub(super) fn needs_order(&self) -> bool {
        self.vow.joined().is_none()
    }

    /// The checksum to compute of each part.
    pub(super) fn joined(&self) -> Option<Algorithm> {
        self.vow.joined().map(|sum| sum.algorithm())
    }

    /// All parts are going to be sent or read in order: who has no room waits for its turn.
    pub(super) async fn begin_turns(&self) {
        if self.needs_order() {
            self.turn.begin(self.parts.lock().await.next);
        }
    }

    /// From now on parts come in any order.
    pub(super) fn end_turns(&self) {
        self.turn.end();
    }

    /// Room to keep a part of `len` bytes until its turn comes; waits for it if that helps.
    pub(super) async fn room(&self, number: u32, len: u64, budget: &MemoryBudget) -> Room {
        match self.needs_order() {
            true => self.turn.room(number, len, budget).await,
            false => Room::Nowhere,
        }
    }

    /// A part has ended. If its bytes did not come here, no later turn will come either.
    pub(super) async fn ended(&self, number: u32) {
        let parts = self.parts.lock().await;
        if number >= parts.next && !parts.early.contains_key(&number) {
            self.turn.end();
        }
    }

    /// A part has been accepted by the destination, or found to be there.
    pub(super) async fn add(&self, number: u32, seen: Seen, spare: Option<Spare>) {
        let mut parts = self.parts.lock().await;
        if let Some(sum) = seen.sum {
            parts.sums.insert(number, sum);
        }
        let Ok(Some(md5)) = seen.md5 else { return };
        let before = parts.md5s.insert(number, md5);
        if number < parts.next {
            parts.stale |= before != Some(md5);
            return;
        }
        // Sent again: the bytes kept before may differ.
        parts.early.remove(&number);
        if let Some(spare) = spare {
            parts.early.insert(number, (seen.kept, spare));
            parts.catch_up().await;
            self.turn.advance(parts.next);
        }
    }

    /// Adds a part that is in memory: it needs no room of its own if its turn is now.
    pub(super) async fn add_held(&self, number: u32, bytes: Bytes, md5: Md5, room: Room) {
        let sum = self.joined().map(|algorithm| sums::of(algorithm, &bytes));
        let seen = Seen { sum, kept: vec![bytes], ..Seen::of(md5) };
        let is_next = self.needs_order() && self.parts.lock().await.next == number;
        let spare = match is_next {
            true => Some(Spare::none()),
            false => room.into_spare(),
        };
        self.add(number, seen, spare).await;
    }

    /// `by_etag`: the parts make the source's ETag. Then nothing is read again.
    async fn standing(
        &self,
        mover: &PartMover,
        listed: &[Part],
        by_etag: bool,
    ) -> Result<Standing> {
        match self.vow.joined() {
            Some(own) => self.sum_standing(own, mover, listed, by_etag).await,
            None => self.ordered_standing(mover, listed, by_etag).await,
        }
    }

    async fn sum_standing(
        &self,
        own: Sum,
        mover: &PartMover,
        listed: &[Part],
        by_etag: bool,
    ) -> Result<Standing> {
        let algorithm = own.algorithm();
        let mut parts = self.parts.lock().await;
        for part in listed {
            if let Some(crc) = part.crc64nvme.filter(|_| algorithm == Algorithm::Crc64Nvme) {
                parts.sums.entry(part.number).or_insert(Sum::crc64nvme(crc));
            }
        }
        let missing = listed.iter().filter(|part| !parts.sums.contains_key(&part.number));
        let missing: Vec<&Part> = missing.collect();
        if (by_etag && !missing.is_empty()) || !parts.can_be_read_again(mover, &missing) {
            return Ok(Standing::Untold);
        }
        for part in missing {
            let window = mover.engine.reserve(part.size.min(WINDOW), &mover.halt).await?;
            let seen = mover.read_again(part.number, &Room::Nowhere).await?;
            drop(window);
            let (Some(sum), Some(reading)) = (seen.sum, seen.reading()) else {
                return Ok(Standing::Untold);
            };
            if parts.held(mover, part).is_none_or(|held| !held.is(reading)) {
                return Ok(Standing::Wrong(None));
            }
            parts.sums.insert(part.number, sum);
        }
        let each = listed.iter().map(|part| (parts.sums.get(&part.number).copied(), part.size));
        Ok(match sums::joined(algorithm, each) {
            Some(made) if made == own => Standing::Right,
            made => Standing::Wrong(made.map(Vow::Sum)),
        })
    }

    async fn ordered_standing(
        &self,
        mover: &PartMover,
        listed: &[Part],
        by_etag: bool,
    ) -> Result<Standing> {
        let mut parts = self.parts.lock().await;
        if parts.stale {
            *parts = Parts {
                next: 1,
                hasher: Some(self.vow.hasher(&self.lanes)),
                md5s: std::mem::take(&mut parts.md5s),
                ..Parts::default()
            };
        }
        let is_left =
            |part: &&Part| part.number >= parts.next && !parts.early.contains_key(&part.number);
        let left: Vec<&Part> = listed.iter().filter(is_left).collect();
        if (by_etag && !left.is_empty()) || !parts.can_be_read_again(mover, &left) {
            return Ok(Standing::Untold);
        }
        if !left.is_empty() {
            let (object, left) = (&mover.src, left.len());
            debug!(%object, left, "parts read again for the digest of the whole");
        }
        loop {
            parts.catch_up().await;
            let number = parts.next;
            let Some(part) = listed.iter().find(|part| part.number == number) else { break };
            let Some(held) = parts.held(mover, part) else { return Ok(Standing::Untold) };
            let Some(hasher) = &mut parts.hasher else { return Ok(Standing::Untold) };
            if !mover.feed(number, hasher, held).await? {
                return Ok(Standing::Wrong(None));
            }
            parts.next += 1;
        }
        let Some(hasher) = parts.hasher.take() else { return Ok(Standing::Untold) };
        let made = hasher.finish().await?;
        Ok(match made == self.vow {
            true => Standing::Right,
            false => Standing::Wrong(Some(made)),
        })
    }
}

impl Parts {
    /// What is known about a part at the destination: its MD5, if it was sent or compared;
    /// otherwise what the destination itself says.
    pub(super) fn held(&self, mover: &PartMover, part: &Part) -> Option<Held> {
        let sent = self.md5s.get(&part.number).copied().map(Held::Md5);
        sent.or_else(|| mover.held(part))
    }

    /// Whether reading these parts again would show something, and fits within one turn.
    fn can_be_read_again(&self, mover: &PartMover, parts: &[&Part]) -> bool {
        let bytes: u64 = parts.iter().map(|part| part.size).sum();
        bytes <= mover.engine.settings.read_again
            && parts.iter().all(|part| self.held(mover, part).is_some())
    }

    /// Hashes the parts whose turn has come.
    async fn catch_up(&mut self) {
        while let Some((chunks, _spare)) = self.early.remove(&self.next) {
            let Some(hasher) = &mut self.hasher else { return };
            for chunk in chunks {
                hasher.push(chunk).await;
            }
            self.next += 1;
        }
    }
}

impl Feeding<'_> {
    async fn push(&mut self, chunk: Bytes) {
        self.left -= chunk.len() as u64;
        self.crc64nvme.update(&chunk);
        // Concurrently: if a try is dropped in between, both must be left at the same place.
        tokio::join!(self.md5.push(chunk.clone()), self.into.push(chunk));
    }
}

impl PartMover {
    /// What the destination says about a part that it holds.
    pub(super) fn held(&self, part: &Part) -> Option<Held> {
        let opaque = self.engine.is_opaque(&self.upload.target.bucket);
        let md5 = part.etag.md5().filter(|_| !opaque).map(Held::Md5);
        md5.or(part.crc64nvme.map(Held::Crc64Nvme))
    }

    /// Whether the bytes read are those at the destination; `None` if that is unknown.
    pub(super) fn holds(&self, part: &Part, seen: &Seen) -> Option<bool> {
        let held = self.held(part)?;
        Some(held.is(seen.reading()?))
    }

    /// Reads a part of the source again: its digests, and its bytes if there is `room` and the
    /// caller has reserved what it asks for.
    pub(super) async fn read_again(&self, number: u32, room: &Room) -> Result<Seen> {
        let (range, engine) = (self.range(number)?, &self.engine);
        let read = || async {
            let body = self.get(range).await?;
            let wanted = BodyWants {
                hasher: Some(engine.lanes.hasher()),
                sum: self.whole.as_ref().and_then(Whole::joined),
                crc64nvme: true,
                keep: room.keeps(),
                ..BodyWants::default()
            };
            let (mut body, watched) = stream::watch(body, wanted);
            while body.try_next().await?.is_some() {}
            let unread = || Error::new(ErrorKind::Damaged, "a body that was not read to its end");
            watched.outcome().ok_or_else(unread)
        };
        let seen = self.source().data(range.len, read).await?;
        engine.monitor.downloaded(range.len, &self.src);
        Ok(seen)
    }

    /// Feeds one part to the hasher of the whole as its bytes come; resumes if a body is cut.
    /// Returns whether the bytes are those at the destination.
    async fn feed(&self, number: u32, into: &mut InOrder, held: Held) -> Result<bool> {
        let (range, engine) = (self.range(number)?, &self.engine);
        let _window = engine.reserve(range.len.min(WINDOW), &self.halt).await?;
        let feeding = Mutex::new(Feeding {
            into,
            md5: engine.lanes.hasher(),
            crc64nvme: crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme),
            left: range.len,
        });
        let read = || async {
            let mut feeding = feeding.lock().await;
            let done = range.len - feeding.left;
            let mut body =
                self.get(ByteRange { start: range.start + done, len: feeding.left }).await?;
            while let Some(chunk) = body.try_next().await? {
                feeding.push(chunk).await;
            }
            Ok(())
        };
        self.source().data(range.len, read).await?;
        engine.monitor.downloaded(range.len, &self.src);
        let Feeding { md5, crc64nvme, .. } = feeding.into_inner();
        Ok(held.is(Reading { md5: md5.finish().await?, crc64nvme: crc64nvme.finalize() }))
    }
}

impl Attempt<'_> {
    /// What the source says about the whole object that its parts could be compared with.
    pub(super) fn vow(&self, meta: &ObjectMeta) -> Option<Vow> {
        let md5 = || meta.md5().filter(|_| self.source_tells_md5()).map(Vow::Md5);
        meta.sum.map(Vow::Sum).or_else(md5)
    }

    /// Whether the parts match what the source vouches for; damaged ones are sent again. `by_etag`:
    /// they make its ETag, which its checksum may still contradict.
    pub(super) async fn whole_is_right(
        &self,
        meta: &ObjectMeta,
        mover: &Arc<PartMover>,
        parts: &mut Vec<Part>,
        by_etag: bool,
    ) -> Result<bool> {
        let Some(whole) = &mover.whole else { return Ok(by_etag) };
        let made = match whole.standing(mover, parts, by_etag).await? {
            Standing::Right => {
                if matches!(whole.vow, Vow::Md5(_)) {
                    self.engine.evidence.note_md5(&self.job.src.bucket);
                }
                return Ok(true);
            }
            Standing::Untold => return Ok(by_etag),
            Standing::Wrong(made) => made,
        };
        self.righted(meta, mover, whole, parts, made).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest;

    fn seen(bytes: &'static [u8]) -> Seen {
        Seen { kept: vec![Bytes::from_static(bytes)], ..Seen::of(digest::md5(bytes)) }
    }

    #[tokio::test]
    async fn what_waited_for_its_turn_is_dropped_when_its_part_is_sent_again() {
        let whole = Whole::new(Vow::Md5(digest::md5(b"onetwo")), &Lanes::new());
        whole.add(2, seen(b"owt"), Some(Spare::none())).await;
        whole.add(2, seen(b"two"), None).await;
        let parts = whole.parts.lock().await;
        assert!(parts.early.is_empty(), "the bytes of a part that is no longer there");
        assert_eq!(parts.md5s[&2], digest::md5(b"two"));
    }

    #[tokio::test]
    async fn a_part_that_is_sent_again_after_it_was_hashed_begins_the_whole_anew() {
        for (again, stale) in [(b"one", false), (b"eno", true)] {
            let whole = Whole::new(Vow::Md5(digest::md5(b"onetwo")), &Lanes::new());
            whole.add(1, seen(b"one"), Some(Spare::none())).await;
            whole.add(1, seen(again), None).await;
            assert_eq!(whole.parts.lock().await.stale, stale);
        }
    }
}
