//! The way of one object: what is done with a job, step by step. Each step has a file of its own.

use std::sync::Arc;
use std::time::SystemTime;

use tracing::{debug, info};

use super::{Claim, Copied, Done, Engine, Progress};
use crate::error::{Error, ErrorKind, Result};
use crate::job::Job;
use crate::quirk::Quirk;
use crate::record::{Attempts, Record};
use crate::retry::Retrying;
use crate::shutdown::Halt;
use crate::store::pace::Paced;
use crate::store::{ObjectMeta, Reads};
use crate::transfer::layout::{self, Layout, Route};

/// How often a copy starts again because the source changed or the upload vanished meanwhile.
const MAX_FRESH_STARTS: u32 = 3;

/// One try at one object.
pub(super) struct Attempt<'a> {
    pub(super) engine: &'a Arc<Engine>,
    pub(super) job: &'a Job,
    pub(super) halt: &'a Halt,
    /// The version that every read asks for.
    pub(super) version: Option<String>,
    pub(super) claim: &'a Claim,
    pub(super) progress: &'a Progress,
    pub(super) started: SystemTime,
}

/// How a layout relates to the source's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// It is the source's.
    AsTheSource,
    /// It is probably the source's: the store does not say.
    PerhapsAsTheSource,
    /// It does not.
    Anyhow,
}

/// The parts in which an object is to be copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planned {
    pub layout: Layout,
    pub cut: Cut,
}

/// The copy in one piece: done, or found to need another way than the job said.
pub(super) enum Turn {
    Copied(Copied),
    /// It must go in parts: too large for one piece, or written in parts at the source.
    InParts,
}

/// What most objects do not need is boxed: a future has room for the largest of its steps, and is
/// moved with each object.
impl Attempt<'_> {
    /// Carries out the job.
    pub(super) async fn run(&self) -> Result<Done> {
        let done = match self.order_matters() {
            true => Box::pin(self.run_in_order()).await?,
            false => self.copy_unless_superseded(None).await?,
        };
        if let Done::Copied(copied) = &done {
            Box::pin(self.look_at_copy(copied)).await;
        }
        Ok(done)
    }

    /// `record`: what is on record, if the order of the job matters.
    pub(super) async fn copy_unless_superseded(&self, record: Option<&Record>) -> Result<Done> {
        match Box::pin(self.superseded(record)).await? {
            Some(done) => Ok(done),
            None => self.copied().await.map(Done::Copied),
        }
    }

    /// Copies the object. Starts again if the source is replaced meanwhile, a few times at most.
    pub(super) async fn copied(&self) -> Result<Copied> {
        let object = &self.job.src;
        let mut fresh_starts = 0;
        loop {
            let max_parts = self.max_parts();
            let error = match self.copy().await {
                Ok(copied) => return Ok(copied),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Err(Box::pin(self.missing(error)).await);
                }
                Err(error) if error.kind() == ErrorKind::Archived => {
                    self.engine.source.profile().lock_archives(&self.job.src.bucket);
                    return Err(error);
                }
                Err(error) => error,
            };
            let begin_anew =
                matches!(error.kind(), ErrorKind::SourceChanged | ErrorKind::UploadGone);
            if !begin_anew || self.halt.is_stopping() {
                return Err(error);
            }
            if self.max_parts() < max_parts {
                debug!(%object, "starting again with fewer parts: {error}");
                continue;
            }
            if error.kind() == ErrorKind::UploadGone
                && let Some(copied) = Box::pin(self.finished_by_another()).await?
            {
                info!(%object, "another worker finished the object");
                return Ok(copied);
            }
            fresh_starts += 1;
            if fresh_starts > MAX_FRESH_STARTS {
                Box::pin(self.clear_away()).await;
                return Err(given_up(error));
            }
            debug!(%object, "starting again: {error}");
        }
    }

    /// Most objects go in one piece, without being looked up first: the answer to the GET says all
    /// about them, also that they must go in parts.
    async fn copy(&self) -> Result<Copied> {
        let (engine, size) = (self.engine, self.job.size);
        if engine.settings.update_version {
            return Box::pin(self.copy_recorded_version()).await;
        }
        let turn = match size <= engine.largest_single() {
            true => self.copy_single(None).await?,
            false if self.may_be_streamed(size) => Box::pin(self.copy_streamed(None)).await?,
            false => Turn::InParts,
        };
        match turn {
            Turn::Copied(copied) => Ok(copied),
            Turn::InParts => Box::pin(self.copy_looked_up()).await,
        }
    }

    /// UpdateVersionId: the version is looked up first, read by its ID if GetObjectWithVersionId is
    /// set, and must still be the current one at the end.
    async fn copy_recorded_version(&self) -> Result<Copied> {
        let meta = self.head_right().await?;
        let version = meta.version.clone().filter(|_| self.engine.settings.get_with_version);
        let pinned = Attempt { version, ..*self };
        let copied = pinned.copy_seen(&meta).await?;
        let now = self.head_source().await?;
        match now.etag == copied.etag && now.version == copied.version {
            true => Ok(copied),
            false => Err(self.changed("another version is there at the end")),
        }
    }

    async fn copy_looked_up(&self) -> Result<Copied> {
        self.copy_seen(&self.head_right().await?).await
    }

    /// Copies an object that has been looked up.
    async fn copy_seen(&self, meta: &ObjectMeta) -> Result<Copied> {
        if let Some(planned) = self.source_layout(meta).await? {
            return self.copy_multipart(meta, planned).await;
        }
        let in_parts = meta.size > self.engine.largest_single();
        if in_parts
            && meta.md5().is_some()
            && self.may_be_streamed(meta.size)
            && let Turn::Copied(copied) = self.copy_streamed(Some(meta)).await?
        {
            return Ok(copied);
        }
        match self.route(meta.size)? {
            Route::Multipart(layout) => {
                self.copy_multipart(meta, Planned { layout, cut: Cut::Anyhow }).await
            }
            Route::Single => match self.copy_single(Some(meta)).await? {
                Turn::Copied(copied) => Ok(copied),
                Turn::InParts => Err(self.changed("its size differs from the one just seen")),
            },
        }
    }

    /// Most parts of one upload at the destination.
    pub(super) fn max_parts(&self) -> u64 {
        let learned =
            self.engine.destination.profile().value(&self.job.des.bucket, Quirk::MaxParts);
        learned.unwrap_or(layout::MAX_PARTS).min(self.engine.settings.max_parts)
    }

    fn route(&self, size: u64) -> Result<Route> {
        let settings = &self.engine.settings;
        layout::route(size, self.engine.largest_single(), settings.chunk, self.max_parts())
            .map_err(|too_large| Error::invalid(format!("{}: {too_large}", self.job.src)))
    }

    /// Whether the object was written in parts that its copy could have too, with an ETag that
    /// follows from them.
    pub(super) fn may_have_layout(&self, meta: &ObjectMeta) -> bool {
        self.engine.settings.preserve_etag && meta.multipart_digest().is_some()
    }

    /// The parts in which the source's object was written, if they are known and equal, or a likely
    /// guess: if the store does not say, the finished ETag shows whether the guess was right.
    async fn source_layout(&self, meta: &ObjectMeta) -> Result<Option<Planned>> {
        if !self.may_have_layout(meta) {
            return Ok(None);
        }
        let seen = self.parts_seen(meta).await?;
        let guesses = || self.engine.evidence.guesses(&self.job.src.bucket);
        let (layout, cut) = match seen {
            Some(seen) => (layout::preserved(meta.size, &meta.etag, seen), Cut::AsTheSource),
            None => (guesses().layout(meta.size, &meta.etag), Cut::PerhapsAsTheSource),
        };
        let planned = layout.map(|layout| Planned { layout, cut });
        Ok(planned.filter(|planned| planned.layout.fits(self.max_parts())))
    }

    pub(super) fn at_source(&self) -> Retrying<'_, Paced> {
        self.engine.at_source(&self.halt.abort)
    }

    pub(super) fn at_destination(&self) -> Retrying<'_, Paced> {
        self.engine.at_destination(&self.halt.abort)
    }

    pub(super) fn on_record(&self) -> Retrying<'_, dyn Attempts> {
        Retrying::new(&*self.engine.state, self.engine.settings.max_retry, &self.halt.abort)
    }
}

/// If the source was replaced during each of several copies, the failure is recorded. If the upload
/// keeps vanishing, somebody else is interfering, and the next attempt may be alone.
fn given_up(error: Error) -> Error {
    match error.kind() {
        ErrorKind::SourceChanged => {
            let copies = MAX_FRESH_STARTS + 1;
            Error::invalid(format!(
                "keeps changing: replaced during each of {copies} copies; send it again when it \
                 no longer changes ({error})"
            ))
        }
        _ => error.context(format_args!("started again {MAX_FRESH_STARTS} times")),
    }
}
