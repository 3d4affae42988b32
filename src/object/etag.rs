//! An ETag in comparable form, and what it says about its object.
//!
//! Pure: a text.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use crate::format::escape::shown;

/// An entity tag without quotation marks and without the prefix of a weak tag.
///
/// Digests are compared ignoring case: a store may write them in capitals in one answer and not in
/// another. All other tags are compared exactly.
///
/// A clone shares the text.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "String")]
pub struct Etag(Arc<str>);

impl PartialEq for Etag {
    fn eq(&self, other: &Self) -> bool {
        let digest = || self.looks_like_md5() || self.parts().is_some();
        self.0 == other.0 || (self.same_digest(other) && digest())
    }
}

impl Eq for Etag {}

impl std::hash::Hash for Etag {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_ascii_lowercase().hash(state);
    }
}

impl Etag {
    /// Takes an ETag as a service gives it: with or without quotation marks, strong or weak
    /// (`W/"x"`, RFC 9110, section 8.8.3). A store that marks all its tags as weak still means the
    /// bytes; if it does not, the bytes are compared with what the tag says.
    pub fn new(raw: impl AsRef<str>) -> Self {
        let raw = raw.as_ref().trim();
        let tag = raw.strip_prefix("W/").or_else(|| raw.strip_prefix("w/")).unwrap_or(raw);
        Self(tag.trim_matches('"').into())
    }

    /// The tag without quotation marks.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag in the quoted form that If-Match and CompleteMultipartUpload take.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }

    /// Whether both are the same digest, ignoring case: some compatible stores write capitals.
    pub fn same_digest(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }

    /// Whether the tag has the form of an MD5 digest: 32 hexadecimal digits. Under SSE-KMS a
    /// tag may have this form without being one.
    pub fn looks_like_md5(&self) -> bool {
        is_md5(&self.0)
    }
}

impl Etag {
    /// The MD5 digest that the tag spells, if it has that form.
    pub fn md5(&self) -> Option<[u8; 16]> {
        let mut digest = [0; 16];
        hex::decode_to_slice(self.0.as_bytes(), &mut digest).ok().map(|()| digest)
    }

    /// The number of parts of the object, if the tag has the form of a multipart upload's: a
    /// digest, a hyphen and that number
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html>).
    pub fn parts(&self) -> Option<u32> {
        let (digest, count) = self.0.split_once('-')?;
        let plain = !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit());
        let count = count.parse().ok().filter(|_| plain && is_md5(digest));
        count.filter(|count| *count > 0)
    }
}

fn is_md5(tag: &str) -> bool {
    tag.len() == 32 && tag.bytes().all(|b| b.is_ascii_hexdigit())
}

impl From<String> for Etag {
    /// The exact text, as it was serialized.
    fn from(tag: String) -> Self {
        Self(tag.into())
    }
}

impl Serialize for Etag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        shown(&self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
