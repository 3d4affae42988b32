//! Detects silent bodies, and tolerates slow ones: a wrapper around any store.
//!
//! The time limit of a whole request must grow with its bytes, so that a bad network is slow and
//! not broken; for a large part it is hours long. Silence shows much sooner. Its clock runs only
//! while the other side is the one that keeps us waiting: not for a source while its reader is busy
//! writing, and not for a destination while its bytes have not arrived.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::*;
use crate::error::{Error, ErrorKind};

/// A body that brings no byte for this long while its reader waits has stalled. TCP repeats a lost
/// segment after 0.2, 0.4, 0.8 ... seconds (RFC 6298): about six in a row would have to be lost.
const SILENCE: Duration = Duration::from_secs(20);
/// A destination that takes no byte for this long has stalled; longer than [`SILENCE`], since a
/// store may write what it has before it takes more.
const UNTAKEN: Duration = Duration::from_secs(30);
/// Limit for the first byte of an answer, also after all of a body has been sent. It equals the
/// shortest time limit for data in `retry`, which is much longer for large parts.
const ANSWER: Duration = Duration::from_secs(120);

/// A store whose stalled bodies end with `Unavailable`, so that they are retried.
#[derive(Debug)]
pub struct Watched {
    inner: Arc<dyn ObjectStore>,
    side: Side,
}

impl Watched {
    /// Watches the bodies of `inner`.
    pub fn new(inner: Arc<dyn ObjectStore>, side: Side) -> Self {
        Self { inner, side }
    }
}

fn stalled(id: &ObjectId, side: Side, what: &str, limit: Duration) -> Error {
    let seconds = limit.as_secs();
    Error::new(ErrorKind::Unavailable, format!("{id} ({side}): {what} for {seconds} s"))
}

/// A body to send, and the record of how much of it is taken.
fn watched(body: Body, length: u64) -> (Body, Arc<Taking>) {
    let taking = Arc::new(Taking(Mutex::new(Taken::UpTo(Instant::now()))));
    let outgoing =
        Outgoing { inner: body, left: length, taking: Arc::clone(&taking), waiter: None };
    (outgoing.boxed(), taking)
}

#[async_trait]
impl ObjectStore for Watched {
    fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    async fn get(&self, request: &GetRequest) -> Result<GetAnswer> {
        let answer = tokio::time::timeout(ANSWER, self.inner.get(request)).await;
        let unanswered = |_| stalled(&request.id, self.side, "no answer", ANSWER);
        let answer = answer.map_err(unanswered)??;
        let body =
            Incoming { inner: answer.body, id: request.id.clone(), side: self.side, waiting: None };
        Ok(GetAnswer { body: body.boxed(), ..answer })
    }

    async fn upload_part(&self, upload: &Upload, number: u32, payload: Payload) -> Result<Written> {
        let Payload::Streamed { body, length, trailer, room } = payload else {
            // In memory: the request's own time limit is enough, since it fits what fits into
            // memory.
            return self.inner.upload_part(upload, number, payload).await;
        };
        let (body, taking) = watched(body, length);
        let payload = Payload::Streamed { body, length, trailer, room };
        tokio::select! {
            written = self.inner.upload_part(upload, number, payload) => written,
            (what, limit) = taking.stalls() => {
                Err(stalled(&upload.target, self.side, what, limit))
            }
        }
    }

    async fn put_streamed(
        &self,
        id: &ObjectId,
        new: &NewObject,
        streamed: Streamed,
        md5: Option<Md5>,
    ) -> Result<Written> {
        let (body, taking) = watched(streamed.body, streamed.length);
        let streamed = Streamed { body, ..streamed };
        tokio::select! {
            written = self.inner.put_streamed(id, new, streamed, md5) => written,
            (what, limit) = taking.stalls() => Err(stalled(id, self.side, what, limit)),
        }
    }

    async fn put(
        &self,
        id: &ObjectId,
        new: &NewObject,
        body: Bytes,
        proof: Proof,
    ) -> Result<Written> {
        self.inner.put(id, new, body, proof).await
    }

    async fn list(&self, request: &ListRequest) -> Result<ListPage> {
        self.inner.list(request).await
    }

    async fn head(&self, id: &ObjectId, version: Option<&str>) -> Result<ObjectMeta> {
        self.inner.head(id, version).await
    }

    async fn parts_seen(
        &self,
        id: &ObjectId,
        version: Option<&str>,
        etag: &Etag,
    ) -> Result<Option<PartsSeen>> {
        self.inner.parts_seen(id, version, etag).await
    }

    async fn tags(&self, id: &ObjectId, version: Option<&str>) -> Result<Vec<(String, String)>> {
        self.inner.tags(id, version).await
    }

    async fn current(&self, id: &ObjectId) -> Result<Option<ObjectMeta>> {
        self.inner.current(id).await
    }

    async fn delete(&self, id: &ObjectId) -> Result<()> {
        self.inner.delete(id).await
    }

    async fn create_upload(&self, target: &ObjectId, new: &NewObject) -> Result<Created> {
        self.inner.create_upload(target, new).await
    }

    async fn list_parts(&self, upload: &Upload) -> Result<Vec<Part>> {
        self.inner.list_parts(upload).await
    }

    async fn list_uploads(&self, target: &ObjectId) -> Result<Vec<ListedUpload>> {
        self.inner.list_uploads(target).await
    }

    async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[Part],
        crc64nvme: Option<u64>,
    ) -> Result<Written> {
        self.inner.complete_upload(upload, parts, crc64nvme).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<()> {
        self.inner.abort_upload(upload).await
    }
}

/// The body of a GET.
struct Incoming {
    inner: Body,
    id: ObjectId,
    side: Side,
    /// Expires when the body has been silent too long; set only while a reader waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Stream for Incoming {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // The bytes first: they may have arrived long ago, while the reader was busy.
        if let Poll::Ready(item) = self.inner.poll_next_unpin(cx) {
            self.waiting = None;
            return Poll::Ready(item);
        }
        let silence = self.waiting.get_or_insert_with(|| Box::pin(sleep(SILENCE)));
        if silence.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let error = stalled(&self.id, self.side, "the body brought no byte", SILENCE);
        // A reader that reads on after the error finds the end.
        self.inner = futures_util::stream::empty().boxed();
        self.waiting = None;
        Poll::Ready(Some(Err(error)))
    }
}

/// The body of an UploadPart.
struct Outgoing {
    inner: Body,
    left: u64,
    taking: Arc<Taking>,
    waiter: Option<Arc<Waiter>>,
}

impl Outgoing {
    /// The waker that wakes the destination's connection when more has arrived, and notes that it
    /// has.
    fn waiter(&mut self, cx: &Context<'_>) -> Arc<Waiter> {
        match &self.waiter {
            Some(waiter) if waiter.connection.will_wake(cx.waker()) => Arc::clone(waiter),
            _ => {
                let (taking, connection) = (Arc::clone(&self.taking), cx.waker().clone());
                Arc::clone(self.waiter.insert(Arc::new(Waiter { taking, connection })))
            }
        }
    }
}

/// Waits for more of the body. A connection that is woken but cannot send does not ask for more;
/// without this note, the last thing it asked would make the source look like the slower side.
struct Waiter {
    taking: Arc<Taking>,
    connection: Waker,
}

impl Wake for Waiter {
    fn wake(self: Arc<Self>) {
        self.taking.more_came();
        self.connection.wake_by_ref();
    }
}

impl Stream for Outgoing {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let waker = Waker::from(self.waiter(cx));
        // Set before polling, so that bytes that arrive during the poll are not overlooked.
        self.taking.set(Taken::AllThereIs);
        let polled = self.inner.poll_next_unpin(&mut Context::from_waker(&waker));
        let now = Instant::now();
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(bytes))) => {
                self.left = self.left.saturating_sub(bytes.len() as u64);
                let all = self.left == 0;
                self.taking.set(if all { Taken::Whole(now) } else { Taken::UpTo(now) });
            }
            Poll::Ready(Some(Err(_)) | None) => self.taking.set(Taken::Whole(now)),
        }
        polled
    }
}

/// What a destination has taken of a body.
#[derive(Clone, Copy, Debug)]
enum Taken {
    /// Something, at this time; there may be more.
    UpTo(Instant),
    /// All that has arrived so far: the source is the one to wait for.
    AllThereIs,
    /// All of it, at this time: the answer is still to come.
    Whole(Instant),
}

#[derive(Debug)]
struct Taking(Mutex<Taken>);

impl Taking {
    fn get(&self) -> Taken {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, taken: Taken) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = taken;
    }

    /// The destination was waiting for more, and there is more.
    fn more_came(&self) {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*taken, Taken::AllThereIs) {
            *taken = Taken::UpTo(Instant::now());
        }
    }

    /// Waits until the destination has stalled; returns what it fails to do, and for how long.
    async fn stalls(&self) -> (&'static str, Duration) {
        loop {
            let (since, what, limit) = match self.get() {
                Taken::UpTo(since) => (since, "no byte of the part was taken", UNTAKEN),
                Taken::Whole(since) => (since, "no answer to the part", ANSWER),
                Taken::AllThereIs => (Instant::now(), "", UNTAKEN),
            };
            if since.elapsed() >= limit {
                return (what, limit);
            }
            sleep_until(since + limit).await;
        }
    }
}

#[cfg(test)]
mod tests;
