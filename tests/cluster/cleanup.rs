//! `cleanup` with records in DynamoDB: which uploads are whose, and which may be aborted.

use std::time::{Duration, SystemTime};

use s3_migration::object::{Etag, ObjectId};
use s3_migration::record::dynamodb::DynamoRecords;
use s3_migration::record::{Attempts, JobStatus, Outcome, RecordId, Start, UploadRef};
use serde_json::Value;

use testkit::resources;
use testkit::stage::{MIB, Stage, noise};

async fn cleanup(stage: &Stage, arguments: &[&str]) -> Value {
    let ran = stage.run(&[&["cleanup", "--json"], arguments].concat()).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.stdout).expect("JSON")
}

/// An upload of one part at the destination.
async fn upload(stage: &Stage, key: &str) -> UploadRef {
    let client = resources::s3(stage.at_destination());
    let create = client.create_multipart_upload().bucket(&stage.destination).key(key);
    let id = create.send().await.expect("CreateMultipartUpload").upload_id.expect("an id");
    let part = client.upload_part().bucket(&stage.destination).key(key).upload_id(&id);
    let part = part.part_number(1).body(noise(5 * MIB, 1).into());
    part.send().await.expect("UploadPart");
    UploadRef { id, part_size: 5 * MIB as u64 }
}

/// Promises 7, 8.
#[tokio::test]
async fn only_what_is_on_record_and_not_held_is_aborted() {
    let stage = Stage::put(5).await;
    let records = DynamoRecords::connect(&stage.a, &stage.table).await.expect("the table");
    let now = SystemTime::now();
    let id = |key: &str| {
        let des = ObjectId::new(&stage.destination, format!("moved/{key}"));
        RecordId::of(&ObjectId::new(&stage.source, key), &des)
    };
    for (key, hours) in [("held", 0), ("forgotten", 20), ("failed", 1)] {
        let start = Start {
            id: id(key),
            size: 1 << 30,
            version: None,
            etag: Etag::new("etag"),
            upload: upload(&stage, &format!("moved/{key}")).await,
            digests_first: false,
            instance: "i-1".to_owned(),
            lease: key.to_owned(),
            start_time: now - Duration::from_secs(3600 * hours),
            progress: 0,
            sequencer: None,
        };
        records.begin(&start).await.expect("begun");
    }
    let failed = Outcome {
        id: id("failed"),
        size: 1 << 30,
        version: None,
        etag: None,
        status: JobStatus::Failed,
        instance: "i-1".to_owned(),
        lease: Some("failed".to_owned()),
        start_time: now - Duration::from_secs(3600),
        end_time: now,
        error: Some("denied".to_owned()),
        deleted: false,
        proven: None,
        written: None,
        order: None,
    };
    records.finish(&[failed]).await.expect("ended");
    upload(&stage, "moved/foreign").await;
    upload(&stage, "outside/the/pair").await;

    let states = |found: &Value, what: &str| {
        let one = |one: &Value| {
            let key = one["key"].as_str().unwrap_or_default().to_owned();
            (key, one[what].as_str().unwrap_or_default().to_owned())
        };
        let mut all: Vec<_> =
            found["uploads"].as_array().expect("uploads").iter().map(one).collect();
        all.sort();
        all
    };
    let expected = |words: [&str; 4]| {
        let keys = ["moved/failed", "moved/foreign", "moved/forgotten", "moved/held"];
        Vec::from_iter(
            keys.into_iter().zip(words).map(|(key, word)| (key.to_owned(), word.to_owned())),
        )
    };
    let found = cleanup(&stage, &[]).await;
    assert_eq!(
        states(&found, "state"),
        expected(["failed", "unknown", "waiting", "held"]),
        "{found}"
    );
    assert_eq!(found["totals"]["known"]["bytes"], 15 * MIB as u64);
    let young = cleanup(&stage, &["--abort"]).await;
    assert_eq!(
        states(&young, "outcome"),
        expected(["young", "unknown", "young", "held"]),
        "{young}"
    );
    let done = cleanup(&stage, &["--abort", "--older-than", "0s"]).await;
    assert_eq!(
        states(&done, "outcome"),
        expected(["aborted", "unknown", "aborted", "held"]),
        "{done}"
    );
    let client = resources::s3(stage.at_destination());
    let left = client.list_multipart_uploads().bucket(&stage.destination).send().await;
    let left = left.expect("ListMultipartUploads");
    let mut keys: Vec<_> = left.uploads().iter().filter_map(|upload| upload.key()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["moved/foreign", "moved/held", "outside/the/pair"]);
}
