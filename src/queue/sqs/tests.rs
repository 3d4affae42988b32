use serde_json::{Value, json};

use super::*;
use crate::aws::scripted::ScriptedService;

const QUEUE: &str = "https://sqs.eu-west-1.amazonaws.com/111111111111/jobs";

/// A queue that has connected and then receives these answers.
async fn queue(answers: impl IntoIterator<Item = (u16, Value)>) -> (SqsQueue, ScriptedService) {
    let limits = (200, json!({"Attributes": {"MaximumMessageSize": "2048"}}));
    let script = ScriptedService::new([limits].into_iter().chain(answers));
    let queue = SqsQueue::connect(&script.config(), QUEUE).await.expect("connected");
    (queue, script)
}

fn sent(ids: &[&str]) -> Value {
    let entry = |id: &&str| json!({"Id": id, "MessageId": "m", "MD5OfMessageBody": "d"});
    ids.iter().map(entry).collect()
}

fn refused(id: &str, sender_fault: bool) -> Value {
    json!({"Id": id, "Code": "InternalError", "SenderFault": sender_fault, "Message": "try later"})
}

fn error(code: &str, message: &str) -> (u16, Value) {
    (400, json!({"__type": format!("com.amazonaws.sqs#{code}"), "message": message}))
}

fn bodies_of(request: &Value) -> Vec<&str> {
    let entries = request["Entries"].as_array().expect("a batch");
    entries.iter().filter_map(|entry| entry["MessageBody"].as_str()).collect()
}

fn bodies() -> Vec<String> {
    ["a", "b", "c"].map(str::to_owned).to_vec()
}

/// Promise 1.
#[tokio::test]
async fn only_the_refused_entries_of_a_batch_are_sent_again() {
    let (queue, script) = queue([
        // "c" is neither confirmed nor refused: it counts as not sent.
        (200, json!({"Successful": sent(&["0"]), "Failed": [refused("1", false)]})),
        (200, json!({"Successful": sent(&["0", "1"]), "Failed": []})),
    ])
    .await;
    queue.send(&bodies()).await.expect("sent in the end");
    let asked = script.asked();
    assert_eq!(bodies_of(&asked[1]), ["a", "b", "c"]);
    assert_eq!(bodies_of(&asked[2]), ["b", "c"]);
    assert_eq!(asked.len(), 3);
}

/// Promise 1.
#[tokio::test]
async fn an_entry_that_is_the_senders_fault_is_an_error_at_once() {
    let answer = json!({"Successful": sent(&["0", "2"]), "Failed": [refused("1", true)]});
    let (queue, script) = queue([(200, answer)]).await;
    let error = queue.send(&bodies()).await.expect_err("refused for good");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("try later"), "{error}");
    assert_eq!(script.asked().len(), 2);
}

#[tokio::test]
async fn a_call_that_fails_whole_is_left_to_the_one_retry_loop() {
    let (queue, script) = queue([(0, Value::Null)]).await;
    let error = queue.send(&bodies()).await.expect_err("cut");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(script.asked().len(), 2);
}

#[tokio::test]
async fn a_receipt_that_no_longer_counts_is_a_lost_lease() {
    let total = "Value 60 for parameter VisibilityTimeout is invalid. Reason: Total \
                 VisibilityTimeout for the message is beyond the limit [43200 seconds]";
    let expired = "Value X for parameter ReceiptHandle is invalid. Reason: The receipt handle \
                   has expired.";
    for (code, text, kind) in [
        ("ReceiptHandleIsInvalid", "", ErrorKind::LeaseLost),
        ("MessageNotInflight", "", ErrorKind::LeaseLost),
        ("InvalidParameterValue", total, ErrorKind::LeaseLost),
        ("InvalidParameterValue", expired, ErrorKind::LeaseLost),
        ("InvalidParameterValue", "another one", ErrorKind::Invalid),
        ("QueueDoesNotExist", "", ErrorKind::NotFound),
    ] {
        let (queue, _) = queue([error(code, text), error(code, text)]).await;
        let receipt = queue.clock.receipt("handle", Instant::now());
        let extended = queue.extend(&receipt, Duration::from_secs(60)).await;
        assert_eq!(extended.expect_err("refused").kind(), kind, "{code} {text}");
        // Deleting a missing message succeeds; a queue may report it with this code.
        let deleted = queue.delete(&receipt).await.map_err(|e| e.kind());
        match code {
            "ReceiptHandleIsInvalid" => assert_eq!(deleted, Ok(())),
            _ => assert_eq!(deleted, Err(kind), "{code} {text}"),
        }
    }
}

#[tokio::test]
async fn a_message_held_for_twelve_hours_is_not_extended_any_more() {
    let (mut queue, script) = queue([]).await;
    // As if this process had started long ago and had received the message then.
    let long_ago = Instant::now().checked_sub(Duration::from_secs(43_200));
    queue.clock = LeaseClock::since(long_ago.expect("a clock that goes back"));
    let receipt = Receipt("0 handle".to_owned());
    let error = queue.extend(&receipt, Duration::from_secs(60)).await.expect_err("used up");
    assert_eq!(error.kind(), ErrorKind::LeaseLost);
    assert_eq!(script.asked().len(), 1);
}

#[tokio::test]
async fn a_poll_is_long_but_short_against_the_lease_and_no_timeout_cuts_it() {
    let count = json!({"ApproximateReceiveCount": "3"});
    let message = json!({"MessageId": "m", "ReceiptHandle": "h", "Body": "b", "Attributes": count});
    let answer = || (200, json!({"Messages": [message.clone()]}));
    let (queue, script) = queue([answer(), answer()]).await;
    let (minute, poll) = (Duration::from_secs(60), Duration::from_secs(20));
    let messages = queue.receive(50, 3 * poll, minute).await.expect("received");
    assert_eq!(messages[0].receive_count, 3);
    assert_eq!(LeaseClock::handle(&messages[0].receipt), "h");
    let asked = &script.asked()[1];
    assert_eq!(asked["WaitTimeSeconds"], 20);
    assert_eq!(asked["MaxNumberOfMessages"], 10);
    assert_eq!(asked["VisibilityTimeout"], 60);
    queue.receive(1, poll, Duration::from_secs(15)).await.expect("received");
    assert_eq!(script.asked()[2]["WaitTimeSeconds"], 5);
    let timeout = script.read_timeouts().into_iter().last().flatten().expect("a read timeout");
    assert!(timeout > poll, "{timeout:?}");
}

#[tokio::test]
async fn the_answer_to_a_heartbeat_is_not_waited_for_as_for_a_poll() {
    let (queue, script) = queue([(200, json!({}))]).await;
    let receipt = Receipt("0 handle".to_owned());
    queue.extend(&receipt, Duration::from_secs(60)).await.expect("extended");
    let timeout = script.read_timeouts().into_iter().last().flatten().expect("a read timeout");
    assert!(timeout < Duration::from_secs(20), "{timeout:?}");
}

#[tokio::test]
async fn a_dead_letter_queue_that_may_not_be_seen_is_unknown_and_not_an_error() {
    let policy = r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:333333333333:dead"}"#;
    let counts = json!({"Attributes": {
        "ApproximateNumberOfMessages": "3", "ApproximateNumberOfMessagesDelayed": "2",
        "ApproximateNumberOfMessagesNotVisible": "4", "RedrivePolicy": policy,
    }});
    let (queue, script) = queue([(200, counts), error("AccessDenied", "no")]).await;
    let depth = queue.depth().await.expect("the queue itself is visible");
    assert_eq!(depth, Depth { waiting: 5, running: 4, dead: None });
    let asked = &script.asked()[2];
    assert_eq!(
        (&asked["QueueName"], &asked["QueueOwnerAWSAccountId"]),
        (&json!("dead"), &json!("333333333333"))
    );
}

#[tokio::test]
async fn the_queue_says_how_long_it_keeps_a_message() {
    let days = |days: u64| Some(Duration::from_secs(days * 24 * 60 * 60));
    let said = json!({"Attributes": {"MessageRetentionPeriod": "345600"}});
    let (queue, script) = queue([(200, said), (200, json!({"Attributes": {}}))]).await;
    assert_eq!(queue.keeps().await.unwrap(), days(4));
    assert_eq!(script.asked()[1]["AttributeNames"], json!(["MessageRetentionPeriod"]));
    // A queue that does not report its retention counts as keeping messages for the maximum.
    assert_eq!(queue.keeps().await.unwrap(), days(14));
}
