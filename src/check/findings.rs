//! What the findings of `check` mean: which are faults, which deserve a warning, and how the check
//! ends.
//!
//! Pure: the findings are arguments, so every verdict is a row of a table.

use std::time::Duration;

use serde::Serialize;

/// The verdict on one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckVerdict {
    /// As it should be.
    Ok,
    /// It works, or could not be looked at; somebody should read the line.
    Warning,
    /// A migration would fail there.
    Failed,
}

impl CheckVerdict {
    /// `ok`, `warning` or `failed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// A verdict with what to say about it.
pub type Judged = (CheckVerdict, String);

/// Whether a look reached a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// It answered, even if it refused.
    Yes,
    /// It did not answer, or could not be asked: no answer, no credentials, or wrong ones.
    No,
    /// No service was asked.
    NotAsked,
}

/// How a check ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckEnd {
    /// Nothing failed.
    Well,
    /// Something failed.
    Failed,
    /// Something failed, and no service was reached at all.
    Unreached,
}

/// The end of a check with these looks.
pub fn end(looks: impl IntoIterator<Item = (CheckVerdict, Reached)>) -> CheckEnd {
    let (mut failed, mut reached, mut unreached) = (false, false, false);
    for (verdict, how) in looks {
        failed |= verdict == CheckVerdict::Failed;
        reached |= how == Reached::Yes;
        unreached |= how == Reached::No;
    }
    match (failed, reached, unreached) {
        (false, ..) => CheckEnd::Well,
        (true, false, true) => CheckEnd::Unreached,
        (true, ..) => CheckEnd::Failed,
    }
}

/// A request whose time differs by more than this is refused
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html>).
const LARGEST_SKEW: u64 = 15 * 60;
/// A clock kept by NTP is far closer than this; one that is not keeps drifting.
const NOTABLE_SKEW: u64 = 60;

/// What the difference between a service's clock and this machine's means. `ahead`: seconds,
/// positive if the service is ahead.
pub fn clock(ahead: i64) -> Judged {
    let seconds = ahead.unsigned_abs();
    let side = if ahead > 0 { "behind" } else { "ahead of" };
    let off = format!("this machine is {seconds} s {side} the services");
    if seconds <= NOTABLE_SKEW {
        return (CheckVerdict::Ok, format!("within {} s of the services", seconds.max(1)));
    }
    if seconds <= LARGEST_SKEW {
        return (
            CheckVerdict::Warning,
            format!("{off}: set the clock, for example with chrony or NTP"),
        );
    }
    let refused = "beyond 15 minutes requests are refused; set the clock, for example with chrony";
    (CheckVerdict::Failed, format!("{off}: {refused}"))
}

/// A message counts as received even if its worker is lost or its machine terminated. With a lower
/// limit than this, a few such losses turn a healthy job into a dead letter.
const FEWEST_RECEIVES: u32 = 5;
/// The default of Amazon SQS
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-queue-parameters.html>).
const SHORTEST_RETENTION: Duration = Duration::from_secs(4 * 24 * 3600);

/// What the redrive policy's limit means.
pub fn redrive(max_receives: Option<u32>) -> Judged {
    match max_receives {
        None => (
            CheckVerdict::Warning,
            "there is none: a job that fails for good stays in the queue and is tried again and \
             again; give the queue a redrive policy"
                .to_owned(),
        ),
        Some(limit) if limit < FEWEST_RECEIVES => (
            CheckVerdict::Warning,
            format!(
                "after {limit} receipts, which a few lost workers use up: raise maxReceiveCount \
                 in the redrive policy, for example to 60"
            ),
        ),
        Some(limit) => (CheckVerdict::Ok, format!("after {limit} receipts")),
    }
}

/// What the queue's retention period means.
pub fn retention(kept: Duration) -> Judged {
    let hours = kept.as_secs() / 3600;
    let kept_for = match hours {
        48.. => format!("messages are kept for {} days", hours / 24),
        _ => format!("messages are kept for {hours} h"),
    };
    match kept < SHORTEST_RETENTION {
        true => (
            CheckVerdict::Warning,
            format!(
                "{kept_for}: jobs that wait longer are lost until the next comparison; raise \
                 MessageRetentionPeriod, for example to 14 days"
            ),
        ),
        false => (CheckVerdict::Ok, kept_for),
    }
}

/// The size of a message that holds many small jobs with long names.
const ROOM_FOR_PACKS: u64 = 256 * 1024;

/// What the queue's limit for a message's size means.
pub fn message_size(bytes: u64) -> Judged {
    let taken = format!("up to {} KiB", bytes / 1024);
    match bytes < ROOM_FOR_PACKS {
        true => (
            CheckVerdict::Warning,
            format!(
                "{taken}: a message with many small objects may be refused; raise \
                 MaximumMessageSize to 256 KiB or more, or lower PackObjects"
            ),
        ),
        false => (CheckVerdict::Ok, taken),
    }
}

/// The worst verdict of these, and all of their texts.
pub fn together(judged: impl IntoIterator<Item = Judged>) -> Judged {
    let (mut worst, mut said) = (CheckVerdict::Ok, Vec::new());
    for (verdict, text) in judged {
        if verdict as u8 > worst as u8 {
            worst = verdict;
        }
        said.push(text);
    }
    (worst, said.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600;

    /// Promise 10.
    #[test]
    fn a_clock_is_told_after_a_minute_and_fails_after_fifteen() {
        for (ahead, expected) in [
            (0, CheckVerdict::Ok),
            (60, CheckVerdict::Ok),
            (-60, CheckVerdict::Ok),
            (61, CheckVerdict::Warning),
            (-900, CheckVerdict::Warning),
            (901, CheckVerdict::Failed),
            (-901, CheckVerdict::Failed),
            (i64::MIN, CheckVerdict::Failed),
        ] {
            assert_eq!(clock(ahead).0, expected, "{ahead}");
        }
        assert!(clock(120).1.contains("120 s behind"), "{}", clock(120).1);
        assert!(clock(-120).1.contains("120 s ahead of"), "{}", clock(-120).1);
    }

    /// Promise 10.
    #[test]
    fn a_queue_that_would_lose_or_keep_jobs_is_warned_of() {
        let verdicts = [None, Some(4), Some(5), Some(60)].map(|limit| redrive(limit).0);
        use CheckVerdict::{Ok, Warning};
        assert_eq!(verdicts, [Warning, Warning, Ok, Ok]);
        let kept = |days| retention(Duration::from_secs(days * DAY)).0;
        assert_eq!([1, 3, 4, 14].map(kept), [Warning, Warning, Ok, Ok]);
        assert_eq!([64, 256, 1024].map(|kib| message_size(kib * 1024).0), [Warning, Ok, Ok]);
        let all = together([retention(Duration::from_secs(14 * DAY)), message_size(1024)]);
        assert_eq!(all.0, Warning);
        assert!(all.1.starts_with("messages are kept for 14 days; up to 1 KiB"), "{}", all.1);
    }

    /// Promise 10.
    #[test]
    fn nothing_reached_is_another_end_than_something_failed() {
        use CheckVerdict::{Failed, Ok, Warning};
        for (looks, expected) in [
            (vec![(Ok, Reached::NotAsked), (Warning, Reached::No)], CheckEnd::Well),
            (vec![(Failed, Reached::No), (Ok, Reached::NotAsked)], CheckEnd::Unreached),
            (vec![(Failed, Reached::No), (Ok, Reached::Yes)], CheckEnd::Failed),
            (vec![(Failed, Reached::Yes)], CheckEnd::Failed),
            (vec![(Failed, Reached::NotAsked)], CheckEnd::Failed),
        ] {
            assert_eq!(end(looks.clone()), expected, "{looks:?}");
        }
    }
}
