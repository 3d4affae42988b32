//! What was sent and is not known to be done: notes beside the records, so that a comparison does not
//! send twice what still waits or runs.
//!
//! Each batch of messages leaves one note with the marks of its objects, written after the queue has
//! taken the batch: whoever is killed in between sends that batch again, and misses nothing. The notes
//! count while the queue has messages; once it is empty they say nothing any more.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::error::Result;
use crate::retry::{Policy, retry};
use crate::state::{NoteKey, StateStore};

/// Notes that are asked for at once.
const PAGE: u64 = 100;
/// Marks in one note: an item of DynamoDB has 400 KB at most
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>).
const MARKS: usize = 40_000;

/// What tells one content of one object in a pair from any other, as far as a listing does.
pub(super) type Mark = u64;

/// The mark of what is not remembered: a deletion, which sent twice is done once.
pub(super) const UNMARKED: Mark = 0;

/// The notes of one queue: numbered, from the one that the head note names.
#[derive(Debug)]
pub struct Sent {
    state: Arc<dyn StateStore>,
    queue: String,
    policy: Policy,
    cancel: CancellationToken,
    /// The notes that were there.
    old: Range<u64>,
    /// What they say.
    marks: HashSet<Mark>,
    /// What of it this comparison has found to be still missing.
    found: Mutex<Vec<Mark>>,
    /// The number of the next note.
    next: AtomicU64,
    /// It has been said that a note could not be written.
    told: AtomicBool,
}

impl Sent {
    /// The notes about the queue of this name, of which about `most` objects are remembered. With an
    /// empty queue they say nothing and are forgotten.
    pub async fn open(
        state: Arc<dyn StateStore>,
        queue: &str,
        is_empty: bool,
        most: usize,
        policy: Policy,
        cancel: CancellationToken,
    ) -> Result<Self> {
        let mut sent = Self {
            state,
            queue: queue.to_owned(),
            policy,
            cancel,
            old: 0..0,
            marks: HashSet::new(),
            found: Mutex::default(),
            next: AtomicU64::new(0),
            told: AtomicBool::new(false),
        };
        let first = sent.first().await?;
        sent.old = first..first;
        while let Some(notes) = sent.more().await? {
            if !is_empty && sent.marks.len() <= most {
                sent.marks.extend(notes.iter().flat_map(|note| read(note)));
            }
        }
        sent.next = AtomicU64::new(sent.old.end);
        if sent.marks.len() > most {
            warn!(
                objects = sent.marks.len(),
                "more objects were sent than MaxMemory has room to remember: some may be sent twice, \
                 which does no harm and costs requests"
            );
        }
        if is_empty {
            sent.renew().await?;
        }
        Ok(sent)
    }

    /// How many objects are remembered.
    pub fn len(&self) -> usize {
        self.marks.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Whether an object that differs was sent before.
    pub(super) fn knows(&self, mark: Mark) -> bool {
        let known = self.marks.contains(&mark);
        if known {
            self.found.lock().unwrap_or_else(PoisonError::into_inner).push(mark);
        }
        known
    }

    /// The next notes that are there.
    async fn more(&mut self) -> Result<Option<Vec<Vec<u8>>>> {
        let from = self.old.end;
        let keys: Vec<NoteKey> = (from..from.saturating_add(PAGE)).map(|n| self.key(n)).collect();
        let notes = retry(self.policy, &self.cancel, || self.state.notes(&keys)).await?;
        let Some(last) = notes.iter().rposition(Option::is_some) else { return Ok(None) };
        self.old.end = from + last as u64 + 1;
        Ok(Some(notes.into_iter().flatten().collect()))
    }

    /// The number of the first note.
    async fn first(&self) -> Result<u64> {
        let head = [self.head()];
        let head = retry(self.policy, &self.cancel, || self.state.notes(&head)).await?;
        let head = head.into_iter().flatten().next().unwrap_or_default();
        Ok(read(&head).next().unwrap_or_default())
    }

    /// Names the first note.
    fn head(&self) -> NoteKey {
        NoteKey::new(format_args!("sent:{}", self.queue))
    }

    fn key(&self, number: u64) -> NoteKey {
        NoteKey::new(format_args!("sent:{}:{number}", self.queue))
    }

    /// Notes that these objects have been sent. Where that fails they may be sent again, and no more.
    pub(super) async fn note(&self, marks: Vec<Mark>) {
        for marks in marks.chunks(MARKS) {
            let text: Vec<u8> = marks.iter().flat_map(|mark| mark.to_be_bytes()).collect();
            if let Err(error) = self.add(&text).await
                && !self.told.swap(true, Ordering::Relaxed)
            {
                warn!(
                    "what was sent could not be noted, a comparison before the queue is empty may \
                       send it again: {error}"
                );
            }
        }
    }

    async fn add(&self, text: &[u8]) -> Result<()> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let key = self.key(number);
            match retry(self.policy, &self.cancel, || self.state.add_note(&key, text)).await {
                Ok(true) => return Ok(()),
                // Another jobsender has taken the number.
                Ok(false) => {}
                Err(error) => {
                    // The next note takes it: what lies behind a long gap would not be found again.
                    self.next.fetch_min(number, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    }

    /// Forgets what was there before, but for what has been found to be still missing: for the end of
    /// a comparison that has seen all keys.
    pub async fn renew(&self) -> Result<()> {
        if self.old.is_empty() {
            return Ok(());
        }
        // A jobsender that began later may have forgotten more by now, and it stays at that.
        let first = self.first().await?;
        self.next.fetch_max(first, Ordering::Relaxed);
        let found = std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner));
        self.note(found).await;
        let old: Vec<NoteKey> = self.old.clone().map(|n| self.key(n)).collect();
        let (head, first) = (self.head(), self.old.end.max(first).to_be_bytes());
        retry(self.policy, &self.cancel, || self.state.set_note(&head, &first)).await?;
        retry(self.policy, &self.cancel, || self.state.remove_notes(&old)).await
    }
}

/// The numbers of a note, eight bytes each.
fn read(note: &[u8]) -> impl Iterator<Item = u64> {
    note.as_chunks::<8>().0.iter().map(|mark| u64::from_be_bytes(*mark))
}

#[cfg(test)]
mod tests;
