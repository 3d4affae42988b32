//! Which objects are in scope: patterns of names, sizes, times.
//!
//! Pure: an object is judged by what a listing says of it.

use std::time::SystemTime;

pub mod patterns;

use patterns::Patterns;

/// Bounds on the objects in scope; the default includes everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only objects whose `bucket/key` matches one of these; all if empty.
    pub include: Patterns,
    /// Only objects of at least this many bytes.
    pub min_size: Option<u64>,
    /// Only objects of at most this many bytes.
    pub max_size: Option<u64>,
    /// Only objects written at this time or later.
    pub modified_after: Option<SystemTime>,
    /// Only objects written before this time.
    pub modified_before: Option<SystemTime>,
}

impl Filter {
    /// Bounds that no object can satisfy: the key, and what is wrong with it.
    pub fn contradictions(&self) -> Vec<(&'static str, &'static str)> {
        let sizes = self.min_size.zip(self.max_size).is_some_and(|(min, max)| min > max);
        let times = self.modified_after.zip(self.modified_before);
        let times = times.is_some_and(|(after, before)| after >= before);
        let wrong = [
            (sizes, ("MaxSize", "is below MinSize: no object could pass both")),
            (times, ("ModifiedBefore", "is not after ModifiedAfter: no object could pass both")),
        ];
        wrong.into_iter().filter(|(is_wrong, _)| *is_wrong).map(|(_, wrong)| wrong).collect()
    }

    /// The configuration key of the bound that excludes an object, if any. An object whose size or
    /// time is unknown passes those bounds: nothing is excluded on a guess.
    pub fn leaves_out(
        &self,
        path: &str,
        size: Option<u64>,
        modified: Option<SystemTime>,
    ) -> Option<&'static str> {
        let below = |min: Option<u64>| size.zip(min).is_some_and(|(size, min)| size < min);
        let above = |max: Option<u64>| size.zip(max).is_some_and(|(size, max)| size > max);
        let modified = |bound: Option<SystemTime>| modified.zip(bound);
        if !self.include.is_empty() && self.include.matches(path).is_none() {
            Some("Include")
        } else if below(self.min_size) {
            Some("MinSize")
        } else if above(self.max_size) {
            Some("MaxSize")
        } else if modified(self.modified_after).is_some_and(|(time, after)| time < after) {
            Some("ModifiedAfter")
        } else if modified(self.modified_before).is_some_and(|(time, before)| time >= before) {
            Some("ModifiedBefore")
        } else {
            None
        }
    }

    /// Whether the filter needs `bucket/key`.
    pub fn asks_path(&self) -> bool {
        !self.include.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// Promise 1.
    #[test]
    fn each_bound_is_named_and_its_edge_is_inside() {
        let filter = Filter {
            include: Patterns::parse("b/*.jpg\nb/x").unwrap(),
            min_size: Some(2),
            max_size: Some(4),
            modified_after: Some(at(10)),
            modified_before: Some(at(20)),
        };
        for (path, size, time, expected) in [
            ("b/k.jpg", 2, 10, None),
            ("b/x", 4, 19, None),
            ("b/k.png", 2, 10, Some("Include")),
            ("b/x", 1, 10, Some("MinSize")),
            ("b/x", 5, 10, Some("MaxSize")),
            ("b/x", 2, 9, Some("ModifiedAfter")),
            ("b/x", 2, 20, Some("ModifiedBefore")),
        ] {
            let left_out = |filter: &Filter| filter.leaves_out(path, Some(size), Some(at(time)));
            assert_eq!(left_out(&filter), expected, "{path} {size} {time}");
            assert_eq!(left_out(&Filter::default()), None);
        }
        assert_eq!(filter.leaves_out("b/x", Some(2), None), None, "an unknown time passes");
        assert_eq!(filter.leaves_out("b/x", None, None), None, "and an unknown size");
        assert!(filter.asks_path() && !Filter::default().asks_path());
    }
}
