//! Counts what a comparison finds, for those who look from outside.

use std::sync::Arc;

use super::{Finds, Verdict};
use crate::job::Job;
use crate::monitor::activity::Activity;
use crate::store::Listed;

/// Passes what is found on to the counts of this process.
pub struct ToActivity(pub Arc<Activity>);

impl Finds for ToActivity {
    fn found(&self, job: &Job, listed: Listed<'_>, verdict: &Verdict<'_>) {
        let to_copy = matches!(verdict, Verdict::Copy(_));
        self.0.listed(&job.src, &job.des, listed.size, to_copy);
    }
}
