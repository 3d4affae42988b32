//! Whole objects, by the SDK.

use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextMut;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};

use super::convert::{Headed, extent, parse_crc64nvme, range_length};
use super::listing::Named;
use super::new_object::{with_expires, with_new_object};
use super::uploads::{held, streamed};
use super::*;
use crate::quirk::Quirk;

/// A bucket that has given no part sizes this often is not asked for them any more.
const MAX_UNTOLD: u32 = 4;

/// Asks for the bytes as they are stored. The header is added after signing, because some stores
/// change it before they check signatures.
#[derive(Debug)]
struct AsStored(&'static str);

#[dyn_dispatch_hint]
impl Intercept for AsStored {
    fn name(&self) -> &'static str {
        "AsStored"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        context.request_mut().headers_mut().insert("accept-encoding", self.0);
        Ok(())
    }
}

/// The call for an object's tags, and the permission that it needs.
pub(super) const TAGGING: Named = ("GetObjectTagging", "s3:GetObjectTagging");

/// The code of a missing key, as opposed to a missing bucket.
const NO_SUCH_KEY: &str = "NoSuchKey";

impl S3Store {
    /// HeadObject: the object, and its size if the answer gives it.
    pub(super) async fn head_object(
        &self,
        id: &ObjectId,
        version: Option<&str>,
    ) -> Result<(ObjectMeta, Option<u64>)> {
        let head = |mode| self.head_once(id, version, mode);
        self.with_checksum(&id.bucket, true, head).await
    }

    async fn head_once(
        &self,
        id: &ObjectId,
        version: Option<&str>,
        mode: SumAsking,
    ) -> Result<(ObjectMeta, Option<u64>)> {
        let answer = self
            .client
            .head_object()
            .bucket(&id.bucket)
            .key(id.key.as_str())
            .set_version_id(version.map(str::to_owned))
            .set_request_payer(self.request_payer.clone())
            .customize()
            .mutate_request(move |http| mode.put_on(http))
            .interceptor(AsStored(self.encoding(&id.bucket)))
            .send()
            .await;
        let head = answer.map_err(|e| {
            // Expired credentials, a wrong clock, or a missing SSE-C key: S3 gives no detail.
            let mute = e.raw_response().is_some_and(|raw| raw.status().as_u16() == 400);
            let error = self.error("HeadObject", "s3:GetObject", id, e);
            if mute { error.of_kind(ErrorKind::Invalid) } else { error }
        })?;
        let size = head.content_length().and_then(|length| u64::try_from(length).ok());
        Ok((head.meta(size.unwrap_or_default()), size))
    }

    /// How an object was written in parts, by a HEAD of its first part. If that is refused while
    /// the object itself is still there, the store does not support it, and is not asked again in
    /// that bucket.
    pub(super) async fn parts_told(
        &self,
        id: &ObjectId,
        version: Option<&str>,
        etag: &Etag,
    ) -> Result<Option<PartsSeen>> {
        let bucket = &id.bucket;
        if self.profile.has(bucket, Quirk::NoPartSizes) {
            return Ok(None);
        }
        let refusal = match self.first_part(id, version, etag).await {
            Ok(Some(seen)) => return Ok(Some(seen)),
            Ok(None) => {
                if self.counts_untold(bucket) >= MAX_UNTOLD {
                    let said = "HeadObject with partNumber says nothing about parts";
                    self.profile.learn(bucket, Quirk::NoPartSizes, said);
                }
                return Ok(None);
            }
            Err(error) => error,
        };
        let status = refusal.evidence().map_or(0, |evidence| evidence.status);
        if !matches!(status, 400 | 403 | 404 | 405 | 412 | 416 | 501) {
            return Err(refusal);
        }
        match self.head_object(id, version).await {
            Ok((meta, _)) if meta.etag == *etag => {
                self.profile.learn(bucket, Quirk::NoPartSizes, refusal);
                Ok(None)
            }
            Ok((meta, _)) => {
                let said = self.said("HeadObject", id);
                let message = format!("{said}: the object's ETag is now {}", meta.etag);
                Err(Error::new(ErrorKind::SourceChanged, message))
            }
            Err(error) => Err(error),
        }
    }

    /// How often the bucket has now given no part sizes for an object that has some.
    fn counts_untold(&self, bucket: &str) -> u32 {
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        let times = untold.entry(bucket.to_owned()).or_default();
        *times += 1;
        *times
    }

    /// HeadObject of the first part.
    async fn first_part(
        &self,
        id: &ObjectId,
        version: Option<&str>,
        etag: &Etag,
    ) -> Result<Option<PartsSeen>> {
        let answer = self
            .client
            .head_object()
            .bucket(&id.bucket)
            .key(id.key.as_str())
            .part_number(1)
            .if_match(etag.quoted())
            .set_version_id(version.map(str::to_owned))
            .set_request_payer(self.request_payer.clone())
            .customize()
            .interceptor(AsStored(self.encoding(&id.bucket)))
            .send()
            .await;
        let head = answer.map_err(|e| self.error("HeadObject", "s3:GetObject", id, e))?;
        let count = head.parts_count().and_then(|count| u32::try_from(count).ok());
        let first = head.content_length().and_then(|length| u64::try_from(length).ok());
        Ok(count.zip(first).map(|(count, first)| PartsSeen { count, first }))
    }

    /// GetObject by the SDK.
    pub(super) async fn get_by_sdk(
        &self,
        request: &GetRequest,
        encoding: &'static str,
        mode: SumAsking,
    ) -> Result<Got> {
        let id = &request.id;
        let answer = self
            .client
            .get_object()
            .bucket(&id.bucket)
            .key(id.key.as_str())
            .set_version_id(request.version.clone())
            .set_range(request.range.map(crate::object::ByteRange::header))
            .set_if_match(request.if_match.as_ref().map(Etag::quoted))
            .set_request_payer(self.request_payer.clone())
            .customize()
            .mutate_request(move |http| mode.put_on(http))
            .interceptor(AsStored(encoding))
            .send()
            .await;
        let permission = read_permission(request);
        let mut answer = answer.map_err(|e| self.error("GetObject", permission, id, e))?;
        let length = answer.content_length().and_then(|length| u64::try_from(length).ok());
        let range = answer.content_range().map(str::to_owned);
        let length = length.or_else(|| range_length(range.as_deref()));
        let (start, whole) = extent(range.as_deref(), length.unwrap_or_default());
        let whole = whole.filter(|_| range.is_some() || length.is_some());
        let meta = answer.meta(whole.or(length).unwrap_or_default());
        let pieces = pieces(std::mem::take(&mut answer.body), id.clone());
        Ok(Got { meta, length, start, whole, pieces })
    }

    /// Asks again with a GET of one byte about a key that HEAD has not found: the answer to GET has
    /// a body, and so names what is missing.
    pub(super) async fn missing(&self, id: &ObjectId) -> Result<Option<ObjectMeta>> {
        let answer = self
            .client
            .get_object()
            .bucket(&id.bucket)
            .key(id.key.as_str())
            .range(ByteRange { start: 0, len: 1 }.header())
            .set_request_payer(self.request_payer.clone())
            .send()
            .await;
        match answer {
            Err(error) if aws::code(&error) == Some(NO_SUCH_KEY) => Ok(None),
            Err(error) => Err(self.error("GetObject", "s3:GetObject", id, error)),
            Ok(_) => {
                let message = format!("{}: just written", self.said("HeadObject", id));
                Err(Error::new(ErrorKind::Unavailable, message))
            }
        }
    }

    /// DeleteObject.
    pub(super) async fn delete_object(&self, id: &ObjectId) -> Result<()> {
        let delete = self.client.delete_object().bucket(&id.bucket).key(id.key.as_str());
        match delete.set_request_payer(self.request_payer.clone()).send().await {
            Ok(_) => Ok(()),
            // Amazon S3 answers with success, but some stores answer like this.
            Err(error) if aws::code(&error) == Some(NO_SUCH_KEY) => Ok(()),
            Err(error) => Err(self.error("DeleteObject", "s3:DeleteObject", id, error)),
        }
    }

    /// GetObjectTagging.
    pub(super) async fn object_tags(
        &self,
        id: &ObjectId,
        version: Option<&str>,
    ) -> Result<Vec<(String, String)>> {
        let tags = match self.lean_way(&id.bucket, TAGGING.0, id).await? {
            Some(way) => self.tags_lean(&way, id, version).await,
            None => Box::pin(self.tags_by_sdk(id, version)).await,
        };
        match tags {
            // Some stores say in this way that it has none.
            Err(error) if error.code().starts_with("NoSuchTagSet") => Ok(Vec::new()),
            tags => tags,
        }
    }

    async fn tags_by_sdk(
        &self,
        id: &ObjectId,
        version: Option<&str>,
    ) -> Result<Vec<(String, String)>> {
        let answer = self
            .client
            .get_object_tagging()
            .bucket(&id.bucket)
            .key(id.key.as_str())
            .set_version_id(version.map(str::to_owned))
            .set_request_payer(self.request_payer.clone())
            .send()
            .await;
        let tags = answer.map_err(|e| self.error(TAGGING.0, TAGGING.1, id, e))?;
        Ok(tags.tag_set().iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect())
    }

    /// PutObject by the SDK.
    pub(super) async fn put_by_sdk(
        &self,
        id: &ObjectId,
        given: &Given,
        body: Bytes,
        proof: Proof,
    ) -> Result<Written> {
        let new = &given.new;
        let (md5, crc64nvme) = Self::digests(proof);
        let md5 = md5.filter(|_| given.md5);
        let request = self
            .client
            .put_object()
            .bucket(&id.bucket)
            .key(id.key.as_str())
            .content_length(body.len() as i64)
            .set_content_md5(md5)
            .set_checksum_crc64_nvme(crc64nvme)
            .body(ByteStream::from(body));
        let answer = with_expires!(with_new_object!(request, self, given), new).send().await;
        let put = answer.map_err(|e| self.error("PutObject", self.write_permission(new), id, e))?;
        let sse = put.server_side_encryption().map(|sse| sse.as_str().to_owned());
        let crc64nvme = put.checksum_crc64_nvme().and_then(parse_crc64nvme);
        Ok(Written { etag: Etag::new(put.e_tag().unwrap_or_default()), sse, crc64nvme })
    }
}

impl S3Store {
    /// PutObject of a body as it arrives, by the SDK.
    pub(super) async fn put_streamed_by_sdk(
        &self,
        id: &ObjectId,
        given: &Given,
        body: Body,
        md5: Option<Md5>,
    ) -> Result<Written> {
        let new = &given.new;
        if self.signs_bodies(&id.bucket) {
            let bytes = held(body).await?;
            return self.put_by_sdk(id, given, bytes, Proof { md5, crc64nvme: None }).await;
        }
        let (md5, _) = Self::digests(Proof { md5, crc64nvme: None });
        let md5 = md5.filter(|_| given.md5);
        let request = self
            .client
            .put_object()
            .bucket(&id.bucket)
            .key(id.key.as_str())
            .content_length(body.length() as i64)
            .set_content_md5(md5)
            .body(streamed(body));
        let request = with_expires!(with_new_object!(request, self, given), new);
        let answer = request.disable_payload_signing().send().await;
        let put = answer.map_err(|e| {
            let error = self.error("PutObject", self.write_permission(new), id, e);
            self.signed_next(&id.bucket, error)
        })?;
        let sse = put.server_side_encryption().map(|sse| sse.as_str().to_owned());
        Ok(Written { etag: Etag::new(put.e_tag().unwrap_or_default()), sse, crc64nvme: None })
    }
}

fn pieces(body: ByteStream, id: ObjectId) -> BoxStream<'static, Result<Bytes>> {
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
