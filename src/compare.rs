//! `jobsender`: lists both sides in ranges of keys, merges them, sends what differs.

use crate::job::Job;
use crate::object::ObjectId;
use crate::store::Listed;

mod all_ranges;
pub mod both_sides;
mod closing;
mod comparison;
mod deletions;
pub mod difference;
mod explain;
mod forecast_counts;
mod judge;
pub mod keyspace;
pub mod listing;
mod named_keys;
mod one_pair;
mod one_range;
mod origin;
pub mod ranges;
mod reach;
mod recorded;
mod sender;
mod sent_notes;
mod summary;
mod tally;
#[cfg(test)]
mod tests;
pub mod to_activity;
mod unlisted;
mod unmatched;

pub use comparison::{Comparison, Keys, Outlet, Terms};
pub use deletions::Deletions;
pub use forecast_counts::ForecastCounts;
pub use named_keys::Names;
pub use origin::KeyOrigin;
pub use reach::Reach;
pub use sent_notes::Sent;
pub use summary::{MissingRange, Summary, Verdict};
pub use tally::Tally;
pub use unmatched::{Matched, Unmatched, What};

/// Batches of jobs that wait for the queue: how far listing may run ahead of sending.
const JOBS_AHEAD: usize = 16;

/// Receives what a comparison finds.
pub trait Finds: Send + Sync {
    /// Called for every listed object, in key order within a range of keys. `job`: what would be
    /// sent.
    fn found(&self, job: &Job, listed: Listed<'_>, verdict: &Verdict<'_>);

    /// Called for every object at the destination that is to be deleted.
    fn doomed(&self, _des: &ObjectId, _listed: Listed<'_>) {}
}
