//! Names of buckets and objects: kept byte for byte, escaped for people.
//!
//! Pure: texts.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use crate::format::escape::shown;

/// Whether this can name a bucket: no blanks and no `/`, so that neither `s3://bucket` nor
/// `bucket/prefix` passes. An access point's ARN may contain a `/`.
pub fn is_bucket_name(name: &str) -> bool {
    let possible = name.bytes().all(|byte| byte.is_ascii_graphic());
    !name.is_empty() && possible && (!name.contains('/') || name.starts_with("arn:"))
}

/// An object key: UTF-8, compared byte by byte, never normalised.
///
/// `Ord` on `str` is the order of its UTF-8 bytes, which is the order in which general purpose
/// buckets list (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>).
///
/// A clone shares the text: an object's key is in its job, its record, its outcome and its report.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(from = "String")]
pub struct ObjectKey(Arc<str>);

impl ObjectKey {
    /// Takes the key unchanged.
    pub fn new(key: impl AsRef<str>) -> Self {
        Self(key.as_ref().into())
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for ObjectKey {
    fn from(key: String) -> Self {
        Self::new(key)
    }
}

impl Serialize for ObjectKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for ObjectKey {
    /// Escapes everything that is not plainly visible, so that a key can neither break a log line
    /// nor hide in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        shown(&self.0).fmt(f)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A bucket and a key: one object's place on one side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// The bucket's name.
    pub bucket: String,
    /// The object's key.
    pub key: ObjectKey,
}

impl ObjectId {
    /// The object `key` in `bucket`.
    pub fn new(bucket: impl Into<String>, key: impl AsRef<str>) -> Self {
        Self { bucket: bucket.into(), key: ObjectKey::new(key) }
    }
}

impl ObjectId {
    /// `bucket/key` unescaped, for programs; for people use `Display`.
    pub fn exact(&self) -> String {
        format!("{}/{}", self.bucket, self.key.as_str())
    }
}

impl fmt::Display for ObjectId {
    /// `bucket/key`, the form of the record's key and of the log lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", shown(&self.bucket), self.key)
    }
}

/// The destination key of a bucket pair: `prefix`, one `/`, and the source key, byte for byte; just
/// the source key if `prefix` is empty or `/`.
pub fn destination_key(prefix: &str, source: &ObjectKey) -> ObjectKey {
    ObjectKey::new(destination_prefix(prefix) + source.as_str())
}

/// What [`destination_key`] puts in front of every source key.
pub fn destination_prefix(prefix: &str) -> String {
    match prefix.strip_suffix('/').unwrap_or(prefix) {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    }
}

/// Turns the keys of copies into their sources'.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyNames {
    /// Bytes to cut off the beginning of every key.
    pub cut: usize,
    /// What replaces it.
    pub add: String,
}

impl KeyNames {
    /// The source's key, of any bytes.
    pub fn of(&self, key: &[u8]) -> Vec<u8> {
        [self.add.as_bytes(), key.get(self.cut..).unwrap_or_default()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise 4.
    #[test]
    fn destination_keys_keep_every_byte_of_the_source_key() {
        for (prefix, key, expected) in [
            ("", "a//b", "a//b"),
            ("/", "/leading", "/leading"),
            ("p", "../y", "p/../y"),
            ("p/", "./x", "p/./x"),
            ("p/q", " space ", "p/q/ space "),
            ("p//", "k", "p//k"),
        ] {
            assert_eq!(destination_key(prefix, &ObjectKey::new(key)).as_str(), expected);
        }
    }

    /// Promise 4.
    #[test]
    fn control_characters_do_not_reach_a_log_line() {
        assert_eq!(ObjectKey::new("a\nb\u{1}ü").to_string(), "a\\nb\\u{1}ü");
        let turned = ObjectId::new("b\u{202e}", "k\u{2066}");
        assert_eq!(turned.to_string(), "b\\u{202e}/k\\u{2066}");
    }
}
