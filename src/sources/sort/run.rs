//! A run: sorted records in one unnamed file.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use super::record::{HEAD, lengths};
use crate::error::{Error, ErrorKind, Result};

/// Bytes read or written at once; also the memory that one open run takes.
const BUFFER: usize = 64 * 1024;

/// A run that is being written.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    folder: &'a Path,
    file: BufWriter<File>,
}

impl<'a> Writer<'a> {
    /// An empty run in `folder`. Its file has no name: it is removed when the process ends.
    pub(super) fn new(folder: &'a Path) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).map_err(|e| {
            let folder = folder.display();
            Error::usage(format!("no temporary file can be created in {folder}: {e}"))
                .with_source(e)
        })?;
        Ok(Self { folder, file: BufWriter::with_capacity(BUFFER, file) })
    }

    /// Appends a record.
    pub(super) fn write(&mut self, record: &[u8]) -> Result<()> {
        self.file.write_all(record).map_err(|e| unwritten(self.folder, e))
    }

    /// The finished run.
    pub(super) fn finish(self) -> Result<SortedRun> {
        let folder = self.folder;
        let file = self.file.into_inner().map_err(|e| unwritten(folder, e.into_error()))?;
        Ok(SortedRun { file })
    }
}

fn unwritten(folder: &Path, error: io::Error) -> Error {
    let message = format!(
        "a temporary file in {} cannot be written: {error}; sorting needs room for all rows there",
        folder.display()
    );
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}

/// A run that waits to be merged. It takes no memory.
#[derive(Debug)]
pub(super) struct SortedRun {
    file: File,
}

impl SortedRun {
    /// Opens the run at its first record.
    pub(super) fn open(mut self) -> Result<RunReader> {
        self.file.rewind().map_err(unread)?;
        Ok(RunReader { file: BufReader::with_capacity(BUFFER, self.file) })
    }
}

/// A run that is being read.
#[derive(Debug)]
pub(super) struct RunReader {
    file: BufReader<File>,
}

impl RunReader {
    /// Reads the next record into `record`; returns whether there was one.
    pub(super) fn read(&mut self, record: &mut Vec<u8>) -> Result<bool> {
        record.clear();
        let mut head = [0; HEAD];
        let got = self.file.read(&mut head[..1]).map_err(unread)?;
        if got == 0 {
            return Ok(false);
        }
        self.file.read_exact(&mut head[1..]).map_err(unread)?;
        let (key, rest) = lengths(head);
        record.extend(head);
        record.resize(HEAD + key + rest, 0);
        self.file.read_exact(&mut record[HEAD..]).map_err(unread)?;
        Ok(true)
    }
}

fn unread(error: io::Error) -> Error {
    let message = format!("a temporary file of sorted rows cannot be read: {error}");
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}
