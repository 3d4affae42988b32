//! One SQLite file: the embedded queues and records, shared by several processes.
//!
//! Each [`Database`] owns a thread with one connection. SQLite's calls block, so they may not run
//! on the runtime's threads, and a single thread that runs them one after the other needs no lock.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind, Result};

/// How long a call waits for other writing processes. Their transactions take milliseconds; ten
/// seconds outlast a burst of thousands of sends on a slow disk.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Marks the file as ours (<https://www.sqlite.org/pragma.html#pragma_application_id>): "S3MG".
const APPLICATION_ID: i32 = 0x5333_4d47;

/// The schema version, kept in the file as `user_version`.
const SCHEMA_VERSION: i32 = 5;

/// The queue's times are milliseconds since 1970. A record's times are in the original's unit:
/// seconds, with a fraction.
///
/// `visible_at` is 0 for a message that was never received: this keeps returned messages apart from
/// new ones, so that either can be found through the index alone.
const SCHEMA: &str = r#"
CREATE TABLE queue_message (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    queue         TEXT NOT NULL,
    body          TEXT NOT NULL,
    visible_at    INTEGER NOT NULL DEFAULT 0,
    receive_count INTEGER NOT NULL DEFAULT 0,
    received_at   INTEGER,
    lease         INTEGER
);
CREATE INDEX queue_message_visible ON queue_message (queue, visible_at);

CREATE TABLE queue_dead (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    queue         TEXT NOT NULL,
    body          TEXT NOT NULL,
    reason        TEXT NOT NULL,
    receive_count INTEGER NOT NULL,
    died_at       INTEGER NOT NULL
);
CREATE INDEX queue_dead_queue ON queue_dead (queue);

CREATE TABLE record (
    "Key"            TEXT NOT NULL,
    srcBucket        TEXT NOT NULL,
    desBucket        TEXT NOT NULL,
    desKey           TEXT NOT NULL,
    Size             INTEGER NOT NULL,
    versionId        TEXT,
    sourceEtag       TEXT,
    uploadId         TEXT,
    partSize         INTEGER,
    targetUploadId   TEXT,
    targetEtag       TEXT,
    jobStatus        TEXT NOT NULL,
    instanceID       TEXT NOT NULL,
    lease            TEXT,
    tryTimes         INTEGER NOT NULL,
    firstTime        REAL NOT NULL,
    startTime        REAL NOT NULL,
    startTime_f      TEXT NOT NULL,
    endTime          REAL,
    endTime_f        TEXT,
    totalSpentTime   REAL,
    lastTimeProgress INTEGER NOT NULL,
    lastError        TEXT,
    UNIQUE ("Key", desBucket, desKey)
);
CREATE INDEX "desBucket-index" ON record (desBucket, desKey);
CREATE INDEX record_tally ON record (jobStatus, endTime, Size, firstTime);
"#;

/// Migration from schema 1 to 2.
const SINCE_1: &str = r#"
CREATE TABLE note (
    "Key" TEXT PRIMARY KEY,
    note  BLOB NOT NULL
) WITHOUT ROWID;
ALTER TABLE record ADD COLUMN sequencer TEXT;
ALTER TABLE record ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0;
"#;

/// Migration from schema 2 to 3: what a copy is proven by, and the ETag that the destination
/// answered. The index covers everything that counting needs.
const SINCE_2: &str = r#"
ALTER TABLE record ADD COLUMN proof TEXT;
ALTER TABLE record ADD COLUMN desEtag TEXT;
DROP INDEX record_tally;
CREATE INDEX record_tally ON record (jobStatus, endTime, Size, firstTime, proof);
"#;

/// Migration from schema 3 to 4: which failure was answered by sending the object again, and how
/// often that was done.
const SINCE_3: &str = r#"
ALTER TABLE record ADD COLUMN redriven REAL;
ALTER TABLE record ADD COLUMN redrives INTEGER;
"#;

/// Migration from schema 4 to 5: whether the parts of an upload were sent after their digests.
const SINCE_4: &str = "ALTER TABLE record ADD COLUMN digestsFirst INTEGER;";

type Task = Box<dyn FnOnce(&mut Connection) + Send>;

/// An open file. Clones share one connection and its thread. When the last clone is dropped, the
/// thread ends and the connection is closed; if no other process has the file open, that also
/// removes SQLite's side files. Any number of processes on one machine may have the same file open,
/// but not over a network file system: SQLite's write-ahead log needs shared memory
/// (<https://www.sqlite.org/wal.html>).
#[derive(Clone)]
pub struct Database {
    path: Arc<Path>,
    connection: Arc<Owner>,
}

/// The thread that owns the connection.
struct Owner {
    /// `None` only while it is being dropped.
    tasks: Option<mpsc::Sender<Task>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Owner {
    /// Waits until the connection is closed: a process that ended earlier would leave the log and
    /// the shared memory next to the file.
    fn drop(&mut self) {
        drop(self.tasks.take());
        // If the caller no longer waits for an answer, the thread drops it, and the answer may hold
        // the last clone of the database: then this runs on the thread itself.
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            // A panic on that thread has already been reported there.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database").field(&self.path).finish()
    }
}

impl Database {
    /// Opens the file, and creates it with its tables if it does not exist. Fails with `Usage` if
    /// the file cannot be used: damaged, not writable, not a database, another program's, or
    /// written by a newer version of this one.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        // An absolute path also keeps SQLite from reading `file:…` as a URI, and `:memory:` as a
        // database without a file.
        let path: Arc<Path> = std::path::absolute(path.as_ref())
            .map_err(|e| Error::usage("no usable path for the SQLite file").with_source(e))?
            .into();
        let (tasks, queue) = mpsc::channel::<Task>();
        let (opened, ready) = oneshot::channel();
        let file = PathBuf::from(&*path);
        let thread = thread::Builder::new()
            .name("sqlite".to_owned())
            .spawn(move || match connect(&file) {
                Err(error) => drop(opened.send(Err(error))),
                Ok(mut connection) => {
                    let _ = opened.send(Ok(()));
                    queue.into_iter().for_each(|task| task(&mut connection));
                }
            })
            .map_err(|e| {
                Error::new(ErrorKind::Unavailable, "no thread could be started for the SQLite file")
                    .with_source(e)
            })?;
        let connection = Arc::new(Owner { tasks: Some(tasks), thread: Some(thread) });
        let database = Self { path, connection };
        ready.await.map_err(|_| database.gone())??;
        Ok(database)
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `f` in a transaction that sees one state of the file and writes nothing.
    pub(crate) async fn read<T, F>(&self, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run(move |connection| f(&connection.transaction()?)).await
    }

    /// Runs `f` in a transaction that excludes all other writers, and commits it if `f` succeeds.
    /// It runs to its end even if the future is dropped; then its answer is dropped.
    pub(crate) async fn write<T, F>(&self, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run(move |connection| write(connection, f)).await
    }

    /// Runs `f` on the connection and waits for its answer.
    pub(crate) async fn run<T, F>(&self, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        self.post(move |connection| drop(answer.send(f(connection))));
        result.await.map_err(|_| self.gone())?.map_err(|e| translate(&self.path, e))
    }

    /// Runs `f` on the connection without waiting for it: for `drop`, which cannot wait.
    pub(crate) fn post(&self, f: impl FnOnce(&mut Connection) + Send + 'static) {
        // If the thread is gone, callers that wait for an answer learn it from their channels.
        if let Some(tasks) = &self.connection.tasks {
            let _ = tasks.send(Box::new(f));
        }
    }

    fn gone(&self) -> Error {
        let path = self.path.display();
        Error::new(ErrorKind::Unavailable, format!("the connection to {path} has ended"))
    }
}

/// One transaction that takes the write lock first: upgrading a read lock fails at once, without
/// waiting, if another process has written meanwhile.
pub(crate) fn write<T>(
    connection: &mut Connection,
    f: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = f(&tx)?;
    tx.commit()?;
    Ok(value)
}

/// One moment on both clocks. Leases outlive processes, so the file holds wall clock time; a
/// process counts down in monotonic time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Read before `millis`, so that a time computed from it is never later than its twin.
    pub(crate) instant: Instant,
    /// Milliseconds since 1970, rounded down.
    pub(crate) millis: i64,
}

impl Moment {
    pub(crate) fn now() -> Self {
        let instant = Instant::now();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { instant, millis: millis(since) }
    }
}

/// Whole milliseconds, as SQLite's integers hold them.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Opens the file. SQLite answers `BUSY` without waiting if two processes create a file or turn on
/// its log at the same moment; at the second try it is done.
fn connect(path: &Path) -> Result<Connection> {
    let give_up = Instant::now() + BUSY_TIMEOUT;
    loop {
        match try_connect(path) {
            Ok(opened) => return opened,
            Err(e) if is_busy(&e) && Instant::now() < give_up => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(e) => return Err(translate(path, e)),
        }
    }
}

fn try_connect(path: &Path) -> rusqlite::Result<Result<Connection>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Before the first write, so that another program's file stays as it is. In one transaction, or
    // a file that another process is just creating would be seen half made.
    if let Err(refusal) = inspect(&connection.transaction()?, path)? {
        return Ok(Err(refusal));
    }
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        let text = format!(
            "{} cannot be shared between processes: its file system does not support SQLite's \
             write-ahead log; choose a local disk",
            path.display()
        );
        return Ok(Err(Error::usage(text)));
    }
    // With the log, NORMAL survives the death of any process. A power cut may undo the last
    // transactions, in order and whole: then a job is done again, or found again by comparing the
    // buckets. FULL would avoid that at the price of a disk flush per message.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.set_prepared_statement_cache_capacity(64);
    let created = write(&mut connection, |tx| match inspect(tx, path)? {
        Ok(version) => create(tx, version).map(Ok),
        Err(refusal) => Ok(Err(refusal)),
    })?;
    Ok(created.map(|()| connection))
}

/// The version of the file's tables, 0 for a new file; `Err` if the file is not ours to use.
fn inspect(tx: &Transaction<'_>, path: &Path) -> rusqlite::Result<Result<i32>> {
    let number = |sql: &str| tx.query_row(sql, [], |row| row.get::<_, i32>(0));
    let application = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    let path = path.display();
    Ok(match (application, version, tables) {
        (0, 0, 0) => Ok(0),
        (APPLICATION_ID, known @ 1..=SCHEMA_VERSION, _) => Ok(known),
        (APPLICATION_ID, newer, _) => Err(Error::usage(format!(
            "{path} was written by a newer version of s3-migration: its tables have version \
             {newer}, this version knows {SCHEMA_VERSION}; update the program or choose another \
             file"
        ))),
        _ => Err(Error::usage(format!(
            "{path} is the SQLite database of another program; choose another file"
        ))),
    })
}

/// Migrates the tables from this version to the one of this program.
fn create(tx: &Transaction<'_>, version: i32) -> rusqlite::Result<()> {
    for (since, sql) in [(1, SCHEMA), (2, SINCE_1), (3, SINCE_2), (4, SINCE_3), (5, SINCE_4)] {
        if version < since {
            tx.execute_batch(sql)?;
        }
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", SCHEMA_VERSION)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// SQLite's error in the product's terms. `Usage` is for what the user must correct, `Unavailable`
/// for what may pass by itself.
fn translate(path: &Path, error: rusqlite::Error) -> Error {
    use ErrorKind::{Invalid, Unavailable, Usage};
    let (kind, what) = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => (Usage, "is not an SQLite database; choose another file"),
        Some(ErrorCode::DatabaseCorrupt) => (
            Usage,
            "is damaged; move it away and start again: comparing the buckets finds what is left \
             to do",
        ),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => (
            Usage,
            "cannot be opened; it must be a file, in a directory that exists and may be written",
        ),
        Some(ErrorCode::ReadOnly) => (Usage, "cannot be written; check its permissions"),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (Unavailable, "has been locked by another process for too long")
        }
        Some(ErrorCode::DiskFull) => (Unavailable, "cannot grow: the disk is full"),
        Some(_) => (Unavailable, "cannot be used"),
        None => (Invalid, "holds data that this program did not write"),
    };
    Error::new(kind, format!("{} {what}", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn what_the_user_must_mend_is_told_from_what_passes() {
        for (code, kind, text) in [
            (ffi::SQLITE_NOTADB, ErrorKind::Usage, "is not an SQLite database"),
            (ffi::SQLITE_CORRUPT, ErrorKind::Usage, "is damaged"),
            (ffi::SQLITE_CANTOPEN, ErrorKind::Usage, "cannot be opened"),
            (ffi::SQLITE_READONLY, ErrorKind::Usage, "cannot be written"),
            (ffi::SQLITE_BUSY, ErrorKind::Unavailable, "locked by another process"),
            (ffi::SQLITE_FULL, ErrorKind::Unavailable, "the disk is full"),
            (ffi::SQLITE_IOERR, ErrorKind::Unavailable, "cannot be used"),
        ] {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let error = translate(Path::new("dir/jobs.sqlite"), error);
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().starts_with("dir/jobs.sqlite "), "{error}");
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
