//! How something is spread: how many objects are of which size, or took how long.
//!
//! Pure: counts in classes that never change.

use serde::{Deserialize, Serialize};

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * KIB;
const GIB: f64 = 1024.0 * MIB;

/// The largest size in each class, in bytes; larger ones are in a class of their own.
pub const SIZES: &[f64] = &[
    0.0,
    4.0 * KIB,
    64.0 * KIB,
    MIB,
    8.0 * MIB,
    64.0 * MIB,
    512.0 * MIB,
    4.0 * GIB,
    32.0 * GIB,
    256.0 * GIB,
];

/// The longest time in each class, in seconds; longer ones are in a class of their own.
pub const SECONDS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];

/// Counts by class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// How many are in each class; classes at the end in which nothing is may be left out.
    pub counts: Vec<u64>,
    /// The sum of all.
    pub sum: f64,
}

// The sum is never NaN.
impl Eq for Spread {}

impl Spread {
    /// Counts one.
    pub fn add(&mut self, bounds: &[f64], value: f64) {
        let class = bounds.partition_point(|bound| *bound < value);
        if self.counts.len() <= class {
            self.counts.resize(class + 1, 0);
        }
        self.counts[class] += 1;
        self.sum += value;
    }

    /// Adds others of the same classes.
    pub fn plus(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (own, more) in self.counts.iter_mut().zip(&other.counts) {
            *own = own.saturating_add(*more);
        }
        self.sum += other.sum;
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Each class with its upper bound; the last one has none.
    pub fn classes<'a>(&'a self, bounds: &'a [f64]) -> impl Iterator<Item = (Option<f64>, u64)> {
        (0..=bounds.len()).map(|class| {
            let count = self.counts.get(class).copied().unwrap_or_default();
            (bounds.get(class).copied(), count)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_in_one_class_and_sums_add_up() {
        let mut sizes = Spread::default();
        for size in [0.0, 1.0, 4096.0, 4097.0, 1e12] {
            sizes.add(SIZES, size);
        }
        let classes: Vec<_> = sizes.classes(SIZES).collect();
        assert_eq!(classes.len(), SIZES.len() + 1);
        assert_eq!(classes[..3], [(Some(0.0), 1), (Some(4096.0), 2), (Some(65536.0), 1)]);
        assert_eq!(classes.last(), Some(&(None, 1)));
        let mut both = Spread { counts: vec![1], sum: 0.5 };
        both.plus(&sizes);
        assert_eq!((both.count(), both.counts[0]), (6, 2));
        let text = serde_json::to_string(&both).unwrap();
        assert_eq!(serde_json::from_str::<Spread>(&text).unwrap(), both);
    }
}
