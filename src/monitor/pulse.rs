//! A worker's signs of life: its messages in work, and the last turn of the receive loop.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::time::Instant;

use super::Monitor;
use crate::monitor::liveness::Signs;
use crate::mutex::lock;

/// What the receive loop does in a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoopTurn {
    /// It asks the queue for messages, or has not started.
    #[default]
    Asks,
    /// It waits for room.
    Full,
    /// The queue does not answer.
    Outage,
    /// It rests: a bucket accepts no objects at all for now.
    Rests,
}

/// The messages in work, and when the loop last started a turn.
#[derive(Debug, Default)]
pub(super) struct Pulse(Mutex<Beats>);

#[derive(Debug, Default)]
struct Beats {
    turned: Option<Instant>,
    turn: LoopTurn,
    /// When each message in work began. The first key is the oldest.
    begun: BTreeMap<u64, Instant>,
    next: u64,
}

impl Pulse {
    pub(super) fn turned(&self, turn: LoopTurn) {
        let mut beats = self.beats();
        (beats.turned, beats.turn) = (Some(Instant::now()), turn);
    }

    pub(super) fn turn(&self) -> LoopTurn {
        self.beats().turn
    }

    pub(super) fn in_work(&self) -> usize {
        self.beats().begun.len()
    }

    pub(super) fn signs(&self) -> Signs {
        let (beats, now) = (self.beats(), Instant::now());
        let since = |moment: &Instant| now.saturating_duration_since(*moment);
        Signs {
            since_turn: beats.turned.as_ref().map(since),
            longest: beats.begun.first_key_value().map(|(_, begun)| since(begun)),
        }
    }

    fn beats(&self) -> MutexGuard<'_, Beats> {
        // No change to it can be left half done.
        lock(&self.0)
    }
}

/// A message in work, until dropped.
#[derive(Debug)]
#[must_use = "a message that is dropped at once is not in work"]
pub struct InWork {
    monitor: Arc<Monitor>,
    number: u64,
}

impl InWork {
    pub(super) fn begin(monitor: Arc<Monitor>) -> Self {
        let mut beats = monitor.pulse.beats();
        let number = beats.next;
        beats.next += 1;
        beats.begun.insert(number, Instant::now());
        drop(beats);
        Self { monitor, number }
    }
}

impl Drop for InWork {
    fn drop(&mut self) {
        self.monitor.pulse.beats().begun.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_message_is_in_work_until_it_is_dropped() {
        let monitor = Arc::new(Monitor::default());
        assert_eq!((monitor.in_work(), monitor.signs()), (0, Signs::default()));
        let first = monitor.begin_message();
        tokio::time::advance(Duration::from_secs(5)).await;
        let second = monitor.begin_message();
        assert_eq!(monitor.in_work(), 2);
        assert_eq!(monitor.signs().longest, Some(Duration::from_secs(5)));
        drop(first);
        assert_eq!(monitor.in_work(), 1);
        assert_eq!(monitor.signs().longest, Some(Duration::ZERO));
        drop(second);
        assert_eq!((monitor.in_work(), monitor.signs()), (0, Signs::default()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_of_the_loop_is_remembered() {
        let monitor = Monitor::default();
        monitor.turned(LoopTurn::Full);
        assert_eq!(monitor.turn(), LoopTurn::Full);
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(monitor.signs().since_turn, Some(Duration::from_secs(7)));
    }
}
