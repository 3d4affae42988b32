//! When the work of one invocation ends.
//!
//! Pure: the time left is an argument.

use std::time::Duration;

/// To record outcomes and to give messages back takes a few calls; a service that is slow for once
/// may take seconds.
const LONGEST_RESERVE: Duration = Duration::from_secs(10);
/// Lambda ends the process at the deadline, whatever it does: the answer comes this much earlier.
const MARGIN: Duration = Duration::from_millis(500);

/// The moments of one invocation, counted from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    /// What runs then is cut.
    pub(super) cut: Duration,
    /// The answer is given then, even if messages are not settled.
    pub(super) answer: Duration,
}

impl Clock {
    /// The moments of an invocation that may take `left`.
    pub(super) fn of(left: Duration) -> Self {
        let answer = left.saturating_sub(MARGIN.min(left / 10));
        let reserve = LONGEST_RESERVE.min(left / 5);
        Self { cut: answer.saturating_sub(reserve), answer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Promise 7.
    #[test]
    fn what_is_cut_can_still_be_settled_before_the_deadline() {
        let clock = Clock::of(ms(900_000));
        assert_eq!(clock, Clock { cut: ms(889_500), answer: ms(899_500) });
        let short = Clock::of(ms(5000));
        assert_eq!(short, Clock { cut: ms(3500), answer: ms(4500) });
        let none = Clock::of(Duration::ZERO);
        assert_eq!(none, Clock { cut: ms(0), answer: ms(0) });
    }
}
