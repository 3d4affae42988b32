//! MD5 of small bodies in memory: those that are there at the same time are hashed in one pass.

use std::sync::Mutex;

use bytes::Bytes;
use md5_many::Md5Many;
use tokio::sync::oneshot;

use crate::digest::md5;
use crate::mutex::lock;

/// Bodies in one pass: as many as AVX-512 has lanes.
const MOST: usize = 16;

/// Bodies whose digests nobody has begun to compute.
#[derive(Debug, Default)]
pub(super) struct HeldBodies(Mutex<Vec<Waiting>>);

#[derive(Debug)]
struct Waiting {
    body: Bytes,
    digest: oneshot::Sender<[u8; 16]>,
}

impl HeldBodies {
    /// The MD5 of `body`. Waits for no more bodies than there are: each task that is ready to run
    /// runs once, and may bring its own.
    pub(super) async fn md5(&self, engine: Md5Many, body: &Bytes) -> [u8; 16] {
        let (sender, mut digest) = oneshot::channel();
        let waiting = self.add(Waiting { body: body.clone(), digest: sender });
        if waiting < MOST {
            tokio::task::yield_now().await;
        }
        if let Ok(digest) = digest.try_recv() {
            return digest;
        }
        hash(engine, std::mem::take(&mut lock(&self.0)));
        // It is lost only if the pass that it was in has panicked.
        digest.await.unwrap_or_else(|_| md5(body))
    }

    /// Returns how many are waiting now.
    fn add(&self, body: Waiting) -> usize {
        let mut all = lock(&self.0);
        all.push(body);
        all.len()
    }
}

fn hash(engine: Md5Many, all: Vec<Waiting>) {
    let bodies: Vec<&[u8]> = all.iter().map(|waiting| &waiting.body[..]).collect();
    let digests = together(engine, &bodies);
    for (waiting, digest) in all.into_iter().zip(digests) {
        // Nobody listens any more if its task was cancelled.
        let _ = waiting.digest.send(digest);
    }
}

/// The digests of these inputs, in one pass.
pub(super) fn together(engine: Md5Many, inputs: &[&[u8]]) -> Vec<[u8; 16]> {
    let mut digests = vec![[0; 16]; inputs.len()];
    engine.hash_many(inputs, &mut digests);
    digests
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// Promise 3.
    #[tokio::test]
    async fn bodies_that_wait_at_the_same_time_are_hashed_in_one_pass() {
        let (held, engine) = (HeldBodies::default(), Md5Many::new());
        let bodies: Vec<Bytes> = (0..9u8).map(|n| Bytes::from(vec![n; 100 * n as usize])).collect();
        let mut digests: Vec<_> =
            bodies.iter().map(|body| Box::pin(held.md5(engine, body))).collect();
        for digest in &mut digests {
            assert!(digest.now_or_never().is_none());
        }
        drop(digests.remove(4));
        assert_eq!(digests.remove(0).await, md5(&bodies[0]));
        assert!(lock(&held.0).is_empty());
        let rest = bodies[1..4].iter().chain(&bodies[5..]);
        for (digest, body) in digests.iter_mut().zip(rest) {
            assert_eq!(digest.now_or_never(), Some(md5(body)));
        }
        assert_eq!(held.md5(engine, &bodies[8]).await, md5(&bodies[8]));
    }
}
