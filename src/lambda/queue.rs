//! The queue of a function: knows which messages the worker has deleted. Lambda deletes what the
//! answer does not name, so a message that was given back must be named.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::batch::Record;
use crate::error::{ErrorKind, Result};
use crate::mutex::lock;
use crate::queue::sqs::SqsQueue;
use crate::queue::{Depth, Message, Queue, Receipt};
use crate::retry::{Policy, retry};

/// Notes which receipts have been used up.
#[derive(Debug)]
pub(super) struct FunctionQueue {
    queue: SqsQueue,
    /// Handles of deleted messages.
    deleted: Mutex<BTreeSet<String>>,
}

impl FunctionQueue {
    pub(super) fn new(queue: SqsQueue) -> Self {
        Self { queue, deleted: Mutex::default() }
    }

    /// Takes the worker's own lease: a queue for functions hides its messages for at least as long
    /// as a function may run, and nobody could go on with the message of one that has died.
    /// `None`: somebody else has the message.
    pub(super) async fn lease(&self, record: &Record, visibility: Duration) -> Option<Message> {
        let asked = Instant::now();
        let receipt = self.queue.receipt(&record.handle, asked);
        let never = tokio_util::sync::CancellationToken::new();
        let taken = retry(Policy::probe(), &never, || self.queue.extend(&receipt, visibility));
        let deadline = match taken.await {
            Ok(deadline) => deadline,
            Err(error) if error.kind() == ErrorKind::LeaseLost => {
                tracing::info!(job = record.id, "somebody else has the message: {error}");
                return None;
            }
            // The queue hides the message for longer than that, so it is ours until then.
            Err(error) => {
                tracing::warn!(job = record.id, "the lease was not taken yet: {error}");
                asked + visibility
            }
        };
        let (id, body) = (record.id.clone(), record.body.clone());
        Some(Message { id, receipt, body, receive_count: record.receives, deadline })
    }

    /// The handles of the messages that were deleted, and forgets them.
    pub(super) fn take_deleted(&self) -> BTreeSet<String> {
        std::mem::take(&mut *lock(&self.deleted))
    }

    fn note(&self, receipt: &Receipt) {
        lock(&self.deleted).insert(SqsQueue::handle(receipt).to_owned());
    }
}

#[async_trait]
impl Queue for FunctionQueue {
    async fn send(&self, bodies: &[String]) -> Result<()> {
        self.queue.send(bodies).await
    }

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Message>> {
        self.queue.receive(max, wait, visibility).await
    }

    async fn extend(&self, receipt: &Receipt, by: Duration) -> Result<Instant> {
        self.queue.extend(receipt, by).await
    }

    async fn delete(&self, receipt: &Receipt) -> Result<()> {
        self.queue.delete(receipt).await?;
        self.note(receipt);
        Ok(())
    }

    async fn release(&self, receipt: &Receipt, delay: Duration) -> Result<()> {
        self.queue.release(receipt, delay).await
    }

    async fn bury(&self, message: &Message, body: &str, reason: &str) -> Result<bool> {
        let buried = self.queue.bury(message, body, reason).await?;
        if buried {
            self.note(&message.receipt);
        }
        Ok(buried)
    }

    fn max_receives(&self) -> Option<u32> {
        self.queue.max_receives()
    }

    async fn keeps(&self) -> Result<Option<Duration>> {
        self.queue.keeps().await
    }

    async fn depth(&self) -> Result<Depth> {
        self.queue.depth().await
    }
}
