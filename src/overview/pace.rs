//! Rates over the last minutes, and the time left as a range.
//!
//! Pure: it follows from samples.

use super::PhaseView;
use crate::format::human::time_left;
use crate::limits::detail::{Detail, Sample};
use crate::monitor::activity::{Amount, Phase};

/// Which counter of a sample.
pub(super) type Moved = fn(&Sample) -> Amount;

/// Over which time a rate is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Window {
    /// All minutes that are kept.
    Minutes,
    /// The last one, or a little more.
    Last,
}

/// Objects and bytes a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rate {
    pub objects: f64,
    pub bytes: f64,
}

impl Rate {
    pub fn plus(self, other: Self) -> Self {
        Self { objects: self.objects + other.objects, bytes: self.bytes + other.bytes }
    }
}

impl Window {
    /// The rate of one process.
    pub fn rate(self, detail: &Detail, moved: Moved) -> Rate {
        let samples = &detail.samples[..];
        let first = match self {
            Self::Minutes => samples.first(),
            Self::Last => samples.get(samples.len().saturating_sub(3)),
        };
        let (Some(first), Some(last)) = (first, samples.last()) else { return Rate::default() };
        let seconds = last.at.saturating_sub(first.at);
        if seconds == 0 {
            return Rate::default();
        }
        let (before, after) = (moved(first), moved(last));
        let each = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds as f64;
        Rate {
            objects: each(before.objects, after.objects),
            bytes: each(before.bytes, after.bytes),
        }
    }
}

/// What is left.
pub(super) fn left(all: Amount, done: Amount) -> Amount {
    Amount {
        objects: all.objects.saturating_sub(done.objects),
        bytes: all.bytes.saturating_sub(done.bytes),
    }
}

/// By objects and by bytes, at the rate of the last minutes and of the last minute: the shortest
/// and the longest of these times. `None`: nothing moves, or so little that nobody can tell.
pub(super) fn seconds_left(left: Amount, rates: [Rate; 2]) -> Option<[u64; 2]> {
    if left == Amount::default() {
        return Some([0, 0]);
    }
    let times =
        rates.into_iter().flat_map(|rate| [(left.objects, rate.objects), (left.bytes, rate.bytes)]);
    let times = times.filter(|(left, _)| *left > 0);
    let times: Option<Vec<u64>> =
        times.map(|(left, rate)| Some(time_left(left as f64 / rate)?.as_secs().max(1))).collect();
    let times = times?;
    Some([*times.iter().min()?, *times.iter().max()?])
}

impl PhaseView {
    pub(super) fn new(
        phase: Phase,
        active: bool,
        done: Amount,
        of: Option<Amount>,
        left: Option<Amount>,
        rates: [Rate; 2],
    ) -> Self {
        Self {
            phase,
            active,
            objects: done.objects,
            bytes: done.bytes,
            of_objects: of.map(|of| of.objects),
            of_bytes: of.map(|of| of.bytes),
            objects_per_second: rates[0].objects,
            bytes_per_second: rates[0].bytes,
            seconds_left: left.and_then(|left| seconds_left(left, rates)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(objects: u64, bytes: u64) -> Amount {
        Amount { objects, bytes }
    }

    #[test]
    fn the_time_left_is_a_range_or_unknown() {
        let rate = |objects, bytes| Rate { objects, bytes };
        let both = [rate(10.0, 1000.0), rate(20.0, 500.0)];
        assert_eq!(seconds_left(amount(100, 2000), both), Some([2, 10]));
        assert_eq!(seconds_left(amount(0, 0), both), Some([0, 0]));
        assert_eq!(seconds_left(amount(100, 0), both), Some([5, 10]), "empty objects");
        assert_eq!(seconds_left(amount(1, 1), [rate(0.0, 0.0); 2]), None, "nothing moves");
        let stands = [rate(10.0, 1000.0), rate(0.0, 0.0)];
        assert_eq!(seconds_left(amount(100, 2000), stands), None, "not in the last minute");
        assert_eq!(seconds_left(amount(u64::MAX, 1), both), None, "beyond all reason");
    }

    #[test]
    fn a_rate_is_that_of_the_samples() {
        let sample =
            |at, objects| Sample { at, copied: amount(objects, objects * 10), ..Sample::default() };
        let samples = vec![sample(0, 0), sample(60, 600), sample(120, 900), sample(180, 900)];
        let detail = Detail { samples, ..Detail::default() };
        assert_eq!(Window::Minutes.rate(&detail, |s| s.copied), Rate { objects: 5.0, bytes: 50.0 });
        assert_eq!(Window::Last.rate(&detail, |s| s.copied), Rate { objects: 2.5, bytes: 25.0 });
        assert_eq!(Window::Last.rate(&Detail::default(), |s| s.copied), Rate::default());
    }
}
