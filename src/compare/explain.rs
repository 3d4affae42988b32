//! Explains what happens to one key, and why.

use super::Verdict;
use super::comparison::{Comparison, Listing};
use super::judge::Judge;
use crate::error::Result;
use crate::params::Pair;
use crate::retry::{Policy, Retrying};
use crate::store::{ListPage, ListRequest, Listed};

impl Comparison {
    /// What a comparison of `pair` would do with the source's `key`, in words; asks each side for
    /// one page.
    pub async fn explain(&self, pair: &Pair, key: &str) -> Result<String> {
        let judge = Judge::of(self, pair);
        let ids = judge.ids(key);
        let (id, target) = (&ids.src, ids.des.key.as_str());
        if !key.starts_with(&pair.src_prefix) {
            let prefix = &pair.src_prefix;
            return Ok(format!(
                "{id}: not looked at, it does not begin with the prefix {prefix:?}"
            ));
        }
        let [source, destination] = self.terms.requests(pair);
        // The key itself is the first of all keys that begin with it.
        let page = async |(store, request): Listing<'_>, key: &str| {
            let request = ListRequest { prefix: key.to_owned(), ..request };
            let policy = Policy::listing(self.terms.max_retry);
            Retrying::by(&**store, policy, &self.cancel).list(&request).await
        };
        let (source, destination) = tokio::try_join!(page(source, key), page(destination, target))?;
        fn first<'a>(page: &'a ListPage, key: &str) -> Option<Listed<'a>> {
            page.get(0).filter(|listed| listed.key == key)
        }
        let (listed, copy) = (first(&source, key), first(&destination, target));
        let Some(listed) = listed else {
            let there = if copy.is_some() { ", the destination has it" } else { "" };
            return Ok(match judge.judge(Listed::new(key, 0), copy, None) {
                Verdict::Ignored(rule) => {
                    format!("{id}: not at the source{there}; it would be ignored by {rule}")
                }
                _ => format!("{id}: not at the source{there}; no rule would leave it out"),
            });
        };
        let copied = self.copied(&ids).await?;
        let verdict = judge.judge(listed, copy, copied.as_ref().map(Option::as_ref));
        Ok(format!("{id} ({} bytes): {verdict}", listed.size))
    }
}
