//! If the parts do not match the source's digest, reads them a second time, to tell a part that was
//! damaged on its way from an object that is damaged at the source.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::TryStreamExt;
use tracing::info;

use super::Attempt;
use super::parts::{PartMover, WINDOW};
use super::single::MAX_READS;
use super::whole_digest::{Held, Reading, Running, Vow, Whole};
use crate::digest::Md5Hasher;
use crate::error::{Error, ErrorKind, Result};
use crate::mutex::lock;
use crate::record::UploadRef;
use crate::store::{ObjectMeta, Part};

/// How often damaged parts are sent again before the copy is given up.
const MAX_ROUNDS: u32 = 3;

/// The result of a second look at all parts.
struct Look {
    /// The bytes at the source match its own digest.
    right: bool,
    /// The digests that each part must have.
    agreed: BTreeMap<u32, Reading>,
    /// Parts with other bytes at the destination.
    wrong: Vec<u32>,
}

impl PartMover {
    /// Reads every part again until two reads of it agree, or one agrees with what the destination
    /// holds.
    async fn look_again(&self, whole: &Whole, listed: &[Part]) -> Result<Look> {
        let parts = whole.parts().await;
        let mut running = Running::new(whole.vow());
        let (mut agreed, mut wrong) = (BTreeMap::new(), Vec::new());
        for part in listed {
            let held = parts.held(self, part);
            let reading;
            (reading, running) = self.agreed(part.number, held, running).await?;
            agreed.insert(part.number, reading);
            if held.is_none_or(|held| !held.is(reading)) {
                wrong.push(part.number);
            }
        }
        Ok(Look { right: running.finish() == whole.vow(), agreed, wrong })
    }

    /// A reliable read of a part, and the hasher of the whole after it.
    async fn agreed(
        &self,
        number: u32,
        held: Option<Held>,
        whole: Running,
    ) -> Result<(Reading, Running)> {
        let len = self.range(number)?.len;
        let _window = self.engine.reserve(len.min(WINDOW), &self.halt).await?;
        let mut last = None;
        for _ in 0..=MAX_READS {
            let read = || async { self.reading(number, whole.clone()).await };
            let (reading, after) = self.source().data(len, read).await?;
            if last == Some(reading) || held.is_some_and(|held| held.is(reading)) {
                return Ok((reading, after));
            }
            last = Some(reading);
        }
        let message = format!("{} part {number}: no two readings give the same bytes", self.src);
        Err(Error::new(ErrorKind::Damaged, message))
    }

    async fn reading(&self, number: u32, mut whole: Running) -> Result<(Reading, Running)> {
        let range = self.range(number)?;
        let mut hasher = Md5Hasher::default();
        let mut crc = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
        let mut body = self.get(range).await?;
        while let Some(chunk) = body.try_next().await? {
            hasher.update(&chunk);
            whole.update(&chunk);
            crc.update(&chunk);
        }
        self.engine.monitor.downloaded(range.len, &self.src);
        Ok((Reading { md5: hasher.finish(), crc64nvme: crc.finalize() }, whole))
    }
}

impl Attempt<'_> {
    /// Whether the source vouches for the parts, after the damaged ones were sent again. The damage
    /// is recorded first: another attempt might be unable to detect it.
    pub(super) async fn righted(
        &self,
        meta: &ObjectMeta,
        mover: &Arc<PartMover>,
        whole: &Whole,
        parts: &mut Vec<Part>,
        made: Option<Vow>,
    ) -> Result<bool> {
        self.record_distrust(meta, mover).await?;
        match meta.size <= self.engine.settings.read_again {
            true => self.put_right(meta, mover, whole, parts).await,
            false => self.is_rather_damaged_at_source(meta, made).await,
        }
    }

    /// For an object too large to be read again within one turn that does not match the source's
    /// digest: it is copied again. A second copy with the same digest is as good as a second read.
    async fn is_rather_damaged_at_source(
        &self,
        meta: &ObjectMeta,
        made: Option<Vow>,
    ) -> Result<bool> {
        let Err(damaged) = self.judge_source(meta).await else { return Ok(false) };
        let before = {
            let mut before = lock(&self.progress.made);
            std::mem::replace(&mut *before, made)
        };
        if made.is_some() && made == before {
            return Err(damaged);
        }
        let message = format!("{}: its parts do not give the source's digest", self.job.src);
        Err(Error::new(ErrorKind::UploadGone, message))
    }

    /// Sends damaged parts again. If two reads bring the same bytes, and these are not what the
    /// source vouches for, they are damaged at the source: then the upload is worthless.
    async fn put_right(
        &self,
        meta: &ObjectMeta,
        mover: &Arc<PartMover>,
        whole: &Whole,
        parts: &mut Vec<Part>,
    ) -> Result<bool> {
        let object = &self.job.src;
        info!(%object, "its parts do not give the source's digest: each is read again");
        for _ in 0..MAX_ROUNDS {
            let look = mover.look_again(whole, parts).await?;
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
            let known = whole.parts().await;
            let is_right = |part: &Part| {
                let agreed = look.agreed.get(&part.number);
                known.held(mover, part).zip(agreed).is_some_and(|(held, agreed)| held.is(*agreed))
            };
            if parts.iter().all(is_right) {
                return Ok(look.right);
            }
        }
        let message = format!("{object}: parts were repeatedly damaged on the way");
        Err(Error::new(ErrorKind::Damaged, message))
    }
}
