//! `manifest.json`: which files an inventory consists of
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html>).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use super::columns::Columns;
use crate::error::{Error, Result};
use crate::store::Md5;

/// The version of the manifest's format that is known here.
const VERSION: &str = "2016-11-30";

/// An inventory's manifest, fully validated.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) bucket: String,
    pub(super) created: SystemTime,
    pub(super) format: Format,
    pub(super) files: Vec<DataFile>,
}

/// How the data files are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Gzipped CSV, without a header.
    Csv(Columns),
    /// Parquet, which names its columns itself.
    Parquet,
}

/// One data file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DataFile {
    pub(super) key: String,
    /// Bytes, as stored.
    pub(super) size: u64,
    pub(super) md5: Md5,
}

/// The form that S3 writes. It has more fields, which are not needed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct S3Manifest {
    source_bucket: String,
    version: String,
    creation_timestamp: Millis,
    file_format: String,
    #[serde(default)]
    file_schema: String,
    files: Vec<WrittenFile>,
}

#[derive(Deserialize)]
struct WrittenFile {
    key: String,
    size: u64,
    #[serde(rename = "MD5checksum")]
    md5: String,
}

/// Milliseconds since 1970, which S3 writes as a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Millis {
    Text(String),
    Number(u64),
}

/// Parses a manifest from `text`. Errors do not name the file.
pub(super) fn parse(text: &[u8]) -> Result<Manifest> {
    let written: S3Manifest = serde_json::from_slice(text).map_err(|e| {
        Error::invalid(format!("not the manifest.json of an S3 Inventory: {e}")).with_source(e)
    })?;
    if written.version != VERSION {
        let version = written.version;
        return Err(Error::usage(format!(
            "the manifest's version is {version:?}; only {VERSION:?} is known here"
        )));
    }
    let created = created(&written.creation_timestamp)
        .ok_or_else(|| Error::invalid("creationTimestamp is not a time in milliseconds"))?;
    let format = format(&written.file_format, &written.file_schema)?;
    let files = written.files.into_iter().map(data_file).collect::<Result<_>>()?;
    Ok(Manifest { bucket: written.source_bucket, created, format, files })
}

fn created(millis: &Millis) -> Option<SystemTime> {
    let millis = match millis {
        Millis::Text(text) => text.parse().ok()?,
        Millis::Number(millis) => *millis,
    };
    UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}

fn format(format: &str, schema: &str) -> Result<Format> {
    match format.to_ascii_uppercase().as_str() {
        "CSV" => Columns::of_schema(schema).map(Format::Csv).map_err(Error::usage),
        "PARQUET" => Ok(Format::Parquet),
        "ORC" => Err(Error::usage(
            "the inventory is in ORC, which cannot be read; set its output format to CSV or \
             Parquet (PutBucketInventoryConfiguration) and wait for the next one",
        )),
        _ => Err(Error::usage(format!(
            "the inventory's fileFormat is {format:?}; CSV and Parquet can be read"
        ))),
    }
}

fn data_file(file: WrittenFile) -> Result<DataFile> {
    let mut md5 = [0; 16];
    match hex::decode_to_slice(file.md5.trim(), &mut md5) {
        Ok(()) => Ok(DataFile { key: file.key, size: file.size, md5 }),
        Err(_) => Err(Error::invalid(format!("the MD5checksum of {} is not an MD5", file.key))),
    }
}
