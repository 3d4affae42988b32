//! Where nothing but refused objects is left, one that was copied before is tried again: whether a place
//! refuses all, or only these.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Worker;
use super::gates::places;
use crate::error::{Asked, Error};
use crate::job::Job;
use crate::object::Etag;
use crate::shutdown::Halt;
use crate::store::Side;
use crate::transfer::{Claim, Copied, Delivered, Done};

/// A larger object is no witness. Bytes.
const LARGEST: u64 = 1024 * 1024;

/// It came in no message.
const ALONE: Delivered = Delivered { again: true, alone: false };

/// One object of each pair of buckets that this worker has copied.
#[derive(Debug, Default)]
pub(super) struct Witnesses(Mutex<BTreeMap<[Asked; 2], Witness>>);

#[derive(Clone, Debug)]
struct Witness {
    job: Job,
    size: u64,
    written: Option<Etag>,
}

impl Witnesses {
    fn all(&self) -> MutexGuard<'_, BTreeMap<[Asked; 2], Witness>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This job was done. The first small object of its pair is kept; one of an event is none, since its
    /// order among the events of its key is on record.
    pub(super) fn know(&self, job: &Job, copied: &Copied) {
        if copied.size > LARGEST {
            return;
        }
        let witness = || Witness {
            job: Job::copy(job.src.clone(), job.des.clone(), copied.size, None),
            size: copied.size,
            written: copied.written.clone(),
        };
        self.all().entry(places(job)).or_insert_with(witness);
    }

    fn of(&self, place: &Asked) -> Option<Witness> {
        let all = self.all();
        let (_, witness) = all.iter().find(|(places, _)| places.contains(place))?;
        Some(witness.clone())
    }

    fn forget(&self, witness: &Witness) {
        self.all().remove(&places(&witness.job));
    }
}

impl Worker {
    /// Whether an object that was taken at the place of this refusal before is taken again; `None`: there
    /// is none, or it has changed since.
    pub(super) async fn is_taken_again(&self, error: &Error, halt: &Halt) -> Option<bool> {
        let evidence = error.evidence()?;
        let place = evidence.place.as_ref()?;
        let witness = self.witnesses.of(place)?;
        let Witness { job, size, written } = &witness;
        debug!(object = %job.src, "tried again, since {error}");
        let reads = matches!(evidence.call.as_str(), "GetObject" | "HeadObject");
        if place.side == Side::Source.name() && reads {
            return Some(self.engine.source.head(&job.src, None).await.is_ok());
        }
        // What somebody else has written there meanwhile is not written over.
        let there = self.engine.destination.head(&job.des, None).await.ok();
        let unchanged = there.is_some_and(|there| {
            there.size == *size && written.as_ref().is_none_or(|etag| there.etag == *etag)
        });
        if !unchanged {
            self.witnesses.forget(&witness);
            return None;
        }
        let claim = Claim::new(&self.engine.instance, ALONE, CancellationToken::new());
        match self.engine.transfer(job, &claim, halt).await {
            Ok(Done::Copied(_)) => Some(true),
            Ok(Done::Deleted | Done::PassedOver(_)) => {
                self.witnesses.forget(&witness);
                None
            }
            Err(again) => {
                let again = again.evidence().and_then(|evidence| evidence.place.as_ref());
                if again != Some(place) {
                    self.witnesses.forget(&witness);
                    return None;
                }
                Some(false)
            }
        }
    }
}
