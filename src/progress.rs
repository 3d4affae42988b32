//! The progress of a migration: bars on a terminal, plain lines elsewhere.

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;
use tracing::{Level, enabled};

use crate::compare::{Finds, Verdict};
use crate::job::Job;
use crate::logging;
use crate::monitor::Counts;
use crate::mutex::lock;
use crate::store::Listed;

mod moving;
mod snapshot;

use moving::{Amount, Window, time_left};
pub use snapshot::{Phase, Snapshot};

/// How often a bar is drawn.
const DRAW: Duration = Duration::from_millis(200);
/// How often a plain line is written.
const LINE: Duration = Duration::from_secs(10);
/// All that is known of work in flight that does not advance.
const IN_FLIGHT: &str = "nothing moves: waiting for requests in flight";

/// The work to do, growing while the listing goes on.
#[derive(Debug, Default)]
pub struct Totals {
    listed: AtomicU64,
    objects: AtomicU64,
    bytes: AtomicU64,
    looked: AtomicU64,
    phase: AtomicU8,
}

const PHASES: [Phase; 4] = [Phase::Comparing, Phase::Copying, Phase::Closing, Phase::Listing];

impl Totals {
    /// Begins in this phase.
    pub fn of_phase(phase: Phase) -> Self {
        let totals = Self::default();
        totals.enter(phase);
        totals
    }

    /// Enters a phase.
    pub fn enter(&self, phase: Phase) {
        let at = PHASES.iter().position(|one| *one == phase).unwrap_or_default();
        self.phase.store(at as u8, Ordering::Relaxed);
    }

    /// The phase.
    pub fn phase(&self) -> Phase {
        PHASES.get(usize::from(self.phase.load(Ordering::Relaxed))).copied().unwrap_or_default()
    }

    /// Adds objects and bytes to copy.
    pub fn add(&self, objects: u64, bytes: u64) {
        self.objects.fetch_add(objects, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Finds for Totals {
    fn found(&self, _: &Job, listed: Listed<'_>, verdict: &Verdict<'_>) {
        if self.phase() == Phase::Closing {
            self.looked.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.listed.fetch_add(1, Ordering::Relaxed);
        if matches!(verdict, Verdict::Copy(_)) {
            self.add(1, listed.size);
        }
    }
}

/// What progress is made of.
pub trait Watched: Send + Sync {
    /// What has been copied.
    fn counts(&self) -> Counts;

    /// What the work waits for, if it is known to wait.
    fn waits_for(&self) -> Option<String> {
        None
    }
}

impl<F: Fn() -> Counts + Send + Sync> Watched for F {
    fn counts(&self) -> Counts {
        self()
    }
}

/// Shows the progress of a migration until it is finished or dropped.
pub struct Progress {
    task: JoinHandle<()>,
    view: Arc<View>,
}

/// Reads the progress.
pub struct View {
    totals: Arc<Totals>,
    watched: Box<dyn Watched>,
    began: Instant,
    window: Mutex<(Phase, Window)>,
    bar: Option<ProgressBar>,
    paused: AtomicBool,
}

impl Progress {
    /// Starts to show the progress of what is `watched` on stderr.
    pub fn start(totals: Arc<Totals>, watched: impl Watched + 'static) -> Self {
        let bar = (io::stderr().is_terminal() && enabled!(Level::INFO)).then(bar);
        let view = Arc::new(View {
            totals,
            watched: Box::new(watched),
            began: Instant::now(),
            window: Mutex::default(),
            bar,
            paused: AtomicBool::new(false),
        });
        let every = if view.bar.is_some() { DRAW } else { LINE };
        let shown = Arc::clone(&view);
        let task = tokio::spawn(async move {
            shown.snapshot();
            loop {
                tokio::time::sleep(every).await;
                shown.show();
            }
        });
        Self { task, view }
    }

    /// Reads the progress that is shown.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view)
    }

    /// Shows nothing until [`Self::go_on`].
    pub fn pause(&self) {
        self.view.paused.store(true, Ordering::Relaxed);
        if self.view.bar.is_some() {
            let _ = logging::bars().clear();
        }
    }

    /// Shows it again.
    pub fn go_on(&self) {
        self.view.paused.store(false, Ordering::Relaxed);
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
            // What follows is the result, which says it all.
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let bar = logging::bars().add(ProgressBar::new(0));
    // A wide message is cut at the edge: a line that wraps cannot be cleared.
    let style =
        ProgressStyle::with_template("{bar:12} {wide_msg}").map(|s| s.progress_chars("=> "));
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

impl View {
    fn show(&self) {
        if self.paused.load(Ordering::Relaxed) {
            return;
        }
        let snapshot = self.snapshot();
        match &self.bar {
            Some(bar) => {
                let (position, end) = snapshot.position();
                bar.set_length(end.max(1));
                bar.set_position(position);
                bar.set_message(snapshot.beside_a_bar());
                bar.tick();
            }
            None if enabled!(Level::INFO) => logging::progress(&snapshot.text()),
            None => {}
        }
    }

    /// The progress now.
    pub fn snapshot(&self) -> Snapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (counts, totals) = (self.watched.counts(), &self.totals);
        let bytes = read(&totals.bytes);
        let mut snapshot = Snapshot {
            phase: totals.phase(),
            listed: read(&totals.listed),
            objects: read(&totals.objects),
            bytes,
            done: counts.done,
            // An object in work counts by the bytes sent so far.
            moved: counts.uploaded.max(counts.done_bytes).min(bytes),
            failed: counts.failed,
            looked: read(&totals.looked),
            ..Snapshot::default()
        };
        self.measure(&mut snapshot);
        snapshot
    }

    /// Adds the speed, and what follows from it.
    fn measure(&self, snapshot: &mut Snapshot) {
        let (done, rest) = amounts(snapshot);
        let mut window = lock(&self.window);
        let (phase, window) = &mut *window;
        let now = self.began.elapsed();
        // Each phase counts something else.
        if *phase != snapshot.phase {
            window.restart(now);
        }
        *phase = snapshot.phase;
        window.read(now, done);
        if let Some(speed) = window.speed() {
            snapshot.objects_per_second = speed.objects;
            snapshot.bytes_per_second = speed.bytes;
            if matches!(snapshot.phase, Phase::Copying | Phase::Closing) {
                snapshot.seconds_left = time_left(rest, speed).map(|left| left.as_secs());
            }
        } else if window.is_still() && rest != Amount::default() {
            let known = self.watched.waits_for();
            snapshot.waits_for = Some(known.unwrap_or_else(|| IN_FLIGHT.to_owned()));
        }
    }
}

/// What is done in this phase, and what is left.
fn amounts(snapshot: &Snapshot) -> (Amount, Amount) {
    let Snapshot { phase, listed, objects, bytes, done, moved, failed, looked, .. } = *snapshot;
    match phase {
        Phase::Closing => {
            let rest = Amount { objects: listed.saturating_sub(looked), bytes: 0 };
            (Amount { objects: looked, bytes: 0 }, rest)
        }
        // How much there is to list is not known: something.
        Phase::Listing => (Amount { objects: listed, bytes: 0 }, Amount { objects: 1, bytes: 0 }),
        Phase::Comparing | Phase::Copying => {
            let ended = done + failed;
            let rest = Amount {
                objects: objects.saturating_sub(ended),
                bytes: bytes.saturating_sub(moved),
            };
            // While it is listed, that is a movement too.
            let lists = if phase == Phase::Comparing { listed } else { 0 };
            (Amount { objects: ended + lists, bytes: moved }, rest)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_or_there_is_not_to_be_copied() {
        use crate::compare::difference::Difference;
        use crate::object::ObjectId;
        let totals = Totals::default();
        let (src, des) = (ObjectId::new("b", "k"), ObjectId::new("c", "k"));
        let job = Job::copy(src, des, 7, None);
        let all =
            [Verdict::AlreadyThere, Verdict::Ignored("*"), Verdict::Copy(Difference::Missing)];
        all.iter().for_each(|verdict| totals.found(&job, Listed::new("k", 7), verdict));
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!((read(&totals.listed), read(&totals.objects), read(&totals.bytes)), (3, 1, 7));
        totals.enter(Phase::Closing);
        totals.found(&job, Listed::new("k", 7), &Verdict::AlreadyThere);
        assert_eq!((read(&totals.listed), read(&totals.looked)), (3, 1));
    }

    #[test]
    fn what_is_left_is_that_of_the_phase() {
        let copying = Snapshot {
            phase: Phase::Copying,
            listed: 9,
            objects: 5,
            bytes: 50,
            done: 2,
            moved: 20,
            failed: 1,
            ..Snapshot::default()
        };
        let amount = |objects, bytes| Amount { objects, bytes };
        assert_eq!(amounts(&copying), (amount(3, 20), amount(2, 30)));
        let closing = Snapshot { phase: Phase::Closing, looked: 4, ..copying };
        assert_eq!(amounts(&closing), (amount(4, 0), amount(5, 0)));
    }
}
