//! Limits concurrency to what the store sustains: the one wrapper around every other store.
//!
//! Requests that carry object data hold a permit of their bucket's lane: a GET until its body has
//! been read to the end or dropped, PutObject and UploadPart until they are answered. All others
//! pass without one, but a throttled one counts. Each side has its own lanes, even if both sides
//! are the same bucket.
//!
//! It counts successes by bucket and call, and adds the side and bucket to each error.
//! `worker::blame` uses both to decide what a refusal applies to. If the store throttles one
//! object again and again while it answers others, the store has a problem with that object: it
//! neither slows the others down nor is it retried for ever (`stubborn`). It cuts bodies that stall
//! (`stall`): a stalled body counts as not keeping up.
//!
//! Every request waits while the side is paused, and for its turn if there is a limit (`throttle`);
//! the bytes of a body wait for theirs in `Body`.
//!
//! A streamed part takes the permit of its UploadPart before it asks for the permit of its GET.
//! That cannot deadlock: these are two lanes, always taken in that order, and the holder of the
//! second waits for no other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::stall::{self, Silence};
use super::*;
use crate::error::ErrorKind;
use crate::mutex::lock;
use crate::retry::untimed;

mod lane;
pub mod level;
mod stubborn;
#[cfg(test)]
mod tests;
pub mod throttle;

use self::throttle::{RequestClass, Throttle};
use lane::Lane;
pub use lane::Permit;
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
    throttle: Arc<Throttle>,
}

/// One call, with what is needed to decide what its refusal applies to.
#[derive(Clone, Copy)]
struct PacedCall<'a> {
    name: &'static str,
    bucket: &'a str,
    /// The object that it is about, if it is about one.
    key: Option<&'a str>,
}

impl<'a> PacedCall<'a> {
    fn on(name: &'static str, id: &'a ObjectId) -> Self {
        Self { name, bucket: &id.bucket, key: Some(id.key.as_str()) }
    }

    fn class(&self) -> RequestClass {
        match self.name {
            "HeadObject" | "GetObjectTagging" => RequestClass::Read,
            "DeleteObject" | "AbortMultipartUpload" => RequestClass::Free,
            _ => RequestClass::Write,
        }
    }

    fn subject(&self) -> Option<Subject<'a>> {
        self.key.map(|key| (self.name, key))
    }
}

impl Paced {
    /// Paces `inner`.
    pub fn new(inner: Arc<dyn ObjectStore>, side: Side, pacing: Pacing) -> Self {
        Self { inner, side, pacing, lanes: Mutex::default(), throttle: Arc::default() }
    }

    /// The limits of this side, and the count of what has passed.
    pub fn throttle(&self) -> &Arc<Throttle> {
        &self.throttle
    }

    /// Waits until a request with a body may begin.
    async fn enter(&self, bucket: &str, class: RequestClass) -> Result<Permit> {
        let stream = untimed(self.throttle.request_with_body(class)).await;
        self.lane(bucket).enter(stream).await
    }

    /// Waits until bytes in memory may be sent.
    async fn pass(&self, bytes: usize) {
        if let Some(turn) = self.throttle.bytes(bytes) {
            untimed(turn).await;
        }
    }

    fn lane(&self, bucket: &str) -> Arc<Lane> {
        let mut lanes = lock(&self.lanes);
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
        call: PacedCall<'_>,
        asked: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        untimed(self.throttle.request(call.class())).await;
        let began = Instant::now();
        let answer = self.noted(call, asked.await).await;
        if let Err(error) = &answer
            && error.kind() == ErrorKind::Throttled
        {
            self.lane(call.bucket).failed(began, error, call.subject());
        }
        answer
    }

    /// Counts a success; to an error, adds the place that it came from.
    async fn noted<T>(&self, call: PacedCall<'_>, answer: Result<T>) -> Result<T> {
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
    async fn look_beside(&self, call: PacedCall<'_>) {
        let request = ListRequest {
            bucket: call.bucket.to_owned(),
            max_keys: Some(1),
            ..ListRequest::default()
        };
        self.throttle.request(RequestClass::Write).await;
        let listed = tokio::time::timeout(NEUTRAL_LIMIT, self.inner.list(&request)).await;
        if let (Ok(Ok(_)), Some(subject)) = (listed, call.subject()) {
            self.lane(call.bucket).answered_alone(subject);
        }
    }

    /// Waits until a body may be sent into `bucket`: see [`Body::with_room`]. Called before the
    /// body's source is opened, since a server cuts a body that is not read for minutes.
    pub async fn room(&self, bucket: &str) -> Result<Permit> {
        let mut permit = self.enter(bucket, RequestClass::Write).await?;
        permit.rest();
        Ok(permit)
    }

    /// How many calls of this name the bucket has answered successfully so far. A refusal is
    /// weighed against this number.
    pub fn answered(&self, bucket: &str, call: &str) -> u64 {
        self.lane(bucket).successes(call)
    }

    /// Sends a body as it arrives, with the permit that was taken before its source was opened.
    async fn send_streamed<F: Future<Output = Result<Written>>>(
        &self,
        (name, id): (&'static str, &ObjectId),
        mut body: Body,
        send: impl FnOnce(Body) -> F,
    ) -> Result<Written> {
        let call = PacedCall::on(name, id);
        let mut permit = match body.take_room() {
            Some(permit) => permit,
            None => self.enter(call.bucket, RequestClass::Write).await?,
        };
        let mut body = body.throttled(&self.throttle);
        permit.begin();
        let taking = body.taking();
        let answer = taking.unless_stalled(id, self.side, send(body)).await;
        if taking.is_broken() {
            permit.rest();
            return answer;
        }
        self.settle(call, permit, answer, false).await
    }

    /// Settles `permit` by the answer to a request that sends data.
    async fn settle<T>(
        &self,
        call: PacedCall<'_>,
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

// A method with a default would not be paced.
#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Reads for Paced {
    fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    async fn get(&self, request: &GetRequest) -> Result<GetAnswer> {
        let (id, side) = (&request.id, self.side);
        let call = PacedCall::on("GetObject", id);
        let mut permit = self.enter(call.bucket, RequestClass::Read).await?;
        let answer = stall::answered(id, side, self.inner.get(request)).await;
        match self.noted(call, answer).await {
            Ok(GetAnswer { meta, start, whole, body }) => {
                let (first_byte, silence) = (permit.heard(), Silence::default());
                let arrival = Arrival { id: id.clone(), side, permit, first_byte, silence };
                let body = body.arriving(arrival).throttled(&self.throttle);
                Ok(GetAnswer { meta, start, whole, body })
            }
            Err(error) => {
                permit.failed(&error, call.subject());
                Err(error)
            }
        }
    }

    async fn list(&self, request: &ListRequest) -> Result<ListPage> {
        let name = if request.versions { "ListObjectVersions" } else { "ListObjectsV2" };
        let call = PacedCall { name, bucket: &request.bucket, key: None };
        self.control(call, self.inner.list(request)).await
    }

    async fn head(&self, id: &ObjectId, version: Option<&str>) -> Result<ObjectMeta> {
        self.control(PacedCall::on("HeadObject", id), self.inner.head(id, version)).await
    }

    async fn parts_seen(
        &self,
        id: &ObjectId,
        version: Option<&str>,
        etag: &Etag,
    ) -> Result<Option<PartsSeen>> {
        self.control(PacedCall::on("HeadObject", id), self.inner.parts_seen(id, version, etag))
            .await
    }

    async fn tags(&self, id: &ObjectId, version: Option<&str>) -> Result<Vec<(String, String)>> {
        self.control(PacedCall::on("GetObjectTagging", id), self.inner.tags(id, version)).await
    }

    async fn current(&self, id: &ObjectId) -> Result<Option<ObjectMeta>> {
        self.control(PacedCall::on("HeadObject", id), self.inner.current(id)).await
    }
}

// A method with a default would not be paced.
#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Writes for Paced {
    async fn put(
        &self,
        id: &ObjectId,
        new: &NewObject,
        body: Bytes,
        proof: Proof,
    ) -> Result<Written> {
        let permit = self.enter(&id.bucket, RequestClass::Write).await?;
        self.pass(body.len()).await;
        let short = body.len() <= SHORT_BYTES;
        let answer = self.inner.put(id, new, body, proof).await;
        self.settle(PacedCall::on("PutObject", id), permit, answer, short).await
    }

    async fn put_streamed(
        &self,
        id: &ObjectId,
        new: &NewObject,
        body: Body,
        md5: Option<Md5>,
    ) -> Result<Written> {
        let send = |body| self.inner.put_streamed(id, new, body, md5);
        self.send_streamed(("PutObject", id), body, send).await
    }

    async fn delete(&self, id: &ObjectId) -> Result<()> {
        self.control(PacedCall::on("DeleteObject", id), self.inner.delete(id)).await
    }
}

// A method with a default would not be paced.
#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Uploads for Paced {
    async fn upload_part(&self, upload: &Upload, number: u32, payload: Payload) -> Result<Written> {
        let (name, id) = ("UploadPart", &upload.target);
        match payload {
            Payload::Streamed { body, trailer } => {
                let send = |body| {
                    self.inner.upload_part(upload, number, Payload::Streamed { body, trailer })
                };
                self.send_streamed((name, id), body, send).await
            }
            // The request's own time limit is enough for what fits into memory.
            held => {
                let permit = self.enter(&id.bucket, RequestClass::Write).await?;
                if let Payload::Held { bytes, .. } = &held {
                    self.pass(bytes.len()).await;
                }
                let answer = self.inner.upload_part(upload, number, held).await;
                self.settle(PacedCall::on(name, id), permit, answer, false).await
            }
        }
    }

    async fn create_upload(&self, target: &ObjectId, new: &NewObject) -> Result<Created> {
        let call = PacedCall::on("CreateMultipartUpload", target);
        self.control(call, self.inner.create_upload(target, new)).await
    }

    async fn list_parts(&self, upload: &Upload) -> Result<Vec<Part>> {
        self.control(PacedCall::on("ListParts", &upload.target), self.inner.list_parts(upload))
            .await
    }

    async fn list_uploads(&self, target: &ObjectId) -> Result<Vec<ListedUpload>> {
        let call = PacedCall::on("ListMultipartUploads", target);
        self.control(call, self.inner.list_uploads(target)).await
    }

    async fn uploads_below(
        &self,
        place: &ObjectId,
        after: Option<&UploadMarker>,
    ) -> Result<UploadsPage> {
        let call = PacedCall::on("ListMultipartUploads", place);
        self.control(call, self.inner.uploads_below(place, after)).await
    }

    async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[Part],
        crc64nvme: Option<u64>,
    ) -> Result<Written> {
        let call = self.inner.complete_upload(upload, parts, crc64nvme);
        self.control(PacedCall::on("CompleteMultipartUpload", &upload.target), call).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<()> {
        let call = PacedCall::on("AbortMultipartUpload", &upload.target);
        self.control(call, self.inner.abort_upload(upload)).await
    }
}

/// What is watched of an answer's body: its silence, and the permit of its GET.
#[derive(Debug)]
pub(super) struct Arrival {
    id: ObjectId,
    side: Side,
    permit: Permit,
    first_byte: Duration,
    silence: Silence,
}

impl Arrival {
    /// The body was asked for more, and this is its answer.
    pub(super) fn saw<T>(
        &mut self,
        polled: Poll<Option<Result<T>>>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<T>>> {
        let failed = match polled {
            Poll::Pending => self.silence.goes_on(&self.id, self.side, context),
            Poll::Ready(Some(Err(error))) => Some(error),
            polled => {
                self.silence.ends();
                return polled;
            }
        };
        let Some(error) = failed else { return Poll::Pending };
        let error = error.at("GetObject", self.side.name(), &self.id.bucket);
        self.permit.failed(&error, None);
        Poll::Ready(Some(Err(error)))
    }

    /// All of it has come.
    pub(super) fn ended(&mut self) {
        self.permit.answered(Some(self.first_byte));
    }
}
