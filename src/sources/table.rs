//! CSV (RFC 4180) whose records are bounded, read one at a time.

use std::io::{self, Read};

use csv::{ByteRecord, Reader, ReaderBuilder};

/// No record that is read here is longer, by far: a key takes 3 KiB at most, the access control
/// list that an inventory may carry some tens. A quote that nobody closes would otherwise draw the
/// rest of the file into memory.
const LONGEST_RECORD: u64 = 1024 * 1024;

/// The records of one file.
pub(super) struct Table<R> {
    reader: Reader<Bounded<R>>,
    record: ByteRecord,
}

impl<R: Read> Table<R> {
    pub(super) fn new(file: R) -> Self {
        let file = Bounded { file, left: LONGEST_RECORD };
        let reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file);
        Self { reader, record: ByteRecord::new() }
    }

    /// The next record, and the line on which it begins (from 1); `None` after the last. An error
    /// says what is wrong, without the file's name.
    pub(super) fn next(&mut self) -> Result<Option<(u64, &ByteRecord)>, String> {
        self.reader.get_mut().left = LONGEST_RECORD;
        let line = self.reader.position().line();
        match self.reader.read_byte_record(&mut self.record) {
            Ok(true) => {
                let line = self.record.position().map_or(line, csv::Position::line);
                Ok(Some((line, &self.record)))
            }
            Ok(false) => Ok(None),
            Err(error) => Err(format!("line {line}: cannot be read: {error}")),
        }
    }
}

/// A file of which only so much may be read between two records.
struct Bounded<R> {
    file: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other(format!(
                "a record is longer than {LONGEST_RECORD} bytes; is a quotation mark never closed?"
            )));
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read(&mut buffer[..most])?;
        self.left -= read as u64;
        Ok(read)
    }
}
