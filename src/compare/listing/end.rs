//! Where a listing has ended, and how that is known.

use tokio_util::sync::CancellationToken;

use super::{A_FEW, IGNORES_MARKER};
use crate::error::{Error, ErrorKind, Result};
use crate::quirk::Quirk;
use crate::retry::{Policy, retry};
use crate::store::{ListRequest, ObjectStore};

/// How a listing's end is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The store has nothing after the last key, or the listing was to end before.
    #[default]
    Checked,
    /// Nothing could be asked for after the last key. What the store's pages say speaks for the end: the
    /// last one came by a token, or had room for more.
    Unchecked,
    /// Nothing could be asked for after the last key, and nothing else speaks for the end: the only page
    /// is full, or the store is known to end its listings early.
    Doubtful,
}

/// The page that called itself the last.
#[derive(Clone, Copy, Debug)]
pub struct LastPage {
    /// It was asked for by a token.
    pub by_token: bool,
    /// It has as many keys as a page has at most.
    pub is_full: bool,
}

impl LastPage {
    /// The end of a listing of `bucket` after which nothing can be asked for.
    pub fn unchecked(self, store: &dyn ObjectStore, bucket: &str) -> End {
        let ends_early = store.profile().has(bucket, Quirk::EndsListingsEarly);
        match !ends_early && (self.by_token || !self.is_full) {
            true => End::Unchecked,
            false => End::Doubtful,
        }
    }
}

/// Whether `error` is the store's refusal of `request` for the place where it was to begin. A page that
/// cannot be read is an error wherever it begins.
pub fn refuses_to_begin(error: &Error, request: &ListRequest) -> bool {
    let is_refusal = error.evidence().is_some_and(|evidence| evidence.status != 0);
    let begins = request.start_after.is_some() && request.token.is_none();
    error.kind() == ErrorKind::Invalid && is_refusal && begins
}

/// After such a refusal: notes a store that refuses to begin anywhere, which it does if it refuses a plain
/// key as well, and answers when it is not to begin after one. Fails if it refuses that too, since then
/// the refusal speaks of something else.
pub async fn learn_refusal(
    store: &dyn ObjectStore,
    request: &ListRequest,
    policy: Policy,
    cancel: &CancellationToken,
    refusal: Error,
) -> Result<()> {
    let few = ListRequest { start_after: None, max_keys: Some(A_FEW), ..request.clone() };
    retry(policy, cancel, || store.list(&few)).await?;
    let plain = [request.prefix.as_bytes(), b"0"].concat();
    let few = ListRequest { start_after: Some(plain), ..few };
    match retry(policy, cancel, || store.list(&few)).await {
        Err(error) if refuses_to_begin(&error, &few) => {
            let (bucket, quirk) = (&request.bucket, Quirk::IgnoresStartAfter);
            if store.profile().value(bucket, quirk) < Some(IGNORES_MARKER) {
                store.profile().learn_value(bucket, quirk, IGNORES_MARKER, refusal);
            }
            Ok(())
        }
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}
