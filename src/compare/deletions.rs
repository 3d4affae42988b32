//! Deletes objects that only the destination has, if the user has asked for it.

use std::sync::Mutex;

use tokio::sync::mpsc;

use super::comparison::Comparison;
use super::sent_notes::UNMARKED;
use super::{JOBS_AHEAD, Summary};
use crate::error::{Error, Result};
use crate::job::Job;
use crate::mutex::lock;
use crate::params::Pair;

/// How many jobs are handed over at once.
const CHUNK: usize = 1000;

/// What is to be deleted across all pairs.
#[derive(Debug)]
pub struct Deletions {
    most: usize,
    doomed: Mutex<Vec<Job>>,
}

impl Deletions {
    /// Starts empty, for at most `most` objects. Fails with `Usage` if two pairs share a place at
    /// the destination: each would delete what the other has copied.
    pub fn new(most: usize, pairs: &[Pair]) -> Result<Self> {
        for (at, one) in pairs.iter().enumerate() {
            for other in &pairs[at + 1..] {
                let (first, second) = (one.copies_prefix(), other.copies_prefix());
                let nested = first.starts_with(&second) || second.starts_with(&first);
                if one.des_bucket == other.des_bucket && nested {
                    return Err(Error::usage(format!(
                        "--delete cannot tell the copies of two pairs apart: both put objects \
                         below s3://{}/{}; give each pair its own destination, or compare them \
                         without --delete",
                        one.des_bucket,
                        if first.len() < second.len() { first } else { second }
                    )));
                }
            }
        }
        Ok(Self { most, doomed: Mutex::default() })
    }

    /// Keeps a deletion. One more than the limit is enough to know that it is exceeded.
    pub(super) fn add(&self, job: Job) {
        let mut doomed = lock(&self.doomed);
        if doomed.len() <= self.most {
            doomed.push(job);
        }
    }

    fn take(&self) -> Vec<Job> {
        std::mem::take(&mut *lock(&self.doomed))
    }

    /// Why nothing is to be deleted.
    fn refusal(&self, summaries: &[&mut Summary]) -> Option<String> {
        let doomed: u64 = summaries.iter().map(|summary| summary.to_delete).sum();
        let is_empty = |summary: &&mut Summary| summary.listed == 0 && summary.to_delete > 0;
        if summaries.iter().any(|summary| !summary.missing.is_empty()) {
            Some("not all keys could be listed".to_owned())
        } else if summaries.iter().any(|summary| summary.unchecked_ends > 0) {
            Some("the end of a listing could not be checked".to_owned())
        } else if summaries.iter().any(|summary| summary.unreadable > 0) {
            Some("the source lists keys that cannot be read".to_owned())
        } else if summaries.iter().any(|summary| summary.failed_to_send > 0) {
            Some("not all copies could be sent".to_owned())
        } else if summaries.iter().any(is_empty) {
            Some("the source lists no object at all: is its prefix right?".to_owned())
        } else if doomed > self.most as u64 {
            Some(format!("{doomed} are more than --max-delete {}", self.most))
        } else {
            None
        }
    }
}

impl Comparison {
    /// Sends the deletions of all pairs at the end, either all or none: a wrong prefix or an
    /// incomplete listing must not empty the destination. The worker checks the source again before
    /// it deletes. Without a queue, only reports what would prevent the deletions.
    pub async fn send_deletions(&self, mut summaries: Vec<&mut Summary>) {
        let Some(deletions) = &self.terms.deletions else { return };
        let doomed = deletions.take();
        if summaries.iter().all(|summary| summary.to_delete == 0) {
            return;
        }
        let refusal = deletions.refusal(&summaries);
        let refusal = match (refusal, self.outlet()) {
            (None, None) => return,
            (Some(refusal), _) => Some(refusal),
            (None, Some(_)) => self.send_all(&doomed).await,
        };
        for summary in summaries.iter_mut().filter(|summary| summary.to_delete > 0) {
            summary.deletions_refused.clone_from(&refusal);
            summary.deletions_sent = if refusal.is_none() { summary.to_delete } else { 0 };
        }
    }

    /// Sends all of them; returns why not all could be sent.
    async fn send_all(&self, doomed: &[Job]) -> Option<String> {
        let (jobs, taken) = mpsc::channel(JOBS_AHEAD);
        let sender = self.send_what_arrives(taken, &self.cancel.child_token());
        for chunk in doomed.chunks(CHUNK) {
            let chunk = chunk.iter().map(|job| (job.clone(), UNMARKED)).collect();
            // If nobody receives any more, the tally says so.
            if jobs.send(chunk).await.is_err() {
                break;
            }
        }
        drop(jobs);
        let tally = sender.await;
        tally.error.map(|error| format!("{} sent, then the queue refused: {error}", tally.sent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise 2.
    #[test]
    fn pairs_that_share_a_place_cannot_delete() {
        let pair = |src_prefix: &str, bucket: &str, des_prefix: &str| Pair {
            src_bucket: "s".into(),
            src_prefix: src_prefix.into(),
            des_bucket: bucket.into(),
            des_prefix: des_prefix.into(),
            strip: false,
        };
        for (one, other, allowed) in [
            (pair("a/", "d", ""), pair("b/", "d", ""), true),
            (pair("", "d", "x"), pair("", "d", "y"), true),
            (pair("", "d", "x"), pair("", "e", "x"), true),
            (pair("", "d", "x"), pair("", "d", "x/y"), false),
            (pair("a/", "d", ""), pair("b/", "d", "a"), false),
            (pair("", "d", ""), pair("", "d", "x"), false),
        ] {
            for pairs in [[one.clone(), other.clone()], [other, one]] {
                assert_eq!(Deletions::new(1, &pairs).is_ok(), allowed, "{pairs:?}");
            }
        }
    }

    /// Promise 2.
    #[test]
    fn deletions_are_refused_for_all_pairs_together() {
        let deletions = Deletions::new(3, &[]).unwrap();
        let summary = |listed, to_delete| Summary { listed, to_delete, ..Summary::default() };
        let refusal =
            |mut all: Vec<Summary>| deletions.refusal(&all.iter_mut().collect::<Vec<_>>());
        assert_eq!(refusal(vec![summary(1, 2), summary(1, 1)]), None);
        assert_eq!(refusal(vec![summary(0, 0), summary(1, 3)]), None);
        for (all, expected) in [
            (vec![summary(1, 2), summary(1, 2)], "4 are more than --max-delete 3"),
            (vec![summary(0, 1), summary(9, 0)], "lists no object at all"),
            (vec![summary(1, 1), Summary { failed_to_send: 1, ..summary(1, 0) }], "not all copies"),
        ] {
            assert!(refusal(all.clone()).is_some_and(|why| why.contains(expected)), "{all:?}");
        }
        for (summary, expected) in [
            (Summary { unchecked_ends: 1, ..summary(1, 1) }, "could not be checked"),
            (Summary { unreadable: 1, impossible: 1, ..summary(1, 1) }, "cannot be read"),
        ] {
            assert!(refusal(vec![summary]).is_some_and(|why| why.contains(expected)));
        }
        let missing = vec![super::super::MissingRange::new(Default::default(), "x".into())];
        let all = vec![summary(1, 1), Summary { missing, ..summary(1, 0) }];
        assert!(refusal(all).is_some_and(|why| why.contains("could be listed")));
    }
}
