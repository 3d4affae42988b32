//! The worker function: the binary as Lambda's bootstrap, on the queue and the table of a cluster.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::lambda::{Function, Invoked, LONGEST, event};
use testkit::proxy::{Fault, Outcome, Proxy, Rule};
use testkit::stage::{MIB, Stage, noise, until};

use crate::ledger::Ledger;

const PART: usize = 5 * MIB;

fn s3_event(stage: &Stage, key: &str, size: usize) -> Value {
    json!({"Records": [{"eventVersion": "2.1", "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": stage.source},
        "object": {"key": key, "size": size, "eTag": "e", "sequencer": "0"}}}]})
}

/// A job as the original's jobsender writes it.
fn job(stage: &Stage, key: &str, size: usize) -> Value {
    json!({"Src_bucket": stage.source, "Src_key": key, "Size": size, "versionId": "null",
           "Des_bucket": stage.destination, "Des_key": format!("moved/{key}")})
}

/// Promise 1.
#[tokio::test]
async fn every_form_of_message_is_carried_out_and_what_is_none_comes_again() {
    let stage = Stage::put(5).await;
    let keys = ["packed/1", "packed/2", "job", "an event +", "by sns", "by bridge"];
    for key in &keys[..2] {
        stage.put_source(key, key.as_bytes()).await;
    }
    assert_eq!(stage.run(&["jobsender"]).await.code, Some(0));
    assert_eq!(stage.depth().await, (1, 0), "both in one pack");
    for key in &keys[2..] {
        stage.put_source(key, key.as_bytes()).await;
    }
    let notification = s3_event(&stage, "by+sns", 6).to_string();
    let messages = [
        job(&stage, "job", 3),
        s3_event(&stage, "an+event+%2B", 10),
        json!({"Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:::t",
               "Message": notification}),
        json!({"version": "0", "id": "i", "detail-type": "Object Created", "source": "aws.s3",
               "detail": {"version": "0", "bucket": {"name": stage.source}, "reason": "PutObject",
                          "object": {"key": "by bridge", "size": 9, "etag": "e",
                                     "sequencer": "0"}}}),
        json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": stage.source}),
        json!({"this": "is no job"}),
    ];
    for message in &messages {
        stage.send(&message.to_string()).await;
    }
    let function = stage.function("worker", &[]).await;
    let mut batch = Vec::new();
    while batch.len() < 7 {
        batch.extend(stage.polled(10).await);
    }
    let failures = stage.bring(&function, &batch, LONGEST).await.failures();
    let [failure] = &failures[..] else { panic!("{failures:?}") };
    let nonsense = event(&batch)["Records"].as_array().unwrap().iter().find_map(|record| {
        let is_it = record["body"].as_str().unwrap().contains("is no job");
        is_it.then(|| record["messageId"].as_str().unwrap().to_owned())
    });
    assert_eq!(Some(failure), nonsense.as_ref());
    for key in keys {
        let arrived = stage.arrived(&format!("moved/{key}")).await;
        assert_eq!(arrived.as_deref(), Some(key.as_bytes()), "{key}");
    }
    assert_eq!(stage.records("DONE").await.len(), keys.len());
    let instance = stage.record("job").await["instanceID"].as_str().unwrap().to_owned();
    assert!(instance.starts_with("lambda-"), "{instance}");

    // It is received a few more times, by the same process, and then becomes a dead letter.
    let mut receives = 1;
    let letter = async {
        loop {
            let again = stage.polled(10).await;
            receives = receives.max(again[0].receives);
            stage.bring(&function, &again, LONGEST).await.failures();
        }
    };
    tokio::select! {
        never = letter => never,
        (body, _) = stage.dead_letter() => assert!(body.contains("is no job"), "{body}"),
    }
    assert_eq!(receives, 5);
}

/// Promise 1.
#[tokio::test]
async fn in_a_batch_each_message_ends_by_itself() {
    let stage = Stage::put(5).await;
    let large = noise(2 * PART, 7);
    stage.put_source("small", b"small").await;
    stage.put_source("large", &large).await;
    for (key, size) in [("small", 5), ("absent", 5), ("large", large.len())] {
        stage.send(&job(&stage, key, size).to_string()).await;
    }
    stage.send("nonsense").await;
    let mut batch = Vec::new();
    while batch.len() < 4 {
        batch.extend(stage.polled(10).await);
    }
    let function = stage.function("worker", &[("LogInterval", "3600")]).await;
    let failures = stage.bring(&function, &batch, LONGEST).await.failures();
    assert_eq!(failures.len(), 1, "the nonsense: {failures:?}");
    assert_eq!(stage.arrived("moved/small").await.as_deref(), Some(&b"small"[..]));
    assert!(stage.arrived("moved/large").await.is_some_and(|arrived| arrived == large));
    assert_eq!(stage.record("absent").await["jobStatus"], "FAILED");
    let (letter, reason) = stage.dead_letter().await;
    assert!(letter.contains("absent") && reason.is_some(), "{letter}");
    let log = function.log().await;
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("--->Complete")).collect();
    let [line] = lines[..] else { panic!("{log}") };
    let words: Vec<&str> = line.split(' ').collect();
    // The words that the original's metric filters count: level, time, request, what, bytes, key.
    assert!(words[2].starts_with("request-"), "{line}");
    assert_eq!(words[3..5], ["--->Complete", &(large.len() + 5).to_string()], "{line}");
}

/// Promise 7.
#[tokio::test]
async fn an_object_that_needs_ten_lives_sends_no_part_twice_and_uses_up_no_receipt() {
    const PARTS: usize = 11;
    let stage = Stage::put(2).await;
    let body = noise(PARTS * PART, 8);
    stage.put_source("large", &body).await;
    stage.send(&job(&stage, "large", body.len()).to_string()).await;
    let destination = Proxy::before(stage.server.address()).await;
    let endpoint = ("Destination_Endpoint", destination.url());
    let (mut lives, mut function) = (0, None::<Function>);
    while stage.arrived("moved/large").await.is_none() {
        let messages = stage.polled(1).await;
        lives += 1;
        // Every third process is new; the others have been used before.
        let running = match function.take().filter(|_| lives % 3 != 0) {
            Some(running) => running,
            None => stage.function("worker", &[endpoint, ("MaxThread", "1")]).await,
        };
        // One part passes in this life, the next one is on its way at its end.
        let there = stage.parts().await.len() as u32;
        let held = Rule::on("UploadPart", Fault::Hold).part(there + 2);
        destination.inject(1, vec![held]);
        let failures = stage.bring(&running, &messages, Duration::from_secs(6)).await.failures();
        // A life that gained a part has sent the job on as a new message.
        let has_gained = stage.parts().await.len() as u32 > there;
        destination.heal();
        assert!(failures.is_empty() || !has_gained, "life {lives}: {failures:?}");
        function = Some(running);
    }
    assert!((10..20).contains(&lives), "{lives} lives");
    assert!(stage.arrived("moved/large").await.is_some_and(|arrived| arrived == body));
    assert_eq!(stage.depth().await, (0, 0));
    for part in 1..=PARTS as u32 {
        let sent = destination.seen().into_iter().filter(|seen| seen.call.part == Some(part));
        let taken = sent.filter(|seen| matches!(seen.outcome, Outcome::Status(200))).count();
        assert_eq!(taken, 1, "part {part}");
    }
    assert_eq!(stage.record("large").await["jobStatus"], "DONE");
    assert_eq!(stage.status().await["dead"], 0);
}

// The queue hides a function's message for 15 minutes, and this test does not wait for that long.
/// Promise 7.
#[tokio::test]
async fn a_cluster_worker_takes_over_from_a_function_that_died() {
    let stage = Stage::put(5).await;
    let body = noise(4 * PART, 9);
    stage.put_source("large", &body).await;
    stage.send(&job(&stage, "large", body.len()).to_string()).await;
    let destination = Proxy::before(stage.server.address()).await;
    destination.inject(1, vec![Rule::on("UploadPart", Fault::Hold).part(3)]);
    let lease = ("VisibilityTimeout", "10");
    let settings = [lease, ("MaxThread", "1"), ("Destination_Endpoint", destination.url())];
    let function = stage.function("worker", &settings).await;
    let messages = stage.polled(1).await;
    let struck = async {
        until("two parts are there", async || (stage.parts().await.len() == 2).then_some(())).await;
        function.strike();
    };
    let batch = event(&messages);
    let (invoked, ()) = tokio::join!(function.invoke(&batch, LONGEST), struck);
    assert_eq!(invoked, Invoked::Ended(None));
    destination.heal();
    let worker = stage.worker(&[lease]);
    stage.until_done(1).await;
    worker.until_logged("continues an upload begun earlier").await;
    assert!(stage.arrived("moved/large").await.is_some_and(|arrived| arrived == body));
}

// As the worker that Lambda's poller has taken the message from would have waited for 15 minutes.
/// Promise 7.
#[tokio::test]
async fn a_function_takes_over_from_a_cluster_worker_that_died() {
    let stage = Stage::put(5).await;
    let body = noise(3 * PART, 10);
    stage.put_source("large", &body).await;
    stage.set_visibility(900).await;
    stage.send(&job(&stage, "large", body.len()).to_string()).await;
    let destination = Proxy::before(stage.server.address()).await;
    destination.inject(1, vec![Rule::on("UploadPart", Fault::Hold).part(2)]);
    let lease = ("VisibilityTimeout", "10");
    let settings = [lease, ("MaxThread", "1"), ("Destination_Endpoint", destination.url())];
    let worker = stage.worker(&settings);
    until("a part is there", async || (stage.parts().await.len() == 1).then_some(())).await;
    drop(worker);
    destination.heal();
    let function = stage.function("worker", &[lease]).await;
    let messages = stage.polled(1).await;
    assert_eq!(messages[0].receives, 2);
    assert!(stage.bring(&function, &messages, LONGEST).await.failures().is_empty());
    assert!(stage.arrived("moved/large").await.is_some_and(|arrived| arrived == body));
    assert!(function.log().await.contains("continues an upload begun earlier"));
}

/// Promise 7.
#[tokio::test]
async fn a_thawed_function_goes_on_though_its_connections_are_dead() {
    let stage = Stage::put(5).await;
    let proxy = Proxy::before(stage.server.address()).await;
    let function = stage.function("worker", &[("AWS_ENDPOINT_URL", proxy.url())]).await;
    for (invocation, key) in ["first", "second"].into_iter().enumerate() {
        stage.put_source(key, key.as_bytes()).await;
        stage.send(&job(&stage, key, key.len()).to_string()).await;
        let messages = stage.polled(1).await;
        let meanwhile = async {
            if invocation > 0 {
                function.thaw();
                // It has tried a new connection, so the old ones are known to be dead.
                proxy.refused(1).await;
                proxy.come_back();
            }
        };
        if invocation > 0 {
            function.until_asked(2).await;
            function.freeze();
            proxy.go_out();
        }
        let (invoked, ()) = tokio::join!(stage.bring(&function, &messages, LONGEST), meanwhile);
        let failures = invoked.failures();
        assert!(failures.is_empty(), "{failures:?}");
        let arrived = stage.arrived(&format!("moved/{key}")).await;
        assert_eq!(arrived.as_deref(), Some(key.as_bytes()));
    }
    let log = function.log().await;
    assert_eq!(log.matches("worker function ready").count(), 1, "it is set up once: {log}");
}

/// Promise 9.
#[tokio::test]
async fn a_paused_fleet_puts_messages_off() {
    let stage = Stage::put(5).await;
    stage.put_source("object", b"object").await;
    stage.send(&job(&stage, "object", 6).to_string()).await;
    let function = stage.function("worker", &[]).await;
    let messages = stage.polled(1).await;
    assert!(stage.bring(&function, &messages, LONGEST).await.failures().is_empty());
    assert_eq!(stage.run(&["pause"]).await.code, Some(0));
    // It has just looked, and looks again when that is due, however short its invocations are.
    let (paused, message) = loop {
        stage.send(&job(&stage, "object", 6).to_string()).await;
        let messages = stage.polled(1).await;
        let failures = stage.bring(&function, &messages, LONGEST).await.failures();
        if !failures.is_empty() {
            break (failures, messages[0].id.clone());
        }
    };
    assert_eq!(paused, [message]);
    assert_eq!(stage.depth().await, (0, 1), "it rests");
    assert!(function.log().await.contains("paused: the command pause"));
    // A new process learns of it before it begins.
    let other = stage.function("worker", &[]).await;
    stage.put_source("later", b"later").await;
    stage.send(&job(&stage, "later", 5).to_string()).await;
    let messages = stage.polled(1).await;
    assert_eq!(stage.bring(&other, &messages, LONGEST).await.failures().len(), 1);
    assert_eq!(stage.arrived("moved/later").await, None, "a paused fleet has copied something");
}

// What the first invocation needs is set up by it: nothing outside is asked before.
#[tokio::test]
async fn a_function_asks_for_its_first_invocation_at_once() {
    let stage = Stage::put(5).await;
    let ledger = Ledger::before(stage.server.address()).await;
    let mut times = Vec::new();
    for _ in 0..9 {
        let began = std::time::Instant::now();
        let function = stage.function("worker", &[("AWS_ENDPOINT_URL", ledger.url())]).await;
        function.until_asked(1).await;
        times.push(began.elapsed().as_millis());
    }
    times.sort_unstable();
    // docs/serverless.md has the figure of an optimised build.
    println!("from the start of the process to its first request, in ms: {times:?}");
    assert!(ledger.counts().is_empty(), "{:?}", ledger.counts());
}

#[tokio::test]
async fn what_the_environment_says_wrongly_is_named() {
    let stage = Stage::put(5).await;
    let ignored = [("checkip_url", "https://checkip.example"), ("aws_secret_access_key", "sEcReT")];
    let function = stage.function("worker", &ignored).await;
    stage.put_source("object", b"1").await;
    stage.send(&job(&stage, "object", 1).to_string()).await;
    let messages = stage.polled(1).await;
    assert!(stage.bring(&function, &messages, LONGEST).await.failures().is_empty());
    let log = function.log().await;
    assert_eq!(log.matches("checkip_url has no meaning here").count(), 1, "{log}");
    assert!(log.contains("ssm_parameter_credentials names") && !log.contains("sEcReT"), "{log}");

    for (handler, settings, wanted) in [
        ("lambda_function.lambda_handler", vec![], "allowed: jobsender, worker"),
        ("worker", vec![("MaxThreads", "5")], "perhaps MaxThread is meant"),
        ("worker", vec![("JobType", "COPY")], "JobType"),
    ] {
        let (code, log) = stage.function(handler, &settings).await.ended().await;
        assert_eq!(code, Some(2), "{log}");
        assert!(log.contains(wanted), "{log}");
    }

    // The queue of the event is another one than the one that is named.
    let function = stage.function("worker", &[("sqs_queue", "another")]).await;
    let invoked = function.invoke(&event(&messages), LONGEST).await;
    let Invoked::Error(error) = invoked else { panic!("{invoked:?}") };
    let message = error["errorMessage"].as_str().unwrap();
    assert!(message.contains("but sqs_queue names another"), "{message}");
    let invoked = function.invoke(&json!({"source": "aws.events"}), LONGEST).await;
    let Invoked::Error(error) = invoked else { panic!("{invoked:?}") };
    let message = error["errorMessage"].as_str().unwrap();
    assert!(message.contains("takes the events of an SQS queue"), "{message}");
}
