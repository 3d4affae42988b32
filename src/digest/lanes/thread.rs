//! The hashing thread: takes what the streams have posted and runs their lanes.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};
use md5_many::{Md5Many, Md5State};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{Flow, MAX_WAITING};
use crate::mutex::lock;

/// Streams per step: as many as AVX-512 has lanes; AVX2 takes them as two interleaved groups.
const MAX_LANES: usize = 16;
/// Lanes are filled up to a multiple of this by hashing some streams twice: the crate hashes eight
/// lanes faster than two, and is slower than one stream alone for five to seven (measured: 0.35
/// CPU-s/GiB for eight streams, 0.5 for five in eight lanes, 6.5 for five in five).
const GROUP: usize = 8;
/// Bytes of each stream per step: the data of all lanes stays in the L1 cache, and a new stream
/// waits for less than 0.1 ms.
const STEP: usize = 16 * 1024;
/// Once this much of a stream waits, it is hashed whether others join it or not: so early that the
/// stream itself need not wait.
const URGENT: usize = MAX_WAITING / 2;
/// A shorter piece is hashed without lanes, so that it does not shorten the others' step.
const TOO_SHORT: usize = 512;
/// The block of MD5 (RFC 1321).
const BLOCK: usize = 64;

/// What the streams post to the thread.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    inner: Mutex<InboxState>,
    wake: Condvar,
    /// Cancelled when the thread has ended, for any reason.
    pub(super) ended: CancellationToken,
}

#[derive(Debug, Default)]
struct InboxState {
    posts: Vec<Post>,
    last_id: u64,
    /// The thread sleeps until there are this many posts, or one that cannot wait.
    asleep_until: Option<usize>,
    closed: bool,
}

#[derive(Debug)]
pub(super) enum Post {
    /// A stream begins.
    Open(u64, Arc<Flow>),
    /// Its next bytes.
    Bytes(u64, Vec<Bytes>),
    /// It ends; the digest goes to this sender.
    Finish(u64, oneshot::Sender<[u8; 16]>),
    /// Its digest is no longer wanted.
    Gone(u64),
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, InboxState> {
        lock(&self.inner)
    }

    /// Begins a stream; returns its number.
    pub(super) fn open(&self, flow: Arc<Flow>) -> u64 {
        let mut inner = self.lock();
        inner.last_id += 1;
        let id = inner.last_id;
        // Its first bytes follow and wake the thread.
        inner.posts.push(Post::Open(id, flow));
        id
    }

    /// Posts the next bytes of a stream of which this many wait now.
    pub(super) fn post_bytes(&self, id: u64, chunks: Vec<Bytes>, waiting: usize) {
        self.leave(Post::Bytes(id, chunks), waiting >= URGENT);
    }

    /// Posts something that cannot wait.
    pub(super) fn post(&self, post: Post) {
        self.leave(post, true);
    }

    fn leave(&self, post: Post, is_urgent: bool) {
        let mut inner = self.lock();
        if inner.closed {
            // The post is dropped with its sender.
            return;
        }
        inner.posts.push(post);
        let posts = inner.posts.len();
        if inner.asleep_until.take_if(|enough| is_urgent || posts >= *enough).is_some() {
            drop(inner);
            self.wake.notify_one();
        }
    }

    /// No stream is left and none will come.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    /// What has been posted. If that is nothing, sleeps until there are `enough` posts, or one that
    /// cannot wait; does not sleep for 0. `None` at the end.
    fn take(&self, enough: usize) -> Option<Vec<Post>> {
        let mut inner = self.lock();
        if inner.posts.is_empty() && enough > 0 {
            inner.asleep_until = Some(enough);
        }
        while inner.asleep_until.is_some() && !inner.closed {
            inner = self.wake.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        (!inner.closed).then(|| std::mem::take(&mut inner.posts))
    }
}

/// Tells everything that waits for the thread that it has ended, also after a panic.
struct EndNotice<'a>(&'a Inbox);

impl Drop for EndNotice<'_> {
    fn drop(&mut self) {
        self.0.close();
        self.0.lock().posts.clear();
        self.0.ended.cancel();
    }
}

/// The digests of these inputs, hashed as the thread would hash streams that arrive together.
pub(super) fn digests(engine: Md5Many, inputs: &[Bytes]) -> Vec<[u8; 16]> {
    let mut streams = Streams::default();
    let mut receivers = Vec::new();
    for (id, input) in (0..).zip(inputs) {
        let (sender, receiver) = oneshot::channel();
        let flow = Arc::<Flow>::default();
        flow.waiting.store(input.len(), Ordering::Release);
        streams.accept(Post::Open(id, flow));
        streams.accept(Post::Bytes(id, vec![input.clone()]));
        streams.accept(Post::Finish(id, sender));
        receivers.push(receiver);
    }
    while streams.step(engine) {}
    receivers.into_iter().map(|mut digest| digest.try_recv().unwrap_or_default()).collect()
}

/// Hashes until the inbox is closed.
pub(super) fn run(engine: Md5Many, inbox: &Inbox) {
    let _ending = EndNotice(inbox);
    let mut streams = Streams::default();
    let mut enough = 1;
    while let Some(posts) = inbox.take(enough) {
        posts.into_iter().for_each(|post| streams.accept(post));
        enough = streams.missing();
        if enough == 0 {
            streams.step(engine);
        }
    }
}

struct Stream {
    id: u64,
    state: Md5State,
    waiting: VecDeque<Bytes>,
    flow: Arc<Flow>,
    finish: Option<oneshot::Sender<[u8; 16]>>,
}

#[derive(Default)]
struct Streams {
    all: Vec<Stream>,
    /// Where the next step starts to look for streams, so that each gets its turn.
    turn: usize,
}

impl Streams {
    fn accept(&mut self, post: Post) {
        let (Post::Open(id, _) | Post::Bytes(id, _) | Post::Finish(id, _) | Post::Gone(id)) = &post;
        let at = self.all.iter().position(|stream| stream.id == *id);
        match (post, at) {
            (Post::Open(id, flow), _) => {
                let (state, waiting) = (Md5State::new(), VecDeque::new());
                self.all.push(Stream { id, state, waiting, flow, finish: None });
            }
            (Post::Bytes(_, chunks), Some(at)) => {
                let chunks = chunks.into_iter().filter(|chunk| !chunk.is_empty());
                self.all[at].waiting.extend(chunks);
            }
            (Post::Finish(_, sender), Some(at)) => {
                self.all[at].finish = Some(sender);
                self.end(at);
            }
            (Post::Gone(_), Some(at)) => drop(self.all.swap_remove(at)),
            (_, None) => {}
        }
    }

    /// Sends the digest, if the stream is over and all of it is hashed.
    fn end(&mut self, at: usize) {
        if !self.all[at].waiting.is_empty() {
            return;
        }
        if let Some(sender) = self.all[at].finish.take() {
            let stream = self.all.swap_remove(at);
            // The receiver may be gone by now.
            let _ = sender.send(stream.state.finalize());
        }
    }

    /// How many more streams should have bytes before the next step; 0: it is time for one. A step
    /// costs much the same for one stream as for eight, and nobody waits for the bytes in the middle
    /// of a stream. So a step is taken if no others could join it, if somebody waits for a digest, or
    /// before a stream would have to wait for room.
    fn missing(&self) -> usize {
        let ready = self.all.iter().filter(|stream| !stream.waiting.is_empty()).count();
        let is_urgent = |stream: &Stream| {
            let waiting = stream.flow.waiting.load(Ordering::Acquire);
            !stream.waiting.is_empty() && (waiting >= URGENT || stream.finish.is_some())
        };
        match self.all.iter().any(is_urgent) {
            true => 0,
            // Without any stream, the first one is missing.
            false => {
                MAX_LANES.min(self.all.len()).saturating_sub(ready).max(usize::from(ready == 0))
            }
        }
    }

    /// Hashes the next bytes of some streams; `false` if none has any.
    fn step(&mut self, engine: Md5Many) -> bool {
        self.all.iter_mut().for_each(Stream::align);
        let count = self.all.len();
        let in_turn = (0..count).map(|i| (self.turn + i) % count);
        let ready = in_turn.filter(|&at| !self.all[at].waiting.is_empty());
        let picked: Vec<usize> = ready.take(MAX_LANES).collect();
        self.turn = picked.last().map_or(0, |last| last + 1);
        match picked.as_slice() {
            [] => {}
            [lone] => self.all[*lone].alone(),
            several => self.side_by_side(engine, several),
        }
        // From the back, since ending a stream moves the last one into the gap.
        (0..count).rev().for_each(|at| self.end(at));
        !picked.is_empty()
    }

    fn side_by_side(&mut self, engine: Md5Many, picked: &[usize]) {
        let length = picked.iter().map(|&at| self.all[at].whole_blocks()).min().unwrap_or(0);
        let lanes = picked.len().next_multiple_of(GROUP);
        let mut states = [Md5State::new(); MAX_LANES];
        let mut inputs: [&[u8]; MAX_LANES] = [&[]; MAX_LANES];
        for (lane, &at) in picked.iter().cycle().take(lanes).enumerate() {
            states[lane] = self.all[at].state;
            inputs[lane] = &self.all[at].waiting[0][..length];
        }
        engine.update_many(&mut states[..lanes], &inputs[..lanes]);
        for (state, &at) in states.into_iter().zip(picked) {
            self.all[at].state = state;
            self.all[at].advance(length);
        }
    }
}

impl Stream {
    /// Hashes without lanes whatever does not fit them, so that the next piece begins with a block
    /// and is long enough.
    fn align(&mut self) {
        while let Some(next) = self.waiting.front() {
            let beyond_block = (self.state.bytes_hashed() % BLOCK as u64) as usize;
            let alone = match next.len() {
                short if short < TOO_SHORT => short,
                _ if beyond_block > 0 => BLOCK - beyond_block,
                _ => return,
            };
            self.state.update(&self.waiting[0][..alone]);
            self.advance(alone);
        }
    }

    fn alone(&mut self) {
        let length = self.waiting[0].len().min(STEP);
        self.state.update(&self.waiting[0][..length]);
        self.advance(length);
    }

    /// How much of the next piece a step may take.
    fn whole_blocks(&self) -> usize {
        let length = self.waiting[0].len().min(STEP);
        length - length % BLOCK
    }

    fn advance(&mut self, length: usize) {
        self.waiting[0].advance(length);
        if self.waiting[0].is_empty() {
            self.waiting.pop_front();
        }
        self.flow.done(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: usize = 64 * 1024;

    /// The next bytes of stream `id`, as its hasher posts them.
    fn bytes(streams: &mut Streams, id: u64) {
        let at = streams.all.iter().position(|stream| stream.id == id).unwrap();
        streams.all[at].flow.waiting.fetch_add(PIECE, Ordering::AcqRel);
        streams.accept(Post::Bytes(id, vec![Bytes::from(vec![7; PIECE])]));
    }

    fn open(count: u64) -> Streams {
        let mut streams = Streams::default();
        (0..count).for_each(|id| streams.accept(Post::Open(id, Arc::default())));
        streams
    }

    #[test]
    fn a_step_waits_for_company_as_long_as_nobody_waits_for_it() {
        let mut streams = open(4);
        assert_eq!(streams.missing(), 4);
        assert_eq!(Streams::default().missing(), 1, "without any, the first one");
        bytes(&mut streams, 0);
        assert_eq!(streams.missing(), 3);
        bytes(&mut streams, 0);
        assert_eq!(streams.missing(), 3, "the same stream again");
        (1..4).for_each(|id| bytes(&mut streams, id));
        assert_eq!(streams.missing(), 0, "all are there");
        while streams.missing() == 0 {
            assert!(streams.step(Md5Many::new()));
        }
        let left: Vec<_> = streams.all.iter().map(|stream| stream.waiting.len()).collect();
        assert_eq!(left, [1, 0, 0, 0], "they went side by side");
        assert_eq!(streams.missing(), 3);
        streams.accept(Post::Gone(3));
        assert_eq!(streams.missing(), 2, "one fewer can come");
    }

    #[test]
    fn a_step_waits_for_nobody_if_a_digest_is_due_or_a_stream_would_have_to_wait() {
        let mut streams = open(2);
        bytes(&mut streams, 0);
        let (sender, mut digest) = oneshot::channel();
        streams.accept(Post::Finish(0, sender));
        while streams.missing() == 0 {
            streams.step(Md5Many::new());
        }
        assert!(digest.try_recv().is_ok());

        let mut streams = open(2);
        while streams.missing() > 0 {
            bytes(&mut streams, 0);
        }
        let waiting = streams.all[0].flow.waiting.load(Ordering::Acquire);
        assert!((URGENT..MAX_WAITING).contains(&waiting), "{waiting}");
    }

    #[test]
    fn more_streams_than_lanes_wait_for_no_more_than_there_are_lanes() {
        let mut streams = open(40);
        (0..MAX_LANES as u64 - 1).for_each(|id| bytes(&mut streams, id));
        assert_eq!(streams.missing(), 1);
        bytes(&mut streams, 30);
        assert_eq!(streams.missing(), 0);
    }
}
