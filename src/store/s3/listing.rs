//! Pages of a bucket, by the SDK.

use aws_sdk_s3::types::EncodingType;

use super::convert::decode_key;
use super::*;

impl S3Store {
    /// One page of ListObjectsV2.
    pub(super) async fn list_page(&self, request: &ListRequest) -> Result<ListPage> {
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
            .send()
            .await;
        let place = format!("{}/{}", request.bucket, ObjectKey::new(request.prefix.clone()));
        let page = answer.map_err(|e| self.error("ListObjectsV2", "s3:ListBucket", &place, e))?;
        let encoded = page.encoding_type() == Some(&EncodingType::Url);
        let objects = page.contents().iter().map(|object| {
            let size = object.size().and_then(|size| u64::try_from(size).ok());
            let missing = || {
                Error::invalid(format!(
                    "{}: a key without size",
                    self.said("ListObjectsV2", &place)
                ))
            };
            Ok(Listed {
                key: ObjectKey::new(decode_key(object.key().unwrap_or_default(), encoded)?),
                size: size.ok_or_else(missing)?,
                etag: object.e_tag().map(Etag::new),
                last_modified: time(object.last_modified()),
                storage_class: object.storage_class().map(|class| class.as_str().to_owned()),
            })
        });
        let objects = objects.collect::<Result<_>>()?;
        let next = match page.is_truncated() {
            Some(true) => {
                Some(page.next_continuation_token().map(str::to_owned).ok_or_else(|| {
                    Error::invalid(format!(
                        "{}: a page cut short",
                        self.said("ListObjectsV2", &place)
                    ))
                })?)
            }
            _ => None,
        };
        Ok(ListPage { objects, next })
    }
}
