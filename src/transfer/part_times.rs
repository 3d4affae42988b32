//! How long a part has lately taken, so that none begins that cannot end in time.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use crate::mutex::lock;

/// As many as this are remembered: a few rounds of an object's parts.
const REMEMBERED: usize = 64;

/// The times of the last parts, and of small objects, which are moved like one part.
#[derive(Debug, Default)]
pub struct PartTimes(Mutex<VecDeque<Duration>>);

impl PartTimes {
    /// A part arrived after this time.
    pub fn note(&self, took: Duration) {
        let mut last = lock(&self.0);
        if last.len() >= REMEMBERED {
            last.pop_front();
        }
        last.push_back(took);
    }

    /// How long the next part may take: the longest of the last ones, and a quarter more. Zero if
    /// none has arrived yet.
    pub fn next(&self) -> Duration {
        let longest = lock(&self.0).iter().max().copied().unwrap_or_default();
        longest.saturating_mul(5) / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_of_the_last_parts_counts() {
        let times = PartTimes::default();
        assert_eq!(times.next(), Duration::ZERO);
        for seconds in [4, 8, 2] {
            times.note(Duration::from_secs(seconds));
        }
        assert_eq!(times.next(), Duration::from_secs(10));
        for _ in 0..REMEMBERED {
            times.note(Duration::from_secs(4));
        }
        assert_eq!(times.next(), Duration::from_secs(5), "the line has become faster");
    }
}
