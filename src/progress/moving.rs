//! How fast the work moves, and how long the rest of it takes at that speed.
//!
//! Pure: the time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

use crate::format::human;

/// The speed is that of the last minute.
const SPAN: Duration = Duration::from_secs(60);
/// A speed is known after this time.
const WARM: Duration = Duration::from_secs(2);
/// Nothing moves if nothing has changed for this long.
const STILL: Duration = Duration::from_secs(10);

/// Objects and bytes that are done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Objects.
    pub objects: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Objects and bytes a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Speed {
    /// Objects.
    pub objects: f64,
    /// Bytes.
    pub bytes: f64,
}

/// What was done at which time, over the last minute.
#[derive(Debug, Default)]
pub struct Window {
    readings: VecDeque<(Duration, Amount)>,
    changed: Duration,
}

impl Window {
    /// Begins anew: what follows is counted differently.
    pub fn restart(&mut self, at: Duration) {
        *self = Self { readings: VecDeque::new(), changed: at };
    }

    /// Adds a reading; `at`: the time since the beginning.
    pub fn read(&mut self, at: Duration, done: Amount) {
        if self.readings.back().is_none_or(|(_, last)| *last != done) {
            self.changed = at;
        }
        self.readings.push_back((at, done));
        // The oldest one that is kept spans the window.
        while self.readings.get(1).is_some_and(|(second, _)| at.saturating_sub(*second) >= SPAN) {
            self.readings.pop_front();
        }
    }

    /// Whether nothing has moved for a while.
    pub fn is_still(&self) -> bool {
        self.readings.back().is_some_and(|(at, _)| at.saturating_sub(self.changed) >= STILL)
    }

    /// The speed over the window; `None` if it is not known yet, or if nothing moves.
    pub fn speed(&self) -> Option<Speed> {
        let ((began, first), (now, last)) = (self.readings.front()?, self.readings.back()?);
        let time = now.saturating_sub(*began);
        if time < WARM || self.is_still() {
            return None;
        }
        let a_second =
            |last: u64, first: u64| last.saturating_sub(first) as f64 / time.as_secs_f64();
        Some(Speed {
            objects: a_second(last.objects, first.objects),
            bytes: a_second(last.bytes, first.bytes),
        })
    }
}

/// How long `rest` takes at this speed: the later of what its objects and what its bytes need.
/// `None`: unknown.
pub fn time_left(rest: Amount, speed: Speed) -> Option<Duration> {
    let needs = |rest: u64, speed: f64| (rest > 0 && speed > 0.0).then(|| rest as f64 / speed);
    let [objects, bytes] = [needs(rest.objects, speed.objects), needs(rest.bytes, speed.bytes)];
    human::time_left(objects.into_iter().chain(bytes).reduce(f64::max)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn amount(objects: u64, bytes: u64) -> Amount {
        Amount { objects, bytes }
    }

    #[test]
    fn the_later_of_objects_and_bytes_counts() {
        let speed = Speed { objects: 2.0, bytes: 100.0 };
        for (rest, expected) in [
            (amount(10, 100), Some(5)),
            (amount(10, 1000), Some(10)),
            (amount(0, 1000), Some(10)),
            (amount(10, 0), Some(5)),
            (amount(0, 0), None),
        ] {
            assert_eq!(time_left(rest, speed), expected.map(seconds), "{rest:?}");
        }
        // One large object: none has ended in the last minute.
        let large = Speed { objects: 0.0, ..speed };
        assert_eq!(time_left(amount(1, 1000), large), Some(seconds(10)));
        assert_eq!(time_left(amount(1, 1000), Speed::default()), None);
    }

    #[test]
    fn the_speed_is_that_of_the_last_minute() {
        let mut window = Window::default();
        window.read(seconds(0), amount(0, 0));
        assert_eq!(window.speed(), None, "nothing is known yet");
        for second in 1..=100 {
            window.read(seconds(second), amount(second, 1000 * second));
        }
        assert_eq!(window.speed(), Some(Speed { objects: 1.0, bytes: 1000.0 }));
        for second in 101..=160 {
            window.read(seconds(second), amount(100 + 10 * (second - 100), 100_000));
        }
        assert_eq!(window.speed(), Some(Speed { objects: 10.0, bytes: 0.0 }));
    }

    #[test]
    fn there_is_no_speed_while_nothing_moves() {
        let mut window = Window::default();
        for second in 0..=20 {
            window.read(seconds(second), amount(second.min(10), 0));
        }
        assert!(window.is_still());
        assert_eq!(window.speed(), None);
        window.read(seconds(21), amount(11, 0));
        assert!(!window.is_still() && window.speed().is_some());
    }
}
