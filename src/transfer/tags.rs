//! The tags of a source object.

use std::ops::ControlFlow;
use std::time::Duration;

use tracing::warn;

use super::Attempt;
use crate::error::{Error, ErrorKind, Result};
use crate::mutex::lock;
use crate::store::{ObjectMeta, Reads};
use crate::transfer::tag_asking::Telling;

/// How often an object is asked again after a refusal that may not be about the request.
const AGAIN: u32 = 2;
/// The pause before it.
const PAUSE: Duration = Duration::from_millis(300);

impl Attempt<'_> {
    /// The object's tags, if there is a sign of any: see [`crate::transfer::tag_asking`].
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
                "bucket {bucket} (source) does not say which objects have tags: from now on each \
                 object's tags are read, but those of {passed} copied before were not"
            );
        }
        Ok(tags)
    }

    /// A missing permission to read tags is worth a warning, not a failed object.
    async fn tags(&self, meta: &ObjectMeta) -> Result<Vec<(String, String)>> {
        let engine = self.engine;
        let version = self.version.as_deref().or(meta.version.as_deref());
        // Asking for a version needs another permission; without GetObjectWithVersionId it is not
        // done.
        let version = version.filter(|_| engine.settings.get_with_version);
        let source = self.at_source();
        let mut answer = source.tags(&self.job.src, version).await;
        if meta.tag_count.is_none() {
            // A proxy may have answered instead of the store.
            for _ in 0..AGAIN {
                if !matches!(&answer, Err(error) if Refusal::of(error) == Some(Refusal::Vague)) {
                    break;
                }
                self.halt.abort.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
                answer = source.tags(&self.job.src, version).await;
            }
        }
        match answer {
            Err(error) if error.kind() == ErrorKind::Denied => {
                self.telling(Telling::refused);
                engine.monitor.tags_denied(&error);
                Ok(Vec::new())
            }
            Err(error) if meta.tag_count.is_none() => self.without_tags(error),
            answer => answer,
        }
    }

    /// No tags, if the error says that there are none: a store without tags does not know the
    /// request.
    fn without_tags(&self, error: Error) -> Result<Vec<(String, String)>> {
        let refusal = Refusal::of(&error);
        match refusal {
            None => return Err(error),
            Some(Refusal::NoTags) => return Ok(Vec::new()),
            // It does know the request, and this object may have tags.
            Some(_) if self.telling(|telling| telling.has_uncounted()) => {
                return Err(error.of_kind(ErrorKind::Unavailable));
            }
            Some(Refusal::Clear) => self.telling(Telling::refused),
            Some(Refusal::Vague) => self.telling(Telling::refused_vaguely),
        }
        self.engine.monitor.tags_denied(&error);
        Ok(Vec::new())
    }

    pub(super) fn telling<T>(&self, look: impl FnOnce(&mut Telling) -> T) -> T {
        let amazon = self.engine.source.profile().is_amazon();
        let mut tellings = lock(&self.engine.looks.tags);
        let first = || if amazon { Telling::counting() } else { Telling::default() };
        look(tellings.entry(self.job.src.bucket.clone()).or_insert_with(first))
    }
}

/// What an answer to the request for tags says, unless it only cannot be answered now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// The object has none.
    NoTags,
    /// The store does not know the request.
    Clear,
    /// The store may not know the request, or it is something else.
    Vague,
}

impl Refusal {
    fn of(error: &Error) -> Option<Self> {
        let status = error.evidence().map_or(0, |evidence| evidence.status);
        match (status, error.code()) {
            (404, "NoSuchTagSet" | "NoSuchTagSetError") => Some(Self::NoTags),
            (405 | 501, _)
            | (400 | 404, "NotImplemented" | "MethodNotAllowed" | "UnsupportedOperation") => {
                Some(Self::Clear)
            }
            (404, "NoSuchKey" | "NoSuchBucket" | "NoSuchVersion") => None,
            // Other kinds of error with these statuses ask for a retry, or are about the worker's
            // credentials.
            (400 | 404, _) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Invalid) => {
                Some(Self::Vague)
            }
            _ => None,
        }
    }
}
