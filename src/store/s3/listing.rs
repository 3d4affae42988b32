//! Pages of a bucket: what is asked, by the lean way or the SDK, and what the answer's end says.

use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::{EncodingType, OptionalObjectAttributes};
use percent_encoding::NON_ALPHANUMERIC;

use super::convert::decode_key;
use super::document::Page;
use super::whole::Whole;
use super::*;

/// A call and the permission it needs.
type Named = (&'static str, &'static str);
const OBJECTS: Named = ("ListObjectsV2", "s3:ListBucket");
const VERSIONS: Named = ("ListObjectVersions", "s3:ListBucketVersions");

/// Between a key and a version in the token of a page of versions; an encoded key has none.
const BETWEEN: char = '\n';

impl S3Store {
    /// One page of ListObjectsV2.
    pub(super) async fn list_page(&self, request: &ListRequest) -> Result<ListPage> {
        let start_after = request.start_after.as_ref().filter(|_| request.token.is_none());
        let start_after = start_after.map(ObjectKey::as_str);
        let way = self.lean_way(&request.bucket, OBJECTS.0, place(request)).await?;
        let Some(way) = way else { return self.list_page_by_sdk(request, start_after).await };
        let query = [
            start_after.map(|key| ("start-after", key)),
            request.token.as_deref().map(|token| ("continuation-token", token)),
            Some(("encoding-type", "url")),
            Some(("list-type", "2")),
            Some(("prefix", request.prefix.as_str())),
        ];
        let query: Vec<_> = query.into_iter().flatten().collect();
        let Page { mut objects, truncated, next, .. } =
            self.page_lean(&way, request, OBJECTS, &query).await?;
        objects.next = self.next_page(truncated, next, OBJECTS.0, request)?;
        Ok(objects)
    }

    async fn list_page_by_sdk(
        &self,
        request: &ListRequest,
        start_after: Option<&str>,
    ) -> Result<ListPage> {
        let (call, permission) = OBJECTS;
        let restored = self.asks_restored().then(|| vec![OptionalObjectAttributes::RestoreStatus]);
        let answer = self
            .client
            .list_objects_v2()
            .bucket(&request.bucket)
            .prefix(&request.prefix)
            .set_start_after(start_after.map(str::to_owned))
            .set_continuation_token(request.token.clone())
            .encoding_type(EncodingType::Url)
            .set_request_payer(self.request_payer.clone())
            .set_optional_object_attributes(restored)
            .customize()
            .interceptor(Whole)
            .send()
            .await;
        let answer = answer.map_err(|e| self.error(call, permission, place(request), e))?;
        let mut objects = self.objects(&answer, request)?;
        let next = answer.next_continuation_token().map(str::to_owned);
        let truncated = answer.is_truncated() == Some(true);
        objects.next = self.next_page(truncated, next, call, request)?;
        Ok(objects)
    }

    pub(super) fn objects(
        &self,
        answer: &ListObjectsV2Output,
        request: &ListRequest,
    ) -> Result<ListPage> {
        let encoded = answer.encoding_type() == Some(&EncodingType::Url);
        let mut page = ListPage::default();
        for object in answer.contents() {
            let restored = object.restore_status().is_some_and(|status| {
                status.is_restore_in_progress() != Some(true)
                    && status.restore_expiry_date().is_some()
            });
            let key = decode_key(object.key().unwrap_or_default(), encoded)?;
            page.push(Listed {
                key: &key,
                size: self.listed_size(object.size(), OBJECTS.0, request)?,
                etag: object.e_tag().map(|etag| etag.trim_matches('"')),
                last_modified: time(object.last_modified()),
                storage_class: object.storage_class().map(|class| class.as_str()),
                version: None,
                restored,
            });
        }
        Ok(page)
    }

    /// One page of ListObjectVersions, of which the current versions are kept. Every version counts
    /// for a page's thousand, so that one may hold no object at all.
    pub(super) async fn list_versions_page(&self, request: &ListRequest) -> Result<ListPage> {
        let token = request.token.as_deref().map(|token| token.split_once(BETWEEN));
        let (key_marker, version_marker) = match token {
            None => (request.start_after.as_ref().map(|key| key.as_str().to_owned()), None),
            Some(token) => {
                let (key, version) = token.unwrap_or_default();
                (Some(decode_key(key, true)?), Some(version).filter(|version| !version.is_empty()))
            }
        };
        let way = self.lean_way(&request.bucket, VERSIONS.0, place(request)).await?;
        let markers = (key_marker.as_deref(), version_marker);
        let Some(way) = way else { return self.list_versions_by_sdk(request, markers).await };
        let query = [
            Some(("encoding-type", "url")),
            markers.0.map(|key| ("key-marker", key)),
            Some(("prefix", request.prefix.as_str())),
            markers.1.map(|version| ("version-id-marker", version)),
            Some(("versions", "")),
        ];
        let query: Vec<_> = query.into_iter().flatten().collect();
        let Page { mut objects, truncated, next, next_version, encoded } =
            self.page_lean(&way, request, VERSIONS, &query).await?;
        let next = next.map(|key| marker(&key, next_version.as_deref(), encoded));
        objects.next = self.next_page(truncated, next, VERSIONS.0, request)?;
        Ok(objects)
    }

    async fn list_versions_by_sdk(
        &self,
        request: &ListRequest,
        (key_marker, version_marker): (Option<&str>, Option<&str>),
    ) -> Result<ListPage> {
        let (call, permission) = VERSIONS;
        let answer = self
            .client
            .list_object_versions()
            .bucket(&request.bucket)
            .prefix(&request.prefix)
            .set_key_marker(key_marker.map(str::to_owned))
            .set_version_id_marker(version_marker.map(str::to_owned))
            .encoding_type(EncodingType::Url)
            .set_request_payer(self.request_payer.clone())
            .customize()
            .interceptor(Whole)
            .send()
            .await;
        let answer = answer.map_err(|e| self.error(call, permission, place(request), e))?;
        let encoded = answer.encoding_type() == Some(&EncodingType::Url);
        let mut objects = self.current(&answer, encoded, request)?;
        let version = answer.next_version_id_marker();
        let next = answer.next_key_marker().map(|key| marker(key, version, encoded));
        let truncated = answer.is_truncated() == Some(true);
        objects.next = self.next_page(truncated, next, call, request)?;
        Ok(objects)
    }

    fn current(
        &self,
        answer: &ListObjectVersionsOutput,
        encoded: bool,
        request: &ListRequest,
    ) -> Result<ListPage> {
        let mut page = ListPage::default();
        for version in answer.versions().iter().filter(|v| v.is_latest() == Some(true)) {
            let key = decode_key(version.key().unwrap_or_default(), encoded)?;
            page.push(Listed {
                key: &key,
                size: self.listed_size(version.size(), VERSIONS.0, request)?,
                etag: version.e_tag().map(|etag| etag.trim_matches('"')),
                last_modified: time(version.last_modified()),
                storage_class: version.storage_class().map(|class| class.as_str()),
                version: version.version_id(),
                restored: false,
            });
        }
        Ok(page)
    }

    /// Whether a listing is asked which archived objects are readable for a time: of Amazon S3 only,
    /// others do not know the header.
    pub(super) fn asks_restored(&self) -> bool {
        self.profile.is_amazon()
    }

    fn listed_size(&self, size: Option<i64>, call: &str, request: &ListRequest) -> Result<u64> {
        let size = size.and_then(|size| u64::try_from(size).ok());
        let said = || self.said(call, place(request));
        size.ok_or_else(|| Error::invalid(format!("{}: a key without size", said())))
    }

    /// The token of the next page; `None` behind the last. A page that is not the last and names no
    /// next one is an error, never the end.
    fn next_page(
        &self,
        truncated: bool,
        next: Option<String>,
        call: &str,
        request: &ListRequest,
    ) -> Result<Option<String>> {
        if !truncated {
            return Ok(None);
        }
        let cut =
            || Error::invalid(format!("{}: a page cut short", self.said(call, place(request))));
        next.map(Some).ok_or_else(cut)
    }
}

/// The token of a page of versions.
fn marker(key: &str, version: Option<&str>, encoded: bool) -> String {
    let key = match encoded {
        true => key.to_owned(),
        false => percent_encoding::utf8_percent_encode(key, NON_ALPHANUMERIC).to_string(),
    };
    format!("{key}{BETWEEN}{}", version.unwrap_or_default())
}

/// What is listed, for a message.
pub(super) fn place(request: &ListRequest) -> String {
    format!("{}/{}", request.bucket, ObjectKey::new(request.prefix.clone()))
}
