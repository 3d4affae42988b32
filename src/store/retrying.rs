//! The calls of a store that carry no object data, tried again. What moves data is tried again as a
//! whole, reading and writing together: see [`Retrying::data`].

use super::*;
use crate::retry::Retrying;

impl<S: ObjectStore + ?Sized> Retrying<'_, S> {
    /// [`ObjectStore::list`].
    pub async fn list(&self, request: &ListRequest) -> Result<ListPage> {
        self.control(|| self.inner.list(request)).await
    }

    /// [`ObjectStore::head`].
    pub async fn head(&self, id: &ObjectId, version: Option<&str>) -> Result<ObjectMeta> {
        self.control(|| self.inner.head(id, version)).await
    }

    /// [`ObjectStore::current`].
    pub async fn current(&self, id: &ObjectId) -> Result<Option<ObjectMeta>> {
        self.control(|| self.inner.current(id)).await
    }

    /// [`ObjectStore::parts_seen`].
    pub async fn parts_seen(
        &self,
        id: &ObjectId,
        version: Option<&str>,
        etag: &Etag,
    ) -> Result<Option<PartsSeen>> {
        self.control(|| self.inner.parts_seen(id, version, etag)).await
    }

    /// [`ObjectStore::tags`].
    pub async fn tags(
        &self,
        id: &ObjectId,
        version: Option<&str>,
    ) -> Result<Vec<(String, String)>> {
        self.control(|| self.inner.tags(id, version)).await
    }

    /// [`ObjectStore::delete`].
    pub async fn delete(&self, id: &ObjectId) -> Result<()> {
        self.control(|| self.inner.delete(id)).await
    }

    /// [`ObjectStore::create_upload`]. Each try that was answered too late has created one more.
    pub async fn create_upload(&self, target: &ObjectId, new: &NewObject) -> Result<Created> {
        self.control(|| self.inner.create_upload(target, new)).await
    }

    /// [`ObjectStore::list_parts`].
    pub async fn list_parts(&self, upload: &Upload) -> Result<Vec<Part>> {
        self.control(|| self.inner.list_parts(upload)).await
    }

    /// [`ObjectStore::list_uploads`].
    pub async fn list_uploads(&self, target: &ObjectId) -> Result<Vec<ListedUpload>> {
        self.control(|| self.inner.list_uploads(target)).await
    }

    /// [`ObjectStore::abort_upload`].
    pub async fn abort_upload(&self, upload: &Upload) -> Result<()> {
        self.control(|| self.inner.abort_upload(upload)).await
    }
}
