use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

use super::*;
use crate::aws::scripted::Scripted;
use crate::object::{Etag, ObjectId};

/// A state that has connected and then gives these answers.
async fn state(answers: impl IntoIterator<Item = (u16, Value)>) -> (DynamoState, Scripted) {
    let keys = json!([{"AttributeName": "Key", "KeyType": "HASH"}]);
    let table = (200, json!({"Table": {"KeySchema": keys}}));
    let script = Scripted::new([table].into_iter().chain(answers));
    let state = DynamoState::connect(&script.config(), "t").await.expect("connected");
    (state, script)
}

fn error(code: &str) -> (u16, Value) {
    (400, json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": "x"}))
}

fn outcome(lease: &str) -> Outcome {
    let src = ObjectId::new("src", "k");
    Outcome {
        id: RecordId { src, des: ObjectId::new("des", "k") },
        size: 1,
        version: None,
        etag: Some(Etag::new("e")),
        status: JobStatus::Done,
        instance: "i".to_owned(),
        lease: Some(lease.to_owned()),
        start_time: UNIX_EPOCH,
        end_time: UNIX_EPOCH,
        error: None,
    }
}

fn item(des: &str, lease: &str) -> Value {
    json!({
        "Key": {"S": "src/k"}, "desBucket": {"S": des}, "desKey": {"S": "k"},
        "lease": {"S": lease}, "sourceEtag": {"S": "e"},
    })
}

#[tokio::test]
async fn where_a_refusal_does_not_show_the_item_it_is_read() {
    let refused = || error("ConditionalCheckFailedException");
    let (fenced, script) = state([refused(), (200, json!({"Item": item("des", "another")}))]).await;
    let error = fenced.finish(&[outcome("mine")]).await.expect_err("fenced");
    assert_eq!(error.kind(), ErrorKind::LeaseLost);
    assert_eq!(script.asked()[2]["ConsistentRead"], true);

    let elsewhere = (200, json!({"Item": item("other", "another")}));
    let (free, script) = state([refused(), elsewhere, (200, json!({}))]).await;
    free.finish(&[outcome("mine")]).await.expect("written beside the other destination");
    let key = script.asked()[3]["Key"]["Key"]["S"].as_str().map(str::to_owned);
    assert!(key.is_some_and(|key| key.starts_with("src/k -> ")));

    let (gone, _) = state([refused(), (200, json!({}))]).await;
    let error = gone.finish(&[outcome("mine")]).await.expect_err("deleted meanwhile");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn an_error_worth_trying_again_is_told_before_a_lost_lease() {
    let mut refused = error("ConditionalCheckFailedException");
    refused.1["Item"] = item("des", "another");
    let throttled = error("ProvisionedThroughputExceededException");
    let (state, _) = state([refused, throttled]).await;
    let outcomes = [outcome("mine"), outcome("mine")];
    let error = state.finish(&outcomes).await.expect_err("both failed");
    assert_eq!(error.kind(), ErrorKind::Throttled);
}

#[tokio::test]
async fn whoever_may_not_describe_the_table_goes_on() {
    let script = Scripted::new([error("AccessDeniedException"), (200, json!({}))]);
    let state = DynamoState::connect(&script.config(), "t").await.expect("goes on");
    assert_eq!(state.load(&outcome("l").id).await.expect("answered"), None);

    let script = Scripted::new([error("UnrecognizedClientException")]);
    let error = DynamoState::connect(&script.config(), "t").await.expect_err("a wrong key");
    assert_eq!(error.kind(), ErrorKind::Unfit);
}

#[tokio::test]
async fn a_lost_answer_is_left_to_the_one_retry_loop() {
    let (state, script) = state([(0, Value::Null)]).await;
    let error = state.finish(&[outcome("mine")]).await.expect_err("cut");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(script.asked().len(), 2);
}
