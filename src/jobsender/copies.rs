//! What is on record as copied, streamed in the order of the destination's keys.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::object::{ObjectId, ObjectKey, Revision, destination_key};
use crate::params::Pair;
use crate::retry::{Policy, retry};
use crate::state::{CopiesRequest, Copy, RecordId, StateStore};

/// Objects that are looked up together: the keys of one BatchGetItem of Amazon DynamoDB.
const LOOKED_UP: usize = 100;
/// Such requests at once: a page of the listing.
const AT_ONCE: usize = 10;

/// The records of one range.
#[derive(Debug)]
pub(super) struct Copies {
    state: Arc<dyn StateStore>,
    pair: Pair,
    request: CopiesRequest,
    policy: Policy,
    cancel: CancellationToken,
    ended: bool,
    at_hand: VecDeque<Copy>,
}

impl Copies {
    /// The records of `pair` behind the source's key `after`.
    pub(super) fn new(
        state: Arc<dyn StateStore>,
        pair: &Pair,
        after: Option<&str>,
        policy: Policy,
        cancel: CancellationToken,
    ) -> Self {
        let target = |key: &str| destination_key(&pair.des_prefix, &ObjectKey::new(key));
        let prefix = pair.copies_prefix();
        let after = after.map(target);
        let request = CopiesRequest { bucket: pair.des_bucket.clone(), prefix, after, token: None };
        let pair = pair.clone();
        Self { state, pair, request, policy, cancel, ended: false, at_hand: VecDeque::new() }
    }

    /// Sees that all records up to the source's key `through` are at hand, `None`: all there are; at
    /// least those of these keys of the source, which are in order.
    pub(super) async fn fill(
        &mut self,
        through: Option<&str>,
        keys: impl Iterator<Item = &str>,
    ) -> Result<()> {
        let through = through.map(|key| self.target(key));
        while !self.ended && !self.is_known(through.as_ref()) {
            let (state, request) = (&self.state, &self.request);
            let page = retry(self.policy, &self.cancel, || state.copies(request)).await?;
            let Some(page) = page else { return self.look_up(keys).await };
            self.ended = page.next.is_none();
            self.request.token = page.next;
            self.at_hand.extend(page.copies);
        }
        Ok(())
    }

    fn is_known(&self, through: Option<&ObjectKey>) -> bool {
        let last = self.at_hand.back().map(|copy| &copy.id.des.key);
        through.zip(last).is_some_and(|(through, last)| last > through)
    }

    fn target(&self, key: &str) -> ObjectKey {
        destination_key(&self.pair.des_prefix, &ObjectKey::new(key))
    }

    /// Each by its key, where the records have no order.
    async fn look_up(&mut self, keys: impl Iterator<Item = &str>) -> Result<()> {
        let Pair { src_bucket, des_bucket, .. } = &self.pair;
        let ids = keys.map(|key| RecordId {
            src: ObjectId::new(src_bucket, key),
            des: ObjectId { bucket: des_bucket.clone(), key: self.target(key) },
        });
        let ids: Vec<RecordId> = ids.collect();
        let look = |ids: Vec<RecordId>| {
            let (state, policy, cancel) =
                (Arc::clone(&self.state), self.policy, self.cancel.clone());
            async move { retry(policy, &cancel, || state.copied(&ids)).await }
        };
        let chunks: Vec<Vec<RecordId>> = ids.chunks(LOOKED_UP).map(<[RecordId]>::to_vec).collect();
        let found: Vec<Vec<Option<Revision>>> =
            stream::iter(chunks).map(look).buffered(AT_ONCE).try_collect().await?;
        let copies = ids.into_iter().zip(found.into_iter().flatten());
        self.at_hand.clear();
        self.at_hand
            .extend(copies.filter_map(|(id, revision)| Some(Copy { id, revision: revision? })));
        Ok(())
    }

    /// What was copied of the source's object `key`; asked in the order of keys.
    pub(super) fn of(&mut self, key: &str) -> Option<Revision> {
        let target = self.target(key);
        while self.at_hand.front().is_some_and(|copy| copy.id.des.key < target) {
            self.at_hand.pop_front();
        }
        // Two pairs may have the same destination: each has its own records.
        let same = self.at_hand.iter().take_while(|copy| copy.id.des.key == target);
        let is_own = |src: &ObjectId| src.bucket == self.pair.src_bucket && src.key.as_str() == key;
        let own = same.filter(|copy| is_own(&copy.id.src)).last();
        own.map(|copy| copy.revision.clone())
    }
}
