//! Multipart uploads, by the SDK.

use aws_sdk_s3::config::{Builder, RequestChecksumCalculation};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart, EncodingType,
};
use aws_smithy_types::body::SdkBody;

use super::convert::{crc64nvme_text, decode_key, parse_crc64nvme};
use super::exact::exactly;
use super::new_object::{with_expires, with_new_object};
use super::whole::Whole;
use super::*;

/// How the SDK sends a part's body.
enum Form {
    /// Its SHA-256 is in the signature.
    Hashed,
    Unsigned,
    /// With a checksum behind it.
    Trailer,
}

impl S3Store {
    /// CreateMultipartUpload.
    pub(super) async fn begin_upload(&self, target: &ObjectId, new: &NewObject) -> Result<Created> {
        let request = self
            .client
            .create_multipart_upload()
            .bucket(&target.bucket)
            .key(target.key.as_str())
            .set_checksum_algorithm(new.crc64nvme.then_some(ChecksumAlgorithm::Crc64Nvme))
            .set_checksum_type(new.crc64nvme.then_some(ChecksumType::FullObject));
        let answer = with_expires!(with_new_object!(request, self, new), new).send().await;
        let created = answer.map_err(|e| {
            self.error("CreateMultipartUpload", self.write_permission(new), target, e)
        })?;
        let id = created.upload_id().map(str::to_owned).ok_or_else(|| {
            Error::invalid(format!("CreateMultipartUpload s3://{target}: no upload id"))
        })?;
        let sse = created.server_side_encryption().map(ServerSideEncryption::as_str);
        let hides_md5 = sse.is_some_and(hides_md5);
        Ok(Created { upload: Upload { target: target.clone(), id }, hides_md5 })
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
        let form = match payload {
            Payload::Held { .. } => Form::Hashed,
            Payload::Streamed { trailer: false, .. } => Form::Unsigned,
            Payload::Streamed { trailer: true, .. } => Form::Trailer,
        };
        let request = match payload {
            Payload::Held { bytes, proof } => {
                let (md5, crc64nvme) = Self::digests(proof);
                request
                    .content_length(bytes.len() as i64)
                    .set_content_md5(md5)
                    .set_checksum_crc64_nvme(crc64nvme)
                    .body(ByteStream::from(bytes))
            }
            Payload::Streamed { body, length, trailer, .. } => request
                .content_length(length as i64)
                .set_checksum_algorithm(trailer.then_some(ChecksumAlgorithm::Crc64Nvme))
                .body(streamed(body, length)),
        };
        let answer = match form {
            Form::Hashed => request.send().await,
            // Else the SDK would hash a body that it has not got yet.
            Form::Unsigned => request.customize().disable_payload_signing().send().await,
            // Our clients compute checksums only where an operation demands one, which overrules
            // the algorithm that is asked for.
            Form::Trailer => {
                let compute = RequestChecksumCalculation::WhenSupported;
                let compute = Builder::new().request_checksum_calculation(compute);
                request.customize().config_override(compute).send().await
            }
        };
        let part = answer.map_err(|e| {
            let place = format_args!("{target} part {number}");
            self.error("UploadPart", "s3:PutObject", place, e)
        })?;
        let sse = part.server_side_encryption().map(|sse| sse.as_str().to_owned());
        let crc64nvme = part.checksum_crc64_nvme().and_then(parse_crc64nvme);
        Ok(Written { etag: Etag::new(part.e_tag().unwrap_or_default()), sse, crc64nvme })
    }

    /// ListParts, all pages.
    pub(super) async fn parts_of(&self, upload: &Upload) -> Result<Vec<Part>> {
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
                .customize()
                .interceptor(Whole)
                .send()
                .await;
            let page = answer
                .map_err(|e| self.error("ListParts", "s3:ListMultipartUploadParts", target, e))?;
            let before = parts.len();
            parts.extend(page.parts().iter().map(super::convert::part));
            if page.is_truncated() != Some(true) {
                return Ok(parts);
            }
            if parts.len() == before {
                return Err(Error::invalid(format!("ListParts s3://{target}: an empty page")));
            }
        }
    }

    /// ListMultipartUploads, all pages of this key.
    pub(super) async fn uploads_of(&self, target: &ObjectId) -> Result<Vec<ListedUpload>> {
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
                .customize()
                .interceptor(Whole)
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

    /// CompleteMultipartUpload.
    pub(super) async fn complete(
        &self,
        upload: &Upload,
        parts: &[Part],
        crc64nvme: Option<u64>,
    ) -> Result<Written> {
        let target = &upload.target;
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
        let crc64nvme = object.checksum_crc64_nvme().and_then(parse_crc64nvme);
        Ok(Written { etag, sse, crc64nvme })
    }

    /// AbortMultipartUpload.
    pub(super) async fn abort(&self, upload: &Upload) -> Result<()> {
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
            ErrorKind::UploadGone => Ok(()),
            // Without a code it may be a proxy's page: the upload would be left for good.
            ErrorKind::NotFound if error.is_bare() => Err(error.of_kind(ErrorKind::Unavailable)),
            ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        }
    }
}

/// A body that is sent as it comes.
fn streamed(body: Body, length: u64) -> ByteStream {
    let sized = super::convert::Sized::new(exactly(body, length), length);
    ByteStream::new(SdkBody::from_body_1_x(sized))
}
