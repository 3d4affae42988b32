//! Merges many runs into one, each key once.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::run::{RunReader, SortedRun, Writer};
use super::{KeyRow, record};
use crate::error::{Error, Result};
use crate::object::ObjectKey;

/// The next record of each run, the smallest on top.
#[derive(Debug)]
pub(super) struct Merge {
    heads: BinaryHeap<Reverse<Head>>,
    /// The record that was returned last.
    last: Vec<u8>,
}

/// A run and its next record.
#[derive(Debug)]
struct Head {
    record: Vec<u8>,
    run: RunReader,
}

impl Head {
    fn key(&self) -> &[u8] {
        record::key(&self.record)
    }
}

impl Merge {
    /// Starts at the first record of every run.
    pub(super) fn new(runs: impl IntoIterator<Item = SortedRun>) -> Result<Self> {
        let mut heads = BinaryHeap::new();
        for run in runs {
            let mut head = Head { record: Vec::new(), run: run.open()? };
            if head.run.read(&mut head.record)? {
                heads.push(Reverse(head));
            }
        }
        Ok(Self { heads, last: Vec::new() })
    }

    /// The next row in byte order of the keys. Identical rows of a key become one; differing rows
    /// are an error.
    pub(super) fn next_row(&mut self) -> Result<Option<KeyRow>> {
        let Some(bytes) = self.next()? else { return Ok(None) };
        let row = record::decode(bytes);
        row.map(Some).ok_or_else(|| Error::invalid("a temporary file of sorted rows is damaged"))
    }

    /// Writes everything into one run.
    pub(super) fn write(mut self, mut to: Writer<'_>) -> Result<SortedRun> {
        while let Some(bytes) = self.next()? {
            to.write(bytes)?;
        }
        to.finish()
    }

    fn next(&mut self) -> Result<Option<&[u8]>> {
        loop {
            let Some(mut top) = self.heads.peek_mut() else { return Ok(None) };
            let is_same = self.last == top.0.record;
            if !is_same && !self.last.is_empty() && record::key(&self.last) == top.0.key() {
                return Err(twice(top.0.key()));
            }
            std::mem::swap(&mut self.last, &mut top.0.record);
            let Head { record, run } = &mut top.0;
            if !run.read(record)? {
                PeekMut::pop(top);
            }
            if !is_same {
                return Ok(Some(&self.last));
            }
        }
    }
}

fn twice(key: &[u8]) -> Error {
    let key = ObjectKey::new(String::from_utf8_lossy(key));
    Error::invalid(format!("the key {key} is listed twice; it is unknown which row is right"))
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(other.key())
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}
