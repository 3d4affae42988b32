//! Explains what happens to one key, and why.

use std::sync::Arc;

use super::judge::Judge;
use super::{Jobsender, Verdict};
use crate::error::Result;
use crate::object::{ObjectId, ObjectKey, destination_key};
use crate::params::Pair;
use crate::record::RecordId;
use crate::retry::{Policy, retry};
use crate::store::{ListPage, ListRequest, Listed, ObjectStore};

impl Jobsender {
    /// What a comparison of `pair` would do with the source's `key`, in words; asks each side for
    /// one page.
    pub async fn explain(&self, pair: &Pair, key: &str) -> Result<String> {
        let id = ObjectId::new(&pair.src_bucket, key);
        if !key.starts_with(&pair.src_prefix) {
            let prefix = &pair.src_prefix;
            return Ok(format!(
                "{id}: not looked at, it does not begin with the prefix {prefix:?}"
            ));
        }
        let [source, destination] = self.requests(pair);
        let target = destination_key(&pair.des_prefix, &ObjectKey::new(key));
        // The key itself is the first of all keys that begin with it.
        let page = async |(store, request): (&Arc<dyn ObjectStore>, ListRequest), key: &str| {
            let request = ListRequest { prefix: key.to_owned(), ..request };
            retry(Policy::listing(self.max_retry), &self.cancel, || store.list(&request)).await
        };
        let (source, destination) =
            tokio::try_join!(page(source, key), page(destination, target.as_str()))?;
        fn first<'a>(page: &'a ListPage, key: &str) -> Option<Listed<'a>> {
            page.get(0).filter(|listed| listed.key == key)
        }
        let judge = Judge::of(self, pair);
        let (listed, copy) = (first(&source, key), first(&destination, target.as_str()));
        let Some(listed) = listed else {
            let there = if copy.is_some() { ", the destination has it" } else { "" };
            return Ok(match judge.judge(Listed::new(key, 0), copy, None) {
                Verdict::Ignored(rule) => {
                    format!("{id}: not at the source{there}; it would be ignored by {rule}")
                }
                _ => format!("{id}: not at the source{there}; no rule would leave it out"),
            });
        };
        let copied = match &self.versions {
            None => None,
            Some(state) => {
                let ids = [RecordId {
                    src: id.clone(),
                    des: ObjectId { bucket: pair.des_bucket.clone(), key: target.clone() },
                }];
                let policy = Policy::control(self.max_retry);
                let copied = retry(policy, &self.cancel, || state.copied(&ids)).await?;
                Some(copied.into_iter().next().flatten())
            }
        };
        let verdict = judge.judge(listed, copy, copied.as_ref().map(Option::as_ref));
        Ok(format!("{id} ({} bytes): {verdict}", listed.size))
    }
}
