//! A CSV manifest, as S3 Batch Operations takes one: `bucket,key` or `bucket,key,version`.

use std::fs::File;
use std::path::{Path, PathBuf};

use csv::ByteRecord;

use super::feed::FeedSender;
use super::table::Table;
use super::{CHUNK, Feed, NamedObject, decode_key, open};
use crate::error::{Error, Result};
use crate::object::is_bucket_name;

/// The forms that a record may have.
const ALLOWED: &str =
    "allowed: bucket,key or bucket,key,version in every line alike, without a header";

/// The entries of the manifest at `path` in their order, in constant memory.
///
/// As Amazon documents it
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-create-job.html#specify-batchjob-manifest>):
/// no header; keys URL-encoded, a space as `+` or `%20`, a plus as `%2B`, a line break as `%0A`; a
/// version for every object or for none, `null` for objects written without versioning. Fields may
/// be quoted (RFC 4180), but contain no line break. Fails with `Usage`, naming file and line.
pub fn read(path: impl Into<PathBuf>) -> Feed<NamedObject> {
    let path = path.into();
    Feed::start(CHUNK, move |out| records(&path, Table::new(open(&path)?), out))
}

fn records(path: &Path, mut table: Table<File>, out: &mut FeedSender<NamedObject>) -> Result<()> {
    let file = path.display();
    let mut width = None;
    loop {
        let next = table.next().map_err(|what| Error::usage(format!("{file}: {what}")))?;
        let Some((line, record)) = next else { return Ok(()) };
        let width = *width.get_or_insert(record.len());
        let entry = entry(line, record, width);
        out.push(entry.map_err(|what| Error::usage(format!("{file}:{line}: {what}")))?)?;
    }
}

fn entry(line: u64, record: &ByteRecord, width: usize) -> Result<NamedObject, String> {
    if record.len() != width || !(2..=3).contains(&width) {
        let fields = record.len();
        return Err(format!(
            "the number of fields is {fields}, in the first line {width}; {ALLOWED}"
        ));
    }
    let bucket = text(&record[0]).filter(|bucket| is_bucket_name(bucket));
    let bucket = bucket.ok_or_else(|| format!("the first field names no bucket; {ALLOWED}"))?;
    let (key, odd) = decode_key(&record[1])?;
    let version = match record.get(2) {
        None => None,
        Some(version) => {
            let version = text(version).filter(|version| !version.is_empty());
            Some(version.ok_or(
                "the version is empty; write null for an object that was written without \
                 versions, or leave the third field out of every line",
            )?)
        }
    };
    Ok(NamedObject { bucket: Some(bucket), key, odd, version, line })
}

fn text(field: &[u8]) -> Option<String> {
    std::str::from_utf8(field).ok().map(str::to_owned)
}
