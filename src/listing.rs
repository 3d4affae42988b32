//! A bucket's keys as a stream in key order, one page ahead.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::object::ObjectKey;
use crate::retry::{Policy, retry};
use crate::store::{ListPage, ListRequest, Listed, ObjectStore};

/// Reads one bucket's listing. A page that fails for good is an error, never the end; a key out of
/// order is an error too, because a merge would take it for a missing one.
#[derive(Debug)]
pub struct Listing {
    store: Arc<dyn ObjectStore>,
    request: ListRequest,
    policy: Policy,
    cancel: CancellationToken,
    page: VecDeque<Listed>,
    last: Option<ObjectKey>,
    ahead: Option<Ahead>,
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
    /// The keys from the page that `request` asks for to the last. The first page is asked for at
    /// once.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        request: ListRequest,
        policy: Policy,
        cancel: &CancellationToken,
    ) -> Self {
        let cancel = cancel.clone();
        let mut listing =
            Self { store, request, policy, cancel, page: VecDeque::new(), last: None, ahead: None };
        listing.ask();
        listing
    }

    /// The next object; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Listed>> {
        while self.page.is_empty() {
            let Some(mut ahead) = self.ahead.take() else { return Ok(None) };
            let joined = (&mut ahead.0).await;
            let page = joined.map_err(|join| Error::cancelled().with_source(join))??;
            if let Some(token) = page.next {
                self.request.token = Some(token);
                self.ask();
            }
            self.page = page.objects.into();
        }
        let Some(listed) = self.page.pop_front() else { return Ok(None) };
        self.check_order(&listed)?;
        self.last = Some(listed.key.clone());
        Ok(Some(listed))
    }

    fn ask(&mut self) {
        let (store, request) = (Arc::clone(&self.store), self.request.clone());
        let (policy, cancel) = (self.policy, self.cancel.clone());
        let page = async move { retry(policy, &cancel, || store.list(&request)).await };
        self.ahead = Some(Ahead(tokio::spawn(page)));
    }

    fn check_order(&self, listed: &Listed) -> Result<()> {
        match &self.last {
            Some(last) if *last >= listed.key => Err(Error::invalid(format!(
                "bucket {} does not list its keys in byte order ({} before {}): directory buckets \
                 and some compatible stores do not, and cannot be compared",
                self.request.bucket, last, listed.key
            ))),
            _ => Ok(()),
        }
    }
}
