//! The queue of jobs, on SQS or SQLite: at least once, unordered, with leases.

use std::fmt;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::error::Result;
use crate::retry::retrying;

pub mod lease;
pub mod sqlite;
pub mod sqs;

/// The maximum number of messages that Amazon SQS takes, gives or deletes per request
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html>,
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html>).
pub const MAX_BATCH: usize = 10;

/// The longest retention period of a queue on Amazon SQS
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html>).
pub const LONGEST_KEPT: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Proof of one receipt of a message; it goes stale when the message is received again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Receipt(pub String);

/// A received message. The receiver holds its lease until `deadline`.
#[derive(Clone, Debug)]
pub struct Message {
    /// The queue's own id, for the log.
    pub id: String,
    /// The receipt for [`Queue::extend`], [`Queue::delete`], [`Queue::release`] and
    /// [`Queue::bury`].
    pub receipt: Receipt,
    /// The text as it was sent.
    pub body: String,
    /// How often the message has been received, this time included.
    pub receive_count: u32,
    /// When the lease ends; never later than the queue's own deadline.
    pub deadline: Instant,
}

/// A message in the dead letter queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The queue's own id; it stays the same however often the letter is read.
    pub id: String,
    /// The receipt for [`LetterBox::remove_letter`] and [`LetterBox::show_letter`]; empty if
    /// reading does not hide the letter.
    pub receipt: Receipt,
    /// The text as it was sent or buried.
    pub body: String,
    /// Why it is a dead letter.
    pub reason: String,
    /// How often it had been received.
    pub receive_count: u32,
}

/// Why a message is a dead letter that no worker buried.
pub(crate) fn spent_reason(received: impl fmt::Display) -> String {
    format!("received {received} times and never finished")
}

/// How many messages a queue holds. Amazon SQS gives approximate numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Ready to be received, or sent with a delay that has not ended.
    pub waiting: u64,
    /// Received and leased to a worker.
    pub running: u64,
    /// In the dead letter queue; `None` if no such queue is visible.
    pub dead: Option<u64>,
}

/// How a queue on Amazon SQS is set up, for `check`; `None`: the service does not report it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueFacts {
    /// Its ARN.
    pub arn: Option<String>,
    /// How long a message is hidden if its receiver does not say; our receivers always do.
    pub visibility: Option<Duration>,
    /// How long a message is kept.
    pub retention: Option<Duration>,
    /// Size in bytes of the largest message that it accepts.
    pub max_message: Option<u64>,
    /// How often a message is received before it becomes a dead letter; `None` can also mean never.
    pub max_receives: Option<u32>,
}

/// How a dead letter queue is set up, for `check`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetters {
    /// Its ARN.
    pub arn: Option<String>,
    /// How long a message is kept, counted from when it was first sent.
    pub retention: Option<Duration>,
}

/// A kind of call on the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueCall {
    /// Sends a message.
    Send,
    /// Receives messages.
    Receive,
    /// Deletes a message.
    Delete,
    /// Hides a message for longer, or no more.
    Hide,
}

impl QueueCall {
    /// The permission that it needs, such as `sqs:SendMessage`.
    pub fn action(self) -> &'static str {
        match self {
            Self::Send => "sqs:SendMessage",
            Self::Receive => "sqs:ReceiveMessage",
            Self::Delete => "sqs:DeleteMessage",
            Self::Hide => "sqs:ChangeMessageVisibility",
        }
    }
}

/// A queue of jobs.
#[async_trait]
pub trait Queue: Send + Sync + fmt::Debug {
    /// Sends each body as one message, in batches; sends the refused entries of a batch again.
    /// After `Ok` all of them are in the queue; after an error some may be.
    async fn send(&self, bodies: &[String]) -> Result<()>;

    /// Waits up to `wait` for messages and takes at most `max` of them (at most 10 on Amazon SQS).
    /// Each is hidden from other receivers for `visibility`. The call must not be dropped while
    /// pending: its messages would stay hidden until their leases end.
    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Message>>;

    /// Hides the message for `by` from now. The answer is never later than the true deadline. Fails
    /// with `LeaseLost` if the receipt is stale.
    async fn extend(&self, receipt: &Receipt, by: Duration) -> Result<Instant>;

    /// Removes the message for good: its work is done and on record. Deleting a missing message
    /// succeeds; a stale receipt fails with `LeaseLost` if the queue can detect it.
    async fn delete(&self, receipt: &Receipt) -> Result<()>;

    /// Gives the message back, to be received again after `delay`.
    async fn release(&self, receipt: &Receipt, delay: Duration) -> Result<()>;

    /// Moves the message, with `reason`, to the dead letter queue: sends it there first, then
    /// deletes it here. `Ok(false)`: there is no dead letter queue; nothing has changed.
    async fn bury(&self, message: &Message, body: &str, reason: &str) -> Result<bool>;

    /// How often a message is received before the queue itself makes it a dead letter; `None` if it
    /// never does.
    fn max_receives(&self) -> Option<u32>;

    /// The retention period of messages; `None`: for ever.
    async fn keeps(&self) -> Result<Option<Duration>>;

    /// The number of messages.
    async fn depth(&self) -> Result<Depth>;
}

// The calls about a message are made by its lease, which knows how long they may be tried.
retrying! { Queue:
    send(bodies: &[String]) -> ();
    release(receipt: &Receipt, delay: Duration) -> ();
    keeps() -> Option<Duration>;
    depth() -> Depth;
}

/// A queue whose dead letters can be read and sent again.
#[async_trait]
pub trait LetterBox: Queue {
    /// The next dead letters, a few at a time; none if there are no more, or no dead letter queue.
    /// An embedded queue gives those after `after`, in order. Amazon SQS has no order: it gives any
    /// that are not hidden, and hides them for `hold`.
    async fn dead_letters(
        &self,
        after: Option<&DeadLetter>,
        hold: Duration,
    ) -> Result<Vec<DeadLetter>>;

    /// Removes a dead letter for good: its job has been sent again, or is done. Removing a missing
    /// letter succeeds.
    async fn remove_letter(&self, letter: &DeadLetter) -> Result<()>;

    /// Ends the hiding of a dead letter that was only read.
    async fn show_letter(&self, letter: &DeadLetter) -> Result<()>;
}
