//! `status`: prints the numbers of the queue and the records.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::limit::Place;
use super::run_blocks::run_text;
use super::watch::{overviews, watch};
use super::{Exit, print, serving, stop_on_signal};
use crate::cli::StatusArgs;
use crate::config::{Config, QueueBackend, StateBackend};
use crate::error::Result;
use crate::format::human;
use crate::overview::Overview;
use crate::queue::{Depth, Queue};
use crate::record::{Proofs, RecordStore, RecordTally};
use crate::retry::{Policy, Retrying};
use crate::screens::Terminal;
use crate::shutdown::Halt;
use crate::single_node::{self, RunState};
use crate::wiring::known_stores::{self, KnownStore, StoreFact};
use crate::wiring::{self, comparisons};

/// Throughput is measured over what ended within this time.
const WINDOW: Duration = Duration::from_secs(300);
/// How often `--watch` updates.
const EVERY: Duration = Duration::from_secs(2);

/// Counting a large table takes time; a count that takes longer than this is stuck.
const LONGEST_COUNT: Duration = Duration::from_secs(3600);

/// The state of a migration.
#[derive(Debug, PartialEq, Serialize)]
struct Status {
    /// Messages that wait for a worker: a large object each, or many small ones.
    waiting: u64,
    /// Messages that a worker holds.
    running: u64,
    /// Dead letters, if the queue has them.
    dead: Option<u64>,
    /// Objects on record as copied.
    done: u64,
    /// Their bytes.
    done_bytes: u64,
    /// How the copies are proven; copies from before proofs were recorded are in none of these.
    proofs: Proofs,
    /// Objects on record as failed.
    failed: u64,
    /// Objects a second, over the last five minutes.
    objects_per_second: f64,
    /// Bytes a second of finished objects, over the last five minutes.
    bytes_per_second: f64,
    /// Seconds until the queue is empty at this rate if every message holds one object; `None` if
    /// nothing moves, or too little to estimate.
    seconds_left: Option<u64>,
    /// The same if every message holds as many objects as PackObjects allows.
    seconds_left_at_most: Option<u64>,
    /// The counts of the last comparison except dry runs, as `jobsender --json` printed them.
    comparison: Option<Value>,
    /// What has been learned about each side's store.
    stores: Vec<KnownStore>,
}

impl Status {
    /// `pack`: most objects in a message.
    fn of(depth: Depth, tally: &RecordTally, now: SystemTime, pack: usize) -> Self {
        let window = window(tally, now).as_secs_f64();
        let objects_per_second = tally.recent as f64 / window;
        let messages = depth.waiting + depth.running;
        let seconds_left = |objects: u64| match (objects, tally.recent) {
            (0, _) => Some(0),
            (_, 0) => None,
            (left, _) => human::time_left(left as f64 / objects_per_second).map(|t| t.as_secs()),
        };
        Self {
            waiting: depth.waiting,
            running: depth.running,
            dead: depth.dead,
            done: tally.done,
            done_bytes: tally.done_bytes,
            proofs: tally.proofs,
            failed: tally.failed,
            objects_per_second,
            bytes_per_second: tally.recent_bytes as f64 / window,
            seconds_left: seconds_left(messages),
            seconds_left_at_most: seconds_left(messages.saturating_mul(pack as u64)),
            comparison: None,
            stores: Vec::new(),
        }
    }
}

impl Status {
    /// Whether anything was ever sent by a `jobsender`.
    fn is_in_use(&self) -> bool {
        self.comparison.is_some() || self.waiting + self.running > 0
    }
}

/// The time that the recent numbers cover: a migration younger than the window counts from its
/// first start. At least one second.
fn window(tally: &RecordTally, now: SystemTime) -> Duration {
    let age = tally.span.and_then(|(first, _)| now.duration_since(first).ok());
    age.unwrap_or(WINDOW).clamp(Duration::from_secs(1), WINDOW)
}

/// The queue and the records, once they are open.
#[derive(Default)]
struct OpenBackends {
    queue: Option<Arc<dyn Queue>>,
    state: Option<Arc<dyn RecordStore>>,
}

impl OpenBackends {
    /// Opens what is not open yet. A missing file is not created just by looking; instead its path
    /// is returned, and its numbers are zero.
    async fn open<'a>(&mut self, config: &'a Config) -> Result<Option<&'a Path>> {
        let file = config.backend.path.as_path();
        let there = file.exists();
        let (queue, state) = (config.backend.queue, config.backend.state);
        let (no_queue, no_state) =
            (queue == QueueBackend::Embedded && !there, state == StateBackend::Embedded && !there);
        if self.queue.is_none() && !no_queue {
            self.queue = Some(wiring::queue(config).await?);
        }
        if self.state.is_none() && !no_state {
            self.state = Some(wiring::state(config).await?);
        }
        Ok((no_queue || no_state).then_some(file))
    }
}

/// What `status` prints.
#[derive(Debug, Serialize)]
struct Shown {
    /// The runs of this folder.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    runs: Vec<RunState>,
    /// The queue of `jobsender` and `worker`, and all records.
    #[serde(flatten)]
    status: Status,
}

pub(super) async fn execute(config: &Config, args: &StatusArgs) -> Result<Exit> {
    let halt = Halt::new();
    let signals = stop_on_signal(&halt)?;
    if args.watch && !args.json && Terminal::is_there() {
        watch(config, &halt).await?;
        signals.abort();
        return Ok(Exit::Done);
    }
    if args.serve.serve.is_some() {
        serving::of_status(config, &args.serve, &halt).await?;
        signals.abort();
        return Ok(Exit::Done);
    }
    let (mut places, mut tally) = (OpenBackends::default(), None);
    let mut of_runs = config.clone();
    (of_runs.backend.queue, of_runs.backend.state) =
        (QueueBackend::Embedded, StateBackend::Embedded);
    loop {
        if args.fleet {
            print_fleets(config, args.json).await?;
            if again(args, &halt).await {
                continue;
            }
            signals.abort();
            return Ok(Exit::Done);
        }
        let runs = single_node::runs(&config.backend.path).await?;
        let backends = if runs.is_empty() || asks_queue(config) { config } else { &of_runs };
        let (mut status, missing) = look(backends, &mut places, &mut tally, &halt).await?;
        if runs.iter().any(|run| run.is_running) {
            // What a run has left is in its block.
            (status.seconds_left, status.seconds_left_at_most) = (None, None);
        }
        let shown = Shown { runs, status };
        print(args.json, &shown, || match missing {
            Some(file) => format!(
                "nothing yet: there is no {}, nothing has been sent or recorded there",
                file.display()
            ),
            None => shown.text(),
        })?;
        if !again(args, &halt).await {
            signals.abort();
            return Ok(Exit::Done);
        }
    }
}

async fn again(args: &StatusArgs, halt: &Halt) -> bool {
    args.watch && halt.stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some()
}

/// What the processes of each fleet say of themselves.
async fn print_fleets(config: &Config, json: bool) -> Result<()> {
    let fleets = overviews(config, &Place::find(config).await?).await?;
    print(json, &fleets, || match fleets.is_empty() {
        true => "nothing yet: no process has ever joined this fleet".to_owned(),
        false => fleets.iter().map(Overview::text).collect::<Vec<_>>().join("\n\n"),
    })
}

/// Whether this configuration is that of a cluster, or of `jobsender` and `worker` on one machine.
/// In a folder with runs, it is not if nothing about queue and table has been configured.
fn asks_queue(config: &Config) -> bool {
    let default = Config::default();
    let (own, others) = (&config.basic, &default.basic);
    let named = (&own.sqs_queue_name, &own.table_queue_name)
        != (&others.sqs_queue_name, &others.table_queue_name);
    named || config.backend.queue == QueueBackend::Embedded
}

/// The numbers of the queue and the records, and the file that is not there yet.
async fn look<'a>(
    config: &'a Config,
    places: &mut OpenBackends,
    tally: &mut Option<(RecordTally, Instant)>,
    halt: &Halt,
) -> Result<(Status, Option<&'a Path>)> {
    let missing = places.open(config).await?;
    let depth = match &places.queue {
        Some(queue) => Retrying::probing(&**queue, &halt.stop).depth().await?,
        None => Depth { dead: Some(0), ..Depth::default() },
    };
    let tally = match &places.state {
        Some(state) => count(&**state, tally, &halt.stop).await?,
        None => RecordTally::default(),
    };
    let mut status = Status::of(depth, &tally, SystemTime::now(), config.mode.pack_objects);
    if let Some(state) = &places.state {
        let note = [comparisons::note(config)];
        // The other numbers are valid without it.
        let kept = Retrying::probing(&**state, &halt.stop).notes(&note).await;
        let kept = kept.unwrap_or_default().into_iter().flatten().next();
        status.comparison = kept.and_then(|text| serde_json::from_slice(&text).ok());
        status.stores = known_stores::printed(known_stores::kept(config, &**state).await);
    }
    Ok((status, missing))
}

impl Shown {
    fn text(&self) -> String {
        let mut blocks: Vec<String> = self.runs.iter().map(run_text).collect();
        // Next to runs, a queue that nobody has used is not worth a word.
        match self.runs.is_empty() || self.status.is_in_use() {
            true => blocks.push(text(&self.status)),
            false => blocks.extend(shown_of_records(&self.status)),
        }
        blocks.join("\n\n")
    }
}

/// Counts the records, unless they were counted recently: in DynamoDB that reads the whole table,
/// so under `--watch` the counting takes at most a tenth of the time.
async fn count(
    state: &dyn RecordStore,
    last: &mut Option<(RecordTally, Instant)>,
    cancel: &CancellationToken,
) -> Result<RecordTally> {
    if let Some((tally, good_until)) = last
        && Instant::now() < *good_until
    {
        return Ok(*tally);
    }
    let began = Instant::now();
    let since = SystemTime::now().checked_sub(WINDOW).unwrap_or(SystemTime::UNIX_EPOCH);
    let policy = Policy { timeout: LONGEST_COUNT, ..Policy::probe() };
    let tally = Retrying::by(state, policy, cancel).tally(since).await?;
    *last = Some((tally, Instant::now() + began.elapsed().saturating_mul(10)));
    Ok(tally)
}

/// When the last comparison was, and how many objects it listed and sent.
fn compared(comparison: &Value) -> Option<String> {
    let sum = |name: &str| {
        let pairs = comparison["pairs"].as_array()?;
        pairs.iter().map(|pair| pair[name].as_u64()).sum::<Option<u64>>()
    };
    let (listed, sent) = (human::count(sum("listed")?), human::count(sum("sent")?));
    let ended = SystemTime::UNIX_EPOCH + Duration::from_secs(comparison["ended"].as_u64()?);
    let ended = humantime::format_rfc3339_seconds(ended);
    Some(format!("compared {listed:>12}  objects, {sent} of them sent, at {ended}\n"))
}

/// What the records of all runs of the folder show, if anything.
fn shown_of_records(status: &Status) -> Option<String> {
    let lines = format!("{}{}", proven(status), known(status));
    (!lines.is_empty()).then(|| format!("all runs of this folder\n{}", lines.trim_end()))
}

fn proven(status: &Status) -> String {
    let line = |(objects, what)| format!("proven   {:>12}  {what}\n", human::count(objects));
    status.proofs.in_words().map(line).collect()
}

fn known(status: &Status) -> String {
    let mut text = String::new();
    for KnownStore { side, facts } in &status.stores {
        for StoreFact { bucket, quirk, value, .. } in facts {
            let number = if *value == 1 { String::new() } else { format!("={value}") };
            let bucket = bucket.escape_debug();
            let _ = writeln!(text, "known    of the {side}'s bucket {bucket}: {quirk}{number}");
        }
    }
    text
}

fn text(status: &Status) -> String {
    let mut text = status.comparison.as_ref().and_then(compared).unwrap_or_default();
    let _ = writeln!(text, "waiting  {:>12}  messages", human::count(status.waiting));
    let _ = writeln!(text, "running  {:>12}  messages", human::count(status.running));
    let done = human::count(status.done);
    let _ = writeln!(text, "done     {done:>12}  {}", human::bytes(status.done_bytes));
    text.push_str(&proven(status));
    let _ = writeln!(text, "failed   {:>12}", human::count(status.failed));
    if let Some(dead) = status.dead {
        let _ = writeln!(
            text,
            "dead     {:>12}  messages in the dead letter queue",
            human::count(dead)
        );
    }
    let rate = human::bytes(status.bytes_per_second as u64);
    let objects = status.objects_per_second;
    let _ = writeln!(text, "rate     {rate}/s, {objects:.1} objects/s over the last five minutes");
    text.push_str(&known(status));
    let time = |seconds| human::duration(Duration::from_secs(seconds));
    match (status.seconds_left, status.seconds_left_at_most) {
        (Some(0), Some(0)) => text.push_str("left     nothing"),
        (Some(least), Some(most)) if least < most => {
            let (least, most) = (time(least), time(most));
            let _ = write!(
                text,
                "left     between {least} and {most}: a message holds one large object, or many \
                 small ones"
            );
        }
        (Some(least), None) => {
            let _ = write!(text, "left     {} or more, how much more is unknown", time(least));
        }
        (Some(seconds), Some(_)) => {
            let _ = write!(text, "left     about {}", time(seconds));
        }
        (None, _) if status.objects_per_second > 0.0 => {
            text.push_str("left     unknown, hardly anything has finished in the last five minutes")
        }
        (None, _) => {
            text.push_str("left     unknown, nothing has finished in the last five minutes")
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise 1.
    #[test]
    fn the_last_comparison_is_told_in_a_line() {
        let pair = |listed, sent| serde_json::json!({"listed": listed, "sent": sent});
        let pairs = [pair(3, 1), pair(4, 0)];
        let kept = serde_json::json!({"ended": 1_767_225_600, "pairs": pairs});
        let line = "compared            7  objects, 1 of them sent, at 2026-01-01T00:00:00Z\n";
        assert_eq!(compared(&kept).as_deref(), Some(line));
        assert_eq!(compared(&Value::Null), None);
    }

    #[test]
    fn the_time_left_follows_from_what_finished_lately() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let depth = Depth { waiting: 90, running: 10, dead: None };
        let first = now - Duration::from_secs(50);
        let tally = RecordTally {
            recent: 100,
            recent_bytes: 5_000,
            span: Some((first, now)),
            ..RecordTally::default()
        };
        let status = Status::of(depth, &tally, now, 10);
        assert_eq!(status.objects_per_second, 2.0);
        assert_eq!(status.bytes_per_second, 100.0);
        assert_eq!((status.seconds_left, status.seconds_left_at_most), (Some(50), Some(500)));
        let idle = Status::of(depth, &RecordTally::default(), now, 10);
        assert_eq!((idle.seconds_left, idle.seconds_left_at_most), (None, None));
        let many = Depth { waiting: 10_000_000, ..depth };
        let slow = Status::of(many, &tally, now, 10);
        assert_eq!((slow.seconds_left, slow.seconds_left_at_most), (Some(5_000_005), None));
        assert!(text(&slow).contains("or more"), "{}", text(&slow));
        let slower = Status::of(Depth { waiting: u64::MAX / 20, ..depth }, &tally, now, 10);
        assert_eq!(slower.seconds_left, None);
        assert!(text(&slower).ends_with(
            "left     unknown, hardly anything has finished in the last \
                                         five minutes"
        ));
        let empty = Status::of(Depth::default(), &RecordTally::default(), now, 10);
        assert_eq!((empty.seconds_left, empty.seconds_left_at_most), (Some(0), Some(0)));
        assert!(text(&status).ends_with("small ones") && text(&empty).ends_with("nothing"));
    }
}
