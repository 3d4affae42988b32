//! What is on record as copied, streamed in the order of the destination's keys.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::object::{ObjectId, ObjectKey, Revision};
use crate::params::Pair;
use crate::record::{CopiesRequest, Copy, MAX_LOOKED_UP, PastCopies, RecordId};
use crate::retry::{Policy, Retrying};

/// Requests at once that look up records: one page of the listing.
const AT_ONCE: usize = 10;

/// The records of one range.
#[derive(Debug)]
pub(super) struct Copies {
    state: Arc<dyn PastCopies>,
    pair: Pair,
    request: CopiesRequest,
    policy: Policy,
    cancel: CancellationToken,
    ended: bool,
    /// The last key at the destination whose records have been read; there may be more records of
    /// it.
    read_through: Option<ObjectKey>,
    at_hand: VecDeque<Copy>,
}

impl Copies {
    /// The records of `pair` after the source's key `after`.
    pub(super) fn new(
        state: Arc<dyn PastCopies>,
        pair: &Pair,
        after: Option<&str>,
        policy: Policy,
        cancel: CancellationToken,
    ) -> Self {
        let prefix = pair.copies_prefix();
        let after = after.map(|key| pair.target(&ObjectKey::new(key)).key);
        let request = CopiesRequest { bucket: pair.des_bucket.clone(), prefix, after, token: None };
        let pair = pair.clone();
        let (ended, read_through, at_hand) = (false, None, VecDeque::new());
        Self { state, pair, request, policy, cancel, ended, read_through, at_hand }
    }

    /// Fetches the records of these keys of the source, which are in order.
    pub(super) async fn fill(&mut self, keys: impl Iterator<Item = &str>) -> Result<()> {
        let wanted: Vec<&str> = keys.collect();
        let Some(last) = wanted.last().map(|key| self.target(key)) else { return Ok(()) };
        while !self.ended && self.read_through.as_ref().is_none_or(|through| *through <= last) {
            let state = Retrying::by(&*self.state, self.policy, &self.cancel);
            let page = state.copies(&self.request).await?;
            let Some(page) = page else { return self.look_up(&wanted).await };
            self.ended = page.next.is_none();
            self.request.token = page.next;
            let through = page.copies.last().map(|copy| copy.id.des.key.clone());
            self.read_through = through.or(self.read_through.take());
            // The number of records that are no longer at the source has no limit, so they are not
            // kept.
            let is_wanted = |key: &ObjectKey| wanted.binary_search(&key.as_str()).is_ok();
            let is_kept = |copy: &Copy| copy.id.des.key > last || is_wanted(&copy.id.src.key);
            self.at_hand.extend(page.copies.into_iter().filter(is_kept));
        }
        Ok(())
    }

    fn target(&self, key: &str) -> ObjectKey {
        self.pair.target(&ObjectKey::new(key)).key
    }

    /// Looks up each key by itself, if the records have no order.
    async fn look_up(&mut self, keys: &[&str]) -> Result<()> {
        let ids = keys.iter().map(|key| {
            let src = ObjectId::new(&self.pair.src_bucket, *key);
            RecordId { des: self.pair.target(&src.key), src }
        });
        let ids: Vec<RecordId> = ids.collect();
        let look = |ids: Vec<RecordId>| {
            let (state, policy, cancel) =
                (Arc::clone(&self.state), self.policy, self.cancel.clone());
            async move { Retrying::by(&*state, policy, &cancel).copied(&ids).await }
        };
        let chunks: Vec<Vec<RecordId>> =
            ids.chunks(MAX_LOOKED_UP).map(<[RecordId]>::to_vec).collect();
        let found: Vec<Vec<Option<Revision>>> =
            stream::iter(chunks).map(look).buffered(AT_ONCE).try_collect().await?;
        let copies = ids.into_iter().zip(found.into_iter().flatten());
        self.at_hand.clear();
        self.at_hand
            .extend(copies.filter_map(|(id, revision)| {
                Some(Copy { id, revision: revision?, written: None })
            }));
        Ok(())
    }

    /// What was copied of the source's object `key`; must be called in the order of keys.
    pub(super) fn of(&mut self, key: &str) -> Option<Copy> {
        let target = self.target(key);
        while self.at_hand.front().is_some_and(|copy| copy.id.des.key < target) {
            self.at_hand.pop_front();
        }
        // Two pairs may have the same destination; each has its own records.
        let same = self.at_hand.iter().take_while(|copy| copy.id.des.key == target);
        let is_own = |src: &ObjectId| src.bucket == self.pair.src_bucket && src.key.as_str() == key;
        let own = same.filter(|copy| is_own(&copy.id.src)).last();
        own.cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::record::sqlite::SqliteRecords;
    use crate::record::{Attempts, JobStatus, Outcome};
    use crate::sqlite::Database;

    fn pair() -> Pair {
        let [src_bucket, des_bucket, des_prefix] = ["src", "des", "to"].map(str::to_owned);
        Pair { src_bucket, src_prefix: "p/".to_owned(), des_bucket, des_prefix, strip: false }
    }

    fn done(bucket: &str, key: &str) -> Outcome {
        let now = SystemTime::now();
        let src = ObjectId::new(bucket, key);
        Outcome {
            id: RecordId { des: pair().target(&src.key), src },
            size: 1,
            version: Some(format!("{bucket} {key}")),
            etag: None,
            status: JobStatus::Done,
            instance: "i".to_owned(),
            lease: None,
            start_time: now,
            end_time: now,
            error: None,
            deleted: false,
            proven: None,
            written: None,
            order: None,
        }
    }

    fn key(n: usize) -> String {
        format!("p/{n:05}")
    }

    /// Records of another pair with the same destination, of this pair, and of other places.
    async fn copies(after: Option<&str>) -> (Copies, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("state.sqlite")).await.unwrap();
        let state = SqliteRecords::new(&database);
        let numbered = (0..4000).map(|n| done("src", &key(n)));
        let others = (0..4000).step_by(2).map(|n| done("another", &key(n)));
        let elsewhere = [done("src", "o"), done("src", "q")];
        let later = (1001..4000).step_by(1000).map(|n| done("another", &key(n)));
        let outcomes = others.chain(numbered).chain(later).chain(elsewhere);
        let outcomes: Vec<Outcome> = outcomes.collect();
        state.finish(&outcomes).await.unwrap();
        let (policy, cancel) = (Policy::probe(), CancellationToken::new());
        (Copies::new(Arc::new(state), &pair(), after, policy, cancel), folder)
    }

    fn version(copies: &mut Copies, key: &str) -> Option<String> {
        copies.of(key).and_then(|copy| copy.revision.version)
    }

    /// Promise 2.
    #[tokio::test]
    async fn each_key_finds_its_own_record_page_by_page() {
        for (after, first) in [(None, 0), (Some(key(1776)), 1777)] {
            let (mut copies, _folder) = copies(after.as_deref()).await;
            let keys: Vec<String> = (first..4000).map(key).collect();
            for page in keys.chunks(700) {
                // Every third key is not on record.
                let listed: Vec<String> = page
                    .iter()
                    .flat_map(|key| [key.clone(), format!("{key}/new")])
                    .filter(|key| !key.ends_with("1/new"))
                    .collect();
                copies.fill(listed.iter().map(String::as_str)).await.unwrap();
                for key in &listed {
                    let expected = (!key.ends_with("new")).then(|| format!("src {key}"));
                    assert_eq!(version(&mut copies, key), expected, "{key}");
                }
            }
        }
    }

    /// Promise 2.
    #[tokio::test]
    async fn a_record_is_found_behind_that_of_another_pair_at_the_end_of_a_page() {
        let (mut copies, _folder) = copies(None).await;
        // Each even key has two records: a page of a thousand ends between those of this key.
        copies.fill([key(666)].iter().map(String::as_str)).await.unwrap();
        assert_eq!(version(&mut copies, &key(666)), Some(format!("src {}", key(666))));
    }

    /// Promises 2, 6.
    #[tokio::test]
    async fn records_of_what_the_source_no_longer_has_are_not_kept() {
        let (mut copies, _folder) = copies(None).await;
        let keys = [key(3), key(3998)];
        copies.fill(keys.iter().map(String::as_str)).await.unwrap();
        // Those two, the other pair's with the same destination, and the page after them.
        assert!(copies.at_hand.len() <= 3 + 1000, "{} are kept", copies.at_hand.len());
        for key in keys {
            assert_eq!(version(&mut copies, &key), Some(format!("src {key}")));
        }
    }

    /// Promise 2.
    #[tokio::test]
    async fn what_nobody_asks_for_is_not_read() {
        let (mut copies, _folder) = copies(None).await;
        copies.fill(std::iter::empty()).await.unwrap();
        assert_eq!((copies.at_hand.len(), &copies.request.token), (0, &None));
        let keys = [key(5), key(9)];
        copies.fill(keys.iter().map(String::as_str)).await.unwrap();
        let token = copies.request.token.clone();
        assert!(token.is_some() && !copies.ended, "the first page tells all");
        // Records on the page that was read are not requested again.
        copies.fill([key(600)].iter().map(String::as_str)).await.unwrap();
        assert_eq!(
            (version(&mut copies, &key(600)), copies.request.token),
            (Some(format!("src {}", key(600))), token)
        );
    }
}
