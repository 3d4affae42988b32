//! How a listing ended, and how that is known.

use super::{A_FEW, IGNORES_MARKER};
use crate::error::{Error, ErrorKind, Result};
use crate::quirk::Quirk;
use crate::retry::Retrying;
use crate::store::{ListRequest, Reads};

/// How a listing's end is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListingEnd {
    /// The store has nothing after the last key, or the caller wanted no more.
    #[default]
    Checked,
    /// Nothing could be requested after the last key. The store's pages suggest the end: the last
    /// one was requested by a token, or had room for more.
    Unchecked,
    /// Nothing could be requested after the last key, and nothing else suggests the end: the only
    /// page is full, or the store is known to end its listings early.
    Doubtful,
}

/// The page that claimed to be the last.
#[derive(Clone, Copy, Debug)]
pub struct LastPage {
    /// It was requested by a token.
    pub by_token: bool,
    /// It has as many keys as a page has at most.
    pub is_full: bool,
}

impl LastPage {
    /// The end of a listing of `bucket` if nothing can be requested after it.
    pub fn unchecked(self, store: &dyn Reads, bucket: &str) -> ListingEnd {
        let ends_early = store.profile().has(bucket, Quirk::EndsListingsEarly);
        match !ends_early && (self.by_token || !self.is_full) {
            true => ListingEnd::Unchecked,
            false => ListingEnd::Doubtful,
        }
    }
}

/// Whether `error` is the store's refusal of `request` because of its start. A page that cannot be
/// read is an error wherever it begins.
pub fn refuses_to_begin(error: &Error, request: &ListRequest) -> bool {
    let is_refusal = error.evidence().is_some_and(|evidence| evidence.status != 0);
    let begins = request.start_after.is_some() && request.token.is_none();
    error.kind() == ErrorKind::Invalid && is_refusal && begins
}

/// Called after such a refusal. Notes that a store refuses any start, if it also refuses a plain
/// key and answers a request without a start. Fails if it refuses that too, since then the refusal
/// has another reason.
pub async fn learn_refusal(
    store: Retrying<'_, dyn Reads>,
    request: &ListRequest,
    refusal: Error,
) -> Result<()> {
    let few = ListRequest { start_after: None, max_keys: Some(A_FEW), ..request.clone() };
    store.list(&few).await?;
    let plain = [request.prefix.as_bytes(), b"0"].concat();
    let few = ListRequest { start_after: Some(plain), ..few };
    match store.list(&few).await {
        Err(error) if refuses_to_begin(&error, &few) => {
            let (bucket, quirk) = (&request.bucket, Quirk::IgnoresStartAfter);
            let profile = store.inner.profile();
            if profile.value(bucket, quirk) < Some(IGNORES_MARKER) {
                profile.learn_value(bucket, quirk, IGNORES_MARKER, refusal);
            }
            Ok(())
        }
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}
