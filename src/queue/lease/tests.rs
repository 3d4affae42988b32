//! The guard against a scripted queue, on a clock that advances only when all tasks wait.

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use tokio::time::{advance, sleep};

use super::*;
use crate::queue::{Depth, Receipt};

const VISIBILITY: Duration = Duration::from_secs(60);

/// What the queue does with the next call of `extend`; `Obey` once the script is used up.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Obey,
    Fail(ErrorKind),
    FailAsking(Duration),
    Slow(Duration),
    Hang,
}

/// A queue that answers heartbeats by script and records every call with its second.
#[derive(Debug)]
struct ScriptedQueue {
    begun: Instant,
    answers: Mutex<VecDeque<Answer>>,
    /// Deletions and burials fail until this time.
    out_until: Instant,
    calls: Mutex<Vec<(u64, String)>>,
}

impl ScriptedQueue {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            answers: Mutex::new(answers.into_iter().collect()),
            out_until: Instant::now(),
            calls: Mutex::default(),
        })
    }

    /// A queue whose deletions and burials fail for this long.
    fn out_for(out: Duration) -> Arc<Self> {
        let Ok(mut queue) = Arc::try_unwrap(Self::new([])) else { unreachable!("it is new") };
        queue.out_until += out;
        Arc::new(queue)
    }

    fn is_back(&self) -> Result<()> {
        match Instant::now() < self.out_until {
            true => Err(Error::new(ErrorKind::Unavailable, "out")),
            false => Ok(()),
        }
    }

    fn record(&self, call: impl Into<String>) {
        let second = self.begun.elapsed().as_secs();
        self.calls.lock().unwrap().push((second, call.into()));
    }

    fn calls(&self) -> Vec<(u64, String)> {
        self.calls.lock().unwrap().clone()
    }

    /// The seconds at which `extend` was called.
    fn beats(&self) -> Vec<u64> {
        self.calls().into_iter().filter(|(_, call)| call == "extend").map(|(at, _)| at).collect()
    }

    fn hold(self: &Arc<Self>) -> Lease {
        self.hold_under(&CancellationToken::new())
    }

    fn hold_under(self: &Arc<Self>, stop: &CancellationToken) -> Lease {
        let message = Message {
            id: "1".to_owned(),
            receipt: Receipt("first".to_owned()),
            body: "body".to_owned(),
            receive_count: 1,
            deadline: (Instant::now() + VISIBILITY).into_std(),
        };
        Lease::hold(self.clone(), message, VISIBILITY, stop)
    }
}

#[async_trait]
impl Queue for ScriptedQueue {
    async fn send(&self, _: &[String]) -> Result<()> {
        Ok(())
    }

    async fn receive(&self, _: usize, _: Duration, _: Duration) -> Result<Vec<Message>> {
        Ok(Vec::new())
    }

    async fn extend(&self, receipt: &Receipt, by: Duration) -> Result<std::time::Instant> {
        assert_eq!(receipt.0, "first");
        self.record("extend");
        let until = (Instant::now() + by).into_std();
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Answer::Obey);
        match answer {
            Answer::Obey => Ok(until),
            Answer::Fail(kind) => Err(Error::new(kind, "as told")),
            Answer::FailAsking(pause) => {
                Err(Error::new(ErrorKind::Throttled, "as told").with_retry_after(Some(pause)))
            }
            Answer::Slow(by) => {
                sleep(by).await;
                self.record("extended");
                Ok(until)
            }
            Answer::Hang => std::future::pending().await,
        }
    }

    async fn delete(&self, receipt: &Receipt) -> Result<()> {
        self.is_back()?;
        self.record(format!("delete {}", receipt.0));
        Ok(())
    }

    async fn release(&self, receipt: &Receipt, delay: Duration) -> Result<()> {
        self.record(format!("release {} {}", receipt.0, delay.as_secs()));
        Ok(())
    }

    async fn bury(&self, message: &Message, body: &str, reason: &str) -> Result<bool> {
        self.is_back()?;
        self.record(format!("bury {} {body} {reason}", message.receipt.0));
        Ok(true)
    }

    fn max_receives(&self) -> Option<u32> {
        None
    }

    async fn keeps(&self) -> Result<Option<Duration>> {
        unreachable!("a lease does not ask")
    }

    async fn depth(&self) -> Result<Depth> {
        Ok(Depth::default())
    }
}

/// Promise 7.
#[tokio::test(start_paused = true)]
async fn the_heart_beats_every_third_of_the_visibility() {
    let queue = ScriptedQueue::new([]);
    let lease = queue.hold();
    sleep(Duration::from_secs(90)).await;
    assert_eq!(queue.beats(), [20, 40, 60, 80]);
    assert!(!lease.token().is_cancelled());
    assert_eq!(lease.lost(), None);
}

#[tokio::test(start_paused = true)]
async fn short_work_costs_no_heartbeat() {
    let queue = ScriptedQueue::new([]);
    let lease = queue.hold();
    sleep(Duration::from_secs(19)).await;
    lease.delete().await.unwrap();
    sleep(VISIBILITY * 3).await;
    assert_eq!(queue.calls(), [(19, "delete first".to_owned())]);
}

/// Promise 7.
#[tokio::test(start_paused = true)]
async fn a_stale_receipt_stops_the_work_at_once() {
    let queue = ScriptedQueue::new([Answer::Obey, Answer::Fail(ErrorKind::LeaseLost)]);
    let lease = queue.hold();
    lease.cancelled().await;
    assert_eq!(queue.begun.elapsed().as_secs(), 40);
    assert_eq!(lease.lost(), Some(LeaseLoss::Taken));
    assert_eq!(Error::from(LeaseLoss::Taken).kind(), ErrorKind::LeaseLost);
    sleep(VISIBILITY * 3).await;
    assert_eq!(queue.beats(), [20, 40]);
}

/// Promise 9.
#[tokio::test(start_paused = true)]
async fn a_passing_error_is_tried_again_while_the_lease_lasts() {
    let failures = [ErrorKind::Unavailable, ErrorKind::Throttled, ErrorKind::Denied];
    let queue = ScriptedQueue::new(failures.map(Answer::Fail));
    let lease = queue.hold();
    sleep(Duration::from_secs(59)).await;
    assert!(!lease.token().is_cancelled());
    assert!(queue.beats().len() >= 4, "{:?}", queue.beats());
    sleep(VISIBILITY * 3).await;
    assert!(!lease.token().is_cancelled());
}

/// Promise 9.
#[tokio::test(start_paused = true)]
async fn the_pause_that_the_queue_asks_for_is_kept() {
    let queue = ScriptedQueue::new([Answer::FailAsking(Duration::from_secs(17))]);
    let _lease = queue.hold();
    sleep(Duration::from_secs(38)).await;
    assert_eq!(queue.beats(), [20, 37]);
}

/// Promise 7.
#[tokio::test(start_paused = true)]
async fn the_work_stops_at_the_deadline_where_the_queue_stays_out() {
    let queue = ScriptedQueue::new([Answer::Fail(ErrorKind::Unavailable); 1000]);
    let lease = queue.hold();
    lease.cancelled().await;
    assert_eq!(queue.begun.elapsed().as_secs(), 60);
    assert_eq!(lease.lost(), Some(LeaseLoss::RanOut));
}

#[tokio::test(start_paused = true)]
async fn the_work_stops_at_the_deadline_where_the_queue_does_not_answer() {
    let queue = ScriptedQueue::new([Answer::Hang; 1000]);
    let lease = queue.hold();
    lease.cancelled().await;
    assert_eq!(queue.begun.elapsed().as_secs(), 60);
    assert_eq!(lease.lost(), Some(LeaseLoss::RanOut));
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_whose_answer_is_lost_costs_no_lease() {
    let queue = ScriptedQueue::new([Answer::Hang, Answer::Hang, Answer::Hang]);
    let lease = queue.hold();
    sleep(Duration::from_secs(70)).await;
    assert_eq!(lease.lost(), None);
    let beats = queue.beats();
    assert!(beats.starts_with(&[20, 27, 35, 42]), "{beats:?}");
}

/// Promise 7.
#[tokio::test(start_paused = true)]
async fn a_process_that_slept_through_its_lease_does_not_extend_it() {
    let queue = ScriptedQueue::new([]);
    let lease = queue.hold();
    // Before the heartbeat could run, as on a machine that was suspended.
    advance(VISIBILITY).await;
    lease.cancelled().await;
    assert_eq!(lease.lost(), Some(LeaseLoss::RanOut));
    assert!(queue.beats().is_empty());
}

/// Promise 7.
#[tokio::test(start_paused = true)]
async fn the_work_stops_while_the_queues_longest_lease_can_still_be_given_back() {
    let queue = ScriptedQueue::new([]);
    let lease = queue.hold();
    lease.cancelled().await;
    assert_eq!(lease.lost(), Some(LeaseLoss::Limit));
    let held = queue.begun.elapsed();
    assert!(held + VISIBILITY / 3 <= MAX_HIDDEN && held + VISIBILITY * 2 > MAX_HIDDEN, "{held:?}");
    for beat in queue.beats() {
        assert!(Duration::from_secs(beat) + VISIBILITY <= MAX_HIDDEN, "{beat}");
    }
    lease.release(Duration::ZERO).await.unwrap();
    assert_eq!(queue.calls().last().unwrap().1, "release first 0");
}

#[tokio::test(start_paused = true)]
async fn a_release_waits_for_the_heartbeat_under_way() {
    let queue = ScriptedQueue::new([Answer::Slow(Duration::from_secs(2))]);
    let lease = queue.hold();
    sleep(Duration::from_secs(21)).await;
    lease.release(Duration::from_secs(7)).await.unwrap();
    let calls = [(20, "extend"), (22, "extended"), (22, "release first 7")];
    assert_eq!(queue.calls(), calls.map(|(at, call)| (at, call.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_without_an_answer_does_not_hold_up_the_end() {
    let queue = ScriptedQueue::new([Answer::Hang]);
    let lease = queue.hold();
    sleep(Duration::from_secs(21)).await;
    lease.release(Duration::from_secs(7)).await.unwrap();
    assert_eq!(queue.calls().last().unwrap(), &(26, "release first 7".to_owned()));
}

// The work is done: while the heartbeat holds the message, no other worker repeats it.
/// Promise 7.
#[tokio::test(start_paused = true)]
async fn a_queue_that_is_out_is_waited_for_at_the_end_of_the_work() {
    let queue = ScriptedQueue::out_for(Duration::from_secs(90));
    queue.hold().delete().await.unwrap();
    assert_eq!(queue.calls().last().unwrap().1, "delete first");
    assert!(queue.beats().len() >= 4, "{:?}", queue.beats());
    let queue = ScriptedQueue::out_for(Duration::from_secs(90));
    assert!(queue.hold().bury("other", "why").await.unwrap());
    assert_eq!(queue.calls().last().unwrap().1, "bury first other why");
}

/// Promise 7.
#[tokio::test(start_paused = true)]
async fn where_everything_is_being_cut_a_few_tries_are_left() {
    let (queue, stop) =
        (ScriptedQueue::out_for(Duration::from_secs(3600)), CancellationToken::new());
    let lease = queue.hold_under(&stop);
    stop.cancel();
    assert!(lease.delete().await.is_err());
    assert!(queue.begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_guard_ends_the_heartbeat_and_the_work() {
    let queue = ScriptedQueue::new([]);
    let lease = queue.hold();
    let token = lease.token();
    drop(lease);
    assert!(token.is_cancelled());
    sleep(VISIBILITY * 3).await;
    assert_eq!(queue.calls(), []);
}

/// Promise 7.
#[tokio::test(start_paused = true)]
async fn stopping_everything_stops_the_work_and_keeps_the_lease() {
    let (queue, stop) = (ScriptedQueue::new([]), CancellationToken::new());
    let lease = queue.hold_under(&stop);
    stop.cancel();
    lease.cancelled().await;
    assert_eq!(lease.lost(), None);
    // The message stays hidden until it is released.
    sleep(Duration::from_secs(65)).await;
    assert_eq!(queue.beats(), [20, 40, 60]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_without_end_does_not_overflow() {
    let queue = ScriptedQueue::new([]);
    let message = Message {
        id: "1".to_owned(),
        receipt: Receipt("first".to_owned()),
        body: String::new(),
        receive_count: 1,
        deadline: Instant::now().into_std(),
    };
    let lease = Lease::hold(queue, message, Duration::MAX, &CancellationToken::new());
    lease.cancelled().await;
    assert_eq!(lease.lost(), Some(LeaseLoss::RanOut));
}
