//! Compares the lanes with the `md-5` crate.

use std::time::Duration;

use futures_util::FutureExt as _;
use md5::{Digest, Md5};
use tokio::task::JoinSet;

use super::*;

fn noise(length: usize, random: &mut fastrand::Rng) -> Bytes {
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

/// Cuts `bytes` at random: pieces of a few bytes, of about a block, of several steps, empty ones.
fn cut(mut bytes: Bytes, random: &mut fastrand::Rng) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let most = [1, 65, 600, 5_000, 70_000, 300_000][random.usize(..6)];
        pieces.push(bytes.split_to(random.usize(..=most).min(bytes.len())));
    }
    pieces
}

/// Promise 3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_streams_in_any_pieces_give_the_digests_of_md5() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let lanes = Lanes::new();
    for streams in [1, 2, 3, 5, 7, 8, 9, 16, 17, 40] {
        let mut tasks = JoinSet::new();
        for _ in 0..streams {
            let longest = [0, 1, 63, 64, 65, 70_000, 200_000, 3_000_000][random.usize(..8)];
            let bytes = noise(random.usize(..=longest), &mut random);
            let (expected, length) = (Md5::digest(&bytes), bytes.len());
            let (pieces, mut hasher) = (cut(bytes, &mut random), lanes.hasher());
            tasks.spawn(async move {
                for piece in pieces {
                    hasher.push(piece).await;
                }
                (hasher.finish().await.unwrap(), expected, length)
            });
        }
        for (digest, expected, length) in tasks.join_all().await {
            assert_eq!(digest[..], expected[..], "{length} bytes, {streams} streams, seed {seed}");
        }
    }
}

/// Bytes that say when nobody holds them any more.
struct Held(Vec<u8>, Option<oneshot::Sender<()>>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(free) = self.1.take() {
            let _ = free.send(());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_given_up_leaves_its_lane() {
    let lanes = Lanes::new();
    let (free, is_free) = oneshot::channel();
    let bytes = noise(1 << 20, &mut fastrand::Rng::with_seed(1)).to_vec();
    let expected = Md5::digest(&bytes);
    let bytes = Bytes::from_owner(Held(bytes, Some(free)));
    for _ in 0..100 {
        let mut dropped = lanes.hasher();
        dropped.push(bytes.clone()).await;
        let mut finishing = lanes.hasher();
        finishing.push(bytes.clone()).await;
        drop(tokio::spawn(finishing.finish()));
    }
    let mut last = lanes.hasher();
    last.push(bytes.clone()).await;
    assert_eq!(last.finish().await.unwrap()[..], expected[..]);
    // Once the thread and its queue are gone, nobody holds the bytes.
    drop((lanes, bytes));
    let within = tokio::time::timeout(Duration::from_secs(60), is_free).await;
    assert_eq!(within, Ok(Ok(())), "somebody still holds the bytes");
}

#[tokio::test]
async fn a_stream_waits_while_too_much_of_it_is_waiting() {
    let flow = Flow::default();
    flow.waiting.store(MAX_WAITING + 1, Ordering::Release);
    let ended = CancellationToken::new();
    let room = flow.room(&ended);
    tokio::pin!(room);
    assert_eq!((&mut room).now_or_never(), None);
    flow.done(1);
    assert_eq!((&mut room).now_or_never(), Some(()));
}

#[tokio::test]
async fn without_a_thread_a_stream_is_hashed_where_it_is() {
    let lanes = Lanes::new();
    lanes.0.thread.set(None).expect("not started yet");
    let bytes = noise(300_000, &mut fastrand::Rng::with_seed(2));
    let mut hasher = lanes.hasher();
    for piece in cut(bytes.clone(), &mut fastrand::Rng::with_seed(3)) {
        hasher.push(piece).await;
    }
    assert_eq!(hasher.finish().await.unwrap()[..], Md5::digest(&bytes)[..]);
}

// A panic in the thread must not leave anything waiting: streams in progress get an error, and
// later ones are hashed without lanes.
#[tokio::test]
async fn a_thread_that_has_died_leaves_nobody_waiting() {
    let lanes = Lanes::new();
    let bytes = noise(300_000, &mut fastrand::Rng::with_seed(1));
    let mut under_way = lanes.hasher();
    under_way.push(bytes.clone()).await;
    let Some(inbox) = lanes.0.inbox() else { return };
    inbox.close();
    inbox.ended.cancelled().await;
    for _ in 0..10 {
        under_way.push(bytes.clone()).await;
    }
    assert_eq!(under_way.finish().await.unwrap_err().kind(), ErrorKind::Unavailable);
    let mut after = lanes.hasher();
    after.push(bytes.clone()).await;
    assert_eq!(after.finish().await.unwrap()[..], Md5::digest(&bytes)[..]);
}

/// Promise 3.
#[tokio::test]
async fn lanes_that_give_a_wrong_digest_are_not_used() {
    let right = |inputs: &[Bytes]| -> Vec<[u8; 16]> {
        inputs.iter().map(|input| Md5::digest(input).into()).collect()
    };
    assert!(self_test::is_right(right) && self_test::lanes_are_right());
    for wrong in 0..24 {
        let wrong_once = |inputs: &[Bytes]| {
            let mut digests = right(inputs);
            digests[wrong][15] ^= 1;
            digests
        };
        assert!(!self_test::is_right(wrong_once), "stream {wrong}");
    }
    assert!(!self_test::is_right(|_| Vec::new()), "nor lanes that give none");
    let lanes = Lanes::proven(false);
    let bytes = noise(300_000, &mut fastrand::Rng::with_seed(4));
    let mut hasher = lanes.hasher();
    for piece in cut(bytes.clone(), &mut fastrand::Rng::with_seed(5)) {
        hasher.push(piece).await;
    }
    assert!(lanes.0.inbox().is_none(), "and there is no thread");
    assert_eq!(hasher.finish().await.unwrap()[..], Md5::digest(&bytes)[..]);
}

/// Promise 3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_in_memory_have_the_digests_of_md5_at_any_length() {
    let mut random = fastrand::Rng::with_seed(3);
    for is_proven in [true, false] {
        let lanes = Lanes::proven(is_proven);
        let mut tasks = JoinSet::new();
        for length in [0, 1, 55, 64, 4096, HANDED_OVER - 1, HANDED_OVER, 1 << 20].repeat(5) {
            let (lanes, body) = (lanes.clone(), noise(length, &mut random));
            tasks.spawn(async move { (lanes.md5(&body).await, Md5::digest(&body), length) });
        }
        for (digest, expected, length) in tasks.join_all().await {
            assert_eq!(digest[..], expected[..], "{length} bytes, {is_proven}");
        }
    }
}
