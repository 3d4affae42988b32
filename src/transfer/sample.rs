//! Checks a sample of the copies: which headers, metadata, tags and storage class they have kept. A
//! loss is counted and logged, but ends no run: the bytes are there.

use std::collections::HashMap;
use std::sync::Mutex;

use tracing::{debug, warn};

use super::{Attempt, Copied};
use crate::error::Result;
use crate::mutex::lock;
use crate::quirk::Quirk;
use crate::retry::Retrying;
use crate::store::pace::Paced;
use crate::store::{ObjectMeta, Reads};
use crate::transfer::preserved::{Wanted, lost};
use crate::transfer::tag_asking::Telling;

/// The first copies into a bucket, this many, are always checked.
const FIRST: u64 = 20;

/// Which copies are checked, bucket by bucket.
#[derive(Debug, Default)]
pub struct Looks {
    /// Copies so far, at the destination.
    copies: Mutex<HashMap<String, u64>>,
    /// What the source says about tags.
    pub(super) tags: Mutex<HashMap<String, Telling>>,
}

impl Looks {
    /// Whether the next copy into a bucket is checked, if `rate` out of 1,000 are.
    fn takes(&self, bucket: &str, rate: u32) -> bool {
        if rate == 0 {
            return false;
        }
        let mut copies = lock(&self.copies);
        let so_far = copies.entry(bucket.to_owned()).or_default();
        let turn = *so_far;
        *so_far += 1;
        turn < FIRST || turn.is_multiple_of(u64::from(1000 / rate.min(1000)))
    }
}

impl Attempt<'_> {
    /// Compares what both sides say about an object that has just been copied, if it is in the
    /// sample. Without permission to look, or if the source has changed, nothing is learned, and
    /// the copy stands.
    pub(super) async fn look_at_copy(&self, copied: &Copied) {
        let (engine, des) = (self.engine, &self.job.des);
        if !engine.looks.takes(&des.bucket, engine.settings.sample_rate) {
            return;
        }
        let (source, destination) = self.glances();
        let (object, copy) = tokio::join!(
            source.head(&self.job.src, self.version.as_deref()),
            destination.head(des, None),
        );
        let (mut object, mut copy) = match (object, copy) {
            (Ok(object), Ok(copy)) => (object, copy),
            (Err(error), _) | (_, Err(error)) => {
                return debug!(object = %des, "its headers are not compared: {error}");
            }
        };
        if object.etag != copied.etag {
            return;
        }
        let (settings, profile) = (&engine.settings, engine.destination.profile());
        let knows = |quirk| !profile.has(&des.bucket, quirk);
        let class = settings.storage_class.of(object.storage_class.as_deref());
        let classes = knows(Quirk::NoStorageClass) && knows(Quirk::OtherClasses);
        let wanted = Wanted {
            metadata: settings.copy_metadata,
            // Losses that were accepted beforehand have been counted already.
            tags: settings.copy_tags && knows(Quirk::NoTags),
            class: class.as_deref().filter(|_| classes),
        };
        if wanted.tags {
            self.count_tags(&mut object, &mut copy).await;
        }
        for what in lost(wanted, &object, &copy) {
            if profile.lose(&des.bucket, what) {
                warn!(object = %des, "the destination has not kept {what}: metadata is lost there");
            }
        }
    }

    /// Counts the tags of both sides if their answers have no count. Amazon S3 sends the count if
    /// there are any tags, so it is not asked.
    async fn count_tags(&self, object: &mut ObjectMeta, copy: &mut ObjectMeta) {
        let (engine, job) = (self.engine, self.job);
        let (source, destination) = self.glances();
        let count =
            |tags: Result<Vec<_>>| tags.ok().and_then(|tags| u32::try_from(tags.len()).ok());
        if object.tag_count.is_none() && self.telling(Telling::has_uncounted) {
            object.tag_count = count(source.tags(&job.src, self.version.as_deref()).await);
        }
        if copy.tag_count.is_none() && object.tag_count.is_some_and(|tags| tags > 0) {
            copy.tag_count = match engine.destination.profile().is_amazon() {
                true => Some(0),
                false => count(destination.tags(&job.des, None).await),
            };
        }
    }

    /// Both sides for calls on which nothing depends: each has a time limit, and ends with the work.
    fn glances(&self) -> (Retrying<'_, Paced>, Retrying<'_, Paced>) {
        let (engine, abort) = (self.engine, &self.halt.abort);
        (Retrying::probing(&engine.source, abort), Retrying::probing(&engine.destination, abort))
    }

    /// Notes the part of an object's metadata that the source itself cannot send.
    pub(super) fn note_missing(&self, meta: &ObjectMeta) {
        let src = &self.job.src;
        let what = "user metadata that the source cannot send (x-amz-missing-meta)";
        if meta.missing_meta > 0 && self.engine.source.profile().lose(&src.bucket, what) {
            let missing = meta.missing_meta;
            warn!(object = %src, missing, "copied without {what}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_copies_are_looked_at_and_then_a_few() {
        let looks = Looks::default();
        let taken = (0..2001).filter(|_| looks.takes("b", 1)).count();
        assert_eq!(taken, 22);
        assert_eq!((0..100).filter(|_| looks.takes("all", 1000)).count(), 100);
        assert_eq!((0..100).filter(|_| looks.takes("none", 0)).count(), 0);
    }
}
