//! Reads all failures once, a page at a time.

use std::sync::Arc;

use super::{Failure, Failures, Found, Wanted, jobs};
use crate::error::Result;
use crate::job::Job;
use crate::queue::{DeadLetter, LetterBox};
use crate::reason::Reason;
use crate::record::{AttemptEnd, JobStatus, RecordId};

/// The most dead letters that are read from a queue that hides them: each receipt is kept, to show
/// its letter again. Nearly all failures are on record anyway.
const MOST_HELD: usize = 10_000;

impl Failures {
    /// Calls `each` with every failure that is `wanted`, and counts them by reason.
    pub async fn look(
        &self,
        wanted: &Wanted,
        mut each: impl FnMut(&Failure) -> Result<()>,
    ) -> Result<Found> {
        let mut found = Found::default();
        let mut note = |found: &mut Found, failure: &Failure| {
            let src = failure.objects.as_ref().map(|(src, _)| src);
            if !wanted.has(failure.reason, src) {
                return Ok(());
            }
            found.groups.add(failure);
            each(failure)
        };
        let mut token = None;
        loop {
            if self.stop.is_cancelled() {
                found.interrupted = true;
                return Ok(found);
            }
            let asked = token.as_deref();
            let page =
                self.call(|| self.records.page_with_status(JobStatus::Failed, asked)).await?;
            for record in page.records {
                note(&mut found, &Failure::recorded(record))?;
            }
            token = page.next;
            if token.is_none() {
                break;
            }
        }
        for queue in &self.queues {
            let mut held = Vec::new();
            let looked = self.look_at(queue, &mut held, &mut found, &mut note).await;
            self.show(queue, &held).await;
            looked?;
        }
        Ok(found)
    }

    /// Adds the dead letters of `queue` whose failure is not on record.
    async fn look_at(
        &self,
        queue: &Arc<dyn LetterBox>,
        held: &mut Vec<DeadLetter>,
        found: &mut Found,
        note: &mut impl FnMut(&mut Found, &Failure) -> Result<()>,
    ) -> Result<()> {
        let mut last: Option<DeadLetter> = None;
        loop {
            let letters = self.letters(queue, last.as_ref()).await?;
            found.interrupted |= self.stop.is_cancelled();
            let Some(end) = letters.last() else { return Ok(()) };
            last = Some(DeadLetter { body: String::new(), ..end.clone() });
            let hides = letters.iter().filter(|letter| !letter.receipt.0.is_empty());
            held.extend(hides.map(|letter| DeadLetter { body: String::new(), ..letter.clone() }));
            for letter in &letters {
                self.read_letter(letter, found, note).await?;
            }
            if found.interrupted {
                return Ok(());
            }
            if held.len() >= MOST_HELD {
                found.more_letters = true;
                return Ok(());
            }
        }
    }

    pub(super) async fn read_letter(
        &self,
        letter: &DeadLetter,
        found: &mut Found,
        note: &mut impl FnMut(&mut Found, &Failure) -> Result<()>,
    ) -> Result<()> {
        let jobs = jobs(letter);
        if jobs.is_empty() {
            return note(found, &Failure::of_letter(letter, None));
        }
        let ends = self.ends(&jobs).await?;
        if is_outdated(letter, &ends) {
            found.outdated += 1;
            return Ok(());
        }
        for (job, end) in jobs.into_iter().zip(ends) {
            let status = end.map(|end| end.status);
            // Of a message of several objects that nobody finished, some may be done.
            if status == Some(JobStatus::Failed)
                || status == Some(JobStatus::Done) && jobs_done(letter)
            {
                continue;
            }
            note(found, &Failure::of_letter(letter, Some(job)))?;
        }
        Ok(())
    }

    /// How the last attempt at the object of each job ended.
    pub(super) async fn ends(&self, jobs: &[Job]) -> Result<Vec<Option<AttemptEnd>>> {
        let ids: Vec<RecordId> = jobs.iter().map(|job| RecordId::of(&job.src, &job.des)).collect();
        self.call(|| self.records.ends(&ids)).await
    }
}

/// Whether the failure that the letter reports is over: a worker recorded it, and the object was copied
/// later. A letter that the queue itself made has no recorded failure: the record may be about an
/// earlier copy.
pub(super) fn is_outdated(letter: &DeadLetter, ends: &[Option<AttemptEnd>]) -> bool {
    let done = |end: &Option<AttemptEnd>| end.is_some_and(|end| end.status == JobStatus::Done);
    !ends.is_empty() && jobs_done(letter) && ends.iter().all(done)
}

/// Whether `DONE` on record means that a job of this letter is done.
fn jobs_done(letter: &DeadLetter) -> bool {
    !Reason::of(&letter.reason).is_unrecorded()
}
