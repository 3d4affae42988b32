//! A bucket's keys in order, page by page, the next page on its way while one is worked on.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::object::Etag;
use crate::retry::{Policy, retry};
use crate::sources::sorted::{Row, Sorted};
use crate::store::{ListPage, ListRequest, Listed, ObjectStore};

/// Where pages come from.
#[derive(Clone, Debug)]
pub enum Pages {
    /// A store's own listing.
    Store(Arc<dyn ObjectStore>),
    /// What has been sorted: it is read once, from its beginning to its end.
    Sorted(Arc<Mutex<Sorted>>),
}

impl Pages {
    async fn page(&self, request: &ListRequest) -> Result<ListPage> {
        match self {
            Self::Store(store) => store.list(request).await,
            Self::Sorted(sorted) => {
                let Some(rows) = sorted.lock().await.next_page().await? else {
                    return Ok(ListPage::default());
                };
                let mut page: ListPage = rows.iter().map(listed).collect();
                page.next = Some(String::new());
                Ok(page)
            }
        }
    }
}

fn listed(row: &Row) -> Listed<'_> {
    Listed {
        key: row.key.as_str(),
        size: row.size,
        etag: row.etag.as_ref().map(Etag::as_str),
        last_modified: row.last_modified,
        storage_class: row.storage_class.as_deref(),
        version: row.version.as_deref(),
        restored: row.restored,
    }
}

/// How the pages of listings are asked for.
#[derive(Clone, Debug)]
pub struct Asking {
    /// Where they come from.
    pub pages: Pages,
    /// How patiently.
    pub policy: Policy,
    /// Ends it.
    pub cancel: CancellationToken,
}

/// Reads one bucket's listing. A page that fails for good is an error, never the end; a key out of
/// order is an error too, because a merge would take it for a missing one.
#[derive(Debug)]
pub struct Listing {
    asking: Asking,
    request: ListRequest,
    /// Bytes of every key that are left out in front.
    strip: usize,
    page: ListPage,
    at: usize,
    /// The key behind which the next page begins.
    last: Option<String>,
    ahead: Option<Ahead>,
    pages: u64,
}

/// The request for the next page, on its way while the page before is being worked on.
#[derive(Debug)]
struct Ahead(JoinHandle<Result<ListPage>>);

impl Drop for Ahead {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Listing {
    /// The keys from the page that `request` asks for to the last, each without the first `strip`
    /// bytes. The first page is asked for at once.
    pub fn new(asking: Asking, request: ListRequest, strip: usize) -> Self {
        let last = request.start_after.as_ref().map(|key| key.as_str().to_owned());
        let page = ListPage::default();
        let mut listing = Self { asking, request, strip, page, at: 0, last, ahead: None, pages: 0 };
        listing.ask();
        listing
    }

    /// Sees that there is an object to look at, unless the listing has ended. The page after the next
    /// one is asked for only where `goes_on` says that keys behind this one are wanted.
    pub async fn fill(&mut self, goes_on: impl Fn(&str) -> bool) -> Result<()> {
        while self.at >= self.page.len() {
            let Some(mut ahead) = self.ahead.take() else { return Ok(()) };
            let joined = (&mut ahead.0).await;
            let mut page = joined.map_err(|join| Error::cancelled().with_source(join))??;
            self.pages += 1;
            let next = page.next.take();
            self.check_order(&page)?;
            self.check_token(next.as_deref(), page.is_empty())?;
            (self.page, self.at) = (page, 0);
            let end = self.page.last().map(|listed| self.stripped(listed.key));
            if next.is_some() && end.is_none_or(&goes_on) {
                self.request.token = next;
                self.ask();
            }
            if let Some(listed) = self.page.last() {
                self.last = Some(listed.key.to_owned());
            }
        }
        Ok(())
    }

    /// The object at hand, if [`Self::fill`] has found one.
    pub fn peek(&self) -> Option<Listed<'_>> {
        let listed = self.page.get(self.at)?;
        Some(Listed { key: self.stripped(listed.key), ..listed })
    }

    /// Goes on to the next object.
    pub fn skip(&mut self) {
        self.at += 1;
    }

    /// The key at hand: `None` where there is none.
    pub fn first_at_hand(&self) -> Option<&str> {
        Some(self.stripped(self.page.get(self.at)?.key))
    }

    /// The last key at hand: `None` where there is none.
    pub fn last_at_hand(&self) -> Option<&str> {
        let last = self.page.last().filter(|_| self.at < self.page.len())?;
        Some(self.stripped(last.key))
    }

    /// Up to which key everything is at hand: `None` where all that is wanted is.
    pub fn known_through(&self) -> Option<&str> {
        self.ahead.as_ref().and(self.last_at_hand())
    }

    /// How many objects are at hand.
    pub fn at_hand(&self) -> usize {
        self.page.len().saturating_sub(self.at)
    }

    /// The keys at hand, in order.
    pub fn keys_at_hand(&self) -> impl Iterator<Item = &str> {
        (self.at..self.page.len()).filter_map(|at| Some(self.stripped(self.page.get(at)?.key)))
    }

    /// Up to `count` objects of the page at hand, spread over it.
    pub fn sample(&self, count: usize) -> impl Iterator<Item = Listed<'_>> + Clone {
        let rest = &self.page;
        let at = move |i| Some(rest.len() * i / count).filter(|_| i < rest.len());
        let listed = (0..count).filter_map(at).filter_map(|at| self.page.get(at));
        listed.map(|listed| Listed { key: self.stripped(listed.key), ..listed })
    }

    /// Pages that have been read.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    fn stripped<'a>(&self, key: &'a str) -> &'a str {
        key.get(self.strip..).unwrap_or_default()
    }

    fn ask(&mut self) {
        let Asking { pages, policy, cancel } = self.asking.clone();
        let request = self.request.clone();
        let page = async move { retry(policy, &cancel, || pages.page(&request)).await };
        self.ahead = Some(Ahead(tokio::spawn(page)));
    }

    /// An empty page that is to be asked for again by the same token would be asked for for ever.
    fn check_token(&self, next: Option<&str>, is_empty: bool) -> Result<()> {
        if is_empty && next.is_some() && next == self.request.token.as_deref() {
            let bucket = &self.request.bucket;
            let message = format!("bucket {bucket} answers an empty page and its token once more");
            return Err(Error::invalid(message));
        }
        Ok(())
    }

    fn check_order(&self, page: &ListPage) -> Result<()> {
        let mut last = self.last.as_deref();
        for listed in page.iter() {
            if let Some(last) = last.filter(|last| *last >= listed.key) {
                return Err(Error::invalid(format!(
                    "bucket {} does not list its keys in byte order ({} before {}): directory \
                     buckets and some compatible stores do not; set ListOrder = any for this side, \
                     which sorts the listing on disk before it is compared",
                    self.request.bucket,
                    last.escape_debug(),
                    listed.key.escape_debug()
                )));
            }
            last = Some(listed.key);
        }
        Ok(())
    }
}
