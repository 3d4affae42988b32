//! What a store does, split by who asks: each caller names the least that it needs.
//!
//! Every method is one request (or, if it says so, one request per page). None retries by itself:
//! see [`crate::retry`]. Errors name the call, the object and the side.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Body, Created, GetAnswer, GetRequest, ListPage, ListRequest, ListedUpload, Md5, NewObject,
    ObjectMeta, Part, PartsSeen, Payload, Profile, Proof, Upload, UploadMarker, UploadsPage,
    Written,
};
use crate::error::Result;
use crate::object::{Etag, ObjectId};
use crate::retry::retrying;

/// What is read of a store: its pages, what it says of an object, and the bytes.
#[async_trait]
pub trait Reads: Send + Sync + fmt::Debug {
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

    /// What the store says about the current object; `None` only if the store says that the key
    /// itself does not exist (a delete marker is no object). One request, and a second one if there
    /// is no object: an answer to HEAD cannot say whether the key or the bucket is missing. Fails
    /// with `NotFound` if the bucket is missing, and with `Denied` if the store may not reveal that
    /// a key is missing: that takes `s3:ListBucket`
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html>).
    async fn current(&self, id: &ObjectId) -> Result<Option<ObjectMeta>>;
}

/// What changes a store in one request.
#[async_trait]
pub trait Writes: Send + Sync + fmt::Debug {
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

    /// Deletes the object; in a bucket with versions a delete marker hides it. Deleting a missing
    /// object succeeds.
    async fn delete(&self, id: &ObjectId) -> Result<()>;
}

/// Objects that are written in parts.
#[async_trait]
pub trait Uploads: Send + Sync + fmt::Debug {
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

/// One S3-compatible endpoint with the credentials of one side.
pub trait ObjectStore: Reads + Writes + Uploads {}

impl<S: Reads + Writes + Uploads> ObjectStore for S {}

// What carries data is tried again as a whole, reading and writing together.
retrying! { Reads:
    list(request: &ListRequest) -> ListPage;
    head(id: &ObjectId, version: Option<&str>) -> ObjectMeta;
    parts_seen(id: &ObjectId, version: Option<&str>, etag: &Etag) -> Option<PartsSeen>;
    tags(id: &ObjectId, version: Option<&str>) -> Vec<(String, String)>;
    current(id: &ObjectId) -> Option<ObjectMeta>;
}

retrying! { Writes:
    delete(id: &ObjectId) -> ();
}

retrying! { Uploads:
    create_upload(target: &ObjectId, new: &NewObject) -> Created;
    list_parts(upload: &Upload) -> Vec<Part>;
    list_uploads(target: &ObjectId) -> Vec<ListedUpload>;
    abort_upload(upload: &Upload) -> ();
}
