//! The demo's proof: reads every object on both sides and compares them byte by byte.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio_util::sync::CancellationToken;

use crate::compare::listing::{Asking, Listing, Pages};
use crate::error::Result;
use crate::object::{KeyNames, ObjectId, ObjectKey};
use crate::retry::Policy;
use crate::store::{GetRequest, ListRequest, ObjectStore};
use crate::verify::bytes::same_bytes;

const OBJECTS_AT_ONCE: usize = 8;

/// The result of the comparison.
#[derive(Debug, Default)]
pub(super) struct DemoProof {
    /// Objects that are equal on both sides.
    pub equal: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The differences, in words.
    pub differences: Vec<String>,
}

type Place<'a> = (&'a Arc<dyn ObjectStore>, &'a str);

/// Compares all objects of two buckets: keys, bytes and headers.
pub(super) async fn compare_all(source: Place<'_>, destination: Place<'_>) -> Result<DemoProof> {
    let (keys, copies) = (keys(source).await?, keys(destination).await?);
    let mut proof = DemoProof::default();
    let extra = copies.iter().filter(|key| keys.binary_search(key).is_err());
    proof.differences.extend(extra.map(|key| format!("{key}: only at the destination")));
    let compared = stream::iter(keys.iter().cloned())
        .map(|key| async move { compare(source, destination, key).await })
        .buffer_unordered(OBJECTS_AT_ONCE);
    let add = |mut proof: DemoProof, one: std::result::Result<u64, String>| async move {
        match one {
            Ok(bytes) => {
                proof.equal += 1;
                proof.bytes += bytes;
            }
            Err(difference) => proof.differences.push(difference),
        }
        Ok(proof)
    };
    compared.try_fold(proof, add).await
}

async fn keys((store, bucket): Place<'_>) -> Result<Vec<ObjectKey>> {
    let cancel = CancellationToken::new();
    let request = ListRequest { bucket: bucket.to_owned(), ..ListRequest::default() };
    let (pages, first) = (Pages::Store(Arc::<dyn ObjectStore>::clone(store)), Arc::default());
    let asking = Asking { pages, policy: Policy::probe(), first, cancel };
    let mut listing = Listing::new(asking, request, KeyNames::default());
    let mut keys = Vec::new();
    loop {
        listing.fill(|_| true).await?;
        let Some(listed) = listing.peek() else { return Ok(keys) };
        keys.push(ObjectKey::new(listed.key));
        listing.skip();
    }
}

/// The object's size, or what differs.
async fn compare(
    source: Place<'_>,
    destination: Place<'_>,
    key: ObjectKey,
) -> Result<std::result::Result<u64, String>> {
    let read = async |(store, bucket): Place<'_>| {
        let id = ObjectId { bucket: bucket.to_owned(), key: key.clone() };
        store.get(&GetRequest { id, version: None, range: None, if_match: None }).await
    };
    let (original, copy) = match (read(source).await?, read(destination).await) {
        (original, Ok(copy)) => (original, copy),
        (_, Err(error)) => return Ok(Err(format!("{key}: {error}"))),
    };
    if original.meta.headers != copy.meta.headers {
        return Ok(Err(format!("{key}: other headers")));
    }
    let (is, should) = (copy.body.length(), original.body.length());
    if is != should {
        return Ok(Err(format!("{key}: {is} bytes instead of {should}")));
    }
    match same_bytes(original.body, copy.body).await? {
        true => Ok(Ok(should)),
        false => Ok(Err(format!("{key}: other bytes"))),
    }
}
