//! Sends failed objects again, from dead letters and from the record.
//!
//! Letters go first, since they hold the job as it was sent. Each is sent, then marked on record,
//! then removed: whatever interrupts this, the next redrive finds the object again, and a job that
//! is sent twice does no harm. What is marked is not sent from its record as well.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::join_all;

use super::look::is_outdated;
use super::{Failure, Failures, Groups, Wanted, jobs};
use crate::error::Result;
use crate::job::Job;
use crate::object::ObjectId;
use crate::queue::{DeadLetter, LetterBox, MAX_BATCH};
use crate::reason::Reason;
use crate::record::{JobStatus, Record, RecordId};

/// The most objects and letters that one redrive remembers, at about 16 bytes each.
const MOST_REMEMBERED: usize = 2_000_000;

/// What a redrive did.
#[derive(Clone, Debug, Default)]
pub struct Redriven {
    /// Sent, by reason.
    pub groups: Groups,
    /// Objects sent from dead letters.
    pub from_letters: u64,
    /// Objects sent from their records.
    pub from_records: u64,
    /// Records marked.
    pub marked: u64,
    /// Dead letters removed because their objects were copied since.
    pub outdated: u64,
    /// Messages left where they are, because no worker understands them.
    pub not_a_job: u64,
    /// Objects that were sent again before, and not tried since.
    pub waiting: u64,
    /// Objects for which there is no queue: the next `run` finds them by comparing.
    pub for_the_next_run: u64,
    /// There may be more: another redrive takes them.
    pub more: bool,
    /// Stopped before the end.
    pub interrupted: bool,
}

/// What this redrive has sent, and the letters that it leaves alone.
#[derive(Debug, Default)]
struct Seen(HashSet<u64>);

impl Seen {
    fn add(&mut self, what: impl Hash) -> bool {
        self.0.insert(number(what))
    }

    fn has(&self, what: impl Hash) -> bool {
        self.0.contains(&number(what))
    }

    fn is_full(&self) -> bool {
        self.0.len() >= MOST_REMEMBERED
    }
}

fn number(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// A letter that is to be sent again.
struct Chosen {
    letter: DeadLetter,
    jobs: Vec<Job>,
}

impl Failures {
    /// Sends what is `wanted` again; `force`: also what was sent again before and not tried since.
    pub async fn redrive(&self, wanted: &Wanted, force: bool) -> Result<Redriven> {
        let began = SystemTime::now();
        let (mut done, mut seen) = (Redriven::default(), Seen::default());
        for queue in &self.queues {
            let mut held = Vec::new();
            let sent = self.send_letters(queue, wanted, &mut done, &mut seen, &mut held).await;
            self.show(queue, &held).await;
            sent?;
        }
        if !done.interrupted {
            self.send_recorded(wanted, force, began, &mut done, &seen).await?;
        }
        Ok(done)
    }

    async fn send_letters(
        &self,
        queue: &Arc<dyn LetterBox>,
        wanted: &Wanted,
        done: &mut Redriven,
        seen: &mut Seen,
        held: &mut Vec<DeadLetter>,
    ) -> Result<()> {
        let mut last: Option<DeadLetter> = None;
        loop {
            if self.stop.is_cancelled() {
                done.interrupted = true;
                return Ok(());
            }
            let letters = self.letters(queue, last.as_ref()).await?;
            let Some(end) = letters.last() else { return Ok(()) };
            last = Some(DeadLetter { body: String::new(), ..end.clone() });
            if seen.is_full() {
                done.more = true;
                held.extend(letters);
                return Ok(());
            }
            let mut chosen = Vec::new();
            let mut is_news = false;
            for letter in letters {
                is_news |= !seen.has(&letter.id);
                match self.choose(queue, letter, wanted, done, seen).await? {
                    Ok(sent) => chosen.push(sent),
                    Err(left) => {
                        held.extend(left.map(|left| DeadLetter { body: String::new(), ..left }))
                    }
                }
            }
            for batch in chosen.chunks(MAX_BATCH) {
                self.send_batch(queue, batch, done).await?;
            }
            // Letters that were left alone come back after a while: nothing else is left.
            if !is_news {
                return Ok(());
            }
        }
    }

    /// Whether a letter is to be sent again; `Err`: it is not, and stays unless it was removed.
    async fn choose(
        &self,
        queue: &Arc<dyn LetterBox>,
        letter: DeadLetter,
        wanted: &Wanted,
        done: &mut Redriven,
        seen: &mut Seen,
    ) -> Result<Result<Chosen, Option<DeadLetter>>> {
        let (jobs, reason) = (jobs(&letter), Reason::of(&letter.reason));
        let is_new = seen.add(&letter.id);
        let is_covered = match jobs.is_empty() {
            true => wanted.has(reason, None),
            false => jobs.iter().any(|job| wanted.has(reason, Some(&job.src))),
        };
        if !is_new || !is_covered {
            return Ok(Err(Some(letter)));
        }
        if !reason.is_curable() && wanted.reason.is_none() {
            done.not_a_job += 1;
            return Ok(Err(Some(letter)));
        }
        // It failed again during this command: the cause is still there.
        if jobs.iter().any(|job| seen.has(names(job))) {
            done.more = true;
            return Ok(Err(Some(letter)));
        }
        if is_outdated(&letter, &self.ends(&jobs).await?) {
            self.call(|| queue.remove_letter(&letter)).await?;
            done.outdated += 1;
            return Ok(Err(None));
        }
        for job in &jobs {
            seen.add(names(job));
        }
        Ok(Ok(Chosen { letter, jobs }))
    }

    async fn send_batch(
        &self,
        queue: &Arc<dyn LetterBox>,
        batch: &[Chosen],
        done: &mut Redriven,
    ) -> Result<()> {
        // Loaded before they are sent: the mark is for this failure, not for one that comes after.
        let records = join_all(batch.iter().map(|chosen| self.failures_of(&chosen.jobs))).await;
        let records: Vec<Vec<Record>> = records.into_iter().collect::<Result<_>>()?;
        let bodies: Vec<String> = batch.iter().map(|chosen| chosen.letter.body.clone()).collect();
        self.call(|| queue.send(&bodies)).await?;
        for (chosen, records) in batch.iter().zip(&records) {
            for record in records {
                done.marked += u64::from(self.mark(record).await?);
            }
            self.call(|| queue.remove_letter(&chosen.letter)).await?;
            let jobs: Vec<Option<Job>> = match chosen.jobs.is_empty() {
                true => vec![None],
                false => chosen.jobs.iter().cloned().map(Some).collect(),
            };
            for job in jobs {
                done.from_letters += 1;
                done.groups.add(&Failure::of_letter(&chosen.letter, job));
            }
        }
        Ok(())
    }

    /// The records of these jobs that are failures.
    async fn failures_of(&self, jobs: &[Job]) -> Result<Vec<Record>> {
        let mut failures = Vec::new();
        for job in jobs {
            let id = RecordId::of(&job.src, &job.des);
            let record = self.call(|| self.records.load(&id)).await?;
            failures.extend(record.filter(|record| record.status == JobStatus::Failed));
        }
        Ok(failures)
    }

    async fn mark(&self, record: &Record) -> Result<bool> {
        self.call(|| self.records.mark_redriven(&record.id, record.stamp())).await
    }

    /// Sends the failures on record that had no letter.
    async fn send_recorded(
        &self,
        wanted: &Wanted,
        force: bool,
        began: SystemTime,
        done: &mut Redriven,
        seen: &Seen,
    ) -> Result<()> {
        let mut token = None;
        loop {
            if self.stop.is_cancelled() {
                done.interrupted = true;
                return Ok(());
            }
            let asked = token.as_deref();
            let page =
                self.call(|| self.records.page_with_status(JobStatus::Failed, asked)).await?;
            let is_chosen = |record: &Record| {
                let reason = Reason::of(record.last_error.as_deref().unwrap_or_default());
                wanted.has(reason, Some(&record.id.src))
                    && !seen.has((&record.id.src, &record.id.des))
                    // What fails meanwhile is for the next redrive.
                    && record.end_time.is_none_or(|ended| ended <= began)
            };
            let (waiting, chosen): (Vec<Record>, Vec<Record>) = page
                .records
                .into_iter()
                .filter(is_chosen)
                .partition(|record| record.is_redriven() && !force);
            done.waiting += waiting.len() as u64;
            self.send_records(&chosen, done).await?;
            token = page.next;
            if token.is_none() {
                return Ok(());
            }
        }
    }

    async fn send_records(&self, chosen: &[Record], done: &mut Redriven) -> Result<()> {
        let Some(queue) = &self.takes else {
            done.for_the_next_run += chosen.len() as u64;
            return Ok(());
        };
        for batch in chosen.chunks(MAX_BATCH) {
            let bodies: Vec<String> = batch.iter().map(|record| job(record).to_message()).collect();
            self.call(|| queue.send(&bodies)).await?;
            for record in batch {
                done.marked += u64::from(self.mark(record).await?);
                done.from_records += 1;
                done.groups.add(&Failure::recorded(record.clone()));
            }
        }
        Ok(())
    }
}

/// The job of a failure on record. The version that was asked for is on record only if no attempt
/// got as far as to learn the ETag; later the record has the version that was copied then, which may
/// be an old one.
fn job(record: &Record) -> Job {
    let version = record.version.clone().filter(|_| record.etag.is_none());
    Job::copy(record.id.src.clone(), record.id.des.clone(), record.size, version)
}

fn names(job: &Job) -> (&ObjectId, &ObjectId) {
    (&job.src, &job.des)
}
