//! Sends jobs: packed, in batches, several requests at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::one_pair::Marked;
use super::sent_notes::{Mark, Sent, UNMARKED};
use crate::error::{Error, Result};
use crate::job::{PackLimits, Packer};
use crate::queue::{MAX_BATCH, Queue};
use crate::retry::{Policy, Retrying};

/// Concurrent requests to the queue: ten messages each, a thousand small objects.
const AT_ONCE: usize = 8;
/// How long a message that is not full waits for more jobs. The first leaves within a second; the
/// wait doubles each time, since by then the workers have something to do.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What happened to the jobs.
#[derive(Debug, Default)]
pub(super) struct SentTally {
    /// Objects in messages that the queue has accepted.
    pub(super) sent: u64,
    /// Objects in messages that it has not accepted.
    pub(super) failed: u64,
    pub(super) messages: u64,
    /// The first error.
    pub(super) error: Option<Error>,
}

/// A message and the marks of its objects.
type Message = (String, Vec<Mark>);

/// Receives jobs until all senders are gone.
pub(super) struct Sender {
    pub(super) queue: Arc<dyn Queue>,
    /// Notes what has been sent, for a later comparison.
    pub(super) notes: Option<Arc<Sent>>,
    pub(super) policy: Policy,
    /// Cancels the requests.
    pub(super) stop: CancellationToken,
    /// Cancelled by the first error, after which listing on would be pointless.
    pub(super) listing: CancellationToken,
    packer: Packer,
    largest: u64,
    /// Marks of the objects in the packer, in its order.
    packed: VecDeque<Mark>,
    ready: Vec<Message>,
    running: JoinSet<(Vec<Message>, Result<()>)>,
    tally: SentTally,
}

impl Sender {
    pub(super) fn new(
        queue: Arc<dyn Queue>,
        notes: Option<Arc<Sent>>,
        limits: PackLimits,
        policy: Policy,
        stop: CancellationToken,
        listing: CancellationToken,
    ) -> Self {
        Self {
            queue,
            notes,
            policy,
            stop,
            listing,
            packer: Packer::new(limits),
            largest: limits.largest,
            packed: VecDeque::new(),
            ready: Vec::new(),
            running: JoinSet::new(),
            tally: SentTally::default(),
        }
    }

    /// Sends what arrives; ends when all senders of `jobs` are gone.
    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Vec<Marked>>) -> SentTally {
        let mut wait = FIRST_WAIT;
        let mut due = Instant::now() + wait;
        loop {
            let mut all = false;
            tokio::select! {
                more = jobs.recv() => match more {
                    Some(more) => more.into_iter().for_each(|job| self.pack(job)),
                    None => break,
                },
                () = tokio::time::sleep_until(due) => {
                    self.flush();
                    all = true;
                    wait = LONGEST_WAIT.min(wait * 2);
                    due = Instant::now() + wait;
                }
                Some(done) = self.running.join_next() => self.settle(done),
            }
            self.dispatch(all).await;
        }
        self.flush();
        self.dispatch(true).await;
        while let Some(done) = self.running.join_next().await {
            self.settle(done);
        }
        self.tally
    }

    fn pack(&mut self, (job, mark): Marked) {
        if job.size > self.largest {
            let messages = self.packer.add(job);
            return self.ready.extend(messages.into_iter().map(|packed| (packed.body, vec![mark])));
        }
        self.packed.push_back(mark);
        let full = self.packer.add(job);
        self.take(full);
    }

    /// Sends what is packed, even if messages are not full.
    fn flush(&mut self) {
        let rest = self.packer.finish();
        self.take(rest);
    }

    fn take(&mut self, messages: Vec<crate::job::Packed>) {
        for packed in messages {
            let marks = self.packed.drain(..packed.objects.min(self.packed.len())).collect();
            self.ready.push((packed.body, marks));
        }
    }

    /// Sends full batches, and with `all` the rest too; waits while enough requests are in flight.
    async fn dispatch(&mut self, all: bool) {
        while self.ready.len() >= MAX_BATCH || (all && !self.ready.is_empty()) {
            while self.running.len() >= AT_ONCE {
                let Some(done) = self.running.join_next().await else { break };
                self.settle(done);
            }
            let rest = self.ready.split_off(MAX_BATCH.min(self.ready.len()));
            let batch = std::mem::replace(&mut self.ready, rest);
            match self.tally.error {
                None => drop(self.running.spawn(self.send(batch))),
                // The queue accepts no more.
                Some(_) => self.tally.failed += objects(&batch),
            }
        }
    }

    fn send(
        &self,
        batch: Vec<Message>,
    ) -> impl Future<Output = (Vec<Message>, Result<()>)> + Send + use<> {
        let (queue, notes) = (Arc::clone(&self.queue), self.notes.clone());
        let (policy, stop) = (self.policy, self.stop.clone());
        async move {
            let bodies: Vec<String> = batch.iter().map(|(body, _)| body.clone()).collect();
            debug!(messages = bodies.len(), "send");
            let sent = Retrying::by(&*queue, policy, &stop).send(&bodies).await;
            if let (Ok(()), Some(notes)) = (&sent, notes) {
                // Only now: an object that is noted but not sent would be missed.
                let marks = batch.iter().flat_map(|(_, marks)| marks.iter().copied());
                notes.note(marks.filter(|mark| *mark != UNMARKED).collect()).await;
            }
            (batch, sent)
        }
    }

    fn settle(&mut self, done: Result<(Vec<Message>, Result<()>), tokio::task::JoinError>) {
        let Ok((batch, sent)) = done else { return };
        match sent {
            Ok(()) => {
                self.tally.sent += objects(&batch);
                self.tally.messages += batch.len() as u64;
            }
            Err(error) => {
                self.tally.failed += objects(&batch);
                self.tally.error.get_or_insert(error);
                self.listing.cancel();
            }
        }
    }
}

/// How many objects these messages are about.
fn objects(batch: &[Message]) -> u64 {
    batch.iter().map(|(_, marks)| marks.len() as u64).sum()
}
