//! The counts of a fleet over time, in constant memory: the longer it lasts, the wider the steps.
//!
//! Pure: times and counts are arguments.

use serde::Serialize;

use crate::overview::TotalView;

/// Points that are kept; if there are more, every other one goes.
const MOST: usize = 480;

/// The counts at one moment. They only grow, so the rate between any two points is right whatever
/// was left out in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Point {
    /// Milliseconds since 1970.
    pub at: u64,
    /// Bytes read from the source.
    pub read: u64,
    /// Bytes sent to the destination.
    pub sent: u64,
    /// Objects copied.
    pub copied: u64,
    /// Objects that failed.
    pub failed: u64,
}

impl Point {
    pub fn of(total: &TotalView, at: u64) -> Self {
        Self {
            at,
            read: total.read_bytes,
            sent: total.sent_bytes,
            copied: total.copied,
            failed: total.failed,
        }
    }

    fn is_before(&self, later: &Self) -> bool {
        self.at <= later.at
            && self.read <= later.read
            && self.sent <= later.sent
            && self.copied <= later.copied
            && self.failed <= later.failed
    }
}

/// Points, the oldest first; the last one is the present.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct History {
    points: Vec<Point>,
    /// Milliseconds between two points that are kept.
    #[serde(skip)]
    step: u64,
}

impl History {
    /// Adds the present.
    pub fn add(&mut self, point: Point) {
        // Somebody began anew.
        if self.points.last().is_some_and(|last| !last.is_before(&point)) {
            *self = Self::default();
        }
        if let [.., before, last] = &self.points[..]
            && last.at.saturating_sub(before.at) < self.step
        {
            self.points.pop();
        }
        self.points.push(point);
        if self.points.len() > MOST {
            let span = point.at.saturating_sub(self.points[0].at);
            self.step = (span / MOST as u64).saturating_mul(2).max(1);
            let last = self.points.len() - 1;
            let points = self.points.iter().enumerate();
            let kept = points.filter(|(at, _)| at.is_multiple_of(2) || *at == last);
            self.points = kept.map(|(_, point)| *point).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at: u64) -> Point {
        Point { at, copied: at / 10, ..Point::default() }
    }

    #[test]
    fn a_long_time_fits_into_the_same_memory() {
        let mut history = History::default();
        for second in 0..100_000 {
            history.add(point(second * 1000));
        }
        let points = &history.points;
        assert!(points.len() <= MOST && points.len() >= MOST / 4, "{}", points.len());
        assert_eq!((points[0], *points.last().unwrap()), (point(0), point(99_999_000)));
        let steps: Vec<_> = points.windows(2).map(|two| two[1].at - two[0].at).collect();
        let widest = steps.iter().max().unwrap();
        assert!(*widest < 100_000_000 / 50, "{widest}");
        assert!(points.windows(2).all(|two| two[0].is_before(&two[1])));
    }

    #[test]
    fn a_fleet_that_begins_anew_has_a_new_history() {
        let mut history = History::default();
        [1000, 2000, 3000].into_iter().for_each(|at| history.add(point(at)));
        history.add(Point { at: 4000, ..Point::default() });
        assert_eq!(history.points.len(), 1);
    }
}
