//! What becomes of the objects of each pair of a run.

use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::compare::{Finds, Verdict};
use crate::job::Job;
use crate::monitor::Ends;
use crate::mutex::lock;
use crate::object::ObjectId;
use crate::params::Pair;
use crate::store::Listed;

/// The counts of one pair.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PairCounts {
    /// Where the objects are.
    pub source: String,
    /// Where they go.
    pub destination: String,
    /// Keys listed at the source.
    pub listed: u64,
    /// Objects to copy.
    pub to_copy: u64,
    /// Their bytes.
    pub to_copy_bytes: u64,
    /// Objects copied.
    pub copied: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Objects that failed.
    pub failed: u64,
}

/// Counts for each pair.
#[derive(Debug)]
pub(super) struct ByPair {
    pairs: Vec<Pair>,
    counts: Mutex<Vec<PairCounts>>,
}

impl ByPair {
    pub(super) fn new(pairs: &[Pair]) -> Self {
        let address = |bucket: &str, prefix: &str| format!("s3://{bucket}/{prefix}");
        let counts = pairs.iter().map(|pair| PairCounts {
            source: address(&pair.src_bucket, &pair.src_prefix),
            destination: address(&pair.des_bucket, &pair.des_prefix),
            ..PairCounts::default()
        });
        Self { counts: Mutex::new(counts.collect()), pairs: pairs.to_vec() }
    }

    /// Where the objects of each pair are, and where they go.
    pub(super) fn addresses(&self) -> Vec<[String; 2]> {
        let counts = lock(&self.counts);
        counts.iter().map(|pair| [pair.source.clone(), pair.destination.clone()]).collect()
    }

    /// The counts now.
    pub(super) fn counts(&self) -> Vec<PairCounts> {
        lock(&self.counts).clone()
    }

    /// Counts an object for the pair that it belongs to.
    fn count(&self, src: &ObjectId, des: &ObjectId, count: impl FnOnce(&mut PairCounts)) {
        let is_of = |pair: &Pair| {
            pair.src_bucket == src.bucket
                && src.key.as_str().starts_with(&pair.src_prefix)
                && pair.target(&src.key) == *des
        };
        if let Some(at) = self.pairs.iter().position(is_of)
            && let Some(counts) = lock(&self.counts).get_mut(at)
        {
            count(counts);
        }
    }
}

impl Finds for ByPair {
    fn found(&self, job: &Job, listed: Listed<'_>, verdict: &Verdict<'_>) {
        self.count(&job.src, &job.des, |counts| {
            counts.listed += 1;
            if matches!(verdict, Verdict::Copy(_)) {
                counts.to_copy += 1;
                counts.to_copy_bytes += listed.size;
            }
        });
    }
}

impl Ends for ByPair {
    fn done(&self, src: &ObjectId, des: &ObjectId, bytes: u64) {
        self.count(src, des, |counts| {
            counts.copied += 1;
            counts.copied_bytes += bytes;
        });
    }

    fn failed(&self, src: &ObjectId, des: &ObjectId) {
        self.count(src, des, |counts| counts.failed += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::difference::Difference;

    #[test]
    fn an_object_counts_for_its_own_pair() {
        let pair = |prefix: &str, to: &str| Pair {
            src_bucket: "a".into(),
            src_prefix: prefix.into(),
            des_bucket: to.into(),
            des_prefix: String::new(),
            strip: false,
        };
        let by_pair = ByPair::new(&[pair("x/", "b"), pair("", "c")]);
        for (key, to) in [("x/1", "b"), ("x/1", "c"), ("y", "c")] {
            let (src, des) = (ObjectId::new("a", key), ObjectId::new(to, key));
            by_pair.done(&src, &des, 5);
            let job = Job::copy(src, des, 5, None);
            by_pair.found(&job, Listed::new(key, 5), &Verdict::Copy(Difference::Missing));
        }
        by_pair.failed(&ObjectId::new("a", "x/2"), &ObjectId::new("b", "x/2"));
        let counts = by_pair.counts();
        let numbers = |at: usize| {
            let PairCounts { listed, to_copy, copied, copied_bytes, failed, .. } = &counts[at];
            [*listed, *to_copy, *copied, *copied_bytes, *failed]
        };
        assert_eq!((numbers(0), numbers(1)), ([1, 1, 1, 5, 1], [2, 2, 2, 10, 0]));
    }
}
