//! Users of the original (the AWS sample in Python) come over: its ini, its table, its messages, and its
//! tool on what is written here.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_ssm::types::ParameterType;
use serde_json::{Value, json};
use tokio::process::Command;

use testkit::ministack::ACCOUNT_A;
use testkit::resources;
use testkit::stage::{MIB, Ran, Stage, Worker, noise, program, ran};

const INI: &str = include_str!("original/s3_migration_cluster_config.ini");

type Item = HashMap<String, AttributeValue>;

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn number(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn set(texts: &[&str]) -> AttributeValue {
    AttributeValue::Ss(texts.iter().map(ToString::to_string).collect())
}

/// A record as the original leaves it: statuses, instances and starts of all attempts in sets.
async fn put_record(stage: &Stage, key: &str, version: &str, statuses: &[&str], progress: u64) {
    let mut item: Item = [
        ("Key", text(&format!("{}/{key}", stage.source))),
        ("instanceID", set(&["i-0123", "i-4567"])),
        ("tryTimes", number(2)),
        ("startTime_f", set(&["Sun Jan 26 00:53:20 2020", "Sun Jan 26 01:53:20 2020"])),
        ("lastTimeProgress", number(progress)),
        ("Size", number(100)),
        ("desBucket", text(&stage.destination)),
        ("desKey", text(&format!("moved/{key}"))),
        ("firstTime", number(1_580_000_000)),
        ("versionId", text(version)),
        ("totalSpentTime", number(3700)),
        ("endTime", number(1_580_003_700)),
        ("endTime_f", text("Sun Jan 26 01:55:00 2020")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if !statuses.is_empty() {
        item.insert("jobStatus".to_owned(), set(statuses));
    }
    let client = aws_sdk_dynamodb::Client::new(&stage.a);
    let put = client.put_item().table_name(&stage.table).set_item(Some(item));
    put.send().await.expect("PutItem");
}

async fn items(stage: &Stage) -> Vec<Item> {
    let client = aws_sdk_dynamodb::Client::new(&stage.a);
    let answer = client.scan().table_name(&stage.table).consistent_read(true).send().await;
    answer.expect("Scan").items.unwrap_or_default()
}

fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"))
}

/// The program in a folder with the original's ini, by the variables of the original's stack alone.
fn in_its_folder(
    stage: &Stage,
    folder: &tempfile::TempDir,
    bucket_list: &str,
    command: &str,
) -> Command {
    let mut program = program(&[command]);
    program.current_dir(folder.path()).envs(stage.server.environment(ACCOUNT_A));
    program.env("table_queue_name", &stage.table).env("sqs_queue_name", &stage.queues.name);
    program.env("ssm_parameter_bucket", bucket_list);
    // Other tests share the account, and this name.
    program.env("ssm_parameter_credentials", &stage.credentials);
    program
}

/// Promise 1.
#[tokio::test]
async fn its_ini_runs_a_cluster_as_it_is() {
    let mut stage = Stage::put(5).await;
    stage.table = resources::table_of_the_original(&stage.a).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ini = INI.replace("their-bucket", &stage.destination);
    std::fs::write(folder.path().join("s3_migration_cluster_config.ini"), ini).expect("written");
    std::fs::write(folder.path().join("s3_migration_ignore_list.txt"), "*/covid19-lake/cfn/*\n")
        .expect("written");
    let pairs = json!([{"src_bucket": stage.source, "src_prefix": "", "des_bucket": stage.destination,
                        "des_prefix": "moved"}]);
    let pairs = resources::parameter(&stage.a, ParameterType::String, &pairs.to_string()).await;
    for (key, size) in [("small", 100), ("large", 6 * MIB), ("covid19-lake/cfn/x", 1)] {
        stage.put_source(key, &noise(size, 1)).await;
    }
    let sent = ran(in_its_folder(&stage, &folder, &pairs, "jobsender")).await;
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let mut worker = Worker::start(in_its_folder(&stage, &folder, &pairs, "worker"));
    stage.until_done(2).await;
    worker.terminate().await;
    assert_eq!(worker.ended().await.code(), Some(0), "{}", worker.log());
    assert_eq!(stage.arrived_keys().await, ["moved/large", "moved/small"]);

    // Objects of S3 events go where its two keys say; its prefix may end with a slash.
    let none = resources::parameter(&stage.a, ParameterType::String, "[]").await;
    let event = json!({"Records": [{"eventVersion": "2.1", "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": stage.source},
        "object": {"key": "small", "size": 100, "eTag": "e", "sequencer": "0"}}}]});
    stage.send(&event.to_string()).await;
    let mut worker = Worker::start(in_its_folder(&stage, &folder, &none, "worker"));
    stage.until_done(3).await;
    worker.terminate().await;
    assert_eq!(worker.ended().await.code(), Some(0), "{}", worker.log());
    assert!(stage.arrived("from-events/small").await.is_some());
}

/// Promise 1.
#[tokio::test]
async fn what_its_table_says_is_done_is_done_and_its_versions_are_compared() {
    let mut stage = Stage::put(5).await;
    stage.table = resources::table_of_the_original(&stage.a).await;
    let (source, destination) = (resources::s3(&stage.a), resources::s3(&stage.b));
    resources::set_versioning(&source, &stage.source, true).await;
    for key in ["done", "done at last", "replaced", "begun again", "failed"] {
        stage.put_source(key, &noise(100, 1)).await;
        let head = source.head_object().bucket(&stage.source).key(key).send().await;
        let version = head.expect("HeadObject").version_id.expect("a version");
        let (version, statuses, progress) = match key {
            "done" => (version.as_str(), &["DONE"][..], 100),
            "done at last" => (version.as_str(), &["DONE", "ERR"][..], 100),
            "replaced" => ("an older one", &["DONE"][..], 100),
            "begun again" => (version.as_str(), &["DONE"][..], 40),
            _ => (version.as_str(), &["ERR"][..], 40),
        };
        put_record(&stage, key, version, statuses, progress).await;
        let put = destination.put_object().bucket(&stage.destination).key(format!("moved/{key}"));
        put.body(noise(100, 1).into()).send().await.expect("PutObject");
    }
    let status = stage.status().await;
    assert_eq!((&status["done"], &status["failed"]), (&json!(3), &json!(1)), "{status}");
    let failed = json_of(&stage.run(&["failed", "--json"]).await);
    let failed = failed["objects"].as_array().expect("a list");
    assert_eq!(failed.len(), 1, "{failed:?}");

    // Sizes alone: everything is there, as the original has it.
    let sizes = json_of(&stage.run(&["jobsender", "--json"]).await);
    assert_eq!(
        (&sizes[0]["to_copy"], &sizes[0]["already_there"]),
        (&json!(0), &json!(5)),
        "{sizes}"
    );
    // Versions too: what is not on record as done from this very version is copied, and nothing else.
    let mut jobsender = stage.program(&["jobsender", "--json"]);
    jobsender.env("JobsenderCompareVersionId", "True");
    let versions = json_of(&ran(jobsender).await);
    assert_eq!(
        (&versions[0]["to_copy"], &versions[0]["already_there"]),
        (&json!(3), &json!(2)),
        "{versions}"
    );
    let mut worker = stage.worker(&[("GetObjectWithVersionId", "True")]);
    stage.until_done(3).await;
    worker.terminate().await;
    assert_eq!(worker.ended().await.code(), Some(0), "{}", worker.log());
    let record = stage.record("replaced").await;
    for (name, expected) in [
        ("jobStatus", "DONE"),
        ("tryTimes", "3"),
        ("firstTime", "1580000000"),
        ("lastTimeProgress", "100"),
    ] {
        assert_eq!(record[name], expected, "{name} of {record}");
    }
    let mut again = stage.program(&["jobsender", "--json"]);
    again.env("JobsenderCompareVersionId", "True");
    assert_eq!(json_of(&ran(again).await)[0]["to_copy"], 0);
}

/// Promise 1.
#[tokio::test]
async fn a_failure_on_its_record_is_sent_again() {
    let mut stage = Stage::put(5).await;
    stage.table = resources::table_of_the_original(&stage.a).await;
    stage.put_source("k", &noise(100, 1)).await;
    put_record(&stage, "k", "null", &["ERR"], 40).await;
    let redriven = stage.run(&["failed", "--redrive"]).await;
    assert_eq!(redriven.code, Some(0), "{redriven:?}");
    let mut worker = stage.worker(&[]);
    stage.until_done(1).await;
    worker.terminate().await;
    assert_eq!(worker.ended().await.code(), Some(0), "{}", worker.log());
    assert!(stage.arrived("moved/k").await.is_some());
}

/// `tools/analystic_dynamodb_table.py` scans the table, calls running what has another progress than
/// 100, and sorts all items by `firstTime`, which each must have.
#[tokio::test]
async fn its_tool_reads_the_table_that_is_written_here() {
    let stage = Stage::put(5).await;
    for (key, size) in [("small", 100), ("other", 200), ("large", 12 * MIB)] {
        stage.put_source(key, &noise(size, 1)).await;
    }
    assert_eq!(stage.run(&["jobsender"]).await.code, Some(0));
    let mut worker = stage.worker(&[]);
    stage.until_done(3).await;
    worker.terminate().await;
    assert_eq!(worker.ended().await.code(), Some(0), "{}", worker.log());
    let items = items(&stage).await;
    let notes = items.iter().filter(|item| item.contains_key("note")).count();
    assert!(notes > 1, "notes and a board are among them");
    assert_eq!(items.len() - notes, 3);
    let asctime = regex::Regex::new(
        r"^(Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ 123]\d \d{2}:\d{2}:\d{2} \d{4}$",
    )
    .expect("a pattern");
    for item in &items {
        assert!(item["firstTime"].as_n().is_ok(), "{item:?}");
        let running = item.get("lastTimeProgress").is_some_and(|p| *p != number(100));
        assert!(!running, "{item:?}");
        if item.contains_key("note") {
            continue;
        }
        for name in ["startTime_f", "endTime_f"] {
            let text = item[name].as_s().expect("a text");
            assert!(asctime.is_match(text), "{text}");
        }
        for name in ["Size", "tryTimes", "totalSpentTime"] {
            assert!(item[name].as_n().is_ok(), "{name} of {item:?}");
        }
    }
}

/// Packs are switched off by a key; then each message is one that the original's worker takes.
#[tokio::test]
async fn without_packs_every_message_is_in_its_form() {
    let mut stage = Stage::put(5).await;
    stage.pack_objects = 1;
    let objects = [("small", 100), ("ü/a+b c", 200), ("folder/", 0), ("large", 6 * MIB)];
    for (key, size) in objects {
        stage.put_source(key, &noise(size, 1)).await;
    }
    assert_eq!(stage.run(&["jobsender"]).await.code, Some(0));
    let mut messages = Vec::new();
    while messages.len() < objects.len() {
        messages.extend(stage.take().await);
    }
    for body in &messages {
        let job: Value = serde_json::from_str(body).expect("JSON");
        for name in ["Src_bucket", "Src_key", "Des_bucket", "Des_key", "versionId"] {
            assert!(job[name].is_string(), "{name}: {job}");
        }
        assert!(job["Size"].is_u64(), "{job}");
        assert!(job.get("Records").is_none() && job.get("Event").is_none(), "{job}");
        assert_eq!(job.as_object().expect("an object").len(), 6, "{job}");
    }
    // And those that it sends are taken here, also from before it knew versions.
    let old = json!({"Src_bucket": stage.source, "Src_key": "small", "Des_bucket": stage.destination,
                     "Des_key": "moved/small", "Size": 100});
    stage.send(&old.to_string()).await;
    for body in messages.iter().filter(|body| !body.contains("\"small\"")) {
        stage.send(body).await;
    }
    let mut worker = stage.worker(&[]);
    stage.until_done(4).await;
    worker.terminate().await;
    assert_eq!(worker.ended().await.code(), Some(0), "{}", worker.log());
}

/// Its worker adds to sets; on a record that was begun here DynamoDB refuses that, its worker logs an
/// error and moves the object all the same. The record stays as it was.
#[tokio::test]
async fn its_worker_does_not_spoil_a_record_of_ours() {
    let stage = Stage::put(5).await;
    stage.put_source("k", &noise(100, 1)).await;
    assert_eq!(stage.run(&["jobsender"]).await.code, Some(0));
    let mut worker = stage.worker(&[]);
    stage.until_done(1).await;
    worker.terminate().await;
    worker.ended().await;
    let before = stage.record("k").await;
    let client = aws_sdk_dynamodb::Client::new(&stage.a);
    let added = client
        .update_item()
        .table_name(&stage.table)
        .key("Key", text(&format!("{}/k", stage.source)))
        .update_expression("ADD instanceID :id, tryTimes :t SET lastTimeProgress = :p")
        .expression_attribute_values(":id", set(&["i-0123"]))
        .expression_attribute_values(":t", number(1))
        .expression_attribute_values(":p", number(0));
    let refused = added.send().await.expect_err("the types do not match");
    assert!(format!("{refused:?}").contains("ValidationException"), "{refused:?}");
    assert_eq!(stage.record("k").await, before);
}
