//! Decides from the instance metadata whether an instance is about to go and how much time is left,
//! and whether it needs scale-in protection.
//!
//! Pure: what the metadata service answered, and when, is an argument.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A Spot instance gets this much notice
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html>).
const SPOT_NOTICE: Duration = Duration::from_secs(120);
/// The part of the remaining time that is reserved for releasing unfinished work.
const MARGIN: Duration = Duration::from_secs(20);
/// The group may terminate a worker that has been idle for this long: jobs in quick succession do
/// not cost two calls each.
const REST: Duration = Duration::from_secs(15);

/// The answers of the metadata service; `None`: no such value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataReading {
    /// `spot/instance-action`.
    pub spot: Option<String>,
    /// `events/recommendations/rebalance`.
    pub rebalance: Option<String>,
    /// `autoscaling/target-lifecycle-state`.
    pub lifecycle: Option<String>,
}

/// Why an instance is about to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// EC2 reclaims a Spot instance.
    Spot,
    /// EC2 expects to reclaim it soon.
    Rebalance,
    /// The autoscaling group terminates the instance.
    Group,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spot => "Spot interruption",
            Self::Rebalance => "rebalance recommendation",
            Self::Group => "termination by the autoscaling group",
        })
    }
}

/// A notice that the instance is about to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Why.
    pub cause: Cause,
    /// The time left; `None`: unknown.
    pub left: Option<Duration>,
}

impl Notice {
    /// How long running parts may take to finish: `grace`, or less if the instance has less time
    /// left.
    pub fn grace(self, grace: Duration) -> Duration {
        self.left.map_or(grace, |left| grace.min(left.saturating_sub(MARGIN)))
    }
}

#[derive(Deserialize)]
struct SpotAction {
    time: String,
}

/// The notice in a reading at `now`; the most urgent cause counts.
pub fn notice(reading: &MetadataReading, now: SystemTime) -> Option<Notice> {
    if let Some(action) = &reading.spot {
        // Its existence is the notice, whatever its content.
        let left = time_left(action, now).unwrap_or(SPOT_NOTICE).min(SPOT_NOTICE);
        return Some(Notice { cause: Cause::Spot, left: Some(left) });
    }
    if is_ended(reading) {
        return Some(Notice { cause: Cause::Group, left: None });
    }
    reading.rebalance.as_ref().map(|_| Notice { cause: Cause::Rebalance, left: None })
}

/// Whether the group terminates the instance: its hook may be waiting
/// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/retrieving-target-lifecycle-state-through-imds.html>).
pub fn is_ended(reading: &MetadataReading) -> bool {
    reading.lifecycle.as_deref().map(str::trim) == Some("Terminated")
}

fn time_left(action: &str, now: SystemTime) -> Option<Duration> {
    let action: SpotAction = serde_json::from_str(action).ok()?;
    let time = OffsetDateTime::parse(&action.time, &Rfc3339).ok()?;
    Some(SystemTime::from(time).duration_since(now).unwrap_or_default())
}

/// The protection to set for an instance that is in work or has been idle for `idle`; `None`: no
/// change. `told`: the protection last set.
pub fn protection(told: Option<bool>, in_work: bool, idle: Duration) -> Option<bool> {
    match (told, in_work) {
        (Some(true), true) | (Some(false), false) => None,
        (_, true) => Some(true),
        (Some(true), false) => (idle >= REST).then_some(false),
        // The setting left by an earlier process is unknown.
        (None, false) => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn spot(text: &str) -> Option<Notice> {
        notice(&MetadataReading { spot: Some(text.to_owned()), ..MetadataReading::default() }, NOW)
    }

    #[test]
    fn nothing_said_is_no_notice() {
        assert_eq!(notice(&MetadataReading::default(), NOW), None);
        for state in ["InService", "Standby", "Warmed:Stopped", "Detached"] {
            let reading =
                MetadataReading { lifecycle: Some(state.to_owned()), ..MetadataReading::default() };
            assert_eq!(notice(&reading, NOW), None, "{state}");
        }
    }

    /// Promise 7.
    #[test]
    fn a_spot_interruption_says_what_time_is_left() {
        let at = |time: &str| spot(&format!(r#"{{"action":"terminate","time":"{time}"}}"#));
        let left = |n| Some(Notice { cause: Cause::Spot, left: Some(seconds(n)) });
        assert_eq!(at("1970-01-01T00:01:30Z"), left(90));
        // The clocks of EC2 and the instance need not agree.
        assert_eq!(at("1970-01-01T09:00:00Z"), left(120));
        assert_eq!(at("1969-12-31T00:00:00Z"), left(0));
        assert_eq!(at("soon"), left(120));
        assert_eq!(spot("no JSON"), left(120));
    }

    /// Promise 7.
    #[test]
    fn the_grace_time_ends_before_the_instance() {
        let notice = |left| Notice { cause: Cause::Spot, left };
        assert_eq!(notice(Some(seconds(120))).grace(seconds(30)), seconds(30));
        assert_eq!(notice(Some(seconds(120))).grace(seconds(300)), seconds(100));
        assert_eq!(notice(Some(seconds(10))).grace(seconds(30)), seconds(0));
        assert_eq!(notice(None).grace(seconds(300)), seconds(300));
    }

    #[test]
    fn the_most_urgent_cause_counts() {
        let mut reading = MetadataReading {
            spot: Some("{}".to_owned()),
            rebalance: Some("{}".to_owned()),
            lifecycle: Some("Terminated".to_owned()),
        };
        let cause = |reading: &MetadataReading| notice(reading, NOW).map(|notice| notice.cause);
        assert_eq!(cause(&reading), Some(Cause::Spot));
        reading.spot = None;
        assert_eq!(cause(&reading), Some(Cause::Group));
        reading.lifecycle = Some("InService".to_owned());
        assert_eq!(cause(&reading), Some(Cause::Rebalance));
    }

    /// Promise 7.
    #[test]
    fn a_group_is_told_when_work_begins_and_a_while_after_it_ended() {
        for (told, in_work, idle, expected) in [
            (None, false, 0, Some(false)),
            (None, true, 0, Some(true)),
            (Some(false), true, 0, Some(true)),
            (Some(true), true, 0, None),
            (Some(true), false, 14, None),
            (Some(true), false, 15, Some(false)),
            (Some(false), false, 600, None),
        ] {
            let said = protection(told, in_work, seconds(idle));
            assert_eq!(said, expected, "{told:?} {in_work} {idle}");
        }
    }
}
