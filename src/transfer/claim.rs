//! What an attempt at an object knows about its job, and what it reports.

use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, OnceLock};

use tokio_util::sync::CancellationToken;

use super::Done;
use super::whole_digest::Vow;
use crate::error::Result;
use crate::record::Order;

/// What is known about the message of a job.
#[derive(Clone, Copy, Debug)]
pub struct Delivered {
    /// It has been received before: an earlier attempt may have finished.
    pub again: bool,
    /// It carries only this job, as S3 events always do.
    pub alone: bool,
}

/// One attempt's claim to an object.
#[derive(Debug)]
pub struct Claim {
    /// The fencing token: the record lets only the latest attempt end it.
    pub(super) token: String,
    pub(super) delivered: Delivered,
    /// Cancelled when the destination has accepted a part.
    pub(super) first_part: CancellationToken,
}

impl Claim {
    /// A claim with a token that no other attempt has. `first_part` is cancelled when the
    /// destination has accepted a part.
    pub fn new(instance: &str, delivered: Delivered, first_part: CancellationToken) -> Self {
        Self { token: format!("{instance}/{:016x}", fastrand::u64(..)), delivered, first_part }
    }
}

/// How an attempt ended, and what is true however it ended.
#[derive(Debug)]
pub struct Report {
    /// What was done, or why not.
    pub ended: Result<Done>,
    /// What it has to do with the record.
    pub standing: Standing,
    /// The destination has parts from which the next attempt continues. Not if an earlier
    /// attempt's parts were of no use: an object that is replaced faster than it is copied never
    /// finishes, however many parts are sent.
    pub advanced: bool,
}

/// What the record must allow for the outcome to be recorded.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// The attempt's token, once it has recorded its start.
    pub lease: Option<String>,
    /// What must be unchanged in the record, if the order of the job matters.
    pub order: Option<Order>,
}

/// What an attempt has come to so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Its start is on record.
    pub(super) begun: AtomicBool,
    /// An earlier attempt's upload was of no use.
    pub(super) anew: AtomicBool,
    /// Set if the order of the job matters.
    pub(super) order: OnceLock<Order>,
    /// The digest of an earlier upload's parts, which was not the source's.
    pub(super) made: Mutex<Option<Vow>>,
}

impl Progress {
    /// The attempt ended so.
    pub(super) fn report(self, ended: Result<Done>, claim: &Claim) -> Report {
        let lease = self.begun.into_inner().then(|| claim.token.clone());
        let standing = Standing { lease, order: self.order.into_inner() };
        let advanced = claim.first_part.is_cancelled() && !self.anew.into_inner();
        Report { ended, standing, advanced }
    }
}
