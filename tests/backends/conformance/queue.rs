//! The promises of `Queue`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use s3_migration::error::{ErrorKind, Result};
use s3_migration::queue::{Message, Queue};

use crate::conformance::support::{PATIENCE, eventually, odd_texts};

/// How often a message of a fresh queue is received before it goes to the dead letters.
pub const MAX_RECEIVES: u32 = 3;

/// Longer than any test takes.
pub const HIDDEN: Duration = Duration::from_secs(600);

/// The shortest time that Amazon SQS can hide a message for.
pub const BRIEFLY: Duration = Duration::from_secs(1);

/// The longest wait that Amazon SQS allows.
pub const LONG: Duration = Duration::from_secs(20);

/// Makes the suite's promises tests of the calling module. `$fresh` is an
/// `async fn() -> Fresh<dyn Queue>` that makes an empty queue with dead letters after
/// [`MAX_RECEIVES`].
macro_rules! queue_suite {
    ($fresh:path) => {
        $crate::conformance::support::promises!(queue, $fresh:
            bodies_arrive_as_they_were_sent,
            more_than_one_batch_arrives,
            a_leased_message_is_hidden,
            a_message_comes_back_when_its_lease_ends,
            a_receipt_goes_stale_when_the_message_is_received_again,
            extending_keeps_a_message_hidden,
            extending_may_also_shorten,
            no_message_is_hidden_for_more_than_twelve_hours,
            a_deleted_message_is_gone,
            a_deleted_message_may_be_deleted_again,
            a_released_message_comes_back_at_once,
            a_message_released_with_a_delay_comes_back,
            a_message_received_too_often_goes_to_the_dead_letters,
            a_buried_message_goes_to_the_dead_letters,
            a_waiting_receive_sees_what_is_sent_meanwhile,
            an_empty_queue_answers_with_nothing,
            no_more_than_asked_for_is_received,
            the_depth_follows,
            many_workers_empty_the_queue,
        );
    };
}

/// Promise 4.
pub async fn bodies_arrive_as_they_were_sent(queue: &dyn Queue) {
    let bodies = odd_texts();
    queue.send(&bodies).await.unwrap();
    let messages = take(queue, bodies.len(), HIDDEN).await.unwrap();
    assert_eq!(set(messages.values().map(|m| m.body.clone())), set(bodies));
    assert!(messages.values().all(|m| m.receive_count == 1), "{messages:?}");
}

/// Promise 1.
pub async fn more_than_one_batch_arrives(queue: &dyn Queue) {
    let bodies: Vec<String> = (0..57).map(|n| format!("job {n}")).collect();
    queue.send(&bodies).await.unwrap();
    let messages = take(queue, bodies.len(), HIDDEN).await.unwrap();
    assert_eq!(set(messages.values().map(|m| m.body.clone())), set(bodies));
    queue.send(&[]).await.unwrap();
}

/// Promise 7.
pub async fn a_leased_message_is_hidden(queue: &dyn Queue) {
    let before = Instant::now();
    let message = sent(queue, "one", HIDDEN).await;
    assert!(message.deadline > before && message.deadline <= Instant::now() + HIDDEN);
    assert!(queue.receive(10, BRIEFLY, HIDDEN).await.unwrap().is_empty());
}

/// Promise 7.
pub async fn a_message_comes_back_when_its_lease_ends(queue: &dyn Queue) {
    let first = sent(queue, "one", BRIEFLY).await;
    let second = take_one(queue, HIDDEN).await;
    assert!(Instant::now() >= first.deadline, "delivered again before the lease had ended");
    assert_eq!((second.body.as_str(), second.receive_count), ("one", 2));
    assert_eq!(second.id, first.id);
    assert_ne!(second.receipt, first.receipt);
}

/// Promise 8.
pub async fn a_receipt_goes_stale_when_the_message_is_received_again(queue: &dyn Queue) {
    let first = sent(queue, "one", BRIEFLY).await;
    let second = take_one(queue, HIDDEN).await;
    assert_lost(queue.extend(&first.receipt, HIDDEN).await);
    assert_lost(queue.release(&first.receipt, Duration::ZERO).await);
    // Amazon SQS may accept this and keep the message.
    if let Err(e) = queue.delete(&first.receipt).await {
        assert_eq!(e.kind(), ErrorKind::LeaseLost, "{e}");
    }
    queue.extend(&second.receipt, HIDDEN).await.unwrap();
    queue.delete(&second.receipt).await.unwrap();
}

pub async fn extending_keeps_a_message_hidden(queue: &dyn Queue) {
    let message = sent(queue, "one", BRIEFLY * 5).await;
    let until = queue.extend(&message.receipt, HIDDEN).await.unwrap();
    assert!(until <= Instant::now() + HIDDEN);
    assert!(until > message.deadline);
    assert!(queue.receive(10, BRIEFLY * 7, HIDDEN).await.unwrap().is_empty());
    queue.delete(&message.receipt).await.unwrap();
}

pub async fn extending_may_also_shorten(queue: &dyn Queue) {
    let message = sent(queue, "one", HIDDEN).await;
    let until = queue.extend(&message.receipt, BRIEFLY).await.unwrap();
    let again = take_one(queue, HIDDEN).await;
    assert!(Instant::now() >= until, "delivered again before the lease had ended");
    assert_eq!(again.receive_count, 2);
}

pub async fn no_message_is_hidden_for_more_than_twelve_hours(queue: &dyn Queue) {
    let twelve = Duration::from_secs(12 * 60 * 60);
    let message = sent(queue, "one", HIDDEN).await;
    match queue.extend(&message.receipt, twelve + BRIEFLY).await {
        Ok(until) => assert!(until <= Instant::now() + twelve),
        Err(e) => assert_eq!(e.kind(), ErrorKind::LeaseLost, "{e}"),
    }
    // A refusal takes nothing away.
    queue.extend(&message.receipt, HIDDEN).await.unwrap();
}

pub async fn a_deleted_message_is_gone(queue: &dyn Queue) {
    let message = sent(queue, "one", BRIEFLY).await;
    queue.delete(&message.receipt).await.unwrap();
    assert!(queue.receive(10, BRIEFLY * 3, HIDDEN).await.unwrap().is_empty());
    assert_depth(queue, 0, 0, 0).await;
}

/// Promise 8.
pub async fn a_deleted_message_may_be_deleted_again(queue: &dyn Queue) {
    let message = sent(queue, "one", HIDDEN).await;
    queue.delete(&message.receipt).await.unwrap();
    queue.delete(&message.receipt).await.unwrap();
}

/// Promise 7.
pub async fn a_released_message_comes_back_at_once(queue: &dyn Queue) {
    let message = sent(queue, "one", HIDDEN).await;
    queue.release(&message.receipt, Duration::ZERO).await.unwrap();
    let again = take_one(queue, HIDDEN).await;
    assert_eq!((again.body.as_str(), again.receive_count), ("one", 2));
}

pub async fn a_message_released_with_a_delay_comes_back(queue: &dyn Queue) {
    let message = sent(queue, "one", HIDDEN).await;
    let before = Instant::now();
    queue.release(&message.receipt, BRIEFLY * 2).await.unwrap();
    let again = take_one(queue, HIDDEN).await;
    assert!(before.elapsed() >= BRIEFLY * 2, "delivered again before the delay was over");
    assert_eq!(again.receive_count, 2);
}

/// Promise 1.
pub async fn a_message_received_too_often_goes_to_the_dead_letters(queue: &dyn Queue) {
    queue.send(&["one".to_owned()]).await.unwrap();
    for count in 1..=MAX_RECEIVES {
        let message = take_one(queue, HIDDEN).await;
        assert_eq!(message.receive_count, count);
        queue.release(&message.receipt, Duration::ZERO).await.unwrap();
    }
    // On Amazon SQS it is a receive that moves the message.
    eventually("depth", (0, 0, Some(1)), async || {
        assert!(queue.receive(10, Duration::ZERO, HIDDEN).await.unwrap().is_empty());
        let depth = queue.depth().await.unwrap();
        (depth.waiting, depth.running, depth.dead)
    })
    .await;
}

/// Promise 1.
pub async fn a_buried_message_goes_to_the_dead_letters(queue: &dyn Queue) {
    let message = sent(queue, "one", BRIEFLY * 5).await;
    if queue.bury(&message, "what is left of it", "access denied: 'ü'\n").await.unwrap() {
        assert_depth(queue, 0, 0, 1).await;
        assert!(queue.receive(10, BRIEFLY * 7, HIDDEN).await.unwrap().is_empty());
    } else {
        assert_eq!(queue.depth().await.unwrap().dead, None);
        queue.delete(&message.receipt).await.unwrap();
    }
}

pub async fn a_waiting_receive_sees_what_is_sent_meanwhile(queue: &dyn Queue) {
    let receive = queue.receive(10, LONG, HIDDEN);
    let send = async {
        tokio::task::yield_now().await;
        queue.send(&["one".to_owned()]).await
    };
    let (received, sent) = tokio::join!(receive, send);
    sent.unwrap();
    assert_eq!(received.unwrap().len(), 1);
}

pub async fn an_empty_queue_answers_with_nothing(queue: &dyn Queue) {
    let begun = Instant::now();
    assert!(queue.receive(10, BRIEFLY, HIDDEN).await.unwrap().is_empty());
    assert!(begun.elapsed() >= BRIEFLY, "did not wait");
    assert!(queue.receive(10, Duration::ZERO, HIDDEN).await.unwrap().is_empty());
}

pub async fn no_more_than_asked_for_is_received(queue: &dyn Queue) {
    queue.send(&["a", "b", "c", "d"].map(str::to_owned)).await.unwrap();
    let some = queue.receive(3, LONG, HIDDEN).await.unwrap();
    assert!((1..=3).contains(&some.len()), "{some:?}");
    let rest = take(queue, 4 - some.len(), HIDDEN).await.unwrap();
    assert!(some.iter().all(|m| !rest.contains_key(&m.id)), "delivered twice");
}

pub async fn the_depth_follows(queue: &dyn Queue) {
    assert_depth(queue, 0, 0, 0).await;
    queue.send(&["a", "b", "c"].map(str::to_owned)).await.unwrap();
    assert_depth(queue, 3, 0, 0).await;
    let messages = take(queue, 3, HIDDEN).await.unwrap();
    assert_depth(queue, 0, 3, 0).await;
    for message in messages.values().take(2) {
        queue.release(&message.receipt, Duration::ZERO).await.unwrap();
    }
    assert_depth(queue, 2, 1, 0).await;
    queue.delete(&messages.values().nth(2).unwrap().receipt).await.unwrap();
    assert_depth(queue, 2, 0, 0).await;
}

/// Promise 1.
pub async fn many_workers_empty_the_queue(queue: &dyn Queue) {
    let bodies: Vec<String> = (0..80).map(|n| format!("job {n}")).collect();
    queue.send(&bodies).await.unwrap();
    let worker = async || {
        let mut done = Vec::new();
        loop {
            let messages = queue.receive(10, BRIEFLY, HIDDEN).await.unwrap();
            for message in &messages {
                queue.delete(&message.receipt).await.unwrap();
                done.push(message.body.clone());
            }
            let depth = queue.depth().await.unwrap();
            if messages.is_empty() && depth.waiting + depth.running == 0 {
                return done;
            }
        }
    };
    let workers = async { tokio::join!(worker(), worker(), worker(), worker()) };
    let (a, b, c, d) = tokio::time::timeout(PATIENCE, workers).await.expect("never empty");
    assert_eq!(set([a, b, c, d].concat()), set(bodies));
    assert_depth(queue, 0, 0, 0).await;
}

/// Sends one message and receives it.
pub async fn sent(queue: &dyn Queue, body: &str, visibility: Duration) -> Message {
    queue.send(&[body.to_owned()]).await.unwrap();
    take_one(queue, visibility).await
}

/// Receives until one message is there.
pub async fn take_one(queue: &dyn Queue, visibility: Duration) -> Message {
    take(queue, 1, visibility).await.unwrap().into_values().next().unwrap()
}

/// Receives until `count` different messages are there.
pub async fn take(
    queue: &dyn Queue,
    count: usize,
    visibility: Duration,
) -> Result<BTreeMap<String, Message>> {
    let mut messages = BTreeMap::new();
    let begun = Instant::now();
    while messages.len() < count {
        let max = (count - messages.len()).min(10);
        let received = queue.receive(max, LONG, visibility).await?;
        messages.extend(received.into_iter().map(|m| (m.id.clone(), m)));
        assert!(begun.elapsed() < PATIENCE, "only {} of {count} messages came", messages.len());
    }
    Ok(messages)
}

/// Waits until the queue counts this many messages; `dead` only if it can be seen.
async fn assert_depth(queue: &dyn Queue, waiting: u64, running: u64, dead: u64) {
    eventually("depth", (waiting, running, dead), async || {
        let depth = queue.depth().await.unwrap();
        (depth.waiting, depth.running, depth.dead.unwrap_or(dead))
    })
    .await;
}

fn assert_lost<T: std::fmt::Debug>(result: Result<T>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::LeaseLost);
}

fn set(bodies: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    bodies.into_iter().collect()
}
