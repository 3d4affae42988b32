//! Decides from its signs of life whether a worker is alive.
//!
//! This serves the systemd watchdog, which restarts a worker without signs of life
//! (<https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html#WatchdogSec=>). A
//! restart costs the parts in flight, so a worker that waits for a good reason counts as alive: for
//! a slow network, a service that is down, or the end of a large object.
//!
//! Pure: signs of life and the time since each are arguments.

use std::fmt;
use std::time::Duration;

/// The longest turn of the receive loop: a long poll of 20 s, a timeout of 35 s for the answer,
/// fetching new credentials, a pause of 32 s in an outage.
const LONGEST_TURN: Duration = Duration::from_secs(180);

/// Added to the time limits of a message: how long its record call and its final call may take with
/// retries in an outage.
const MESSAGE_MARGIN: Duration = Duration::from_secs(30 * 60);

/// Added to the grace time, to release messages and record outcomes.
pub const DRAIN_MARGIN: Duration = Duration::from_secs(60);

/// The age of a worker's signs of life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// Time since the receive loop last started a turn; `None`: it has not started.
    pub since_turn: Option<Duration>,
    /// How long the oldest message in work has been in work.
    pub longest: Option<Duration>,
}

/// How long a worker may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest time on one message.
    pub job_timeout: Duration,
    /// How long running parts may take to finish after a stop.
    pub grace: Duration,
}

/// What hangs, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hung {
    /// The receive loop.
    Loop(Duration),
    /// The oldest message in work.
    Message(Duration),
    /// A worker that has been asked to stop.
    Drain(Duration),
}

impl fmt::Display for Hung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loop(time) => {
                write!(f, "the loop that receives messages has been stuck for {} s", time.as_secs())
            }
            Self::Message(time) => write!(f, "a message has been in work for {} s", time.as_secs()),
            Self::Drain(time) => write!(f, "it should have ended {} s ago", time.as_secs()),
        }
    }
}

impl Limits {
    /// What hangs, if anything. `stopped`: how long ago the worker was asked to stop; after that the
    /// loop takes no turns.
    pub fn hung(&self, signs: Signs, stopped: Option<Duration>) -> Option<Hung> {
        if let Some(time) = stopped {
            return (time > self.drain()).then_some(Hung::Drain(time));
        }
        let late = |time: Option<Duration>, most: Duration| time.filter(|time| *time > most);
        late(signs.since_turn, LONGEST_TURN)
            .map(Hung::Loop)
            .or_else(|| late(signs.longest, self.message()).map(Hung::Message))
    }

    /// The longest time from a stop to the end of the worker.
    pub fn drain(&self) -> Duration {
        self.grace.saturating_add(DRAIN_MARGIN)
    }

    /// The longest time that a message may be in work. An object in large parts gets its time
    /// twice: see `crate::worker`.
    fn message(&self) -> Duration {
        let times = self.job_timeout.saturating_mul(2);
        times.saturating_add(self.grace).saturating_add(MESSAGE_MARGIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { job_timeout: Duration::from_secs(100), grace: Duration::from_secs(30) };

    fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn a_worker_that_waits_is_alive_and_one_that_hangs_is_not() {
        let signs = |since_turn, longest| Signs { since_turn, longest };
        let table = [
            (signs(None, None), None, None),
            (signs(seconds(0), None), None, None),
            // A poll, its answer, and the pause of an outage.
            (signs(seconds(20 + 35 + 32), seconds(90)), None, None),
            (signs(seconds(180), None), None, None),
            (signs(seconds(181), None), None, Some(Hung::Loop(Duration::from_secs(181)))),
            // Twice JobTimeout, GraceTime, half an hour.
            (signs(seconds(1), seconds(200 + 30 + 1800)), None, None),
            (
                signs(seconds(1), seconds(200 + 30 + 1801)),
                None,
                Some(Hung::Message(Duration::from_secs(2031))),
            ),
            // No turns are taken while it drains.
            (signs(seconds(500), seconds(500)), seconds(0), None),
            (signs(seconds(500), seconds(500)), seconds(90), None),
            (signs(seconds(1), None), seconds(91), Some(Hung::Drain(Duration::from_secs(91)))),
        ];
        for (signs, stopped, expected) in table {
            assert_eq!(LIMITS.hung(signs, stopped), expected, "{signs:?} {stopped:?}");
        }
    }

    #[test]
    fn no_time_is_too_long_to_be_added() {
        let endless = Limits { job_timeout: Duration::MAX, grace: Duration::MAX };
        let signs = Signs { longest: Some(Duration::MAX), ..Signs::default() };
        assert_eq!(endless.hung(signs, None), None);
        assert_eq!(endless.hung(signs, Some(Duration::MAX)), None);
    }

    #[test]
    fn what_hangs_is_said_in_words() {
        let hung = Hung::Message(Duration::from_secs(9000));
        assert_eq!(hung.to_string(), "a message has been in work for 9000 s");
    }
}
