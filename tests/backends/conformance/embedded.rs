//! The embedded backends: the suites, and what only they promise.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use s3_migration::error::{Error, ErrorKind};
use s3_migration::queue::sqlite::SqliteQueue;
use s3_migration::queue::{LetterBox, Queue, Receipt};
use s3_migration::record::Attempts;
use s3_migration::record::RecordStore;
use s3_migration::record::sqlite::SqliteRecords;
use s3_migration::sqlite::Database;
use tempfile::TempDir;

use crate::conformance::queue::{BRIEFLY, HIDDEN, LONG, MAX_RECEIVES, sent, take, take_one};
use crate::conformance::state::end;
use crate::conformance::support::{Fresh, PATIENCE, control_texts, eventually};

queue_suite!(fresh_queue);

mod state {
    state_suite!(super::fresh_state);
}

async fn fresh_queue() -> Fresh<dyn Queue> {
    let (queue, dir) = queue().await;
    Fresh::new(Arc::new(queue), dir)
}

async fn fresh_state() -> Fresh<dyn RecordStore> {
    let (db, dir) = database().await;
    Fresh::new(Arc::new(SqliteRecords::new(&db)), dir)
}

async fn database() -> (Database, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Database::open(dir.path().join("s3 migration.sqlite")).await.unwrap(), dir)
}

async fn queue() -> (SqliteQueue, TempDir) {
    let (db, dir) = database().await;
    (SqliteQueue::open(&db, "jobs", MAX_RECEIVES).await.unwrap(), dir)
}

/// The same queue through a connection of its own, as another process would have it.
async fn other_handle(dir: &TempDir) -> SqliteQueue {
    let db = Database::open(dir.path().join("s3 migration.sqlite")).await.unwrap();
    SqliteQueue::open(&db, "jobs", MAX_RECEIVES).await.unwrap()
}

fn bodies(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("job {n}")).collect()
}

#[tokio::test]
async fn a_body_may_hold_any_character() {
    let (queue, _dir) = queue().await;
    queue.send(&control_texts()).await.unwrap();
    let messages = take(&queue, control_texts().len(), HIDDEN).await.unwrap();
    for text in control_texts() {
        assert!(messages.values().any(|m| m.body == text), "{text:?}");
    }
}

#[tokio::test]
async fn a_waiting_receive_sees_what_another_handle_sends_and_releases() {
    let (here, dir) = queue().await;
    let there = other_handle(&dir).await;
    // Without a look into the file meanwhile, it would notice at the end of its wait.
    let receive = tokio::time::timeout(PATIENCE, here.receive(1, HIDDEN, HIDDEN));
    let (received, sent) = tokio::join!(receive, async {
        tokio::task::yield_now().await;
        there.send(&["one".to_owned()]).await
    });
    sent.unwrap();
    let message = received.expect("not noticed").unwrap().pop().expect("nothing came");
    // A receipt is good in every process.
    there.release(&message.receipt, Duration::ZERO).await.unwrap();
    let again = take_one(&there, HIDDEN).await;
    assert_eq!(again.receive_count, 2);
    assert_eq!(here.extend(&message.receipt, HIDDEN).await.unwrap_err().kind(), LOST);
}

const LOST: ErrorKind = ErrorKind::LeaseLost;

/// Promise 8.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_handles_never_receive_one_message_both() {
    let (here, dir) = queue().await;
    let there = other_handle(&dir).await;
    here.send(&bodies(1000)).await.unwrap();
    let drain = async |queue: &SqliteQueue| {
        let mut seen = Vec::new();
        loop {
            let messages = queue.receive(7, Duration::ZERO, HIDDEN).await.unwrap();
            if messages.is_empty() {
                return seen;
            }
            seen.extend(messages.into_iter().map(|m| m.body));
        }
    };
    let (mut seen, others) = tokio::join!(drain(&here), drain(&there));
    seen.extend(others);
    seen.sort();
    let mut expected = bodies(1000);
    expected.sort();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn queues_in_one_file_do_not_mix() {
    let (db, _dir) = database().await;
    let one = SqliteQueue::open(&db, "one", MAX_RECEIVES).await.unwrap();
    let two = SqliteQueue::open(&db, "two", MAX_RECEIVES).await.unwrap();
    let message = sent(&one, "of one", HIDDEN).await;
    one.send(&["more".to_owned()]).await.unwrap();
    assert!(two.receive(10, Duration::ZERO, HIDDEN).await.unwrap().is_empty());
    assert_eq!(two.extend(&message.receipt, HIDDEN).await.unwrap_err().kind(), LOST);
    assert!(two.bury(&message, "", "").await.is_err());
    two.delete(&message.receipt).await.unwrap();
    two.clear().await.unwrap();
    let depth = one.depth().await.unwrap();
    assert_eq!((depth.waiting, depth.running, depth.dead), (1, 1, Some(0)));
    assert_eq!(two.depth().await.unwrap().running, 0);
}

#[tokio::test]
async fn clearing_drops_the_waiting_the_running_and_the_dead() {
    let (queue, _dir) = queue().await;
    let dead = sent(&queue, "dead", HIDDEN).await;
    queue.bury(&dead, "dead", "why").await.unwrap();
    let running = sent(&queue, "running", HIDDEN).await;
    queue.send(&["waiting".to_owned()]).await.unwrap();
    queue.clear().await.unwrap();
    let depth = queue.depth().await.unwrap();
    assert_eq!((depth.waiting, depth.running, depth.dead), (0, 0, Some(0)));
    assert_eq!(queue.extend(&running.receipt, HIDDEN).await.unwrap_err().kind(), LOST);
    queue.delete(&running.receipt).await.unwrap();
}

#[tokio::test]
async fn a_lease_that_ran_out_cannot_be_extended_but_its_work_may_still_end() {
    let (queue, _dir) = queue().await;
    let message = sent(&queue, "one", Duration::ZERO).await;
    eventually("waiting", 1, async || queue.depth().await.unwrap().waiting).await;
    assert_eq!(queue.extend(&message.receipt, HIDDEN).await.unwrap_err().kind(), LOST);
    assert_eq!(queue.release(&message.receipt, BRIEFLY).await.unwrap_err().kind(), LOST);
    queue.delete(&message.receipt).await.unwrap();
    assert_eq!(queue.depth().await.unwrap().waiting, 0);
}

/// Promise 8.
#[tokio::test]
async fn a_stale_receipt_deletes_and_buries_nothing() {
    let (queue, _dir) = queue().await;
    let first = sent(&queue, "one", HIDDEN).await;
    queue.release(&first.receipt, Duration::ZERO).await.unwrap();
    assert_eq!(queue.delete(&first.receipt).await.unwrap_err().kind(), LOST);
    let second = take_one(&queue, HIDDEN).await;
    assert_eq!(queue.delete(&first.receipt).await.unwrap_err().kind(), LOST);
    assert_eq!(queue.bury(&first, "one", "why").await.unwrap_err().kind(), LOST);
    let depth = queue.depth().await.unwrap();
    assert_eq!((depth.running, depth.dead), (1, Some(0)));
    queue.delete(&second.receipt).await.unwrap();
    let foreign = queue.delete(&Receipt("AQEB…".to_owned())).await.unwrap_err();
    assert_eq!(foreign.kind(), ErrorKind::Invalid);
}

/// Promise 1.
#[tokio::test]
async fn dead_letters_keep_their_body_count_and_reason() {
    let (queue, _dir) = queue().await;
    let buried = sent(&queue, "buried", HIDDEN).await;
    queue.bury(&buried, "what is left", "access denied").await.unwrap();
    queue.send(&["spent".to_owned()]).await.unwrap();
    for _ in 0..MAX_RECEIVES {
        let message = take_one(&queue, HIDDEN).await;
        queue.release(&message.receipt, Duration::ZERO).await.unwrap();
    }
    let seen = queue.dead(10).await.unwrap();
    let seen: Vec<_> =
        seen.iter().map(|d| (d.body.as_str(), d.reason.as_str(), d.receive_count)).collect();
    assert_eq!(
        seen,
        [
            ("what is left", "access denied", 1),
            ("spent", "received 3 times and never finished", MAX_RECEIVES)
        ]
    );
    assert_eq!(queue.dead(1).await.unwrap().len(), 1);
    assert_eq!(queue.redrive().await.unwrap(), 2);
    let again = take(&queue, 2, HIDDEN).await.unwrap();
    assert!(again.values().all(|m| m.receive_count == 1));
    assert!(again.values().any(|m| m.body == "what is left"));
    assert_eq!(queue.depth().await.unwrap().dead, Some(0));
}

/// Promise 1.
#[tokio::test]
async fn dead_letters_are_read_in_order_and_removed_by_themselves() {
    let (queue, _dir) = queue().await;
    for n in 0..205 {
        let message = sent(&queue, &format!("job {n}"), HIDDEN).await;
        queue.bury(&message, &message.body, "why").await.unwrap();
    }
    let (mut bodies, mut last) = (Vec::new(), None);
    loop {
        let page = queue.dead_letters(last.as_ref(), HIDDEN).await.unwrap();
        bodies.extend(page.iter().map(|letter| letter.body.clone()));
        let Some(end) = page.last() else { break };
        queue.show_letter(end).await.unwrap();
        last = Some(end.clone());
    }
    assert_eq!(bodies, (0..205).map(|n| format!("job {n}")).collect::<Vec<_>>());
    let first = queue.dead_letters(None, HIDDEN).await.unwrap().remove(0);
    // The second time it is no longer there.
    for _ in 0..2 {
        queue.remove_letter(&first).await.unwrap();
        assert_eq!(queue.depth().await.unwrap().dead, Some(204));
    }
}

#[tokio::test]
async fn what_has_come_back_goes_first() {
    let (queue, _dir) = queue().await;
    queue.send(&bodies(50)).await.unwrap();
    let begun = take_one(&queue, HIDDEN).await;
    queue.release(&begun.receipt, Duration::ZERO).await.unwrap();
    assert_eq!(take_one(&queue, HIDDEN).await.id, begun.id);
}

/// Promise 1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receive_that_is_dropped_loses_no_message() {
    let (queue, _dir) = queue().await;
    queue.send(&bodies(100)).await.unwrap();
    let mut received = 0;
    // Dropped before, while and after the file has answered.
    for micros in (0..100).map(|n| n * 20) {
        tokio::select! {
            biased;
            // The file may be quicker than this thread: then there is nothing to drop.
            messages = queue.receive(1, LONG, HIDDEN) => {
                for message in messages.unwrap() {
                    queue.delete(&message.receipt).await.unwrap();
                    received += 1;
                }
            }
            () = spin(Duration::from_micros(micros)) => {}
        }
    }
    let messages = take(&queue, 100 - received, HIDDEN).await.unwrap();
    assert!(messages.values().all(|m| m.receive_count == 1), "{messages:?}");
}

/// Holds the thread, so that the other future is not polled meanwhile.
async fn spin(pause: Duration) {
    let until = Instant::now() + pause;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

#[tokio::test]
async fn a_clock_that_was_set_back_hides_nothing_for_years() {
    let (queue, dir) = queue().await;
    let message = sent(&queue, "one", HIDDEN).await;
    let file = rusqlite::Connection::open(dir.path().join("s3 migration.sqlite")).unwrap();
    file.execute("UPDATE queue_message SET visible_at = visible_at * 2", []).unwrap();
    let reopened = other_handle(&dir).await;
    assert_eq!(take_one(&reopened, HIDDEN).await.id, message.id);
}

#[tokio::test]
async fn records_keep_milliseconds_and_the_buckets_that_are_arns() {
    let (db, _dir) = database().await;
    let store = SqliteRecords::new(&db);
    let mut end = end("a/b", None, 0, 0);
    end.id.src.bucket = "arn:aws-cn:s3:cn-north-1:123456789012:accesspoint/ap".to_owned();
    end.end_time += Duration::from_millis(1234);
    store.finish(std::slice::from_ref(&end)).await.unwrap();
    let record = store.load(&end.id).await.unwrap().unwrap();
    assert_eq!((record.id, record.end_time), (end.id, Some(end.end_time)));
    assert_eq!(record.spent, Some(Duration::from_millis(1234)));
}

#[tokio::test]
async fn a_table_bears_the_originals_names() {
    let (db, _dir) = database().await;
    let store = SqliteRecords::new(&db);
    store.finish(&[end("a/b", None, 0, 90)]).await.unwrap();
    let file = rusqlite::Connection::open(db.path()).unwrap();
    let select = "SELECT Key || ' ' || desBucket || ' ' || desKey || ' ' || jobStatus || ' '
        || startTime_f || ' ' || endTime_f || ' ' || totalSpentTime || ' ' || tryTimes FROM record
        INDEXED BY \"desBucket-index\" WHERE desBucket = 'des'";
    let row: String = file.query_row(select, [], |row| row.get(0)).unwrap();
    let times = "Sun Jun 15 15:06:40 2025 Sun Jun 15 15:08:10 2025 90.0";
    assert_eq!(row, format!("src/a/b des p/a/b DONE {times} 1"));
}

/// The error of opening `path`, which must name it.
async fn refusal(path: &Path) -> Error {
    let error = Database::open(path).await.expect_err("opened");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    error
}

#[tokio::test]
async fn a_file_that_cannot_serve_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("notes.txt");
    std::fs::write(&text, "not a database, but long enough to have a header\n".repeat(99)).unwrap();
    for (path, reason) in [
        (text.clone(), "not an SQLite database"),
        (dir.path().to_owned(), "must be a file"),
        (dir.path().join("missing").join("file.sqlite"), "directory that exists"),
    ] {
        let error = refusal(&path).await;
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert!(std::fs::read_to_string(&text).unwrap().starts_with("not a database"));
}

#[tokio::test]
async fn a_newer_file_and_a_foreign_one_are_left_alone() {
    let (db, dir) = database().await;
    let newer = db.path().to_owned();
    set(&newer, "PRAGMA user_version = 7");
    let error = refusal(&newer).await;
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("newer version") && error.to_string().contains('7'));

    let foreign = dir.path().join("foreign.sqlite");
    set(&foreign, "CREATE TABLE diary (entry TEXT)");
    let before = std::fs::read(&foreign).unwrap();
    let error = refusal(&foreign).await;
    assert!(error.to_string().contains("another program"), "{error}");
    assert_eq!(std::fs::read(&foreign).unwrap(), before);
}

fn set(path: &PathBuf, sql: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

#[tokio::test]
async fn a_damaged_file_is_refused_by_name() {
    let (db, dir) = database().await;
    let path = db.path().to_owned();
    drop(db);
    // The last connection takes the log away when it closes.
    let log = dir.path().join("s3 migration.sqlite-wal");
    eventually("log", false, async || log.exists()).await;
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100..4096].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let error = refusal(&path).await;
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("is damaged"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_create_one_file_at_once() {
    // The moment at which SQLite does not wait is short: most rounds miss it.
    for _ in 0..100 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new.sqlite");
        let opened =
            futures_util::future::join_all((0..8).map(|_| Database::open(path.clone()))).await;
        assert!(opened.iter().all(Result::is_ok), "{opened:?}");
    }
}
