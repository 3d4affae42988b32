//! ListObjects, ListObjectsV2 and ListObjectVersions.

use std::time::Duration;

use super::*;
use crate::store::s3::listing::{Named, RefusedList, place};

/// A page has 1,000 keys of at most 1,024 bytes, three times that when encoded, and some hundred
/// bytes around each; some stores return ten times as many keys. A longer document is not a
/// listing.
const LARGEST_PAGE: usize = 64 * 1024 * 1024;

/// A page that stops arriving for this long is requested again: a listing may have to skip many
/// deleted keys before it begins to answer, but not after.
const SILENCE: Duration = Duration::from_secs(20);

impl S3Store {
    /// One page: the document that answers the encoded `query` on the bucket of `request`.
    pub(in super::super) async fn page_lean(
        &self,
        way: &Way<'_>,
        request: &ListRequest,
        (call, permission): Named,
        query: &str,
    ) -> Result<BytesMut, RefusedList> {
        let mut headers = HeaderList::new();
        let mut header = |name: &'static str, value: Option<&str>| {
            headers.extend(value.map(|value| (name.into(), value.to_owned())));
        };
        header("x-amz-request-payer", self.request_payer.as_ref().map(|payer| payer.as_str()));
        header("x-amz-optional-object-attributes", self.asks_restored().then_some("RestoreStatus"));
        let get = HttpCall {
            method: Method::GET,
            path: format!("{}?{query}", way.place.path("", &[])),
            headers,
            body: Outgoing::held(Bytes::new()),
            payload: Signed::Empty,
            encoding: IDENTITY,
        };
        let answered = async {
            let (head, body) = way.lean.send(&way.place, get).await?.into_parts();
            let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
            let room = length.and_then(|length| length.parse().ok()).unwrap_or_default();
            document(body, LARGEST_PAGE.min(room)).await
        };
        answered.await.map_err(|failure: Failure| RefusedList {
            unknown: failure.is_unknown_call(),
            error: self.failed(call, permission, place(request), &failure),
        })
    }
}

/// The whole document, in a buffer that begins with this much room.
async fn document(mut body: Arriving, room: usize) -> Result<BytesMut, Failure> {
    let mut all = BytesMut::with_capacity(room);
    loop {
        let chunk = tokio::time::timeout(SILENCE, body.next()).await.map_err(|_| {
            Failure::unreached(format!("no byte has arrived for {} s", SILENCE.as_secs()))
        })?;
        match chunk {
            Some(chunk) => all.extend_from_slice(&chunk.map_err(Failure::cut)?),
            None => return Ok(all),
        }
        if all.len() > LARGEST_PAGE {
            return Err(Failure::unsendable(format!("a page of over {LARGEST_PAGE} bytes")));
        }
    }
}
