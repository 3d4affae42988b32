//! Where the keys of a side come from, where that is not a listing in byte order.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::Jobsender;
use crate::error::{Error, ErrorKind, Result};
use crate::listing::{A_FEW, IGNORES_MARKER, Pages};
use crate::object::{Etag, ObjectKey};
use crate::params::Pair;
use crate::retry::{Policy, retry};
use crate::sources::inventory::Inventory;
use crate::sources::sorted::{Row, Sorted, Sorter};
use crate::store::profile::Quirk;
use crate::store::{ListPage, ListRequest, ObjectStore};

/// Where the keys of one side come from.
#[derive(Clone, Debug, Default)]
pub enum Origin {
    /// A listing in byte order, by several requests at once.
    #[default]
    Listing,
    /// A listing in any order, page after page, sorted on disk in this folder (`None`: the system's
    /// for temporary files).
    Unordered(Option<PathBuf>),
    /// An inventory; nothing is listed.
    Inventory(Arc<Inventory>),
}

impl Origin {
    /// Whether ranges of it can be asked for.
    pub(super) fn has_ranges(&self) -> bool {
        matches!(self, Self::Listing)
    }
}

impl Jobsender {
    /// Where the pages of both sides come from: what has to be sorted is sorted first.
    pub(super) async fn pages(
        &self,
        pair: &Pair,
        cancel: &CancellationToken,
    ) -> Result<[Pages; 2]> {
        let [source, destination] = self.requests(pair);
        let [from, to] = &self.origins;
        tokio::try_join!(self.side(from, source, cancel), self.side(to, destination, cancel))
            .map(|(source, destination)| [source, destination])
    }

    async fn side(
        &self,
        origin: &Origin,
        (store, request): (&Arc<dyn ObjectStore>, ListRequest),
        cancel: &CancellationToken,
    ) -> Result<Pages> {
        let sorted = match origin {
            Origin::Listing => return Ok(Pages::Store(Arc::clone(store))),
            Origin::Inventory(inventory) => {
                inventory.sorted(&request.bucket, &request.prefix).await?
            }
            Origin::Unordered(folder) => {
                let sorter = Sorter::new(folder.as_deref());
                self.sort(store, request, sorter, cancel).await?
            }
        };
        Ok(Pages::Sorted(Arc::new(Mutex::new(sorted))))
    }

    /// The whole listing, one page after the other. Behind its last key a few more are asked for: an order
    /// of its own may bring keys that were listed before, and they are one in the end.
    async fn sort(
        &self,
        store: &Arc<dyn ObjectStore>,
        mut request: ListRequest,
        sorter: Sorter,
        cancel: &CancellationToken,
    ) -> Result<Sorted> {
        let policy = Policy::listing(self.max_retry);
        let profile = store.profile();
        let (mut last, mut greatest, mut claimed) = (None::<Vec<u8>>, Vec::new(), false);
        loop {
            let page = retry(policy, cancel, || store.list(&request)).await;
            let mut page = match page {
                // Directory buckets do not know it.
                Err(error) if claimed && error.kind() == ErrorKind::Invalid => {
                    profile.learn_value(
                        &request.bucket,
                        Quirk::IgnoresStartAfter,
                        IGNORES_MARKER,
                        error,
                    );
                    return Ok(sorter.finish());
                }
                page => page?,
            };
            let next = page.next.take();
            let end = page.last().map(|listed| listed.key.as_bytes().to_vec());
            let goes_beyond = end.as_ref().is_some_and(|end| *end > greatest);
            if claimed && goes_beyond && request.token.is_none() {
                profile.learn(&request.bucket, Quirk::EndsListingsEarly, "there were more keys");
            }
            sorter.keep_odd(page.odd.iter().cloned())?;
            sorter.push_page(rows(&page)).await?;
            greatest = greatest.max(end.clone().unwrap_or_default());
            last = end.or(last);
            match next {
                Some(token) if request.token.as_ref() == Some(&token) => {
                    let bucket = &request.bucket;
                    return Err(Error::invalid(format!("bucket {bucket} repeats its token")));
                }
                Some(token) => (request.token, request.max_keys) = (Some(token), None),
                // As often as that brings it forward.
                None if !claimed || goes_beyond => {
                    (request.token, request.start_after) = (None, last.clone());
                    request.max_keys = Some(A_FEW).filter(|_| !claimed);
                    claimed = true;
                }
                None => return Ok(sorter.finish()),
            }
        }
    }
}

fn rows(page: &ListPage) -> Vec<Row> {
    let row = |listed: crate::store::Listed<'_>| Row {
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
