//! Operations on whole objects.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use futures_util::StreamExt;
use hyper::{HeaderMap, StatusCode};
use s3s::dto::{
    CommonPrefix, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETagCondition,
    GetObjectInput, GetObjectOutput, GetObjectTaggingInput, GetObjectTaggingOutput,
    HeadObjectInput, HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, Object,
    PutObjectInput, PutObjectOutput, Range as HttpRange, StreamingBlob, Tag,
};
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result, s3_error};

use crate::blob::{Segment, read};
use crate::checksum::{Said, told};
use crate::headers::Kept;
use crate::index::{Object as Stored, blob_etag};
use crate::listing::{Marker, Query, echo, encoder, limit, page};
use crate::service::{Incoming, Store, unversioned};

impl Store {
    pub(super) fn list(&self, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
        let limit = limit(input.max_keys)?;
        let from = match (&input.continuation_token, &input.start_after) {
            (Some(token), _) => Some(Marker::from_token(token)?),
            (None, after) => after.clone().map(Marker::After),
        };
        let query = Query {
            prefix: input.prefix.as_deref().unwrap_or_default(),
            delimiter: input.delimiter.as_deref().unwrap_or_default(),
            from: from.as_ref(),
            limit,
        };
        let encode = encoder(input.encoding_type.as_ref());
        let (contents, prefixes, next) = self.index.read(&input.bucket, |bucket| {
            let page = page(&bucket.objects, query);
            let entries = page.entries.into_iter();
            let contents: Vec<_> = entries.map(|(key, o)| listed(encode(key), o)).collect();
            Ok((contents, page.prefixes, page.next))
        })?;
        let common = |p: String| CommonPrefix { prefix: Some(encode(&p)) };
        let key_count = contents.len() + prefixes.len();
        Ok(ListObjectsV2Output {
            key_count: i32::try_from(key_count).ok(),
            max_keys: i32::try_from(limit).ok(),
            is_truncated: Some(next.is_some()),
            next_continuation_token: next.map(|marker| marker.to_token()),
            contents: Some(contents),
            common_prefixes: Some(prefixes.into_iter().map(common).collect()),
            name: Some(input.bucket),
            prefix: Some(encode(query.prefix)),
            delimiter: input.delimiter.as_deref().map(encode),
            start_after: input.start_after.as_deref().map(encode),
            continuation_token: input.continuation_token,
            encoding_type: input.encoding_type,
            ..ListObjectsV2Output::default()
        })
    }

    pub(super) fn head(&self, input: HeadObjectInput) -> S3Result<S3Response<HeadObjectOutput>> {
        unversioned(input.version_id.as_deref())?;
        let object = self.index.read(&input.bucket, |bucket| bucket.object(&input.key))?;
        check_read(&object, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let range = wanted(&object, input.range, input.part_number)?;
        let bytes = range.clone().unwrap_or(0..object.size);
        let crc = object.crc64nvme.filter(|_| range.is_none());
        let (checksum_crc64nvme, checksum_type) = told(crc, input.checksum_mode.as_ref());
        let output = HeadObjectOutput {
            checksum_crc64nvme,
            checksum_type,
            accept_ranges: Some("bytes".to_owned()),
            content_length: i64::try_from(bytes.end - bytes.start).ok(),
            content_range: range.map(|range| content_range(&range, object.size)),
            e_tag: Some(object.etag.clone()),
            last_modified: Some(object.modified.clone()),
            parts_count: input.part_number.and_then(|_| parts_count(&object)),
            ..HeadObjectOutput::default()
        };
        Ok(S3Response::with_headers(output, object.kept.to_response()))
    }

    pub(super) fn get(&self, input: GetObjectInput) -> S3Result<S3Response<GetObjectOutput>> {
        unversioned(input.version_id.as_deref())?;
        let object = self.index.read(&input.bucket, |bucket| bucket.object(&input.key))?;
        check_read(&object, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        if object.kept.is_archived() {
            return Err(s3_error!(InvalidObjectState, "the object must be restored first"));
        }
        let range = wanted(&object, input.range, input.part_number)?;
        let bytes = range.clone().unwrap_or(0..object.size);
        let stats = Arc::clone(&self.stats);
        let body = read(segments(&object, &bytes)).inspect(move |chunk| {
            if let Ok(chunk) = chunk {
                stats.bytes_out("GetObject", chunk.len() as u64);
            }
        });
        let crc = object.crc64nvme.filter(|_| range.is_none());
        let (checksum_crc64nvme, checksum_type) = told(crc, input.checksum_mode.as_ref());
        let output = GetObjectOutput {
            checksum_crc64nvme,
            checksum_type,
            accept_ranges: Some("bytes".to_owned()),
            body: Some(StreamingBlob::wrap(body)),
            content_length: i64::try_from(bytes.end - bytes.start).ok(),
            content_range: range.map(|range| content_range(&range, object.size)),
            e_tag: Some(object.etag.clone()),
            last_modified: Some(object.modified.clone()),
            parts_count: input.part_number.and_then(|_| parts_count(&object)),
            ..GetObjectOutput::default()
        };
        Ok(S3Response::with_headers(output, object.kept.to_response()))
    }

    pub(super) async fn put(
        &self,
        input: PutObjectInput,
        headers: &HeaderMap,
        crc: Said,
    ) -> S3Result<PutObjectOutput> {
        // Refuse the body before reading it if the bucket is missing, as S3 does.
        self.index.read(&input.bucket, |_| Ok(()))?;
        let kept = Kept::from_request(headers)?;
        let (body, length, md5) = (input.body, input.content_length, input.content_md5);
        let incoming = Incoming { body, length, md5, crc };
        let (blob, checksum_crc64nvme) = self.receive("PutObject", incoming).await?;
        let e_tag = Some(blob_etag(&blob));
        let crc = checksum_crc64nvme.as_ref().map(|_| blob.crc64nvme);
        let object = Arc::new(Stored::single(blob, kept, crc));
        let replaced = self.index.write(&input.bucket, |bucket| {
            let (if_match, if_none_match) = (input.if_match.as_ref(), input.if_none_match.as_ref());
            bucket.permits(&input.key, if_match, if_none_match)?;
            Ok(bucket.objects.insert(input.key, object))
        })?;
        drop(replaced);
        Ok(PutObjectOutput { e_tag, checksum_crc64nvme, ..PutObjectOutput::default() })
    }

    /// Deletes the object; a missing object is not an error.
    pub(super) fn delete(&self, bucket: &str, key: &str) -> S3Result<()> {
        self.index.write(bucket, |bucket| Ok(bucket.objects.remove(key))).map(drop)
    }

    pub(super) fn delete_all(&self, input: DeleteObjectsInput) -> S3Result<DeleteObjectsOutput> {
        let mut deleted = Vec::new();
        for object in input.delete.objects {
            self.delete(&input.bucket, &object.key)?;
            deleted.push(DeletedObject { key: echo(object.key), ..DeletedObject::default() });
        }
        if input.delete.quiet == Some(true) {
            deleted.clear();
        }
        Ok(DeleteObjectsOutput { deleted: Some(deleted), ..DeleteObjectsOutput::default() })
    }

    pub(super) fn tagging(&self, input: GetObjectTaggingInput) -> S3Result<GetObjectTaggingOutput> {
        unversioned(input.version_id.as_deref())?;
        let object = self.index.read(&input.bucket, |bucket| bucket.object(&input.key))?;
        let tags = object.kept.tags.iter().cloned();
        let tag_set = tags.map(|(key, value)| Tag { key: Some(key), value: Some(value) }).collect();
        Ok(GetObjectTaggingOutput { tag_set, ..GetObjectTaggingOutput::default() })
    }
}

fn listed(key: String, object: &Stored) -> Object {
    Object {
        key: Some(key),
        e_tag: Some(object.etag.clone()),
        last_modified: Some(object.modified.clone()),
        size: i64::try_from(object.size).ok(),
        storage_class: Some(object.kept.storage_class().to_owned().into()),
        ..Object::default()
    }
}

fn check_read(
    object: &Stored,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<()> {
    if if_match.is_some_and(|condition| !object.matches(condition)) {
        return Err(s3_error!(PreconditionFailed));
    }
    if if_none_match.is_some_and(|condition| object.matches(condition)) {
        return Err(s3_error!(NotModified));
    }
    Ok(())
}

/// The requested range, if not all bytes were requested.
fn wanted(
    object: &Stored,
    range: Option<HttpRange>,
    part: Option<i32>,
) -> S3Result<Option<Range<u64>>> {
    match (range, part) {
        (Some(_), Some(_)) => Err(s3_error!(InvalidRequest, "range and part exclude each other")),
        (Some(range), None) => Ok(Some(range.check(object.size)?)),
        (None, Some(part)) => part_range(object, part).map(Some),
        (None, None) => Ok(None),
    }
}

fn part_range(object: &Stored, number: i32) -> S3Result<Range<u64>> {
    let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    let Some((index, part)) = index.and_then(|i| Some((i, object.parts.get(i)?))) else {
        let mut error = S3Error::new(S3ErrorCode::Custom("InvalidPartNumber".into()));
        error.set_status_code(StatusCode::RANGE_NOT_SATISFIABLE);
        return Err(error);
    };
    let start: u64 = object.parts[..index].iter().map(|part| part.len).sum();
    Ok(start..start + part.len)
}

fn parts_count(object: &Stored) -> Option<i32> {
    object.multipart.then(|| i32::try_from(object.parts.len()).ok()).flatten()
}

fn content_range(range: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1))
}

/// The pieces of the object's blobs that make up `wanted`.
fn segments(object: &Stored, wanted: &Range<u64>) -> VecDeque<Segment> {
    let mut offset = 0;
    let mut segments = VecDeque::new();
    for blob in &object.parts {
        let start = wanted.start.clamp(offset, offset + blob.len) - offset;
        let end = wanted.end.clamp(offset, offset + blob.len) - offset;
        if start < end {
            segments.push_back(Segment { blob: blob.clone(), range: start..end });
        }
        offset += blob.len;
    }
    segments
}
