//! A destination that refuses what is more than it carries at once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use s3_endpoint::{Gate, Passage};
use tokio::sync::watch;

use testkit::local::{Local, MIB, noise};
use testkit::process::until;

/// As long as the store works on one object.
const SERVICE: Duration = Duration::from_millis(40);
const OBJECTS: u64 = 600;

/// A store that takes this many PutObject at once, and answers SlowDown to more.
struct Busy {
    carries: usize,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    now: usize,
    /// For each call in its order: how many were there with it.
    crowds: Vec<usize>,
    refused: usize,
}

#[async_trait::async_trait]
impl Gate for Busy {
    async fn before(&self, operation: &str, _: &str, _: &str) -> Passage {
        if operation != "PutObject" {
            return Passage::Free;
        }
        let crowd = {
            let mut seen = self.seen.lock().unwrap();
            seen.now += 1;
            let now = seen.now;
            seen.crowds.push(now);
            now
        };
        // Refused calls take as long: how many come at once shall depend on the caller alone.
        tokio::time::sleep(SERVICE).await;
        let mut seen = self.seen.lock().unwrap();
        seen.now -= 1;
        if crowd <= self.carries {
            return Passage::Free;
        }
        seen.refused += 1;
        Passage::Refused
    }
}

/// Promise 9.
#[tokio::test]
async fn a_store_that_asks_for_patience_is_asked_for_less_and_gets_everything() {
    let gate = Arc::new(Busy { carries: 4, seen: Mutex::default() });
    let mut local = Local::gated(Some(Arc::clone(&gate))).await;
    for n in 0..OBJECTS {
        local.source.put(&format!("object/{n:03}"), noise(100, n)).await;
    }
    local.set("MaxParallelFile", "40");
    let ended = local.migrate().await.with_status(0);
    assert_eq!(local.destination.keys().await.len() as u64, OBJECTS);
    let seen = gate.seen.lock().unwrap();
    let most = |crowds: &[usize]| crowds.iter().copied().max().unwrap();
    let (first, last) = (most(&seen.crowds[..100]), most(&seen.crowds[seen.crowds.len() - 200..]));
    println!("at first {first}, at last {last}, {} refused", seen.refused);
    assert!(first >= 16, "{first}: too few to be too many");
    // Without a limit of its own, a caller that only pauses after each refusal has more than 900.
    assert!(seen.refused < OBJECTS as usize, "{} refused", seen.refused);
    assert!(last <= 8, "{last} at once after the store has throttled");
    assert!(ended.stderr.contains("the destination is throttling"), "{}", ended.all());
}

/// A store that answers PutObject in rounds: none of a round before all of it are there, however fast
/// or slow the machine is.
struct Rounds {
    /// The last call of each round, counted from 1; what comes after the last round is free.
    ends: Vec<usize>,
    begun: watch::Sender<usize>,
    /// Calls that wait, and the most that ever did.
    waiting: Mutex<(usize, usize)>,
}

impl Rounds {
    fn of(sizes: &[usize]) -> Arc<Self> {
        let sum = |sum: &mut usize, size: &usize| {
            *sum += size;
            Some(*sum)
        };
        let ends = sizes.iter().scan(0, sum).collect();
        Arc::new(Self { ends, begun: watch::Sender::new(0), waiting: Mutex::default() })
    }

    /// A call that is none: a round with one more in it waits for the test.
    fn join(&self) {
        self.begun.send_modify(|begun| *begun += 1);
    }

    fn waits(&self, more: bool) {
        let mut waiting = self.waiting.lock().unwrap();
        waiting.0 = if more { waiting.0 + 1 } else { waiting.0 - 1 };
        waiting.1 = waiting.1.max(waiting.0);
    }
}

#[async_trait::async_trait]
impl Gate for Rounds {
    async fn before(&self, operation: &str, _: &str, _: &str) -> Passage {
        if operation != "PutObject" {
            return Passage::Free;
        }
        self.waits(true);
        let mut number = 0;
        self.begun.send_modify(|begun| {
            *begun += 1;
            number = *begun;
        });
        if let Some(end) = self.ends.iter().find(|end| **end >= number) {
            // The sender is our own.
            let _ = self.begun.subscribe().wait_for(|begun| begun >= end).await;
        }
        self.waits(false);
        Passage::Free
    }
}

/// Of a size whose time is the line's and tells nothing of the store's load: how long each waits for its
/// round is the machine's doing.
const IN_ROUNDS: usize = 300;
const SIZE: usize = 64 * 1024 + 1;

/// The most that a run does at once of what the store wants to have in these rounds; one that is
/// larger than the run ever gets does not end. A round may wait for what has been read until then.
async fn at_once(rounds: &[usize], settings: &[(&str, &str)], read: Option<usize>) -> usize {
    let gate = Rounds::of(rounds);
    let mut local = Local::gated(Some(Arc::clone(&gate))).await;
    for n in 0..IN_ROUNDS {
        local.source.put(&format!("object/{n:03}"), noise(SIZE, n as u64)).await;
    }
    for (key, value) in settings {
        local.set(key, value);
    }
    let reading = async {
        let Some(objects) = read else { return };
        let bytes = || local.source.endpoint.stats().get("GetObject").map_or(0, |s| s.bytes_out);
        until("what is read", async || bytes() >= (objects * SIZE) as u64).await;
        gate.join();
    };
    let (ended, ()) = tokio::join!(local.migrate(), reading);
    ended.with_status(0);
    assert_eq!(local.destination.keys().await.len(), IN_ROUNDS);
    // By itself, since it waits in the line for room that a round does not leave.
    local.source.put("parts", noise(12 * MIB, 1)).await;
    local.migrate().await.with_status(0);
    assert_eq!(local.destination.keys().await.len(), IN_ROUNDS + 1);
    let (_, most) = *gate.waiting.lock().unwrap();
    most
}

#[tokio::test]
async fn auto_does_more_at_once_than_the_default() {
    // MaxParallelFile x MaxThread.
    const DEFAULT: usize = 5 * 20;
    const MORE: usize = DEFAULT + 10;
    let default = at_once(&[DEFAULT; IN_ROUNDS / DEFAULT], &[], None).await;
    assert_eq!(default, DEFAULT);
    // The first round teaches it that the store carries as much as it was asked for, if more would
    // have been asked for: twice as many as are wanted wait for the end of that round.
    let auto = [("MaxParallelFile", "auto"), ("MaxThread", "Auto")];
    let auto = at_once(&[DEFAULT + 1, MORE], &auto, Some(DEFAULT + 20)).await;
    assert!(auto >= MORE, "{auto}");
}
