//! A destination that refuses what is more than it carries at once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use s3_migration::demo::endpoint::{Gate, Passage};

use crate::local::{Local, MIB, noise};

/// As long as the store works on one object.
const SERVICE: Duration = Duration::from_millis(40);
const OBJECTS: u64 = 600;

/// A store that carries so many PutObject at once, and answers SlowDown to more.
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
    assert!(last <= 8, "{last} at once after the store has asked for patience");
    assert!(ended.stderr.contains("the destination asks for patience"), "{}", ended.all());
}

#[tokio::test]
async fn auto_does_more_at_once_than_the_default() {
    let gate = Arc::new(Busy { carries: usize::MAX, seen: Mutex::default() });
    let mut local = Local::gated(Some(Arc::clone(&gate))).await;
    for n in 0..100 {
        local.source.put(&format!("object/{n:03}"), noise(100, n)).await;
    }
    local.source.put("parts", noise(12 * MIB, 1)).await;
    local.set("MaxParallelFile", "auto");
    local.set("MaxThread", "Auto");
    local.migrate().await.with_status(0);
    assert_eq!(local.destination.keys().await.len(), 101);
    let most = gate.seen.lock().unwrap().crowds.iter().copied().max();
    assert!(most > Some(5), "{most:?}");
}
