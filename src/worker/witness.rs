//! When only refused objects are left, an object that was copied before is tried again, to learn
//! whether the place refuses everything or only these.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Worker;
use super::gates::places;
use crate::error::{Asked, Error, Evidence};
use crate::job::Job;
use crate::mutex::lock;
use crate::object::Etag;
use crate::shutdown::Halt;
use crate::store::{GetRequest, Reads, Side};
use crate::transfer::{Claim, Copied, Delivered, Done};

/// The largest object that serves as a witness. Bytes.
const LARGEST: u64 = 1024 * 1024;

/// A witness comes from no message.
const ALONE: Delivered = Delivered { again: true, alone: false };

/// Witnesses per pair: one may have been accepted by an exception that no longer holds.
const WITNESSES: usize = 3;

/// The first 100 objects are considered, and then one in 64, because keeping one copies its names.
const FIRST: u64 = 100;
const EVERY: u64 = 64;

/// Objects of each pair of buckets that this worker has copied.
#[derive(Debug, Default)]
pub(super) struct Witnesses {
    all: Mutex<BTreeMap<[Asked; 2], Vec<Witness>>>,
    known: AtomicU64,
}

#[derive(Clone, Debug)]
struct Witness {
    job: Job,
    size: u64,
    written: Option<Etag>,
}

impl Witnesses {
    fn all(&self) -> MutexGuard<'_, BTreeMap<[Asked; 2], Vec<Witness>>> {
        lock(&self.all)
    }

    /// This job was done. The first small objects of its pair and a late one are kept, as they are
    /// now: an event's version or order does not matter to a witness.
    pub(super) fn know(&self, job: &Job, copied: &Copied) {
        let nth = self.known.fetch_add(1, Ordering::Relaxed);
        if copied.size > LARGEST || (nth >= FIRST && !nth.is_multiple_of(EVERY)) {
            return;
        }
        let witness = Witness {
            job: Job::copy(job.src.clone(), job.des.clone(), copied.size, None),
            size: copied.size,
            written: copied.written.clone(),
        };
        let mut all = self.all();
        let known = all.entry(places(job)).or_default();
        known.truncate(WITNESSES - 1);
        known.push(witness);
    }

    fn of(&self, place: &Asked) -> Vec<Witness> {
        let all = self.all();
        let of_place = all.iter().filter(|(places, _)| places.contains(place));
        of_place.flat_map(|(_, known)| known.iter().rev().cloned()).take(WITNESSES).collect()
    }

    fn forget(&self, witness: &Witness) {
        if let Some(known) = self.all().get_mut(&places(&witness.job)) {
            known.retain(|known| known.job != witness.job);
        }
    }
}

impl Worker {
    /// Whether an object other than `refused` that this place accepted before is accepted again;
    /// `None` if there is none, or if all have changed since.
    pub(super) async fn is_taken_again(
        &self,
        error: &Error,
        refused: &Job,
        halt: &Halt,
    ) -> Option<bool> {
        let evidence = error.evidence()?;
        let place = evidence.place.as_ref()?;
        let mut taken = None;
        // Nobody testifies for itself.
        let others = self.witnesses.of(place).into_iter();
        for witness in others.filter(|witness| witness.job.des != refused.des) {
            match self.testifies(&witness, evidence, place, halt).await {
                Some(true) => return Some(true),
                refused => taken = taken.or(refused),
            }
        }
        taken
    }

    async fn testifies(
        &self,
        witness: &Witness,
        evidence: &Evidence,
        place: &Asked,
        halt: &Halt,
    ) -> Option<bool> {
        let Witness { job, size, written } = witness;
        debug!(object = %job.src, "tried again, since others are refused");
        // An encryption key that no longer decrypts fails a GET, but not a HEAD.
        if place.side == Side::Source.name() && evidence.call == "GetObject" {
            let request =
                GetRequest { id: job.src.clone(), version: None, range: None, if_match: None };
            return Some(self.engine.source.get(&request).await.is_ok());
        }
        // What somebody else has written there meanwhile is not overwritten.
        let there = self.engine.destination.head(&job.des, None).await.ok();
        let unchanged = there.is_some_and(|there| {
            there.size == *size && written.as_ref().is_none_or(|etag| there.etag == *etag)
        });
        if !unchanged {
            self.witnesses.forget(witness);
            return None;
        }
        let claim = Claim::new(&self.engine.instance, ALONE, CancellationToken::new());
        match self.engine.transfer(job, &claim, halt).await.ended {
            Ok(Done::Copied(_)) => Some(true),
            Ok(Done::Deleted | Done::PassedOver(_)) => {
                self.witnesses.forget(witness);
                None
            }
            Err(again) => {
                let again = again.evidence().and_then(|evidence| evidence.place.as_ref());
                if again != Some(place) {
                    self.witnesses.forget(witness);
                    return None;
                }
                Some(false)
            }
        }
    }
}
