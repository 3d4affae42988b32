//! The lease of a message as a guard: kept alive by a heartbeat, and whose loss stops the work.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tracing::warn;

use super::{Message, Queue};
use crate::error::{Error, ErrorKind, Result};
use crate::retry::Retrying;

/// Amazon SQS hides a message for at most 12 hours from its receipt, in all
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html>).
const MAX_HIDDEN: Duration = Duration::from_secs(12 * 60 * 60);

/// How long the end of a lease waits for a heartbeat in flight. A heartbeat that is sent before a
/// release but arrives after it would hide the message again.
const SETTLE: Duration = Duration::from_secs(5);

/// Tries of the final calls for a message while the heartbeat holds it: a few minutes.
const PATIENCE: u32 = 30;

/// Why a lease was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseLoss {
    /// The queue reports it: another receiver has the message, or it is gone.
    Taken,
    /// The lease could not be extended in time.
    RanOut,
    /// The queue hides no message for longer. The work saves its progress and the next attempt
    /// continues. The message can still be released in good order.
    Limit,
}

impl fmt::Display for LeaseLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Taken => "the queue has given the job to another worker",
            Self::RanOut => "the job's lease ran out before the queue could be reached",
            Self::Limit => "a job is held for at most 12 hours at a time",
        })
    }
}

impl From<LeaseLoss> for Error {
    fn from(loss: LeaseLoss) -> Self {
        Self::new(ErrorKind::LeaseLost, loss.to_string())
    }
}

/// A message and its lease. While this guard lives, the message stays hidden from other receivers;
/// when that can no longer be guaranteed, [`Lease::token`] is cancelled. If the guard is dropped
/// without one of its final calls, the message comes back when its visibility timeout ends.
#[derive(Debug)]
pub struct Lease {
    queue: Arc<dyn Queue>,
    message: Message,
    work: CancellationToken,
    lost: Arc<OnceLock<LeaseLoss>>,
    settle: CancellationToken,
    heartbeat: JoinHandle<()>,
}

impl Lease {
    /// Holds `message`, received from `queue` with `visibility` (at least a second). `stop` stops
    /// the work too. Must be called inside a Tokio runtime; makes no call to the queue before a
    /// third of `visibility` has passed.
    pub fn hold(
        queue: Arc<dyn Queue>,
        message: Message,
        visibility: Duration,
        stop: &CancellationToken,
    ) -> Self {
        let visibility = visibility.max(Duration::from_secs(1));
        let (work, settle) = (stop.child_token(), CancellationToken::new());
        let lost = Arc::new(OnceLock::new());
        let heartbeat = Heartbeat {
            queue: queue.clone(),
            message: message.clone(),
            visibility,
            settle: settle.clone(),
        };
        let on_loss = (work.clone(), lost.clone());
        let heartbeat = tokio::spawn(async move {
            if let Some(loss) = heartbeat.run().await {
                let (work, lost) = on_loss;
                let _ = lost.set(loss);
                work.cancel();
            }
        });
        Self { queue, message, work, lost, settle, heartbeat }
    }

    /// The message held.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// The token for the work: cancelled when the lease is lost, when the guard is dropped, and
    /// with `stop`.
    pub fn token(&self) -> CancellationToken {
        self.work.clone()
    }

    /// Waits until the work must stop.
    pub fn cancelled(&self) -> WaitForCancellationFuture<'_> {
        self.work.cancelled()
    }

    /// Why the lease was lost, if it was.
    pub fn lost(&self) -> Option<LeaseLoss> {
        self.lost.get().copied()
    }

    /// Ends the lease and deletes the message: the work is done and on record. A message that stays
    /// would repeat all of it.
    pub async fn delete(mut self) -> Result<()> {
        let (queue, receipt) = (&self.queue, &self.message.receipt);
        let deleted = self.while_held(|| queue.delete(receipt)).await;
        self.settle().await;
        deleted
    }

    /// Releases the message, to be received again after `delay`.
    pub async fn release(mut self, delay: Duration) -> Result<()> {
        self.settle().await;
        let (queue, receipt) = (&self.queue, &self.message.receipt);
        let never = CancellationToken::new();
        Retrying::probing(&**queue, &never).release(receipt, delay).await
    }

    /// Moves the message to the dead letters as `body`, with `reason`. `Ok(false)`: there is no
    /// dead letter queue, and the message comes back when its visibility timeout ends.
    pub async fn bury(mut self, body: &str, reason: &str) -> Result<bool> {
        let (queue, message) = (&self.queue, &self.message);
        let buried = self.while_held(|| queue.bury(message, body, reason)).await;
        self.settle().await;
        buried
    }

    /// Makes a call about this message. While the heartbeat holds the message, this waits for a
    /// queue that is down; once the work is cancelled, only a few tries are left.
    pub async fn while_held<T, F: Future<Output = Result<T>>>(
        &self,
        mut call: impl FnMut() -> F,
    ) -> Result<T> {
        let patient = Retrying::new(&*self.queue, PATIENCE, &self.work).control(&mut call).await;
        let is_cut = |error: &Error| error.kind() == ErrorKind::Cancelled;
        match patient {
            Err(error) if is_cut(&error) && !self.is_gone() => {
                let never = CancellationToken::new();
                Retrying::probing(&*self.queue, &never).control(call).await
            }
            ended => ended,
        }
    }

    /// Whether another receiver may have the message by now.
    fn is_gone(&self) -> bool {
        matches!(self.lost(), Some(LeaseLoss::Taken | LeaseLoss::RanOut))
    }

    /// Stops the heartbeat between two beats.
    async fn settle(&mut self) {
        self.settle.cancel();
        let _ = timeout(SETTLE, &mut self.heartbeat).await;
        self.heartbeat.abort();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.heartbeat.abort();
        self.work.cancel();
    }
}

/// Keeps the message hidden.
struct Heartbeat {
    queue: Arc<dyn Queue>,
    message: Message,
    visibility: Duration,
    settle: CancellationToken,
}

impl Heartbeat {
    /// Beats every third of the visibility timeout, so that one lost beat is harmless. Returns the
    /// reason when the lease is lost, `None` when it is no longer needed.
    async fn run(self) -> Option<LeaseLoss> {
        let mut deadline = Instant::from_std(self.message.deadline);
        let received = back(deadline, self.visibility);
        let mut next = on(received, self.visibility / 3);
        loop {
            tokio::select! {
                biased;
                () = self.settle.cancelled() => return None,
                () = sleep_until(next.min(deadline)) => {}
            }
            let now = Instant::now();
            if now >= deadline {
                return Some(LeaseLoss::RanOut);
            }
            if on(now, self.visibility) > on(received, MAX_HIDDEN) {
                // Two thirds of the visibility timeout are left to release the message.
                return Some(LeaseLoss::Limit);
            }
            let limit = on(now, one_try(self.visibility)).min(deadline);
            let extended = self.queue.extend(&self.message.receipt, self.visibility);
            match timeout_at(limit, extended).await {
                Err(_) if Instant::now() >= deadline => return Some(LeaseLoss::RanOut),
                // Do not wait for a lost answer: the next try uses another connection.
                Err(_) => {
                    warn!(job = %self.message.id, "no answer to extending the lease, trying again");
                    next = Instant::now();
                }
                Ok(Ok(until)) => {
                    deadline = Instant::from_std(until);
                    next = on(now, self.visibility / 3);
                }
                Ok(Err(e)) if e.kind() == ErrorKind::LeaseLost => return Some(LeaseLoss::Taken),
                // Whatever the error (new credentials may be on their way), the lease is ours until
                // the deadline.
                Ok(Err(e)) => {
                    warn!(job = %self.message.id, error = %e, "could not extend the lease");
                    next = on(Instant::now(), self.pause(&e));
                }
            }
        }
    }

    /// The pause before another try: several tries fit into the time left, and jitter keeps many
    /// workers from trying in step.
    fn pause(&self, error: &Error) -> Duration {
        let pause = self.visibility.min(Duration::from_secs(60)) / 12;
        let pause = pause.mul_f64(0.5 + fastrand::f64());
        pause.max(error.retry_after().unwrap_or_default())
    }
}

/// How long one try to extend a lease may take: several must fit into the two thirds of the
/// visibility timeout that are left when the heartbeat is due.
fn one_try(visibility: Duration) -> Duration {
    (visibility / 8).clamp(Duration::from_millis(500), Duration::from_secs(15))
}

/// `by` later, or as late as the clock can represent.
fn on(instant: Instant, by: Duration) -> Instant {
    instant.checked_add(by).unwrap_or_else(|| instant + Duration::from_secs(u32::MAX.into()))
}

/// `by` earlier, or unchanged if the clock cannot go back that far.
fn back(instant: Instant, by: Duration) -> Instant {
    instant.checked_sub(by).unwrap_or(instant)
}

#[cfg(test)]
mod tests;
