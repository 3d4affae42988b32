//! Objects that only the destination has, deleted where the user has asked for it.

use tokio::sync::mpsc;

use super::sent::UNMARKED;
use super::{JOBS_AHEAD, Jobsender, Summary};
use crate::job::Job;

/// Jobs that are handed over at once.
const CHUNK: usize = 1000;

impl Jobsender {
    /// Sends the deletions, at the end and all of them, or none: a wrong prefix or a listing that is not
    /// whole must not empty the destination. Whoever carries them out looks at the source again.
    pub(super) async fn send_deletions(&self, doomed: Vec<Job>, summary: &mut Summary) {
        if summary.to_delete == 0 || self.queue.is_none() {
            return;
        }
        let refusal = self.refuses_deletions(summary);
        if refusal.is_some() {
            summary.deletions_refused = refusal;
            return;
        }
        let (jobs, taken) = mpsc::channel(JOBS_AHEAD);
        let sender = self.sender(taken, &self.cancel.child_token());
        for chunk in doomed.chunks(CHUNK) {
            // Where nobody takes it any more, the tally says so.
            let chunk = chunk.iter().map(|job| (job.clone(), UNMARKED)).collect();
            if jobs.send(chunk).await.is_err() {
                break;
            }
        }
        drop(jobs);
        let tally = sender.await;
        summary.deletions_sent = tally.sent;
        summary.messages += tally.messages;
        summary.deletions_refused = tally.error.map(|error| error.to_string());
    }

    fn refuses_deletions(&self, summary: &Summary) -> Option<String> {
        let most = self.delete_at_most.unwrap_or_default() as u64;
        if summary.listed == 0 {
            Some("the source lists no object at all: is its prefix right?".to_owned())
        } else if !summary.missing.is_empty() {
            Some("not all keys could be listed".to_owned())
        } else if summary.to_delete > most {
            Some(format!("more than --max-delete {most}"))
        } else {
            None
        }
    }
}
