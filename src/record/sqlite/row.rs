//! The table of records: its rows as those of the rules, and back.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::types::{ToSqlOutput, Type, ValueRef};
use rusqlite::{OptionalExtension, Params, ToSql, Transaction, params};

use crate::object::{ObjectId, Revision};
use crate::record::rules::{Column, Kind, Row, Value};
use crate::record::{AttemptEnd, Copy, JobStatus, Record, RecordId, Stamp};

/// The columns that identify a row, in the order of the parameters.
const IDENTITY: [&str; 4] = ["\"Key\"", "srcBucket", "desBucket", "desKey"];

/// What [`copied`] reads.
const COPIED: [Column; 4] = [Column::Version, Column::SourceEtag, Column::Status, Column::Deleted];
/// What [`copies`] reads.
const COPY: [Column; 6] = [
    Column::Version,
    Column::SourceEtag,
    Column::Status,
    Column::Deleted,
    Column::Proof,
    Column::DesEtag,
];
/// What [`end`] reads.
const END: [Column; 2] = [Column::Status, Column::EndTime];

fn names(columns: &[Column]) -> String {
    columns.iter().map(|column| column.name()).collect::<Vec<_>>().join(", ")
}

fn select_one(columns: &[Column]) -> String {
    let columns = names(columns);
    format!(r#"SELECT {columns} FROM record WHERE "Key" = ?1 AND desBucket = ?2 AND desKey = ?3"#)
}

static SELECT: LazyLock<String> = LazyLock::new(|| select_one(&Column::ALL));
static SELECT_COPIED: LazyLock<String> = LazyLock::new(|| select_one(&COPIED));
static SELECT_END: LazyLock<String> = LazyLock::new(|| select_one(&END));

static SELECT_STATUS: LazyLock<String> = LazyLock::new(|| {
    let (identity, columns) = (IDENTITY.join(", "), names(&Column::ALL));
    format!("SELECT {identity}, {columns} FROM record WHERE jobStatus = ?1 LIMIT ?2")
});

/// The rowid makes the order total: several sources may share one destination. A page is full of
/// copies, so the query skips other records itself.
static SELECT_COPIES: LazyLock<String> = LazyLock::new(|| {
    let (identity, columns) = (IDENTITY.join(", "), names(&COPY));
    format!(
        r#"SELECT {identity}, {columns}, rowid FROM record
        INDEXED BY "desBucket-index"
        WHERE desBucket = ?1 AND (desKey, rowid) > (?2, ?3) AND jobStatus = 'DONE' AND NOT deleted
        ORDER BY desKey, rowid LIMIT ?4"#
    )
});

/// Records of one bucket in the order of its keys.
static SELECT_WITHIN: LazyLock<String> = LazyLock::new(|| {
    let (identity, columns) = (IDENTITY.join(", "), names(&Column::ALL));
    format!(
        r#"SELECT {identity}, {columns}, rowid FROM record INDEXED BY "desBucket-index"
        WHERE desBucket = ?1 AND (desKey, rowid) > (?2, ?3) ORDER BY desKey, rowid LIMIT ?4"#
    )
});

static SELECT_ALL: LazyLock<String> = LazyLock::new(|| {
    let (identity, columns) = (IDENTITY.join(", "), names(&Column::ALL));
    format!(
        "SELECT {identity}, {columns}, rowid FROM record WHERE rowid > ?1 ORDER BY rowid LIMIT ?2"
    )
});

/// The scan goes by the rowid, or each page would sort all records with the status.
static PAGE_WITH_STATUS: LazyLock<String> = LazyLock::new(|| {
    let (identity, columns) = (IDENTITY.join(", "), names(&Column::ALL));
    format!(
        "SELECT {identity}, {columns}, rowid FROM record NOT INDEXED
        WHERE jobStatus = ?1 AND rowid > ?2 ORDER BY rowid LIMIT ?3"
    )
});

const MARK_REDRIVEN: &str = r#"
UPDATE record SET redriven = endTime, redrives = ifnull(redrives, 0) + 1
WHERE "Key" = ?1 AND desBucket = ?2 AND desKey = ?3 AND jobStatus = 'FAILED'
    AND tryTimes = ?4 AND round(endTime * 1000) IS ?5"#;

static UPSERT: LazyLock<String> = LazyLock::new(|| {
    let all: Vec<&str> = IDENTITY.into_iter().chain(Column::ALL.map(Column::name)).collect();
    let marks = vec!["?"; all.len()].join(", ");
    let set = Column::ALL.map(|column| format!("{0} = excluded.{0}", column.name())).join(", ");
    let all = all.join(", ");
    format!(
        r#"INSERT INTO record ({all}) VALUES ({marks})
        ON CONFLICT ("Key", desBucket, desKey) DO UPDATE SET {set}"#
    )
});

/// The original's partition key, byte for byte; `Display` would escape control characters.
pub(super) fn table_key(src: &ObjectId) -> String {
    let (bucket, key) = (src.bucket.as_str(), src.key.as_str());
    [bucket, "/", key].concat()
}

/// The row of a record, if there is one, whose primary key begins with `key`.
pub(super) fn select(
    tx: &Transaction<'_>,
    id: &RecordId,
    key: &str,
) -> rusqlite::Result<Option<Row<'static>>> {
    let of = params![key, id.des.bucket, id.des.key.as_str()];
    query_one(tx, &SELECT, of, |row| read(row, 0, &Column::ALL).map(Row::into_owned))
}

/// Writes a row over the one that is there, if any.
pub(super) fn upsert(
    tx: &Transaction<'_>,
    id: &RecordId,
    key: &str,
    row: &Row<'_>,
) -> rusqlite::Result<()> {
    let mut upsert = tx.prepare_cached(&UPSERT)?;
    let identity = [key, id.src.bucket.as_str(), id.des.bucket.as_str(), id.des.key.as_str()];
    for (at, text) in (1..).zip(identity) {
        upsert.raw_bind_parameter(at, text)?;
    }
    for (at, column) in (identity.len() + 1..).zip(Column::ALL) {
        upsert.raw_bind_parameter(at, Stored(column, row.get(column)))?;
    }
    upsert.raw_execute().map(drop)
}

/// The record of `id`.
pub(super) fn record(tx: &Transaction<'_>, id: &RecordId) -> rusqlite::Result<Option<Record>> {
    query_of(tx, &SELECT, id, |row| Ok(in_millis(read(row, 0, &Column::ALL)?.record(id.clone()))))
}

/// The content copied, if there is a finished copy.
pub(super) fn copied(tx: &Transaction<'_>, id: &RecordId) -> rusqlite::Result<Option<Revision>> {
    let found = query_of(tx, &SELECT_COPIED, id, |row| Ok(read(row, 0, &COPIED)?.copied()))?;
    Ok(found.flatten())
}

/// How and when the last attempt ended.
pub(super) fn end(tx: &Transaction<'_>, id: &RecordId) -> rusqlite::Result<Option<AttemptEnd>> {
    Ok(query_of(tx, &SELECT_END, id, |row| Ok(read(row, 0, &END)?.end()))?.flatten())
}

/// Up to `limit` records with this status.
pub(super) fn with_status(
    tx: &Transaction<'_>,
    status: JobStatus,
    limit: usize,
) -> rusqlite::Result<Vec<Record>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    tx.prepare_cached(&SELECT_STATUS)?
        .query_map(params![status.as_str(), limit], |row| {
            Ok(in_millis(read(row, IDENTITY.len(), &Column::ALL)?.record(identity(row)?)))
        })?
        .collect()
}

/// Up to `limit` records with this status and their rowids, after a rowid.
pub(super) fn page_with_status(
    tx: &Transaction<'_>,
    status: JobStatus,
    after: i64,
    limit: usize,
) -> rusqlite::Result<Vec<(i64, Record)>> {
    with_rowids(tx, &PAGE_WITH_STATUS, params![status.as_str(), after, limit as i64])
}

/// Up to `limit` records with their rowids, after a rowid.
pub(super) fn all(
    tx: &Transaction<'_>,
    rowid: i64,
    limit: usize,
) -> rusqlite::Result<Vec<(i64, Record)>> {
    with_rowids(tx, &SELECT_ALL, params![rowid, limit as i64])
}

/// Up to `limit` records of a bucket with their rowids, after a destination key and rowid.
pub(super) fn within(
    tx: &Transaction<'_>,
    bucket: &str,
    (key, rowid): (&str, i64),
    limit: usize,
) -> rusqlite::Result<Vec<(i64, Record)>> {
    with_rowids(tx, &SELECT_WITHIN, params![bucket, key, rowid, limit as i64])
}

fn with_rowids(
    tx: &Transaction<'_>,
    sql: &str,
    params: impl Params,
) -> rusqlite::Result<Vec<(i64, Record)>> {
    let mut select = tx.prepare_cached(sql)?;
    let rows = select.query_map(params, |row| {
        let record = read(row, IDENTITY.len(), &Column::ALL)?.record(identity(row)?);
        Ok((row.get(IDENTITY.len() + Column::ALL.len())?, in_millis(record)))
    })?;
    rows.collect()
}

/// Marks the failure that was `seen` as sent again; whether it is still on record.
pub(super) fn mark_redriven(
    tx: &Transaction<'_>,
    id: &RecordId,
    seen: Stamp,
) -> rusqlite::Result<bool> {
    let millis = seen.end_time.map(|time| (seconds(time) * 1000.0).round());
    let changed = tx.prepare_cached(MARK_REDRIVEN)?.execute(params![
        table_key(&id.src),
        id.des.bucket,
        id.des.key.as_str(),
        seen.tries,
        millis,
    ])?;
    Ok(changed > 0)
}

/// Up to `limit` finished copies with their rowids, after a destination key and rowid.
pub(super) fn copies(
    tx: &Transaction<'_>,
    bucket: &str,
    (key, rowid): (&str, i64),
    limit: usize,
) -> rusqlite::Result<Vec<(i64, Copy)>> {
    let mut select = tx.prepare_cached(&SELECT_COPIES)?;
    let rows = select.query_map(params![bucket, key, rowid, limit as i64], |row| {
        let copy = read(row, IDENTITY.len(), &COPY)?.copy(identity(row)?);
        let rowid: i64 = row.get(IDENTITY.len() + COPY.len())?;
        Ok(copy.map(|copy| (rowid, copy)))
    })?;
    rows.filter_map(Result::transpose).collect()
}

fn query_of<T>(
    tx: &Transaction<'_>,
    sql: &str,
    id: &RecordId,
    read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    query_one(tx, sql, params![table_key(&id.src), id.des.bucket, id.des.key.as_str()], read)
}

fn query_one<T>(
    tx: &Transaction<'_>,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    tx.prepare_cached(sql)?.query_row(params, read).optional()
}

/// The record that a row with [`IDENTITY`] at its beginning is about.
fn identity(row: &rusqlite::Row<'_>) -> rusqlite::Result<RecordId> {
    let (key, bucket): (String, String) = (row.get(0)?, row.get(1)?);
    // The bucket may be an access point's ARN, which contains a `/`.
    let src = key
        .strip_prefix(&bucket)
        .and_then(|key| key.strip_prefix('/'))
        .ok_or_else(|| foreign(0, "a key without its bucket"))?;
    let des = ObjectId::new(row.get::<_, String>(2)?, row.get::<_, String>(3)?);
    Ok(RecordId { src: ObjectId::new(bucket.as_str(), src), des })
}

/// Reads these columns, the first of them at `offset`.
fn read<'r>(
    row: &'r rusqlite::Row<'_>,
    offset: usize,
    columns: &[Column],
) -> rusqlite::Result<Row<'r>> {
    let mut values = Row::default();
    for (at, column) in (offset..).zip(columns) {
        *values.slot(*column) = match (column.kind(), row.get_ref(at)?) {
            (Kind::Version, ValueRef::Null) => Some(Value::NoVersion),
            (_, ValueRef::Null) => None,
            (kind, value) => self::value(kind, value, at)?,
        };
        if *column == Column::Status {
            status(row, at)?;
        }
    }
    Ok(values)
}

fn value(kind: Kind, value: ValueRef<'_>, at: usize) -> rusqlite::Result<Option<Value<'_>>> {
    let wrong = |error| rusqlite::Error::FromSqlConversionFailure(at, value.data_type(), error);
    Ok(match kind {
        Kind::Text | Kind::Version => {
            Some(Value::Text(Cow::Borrowed(value.as_str().map_err(|e| wrong(e.into()))?)))
        }
        Kind::Number => {
            let number = value.as_i64().map_err(|e| wrong(e.into()))?;
            Some(Value::Number(number.try_into().map_err(|_| foreign(at, "a negative number"))?))
        }
        Kind::Time | Kind::Span => {
            let seconds = value.as_f64().map_err(|e| wrong(e.into()))?;
            let span = Duration::try_from_secs_f64(seconds).unwrap_or_default();
            Some(match kind {
                Kind::Time => Value::Time(UNIX_EPOCH.checked_add(span).unwrap_or(UNIX_EPOCH)),
                _ => Value::Span(span),
            })
        }
        Kind::Flag => {
            let is_set = value.as_i64().map_err(|e| wrong(e.into()))? != 0;
            is_set.then_some(Value::Yes)
        }
    })
}

/// A column's value in its stored form.
struct Stored<'a>(Column, Option<&'a Value<'a>>);

impl ToSql for Stored<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let Self(column, value) = self;
        Ok(match value {
            Some(Value::Text(text)) => text.as_ref().into(),
            Some(Value::Number(number)) => integer(*number)?.into(),
            Some(Value::Time(time)) => seconds(*time).into(),
            Some(Value::Span(span)) => span.as_secs_f64().into(),
            Some(Value::Yes) => true.into(),
            None if column.kind() == Kind::Flag => false.into(),
            Some(Value::NoVersion) | None => rusqlite::types::Null.into(),
        })
    }
}

/// SQLite's integers are signed; no object or part size comes near their limit.
fn integer(value: u64) -> rusqlite::Result<i64> {
    i64::try_from(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
}

/// A status as it is written.
pub(super) fn status(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<JobStatus> {
    JobStatus::parse(row.get_ref(at)?.as_str()?).ok_or_else(|| foreign(at, "an unknown status"))
}

/// A number that cannot be negative.
pub(super) fn unsigned(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<u64> {
    u64::try_from(row.get::<_, i64>(at)?).map_err(|_| foreign(at, "a negative number"))
}

fn foreign(at: usize, what: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(at, Type::Text, what.into())
}

/// Seconds since 1970 with a fraction, the original's unit. Whole milliseconds survive a round
/// trip, finer fractions do not: compare a time that was read by its milliseconds.
pub(super) fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The moment, rounded to milliseconds.
pub(super) fn instant(seconds: f64) -> SystemTime {
    UNIX_EPOCH.checked_add(duration(seconds)).unwrap_or(UNIX_EPOCH)
}

fn duration(seconds: f64) -> Duration {
    // `as` saturates, so no number in the file can panic.
    Duration::from_millis((seconds * 1000.0).round() as u64)
}

/// A record as it is shown to others, its times rounded to milliseconds.
fn in_millis(record: Record) -> Record {
    let rounded = |time: SystemTime| instant(seconds(time));
    Record {
        first_time: rounded(record.first_time),
        start_time: rounded(record.start_time),
        end_time: record.end_time.map(rounded),
        redriven: record.redriven.map(rounded),
        spent: record.spent.map(|spent| duration(spent.as_secs_f64())),
        ..record
    }
}
