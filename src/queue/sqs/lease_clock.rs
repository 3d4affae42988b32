//! How long a message may be hidden: whole seconds, and 12 hours in all.

use std::time::{Duration, Instant};

use crate::queue::Receipt;

/// SQS hides a message for at most 12 hours from its receipt, however often it is extended
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html>).
const LONGEST_LEASE: Duration = Duration::from_secs(43_200);

/// Puts the time of receipt into each [`Receipt`], so that an extension can stay within
/// [`LONGEST_LEASE`] without a table of all messages in flight. Receipts never leave the process,
/// so a clock that starts with the process is enough.
#[derive(Debug)]
pub(super) struct LeaseClock {
    epoch: Instant,
}

impl LeaseClock {
    /// A clock that counts from `epoch`; no receipt may be older.
    pub(super) fn since(epoch: Instant) -> Self {
        Self { epoch }
    }

    /// The receipt for a message that was requested at `asked`.
    pub(super) fn receipt(&self, handle: &str, asked: Instant) -> Receipt {
        let since = asked.saturating_duration_since(self.epoch).as_millis();
        Receipt(format!("{since} {handle}"))
    }

    /// The handle as SQS gave it.
    pub(super) fn handle(receipt: &Receipt) -> &str {
        receipt.0.split_once(' ').map_or(receipt.0.as_str(), |(_, handle)| handle)
    }

    /// For how many seconds from `now` the message can be hidden if `by` is requested; `None` if
    /// its 12 hours are used up.
    pub(super) fn extension(&self, receipt: &Receipt, now: Instant, by: Duration) -> Option<i32> {
        let since = receipt.0.split_once(' ').and_then(|(since, _)| since.parse().ok());
        let received = self.epoch + Duration::from_millis(since.unwrap_or(0));
        let held = now.saturating_duration_since(received);
        // Whole seconds, rounded down: the service refuses anything over the limit.
        let left = i32::try_from(LONGEST_LEASE.saturating_sub(held).as_secs()).ok()?;
        (left > 0).then(|| visibility_seconds(by).min(left))
    }
}

/// Whole seconds, rounded up.
pub(super) fn whole_seconds(duration: Duration) -> i32 {
    let up = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    i32::try_from(up).unwrap_or(i32::MAX)
}

/// A visibility timeout that SQS accepts: whole seconds, rounded up, 1 to 43,200.
pub(super) fn visibility_seconds(visibility: Duration) -> i32 {
    whole_seconds(visibility.min(LONGEST_LEASE)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visibility_is_in_whole_seconds_within_the_limits() {
        for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (43_200_001, 43_200)] {
            assert_eq!(visibility_seconds(Duration::from_millis(millis)), seconds);
        }
        assert_eq!(visibility_seconds(Duration::MAX), 43_200);
        assert_eq!(whole_seconds(Duration::MAX), i32::MAX);
        assert_eq!(whole_seconds(Duration::ZERO), 0);
    }

    #[test]
    fn extensions_end_twelve_hours_after_the_receipt() {
        let clock = LeaseClock::since(Instant::now());
        let start = clock.epoch + Duration::from_secs(7);
        let receipt = clock.receipt("handle with spaces", start);
        assert_eq!(LeaseClock::handle(&receipt), "handle with spaces");

        let after = |seconds| start + Duration::from_secs(seconds);
        let minute = Duration::from_secs(60);
        assert_eq!(clock.extension(&receipt, start, minute), Some(60));
        assert_eq!(clock.extension(&receipt, after(43_170), minute), Some(30));
        assert_eq!(clock.extension(&receipt, after(43_200), minute), None);
        assert_eq!(clock.extension(&receipt, after(50_000), minute), None);
    }
}
