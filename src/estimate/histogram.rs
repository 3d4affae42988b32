//! How large the objects are, in a fixed number of classes.
//!
//! Pure: objects are counted as they are named.

use serde::Serialize;

use crate::object::MIB;

const KIB: u64 = 1024;
const GIB: u64 = 1024 * MIB;

/// The largest size in each class except the last, in bytes: empty objects, those that cost more in
/// requests than in bytes, those up to the default ResumableThreshold, and multipart objects.
pub const BOUNDS: [u64; 9] = [0, KIB, 16 * KIB, 128 * KIB, MIB, 5 * MIB, 64 * MIB, GIB, 50 * GIB];

/// Number of classes: one for each bound, and one for larger objects.
pub const CLASSES: usize = BOUNDS.len() + 1;

/// The objects of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Class {
    /// Size in bytes of the largest object counted here; `None`: no limit.
    pub up_to: Option<u64>,
    /// How many there are.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Objects by size. It takes the same memory for one object and for a billion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Histogram {
    classes: [Class; CLASSES],
}

impl Default for Histogram {
    fn default() -> Self {
        let class = |at: usize| Class { up_to: BOUNDS.get(at).copied(), ..Class::default() };
        Self { classes: std::array::from_fn(class) }
    }
}

impl Histogram {
    /// Counts an object of `size` bytes.
    pub fn add(&mut self, size: u64) {
        let class = &mut self.classes[BOUNDS.partition_point(|bound| *bound < size)];
        class.objects += 1;
        class.bytes = class.bytes.saturating_add(size);
    }

    /// Adds the counts of another range of keys or another pair.
    pub fn merge(&mut self, other: &Self) {
        for (class, more) in self.classes.iter_mut().zip(&other.classes) {
            class.objects += more.objects;
            class.bytes = class.bytes.saturating_add(more.bytes);
        }
    }

    /// All classes, the smallest objects first; empty ones too.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// All objects.
    pub fn objects(&self) -> u64 {
        self.classes.iter().map(|class| class.objects).sum()
    }

    /// Their bytes.
    pub fn bytes(&self) -> u64 {
        self.classes.iter().fold(0, |sum, class| sum.saturating_add(class.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise 1.
    #[test]
    fn a_bound_belongs_to_its_own_class() {
        for (at, bound) in BOUNDS.into_iter().enumerate() {
            let mut histogram = Histogram::default();
            histogram.add(bound);
            histogram.add(bound + 1);
            let counted = |class: &Class| class.objects;
            let objects: Vec<u64> = histogram.classes().iter().map(counted).collect();
            let mut expected = vec![0; CLASSES];
            (expected[at], expected[at + 1]) = (1, 1);
            assert_eq!(objects, expected, "{bound}");
            assert_eq!(histogram.classes()[at].up_to, Some(bound));
        }
        assert_eq!(Histogram::default().classes().last().unwrap().up_to, None);
    }

    /// Promise 1.
    #[test]
    fn merged_ones_count_what_one_would_have() {
        let (mut whole, mut halves) = (Histogram::default(), [Histogram::default(); 2]);
        let mut bytes = 0;
        for n in 0..1000_u64 {
            let size = fastrand::u64(..1 << fastrand::u64(1..44));
            whole.add(size);
            halves[(n % 2) as usize].add(size);
            bytes += size;
        }
        let [mut merged, other] = halves;
        merged.merge(&other);
        assert_eq!(merged, whole);
        assert_eq!((whole.objects(), whole.bytes()), (1000, bytes));
    }

    #[test]
    fn sums_beyond_all_numbers_stay_at_the_largest() {
        let mut histogram = Histogram::default();
        histogram.add(u64::MAX);
        histogram.add(u64::MAX);
        histogram.add(1);
        assert_eq!((histogram.objects(), histogram.bytes()), (3, u64::MAX));
        histogram.merge(&histogram.clone());
        assert_eq!((histogram.objects(), histogram.bytes()), (6, u64::MAX));
    }

    #[test]
    fn it_is_written_as_a_list_of_classes() {
        let mut histogram = Histogram::default();
        histogram.add(3);
        let written = serde_json::to_value(histogram).unwrap();
        assert_eq!(written.as_array().unwrap().len(), CLASSES);
        assert_eq!(written[1], serde_json::json!({"up_to": 1024, "objects": 1, "bytes": 3}));
        assert_eq!(written[9]["up_to"], serde_json::Value::Null);
    }
}
