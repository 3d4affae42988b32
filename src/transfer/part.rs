//! One part: a ranged GET into a reserved buffer, an UploadPart out of it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Engine, check_etag, read_exactly};
use crate::error::{Error, Result};
use crate::object::{ByteRange, Etag, ObjectId};
use crate::plan::digest;
use crate::plan::parts::Layout;
use crate::retry::{Policy, retry};
use crate::shutdown::Halt;
use crate::store::{GetRequest, Md5, Part, Upload};

/// Moves the parts of one object into one upload. Every read is pinned to one source ETag.
#[derive(Debug)]
pub(super) struct PartMover {
    pub engine: Arc<Engine>,
    pub src: ObjectId,
    pub version: Option<String>,
    pub etag: Etag,
    pub upload: Upload,
    pub layout: Layout,
    pub halt: Halt,
}

impl PartMover {
    /// Sends these parts; what was sent, in no order.
    pub async fn send(self: &Arc<Self>, numbers: Vec<u32>) -> Result<Vec<Part>> {
        self.each(numbers, |mover, number| async move { mover.send_one(number).await }).await
    }

    /// Those parts at the destination that hold what the source has there, by reading it again. An
    /// ETag that is no MD5 proves nothing.
    pub async fn proven(self: &Arc<Self>, parts: Vec<Part>) -> Result<Vec<Part>> {
        let prove = |mover: Arc<Self>, part: Part| async move {
            let proven = mover.proves(&part).await?;
            Ok(proven.then_some(part))
        };
        Ok(self.each(parts, prove).await?.into_iter().flatten().collect())
    }

    /// Works on these parts, as many at once as MaxThread allows. After a stop the running ones
    /// finish and no others begin.
    async fn each<I, T, F>(
        self: &Arc<Self>,
        items: Vec<I>,
        work: impl Fn(Arc<Self>, I) -> F,
    ) -> Result<Vec<T>>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let (count, mut waiting) = (items.len(), items.into_iter());
        let mut running = JoinSet::new();
        let mut finished = Vec::with_capacity(count);
        let mut failure = None;
        loop {
            while running.len() < self.engine.settings.max_thread
                && failure.is_none()
                && !self.halt.is_stopping()
                && let Some(item) = waiting.next()
            {
                running.spawn(work(Arc::clone(self), item));
            }
            match running.join_next().await {
                None => break,
                Some(Ok(Ok(done))) => finished.push(done),
                Some(Ok(Err(error))) => {
                    running.abort_all();
                    failure.get_or_insert(error);
                }
                Some(Err(join)) if join.is_cancelled() => {}
                Some(Err(panic)) => {
                    return Err(Error::invalid("a part's task failed").with_source(panic));
                }
            }
        }
        match failure {
            Some(error) => Err(error),
            None if finished.len() < count => Err(Error::cancelled()),
            None => Ok(finished),
        }
    }

    async fn send_one(&self, number: u32) -> Result<Part> {
        let range = self.range(number)?;
        let reservation = self.engine.reserve(range.len, &self.halt).await?;
        let (bytes, md5) = self.fetch(range).await?;
        let etag = self.store(number, bytes, md5).await?;
        drop(reservation);
        Ok(Part { number, size: range.len, etag })
    }

    async fn proves(&self, part: &Part) -> Result<bool> {
        let range = self.range(part.number)?;
        let _reservation = self.engine.reserve(range.len, &self.halt).await?;
        let (_, md5) = self.fetch(range).await?;
        Ok(part.etag.same_digest(&digest::single_etag(&md5)))
    }

    fn range(&self, number: u32) -> Result<ByteRange> {
        let outside = || Error::invalid(format!("{}: no part {number}", self.src));
        self.layout.range(number).ok_or_else(outside)
    }

    async fn fetch(&self, range: ByteRange) -> Result<(Bytes, Md5)> {
        let request = GetRequest {
            id: self.src.clone(),
            version: self.version.clone(),
            range: Some(range),
            if_match: Some(self.etag.clone()),
        };
        let read = || async {
            let answer = self.engine.source.get(&request).await?;
            read_exactly(answer, range.len).await
        };
        let policy = Policy::data(self.engine.settings.max_retry, range.len);
        let read = retry(policy, &self.halt.abort, read).await?;
        self.engine.monitor.downloaded(range.len, &self.src);
        Ok(read)
    }

    async fn store(&self, number: u32, bytes: Bytes, md5: Md5) -> Result<Etag> {
        let (engine, upload) = (&self.engine, &self.upload);
        let size = bytes.len() as u64;
        let put = || async {
            let written =
                engine.destination.upload_part(upload, number, bytes.clone(), md5).await?;
            check_etag(&written, &md5, &format!("{} part {number}", upload.target))?;
            Ok(written.etag)
        };
        let policy = Policy::data(engine.settings.max_retry, size);
        let etag = retry(policy, &self.halt.abort, put).await?;
        engine.monitor.uploaded(size, &self.src);
        Ok(etag)
    }
}
