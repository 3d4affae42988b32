//! Notes next to the records of what was sent and is not known to be done, so that a comparison
//! does not send again what still waits or runs.
//!
//! Each batch of messages leaves one note with the marks of its objects, written after the queue
//! has accepted the batch: a jobsender that is killed in between sends that batch again, and misses
//! nothing.
//!
//! A note claims that a message still exists, and claims end: all of them once the queue is empty;
//! an object's as soon as its record says that an attempt has ended since, successful or not; and
//! any claim once the queue no longer keeps the message.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::error::{Error, Result};
use crate::mutex::lock;
use crate::record::{MAX_LOOKED_UP, NoteKey, RecordId, RecordStore};
use crate::retry::{Policy, Retrying};

/// Notes read per request.
const PAGE: u64 = MAX_LOOKED_UP as u64;
/// Most marks in one note: a DynamoDB item has at most 400 KB
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>).
const MARKS: usize = 40_000;

/// Distinguishes one content of one object in a pair from any other, as far as a listing shows.
pub(super) type Mark = u64;

/// The mark of what is not remembered: a deletion, which is done once even if it is sent twice.
pub(super) const UNMARKED: Mark = 0;

/// The notes of one queue, numbered from the one that the head note names.
#[derive(Debug)]
pub struct Sent {
    state: Arc<dyn RecordStore>,
    queue: String,
    policy: Policy,
    cancel: CancellationToken,
    /// The notes that existed at the beginning.
    old: Range<u64>,
    /// The marks in them, and when they were sent: seconds since 1970.
    marks: HashMap<Mark, u64>,
    /// The marks among them that this comparison found to be still waiting or running.
    found: Mutex<BTreeMap<u64, Vec<Mark>>>,
    /// The number of the next note.
    next: AtomicU64,
    /// A failure to write a note has been reported.
    told: AtomicBool,
}

impl Sent {
    /// Opens the notes of this queue and remembers about `most` objects of them. If the queue is
    /// empty, the notes mean nothing and are forgotten. `keeps`: how long the queue keeps a
    /// message, if it does not keep it for ever.
    pub async fn open(
        state: Arc<dyn RecordStore>,
        queue: &str,
        is_empty: bool,
        keeps: Option<Duration>,
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
            marks: HashMap::new(),
            found: Mutex::default(),
            next: AtomicU64::new(0),
            told: AtomicBool::new(false),
        };
        let first = sent.first().await?;
        sent.old = first..first;
        let oldest = keeps.map_or(0, |keeps| now().saturating_sub(keeps.as_secs()));
        while let Some(notes) = sent.more().await? {
            for note in notes.iter().filter(|_| !is_empty) {
                let mut numbers = read(note);
                let since = numbers.next().unwrap_or_default();
                if since >= oldest && sent.marks.len() <= most {
                    sent.marks.extend(numbers.map(|mark| (mark, since)));
                }
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
        if is_empty && let Err(error) = sent.renew().await {
            warn!("old notes of what was sent could not be removed: {error}");
        }
        Ok(sent)
    }

    fn on_record(&self) -> Retrying<'_, dyn RecordStore> {
        Retrying::by(&*self.state, self.policy, &self.cancel)
    }

    /// The number of remembered objects.
    pub fn len(&self) -> usize {
        self.marks.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// When an object that differs was sent, if it was.
    pub(super) fn since(&self, mark: Mark) -> Option<u64> {
        self.marks.get(&mark).copied()
    }

    /// Whether each of these still waits or runs, as far as its record tells. Those that do are
    /// remembered. If the records cannot be read, all are taken to be waiting.
    pub(super) async fn are_waiting(&self, asked: &[(RecordId, Mark)]) -> Vec<bool> {
        let mut waiting = Vec::with_capacity(asked.len());
        for asked in asked.chunks(MAX_LOOKED_UP) {
            let ids: Vec<RecordId> = asked.iter().map(|(id, _)| id.clone()).collect();
            let ends = self.on_record().ends(&ids).await;
            let ends = ends.unwrap_or_else(|error| {
                self.tell("it is unknown whether earlier jobs have ended", &error);
                vec![None; ids.len()]
            });
            for ((_, mark), end) in asked.iter().zip(ends) {
                let since = self.since(*mark).unwrap_or_default();
                let ended = end.is_some_and(|end| seconds(end.time) >= since);
                if !ended {
                    let mut found = lock(&self.found);
                    found.entry(since).or_default().push(*mark);
                }
                waiting.push(!ended);
            }
        }
        waiting
    }

    /// Reports only the first failure.
    fn tell(&self, what: &str, error: &Error) {
        if !self.told.swap(true, Ordering::Relaxed) {
            warn!(
                "{what}; until the queue is empty, a comparison may send jobs twice or leave some out: {error}"
            );
        }
    }

    /// The next existing notes.
    async fn more(&mut self) -> Result<Option<Vec<Vec<u8>>>> {
        let from = self.old.end;
        let keys: Vec<NoteKey> = (from..from.saturating_add(PAGE)).map(|n| self.key(n)).collect();
        let notes = self.on_record().notes(&keys).await?;
        let Some(last) = notes.iter().rposition(Option::is_some) else { return Ok(None) };
        self.old.end = from + last as u64 + 1;
        Ok(Some(notes.into_iter().flatten().collect()))
    }

    /// The number of the first note.
    async fn first(&self) -> Result<u64> {
        let head = self.on_record().notes(&[self.head()]).await?;
        let head = head.into_iter().flatten().next().unwrap_or_default();
        Ok(read(&head).next().unwrap_or_default())
    }

    /// The key of the head note, which holds the number of the first note.
    fn head(&self) -> NoteKey {
        NoteKey::new(format_args!("sent:{}", self.queue))
    }

    fn key(&self, number: u64) -> NoteKey {
        NoteKey::new(format_args!("sent:{}:{number}", self.queue))
    }

    /// Notes that these objects have been sent. If that fails, the only harm is that they may be
    /// sent again.
    pub(super) async fn note(&self, marks: Vec<Mark>) {
        self.note_since(now(), marks).await;
    }

    async fn note_since(&self, since: u64, marks: Vec<Mark>) {
        for marks in marks.chunks(MARKS) {
            let numbers = std::iter::once(&since).chain(marks);
            let text: Vec<u8> = numbers.flat_map(|number| number.to_be_bytes()).collect();
            if let Err(error) = self.add(&text).await {
                self.tell("what was sent could not be noted", &error);
            }
        }
    }

    async fn add(&self, text: &[u8]) -> Result<()> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let key = self.key(number);
            match self.on_record().add_note(&key, text).await {
                Ok(true) => return Ok(()),
                // Another jobsender has taken the number.
                Ok(false) => {}
                Err(error) => {
                    // The next note reuses the number: notes after a long gap would not be found.
                    self.next.fetch_min(number, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    }

    /// Forgets the earlier notes, except for objects found to be still waiting or running. For the
    /// end of a comparison that has seen all keys.
    pub async fn renew(&self) -> Result<()> {
        if self.old.is_empty() {
            return Ok(());
        }
        // A jobsender that began later may have forgotten more by now; that stays forgotten.
        let first = self.first().await?;
        self.next.fetch_max(first, Ordering::Relaxed);
        let found = std::mem::take(&mut *lock(&self.found));
        for (since, marks) in found {
            self.note_since(since, marks).await;
        }
        let old: Vec<NoteKey> = self.old.clone().map(|n| self.key(n)).collect();
        let (head, first) = (self.head(), self.old.end.max(first).to_be_bytes());
        self.on_record().set_note(&head, &first).await?;
        for old in old.chunks(PAGE as usize) {
            self.on_record().remove_notes(old).await?;
        }
        Ok(())
    }
}

fn now() -> u64 {
    seconds(SystemTime::now())
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The numbers in a note, eight bytes each: the time, then the marks.
fn read(note: &[u8]) -> impl Iterator<Item = u64> {
    note.as_chunks::<8>().0.iter().map(|mark| u64::from_be_bytes(*mark))
}

#[cfg(test)]
mod tests;
