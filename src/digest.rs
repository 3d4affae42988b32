//! MD5, the ETags that follow from it, other checksums; MD5 of many streams at once.
//!
//! Pure: what a digest or an ETag follows from is an argument.

use crc_fast::{CrcAlgorithm, checksum_combine};
use md5::{Digest, Md5};

use crate::object::Etag;

pub mod lanes;
pub mod sums;

/// An incremental MD5.
#[derive(Clone, Debug, Default)]
pub struct Md5Hasher(Md5);

impl Md5Hasher {
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

/// A number that stands for these texts, in their order, in what is kept from one run to the next:
/// the first eight bytes of an MD5, which no library or version changes.
pub fn lasting_id<'a>(texts: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut md5 = Md5::new();
    for text in texts {
        md5.update((text.len() as u64).to_be_bytes());
        md5.update(text);
    }
    let [a, b, c, d, e, f, g, h, ..] = md5.finalize().0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// The CRC-64/NVME of `bytes`.
pub fn crc64nvme(bytes: &[u8]) -> u64 {
    crc_fast::crc64_nvme(bytes)
}

/// The CRC-64/NVME of a whole object from those of its parts, each with its number of bytes, in
/// order: what S3 calls a full object checksum
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>). `None`
/// if a part has none.
pub fn whole_crc64nvme(parts: impl Iterator<Item = (Option<u64>, u64)>) -> Option<u64> {
    let empty = crc64nvme(&[]);
    let join =
        |whole, (part, len)| Some(checksum_combine(CrcAlgorithm::Crc64Nvme, whole, part?, len));
    parts.into_iter().try_fold(empty, join)
}

/// The ETag of an object written by one PUT without SSE-KMS: its MD5
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html>).
pub fn single_etag(md5: &[u8; 16]) -> Etag {
    Etag::new(hex::encode(md5))
}

/// The ETag of a multipart object without SSE-KMS: the MD5 of its parts' MD5s, a hyphen and their
/// number. `None` if a part's ETag is not an MD5.
pub fn multipart_etag<'a>(parts: impl ExactSizeIterator<Item = &'a Etag>) -> Option<Etag> {
    let count = parts.len();
    let mut hasher = Md5::new();
    for part in parts {
        hasher.update(hex::decode(part.as_str()).ok().filter(|digest| digest.len() == 16)?);
    }
    Some(Etag::new(format!("{}-{count}", hex::encode(hasher.finalize()))))
}

/// Whether an ETag is that of fewer parts than these: of the first few, or of all but one. Says
/// which. The search for the missing part is limited to a thousand parts, since it takes quadratic
/// time.
pub fn made_of_fewer<'a>(etag: &Etag, parts: impl Iterator<Item = &'a Etag>) -> Option<String> {
    const MOST_LEFT_OUT: usize = 1000;
    let parts: Vec<&Etag> = parts.collect();
    let made = |of: &[&Etag]| multipart_etag(of.iter().copied());
    let is_it = |of: &[&Etag]| made(of).is_some_and(|made| made.same_digest(etag));
    let mut first = Md5::new();
    for (at, part) in parts.iter().enumerate().take(parts.len().saturating_sub(1)) {
        first.update(hex::decode(part.as_str()).ok()?);
        let made = Etag::new(format!("{}-{}", hex::encode(first.clone().finalize()), at + 1));
        if made.same_digest(etag) || (at == 0 && part.same_digest(etag)) {
            return Some(format!("the first {} of {} parts", at + 1, parts.len()));
        }
    }
    if parts.len() > MOST_LEFT_OUT {
        return None;
    }
    (0..parts.len()).find_map(|out| {
        let mut others = parts.clone();
        others.remove(out);
        is_it(&others).then(|| format!("all parts but number {}", out + 1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lasting_id_does_not_change() {
        assert_eq!(lasting_id(["a", "bc"]), 0xb6d6_f72a_44aa_4f71);
        assert_ne!(lasting_id(["a", "bc"]), lasting_id(["ab", "c"]));
    }

    /// Promise 3.
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

    /// Promise 3.
    #[test]
    fn the_checksum_of_a_whole_follows_from_its_parts() {
        // The check value of CRC-64/NVME in the catalogue of parametrised CRC algorithms,
        // https://reveng.sourceforge.io/crc-catalogue/all.htm#crc.cat.crc-64-nvme
        assert_eq!(crc64nvme(b"123456789"), 0xae8b_1486_0a79_9888);
        let whole: Vec<u8> = (0..100_000u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
        let parts = whole.chunks(30_000).map(|part| (Some(crc64nvme(part)), part.len() as u64));
        assert_eq!(whole_crc64nvme(parts), Some(crc64nvme(&whole)));
        assert_eq!(whole_crc64nvme(std::iter::empty()), Some(crc64nvme(&[])));
        assert_eq!(whole_crc64nvme([(Some(1), 1), (None, 1)].into_iter()), None);
    }

    /// Promise 3.
    #[test]
    fn an_etag_of_fewer_parts_is_known() {
        let parts: Vec<Etag> = (0..4u8).map(|n| single_etag(&md5(&[n]))).collect();
        let of = |of: &[usize]| {
            let chosen: Vec<&Etag> = of.iter().map(|n| &parts[*n]).collect();
            made_of_fewer(&multipart_etag(chosen.into_iter()).unwrap(), parts.iter())
        };
        assert_eq!(of(&[0, 1, 2]).unwrap(), "the first 3 of 4 parts");
        assert_eq!(of(&[0]).unwrap(), "the first 1 of 4 parts");
        assert_eq!(of(&[0, 2, 3]).unwrap(), "all parts but number 2");
        assert_eq!(of(&[0, 1, 2, 3]), None);
        assert_eq!(of(&[3, 2, 1, 0]), None);
        assert_eq!(made_of_fewer(&Etag::new("own"), parts.iter()), None);
    }

    /// Promise 3.
    #[test]
    fn a_part_etag_that_is_no_md5_gives_no_object_etag() {
        assert_eq!(multipart_etag([Etag::new("not-a-digest")].iter()), None);
    }
}
