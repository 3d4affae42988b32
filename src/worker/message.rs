//! One message: its lease, its jobs, the record of their outcomes, and only then its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::{error, info, warn};

use super::Worker;
use super::events::Obstacle;
use super::job_end::JobEnd;
use super::round::Delivery;
use super::settle::{Settlement, settle};
use super::turn::Turn;
use crate::error::{Error, Result};
use crate::job::{self, Apart, Incoming, Job, MessageRefusal};
use crate::queue::lease::{Lease, LeaseLoss};
use crate::queue::{MAX_BATCH, Message};
use crate::shutdown::Halt;

/// After a temporary fault the object rests; the rest doubles with each receipt, up to this.
const LONGEST_REST: Duration = Duration::from_secs(300);

/// A message that a function leaves to others rests this long, so that it does not come straight
/// back.
const LEFT_REST: Duration = Duration::from_secs(5);

/// Every worker of this version refuses the message alike: it is received only a few more times, so
/// that other workers can look at it.
const MAX_REFUSALS: u32 = 5;
/// The longest rest between these receipts.
const REFUSED_REST: Duration = Duration::from_secs(4);

impl Worker {
    /// Handles one message from receipt to its end. Never fails: errors are logged, recorded and
    /// left to the queue.
    pub async fn handle(self: Arc<Self>, message: Message, turn: Turn, halt: Halt) {
        let (job, receives) = (message.id.clone(), message.receive_count);
        // The lease is held from here on: looking up where events go may take longer than the
        // visibility timeout.
        let (queue, visibility) = (Arc::clone(&self.queue), self.settings.visibility);
        let lease = Lease::hold(queue, message, visibility, &halt.abort);
        let token = lease.token();
        let understood = tokio::select! {
            biased;
            understood = self.understand(&lease.message().body, &token) => understood,
            () = token.cancelled() => Err(Obstacle::NotNow(Error::cancelled())),
        };
        if is_gone(&lease) {
            return;
        }
        let incoming = match understood {
            Ok(incoming) => incoming,
            Err(Obstacle::Refused(refusal)) => return self.refuse(lease, &refusal).await,
            Err(Obstacle::NotNow(_)) if halt.is_stopping() => {
                return log_failure("release", self.hand_back(lease, Duration::ZERO).await);
            }
            Err(Obstacle::NotNow(error)) => return self.put_off(lease, &error).await,
        };
        for reason in &incoming.dropped {
            info!(job, "nothing to do: {reason}");
        }
        for notice in &incoming.notices {
            warn!(job, "{notice}");
        }
        if !incoming.apart.is_empty() {
            return self.divide(lease, incoming).await;
        }
        if incoming.jobs.is_empty() {
            return log_failure("delete", lease.delete().await);
        }
        if halt.is_stopping() {
            return log_failure("release", self.hand_back(lease, Duration::ZERO).await);
        }
        if let Some(time) = self.gates.puts_off(&incoming.jobs) {
            return log_failure("put off", self.put_off_closed(lease, time).await);
        }
        let largest = self.largest.load(Ordering::Relaxed);
        if let Some(large) = incoming.jobs.iter().find(|job| job.size > largest) {
            let (object, bytes) = (&large.src, large.size);
            info!(job, %object, bytes, "left to a worker that is no function");
            return log_failure("leave", self.put_off_closed(lease, LEFT_REST).await);
        }
        let delivery = Arc::new(Delivery::new(incoming.jobs, receives, turn, &halt, lease.token()));
        let ended = self.work(&delivery).await;
        self.settle(lease, &ended, &delivery).await;
    }

    /// Gives back a message on which no work was done. At its last receipt the queue would make it
    /// a dead letter, so it is sent on as a new message.
    async fn hand_back(&self, lease: Lease, delay: Duration) -> Result<()> {
        if lease.message().receive_count < self.settings.max_receives {
            return lease.release(delay).await;
        }
        let body = lease.message().body.clone();
        self.send_on(lease, &[body], delay).await
    }

    /// Gives back a message while the fleet is paused, for `rest`, at no cost.
    pub async fn put_off_paused(self: Arc<Self>, message: Message, rest: Duration, halt: Halt) {
        let queue = Arc::clone(&self.queue);
        let lease = Lease::hold(queue, message, self.settings.visibility, &halt.abort);
        log_failure("put off", self.put_off_closed(lease, rest).await);
    }

    /// Gives back a message that cannot be understood at present, through no fault of its own.
    async fn put_off(&self, lease: Lease, error: &Error) {
        let job = lease.message().id.clone();
        warn!(job, "the destination of an event's objects is unknown: {error}");
        let delay = rest(lease.message().receive_count).min(self.settings.visibility);
        log_failure("release", self.hand_back(lease, delay).await);
    }

    /// Sends each refused part of a message on as a message of its own, and the rest as another:
    /// only the refused ones become dead letters.
    async fn divide(&self, lease: Lease, incoming: Incoming) {
        let mut bodies = job::messages(&incoming.jobs);
        for Apart { body, refusal } in incoming.apart {
            let job = lease.message().id.clone();
            warn!(job, "part of the message is refused and sent on by itself: {refusal}");
            bodies.push(body);
        }
        let delay = rest(lease.message().receive_count).min(self.settings.visibility);
        log_failure("divide", self.send_on(lease, &bodies, delay).await);
    }

    /// Gives back a message whose places accept no objects now. Every other time it is sent as a
    /// new message, so that its receipts are never used up, however long the outage lasts.
    async fn put_off_closed(&self, lease: Lease, time: Duration) -> Result<()> {
        if lease.message().receive_count <= 1 && self.settings.max_receives > 1 {
            return lease.release(time).await;
        }
        let body = lease.message().body.clone();
        self.send_on(lease, &[body], time).await
    }

    /// A message that is no job is not deleted: it is given back until its receipts are used up,
    /// and then becomes a dead letter. A message of a newer format waits longer, for a newer
    /// worker.
    async fn refuse(&self, lease: Lease, refusal: &MessageRefusal) {
        let Message { id: job, receive_count: receives, body, receipt, .. } =
            lease.message().clone();
        error!(job, receives, "refused: {refusal}");
        let newer = matches!(refusal, MessageRefusal::Newer(_));
        let delay = match refusal {
            MessageRefusal::Newer(_) => self.settings.visibility,
            MessageRefusal::NotAJob(_)
            | MessageRefusal::NoDestination
            | MessageRefusal::NotListed(_)
            | MessageRefusal::ServesAnother(..) => rest(receives).min(REFUSED_REST),
        };
        if newer || receives < self.settings.max_receives.min(MAX_REFUSALS) {
            return log_failure("release", lease.release(delay).await);
        }
        match lease.bury(&body, &refusal.to_string()).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => log_failure("bury", Err(error)),
        }
        log_failure("release", self.queue.release(&receipt, delay).await);
    }

    /// Ends the message as [`settle`] decides.
    async fn settle(&self, lease: Lease, ended: &[JobEnd], delivery: &Delivery) {
        let job = lease.message().id.clone();
        if is_gone(&lease) {
            return;
        }
        if let Some(loss) = lease.lost() {
            info!(job, "{loss}");
        }
        if delivery.is_time_up() && !delivery.alone() {
            let done = ended.iter().filter(|ended| matches!(ended, JobEnd::Done(_))).count();
            let (objects, unfinished) = (ended.len(), delivery.turn.unfinished());
            match delivery.turn.cut() {
                // The next invocation goes on: that is the way of a function.
                Some(_) => info!(job, done, objects, "{unfinished}"),
                None => warn!(job, done, objects, "{unfinished}"),
            }
        }
        let delay = match delivery.halt.is_stopping() {
            true => Duration::ZERO,
            false => rest(delivery.receives),
        };
        let settled = match settle(ended, delivery.gained(), self.is_last(delivery)) {
            Settlement::Delete => lease.delete().await,
            Settlement::Bury => self.bury(lease, &delivery.jobs, ended, delay).await,
            Settlement::Release => lease.release(delay).await,
            Settlement::SendOn { together, apart } => {
                let job = |at: usize| delivery.jobs[at].clone();
                let together: Vec<Job> = together.into_iter().map(job).collect();
                let mut left = job::messages(&together);
                left.extend(apart.into_iter().map(|at| delivery.jobs[at].to_message()));
                if delivery.alone() {
                    // As it came, with any other fields that its sender added.
                    left = vec![lease.message().body.clone()];
                }
                self.send_on(lease, &left, delay).await
            }
        };
        log_failure("settle", settled);
    }

    /// Makes a failed job a dead letter. Without a dead letter queue the job stays in the queue,
    /// since its failure must not be the only trace of it.
    async fn bury(
        &self,
        lease: Lease,
        jobs: &[Job],
        ended: &[JobEnd],
        delay: Duration,
    ) -> Result<()> {
        let ([job], [JobEnd::Failed(error)]) = (jobs, ended) else {
            return Err(Error::invalid("only a message of one failed job is a dead letter"));
        };
        let receipt = lease.message().receipt.clone();
        if lease.bury(&job.to_message(), &error.to_string()).await? {
            return Ok(());
        }
        warn!(object = %job.src, "there is no dead letter queue: the failed job stays in the queue");
        self.queue.release(&receipt, delay).await
    }

    /// Sends what is left of a message as new ones, and only then deletes it; also while everything
    /// else is being aborted.
    async fn send_on(&self, lease: Lease, left: &[String], delay: Duration) -> Result<()> {
        // One request each: if a later one fails, what has been sent is not sent again.
        for batch in left.chunks(MAX_BATCH) {
            if let Err(error) = lease.while_held(|| self.queue.send(batch)).await {
                warn!("the unfinished jobs of a message could not be sent on: {error}");
                return lease.release(delay).await;
            }
        }
        lease.delete().await
    }
}

/// How long an object rests after its `receives`-th failure.
fn rest(receives: u32) -> Duration {
    let seconds = 1u64 << receives.saturating_sub(1).min(16);
    Duration::from_secs(seconds).min(LONGEST_REST)
}

/// Whether another worker may have the message by now; logs it if so.
fn is_gone(lease: &Lease) -> bool {
    match lease.lost() {
        Some(loss @ (LeaseLoss::Taken | LeaseLoss::RanOut)) => {
            warn!(job = lease.message().id, "the work was stopped: {loss}");
            true
        }
        Some(LeaseLoss::Limit) | None => false,
    }
}

fn log_failure(call: &str, result: Result<()>) {
    if let Err(error) = result {
        // The message becomes visible again by itself: delivery at least once is safe.
        warn!("the queue refused to {call} a message: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_doubles_and_is_bounded() {
        assert_eq!(rest(1), Duration::from_secs(1));
        assert_eq!(rest(4), Duration::from_secs(8));
        assert_eq!(rest(u32::MAX), LONGEST_REST);
    }
}
