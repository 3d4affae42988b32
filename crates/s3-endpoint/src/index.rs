//! What exists: buckets, objects and uploads, in memory, in listing order.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use md5::{Digest, Md5};
use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Result, s3_error};
use time::OffsetDateTime;

use crate::blob::Blob;
use crate::headers::Kept;

/// All buckets of an endpoint. Its lock is never held across an await or over I/O.
pub(super) struct Index(RwLock<BTreeMap<String, Bucket>>);

/// One bucket. `Ord` on `String` is the order of UTF-8 bytes, as S3 lists.
pub(super) struct Bucket {
    pub(super) created: Timestamp,
    pub(super) objects: BTreeMap<String, Arc<Object>>,
    /// By key and upload id; ids increase with time, so this is the order of ListMultipartUploads.
    pub(super) uploads: BTreeMap<(String, String), Upload>,
}

/// A whole object: one blob for each part.
pub(super) struct Object {
    pub(super) parts: Vec<Blob>,
    pub(super) size: u64,
    pub(super) etag: ETag,
    pub(super) multipart: bool,
    pub(super) modified: Timestamp,
    pub(super) kept: Kept,
    /// The checksum of the whole, if its writer requested one.
    pub(super) crc64nvme: Option<u64>,
}

/// An unfinished multipart upload.
pub(super) struct Upload {
    pub(super) initiated: Timestamp,
    pub(super) kept: Kept,
    /// Whether its object gets a checksum of the whole.
    pub(super) crc64nvme: bool,
    pub(super) parts: BTreeMap<i32, Part>,
}

/// A part of an unfinished upload.
pub(super) struct Part {
    pub(super) blob: Blob,
    pub(super) modified: Timestamp,
}

impl Index {
    pub(super) fn new(buckets: impl IntoIterator<Item = String>) -> Self {
        Self(RwLock::new(buckets.into_iter().map(|name| (name, Bucket::new())).collect()))
    }

    /// Creates a bucket; `false` if it exists already.
    pub(super) fn create(&self, bucket: &str) -> bool {
        let mut buckets = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = !buckets.contains_key(bucket);
        buckets.entry(bucket.to_owned()).or_insert_with(Bucket::new);
        is_new
    }

    /// The names of the buckets and when they were created.
    pub(super) fn buckets(&self) -> Vec<(String, Timestamp)> {
        let buckets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        buckets.iter().map(|(name, bucket)| (name.clone(), bucket.created.clone())).collect()
    }

    pub(super) fn read<T>(
        &self,
        bucket: &str,
        look: impl FnOnce(&Bucket) -> S3Result<T>,
    ) -> S3Result<T> {
        let buckets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        look(buckets.get(bucket).ok_or_else(|| s3_error!(NoSuchBucket))?)
    }

    /// Changes a bucket. `change` should return whatever it replaces: dropped there, its files are
    /// removed after the lock is released.
    pub(super) fn write<T>(
        &self,
        bucket: &str,
        change: impl FnOnce(&mut Bucket) -> S3Result<T>,
    ) -> S3Result<T> {
        let mut buckets = self.0.write().unwrap_or_else(PoisonError::into_inner);
        change(buckets.get_mut(bucket).ok_or_else(|| s3_error!(NoSuchBucket))?)
    }
}

impl Bucket {
    fn new() -> Self {
        Self { created: now(), objects: BTreeMap::new(), uploads: BTreeMap::new() }
    }

    pub(super) fn object(&self, key: &str) -> S3Result<Arc<Object>> {
        self.objects.get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey))
    }

    pub(super) fn upload(&self, id: &(String, String)) -> S3Result<&Upload> {
        self.uploads.get(id).ok_or_else(|| s3_error!(NoSuchUpload))
    }

    /// Checks a write's If-Match and If-None-Match.
    pub(super) fn permits(
        &self,
        key: &str,
        if_match: Option<&ETagCondition>,
        if_none_match: Option<&ETagCondition>,
    ) -> S3Result<()> {
        let current = self.objects.get(key);
        match (if_match, current) {
            (None, _) => {}
            (Some(_), None) => return Err(s3_error!(NoSuchKey)),
            (Some(condition), Some(object)) if object.matches(condition) => {}
            (Some(_), Some(_)) => return Err(s3_error!(PreconditionFailed)),
        }
        match (if_none_match, current) {
            (Some(condition), Some(object)) if object.matches(condition) => {
                Err(s3_error!(PreconditionFailed))
            }
            _ => Ok(()),
        }
    }
}

impl Object {
    /// An object from one PutObject.
    pub(super) fn single(blob: Blob, kept: Kept, crc64nvme: Option<u64>) -> Self {
        let (size, etag) = (blob.len, blob_etag(&blob));
        let modified = now();
        Self { parts: vec![blob], size, etag, multipart: false, modified, kept, crc64nvme }
    }

    /// An object from the parts of an upload; its ETag is the MD5 of the parts' MD5s, a hyphen and
    /// the number of parts.
    pub(super) fn assembled(parts: Vec<Blob>, kept: Kept, crc64nvme: Option<u64>) -> Self {
        let mut digest = Md5::new();
        parts.iter().for_each(|part| digest.update(part.tag));
        let mut digest: [u8; 16] = digest.finalize().into();
        if parts.iter().any(|part| part.tag != part.md5) {
            digest = digest.map(|byte| !byte);
        }
        let etag = ETag::Strong(format!("{}-{}", hex::encode(digest), parts.len()));
        let size = parts.iter().map(|part| part.len).sum();
        Self { parts, size, etag, multipart: true, modified: now(), kept, crc64nvme }
    }

    pub(super) fn matches(&self, condition: &ETagCondition) -> bool {
        condition.is_any()
            || condition.as_etag().is_some_and(|tag| tag.value() == self.etag.value())
    }
}

/// The ETag of bytes from one call.
pub(super) fn blob_etag(blob: &Blob) -> ETag {
    ETag::Strong(hex::encode(blob.tag))
}

/// The time in whole seconds, the resolution of Last-Modified; listings must show the same.
pub(super) fn now() -> Timestamp {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(0).unwrap_or(now).into()
}
