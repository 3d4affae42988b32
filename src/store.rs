//! Object storage by the S3 API: small calls, own types; wrappers that pace and watch.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;

use crate::digest::sums::Sum;
use crate::error::Result;
use crate::object::{ByteRange, Etag, ObjectId};

pub use body::Body;
pub use page::{Flaw, ListPage, Listed, Odd};
use profile::Profile;
pub use traits::{ObjectStore, Reads, Uploads, Writes};

mod body;
pub mod pace;
mod page;
pub mod profile;
pub mod s3;
mod stall;
#[cfg(test)]
pub(crate) mod tests;
mod traits;

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
