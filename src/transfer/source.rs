//! What the source says about an object, and whether it can be right.

use tracing::debug;

use super::attempt::Attempt;
use super::single::MAX_READS;
use crate::error::{Error, ErrorKind, Result};
use crate::object::{Etag, ObjectId};
use crate::store::{Headers, ListRequest, NewObject, ObjectMeta, PartsSeen};

/// Tries for asking about an object's parts: a store that does not know the request may answer
/// anything.
const ASKED_FOR_PARTS: u32 = 3;

impl Attempt<'_> {
    /// How the object was written in parts; `None` if the store does not say, in whichever way it
    /// refuses.
    pub(super) async fn parts_seen(&self, meta: &ObjectMeta) -> Result<Option<PartsSeen>> {
        let (source, version) =
            (self.at_source().with_tries(ASKED_FOR_PARTS), self.version.as_deref());
        let seen = source.parts_seen(&self.job.src, version, &meta.etag).await;
        seen.or_else(|error| match error.kind() {
            // The fault may be temporary.
            ErrorKind::Unavailable | ErrorKind::Throttled | ErrorKind::Invalid => Ok(None),
            _ => Err(error),
        })
    }

    /// Whether the answer to a read has as many bytes as its object. The job's size comes from the
    /// listing: if the answer has another size under the listing's own ETag, it is broken (and if
    /// the listing has changed as well, the job is out of date).
    pub(super) async fn has_its_length(
        &self,
        meta: &ObjectMeta,
        seen: Option<&ObjectMeta>,
    ) -> Result<Result<(), Error>> {
        let expected = seen.map_or(self.job.size, |seen| seen.size);
        if meta.size == expected {
            return Ok(Ok(()));
        }
        let same = match seen {
            Some(seen) => (seen.etag == meta.etag).then_some(seen.size),
            None => self.listed_under(&meta.etag).await?,
        };
        Ok(match same {
            Some(size) if size != meta.size => Err(Error::invalid(format!(
                "{}: the source sends {} bytes for the ETag {}, but lists {size}: a wrong answer \
                 each time, nothing was written",
                self.job.src, meta.size, meta.etag
            ))),
            _ => Ok(()),
        })
    }

    /// What the source says about the object, checked against its own listing.
    pub(super) async fn head_right(&self) -> Result<ObjectMeta> {
        let head = || async {
            let meta = self.head_source().await?;
            match self.has_its_length(&meta, None).await? {
                Ok(()) => Ok(meta),
                Err(broken) => Err(Error::new(ErrorKind::Damaged, broken.to_string())),
            }
        };
        let seen = self.at_source().with_tries(MAX_READS).control(head).await;
        seen.map_err(|error| match error.kind() {
            ErrorKind::Damaged => Error::invalid(error.to_string()),
            _ => error,
        })
    }

    /// The size with which the source lists the object now, if it does so under this ETag.
    async fn listed_under(&self, etag: &Etag) -> Result<Option<u64>> {
        let ObjectId { bucket, key } = &self.job.src;
        let (bucket, prefix) = (bucket.clone(), key.as_str().to_owned());
        let request = ListRequest { bucket, prefix, ..ListRequest::default() };
        let page = match self.at_source().list(&request).await {
            Ok(page) => page,
            Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
            // A worker may lack the permission to list.
            Err(error) => {
                debug!("cannot find out whether the size is right: {error}");
                return Ok(None);
            }
        };
        let mut rows = page.iter();
        let row = rows.find(|row| row.key == key.as_str());
        Ok(row.filter(|row| row.etag.map(Etag::new).as_ref() == Some(etag)).map(|row| row.size))
    }

    pub(super) fn changed(&self, how: &str) -> Error {
        let message = format!("{}: the source changed during its copy: {how}", self.job.src);
        Error::new(ErrorKind::SourceChanged, message)
    }

    pub(super) async fn head_source(&self) -> Result<ObjectMeta> {
        self.at_source().head(&self.job.src, self.version.as_deref()).await
    }

    /// What the new object gets in addition to its bytes.
    pub(super) async fn new_object(&self, meta: &ObjectMeta) -> Result<NewObject> {
        let settings = &self.engine.settings;
        let tags = match settings.copy_tags {
            true => self.tags_of(meta).await?,
            false => Vec::new(),
        };
        if settings.copy_metadata {
            self.note_missing(meta);
        }
        let headers = match settings.copy_metadata {
            true => meta.headers.clone(),
            false => Headers::default(),
        };
        let storage_class = settings.storage_class.of(meta.storage_class.as_deref());
        Ok(NewObject { headers, storage_class, tags, crc64nvme: false })
    }
}
