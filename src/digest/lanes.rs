//! MD5 of many streams at once, in SIMD lanes.
//!
//! MD5 is a chain: one stream cannot be hashed by more than one lane, so a core does about
//! 0.6 GiB/s of it, and hashing would cost more than all the rest of a transfer. Several streams
//! that are hashed side by side share the work of one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use bytes::Bytes;
use md5_many::{Md5Many, Md5State};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};

mod thread;

use thread::{Inbox, Post};

/// A stream waits once this many of its bytes are queued: enough for its lane to stay busy while
/// its next bytes are on the line, and little beside a part.
const MAX_WAITING: usize = 512 * 1024;
/// Bytes are handed over in pieces of this size at least, so that waking the thread (some
/// microseconds) is little beside hashing them (a hundred). What ends below it is hashed at once.
const HANDED_OVER: usize = 64 * 1024;

/// Hashes streams of bytes, several at once in SIMD lanes. Clones share one thread, which sleeps
/// while there is nothing to hash and ends with the last clone and hasher.
///
/// One thread hashes about 0.6 GiB/s of one stream and 3 to 4 GiB/s of eight or more.
#[derive(Clone, Debug)]
pub struct Lanes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    inbox: Arc<Inbox>,
    /// Started by the first stream that is long enough; `None`: none could be started.
    thread: OnceLock<Option<JoinHandle<()>>>,
}

impl Lanes {
    /// Lanes without streams yet.
    pub fn new() -> Self {
        Self(Arc::new(Shared { inbox: Arc::default(), thread: OnceLock::new() }))
    }

    /// A hasher for one stream.
    pub fn hasher(&self) -> LaneHasher {
        let own = Own { state: Md5State::new(), chunks: Vec::new(), bytes: 0 };
        LaneHasher { lanes: self.clone(), own, lane: None }
    }
}

impl Default for Lanes {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    /// The thread's inbox; `None` where it would not pay, or where no thread is to be had.
    fn inbox(&self) -> Option<&Arc<Inbox>> {
        let start = || {
            let (engine, inbox) = (Md5Many::new(), Arc::clone(&self.inbox));
            let builder = std::thread::Builder::new().name("md5-lanes".to_owned());
            (engine.lanes() > 1).then(|| builder.spawn(move || thread::run(engine, &inbox)).ok())?
        };
        let alive = |_: &&JoinHandle<()>| !self.inbox.ended.is_cancelled();
        self.thread.get_or_init(start).as_ref().filter(alive).map(|_| &self.inbox)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.inbox.close();
        if let Some(Some(thread)) = self.thread.take() {
            // It has no streams any more, and ends within one step. A panic in it has shown
            // already: to each stream as a missing digest.
            let _ = thread.join();
        }
    }
}

/// One stream's digest in the making. Dropping it gives its lane up.
#[derive(Debug)]
pub struct LaneHasher {
    lanes: Lanes,
    own: Own,
    lane: Option<Lane>,
}

/// What has not been handed over.
#[derive(Debug)]
struct Own {
    state: Md5State,
    chunks: Vec<Bytes>,
    bytes: usize,
}

/// A place among the thread's streams.
#[derive(Debug)]
struct Lane {
    id: u64,
    flow: Arc<Flow>,
    inbox: Arc<Inbox>,
}

/// How far the thread is behind with one stream.
#[derive(Debug, Default)]
struct Flow {
    waiting: AtomicUsize,
    less: Notify,
}

impl Flow {
    /// `bytes` fewer are waiting.
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
    /// Takes the next bytes; they are hashed elsewhere. Waits only while more than 512 KiB of this
    /// stream are waiting. Cancelling loses none of the bytes: they have been taken by then.
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

    /// The MD5 of all bytes pushed. Fails with `Unavailable` where the thread that hashed them has
    /// died: those that come after it are hashed without lanes.
    pub async fn finish(mut self) -> Result<[u8; 16]> {
        if self.lane.is_none() {
            self.own.hash();
            return Ok(self.own.state.finalize());
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

    /// Gives what has gathered to the thread, or hashes it here where there is none.
    fn hand_over(&mut self) {
        if self.lane.is_none() {
            let Some(inbox) = self.lanes.0.inbox() else { return self.own.hash() };
            let flow = Arc::<Flow>::default();
            let id = inbox.open(Arc::clone(&flow));
            self.lane = Some(Lane { id, flow, inbox: Arc::clone(inbox) });
        }
        let Some(lane) = &self.lane else { return };
        let chunks = std::mem::take(&mut self.own.chunks);
        lane.flow.waiting.fetch_add(self.own.bytes, Ordering::AcqRel);
        self.own.bytes = 0;
        lane.inbox.post(Post::Bytes(lane.id, chunks));
    }
}

impl Own {
    fn hash(&mut self) {
        self.chunks.drain(..).for_each(|chunk| self.state.update(&chunk));
        self.bytes = 0;
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
