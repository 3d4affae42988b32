//! An object in one piece: one GET, one PUT.

use bytes::Bytes;

use super::{Attempt, Copied, Turn, check_etag, read_exactly};
use crate::error::{Error, Result};
use crate::retry::retry;
use crate::store::{GetRequest, Md5, ObjectMeta};

/// What one GET brought.
struct Fetched {
    meta: ObjectMeta,
    body: Bytes,
    md5: Md5,
}

impl Attempt<'_> {
    /// Copies the object whole. Without `seen` the GET's own answer tells everything about the
    /// object, so that a small one costs two requests in all.
    pub(super) async fn copy_single(&self, seen: Option<&ObjectMeta>) -> Result<Turn> {
        let engine = self.engine;
        let mut size = seen.map_or(self.job.size, |meta| meta.size);
        loop {
            let reservation = engine.reserve(size, self.halt).await?;
            let fetch = || async { self.fetch(size, seen).await };
            match retry(self.data(size), &self.halt.abort, fetch).await? {
                Ok(fetched) => {
                    let copied = self.store(fetched).await?;
                    drop(reservation);
                    return Ok(Turn::Copied(copied));
                }
                Err(larger) if larger > engine.settings.threshold => {
                    return Ok(Turn::TooLargeForOnePiece);
                }
                // The job's size is out of date: reserve what is really needed and ask again.
                Err(larger) => size = larger,
            }
        }
    }

    /// One GET. `Ok(Err(size))`: the object is larger than what was reserved for it.
    async fn fetch(
        &self,
        reserved: u64,
        seen: Option<&ObjectMeta>,
    ) -> Result<Result<Fetched, u64>> {
        let engine = self.engine;
        let request = GetRequest {
            id: self.job.src.clone(),
            version: self.version.clone(),
            range: None,
            if_match: seen.map(|meta| meta.etag.clone()),
        };
        let answer = engine.source.get(&request).await?;
        let (size, meta) = (answer.content_length, answer.meta.clone());
        if size > reserved {
            return Ok(Err(size));
        }
        let (body, md5) = read_exactly(answer, size).await?;
        engine.monitor.downloaded(size, &self.job.src);
        Ok(Ok(Fetched { meta, body, md5 }))
    }

    async fn store(&self, fetched: Fetched) -> Result<Copied> {
        let Fetched { meta, body, md5 } = fetched;
        let (engine, job) = (self.engine, self.job);
        let new = self.new_object(&meta).await?;
        let size = body.len() as u64;
        if self.halt.abort.is_cancelled() {
            return Err(Error::cancelled());
        }
        let put = || async {
            let written = engine.destination.put(&job.des, &new, body.clone(), md5).await?;
            check_etag(&written, &md5, &job.des.to_string())
        };
        retry(self.data(size), &self.halt.abort, put).await?;
        engine.monitor.uploaded(size, &job.src);
        Ok(Copied { size, etag: meta.etag, version: meta.version })
    }
}
