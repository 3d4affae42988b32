//! The progress of a migration: bars on a terminal, plain lines elsewhere.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;
use tracing::{Level, enabled};

use crate::compare::{Finds, Verdict};
use crate::format::human;
use crate::job::Job;
use crate::logging;
use crate::monitor::Counts;
use crate::store::Listed;

/// How often a bar is drawn.
const DRAW: Duration = Duration::from_millis(200);
/// If nothing has been copied after this time, the end is not near.
const SOON: Duration = Duration::from_secs(60);
/// How often a plain line is written.
const LINE: Duration = Duration::from_secs(10);

/// The work to do, growing while the listing goes on.
#[derive(Debug, Default)]
pub struct Totals {
    listed: AtomicU64,
    objects: AtomicU64,
    bytes: AtomicU64,
    listed_all: AtomicBool,
}

impl Totals {
    /// Marks the totals as complete.
    pub fn listing_done(&self) {
        self.listed_all.store(true, Ordering::Relaxed);
    }

    /// Adds objects and bytes to copy.
    pub fn add(&self, objects: u64, bytes: u64) {
        self.objects.fetch_add(objects, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Finds for Totals {
    fn found(&self, _: &Job, listed: Listed<'_>, verdict: &Verdict<'_>) {
        self.listed.fetch_add(1, Ordering::Relaxed);
        if matches!(verdict, Verdict::Copy(_)) {
            self.add(1, listed.size);
        }
    }
}

/// Shows the progress of a migration until it is finished or dropped.
pub struct Progress {
    task: JoinHandle<()>,
    view: Arc<View>,
}

struct View {
    totals: Arc<Totals>,
    counts: Box<dyn Fn() -> Counts + Send + Sync>,
    began: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts to show the values of `counts` on stderr.
    pub fn start(totals: Arc<Totals>, counts: impl Fn() -> Counts + Send + Sync + 'static) -> Self {
        let bar = (io::stderr().is_terminal() && enabled!(Level::INFO)).then(bar);
        let view = Arc::new(View { totals, counts: Box::new(counts), began: Instant::now(), bar });
        let every = if view.bar.is_some() { DRAW } else { LINE };
        let shown = Arc::clone(&view);
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                shown.show();
            }
        });
        Self { task, view }
    }

    /// Shows the last state and ends.
    pub fn finish(self) {
        self.task.abort();
        self.view.show();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(bar) = &self.view.bar {
            bar.finish();
        }
    }
}

fn bar() -> ProgressBar {
    let bar = logging::bars().add(ProgressBar::new(0));
    let style = ProgressStyle::with_template("{bar:30} {msg}").map(|s| s.progress_chars("=> "));
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

impl View {
    fn show(&self) {
        let text = self.text();
        match &self.bar {
            Some(bar) => {
                bar.set_length(self.totals.bytes.load(Ordering::Relaxed).max(1));
                bar.set_position(self.moved());
                bar.set_message(text);
                bar.tick();
            }
            None if enabled!(Level::INFO) => eprintln!("{text}"),
            None => {}
        }
    }

    /// Bytes at the destination: an object in work counts by the bytes sent so far.
    fn moved(&self) -> u64 {
        let counts = (self.counts)();
        let all = self.totals.bytes.load(Ordering::Relaxed);
        counts.uploaded.max(counts.done_bytes).min(all)
    }

    fn text(&self) -> String {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (counts, elapsed) = ((self.counts)(), self.began.elapsed());
        let (objects, bytes, moved) =
            (read(&self.totals.objects), read(&self.totals.bytes), self.moved());
        let listed_all = self.totals.listed_all.load(Ordering::Relaxed);
        let mut text = format!(
            "{} of {}{} objects, {} of {}, {}",
            human::count(counts.done),
            human::count(objects),
            if listed_all { "" } else { "+" },
            human::bytes(moved),
            human::bytes(bytes),
            human::rate(moved, elapsed),
        );
        if counts.failed > 0 {
            text.push_str(&format!(", {} failed", human::count(counts.failed)));
        }
        match listed_all {
            true => text.push_str(&time_left(moved, bytes, elapsed)),
            false => text.push_str(&format!(
                ", listing, {} keys so far",
                human::count(read(&self.totals.listed))
            )),
        }
        text
    }
}

fn time_left(moved: u64, bytes: u64, elapsed: Duration) -> String {
    if moved == 0 && bytes > 0 && elapsed >= SOON {
        return ", time left unknown".to_owned();
    }
    if moved == 0 || moved >= bytes {
        return String::new();
    }
    let share = (bytes - moved) as f64 / moved as f64;
    // An estimate from less than a thousandth of the work would be a guess.
    match human::time_left(elapsed.as_secs_f64() * share).filter(|_| share <= 1000.0) {
        Some(left) => format!(", {} left", human::duration(left)),
        None => ", time left unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_from_the_bytes() {
        assert_eq!(time_left(25, 100, Duration::from_secs(10)), ", 30s left");
        assert_eq!(time_left(0, 100, Duration::from_secs(10)), "");
        assert_eq!(time_left(0, 100, Duration::from_secs(60)), ", time left unknown");
        assert_eq!(time_left(0, 0, Duration::from_secs(60)), "");
        assert_eq!(time_left(1, 1 << 40, Duration::from_secs(10)), ", time left unknown");
        assert_eq!(time_left(1, 2000, Duration::from_secs(1)), ", time left unknown");
        assert_eq!(time_left(1, 1001, Duration::from_secs(1)), ", 16m 40s left");
        assert_eq!(time_left(100, 100, Duration::from_secs(10)), "");
    }

    #[test]
    fn what_is_ignored_or_there_is_not_to_be_copied() {
        use crate::compare::difference::Difference;
        use crate::object::ObjectId;
        let totals = Totals::default();
        let (src, des) = (ObjectId::new("b", "k"), ObjectId::new("c", "k"));
        let job = Job::copy(src, des, 7, None);
        for verdict in
            [Verdict::AlreadyThere, Verdict::Ignored("*"), Verdict::Copy(Difference::Missing)]
        {
            totals.found(&job, Listed::new("k", 7), &verdict);
        }
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!((read(&totals.listed), read(&totals.objects), read(&totals.bytes)), (3, 1, 7));
    }
}
