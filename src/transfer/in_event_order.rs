//! Jobs whose order matters: jobs from events, and deletions.
//!
//! Such an attempt reads the record first. Its end is recorded only if the record is still as it
//! was read. Otherwise the job goes back to the queue: somebody else worked on the object at the
//! same time, and it is unknown whose bytes came last. So of two concurrent events, in any order,
//! the one that ends last has done all of its work after the other's.

use tracing::info;

use super::{Attempt, Copied, Done};
use crate::error::{ErrorKind, Result};
use crate::job::Action;
use crate::record::{JobStatus, Order, Proven, Record};
use crate::store::ObjectMeta;
use crate::transfer::event_order::{self, Late, Left};

impl Attempt<'_> {
    pub(super) fn order_matters(&self) -> bool {
        self.job.sequencer.is_some() || self.job.deletes()
    }

    /// Carries out the job, unless it is late.
    pub(super) async fn run_in_order(&self) -> Result<Done> {
        let record = self.record().await?;
        let recorded = record.as_ref().and_then(|record| record.sequencer.clone());
        let is_late = event_order::is_late(self.job.sequencer.as_ref(), recorded.as_ref());
        let sequencer = self.job.sequencer.clone().max(recorded);
        let seen = record.as_ref().map(Record::stamp);
        // Set once: an attempt reads the record before anything else.
        let _ = self.progress.order.set(Order { sequencer, seen });
        match (record.as_ref(), &self.job.action) {
            (Some(record), _) if is_late => self.late(record).await,
            (record, Action::Copy) => self.bring(record).await,
            (record, Action::Delete(seen)) => self.delete(seen.as_ref(), record).await,
        }
    }

    async fn bring(&self, record: Option<&Record>) -> Result<Done> {
        match self.copy_unless_superseded(record).await {
            Err(error) if error.kind() == ErrorKind::NotFound && self.has_gone().await? => {
                Ok(Done::PassedOver("the object is gone, its deletion has an event of its own"))
            }
            done => done,
        }
    }

    /// Whether an event's object has been deleted since, and deletions are propagated.
    async fn has_gone(&self) -> Result<bool> {
        let follows = self.engine.settings.propagate_delete && self.job.sequencer.is_some();
        Ok(follows && self.now_at_source().await?.is_none())
    }

    async fn late(&self, record: &Record) -> Result<Done> {
        let there = self.now_at_destination().await?;
        let ended_badly = record.status != JobStatus::Done && record.end_time.is_some();
        let doubtful = self.claim.delivered.again || ended_badly;
        match event_order::late(&left(record), there.as_ref(), doubtful) {
            // An attempt that failed since has changed the record, but not the destination.
            Late::PassOver if ended_badly => Ok(restored(record)),
            Late::PassOver => Ok(Done::PassedOver(OUTDONE)),
            Late::Refresh => self.refresh(Some(record)).await,
        }
    }

    /// Brings the destination to the source's current state, regardless of what the job says.
    pub(super) async fn refresh(&self, record: Option<&Record>) -> Result<Done> {
        info!(object = %self.job.src, "the destination changed since it was written: copied again");
        let current = Attempt { version: None, ..*self };
        match current.copied().await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let deleted = record.is_some_and(|record| record.deleted);
                if deleted && self.now_at_source().await?.is_none() {
                    return self.remove(None).await;
                }
                match self.has_gone().await? {
                    true => Ok(Done::PassedOver("the object is gone")),
                    false => Err(error),
                }
            }
            copied => copied.map(Done::Copied),
        }
    }

    pub(super) async fn now_at_source(&self) -> Result<Option<ObjectMeta>> {
        self.at_source().current(&self.job.src).await
    }

    pub(super) async fn now_at_destination(&self) -> Result<Option<ObjectMeta>> {
        self.at_destination().current(&self.job.des).await
    }
}

/// Why a late event is passed over.
const OUTDONE: &str = "a later event's outcome is there";

/// The success that a record had before its failure.
fn restored(record: &Record) -> Done {
    let (size, version) = (record.size, record.version.clone());
    match &record.etag {
        Some(etag) => {
            let proven = record.proven.unwrap_or(Proven::Transit);
            let (etag, written) = (etag.clone(), record.written.clone());
            Done::Copied(Copied { size, etag, version, proven, written })
        }
        None if record.deleted => Done::Deleted,
        None => Done::PassedOver(OUTDONE),
    }
}

/// What the record says about the destination.
pub(super) fn left(record: &Record) -> Left<'_> {
    Left {
        size: record.size,
        etag: record.etag.as_ref(),
        target_etag: record.target_etag.as_ref(),
        deleted: record.deleted,
    }
}
