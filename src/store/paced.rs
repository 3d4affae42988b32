//! A store that is asked for no more at once than it takes gladly: a wrapper around any other.
//!
//! Requests that carry object data hold a permit of their bucket's lane: a GET until its body has
//! been read to the end or dropped, PutObject and UploadPart until they are answered. All others
//! pass, but a throttled one counts. Both sides have lanes of their own, also where they are one
//! and the same bucket.
//!
//! A streamed part has the permit of its UploadPart before it asks for the one of its GET. That cannot
//! lock up: these are two lanes, always in that order, and whoever holds the second waits for none.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::time::Instant;

use super::*;
use crate::error::ErrorKind;

mod lane;
#[cfg(test)]
mod tests;

use lane::Lane;
pub(super) use lane::Permit;

/// Up to here a PutObject's time is the store's and not the line's, and tells of its load.
const SHORT_BYTES: usize = 64 * 1024;

/// What bounds a lane.
#[derive(Clone, Copy, Debug)]
pub struct Pacing {
    /// Requests at once to begin with.
    pub first: usize,
    /// Requests at once at most.
    pub ceiling: usize,
    /// Throttling is told of at most this often.
    pub log_interval: Duration,
}

/// A store behind lanes, one for each bucket.
#[derive(Debug)]
pub struct Paced {
    inner: Arc<dyn ObjectStore>,
    side: Side,
    pacing: Pacing,
    lanes: Mutex<HashMap<String, Arc<Lane>>>,
}

impl Paced {
    /// Paces `inner`.
    pub fn new(inner: Arc<dyn ObjectStore>, side: Side, pacing: Pacing) -> Self {
        Self { inner, side, pacing, lanes: Mutex::default() }
    }

    fn lane(&self, bucket: &str) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        match lanes.get(bucket) {
            Some(lane) => Arc::clone(lane),
            None => {
                let lane = Arc::new(Lane::new(self.side, bucket, self.pacing));
                Arc::clone(lanes.entry(bucket.to_owned()).or_insert(lane))
            }
        }
    }

    /// A call without object data: it waits for nothing, and says where it was throttled. That one
    /// of them is not answered says little about the others, which carry data.
    async fn control<T>(&self, bucket: &str, call: impl Future<Output = Result<T>>) -> Result<T> {
        let began = Instant::now();
        let answer = call.await;
        if let Err(error) = &answer
            && error.kind() == ErrorKind::Throttled
        {
            self.lane(bucket).failed(began, error);
        }
        answer
    }
}

/// Settles `permit` by the answer to a request that sends data.
fn settle<T>(mut permit: Permit, answer: Result<T>, tells_load: bool) -> Result<T> {
    match &answer {
        Ok(_) => permit.answered(tells_load.then(|| permit.age())),
        Err(error) => permit.failed(error),
    }
    answer
}

#[async_trait]
impl ObjectStore for Paced {
    fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    async fn get(&self, request: &GetRequest) -> Result<GetAnswer> {
        let mut permit = self.lane(&request.id.bucket).enter().await?;
        match self.inner.get(request).await {
            Ok(answer) => {
                let (first_byte, left) = (permit.heard(), answer.content_length);
                let body = PacedBody { inner: answer.body, permit, first_byte, left }.boxed();
                Ok(GetAnswer { body, ..answer })
            }
            Err(error) => {
                permit.failed(&error);
                Err(error)
            }
        }
    }

    async fn put(
        &self,
        id: &ObjectId,
        new: &NewObject,
        body: Bytes,
        proof: Proof,
    ) -> Result<Written> {
        let permit = self.lane(&id.bucket).enter().await?;
        let short = body.len() <= SHORT_BYTES;
        settle(permit, self.inner.put(id, new, body, proof).await, short)
    }

    async fn room(&self, bucket: &str) -> Result<Room> {
        let mut permit = self.lane(bucket).enter().await?;
        permit.rest();
        Ok(Room(Some(permit)))
    }

    async fn upload_part(&self, upload: &Upload, number: u32, payload: Payload) -> Result<Written> {
        let Payload::Streamed { body, length, trailer, room } = payload else {
            let permit = self.lane(&upload.target.bucket).enter().await?;
            return settle(permit, self.inner.upload_part(upload, number, payload).await, false);
        };
        let mut permit = match room {
            Room(Some(permit)) => permit,
            Room(None) => self.lane(&upload.target.bucket).enter().await?,
        };
        permit.begin();
        // A body that breaks is the source's affair.
        let broken = Arc::new(AtomicBool::new(false));
        let breaks = Arc::clone(&broken);
        let note = move |piece: &Result<Bytes>| {
            breaks.fetch_or(piece.is_err(), Ordering::Relaxed);
        };
        let payload = Payload::Streamed {
            body: body.inspect(note).boxed(),
            length,
            trailer,
            room: Room(None),
        };
        let answer = self.inner.upload_part(upload, number, payload).await;
        if broken.load(Ordering::Relaxed) {
            permit.rest();
            return answer;
        }
        settle(permit, answer, false)
    }

    async fn list(&self, request: &ListRequest) -> Result<ListPage> {
        self.control(&request.bucket, self.inner.list(request)).await
    }

    async fn head(&self, id: &ObjectId, version: Option<&str>) -> Result<ObjectMeta> {
        self.control(&id.bucket, self.inner.head(id, version)).await
    }

    async fn parts_seen(
        &self,
        id: &ObjectId,
        version: Option<&str>,
        etag: &Etag,
    ) -> Result<Option<PartsSeen>> {
        self.control(&id.bucket, self.inner.parts_seen(id, version, etag)).await
    }

    async fn tags(&self, id: &ObjectId, version: Option<&str>) -> Result<Vec<(String, String)>> {
        self.control(&id.bucket, self.inner.tags(id, version)).await
    }

    async fn current(&self, id: &ObjectId) -> Result<Option<ObjectMeta>> {
        self.control(&id.bucket, self.inner.current(id)).await
    }

    async fn delete(&self, id: &ObjectId) -> Result<()> {
        self.control(&id.bucket, self.inner.delete(id)).await
    }

    async fn create_upload(&self, target: &ObjectId, new: &NewObject) -> Result<Created> {
        self.control(&target.bucket, self.inner.create_upload(target, new)).await
    }

    async fn list_parts(&self, upload: &Upload) -> Result<Vec<Part>> {
        self.control(&upload.target.bucket, self.inner.list_parts(upload)).await
    }

    async fn list_uploads(&self, target: &ObjectId) -> Result<Vec<ListedUpload>> {
        self.control(&target.bucket, self.inner.list_uploads(target)).await
    }

    async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[Part],
        crc64nvme: Option<u64>,
    ) -> Result<Written> {
        let call = self.inner.complete_upload(upload, parts, crc64nvme);
        self.control(&upload.target.bucket, call).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<()> {
        self.control(&upload.target.bucket, self.inner.abort_upload(upload)).await
    }
}

/// A body with the permit of its GET.
struct PacedBody {
    inner: Body,
    permit: Permit,
    first_byte: Duration,
    /// Bytes to come. A reader that knows how many there are need not ask for the end.
    left: u64,
}

impl Stream for PacedBody {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.inner.poll_next_unpin(cx);
        let first_byte = self.first_byte;
        match &polled {
            Poll::Ready(Some(Ok(bytes))) => {
                self.left = self.left.saturating_sub(bytes.len() as u64);
                if self.left == 0 {
                    self.permit.answered(Some(first_byte));
                }
            }
            Poll::Ready(Some(Err(error))) => self.permit.failed(error),
            Poll::Ready(None) => self.permit.answered(Some(first_byte)),
            Poll::Pending => {}
        }
        polled
    }
}
