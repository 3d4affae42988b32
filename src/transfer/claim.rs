//! What an attempt at an object knows of its job, and what it has brought forward.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

use tokio_util::sync::CancellationToken;

use super::whole_digest::Vow;
use crate::record::Order;

/// What is known of the message that a job came in.
#[derive(Clone, Copy, Debug)]
pub struct Delivered {
    /// It has been received before: an earlier attempt may have come to its very end.
    pub again: bool,
    /// It has no other job, as an event's has not.
    pub alone: bool,
}

/// One attempt's claim to an object: its fencing token, since the record lets only the attempt that
/// began last end it, and what the attempt has brought forward.
#[derive(Debug)]
pub struct Claim {
    pub(super) token: String,
    pub(super) begun: AtomicBool,
    /// What is known of the job's message.
    pub(super) delivered: Delivered,
    /// An earlier attempt's upload was of no use.
    pub(super) anew: AtomicBool,
    /// Cancelled when the destination has taken a part.
    pub(super) first_part: CancellationToken,
    /// Where the order of the job matters.
    pub(super) order: OnceLock<Order>,
    /// What the parts of an earlier upload made, which was not the source's digest.
    pub(super) made: Mutex<Option<Vow>>,
}

impl Claim {
    /// With a token that no other attempt has. `first_part` is cancelled when the destination has
    /// taken a part.
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

    /// What of the record must still be as it was when the attempt's good end goes on record.
    pub fn order(&self) -> Option<Order> {
        self.order.get().cloned()
    }

    /// The token, once the attempt has put its begin on record.
    pub fn begun(&self) -> Option<String> {
        self.begun.load(Ordering::Acquire).then(|| self.token.clone())
    }

    /// Parts are at the destination from which the next attempt continues. Not where those of an
    /// earlier attempt were of no use: an object that is replaced faster than it is copied never
    /// comes to an end, however many parts are sent.
    pub fn advanced(&self) -> bool {
        self.first_part.is_cancelled() && !self.anew.load(Ordering::Relaxed)
    }
}
