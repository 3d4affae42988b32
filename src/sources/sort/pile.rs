//! Collects rows in memory until they make a run, and merges runs when there are too many.

use std::path::PathBuf;

use super::KeyRow;
use super::merge::Merge;
use super::record;
use super::run::{SortedRun, Writer};
use crate::error::Result;

/// How many runs of one level become one of the next. That many are open at once while they are
/// merged, and every row is written once more for each level. With 16 MiB a run, two levels sort 16
/// GiB of rows, three half a TiB.
const FAN_IN: usize = 32;

/// The rows that have been pushed.
#[derive(Debug)]
pub(super) struct Pile {
    folder: PathBuf,
    /// Records, one after the other; written out before it has to grow.
    arena: Vec<u8>,
    /// Where each record begins.
    starts: Vec<usize>,
    record: Vec<u8>,
    /// Runs by how often their rows were merged, fewer than [`FAN_IN`] of each.
    levels: Vec<Vec<SortedRun>>,
}

impl Pile {
    /// An empty pile that holds about `bytes` in memory.
    pub(super) fn new(folder: PathBuf, bytes: usize) -> Self {
        // Reserved memory is not used yet: the system provides a page when it is first written.
        let arena = Vec::with_capacity(bytes);
        Self { folder, arena, starts: Vec::new(), record: Vec::new(), levels: Vec::new() }
    }

    pub(super) fn push(&mut self, row: &KeyRow) -> Result<()> {
        self.record.clear();
        record::encode(row, &mut self.record);
        if self.arena.len() + self.record.len() > self.arena.capacity() {
            self.spill()?;
        }
        self.starts.push(self.arena.len());
        self.arena.extend(&self.record);
        Ok(())
    }

    /// All rows in order.
    pub(super) fn finish(mut self) -> Result<Merge> {
        self.spill()?;
        Merge::new(self.levels.into_iter().flatten())
    }

    /// Writes the rows in memory as a run.
    fn spill(&mut self) -> Result<()> {
        if self.starts.is_empty() {
            return Ok(());
        }
        let key = |start: usize| record::key(&self.arena[start..]);
        self.starts.sort_unstable_by(|one, other| key(*one).cmp(key(*other)));
        let mut run = Writer::new(&self.folder)?;
        for start in &self.starts {
            run.write(record::first(&self.arena[*start..]))?;
        }
        let run = run.finish()?;
        self.starts.clear();
        self.arena.clear();
        self.add(run)
    }

    /// Keeps `run`; a full level becomes one run of the next.
    fn add(&mut self, mut run: SortedRun) -> Result<()> {
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(run);
            if self.levels[level].len() < FAN_IN {
                break;
            }
            let full = std::mem::take(&mut self.levels[level]);
            run = Merge::new(full)?.write(Writer::new(&self.folder)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ObjectKey;

    /// Promise 6.
    #[test]
    fn few_runs_are_open_however_many_were_written() {
        let mut pile = Pile::new(std::env::temp_dir(), 0);
        // Each row is a run of its own.
        for n in 0..2 * FAN_IN * FAN_IN {
            pile.push(&row(n)).unwrap();
            let open: usize = pile.levels.iter().map(Vec::len).sum();
            assert!(open <= 3 * (FAN_IN - 1), "{open} after {n} rows");
        }
        let mut merge = pile.finish().unwrap();
        let rows = std::iter::from_fn(|| merge.next_row().unwrap());
        assert_eq!(rows.count(), 2 * FAN_IN * FAN_IN);
    }

    fn row(n: usize) -> KeyRow {
        KeyRow {
            key: ObjectKey::new(format!("{n}")),
            size: 0,
            etag: None,
            last_modified: None,
            storage_class: None,
            version: None,
            restored: false,
        }
    }
}
