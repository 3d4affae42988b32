//! Which messages a worker takes while places are closed.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;

use super::{Gates, places};
use crate::error::Asked;
use crate::job::Job;
use crate::mutex::lock;
use crate::worker::blame::{Blame, Neutral};

/// The pause when nothing is known to be due.
const QUIET: Duration = Duration::from_millis(250);
/// After this many messages in a row that can only be put off, there is a pause.
const MOST_BLOCKED: usize = 10;
/// The shortest pause.
const PAUSE: Duration = Duration::from_millis(50);

/// Whether to receive further messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) enum Rest {
    /// As usual.
    Take,
    /// One message.
    TakeOne,
    /// None for this long.
    Wait(Duration),
}

impl Gates {
    /// Whether to receive further messages, and how many.
    pub(in crate::worker) async fn rest(&self) -> Rest {
        self.ask_closed().await;
        let closed = self.closed_places();
        if closed.is_empty() {
            return Rest::Take;
        }
        // One missing bucket says nothing about the others that messages may name.
        let misplaced = closed.iter().all(|(_, blame, _)| *blame == Blame::Place);
        let due = closed.iter().filter_map(|(.., next)| *next).min();
        let closed: BTreeSet<&Asked> = closed.iter().map(|(place, ..)| place).collect();
        let pairs = lock(&self.pairs);
        let others = pairs.iter().any(|pair| pair.iter().all(|place| !closed.contains(place)));
        drop(pairs);
        let blocked = self.blocked.load(Ordering::Relaxed);
        let wait = match due {
            Some(due) => due.saturating_sub(self.now()),
            None => QUIET,
        };
        if wait.is_zero() && others && blocked == 0 {
            return Rest::Take;
        }
        if wait.is_zero() || ((others || misplaced) && blocked < MOST_BLOCKED) {
            return Rest::TakeOne;
        }
        self.blocked.store(0, Ordering::Relaxed);
        Rest::Wait(wait.clamp(PAUSE, QUIET.max(wait)))
    }

    /// How long to put off a message if all its jobs would be sent back; `None`: it is worked on.
    pub(in crate::worker) fn puts_off(&self, jobs: &[Job]) -> Option<Duration> {
        if self.are_open() {
            self.blocked.store(0, Ordering::Relaxed);
            return None;
        }
        let now = self.now();
        let mut longest = Duration::ZERO;
        for job in jobs {
            let mut closed = None;
            for place in places(job) {
                closed = closed.or(self.with(&place, |gate| {
                    gate.breaker.is_closed()?;
                    match gate.breaker.due() {
                        Some(due) if due <= now => None,
                        Some(due) => Some(due.saturating_sub(now)),
                        None => Some(QUIET),
                    }
                }));
            }
            let Some(time) = closed else {
                self.blocked.store(0, Ordering::Relaxed);
                return None;
            };
            longest = longest.max(time);
        }
        self.blocked.fetch_add(1, Ordering::Relaxed);
        Some(longest)
    }

    /// The places that are closed, whose fault that is, and when the next probe is due.
    fn closed_places(&self) -> Vec<(Asked, Blame, Option<Duration>)> {
        let gates = self.gates();
        let closed = gates.iter().filter_map(|(place, gate)| {
            let (blame, ..) = gate.breaker.is_closed()?;
            Some((place.clone(), blame, gate.breaker.due()))
        });
        closed.collect()
    }

    /// Repeats the neutral call to closed places for which it is meaningful. That call is the first
    /// probe, so that no message is received in vain. A silent place that answers reopens.
    async fn ask_closed(&self) {
        let now = self.now();
        let due = self.closed_places().into_iter().filter(|(_, blame, next)| {
            let by_neutral = matches!(blame, Blame::Side | Blame::Place | Blame::Asker);
            by_neutral && next.is_some_and(|next| next <= now)
        });
        let asked = due.map(async |(place, blame, _)| {
            let (neutral, error) = self.ask(&place).await;
            match error.filter(|_| neutral != Neutral::Answered) {
                Some(error) => self.failed(&place, &error),
                None if blame == Blame::Side => {
                    let closed = self.with(&place, |gate| gate.breaker.reopen(self.now()));
                    self.say_open(&place, closed);
                }
                None => {}
            }
        });
        join_all(asked).await;
    }
}
