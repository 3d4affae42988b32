//! A store whose answers the test makes up, for the wrappers around stores.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::pace::{Paced, Pacing};
use super::*;

type Answers<Q, A> = Box<dyn Fn(Q) -> BoxFuture<'static, Result<A>> + Send + Sync>;

impl Fake {
    /// With at most `ceiling` requests at once.
    pub fn paced(self, ceiling: usize) -> Arc<Paced> {
        let pacing = Pacing { first: ceiling, ceiling, log_interval: Duration::from_secs(10) };
        Arc::new(Paced::new(Arc::new(self), Side::Source, pacing))
    }
}

/// Answers HEADs, GETs, lists and parts with these; no other call is made.
pub struct Fake {
    pub head: Answers<ObjectId, ObjectMeta>,
    pub get: Answers<GetRequest, GetAnswer>,
    pub list: Answers<ListRequest, ListPage>,
    pub upload_part: Answers<Payload, Written>,
    pub profile: Profile,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            head: Box::new(|_| std::future::pending().boxed()),
            get: Box::new(|_| std::future::pending().boxed()),
            list: Box::new(|_| std::future::pending().boxed()),
            upload_part: Box::new(|_| std::future::pending().boxed()),
            profile: Profile::new(Side::Source),
        }
    }
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}

/// The GET of a whole object.
pub fn whole(bucket: &str) -> GetRequest {
    GetRequest { id: ObjectId::new(bucket, "key"), version: None, range: None, if_match: None }
}

/// The upload of one object.
pub fn upload(bucket: &str) -> Upload {
    Upload { target: ObjectId::new(bucket, "key"), id: "id".to_owned() }
}

/// An answer with this body.
pub fn answer(body: Body) -> GetAnswer {
    let meta = meta(body.length());
    GetAnswer { start: 0, whole: Some(meta.size), meta, body }
}

/// An object of this many bytes with the ETag `e`.
pub fn meta(size: u64) -> ObjectMeta {
    ObjectMeta {
        size,
        etag: Etag::new("e"),
        version: None,
        last_modified: None,
        storage_class: None,
        restored: false,
        tag_count: None,
        missing_meta: 0,
        headers: Headers::default(),
        sse: None,
        sum: None,
    }
}

/// The answer to a part.
pub fn written() -> Written {
    Written { etag: Etag::new("e"), sse: None, crc64nvme: None }
}

#[async_trait]
impl Reads for Fake {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn list(&self, request: &ListRequest) -> Result<ListPage> {
        (self.list)(request.clone()).await
    }

    async fn get(&self, request: &GetRequest) -> Result<GetAnswer> {
        (self.get)(request.clone()).await
    }

    async fn head(&self, id: &ObjectId, _: Option<&str>) -> Result<ObjectMeta> {
        (self.head)(id.clone()).await
    }

    async fn parts_seen(
        &self,
        _: &ObjectId,
        _: Option<&str>,
        _: &Etag,
    ) -> Result<Option<PartsSeen>> {
        unreachable!()
    }

    async fn tags(&self, _: &ObjectId, _: Option<&str>) -> Result<Vec<(String, String)>> {
        unreachable!()
    }

    async fn current(&self, _: &ObjectId) -> Result<Option<ObjectMeta>> {
        unreachable!()
    }
}

#[async_trait]
impl Writes for Fake {
    async fn put(&self, _: &ObjectId, _: &NewObject, _: Bytes, _: Proof) -> Result<Written> {
        unreachable!()
    }

    async fn put_streamed(
        &self,
        _: &ObjectId,
        _: &NewObject,
        _: Body,
        _: Option<Md5>,
    ) -> Result<Written> {
        unreachable!()
    }

    async fn delete(&self, _: &ObjectId) -> Result<()> {
        unreachable!()
    }
}

#[async_trait]
impl Uploads for Fake {
    async fn upload_part(&self, _: &Upload, _: u32, payload: Payload) -> Result<Written> {
        (self.upload_part)(payload).await
    }

    async fn create_upload(&self, _: &ObjectId, _: &NewObject) -> Result<Created> {
        unreachable!()
    }

    async fn list_parts(&self, _: &Upload) -> Result<Vec<Part>> {
        unreachable!()
    }

    async fn list_uploads(&self, _: &ObjectId) -> Result<Vec<ListedUpload>> {
        unreachable!()
    }

    async fn uploads_below(&self, _: &ObjectId, _: Option<&UploadMarker>) -> Result<UploadsPage> {
        unreachable!()
    }

    async fn complete_upload(&self, _: &Upload, _: &[Part], _: Option<u64>) -> Result<Written> {
        unreachable!()
    }

    async fn abort_upload(&self, _: &Upload) -> Result<()> {
        unreachable!()
    }
}
