//! Objects that a store throttles while it answers others: a store that has lost its quorum for an
//! object answers `503 SlowDownRead` for ever (<https://github.com/minio/minio/issues/15666>).
//!
//! Throttling normally concerns the whole bucket. An object's refusals count as its own if the
//! bucket answers other calls between them; after enough of them, spread over minutes, the object
//! is given up.

use std::collections::HashMap;
use std::time::Duration;

/// A call by its name, and the key of its object.
pub(super) type Subject<'a> = (&'static str, &'a str);

/// After this many refusals, with answers to other calls between them, an object is known as
/// stubborn: its refusals no longer say anything about the bucket.
const KNOWN: u32 = 3;
/// It is given up after this many ...
const ENOUGH: u32 = 10;
/// ... that are spread over at least this.
const LONG: Duration = Duration::from_secs(60);
/// ... or over this, if the only other calls were those that checked whether the bucket answers.
const LONG_ALONE: Duration = Duration::from_secs(5 * 60);
/// While more than one in this many calls about others is throttled as well, the bucket is busy,
/// and the object is merely unlucky.
const FEW: u64 = 5;
/// Maximum number of objects that are remembered. More of them at once means a bucket in trouble.
const MOST: usize = 1000;
/// An object that has not been refused for this long is forgotten when room is needed for another:
/// it was given up elsewhere, or another worker has copied it.
const STALE: Duration = Duration::from_secs(15 * 60);

/// What is known of the throttled objects of one bucket.
#[derive(Debug, Default)]
pub(super) struct Stubborn {
    objects: HashMap<(&'static str, String), RefusedTimes>,
    /// Successful calls to the bucket.
    answered: u64,
    /// Throttled calls, except those about objects that are known as stubborn.
    throttled: u64,
}

#[derive(Debug)]
struct RefusedTimes {
    /// Refusals, each after an answer to another call.
    times: u32,
    /// How many of the refusals that count for the bucket are this object's.
    own: u64,
    known: bool,
    first: Duration,
    /// When the last refusal came.
    last: Duration,
    /// The bucket's counts of answered and throttled calls before the first refusal.
    before: (u64, u64),
    /// How many calls had been answered by the last refusal.
    answered: u64,
    /// Between some refusals nothing but neutral calls was answered.
    alone: bool,
}

impl Stubborn {
    /// A call succeeded.
    pub fn answered(&mut self, subject: Option<Subject<'_>>) {
        self.answered += 1;
        if let Some(subject) = subject.filter(|_| !self.objects.is_empty()) {
            self.objects.remove(&owned(subject));
        }
    }

    /// A call was throttled. Returns the number of refusals if the object is to be given up.
    pub fn refused(&mut self, subject: Subject<'_>, now: Duration) -> Option<u32> {
        let (answered, throttled, key) = (self.answered, self.throttled, owned(subject));
        let Some(refused) = self.objects.get_mut(&key) else {
            self.throttled += 1;
            self.make_room(now);
            if self.objects.len() < MOST {
                let (first, last, before) = (now, now, (answered, throttled));
                let refused = RefusedTimes {
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
            // The bucket answers nothing at all: that is not this object's fault.
            return None;
        }
        (refused.answered, refused.times) = (answered, refused.times + 1);
        let answered = answered - refused.before.0;
        let others = self.throttled.saturating_sub(refused.before.1 + refused.own);
        if others.saturating_mul(FEW) > answered {
            // The others fare no better. The count starts again.
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

    /// Whether the bucket has answered nothing at all since this object was last refused: only a
    /// neutral call can tell whether that is the bucket's trouble.
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
