//! `failed`: objects that failed, by reason with what cures it; sends them again.
//!
//! A failure is on record and a dead letter, usually both. Letters are kept for a while only, and a
//! message that no worker finished has no failure on record; so both are read, and an object that
//! is in both counts once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::job::{self, Job};
use crate::object::ObjectId;
use crate::queue::{DeadLetter, LetterBox};
use crate::reason::Reason;
use crate::record::{Record, RecordStore};
use crate::retry::{Policy, retry};

mod look;
mod page;
mod redrive;

pub use page::{AskedFailures, FailurePage};
pub use redrive::Redriven;

/// How long letters are hidden from other readers while they are read.
const HOLD: Duration = Duration::from_secs(300);

/// Where failures are, and how they are asked for.
#[derive(Clone, Debug)]
pub struct Failures {
    /// The records.
    pub records: Arc<dyn RecordStore>,
    /// The queues whose dead letters are read.
    pub queues: Vec<Arc<dyn LetterBox>>,
    /// The queue for objects that only the record knows; `None` if no worker serves one.
    pub takes: Option<Arc<dyn LetterBox>>,
    /// How patient each call is.
    pub policy: Policy,
    /// Ends the reading or sending after the call in progress.
    pub stop: CancellationToken,
}

/// Which failures are meant.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// A word for reasons: [`Reason::is_meant`].
    pub reason: Option<String>,
    /// The bucket at the source.
    pub bucket: Option<String>,
    /// What the key at the source begins with.
    pub prefix: String,
}

impl Wanted {
    fn has(&self, reason: Reason, src: Option<&ObjectId>) -> bool {
        self.reason.as_ref().is_none_or(|word| reason.is_meant(word)) && self.covers(src)
    }

    /// Whether the object is within the prefix. A message without an object passes if no prefix is given.
    fn covers(&self, src: Option<&ObjectId>) -> bool {
        match src {
            None => self.prefix.is_empty() && self.bucket.is_none(),
            Some(src) => {
                self.bucket.as_ref().is_none_or(|bucket| *bucket == src.bucket)
                    && src.key.as_str().starts_with(&self.prefix)
            }
        }
    }
}

/// One object that failed, or a message that no worker understands.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The object and its destination; `None` if the message has none.
    pub objects: Option<(ObjectId, ObjectId)>,
    /// Its size in bytes, as far as known.
    pub size: u64,
    /// The version that was asked for.
    pub version: Option<String>,
    /// The last error.
    pub error: String,
    /// What group it belongs to.
    pub reason: Reason,
    /// How often it was tried, as far as known.
    pub tries: u32,
    /// When the last try ended, if that is on record.
    pub ended: Option<SystemTime>,
    /// The failure is on record; otherwise there is only a dead letter.
    pub on_record: bool,
    /// It was sent again, and no attempt has ended since.
    pub redriven: bool,
    /// How often it was sent again.
    pub redrives: u32,
}

impl Failure {
    fn recorded(record: Record) -> Self {
        let redriven = record.is_redriven();
        let error = record.last_error.unwrap_or_default();
        Self {
            objects: Some((record.id.src, record.id.des)),
            size: record.size,
            version: record.version,
            reason: Reason::of(&error),
            error,
            tries: record.tries,
            ended: record.end_time,
            on_record: true,
            redriven,
            redrives: record.redrives,
        }
    }

    fn of_letter(letter: &DeadLetter, job: Option<Job>) -> Self {
        let (size, version) = job.as_ref().map_or((0, None), |job| (job.size, job.version.clone()));
        Self {
            objects: job.map(|job| (job.src, job.des)),
            size,
            version,
            error: letter.reason.clone(),
            reason: Reason::of(&letter.reason),
            tries: letter.receive_count,
            ended: None,
            on_record: false,
            redriven: false,
            redrives: 0,
        }
    }
}

/// Failures with the same reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// How many.
    pub objects: u64,
    /// Their bytes, as far as known.
    pub bytes: u64,
    /// How many of them were sent again and not tried since.
    pub redriven: u64,
    /// One of them: the object, if its message names one, and the error.
    pub example: (Option<ObjectId>, String),
    /// What cures them.
    pub cure: String,
}

/// The groups, by the words of their reasons.
#[derive(Clone, Debug, Default)]
pub struct Groups(pub BTreeMap<String, Group>);

impl Groups {
    fn add(&mut self, failure: &Failure) {
        let group = self.0.entry(failure.reason.word()).or_insert_with(|| Group {
            example: (failure.objects.as_ref().map(|(src, _)| src.clone()), failure.error.clone()),
            cure: failure.reason.cure(&failure.error),
            ..Group::default()
        });
        group.objects += 1;
        group.bytes = group.bytes.saturating_add(failure.size);
        group.redriven += u64::from(failure.redriven);
    }

    /// Objects, bytes, and objects that were sent again, over all groups.
    pub fn totals(&self) -> (u64, u64, u64) {
        self.0.values().fold((0, 0, 0), |(objects, bytes, redriven), group| {
            (objects + group.objects, bytes.saturating_add(group.bytes), redriven + group.redriven)
        })
    }

    /// The groups for programs, those with the most objects first.
    pub fn counts(&self) -> Vec<ReasonCount> {
        let count = |(reason, group): (&str, &Group)| ReasonCount {
            reason: reason.to_owned(),
            objects: group.objects,
            bytes: group.bytes,
            redriven: group.redriven,
            cure: group.cure.clone(),
            example: FailedObject {
                object: group.example.0.as_ref().map(ObjectId::exact),
                error: group.example.1.clone(),
            },
        };
        self.by_size().into_iter().map(count).collect()
    }

    /// The groups, those with the most objects first.
    pub fn by_size(&self) -> Vec<(&str, &Group)> {
        let mut groups: Vec<_> =
            self.0.iter().map(|(word, group)| (word.as_str(), group)).collect();
        groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.objects));
        groups
    }
}

/// One reason with its objects, under the names of `--json`.
#[derive(Clone, Debug, Serialize)]
pub struct ReasonCount {
    /// The word for the reason.
    pub reason: String,
    /// How many objects failed for it.
    pub objects: u64,
    /// Their bytes, as far as known.
    pub bytes: u64,
    /// How many of them were sent again and not tried since.
    pub redriven: u64,
    /// What cures them.
    pub cure: String,
    /// One of them.
    pub example: FailedObject,
}

/// One object that did not arrive, under the names of `--json`.
#[derive(Clone, Debug, Serialize)]
pub struct FailedObject {
    /// `bucket/key` at the source; `None` if the message names no object.
    pub object: Option<String>,
    /// The last error.
    pub error: String,
}

impl FailedObject {
    /// For a failure.
    pub fn of(failure: &Failure) -> Self {
        let object = failure.objects.as_ref().map(|(src, _)| src.exact());
        Self { object, error: failure.error.clone() }
    }
}

/// Calls `each` with every object of the dead letters of an embedded queue, in order, and counts
/// them by reason.
pub async fn of_queue(
    queue: &dyn LetterBox,
    mut each: impl FnMut(&Failure) -> Result<()>,
) -> Result<Groups> {
    let (mut groups, mut last) = (Groups::default(), None);
    loop {
        let letters = queue.dead_letters(last.as_ref(), Duration::ZERO).await?;
        for letter in &letters {
            let jobs = jobs(letter).into_iter().map(Some).collect::<Vec<_>>();
            let jobs = if jobs.is_empty() { vec![None] } else { jobs };
            for job in jobs {
                let failure = Failure::of_letter(letter, job);
                groups.add(&failure);
                each(&failure)?;
            }
        }
        last = letters.into_iter().next_back();
        if last.is_none() {
            return Ok(groups);
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// By reason.
    pub groups: Groups,
    /// Dead letters of objects that were copied since.
    pub outdated: u64,
    /// There are more dead letters than can be read without removing them; the failures on record
    /// are all here.
    pub more_letters: bool,
    /// Stopped before the end.
    pub interrupted: bool,
}

/// The jobs that a dead letter brings; none if no worker understands it, or if where its objects go
/// depends on the bucket list.
fn jobs(letter: &DeadLetter) -> Vec<Job> {
    match job::open(&letter.body) {
        Ok(job::Opened::Incoming(incoming)) => incoming.jobs,
        Ok(job::Opened::Events(_)) | Err(_) => Vec::new(),
    }
}

impl Failures {
    async fn call<T, F>(&self, call: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        // A stop does not interrupt a call: between sending and removing it would cost a second copy.
        retry(self.policy, &CancellationToken::new(), call).await
    }

    async fn letters(
        &self,
        queue: &Arc<dyn LetterBox>,
        after: Option<&DeadLetter>,
    ) -> Result<Vec<DeadLetter>> {
        self.call(|| queue.dead_letters(after, HOLD)).await
    }

    /// Shows what was only read to other readers again. If that fails, it shows itself after
    /// [`HOLD`].
    async fn show(&self, queue: &Arc<dyn LetterBox>, held: &[DeadLetter]) {
        for letter in held {
            if let Err(error) = self.call(|| queue.show_letter(letter)).await {
                tracing::warn!("a dead letter stays hidden for five minutes: {error}");
                return;
            }
        }
    }
}
