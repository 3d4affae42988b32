//! Objects that the destination may have although it does not list them.
//!
//! Some stores do not list a key that is the folder of another (`a` next to `a/b`), and listing
//! again does not help. What a closing comparison misses is therefore looked up by itself before it
//! is called missing; for a store that is known to list this way, every comparison does so. The
//! number is bounded: if more is missing, there is another reason, which the first ones show.

use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::{StreamExt, stream};

use super::one_pair::{Marked, OnePair};
use super::sent_notes::Mark;
use super::{ForecastCounts, Summary, Verdict};
use crate::compare::difference::{self, Difference};
use crate::job::Job;
use crate::object::Etag;
use crate::quirk::Quirk;
use crate::record::Copy;
use crate::retry::Retrying;
use crate::store::Listed;

/// How many objects one comparison looks up this way.
const MOST: u32 = 1000;
/// How many of them at once.
const AT_ONCE: usize = 16;

/// How many more objects may be looked up.
#[derive(Debug)]
pub(super) struct LooksLeft(AtomicU32);

impl Default for LooksLeft {
    fn default() -> Self {
        Self(AtomicU32::new(MOST))
    }
}

impl LooksLeft {
    fn take(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

/// An object that the destination does not list.
pub(super) struct Unlisted {
    job: Job,
    mark: Mark,
    etag: Option<Etag>,
    version: Option<String>,
    /// What is on record as copied, if versions or what was written are compared.
    copied: Option<Option<Copy>>,
}

impl OnePair {
    /// The object, if the destination does not list it but may still have it, so that it must be
    /// looked up before it is copied.
    pub(super) fn unlisted(
        &self,
        listed: Listed<'_>,
        verdict: &Verdict<'_>,
        copied: Option<Option<&Copy>>,
    ) -> Option<Unlisted> {
        let is_missing = matches!(verdict, Verdict::Copy(Difference::Missing));
        let des_bucket = &self.judge.pair.des_bucket;
        let hides = || {
            let profile = self.comparison.terms.destination.profile();
            profile.has(des_bucket, Quirk::HidesFolderKeys)
        };
        let is_looked_at =
            is_missing && (self.comparison.as_closing().is_some() || hides()) && self.looks.take();
        is_looked_at.then(|| Unlisted {
            job: self.job(listed),
            mark: self.judge.mark(listed),
            etag: listed.etag.map(Etag::new),
            version: listed.version.map(str::to_owned),
            copied: copied.map(Option::<&Copy>::cloned),
        })
    }

    /// Counts each object by what the destination says about it; returns the jobs of those that it
    /// lacks.
    pub(super) async fn look_at_unlisted(
        &self,
        unlisted: Vec<Unlisted>,
        summary: &mut Summary,
        outlook: &mut Option<ForecastCounts>,
    ) -> Vec<Marked> {
        let looks = unlisted.into_iter().map(|one| async move {
            let difference = self.difference(&one).await;
            (one, difference)
        });
        let mut looked = stream::iter(looks).buffered(AT_ONCE);
        let mut jobs = Vec::new();
        while let Some((Unlisted { job, mark, .. }, difference)) = looked.next().await {
            let listed = Listed::new(job.src.key.as_str(), job.size);
            let verdict = difference.map_or(Verdict::AlreadyThere, Verdict::Copy);
            summary.count(listed, &verdict);
            if difference.is_none() {
                summary.unlisted += 1;
                let said = format!("{} is there and is not listed", job.des);
                let profile = self.comparison.terms.destination.profile();
                profile.learn(&job.des.bucket, Quirk::HidesFolderKeys, said);
            }
            if let Some(outlook) = outlook {
                outlook.count(listed, &verdict);
            }
            self.finds.iter().for_each(|finds| finds.found(&job, listed, &verdict));
            if difference.is_some() && self.sends() {
                jobs.push((job, mark));
            }
        }
        jobs
    }

    /// What differs between an object and what the destination has of it. If the destination cannot
    /// be asked, the object is missing, as the listing says.
    async fn difference(&self, unlisted: &Unlisted) -> Option<Difference> {
        let Unlisted { job, etag, version, copied, .. } = unlisted;
        let terms = &self.comparison.terms;
        let destination = Retrying::new(&*terms.destination, terms.max_retry, &self.cancel);
        let Ok(Some(copy)) = destination.current(&job.des).await else {
            return Some(Difference::Missing);
        };
        let key = job.src.key.as_str();
        let (etag, version) = (etag.as_ref().map(Etag::as_str), version.as_deref());
        let source = Listed { etag, version, ..Listed::new(key, job.size) };
        let copy = Listed { etag: Some(copy.etag.as_str()), ..Listed::new(key, copy.size) };
        let known = copied.as_ref().map(Option::as_ref);
        let of_versions = || {
            let revision = known.filter(|_| self.comparison.terms.versions.is_some())?;
            difference::version_difference(source, revision.map(|copied| &copied.revision))
        };
        let of_written = || {
            let closing = self.comparison.as_closing()?;
            let differs = closing.differs(&self.judge.pair, source, copy, known.flatten());
            differs.then_some(Difference::WrittenDiffers)
        };
        difference::difference(self.judge.criteria, source, Some(copy))
            .or_else(of_versions)
            .or_else(of_written)
    }
}
