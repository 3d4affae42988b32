//! The binary as a function under AWS's own runtime interface emulator, which starts it as Lambda does.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Case, Outcome};
use crate::servers::Daemon;
use crate::tools::{self, Missing};
use testkit::lambda::event;
use testkit::ministack::ACCOUNT_A;
use testkit::process::binary;
use testkit::stage::{MIB, Stage, noise};

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![
        Case::new("lambda::worker", worker),
        Case::new("lambda::jobsender", jobsender),
        Case::new("lambda::a_wrong_environment", a_wrong_environment),
    ]
}

/// The emulator around a function with this handler.
fn emulator(stage: &Stage, handler: &str, settings: &[(&str, &str)]) -> Result<Daemon, Missing> {
    let program = tools::lambda_rie()?;
    let mut environment: Vec<(String, String)> = Vec::new();
    let services = stage.server.environment(ACCOUNT_A);
    for (name, value) in services.into_iter().chain(stage.function_environment()) {
        environment.push((name.to_owned(), value));
    }
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    environment.extend(settings);
    Ok(Daemon::start("aws-lambda-rie", |address, _| {
        let arguments: Vec<OsString> = vec![
            program.clone().into(),
            "--runtime-interface-emulator-address".into(),
            address.to_string().into(),
            "--runtime-api-address".into(),
            free_address().to_string().into(),
            binary().into(),
            handler.into(),
        ];
        (arguments, environment.clone())
    }))
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address")
}

/// Invokes the function; returns the whole HTTP answer.
async fn asked(emulator: &Daemon, event: &Value) -> String {
    let body = event.to_string();
    let request = format!(
        "POST /2015-03-31/functions/function/invocations HTTP/1.1\r\nHost: {}\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        emulator.address,
        body.len()
    );
    let mut stream = TcpStream::connect(emulator.address).await.expect("the emulator listens");
    stream.write_all(request.as_bytes()).await.expect("the request is taken");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    text
}

/// Invokes the function; returns its answer, or the error that the emulator reports.
async fn invoke(emulator: &Daemon, event: &Value) -> Value {
    let text = asked(emulator, event).await;
    let begin = text.find(['{', '[']).unwrap_or_else(|| panic!("no JSON: {text}"));
    let mut values = serde_json::Deserializer::from_str(&text[begin..]).into_iter();
    values.next().expect("an answer").unwrap_or_else(|error| panic!("{error}: {text}"))
}

async fn worker() -> Outcome {
    let stage = Stage::put(5).await;
    let body = noise(12 * MIB, 1);
    let emulator = emulator(&stage, "worker", &[])?;
    // The second invocation is of the same process.
    for key in ["first", "second"] {
        stage.put_source(key, &body).await;
        let job = json!({"Src_bucket": stage.source, "Src_key": key, "Size": body.len(),
            "versionId": "null", "Des_bucket": stage.destination, "Des_key": key});
        stage.send(&job.to_string()).await;
        stage.send("nonsense").await;
        let mut messages = stage.polled(10).await;
        while messages.len() < 2 {
            messages.extend(stage.polled(10).await);
        }
        let answer = invoke(&emulator, &event(&messages)).await;
        let failures = answer["batchItemFailures"].as_array().map(Vec::len);
        assert!(failures == Some(1), "the nonsense comes again: {answer}");
        assert!(stage.arrived(key).await.is_some_and(|arrived| arrived == body), "{key}");
        assert_eq!(stage.record(key).await["jobStatus"], "DONE");
        // What came again is of no interest to the next round.
        while stage.depth().await != (0, 0) {
            stage.take().await;
        }
    }
    Ok(())
}

async fn jobsender() -> Outcome {
    let stage = Stage::put(5).await;
    stage.put_source("object", b"object").await;
    let emulator = emulator(&stage, "jobsender", &[])?;
    let answer = invoke(&emulator, &json!({"detail-type": "Scheduled Event"})).await;
    assert_eq!(answer["state"], "compared", "{answer}");
    assert_eq!(answer["pairs"][0]["sent"], 1, "{answer}");
    assert_eq!(stage.depth().await, (1, 0));
    Ok(())
}

async fn a_wrong_environment() -> Outcome {
    let stage = Stage::put(5).await;
    let emulator = emulator(&stage, "worker", &[("MaxThreads", "5")])?;
    // The runtime ends before it asks for an event; what the emulator makes of that is its own.
    let answer = asked(&emulator, &json!({})).await;
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    let said = "environment variable MaxThreads: is no key; perhaps MaxThread is meant";
    testkit::process::until(said, async || emulator.log().contains(said)).await;
    Ok(())
}
