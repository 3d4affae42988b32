//! What all who compare share: what earlier comparisons have sent, and the counts of the last one.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::compare::Sent;
use crate::compare::difference::Criteria;
use crate::config::{Config, Sse};
use crate::error::Result;
use crate::queue::{LONGEST_KEPT, Queue};
use crate::record::{NoteKey, RecordStore};
use crate::retry::{Policy, Retrying};
use crate::transfer::memory::MemoryBudget;

/// Bytes of memory for each remembered object that was sent before.
const REMEMBERED: u64 = 32;

/// What counts as a difference by the configuration.
pub fn criteria(config: &Config) -> Criteria {
    Criteria {
        compare: config.mode.compare,
        opaque: matches!(config.destination.sse, Sse::Kms(_)),
        overwrite: false,
    }
}

/// Where the counts of the last comparison are kept.
pub fn note(config: &Config) -> NoteKey {
    NoteKey::new(format_args!("comparison:{}", config.basic.sqs_queue_name))
}

/// What earlier comparisons have sent.
pub struct Remembered {
    /// The notes; `None`: unknown.
    pub sent: Option<Arc<Sent>>,
    /// The queue is empty.
    pub is_empty: bool,
}

/// Opens the notes of what earlier comparisons have sent; they count only if the queue is not
/// empty.
pub async fn remember(
    config: &Config,
    queue: &dyn Queue,
    state: Option<&Arc<dyn RecordStore>>,
    cancel: &CancellationToken,
) -> Result<Remembered> {
    let queue = Retrying::probing(queue, cancel);
    let depth = queue.depth().await?;
    let is_empty = depth.waiting + depth.running == 0;
    let nothing = Remembered { sent: None, is_empty };
    let Some(state) = state else { return Ok(nothing) };
    let room = MemoryBudget::of_machine(config.mode.max_memory).total() / 4 / REMEMBERED;
    let most = usize::try_from(room).unwrap_or(usize::MAX);
    let (name, policy) = (&config.basic.sqs_queue_name, Policy::control(config.mode.max_retry));
    let keeps = queue.keeps().await.unwrap_or_else(|error| {
        let days = LONGEST_KEPT.as_secs() / (24 * 60 * 60);
        warn!("it is unknown how long the queue keeps a message, {days} days are assumed: {error}");
        Some(LONGEST_KEPT)
    });
    let state = Arc::clone(state);
    let opened = Sent::open(state, name, is_empty, keeps, most, policy, cancel.clone());
    let sent = match opened.await {
        Ok(sent) => sent,
        Err(error) => {
            warn!("it is unknown what was sent before: jobs may be sent twice: {error}");
            return Ok(nothing);
        }
    };
    if !is_empty {
        info!(
            waiting = depth.waiting,
            running = depth.running,
            remembered = sent.len(),
            "the queue still has messages; jobs known to be among them are not sent again"
        );
    }
    Ok(Remembered { sent: Some(Arc::new(sent)), is_empty })
}

/// The saved result of a comparison.
#[derive(Serialize)]
struct KeptCounts<'a, T> {
    /// Seconds since 1970.
    ended: u64,
    /// Nothing was left to do, and a report of that is written.
    reported: bool,
    pairs: &'a [T],
}

/// Records the counts. The comparison itself is done, so a failure here is only reported.
pub async fn keep_counts<T: Serialize>(
    config: &Config,
    cancel: &CancellationToken,
    state: &dyn RecordStore,
    results: &[T],
    reported: bool,
) {
    let state = Retrying::new(state, config.mode.max_retry, cancel);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let counts = KeptCounts { ended: since.as_secs(), reported, pairs: results };
    let note = note(config);
    let text = serde_json::to_vec(&counts).unwrap_or_default();
    if let Err(error) = state.set_note(&note, &text).await {
        warn!("the counts of this comparison could not be recorded: {error}");
    }
}
