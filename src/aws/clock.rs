//! How far this machine's clock is from a service's, according to the service's answers.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::date_time::{DateTime, Format};
use tracing::warn;

use crate::mutex::lock;

/// A smaller difference is ignored: Amazon S3 accepts 15 minutes, and an answer takes time to
/// arrive.
const NOTABLE: i64 = 60;

/// For this long after a correction, requests that were signed before it may still fail.
const SETTLE: Duration = Duration::from_secs(60);

/// Turns off every correction, including the SDK's.
const DISABLED: &str = "AWS_DISABLE_CLOCK_SKEW_CORRECTION";

/// Looks at the `Date` of each answer, refusals included.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<Mutex<KnownSkew>>);

#[derive(Debug, Default)]
struct KnownSkew {
    /// The difference in the latest answer, in seconds.
    latest: Option<i64>,
    /// Added to this machine's time before a request is signed.
    correction: i64,
    corrected: Option<Instant>,
}

impl Clock {
    /// Seconds by which the service's clock is ahead of this machine's, by the latest answer with a
    /// `Date`; negative if it is slow. The header has whole seconds, and the answer's travel time
    /// is included.
    pub fn skew(&self) -> Option<i64> {
        self.known().latest
    }

    /// The time that requests are signed with: this machine's, until a service has refused it.
    pub fn now(&self) -> SystemTime {
        shifted(SystemTime::now(), self.known().correction)
    }

    /// Records that an answer with this `Date` refused a request for its time. Returns whether
    /// another try may succeed: from now on the service's time is used, as the SDK does for its own
    /// calls.
    pub fn refused(&self, date: Option<&str>) -> bool {
        let disabled = std::env::var(DISABLED).is_ok_and(|on| on.eq_ignore_ascii_case("true"));
        !disabled && self.correct(date, SystemTime::now())
    }

    fn correct(&self, date: Option<&str>, now: SystemTime) -> bool {
        let mut known = self.known();
        let difference = date.and_then(|date| difference(date, now));
        if let Some(seconds) = difference.filter(|s| (s - known.correction).abs() > NOTABLE) {
            let (hours, minutes) = (seconds.abs() / 3600, seconds.abs() / 60 % 60);
            let side = if seconds > 0 { "behind" } else { "ahead of" };
            warn!(
                "this machine's clock is {hours} h {minutes} min {side} the store's: requests are \
                 signed with the store's time; set the clock"
            );
            known.correction = seconds;
            known.corrected = Some(Instant::now());
        }
        known.corrected.is_some_and(|corrected| corrected.elapsed() < SETTLE)
    }

    fn saw(&self, date: &str, now: SystemTime) {
        if let Some(seconds) = difference(date, now) {
            self.known().latest = Some(seconds);
        }
    }

    fn known(&self) -> MutexGuard<'_, KnownSkew> {
        lock(&self.0)
    }
}

/// Whether an answer's `Date` differs from this machine's time.
pub(super) fn is_other(date: &str) -> bool {
    difference(date, SystemTime::now()).is_some_and(|seconds| seconds.abs() > NOTABLE)
}

fn difference(date: &str, now: SystemTime) -> Option<i64> {
    let date = DateTime::from_str(date, Format::HttpDate).ok()?;
    Some(date.secs() - DateTime::from(now).secs())
}

fn shifted(now: SystemTime, seconds: i64) -> SystemTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    let shifted = if seconds < 0 { now.checked_sub(by) } else { now.checked_add(by) };
    shifted.unwrap_or(now)
}

#[dyn_dispatch_hint]
impl Intercept for Clock {
    fn name(&self) -> &'static str {
        "Clock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date") {
            self.saw(date, SystemTime::now());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_difference_has_the_services_sign() {
        let clock = Clock::default();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (date, skew) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
            ("Sun, 06 Nov 1994 09:49:37 GMT", 3600),
            ("Sun, 06 Nov 1994 08:49:07 GMT", -30),
            ("yesterday", -30),
        ] {
            clock.saw(date, now);
            assert_eq!(clock.skew(), Some(skew), "{date}");
        }
        assert_eq!(Clock::default().skew(), None);
    }

    #[test]
    fn a_time_that_was_refused_is_corrected_once() {
        let clock = Clock::default();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        // The clock is not at fault, or the service's time is not known.
        assert!(!clock.correct(Some("Sun, 06 Nov 1994 08:49:30 GMT"), now));
        assert!(!clock.correct(None, now));
        assert_eq!(clock.known().correction, 0);
        assert!(clock.correct(Some("Mon, 07 Nov 1994 08:49:37 GMT"), now));
        assert_eq!(clock.known().correction, 86_400);
        // Signed before the correction.
        assert!(clock.correct(Some("Mon, 07 Nov 1994 08:49:38 GMT"), now));
        assert!(clock.now() > SystemTime::now() + Duration::from_secs(86_000));
        // Refused although the time is right: another try would not help.
        clock.known().corrected = Instant::now().checked_sub(SETTLE);
        assert!(!clock.correct(Some("Mon, 07 Nov 1994 08:49:38 GMT"), now));
        assert!(clock.correct(Some("Sun, 06 Nov 1994 06:49:37 GMT"), now));
        assert_eq!(clock.known().correction, -7200);
    }
}
