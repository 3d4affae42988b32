//! Pages of a bucket, by the SDK.

use aws_sdk_s3::types::EncodingType;
use percent_encoding::NON_ALPHANUMERIC;

use super::convert::decode_key;
use super::whole::Whole;
use super::*;

/// Between a key and a version in the token of a page of versions; an encoded key has none.
const BETWEEN: char = '\n';

impl S3Store {
    /// One page of ListObjectsV2.
    pub(super) async fn list_page(&self, request: &ListRequest) -> Result<ListPage> {
        const CALL: &str = "ListObjectsV2";
        let start_after = request.start_after.as_ref().filter(|_| request.token.is_none());
        let answer = self
            .client
            .list_objects_v2()
            .bucket(&request.bucket)
            .prefix(&request.prefix)
            .set_start_after(start_after.map(|key| key.as_str().to_owned()))
            .set_continuation_token(request.token.clone())
            .encoding_type(EncodingType::Url)
            .set_request_payer(self.request_payer.clone())
            .customize()
            .interceptor(Whole)
            .send()
            .await;
        let place = place(request);
        let page = answer.map_err(|e| self.error(CALL, "s3:ListBucket", &place, e))?;
        let encoded = page.encoding_type() == Some(&EncodingType::Url);
        let objects = page.contents().iter().map(|object| {
            Ok(Listed {
                key: listed_key(object.key(), encoded)?,
                size: self.listed_size(object.size(), CALL, &place)?,
                etag: object.e_tag().map(Etag::new),
                last_modified: time(object.last_modified()),
                storage_class: object.storage_class().map(|class| class.as_str().to_owned()),
                version: None,
            })
        });
        let objects = objects.collect::<Result<_>>()?;
        let next = page.next_continuation_token().map(str::to_owned);
        let next = self.next_page(page.is_truncated(), next, CALL, &place)?;
        Ok(ListPage { objects, next })
    }

    /// One page of ListObjectVersions, of which the current versions are kept. Every version counts
    /// for a page's thousand, so that one may hold no object at all.
    pub(super) async fn list_versions_page(&self, request: &ListRequest) -> Result<ListPage> {
        const CALL: &str = "ListObjectVersions";
        let token = request.token.as_deref().map(|token| token.split_once(BETWEEN));
        let (key_marker, version_marker) = match token {
            None => (request.start_after.as_ref().map(|key| key.as_str().to_owned()), None),
            Some(token) => {
                let (key, version) = token.unwrap_or_default();
                (Some(decode_key(key, true)?), Some(version).filter(|version| !version.is_empty()))
            }
        };
        let answer = self
            .client
            .list_object_versions()
            .bucket(&request.bucket)
            .prefix(&request.prefix)
            .set_key_marker(key_marker)
            .set_version_id_marker(version_marker.map(str::to_owned))
            .encoding_type(EncodingType::Url)
            .set_request_payer(self.request_payer.clone())
            .customize()
            .interceptor(Whole)
            .send()
            .await;
        let place = place(request);
        let page = answer.map_err(|e| self.error(CALL, "s3:ListBucketVersions", &place, e))?;
        let encoded = page.encoding_type() == Some(&EncodingType::Url);
        let current = page.versions().iter().filter(|version| version.is_latest() == Some(true));
        let objects = current.map(|version| {
            Ok(Listed {
                key: listed_key(version.key(), encoded)?,
                size: self.listed_size(version.size(), CALL, &place)?,
                etag: version.e_tag().map(Etag::new),
                last_modified: time(version.last_modified()),
                storage_class: version.storage_class().map(|class| class.as_str().to_owned()),
                version: version.version_id().map(str::to_owned),
            })
        });
        let objects = objects.collect::<Result<_>>()?;
        let next = page.next_key_marker().map(|key| {
            let key = match encoded {
                true => key.to_owned(),
                false => percent_encoding::utf8_percent_encode(key, NON_ALPHANUMERIC).to_string(),
            };
            format!("{key}{BETWEEN}{}", page.next_version_id_marker().unwrap_or_default())
        });
        let next = self.next_page(page.is_truncated(), next, CALL, &place)?;
        Ok(ListPage { objects, next })
    }

    fn listed_size(&self, size: Option<i64>, call: &str, place: &str) -> Result<u64> {
        let size = size.and_then(|size| u64::try_from(size).ok());
        let missing = || Error::invalid(format!("{}: a key without size", self.said(call, place)));
        size.ok_or_else(missing)
    }

    /// The token of the next page; `None` behind the last. A page that is not the last and names no
    /// next one is an error, never the end.
    fn next_page(
        &self,
        is_truncated: Option<bool>,
        next: Option<String>,
        call: &str,
        place: &str,
    ) -> Result<Option<String>> {
        if is_truncated != Some(true) {
            return Ok(None);
        }
        let cut = || Error::invalid(format!("{}: a page cut short", self.said(call, place)));
        next.map(Some).ok_or_else(cut)
    }
}

fn place(request: &ListRequest) -> String {
    format!("{}/{}", request.bucket, ObjectKey::new(request.prefix.clone()))
}

fn listed_key(key: Option<&str>, encoded: bool) -> Result<ObjectKey> {
    Ok(ObjectKey::new(decode_key(key.unwrap_or_default(), encoded)?))
}
