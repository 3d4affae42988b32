//! What Amazon SQS has beyond the queue's common promises.

use std::time::{Duration, Instant};

use s3_migration::error::ErrorKind;
use s3_migration::queue::sqs::SqsQueue;
use s3_migration::queue::{Message, Queue};

use testkit::ministack::{ACCOUNT_A, Ministack, unique};
use testkit::resources::{self, Queues};

const MINUTE: Duration = Duration::from_secs(60);

async fn connect(max_receive_count: u32) -> (SqsQueue, Queues) {
    let config = Ministack::shared().sdk_config(ACCOUNT_A);
    let queues = resources::queues(&config, max_receive_count).await;
    (SqsQueue::connect(&config, &queues.name).await.expect("the queue is there"), queues)
}

fn bodies(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{{\"n\":{i}}}")).collect()
}

async fn receive(queue: &SqsQueue, max: usize) -> Vec<Message> {
    queue.receive(max, Duration::from_secs(5), MINUTE).await.expect("a receive")
}

#[tokio::test]
async fn a_queue_is_found_by_its_name_and_by_its_url() {
    let (queue, queues) = connect(3).await;
    queue.send(&bodies(1)).await.expect("sent");
    let config = Ministack::shared().sdk_config(ACCOUNT_A);
    let by_url = SqsQueue::connect(&config, &queues.url).await.expect("the queue is there");
    assert_eq!(receive(&by_url, 10).await.len(), 1);
}

/// Promise 10.
#[tokio::test]
async fn a_missing_queue_is_named_with_its_region_and_the_remedy() {
    let config = Ministack::shared().sdk_config(ACCOUNT_A);
    for name in [unique("absent"), format!("https://sqs.invalid/{ACCOUNT_A}/absent")] {
        let error = SqsQueue::connect(&config, &name).await.expect_err("it is not there");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        for part in [name.as_str(), "us-east-1", "create it"] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
    let error = SqsQueue::connect(&config, "jobs.fifo").await.expect_err("not usable");
    assert_eq!(error.kind(), ErrorKind::Usage);
}

/// Promise 1.
#[tokio::test]
async fn twenty_five_bodies_are_sent_in_three_batches_and_each_arrives_once() {
    let (queue, _) = connect(3).await;
    let sent = bodies(25);
    queue.send(&sent).await.expect("sent");
    assert_eq!(queue.depth().await.expect("depth").waiting, 25);
    let mut received = Vec::new();
    while received.len() < sent.len() {
        let messages = receive(&queue, 10).await;
        assert!(!messages.is_empty() && messages.len() <= 10, "{}", received.len());
        received.extend(messages.into_iter().map(|message| message.body));
    }
    received.sort_by_key(|body| sent.iter().position(|s| s == body));
    assert_eq!(received, sent);
}

#[tokio::test]
async fn a_body_over_the_queues_limit_is_refused_before_anything_is_sent() {
    let config = Ministack::shared().sdk_config(ACCOUNT_A);
    let name = unique("small");
    aws_sdk_sqs::Client::new(&config)
        .create_queue()
        .queue_name(&name)
        .attributes(aws_sdk_sqs::types::QueueAttributeName::MaximumMessageSize, "1024")
        .send()
        .await
        .expect("CreateQueue");
    let queue = SqsQueue::connect(&config, &name).await.expect("the queue is there");
    let error = queue.send(&["fits".to_owned(), "x".repeat(1025)]).await.expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("1025 bytes"), "{error}");
    assert_eq!(queue.depth().await.expect("depth").waiting, 0);
}

#[tokio::test]
async fn a_lease_is_counted_from_before_the_request() {
    let (queue, _) = connect(3).await;
    queue.send(&bodies(1)).await.expect("sent");
    let messages = receive(&queue, 1).await;
    let message = &messages[0];
    assert_eq!(message.receive_count, 1);
    assert!(message.deadline <= Instant::now() + MINUTE);
    let before = Instant::now();
    let deadline = queue.extend(&message.receipt, 2 * MINUTE).await.expect("extended");
    assert!(deadline >= before + 2 * MINUTE && deadline <= Instant::now() + 2 * MINUTE);
}

/// Promise 8.
#[tokio::test]
async fn a_stale_receipt_is_a_lost_lease() {
    let (queue, _) = connect(3).await;
    queue.send(&bodies(1)).await.expect("sent");
    let first = receive(&queue, 1).await.remove(0);
    queue.release(&first.receipt, Duration::ZERO).await.expect("released");
    let second = receive(&queue, 1).await.remove(0);
    assert_eq!(second.receive_count, 2);
    let error = queue.extend(&first.receipt, MINUTE).await.expect_err("stale");
    assert_eq!(error.kind(), ErrorKind::LeaseLost);
    queue.delete(&second.receipt).await.expect("deleted");
}

/// Promise 1.
#[tokio::test]
async fn a_buried_message_lies_in_the_dead_letter_queue_with_its_reason() {
    let (queue, queues) = connect(3).await;
    queue.send(&bodies(1)).await.expect("sent");
    let message = receive(&queue, 1).await.remove(0);
    let reason = format!("not a job\n{}", "ü".repeat(2000));
    assert!(queue.bury(&message, "other body", &reason).await.expect("buried"));

    let depth = queue.depth().await.expect("depth");
    assert_eq!((depth.waiting, depth.running, depth.dead), (0, 0, Some(1)));
    let dead = aws_sdk_sqs::Client::new(&Ministack::shared().sdk_config(ACCOUNT_A))
        .receive_message()
        .queue_url(&queues.dead_url)
        .message_attribute_names("All")
        .send()
        .await
        .expect("ReceiveMessage");
    let letter = &dead.messages()[0];
    assert_eq!(letter.body(), Some("other body"));
    let reason = letter.message_attributes.as_ref().and_then(|all| all["reason"].string_value());
    let reason = reason.expect("a reason");
    assert!(reason.starts_with("not a job ü") && reason.len() <= 1024, "{reason}");
}

/// Promise 1.
#[tokio::test]
async fn without_a_dead_letter_queue_nothing_is_buried() {
    let config = Ministack::shared().sdk_config(ACCOUNT_A);
    let name = resources::plain_queue(&config).await;
    let queue = SqsQueue::connect(&config, &name).await.expect("the queue is there");
    queue.send(&bodies(1)).await.expect("sent");
    let message = receive(&queue, 1).await.remove(0);
    assert!(!queue.bury(&message, &message.body, "no job").await.expect("answered"));
    let depth = queue.depth().await.expect("depth");
    assert_eq!((depth.running, depth.dead), (1, None));
}
