//! Object storage by the S3 API: small calls, own types; wrappers that pace and watch.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use crate::digest::sums::Sum;
use crate::error::Result;
use crate::object::{ByteRange, Etag, ObjectId};
use crate::retry::retrying;

pub use body::Body;
pub use page::{Flaw, ListPage, Listed, Odd};
use profile::Profile;

mod body;
pub mod pace;
mod page;
pub mod profile;
pub mod s3;
mod stall;
#[cfg(test)]
pub(crate) mod tests;

/// An MD5 digest, 16 bytes.
pub type Md5 = [u8; 16];

/// Which side of the migration a store is; errors and log lines name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Objects are read here.
    Source,
    /// Objects are written here.
    Destination,
}

impl Side {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A request for one page of a listing.
#[derive(Clone, Debug, Default)]
pub struct ListRequest {
    /// The bucket.
    pub bucket: String,
    /// Only keys that begin with this.
    pub prefix: String,
    /// Only keys after these bytes, in byte order; for the first page.
    pub start_after: Option<Vec<u8>>,
    /// The previous page's token; set for every page after the first.
    pub token: Option<String>,
    /// Maximum keys on the page; `None` leaves it to the store.
    pub max_keys: Option<u32>,
    /// Also report each object's current version. This takes another call, which needs
    /// `s3:ListBucketVersions` and returns all versions, so it is slower.
    pub versions: bool,
}

/// The headers that travel with an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Content-Encoding`; the body is never decoded.
    pub content_encoding: Option<String>,
    /// `Content-Language`.
    pub content_language: Option<String>,
    /// `Content-Disposition`.
    pub content_disposition: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// `Expires`, as the text that was stored.
    pub expires: Option<String>,
    /// `x-amz-website-redirect-location`.
    pub website_redirect: Option<String>,
    /// `x-amz-meta-*`, without that prefix.
    pub user: BTreeMap<String, String>,
}

/// What a store says about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Size of the whole object in bytes, also in the answer to a ranged GET.
    pub size: u64,
    /// The object's ETag.
    pub etag: Etag,
    /// Its version, if the bucket has versions (`"null"` is passed on as it is).
    pub version: Option<String>,
    /// When it was written, to the second.
    pub last_modified: Option<SystemTime>,
    /// The storage class; a store leaves it out for STANDARD.
    pub storage_class: Option<String>,
    /// Whether an archived object has a temporary readable copy (`x-amz-restore`).
    pub restored: bool,
    /// How many tags it has, if the answer counts them.
    pub tag_count: Option<u32>,
    /// Entries of its user metadata that no header can carry (`x-amz-missing-meta`).
    pub missing_meta: u32,
    /// The headers that travel along.
    pub headers: Headers,
    /// The server-side encryption, if the answer names one.
    pub sse: Option<String>,
    /// A checksum of the whole object, if the store keeps one and was asked for it.
    pub sum: Option<Sum>,
}

impl ObjectMeta {
    /// The MD5 of the object's bytes, if its ETag is one: the object was written in one piece, and
    /// not under SSE-KMS or SSE-C
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html>).
    pub fn md5(&self) -> Option<Md5> {
        let opaque = self.sse.as_deref().is_some_and(hides_md5);
        self.etag.md5().filter(|_| !opaque)
    }

    /// The ETag, if it is the digest of the MD5s of the object's parts.
    pub fn multipart_digest(&self) -> Option<&Etag> {
        let opaque = self.sse.as_deref().is_some_and(hides_md5);
        (self.etag.parts().is_some() && !opaque).then_some(&self.etag)
    }
}

/// [`ObjectMeta::sse`] of an object that is encrypted with its reader's own key (SSE-C).
pub const SSE_C: &str = "SSE-C";

/// Whether this encryption makes ETags differ from MD5s: SSE-KMS (`aws:kms`, `aws:kms:dsse`),
/// SSE-C.
fn hides_md5(sse: &str) -> bool {
    sse.starts_with("aws:kms") || sse == SSE_C
}

/// How an object was written in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartsSeen {
    /// How many parts.
    pub count: u32,
    /// Bytes in the first part.
    pub first: u64,
}

/// What to read.
#[derive(Clone, Debug)]
pub struct GetRequest {
    /// The object.
    pub id: ObjectId,
    /// The version, if a specific one is wanted.
    pub version: Option<String>,
    /// The bytes; `None` for all of them.
    pub range: Option<ByteRange>,
    /// The object must have this ETag, or the call fails with `SourceChanged`.
    pub if_match: Option<Etag>,
}

/// The answer to a GET: what is known at once, and the bytes as they arrive.
pub struct GetAnswer {
    /// About the whole object.
    pub meta: ObjectMeta,
    /// Where in the object the body begins: also 0 if a store answers a range with the whole
    /// object.
    pub start: u64,
    /// Bytes of the whole object, if the answer says.
    pub whole: Option<u64>,
    /// The bytes, as stored; as many as the answer announces.
    pub body: Body,
}

/// What a new object gets in addition to its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewObject {
    /// The headers that travel along.
    pub headers: Headers,
    /// The storage class; `None` leaves it to the store.
    pub storage_class: Option<String>,
    /// Tags, as key and value.
    pub tags: Vec<(String, String)>,
    /// The object of a multipart upload gets a CRC-64/NVME of the whole, combined from its parts'.
    pub crc64nvme: bool,
}

/// The digests of a body in memory: each goes with the request, and the store refuses a body that
/// does not match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Sent as `Content-MD5` (RFC 1864).
    pub md5: Option<Md5>,
    /// Sent as `x-amz-checksum-crc64nvme`.
    pub crc64nvme: Option<u64>,
}

impl From<Md5> for Proof {
    fn from(md5: Md5) -> Self {
        Self { md5: Some(md5), crc64nvme: None }
    }
}

/// The bytes of a part on their way to a store.
pub enum Payload {
    /// In memory.
    Held {
        /// The bytes.
        bytes: Bytes,
        /// The digests that prove them.
        proof: Proof,
    },
    /// As they arrive; an error in the body cuts the request, so nothing is stored.
    Streamed {
        /// The bytes.
        body: Body,
        /// Send their CRC-64/NVME after them, for the store to verify; the answer contains it.
        trailer: bool,
    },
}

/// The store's answer to bytes that it has accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The ETag of the object or part.
    pub etag: Etag,
    /// The server-side encryption it was stored under, if the answer names one.
    pub sse: Option<String>,
    /// The CRC-64/NVME that the store has verified, if the answer names one.
    pub crc64nvme: Option<u64>,
}

impl Written {
    /// Whether the ETag is the MD5 of the bytes: it is not under SSE-KMS, and some compatible
    /// stores have ETags of another form
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html>).
    pub fn etag_is_md5(&self) -> bool {
        !self.hides_md5() && self.etag.looks_like_md5()
    }

    /// Whether its encryption hides its MD5: SSE-KMS (`aws:kms`, `aws:kms:dsse`) or SSE-C.
    pub fn hides_md5(&self) -> bool {
        self.sse.as_deref().is_some_and(hides_md5)
    }
}

/// An unfinished multipart upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Where the object will be.
    pub target: ObjectId,
    /// The store's id of the upload.
    pub id: String,
}

/// An upload that has just been created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The upload.
    pub upload: Upload,
    /// The answer says that the parts' ETags will not be MD5s (SSE-KMS).
    pub hides_md5: bool,
}

/// An unfinished upload as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedUpload {
    /// The upload.
    pub upload: Upload,
    /// When it was created.
    pub initiated: Option<SystemTime>,
    /// The storage class of its object, if the store says.
    pub class: Option<String>,
}

/// The key and the id of the upload after which the next page begins.
pub type UploadMarker = (String, String);

/// One page of unfinished uploads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadsPage {
    /// The uploads, in the order of their keys.
    pub uploads: Vec<ListedUpload>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<UploadMarker>,
}

/// A part that the store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// 1 to 10,000.
    pub number: u32,
    /// Bytes.
    pub size: u64,
    /// The store's ETag of the part.
    pub etag: Etag,
    /// The store's CRC-64/NVME of the part, if the upload has such checksums.
    pub crc64nvme: Option<u64>,
}

/// One S3-compatible endpoint with the credentials of one side.
///
/// Every method is one request (or, if it says so, one request per page). None retries by itself:
/// see [`crate::retry`]. Errors name the call, the object and the side.
#[async_trait]
pub trait ObjectStore: Send + Sync + fmt::Debug {
    /// What is known of this store's peculiarities.
    fn profile(&self) -> &Profile;

    /// One page of the bucket's current objects, 1,000 keys on most stores. A key whose current
    /// version is a delete marker has no current object. An empty page need not be the last, and
    /// neither need one without a token for the next: see [`crate::compare::listing`].
    async fn list(&self, request: &ListRequest) -> Result<ListPage>;

    /// What the store says about an object, without its bytes.
    async fn head(&self, id: &ObjectId, version: Option<&str>) -> Result<ObjectMeta>;

    /// How the object with this ETag was written in parts; `None` if the store does not say.
    async fn parts_seen(
        &self,
        id: &ObjectId,
        version: Option<&str>,
        etag: &Etag,
    ) -> Result<Option<PartsSeen>>;

    /// Starts to read an object or a range of it.
    async fn get(&self, request: &GetRequest) -> Result<GetAnswer>;

    /// The object's tags.
    async fn tags(&self, id: &ObjectId, version: Option<&str>) -> Result<Vec<(String, String)>>;

    /// Writes a whole object; the store refuses a body that does not match its proof.
    async fn put(
        &self,
        id: &ObjectId,
        new: &NewObject,
        body: Bytes,
        proof: Proof,
    ) -> Result<Written>;

    /// Writes a whole object from a body as it arrives; an error in the body cuts the request, so
    /// nothing is stored. The store refuses a body that does not match `md5`.
    async fn put_streamed(
        &self,
        id: &ObjectId,
        new: &NewObject,
        body: Body,
        md5: Option<Md5>,
    ) -> Result<Written>;

    /// What the store says about the current object; `None` only if the store says that the key
    /// itself does not exist (a delete marker is no object). One request, and a second one if there
    /// is no object: an answer to HEAD cannot say whether the key or the bucket is missing. Fails
    /// with `NotFound` if the bucket is missing, and with `Denied` if the store may not reveal that
    /// a key is missing: that takes `s3:ListBucket`
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html>).
    async fn current(&self, id: &ObjectId) -> Result<Option<ObjectMeta>>;

    /// Deletes the object; in a bucket with versions a delete marker hides it. Deleting a missing
    /// object succeeds.
    async fn delete(&self, id: &ObjectId) -> Result<()>;

    /// Creates a multipart upload.
    async fn create_upload(&self, target: &ObjectId, new: &NewObject) -> Result<Created>;

    /// Writes one part; the store refuses a body that does not match its proof, its trailer or its
    /// length. Fails with `UploadGone` if the upload has been completed or aborted.
    async fn upload_part(&self, upload: &Upload, number: u32, payload: Payload) -> Result<Written>;

    /// All parts that the store holds, in order; one request per 1,000. Fails with `UploadGone`.
    async fn list_parts(&self, upload: &Upload) -> Result<Vec<Part>>;

    /// All unfinished uploads of exactly this object, one request per 1,000.
    async fn list_uploads(&self, target: &ObjectId) -> Result<Vec<ListedUpload>>;

    /// One page of the unfinished uploads in a bucket whose keys begin with that of `place`. Some
    /// stores list uploads of one key only, and answer nothing here.
    async fn uploads_below(
        &self,
        place: &ObjectId,
        after: Option<&UploadMarker>,
    ) -> Result<UploadsPage>;

    /// Makes the object from these parts; `crc64nvme` is the checksum of the whole object, which
    /// the store verifies. Fails with `UploadGone`. An error inside a 200 answer is an error. An
    /// answer that does not name the object yields an empty ETag, and the object may not exist.
    async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[Part],
        crc64nvme: Option<u64>,
    ) -> Result<Written>;

    /// Aborts the upload. Aborting a missing upload succeeds.
    async fn abort_upload(&self, upload: &Upload) -> Result<()>;
}

// What carries data is tried again as a whole, reading and writing together.
retrying! { ObjectStore:
    list(request: &ListRequest) -> ListPage;
    head(id: &ObjectId, version: Option<&str>) -> ObjectMeta;
    current(id: &ObjectId) -> Option<ObjectMeta>;
    parts_seen(id: &ObjectId, version: Option<&str>, etag: &Etag) -> Option<PartsSeen>;
    tags(id: &ObjectId, version: Option<&str>) -> Vec<(String, String)>;
    delete(id: &ObjectId) -> ();
    create_upload(target: &ObjectId, new: &NewObject) -> Created;
    list_parts(upload: &Upload) -> Vec<Part>;
    list_uploads(target: &ObjectId) -> Vec<ListedUpload>;
    abort_upload(upload: &Upload) -> ();
}
