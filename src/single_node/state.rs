//! The state of a run, kept in its folder for `status`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tracing::debug;

use super::lock::Lock;
use super::pair_counts::{ByPair, PairCounts};
use crate::error::Result;
use crate::progress::{Snapshot, View};
use crate::record::sqlite::SqliteRecords;
use crate::record::{NoteKey, Notes};
use crate::sqlite::Database;

/// How often it is written.
const EVERY: Duration = Duration::from_secs(2);

/// How a run stands, or how it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// The migration's name in its file.
    pub name: String,
    /// Where the objects are, and where they go.
    pub pairs: Vec<[String; 2]>,
    /// The counts of each pair; none if an earlier version of the program wrote this.
    #[serde(default)]
    pub by_pair: Vec<PairCounts>,
    /// The number of its process.
    pub process: u32,
    /// When it began, in seconds since 1970.
    pub began: u64,
    /// When this was written, in seconds since 1970.
    pub updated: u64,
    /// How far it has come.
    pub progress: Snapshot,
    /// How it ended; `None`: it has not, as far as is known.
    pub end: Option<RunEnd>,
    /// Whether its process is still there.
    #[serde(default)]
    pub is_running: bool,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEnd {
    /// Everything is at the destination.
    Complete,
    /// It came to its end, and not everything is at the destination.
    Incomplete,
    /// A signal, or the user, stopped it.
    Stopped,
    /// An error ended it.
    Failed,
}

fn note(name: &str) -> NoteKey {
    NoteKey::new(format_args!("run:{name}"))
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The runs whose states are in the SQLite file `database`, the oldest first.
pub async fn runs(database: &Path) -> Result<Vec<RunState>> {
    if !database.exists() {
        return Ok(Vec::new());
    }
    let records = SqliteRecords::new(&Database::open(database).await?);
    let notes = records.notes_like(&note("")).await?;
    let mut runs: Vec<RunState> =
        notes.iter().filter_map(|text| serde_json::from_slice(text).ok()).collect();
    for run in &mut runs {
        run.is_running = Lock::is_held(database, &run.name);
    }
    runs.sort_by(|one, other| (one.began, &one.name).cmp(&(other.began, &other.name)));
    Ok(runs)
}

/// Writes the state of a run as it goes.
pub(super) struct StateKeeper {
    records: Arc<SqliteRecords>,
    state: RunState,
    by_pair: Arc<ByPair>,
    view: Arc<View>,
    task: JoinHandle<()>,
}

impl StateKeeper {
    pub(super) async fn start(
        records: Arc<SqliteRecords>,
        name: &str,
        by_pair: Arc<ByPair>,
        view: Arc<View>,
    ) -> Self {
        let state = RunState {
            name: name.to_owned(),
            pairs: by_pair.addresses(),
            by_pair: by_pair.counts(),
            process: std::process::id(),
            began: now(),
            updated: now(),
            progress: Snapshot::default(),
            end: None,
            is_running: false,
        };
        keep(&records, &state).await;
        let (own, mut shown, seen) = (Arc::clone(&records), state.clone(), Arc::clone(&view));
        let of_pairs = Arc::clone(&by_pair);
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(EVERY).await;
                (shown.updated, shown.progress) = (now(), seen.snapshot());
                shown.by_pair = of_pairs.counts();
                keep(&own, &shown).await;
            }
        });
        Self { records, state, by_pair, view, task }
    }

    /// Writes how it ended.
    pub(super) async fn end(mut self, end: RunEnd) {
        self.task.abort();
        let progress = Snapshot { seconds_left: None, waits_for: None, ..self.view.snapshot() };
        (self.state.updated, self.state.progress) = (now(), progress);
        (self.state.by_pair, self.state.end) = (self.by_pair.counts(), Some(end));
        keep(&self.records, &self.state).await;
    }
}

impl Drop for StateKeeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The work goes on without it.
async fn keep(records: &SqliteRecords, state: &RunState) {
    let text = serde_json::to_vec(state).unwrap_or_default();
    if let Err(error) = records.set_note(&note(&state.name), &text).await {
        debug!("the state of this run cannot be written: {error}");
    }
}
