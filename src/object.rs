//! The nouns: bucket, key, version, ETag, byte range, the order of events.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::format::escape::shown;

pub mod sequencer;

/// The longest key S3 takes, in bytes of UTF-8
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>).
pub const MAX_KEY_BYTES: usize = 1024;

/// What stands for a version where there is none: in messages, in the table, and in S3's answers
/// about what was written while its bucket kept no versions.
pub const NO_VERSION: &str = "null";

/// One mebibyte in bytes.
pub const MIB: u64 = 1024 * 1024;

/// Whether this can name a bucket: no blanks and no `/`, so that neither `s3://bucket` nor
/// `bucket/prefix` is taken for one. An access point's ARN has a `/` of its own.
pub fn is_bucket_name(name: &str) -> bool {
    let possible = name.bytes().all(|byte| byte.is_ascii_graphic());
    !name.is_empty() && possible && (!name.contains('/') || name.starts_with("arn:"))
}

/// An object key: UTF-8, compared byte by byte, never normalised.
///
/// `Ord` on `str` is the order of its UTF-8 bytes, which is the order in which general purpose
/// buckets list (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Takes the key as it is.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    /// What is not plain to see is escaped, so that a key can neither break a log line nor hide in it.
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
    pub fn new(bucket: impl Into<String>, key: impl Into<String>) -> Self {
        Self { bucket: bucket.into(), key: ObjectKey::new(key) }
    }
}

impl ObjectId {
    /// `bucket/key` as it is, for programs; people are shown its `Display`.
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

/// One content of an object: what was there at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Its version; `None` where it has none, or the null version.
    pub version: Option<String>,
    /// Its ETag, where it is known.
    pub etag: Option<Etag>,
}

impl Revision {
    /// Takes the null version for none: it names whatever was written last without versions.
    pub fn new(version: Option<String>, etag: Option<Etag>) -> Self {
        Self { version: version.filter(|version| version != NO_VERSION), etag }
    }
}

/// An entity tag without its quotation marks and without the mark of a weak one.
///
/// Digests are equal in any case: a store may write them in capitals in one answer and not in
/// another. Every other tag is equal to itself only.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Etag(String);

impl PartialEq for Etag {
    fn eq(&self, other: &Self) -> bool {
        let digest = self.looks_like_md5() || self.parts().is_some();
        self.0 == other.0 || (digest && self.same_digest(other))
    }
}

impl Eq for Etag {}

impl std::hash::Hash for Etag {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_ascii_lowercase().hash(state);
    }
}

impl Etag {
    /// Takes an ETag as a service gives it: with or without quotation marks, strong or weak (`W/"x"`,
    /// RFC 9110, section 8.8.3). A store that calls all its tags weak means the bytes all the same;
    /// where it does not, the bytes are compared with what the tag says.
    pub fn new(raw: impl AsRef<str>) -> Self {
        let raw = raw.as_ref().trim();
        let tag = raw.strip_prefix("W/").or_else(|| raw.strip_prefix("w/")).unwrap_or(raw);
        Self(tag.trim_matches('"').to_owned())
    }

    /// The tag without quotation marks.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag in the quoted form that If-Match and CompleteMultipartUpload take.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }

    /// Whether both are the same digest: some compatible stores write theirs in capitals.
    pub fn same_digest(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }

    /// Whether the tag has the form of an MD5 digest: 32 hexadecimal digits. Under SSE-KMS a
    /// tag may have this form without being one.
    pub fn looks_like_md5(&self) -> bool {
        self.0.len() == 32 && self.0.bytes().all(|b| b.is_ascii_hexdigit())
    }
}

impl Etag {
    /// The MD5 digest that the tag spells, where it has that form.
    pub fn md5(&self) -> Option<[u8; 16]> {
        let mut digest = [0; 16];
        hex::decode_to_slice(&self.0, &mut digest).ok().map(|()| digest)
    }

    /// Of how many parts the object was made, where the tag has the form of a multipart upload's:
    /// a digest, a hyphen and that number
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html>).
    pub fn parts(&self) -> Option<u32> {
        let (digest, count) = self.0.split_once('-')?;
        let plain = !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit());
        let count = count.parse().ok().filter(|_| plain && Self::new(digest).looks_like_md5());
        count.filter(|count| *count > 0)
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        shown(&self.0).fmt(f)
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

/// The bucket pair's rule for destination keys: the source key as it is, byte for byte, behind
/// `prefix` and one `/`; nothing in front where `prefix` is empty or `/`.
pub fn destination_key(prefix: &str, source: &ObjectKey) -> ObjectKey {
    ObjectKey(destination_prefix(prefix) + source.as_str())
}

/// What [`destination_key`] puts in front of every source key.
pub fn destination_prefix(prefix: &str) -> String {
    match prefix.strip_suffix('/').unwrap_or(prefix) {
        "" => String::new(),
        prefix => format!("{prefix}/"),
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

    #[test]
    fn etags_lose_their_quotation_marks_once() {
        let etag = Etag::new("\"d41d8cd98f00b204e9800998ecf8427e\"");
        assert_eq!(etag.as_str(), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(etag.quoted(), "\"d41d8cd98f00b204e9800998ecf8427e\"");
        assert!(etag.looks_like_md5());
        assert!(!Etag::new("d41d8cd98f00b204e9800998ecf8427e-2").looks_like_md5());
        assert!(etag.same_digest(&Etag::new("D41D8CD98F00B204E9800998ECF8427E")));
        assert_eq!(etag.md5().unwrap()[..2], [0xd4, 0x1d]);
    }

    #[test]
    fn a_tag_is_the_same_however_it_is_written() {
        let plain = Etag::new("d41d8cd98f00b204e9800998ecf8427e");
        for raw in [
            "\"d41d8cd98f00b204e9800998ecf8427e\"",
            "W/\"d41d8cd98f00b204e9800998ecf8427e\"",
            "w/\"D41D8CD98F00B204E9800998ECF8427E\"",
            " \"D41D8CD98F00B204E9800998ECF8427E\" ",
        ] {
            assert_eq!(Etag::new(raw), plain, "{raw}");
        }
        assert_eq!(Etag::new("W/\"x\""), Etag::new("x"));
        assert_ne!(Etag::new("x"), Etag::new("X"), "what is no digest has a case of its own");
        assert_eq!(Etag::new("W/").as_str(), "");
    }

    #[test]
    fn the_tag_of_a_multipart_object_tells_its_number_of_parts() {
        let digest = "d41d8cd98f00b204e9800998ecf8427e";
        assert_eq!(Etag::new(format!("\"{digest}-10000\"")).parts(), Some(10_000));
        for other in ["", "-", "-2", "-0", "-+2", "-2-2", "-x"] {
            let tag = format!("{digest}{other}");
            let expected = if other == "-2" { Some(2) } else { None };
            assert_eq!(Etag::new(&tag).parts(), expected, "{tag}");
            assert_eq!(Etag::new(&tag).md5().is_some(), other.is_empty(), "{tag}");
        }
        assert_eq!(Etag::new("opaque-2").parts(), None);
    }

    /// Promise 4.
    #[test]
    fn control_characters_do_not_reach_a_log_line() {
        assert_eq!(ObjectKey::new("a\nb\u{1}ü").to_string(), "a\\nb\\u{1}ü");
        let turned = ObjectId::new("b\u{202e}", "k\u{2066}");
        assert_eq!(turned.to_string(), "b\\u{202e}/k\\u{2066}");
    }

    #[test]
    fn a_range_names_its_last_byte() {
        assert_eq!(ByteRange { start: 5, len: 5 }.header(), "bytes=5-9");
    }
}
