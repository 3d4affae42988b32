//! The queue of jobs, on SQS or SQLite: at least once, unordered, with leases.

use std::fmt;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::error::Result;

pub mod lease;
pub mod sqlite;
pub mod sqs;

/// Messages that are sent in one request at most, as Amazon SQS has it
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html>).
pub const MAX_BATCH: usize = 10;

/// The longest that Amazon SQS can be told to keep a message
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html>).
pub const LONGEST_KEPT: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Proof of one receipt of a message; it goes stale when the message is received again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Receipt(pub String);

/// A received message. Whoever received it holds its lease until `deadline`.
#[derive(Clone, Debug)]
pub struct Message {
    /// The queue's own id, for the log.
    pub id: String,
    /// What [`Queue::extend`], [`Queue::delete`], [`Queue::release`] and [`Queue::bury`] ask for.
    pub receipt: Receipt,
    /// The text as it was sent.
    pub body: String,
    /// How often the message has been received, this time included.
    pub receive_count: u32,
    /// The lease ends here; never later than the queue's own deadline.
    pub deadline: Instant,
}

/// How many messages a queue holds. Amazon SQS gives approximate numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Ready to be received, or sent with a delay that has not ended.
    pub waiting: u64,
    /// Received and leased to somebody.
    pub running: u64,
    /// In the dead letter queue; `None` where there is none to be seen.
    pub dead: Option<u64>,
}

/// How a queue on Amazon SQS is set up, as `check` looks at it; `None`: the service does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueFacts {
    /// Its ARN.
    pub arn: Option<String>,
    /// How long a message is hidden where its receiver does not say; ours always do.
    pub visibility: Option<Duration>,
    /// How long a message is kept.
    pub retention: Option<Duration>,
    /// Bytes of the largest message that it takes.
    pub max_message: Option<u64>,
    /// How often a message is received before it is a dead letter; `None` also: never.
    pub max_receives: Option<u32>,
}

/// A dead letter queue, likewise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetters {
    /// Its ARN.
    pub arn: Option<String>,
    /// How long a message is kept, counted from when it was sent at first.
    pub retention: Option<Duration>,
}

/// A queue of jobs.
#[async_trait]
pub trait Queue: Send + Sync + fmt::Debug {
    /// Sends every body as one message each, in batches, sending the refused entries of a batch
    /// again. When it returns `Ok`, all of them are in the queue; after an error some may be.
    async fn send(&self, bodies: &[String]) -> Result<()>;

    /// Waits up to `wait` for messages and takes at most `max` (at most 10 on Amazon SQS) of
    /// them, each hidden from others for `visibility`. The call must not be dropped while
    /// pending: its messages would stay hidden until their leases end.
    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Message>>;

    /// Hides the message for `by` from now. The answer is never later than the true deadline.
    /// Fails with `LeaseLost` where the receipt is stale.
    async fn extend(&self, receipt: &Receipt, by: Duration) -> Result<Instant>;

    /// Removes the message for good: its work is done and on record. Deleting what is no longer
    /// there succeeds; a receipt that is stale fails with `LeaseLost` where the queue can tell.
    async fn delete(&self, receipt: &Receipt) -> Result<()>;

    /// Gives the message back, to be received again after `delay`.
    async fn release(&self, receipt: &Receipt, delay: Duration) -> Result<()>;

    /// Moves the message to the dead letter queue with `reason` beside it: there first, only
    /// then gone from here. `Ok(false)`: there is no dead letter queue, nothing was changed.
    async fn bury(&self, message: &Message, body: &str, reason: &str) -> Result<bool>;

    /// How often a message is received before the queue itself makes a dead letter of it; `None`
    /// where it never does.
    fn max_receives(&self) -> Option<u32>;

    /// How long it keeps a message that nobody deletes; `None`: for ever.
    async fn keeps(&self) -> Result<Option<Duration>>;

    /// How many messages there are.
    async fn depth(&self) -> Result<Depth>;
}
