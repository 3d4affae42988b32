//! The jobsender function: the binary as Lambda's bootstrap, on a schedule or when it is called.

use std::time::Duration;

use aws_sdk_ssm::types::ParameterType;
use serde_json::{Value, json};
use testkit::lambda::{Function, LONGEST};
use testkit::proxy::{Fault, Proxy, Rule};
use testkit::resources;
use testkit::stage::{Stage, noise};

const OBJECTS: u64 = 12;

/// What EventBridge sends by schedule.
fn scheduled() -> Value {
    json!({"version": "0", "id": "i", "detail-type": "Scheduled Event", "source": "aws.events",
           "account": "111111111111", "time": "2026-01-01T00:00:00Z", "region": "us-east-1",
           "resources": ["arn:aws:events:us-east-1:111111111111:rule/hourly"], "detail": {}})
}

/// A stage whose source has objects in as many folders.
async fn stage() -> Stage {
    let stage = Stage::put(5).await;
    for n in 0..OBJECTS {
        stage.put_source(&format!("{n:02}/object"), &noise(100, n)).await;
    }
    stage
}

async fn compared(function: &Function) -> Value {
    function.invoke(&scheduled(), LONGEST).await.answer()
}

/// Promise 1.
#[tokio::test]
async fn it_compares_sends_and_closes() {
    let stage = stage().await;
    let function = stage.function("jobsender", &[("PackObjects", "1")]).await;
    let first = compared(&function).await;
    assert_eq!(first["state"], "compared", "{first}");
    let pair = &first["pairs"][0];
    assert_eq!((&pair["listed"], &pair["sent"]), (&OBJECTS.into(), &OBJECTS.into()), "{first}");
    assert_eq!(stage.depth().await, (OBJECTS, 0));
    // What is in the queue is not sent again.
    let second = compared(&function).await;
    let pair = &second["pairs"][0];
    assert_eq!((&pair["in_queue"], &pair["sent"]), (&OBJECTS.into(), &0.into()), "{second}");

    let worker = stage.function("worker", &[]).await;
    while stage.depth().await != (0, 0) {
        let messages = stage.polled(10).await;
        assert!(stage.bring(&worker, &messages, LONGEST).await.failures().is_empty());
    }
    let last = compared(&function).await;
    let pair = &last["pairs"][0];
    assert_eq!((&pair["already_there"], &pair["sent"]), (&OBJECTS.into(), &0.into()), "{last}");
    let log = function.log().await;
    assert_eq!(log.matches("closing comparison: nothing is left to send").count(), 1, "{log}");
    assert_eq!(stage.status().await["done"], OBJECTS);
}

// Each pair of the list takes a while, so that they do not all fit into one invocation.
/// Promise 1.
#[tokio::test]
async fn a_comparison_that_does_not_fit_into_one_invocation_goes_on_in_the_next() {
    let stage = stage().await;
    let pairs: Vec<Value> = (0..OBJECTS)
        .map(|n| {
            json!({"src_bucket": stage.source, "src_prefix": format!("{n:02}/"),
                   "des_bucket": stage.destination, "des_prefix": "moved"})
        })
        .collect();
    let pairs = json!(pairs).to_string();
    let list = resources::parameter(&stage.a, ParameterType::String, &pairs).await;
    let source = Proxy::before(stage.server.address()).await;
    source.inject(1, vec![Rule::on("ListObjectsV2", Fault::Delay(Duration::from_millis(300)))]);
    let settings = [
        ("ssm_parameter_bucket", list.as_str()),
        ("Source_Endpoint", source.url()),
        ("PackObjects", "1"),
    ];
    let (mut invocations, mut listed) = (0, 0);
    let ended = loop {
        invocations += 1;
        // Another process each time: what is left is in the records, not in memory.
        let function = stage.function("jobsender", &settings).await;
        let event = if invocations == 1 { scheduled() } else { json!({"continue": true}) };
        let answer = function.invoke(&event, Duration::from_secs(6)).await.answer();
        if answer["state"] != "continues" {
            break answer;
        }
        let now = answer["listed"].as_u64().unwrap();
        assert!(now >= listed && now <= OBJECTS, "{answer}");
        listed = now;
    };
    assert_eq!(ended["state"], "compared", "{ended}");
    assert!(invocations > 1, "it took one invocation");
    let pairs = ended["pairs"].as_array().unwrap();
    assert_eq!(pairs.len() as u64, OBJECTS, "{ended}");
    assert!(pairs.iter().all(|pair| pair["listed"] == 1 && pair["sent"] == 1), "{ended}");
    assert_eq!(stage.depth().await, (OBJECTS, 0), "each was sent once");
    let function = stage.function("jobsender", &settings).await;
    let nothing = function.invoke(&json!({"continue": true}), LONGEST).await.answer();
    assert_eq!(nothing, json!({"state": "nothing to continue"}));
}

/// Promise 8.
#[tokio::test]
async fn two_at_a_time_do_no_harm_and_a_pause_is_obeyed() {
    let stage = stage().await;
    let source = Proxy::before(stage.server.address()).await;
    let held = source.inject(1, vec![Rule::on("ListObjectsV2", Fault::Hold)]);
    let first = stage.function("jobsender", &[("Source_Endpoint", source.url())]).await;
    let second = stage.function("jobsender", &[]).await;
    let event = scheduled();
    let meanwhile = async {
        held.held().await;
        let answer = compared(&second).await;
        assert_eq!(answer, json!({"state": "busy"}));
        source.heal();
    };
    let (compared_first, ()) = tokio::join!(first.invoke(&event, LONGEST), meanwhile);
    assert_eq!(compared_first.answer()["state"], "compared");
    assert_eq!(compared(&second).await["state"], "compared", "it is free again");

    assert_eq!(stage.run(&["pause"]).await.code, Some(0));
    let third = stage.function("jobsender", &[]).await;
    assert_eq!(compared(&third).await, json!({"state": "paused"}));
}
