//! The runs of a folder in the words of `status`.

use std::time::{Duration, SystemTime};

use crate::format::escape::shown;
use crate::format::human;
use crate::progress::{Phase, Snapshot};
use crate::single_node::{PairCounts, RunEnd, RunState};

/// A run in words: a block for each pair with what the run is doing or how it ended, and how far the
/// pair has come. Rate and time left are those of the whole run, so several pairs share a last block.
pub(super) fn run_text(run: &RunState) -> String {
    let mut blocks: Vec<String> = match run.by_pair.is_empty() {
        true => vec![block(&heads(&run.pairs), run, &sum(run))],
        false => run.by_pair.iter().map(|pair| block(&head(pair), run, pair)).collect(),
    };
    let movement = movement(run);
    match &mut blocks[..] {
        _ if movement.is_empty() => {}
        [only] => only.push_str(&format!("\n{movement}")),
        [..] => blocks.push(format!("all {} pairs\n{movement}", run.by_pair.len())),
    }
    blocks.join("\n\n")
}

fn head(pair: &PairCounts) -> String {
    format!("{} -> {}", shown(&pair.source), shown(&pair.destination))
}

fn heads(pairs: &[[String; 2]]) -> String {
    let head = |[from, to]: &[String; 2]| format!("{} -> {}", shown(from), shown(to));
    pairs.iter().map(head).collect::<Vec<_>>().join("\n")
}

/// The counts of all pairs together, which is all that earlier versions wrote.
fn sum(run: &RunState) -> PairCounts {
    let Snapshot { listed, objects, bytes, done, moved, failed, .. } = run.progress;
    PairCounts {
        listed,
        to_copy: objects,
        to_copy_bytes: bytes,
        copied: done,
        copied_bytes: moved,
        failed,
        ..PairCounts::default()
    }
}

fn block(head: &str, run: &RunState, counts: &PairCounts) -> String {
    let is_listing = matches!(run.progress.phase, Phase::Comparing | Phase::Listing);
    let more = if is_listing { " so far" } else { "" };
    let counted = |objects, bytes| format!("{}, {}", human::objects(objects), human::bytes(bytes));
    let lines = [
        head.to_owned(),
        format!("  {}", stands(run)),
        line("listed", &(human::objects(counts.listed) + more)),
        line("to copy", &(counted(counts.to_copy, counts.to_copy_bytes) + more)),
        line("copied", &counted(counts.copied, counts.copied_bytes)),
        line("failed", &human::objects(counts.failed)),
    ];
    lines.join("\n")
}

fn line(what: &str, value: &str) -> String {
    format!("  {what:<8} {value}")
}

/// What the run is doing, or how it ended.
fn stands(run: &RunState) -> String {
    let time = |at: u64| {
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(at));
        at.map(|at| humantime::format_rfc3339_seconds(at).to_string()).unwrap_or_default()
    };
    let (began, updated) = (time(run.began), time(run.updated));
    match (run.is_running, run.end) {
        (true, _) => {
            format!("{}, since {began} (process {})", doing(run.progress.phase), run.process)
        }
        (false, Some(RunEnd::Complete)) => format!("complete at {updated}"),
        (false, Some(RunEnd::Incomplete)) => format!("ended at {updated}, not everything arrived"),
        (false, Some(RunEnd::Stopped)) => {
            format!("stopped at {updated}: run the same command again to continue")
        }
        (false, Some(RunEnd::Failed)) => format!("ended by an error at {updated}"),
        (false, None) => {
            format!("killed after {updated}: run the same command again to continue")
        }
    }
}

/// How fast a run goes on, and what is left of it; nothing if it does not run.
fn movement(run: &RunState) -> String {
    let progress = &run.progress;
    if !run.is_running {
        return String::new();
    }
    let mut lines = Vec::new();
    if progress.phase == Phase::Closing {
        lines.push(line("closing", &format!("{} looked at", human::objects(progress.looked))));
    }
    let (rate, objects) = (progress.bytes_per_second as u64, progress.objects_per_second);
    let rate = format!("{}/s, {objects:.1} objects/s over the last minute", human::bytes(rate));
    lines.extend([line("rate", &rate), line("left", &left(run))]);
    lines.join("\n")
}

fn doing(phase: Phase) -> &'static str {
    match phase {
        Phase::Comparing => "comparing and copying",
        Phase::Copying => "copying",
        Phase::Closing => "closing comparison",
        Phase::Listing => "comparing",
    }
}

/// What is left of a run.
fn left(run: &RunState) -> String {
    let progress = &run.progress;
    let rest = progress.objects.saturating_sub(progress.done + progress.failed);
    let objects = match progress.phase {
        Phase::Comparing | Phase::Listing => format!("{} or more", human::objects(rest)),
        Phase::Copying => human::objects(rest),
        Phase::Closing => {
            let looks = progress.listed.saturating_sub(progress.looked);
            format!("{} to look at", human::objects(looks))
        }
    };
    let time = match (&progress.waits_for, progress.seconds_left) {
        (Some(why), _) => why.clone(),
        (None, Some(left)) => format!("about {}", human::about(Duration::from_secs(left))),
        (None, None) => "time unknown".to_owned(),
    };
    format!("{objects}, {time}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(by_pair: Vec<PairCounts>) -> RunState {
        let address = |name: &str| format!("s3://{name}/");
        RunState {
            name: "a".to_owned(),
            pairs: vec![[address("a"), address("b")], [address("c"), address("d")]],
            by_pair,
            process: 7,
            began: 0,
            updated: 0,
            progress: Snapshot {
                phase: Phase::Copying,
                listed: 5,
                objects: 3,
                ..Snapshot::default()
            },
            end: Some(RunEnd::Complete),
            is_running: false,
        }
    }

    #[test]
    fn a_run_of_an_earlier_version_has_one_block_with_the_sum() {
        let text = serde_json::to_value(run(Vec::new())).unwrap();
        let mut text = text.as_object().unwrap().clone();
        text.remove("by_pair");
        let read: RunState = serde_json::from_value(text.into()).unwrap();
        let expected = "s3://a/ -> s3://b/\ns3://c/ -> s3://d/\n  complete at 1970-01-01T00:00:00Z\n  \
                        listed   5 objects\n  to copy  3 objects, 0 B\n";
        assert!(run_text(&read).starts_with(expected), "{}", run_text(&read));
    }

    #[test]
    fn several_pairs_share_what_is_left() {
        let pair = |source: &str, copied| PairCounts {
            source: format!("s3://{source}/"),
            copied,
            ..PairCounts::default()
        };
        let mut run = run(vec![pair("a", 1), pair("c", 2)]);
        assert!(!run_text(&run).contains("all 2 pairs"));
        run.is_running = true;
        let text = run_text(&run);
        assert!(text.contains("\n\nall 2 pairs\n  rate     "), "{text}");
        assert_eq!(text.matches("\n  left     ").count(), 1, "{text}");
        assert!(
            text.contains("copied   1 object,") && text.contains("copied   2 objects,"),
            "{text}"
        );
    }
}
