//! What the DynamoDB table has beyond the record's common promises.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::types::AttributeValue;
use s3_migration::error::ErrorKind;
use s3_migration::object::{Etag, ObjectId};
use s3_migration::record::dynamodb::DynamoRecords;
use s3_migration::record::{
    Attempts, CopiesRequest, JobStatus, NoteKey, Notes, Outcome, PastCopies, RecordId, RecordList,
    Start, UploadRef,
};

use testkit::ministack::{ACCOUNT_A, Ministack, unique};
use testkit::resources;

async fn connect() -> (DynamoRecords, String) {
    let config = Ministack::shared().sdk_config(ACCOUNT_A);
    let table = resources::table(&config).await;
    (DynamoRecords::connect(&config, &table).await.expect("the table is there"), table)
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds) + Duration::from_nanos(7)
}

fn id(key: &str, des_bucket: &str) -> RecordId {
    RecordId { src: ObjectId::new("src", key), des: ObjectId::new(des_bucket, format!("p/{key}")) }
}

fn start(id: &RecordId, lease: &str) -> Start {
    Start {
        id: id.clone(),
        size: 100,
        version: None,
        etag: Etag::new("e1"),
        upload: UploadRef { id: format!("upload of {lease}"), part_size: 50 },
        digests_first: false,
        instance: "i-1".to_owned(),
        lease: lease.to_owned(),
        start_time: at(0),
        progress: 0,
        sequencer: None,
    }
}

fn outcome(id: &RecordId, lease: Option<&str>) -> Outcome {
    Outcome {
        id: id.clone(),
        size: 100,
        version: None,
        etag: Some(Etag::new("e1")),
        status: JobStatus::Done,
        instance: "i-1".to_owned(),
        lease: lease.map(str::to_owned),
        start_time: at(0),
        end_time: at(9),
        error: None,
        deleted: false,
        proven: None,
        written: None,
        order: None,
    }
}

async fn tries(state: &DynamoRecords, id: &RecordId) -> u32 {
    state.load(id).await.expect("loaded").expect("on record").tries
}

#[tokio::test]
async fn the_item_has_the_originals_key_and_attributes() {
    let (state, table) = connect().await;
    let id = id("a/b", "des");
    state.begin(&start(&id, "l1")).await.expect("begun");
    state.finish(&[outcome(&id, Some("l1"))]).await.expect("finished");
    let item = aws_sdk_dynamodb::Client::new(&Ministack::shared().sdk_config(ACCOUNT_A))
        .get_item()
        .table_name(table)
        .key("Key", AttributeValue::S("src/a/b".to_owned()))
        .send()
        .await
        .expect("GetItem")
        .item
        .expect("an item under the original's key");
    let text = |name: &str| item[name].as_s().expect(name).as_str();
    let number = |name: &str| item[name].as_n().expect(name).as_str();
    assert_eq!(text("desBucket"), "des");
    assert_eq!(text("desKey"), "p/a/b");
    assert_eq!(text("instanceID"), "i-1");
    assert_eq!(text("versionId"), "null");
    assert_eq!(text("jobStatus"), "DONE");
    assert_eq!(text("startTime_f"), "Tue Nov 14 22:13:20 2023");
    assert_eq!(text("endTime_f"), "Tue Nov 14 22:13:29 2023");
    assert_eq!(number("Size"), "100");
    assert_eq!(number("tryTimes"), "1");
    assert_eq!(number("firstTime"), "1700000000.000000007");
    assert_eq!(number("endTime"), "1700000009.000000007");
    assert_eq!(number("totalSpentTime"), "9");
    assert_eq!(number("lastTimeProgress"), "100");
}

#[tokio::test]
async fn three_destinations_of_one_source_keep_a_record_each() {
    let (state, _) = connect().await;
    let ids = ["one", "two", "three"].map(|bucket| id("shared", bucket));
    for id in &ids {
        state.begin(&start(id, &id.des.bucket)).await.expect("begun");
    }
    let outcomes = ids.each_ref().map(|id| outcome(id, Some(&id.des.bucket)));
    state.finish(&outcomes).await.expect("finished");
    for id in &ids {
        let record = state.load(id).await.expect("loaded").expect("on record");
        assert_eq!(record.id, *id);
        assert_eq!(record.lease.as_deref(), Some(id.des.bucket.as_str()));
        assert_eq!((record.status, record.tries), (JobStatus::Done, 1));
    }
    assert_eq!(state.load(&id("shared", "four")).await.expect("loaded"), None);
    assert_eq!(state.with_status(JobStatus::Done, 10).await.expect("scanned").len(), 3);
    assert_eq!(state.with_status(JobStatus::Done, 2).await.expect("scanned").len(), 2);
}

/// Promise 8.
#[tokio::test]
async fn a_begin_that_is_sent_twice_counts_one_try() {
    let (state, _) = connect().await;
    let id = id("k", "des");
    let first = start(&id, "l1");
    state.begin(&first).await.expect("begun");
    state.begin(&first).await.expect("the same begin again");
    assert_eq!(tries(&state, &id).await, 1);

    let other = UploadRef { id: "another upload".to_owned(), part_size: 60 };
    state.begin(&Start { upload: other.clone(), ..first }).await.expect("the same attempt");
    let record = state.load(&id).await.expect("loaded").expect("on record");
    assert_eq!((record.tries, record.upload), (1, Some(other)));

    state.begin(&start(&id, "l2")).await.expect("begun");
    assert_eq!(tries(&state, &id).await, 2);
}

/// Promise 8.
#[tokio::test]
async fn an_outcome_that_is_sent_twice_counts_one_try() {
    let (state, _) = connect().await;
    let id = id("small", "des");
    let first = outcome(&id, None);
    state.finish(std::slice::from_ref(&first)).await.expect("finished");
    state.finish(std::slice::from_ref(&first)).await.expect("the same outcome again");
    assert_eq!(tries(&state, &id).await, 1);
    let later = Outcome { start_time: at(20), end_time: at(21), ..first };
    state.finish(&[later]).await.expect("finished");
    assert_eq!(tries(&state, &id).await, 2);
}

/// Promise 8.
#[tokio::test]
async fn a_replaced_token_fails_alone_among_many_outcomes() {
    let (state, _) = connect().await;
    let fenced = id("fenced", "des");
    state.begin(&start(&fenced, "old")).await.expect("begun");
    state.begin(&start(&fenced, "new")).await.expect("begun");
    let ids: Vec<_> = (0..20).map(|n| id(&format!("k{n}"), "des")).collect();
    let mut outcomes: Vec<_> = ids.iter().map(|id| outcome(id, None)).collect();
    outcomes.insert(3, outcome(&fenced, Some("old")));
    let error = state.finish(&outcomes).await.expect_err("one token is replaced");
    assert_eq!(error.kind(), ErrorKind::LeaseLost);
    assert!(error.to_string().contains("src/fenced"), "{error}");

    let record = state.load(&fenced).await.expect("loaded").expect("on record");
    assert_eq!((record.status, record.end_time), (JobStatus::Running, None));
    let tally = state.tally(at(0)).await.expect("scanned");
    assert_eq!((tally.done, tally.done_bytes, tally.running), (20, 2000, 1));
    assert_eq!((tally.recent, tally.recent_bytes), (20, 2000));
    assert_eq!(tally.span, Some((at(0), at(9))));
    assert_eq!(state.tally(at(10)).await.expect("scanned").recent, 0);
}

/// Promise 2.
#[tokio::test]
async fn an_upload_is_dropped_with_the_etag_it_belongs_to() {
    let (state, _) = connect().await;
    let id = id("k", "des");
    state.begin(&start(&id, "l1")).await.expect("begun");
    let failed = Outcome {
        etag: None,
        status: JobStatus::Failed,
        error: Some("é".repeat(1000)),
        ..outcome(&id, Some("l1"))
    };
    state.finish(&[failed]).await.expect("finished");
    let record = state.load(&id).await.expect("loaded").expect("on record");
    assert_eq!(record.upload, Some(start(&id, "l1").upload));
    assert_eq!(record.last_error, Some("é".repeat(512)));

    let other = Outcome { etag: Some(Etag::new("e2")), ..outcome(&id, None) };
    state.finish(&[other]).await.expect("finished");
    let record = state.load(&id).await.expect("loaded").expect("on record");
    assert_eq!((record.upload, record.etag, record.lease), (None, Some(Etag::new("e2")), None));
}

#[tokio::test]
async fn scans_go_on_to_the_last_page() {
    let (state, _) = connect().await;
    // More than the 1 MiB at which a page of a scan ends.
    let error = Some("x".repeat(1024));
    let ids: Vec<_> = (0..1100).map(|n| id(&format!("{n}{}", "k".repeat(900)), "des")).collect();
    let outcomes: Vec<_> =
        ids.iter().map(|id| Outcome { error: error.clone(), ..outcome(id, None) }).collect();
    state.finish(&outcomes).await.expect("finished");
    assert_eq!(state.tally(at(0)).await.expect("scanned").done, 1100);
    assert_eq!(state.with_status(JobStatus::Done, 2000).await.expect("scanned").len(), 1100);
}

/// Promise 2.
#[tokio::test]
async fn a_table_of_the_original_holds_all_and_keeps_no_order() {
    let config = Ministack::shared().sdk_config(ACCOUNT_A);
    let table = resources::table_of_the_original(&config).await;
    let state = DynamoRecords::connect(&config, &table).await.expect("the table is there");
    let id = id("k", "des");
    state.finish(&[outcome(&id, None)]).await.expect("finished");
    assert!(state.copied(&[id]).await.expect("looked up")[0].is_some());
    let request = CopiesRequest { bucket: "des".to_owned(), ..CopiesRequest::default() };
    assert_eq!(state.copies(&request).await.expect("answered"), None);
    let key = NoteKey::new("n");
    assert!(state.add_note(&key, b"text").await.expect("added"));
    assert_eq!(state.notes(&[key]).await.expect("asked"), [Some(b"text".to_vec())]);
}

#[tokio::test]
async fn a_table_that_cannot_hold_the_records_is_refused_at_once() {
    let config = Ministack::shared().sdk_config(ACCOUNT_A);
    let absent = unique("absent");
    let error = DynamoRecords::connect(&config, &absent).await.expect_err("it is not there");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    for part in [absent.as_str(), "us-east-1", "partition key Key"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    let wrong = resources::table_with_key(&config, "Id").await;
    let error = DynamoRecords::connect(&config, &wrong).await.expect_err("another key");
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains(&wrong), "{error}");
}
