//! Where a side's keys come from if it is not listed in byte order.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::comparison::{Comparison, Listing};
use crate::compare::listing::{
    A_FEW, IGNORES_MARKER, LastPage, ListingEnd, Pages, learn_refusal, refuses_to_begin,
};
use crate::error::{Error, Result};
use crate::object::{Etag, ObjectKey};
use crate::params::Pair;
use crate::quirk::Quirk;
use crate::retry::{Policy, Retrying};
use crate::sources::inventory::Inventory;
use crate::sources::sort::{KeyRow, Sorted, Sorter};
use crate::store::{ListPage, ListRequest, Reads};

/// Where one side's keys come from.
#[derive(Clone, Debug, Default)]
pub enum KeyOrigin {
    /// A listing in byte order, with several requests at once.
    #[default]
    Listing,
    /// A listing in any order, page after page, sorted on disk in this folder (`None`: the system's
    /// temporary folder).
    Unordered(Option<PathBuf>),
    /// An inventory; nothing is listed.
    Inventory(Arc<Inventory>),
}

impl KeyOrigin {
    /// Whether it can be read in ranges.
    pub fn has_ranges(&self) -> bool {
        matches!(self, Self::Listing)
    }
}

impl Comparison {
    /// Both sides' pages; what must be sorted is sorted first.
    pub async fn pages(&self, pair: &Pair, [from, to]: &[KeyOrigin; 2]) -> Result<[Pages; 2]> {
        let [source, destination] = self.terms.requests(pair);
        tokio::try_join!(self.side(from, source), self.side(to, destination))
            .map(|(source, destination)| [source, destination])
    }

    async fn side(&self, origin: &KeyOrigin, (store, request): Listing<'_>) -> Result<Pages> {
        let (sorted, end) = match origin {
            KeyOrigin::Listing => return Ok(Pages::Store(Arc::clone(store))),
            KeyOrigin::Inventory(inventory) => {
                let sorted = inventory.sorted(&request.bucket, &request.prefix).await?;
                (sorted, ListingEnd::Checked)
            }
            KeyOrigin::Unordered(folder) => {
                let sorter = Sorter::new(folder.as_deref());
                self.sort(store, request, sorter).await?
            }
        };
        Ok(Pages::Sorted(Arc::new(Mutex::new(sorted)), end))
    }

    /// Sorts the whole listing, one page after another. Whatever the order of keys, it also asks
    /// for what follows the last key, as long as that brings a new last key; keys that come again
    /// are merged in the end. Also returns how the listing's end is known.
    async fn sort(
        &self,
        store: &Arc<dyn Reads>,
        mut request: ListRequest,
        sorter: Sorter,
    ) -> Result<(Sorted, ListingEnd)> {
        let policy = Policy::listing(self.terms.max_retry);
        let pages = Retrying::by(&**store, policy, &self.cancel);
        let (profile, bucket) = (store.profile(), request.bucket.clone());
        let mut ends = Ends::default();
        let mut claimed = LastPage { by_token: false, is_full: false };
        loop {
            let is_behind = request.start_after.is_some() && request.token.is_none();
            let ignores = profile.value(&bucket, Quirk::IgnoresStartAfter);
            let mut page = match pages.list(&request).await {
                // Directory buckets do not support it.
                Err(error) if refuses_to_begin(&error, &request) => {
                    learn_refusal(pages, &request, error).await?;
                    return Ok((sorter.finish(), claimed.unchecked(&**store, &bucket)));
                }
                page => page?,
            };
            if is_behind && ends.begins_again(&page) {
                let said = "a page after the first begins with the first key";
                let value = ignores.map_or(1, |_| IGNORES_MARKER);
                let is_news = profile.learn_value(&bucket, Quirk::IgnoresStartAfter, value, said);
                match ignores {
                    None if is_news => continue,
                    _ => return Ok((sorter.finish(), claimed.unchecked(&**store, &bucket))),
                }
            }
            let (next, is_full) = (page.next.take(), page.is_full);
            if ends.see(&page) && is_behind {
                profile.learn(
                    &bucket,
                    Quirk::EndsListingsEarly,
                    "there were more keys after the last page",
                );
            }
            sorter.keep_odd(page.odd.iter().cloned())?;
            sorter.push_page(rows(&page)).await?;
            match next {
                Some(token) if request.token.as_ref() == Some(&token) => {
                    return Err(Error::invalid(format!(
                        "bucket {bucket} answers a page of its listing with the token that was sent"
                    )));
                }
                Some(token) => (request.token, request.max_keys) = (Some(token), None),
                None => {
                    let Some(last) = ends.next() else {
                        return Ok((sorter.finish(), ListingEnd::Checked));
                    };
                    if !is_behind {
                        claimed = LastPage { by_token: request.token.is_some(), is_full };
                    }
                    let is_first = request.start_after.is_none();
                    request.max_keys = Some(A_FEW).filter(|_| is_first);
                    (request.token, request.start_after) = (None, Some(last));
                }
            }
        }
    }
}

/// The ends of the pages of an unordered listing.
#[derive(Default)]
struct Ends {
    first: Option<String>,
    last: Vec<u8>,
    greatest: Vec<u8>,
    asked: HashSet<Vec<u8>>,
}

impl Ends {
    /// Takes in a page; returns whether its last key is greater than all before.
    fn see(&mut self, page: &ListPage) -> bool {
        let Some(last) = page.last() else { return false };
        self.last = last.key.as_bytes().to_vec();
        if self.first.is_none() {
            self.first = page.get(0).map(|listed| listed.key.to_owned());
        }
        let is_greatest = self.last > self.greatest;
        if is_greatest {
            self.greatest.clone_from(&self.last);
        }
        is_greatest
    }

    fn begins_again(&self, page: &ListPage) -> bool {
        let first = page.get(0).map(|listed| listed.key);
        first.is_some()
            && first == self.first.as_deref()
            && self.last != first.unwrap_or_default().as_bytes()
    }

    /// The last key, if what follows it has not been requested yet.
    fn next(&mut self) -> Option<Vec<u8>> {
        self.asked.insert(self.last.clone()).then(|| self.last.clone())
    }
}

fn rows(page: &ListPage) -> Vec<KeyRow> {
    let row = |listed: crate::store::Listed<'_>| KeyRow {
        key: ObjectKey::new(listed.key),
        size: listed.size,
        etag: listed.etag.map(Etag::new),
        last_modified: listed.last_modified,
        storage_class: listed.storage_class.map(str::to_owned),
        version: listed.version.map(str::to_owned),
        restored: listed.restored,
    };
    page.iter().map(row).collect()
}
