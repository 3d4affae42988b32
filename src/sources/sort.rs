//! Sorts rows by the bytes of their keys, in bounded memory: an external merge sort.
//!
//! | file | holds |
//! |---|---|
//! | `record.rs` | a row as bytes |
//! | `run.rs` | one sorted file |
//! | `pile.rs` | rows in memory until they are a run; runs until they are too many |
//! | `merge.rs` | many runs as one |
//!
//! SQLite's sorter would do the same, but it keeps its files in one folder, which is chosen for the
//! whole process by the environment, or by a pragma that is not safe while other connections are
//! open (<https://www.sqlite.org/tempfiles.html#temporary_file_storage_locations>). The user could
//! not choose where a sort finds room, and if that folder is in memory (tmpfs), memory would not be
//! bounded.

mod merge;
mod pile;
mod record;
mod run;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use tokio::task;

use super::{CHUNK, Feed};
use crate::error::{Error, Result};
use crate::mutex::lock;
use crate::object::{Etag, ObjectKey};
use crate::store::Odd;
use pile::Pile;

/// Bytes of rows that a sorter holds before it writes them out.
const MEMORY: usize = 16 * 1024 * 1024;
/// Most objects to hold in memory that are not processed further; with a thousand bytes each that
/// is 100 MB.
const MOST_ODD: usize = 100_000;

/// One object, as an inventory or a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// The key, decoded.
    pub key: ObjectKey,
    /// Bytes.
    pub size: u64,
    /// The ETag, if known.
    pub etag: Option<Etag>,
    /// When it was written.
    pub last_modified: Option<SystemTime>,
    /// The storage class, if known.
    pub storage_class: Option<String>,
    /// The version, if known; `"null"` is passed on as it is.
    pub version: Option<String>,
    /// Whether an archived object has a temporary readable copy. An inventory cannot tell.
    pub restored: bool,
}

/// Takes rows in any order. Clones fill the same sorter.
///
/// Holds about 16 MiB; the rest is in unnamed files, which the system removes however the process
/// ends. They need about as much space as the rows have bytes, and up to twice as much while runs
/// are merged.
#[derive(Clone, Debug)]
pub struct Sorter {
    /// `None` after it is finished, or after it has failed and may have lost a row.
    pile: Arc<Mutex<Option<Pile>>>,
    odd: Arc<Mutex<BTreeSet<Odd>>>,
}

impl Sorter {
    /// A sorter that keeps its files in `folder`; `None` for the system's folder for temporary
    /// files.
    pub fn new(folder: Option<&Path>) -> Self {
        Self::with_memory(folder, MEMORY)
    }

    /// The same, holding about `bytes` in memory.
    pub fn with_memory(folder: Option<&Path>, bytes: usize) -> Self {
        let folder = folder.map_or_else(std::env::temp_dir, Path::to_owned);
        Self { pile: Arc::new(Mutex::new(Some(Pile::new(folder, bytes)))), odd: Arc::default() }
    }

    /// Takes rows; blocks while it writes. After an error all later calls fail as well: a row that
    /// could not be kept must not go missing silently.
    pub fn push(&self, rows: &[KeyRow]) -> Result<()> {
        let mut slot = lock(&self.pile);
        // Put back only if all went well, so also not after a panic.
        let mut pile = slot.take().ok_or_else(over)?;
        rows.iter().try_for_each(|row| pile.push(row))?;
        *slot = Some(pile);
        Ok(())
    }

    /// Takes a page of rows without blocking the runtime. The page is taken even if the future is
    /// dropped.
    pub async fn push_page(&self, rows: Vec<KeyRow>) -> Result<()> {
        let sorter = self.clone();
        let pushed = task::spawn_blocking(move || sorter.push(&rows)).await;
        pushed.map_err(|join| Error::cancelled().with_source(join))?
    }

    /// Keeps the objects that are not processed further, each once. Fails if there are too many of
    /// them: then something else is wrong.
    pub fn keep_odd(&self, odd: impl IntoIterator<Item = Odd>) -> Result<()> {
        let mut kept = lock(&self.odd);
        kept.extend(odd);
        match kept.len() {
            0..=MOST_ODD => Ok(()),
            count => Err(Error::invalid(format!(
                "at least {count} objects have keys that cannot be copied, for example {}",
                kept.first().map(Odd::to_string).unwrap_or_default()
            ))),
        }
    }

    /// The rows in order, as soon as the last runs are merged; must be called inside a Tokio
    /// runtime. Nothing can be pushed any more.
    pub fn finish(self) -> Sorted {
        let odd = std::mem::take(&mut *lock(&self.odd));
        let rows = Feed::start(CHUNK, move |out| {
            let pile = lock(&self.pile).take();
            let mut merge = pile.ok_or_else(over)?.finish()?;
            while let Some(row) = merge.next_row()? {
                out.push(row)?;
            }
            Ok(())
        });
        Sorted { rows, odd: odd.into_iter().collect() }
    }
}

fn over() -> Error {
    Error::invalid("rows can no longer be sorted: the sorter has ended or failed")
}

/// Rows in byte order of their keys, each key once.
#[derive(Debug)]
pub struct Sorted {
    rows: Feed<KeyRow>,
    odd: Vec<Odd>,
}

impl Sorted {
    /// Takes the objects that are not processed further; a second call returns none.
    pub fn take_odd(&mut self) -> Vec<Odd> {
        std::mem::take(&mut self.odd)
    }

    /// Up to 1,000 rows; `None` after the last. Identical rows count as one. Fails with `Invalid`
    /// if a key has rows that differ, since it is unknown which is true. After an error every call
    /// fails.
    pub async fn next_page(&mut self) -> Result<Option<Vec<KeyRow>>> {
        self.rows.next().await
    }
}
