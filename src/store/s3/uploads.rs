//! Multipart uploads, by the SDK.

use aws_sdk_s3::config::{Builder, RequestChecksumCalculation};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart, EncodingType,
};
use aws_smithy_types::body::SdkBody;

use super::convert::{crc64nvme_text, parse_crc64nvme};
use super::new_object::{with_expires, with_new_object};
use super::raw_answer::{Kept, Success};
use super::refused_headers::{Given, is_about_md5};
use super::upload_answers;
use super::*;
use crate::quirk::Quirk;

/// The SDK holds the whole part in memory to sign it; larger ones are refused.
const LARGEST_SIGNED: u64 = 64 * crate::object::MIB;

/// A full page has this many parts, or a multiple of it.
const FULL_PAGE: usize = 100;

/// How the SDK sends a part's body.
enum Form {
    /// Its SHA-256 is in the signature.
    Hashed,
    Unsigned,
    /// With a checksum after it.
    Trailer,
}

impl S3Store {
    /// CreateMultipartUpload.
    pub(super) async fn begin_upload(&self, target: &ObjectId, given: &Given) -> Result<Created> {
        let (new, kept) = (&given.new, Kept::default());
        let request = self
            .client
            .create_multipart_upload()
            .bucket(&target.bucket)
            .key(target.key.as_str())
            .set_checksum_algorithm(new.crc64nvme.then_some(ChecksumAlgorithm::Crc64Nvme))
            .set_checksum_type(new.crc64nvme.then_some(ChecksumType::FullObject));
        let request = with_expires!(with_new_object!(request, self, given), new);
        let answer = request.interceptor(kept.clone()).send().await;
        let Success { body, sse } = self.succeeded(answer, &kept, |e| {
            self.error("CreateMultipartUpload", self.write_permission(new), target, e)
        })?;
        match upload_answers::upload_id(&body) {
            Some(id) => {
                let hides_md5 = sse.as_deref().is_some_and(hides_md5);
                Ok(Created { upload: Upload { target: target.clone(), id }, hides_md5 })
            }
            None => Err(self.without_id(target).await),
        }
    }

    /// An upload has been created, but its id was lost in transit or never sent: it would never be
    /// filled or aborted. It is the newest one without a part.
    async fn without_id(&self, target: &ObjectId) -> Error {
        let said = self.said("CreateMultipartUpload", target);
        let message = format!("{said}: the answer names no upload");
        let error = Error::new(ErrorKind::Unavailable, message);
        let left = "an unfinished upload of this key may remain: abort it there";
        let Ok(mut uploads) = self.uploads_of(target).await else { return error.note(left) };
        uploads.sort_by_key(|listed| listed.initiated);
        for ListedUpload { upload, .. } in uploads.into_iter().rev() {
            if self.parts_of(&upload).await.is_ok_and(|parts| parts.is_empty()) {
                return match self.abort(&upload).await {
                    Ok(()) => error.note("it was found and aborted"),
                    Err(failed) => error.note(format_args!("{left} ({failed})")),
                };
            }
        }
        error
    }

    /// The answer of a call that has succeeded, even if the SDK cannot read its document.
    fn succeeded<T, E>(
        &self,
        answer: Result<T, SdkError<E, HttpResponse>>,
        kept: &Kept,
        failed: impl FnOnce(SdkError<E, HttpResponse>) -> Error,
    ) -> Result<Success> {
        match (kept.take(), answer) {
            (Some(success), _) => Ok(success),
            (None, Ok(_)) => Ok(Success::default()),
            (None, Err(error)) => Err(failed(error)),
        }
    }

    /// UploadPart by the SDK.
    pub(super) async fn part_by_sdk(
        &self,
        upload: &Upload,
        number: u32,
        payload: Payload,
    ) -> Result<Written> {
        let target = &upload.target;
        let request = self
            .client
            .upload_part()
            .bucket(&target.bucket)
            .key(target.key.as_str())
            .upload_id(&upload.id)
            .part_number(number as i32);
        let payload = match payload {
            Payload::Streamed { body, trailer: false } if self.signs_bodies(&target.bucket) => {
                Payload::Held { bytes: held(body).await?, proof: Proof::default() }
            }
            payload => payload,
        };
        let known = self.profile.has(&target.bucket, Quirk::NoContentMd5);
        let form = match payload {
            Payload::Held { .. } => Form::Hashed,
            Payload::Streamed { trailer: false, .. } => Form::Unsigned,
            Payload::Streamed { trailer: true, .. } => Form::Trailer,
        };
        let request = match payload {
            Payload::Held { bytes, proof } => {
                let (md5, crc64nvme) = Self::digests(proof);
                let md5 = md5.filter(|_| !known);
                request
                    .content_length(bytes.len() as i64)
                    .set_content_md5(md5)
                    .set_checksum_crc64_nvme(crc64nvme)
                    .body(ByteStream::from(bytes))
            }
            Payload::Streamed { body, trailer } => request
                .content_length(body.length() as i64)
                .set_checksum_algorithm(trailer.then_some(ChecksumAlgorithm::Crc64Nvme))
                .body(streamed(body)),
        };
        let answer = match form {
            Form::Hashed => request.send().await,
            // Otherwise the SDK would hash a body that it does not have yet.
            Form::Unsigned => request.customize().disable_payload_signing().send().await,
            // Our clients compute checksums only if an operation demands one, and that setting
            // overrides the requested algorithm.
            Form::Trailer => {
                let compute = RequestChecksumCalculation::WhenSupported;
                let compute = Builder::new().request_checksum_calculation(compute);
                request.customize().config_override(compute).send().await
            }
        };
        let part = answer.map_err(|e| {
            let place = format_args!("{target} part {number}");
            let error = self.error("UploadPart", "s3:PutObject", place, e);
            self.without_md5(&target.bucket, self.signed_next(&target.bucket, error))
        })?;
        let sse = part.server_side_encryption().map(|sse| sse.as_str().to_owned());
        let crc64nvme = part.checksum_crc64_nvme().and_then(parse_crc64nvme);
        Ok(Written { etag: Etag::new(part.e_tag().unwrap_or_default()), sse, crc64nvme })
    }

    /// If a part was refused for its Content-MD5, the next try goes without it.
    pub(super) fn without_md5(&self, bucket: &str, error: Error) -> Error {
        if !is_about_md5(&error) {
            return error;
        }
        self.profile.learn(bucket, Quirk::NoContentMd5, &error);
        error.of_kind(ErrorKind::Unavailable)
    }

    /// ListParts, all pages.
    pub(super) async fn parts_of(&self, upload: &Upload) -> Result<Vec<Part>> {
        let mut parts: Vec<Part> = Vec::new();
        loop {
            let after = parts.last().map(|part| part.number);
            let upload_answers::PartsPage { parts: mut page, more } =
                self.parts_page(upload, after).await?;
            // From a part that is sent again meanwhile, or from a page that begins too early.
            page.retain(|part| after.is_none_or(|after| part.number > after));
            page.sort_by_key(|part| part.number);
            page.dedup_by_key(|part| part.number);
            let came = page.len();
            parts.extend(page);
            match came {
                0 if more => {
                    let said = self.said("ListParts", &upload.target);
                    return Err(Error::invalid(format!("{said}: an empty page")));
                }
                0 => return Ok(parts),
                // A full page may call itself the last without being it.
                _ if !more && came % FULL_PAGE != 0 => return Ok(parts),
                _ => {}
            }
        }
    }

    async fn parts_page(
        &self,
        upload: &Upload,
        after: Option<u32>,
    ) -> Result<upload_answers::PartsPage> {
        let (target, kept) = (&upload.target, Kept::default());
        let answer = self
            .client
            .list_parts()
            .bucket(&target.bucket)
            .key(target.key.as_str())
            .upload_id(&upload.id)
            .set_part_number_marker(after.map(|number| number.to_string()))
            .customize()
            .interceptor(kept.clone())
            .send()
            .await;
        let failed = |e| self.error("ListParts", "s3:ListMultipartUploadParts", target, e);
        let success = self.succeeded(answer, &kept, failed)?;
        let read = upload_answers::parts(&success.body);
        read.map_err(|error| error.context(self.said("ListParts", target)))
    }

    /// ListMultipartUploads, all pages of this key.
    pub(super) async fn uploads_of(&self, target: &ObjectId) -> Result<Vec<ListedUpload>> {
        let mut uploads = Vec::new();
        let mut marker: Option<(String, String)> = None;
        loop {
            let page = self.uploads_page(target, marker.clone()).await?;
            for upload_answers::Unfinished { key, id, initiated, class } in page.uploads {
                if key == target.key.as_str() {
                    let upload = Upload { target: target.clone(), id };
                    uploads.push(ListedUpload { upload, initiated, class });
                }
            }
            // With the key itself as the prefix, its own uploads come first.
            let next = page.next.filter(|(key, _)| key == target.key.as_str());
            match next {
                Some(next) if marker.as_ref() != Some(&next) => marker = Some(next),
                _ => return Ok(uploads),
            }
        }
    }

    pub(super) async fn uploads_page(
        &self,
        target: &ObjectId,
        after: Option<(String, String)>,
    ) -> Result<upload_answers::Uploads> {
        const CALL: &str = "ListMultipartUploads";
        let (key_marker, id_marker) = after.unzip();
        let kept = Kept::default();
        let answer = self
            .client
            .list_multipart_uploads()
            .bucket(&target.bucket)
            .prefix(target.key.as_str())
            .encoding_type(EncodingType::Url)
            .set_key_marker(key_marker)
            .set_upload_id_marker(id_marker)
            .customize()
            .interceptor(kept.clone())
            .send()
            .await;
        let failed = |e| self.error(CALL, "s3:ListBucketMultipartUploads", target, e);
        let success = match self.succeeded(answer, &kept, failed) {
            // Some stores say in this way that there is none.
            Err(error)
                if error.evidence().is_some_and(|evidence| evidence.status == 404)
                    && matches!(error.code(), "" | "NoSuchUpload") =>
            {
                return Ok(upload_answers::Uploads::default());
            }
            success => success?,
        };
        let read = upload_answers::uploads(&success.body);
        read.map_err(|error| error.context(self.said(CALL, target)))
    }

    /// CompleteMultipartUpload.
    pub(super) async fn complete(
        &self,
        upload: &Upload,
        parts: &[Part],
        crc64nvme: Option<u64>,
    ) -> Result<Written> {
        const CALL: &str = "CompleteMultipartUpload";
        let (target, kept) = (&upload.target, Kept::default());
        let parts = parts.iter().map(|part| {
            let number = part.number as i32;
            let built = CompletedPart::builder().part_number(number).e_tag(part.etag.quoted());
            built.set_checksum_crc64_nvme(part.crc64nvme.map(crc64nvme_text)).build()
        });
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let answer = self
            .client
            .complete_multipart_upload()
            .bucket(&target.bucket)
            .key(target.key.as_str())
            .upload_id(&upload.id)
            .multipart_upload(parts)
            .set_checksum_crc64_nvme(crc64nvme.map(crc64nvme_text))
            .set_checksum_type(crc64nvme.map(|_| ChecksumType::FullObject))
            .customize()
            .interceptor(kept.clone())
            .send()
            .await;
        let failed = |e| self.error(CALL, "s3:PutObject", target, e);
        let Success { body, sse } = self.succeeded(answer, &kept, failed)?;
        // S3 may answer 200 before it knows the result, and put the error into the body.
        let made =
            upload_answers::completed(&body).map_err(|e| e.context(self.said(CALL, target)))?;
        let (etag, crc64nvme) = made.unwrap_or_else(|| (Etag::new(""), None));
        Ok(Written { etag, sse, crc64nvme })
    }

    /// AbortMultipartUpload.
    pub(super) async fn abort(&self, upload: &Upload) -> Result<()> {
        let (target, kept) = (&upload.target, Kept::default());
        let answer = self
            .client
            .abort_multipart_upload()
            .bucket(&target.bucket)
            .key(target.key.as_str())
            .upload_id(&upload.id)
            .customize()
            .interceptor(kept.clone())
            .send()
            .await;
        let failed = |e| self.error("AbortMultipartUpload", "s3:AbortMultipartUpload", target, e);
        match self.succeeded(answer, &kept, failed) {
            Err(error) => match error.kind() {
                ErrorKind::UploadGone => Ok(()),
                // Without a code it may be a proxy's page: the upload would never be aborted.
                ErrorKind::NotFound if error.is_bare() => {
                    Err(error.of_kind(ErrorKind::Unavailable))
                }
                ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            },
            Ok(_) => Ok(()),
        }
    }
}

/// A body that the SDK is to sign: held in memory, since the SDK signs no chunks.
pub(super) async fn held(body: Body) -> Result<Bytes> {
    if body.length() > LARGEST_SIGNED {
        let most = LARGEST_SIGNED / crate::object::MIB;
        let message = format!("HttpPath = sdk signs parts of at most {most} MiB: use lean");
        return Err(Error::invalid(message));
    }
    body.read_all().await
}

/// A body that is sent as it arrives.
pub(super) fn streamed(body: Body) -> ByteStream {
    ByteStream::new(SdkBody::from_body_1_x(super::convert::Outgoing::new(body)))
}
