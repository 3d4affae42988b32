//! The three version switches on a source that keeps versions: each situation that PRODUCT's table
//! and SEMANTICS name.

use serde_json::{Value, json};

use crate::bench::LARGE;
use crate::cloud::Cloud;
use testkit::proxy::{Fault, Rule};
use testkit::resources::{s3, set_versioning};
use testkit::stage::{Stage, noise, ran};

/// The switches of each situation.
const EVENTS: (&str, &str) = ("GetObjectWithVersionId", "True");
const UPDATE: (&str, &str) = ("UpdateVersionId", "True");
const COMPARE: (&str, &str) = ("JobsenderCompareVersionId", "True");
/// The shortest time that a dead worker's message stays hidden.
const SHORT: (&str, &str) = ("VisibilityTimeout", "10");

/// Objects of these sizes in a source that keeps versions.
async fn versioned(sizes: &[usize]) -> Cloud {
    let mut cloud = Cloud::of(&[]).await;
    set_versioning(&s3(cloud.stage.at_source()), &cloud.stage.source, true).await;
    for (n, size) in (0..).zip(sizes) {
        let key = format!("object/{n:02}");
        cloud.stage.put_source(&key, &noise(*size, n)).await;
        cloud.objects.insert(key, noise(*size, n));
    }
    cloud
}

/// Another content of the same size for this object, as its new current version.
async fn replace(cloud: &mut Cloud, key: &str) {
    let size = cloud.objects[key].len();
    let body = noise(size, 1000 + size as u64);
    cloud.stage.put_source(key, &body).await;
    cloud.objects.insert(key.to_owned(), body);
}

/// The current version of an object at the source.
async fn version(stage: &Stage, key: &str) -> String {
    let head = s3(stage.at_source()).head_object().bucket(&stage.source).key(key).send().await;
    head.expect("HeadObject").version_id.expect("a version")
}

/// A jobsender that compares versions; what it found.
async fn compare(stage: &Stage, args: &[&str]) -> Value {
    let mut program = stage.program(&[&["jobsender", "--json"], args].concat());
    program.env(COMPARE.0, COMPARE.1);
    let ran = ran(program).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let found: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    found[0].clone()
}

// An event names a version: that one is fetched, by whoever goes on with it too, although it has
// long been replaced.
/// Promise 2.
#[tokio::test]
async fn an_event_fetches_the_version_it_names_also_after_a_resume() {
    let mut cloud = versioned(&[1000, LARGE]).await;
    let (keys, first) = (["object/00", "object/01"], cloud.objects.clone());
    let mut versions = Vec::new();
    for key in keys {
        versions.push(version(&cloud.stage, key).await);
        replace(&mut cloud, key).await;
        let event = json!({"Records": [{
            "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": cloud.stage.source},
                   "object": {"key": key, "size": first[key].len(), "versionId": versions.last(),
                              "sequencer": "0"}}}]});
        cloud.stage.send(&event.to_string()).await;
    }
    let rule = Rule::on("UploadPart", Fault::Hold).part(3);
    let held = cloud.destination.inject(1, vec![rule]);
    let killed = cloud.worker(&[EVENTS, SHORT]);
    held.held().await;
    drop(killed);
    held.drop_held();
    held.end();
    let _second = cloud.worker(&[EVENTS, SHORT]);
    cloud.stage.until_done(2).await;
    for (key, version) in keys.iter().zip(&versions) {
        let arrived = cloud.stage.arrived(&format!("moved/{key}")).await;
        assert!(arrived.as_ref() == Some(&first[*key]), "{key} is not the version of the event");
        assert_eq!(cloud.stage.record(key).await["versionId"], **version);
    }
    assert_eq!(cloud.uploads().await, 0);
}

// Events come late, twice and in any order: an older version never overwrites a newer one.
/// Promise 2.
#[tokio::test]
async fn an_older_event_leaves_a_newer_version_as_it_is() {
    let mut cloud = versioned(&[1000, LARGE]).await;
    let keys = ["object/00", "object/01"];
    let mut older = Vec::new();
    for key in keys {
        let version = Some(version(&cloud.stage, key).await);
        older.push(s3_migration::job::Job { version, ..cloud.job(key) }.to_message());
        replace(&mut cloud, key).await;
    }
    let _worker = cloud.worker(&[EVENTS]);
    for key in keys {
        let version = Some(version(&cloud.stage, key).await);
        let newer = s3_migration::job::Job { version, ..cloud.job(key) };
        cloud.stage.send(&newer.to_message()).await;
    }
    cloud.stage.until_done(2).await;
    let written = cloud.destination.calls("PutObject") + cloud.destination.calls("UploadPart");
    for message in &older {
        cloud.stage.send(message).await;
    }
    cloud.assert_finished().await;
    let now = cloud.destination.calls("PutObject") + cloud.destination.calls("UploadPart");
    assert_eq!(now, written, "nothing is written again");
    for key in keys {
        let version = version(&cloud.stage, key).await;
        assert_eq!(cloud.stage.record(key).await["versionId"], version, "{key}");
    }
}

// Integrity: the job has no version, the worker looks it up, reads that very one to its end, finds
// that another one is current by then, and copies that.
/// Promise 2.
#[tokio::test]
async fn an_object_replaced_during_its_copy_is_copied_again_in_its_new_version() {
    let mut cloud = versioned(&[1000, LARGE]).await;
    let rules = vec![
        Rule::on("PutObject", Fault::Hold).once(),
        Rule::on("UploadPart", Fault::Hold).part(2).once(),
    ];
    let held = cloud.destination.inject(1, rules);
    cloud.send().await;
    let _worker = cloud.worker(&[UPDATE, EVENTS]);
    held.held_at_least(2).await;
    for key in ["object/00", "object/01"] {
        replace(&mut cloud, key).await;
    }
    held.let_go();
    cloud.assert_finished().await;
    assert_eq!(cloud.destination.calls("PutObject"), 2);
    assert_eq!(cloud.destination.calls("UploadPart"), 6);
    for key in ["object/00", "object/01"] {
        let version = version(&cloud.stage, key).await;
        assert_eq!(cloud.stage.record(key).await["versionId"], version, "{key}");
    }
}

// The same if versions may not be read by their id: what is current is read, pinned by its ETag.
/// Promise 2.
#[tokio::test]
async fn a_version_that_is_only_looked_up_is_checked_at_the_end_too() {
    let mut cloud = versioned(&[LARGE]).await;
    let rule = Rule::on("CompleteMultipartUpload", Fault::Hold).once();
    let held = cloud.destination.inject(1, vec![rule]);
    cloud.send().await;
    let _worker = cloud.worker(&[UPDATE]);
    held.held().await;
    replace(&mut cloud, "object/00").await;
    held.let_go();
    cloud.assert_finished().await;
    assert_eq!(cloud.destination.calls("CompleteMultipartUpload"), 2);
}

// Integrity and consistency: a replacement of the same size is found by its version, the job
// carries it, and what is deleted is no object.
/// Promise 2.
#[tokio::test]
async fn a_comparison_of_versions_finds_what_sizes_do_not_tell() {
    let mut cloud = versioned(&[1000, LARGE, 20, 30, 0]).await;
    let found = compare(&cloud.stage, &[]).await;
    assert_eq!((&found["to_copy"], &found["version_differs"]), (&5.into(), &0.into()), "{found}");
    let worker = cloud.worker(&[EVENTS]);
    cloud.stage.until_done(5).await;
    let found = compare(&cloud.stage, &[]).await;
    assert_eq!((&found["to_copy"], &found["already_there"]), (&0.into(), &5.into()), "{found}");
    worker.terminate().await;

    replace(&mut cloud, "object/00").await;
    replace(&mut cloud, "object/01").await;
    let client = s3(cloud.stage.at_source());
    let delete = client.delete_object().bucket(&cloud.stage.source).key("object/02");
    delete.send().await.expect("DeleteObject");
    // There already, and on no record: nobody knows what was copied.
    cloud.stage.put_source("unknown", b"body").await;
    let put = s3(cloud.stage.at_destination()).put_object().bucket(&cloud.stage.destination);
    put.key("moved/unknown").body(b"else".to_vec().into()).send().await.expect("PutObject");
    cloud.objects.insert("unknown".to_owned(), b"body".to_vec());

    let by_size = cloud.stage.run(&["jobsender", "--dry-run", "--json"]).await;
    let by_size: Value = serde_json::from_str(&by_size.stdout).expect("JSON");
    assert_eq!((&by_size[0]["listed"], &by_size[0]["to_copy"]), (&5.into(), &0.into()));
    let found = compare(&cloud.stage, &[]).await;
    let accounts = ["listed", "to_copy", "version_differs", "already_there", "only_at_destination"]
        .map(|name| found[name].as_u64());
    assert_eq!(accounts, [5, 3, 3, 2, 1].map(Some), "{found}");

    let _worker = cloud.worker(&[EVENTS]);
    cloud.stage.until_done(6).await;
    for key in ["object/00", "object/01", "unknown"] {
        let arrived = cloud.stage.arrived(&format!("moved/{key}")).await;
        assert!(arrived.as_ref() == Some(&cloud.objects[key]), "{key}");
        let version = version(&cloud.stage, key).await;
        assert_eq!(cloud.stage.record(key).await["versionId"], version, "{key}");
    }
    let found = compare(&cloud.stage, &[]).await;
    assert_eq!((&found["to_copy"], &found["already_there"]), (&0.into(), &5.into()), "{found}");
}

// The job of a comparison names the version that was listed, and that one is copied although
// another one is current by then; the next comparison finds the new one.
/// Promise 2.
#[tokio::test]
async fn a_job_carries_the_version_that_was_listed() {
    let mut cloud = versioned(&[1000, LARGE]).await;
    let (keys, first) = (["object/00", "object/01"], cloud.objects.clone());
    compare(&cloud.stage, &[]).await;
    let mut listed = Vec::new();
    for key in keys {
        listed.push(version(&cloud.stage, key).await);
        replace(&mut cloud, key).await;
    }
    let _worker = cloud.worker(&[EVENTS]);
    cloud.stage.until_done(2).await;
    for (key, version) in keys.iter().zip(&listed) {
        let arrived = cloud.stage.arrived(&format!("moved/{key}")).await;
        assert!(arrived.as_ref() == Some(&first[*key]), "{key} is not the version listed");
        assert_eq!(cloud.stage.record(key).await["versionId"], **version);
    }
    assert_eq!(compare(&cloud.stage, &[]).await["version_differs"], 2);
}

// Versions that were suspended: the null version is whatever was written last, so its ETag tells.
/// Promise 2.
#[tokio::test]
async fn a_null_version_that_was_replaced_is_found_by_its_etag() {
    let mut cloud = versioned(&[]).await;
    set_versioning(&s3(cloud.stage.at_source()), &cloud.stage.source, false).await;
    for (key, size) in [("small", 10), ("large", LARGE)] {
        cloud.stage.put_source(key, &noise(size, 5)).await;
        cloud.objects.insert(key.to_owned(), noise(size, 5));
    }
    compare(&cloud.stage, &[]).await;
    let _worker = cloud.worker(&[EVENTS]);
    cloud.assert_finished().await;
    assert_eq!(compare(&cloud.stage, &[]).await["already_there"], 2);
    for key in ["small", "large"] {
        assert_eq!(cloud.stage.record(key).await["versionId"], "null");
        replace(&mut cloud, key).await;
    }
    let found = compare(&cloud.stage, &[]).await;
    assert_eq!((&found["to_copy"], &found["version_differs"]), (&2.into(), &2.into()), "{found}");
    cloud.assert_finished().await;
}

/// Promise 2.
#[tokio::test]
async fn a_version_that_is_a_delete_marker_is_no_object() {
    let cloud = versioned(&[10, LARGE]).await;
    let client = s3(cloud.stage.at_source());
    for key in cloud.objects.keys() {
        let delete = client.delete_object().bucket(&cloud.stage.source).key(key);
        let marker = delete.send().await.expect("DeleteObject").version_id;
        let job = s3_migration::job::Job { version: marker, ..cloud.job(key) };
        cloud.stage.send(&job.to_message()).await;
    }
    let _worker = cloud.worker(&[EVENTS]);
    for _ in 0..2 {
        let (_, reason) = cloud.stage.dead_letter().await;
        assert!(reason.is_some_and(|reason| reason.contains("delete marker")));
    }
    assert_eq!(cloud.stage.arrived_keys().await, [""; 0]);
    assert_eq!(cloud.stage.records("FAILED").await.len(), 2);
}

// One process with its own records compares versions by them, at the start and in the end.
/// Promise 2.
#[tokio::test]
async fn a_run_compares_versions_with_its_own_records() {
    let mut cloud = versioned(&[1000, LARGE, 0]).await;
    let run = async |cloud: &Cloud, args: &[&str]| -> Value {
        let (from, to) = (&cloud.stage.source, &cloud.stage.destination);
        let addresses = [format!("s3://{from}"), format!("s3://{to}/moved")];
        let args = [&["run", &addresses[0], &addresses[1], "--json"], args].concat();
        let mut program = cloud.stage.program(&args);
        program.env("Destination_Credentials", "ssm").envs([COMPARE, EVENTS]);
        let ran = ran(program).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        serde_json::from_str(&ran.stdout).expect("JSON")
    };
    let first = run(&cloud, &[]).await;
    assert_eq!((&first["copied"], &first["closing"]["already_there"]), (&3.into(), &3.into()));
    replace(&mut cloud, "object/01").await;
    assert_eq!(run(&cloud, &["--dry-run"]).await[0]["version_differs"], 1);
    let second = run(&cloud, &[]).await;
    assert_eq!((&second["copied"], &second["closing"]["to_copy"]), (&1.into(), &0.into()));
    for (key, body) in &cloud.objects {
        assert!(cloud.stage.arrived(&format!("moved/{key}")).await.as_ref() == Some(body), "{key}");
    }
    assert_eq!(cloud.uploads().await, 0);
}
