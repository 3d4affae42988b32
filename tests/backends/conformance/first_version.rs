//! A file that the first version of the tables was written by, brought up to date with all it holds.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use s3_migration::queue::Queue;
use s3_migration::queue::sqlite::SqliteQueue;
use s3_migration::record::sqlite::SqliteRecords;
use s3_migration::record::{Attempts, JobStatus, NoteKey, Notes, Outcome, PastCopies, Record};
use s3_migration::sqlite::Database;
use tempfile::TempDir;

use crate::conformance::queue::{HIDDEN, take};
use crate::conformance::state::{end, id};

/// The tables as version 1 made them. This text stays as it is, whatever becomes of the program's.
const VERSION_1: &str = r#"
CREATE TABLE queue_message (
    id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, body TEXT NOT NULL,
    visible_at INTEGER NOT NULL DEFAULT 0, receive_count INTEGER NOT NULL DEFAULT 0,
    received_at INTEGER, lease INTEGER
);
CREATE INDEX queue_message_visible ON queue_message (queue, visible_at);
CREATE TABLE queue_dead (
    id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, body TEXT NOT NULL,
    reason TEXT NOT NULL, receive_count INTEGER NOT NULL, died_at INTEGER NOT NULL
);
CREATE INDEX queue_dead_queue ON queue_dead (queue);
CREATE TABLE record (
    "Key" TEXT NOT NULL, srcBucket TEXT NOT NULL, desBucket TEXT NOT NULL, desKey TEXT NOT NULL,
    Size INTEGER NOT NULL, versionId TEXT, sourceEtag TEXT, uploadId TEXT, partSize INTEGER,
    targetUploadId TEXT, targetEtag TEXT, jobStatus TEXT NOT NULL, instanceID TEXT NOT NULL,
    lease TEXT, tryTimes INTEGER NOT NULL, firstTime REAL NOT NULL, startTime REAL NOT NULL,
    startTime_f TEXT NOT NULL, endTime REAL, endTime_f TEXT, totalSpentTime REAL,
    lastTimeProgress INTEGER NOT NULL, lastError TEXT,
    UNIQUE ("Key", desBucket, desKey)
);
CREATE INDEX "desBucket-index" ON record (desBucket, desKey);
CREATE INDEX record_tally ON record (jobStatus, endTime, Size, firstTime);
PRAGMA application_id = 0x53334d47;
PRAGMA user_version = 1;
"#;

/// Two copies, one of them as it failed, a message that waits, and one that is dead.
const CONTENT: &str = r#"
INSERT INTO record VALUES ('src/done', 'src', 'des', 'p/done', 7, 'v1', 'etag-1', 'u', 5,
    'u', 'target-1', 'DONE', 'i-1', 't1', 3, 1750000010.0, 1750000020.0, '2025-06-15 15:07:00',
    1750000030.5, '2025-06-15 15:07:10', 10.5, 42, NULL);
INSERT INTO record VALUES ('src/failed', 'src', 'des', 'p/failed', 8, NULL, NULL, NULL, NULL,
    NULL, NULL, 'FAILED', 'i-1', NULL, 1, 1750000010.0, 1750000010.0, '2025-06-15 15:06:50',
    1750000011.0, '2025-06-15 15:06:51', 1.0, 0, 'denied');
INSERT INTO queue_message (queue, body) VALUES ('jobs', 'waits');
INSERT INTO queue_dead (queue, body, reason, receive_count, died_at)
    VALUES ('jobs', 'dead', 'why', 3, 1750000000000);
"#;

fn first_version() -> (PathBuf, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.sqlite");
    let file = Connection::open(&path).unwrap();
    file.execute_batch(VERSION_1).unwrap();
    file.execute_batch(CONTENT).unwrap();
    (path, dir)
}

/// How a file's tables look: the columns of each, in order, and the indexes.
fn shape(path: &Path) -> Vec<(String, String)> {
    let file = Connection::open(path).unwrap();
    let select = "SELECT m.type || ' ' || m.name, ifnull((SELECT group_concat(c.name || ' '
        || c.type || ' ' || c.\"notnull\" || ' ' || ifnull(c.dflt_value, ''))
        FROM pragma_table_info(m.name) c), '') FROM sqlite_schema m ORDER BY 1";
    let mut rows = file.prepare(select).unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Promise 1.
#[tokio::test]
async fn what_a_file_of_the_first_version_holds_is_kept() {
    let (path, _dir) = first_version();
    // The second time there is nothing to be done any more.
    for _ in 0..2 {
        let db = Database::open(&path).await.unwrap();
        let store = SqliteRecords::new(&db);
        let done = store.load(&id("done")).await.unwrap().unwrap();
        let Record { size, tries, progress, status, .. } = done;
        assert_eq!((size, tries, progress, status), (7, 3, 42, JobStatus::Done));
        assert_eq!((done.upload.map(|u| u.id), done.lease), (Some("u".into()), Some("t1".into())));
        assert_eq!(done.target_etag.as_ref().map(|etag| etag.as_str()), Some("target-1"));
        assert_eq!(done.spent, Some(Duration::from_millis(10_500)));
        assert_eq!((done.sequencer, done.deleted), (None, false));
        let failed = store.load(&id("failed")).await.unwrap().unwrap();
        assert_eq!((failed.last_error.as_deref(), failed.tries), (Some("denied"), 1));
        let depth = SqliteQueue::open(&db, "jobs", 3).await.unwrap().depth().await.unwrap();
        assert_eq!((depth.waiting, depth.running, depth.dead), (1, 0, Some(1)));
    }
    let db = Database::open(&path).await.unwrap();
    let queue = SqliteQueue::open(&db, "jobs", 3).await.unwrap();
    assert!(take(&queue, 1, HIDDEN).await.unwrap().values().all(|message| message.body == "waits"));
    let dead = queue.dead(9).await.unwrap();
    assert_eq!((dead[0].body.as_str(), dead[0].reason.as_str()), ("dead", "why"));
}

/// Promise 1.
#[tokio::test]
async fn what_the_second_version_has_more_works_on_a_file_of_the_first() {
    let (path, _dir) = first_version();
    let store = SqliteRecords::new(&Database::open(&path).await.unwrap());
    let copies =
        store.copies(&crate::conformance::state::all_copies("des")).await.unwrap().unwrap();
    let keys: Vec<_> = copies.copies.iter().map(|copy| copy.id.src.key.as_str()).collect();
    assert_eq!(keys, ["done"], "an old record is a copy, not a deletion");
    let deletion = Outcome { etag: None, deleted: true, ..end("done", None, 40, 50) };
    store.finish(&[deletion]).await.unwrap();
    assert!(store.load(&id("done")).await.unwrap().unwrap().deleted);
    let key = NoteKey::new("n");
    assert!(store.add_note(&key, b"text").await.unwrap());
    assert_eq!(store.notes(&[key]).await.unwrap(), [Some(b"text".to_vec())]);
}

/// Promise 1.
#[tokio::test]
async fn a_file_of_the_first_version_becomes_one_as_they_are_made_now() {
    let (path, dir) = first_version();
    let new = dir.path().join("new.sqlite");
    for path in [&path, &new] {
        drop(Database::open(path).await.unwrap());
    }
    assert_eq!(shape(&path), shape(&new));
    assert!(shape(&new).iter().any(|(name, _)| name == "table note"));
}
