//! How far the comparison under way has come, for whoever watches it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How far a comparison has come.
#[derive(Debug, Default)]
pub struct Reach {
    compares: AtomicBool,
    listed: AtomicU64,
}

impl Reach {
    /// A comparison begins, with nothing listed.
    pub fn begin(&self) {
        self.listed.store(0, Ordering::Relaxed);
        self.compares.store(true, Ordering::Relaxed);
    }

    /// It has ended, however it has.
    pub fn end(&self) {
        self.compares.store(false, Ordering::Relaxed);
    }

    /// So many more of the source's objects are accounted for.
    pub(super) fn add(&self, objects: u64) {
        self.listed.fetch_add(objects, Ordering::Relaxed);
    }

    /// The source's objects that are accounted for; `None` between two comparisons.
    pub fn listed(&self) -> Option<u64> {
        let compares = self.compares.load(Ordering::Relaxed);
        compares.then(|| self.listed.load(Ordering::Relaxed))
    }
}
