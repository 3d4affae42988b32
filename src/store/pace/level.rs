//! How many concurrent requests a store sustains, learned from its answers: additive increase,
//! multiplicative decrease, as TCP does (RFC 5681).
//!
//! Times are durations since any fixed moment.
//!
//! Pure: answers and the time of each are arguments; whoever asks has the clock.

use std::time::Duration;

/// The result of one request, as far as it says something about the store's load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LoadSign {
    /// It was answered. The time to the answer's first byte, if that time includes no transfer of
    /// ours.
    Answered(Option<Duration>),
    /// The store throttles: 503 SlowDown, 429.
    Throttled,
    /// No usable answer: a timeout, a cut connection, a 5xx.
    Unanswered,
}

/// What the end of a request says about the time in which it ran.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// When the request began.
    pub began: Duration,
    /// When it ended.
    pub ended: Duration,
    /// As many requests were in flight as are allowed. Otherwise a success proves nothing about a
    /// higher level, and the level stays (RFC 7661 has the same rule for TCP).
    pub full: bool,
}

/// Minimum time between two decreases, unless a round trip is longer: requests already in flight
/// still reflect the old level. A near store answers in milliseconds, and several refusals at one
/// moment count as one. With a longer gap the store would be overloaded for seconds.
const LEAST_GAP: Duration = Duration::from_millis(200);
/// After a refusal the level is not raised for this long: the limits of Amazon S3 are per second.
const REST: Duration = Duration::from_secs(1);
const THROTTLED: f64 = 0.5;
const UNANSWERED: f64 = 0.8;
const SLOW: f64 = 0.95;
/// Weight of the newest request in the share of those that failed.
const FAILING_WEIGHT: f64 = 0.1;
/// Above this share of failures the level falls: three in a row reach it, or every fourth. The
/// occasional reset of a bad network is no reason to slow down: fewer requests would meet as many.
const FAILING: f64 = 0.25;
/// Weight of the newest request in the smoothed latency (RFC 6298 has the same for TCP).
const LATENCY_WEIGHT: f64 = 0.125;
/// How fast the lowest latency is forgotten: a network path that has become longer is recognised
/// after about this many requests.
const FORGETTING: f64 = 1.0 / 1024.0;
/// A latency is slow from this multiple of the lowest latency on ...
const SLOW_TIMES: f64 = 4.0;
/// ... and from this many seconds on.
const SLOW_SECONDS: f64 = 0.5;
/// Latency is a hint, not a refusal: it alone does not lower the level below this.
const LEAST_WHEN_SLOW: f64 = 8.0;

/// The number of requests that may be in flight to one bucket on one side.
#[derive(Clone, Debug)]
pub struct Pace {
    level: f64,
    ceiling: f64,
    /// Below this, every success adds one, so the level doubles in a round trip; above it, adding
    /// one takes as many successes as the level.
    known: f64,
    lowered: Option<Duration>,
    /// The last refusal: the level is not raised soon after it.
    refused: Option<Duration>,
    /// Something has been answered since the level was last lowered.
    answered: bool,
    failing: f64,
    /// Seconds: the smoothed latency, and its lowest value.
    latency: Option<(f64, f64)>,
}

impl Pace {
    /// Begins at `start` and never exceeds `ceiling`; both are at least 1.
    pub fn new(start: usize, ceiling: usize) -> Self {
        let ceiling = ceiling.max(1) as f64;
        let level = (start.max(1) as f64).min(ceiling);
        Self {
            level,
            ceiling,
            known: ceiling,
            lowered: None,
            refused: None,
            answered: true,
            failing: 0.0,
            latency: None,
        }
    }

    /// How many requests may be in flight now, at least 1.
    pub fn limit(&self) -> usize {
        self.level as usize
    }

    /// Takes in how a request ended.
    pub fn observe(&mut self, outcome: LoadSign, ending: Ending) {
        match outcome {
            LoadSign::Throttled => self.throttled(ending),
            LoadSign::Unanswered => self.unanswered(ending),
            LoadSign::Answered(first_byte) => self.answered(first_byte, ending),
        }
    }

    fn throttled(&mut self, ending: Ending) {
        self.refused = Some(ending.ended);
        if self.may_lower(ending) {
            self.lower(THROTTLED, 1.0, ending.ended);
            self.known = self.level;
        }
    }

    fn unanswered(&mut self, ending: Ending) {
        self.failing += (1.0 - self.failing) * FAILING_WEIGHT;
        if self.failing > FAILING && self.may_lower(ending) {
            // An outage says nothing about what the store sustains once it is back: the level
            // before the outage is reached again quickly.
            if self.answered {
                self.known = self.level;
            }
            self.lower(UNANSWERED, 1.0, ending.ended);
        }
    }

    fn answered(&mut self, first_byte: Option<Duration>, ending: Ending) {
        self.answered = true;
        self.failing -= self.failing * FAILING_WEIGHT;
        if let Some(first_byte) = first_byte {
            self.measure(first_byte.as_secs_f64());
        }
        if self.is_slow() {
            if self.may_lower(ending) {
                self.known = self.known.min(self.level);
                self.lower(SLOW, LEAST_WHEN_SLOW, ending.ended);
            }
        } else if ending.full && self.failing <= FAILING && !self.is_refused(ending.ended) {
            let step = if self.level < self.known { 1.0 } else { 1.0 / self.level };
            self.level = (self.level + step).min(self.ceiling);
        }
    }

    fn measure(&mut self, seconds: f64) {
        let (smoothed, lowest) = self.latency.unwrap_or((seconds, seconds));
        let smoothed = smoothed + (seconds - smoothed) * LATENCY_WEIGHT;
        let lowest = smoothed.min(lowest + (smoothed - lowest) * FORGETTING);
        self.latency = Some((smoothed, lowest));
    }

    fn is_slow(&self) -> bool {
        self.latency.is_some_and(|(smoothed, lowest)| {
            smoothed > SLOW_SECONDS && smoothed > SLOW_TIMES * lowest
        })
    }

    /// At most once per round trip, and only for a request that began at the present level.
    fn may_lower(&self, ending: Ending) -> bool {
        let gap = LEAST_GAP.max(self.round_trip());
        self.lowered.is_none_or(|lowered| {
            ending.began >= lowered && ending.ended >= lowered.saturating_add(gap)
        })
    }

    fn is_refused(&self, now: Duration) -> bool {
        let rest = REST.max(self.round_trip());
        self.refused.is_some_and(|refused| now < refused.saturating_add(rest))
    }

    fn round_trip(&self) -> Duration {
        Duration::from_secs_f64(self.latency.map_or(0.0, |(smoothed, _)| smoothed))
    }

    fn lower(&mut self, factor: f64, least: f64, now: Duration) {
        self.level = (self.level * factor).max(least.min(self.level));
        self.lowered = Some(now);
        self.answered = false;
    }
}

/// Limits of concurrent work: what `MaxParallelFile` and `MaxThread` say, or what is chosen for
/// `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtOnce {
    /// Objects.
    pub objects: usize,
    /// Parts of one object.
    pub parts: usize,
    /// Requests with object data to one bucket on one side.
    pub requests: usize,
    /// Initial limit of requests; the store's answers soon say more.
    pub first: usize,
}

/// Concurrent requests with `auto`: more than one process's CPU and network can use.
const AUTO_REQUESTS: usize = 256;
/// Concurrent objects with `auto`, for each core: small objects wait for answers most of their
/// time.
const OBJECTS_PER_CORE: usize = 16;
/// Concurrent objects with `auto`: minimum and maximum.
const AUTO_OBJECTS: (usize, usize) = (16, 64);
/// Concurrent parts of one object with `auto`, minimum and maximum: enough for a single object to
/// fill a link of 64 times 20 Mbit/s.
const AUTO_PARTS: (usize, usize) = (4, 64);
/// Minimum for the initial limit of requests: the product of the defaults of `MaxParallelFile` and
/// `MaxThread`, as in the original. Starting with fewer costs a slow network its first seconds, one
/// part after another.
const FIRST: usize = 100;

impl AtOnce {
    /// For a machine with this many cores and room for this many parts in its memory budget; `None`
    /// is `auto`. If many objects are copied in parts at once, the parts that do not fit the budget
    /// wait; so one object alone may use all of it.
    pub fn new(
        objects: Option<usize>,
        parts: Option<usize>,
        cores: usize,
        parts_in_memory: usize,
    ) -> Self {
        let requests = match (objects, parts) {
            (Some(objects), Some(parts)) => objects.saturating_mul(parts),
            _ => AUTO_REQUESTS,
        };
        let by_cores = cores.saturating_mul(OBJECTS_PER_CORE);
        let objects = objects.unwrap_or(by_cores.clamp(AUTO_OBJECTS.0, AUTO_OBJECTS.1));
        let parts = parts.unwrap_or(parts_in_memory.clamp(AUTO_PARTS.0, AUTO_PARTS.1));
        Self { objects, parts, requests, first: by_cores.max(FIRST).min(requests) }
    }
}

#[cfg(test)]
mod tests {
    use super::LoadSign::{Answered, Throttled, Unanswered};
    use super::*;

    const FAST: LoadSign = Answered(Some(Duration::from_millis(50)));
    const LATE: LoadSign = Answered(Some(Duration::from_secs(2)));

    /// Requests of 10 ms one after another from `at` on, all with this outcome.
    fn row(pace: &mut Pace, at: &mut u64, count: usize, outcome: LoadSign) {
        for _ in 0..count {
            ended(pace, *at, *at + 10, outcome);
            *at += 10;
        }
    }

    fn ended(pace: &mut Pace, began: u64, ended: u64, outcome: LoadSign) {
        let (began, ended) = (Duration::from_millis(began), Duration::from_millis(ended));
        pace.observe(outcome, Ending { began, ended, full: true });
    }

    #[test]
    fn until_the_first_trouble_the_level_doubles_in_a_round_trip_up_to_its_ceiling() {
        let (mut pace, mut at) = (Pace::new(8, 100), 0);
        for level in [16, 32, 64, 100, 100] {
            let round = pace.limit();
            row(&mut pace, &mut at, round, FAST);
            assert_eq!(pace.limit(), level);
        }
    }

    /// Promise 9.
    #[test]
    fn throttling_halves_the_level_once_for_all_that_was_under_way() {
        let mut pace = Pace::new(64, 100);
        for (began, end, level) in [
            (0, 10, 32),
            // In flight when the level was lowered, whenever it ends.
            (5, 20, 32),
            (9, 5_000, 32),
            // Started afterwards, but too soon.
            (20, 200, 32),
            (190, 220, 16),
            (400, 430, 8),
            (640, 650, 4),
            (840, 860, 2),
            (1_000, 1_100, 1),
            (9_000, 9_100, 1),
        ] {
            ended(&mut pace, began, end, Throttled);
            assert_eq!(pace.limit(), level, "{began} {end}");
        }
    }

    /// Promise 9.
    #[test]
    fn after_throttling_as_many_successes_as_the_level_says_add_one() {
        let (mut pace, mut at) = (Pace::new(20, 100), 0);
        row(&mut pace, &mut at, 1, Throttled);
        assert_eq!(pace.limit(), 10);
        row(&mut pace, &mut at, 99, FAST);
        assert_eq!(pace.limit(), 10, "not within a second after a refusal");
        row(&mut pace, &mut at, 9, FAST);
        assert_eq!(pace.limit(), 10);
        row(&mut pace, &mut at, 2, FAST);
        assert_eq!(pace.limit(), 11);
        row(&mut pace, &mut at, 6_000, FAST);
        assert_eq!(pace.limit(), 100, "it comes back");
    }

    #[test]
    fn a_level_that_is_not_used_up_does_not_rise() {
        let mut pace = Pace::new(8, 100);
        let at = Duration::from_secs(1);
        for _ in 0..100 {
            pace.observe(FAST, Ending { began: at, ended: at, full: false });
        }
        assert_eq!(pace.limit(), 8);
    }

    /// Promise 9.
    #[test]
    fn single_failures_do_not_matter_and_a_row_of_them_does() {
        let (mut pace, mut at) = (Pace::new(100, 100), 0);
        for _ in 0..500 {
            row(&mut pace, &mut at, 10, FAST);
            row(&mut pace, &mut at, 1, Unanswered);
        }
        assert_eq!(pace.limit(), 100, "one in eleven is a bad line");
        row(&mut pace, &mut at, 3, Unanswered);
        assert_eq!(pace.limit(), 80);
    }

    /// Promise 9.
    #[test]
    fn after_an_outage_the_level_is_soon_what_it_was() {
        let (mut pace, mut at) = (Pace::new(100, 100), 0);
        row(&mut pace, &mut at, 6_000, Unanswered);
        assert_eq!(pace.limit(), 1);
        row(&mut pace, &mut at, 130, FAST);
        assert_eq!(pace.limit(), 100);
    }

    /// Promise 9.
    #[test]
    fn rising_latency_lowers_the_level_a_little_and_not_below_eight() {
        let (mut pace, mut at) = (Pace::new(20, 20), 0);
        row(&mut pace, &mut at, 50, FAST);
        row(&mut pace, &mut at, 5, LATE);
        assert_eq!(pace.limit(), 19);
        // Each answer after two seconds: the lowest latency is still remembered.
        for n in 0..200 {
            ended(&mut pace, at + n * 3_000, at + n * 3_000 + 2_000, LATE);
        }
        assert_eq!(pace.limit(), 8);
        at += 600_000;
        row(&mut pace, &mut at, 1_000, FAST);
        assert_eq!(pace.limit(), 20);
    }

    #[test]
    fn a_line_that_is_long_from_the_start_is_not_slow() {
        let (mut pace, mut at) = (Pace::new(8, 50), 0);
        row(&mut pace, &mut at, 100, LATE);
        assert_eq!(pace.limit(), 50);
    }

    #[test]
    fn ceilings_are_kept_and_auto_follows_cores_and_memory() {
        let of = |objects, parts, cores, room| {
            let AtOnce { objects, parts, requests, first } =
                AtOnce::new(objects, parts, cores, room);
            (objects, parts, requests, first)
        };
        for (given, chosen) in [
            ((Some(5), Some(20), 2, 100), (5, 20, 100, 100)),
            ((Some(50), Some(20), 16, 100), (50, 20, 1000, 256)),
            ((Some(1), Some(1), 2, 100), (1, 1, 1, 1)),
            ((None, None, 2, 400), (32, 64, 256, 100)),
            ((None, None, 1, 2), (16, 4, 256, 100)),
            ((None, None, 96, 10), (64, 10, 256, 256)),
            ((None, Some(2), 2, 400), (32, 2, 256, 100)),
        ] {
            assert_eq!(of(given.0, given.1, given.2, given.3), chosen, "{given:?}");
        }
    }
}
