//! `cleanup`: the uploads that a killed run left, those that somebody else began, and those in use.

use std::sync::Arc;

use serde_json::Value;

use testkit::gate::Hold;
use testkit::local::{ALL, BUCKETS, Local, MIB, noise};
use testkit::process::until;

const NOW: &[&str] = &["--abort", "--older-than", "0s"];

async fn cleanup(local: &Local, arguments: &[&str]) -> Value {
    let arguments = [&["cleanup", "--json"], arguments].concat();
    local.run(&arguments).await.with_status(0).json()
}

fn upload<'a>(found: &'a Value, key: &str) -> &'a Value {
    let uploads = found["uploads"].as_array().unwrap();
    uploads.iter().find(|one| one["key"] == key).unwrap_or_else(|| panic!("no {key} in {found}"))
}

/// An upload with one part that this system did not begin.
async fn foreign(local: &Local, key: &str) {
    let client = &local.destination.client;
    let create = client.create_multipart_upload().bucket(BUCKETS[1]).key(key);
    let id = create.send().await.unwrap().upload_id.unwrap();
    let part = client.upload_part().bucket(BUCKETS[1]).key(key).upload_id(id).part_number(1);
    part.body(noise(MIB, 9).into()).send().await.unwrap();
}

/// Promises 7, 8.
#[tokio::test]
async fn what_a_killed_run_left_is_aborted_and_what_is_held_or_foreign_is_not() {
    let gate = Hold::new("UploadPart", 2);
    let mut local = Local::gated(Some(Arc::clone(&gate))).await;
    local.set("MaxThread", "1");
    local.set("VisibilityTimeout", "10");
    local.write("prices.json", include_str!("../../prices.json"));
    let nowhere = local.run(&["cleanup"]).await.with_status(3);
    nowhere.says(&["no AWS credentials", "there is no s3_migration.sqlite of a run here either"]);
    local.source.put("large", noise(4 * 5 * MIB, 1)).await;
    let run = local.spawn(&["run", ALL[0], ALL[1]]);
    gate.reached().await;
    gate.forget();
    foreign(&local, "theirs\u{202e}").await;

    // The run goes on: its upload is in use, however young or old it may be.
    let found = cleanup(&local, NOW).await;
    let (own, theirs) = (upload(&found, "large"), upload(&found, "theirs\u{202e}"));
    assert_eq!((&own["state"], &own["outcome"]), (&"held".into(), &"held".into()), "{found}");
    assert_eq!((&theirs["state"], &theirs["outcome"]), (&"unknown".into(), &"unknown".into()));
    assert_eq!(theirs["bytes"], MIB as u64);
    run.kill().await;

    // Nobody holds it any more once the lease of the killed run has ended.
    until("the end of the lease", async || {
        upload(&cleanup(&local, &[]).await, "large")["state"] == "waiting"
    })
    .await;
    let young = cleanup(&local, &["--abort"]).await;
    assert_eq!(upload(&young, "large")["outcome"], "young", "{young}");
    assert_eq!(
        (&young["totals"]["young"], &young["totals"]["aborted"]["uploads"]),
        (&1.into(), &0.into())
    );
    let priced = cleanup(&local, &["--prices", "prices.json"]).await;
    let own = upload(&priced, "large");
    let bytes = own["bytes"].as_u64().unwrap();
    assert!(bytes >= 5 * MIB as u64 && own["age_seconds"].is_u64(), "{priced}");
    let monthly = own["per_month"].as_f64().unwrap();
    assert!((monthly - 0.023 * bytes as f64 / (1 << 30) as f64).abs() < 1e-9, "{priced}");
    assert_eq!(upload(&cleanup(&local, &[]).await, "large")["per_month"], Value::Null);
    let told = local.run(&["cleanup"]).await.with_status(0).stdout;
    for words in [
        "begun by this system: 1 upload, ",
        "unknown to it, left: 1 upload, 1.0 MiB",
        "waiting   listed",
    ] {
        assert!(told.contains(words), "no {words:?} in {told}");
    }
    assert!(told.contains("s3://to-there/theirs\\u{202e} "), "{told}");

    let elsewhere = [&[ALL[0], "s3://to-there/other"], NOW].concat();
    assert_eq!(cleanup(&local, &elsewhere).await["uploads"], Value::Array(Vec::new()));
    let done = cleanup(&local, NOW).await;
    assert_eq!(upload(&done, "large")["outcome"], "aborted", "{done}");
    assert_eq!(done["totals"]["aborted"]["bytes"], bytes);
    assert_eq!(local.destination.uploads().await, 1, "only theirs");
    assert_eq!(cleanup(&local, NOW).await["totals"]["known"]["uploads"], 0);

    // A run after that sends all parts again.
    let ended = local.migrate().await.with_status(0);
    assert!(local.destination.get("large").await == noise(4 * 5 * MIB, 1), "{}", ended.all());
    assert_eq!(local.destination.uploads().await, 1);
}
