//! What an attempt at an object knows about its job, and what it has achieved.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

use tokio_util::sync::CancellationToken;

use super::whole_digest::Vow;
use crate::record::Order;

/// What is known about the message of a job.
#[derive(Clone, Copy, Debug)]
pub struct Delivered {
    /// It has been received before: an earlier attempt may have finished.
    pub again: bool,
    /// It carries only this job, as S3 events always do.
    pub alone: bool,
}

/// One attempt's claim to an object: what the attempt has achieved, and its fencing token, since
/// the record lets only the latest attempt end it.
#[derive(Debug)]
pub struct Claim {
    pub(super) token: String,
    pub(super) begun: AtomicBool,
    /// What is known about the job's message.
    pub(super) delivered: Delivered,
    /// An earlier attempt's upload was of no use.
    pub(super) anew: AtomicBool,
    /// Cancelled when the destination has accepted a part.
    pub(super) first_part: CancellationToken,
    /// Set if the order of the job matters.
    pub(super) order: OnceLock<Order>,
    /// The digest of an earlier upload's parts, which was not the source's.
    pub(super) made: Mutex<Option<Vow>>,
}

impl Claim {
    /// A claim with a token that no other attempt has. `first_part` is cancelled when the
    /// destination has accepted a part.
    pub fn new(instance: &str, delivered: Delivered, first_part: CancellationToken) -> Self {
        Self {
            token: format!("{instance}/{:016x}", fastrand::u64(..)),
            begun: AtomicBool::new(false),
            delivered,
            anew: AtomicBool::new(false),
            first_part,
            order: OnceLock::new(),
            made: Mutex::default(),
        }
    }

    /// What must be unchanged in the record when the attempt's success is recorded.
    pub fn order(&self) -> Option<Order> {
        self.order.get().cloned()
    }

    /// The token, once the attempt has recorded its start.
    pub fn begun(&self) -> Option<String> {
        self.begun.load(Ordering::Acquire).then(|| self.token.clone())
    }

    /// Whether the destination has parts from which the next attempt continues. Not if an earlier
    /// attempt's parts were of no use: an object that is replaced faster than it is copied never
    /// finishes, however many parts are sent.
    pub fn advanced(&self) -> bool {
        self.first_part.is_cancelled() && !self.anew.load(Ordering::Relaxed)
    }
}
