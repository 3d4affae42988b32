//! The records in an SQLite file: its columns have the names of the DynamoDB table's attributes.

use std::time::SystemTime;

use async_trait::async_trait;
use rusqlite::{OptionalExtension, Transaction, params};

use self::row::{instant, seconds, status, unsigned};
use super::rules::{Carried, Change};
use super::{
    AttemptEnd, Attempts, Board, BoardChange, CopiesPage, CopiesRequest, Copy, JobStatus, NoteKey,
    Notes, Outcome, PastCopies, Proofs, Record, RecordId, RecordList, RecordTally, Recorded,
    RecordsPage, RecordsRequest, Seal, Stamp, Start,
};
use crate::error::Result;
use crate::object::{ObjectKey, Revision};
use crate::sqlite::Database;

mod row;

/// The records in one file.
#[derive(Clone, Debug)]
pub struct SqliteRecords {
    db: Database,
}

impl SqliteRecords {
    /// The records in `db`.
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }

    /// All notes whose keys begin like `key`.
    pub async fn notes_like(&self, key: &NoteKey) -> Result<Vec<Vec<u8>>> {
        let (from, to) = (key.as_str().to_owned(), format!("{}\u{10ffff}", key.as_str()));
        let notes = move |tx: &Transaction<'_>| {
            tx.prepare_cached(SELECT_NOTES)?
                .query_map(params![from, to], |row| row.get(0))?
                .collect()
        };
        self.db.read(notes).await
    }
}

#[async_trait]
impl Attempts for SqliteRecords {
    async fn load(&self, id: &RecordId) -> Result<Option<Record>> {
        let id = id.clone();
        self.db.read(move |tx| row::record(tx, &id)).await
    }

    async fn begin(&self, start: &Start) -> Result<()> {
        let begun = start.clone();
        let carried = self.db.write(move |tx| carry_out(tx, Change::Begin(&begun))).await?;
        recorded(&start.id, carried).map(drop)
    }

    async fn seal(&self, seal: &Seal) -> Result<()> {
        let sealed = seal.clone();
        let carried = self.db.write(move |tx| carry_out(tx, Change::Seal(&sealed))).await?;
        recorded(&seal.id, carried).map(drop)
    }

    /// Records all of them in one transaction.
    async fn finish_each(&self, outcomes: &[Outcome]) -> Vec<Recorded> {
        let batch = outcomes.to_vec();
        let finish = move |tx: &Transaction<'_>| {
            batch.iter().map(|outcome| carry_out(tx, Change::Finish(outcome))).collect()
        };
        let carried: Vec<Carried> = match self.db.write(finish).await {
            Ok(carried) => carried,
            Err(error) => return super::all_failed(&error, outcomes.len()),
        };
        let answers = outcomes.iter().zip(carried);
        answers.map(|(outcome, carried)| recorded(&outcome.id, carried)).collect()
    }
}

#[async_trait]
impl PastCopies for SqliteRecords {
    async fn copied(&self, ids: &[RecordId]) -> Result<Vec<Option<Revision>>> {
        let ids = ids.to_vec();
        self.db.read(move |tx| ids.iter().map(|id| row::copied(tx, id)).collect()).await
    }

    async fn ends(&self, ids: &[RecordId]) -> Result<Vec<Option<AttemptEnd>>> {
        let ids = ids.to_vec();
        self.db.read(move |tx| ids.iter().map(|id| row::end(tx, id)).collect()).await
    }

    async fn copies(&self, request: &CopiesRequest) -> Result<Option<CopiesPage>> {
        let request = request.clone();
        self.db.read(move |tx| copies(tx, &request)).await.map(Some)
    }
}

#[async_trait]
impl Notes for SqliteRecords {
    async fn add_note(&self, key: &NoteKey, text: &[u8]) -> Result<bool> {
        let (key, text) = (key.clone(), text.to_owned());
        let added = move |tx: &Transaction<'_>| {
            tx.prepare_cached(ADD_NOTE)?.execute(params![key.as_str(), text])
        };
        self.db.write(added).await.map(|changed| changed > 0)
    }

    async fn set_note(&self, key: &NoteKey, text: &[u8]) -> Result<()> {
        let (key, text) = (key.clone(), text.to_owned());
        let set = move |tx: &Transaction<'_>| {
            tx.prepare_cached(SET_NOTE)?.execute(params![key.as_str(), text])
        };
        self.db.write(set).await.map(drop)
    }

    async fn notes(&self, keys: &[NoteKey]) -> Result<Vec<Option<Vec<u8>>>> {
        let keys = keys.to_vec();
        let note = |tx: &Transaction<'_>, key: &NoteKey| {
            let mut select = tx.prepare_cached(SELECT_NOTE)?;
            select.query_row(params![key.as_str()], |row| row.get(0)).optional()
        };
        self.db.read(move |tx| keys.iter().map(|key| note(tx, key)).collect()).await
    }

    async fn remove_notes(&self, keys: &[NoteKey]) -> Result<()> {
        let keys = keys.to_vec();
        let remove = move |tx: &Transaction<'_>| {
            let mut delete = tx.prepare_cached(REMOVE_NOTE)?;
            keys.iter().try_for_each(|key| delete.execute(params![key.as_str()]).map(drop))
        };
        self.db.write(remove).await
    }

    /// Each part is a note of its own: the board's key, a line feed, the part's name.
    async fn board(&self, key: &NoteKey, change: &BoardChange) -> Result<Option<Board>> {
        let (first, change) = (format!("{}\n", key.as_str()), change.clone());
        if change == BoardChange::default() {
            return self.db.read(move |tx| board(tx, &first)).await.map(Some);
        }
        self.db.write(move |tx| changed_board(tx, &first, &change)).await
    }
}

#[async_trait]
impl RecordList for SqliteRecords {
    async fn tally(&self, since: SystemTime) -> Result<RecordTally> {
        self.db.read(move |tx| tally(tx, since)).await
    }

    async fn records(&self, request: &RecordsRequest) -> Result<RecordsPage> {
        let request = request.clone();
        self.db.read(move |tx| records(tx, &request)).await
    }

    async fn page_with_status(
        &self,
        status: JobStatus,
        token: Option<&str>,
    ) -> Result<RecordsPage> {
        let after: i64 = token.and_then(|token| token.parse().ok()).unwrap_or(0);
        let rows = self.db.read(move |tx| row::page_with_status(tx, status, after, PAGE)).await?;
        let next = rows.last().filter(|_| rows.len() == PAGE).map(|(row, _)| row.to_string());
        Ok(RecordsPage { records: rows.into_iter().map(|(_, record)| record).collect(), next })
    }

    async fn mark_redriven(&self, id: &RecordId, seen: Stamp) -> Result<bool> {
        let id = id.clone();
        self.db.write(move |tx| row::mark_redriven(tx, &id, seen)).await
    }

    async fn with_status(&self, status: JobStatus, limit: usize) -> Result<Vec<Record>> {
        self.db.read(move |tx| row::with_status(tx, status, limit)).await
    }
}

fn recorded(id: &RecordId, carried: Carried) -> Recorded {
    match carried {
        Carried::Out(dropped) => Ok(dropped),
        Carried::Repeated => Ok(None),
        Carried::Fenced => Err(super::taken_over(id)),
    }
}

fn carry_out(tx: &Transaction<'_>, change: Change<'_>) -> rusqlite::Result<Carried> {
    let key = row::table_key(&change.id().src);
    let mut row = row::select(tx, change.id(), &key)?;
    // A row needs more than a seal knows.
    if row.is_none() && matches!(change, Change::Seal(_)) {
        return Ok(Carried::Fenced);
    }
    let carried = change.carry_out(&mut row);
    if let (Carried::Out(_), Some(row)) = (&carried, &row) {
        row::upsert(tx, change.id(), &key, row)?;
    }
    Ok(carried)
}

const ADD_NOTE: &str = r#"INSERT OR IGNORE INTO note ("Key", note) VALUES (?1, ?2)"#;
const SET_NOTE: &str = r#"INSERT OR REPLACE INTO note ("Key", note) VALUES (?1, ?2)"#;
const SELECT_NOTE: &str = r#"SELECT note FROM note WHERE "Key" = ?1"#;
const SELECT_NOTES: &str = r#"SELECT note FROM note WHERE "Key" >= ?1 AND "Key" < ?2"#;
const REMOVE_NOTE: &str = r#"DELETE FROM note WHERE "Key" = ?1"#;

const SELECT_BOARD: &str = r#"SELECT "Key", note FROM note WHERE "Key" >= ?1 AND "Key" < ?2"#;

fn board(tx: &Transaction<'_>, first: &str) -> rusqlite::Result<Board> {
    // The first text after all that begin with this one.
    let end = format!("{}\u{b}", first.trim_end_matches('\n'));
    let mut select = tx.prepare_cached(SELECT_BOARD)?;
    let parts = select.query_map(params![first, end], |row| {
        let key: String = row.get(0)?;
        Ok((key[first.len()..].to_owned(), row.get(1)?))
    })?;
    parts.collect()
}

fn changed_board(
    tx: &Transaction<'_>,
    first: &str,
    change: &BoardChange,
) -> rusqlite::Result<Option<Board>> {
    let key = |part: &str| format!("{first}{part}");
    if let Some((part, expected)) = &change.only_if {
        let mut select = tx.prepare_cached(SELECT_NOTE)?;
        let found: Option<Vec<u8>> =
            select.query_row(params![key(part)], |row| row.get(0)).optional()?;
        if found != *expected {
            return Ok(None);
        }
    }
    for part in &change.remove {
        tx.prepare_cached(REMOVE_NOTE)?.execute(params![key(part)])?;
    }
    for (part, text) in &change.set {
        tx.prepare_cached(SET_NOTE)?.execute(params![key(part), text])?;
    }
    board(tx, first).map(Some)
}

/// Copies per page.
const PAGE: usize = 1000;

fn copies(tx: &Transaction<'_>, request: &CopiesRequest) -> rusqlite::Result<CopiesPage> {
    let token = request.token.as_deref().and_then(|token| token.split_once('/'));
    let after = request.after.as_ref().map(ObjectKey::as_str);
    let (after, row): (&str, i64) = match (token, after) {
        (Some((row, key)), _) => (key, row.parse().unwrap_or(i64::MAX)),
        (None, Some(after)) if after >= request.prefix.as_str() => (after, i64::MAX),
        (None, _) => (&request.prefix, i64::MIN),
    };
    let rows = row::copies(tx, &request.bucket, (after, row), PAGE)?;
    let is_within = |copy: &Copy| copy.id.des.key.as_str().starts_with(&request.prefix);
    let next = rows.last().filter(|(_, copy)| rows.len() == PAGE && is_within(copy));
    let next = next.map(|(row, copy)| format!("{row}/{}", copy.id.des.key.as_str()));
    let copies = rows.into_iter().map(|(_, copy)| copy).filter(is_within).collect();
    Ok(CopiesPage { copies, next })
}

fn records(tx: &Transaction<'_>, request: &RecordsRequest) -> rusqlite::Result<RecordsPage> {
    let token = request.token.as_deref().and_then(|token| token.split_once('/'));
    let first = request.within.as_ref().map_or("", |within| within.key.as_str());
    let (row, after) = token.unwrap_or(("", first));
    let row: i64 = row.parse().unwrap_or(i64::MIN);
    let rows = match &request.within {
        None => row::all(tx, row, PAGE),
        Some(within) => row::within(tx, &within.bucket, (after, row), PAGE),
    }?;
    let is_within = |record: &Record| request.is_within(&record.id.des);
    let next = rows.last().filter(|(_, record)| rows.len() == PAGE && is_within(record));
    let next = next.map(|(row, record)| format!("{row}/{}", record.id.des.key.as_str()));
    let records = rows.into_iter().map(|(_, record)| record).filter(is_within).collect();
    Ok(RecordsPage { records, next })
}

/// One pass over a covering index, so that `status --watch` does not read the whole file.
fn tally(tx: &Transaction<'_>, since: SystemTime) -> rusqlite::Result<RecordTally> {
    let mut select = tx.prepare_cached(
        "SELECT jobStatus, count(*), sum(Size), min(firstTime), max(endTime),
             count(iif(endTime >= ?1, 1, NULL)), sum(iif(endTime >= ?1, Size, 0)),
             sum(proof = 'source'), sum(proof = 'transit'), sum(proof = 'none')
         FROM record GROUP BY jobStatus",
    )?;
    let mut rows = select.query([seconds(since)])?;
    let mut tally = RecordTally::default();
    let (mut first, mut last) = (None::<f64>, None::<f64>);
    while let Some(row) = rows.next()? {
        let (records, bytes) = (unsigned(row, 1)?, unsigned(row, 2)?);
        match status(row, 0)? {
            JobStatus::Running => (tally.running, tally.running_bytes) = (records, bytes),
            JobStatus::Failed => tally.failed = records,
            JobStatus::Done => {
                (tally.done, tally.done_bytes) = (records, bytes);
                (tally.recent, tally.recent_bytes) = (unsigned(row, 5)?, unsigned(row, 6)?);
                let count = |at| -> rusqlite::Result<u64> {
                    Ok(row
                        .get::<_, Option<i64>>(at)?
                        .and_then(|n| n.try_into().ok())
                        .unwrap_or_default())
                };
                let [source, transit, none] = [count(7), count(8), count(9)];
                tally.proofs = Proofs { source: source?, transit: transit?, none: none? };
            }
        }
        let (begun, ended): (f64, Option<f64>) = (row.get(3)?, row.get(4)?);
        first = Some(first.map_or(begun, |first| first.min(begun)));
        last = last.into_iter().chain(ended).reduce(f64::max);
    }
    tally.span = first.zip(last).map(|(first, last)| (instant(first), instant(last)));
    Ok(tally)
}
