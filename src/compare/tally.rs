//! What a comparison has found so far, for one that is stopped before its end.

use std::sync::Mutex;

use super::{Finds, Summary, Verdict};
use crate::job::Job;
use crate::mutex::lock;
use crate::store::Listed;

/// Counts every object as it is found.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Summary>);

impl Tally {
    /// The counts so far. What is to be copied counts as sent.
    pub fn summary(&self) -> Summary {
        let so_far = lock(&self.0).clone();
        Summary { sent: so_far.to_copy, ..so_far }
    }
}

impl Finds for Tally {
    fn found(&self, _: &Job, listed: Listed<'_>, verdict: &Verdict<'_>) {
        lock(&self.0).count(listed, verdict);
    }
}
