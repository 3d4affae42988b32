//! The digest of a whole object whose parts are read at once and in no order: compared with what the
//! source vouches for before the upload is completed.
//!
//! A CRC-64/NVME of the whole follows from its parts'. An MD5 needs the bytes in order: parts that come
//! early are kept as far as memory can be spared, and what could not be kept is read again. Only bytes
//! that are known to be those at the destination count: a reading that brings others makes the whole
//! wrong, and a part of which nobody knows what the destination holds makes it untold.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio::sync::{Mutex, MutexGuard};
use tracing::debug;

use super::Attempt;
use super::memory::{MemoryBudget, Spare};
use super::part::{PartMover, WINDOW};
use super::proof::wrong_length;
use super::resume::MOST_PROVEN_BYTES;
use super::stream::{self, Seen, Wanted};
use crate::error::{Error, ErrorKind, Result};
use crate::lanes::{LaneHasher, Lanes};
use crate::object::ByteRange;
use crate::plan::digest;
use crate::retry::{Policy, retry};
use crate::store::{Md5, ObjectMeta, Part};

/// What the source says of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vow {
    Crc64Nvme(u64),
    Md5(Md5),
}

/// The digest of a whole in the making.
#[derive(Debug)]
pub(super) struct Whole {
    vow: Vow,
    lanes: Lanes,
    parts: Mutex<Parts>,
}

/// What is known of the parts, as they were sent last.
#[derive(Debug, Default)]
pub(super) struct Parts {
    crcs: BTreeMap<u32, u64>,
    md5s: BTreeMap<u32, Md5>,
    /// All parts before this one have gone into the hasher.
    next: u32,
    hasher: Option<LaneHasher>,
    /// Parts that came early.
    early: BTreeMap<u32, (Vec<Bytes>, Spare)>,
    /// A part that has gone in was sent again, with other bytes.
    stale: bool,
}

/// Whether the parts make what the source vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Right,
    /// They make this instead; `None`: the source brings other bytes than the destination holds.
    Wrong(Option<Vow>),
    /// Too much would have to be read again to tell, or nobody knows what the destination holds.
    Untold,
}

/// What is known of the bytes that the destination holds of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Md5(Md5),
    Crc64Nvme(u64),
}

/// The digests of a part as the source brought it once.
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

/// A part on its way into the hasher of the whole.
struct Feeding<'a> {
    into: &'a mut LaneHasher,
    md5: LaneHasher,
    crc64nvme: crc_fast::Digest,
    left: u64,
}

impl Whole {
    /// Nothing has come yet.
    pub(super) fn new(vow: Vow, lanes: &Lanes) -> Self {
        let parts = Parts { next: 1, hasher: Some(lanes.hasher()), ..Parts::default() };
        Self { vow, lanes: lanes.clone(), parts: Mutex::new(parts) }
    }

    /// What the source says of it.
    pub(super) fn vow(&self) -> Vow {
        self.vow
    }

    /// What is known of the parts.
    pub(super) async fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().await
    }

    /// Whether the bytes are needed in order.
    pub(super) fn needs_order(&self) -> bool {
        matches!(self.vow, Vow::Md5(_))
    }

    /// Room to keep a part until its turn comes, where it can be spared.
    pub(super) fn spare(&self, budget: &MemoryBudget, len: u64) -> Option<Spare> {
        self.needs_order().then(|| budget.spare(len))?
    }

    /// A part has been taken by the destination, or found to be there.
    pub(super) async fn add(&self, number: u32, seen: Seen, spare: Option<Spare>) {
        let mut parts = self.parts.lock().await;
        if let Some(crc) = seen.crc64nvme {
            parts.crcs.insert(number, crc);
        }
        let Ok(Some(md5)) = seen.md5 else { return };
        let before = parts.md5s.insert(number, md5);
        if number < parts.next {
            parts.stale |= before != Some(md5);
            return;
        }
        // Sent again: what was kept before may be other bytes.
        parts.early.remove(&number);
        if let Some(spare) = spare {
            parts.early.insert(number, (seen.kept, spare));
            parts.catch_up().await;
        }
    }

    /// One that is in memory: it need not be kept where its turn is now.
    pub(super) async fn add_held(
        &self,
        number: u32,
        bytes: Bytes,
        md5: Md5,
        budget: &MemoryBudget,
    ) {
        let crc64nvme = match self.vow {
            Vow::Crc64Nvme(_) => Some(digest::crc64nvme(&bytes)),
            Vow::Md5(_) => None,
        };
        let len = bytes.len() as u64;
        let seen = Seen { md5: Ok(Some(md5)), other: None, crc64nvme, kept: vec![bytes] };
        let is_next = self.needs_order() && self.parts.lock().await.next == number;
        let spare = match is_next {
            true => Some(Spare::none()),
            false => self.spare(budget, len),
        };
        self.add(number, seen, spare).await;
    }

    async fn standing(&self, mover: &PartMover, listed: &[Part]) -> Result<Standing> {
        match self.vow {
            Vow::Crc64Nvme(own) => self.crc_standing(own, mover, listed).await,
            Vow::Md5(own) => self.md5_standing(own, mover, listed).await,
        }
    }

    async fn crc_standing(&self, own: u64, mover: &PartMover, listed: &[Part]) -> Result<Standing> {
        let mut parts = self.parts.lock().await;
        for part in listed {
            if let Some(crc) = part.crc64nvme {
                parts.crcs.entry(part.number).or_insert(crc);
            }
        }
        let missing = listed.iter().filter(|part| !parts.crcs.contains_key(&part.number));
        let missing: Vec<&Part> = missing.collect();
        if !parts.can_be_read_again(mover, &missing) {
            return Ok(Standing::Untold);
        }
        for part in missing {
            let reading = mover.read_again(part.number, None).await?;
            let (Some(crc), Ok(Some(md5))) = (reading.crc64nvme, reading.md5) else {
                return Ok(Standing::Untold);
            };
            let held = parts.held(mover, part);
            if held.is_none_or(|held| !held.is(Reading { md5, crc64nvme: crc })) {
                return Ok(Standing::Wrong(None));
            }
            parts.crcs.insert(part.number, crc);
        }
        let crcs = listed.iter().map(|part| (parts.crcs.get(&part.number).copied(), part.size));
        Ok(match digest::whole_crc64nvme(crcs) {
            Some(made) if made == own => Standing::Right,
            made => Standing::Wrong(made.map(Vow::Crc64Nvme)),
        })
    }

    async fn md5_standing(&self, own: Md5, mover: &PartMover, listed: &[Part]) -> Result<Standing> {
        let mut parts = self.parts.lock().await;
        if parts.stale {
            *parts = Parts {
                next: 1,
                hasher: Some(self.lanes.hasher()),
                md5s: std::mem::take(&mut parts.md5s),
                ..Parts::default()
            };
        }
        let is_left =
            |part: &&Part| part.number >= parts.next && !parts.early.contains_key(&part.number);
        let left: Vec<&Part> = listed.iter().filter(is_left).collect();
        if !parts.can_be_read_again(mover, &left) {
            return Ok(Standing::Untold);
        }
        if !left.is_empty() {
            let (object, left) = (&mover.src, left.len());
            debug!(%object, left, "parts read again for the MD5 of the whole: no memory was to spare");
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
        Ok(match made == own {
            true => Standing::Right,
            false => Standing::Wrong(Some(Vow::Md5(made))),
        })
    }
}

impl Parts {
    /// What is known of a part at the destination: of one that was sent or compared, its MD5; else what
    /// the destination itself says.
    pub(super) fn held(&self, mover: &PartMover, part: &Part) -> Option<Held> {
        let sent = self.md5s.get(&part.number).copied().map(Held::Md5);
        sent.or_else(|| mover.held(part))
    }

    /// Whether it would show something to read these parts again, within one turn.
    fn can_be_read_again(&self, mover: &PartMover, parts: &[&Part]) -> bool {
        let bytes: u64 = parts.iter().map(|part| part.size).sum();
        bytes <= MOST_PROVEN_BYTES && parts.iter().all(|part| self.held(mover, part).is_some())
    }

    /// Hashes what has its turn now.
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
    async fn push(&mut self, chunk: Bytes) -> Result<()> {
        let len = chunk.len() as u64;
        self.left = self.left.checked_sub(len).ok_or_else(|| wrong_length(self.left, len))?;
        self.crc64nvme.update(&chunk);
        // At once, for a try that is given up in between must leave both at the same place.
        tokio::join!(self.md5.push(chunk.clone()), self.into.push(chunk));
        Ok(())
    }
}

impl PartMover {
    /// What the destination says of a part that it holds.
    pub(super) fn held(&self, part: &Part) -> Option<Held> {
        let opaque = self.engine.is_opaque(&self.upload.target.bucket);
        let md5 = part.etag.md5().filter(|_| !opaque).map(Held::Md5);
        md5.or(part.crc64nvme.map(Held::Crc64Nvme))
    }

    /// Whether what was read is what the destination holds; `None` if nobody knows.
    pub(super) fn holds(&self, part: &Part, seen: &Seen) -> Option<bool> {
        let held = self.held(part)?;
        let (Ok(Some(md5)), Some(crc64nvme)) = (&seen.md5, seen.crc64nvme) else { return None };
        Some(held.is(Reading { md5: *md5, crc64nvme }))
    }

    /// Reads a part of the source again: its MD5 and CRC-64/NVME, and its bytes where there is room.
    pub(super) async fn read_again(&self, number: u32, spare: Option<&Spare>) -> Result<Seen> {
        let range = self.range(number)?;
        let engine = &self.engine;
        let _window = engine.reserve(range.len.min(WINDOW), &self.halt).await?;
        let policy = Policy::data(engine.settings.max_retry, range.len);
        let read = || async {
            let body = self.get(range).await?;
            let wanted = Wanted {
                hasher: Some(engine.lanes.hasher()),
                md5: None,
                crc64nvme: true,
                keep: spare.is_some(),
            };
            let (mut body, watched) = stream::watch(body, range.len, wanted);
            while body.try_next().await?.is_some() {}
            let unread = || Error::new(ErrorKind::Damaged, "a body that was not read to its end");
            watched.outcome().ok_or_else(unread)
        };
        let seen = retry(policy, &self.halt.abort, read).await?;
        engine.monitor.downloaded(range.len, &self.src);
        Ok(seen)
    }

    /// One part into the hasher of the whole, as its bytes come; goes on where a body is cut. Whether
    /// they are what the destination holds.
    async fn feed(&self, number: u32, into: &mut LaneHasher, held: Held) -> Result<bool> {
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
            while feeding.left > 0 {
                let Some(chunk) = body.try_next().await? else {
                    return Err(wrong_length(range.len, range.len - feeding.left));
                };
                feeding.push(chunk).await?;
            }
            Ok(())
        };
        let policy = Policy::data(engine.settings.max_retry, range.len);
        retry(policy, &self.halt.abort, read).await?;
        engine.monitor.downloaded(range.len, &self.src);
        let Feeding { md5, crc64nvme, .. } = feeding.into_inner();
        Ok(held.is(Reading { md5: md5.finish().await?, crc64nvme: crc64nvme.finalize() }))
    }
}

impl Attempt<'_> {
    /// What the source says of the whole of this object that its parts could be compared with.
    pub(super) fn vow(&self, meta: &ObjectMeta) -> Option<Vow> {
        let md5 = || meta.md5().filter(|_| self.source_tells_md5()).map(Vow::Md5);
        meta.crc64nvme.map(Vow::Crc64Nvme).or_else(md5)
    }

    /// Whether the parts make what the source vouches for; those that are damaged are sent again.
    pub(super) async fn whole_is_right(
        &self,
        meta: &ObjectMeta,
        mover: &Arc<PartMover>,
        parts: &mut Vec<Part>,
    ) -> Result<bool> {
        let Some(whole) = &mover.whole else { return Ok(false) };
        let made = match whole.standing(mover, parts).await? {
            Standing::Right => {
                if whole.needs_order() {
                    self.engine.evidence.note_md5(&self.job.src.bucket);
                }
                return Ok(true);
            }
            Standing::Untold => return Ok(false),
            Standing::Wrong(made) => made,
        };
        self.righted(meta, mover, whole, parts, made).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(bytes: &'static [u8]) -> Seen {
        let (md5, kept) = (Ok(Some(digest::md5(bytes))), vec![Bytes::from_static(bytes)]);
        Seen { md5, other: None, crc64nvme: None, kept }
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
