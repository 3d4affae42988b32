//! `jobsender`: lists both sides in ranges of keys, merges them, sends what differs.

use crate::job::Job;
use crate::object::ObjectId;
use crate::store::Listed;

mod all_ranges;
mod closing;
mod comparison;
mod counting;
mod deletions;
pub mod difference;
mod explain;
mod judge;
pub mod keyspace;
pub mod listing;
mod named_keys;
mod one_pair;
mod one_range;
mod origin;
mod position;
pub mod ranges;
mod recorded;
mod sender;
mod sent_notes;
mod summary;
#[cfg(test)]
mod tests;
mod unlisted;

pub use comparison::{Comparison, Keys, Outlet, Terms};
pub use counting::Outlook;
pub use deletions::Deletions;
pub use named_keys::Names;
pub use origin::KeyOrigin;
pub use position::Reach;
pub use sent_notes::Sent;
pub use summary::{MissingRange, Summary, Verdict};

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
