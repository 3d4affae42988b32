//! How a store deviates from what Amazon S3 documents: detected at the first refusal or by `check`,
//! logged once, and worked around from then on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::SystemTime;

use tracing::warn;

use super::Side;
use crate::mutex::lock;
use crate::quirk::{Pins, Quirk};

/// A number, and when it was learned.
#[derive(Clone, Copy, Debug)]
struct Fact {
    value: u64,
    at: SystemTime,
}

/// What is known of one side's store, for each bucket.
#[derive(Debug)]
pub struct Profile {
    side: Side,
    /// The store is Amazon S3 itself, at any address.
    amazon: bool,
    known: Mutex<BTreeMap<(String, Quirk), Fact>>,
    /// Something was learned after the last call of [`Self::news`].
    has_news: AtomicBool,
    /// What the ini says about every bucket: the number, or that the quirk is absent.
    pins: Pins,
    losses: Mutex<BTreeMap<(String, String), u64>>,
    /// Buckets in which an archived object could not be read; not persisted, since any of them may
    /// be restored.
    locked: Mutex<BTreeSet<String>>,
}

impl Profile {
    /// Nothing is known yet.
    pub fn new(side: Side) -> Self {
        Self {
            side,
            amazon: false,
            known: Mutex::default(),
            has_news: AtomicBool::new(false),
            pins: Pins::default(),
            losses: Mutex::default(),
            locked: Mutex::default(),
        }
    }

    /// The same, with what the ini says of the store.
    pub fn pinned(self, pins: &Pins) -> Self {
        Self { pins: pins.clone(), ..self }
    }

    /// The profile of Amazon S3, whose behaviour is documented.
    pub fn of_amazon(side: Side) -> Self {
        Self { amazon: true, ..Self::new(side) }
    }

    /// Whether the store is Amazon S3 itself: then a missing answer means what its documentation
    /// says.
    pub fn is_amazon(&self) -> bool {
        self.amazon
    }

    /// Whether the bucket is known for this.
    pub fn has(&self, bucket: &str, quirk: Quirk) -> bool {
        self.value(bucket, quirk).is_some()
    }

    /// The number that belongs to the quirk, if the bucket is known for it; 1 for quirks without a
    /// number.
    pub fn value(&self, bucket: &str, quirk: Quirk) -> Option<u64> {
        match self.pins.get(quirk) {
            Some(pinned) => pinned,
            // There are few, and many calls: a key to look up would be an allocation for each.
            None => {
                let known = self.known();
                let found = known.iter().find(|((of, what), _)| *what == quirk && of == bucket);
                found.map(|(_, fact)| fact.value)
            }
        }
    }

    /// Notes that the bucket has this quirk, by this evidence (a call and its answer), and logs it
    /// the first time. Returns whether it is news.
    pub fn learn(&self, bucket: &str, quirk: Quirk, evidence: impl fmt::Display) -> bool {
        self.learn_value(bucket, quirk, 1, evidence)
    }

    /// The same, with a number.
    pub fn learn_value(
        &self,
        bucket: &str,
        quirk: Quirk,
        value: u64,
        evidence: impl fmt::Display,
    ) -> bool {
        if self.pins.get(quirk).is_some() {
            return false;
        }
        let fact = Fact { value, at: SystemTime::now() };
        let before = self.known().insert((bucket.to_owned(), quirk), fact);
        let is_news = before.is_none_or(|before| before.value != value);
        if is_news {
            self.has_news.store(true, Ordering::Relaxed);
            let (side, meaning) = (self.side, quirk.meaning());
            warn!("bucket {} ({side}): {meaning} [{quirk}] ({evidence})", bucket.escape_debug());
        }
        is_news
    }

    /// Adopts what another process learned at `at`, without logging it.
    pub fn remember(&self, bucket: &str, quirk: Quirk, value: u64, at: SystemTime) {
        self.known().entry((bucket.to_owned(), quirk)).or_insert(Fact { value, at });
    }

    /// All that is known, in order: bucket, quirk, number.
    pub fn all(&self) -> Vec<(String, Quirk, u64)> {
        self.facts().into_iter().map(|(bucket, quirk, value, _)| (bucket, quirk, value)).collect()
    }

    /// The same with the time at which each was learned; `None` if nothing was learned since the
    /// last call.
    pub fn news(&self) -> Option<Vec<(String, Quirk, u64, SystemTime)>> {
        self.has_news.swap(false, Ordering::Relaxed).then(|| self.facts())
    }

    fn facts(&self) -> Vec<(String, Quirk, u64, SystemTime)> {
        let known = self.known();
        let fact = |((bucket, quirk), fact): (&(String, Quirk), &Fact)| {
            (bucket.clone(), *quirk, fact.value, fact.at)
        };
        known.iter().map(fact).collect()
    }

    /// Notes that an archived object of the bucket cannot be read.
    pub fn lock_archives(&self, bucket: &str) {
        let mut locked = lock(&self.locked);
        locked.insert(bucket.to_owned());
    }

    /// Whether an archive class in a listing is reason enough not to try: only if the listing says
    /// which objects are restored, as Amazon S3's does, or if this process has seen one refused.
    pub fn has_locked_archives(&self, bucket: &str) -> bool {
        let locked = lock(&self.locked);
        self.amazon || locked.contains(bucket)
    }

    /// Counts an object whose copy lacks something that its source has; returns whether it is the
    /// first.
    pub fn lose(&self, bucket: &str, what: &str) -> bool {
        let mut losses = lock(&self.losses);
        let times = losses.entry((bucket.to_owned(), what.to_owned())).or_default();
        *times += 1;
        *times == 1
    }

    /// What objects were written without: bucket, what is missing, how many objects.
    pub fn losses(&self) -> Vec<(String, String, u64)> {
        let losses = lock(&self.losses);
        losses.iter().map(|((bucket, what), n)| (bucket.clone(), what.clone(), *n)).collect()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<(String, Quirk), Fact>> {
        lock(&self.known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_learned_is_news_once_and_of_one_bucket() {
        let profile = Profile::new(Side::Source);
        assert!(profile.learn("b", Quirk::NoRanges, "GetObject answered 200"));
        assert!(!profile.learn("b", Quirk::NoRanges, "GetObject answered 200"));
        assert!(profile.learn_value("b", Quirk::MaxParts, 1000, "UploadPart answered 400"));
        assert!(profile.has("b", Quirk::NoRanges) && !profile.has("c", Quirk::NoRanges));
        assert_eq!(profile.value("b", Quirk::MaxParts), Some(1000));
        assert_eq!(profile.all().len(), 2);
    }

    #[test]
    fn what_the_ini_says_stands_above_what_is_learned() {
        let pins = Pins::parse("no-tags, -own-etags,MAX-PARTS=1000").unwrap();
        let profile = Profile::new(Side::Source).pinned(&pins);
        assert!(profile.has("any", Quirk::NoTags));
        assert!(!profile.learn("b", Quirk::OwnEtags, "an answer"));
        assert!(!profile.has("b", Quirk::OwnEtags));
        assert_eq!(profile.value("b", Quirk::MaxParts), Some(1000));
        assert!(profile.news().is_none());
        assert!(profile.learn("b", Quirk::NoRanges, "an answer"));
        assert_eq!(profile.news().unwrap().len(), 1);
        assert!(profile.news().is_none());
        for wrong in ["nonsense", "max-parts", "max-parts=0", "no-tags=2", "-max-parts=5"] {
            assert!(Pins::parse(wrong).is_err(), "{wrong}");
        }
    }
}
