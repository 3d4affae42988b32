//! ETags that are computed rather than believed.

use md5::{Digest, Md5};

use crate::object::Etag;

/// An MD5 that grows with the bytes it is given.
#[derive(Clone, Debug, Default)]
pub struct Hasher(Md5);

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes taken.
    pub fn finish(self) -> [u8; 16] {
        self.0.finalize().into()
    }
}

/// The MD5 of `bytes`.
pub fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

/// The ETag of an object written by one PUT without SSE-KMS: its MD5
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html>).
pub fn single_etag(md5: &[u8; 16]) -> Etag {
    Etag::new(hex::encode(md5))
}

/// The ETag of a multipart object without SSE-KMS: the MD5 of its parts' MD5s, a hyphen and
/// their number. `None` where a part's ETag is not an MD5.
pub fn multipart_etag<'a>(parts: impl ExactSizeIterator<Item = &'a Etag>) -> Option<Etag> {
    let count = parts.len();
    let mut hasher = Md5::new();
    for part in parts {
        hasher.update(hex::decode(part.as_str()).ok().filter(|digest| digest.len() == 16)?);
    }
    Some(Etag::new(format!("{}-{count}", hex::encode(hasher.finalize()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_etag_of_two_parts_is_the_digest_of_their_digests() {
        let parts = [single_etag(&md5(b"hello ")), single_etag(&md5(b"world"))];
        // printf 'hello ' | md5sum; printf world | md5sum; both in binary | md5sum
        let expected = {
            let mut both = md5(b"hello ").to_vec();
            both.extend(md5(b"world"));
            format!("{}-2", hex::encode(md5(&both)))
        };
        assert_eq!(multipart_etag(parts.iter()).unwrap().as_str(), expected);
        assert_eq!(parts[1].as_str(), "7d793037a0760186574b0282f2f435e7");
    }

    #[test]
    fn a_part_etag_that_is_no_md5_gives_no_object_etag() {
        assert_eq!(multipart_etag([Etag::new("not-a-digest")].iter()), None);
    }
}
