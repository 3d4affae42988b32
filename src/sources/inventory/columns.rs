//! Which columns an inventory has, and which of its rows count.

use std::time::SystemTime;

use super::KeyRow;
use crate::object::{Etag, NO_VERSION, ObjectKey};
use crate::store::{Flaw, Odd};

/// A column that is used here: its name in a CSV inventory's `fileSchema`, and in Parquet
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) csv: &'static str,
    pub(super) parquet: &'static str,
}

pub(super) const BUCKET: Name = Name { csv: "Bucket", parquet: "bucket" };
pub(super) const KEY: Name = Name { csv: "Key", parquet: "key" };
pub(super) const VERSION: Name = Name { csv: "VersionId", parquet: "version_id" };
pub(super) const LATEST: Name = Name { csv: "IsLatest", parquet: "is_latest" };
pub(super) const DELETED: Name = Name { csv: "IsDeleteMarker", parquet: "is_delete_marker" };
pub(super) const SIZE: Name = Name { csv: "Size", parquet: "size" };
pub(super) const MODIFIED: Name = Name { csv: "LastModifiedDate", parquet: "last_modified_date" };
pub(super) const ETAG: Name = Name { csv: "ETag", parquet: "e_tag" };
pub(super) const CLASS: Name = Name { csv: "StorageClass", parquet: "storage_class" };

/// The position of each column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    /// Total number of columns.
    pub(super) count: usize,
    pub(super) bucket: usize,
    pub(super) key: usize,
    pub(super) size: usize,
    pub(super) version: Option<usize>,
    pub(super) latest: Option<usize>,
    pub(super) deleted: Option<usize>,
    pub(super) modified: Option<usize>,
    pub(super) etag: Option<usize>,
    pub(super) class: Option<usize>,
}

impl Columns {
    /// From a CSV inventory's `fileSchema`: `Bucket, Key, Size`.
    pub(super) fn of_schema(schema: &str) -> Result<Self, String> {
        let names: Vec<&str> = schema.split(',').map(str::trim).collect();
        let find = |name: Name| names.iter().position(|n| n.eq_ignore_ascii_case(name.csv));
        Self::find(names.len(), find)
    }

    /// From a function that finds a column. An error says which one is missing and what to do.
    pub(super) fn find(count: usize, find: impl Fn(Name) -> Option<usize>) -> Result<Self, String> {
        let needed = |name: Name| {
            find(name).ok_or_else(|| format!("the inventory has no column {}", name.csv))
        };
        let size = find(SIZE).ok_or(
            "the inventory has no column Size; add the optional field Size to its configuration \
             (PutBucketInventoryConfiguration) and wait for the next one",
        )?;
        let (version, latest) = (find(VERSION), find(LATEST));
        if version.is_some() && latest.is_none() {
            return Err("the inventory has VersionId but no IsLatest: current versions cannot be \
                        distinguished from older ones"
                .to_owned());
        }
        Ok(Self {
            count,
            bucket: needed(BUCKET)?,
            key: needed(KEY)?,
            size,
            version,
            latest,
            deleted: find(DELETED),
            modified: find(MODIFIED),
            etag: find(ETAG),
            class: find(CLASS),
        })
    }
}

/// A column that may be missing, and whose cell may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell<T> {
    /// There is no such column.
    NoColumn,
    /// The cell is empty.
    Empty,
    /// The cell's value.
    Value(T),
}

/// One row, as either format provides it.
#[derive(Debug)]
pub(super) struct InventoryRow<'a> {
    pub(super) bucket: &'a [u8],
    /// Decoded.
    pub(super) key: Vec<u8>,
    pub(super) version: Cell<&'a str>,
    pub(super) latest: Cell<bool>,
    pub(super) deleted: Cell<bool>,
    pub(super) size: Option<u64>,
    pub(super) modified: Option<SystemTime>,
    pub(super) etag: Option<&'a str>,
    pub(super) class: Option<&'a str>,
}

/// Which rows count.
#[derive(Clone, Debug)]
pub(super) struct RowFilter {
    /// The only bucket that an inventory lists.
    pub(super) bucket: String,
    pub(super) prefix: String,
}

impl RowFilter {
    /// The row, if it is an object that counts: a current version below the prefix. Another bucket
    /// or a missing value is an error; a key that is not UTF-8 concerns only that object.
    pub(super) fn row(
        &self,
        seen: InventoryRow<'_>,
    ) -> Result<Option<Result<KeyRow, Odd>>, String> {
        let key = ObjectKey::new(String::from_utf8_lossy(&seen.key));
        if seen.key.is_empty() {
            return Err("the key is empty".to_owned());
        }
        if seen.bucket != self.bucket.as_bytes() {
            let bucket = String::from_utf8_lossy(seen.bucket);
            return Err(format!(
                "{key}: of bucket {bucket:?}, the manifest says {:?}",
                self.bucket
            ));
        }
        match (seen.latest, seen.deleted) {
            (Cell::Empty, _) => return Err(format!("{key}: IsLatest is empty")),
            (Cell::Value(false), _) | (_, Cell::Value(true)) => return Ok(None),
            _ if !seen.key.starts_with(self.prefix.as_bytes()) => return Ok(None),
            _ => {}
        }
        let size = seen.size.ok_or_else(|| format!("{key}: Size is empty"))?;
        if std::str::from_utf8(&seen.key).is_err() {
            let (at, key) = (seen.key.clone(), seen.key);
            return Ok(Some(Err(Odd { at, key, size: Some(size), flaw: Flaw::NotUtf8 })));
        }
        // For objects written without versioning, an inventory leaves the version empty
        // (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/inventory-configure-bops.html>).
        let version = match seen.version {
            Cell::NoColumn => None,
            Cell::Empty => Some(NO_VERSION.to_owned()),
            Cell::Value(version) => Some(version.to_owned()),
        };
        Ok(Some(Ok(KeyRow {
            key,
            size,
            etag: seen.etag.map(Etag::new),
            last_modified: seen.modified,
            storage_class: seen.class.map(str::to_owned),
            version,
            restored: false,
        })))
    }
}
