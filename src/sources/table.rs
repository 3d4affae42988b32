//! CSV (RFC 4180) whose records are bounded, read one at a time.

use std::io::{self, Read};

use csv::{ByteRecord, Reader, ReaderBuilder, Terminator};

/// No record that is read here comes near this length: a key takes 3 KiB at most, the access
/// control list that an inventory may contain some tens. Otherwise an unclosed quotation mark would
/// pull the rest of the file into memory.
const LONGEST_RECORD: u64 = 1024 * 1024;

/// The records of one file, each on one line that ends with LF or CRLF. Empty lines are skipped.
///
/// RFC 4180 allows line breaks inside quotation marks. The files read here encode them, so a line
/// break there means an unclosed quotation mark, and is refused.
pub(super) struct Table<R> {
    reader: Reader<BoundedLines<R>>,
    record: ByteRecord,
}

impl<R: Read> Table<R> {
    pub(super) fn new(file: R) -> Self {
        let file = BoundedLines { file, left: LONGEST_RECORD, ended: true };
        let mut builder = ReaderBuilder::new();
        // Not CRLF, with which the reader's line numbers are one behind: it leaves the LF for
        // later.
        builder.has_headers(false).flexible(true).terminator(Terminator::Any(b'\n'));
        Self { reader: builder.from_reader(file), record: ByteRecord::new() }
    }

    /// The next record with its line (from 1); `None` after the last. An error names the line, but
    /// not the file.
    pub(super) fn next(&mut self) -> Result<Option<(u64, &ByteRecord)>, String> {
        loop {
            self.reader.get_mut().left = LONGEST_RECORD;
            let begin = self.reader.position().line();
            match self.reader.read_byte_record(&mut self.record) {
                Ok(false) => return Ok(None),
                Err(error) => return Err(format!("line {begin}: cannot be read: {error}")),
                Ok(true) if self.record.iter().any(|field| field.contains(&b'\n')) => {
                    return Err(format!(
                        "line {begin}: a field with a line break, which is written %0A in a key; \
                         is a quotation mark never closed?"
                    ));
                }
                Ok(true) if self.record == [b"\r"][..] => {}
                Ok(true) => {
                    trim_line_end(&mut self.record);
                    // The reader is after the line end; empty lines may have come before.
                    let line = self.reader.position().line().saturating_sub(1);
                    return Ok(Some((line, &self.record)));
                }
            }
        }
    }
}

/// Removes the CR of a CRLF from the last field.
fn trim_line_end(record: &mut ByteRecord) {
    let Some(last) = record.iter().next_back().filter(|field| field.ends_with(b"\r")) else {
        return;
    };
    let last = last[..last.len() - 1].to_vec();
    record.truncate(record.len() - 1);
    record.push_field(&last);
}

/// A file that ends with a line end, and from which only a limited number of bytes may be read
/// between two records.
struct BoundedLines<R> {
    file: R,
    left: u64,
    /// Whether the last byte was a line end; an empty file needs none.
    ended: bool,
}

impl<R: Read> Read for BoundedLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other(format!(
                "a record is longer than {LONGEST_RECORD} bytes; is a quotation mark never closed?"
            )));
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..most];
        let mut read = self.file.read(buffer)?;
        if let (0, false, Some(first)) = (read, self.ended, buffer.first_mut()) {
            *first = b'\n';
            read = 1;
        }
        if let Some(last) = buffer[..read].last() {
            self.ended = *last == b'\n';
        }
        self.left -= read as u64;
        Ok(read)
    }
}
