//! MD5 of many streams at once, in SIMD lanes.
//!
//! MD5 is a chain: a stream cannot use more than one lane, so a core hashes about 0.6 GiB/s, and
//! hashing would cost more than the rest of a transfer. Several streams hashed in parallel lanes
//! cost about as much as one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use bytes::Bytes;
use md5_many::{Md5Many, Md5State};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Md5Hasher, md5};
use crate::error::{Error, ErrorKind, Result};

mod held;
mod self_test;
mod thread;

use held::HeldBodies;
use thread::{Inbox, Post};

/// A stream waits once this many of its bytes are queued: enough to keep its lane busy while its
/// next bytes are in flight, and little compared with a part.
const MAX_WAITING: usize = 512 * 1024;
/// Bytes are handed over in pieces of at least this size, so that waking the thread (a few
/// microseconds) costs little compared with hashing them (a hundred). A shorter stream is hashed by
/// its caller.
const HANDED_OVER: usize = 64 * 1024;

/// Hashes streams of bytes, several at once in SIMD lanes. Clones share one thread, which sleeps
/// when there is nothing to hash and ends with the last clone and hasher.
///
/// One thread hashes about 0.6 GiB/s of one stream and 3 to 4 GiB/s of eight or more.
#[derive(Clone, Debug)]
pub struct Lanes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The lanes have proven themselves; otherwise every stream is hashed by `md-5`.
    is_proven: bool,
    engine: Md5Many,
    held: HeldBodies,
    inbox: Arc<Inbox>,
    /// Started by the first stream that is long enough; `None`: it could not be started.
    thread: OnceLock<Option<JoinHandle<()>>>,
}

impl Lanes {
    /// Lanes without streams. The first of a process hash a few inputs and compare the digests with
    /// those of `md-5`, which hashes everything if one differs.
    pub fn new() -> Self {
        Self::proven(self_test::lanes_are_right())
    }

    fn proven(is_proven: bool) -> Self {
        let (engine, held) = (Md5Many::new(), HeldBodies::default());
        let (inbox, thread) = (Arc::default(), OnceLock::new());
        Self(Arc::new(Shared { is_proven, engine, held, inbox, thread }))
    }

    /// The MD5 of a body in memory. Small ones that come at the same time are hashed in one pass.
    pub async fn md5(&self, body: &Bytes) -> [u8; 16] {
        match self.0.is_proven && body.len() < HANDED_OVER {
            true => self.0.held.md5(self.0.engine, body).await,
            false => {
                let mut hasher = self.hasher();
                hasher.push(body.clone()).await;
                hasher.finish().await.unwrap_or_else(|_| md5(body))
            }
        }
    }

    /// A hasher for one stream.
    pub fn hasher(&self) -> LaneHasher {
        let state = match self.0.is_proven {
            true => OwnState::Lane(Md5State::new()),
            false => OwnState::Plain(Md5Hasher::default()),
        };
        let own = Own { state, chunks: Vec::new(), bytes: 0 };
        LaneHasher { lanes: self.clone(), own, lane: None }
    }
}

impl Default for Lanes {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    /// The thread's inbox; `None` if a thread would not pay off, or could not be started.
    fn inbox(&self) -> Option<&Arc<Inbox>> {
        let start = || {
            let (engine, inbox) = (self.engine, Arc::clone(&self.inbox));
            let builder = std::thread::Builder::new().name("md5-lanes".to_owned());
            (self.is_proven && engine.lanes() > 1)
                .then(|| builder.spawn(move || thread::run(engine, &inbox)).ok())?
        };
        let alive = |_: &&JoinHandle<()>| !self.inbox.ended.is_cancelled();
        self.thread.get_or_init(start).as_ref().filter(alive).map(|_| &self.inbox)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.inbox.close();
        if let Some(Some(thread)) = self.thread.take() {
            // The thread has no streams left and ends within one step. Each stream has already seen
            // a panic in it as a missing digest.
            let _ = thread.join();
        }
    }
}

/// The digest of one stream in progress. Dropping it frees its lane.
#[derive(Debug)]
pub struct LaneHasher {
    lanes: Lanes,
    own: Own,
    lane: Option<HashLane>,
}

/// The bytes not yet handed over.
#[derive(Debug)]
struct Own {
    state: OwnState,
    chunks: Vec<Bytes>,
    bytes: usize,
}

/// The state of a stream that its caller hashes.
#[derive(Debug)]
enum OwnState {
    /// By the crate of the lanes, which is faster alone, too.
    Lane(Md5State),
    /// By `md-5`.
    Plain(Md5Hasher),
}

/// A place among the thread's streams.
#[derive(Debug)]
struct HashLane {
    id: u64,
    flow: Arc<Flow>,
    inbox: Arc<Inbox>,
}

/// How many bytes of a stream the thread has not hashed yet.
#[derive(Debug, Default)]
struct Flow {
    waiting: AtomicUsize,
    less: Notify,
}

impl Flow {
    /// Notes that `bytes` have been hashed.
    fn done(&self, bytes: usize) {
        let before = self.waiting.fetch_sub(bytes, Ordering::AcqRel);
        if before > MAX_WAITING && before - bytes <= MAX_WAITING {
            self.less.notify_one();
        }
    }

    async fn room(&self, ended: &CancellationToken) {
        while self.waiting.load(Ordering::Acquire) > MAX_WAITING {
            if ended.run_until_cancelled(self.less.notified()).await.is_none() {
                return;
            }
        }
    }
}

impl LaneHasher {
    /// Takes the next bytes, which the thread hashes. Waits only while more than 512 KiB of this
    /// stream are queued. Cancelling loses no bytes: they have been taken by then.
    pub async fn push(&mut self, bytes: Bytes) {
        self.own.bytes += bytes.len();
        self.own.chunks.push(bytes);
        if self.own.bytes >= HANDED_OVER {
            self.hand_over();
            if let Some(lane) = &self.lane {
                lane.flow.room(&lane.inbox.ended).await;
            }
        }
    }

    /// The MD5 of all bytes pushed. Fails with `Unavailable` if the thread that hashed them has
    /// died; later streams are hashed without lanes.
    pub async fn finish(mut self) -> Result<[u8; 16]> {
        if self.lane.is_none() {
            return Ok(self.own.finish());
        }
        self.hand_over();
        let (sender, digest) = oneshot::channel();
        if let Some(lane) = self.lane.take() {
            lane.inbox.post(Post::Finish(lane.id, sender));
        }
        let died = |lost| {
            Error::new(ErrorKind::Unavailable, "the thread that hashes has died").with_source(lost)
        };
        digest.await.map_err(died)
    }

    /// Gives the collected bytes to the thread, or hashes them here if there is none.
    fn hand_over(&mut self) {
        if self.lane.is_none() {
            let Some(inbox) = self.lanes.0.inbox() else { return self.own.hash() };
            let flow = Arc::<Flow>::default();
            let id = inbox.open(Arc::clone(&flow));
            self.lane = Some(HashLane { id, flow, inbox: Arc::clone(inbox) });
        }
        let Some(lane) = &self.lane else { return };
        let chunks = std::mem::take(&mut self.own.chunks);
        let bytes = std::mem::take(&mut self.own.bytes);
        let waiting = lane.flow.waiting.fetch_add(bytes, Ordering::AcqRel) + bytes;
        lane.inbox.post_bytes(lane.id, chunks, waiting);
    }
}

impl Own {
    fn hash(&mut self) {
        for chunk in self.chunks.drain(..) {
            match &mut self.state {
                OwnState::Lane(state) => state.update(&chunk),
                OwnState::Plain(hasher) => hasher.update(&chunk),
            }
        }
        self.bytes = 0;
    }

    /// The digest of all bytes; nothing more follows.
    fn finish(&mut self) -> [u8; 16] {
        self.hash();
        match &mut self.state {
            OwnState::Lane(state) => state.finalize(),
            OwnState::Plain(hasher) => std::mem::take(hasher).finish(),
        }
    }
}

impl Drop for LaneHasher {
    fn drop(&mut self) {
        if let Some(lane) = self.lane.take() {
            lane.inbox.post(Post::Gone(lane.id));
        }
    }
}

#[cfg(test)]
mod tests;
