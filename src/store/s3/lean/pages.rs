//! ListObjectsV2 and ListObjectVersions.

use super::*;
use crate::store::s3::document;
use crate::store::s3::listing::place;

/// A page has 1,000 keys of at most 1,024 bytes, three times that encoded, and some hundred bytes
/// around each; a document past this is none.
const LARGEST_PAGE: usize = 16 * 1024 * 1024;

impl S3Store {
    /// One page: the answer to `query` on the bucket of `request`.
    pub(in super::super) async fn page_lean(
        &self,
        way: &Way<'_>,
        request: &ListRequest,
        (call, permission): (&str, &str),
        query: &[(&str, &str)],
    ) -> Result<document::Page> {
        let mut headers = Vec::new();
        let mut header = |name: &str, value: Option<&str>| {
            headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        };
        header("x-amz-request-payer", self.request_payer.as_ref().map(|payer| payer.as_str()));
        header("x-amz-optional-object-attributes", self.asks_restored().then_some("RestoreStatus"));
        let get = Call {
            method: Method::GET,
            path: way.place.path("", query),
            headers,
            body: Outgoing::held(Bytes::new()),
            payload: Signed::Empty,
        };
        let answered = async {
            let (head, body) = way.lean.send(&way.place, get).await?.into_parts();
            let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
            let room = length.and_then(|length| length.parse().ok()).unwrap_or_default();
            body.collect_into(BytesMut::with_capacity(LARGEST_PAGE.min(room)), LARGEST_PAGE)
                .await
                .map_err(Failure::cut)
        };
        let failed = |failure| self.failed(call, permission, place(request), &failure);
        let read = document::read(&answered.await.map_err(failed)?);
        read.map_err(|error| error.context(self.said(call, place(request))))
    }
}
