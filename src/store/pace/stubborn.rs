//! Objects that a store asks patience for while it answers others: one that has lost its quorum for an
//! object answers `503 SlowDownRead` for ever (<https://github.com/minio/minio/issues/15666>).
//!
//! Patience belongs to the bucket. An object's refusals count as its own once others have been
//! answered between them, and after enough of them, spread over minutes, it is given up.

use std::collections::HashMap;
use std::time::Duration;

/// A call by its name, and the key of its object.
pub(super) type Subject<'a> = (&'static str, &'a str);

/// From so many refusals on, with answers to others between them, an object is known as stubborn:
/// its refusals say nothing about the bucket any more.
const KNOWN: u32 = 3;
/// It is given up after so many ...
const ENOUGH: u32 = 10;
/// ... that are spread over at least this.
const LONG: Duration = Duration::from_secs(60);
/// ... or over this, where nobody else asked anything but whoever looked whether the bucket answers.
const LONG_ALONE: Duration = Duration::from_secs(5 * 60);
/// As long as more than one in so many calls about others is throttled as well, the bucket is busy, and
/// the object has bad luck.
const FEW: u64 = 5;
/// Objects that are remembered, at most. More of them at once is a bucket in trouble.
const MOST: usize = 1000;
/// One that has not been refused for so long is forgotten where there is no room for another: it was given
/// up elsewhere, or somebody else has copied it.
const STALE: Duration = Duration::from_secs(15 * 60);

/// What is known of the throttled objects of one bucket.
#[derive(Debug, Default)]
pub(super) struct Stubborn {
    objects: HashMap<(&'static str, String), Refused>,
    /// Calls that the bucket has answered well.
    answered: u64,
    /// Calls that were throttled, but for those about objects that are known as stubborn.
    throttled: u64,
}

#[derive(Debug)]
struct Refused {
    /// Refusals, each after an answer to another call.
    times: u32,
    /// Of those that count for the bucket, how many are this object's.
    own: u64,
    known: bool,
    first: Duration,
    /// When the last one came.
    last: Duration,
    /// What the bucket had answered and throttled before the first one.
    before: (u64, u64),
    /// How many calls had been answered by the last one.
    answered: u64,
    /// Between some refusals nothing was answered but neutral calls.
    alone: bool,
}

impl Stubborn {
    /// A call was answered well.
    pub fn answered(&mut self, subject: Option<Subject<'_>>) {
        self.answered += 1;
        if let Some(subject) = subject.filter(|_| !self.objects.is_empty()) {
            self.objects.remove(&owned(subject));
        }
    }

    /// A call was throttled; after how many it is to be given up, if it is.
    pub fn refused(&mut self, subject: Subject<'_>, now: Duration) -> Option<u32> {
        let (answered, throttled, key) = (self.answered, self.throttled, owned(subject));
        let Some(refused) = self.objects.get_mut(&key) else {
            self.throttled += 1;
            self.make_room(now);
            if self.objects.len() < MOST {
                let (first, last, before) = (now, now, (answered, throttled));
                let refused = Refused {
                    times: 1,
                    own: 1,
                    known: false,
                    first,
                    last,
                    before,
                    answered,
                    alone: false,
                };
                self.objects.insert(key, refused);
            }
            return None;
        };
        refused.last = now;
        if !refused.known {
            refused.own += 1;
            self.throttled += 1;
        }
        if refused.answered == answered {
            // The bucket answers nobody: that is no trouble of this object's.
            return None;
        }
        (refused.answered, refused.times) = (answered, refused.times + 1);
        let answered = answered - refused.before.0;
        let others = self.throttled.saturating_sub(refused.before.1 + refused.own);
        if others.saturating_mul(FEW) > answered {
            // The others fare no better. It is counted anew.
            self.objects.remove(&key);
            return None;
        }
        refused.known |= refused.times >= KNOWN;
        let long = if refused.alone { LONG_ALONE } else { LONG };
        if refused.times < ENOUGH || now.saturating_sub(refused.first) < long {
            return None;
        }
        self.objects.remove(&key).map(|refused| refused.times)
    }

    /// Whether the object is refused while the bucket has answered nothing at all since it was refused
    /// before: only a neutral call tells whether that is the bucket's trouble.
    pub fn is_alone(&self, subject: Subject<'_>) -> bool {
        self.objects.get(&owned(subject)).is_some_and(|refused| refused.answered == self.answered)
    }

    /// The neutral call was answered, between two refusals of this object.
    pub fn answered_alone(&mut self, subject: Subject<'_>) {
        self.answered += 1;
        if let Some(refused) = self.objects.get_mut(&owned(subject)) {
            refused.alone = true;
        }
    }

    fn make_room(&mut self, now: Duration) {
        if self.objects.len() >= MOST {
            self.objects.retain(|_, refused| now.saturating_sub(refused.last) < STALE);
        }
    }

    /// Whether the object's refusals say nothing about the bucket.
    pub fn is_known(&self, subject: Subject<'_>) -> bool {
        self.objects.get(&owned(subject)).is_some_and(|refused| refused.known)
    }
}

fn owned((call, key): Subject<'_>) -> (&'static str, String) {
    (call, key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: Subject<'_> = ("GetObject", "k");
    const OTHER: Subject<'_> = ("HeadObject", "k");

    fn second(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    /// Promise 9.
    #[test]
    fn an_object_that_alone_is_throttled_is_given_up_after_a_while() {
        let mut stubborn = Stubborn::default();
        for time in 0..u64::from(ENOUGH) {
            assert_eq!(stubborn.is_known(K), time >= 3, "{time}");
            assert_eq!(stubborn.refused(K, second(time)), None, "too soon");
            stubborn.answered(Some(OTHER));
        }
        assert_eq!(stubborn.refused(K, second(60)), Some(ENOUGH + 1));
        assert!(!stubborn.is_known(K));
    }

    /// Promise 9.
    #[test]
    fn a_bucket_that_answers_nobody_is_waited_for() {
        let mut stubborn = Stubborn::default();
        for time in 0..1000 {
            assert_eq!(stubborn.refused(K, second(time)), None);
        }
        assert!(!stubborn.is_known(K));
    }

    /// Promise 9.
    #[test]
    fn an_object_that_nobody_asks_beside_is_given_up_later() {
        let mut stubborn = Stubborn::default();
        let ended = (0..1000).find_map(|time| {
            let ended = stubborn.refused(K, second(time));
            if stubborn.is_alone(K) && time % 10 == 0 {
                stubborn.answered_alone(K);
            }
            ended.map(|_| time)
        });
        assert!((300..320).contains(&ended.unwrap_or_default()), "after {ended:?} s");
    }

    // A busy bucket: an object may be refused many times in a row, as others are.
    /// Promise 9.
    #[test]
    fn a_storm_gives_no_object_up() {
        let mut stubborn = Stubborn::default();
        for time in 0..1000 {
            for key in ["k", "l", "m"] {
                assert_eq!(stubborn.refused(("GetObject", key), second(time)), None);
                assert!(!stubborn.is_known(("GetObject", key)));
            }
            stubborn.answered(Some(OTHER));
        }
    }

    /// Promise 9.
    #[test]
    fn a_dozen_that_are_refused_for_ever_are_no_storm() {
        let mut stubborn = Stubborn::default();
        let keys = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
        let mut given_up = 0;
        for time in 0..100 {
            for key in keys {
                let ended = stubborn.refused(("GetObject", key), second(time));
                given_up += usize::from(ended.is_some());
                (0..10).for_each(|_| stubborn.answered(Some(OTHER)));
            }
        }
        assert!(given_up >= keys.len(), "{given_up}");
    }

    /// Promise 9.
    #[test]
    fn an_answer_for_the_object_itself_ends_its_count() {
        let mut stubborn = Stubborn::default();
        for time in 0..1000 {
            assert_eq!(stubborn.refused(K, second(time)), None);
            stubborn.answered(Some(if time % 5 == 0 { K } else { OTHER }));
        }
    }

    #[test]
    fn what_is_not_heard_of_any_more_makes_room() {
        let mut stubborn = Stubborn::default();
        for at in 0..MOST {
            assert_eq!(stubborn.refused(("GetObject", &format!("old{at}")), second(0)), None);
        }
        let known_from = |stubborn: &mut Stubborn, key: &str, start: u64| {
            for time in start..start + 5 {
                stubborn.refused(("GetObject", key), second(time));
                (0..10).for_each(|_| stubborn.answered(Some(OTHER)));
            }
            stubborn.is_known(("GetObject", key))
        };
        (0..MOST * 10).for_each(|_| stubborn.answered(Some(OTHER)));
        assert!(!known_from(&mut stubborn, "new", 14 * 60), "there is no room yet");
        assert!(known_from(&mut stubborn, "new", 15 * 60), "the others are forgotten");
        assert_eq!(stubborn.objects.len(), 1);
    }
}
