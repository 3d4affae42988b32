//! The status of a service for `systemctl status`. Each text is one line.

use crate::format::human;
use crate::monitor::{Counts, LoopTurn};

/// Status of a worker; `rate`: bytes a second that the destination has accepted.
pub(super) fn working(in_work: usize, turn: LoopTurn, counts: Counts, rate: u64) -> String {
    let (tally, rate) = (tally(counts), human::bytes(rate));
    match (in_work, turn) {
        (0, LoopTurn::Outage) => format!("idle, the queue does not answer; {tally}"),
        (0, LoopTurn::Rests) => {
            format!("paused, a bucket accepts no objects now (see the log); {tally}")
        }
        (0, _) => format!("idle, the queue is empty; {tally}"),
        (_, LoopTurn::Outage) => {
            format!(
                "{}, {tally}, {rate}/s; the queue does not answer",
                messages(in_work, "in work")
            )
        }
        _ => format!("{}, {tally}, {rate}/s", messages(in_work, "in work")),
    }
}

/// Status of a worker that takes no more messages.
pub(super) fn draining(cause: Option<&str>, in_work: usize) -> String {
    let cause = cause.map(|cause| format!("{}, ", one_line(cause))).unwrap_or_default();
    format!("draining: {cause}{}", messages(in_work, "left"))
}

/// Status of a worker that has ended.
pub(super) fn worked(counts: Counts) -> String {
    format!("ended; {}", tally(counts))
}

/// Status of a jobsender; `listed`: the source's objects so far, `None` between two comparisons.
pub(super) fn comparing(listed: Option<u64>) -> String {
    match listed {
        Some(listed) => format!("comparing, {} listed so far", objects(listed)),
        None => "waiting for the next comparison".to_owned(),
    }
}

/// Status of a jobsender that is stopping.
pub(super) fn stopping(cause: Option<&str>) -> String {
    cause.map_or_else(|| "stopping".to_owned(), |cause| format!("stopping: {}", one_line(cause)))
}

fn tally(counts: Counts) -> String {
    let Counts { done, deleted, failed, .. } = counts;
    let deleted = match deleted {
        0 => String::new(),
        deleted => format!(", {} deleted", human::count(deleted)),
    };
    format!("{} done{deleted}, {} failed", objects(done), human::count(failed))
}

fn objects(number: u64) -> String {
    format!("{} object{}", human::count(number), if number == 1 { "" } else { "s" })
}

fn messages(number: usize, what: &str) -> String {
    match number {
        0 => format!("no messages {what}"),
        1 => format!("1 message {what}"),
        _ => format!("{} messages {what}", human::count(number as u64)),
    }
}

/// The protocol ends a value at the end of its line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Proofs;

    const COUNTS: Counts = Counts {
        done: 1204,
        done_bytes: 0,
        proofs: Proofs { source: 0, transit: 0, none: 0 },
        deleted: 0,
        failed: 0,
        returned: 0,
        downloaded: 0,
        uploaded: 0,
    };

    #[test]
    fn the_work_in_words() {
        let rate = 85 * 1024 * 1024;
        assert_eq!(
            working(3, LoopTurn::Full, COUNTS, rate),
            "3 messages in work, 1,204 objects done, 0 failed, 85.0 MiB/s"
        );
        assert_eq!(
            working(0, LoopTurn::Asks, COUNTS, 0),
            "idle, the queue is empty; 1,204 objects done, 0 failed"
        );
        let one = Counts { done: 1, deleted: 2000, failed: 3, ..COUNTS };
        assert_eq!(
            working(1, LoopTurn::Outage, one, 0),
            "1 message in work, 1 object done, 2,000 deleted, 3 failed, 0 B/s; \
             the queue does not answer"
        );
        assert_eq!(
            working(0, LoopTurn::Outage, COUNTS, 0),
            "idle, the queue does not answer; 1,204 objects done, 0 failed"
        );
        assert_eq!(
            working(0, LoopTurn::Rests, COUNTS, 0),
            "paused, a bucket accepts no objects now (see the log); 1,204 objects done, 0 failed"
        );
        assert_eq!(worked(COUNTS), "ended; 1,204 objects done, 0 failed");
    }

    #[test]
    fn the_end_in_words() {
        assert_eq!(draining(Some("SIGTERM"), 2), "draining: SIGTERM, 2 messages left");
        assert_eq!(draining(None, 0), "draining: no messages left");
        // No text breaks out of its line.
        assert_eq!(stopping(Some("a\nREADY=1")), "stopping: a READY=1");
    }

    #[test]
    fn a_comparison_in_words() {
        assert_eq!(comparing(Some(1_204_000)), "comparing, 1,204,000 objects listed so far");
        assert_eq!(comparing(None), "waiting for the next comparison");
    }
}
