//! Objects that a file names: a list of keys, a Batch manifest, an S3 Inventory.
//!
//! Everything here streams and never holds a whole list: what is read arrives in chunks through a
//! [`Feed`]; what must be in order is sorted on disk ([`sort`]). All of it needs a Tokio runtime,
//! whose blocking threads do the reading.

use std::fs::File;
use std::path::Path;

use percent_encoding::percent_decode;

use crate::error::{Error, Result};
use crate::object::{MAX_KEY_BYTES, ObjectKey};

pub mod batch_manifest;
pub mod feed;
pub mod inventory;
pub mod key_file;
pub mod sort;
mod table;
#[cfg(test)]
mod tests;

pub use feed::Feed;

/// Entries in a chunk: as many as in a page of a listing.
const CHUNK: usize = 1000;

/// One object that a file of keys or a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedObject {
    /// The bucket, if the file names one.
    pub bucket: Option<String>,
    /// The key, decoded; if it is not UTF-8, as much of it as can be shown.
    pub key: ObjectKey,
    /// The bytes of a key that is not UTF-8: it is not processed further.
    pub odd: Option<Vec<u8>>,
    /// The version, if the file names one; `"null"` is passed on as it is.
    pub version: Option<String>,
    /// Its line in the file: the first line is 1.
    pub line: u64,
}

/// Opens a file that the user has named; fails with `Usage`.
fn open(path: &Path) -> Result<File> {
    let refused = |e: std::io::Error| {
        Error::usage(format!("{} cannot be read: {e}", path.display())).with_source(e)
    };
    let file = File::open(path).map_err(refused)?;
    match file.metadata().map_err(refused)?.is_dir() {
        true => Err(Error::usage(format!("{} is a folder; name a file", path.display()))),
        false => Ok(file),
    }
}

/// A key as S3 Inventory and S3 Batch Operations write it in CSV: like a form's field, a space as
/// `+` and a plus as `%2B`. Amazon says "URL-encoded"
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory.html#storage-inventory-contents>),
/// and its own examples decode such keys with `unquote_plus`
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-invoke-lambda.html>).
///
/// Text that no encoder writes is refused rather than guessed at: a key that was never encoded
/// would be taken for a different one.
fn decode_key(raw: &[u8]) -> Result<Named, String> {
    key(decode(raw)?)
}

/// The bytes of such a key.
fn decode(raw: &[u8]) -> Result<Vec<u8>, String> {
    let encoded = raw.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    for (at, _) in encoded {
        if !raw.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return Err(
                "the key is not URL-encoded: a % without two hexadecimal digits; a percent \
                        sign is written %25, a plus %2B, a blank + or %20"
                    .to_owned(),
            );
        }
    }
    let plain: Vec<u8> = raw.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    Ok(percent_decode(&plain).collect())
}

/// A key, and its bytes if they are not UTF-8.
type Named = (ObjectKey, Option<Vec<u8>>);

/// A key from its 1 to 1,024 bytes.
fn key(bytes: Vec<u8>) -> Result<Named, String> {
    match bytes.len() {
        0 => return Err("the key is empty".to_owned()),
        1..=MAX_KEY_BYTES => {}
        _ => return Err(format!("the key is longer than {MAX_KEY_BYTES} bytes, S3's limit")),
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => (ObjectKey::new(text), None),
        Err(odd) => {
            let odd = odd.into_bytes();
            (ObjectKey::new(String::from_utf8_lossy(&odd)), Some(odd))
        }
    })
}
