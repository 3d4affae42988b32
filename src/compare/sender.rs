//! Sends jobs: packed, in batches, several requests at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::one_range::Marked;
use super::sent_notes::{Mark, Sent, UNMARKED};
use crate::error::{Error, Result};
use crate::job::{PackLimits, Packer};
use crate::queue::{MAX_BATCH, Queue};
use crate::retry::{Policy, retry};

/// Requests to the queue at once: ten messages each, a thousand small objects.
const AT_ONCE: usize = 8;
/// A message that is not full waits no longer than this for more jobs, so that the first is on its way
/// within a second; each time it waits twice as long, since by then the workers have something to do.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What has become of the jobs.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Objects whose messages the queue has taken.
    pub(super) sent: u64,
    /// Objects whose messages it has not taken.
    pub(super) failed: u64,
    pub(super) messages: u64,
    /// The first error.
    pub(super) error: Option<Error>,
}

/// A message and the marks of its objects.
type Message = (String, Vec<Mark>);

/// Takes jobs until nobody sends any more.
pub(super) struct Sender {
    pub(super) queue: Arc<dyn Queue>,
    /// Where it is noted what has been sent, for a later comparison.
    pub(super) notes: Option<Arc<Sent>>,
    pub(super) policy: Policy,
    /// Ends the requests.
    pub(super) stop: CancellationToken,
    /// Cancelled by the first error: listing on would be in vain.
    pub(super) listing: CancellationToken,
    packer: Packer,
    largest: u64,
    /// Marks of what the packer holds, in its order.
    packed: VecDeque<Mark>,
    ready: Vec<Message>,
    running: JoinSet<(Vec<Message>, Result<()>)>,
    tally: Tally,
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
            tally: Tally::default(),
        }
    }

    /// Sends what comes; ends when all senders of `jobs` are gone.
    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Vec<Marked>>) -> Tally {
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

    /// What is not full goes as it is.
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

    /// Sends full batches, at the end all; waits while enough are under way.
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
                // The queue does not take any more.
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
            let sent = retry(policy, &stop, || queue.send(&bodies)).await;
            if let (Ok(()), Some(notes)) = (&sent, notes) {
                // Only now: what is noted and not sent would be missed.
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
