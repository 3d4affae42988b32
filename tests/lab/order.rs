//! Events that come late, twice, in any order and at once: the destination ends as the source is.

use crate::bench::LARGE;
use crate::history::{BY_VERSION, History, sequencer};
use testkit::proxy::{Fault, Rule};
use testkit::resources::s3;
use testkit::stage::until;

/// The shortest time that a dead worker's message stays hidden.
const SHORT: (&str, &str) = ("VisibilityTimeout", "10");

/// Promise 2.
#[tokio::test]
async fn a_late_event_is_passed_over_whatever_the_switches() {
    for size in [1000, LARGE] {
        for (versions, settings) in [(false, vec![]), (true, vec![]), (true, vec![BY_VERSION])] {
            let history = History::of(size, versions).await;
            let (first, second) = (history.put(1).await, history.put(2).await);
            let worker = history.cloud.worker(&settings);
            history.send_and_wait(&second).await;
            let written = history.written();
            for event in [&first, &first] {
                history.send_and_wait(event).await;
            }
            worker.until_logged("passed over: a later event's outcome is there").await;
            assert_eq!(history.written(), written, "nothing is written again");
            // The same once more may be what its answer's loss has left.
            history.send_and_wait(&second).await;
            history.assert_content(2, 2).await;
        }
    }
}

// The older event's attempt has read the old content and is slow; the newer one's is done meanwhile.
/// Promise 2.
#[tokio::test]
async fn an_older_attempt_that_writes_last_is_made_good() {
    for (versions, settings) in [(false, vec![]), (true, vec![BY_VERSION])] {
        let history = History::of(1000, versions).await;
        let first = history.put(1).await;
        let held =
            history.cloud.destination.inject(1, vec![Rule::on("PutObject", Fault::Hold).once()]);
        let _worker = history.cloud.worker(&settings);
        history.send(&first).await;
        held.held().await;
        let second = history.put(2).await;
        history.send(&second).await;
        until("the newer event is on record", async || {
            (history.cloud.stage.records("DONE").await.len() == 1).then_some(())
        })
        .await;
        assert!(history.arrived().await == Some(history.content(2)));
        held.let_go();
        history.assert_content(2, 2).await;
    }
}

// The newer event's attempt has written, the older one's writes over it and is on record first.
/// Promise 2.
#[tokio::test]
async fn an_older_attempt_that_is_on_record_first_is_made_good() {
    let history = History::of(1000, true).await;
    let (first, second) = (history.put(1).await, history.put(2).await);
    let rule = Rule::on("PutObject", Fault::HoldAnswer).once();
    let held = history.cloud.destination.inject(1, vec![rule]);
    let _worker = history.cloud.worker(&[BY_VERSION]);
    history.send(&second).await;
    held.held().await;
    history.send(&first).await;
    until("the older event is on record", async || {
        (history.cloud.stage.records("DONE").await.len() == 1).then_some(())
    })
    .await;
    assert!(history.arrived().await == Some(history.content(1)));
    held.let_go();
    history.assert_content(2, 2).await;
}

// It has written over the newer content and dies before anybody knows of it. Whoever gets its message
// finds a late event, and looks at the destination before passing it over.
/// Promise 2.
#[tokio::test]
async fn an_older_attempt_that_dies_after_its_last_write_is_made_good() {
    let history = History::of(1000, true).await;
    let (first, second) = (history.put(1).await, history.put(2).await);
    let puts = history.cloud.destination.inject(1, vec![Rule::on("PutObject", Fault::Hold).once()]);
    let killed = history.cloud.worker(&[BY_VERSION, SHORT]);
    history.send(&first).await;
    puts.held().await;
    let newer = history.cloud.stage.worker(&[BY_VERSION]);
    history.send(&second).await;
    until("the newer event is on record", async || {
        (history.cloud.stage.records("DONE").await.len() == 1).then_some(())
    })
    .await;
    let records = history
        .cloud
        .table
        .inject(1, vec![Rule::on("UpdateItem", Fault::Hold).containing("desBucket")]);
    puts.let_go();
    records.held().await;
    assert!(history.arrived().await == Some(history.content(1)));
    drop(killed);
    records.drop_held();
    records.end();
    history.assert_content(2, 2).await;
    drop(newer);
}

// Objects in parts: the token of the newer attempt's beginning, or its outcome, fences the older one.
/// Promise 2.
#[tokio::test]
async fn an_older_attempt_in_parts_does_not_complete_over_a_newer_one() {
    let history = History::of(LARGE, true).await;
    let (first, second) = (history.put(1).await, history.put(2).await);
    let _worker = history.cloud.worker(&[BY_VERSION]);
    // Before it has even begun, and before its last call.
    for operation in ["CreateMultipartUpload", "CompleteMultipartUpload"] {
        let rule = Rule::on(operation, Fault::Hold).once();
        let held = history.cloud.destination.inject(1, vec![rule]);
        history.send(&first).await;
        held.held().await;
        history.send(&second).await;
        until("the newer event is on record", async || {
            let record = history.cloud.stage.records("DONE").await;
            (record.first().is_some_and(|r| r["sequencer"] == sequencer(2))).then_some(())
        })
        .await;
        held.let_go();
        history.assert_content(2, 2).await;
        let table = aws_sdk_dynamodb::Client::new(&history.cloud.stage.a);
        let key = format!("{}/{}", history.cloud.stage.source, history.key);
        let key = aws_sdk_dynamodb::types::AttributeValue::S(key);
        let delete = table.delete_item().table_name(&history.cloud.stage.table).key("Key", key);
        delete.send().await.expect("DeleteItem");
    }
}

// A late event that fails leaves the later one's outcome on record, or restores it.
/// Promise 2.
#[tokio::test]
async fn a_late_event_that_fails_leaves_no_unfinished_record() {
    let history = History::of(1000, true).await;
    let (first, second) = (history.put(1).await, history.put(2).await);
    let worker = history.cloud.worker(&[BY_VERSION, ("MaxRetry", "1")]);
    // Its destination is gone through no fault of ours, and cannot be written.
    history.send_and_wait(&second).await;
    let client = s3(history.cloud.stage.at_destination());
    let delete = client.delete_object().bucket(&history.cloud.stage.destination);
    let delete = delete.key(format!("moved/{}", history.key));
    delete.send().await.expect("DeleteObject");
    let rule = Rule::on("PutObject", Fault::internal_error());
    let refused = history.cloud.destination.inject(1, vec![rule]);
    history.send(&first).await;
    worker.until_logged("goes back to the queue").await;
    let put = client.put_object().bucket(&history.cloud.stage.destination);
    let put = put.key(format!("moved/{}", history.key)).body(history.content(2).into());
    put.send().await.expect("PutObject");
    refused.end();
    history.assert_content(2, 2).await;
}

// It was not late when it began; its failure is neither recorded nor buried in place of what the later
// one has brought.
/// Promise 2.
#[tokio::test]
async fn an_older_attempt_that_fails_for_good_leaves_the_newer_outcome() {
    let history = History::of(1000, true).await;
    let (first, second) = (history.put(1).await, history.put(2).await);
    // Not the look at whether the source has the key that the event's means if it is not encoded.
    let rule = Rule::on("GetObject", Fault::Hold).containing(history.key).once();
    let held = history.cloud.source.inject(1, vec![rule]);
    let worker = history.cloud.worker(&[BY_VERSION]);
    history.send(&first).await;
    held.held().await;
    history.delete(3, first.version()).await;
    history.send(&second).await;
    until("the newer event is on record", async || {
        (history.cloud.stage.records("DONE").await.len() == 1).then_some(())
    })
    .await;
    held.let_go();
    worker.until_logged("could not be recorded").await;
    history.assert_content(2, 2).await;
}

// The order costs an event one more read of the record, and nothing else anything.
/// Promise 2.
#[tokio::test]
async fn an_event_costs_one_read_more_and_no_write() {
    let history = History::of(1000, false).await;
    let event = history.put(1).await;
    let _worker = history.cloud.worker(&[]);
    history.send_and_wait(&event).await;
    // What the fleet says to each other is a matter of time, not of events.
    let asked = |operation| {
        let seen = history.cloud.table.seen().into_iter().map(|seen| seen.call);
        let of_records = seen.filter(|call| !call.key.contains("note:fleet:"));
        of_records.filter(|call| call.operation == operation).count()
    };
    assert_eq!((asked("GetItem"), asked("UpdateItem")), (1, 1));
    history.send_and_wait(&history.put(2).await).await;
    assert_eq!((asked("GetItem"), asked("UpdateItem")), (2, 2));
    history.cloud.stage.send(&history.cloud.job(history.key).to_message()).await;
    history.cloud.stage.until_done(1).await;
    assert_eq!((asked("GetItem"), asked("BatchExecuteStatement")), (2, 0));
}
