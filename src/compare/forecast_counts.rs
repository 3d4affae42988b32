//! Counts what is to be copied by what it will cost, for a dry run.

use super::Verdict;
use crate::estimate::histogram::Histogram;
use crate::estimate::work::Work;
use crate::object::Etag;
use crate::store::Listed;

/// The numbers of a dry run. Their size does not depend on the number of objects.
#[derive(Clone, Debug, Default)]
pub struct ForecastCounts {
    /// What has to be done.
    pub work: Work,
    /// The sizes of what is to be copied.
    pub sizes: Histogram,
}

impl ForecastCounts {
    /// Empty counts; objects will be copied as `work` says.
    pub fn new(work: Work) -> Self {
        Self { work, sizes: Histogram::default() }
    }

    /// A copy of this one with nothing counted.
    pub(super) fn empty(&self) -> Self {
        let Work { manner, storage_class, workers, .. } = self.work.clone();
        Self::new(Work { manner, storage_class, workers, ..Work::default() })
    }

    /// Counts an object by its verdict.
    pub(super) fn count(&mut self, listed: Listed<'_>, verdict: &Verdict<'_>) {
        if let Verdict::Copy(_) = verdict {
            let parts = listed.etag.filter(|etag| etag.contains('-'));
            let parts = parts.and_then(|etag| Etag::new(etag).parts());
            self.work.copy(listed.size, listed.storage_class, parts);
            self.sizes.add(listed.size);
        }
    }

    /// Adds another range's or pair's numbers.
    pub fn merge(&mut self, other: &Self) {
        self.work.merge(&other.work);
        self.sizes.merge(&other.sizes);
    }
}
