//! Operations on multipart uploads.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::HeaderMap;
use s3s::dto::{
    AbortMultipartUploadInput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CompletedPart, CreateMultipartUploadInput, CreateMultipartUploadOutput,
    ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput,
    MultipartUpload, Part as ListedPart, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Result, s3_error};

use crate::blob::Blob;
use crate::checksum::{self, Said};
use crate::headers::Kept;
use crate::index::{Bucket, Object, Part, Upload, blob_etag, now};
use crate::listing::{echo, encoder, limit};
use crate::service::{Incoming, Store};

/// Part numbers, and the minimum size of all parts except the last
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).
const PART_NUMBERS: std::ops::RangeInclusive<i32> = 1..=10_000;
const MIN_PART: u64 = 5 * 1024 * 1024;

impl Store {
    pub(super) fn begin(
        &self,
        input: CreateMultipartUploadInput,
        headers: &HeaderMap,
    ) -> S3Result<CreateMultipartUploadOutput> {
        let kept = Kept::from_request(headers)?;
        let crc64nvme = checksum::is_wanted(headers);
        let upload = Upload { initiated: now(), kept, crc64nvme, parts: BTreeMap::new() };
        let upload_id = self.index.write(&input.bucket, |bucket| {
            let id = upload_id();
            bucket.uploads.insert((input.key.clone(), id.clone()), upload);
            Ok(id)
        })?;
        Ok(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: echo(input.key),
            upload_id: Some(upload_id),
            ..CreateMultipartUploadOutput::default()
        })
    }

    pub(super) async fn part(
        &self,
        input: UploadPartInput,
        crc: Said,
    ) -> S3Result<UploadPartOutput> {
        if !PART_NUMBERS.contains(&input.part_number) {
            return Err(s3_error!(InvalidArgument, "part numbers go from 1 to 10000"));
        }
        let id = (input.key, input.upload_id);
        // Refuse the part before reading it if the upload is gone, as S3 does.
        self.index.read(&input.bucket, |bucket| bucket.upload(&id).map(drop))?;
        let (body, length, md5) = (input.body, input.content_length, input.content_md5);
        let incoming = Incoming { body, length, md5, crc };
        let (blob, checksum_crc64nvme) = self.receive("UploadPart", incoming).await?;
        let e_tag = Some(blob_etag(&blob));
        let replaced = self.index.write(&input.bucket, |bucket| {
            let upload = bucket.uploads.get_mut(&id).ok_or_else(|| s3_error!(NoSuchUpload))?;
            Ok(upload.parts.insert(input.part_number, Part { blob, modified: now() }))
        })?;
        drop(replaced);
        Ok(UploadPartOutput { e_tag, checksum_crc64nvme, ..UploadPartOutput::default() })
    }

    pub(super) fn list_parts(&self, input: ListPartsInput) -> S3Result<ListPartsOutput> {
        let limit = limit(input.max_parts)?;
        let after = input.part_number_marker.unwrap_or(0);
        let id = (input.key, input.upload_id);
        let (mut parts, class) = self.index.read(&input.bucket, |bucket| {
            let upload = bucket.upload(&id)?;
            let rest = upload.parts.range((Bound::Excluded(after), Bound::Unbounded));
            // One more than fits the page shows whether this is the last page.
            let parts = rest.take(limit + 1);
            let parts: Vec<_> = parts.map(|(n, part)| listed(*n, part, upload.crc64nvme)).collect();
            Ok((parts, upload.kept.storage_class().to_owned()))
        })?;
        let is_truncated = limit > 0 && parts.len() > limit;
        parts.truncate(limit);
        let last = parts.last().and_then(|part| part.part_number);
        let (key, upload_id) = id;
        Ok(ListPartsOutput {
            bucket: Some(input.bucket),
            key: echo(key),
            upload_id: Some(upload_id),
            storage_class: Some(class.into()),
            part_number_marker: Some(after),
            next_part_number_marker: last.filter(|_| is_truncated),
            max_parts: i32::try_from(limit).ok(),
            is_truncated: Some(is_truncated),
            parts: Some(parts),
            ..ListPartsOutput::default()
        })
    }

    pub(super) fn list_uploads(
        &self,
        input: ListMultipartUploadsInput,
    ) -> S3Result<ListMultipartUploadsOutput> {
        if input.delimiter.as_deref().is_some_and(|delimiter| !delimiter.is_empty()) {
            return Err(s3_error!(NotImplemented, "uploads are not listed with a delimiter"));
        }
        let limit = limit(input.max_uploads)?;
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let from = first_upload(prefix, input.key_marker.as_deref(), input.upload_id_marker);
        let mut found = self.index.read(&input.bucket, |bucket| {
            let rest = bucket.uploads.range((from, Bound::Unbounded));
            let rest = rest.take_while(|((key, _), _)| key.starts_with(prefix));
            let entry = |(id, upload): (&(String, String), &Upload)| {
                (id.clone(), upload.initiated.clone(), upload.kept.storage_class().to_owned())
            };
            Ok(rest.take(limit + 1).map(entry).collect::<Vec<_>>())
        })?;
        let is_truncated = limit > 0 && found.len() > limit;
        found.truncate(limit);
        let last = found.last().filter(|_| is_truncated).map(|(id, ..)| id.clone());
        let encode = encoder(input.encoding_type.as_ref());
        let shown =
            |((key, id), initiated, class): ((String, String), _, String)| MultipartUpload {
                key: Some(encode(&key)),
                upload_id: Some(id),
                initiated: Some(initiated),
                storage_class: Some(class.into()),
                ..MultipartUpload::default()
            };
        Ok(ListMultipartUploadsOutput {
            uploads: Some(found.into_iter().map(shown).collect()),
            is_truncated: Some(is_truncated),
            next_key_marker: last.as_ref().map(|(key, _)| encode(key)),
            next_upload_id_marker: last.map(|(_, id)| id),
            max_uploads: i32::try_from(limit).ok(),
            prefix: Some(encode(prefix)),
            key_marker: input.key_marker.as_deref().map(encode),
            bucket: Some(input.bucket),
            encoding_type: input.encoding_type,
            ..ListMultipartUploadsOutput::default()
        })
    }

    pub(super) fn complete(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        let asked = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let id = (input.key, input.upload_id);
        let said = input.checksum_crc64nvme;
        let ((e_tag, checksum_crc64nvme), done) = self.index.write(&input.bucket, |bucket| {
            let parts = chosen(bucket.upload(&id)?, &asked)?;
            let crc = bucket.upload(&id)?.crc64nvme.then(|| checksum::combined(&parts));
            if said.is_some() && said != crc.map(checksum::text) {
                return Err(s3_error!(BadDigest, "the parts make another CRC64NVME"));
            }
            bucket.permits(&id.0, input.if_match.as_ref(), input.if_none_match.as_ref())?;
            let upload = bucket.uploads.remove(&id).ok_or_else(|| s3_error!(NoSuchUpload))?;
            let object = Object::assembled(parts, upload.kept.clone(), crc);
            let told = (object.etag.clone(), crc.map(checksum::text));
            Ok((told, (upload, bucket.objects.insert(id.0.clone(), Arc::new(object)))))
        })?;
        drop(done);
        Ok(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: echo(id.0),
            e_tag: Some(e_tag),
            checksum_crc64nvme,
            ..CompleteMultipartUploadOutput::default()
        })
    }

    pub(super) fn abort(&self, input: AbortMultipartUploadInput) -> S3Result<()> {
        let id = (input.key, input.upload_id);
        let remove =
            |bucket: &mut Bucket| bucket.uploads.remove(&id).ok_or_else(|| s3_error!(NoSuchUpload));
        self.index.write(&input.bucket, remove).map(drop)
    }
}

/// A unique id: the counter keeps a bucket's uploads in the order in which they began, the random
/// half distinguishes this endpoint's ids from those of others.
fn upload_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{:016x}{:016x}", NEXT.fetch_add(1, Ordering::Relaxed), fastrand::u64(..))
}

fn listed(number: i32, part: &Part, checksum: bool) -> ListedPart {
    ListedPart {
        checksum_crc64nvme: checksum.then(|| checksum::text(part.blob.crc64nvme)),
        part_number: Some(number),
        e_tag: Some(blob_etag(&part.blob)),
        last_modified: Some(part.modified.clone()),
        size: i64::try_from(part.blob.len).ok(),
        ..ListedPart::default()
    }
}

/// The first upload that a page may show: after the markers, and not before the prefix. The upload
/// id marker counts only together with a key.
fn first_upload(
    prefix: &str,
    key_marker: Option<&str>,
    id_marker: Option<String>,
) -> Bound<(String, String)> {
    let at_prefix = (prefix.to_owned(), String::new());
    let Some(key) = key_marker.filter(|key| !key.is_empty() && *key >= prefix) else {
        return Bound::Included(at_prefix);
    };
    match id_marker.filter(|id| !id.is_empty()) {
        Some(id) => Bound::Excluded((key.to_owned(), id)),
        // The least key greater than this one is the key followed by the least character.
        None => Bound::Included((format!("{key}\0"), String::new())),
    }
}

/// The parts that the caller names, if they are those stored here.
fn chosen(upload: &Upload, asked: &[CompletedPart]) -> S3Result<Vec<Blob>> {
    if asked.is_empty() {
        return Err(s3_error!(MalformedXML, "a completion names at least one part"));
    }
    if !asked.is_sorted_by(|a, b| a.part_number < b.part_number) {
        return Err(s3_error!(InvalidPartOrder));
    }
    let find = |asked: &CompletedPart| {
        let blob = &upload.parts.get(&asked.part_number?)?.blob;
        let same = asked.e_tag.as_ref()?.value() == blob_etag(blob).value();
        let same = same
            && asked.checksum_crc64nvme.iter().all(|crc| *crc == checksum::text(blob.crc64nvme));
        same.then(|| blob.clone())
    };
    let parts: Vec<Blob> = asked
        .iter()
        .map(|asked| find(asked).ok_or_else(|| s3_error!(InvalidPart)))
        .collect::<S3Result<_>>()?;
    if parts[..parts.len() - 1].iter().any(|part| part.len < MIN_PART) {
        return Err(s3_error!(EntityTooSmall));
    }
    Ok(parts)
}
