//! A file of keys, one per line, byte for byte.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::feed::FeedSender;
use super::{CHUNK, Feed, NamedObject, key, open};
use crate::error::{Error, Result};
use crate::object::MAX_KEY_BYTES;

/// The longest line worth reading: a key and its line end. A file without line ends is refused
/// after this many bytes, instead of being read into memory.
const LONGEST_LINE: u64 = MAX_KEY_BYTES as u64 + 2;

/// The keys of the file at `path` in their order, in constant memory.
///
/// A line ends with LF or CRLF; the last one may end with the file. Empty lines are skipped. All
/// other bytes belong to the key, including spaces and `#`. Nothing is decoded, so a key with a
/// line break needs a [manifest](super::batch_manifest). Fails with `Usage`, naming file and line,
/// if a file cannot be read or a key is longer than 1,024 bytes.
pub fn read(path: impl Into<PathBuf>) -> Feed<NamedObject> {
    let path = path.into();
    Feed::start(CHUNK, move |out| lines(&path, BufReader::new(open(&path)?), out))
}

fn lines(path: &Path, mut file: impl BufRead, out: &mut FeedSender<NamedObject>) -> Result<()> {
    let (mut bytes, mut line) = (Vec::new(), 0);
    loop {
        line += 1;
        bytes.clear();
        let wrong = |what: String| Error::usage(format!("{}:{line}: {what}", path.display()));
        let read = (&mut file).take(LONGEST_LINE).read_until(b'\n', &mut bytes);
        match read.map_err(|e| wrong(format!("cannot be read: {e}")).with_source(e))? {
            0 => return Ok(()),
            _ => trim_line_end(&mut bytes),
        }
        if bytes.is_empty() {
            continue;
        }
        let (key, odd) = key(std::mem::take(&mut bytes)).map_err(wrong)?;
        out.push(NamedObject { bucket: None, key, odd, version: None, line })?;
    }
}

/// CR belongs to the line end only before LF: a key may end with it.
fn trim_line_end(line: &mut Vec<u8>) {
    if line.pop_if(|last| *last == b'\n').is_some() {
        line.pop_if(|last| *last == b'\r');
    }
}
