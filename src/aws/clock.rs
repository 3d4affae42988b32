//! How far this machine's clock is from a service's, by what the service's answers say.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::date_time::{DateTime, Format};

/// Looks at the `Date` of each answer, refusals included.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<Mutex<Option<i64>>>);

impl Clock {
    /// By how many seconds the service's clock is ahead of this machine's, as the latest answer with a
    /// `Date` says; negative where it is behind. The header knows whole seconds, and the answer's way
    /// counts too.
    pub fn skew(&self) -> Option<i64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn saw(&self, date: &str, now: SystemTime) {
        let Ok(date) = DateTime::from_str(date, Format::HttpDate) else { return };
        let skew = date.secs() - DateTime::from(now).secs();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(skew);
    }
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
}
