//! Whether a worker is alive, by its signs of life.
//!
//! It is asked for the watchdog of systemd, which restarts a worker that gives no sign any more
//! (<https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html#WatchdogSec=>). A
//! restart costs the parts under way, so that whatever waits with good reason is alive: for a slow
//! line, for a service that is out, for the end of a large object.
//!
//! Pure: signs of life and the time since each are arguments.

use std::fmt;
use std::time::Duration;

/// The loop that takes messages comes round within this: a long poll of 20 s, an answer that is
/// waited for 35 s, credentials that are fetched anew, a pause of 32 s in an outage.
const LONGEST_TURN: Duration = Duration::from_secs(180);

/// Beyond the times that a message has: what a call for its record and one for its end take where
/// they are tried again and again in an outage.
const MESSAGE_MARGIN: Duration = Duration::from_secs(30 * 60);

/// Beyond the grace time: messages are given back, and outcomes go on record.
pub const DRAIN_MARGIN: Duration = Duration::from_secs(60);

/// How long ago a worker gave its signs of life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// Since the loop that takes messages last came round; `None`: it has not begun.
    pub since_turn: Option<Duration>,
    /// How long the oldest of the messages in work has been there.
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

/// What hangs, and for how long it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hung {
    /// The loop that takes messages.
    Loop(Duration),
    /// The oldest message in work.
    Message(Duration),
    /// A worker that was to end.
    Drain(Duration),
}

impl fmt::Display for Hung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loop(time) => {
                write!(
                    f,
                    "the loop that takes messages has not come round for {} s",
                    time.as_secs()
                )
            }
            Self::Message(time) => write!(f, "a message is in work since {} s", time.as_secs()),
            Self::Drain(time) => write!(f, "it was to end {} s ago", time.as_secs()),
        }
    }
}

impl Limits {
    /// What hangs, if something does. `stopped`: how long ago the worker was told to stop, after
    /// which the loop takes no turns.
    pub fn hung(&self, signs: Signs, stopped: Option<Duration>) -> Option<Hung> {
        if let Some(time) = stopped {
            return (time > self.drain()).then_some(Hung::Drain(time));
        }
        let late = |time: Option<Duration>, most: Duration| time.filter(|time| *time > most);
        late(signs.since_turn, LONGEST_TURN)
            .map(Hung::Loop)
            .or_else(|| late(signs.longest, self.message()).map(Hung::Message))
    }

    /// The longest time from a stop to the end.
    pub fn drain(&self) -> Duration {
        self.grace.saturating_add(DRAIN_MARGIN)
    }

    /// The longest time of a message in work. An object in large parts gets its time twice: see
    /// `crate::worker`.
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
        assert_eq!(hung.to_string(), "a message is in work since 9000 s");
    }
}
