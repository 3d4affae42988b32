//! The tags of a source object.

use std::ops::ControlFlow;
use std::sync::PoisonError;

use tracing::warn;

use super::Attempt;
use crate::error::{ErrorKind, Result};
use crate::plan::tags::Telling;
use crate::retry::retry;
use crate::store::ObjectMeta;

impl Attempt<'_> {
    /// The object's tags, as far as there is a sign of any: see [`crate::plan::tags`].
    pub(super) async fn tags_of(&self, meta: &ObjectMeta) -> Result<Vec<(String, String)>> {
        if !self.telling(|telling| telling.asks(meta.tag_count)) {
            return Ok(Vec::new());
        }
        let tags = self.tags(meta).await?;
        if meta.tag_count.is_none()
            && let ControlFlow::Break(passed) = self.telling(|telling| telling.answered(tags.len()))
            && passed > 0
        {
            let bucket = self.job.src.bucket.escape_debug();
            warn!(
                "bucket {bucket} (source) does not say which objects have tags: from now on each is \
                 asked, but {passed} copied before were not"
            );
        }
        Ok(tags)
    }

    /// A missing permission to read tags is worth a warning, not the object.
    async fn tags(&self, meta: &ObjectMeta) -> Result<Vec<(String, String)>> {
        let (engine, job) = (self.engine, self.job);
        let version = self.version.as_deref().or(meta.version.as_deref());
        // Asking for a version needs another permission; without GetObjectWithVersionId it is not
        // asked for.
        let version = version.filter(|_| engine.settings.get_with_version);
        let read = || async { engine.source.tags(&job.src, version).await };
        match retry(self.control(), &self.halt.abort, read).await {
            Err(error) if error.kind() == ErrorKind::Denied => {
                self.telling(Telling::refused);
                engine.monitor.tags_denied(&error);
                Ok(Vec::new())
            }
            // A store that has no tags knows no such question.
            Err(error)
                if meta.tag_count.is_none()
                    && matches!(
                        error.evidence().map_or(0, |e| e.status),
                        400 | 404 | 405 | 501
                    )
                    && !matches!(error.code(), "NoSuchKey" | "NoSuchBucket" | "NoSuchVersion") =>
            {
                self.telling(Telling::refused);
                Ok(Vec::new())
            }
            answer => answer,
        }
    }

    pub(super) fn telling<T>(&self, look: impl FnOnce(&mut Telling) -> T) -> T {
        let amazon = self.engine.source.profile().is_amazon();
        let mut tellings = self.engine.looks.tags.lock().unwrap_or_else(PoisonError::into_inner);
        let first = || if amazon { Telling::counting() } else { Telling::default() };
        look(tellings.entry(self.job.src.bucket.clone()).or_insert_with(first))
    }
}
