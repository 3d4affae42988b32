//! The nouns: bucket, key, version, ETag, byte range, the order of events.

mod etag;
mod key;
pub mod sequencer;

pub use etag::Etag;
pub use key::{KeyNames, ObjectId, ObjectKey, destination_key, destination_prefix, is_bucket_name};

/// The longest key S3 takes, in bytes of UTF-8
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>).
pub const MAX_KEY_BYTES: usize = 1024;

/// Stands for "no version" in messages, in the table, and in S3's answers about objects written
/// while their bucket kept no versions.
pub const NO_VERSION: &str = "null";

/// One mebibyte in bytes.
pub const MIB: u64 = 1024 * 1024;

/// One content of an object: its state at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Its version; `None` if it has none, or the null version.
    pub version: Option<String>,
    /// Its ETag, if known.
    pub etag: Option<Etag>,
}

impl Revision {
    /// Treats the null version as none: it names the object written last without versions.
    pub fn new(version: Option<String>, etag: Option<Etag>) -> Self {
        Self { version: version.filter(|version| version != NO_VERSION), etag }
    }
}

/// A range of bytes that is never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte's offset.
    pub start: u64,
    /// Number of bytes, at least 1.
    pub len: u64,
}

impl ByteRange {
    /// The form of the HTTP `Range` header (RFC 9110, section 14.1.2).
    pub fn header(self) -> String {
        format!("bytes={}-{}", self.start, self.start + self.len - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_names_its_last_byte() {
        assert_eq!(ByteRange { start: 5, len: 5 }.header(), "bytes=5-9");
    }
}
