//! Whether an event's key is encoded or literal: stores differ.
//!
//! Pure: texts in, texts out.

use percent_encoding::percent_decode_str;

/// The possible readings of a key.
pub(super) struct KeyReadings {
    /// The likelier one for its store.
    pub first: String,
    /// The other one, if there are two.
    pub other: Option<String>,
    /// Whether the first one is the decoded key.
    pub is_decoded: bool,
}

impl KeyReadings {
    /// The key is not encoded.
    pub fn literal(key: &str) -> Self {
        Self { first: key.to_owned(), other: None, is_decoded: false }
    }

    /// Depends on the key and on the sender. Amazon S3, MinIO and most others encode keys like form
    /// fields: `+` for a space, and percent-encoding. Ceph does not, and called itself `aws:s3` for
    /// a long time (<https://docs.ceph.com/en/nautilus/radosgw/notifications/#events>), so in doubt
    /// the source is asked which of the two keys it has.
    pub fn of(key: &str, sender: &str) -> Self {
        let sender = sender.to_ascii_lowercase();
        let is_literal = ["ceph", "noobaa"].iter().any(|name| sender.contains(name));
        // An encoder would have encoded these characters.
        let is_raw = !key.bytes().all(|b| b.is_ascii_graphic()) || !has_whole_escapes(key);
        if is_raw {
            return Self::literal(key);
        }
        let blanks = key.replace('+', " ");
        // Keys are UTF-8, so a key that does not decode to UTF-8 was not encoded: `100%ff`.
        let Ok(decoded) = percent_decode_str(&blanks).decode_utf8() else {
            return Self::literal(key);
        };
        let decoded = decoded.into_owned();
        match (decoded == key, is_literal) {
            (true, _) => Self { is_decoded: !is_literal, ..Self::literal(key) },
            (false, true) => Self { other: Some(decoded), ..Self::literal(key) },
            (false, false) => {
                Self { first: decoded, other: Some(key.to_owned()), is_decoded: true }
            }
        }
    }
}

/// Whether two hexadecimal digits follow every percent sign.
fn has_whole_escapes(key: &str) -> bool {
    let digits = |rest: &[u8]| rest.len() >= 2 && rest[..2].iter().all(u8::is_ascii_hexdigit);
    let bytes = key.as_bytes();
    (0..bytes.len()).filter(|at| bytes[*at] == b'%').all(|at| digits(&bytes[at + 1..]))
}
