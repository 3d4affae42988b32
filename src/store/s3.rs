//! Object storage by the AWS SDK: AWS itself and every compatible store.

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    CompletedMultipartUpload, CompletedPart, EncodingType, RequestPayer, ServerSideEncryption,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::*;
use crate::aws;
use crate::config::{DestinationSide, Sse};
use crate::error::{Error, ErrorKind};
use crate::object::ObjectKey;

pub mod connect;
mod convert;

use convert::{Headed, decode_key, tagging, whole_size};

/// One S3 endpoint with the credentials of one side.
pub struct S3Store {
    pub(super) client: Client,
    pub(super) side: Side,
    /// Whose credentials are used, in words for an error.
    pub(super) identity: String,
    /// The URL that is asked, where it is not Amazon S3's own.
    pub(super) url: Option<String>,
    pub(super) writing: Writing,
    pub(super) request_payer: Option<RequestPayer>,
}

/// What every new object at a destination is given.
#[derive(Clone, Debug, Default)]
pub(super) struct Writing {
    acl: Option<String>,
    sse: Option<ServerSideEncryption>,
    kms_key: Option<String>,
}

impl From<&DestinationSide> for Writing {
    fn from(destination: &DestinationSide) -> Self {
        let (sse, kms_key) = match &destination.sse {
            Sse::BucketDefault => (None, None),
            Sse::Aes256 => (Some(ServerSideEncryption::Aes256), None),
            Sse::Kms(key) => (Some(ServerSideEncryption::AwsKms), key.clone()),
        };
        Self { acl: destination.acl.clone(), sse, kms_key }
    }
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("side", &self.side).finish_non_exhaustive()
    }
}

impl S3Store {
    /// An error in the user's words: the call, the place, the side, and for a refusal the
    /// permission that is likely missing and to whom.
    fn error<E>(
        &self,
        call: &str,
        permission: &str,
        place: impl fmt::Display,
        error: SdkError<E, HttpResponse>,
    ) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let region = error.raw_response().and_then(|raw| {
            let elsewhere = matches!(raw.status().as_u16(), 301 | 307 | 400);
            raw.headers().get("x-amz-bucket-region").filter(|_| elsewhere).map(str::to_owned)
        });
        let built = aws::error(format_args!("{call} s3://{place} ({})", self.side), &error);
        let unreached = match &error {
            SdkError::DispatchFailure(unsent) => unsent.is_io() || unsent.is_timeout(),
            SdkError::TimeoutError(_) => true,
            _ => false,
        };
        match (built.kind(), region) {
            (ErrorKind::Unavailable, None) if unreached => {
                let asked = self.url.as_deref().unwrap_or("Amazon S3");
                built.note(format_args!("{asked} was asked: check Endpoint, Region and the line"))
            }
            (_, Some(region)) => {
                built.note(format_args!("the bucket is in region {region}: set Region"))
            }
            (ErrorKind::Denied, None) => {
                let identity = &self.identity;
                built.note(format_args!("{call} needs {permission}, asked with {identity}"))
            }
            (ErrorKind::Unfit, None) => built.note(format_args!("asked with {}", self.identity)),
            _ => built,
        }
    }

    fn canned_acl(&self) -> Option<aws_sdk_s3::types::ObjectCannedAcl> {
        self.writing.acl.as_deref().map(Into::into)
    }

    /// A part or object whose bytes these stores verify: Content-MD5 is the base64 of the digest
    /// (RFC 1864).
    fn content_md5(md5: Md5) -> String {
        BASE64_STANDARD.encode(md5)
    }
}

fn time(time: Option<&DateTime>) -> Option<SystemTime> {
    time.and_then(|time| SystemTime::try_from(*time).ok())
}

/// Sets `Expires` as the text it was: the SDK's own setter takes only well-formed dates, S3 any.
macro_rules! with_expires {
    ($request:expr, $new:expr) => {{
        let expires = $new.headers.expires.clone();
        $request.customize().mutate_request(move |http| {
            if let Some(expires) = &expires {
                http.headers_mut().insert("expires", expires.clone());
            }
        })
    }};
}

/// The headers, class, tags and encryption that PutObject and CreateMultipartUpload share.
macro_rules! with_new_object {
    ($request:expr, $store:expr, $new:expr) => {{
        let (headers, writing) = (&$new.headers, &$store.writing);
        $request
            .set_content_type(headers.content_type.clone())
            .set_content_encoding(headers.content_encoding.clone())
            .set_content_language(headers.content_language.clone())
            .set_content_disposition(headers.content_disposition.clone())
            .set_cache_control(headers.cache_control.clone())
            .set_website_redirect_location(headers.website_redirect.clone())
            .set_metadata(Some(headers.user.clone().into_iter().collect()))
            .set_storage_class($new.storage_class.as_deref().map(Into::into))
            .set_tagging(tagging(&$new.tags))
            .set_acl($store.canned_acl())
            .set_server_side_encryption(writing.sse.clone())
            .set_ssekms_key_id(writing.kms_key.clone())
    }};
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn list(&self, request: &ListRequest) -> Result<ListPage> {
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
            let missing =
                || Error::invalid(format!("ListObjectsV2 s3://{place}: a key without size"));
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
                    Error::invalid(format!("ListObjectsV2 s3://{place}: a page cut short"))
                })?)
            }
            _ => None,
        };
        Ok(ListPage { objects, next })
    }

    async fn head(&self, id: &ObjectId, version: Option<&str>) -> Result<ObjectMeta> {
        let answer = self
            .client
            .head_object()
            .bucket(&id.bucket)
            .key(id.key.as_str())
            .set_version_id(version.map(str::to_owned))
            .set_request_payer(self.request_payer.clone())
            .send()
            .await;
        let head = answer.map_err(|e| self.error("HeadObject", "s3:GetObject", id, e))?;
        let size = head.content_length().unwrap_or_default();
        Ok(head.meta(u64::try_from(size).unwrap_or_default()))
    }

    async fn get(&self, request: &GetRequest) -> Result<GetAnswer> {
        let id = &request.id;
        let permission = match request.version {
            Some(_) => "s3:GetObjectVersion",
            None => "s3:GetObject",
        };
        let answer = self
            .client
            .get_object()
            .bucket(&id.bucket)
            .key(id.key.as_str())
            .set_version_id(request.version.clone())
            .set_range(request.range.map(crate::object::ByteRange::header))
            .set_if_match(request.if_match.as_ref().map(Etag::quoted))
            .set_request_payer(self.request_payer.clone())
            .send()
            .await;
        let mut answer = answer.map_err(|e| self.error("GetObject", permission, id, e))?;
        let length = answer.content_length().and_then(|length| u64::try_from(length).ok());
        let content_length = length
            .ok_or_else(|| Error::invalid(format!("GetObject s3://{id}: no Content-Length")))?;
        let meta = answer.meta(whole_size(answer.content_range()).unwrap_or(content_length));
        // A store that does not know If-Match would answer with whatever is there now.
        if request.if_match.as_ref().is_some_and(|etag| *etag != meta.etag) {
            let message = format!("GetObject s3://{id}: the object's ETag is now {}", meta.etag);
            return Err(Error::new(ErrorKind::SourceChanged, message));
        }
        let body = std::mem::take(&mut answer.body);
        Ok(GetAnswer { meta, content_length, body: chunks(body, id.clone()) })
    }

    async fn tags(&self, id: &ObjectId, version: Option<&str>) -> Result<Vec<(String, String)>> {
        let answer = self
            .client
            .get_object_tagging()
            .bucket(&id.bucket)
            .key(id.key.as_str())
            .set_version_id(version.map(str::to_owned))
            .set_request_payer(self.request_payer.clone())
            .send()
            .await;
        let tags =
            answer.map_err(|e| self.error("GetObjectTagging", "s3:GetObjectTagging", id, e))?;
        Ok(tags.tag_set().iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect())
    }

    async fn put(&self, id: &ObjectId, new: &NewObject, body: Bytes, md5: Md5) -> Result<Written> {
        let request = self
            .client
            .put_object()
            .bucket(&id.bucket)
            .key(id.key.as_str())
            .content_length(body.len() as i64)
            .content_md5(Self::content_md5(md5))
            .body(ByteStream::from(body));
        let answer = with_expires!(with_new_object!(request, self, new), new).send().await;
        let put = answer.map_err(|e| self.error("PutObject", self.write_permission(new), id, e))?;
        let sse = put.server_side_encryption().map(|sse| sse.as_str().to_owned());
        Ok(Written { etag: Etag::new(put.e_tag().unwrap_or_default()), sse })
    }

    async fn create_upload(&self, target: &ObjectId, new: &NewObject) -> Result<Upload> {
        let request =
            self.client.create_multipart_upload().bucket(&target.bucket).key(target.key.as_str());
        let answer = with_expires!(with_new_object!(request, self, new), new).send().await;
        let created = answer.map_err(|e| {
            self.error("CreateMultipartUpload", self.write_permission(new), target, e)
        })?;
        let id = created.upload_id().map(str::to_owned).ok_or_else(|| {
            Error::invalid(format!("CreateMultipartUpload s3://{target}: no upload id"))
        })?;
        Ok(Upload { target: target.clone(), id })
    }

    async fn upload_part(
        &self,
        upload: &Upload,
        number: u32,
        body: Bytes,
        md5: Md5,
    ) -> Result<Written> {
        let target = &upload.target;
        let answer = self
            .client
            .upload_part()
            .bucket(&target.bucket)
            .key(target.key.as_str())
            .upload_id(&upload.id)
            .part_number(number as i32)
            .content_length(body.len() as i64)
            .content_md5(Self::content_md5(md5))
            .body(ByteStream::from(body))
            .send()
            .await;
        let part = answer.map_err(|e| {
            let place = format_args!("{target} part {number}");
            self.error("UploadPart", "s3:PutObject", place, e)
        })?;
        let sse = part.server_side_encryption().map(|sse| sse.as_str().to_owned());
        Ok(Written { etag: Etag::new(part.e_tag().unwrap_or_default()), sse })
    }

    async fn list_parts(&self, upload: &Upload) -> Result<Vec<Part>> {
        let target = &upload.target;
        let mut parts: Vec<Part> = Vec::new();
        loop {
            let answer = self
                .client
                .list_parts()
                .bucket(&target.bucket)
                .key(target.key.as_str())
                .upload_id(&upload.id)
                .set_part_number_marker(parts.last().map(|part| part.number.to_string()))
                .send()
                .await;
            let page = answer
                .map_err(|e| self.error("ListParts", "s3:ListMultipartUploadParts", target, e))?;
            let before = parts.len();
            parts.extend(page.parts().iter().map(convert::part));
            if page.is_truncated() != Some(true) {
                return Ok(parts);
            }
            if parts.len() == before {
                return Err(Error::invalid(format!("ListParts s3://{target}: an empty page")));
            }
        }
    }

    async fn list_uploads(&self, target: &ObjectId) -> Result<Vec<ListedUpload>> {
        let mut uploads = Vec::new();
        let mut marker: Option<(String, String)> = None;
        loop {
            let (key_marker, id_marker) = marker.clone().unzip();
            let answer = self
                .client
                .list_multipart_uploads()
                .bucket(&target.bucket)
                .prefix(target.key.as_str())
                .encoding_type(EncodingType::Url)
                .set_key_marker(key_marker)
                .set_upload_id_marker(id_marker)
                .send()
                .await;
            let page = answer.map_err(|e| {
                self.error("ListMultipartUploads", "s3:ListBucketMultipartUploads", target, e)
            })?;
            let encoded = page.encoding_type() == Some(&EncodingType::Url);
            for upload in page.uploads() {
                let key = decode_key(upload.key().unwrap_or_default(), encoded)?;
                let Some(id) = upload.upload_id().filter(|_| key == target.key.as_str()) else {
                    continue;
                };
                let upload_found = Upload { target: target.clone(), id: id.to_owned() };
                let initiated = time(upload.initiated());
                uploads.push(ListedUpload { upload: upload_found, initiated });
            }
            let next = page.next_key_marker().zip(page.next_upload_id_marker());
            let next = next.filter(|_| page.is_truncated() == Some(true));
            let Some((key, id)) = next else { return Ok(uploads) };
            let key = decode_key(key, encoded)?;
            // With the key itself as the prefix its own uploads come first.
            if key != target.key.as_str() || marker.as_ref().is_some_and(|(_, last)| last == id) {
                return Ok(uploads);
            }
            marker = Some((key, id.to_owned()));
        }
    }

    async fn complete_upload(&self, upload: &Upload, parts: &[Part]) -> Result<Written> {
        let target = &upload.target;
        let parts = parts.iter().map(|part| {
            let number = part.number as i32;
            CompletedPart::builder().part_number(number).e_tag(part.etag.quoted()).build()
        });
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let answer = self
            .client
            .complete_multipart_upload()
            .bucket(&target.bucket)
            .key(target.key.as_str())
            .upload_id(&upload.id)
            .multipart_upload(parts)
            .send()
            .await;
        let object =
            answer.map_err(|e| self.error("CompleteMultipartUpload", "s3:PutObject", target, e))?;
        // S3 may answer 200 before it knows, and put the error into the body.
        let etag = object.e_tag().map(Etag::new).ok_or_else(|| {
            let message = format!("CompleteMultipartUpload s3://{target}: 200 without an object");
            Error::new(ErrorKind::Unavailable, message)
        })?;
        let sse = object.server_side_encryption().map(|sse| sse.as_str().to_owned());
        Ok(Written { etag, sse })
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<()> {
        let target = &upload.target;
        let answer = self
            .client
            .abort_multipart_upload()
            .bucket(&target.bucket)
            .key(target.key.as_str())
            .upload_id(&upload.id)
            .send()
            .await;
        let error = match answer {
            Ok(_) => return Ok(()),
            Err(e) => self.error("AbortMultipartUpload", "s3:AbortMultipartUpload", target, e),
        };
        match error.kind() {
            ErrorKind::UploadGone | ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        }
    }
}

impl S3Store {
    fn write_permission(&self, new: &NewObject) -> &'static str {
        match (self.writing.acl.is_some(), new.tags.is_empty()) {
            (false, true) => "s3:PutObject",
            (false, false) => "s3:PutObject and s3:PutObjectTagging",
            (true, true) => "s3:PutObject and s3:PutObjectAcl",
            (true, false) => "s3:PutObject, s3:PutObjectAcl and s3:PutObjectTagging",
        }
    }
}

fn chunks(body: ByteStream, id: ObjectId) -> Body {
    let next = move |(mut body, id): (ByteStream, ObjectId)| async move {
        let item = match body.next().await? {
            Ok(bytes) => Ok(bytes),
            Err(cut) => {
                let message = format!("GetObject s3://{id}: the body was cut: {cut}");
                Err(Error::new(ErrorKind::Unavailable, message))
            }
        };
        Some((item, (body, id)))
    };
    stream::unfold((body, id), next).boxed()
}
