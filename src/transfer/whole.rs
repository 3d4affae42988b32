//! The digest of a whole object whose parts are read at once and in no order: compared with what the
//! source vouches for before the upload is completed.
//!
//! A CRC-64/NVME of the whole follows from its parts'. An MD5 needs the bytes in order: parts that come
//! early are kept as far as memory can be spared, and what could not be kept is read again.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio::sync::Mutex;
use tracing::{debug, info};

use super::Attempt;
use super::memory::{MemoryBudget, Spare};
use super::part::{PartMover, WINDOW};
use super::resume::MOST_PROVEN_BYTES;
use super::single::MAX_READS;
use super::stream::{self, Seen, Wanted};
use crate::error::{Error, ErrorKind, Result};
use crate::lanes::{LaneHasher, Lanes};
use crate::object::ByteRange;
use crate::plan::digest::{self, Hasher};
use crate::retry::{Policy, retry};
use crate::state::UploadRef;
use crate::store::{Md5, ObjectMeta, Part};

/// How often parts are put right before the copy is given up.
const MAX_ROUNDS: u32 = 3;

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
struct Parts {
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
    Wrong,
    /// Too much would have to be read again to tell.
    Untold,
}

/// What a second look at all parts has shown.
struct Look {
    /// The bytes at the source are those that it vouches for.
    right: bool,
    /// The MD5 that each part must have.
    agreed: BTreeMap<u32, Md5>,
    /// Parts at the destination that are other bytes.
    wrong: Vec<u32>,
}

impl Whole {
    /// Nothing has come yet.
    pub(super) fn new(vow: Vow, lanes: &Lanes) -> Self {
        let parts = Parts { next: 1, hasher: Some(lanes.hasher()), ..Parts::default() };
        Self { vow, lanes: lanes.clone(), parts: Mutex::new(parts) }
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
        } else if let Some(spare) = spare {
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
        let missing = || listed.iter().filter(|part| !parts.crcs.contains_key(&part.number));
        if missing().map(|part| part.size).sum::<u64>() > MOST_PROVEN_BYTES {
            return Ok(Standing::Untold);
        }
        let missing: Vec<u32> = missing().map(|part| part.number).collect();
        for number in missing {
            let crc = mover.read_again(number, None).await?.crc64nvme.unwrap_or_default();
            parts.crcs.insert(number, crc);
        }
        let crcs = listed.iter().map(|part| (parts.crcs.get(&part.number).copied(), part.size));
        Ok(match digest::whole_crc64nvme(crcs) == Some(own) {
            true => Standing::Right,
            false => Standing::Wrong,
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
        let next = parts.next;
        let is_left = |part: &&Part| part.number >= next && !parts.early.contains_key(&part.number);
        let left: u64 = listed.iter().filter(is_left).map(|part| part.size).sum();
        if left > MOST_PROVEN_BYTES {
            return Ok(Standing::Untold);
        }
        if left > 0 {
            let object = &mover.src;
            debug!(%object, left, "read again for the MD5 of the whole: no memory was to spare");
        }
        while parts.next <= mover.layout.count() {
            let number = parts.next;
            parts.catch_up().await;
            if parts.next > number {
                continue;
            }
            let Parts { hasher, md5s, .. } = &mut *parts;
            let Some(hasher) = hasher else { return Ok(Standing::Untold) };
            let known = listed.iter().find(|part| part.number == number);
            let expected = known.and_then(|part| mover.md5_of(part)).or(md5s.get(&number).copied());
            mover.feed(number, hasher, expected).await?;
            parts.next += 1;
        }
        let Some(hasher) = parts.hasher.take() else { return Ok(Standing::Untold) };
        Ok(match hasher.finish().await? == own {
            true => Standing::Right,
            false => Standing::Wrong,
        })
    }
}

impl Parts {
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

impl PartMover {
    /// The MD5 of a part at the destination, as its ETag says.
    fn md5_of(&self, part: &Part) -> Option<Md5> {
        part.etag.md5().filter(|_| !self.engine.is_opaque(&self.upload.target.bucket))
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

    /// One part into a hasher, read until it has the MD5 that is expected: what the destination holds
    /// of it. One that never has is taken as it was read last, and so is one that is too large to be
    /// held.
    async fn feed(&self, number: u32, into: &mut LaneHasher, expected: Option<Md5>) -> Result<()> {
        let ByteRange { len, .. } = self.range(number)?;
        let engine = &self.engine;
        if len > engine.largest_held() {
            let policy = Policy::data(engine.settings.max_retry, len);
            let opened = || async { self.get(self.range(number)?).await };
            let mut body = retry(policy, &self.halt.abort, opened).await?;
            while let Some(chunk) = body.try_next().await? {
                into.push(chunk).await;
            }
            return Ok(());
        }
        let _room = engine.reserve(len, &self.halt).await?;
        let spare = Spare::none();
        for reading in 1..=MAX_READS {
            let seen = self.read_again(number, Some(&spare)).await?;
            let md5 = seen.md5?;
            if expected.is_none() || md5 == expected || reading == MAX_READS {
                for chunk in seen.kept {
                    into.push(chunk).await;
                }
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads every part again until two readings of it agree, or one agrees with what the destination
    /// holds.
    async fn look_again(&self, vow: Vow, whole: &Whole, listed: &[Part]) -> Result<Look> {
        let sent = whole.parts.lock().await.md5s.clone();
        let (mut hasher, mut crcs) = (Hasher::default(), Vec::with_capacity(listed.len()));
        let (mut agreed, mut wrong) = (BTreeMap::new(), Vec::new());
        for part in listed {
            let held = self.md5_of(part).or(sent.get(&part.number).copied());
            let (md5, crc) = self.agreed(part.number, held, &mut hasher).await?;
            crcs.push((Some(crc), part.size));
            agreed.insert(part.number, md5);
            if held != Some(md5) {
                wrong.push(part.number);
            }
        }
        let right = match vow {
            Vow::Md5(own) => hasher.finish() == own,
            Vow::Crc64Nvme(own) => digest::whole_crc64nvme(crcs.into_iter()) == Some(own),
        };
        Ok(Look { right, agreed, wrong })
    }

    async fn agreed(
        &self,
        number: u32,
        held: Option<Md5>,
        whole: &mut Hasher,
    ) -> Result<(Md5, u64)> {
        let range = self.range(number)?;
        let mut last = held;
        for _ in 0..=MAX_READS {
            if self.halt.is_stopping() {
                return Err(Error::cancelled());
            }
            let begun = whole.clone();
            let mut hasher = Hasher::default();
            let mut crc = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
            let mut body = self.get(range).await?;
            let mut left = range.len;
            while let Some(chunk) = body.try_next().await? {
                left = left.saturating_sub(chunk.len() as u64);
                hasher.update(&chunk);
                whole.update(&chunk);
                crc.update(&chunk);
            }
            self.engine.monitor.downloaded(range.len - left, &self.src);
            let md5 = hasher.finish();
            if left == 0 && last == Some(md5) {
                return Ok((md5, crc.finalize()));
            }
            *whole = begun;
            if left == 0 {
                last = Some(md5);
            }
        }
        let message = format!("{} part {number}: no two readings bring the same bytes", self.src);
        Err(Error::new(ErrorKind::Damaged, message))
    }
}

impl Attempt<'_> {
    /// What the source says of the whole of this object that its parts could be compared with.
    pub(super) fn vow(&self, meta: &ObjectMeta) -> Option<Vow> {
        let md5 = || meta.md5().filter(|_| self.source_tells_md5()).map(Vow::Md5);
        meta.crc64nvme.map(Vow::Crc64Nvme).or_else(md5)
    }

    /// Whether the parts make what the source vouches for; those that are damaged are sent again. Bytes
    /// that two readings bring alike and that are not it are damaged at the source: then the upload
    /// is worthless.
    pub(super) async fn whole_is_right(
        &self,
        meta: &ObjectMeta,
        mover: &Arc<PartMover>,
        parts: &mut Vec<Part>,
    ) -> Result<bool> {
        let Some(whole) = &mover.whole else { return Ok(false) };
        let object = &self.job.src;
        match whole.standing(mover, parts).await? {
            Standing::Right => {
                if whole.needs_order() {
                    self.engine.evidence.note_md5(&object.bucket);
                }
                return Ok(true);
            }
            Standing::Untold => return Ok(false),
            Standing::Wrong => {
                info!(%object, "its parts do not make the source's digest: each is read again");
            }
        }
        for _ in 0..MAX_ROUNDS {
            let look = mover.look_again(whole.vow, whole, parts).await?;
            if !look.right
                && let Err(damaged) = self.judge_source(meta).await
            {
                let (id, part_size) = (mover.upload.id.clone(), mover.layout.part_size);
                let upload = UploadRef { id, part_size };
                self.engine.give_up(&self.job.des, &upload, &self.halt.abort).await;
                return Err(damaged);
            }
            if look.wrong.is_empty() {
                return Ok(look.right);
            }
            let numbers = &look.wrong;
            info!(%object, ?numbers, "damaged on the way: sent again");
            let good = parts.iter().filter(|part| !numbers.contains(&part.number)).cloned();
            *parts = self.fill_again(mover, good.collect()).await?;
            let sent = whole.parts.lock().await.md5s.clone();
            let is_right = |part: &Part| {
                let held = mover.md5_of(part).or(sent.get(&part.number).copied());
                held == look.agreed.get(&part.number).copied()
            };
            if parts.iter().all(is_right) {
                return Ok(look.right);
            }
        }
        let message = format!("{object}: parts were damaged on the way again and again");
        Err(Error::new(ErrorKind::Damaged, message))
    }
}
