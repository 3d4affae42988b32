//! The listings of both sides of a pair.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::listing::{Asking, Listing, Pages};
use crate::object::{KeyNames, ObjectKey};
use crate::params::Pair;
use crate::retry::Policy;
use crate::store::ListRequest;

/// Both sides of a pair, for listings that begin anywhere.
#[derive(Debug)]
pub struct BothSides {
    pair: Pair,
    requests: [ListRequest; 2],
    askings: [Asking; 2],
}

impl BothSides {
    /// Of these pages; `versions`: the source's listing has them.
    pub fn new(
        pair: &Pair,
        versions: bool,
        pages: [Pages; 2],
        max_retry: u32,
        cancel: &CancellationToken,
    ) -> Self {
        let policy = Policy::listing(max_retry);
        let asking =
            |pages| Asking { pages, policy, first: Arc::default(), cancel: cancel.clone() };
        let requests = requests(pair, versions);
        Self { pair: pair.clone(), requests, askings: pages.map(asking) }
    }

    /// Whether listings of both sides may begin after any key.
    pub fn begin_anywhere(&self) -> bool {
        let [source, destination] = &self.askings;
        source.pages.begin_anywhere(&self.pair.src_bucket)
            && destination.pages.begin_anywhere(&self.pair.des_bucket)
    }

    /// Both sides' listings after the source's key `after`.
    pub fn listings(&self, after: Option<&str>) -> [Listing; 2] {
        let after = after.map(ObjectKey::new);
        let target = after.as_ref().map(|after| self.pair.target(after).key);
        let listing = |side: usize, after: Option<ObjectKey>, names: KeyNames| {
            let start_after = after.map(|key| key.as_str().as_bytes().to_vec());
            let request = ListRequest { start_after, ..self.requests[side].clone() };
            Listing::new(self.askings[side].clone(), request, names)
        };
        [listing(0, after, KeyNames::default()), listing(1, target, self.pair.names_of_copies())]
    }
}

/// What is listed of a pair, source first.
pub(super) fn requests(pair: &Pair, versions: bool) -> [ListRequest; 2] {
    let request = |bucket: &str, prefix: String, versions| ListRequest {
        bucket: bucket.to_owned(),
        prefix,
        versions,
        ..ListRequest::default()
    };
    [
        request(&pair.src_bucket, pair.src_prefix.clone(), versions),
        request(&pair.des_bucket, pair.copies_prefix(), false),
    ]
}
