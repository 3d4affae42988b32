//! Versions compared with what is on record, on a table whose index keeps the order of keys and on one
//! of the original, which does not.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};
use futures_util::{StreamExt, stream};
use serde_json::Value;

use crate::cloud::Cloud;
use testkit::proxy::{Fault, Rule};
use testkit::resources::{s3, set_versioning, table_of_the_original};
use testkit::stage::{noise, ran, until};

/// More than a page of a listing has. With keys of this length their records are more than a mebibyte,
/// which is a page of the index.
const OBJECTS: usize = 1100;
const KEY_BYTES: usize = 500;
/// Those put while versions were suspended: the last ones.
const NULL: usize = 4;

/// Requests of the test itself at once.
const AT_ONCE: usize = 16;

fn key(n: usize) -> String {
    format!("{n:04}/{}", "k".repeat(KEY_BYTES))
}

fn short(key: &str) -> String {
    key.trim_end_matches('k').to_owned()
}

async fn put(cloud: &Cloud, objects: impl Iterator<Item = usize>, seed: u64) {
    let put = |n: usize| async move { cloud.stage.put_source(&key(n), &noise(20, seed)).await };
    stream::iter(objects).map(put).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

async fn versions(cloud: &Cloud, kept: bool) {
    set_versioning(&s3(cloud.stage.at_source()), &cloud.stage.source, kept).await;
}

/// Everything copied, each in the version that the source has.
async fn copied() -> Cloud {
    let cloud = Cloud::of(&[]).await;
    versions(&cloud, true).await;
    put(&cloud, 0..OBJECTS - NULL, 1).await;
    versions(&cloud, false).await;
    put(&cloud, OBJECTS - NULL..OBJECTS, 1).await;
    versions(&cloud, true).await;
    let mut jobsender = cloud.stage.program(&["jobsender"]);
    jobsender.env("JobsenderCompareVersionId", "True");
    let sent = ran(jobsender).await;
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let _worker = cloud.stage.worker(&[("GetObjectWithVersionId", "True")]);
    until("all are copied", async || {
        let status = cloud.stage.status().await;
        let all = status["done"] == OBJECTS && status["waiting"] == 0 && status["running"] == 0;
        all.then_some(())
    })
    .await;
    cloud
}

/// All items of one table put into another.
async fn put_items(cloud: &Cloud, to: &str) {
    let client = aws_sdk_dynamodb::Client::new(&cloud.stage.a);
    let pages = client.scan().table_name(&cloud.stage.table).into_paginator().items().send();
    let items = pages.collect::<Result<Vec<_>, _>>().await.expect("Scan");
    let writes = items.into_iter().map(|item| {
        let put = PutRequest::builder().set_item(Some(item)).build().expect("a whole item");
        WriteRequest::builder().put_request(put).build()
    });
    for chunk in writes.collect::<Vec<_>>().chunks(25) {
        let batch = client.batch_write_item().request_items(to, chunk.to_vec());
        let left = batch.send().await.expect("BatchWriteItem").unprocessed_items;
        assert!(left.is_none_or(|left| left.is_empty()));
    }
}

/// What a comparison with the records of `table` finds: its accounts, and each key that is to be copied
/// (without the end that most have), with the reason.
async fn found(cloud: &Cloud, table: &str) -> (Value, BTreeMap<String, String>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let list = folder.path().join("jobs.jsonl");
    let path = list.to_str().expect("a path in UTF-8");
    let args = ["jobsender", "--dry-run", "--json", "--job-list", path];
    let mut program = cloud.stage.program(&args);
    program.env("JobsenderCompareVersionId", "True").env("table_queue_name", table);
    program.env("AWS_ENDPOINT_URL_DYNAMODB", cloud.table.url());
    let ran = ran(program).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let accounts: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let listed = std::fs::read_to_string(&list).expect("the list of jobs");
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let text = |name: &str| line[name].as_str().expect("a text").to_owned();
        (short(&text("Src_key")), text("reason"))
    };
    (accounts[0].clone(), listed.lines().map(line).collect())
}

/// The words for each kind of change.
async fn change(cloud: &Cloud) -> BTreeMap<String, String> {
    let (source, client) = (&cloud.stage.source, s3(cloud.stage.at_source()));
    let mut expected = BTreeMap::new();
    // Around the ends of pages, too.
    let replaced = [0, 3, 500, 996, 997, 998, 999, 1000, 1001, 1050];
    put(cloud, replaced.into_iter(), 2).await;
    let new = "copy, another version was copied";
    expected.extend(replaced.map(|n| (key(n), new.to_owned())));
    // Delete markers: what they hide is no object, in a row longer than a page of lookups.
    for n in (10..200).chain([700]) {
        let delete = client.delete_object().bucket(source).key(key(n)).send().await;
        delete.expect("DeleteObject");
    }
    // Written again after a marker, with what was there before: another version all the same.
    put(cloud, [100].into_iter(), 1).await;
    expected.insert(key(100), new.to_owned());
    // A null version is known by its content only.
    versions(cloud, false).await;
    put(cloud, [OBJECTS - 1].into_iter(), 2).await;
    put(cloud, [OBJECTS - 2].into_iter(), 1).await;
    versions(cloud, true).await;
    expected.insert(key(OBJECTS - 1), new.to_owned());
    // There already, and on no record.
    for unknown in ["0500/unknown", "zzz"] {
        cloud.stage.put_source(unknown, b"body").await;
        let put = s3(cloud.stage.at_destination()).put_object().bucket(&cloud.stage.destination);
        let put = put.key(format!("moved/{unknown}")).body(b"else".to_vec().into());
        put.send().await.expect("PutObject");
        expected
            .insert(unknown.to_owned(), "copy, no record says which version was copied".to_owned());
    }
    // On record, and not there any more.
    let gone = s3(cloud.stage.at_destination()).delete_object().bucket(&cloud.stage.destination);
    gone.key(format!("moved/{}", key(600))).send().await.expect("DeleteObject");
    cloud.stage.put_source("0500/new", b"new").await;
    for missing in [key(600), "0500/new".to_owned()] {
        expected.insert(missing, "copy, missing at the destination".to_owned());
    }
    expected.into_iter().map(|(key, reason)| (short(&key), reason)).collect()
}

#[tokio::test]
async fn both_forms_of_the_table_give_the_same_verdicts() {
    let cloud = copied().await;
    let ordered = cloud.stage.table.clone();
    let original = table_of_the_original(&cloud.stage.a).await;
    put_items(&cloud, &original).await;
    let calls = || ["Query", "BatchGetItem"].map(|call| cloud.table.calls(call));
    for (table, by) in [(&ordered, 0), (&original, 1)] {
        let before = calls();
        let (accounts, differing) = found(&cloud, table).await;
        assert_eq!((accounts["already_there"].as_u64(), differing.len()), (Some(1100), 0));
        let made: Vec<_> = before.iter().zip(calls()).map(|(before, now)| now - before).collect();
        // What is known of the stores is looked up once.
        let notes = [0, 1];
        let other = 1 - by;
        assert!(made[by] > 1 + notes[by], "{table}: {made:?}");
        assert_eq!(made[other], notes[other], "{table}: {made:?}");
    }

    let expected = change(&cloud).await;
    let (accounts, differing) = found(&cloud, &ordered).await;
    assert_eq!(differing, expected);
    assert_eq!(accounts["listed"], OBJECTS - 190 + 3, "{accounts}");
    let same = (accounts, differing);
    assert!(found(&cloud, &original).await == same, "by lookups");
    // Whoever may not read the index any more looks up the rest.
    let rule = Rule::on("Query", Fault::error(400, "AccessDeniedException")).after(1);
    let refused = cloud.table.inject(1, vec![rule]);
    assert!(found(&cloud, &ordered).await == same, "by the index, and by lookups");
    assert!(refused.injected() > 0);
}
