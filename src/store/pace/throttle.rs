//! What a side may be asked and sent in a second: two rates and a pause, changed while they hold.
//!
//! A rate is a queue: a caller takes a position in it, counted in bytes or requests, and passes once
//! the rate has allowed that much. So it is fair, and a change of the rate reaches every waiter.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use crate::mutex::lock;

/// A body gets at least this many bytes a second, so that it is slow and does not look stalled:
/// with a lower rate, fewer bodies are on their way at once. The time limits of `retry` assume an
/// eighth of it.
const LEAST_FOR_EACH: f64 = 256.0 * 1024.0;
/// What was not used may be made up for within this time.
const BURST: f64 = 0.1;

/// How a request is billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestClass {
    /// GET, HEAD.
    Read,
    /// PUT, POST, LIST.
    Write,
    /// DELETE.
    Free,
}

/// What has passed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Bytes of bodies.
    pub bytes: u64,
    /// Requests, by [`RequestClass`].
    pub reads: u64,
    /// The same.
    pub writes: u64,
    /// The same.
    pub free: u64,
}

impl Passed {
    /// All requests.
    pub fn requests(&self) -> u64 {
        self.reads + self.writes + self.free
    }
}

/// Which of the two rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Bytes a second.
    Bytes,
    /// Requests a second.
    Requests,
}

/// The limits of one side in this process, and the count of what has passed.
#[derive(Debug, Default)]
pub struct Throttle {
    state: Mutex<State>,
    /// Sent when a rate has changed.
    changed: watch::Sender<()>,
    paused: watch::Sender<bool>,
    /// A stream has ended, or there may be more of them.
    freed: Notify,
    bytes: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
    free: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    bytes: Line,
    requests: Line,
    /// Bodies on their way.
    streams: usize,
    /// Somebody has waited for this rate since the last question.
    waited: [bool; 2],
}

/// Places in the order in which they were taken.
#[derive(Debug, Default)]
struct Line {
    /// A second; `None`: everybody passes.
    rate: Option<f64>,
    taken: f64,
    /// Places up to here may pass.
    passed: f64,
    at: Option<Instant>,
}

impl Line {
    fn advance(&mut self, now: Instant) {
        let since = self.at.replace(now).map(|at| now.saturating_duration_since(at));
        match self.rate {
            None => self.passed = self.taken,
            Some(rate) => {
                let moved = self.passed + rate * since.unwrap_or_default().as_secs_f64();
                self.passed = moved.min(self.taken + rate * BURST);
            }
        }
    }

    fn take(&mut self, amount: f64, now: Instant) -> f64 {
        self.advance(now);
        let place = self.taken;
        self.taken += amount;
        place
    }

    /// How long this place must still wait.
    fn wait(&mut self, place: f64, now: Instant) -> Option<Duration> {
        self.advance(now);
        let rate = self.rate.filter(|_| place > self.passed)?;
        // A little more than needed: a timer that fires too early would have to be set again.
        let seconds = (place - self.passed) / rate + 0.000_5;
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }
}

impl State {
    fn line(&mut self, rate: Rate) -> &mut Line {
        match rate {
            Rate::Bytes => &mut self.bytes,
            Rate::Requests => &mut self.requests,
        }
    }

    fn most_streams(&self) -> usize {
        self.bytes.rate.map_or(usize::MAX, |rate| (rate / LEAST_FOR_EACH).max(1.0) as usize)
    }
}

impl Throttle {
    /// Sets a rate for this process; `None`: no limit. In force at once, for all who wait too.
    pub fn set(&self, rate: Rate, each_second: Option<f64>) {
        let mut state = self.state();
        let line = state.line(rate);
        if line.rate == each_second {
            return;
        }
        line.advance(Instant::now());
        line.rate = each_second;
        line.advance(Instant::now());
        drop(state);
        self.changed.send_replace(());
        self.freed.notify_waiters();
    }

    /// Lets no new request begin, or lets them begin again. What has begun goes on.
    pub fn pause(&self, paused: bool) {
        self.paused.send_if_modified(|was| std::mem::replace(was, paused) != paused);
    }

    /// Whether new requests wait.
    pub fn is_paused(&self) -> bool {
        *self.paused.borrow()
    }

    /// Waits until new requests may begin.
    pub async fn resumed(&self) {
        // The sender is `self`, so it is there.
        let _ = self.paused.subscribe().wait_for(|paused| !paused).await;
    }

    /// Whether anybody has waited for this rate since the last call.
    pub fn has_waited(&self, rate: Rate) -> bool {
        std::mem::take(&mut self.state().waited[rate as usize])
    }

    /// What has passed so far.
    pub fn passed(&self) -> Passed {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Passed {
            bytes: read(&self.bytes),
            reads: read(&self.reads),
            writes: read(&self.writes),
            free: read(&self.free),
        }
    }

    /// Waits until a request may begin, and counts it.
    pub(super) async fn request(&self, class: RequestClass) {
        self.turn().await;
        // A pause may have come while it waited for its turn.
        self.resumed().await;
        self.count(class);
    }

    /// The same for a request with a body on either way.
    pub(super) async fn request_with_body(self: &Arc<Self>, class: RequestClass) -> Stream {
        self.turn().await;
        loop {
            self.resumed().await;
            let stream = self.stream().await;
            if !self.is_paused() {
                self.count(class);
                return stream;
            }
        }
    }

    async fn turn(&self) {
        self.resumed().await;
        if self.state().requests.rate.is_some() {
            self.pass(Rate::Requests, 1.0).await;
        }
    }

    fn count(&self, class: RequestClass) {
        let counter = match class {
            RequestClass::Read => &self.reads,
            RequestClass::Write => &self.writes,
            RequestClass::Free => &self.free,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until one more body may be on its way.
    async fn stream(self: &Arc<Self>) -> Stream {
        loop {
            let mut freed = pin!(self.freed.notified());
            // From here on no notice is missed.
            freed.as_mut().enable();
            {
                let mut state = self.state();
                if state.streams < state.most_streams() {
                    state.streams += 1;
                    return Stream(Arc::clone(self));
                }
                state.waited[Rate::Bytes as usize] = true;
            }
            freed.await;
        }
    }

    /// Counts the bytes of a body. `Some`: they may pass once this is over.
    pub fn bytes(self: &Arc<Self>, bytes: usize) -> Option<BoxFuture<'static, ()>> {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.state().bytes.rate?;
        let this = Arc::clone(self);
        Some(async move { this.pass(Rate::Bytes, bytes as f64).await }.boxed())
    }

    async fn pass(&self, rate: Rate, amount: f64) {
        let mut changed = self.changed.subscribe();
        let place = self.state().line(rate).take(amount, Instant::now());
        let mut unused = Unused { throttle: self, rate, amount };
        loop {
            let wait = self.state().line(rate).wait(place, Instant::now());
            let Some(wait) = wait else { break };
            self.state().waited[rate as usize] = true;
            tokio::select! {
                () = sleep(wait) => {}
                _ = changed.changed() => {}
            }
        }
        unused.amount = 0.0;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// A place in a line, until it is used: if its owner is gone, the line moves on without it.
struct Unused<'a> {
    throttle: &'a Throttle,
    rate: Rate,
    amount: f64,
}

impl Drop for Unused<'_> {
    fn drop(&mut self) {
        if self.amount > 0.0 {
            self.throttle.state().line(self.rate).passed += self.amount;
        }
    }
}

/// A body on its way, until this is dropped.
#[derive(Debug)]
pub(super) struct Stream(Arc<Throttle>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.state().streams -= 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    /// Sends pieces until `end`, by several streams at once.
    async fn sent(throttle: &Arc<Throttle>, streams: usize, piece: usize, end: Duration) -> u64 {
        let total = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..streams {
            let (throttle, total) = (Arc::clone(throttle), Arc::clone(&total));
            tasks.spawn(async move {
                loop {
                    if let Some(turn) = throttle.bytes(piece) {
                        turn.await;
                    }
                    total.fetch_add(piece as u64, Ordering::Relaxed);
                }
            });
        }
        sleep(end).await;
        tasks.shutdown().await;
        total.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_pass_at_the_rate_whatever_the_pieces() {
        for (streams, piece) in [(1, 1000), (7, 65_536), (40, 16_384)] {
            let throttle = Arc::new(Throttle::default());
            throttle.set(Rate::Bytes, Some(1e6));
            let sent = sent(&throttle, streams, piece, Duration::from_secs(60)).await;
            let most = 60_000_000 + (streams * piece) as u64;
            assert!((59_000_000..=most).contains(&sent), "{streams} x {piece}: {sent}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn idle_time_is_not_saved_up() {
        let throttle = Arc::new(Throttle::default());
        throttle.set(Rate::Bytes, Some(1e6));
        sleep(Duration::from_secs(3600)).await;
        let sent = sent(&throttle, 4, 10_000, Duration::from_secs(10)).await;
        assert!(sent <= 10_200_000, "{sent}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_reaches_those_who_wait() {
        let throttle = Arc::new(Throttle::default());
        throttle.set(Rate::Requests, Some(0.001));
        throttle.request(RequestClass::Read).await;
        let began = Instant::now();
        let second = throttle.request(RequestClass::Write);
        let raise = async {
            sleep(Duration::from_secs(5)).await;
            throttle.set(Rate::Requests, None);
        };
        tokio::join!(second, raise);
        assert_eq!(began.elapsed(), Duration::from_secs(5));
        assert!(throttle.has_waited(Rate::Requests) && !throttle.has_waited(Rate::Requests));
        let passed = throttle.passed();
        assert_eq!((passed.reads, passed.writes, passed.requests()), (1, 1, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_does_not_hold_up_the_others() {
        let throttle = Arc::new(Throttle::default());
        throttle.set(Rate::Bytes, Some(1000.0));
        throttle.bytes(1000).unwrap().await;
        let impatient = throttle.bytes(1_000_000).unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(10), impatient).await.is_err());
        let began = Instant::now();
        throttle.bytes(1000).unwrap().await;
        assert!(began.elapsed() <= Duration::from_secs(1), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_begins_while_it_is_paused() {
        let throttle = Arc::new(Throttle::default());
        throttle.pause(true);
        assert!(throttle.is_paused());
        let began = Instant::now();
        let resume = async {
            sleep(Duration::from_secs(9)).await;
            throttle.pause(false);
        };
        tokio::join!(throttle.request(RequestClass::Read), resume);
        assert_eq!(began.elapsed(), Duration::from_secs(9));
    }

    #[tokio::test(start_paused = true)]
    async fn a_low_rate_has_few_bodies_at_once() {
        let throttle = Arc::new(Throttle::default());
        throttle.set(Rate::Bytes, Some(3.0 * LEAST_FOR_EACH));
        let held = [throttle.stream().await, throttle.stream().await, throttle.stream().await];
        assert!(throttle.stream().now_or_never().is_none(), "three are on their way");
        let [one, _two, _three] = held;
        let next = async {
            sleep(Duration::from_secs(1)).await;
            drop(one);
        };
        let (fourth, ()) = tokio::join!(throttle.stream(), next);
        throttle.set(Rate::Bytes, None);
        assert!(throttle.stream().now_or_never().is_some(), "no limit, no queue");
        drop(fourth);
    }
}
