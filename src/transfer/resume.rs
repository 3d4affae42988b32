//! Finding the upload that an earlier attempt began, and deciding what of it may be trusted.

use tracing::{debug, info};

use super::Attempt;
use crate::error::{ErrorKind, Result};
use crate::plan::parts::{self, Layout};
use crate::retry::retry;
use crate::state::{JobStatus, Record, UploadRef};
use crate::store::{ListedUpload, ObjectMeta, Part, Upload};

/// An upload to fill, and what it holds.
pub(super) struct Begun {
    pub upload: Upload,
    pub layout: Layout,
    pub held: Vec<Part>,
    /// The record ties the upload to the very source object. Where it does not, each held part
    /// must be compared with the source before it counts.
    pub tied: bool,
}

impl Attempt<'_> {
    /// The upload to continue, if there is one.
    pub(super) async fn find_upload(&self, meta: &ObjectMeta) -> Result<Option<Begun>> {
        if self.engine.settings.clean_unfinished_upload {
            for listed in self.list_uploads().await? {
                self.abort(&listed.upload).await?;
            }
            return Ok(None);
        }
        let (engine, id) = (self.engine, self.job.into());
        let load = || async { engine.state.load(&id).await };
        let record = retry(self.control(), &self.halt.abort, load).await?;
        match record.as_ref().and_then(unfinished) {
            Some((record, recorded)) => self.continue_recorded(meta, record, recorded).await,
            None => self.adopt_unrecorded(meta).await,
        }
    }

    /// The record names an upload: it is continued where it belongs to the same source object and
    /// all its parts fit the recorded layout, else given up.
    async fn continue_recorded(
        &self,
        meta: &ObjectMeta,
        record: &Record,
        recorded: &UploadRef,
    ) -> Result<Option<Begun>> {
        let upload = Upload { target: self.job.des.clone(), id: recorded.id.clone() };
        let same_source = record.etag.as_ref() == Some(&meta.etag) && record.size == meta.size;
        if same_source {
            let Some(held) = self.held(&upload).await? else { return Ok(None) };
            if let Some(layout) = parts::adopt(meta.size, Some(recorded.part_size), &held) {
                return Ok(Some(Begun { upload, layout, held, tied: true }));
            }
        }
        info!(object = %self.job.src, "the upload begun earlier belongs to another object or layout");
        self.abort(&upload).await?;
        Ok(None)
    }

    /// No record: the newest upload of this very key is taken over, each part to be compared with
    /// the source. Empty ones, left by a worker that died before it could record them, are aborted.
    async fn adopt_unrecorded(&self, meta: &ObjectMeta) -> Result<Option<Begun>> {
        let mut uploads = self.list_uploads().await?;
        uploads.sort_by_key(|listed| std::cmp::Reverse(listed.initiated));
        let mut adopted = None;
        for ListedUpload { upload, .. } in uploads {
            let Some(held) = self.held(&upload).await? else { continue };
            if held.is_empty() {
                self.abort(&upload).await?;
            } else if adopted.is_none()
                && let Some(layout) = parts::adopt(meta.size, None, &held)
            {
                adopted = Some(Begun { upload, layout, held, tied: false });
            }
        }
        Ok(adopted)
    }

    /// The parts that the destination holds; `None` where the upload is no longer there.
    pub(super) async fn held(&self, upload: &Upload) -> Result<Option<Vec<Part>>> {
        let list = || async { self.engine.destination.list_parts(upload).await };
        match retry(self.control(), &self.halt.abort, list).await {
            Ok(parts) => Ok(Some(parts)),
            Err(error) if error.kind() == ErrorKind::UploadGone => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn list_uploads(&self) -> Result<Vec<ListedUpload>> {
        let list = || async { self.engine.destination.list_uploads(&self.job.des).await };
        retry(self.control(), &self.halt.abort, list).await
    }

    /// Gives an upload up.
    pub(super) async fn abort(&self, upload: &Upload) -> Result<()> {
        debug!(object = %upload.target, upload = upload.id, "abort the upload");
        let abort = || async { self.engine.destination.abort_upload(upload).await };
        retry(self.control(), &self.halt.abort, abort).await
    }
}

/// The record's upload, unless it has been completed.
fn unfinished(record: &Record) -> Option<(&Record, &UploadRef)> {
    let upload = record.upload.as_ref()?;
    (record.status != JobStatus::Done).then_some((record, upload))
}
