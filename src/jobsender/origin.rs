//! Where the keys of a side come from, where that is not a listing in byte order.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::Jobsender;
use crate::error::{Error, Result};
use crate::listing::Pages;
use crate::object::{Etag, ObjectKey};
use crate::params::Pair;
use crate::retry::{Policy, retry};
use crate::sources::inventory::Inventory;
use crate::sources::sorted::{Row, Sorted, Sorter};
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

    /// The whole listing, one page after the other.
    async fn sort(
        &self,
        store: &Arc<dyn ObjectStore>,
        mut request: ListRequest,
        sorter: Sorter,
        cancel: &CancellationToken,
    ) -> Result<Sorted> {
        let policy = Policy::listing(self.max_retry);
        loop {
            let mut page = retry(policy, cancel, || store.list(&request)).await?;
            let next = page.next.take();
            sorter.push_page(rows(&page)).await?;
            match next {
                Some(token) if request.token.as_ref() == Some(&token) => {
                    let bucket = &request.bucket;
                    return Err(Error::invalid(format!("bucket {bucket} repeats its token")));
                }
                Some(token) => request.token = Some(token),
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
