//! Detects silent bodies, and tolerates slow ones: taps of a body on its way.
//!
//! The time limit of a whole request must grow with its bytes, so that a bad network is slow and
//! not broken; for a large part it is hours long. Silence shows much sooner. Its clock runs only
//! while the other side is the one that keeps us waiting: not for a source while its reader is busy
//! writing, and not for a destination while its bytes have not arrived.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::*;
use crate::error::{Error, ErrorKind};
use crate::mutex::lock;

/// A body that brings no byte for this long while its reader waits has stalled. TCP repeats a lost
/// segment after 0.2, 0.4, 0.8 ... seconds (RFC 6298): about six in a row would have to be lost.
const SILENCE: Duration = Duration::from_secs(20);
/// A destination that takes no byte for this long has stalled; longer than [`SILENCE`], since a
/// store may write what it has before it takes more.
const UNTAKEN: Duration = Duration::from_secs(30);
/// Limit for the first byte of an answer, also after all of a body has been sent. It equals the
/// shortest time limit for data in `retry`, which is much longer for large parts.
const ANSWER: Duration = Duration::from_secs(120);

/// Waits for the beginning of an answer, but not for ever.
pub(super) async fn answered<T>(
    id: &ObjectId,
    side: Side,
    asked: impl Future<Output = Result<T>>,
) -> Result<T> {
    let unanswered = |_| stalled(id, side, "no answer", ANSWER);
    tokio::time::timeout(ANSWER, asked).await.map_err(unanswered)?
}

fn stalled(id: &ObjectId, side: Side, what: &str, limit: Duration) -> Error {
    let seconds = limit.as_secs();
    Error::new(ErrorKind::Unavailable, format!("{id} ({side}): {what} for {seconds} s"))
}

/// How long an answer's body has been silent.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// Expires when it has been too long; set only while a reader waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    /// Nothing has come; returns an error once that has lasted too long.
    pub(super) fn goes_on(
        &mut self,
        id: &ObjectId,
        side: Side,
        context: &mut Context<'_>,
    ) -> Option<Error> {
        let silence = self.waiting.get_or_insert_with(|| Box::pin(sleep(SILENCE)));
        let is_over = silence.as_mut().poll(context).is_ready();
        is_over.then(|| stalled(id, side, "no byte of the body arrived", SILENCE))
    }

    /// Something has come.
    pub(super) fn ends(&mut self) {
        self.waiting = None;
    }
}

/// The tap of a body to send.
#[derive(Debug, Default)]
pub(super) struct Sending {
    taking: Arc<Taking>,
    waiter: Option<Arc<Waiter>>,
}

impl Sending {
    pub(super) fn taking(&self) -> Arc<Taking> {
        Arc::clone(&self.taking)
    }

    /// The destination asks for more. Returns the waker that wakes its connection when more has
    /// arrived, and notes that it has.
    pub(super) fn asked(&mut self, context: &Context<'_>) -> Waker {
        // Set before polling, so that bytes that arrive during the poll are not overlooked.
        self.taking.set(Taken::AllThereIs);
        match &self.waiter {
            Some(waiter) if waiter.connection.will_wake(context.waker()) => {
                Waker::from(Arc::clone(waiter))
            }
            _ => {
                let (taking, connection) = (self.taking(), context.waker().clone());
                let waiter = self.waiter.insert(Arc::new(Waiter { taking, connection }));
                Waker::from(Arc::clone(waiter))
            }
        }
    }

    /// What it got. `is_whole`: these were the last bytes.
    pub(super) fn answered<T>(&self, polled: &Poll<Option<Result<T>>>, is_whole: bool) {
        let now = Instant::now();
        match polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(_))) if !is_whole => self.taking.set(Taken::UpTo(now)),
            Poll::Ready(piece) => {
                self.taking.set(Taken::Whole(now));
                let breaks = matches!(piece, Some(Err(_)));
                self.taking.is_broken.fetch_or(breaks, Ordering::Relaxed);
            }
        }
    }
}

/// Waits for more of the body. A connection that is woken but cannot send does not ask for more;
/// without this note, the last thing it asked would make the source look like the slower side.
#[derive(Debug)]
struct Waiter {
    taking: Arc<Taking>,
    connection: Waker,
}

impl Wake for Waiter {
    fn wake(self: Arc<Self>) {
        self.taking.more_came();
        self.connection.wake_by_ref();
    }
}

/// What a destination has taken of a body.
#[derive(Clone, Copy, Debug)]
enum Taken {
    /// Something, at this time; there may be more.
    UpTo(Instant),
    /// All that has arrived so far: the source is the one to wait for.
    AllThereIs,
    /// All of it, at this time: the answer is still to come.
    Whole(Instant),
}

/// How a body that is sent fares.
#[derive(Debug)]
pub(super) struct Taking {
    taken: Mutex<Taken>,
    is_broken: AtomicBool,
}

impl Default for Taking {
    fn default() -> Self {
        Self { taken: Mutex::new(Taken::UpTo(Instant::now())), is_broken: AtomicBool::new(false) }
    }
}

impl Taking {
    /// Whether the body itself has ended in an error: its source is to blame, not its destination.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    /// Waits for the answer to the body, unless its destination stalls.
    pub(super) async fn unless_stalled<T>(
        &self,
        id: &ObjectId,
        side: Side,
        sent: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::select! {
            answer = sent => answer,
            (what, limit) = self.stalls() => Err(stalled(id, side, what, limit)),
        }
    }

    fn get(&self) -> Taken {
        *lock(&self.taken)
    }

    fn set(&self, taken: Taken) {
        *lock(&self.taken) = taken;
    }

    /// The destination was waiting for more, and there is more.
    fn more_came(&self) {
        let mut taken = lock(&self.taken);
        if matches!(*taken, Taken::AllThereIs) {
            *taken = Taken::UpTo(Instant::now());
        }
    }

    /// Waits until the destination has stalled; returns what it fails to do, and for how long.
    async fn stalls(&self) -> (&'static str, Duration) {
        loop {
            let (since, what, limit) = match self.get() {
                Taken::UpTo(since) => (since, "no byte of the part was accepted", UNTAKEN),
                Taken::Whole(since) => (since, "no answer to the part", ANSWER),
                Taken::AllThereIs => (Instant::now(), "", UNTAKEN),
            };
            if since.elapsed() >= limit {
                return (what, limit);
            }
            sleep_until(since + limit).await;
        }
    }
}

#[cfg(test)]
mod tests;
