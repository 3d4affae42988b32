//! Rows of a data file in gzipped CSV.

use std::fs::File;
use std::io::BufReader;
use std::time::SystemTime;

use csv::ByteRecord;
use flate2::bufread::MultiGzDecoder;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::decode;
use super::super::table::Table;
use super::columns::{
    BUCKET, CLASS, Cell, Columns, DELETED, ETAG, InventoryRow, KEY, LATEST, MODIFIED, Name, SIZE,
    VERSION,
};
use crate::error::{Error, Result};

/// Passes every row of `file` to `take`. Fails if the gzip is damaged or cut short.
pub(super) fn read(
    file: File,
    columns: &Columns,
    mut take: impl FnMut(InventoryRow<'_>) -> Result<()>,
) -> Result<()> {
    let mut table = Table::new(MultiGzDecoder::new(BufReader::new(file)));
    while let Some((line, record)) = table.next().map_err(Error::invalid)? {
        let seen = seen(columns, record);
        let seen = seen.map_err(|what| Error::invalid(format!("line {line}: {what}")))?;
        take(seen).map_err(|e| e.context(format_args!("line {line}")))?;
    }
    Ok(())
}

fn seen<'a>(columns: &Columns, record: &'a ByteRecord) -> Result<InventoryRow<'a>, String> {
    if record.len() != columns.count {
        let (fields, count) = (record.len(), columns.count);
        return Err(format!("{fields} fields, but fileSchema names {count}"));
    }
    let cell = |at: Option<usize>, name: Name| match at {
        None => Ok(Cell::NoColumn),
        Some(at) => match std::str::from_utf8(&record[at]) {
            Ok("") => Ok(Cell::Empty),
            Ok(text) => Ok(Cell::Value(text)),
            Err(_) => Err(format!("{} is not UTF-8", name.csv)),
        },
    };
    let text = |at, name| {
        cell(at, name).map(|cell| match cell {
            Cell::Value(text) => Some(text),
            Cell::Empty | Cell::NoColumn => None,
        })
    };
    let flag = |at, name| flag(cell(at, name)?, name);
    Ok(InventoryRow {
        bucket: text(Some(columns.bucket), BUCKET)?.unwrap_or_default().as_bytes(),
        key: decode(text(Some(columns.key), KEY)?.unwrap_or_default().as_bytes())?,
        version: cell(columns.version, VERSION)?,
        latest: flag(columns.latest, LATEST)?,
        deleted: flag(columns.deleted, DELETED)?,
        size: text(Some(columns.size), SIZE)?.map(size).transpose()?,
        modified: text(columns.modified, MODIFIED)?.map(date).transpose()?,
        etag: text(columns.etag, ETAG)?,
        class: text(columns.class, CLASS)?,
    })
}

fn flag(cell: Cell<&str>, name: Name) -> Result<Cell<bool>, String> {
    match cell {
        Cell::NoColumn => Ok(Cell::NoColumn),
        Cell::Empty => Ok(Cell::Empty),
        Cell::Value(text) if text.eq_ignore_ascii_case("true") => Ok(Cell::Value(true)),
        Cell::Value(text) if text.eq_ignore_ascii_case("false") => Ok(Cell::Value(false)),
        Cell::Value(text) => Err(format!("{} is {text:?}, not true or false", name.csv)),
    }
}

fn size(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("Size is {text:?}, not a number of bytes"))
}

fn date(text: &str) -> Result<SystemTime, String> {
    let date = OffsetDateTime::parse(text, &Rfc3339);
    date.map(SystemTime::from).map_err(|_| format!("LastModifiedDate is {text:?}, not a time"))
}
