//! Limits concurrency to what the store sustains: a wrapper around any other store.
//!
//! Requests that carry object data hold a permit of their bucket's lane: a GET until its body has
//! been read to the end or dropped, PutObject and UploadPart until they are answered. All others
//! pass without one, but a throttled one counts. Each side has its own lanes, even if both sides
//! are the same bucket.
//!
//! It counts successes by bucket and call, and adds the side and bucket to each error.
//! `worker::blame` uses both to decide what a refusal applies to. If the store throttles one
//! object again and again while it answers others, the store has a problem with that object: it
//! neither slows the others down nor is it retried for ever (`stubborn`).
//!
//! A streamed part takes the permit of its UploadPart before it asks for the permit of its GET.
//! That cannot deadlock: these are two lanes, always taken in that order, and the holder of the
//! second waits for no other.

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
pub mod level;
mod stubborn;
#[cfg(test)]
mod tests;

use lane::Lane;
pub(super) use lane::Permit;
use stubborn::Subject;

/// Up to this size a PutObject's time is the store's and not the network's, and shows the store's
/// load.
const SHORT_BYTES: usize = 64 * 1024;

/// A neutral call that takes longer counts as unanswered.
const NEUTRAL_LIMIT: Duration = Duration::from_secs(30);

/// What bounds a lane.
#[derive(Clone, Copy, Debug)]
pub struct Pacing {
    /// Initial limit of concurrent requests.
    pub first: usize,
    /// Highest limit of concurrent requests.
    pub ceiling: usize,
    /// Minimum time between two log lines about throttling.
    pub log_interval: Duration,
}

/// A store with a lane for each bucket.
#[derive(Debug)]
pub struct Paced {
    inner: Arc<dyn ObjectStore>,
    side: Side,
    pacing: Pacing,
    lanes: Mutex<HashMap<String, Arc<Lane>>>,
}

/// One call, with what is needed to decide what its refusal applies to.
#[derive(Clone, Copy)]
struct Call<'a> {
    name: &'static str,
    bucket: &'a str,
    /// The object that it is about, if it is about one.
    key: Option<&'a str>,
}

impl<'a> Call<'a> {
    fn on(name: &'static str, id: &'a ObjectId) -> Self {
        Self { name, bucket: &id.bucket, key: Some(id.key.as_str()) }
    }

    fn subject(&self) -> Option<Subject<'a>> {
        self.key.map(|key| (self.name, key))
    }
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

    /// A call without object data: it waits for no permit, and reports if it was throttled. A
    /// control call that fails to get an answer says little about the calls that carry data.
    async fn control<T>(
        &self,
        call: Call<'_>,
        asked: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let began = Instant::now();
        let answer = self.noted(call, asked.await).await;
        if let Err(error) = &answer
            && error.kind() == ErrorKind::Throttled
        {
            self.lane(call.bucket).failed(began, error, call.subject());
        }
        answer
    }

    /// Counts a success, and adds to an error where it happened.
    async fn noted<T>(&self, call: Call<'_>, answer: Result<T>) -> Result<T> {
        let lane = self.lane(call.bucket);
        let error = match answer {
            Ok(value) => {
                lane.succeeded(call.name, call.subject());
                return Ok(value);
            }
            Err(error) => error.at(call.name, self.side.name(), call.bucket),
        };
        if lane.wants_neutral(&error, call.subject()) {
            self.look_beside(call).await;
        }
        Err(lane.patience(error, call.subject()))
    }

    /// If only a throttled object is being asked about, nothing shows whether the bucket answers at
    /// all. That decides whose trouble it is, so one key is listed.
    async fn look_beside(&self, call: Call<'_>) {
        let request = ListRequest {
            bucket: call.bucket.to_owned(),
            max_keys: Some(1),
            ..ListRequest::default()
        };
        let listed = tokio::time::timeout(NEUTRAL_LIMIT, self.inner.list(&request)).await;
        if let (Ok(Ok(_)), Some(subject)) = (listed, call.subject()) {
            self.lane(call.bucket).answered_alone(subject);
        }
    }

    /// Sends a body as it arrives, with the permit that was taken before its source was opened.
    async fn send_streamed<F: Future<Output = Result<Written>>>(
        &self,
        call: Call<'_>,
        body: Body,
        room: Room,
        send: impl FnOnce(Body) -> F,
    ) -> Result<Written> {
        let mut permit = match room {
            Room(Some(permit)) => permit,
            Room(None) => self.lane(call.bucket).enter().await?,
        };
        permit.begin();
        // A body that breaks is the source's fault.
        let broken = Arc::new(AtomicBool::new(false));
        let breaks = Arc::clone(&broken);
        let note = move |piece: &Result<Bytes>| {
            breaks.fetch_or(piece.is_err(), Ordering::Relaxed);
        };
        let answer = send(body.inspect(note).boxed()).await;
        if broken.load(Ordering::Relaxed) {
            permit.rest();
            return answer;
        }
        self.settle(call, permit, answer, false).await
    }

    /// Settles `permit` by the answer to a request that sends data.
    async fn settle<T>(
        &self,
        call: Call<'_>,
        mut permit: Permit,
        answer: Result<T>,
        tells_load: bool,
    ) -> Result<T> {
        let answer = self.noted(call, answer).await;
        match &answer {
            Ok(_) => permit.answered(tells_load.then(|| permit.age())),
            Err(error) => permit.failed(error, call.subject()),
        }
        answer
    }
}

#[async_trait]
impl ObjectStore for Paced {
    fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    fn answered(&self, bucket: &str, call: &str) -> u64 {
        self.lane(bucket).successes(call)
    }

    async fn get(&self, request: &GetRequest) -> Result<GetAnswer> {
        let call = Call::on("GetObject", &request.id);
        let mut permit = self.lane(call.bucket).enter().await?;
        match self.noted(call, self.inner.get(request).await).await {
            Ok(answer) => {
                let (first_byte, left) = (permit.heard(), answer.content_length);
                let place = (self.side.name(), request.id.bucket.clone());
                let body = PacedBody { inner: answer.body, permit, first_byte, left, place };
                Ok(GetAnswer { body: body.boxed(), ..answer })
            }
            Err(error) => {
                permit.failed(&error, call.subject());
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
        let answer = self.inner.put(id, new, body, proof).await;
        self.settle(Call::on("PutObject", id), permit, answer, short).await
    }

    async fn room(&self, bucket: &str) -> Result<Room> {
        let mut permit = self.lane(bucket).enter().await?;
        permit.rest();
        Ok(Room(Some(permit)))
    }

    async fn upload_part(&self, upload: &Upload, number: u32, payload: Payload) -> Result<Written> {
        let call = Call::on("UploadPart", &upload.target);
        let Payload::Streamed { body, length, trailer, room } = payload else {
            let permit = self.lane(call.bucket).enter().await?;
            let answer = self.inner.upload_part(upload, number, payload).await;
            return self.settle(call, permit, answer, false).await;
        };
        let send = |body| {
            let payload = Payload::Streamed { body, length, trailer, room: Room(None) };
            self.inner.upload_part(upload, number, payload)
        };
        self.send_streamed(call, body, room, send).await
    }

    async fn put_streamed(
        &self,
        id: &ObjectId,
        new: &NewObject,
        streamed: Streamed,
        md5: Option<Md5>,
    ) -> Result<Written> {
        let Streamed { body, length, room } = streamed;
        let send = |body| {
            let streamed = Streamed { body, length, room: Room(None) };
            self.inner.put_streamed(id, new, streamed, md5)
        };
        self.send_streamed(Call::on("PutObject", id), body, room, send).await
    }

    async fn list(&self, request: &ListRequest) -> Result<ListPage> {
        let name = if request.versions { "ListObjectVersions" } else { "ListObjectsV2" };
        let call = Call { name, bucket: &request.bucket, key: None };
        self.control(call, self.inner.list(request)).await
    }

    async fn head(&self, id: &ObjectId, version: Option<&str>) -> Result<ObjectMeta> {
        self.control(Call::on("HeadObject", id), self.inner.head(id, version)).await
    }

    async fn parts_seen(
        &self,
        id: &ObjectId,
        version: Option<&str>,
        etag: &Etag,
    ) -> Result<Option<PartsSeen>> {
        self.control(Call::on("HeadObject", id), self.inner.parts_seen(id, version, etag)).await
    }

    async fn tags(&self, id: &ObjectId, version: Option<&str>) -> Result<Vec<(String, String)>> {
        self.control(Call::on("GetObjectTagging", id), self.inner.tags(id, version)).await
    }

    async fn current(&self, id: &ObjectId) -> Result<Option<ObjectMeta>> {
        self.control(Call::on("HeadObject", id), self.inner.current(id)).await
    }

    async fn delete(&self, id: &ObjectId) -> Result<()> {
        self.control(Call::on("DeleteObject", id), self.inner.delete(id)).await
    }

    async fn create_upload(&self, target: &ObjectId, new: &NewObject) -> Result<Created> {
        let call = Call::on("CreateMultipartUpload", target);
        self.control(call, self.inner.create_upload(target, new)).await
    }

    async fn list_parts(&self, upload: &Upload) -> Result<Vec<Part>> {
        self.control(Call::on("ListParts", &upload.target), self.inner.list_parts(upload)).await
    }

    async fn list_uploads(&self, target: &ObjectId) -> Result<Vec<ListedUpload>> {
        let call = Call::on("ListMultipartUploads", target);
        self.control(call, self.inner.list_uploads(target)).await
    }

    async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[Part],
        crc64nvme: Option<u64>,
    ) -> Result<Written> {
        let call = self.inner.complete_upload(upload, parts, crc64nvme);
        self.control(Call::on("CompleteMultipartUpload", &upload.target), call).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<()> {
        let call = Call::on("AbortMultipartUpload", &upload.target);
        self.control(call, self.inner.abort_upload(upload)).await
    }
}

/// A body with the permit of its GET.
struct PacedBody {
    inner: Body,
    permit: Permit,
    first_byte: Duration,
    /// Bytes still to come. A reader that knows how many there are need not ask for the end.
    left: u64,
    /// The side and the bucket, for the body's errors.
    place: (&'static str, String),
}

impl Stream for PacedBody {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = match self.inner.poll_next_unpin(cx) {
            Poll::Ready(Some(Err(error))) => {
                let (side, bucket) = &self.place;
                Poll::Ready(Some(Err(error.at("GetObject", side, bucket))))
            }
            polled => polled,
        };
        let first_byte = self.first_byte;
        match &polled {
            Poll::Ready(Some(Ok(bytes))) => {
                self.left = self.left.saturating_sub(bytes.len() as u64);
                if self.left == 0 {
                    self.permit.answered(Some(first_byte));
                }
            }
            Poll::Ready(Some(Err(error))) => self.permit.failed(error, None),
            Poll::Ready(None) => self.permit.answered(Some(first_byte)),
            Poll::Pending => {}
        }
        polled
    }
}
