//! S3 Inventory: a bucket's objects as S3 has recorded them, without a listing.
//!
//! | file | holds |
//! |---|---|
//! | `address.rs` | where a manifest is |
//! | `manifest.rs` | `manifest.json` |
//! | `files.rs` | the files next to it, local or in a bucket, verified by their MD5 |
//! | `columns.rs` | which columns there are, and which rows count |
//! | `csv.rs`, `parquet.rs` | rows of one data file |
//!
//! An inventory is a snapshot of the past, and shows only what its configuration covers: one that
//! is limited to a prefix does not say so in its manifest
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html>).

mod address;
mod columns;
mod csv;
mod files;
mod manifest;
mod parquet;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::task;
use tokio_util::sync::CancellationToken;

use super::CHUNK;
use super::sort::{KeyRow, Sorted, Sorter};
use crate::error::{Error, Result};
use crate::store::Reads;
pub use address::Address;
use columns::{InventoryRow, RowFilter};
use files::InventoryPlace;
use manifest::{DataFile, Format, Manifest};

/// How many data files are fetched and read at once. Each takes a connection, a temporary file and
/// part of a core; S3 writes large inventories as many files.
const FILES_AT_ONCE: usize = 4;

/// The means to read an inventory.
#[derive(Clone, Debug)]
pub struct Access {
    /// The store that has it; not needed for a local inventory.
    pub store: Option<Arc<dyn Reads>>,
    /// Tries for one call, at least 1.
    pub max_retry: u32,
    /// The folder for temporary files; `None` for the system's. Sorting needs room for all rows.
    pub folder: Option<PathBuf>,
    /// Cancels the reading.
    pub cancel: CancellationToken,
}

/// An inventory whose manifest has been read and verified.
#[derive(Debug)]
pub struct Inventory {
    manifest: Manifest,
    place: InventoryPlace,
    access: Access,
}

impl Inventory {
    /// Reads the manifest at `address`, and compares it with `manifest.checksum` if that exists.
    /// Fails with `Usage` if it is not a usable inventory (ORC, no Size), `NotFound` if there is
    /// none, `Invalid` if it is damaged.
    pub async fn open(address: Address, access: Access) -> Result<Self> {
        let place = InventoryPlace::new(address, &access)?;
        let text = place.manifest().await?;
        let manifest = manifest::parse(&text).map_err(|e| e.context(&place))?;
        Ok(Self { manifest, place, access })
    }

    /// The bucket that it lists.
    pub fn bucket(&self) -> &str {
        &self.manifest.bucket
    }

    /// When S3 began to write it: later changes are not in it.
    pub fn created(&self) -> SystemTime {
        self.manifest.created
    }

    /// Its age at `now`; zero if it is dated in the future, since clocks differ.
    pub fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.created()).unwrap_or_default()
    }

    /// Bytes in its data files, as they are stored.
    pub fn bytes(&self) -> u64 {
        self.manifest.files.iter().fold(0, |sum, file| sum.saturating_add(file.size))
    }

    /// The current objects of `bucket` whose keys begin with `prefix`, in byte order. Older versions
    /// and delete markers do not count.
    ///
    /// Every data file is fetched whole and must have the size and the MD5 that the manifest names
    /// before any of its rows is read. Anything missing or damaged is an error, and so is a bucket
    /// other than the inventory's; the answer is never a shorter one.
    pub async fn sorted(&self, bucket: &str, prefix: &str) -> Result<Sorted> {
        if bucket != self.bucket() {
            let (place, own) = (&self.place, self.bucket());
            return Err(Error::usage(format!(
                "{place} is the inventory of {own}, not of {bucket}"
            )));
        }
        let sorter = Sorter::new(self.access.folder.as_deref());
        let filter = RowFilter { bucket: bucket.to_owned(), prefix: prefix.to_owned() };
        // If one file fails, the threads that read the others end too.
        let halt = self.access.cancel.child_token();
        let _ends_readers = halt.clone().drop_guard();
        let reads = self.manifest.files.iter().map(|file| {
            let (filter, sorter, halt) = (filter.clone(), sorter.clone(), halt.clone());
            async move {
                let content = self.place.data(file).await?;
                self.read(file, content, filter, sorter, halt).await
            }
        });
        stream::iter(reads).buffer_unordered(FILES_AT_ONCE).try_collect::<()>().await?;
        Ok(sorter.finish())
    }

    /// Pushes the rows that count from one data file.
    async fn read(
        &self,
        file: &DataFile,
        content: File,
        filter: RowFilter,
        sorter: Sorter,
        halt: CancellationToken,
    ) -> Result<()> {
        let (format, name) = (self.manifest.format.clone(), file.key.clone());
        let reading = task::spawn_blocking(move || {
            let mut batch = RowBatch { filter, sorter, halt, rows: Vec::with_capacity(CHUNK) };
            match format {
                Format::Csv(columns) => csv::read(content, &columns, |seen| batch.take(seen)),
                Format::Parquet => parquet::read(content, |seen| batch.take(seen)),
            }
            .and_then(|()| batch.flush())
            .map_err(|e| e.context(format_args!("inventory file {name}")))
        });
        reading.await.map_err(|join| {
            Error::invalid(format!("inventory file {}: reading stopped early", file.key))
                .with_source(join)
        })?
    }
}

/// Rows on their way into the sorter.
struct RowBatch {
    filter: RowFilter,
    sorter: Sorter,
    halt: CancellationToken,
    rows: Vec<KeyRow>,
}

impl RowBatch {
    fn take(&mut self, seen: InventoryRow<'_>) -> Result<()> {
        match self.filter.row(seen).map_err(Error::invalid)? {
            Some(Ok(row)) => self.rows.push(row),
            Some(Err(odd)) => self.sorter.keep_odd([odd])?,
            None => {}
        }
        match self.rows.len() < CHUNK {
            true => Ok(()),
            false => self.flush(),
        }
    }

    fn flush(&mut self) -> Result<()> {
        if self.halt.is_cancelled() {
            return Err(Error::cancelled());
        }
        self.sorter.push(&self.rows)?;
        self.rows.clear();
        Ok(())
    }
}
