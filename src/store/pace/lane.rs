//! One bucket on one side: the permits of its requests, as many as its pace allows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::Pacing;
use super::stubborn::{Stubborn, Subject};
use crate::error::{Error, ErrorKind, Result};
use crate::mutex::lock;
use crate::retry::untimed;
use crate::store::Side;
use crate::store::pace::level::{Ending, LoadSign, Pace};
use crate::store::pace::throttle::Stream;

/// A request that is dropped unanswered after this long was given up for lack of an answer: no time
/// limit for data in `retry` is shorter.
const GIVEN_UP: Duration = Duration::from_secs(120);
/// Minimum time between two neutral calls.
const NEUTRAL_EVERY: Duration = Duration::from_secs(10);

/// Hands out permits in the order in which they were asked for.
#[derive(Debug)]
pub(super) struct Lane {
    side: Side,
    bucket: String,
    log_interval: Duration,
    permits: Arc<Semaphore>,
    level: Mutex<Level>,
    opened: Instant,
    /// When a neutral call may be made again, counted from `opened`.
    next_neutral: Mutex<Duration>,
    /// Successful calls, by name.
    successes: Mutex<HashMap<&'static str, u64>>,
    stubborn: Mutex<Stubborn>,
}

#[derive(Debug)]
struct Level {
    pace: Pace,
    /// Permits to retire as soon as they come back: the level was lowered while they were in use.
    owed: usize,
    told: Option<Instant>,
}

impl Lane {
    pub fn new(side: Side, bucket: &str, pacing: Pacing) -> Self {
        let pace = Pace::new(pacing.first, pacing.ceiling);
        Self {
            side,
            bucket: bucket.to_owned(),
            log_interval: pacing.log_interval,
            permits: Arc::new(Semaphore::new(pace.limit())),
            level: Mutex::new(Level { pace, owed: 0, told: None }),
            opened: Instant::now(),
            next_neutral: Mutex::default(),
            successes: Mutex::default(),
            stubborn: Mutex::default(),
        }
    }

    /// Waits for a permit for a body on its way. No task waits for a second one of the same lane
    /// while it holds one.
    pub async fn enter(self: &Arc<Self>, stream: Stream) -> Result<Permit> {
        let permit = untimed(Arc::clone(&self.permits).acquire_owned()).await;
        let permit = permit.map_err(|closed| Error::cancelled().with_source(closed))?;
        Ok(Permit {
            lane: Arc::clone(self),
            permit: Some(permit),
            stream: Some(stream),
            began: Instant::now(),
            heard: false,
        })
    }

    /// Takes in the failure of a request that began at `began`. Errors that say nothing about the
    /// store's load change nothing.
    pub fn failed(&self, began: Instant, error: &Error, subject: Option<Subject<'_>>) {
        match error.kind() {
            ErrorKind::Throttled if subject.is_some_and(|s| self.stubborn().is_known(s)) => {}
            ErrorKind::Throttled => self.observe(began, LoadSign::Throttled),
            ErrorKind::Unavailable => self.observe(began, LoadSign::Unanswered),
            _ => {}
        }
    }

    /// A call succeeded.
    pub fn succeeded(&self, call: &'static str, subject: Option<Subject<'_>>) {
        *lock(&self.successes).entry(call).or_default() += 1;
        self.stubborn().answered(subject);
    }

    /// How many calls of this name succeeded.
    pub fn successes(&self, call: &str) -> u64 {
        lock(&self.successes).get(call).copied().unwrap_or_default()
    }

    /// The error, turned into a permanent one if this object alone has been throttled for too long.
    pub fn patience(&self, error: Error, subject: Option<Subject<'_>>) -> Error {
        let (ErrorKind::Throttled, Some(subject)) = (error.kind(), subject) else { return error };
        match self.stubborn().refused(subject, self.opened.elapsed()) {
            None => error,
            Some(tries) => error.of_kind(ErrorKind::Invalid).note(format_args!(
                "throttled {tries} times while the bucket {} answered others: the {} has trouble \
                 with this object alone",
                self.bucket, self.side
            )),
        }
    }

    /// Whether a neutral call should be made, because only this object is asked about and
    /// throttled.
    pub fn wants_neutral(&self, error: &Error, subject: Option<Subject<'_>>) -> bool {
        let Some(subject) = subject.filter(|_| error.kind() == ErrorKind::Throttled) else {
            return false;
        };
        let mut next = lock(&self.next_neutral);
        let now = self.opened.elapsed();
        let due = now >= *next && self.stubborn().is_alone(subject);
        if due {
            *next = now + NEUTRAL_EVERY;
        }
        due
    }

    /// The neutral call was answered.
    pub fn answered_alone(&self, subject: Subject<'_>) {
        self.stubborn().answered_alone(subject);
    }

    fn stubborn(&self) -> MutexGuard<'_, Stubborn> {
        lock(&self.stubborn)
    }

    fn observe(&self, began: Instant, outcome: LoadSign) {
        let ending = Ending {
            began: began.saturating_duration_since(self.opened),
            ended: self.opened.elapsed(),
            full: self.permits.available_permits() == 0,
        };
        let mut level = self.level();
        let before = level.pace.limit();
        level.pace.observe(outcome, ending);
        let now = level.pace.limit();
        if now > before {
            let paid = level.owed.min(now - before);
            level.owed -= paid;
            self.permits.add_permits(now - before - paid);
        } else {
            level.owed += before - now - self.permits.forget_permits(before - now);
        }
        if now != before {
            self.tell(&mut level, outcome, now);
        }
    }

    fn tell(&self, level: &mut Level, outcome: LoadSign, requests: usize) {
        let (side, bucket) = (self.side, &self.bucket);
        let due = level.told.is_none_or(|told| told.elapsed() >= self.log_interval);
        if outcome == LoadSign::Throttled && due {
            // The first time is news, the rest is only progress.
            match level.told.replace(Instant::now()) {
                None => {
                    warn!(bucket, "the {side} is throttling: {requests} requests at once now")
                }
                Some(_) => {
                    info!(bucket, "the {side} is throttling again: {requests} requests at once now")
                }
            }
        } else {
            debug!(bucket, "{side}: {requests} requests at once now");
        }
    }

    fn level(&self) -> MutexGuard<'_, Level> {
        lock(&self.level)
    }

    #[cfg(test)]
    pub fn limit(&self) -> usize {
        self.level().pace.limit()
    }
}

/// One request in flight. It ends when this is settled, or when this is dropped because its outcome
/// is unknown.
#[derive(Debug)]
pub struct Permit {
    lane: Arc<Lane>,
    /// Gone once the request is settled.
    permit: Option<OwnedSemaphorePermit>,
    stream: Option<Stream>,
    began: Instant,
    /// The answer has begun.
    heard: bool,
}

impl Permit {
    /// This permit has no request in flight: if it is dropped, nothing is learned from that.
    pub(in crate::store) fn rest(&mut self) {
        self.heard = true;
    }

    /// The request begins.
    pub(in crate::store) fn begin(&mut self) {
        (self.began, self.heard) = (Instant::now(), false);
    }

    /// How long the request has been in flight.
    pub(in crate::store) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Notes that the answer has begun; returns how long that took.
    pub(in crate::store) fn heard(&mut self) -> Duration {
        self.heard = true;
        self.age()
    }

    /// The request was answered; `first_byte` as in [`LoadSign::Answered`].
    pub(in crate::store) fn answered(&mut self, first_byte: Option<Duration>) {
        if self.permit.is_some() {
            self.lane.observe(self.began, LoadSign::Answered(first_byte));
            self.release();
        }
    }

    /// The request failed.
    pub(in crate::store) fn failed(&mut self, error: &Error, subject: Option<Subject<'_>>) {
        if self.permit.is_some() {
            self.lane.failed(self.began, error, subject);
            self.release();
        }
    }

    fn release(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        self.stream = None;
        let mut level = self.lane.level();
        if level.owed > 0 {
            level.owed -= 1;
            permit.forget();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.permit.is_some() && !self.heard && self.age() >= GIVEN_UP {
            self.lane.observe(self.began, LoadSign::Unanswered);
        }
        self.release();
    }
}
