//! Failures with the same reason are logged once in full, then counted: a hundred objects that one
//! policy refuses are one line, and a line with the count from time to time.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::mutex::lock;
use crate::reason::Reason;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// It failed for good.
    Failed,
    /// It went back to the queue.
    Returned,
}

/// What was logged, and what was only counted since.
#[derive(Debug, Default)]
pub(super) struct Repeats(Mutex<BTreeMap<(Event, Reason), Count>>);

#[derive(Debug)]
struct Count {
    unsaid: u64,
    told: Instant,
}

/// A count that is due for the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Repeated {
    pub(super) event: Event,
    pub(super) reason: Reason,
    pub(super) objects: u64,
}

impl Repeats {
    /// Whether this is the first with its reason, which is logged in full; others are counted.
    pub(super) fn is_first(&self, event: Event, reason: Reason) -> bool {
        let mut counts = lock(&self.0);
        if let Some(count) = counts.get_mut(&(event, reason)) {
            count.unsaid += 1;
            return false;
        }
        counts.insert((event, reason), Count { unsaid: 0, told: Instant::now() });
        true
    }

    /// The counts that were logged last at least `interval` ago; they begin anew.
    pub(super) fn due(&self, interval: Duration) -> Vec<Repeated> {
        let mut counts = lock(&self.0);
        let due = counts
            .iter_mut()
            .filter(|(_, count)| count.unsaid > 0 && count.told.elapsed() >= interval);
        due.map(|(&(event, reason), count)| {
            count.told = Instant::now();
            Repeated { event, reason, objects: std::mem::take(&mut count.unsaid) }
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_reason_is_told_and_the_others_counted() {
        let repeats = Repeats::default();
        let [one, other] = ["raise MaxMemory", "keeps changing: "].map(Reason::of);
        assert!(repeats.is_first(Event::Returned, one));
        assert!(repeats.is_first(Event::Failed, one) && repeats.is_first(Event::Failed, other));
        assert_eq!(repeats.due(Duration::ZERO), [], "all was told");
        for _ in 0..3 {
            assert!(!repeats.is_first(Event::Failed, one));
        }
        assert_eq!(repeats.due(Duration::from_secs(3600)), []);
        let counted = Repeated { event: Event::Failed, reason: one, objects: 3 };
        assert_eq!(repeats.due(Duration::ZERO), [counted]);
        assert_eq!(repeats.due(Duration::ZERO), [], "each is counted once");
    }
}
