use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

use super::*;
use crate::aws::scripted::ScriptedService;
use crate::object::{Etag, ObjectId};

/// A record store that has connected and then receives these answers.
async fn state(
    answers: impl IntoIterator<Item = (u16, Value)>,
) -> (DynamoRecords, ScriptedService) {
    let keys = json!([{"AttributeName": "Key", "KeyType": "HASH"}]);
    let table = (200, json!({"Table": {"KeySchema": keys}}));
    let script = ScriptedService::new([table].into_iter().chain(answers));
    let state = DynamoRecords::connect(&script.config(), "t").await.expect("connected");
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
        deleted: false,
        proven: None,
        written: None,
        order: None,
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
    let script = ScriptedService::new([error("AccessDeniedException"), (200, json!({}))]);
    let state = DynamoRecords::connect(&script.config(), "t").await.expect("goes on");
    assert_eq!(state.load(&outcome("l").id).await.expect("answered"), None);

    let script = ScriptedService::new([error("UnrecognizedClientException")]);
    let error = DynamoRecords::connect(&script.config(), "t").await.expect_err("a wrong key");
    assert_eq!(error.kind(), ErrorKind::Unfit);
}

#[tokio::test]
async fn a_lost_answer_is_left_to_the_one_retry_loop() {
    let (state, script) = state([(0, Value::Null)]).await;
    let error = state.finish(&[outcome("mine")]).await.expect_err("cut");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(script.asked().len(), 2);
}

fn new(key: &str) -> Outcome {
    let id = RecordId { src: ObjectId::new("src", key), ..outcome("").id };
    Outcome { id, lease: None, ..outcome("") }
}

fn kinds(answers: Vec<crate::record::Recorded>) -> Vec<Option<ErrorKind>> {
    answers.into_iter().map(|answer| answer.err().map(|error| error.kind())).collect()
}

/// Promise 1.
#[tokio::test]
async fn only_what_a_batch_refuses_is_written_by_itself() {
    let refused = |code: &str| json!({"Error": {"Code": code, "Message": "x"}});
    let batch = json!({"Responses": [
        {"TableName": "t"},
        refused("DuplicateItem"),
        refused("ProvisionedThroughputExceeded"),
        refused("ValidationError"),
    ]});
    let (state, script) = state([(200, batch), (200, json!({})), (200, json!({}))]).await;
    let outcomes = ["a", "b", "c", "d", "e"].map(new);
    let answers = kinds(state.finish_each(&outcomes).await);
    let (throttled, unavailable) = (ErrorKind::Throttled, ErrorKind::Unavailable);
    assert_eq!(answers, [None, None, Some(throttled), None, Some(unavailable)], "e has no answer");
    let asked = script.asked();
    assert_eq!(asked[1]["Statements"].as_array().map(Vec::len), Some(5));
    let mut updated: Vec<_> = asked[2..].iter().map(|u| u["Key"]["Key"]["S"].clone()).collect();
    updated.sort_by_key(Value::to_string);
    assert_eq!(updated, ["src/b", "src/d"]);
}

#[tokio::test]
async fn a_statement_names_every_attribute_and_holds_no_value() {
    let done = (200, json!({"Responses": [{"TableName": "t"}, {"TableName": "t"}]}));
    let (state, script) = state([done]).await;
    state.finish(&[new("it's \"a\""), new("b")]).await.expect("inserted");
    let statement = &script.asked()[1]["Statements"][0];
    let text = statement["Statement"].as_str().expect("a statement");
    assert!(text.starts_with("INSERT INTO \"t\" VALUE {'"), "{text}");
    let marks = text.matches(": ?").count();
    assert_eq!(statement["Parameters"].as_array().map(Vec::len), Some(marks));
    assert!(text.contains("'Key': ?") && text.contains("'tryTimes': ?") && !text.contains("it's"));
}

/// Promise 1.
#[tokio::test]
async fn a_batch_that_fails_whole_is_written_by_nobody() {
    let (state, _) = state([error("ThrottlingException")]).await;
    let answers = kinds(state.finish_each(&["a", "b"].map(new)).await);
    assert_eq!(answers, [Some(ErrorKind::Throttled), Some(ErrorKind::Throttled)]);
}

#[tokio::test]
async fn where_batches_are_not_allowed_each_is_written_by_itself_from_then_on() {
    let one = || (200, json!({}));
    let (state, script) = state([error("AccessDeniedException"), one(), one(), one(), one()]).await;
    for _ in 0..2 {
        state.finish(&["a", "b"].map(new)).await.expect("written");
    }
    let batches = script.asked().iter().filter(|asked| asked["Statements"].is_array()).count();
    assert_eq!(batches, 1);
}

/// The description of a table whose index looks like this.
fn indexed(status: Value, sort: &str, projection: &str) -> (u16, Value) {
    let part = |name: &str, kind: &str| json!({"AttributeName": name, "KeyType": kind});
    let index = json!({
        "IndexName": "desBucket-index", "IndexStatus": status,
        "KeySchema": [part("desBucket", "HASH"), part(sort, "RANGE")],
        "Projection": {"ProjectionType": projection},
    });
    let keys = [part("Key", "HASH")];
    (200, json!({"Table": {"KeySchema": keys, "GlobalSecondaryIndexes": [index]}}))
}

fn request() -> CopiesRequest {
    CopiesRequest { bucket: "des".to_owned(), ..CopiesRequest::default() }
}

/// Promise 2.
#[tokio::test]
async fn an_index_is_read_once_it_is_there_whole_and_in_order() {
    let page = || {
        (
            200,
            json!({"Items": [{
                "Key": {"S": "src/k"}, "srcBucket": {"S": "src"}, "desBucket": {"S": "des"},
                "desKey": {"S": "k"}, "jobStatus": {"S": "DONE"}, "sourceEtag": {"S": "e"},
            }]}),
        )
    };
    for (table, read) in [
        (indexed(json!("ACTIVE"), "desKey", "ALL"), true),
        (indexed(json!("UPDATING"), "desKey", "ALL"), true),
        // Some compatible stores do not report it.
        (indexed(Value::Null, "desKey", "ALL"), true),
        (indexed(json!("CREATING"), "desKey", "ALL"), false),
        (indexed(json!("DELETING"), "desKey", "ALL"), false),
        (indexed(json!("ACTIVE"), "desKey", "KEYS_ONLY"), false),
        (indexed(json!("ACTIVE"), "Size", "ALL"), false),
    ] {
        let said = table.1.to_string();
        let script = ScriptedService::new([table, page()]);
        let state = DynamoRecords::connect(&script.config(), "t").await.expect("connected");
        let answer = state.copies(&request()).await.expect("answered");
        assert_eq!(answer.map(|page| page.copies.len()), read.then_some(1), "{said}");
    }
}

#[tokio::test]
async fn where_the_index_may_not_be_read_it_is_not_asked_for_again() {
    let table = indexed(json!("ACTIVE"), "desKey", "ALL");
    let throttled = error("ThrottlingException");
    let script = ScriptedService::new([table, throttled, error("AccessDeniedException")]);
    let state = DynamoRecords::connect(&script.config(), "t").await.expect("connected");
    let failed = state.copies(&request()).await.expect_err("throttled");
    assert_eq!(failed.kind(), ErrorKind::Throttled);
    for _ in 0..2 {
        assert_eq!(state.copies(&request()).await.expect("looked up instead"), None);
    }
    assert_eq!(script.asked().len(), 3);
}

#[tokio::test]
async fn notes_that_an_answer_has_no_room_for_are_asked_for_again() {
    let keys = ["a", "b", "c"].map(NoteKey::new);
    let note = |name: &str| json!({"Key": {"S": format!("note:{name}")}, "note": {"B": "eA=="}});
    let left = |names: &[&str]| {
        let key = |name: &&str| json!({"Key": {"S": format!("note:{name}")}});
        json!({"t": {"Keys": names.iter().map(key).collect::<Vec<_>>()}})
    };
    let some = json!({"Responses": {"t": [note("b")]}, "UnprocessedKeys": left(&["a", "c"])});
    let rest = json!({"Responses": {"t": [note("c")]}, "UnprocessedKeys": {}});
    let (state, script) = state([(200, some), (200, rest)]).await;
    let text = || Some(b"x".to_vec());
    assert_eq!(state.notes(&keys).await.expect("answered"), [None, text(), text()]);
    assert_eq!(script.asked()[2]["RequestItems"]["t"]["Keys"].as_array().map(Vec::len), Some(2));
    assert_eq!(script.asked()[2]["RequestItems"]["t"]["ConsistentRead"], true);

    let none = json!({"Responses": {"t": []}, "UnprocessedKeys": left(&["a", "b", "c"])});
    let (state, _) = self::state([(200, none)]).await;
    let error = state.notes(&keys).await.expect_err("nothing was answered");
    assert_eq!(error.kind(), ErrorKind::Throttled);
}
