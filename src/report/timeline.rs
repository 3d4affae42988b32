//! What was copied when, in a bounded number of steps of time.
//!
//! Pure: the steps follow from the times that are added.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// At most this many steps from the first to the last.
const STEPS: u64 = 120;

/// Objects and bytes by time. Steps become wider as the time becomes longer, so it takes the same
/// memory for a minute and for a year.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// Seconds in a step.
    width: u64,
    /// By the number of steps since 1970.
    steps: BTreeMap<u64, Step>,
}

/// What ended within one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { width: 1, steps: BTreeMap::new() }
    }
}

impl Timeline {
    /// Adds an object that ended at `time`.
    pub fn add(&mut self, time: SystemTime, bytes: u64) {
        let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let step = self.steps.entry(seconds / self.width).or_default();
        step.objects += 1;
        step.bytes = step.bytes.saturating_add(bytes);
        while self.span() > STEPS {
            self.widen();
        }
    }

    fn span(&self) -> u64 {
        let ends = self.steps.keys().next().zip(self.steps.keys().next_back());
        ends.map_or(0, |(first, last)| last - first + 1)
    }

    fn widen(&mut self) {
        self.width *= 2;
        for (at, step) in std::mem::take(&mut self.steps) {
            let wide = self.steps.entry(at / 2).or_default();
            wide.objects += step.objects;
            wide.bytes = wide.bytes.saturating_add(step.bytes);
        }
    }

    /// Seconds in a step.
    pub fn width(&self) -> Duration {
        Duration::from_secs(self.width)
    }

    /// All steps from the first to the last, with their beginnings; empty ones too.
    pub fn steps(&self) -> impl Iterator<Item = (SystemTime, Step)> {
        let first = self.steps.keys().next().copied().unwrap_or_default();
        (first..first + self.span()).map(|at| {
            let begin = UNIX_EPOCH + Duration::from_secs(at * self.width);
            (begin, self.steps.get(&at).copied().unwrap_or_default())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_long_it_takes_the_steps_are_few_and_count_all() {
        let mut line = Timeline::default();
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(1_767_225_600 + seconds);
        for n in 0..1000 {
            line.add(at(n * n), 2);
        }
        let steps: Vec<_> = line.steps().collect();
        assert!((STEPS / 2..=STEPS).contains(&(steps.len() as u64)), "{}", steps.len());
        assert_eq!(steps.iter().map(|(_, step)| step.objects).sum::<u64>(), 1000);
        assert_eq!(steps.iter().map(|(_, step)| step.bytes).sum::<u64>(), 2000);
        assert!(steps[0].0 <= at(0) && at(0) < steps[0].0 + line.width());
        assert_eq!(Timeline::default().steps().count(), 0);
    }
}
