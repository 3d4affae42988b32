//! Events, notes of what was sent, and what is printed.
//!
//! Messages come by the embedded queue: what a worker makes of them does not depend on who keeps them.

use s3_migration::format::escape::is_plain;
use s3_migration::queue::sqlite::SqliteQueue;
use s3_migration::queue::{DeadLetter, Queue};
use s3_migration::record::JobStatus;
use s3_migration::record::RecordList;
use s3_migration::record::sqlite::SqliteRecords;
use s3_migration::sqlite::Database;
use serde_json::{Value, json};

use crate::stage::{FROM, Stage, TO};
use crate::store::Object;
use testkit::process::{Ended, until};

const INI: &str = "[Basic]\nDes_bucket_default = to-there\nDes_prefix_default = by-default\n\
                   ssm_parameter_ignore_list =\nbucket_para_file = buckets.json\n\
                   [Backend]\nQueue = embedded\nState = embedded\nPath = work.sqlite\n";
const NAME: &str = "s3_migration_file_list";
/// A key that clears a screen, turns what follows it around, ends a line, and hides a letter.
const ODD: &str = "odd\u{1b}[2J\u{202e}\u{2066}\u{2028}\n\u{200b}\u{feff}\u{e0041}\u{85}key";

/// A stage whose worker has a queue, and the bucket list.
async fn stage(pairs: Value) -> Stage {
    let mut stage = Stage::new().await;
    stage.ini(INI);
    stage.write("buckets.json", &pairs.to_string());
    stage
}

fn pair(source: &str, prefix: &str) -> Value {
    json!({"src_bucket": source, "src_prefix": prefix, "des_bucket": TO})
}

/// How a worker has ended, and what it has left.
struct Worked {
    ended: Ended,
    dead: Vec<DeadLetter>,
    state: SqliteRecords,
}

impl Worked {
    /// What it said and how many letters are dead.
    #[track_caller]
    fn with_dead(self, expected: &[&str]) -> Self {
        let found: Vec<&str> = self.dead.iter().map(|letter| letter.body.as_str()).collect();
        assert_eq!(found.len(), expected.len(), "{found:#?}\n{}", self.ended.all());
        for part in expected {
            assert!(found.iter().any(|body| body.contains(part)), "no {part} in {found:#?}");
        }
        self
    }

    #[track_caller]
    fn says(&self, words: &[&str]) {
        for word in words {
            assert!(self.ended.stderr.contains(word), "no {word:?} in {}", self.ended.all());
        }
    }
}

/// Lets a worker carry these messages out, until none of them is in the queue.
async fn work(stage: &Stage, bodies: &[Value]) -> Worked {
    let database = Database::open(stage.work().join("work.sqlite")).await.unwrap();
    let queue = SqliteQueue::open(&database, NAME, 60).await.unwrap();
    let bodies: Vec<String> = bodies.iter().map(ToString::to_string).collect();
    queue.send(&bodies).await.unwrap();
    let worker = stage.spawn(&["worker"]);
    until("the queue is empty", async || queue.is_empty().await.unwrap()).await;
    worker.signal("TERM");
    let ended = worker.ended().await.with_status(0);
    let dead = queue.dead(100).await.unwrap();
    Worked { ended, dead, state: SqliteRecords::new(&database) }
}

fn event(key: &str, sender: &str) -> Value {
    json!({"eventVersion": "2.1", "eventSource": sender, "eventName": "ObjectCreated:Put",
           "s3": {"bucket": {"name": FROM}, "object": {"key": key, "size": 1, "eTag": "e",
                                                       "sequencer": "00A0"}}})
}

fn of_bucket(mut event: Value, bucket: &str) -> Value {
    event["s3"]["bucket"]["name"] = bucket.into();
    event
}

fn message(records: &[Value]) -> Value {
    json!({"Records": records})
}

/// Promise 1.
#[tokio::test]
async fn an_event_is_understood_as_its_store_writes_it() {
    let stage = stage(json!([pair(FROM, "")])).await;
    let mut keys = vec!["empty", "a b", "a+c", "%41", "50% off", "lower", "back", "v/w"];
    // No UTF-8 if it were encoded.
    keys.extend(["\u{fc}+\u{6587}", "100%ff.txt"]);
    for key in keys {
        let data = if key == "empty" { "" } else { "x" };
        stage.store.put(key, Object::new(data));
    }
    // MinIO leaves a size of 0 out.
    let mut empty = event("empty", "minio:s3");
    empty["s3"]["object"].as_object_mut().unwrap().remove("size");
    let mut back = event("back", "aws:s3");
    back["eventName"] = "s3:ObjectRestore:Completed".into();
    let lower = json!({"records": [{"eventname": "s3:ObjectCreated:Put", "eventsource": "x:s3",
        "s3": {"bucket": {"name": FROM}, "object": {"Key": "lower", "size": "1"}}}]});
    let odd = [
        message(&[empty, event("a+b", "aws:s3"), event("v%2Fw", "minio:s3")]),
        // Ceph encodes nothing.
        message(&[event("a+c", "ceph:s3"), event("%41", "ceph:s3")]),
        message(&[event("50% off", "ceph:s3"), event("\u{fc}+\u{6587}", "ceph:s3"), back]),
        message(&[event("100%ff.txt", "aws:s3")]),
        lower,
    ];
    work(&stage, &odd).await.with_dead(&[]);
    stage.store.assert_whole();
}

// An early Ceph called itself aws:s3, and others may call themselves what they like.
/// Promise 4.
#[tokio::test]
async fn the_source_tells_how_the_keys_of_its_events_are_meant() {
    for (encoded, keys) in [(false, ["a+b", "%41%42", "c+d"]), (true, ["a b", "AB", "c d"])] {
        let stage = stage(json!([pair(FROM, "")])).await;
        for key in keys {
            stage.store.put(key, Object::new("x"));
        }
        let sender = if encoded { "ceph:s3" } else { "aws:s3" };
        let events = [event("a+b", sender), event("%41%42", sender)];
        let worked = work(&stage, &[message(&events), message(&[event("c+d", sender)])]).await;
        let worked = worked.with_dead(&[]);
        worked.says(&["its events carry keys"]);
        stage.store.assert_whole();
    }
}

// `a b` was put and deleted before its event is handled, and there is an object that is named `a+b`.
/// Promise 4.
#[tokio::test]
async fn one_event_does_not_decide_how_the_keys_of_a_bucket_are_read() {
    let stage = stage(json!([pair(FROM, "")])).await;
    for key in ["a+b", "c d", "e f"] {
        stage.store.put(key, Object::new("x"));
    }
    let events = [event("a+b", "aws:s3"), event("c+d", "aws:s3")];
    let worked = work(&stage, &[message(&events), message(&[event("e+f", "aws:s3")])]).await;
    worked.with_dead(&[]);
    stage.store.assert_whole();
}

// Two agree, and the third does not.
/// Promise 4.
#[tokio::test]
async fn a_key_that_is_not_found_as_its_neighbours_are_written_is_looked_for_the_other_way() {
    let stage = stage(json!([pair(FROM, "")])).await;
    for key in ["a+b", "c+d", "e f"] {
        stage.store.put(key, Object::new("x"));
    }
    let events = ["a+b", "c+d", "e+f"].map(|key| event(key, "aws:s3"));
    work(&stage, &[message(&events)]).await.with_dead(&[]).says(&["its events carry keys"]);
    stage.store.assert_whole();
}

/// Promise 1.
#[tokio::test]
async fn what_cannot_be_read_does_not_take_its_neighbours_along() {
    let mut stage = stage(json!([pair(FROM, "")])).await;
    stage.set("MaxReceiveCount", "2");
    for key in ["first", "last", "packed"] {
        stage.store.put(key, Object::new("x"));
    }
    let mut unread = event("first", "aws:s3");
    unread["s3"]["object"]["key"] = 5.into();
    let events = message(&[event("first", "aws:s3"), unread, event("last", "aws:s3")]);
    let sns = json!({"Type": "Notification", "Message": events.to_string()});
    let pack = json!({"PackVersion": 1, "Groups": [{"Src_bucket": FROM, "Src_common": "",
        "Des_bucket": TO, "Des_common": "", "Objects": [["packed", 1], ["unread"]]}]});
    let worked = work(&stage, &[sns, pack]).await.with_dead(&[r#""key":5"#, r#"["unread"]"#]);
    stage.store.assert_whole();
    assert!(worked.dead.iter().all(|letter| letter.reason.contains("not a job: ")), "reasons");
}

/// Promise 1.
#[tokio::test]
async fn events_go_where_the_bucket_list_says_and_to_no_other_place() {
    let mut stage = stage(json!([pair(FROM, "in/")])).await;
    stage.set("MaxReceiveCount", "1");
    other_bucket(&stage);
    for key in ["in/k", "out"] {
        stage.store.put(key, Object::new("x"));
    }
    let records = [event("in/k", "aws:s3"), event("out", "aws:s3")];
    let other = of_bucket(event("in/k", "aws:s3"), "other");
    let worked = work(&stage, &[message(&records), message(&[other])]).await;
    let worked = worked.with_dead(&["other"]);
    assert!(worked.dead[0].reason.contains("no pair of the bucket list names"));
    worked.says(&["no pair of the bucket list has a prefix that the key begins with"]);
    let data = stage.store.data();
    let arrived: Vec<_> = data.destination().keys().collect();
    assert_eq!(arrived, [b"in/k"]);
    assert_eq!(data.arrived("in/k").unwrap().data, b"x");
}

/// A bucket whose name is `other`, with one object.
fn other_bucket(stage: &Stage) {
    stage.store.data().buckets.insert("other".to_owned(), Default::default());
    stage.store.data().bucket("other").insert(b"in/k".to_vec(), Object::new("other"));
}

// The list is changed first, and the new bucket's events come after that.
/// Promise 1.
#[tokio::test]
async fn the_events_of_a_pair_that_is_added_are_not_refused_by_the_list_as_it_was() {
    for before in [json!([pair(FROM, "")]), json!([])] {
        let mut stage = stage(before.clone()).await;
        if before == json!([]) {
            stage.set("Des_bucket_default", "");
            stage.set("Des_prefix_default", "");
        }
        other_bucket(&stage);
        stage.store.put("k", Object::new("x"));
        let database = Database::open(stage.work().join("work.sqlite")).await.unwrap();
        let queue = SqliteQueue::open(&database, NAME, 60).await.unwrap();
        let mut worker = stage.spawn(&["worker"]);
        queue.send(&[message(&[event("k", "aws:s3")]).to_string()]).await.unwrap();
        match before == json!([]) {
            true => worker.logs("names no destination").await,
            false => {
                until("the first", async || stage.store.data().arrived("k").is_some()).await;
            }
        }
        stage.write("buckets.json", &json!([pair(FROM, ""), pair("other", "in/")]).to_string());
        let other = message(&[of_bucket(event("in/k", "aws:s3"), "other")]);
        queue.send(&[other.to_string()]).await.unwrap();
        until("the queue is empty", async || queue.is_empty().await.unwrap()).await;
        worker.signal("TERM");
        let ended = worker.ended().await.with_status(0);
        assert_eq!(queue.dead(100).await.unwrap().len(), 0, "{}", ended.all());
        assert!(stage.store.data().arrived("in/k").is_some(), "{}", ended.all());
        assert!(stage.store.data().arrived("k").is_some(), "{}", ended.all());
    }
}

// Without a list there is one place, and keys of two buckets would overwrite each other there.
/// Promise 1.
#[tokio::test]
async fn the_default_place_serves_one_bucket() {
    let mut stage = stage(json!([])).await;
    stage.set("MaxReceiveCount", "1");
    stage.store.data().buckets.insert("other".to_owned(), Default::default());
    stage.store.data().bucket("other").insert(b"k".to_vec(), Object::new("other"));
    stage.store.put("k", Object::new("x"));
    work(&stage, &[message(&[event("k", "aws:s3")])]).await.with_dead(&[]);
    assert_eq!(stage.store.data().arrived("by-default/k").unwrap().data, b"x");
    // Another worker, which has not seen the first bucket's events.
    let other = [message(&[of_bucket(event("k", "aws:s3"), "other")])];
    let worked = work(&stage, &other).await.with_dead(&["other"]);
    assert!(worked.dead[0].reason.contains("name both in the bucket list"));
    assert_eq!(stage.store.data().arrived("by-default/k").unwrap().data, b"x");
}

#[tokio::test]
async fn what_a_comparison_ignores_events_ignore() {
    let mut stage = stage(json!([pair(FROM, "")])).await;
    stage.write("ignored.txt", "*/no*\n");
    stage.set("ignore_list_file", "ignored.txt");
    stage.set("MinSize", "1");
    for key in ["yes", "no", "nothing"] {
        stage.store.put(key, Object::new("x"));
    }
    let mut small = event("yes", "aws:s3");
    small["s3"]["object"]["size"] = 0.into();
    let records = [event("yes", "aws:s3"), event("no", "aws:s3"), event("nothing", "aws:s3")];
    let worked = work(&stage, &[message(&records), message(&[small])]).await.with_dead(&[]);
    worked.says(&["ignored by */no*", "left out by MinSize"]);
    assert_eq!(stage.store.data().destination().len(), 1);
}

// The record of the first end is read with its time, and is the state that the second one ends.
/// Promise 1.
#[tokio::test]
async fn one_of_two_events_whose_object_is_gone_is_a_dead_letter() {
    let stage = stage(json!([pair(FROM, "")])).await;
    stage.store.put("there", Object::new("x"));
    let both = message(&[event("gone", "aws:s3"), event("there", "aws:s3")]);
    let worked = work(&stage, &[both]).await.with_dead(&["gone"]);
    stage.store.assert_whole();
    let failed = worked.state.with_status(JobStatus::Failed, 10).await.unwrap();
    assert_eq!(failed.len(), 1, "{}", worked.ended.all());
    assert_eq!(failed[0].id.src.key.as_str(), "gone");
    assert!(!worked.ended.stderr.contains("another attempt"), "{}", worked.ended.all());
}

/// Promise 1.
#[tokio::test]
async fn what_sns_asks_is_no_failure() {
    let stage = stage(json!([pair(FROM, "")])).await;
    let asks = |kind: &str| {
        json!({"Type": kind, "TopicArn": "arn:aws:sns:us-east-1:1:topic", "Token": "its-token",
               "SubscribeURL": "https://sns.us-east-1.amazonaws.com/?Token=its-token"})
    };
    let test = json!({"Type": "Notification",
                      "Message": json!({"Service": "Amazon S3", "Event": "s3:TestEvent"}).to_string()});
    let asked = [asks("SubscriptionConfirmation"), asks("UnsubscribeConfirmation"), test];
    let worked = work(&stage, &asked).await.with_dead(&[]);
    worked.says(&["arn:aws:sns:us-east-1:1:topic waits for its subscription to be confirmed"]);
    worked.says(&["was deleted", "nothing to do: s3:TestEvent"]);
    assert!(!worked.ended.all().contains("its-token"), "{}", worked.ended.all());
}

#[tokio::test]
async fn an_empty_bucket_list_is_nothing_to_compare() {
    let mut stage = stage(json!([])).await;
    let ended = stage.run(&["jobsender"]).await.with_status(0);
    assert!(ended.stdout.contains("nothing to compare"), "{}", ended.all());
    assert!(
        !ended.stderr.contains("WARNING") && !ended.stderr.contains("ERROR"),
        "{}",
        ended.all()
    );
    assert_eq!(stage.run(&["jobsender", "--json"]).await.with_status(0).json(), json!([]));
    stage.set("Des_bucket_default", "");
    stage.set("Des_prefix_default", "");
    let ended = stage.run(&["jobsender"]).await.with_status(0);
    assert!(ended.stderr.contains("set Des_bucket_default"), "{}", ended.all());
    stage.run(&["run"]).await.with_status(2).says(&["the bucket list is empty"]);
}

#[track_caller]
fn assert_plain(ended: &Ended) {
    for text in [&ended.stdout, &ended.stderr] {
        let hidden = text.chars().find(|c| !is_plain(*c) && !matches!(c, '\n' | '\t'));
        assert_eq!(hidden, None, "{text:?}");
        // A key that ends a line would make one that begins within it.
        assert!(!text.contains("\n\u{200b}") && !text.lines().any(|line| line.ends_with("key")));
    }
}

/// Promise 4.
#[tokio::test]
async fn nothing_from_outside_leaves_its_line_or_hides_in_it() {
    let stage = Stage::new().await;
    let failing = format!("{ODD}/failing");
    for key in [ODD, &failing] {
        stage.store.put(key, Object::new("x"));
    }
    stage.store.answer(|request, _| {
        let error = "no \u{202e}\u{1b}[2J access";
        (request.writes() && request.key().ends_with("failing"))
            .then(|| crate::http::Answer::error(403, "Access\u{2066}Denied", error))
    });
    let dry = stage.run(&["run", "s3://from-here", "s3://to-there", "--dry-run"]).await;
    assert_plain(&dry);
    assert!(dry.stdout.contains(r"odd\u{1b}[2J\u{202e}\u{2066}"), "{}", dry.all());
    let ran = stage.migrate().await.with_status(1);
    assert_plain(&ran);
    assert!(ran.stdout.contains(r"\u{200b}\u{feff}"), "{}", ran.all());
    assert!(!ran.stdout.contains("run the same command again"), "{}", ran.all());
    let explained = stage.run(&["run", "s3://from-here", "s3://to-there", "--explain", ODD]).await;
    assert_plain(&explained);
    // Programs get the key itself.
    let ran = stage.run(&["run", "s3://from-here", "s3://to-there", "--json"]).await;
    assert_plain(&ran);
    assert_eq!(ran.json()["failed"][0]["object"], format!("{FROM}/{failing}"), "{}", ran.all());
}

/// Promise 4.
#[tokio::test]
async fn names_in_messages_are_shown_escaped() {
    let mut stage = stage(json!([pair(FROM, "")])).await;
    stage.set("MaxReceiveCount", "1");
    let bucket = "b\u{202e}u\u{200b}\u{e0041}";
    let job = |bucket: &str| json!({"Src_bucket": bucket, "Src_key": ODD, "Des_bucket": TO, "Des_key": ODD, "Size": 1});
    let mut named = event("k", "aws:s3");
    named["eventName"] = format!("New:{ODD}").into();
    let topic = json!({"Type": "SubscriptionConfirmation", "TopicArn": ODD});
    let event = of_bucket(event("k", "aws:s3"), bucket);
    let all = [job(bucket), job("b\nu"), message(&[event]), message(&[named]), topic];
    for format in ["text", "json"] {
        stage.set("LogFormat", format);
        let worked = work(&stage, &all).await;
        assert_plain(&worked.ended);
        assert!(worked.dead.len() >= 3, "{}", worked.ended.all());
    }
}
