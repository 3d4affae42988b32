//! The records in an SQLite file: its columns have the names of the DynamoDB table's attributes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row, Transaction, named_params, params};
use time::OffsetDateTime;

use super::{
    AttemptEnd, CopiesPage, CopiesRequest, Copy, JobStatus, NoteKey, Outcome, Proofs, Proven,
    Record, RecordId, RecordStore, RecordTally, Recorded, Seal, Start, UploadRef,
};
use crate::error::{Error, ErrorKind, Result};
use crate::object::sequencer::Sequencer;
use crate::object::{Etag, ObjectId, ObjectKey, Revision};
use crate::sqlite::Database;

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
}

#[async_trait]
impl RecordStore for SqliteRecords {
    async fn load(&self, id: &RecordId) -> Result<Option<Record>> {
        let id = id.clone();
        self.db
            .read(move |tx| {
                let (key, bucket, des) = (table_key(&id.src), id.des.bucket, id.des.key);
                tx.prepare_cached(SELECT_ONE)?
                    .query_row(params![key, bucket, des.as_str()], record)
                    .optional()
            })
            .await
    }

    async fn begin(&self, start: &Start) -> Result<()> {
        let begun = start.clone();
        match self.db.write(move |tx| begin(tx, &begun)).await? {
            0 => Err(taken_over(&start.id.src)),
            _ => Ok(()),
        }
    }

    async fn seal(&self, seal: &Seal) -> Result<()> {
        let (sealed, src) = (seal.clone(), &seal.id.src);
        let changed = self
            .db
            .write(move |tx| {
                tx.prepare_cached(SEAL)?.execute(params![
                    sealed.upload_id,
                    sealed.target_etag.as_ref().map(Etag::as_str),
                    table_key(&sealed.id.src),
                    sealed.id.des.bucket,
                    sealed.id.des.key.as_str(),
                    sealed.lease,
                    sealed.proven.as_str(),
                ])
            })
            .await?;
        match changed {
            0 => Err(taken_over(src)),
            _ => Ok(()),
        }
    }

    /// Records all of them in one transaction.
    async fn finish_each(&self, outcomes: &[Outcome]) -> Vec<Recorded> {
        let batch = outcomes.to_vec();
        let recorded = self
            .db
            .write(move |tx| batch.iter().map(|outcome| finish(tx, outcome)).collect())
            .await;
        let recorded: Vec<Option<Dropped>> = match recorded {
            Ok(recorded) => recorded,
            Err(error) => return super::all_failed(&error, outcomes.len()),
        };
        let answer = |(outcome, recorded): (&Outcome, Option<Dropped>)| match recorded {
            Some(dropped) => Ok(dropped),
            None => Err(taken_over(&outcome.id.src)),
        };
        outcomes.iter().zip(recorded).map(answer).collect()
    }

    async fn copied(&self, ids: &[RecordId]) -> Result<Vec<Option<Revision>>> {
        let ids = ids.to_vec();
        self.db.read(move |tx| ids.iter().map(|id| copied(tx, id)).collect()).await
    }

    async fn ends(&self, ids: &[RecordId]) -> Result<Vec<Option<AttemptEnd>>> {
        let ids = ids.to_vec();
        self.db.read(move |tx| ids.iter().map(|id| end(tx, id)).collect()).await
    }

    async fn copies(&self, request: &CopiesRequest) -> Result<Option<CopiesPage>> {
        let request = request.clone();
        self.db.read(move |tx| copies(tx, &request)).await.map(Some)
    }

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

    async fn tally(&self, since: SystemTime) -> Result<RecordTally> {
        self.db.read(move |tx| tally(tx, since)).await
    }

    async fn with_status(&self, status: JobStatus, limit: usize) -> Result<Vec<Record>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.db
            .read(move |tx| {
                tx.prepare_cached(SELECT_STATUS)?
                    .query_map(params![status.as_str(), limit], record)?
                    .collect()
            })
            .await
    }
}

fn taken_over(src: &ObjectId) -> Error {
    Error::new(ErrorKind::LeaseLost, format!("another attempt has taken over {src}"))
}

const SELECT_ONE: &str =
    r#"SELECT * FROM record WHERE "Key" = ?1 AND desBucket = ?2 AND desKey = ?3"#;
const SELECT_STATUS: &str = "SELECT * FROM record WHERE jobStatus = ?1 LIMIT ?2";

/// A new attempt takes over the record: only the first time, the try count and the event fields
/// stay. It does not if a later event than its own is on record.
const BEGIN: &str = r#"
INSERT INTO record ("Key", srcBucket, desBucket, desKey, Size, versionId, sourceEtag, uploadId,
    partSize, jobStatus, instanceID, lease, tryTimes, firstTime, startTime, startTime_f,
    lastTimeProgress)
VALUES (:key, :srcBucket, :desBucket, :desKey, :size, :version, :etag, :upload,
    :partSize, 'RUNNING', :instance, :lease, 1, :start, :start, :start_f, :progress)
ON CONFLICT ("Key", desBucket, desKey) DO UPDATE SET
    Size = excluded.Size, versionId = excluded.versionId, sourceEtag = excluded.sourceEtag,
    uploadId = excluded.uploadId, partSize = excluded.partSize, jobStatus = 'RUNNING',
    instanceID = excluded.instanceID, lease = excluded.lease, tryTimes = tryTimes + 1,
    startTime = excluded.startTime, startTime_f = excluded.startTime_f,
    lastTimeProgress = excluded.lastTimeProgress,
    endTime = NULL, endTime_f = NULL, totalSpentTime = NULL, lastError = NULL,
    proof = NULL, desEtag = NULL
WHERE :sequencer IS NULL OR sequencer IS NULL OR sequencer <= :sequencer"#;

const SEAL: &str = r#"
UPDATE record SET targetUploadId = ?1, targetEtag = ?2, proof = ?7
WHERE "Key" = ?3 AND desBucket = ?4 AND desKey = ?5 AND lease = ?6"#;

/// The `WHERE` clause is the fence: an attempt with a token finishes only a record that it still
/// holds. `begin` counts the tries; if there was no `begin`, this statement does. An outcome that
/// is on record already is not counted again.
///
/// The ETag and the upload on record belong together, or a later attempt could fill an upload that
/// holds parts of other content. So an outcome that never learned the source's ETag leaves size,
/// version, ETag and upload unchanged, for a later attempt to resume; one with another ETag drops
/// the upload, as a deletion does.
///
/// An outcome with an order finishes only the state of the record that it saw, or the one that it
/// wrote itself. States are compared to the millisecond.
const FINISH: &str = r#"
INSERT INTO record ("Key", srcBucket, desBucket, desKey, Size, versionId, sourceEtag, jobStatus,
    instanceID, lease, tryTimes, firstTime, startTime, startTime_f, endTime, endTime_f,
    totalSpentTime, lastTimeProgress, lastError, sequencer, deleted, proof, desEtag)
VALUES (:key, :srcBucket, :desBucket, :desKey, :size, :version, :etag, :status,
    :instance, :lease, 1, :start, :start, :start_f, :end, :end_f, :spent, 0, :error,
    :sequencer, :deleted, :proof, :desEtag)
ON CONFLICT ("Key", desBucket, desKey) DO UPDATE SET
    Size = iif(:knows, excluded.Size, Size),
    versionId = iif(:knows, excluded.versionId, versionId),
    uploadId = iif(NOT :knows OR (sourceEtag IS :etag AND NOT :deleted), uploadId, NULL),
    partSize = iif(NOT :knows OR (sourceEtag IS :etag AND NOT :deleted), partSize, NULL),
    sourceEtag = iif(:knows, :etag, sourceEtag),
    jobStatus = excluded.jobStatus, instanceID = excluded.instanceID,
    tryTimes = tryTimes + iif(:lease IS NOT NULL OR ((lease IS NULL OR :etag IS NULL) AND startTime IS :start
        AND endTime IS :end AND instanceID IS :instance AND jobStatus IS :status
        AND (:etag IS NULL OR sourceEtag IS :etag)), 0, 1),
    lease = iif(NOT :knows AND :lease IS NULL, lease, excluded.lease),
    startTime = excluded.startTime, startTime_f = excluded.startTime_f,
    endTime = excluded.endTime, endTime_f = excluded.endTime_f,
    totalSpentTime = excluded.totalSpentTime,
    lastTimeProgress = iif(:lease IS NULL, 0, lastTimeProgress), lastError = excluded.lastError,
    sequencer = ifnull(:sequencer, sequencer), deleted = iif(:knows, :deleted, deleted),
    proof = iif(:knows, :proof, proof), desEtag = iif(:knows, :desEtag, desEtag)
WHERE lease = :lease OR (:lease IS NULL AND (NOT :ordered
    OR (tryTimes IS :seenTries AND round(endTime * 1000) IS :seenEnd)
    OR (startTime IS :start AND endTime IS :end AND instanceID IS :instance
        AND jobStatus IS :status)))"#;

/// The number of records changed: 0 if a later event is on record.
fn begin(tx: &Transaction<'_>, start: &Start) -> rusqlite::Result<usize> {
    tx.prepare_cached(BEGIN)?.execute(named_params! {
        ":key": table_key(&start.id.src),
        ":srcBucket": start.id.src.bucket,
        ":desBucket": start.id.des.bucket,
        ":desKey": start.id.des.key.as_str(),
        ":size": integer(start.size)?,
        ":version": start.version,
        ":etag": start.etag.as_str(),
        ":upload": start.upload.id,
        ":partSize": integer(start.upload.part_size)?,
        ":instance": start.instance,
        ":lease": start.lease,
        ":start": seconds(start.start_time),
        ":start_f": readable(start.start_time),
        ":progress": start.progress,
        ":sequencer": start.sequencer.as_ref().map(Sequencer::as_str),
    })
}

const SELECT_COPIED: &str = r#"
SELECT versionId, sourceEtag FROM record
WHERE "Key" = ?1 AND desBucket = ?2 AND desKey = ?3 AND jobStatus = 'DONE' AND NOT deleted"#;

fn copied(tx: &Transaction<'_>, id: &RecordId) -> rusqlite::Result<Option<Revision>> {
    tx.prepare_cached(SELECT_COPIED)?
        .query_row(params![table_key(&id.src), id.des.bucket, id.des.key.as_str()], |row| {
            Ok(Revision::new(row.get(0)?, row.get::<_, Option<String>>(1)?.map(Etag::new)))
        })
        .optional()
}

const SELECT_END: &str = r#"
SELECT jobStatus, endTime FROM record
WHERE "Key" = ?1 AND desBucket = ?2 AND desKey = ?3 AND jobStatus <> 'RUNNING'
    AND endTime IS NOT NULL"#;

fn end(tx: &Transaction<'_>, id: &RecordId) -> rusqlite::Result<Option<AttemptEnd>> {
    tx.prepare_cached(SELECT_END)?
        .query_row(params![table_key(&id.src), id.des.bucket, id.des.key.as_str()], |row| {
            let status = status(row, 0)?;
            let seconds = row.get::<_, f64>(1)?;
            let time = UNIX_EPOCH + Duration::try_from_secs_f64(seconds).unwrap_or_default();
            Ok(AttemptEnd { status, time })
        })
        .optional()
}

const ADD_NOTE: &str = r#"INSERT OR IGNORE INTO note ("Key", note) VALUES (?1, ?2)"#;
const SET_NOTE: &str = r#"INSERT OR REPLACE INTO note ("Key", note) VALUES (?1, ?2)"#;
const SELECT_NOTE: &str = r#"SELECT note FROM note WHERE "Key" = ?1"#;
const REMOVE_NOTE: &str = r#"DELETE FROM note WHERE "Key" = ?1"#;

/// Copies per page.
const PAGE: u32 = 1000;

/// The rowid makes the order total: several sources may share one destination.
const SELECT_COPIES: &str = r#"
SELECT rowid, "Key", srcBucket, desKey, versionId, sourceEtag, proof, desEtag FROM record
INDEXED BY "desBucket-index"
WHERE desBucket = ?1 AND (desKey, rowid) > (?2, ?3) AND jobStatus = 'DONE'
    AND NOT deleted
ORDER BY desKey, rowid LIMIT ?4"#;

fn copies(tx: &Transaction<'_>, request: &CopiesRequest) -> rusqlite::Result<CopiesPage> {
    let token = request.token.as_deref().and_then(|token| token.split_once('/'));
    let after = request.after.as_ref().map(ObjectKey::as_str);
    let (after, row): (&str, i64) = match (token, after) {
        (Some((row, key)), _) => (key, row.parse().unwrap_or(i64::MAX)),
        (None, Some(after)) if after >= request.prefix.as_str() => (after, i64::MAX),
        (None, _) => (&request.prefix, i64::MIN),
    };
    let mut select = tx.prepare_cached(SELECT_COPIES)?;
    let rows = select.query_map(params![request.bucket, after, row, PAGE], |row| {
        let (key, bucket): (String, String) = (row.get(1)?, row.get(2)?);
        let src = key.get(bucket.len() + 1..).unwrap_or_default();
        let des = ObjectId::new(&request.bucket, row.get::<_, String>(3)?);
        let id = RecordId { src: ObjectId::new(&bucket, src), des };
        let etag = row.get::<_, Option<String>>(5)?.map(Etag::new);
        let proof: Option<String> = row.get(6)?;
        let proven = proof.as_deref().and_then(Proven::parse);
        let written = super::written(proven, etag.as_ref(), row.get(7)?);
        let revision = Revision::new(row.get(4)?, etag);
        Ok((row.get::<_, i64>(0)?, Copy { id, revision, written }))
    })?;
    let rows: Vec<(i64, Copy)> = rows.collect::<rusqlite::Result<_>>()?;
    let is_within = |copy: &Copy| copy.id.des.key.as_str().starts_with(&request.prefix);
    let next = rows.last().filter(|(_, copy)| rows.len() == PAGE as usize && is_within(copy));
    let next = next.map(|(row, copy)| format!("{row}/{}", copy.id.des.key.as_str()));
    let copies = rows.into_iter().map(|(_, copy)| copy).filter(is_within).collect();
    Ok(CopiesPage { copies, next })
}

/// The unfinished upload of another ETag, or of any ETag if the object is deleted.
const SELECT_OBSOLETE: &str = r#"
SELECT uploadId, partSize FROM record
WHERE "Key" = ?1 AND desBucket = ?2 AND desKey = ?3
    AND uploadId IS NOT NULL AND jobStatus <> 'DONE' AND sourceEtag IS NOT ?4"#;

/// The upload that an outcome has dropped.
type Dropped = Option<UploadRef>;

fn obsolete(tx: &Transaction<'_>, outcome: &Outcome) -> rusqlite::Result<Dropped> {
    if !outcome.knows() {
        return Ok(None);
    }
    let etag = outcome.etag.as_ref().map(Etag::as_str);
    let (key, des) = (table_key(&outcome.id.src), &outcome.id.des);
    tx.prepare_cached(SELECT_OBSOLETE)?
        .query_row(params![key, des.bucket, des.key.as_str(), etag], |row| {
            Ok(UploadRef { id: row.get(0)?, part_size: unsigned(row, 1)? })
        })
        .optional()
}

/// Records the outcome and returns the upload that it dropped; `None` if its token has been
/// replaced.
fn finish(tx: &Transaction<'_>, outcome: &Outcome) -> rusqlite::Result<Option<Dropped>> {
    let dropped = obsolete(tx, outcome)?;
    let spent = outcome.end_time.duration_since(outcome.start_time).unwrap_or_default();
    let order = outcome.order.as_ref();
    let (sequencer, seen) = (order.and_then(|o| o.sequencer.as_ref()), order.and_then(|o| o.seen));
    let changed = tx.prepare_cached(FINISH)?.execute(named_params! {
        ":key": table_key(&outcome.id.src),
        ":srcBucket": outcome.id.src.bucket,
        ":desBucket": outcome.id.des.bucket,
        ":desKey": outcome.id.des.key.as_str(),
        ":size": integer(outcome.size)?,
        ":version": outcome.version,
        ":etag": outcome.etag.as_ref().map(Etag::as_str),
        ":status": outcome.status.as_str(),
        ":instance": outcome.instance,
        ":lease": outcome.lease,
        ":start": seconds(outcome.start_time),
        ":start_f": readable(outcome.start_time),
        ":end": seconds(outcome.end_time),
        ":end_f": readable(outcome.end_time),
        ":spent": spent.as_secs_f64(),
        ":error": outcome.error,
        ":knows": outcome.knows(),
        ":deleted": outcome.deleted,
        ":proof": outcome.proven.map(Proven::as_str),
        ":desEtag": outcome.written_text(),
        ":ordered": order.is_some(),
        ":sequencer": sequencer.map(Sequencer::as_str),
        ":seenTries": seen.map(|seen| seen.tries),
        ":seenEnd": seen.and_then(|seen| seen.end_time).map(|time| millis(seconds(time))),
    })?;
    Ok((changed == 1).then_some(dropped))
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

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let key: String = row.get("Key")?;
    let bucket: String = row.get("srcBucket")?;
    // The bucket may be an access point's ARN, which contains a `/`.
    let src = key
        .strip_prefix(&bucket)
        .and_then(|key| key.strip_prefix('/'))
        .ok_or_else(|| foreign(row, "Key", "a key without its bucket"))?;
    let upload = match row.get::<_, Option<String>>("uploadId")? {
        None => None,
        Some(id) => Some(UploadRef { id, part_size: unsigned(row, "partSize")? }),
    };
    let sequencer: Option<String> = row.get("sequencer")?;
    let proof: Option<String> = row.get("proof")?;
    let proven = proof.as_deref().and_then(Proven::parse);
    let etag = row.get::<_, Option<String>>("sourceEtag")?.map(Etag::new);
    let done = status(row, "jobStatus")? == JobStatus::Done;
    let written = super::written(proven, etag.as_ref(), row.get("desEtag")?).filter(|_| done);
    Ok(Record {
        id: RecordId {
            src: ObjectId::new(bucket.as_str(), src),
            des: ObjectId::new(row.get::<_, String>("desBucket")?, row.get::<_, String>("desKey")?),
        },
        size: unsigned(row, "Size")?,
        version: row.get("versionId")?,
        etag,
        target_etag: match upload.as_ref().map(|upload| &upload.id) {
            // The seal of another upload says nothing about this one.
            Some(id) if row.get::<_, Option<String>>("targetUploadId")?.as_ref() == Some(id) => {
                row.get::<_, Option<String>>("targetEtag")?.map(Etag::new)
            }
            _ => None,
        },
        upload,
        status: status(row, "jobStatus")?,
        instance: row.get("instanceID")?,
        lease: row.get("lease")?,
        tries: row.get("tryTimes")?,
        first_time: instant(row.get("firstTime")?),
        start_time: instant(row.get("startTime")?),
        end_time: row.get::<_, Option<f64>>("endTime")?.map(instant),
        spent: row.get::<_, Option<f64>>("totalSpentTime")?.map(duration),
        progress: row.get("lastTimeProgress")?,
        last_error: row.get("lastError")?,
        sequencer: sequencer.as_deref().and_then(Sequencer::parse),
        deleted: row.get("deleted")?,
        proven,
        written,
    })
}

/// The original's partition key, byte for byte; `Display` would escape control characters.
fn table_key(src: &ObjectId) -> String {
    format!("{}/{}", src.bucket, src.key.as_str())
}

/// SQLite's integers are signed; no object or part size comes near their limit.
fn integer(value: u64) -> rusqlite::Result<i64> {
    i64::try_from(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
}

fn unsigned<I: rusqlite::RowIndex + std::marker::Copy>(
    row: &Row<'_>,
    column: I,
) -> rusqlite::Result<u64> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|_| foreign(row, column, "a negative number"))
}

fn status<I: rusqlite::RowIndex + std::marker::Copy>(
    row: &Row<'_>,
    column: I,
) -> rusqlite::Result<JobStatus> {
    JobStatus::parse(&row.get::<_, String>(column)?)
        .ok_or_else(|| foreign(row, column, "an unknown status"))
}

fn foreign<I: rusqlite::RowIndex>(row: &Row<'_>, column: I, what: &str) -> rusqlite::Error {
    let column = column.idx(row.as_ref()).unwrap_or_default();
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, what.into())
}

/// Seconds since 1970 with a fraction, the original's unit. Whole milliseconds survive a round
/// trip, finer fractions do not: compare a time that was read by its milliseconds.
fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn instant(seconds: f64) -> SystemTime {
    UNIX_EPOCH.checked_add(duration(seconds)).unwrap_or(UNIX_EPOCH)
}

fn duration(seconds: f64) -> Duration {
    // `as` saturates, so no number in the file can panic.
    Duration::from_millis(millis(seconds) as u64)
}

/// Rounded as SQLite's `round` does.
fn millis(seconds: f64) -> f64 {
    (seconds * 1000.0).round()
}

/// The form of the original's `startTime_f` and `endTime_f`, in UTC.
fn readable(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .map(|t| format!("{} {:02}:{:02}:{:02}", t.date(), t.hour(), t.minute(), t.second()))
        .unwrap_or_default()
}
