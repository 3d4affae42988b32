//! The calls of a record, tried again. Outcomes are not among them: some of a batch may be on record
//! (`worker/recording.rs`).

use super::*;
use crate::retry::Retrying;

impl<S: RecordStore + ?Sized> Retrying<'_, S> {
    /// [`RecordStore::load`].
    pub async fn load(&self, id: &RecordId) -> Result<Option<Record>> {
        self.control(|| self.inner.load(id)).await
    }

    /// [`RecordStore::begin`].
    pub async fn begin(&self, start: &Start) -> Result<()> {
        self.control(|| self.inner.begin(start)).await
    }

    /// [`RecordStore::seal`].
    pub async fn seal(&self, seal: &Seal) -> Result<()> {
        self.control(|| self.inner.seal(seal)).await
    }
}
