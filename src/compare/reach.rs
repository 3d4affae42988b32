//! How far the running comparison has come, for progress displays.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How far a comparison has come.
#[derive(Debug, Default)]
pub struct Reach {
    compares: AtomicBool,
    listed: AtomicU64,
}

impl Reach {
    /// Begins a comparison, with nothing listed.
    pub fn begin(&self) {
        self.listed.store(0, Ordering::Relaxed);
        self.compares.store(true, Ordering::Relaxed);
    }

    /// Ends a comparison, successful or not.
    pub fn end(&self) {
        self.compares.store(false, Ordering::Relaxed);
    }

    /// Adds this many of the source's objects that are accounted for.
    pub(super) fn add(&self, objects: u64) {
        self.listed.fetch_add(objects, Ordering::Relaxed);
    }

    /// The source's objects that are accounted for; `None` between two comparisons.
    pub fn listed(&self) -> Option<u64> {
        let compares = self.compares.load(Ordering::Relaxed);
        compares.then(|| self.listed.load(Ordering::Relaxed))
    }
}
