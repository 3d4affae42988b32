//! Deletes at the destination what the source no longer has.
//!
//! Nothing is deleted unless the source itself says that it has no such key: a missing bucket, a
//! missing permission or a missing answer is an error like any other.

use super::in_event_order::left;
use super::{Attempt, Done};
use crate::error::Result;
use crate::job::SeenCopy;
use crate::record::Record;
use crate::store::ObjectMeta;
use crate::transfer::event_order::{self, Late};

impl Attempt<'_> {
    /// Deletes if the source has no object now. `seen`: what a comparison saw at the destination;
    /// nothing else is deleted.
    pub(super) async fn delete(
        &self,
        seen: Option<&SeenCopy>,
        record: Option<&Record>,
    ) -> Result<Done> {
        match self.now_at_source().await? {
            Some(source) => self.outlived(&source, record).await,
            None => self.remove(seen).await,
        }
    }

    async fn outlived(&self, source: &ObjectMeta, record: Option<&Record>) -> Result<Done> {
        let there = self.now_at_destination().await?;
        let (left, for_good) = (record.map(left), self.job.version.is_some());
        match event_order::outlived(source, there.as_ref(), left.as_ref(), for_good) {
            Late::PassOver => Ok(Done::PassedOver("the source has the object now")),
            Late::Refresh => self.refresh(record).await,
        }
    }

    /// Deletes, after the source was just seen to have nothing.
    pub(super) async fn remove(&self, seen: Option<&SeenCopy>) -> Result<Done> {
        if let Some(seen) = seen {
            match self.now_at_destination().await? {
                None => return Ok(Done::Deleted),
                Some(there) if !event_order::is_as_seen(seen.size, seen.etag.as_ref(), &there) => {
                    return Ok(Done::PassedOver(
                        "the destination has another object than the one seen",
                    ));
                }
                Some(_) => {}
            }
        }
        self.at_destination().delete(&self.job.des).await?;
        Ok(Done::Deleted)
    }
}
