//! The checksums that a store keeps of whole objects, in addition to their ETags.
//!
//! Amazon S3 keeps the one that an object was uploaded with, or a CRC-64/NVME if none was given
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>).
//!
//! Pure: a checksum follows from bytes.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crc_fast::{CrcAlgorithm, Digest, checksum_combine};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// How a checksum is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// CRC-64/NVME.
    Crc64Nvme,
    /// CRC-32/ISCSI, known as CRC-32C.
    Crc32C,
    /// CRC-32/ISO-HDLC, known as CRC-32.
    Crc32,
    /// SHA-256.
    Sha256,
    /// SHA-1.
    Sha1,
}

impl Algorithm {
    /// All algorithms, those first whose part checksums can be joined.
    pub const ALL: [Self; 5] =
        [Self::Crc64Nvme, Self::Crc32C, Self::Crc32, Self::Sha256, Self::Sha1];

    /// The header that carries the checksum.
    pub fn header(self) -> &'static str {
        match self {
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Crc32C => "x-amz-checksum-crc32c",
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Sha256 => "x-amz-checksum-sha256",
            Self::Sha1 => "x-amz-checksum-sha1",
        }
    }

    /// The common name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc64Nvme => "CRC-64/NVME",
            Self::Crc32C => "CRC-32C",
            Self::Crc32 => "CRC-32",
            Self::Sha256 => "SHA-256",
            Self::Sha1 => "SHA-1",
        }
    }

    /// Whether the checksum of a whole follows from those of its parts.
    pub fn is_joined(self) -> bool {
        self.crc().is_some()
    }

    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Crc32C => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Sha256 | Self::Sha1 => None,
        }
    }

    /// Length of the value in bytes.
    fn len(self) -> usize {
        match self {
            Self::Crc64Nvme => 8,
            Self::Crc32C | Self::Crc32 => 4,
            Self::Sha256 => 32,
            Self::Sha1 => 20,
        }
    }
}

/// A checksum's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    algorithm: Algorithm,
    /// Big-endian, followed by zeros.
    bytes: [u8; 32],
}

impl Sum {
    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The big-endian bytes, which headers carry in base64.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.algorithm.len()).unwrap_or_default()
    }

    /// A CRC-64/NVME from its number.
    pub fn crc64nvme(crc: u64) -> Self {
        Self::of_crc(Algorithm::Crc64Nvme, crc)
    }

    /// Its number, if it is a CRC-64/NVME.
    pub fn as_crc64nvme(&self) -> Option<u64> {
        (self.algorithm == Algorithm::Crc64Nvme).then(|| self.number())
    }

    /// The checksum of an object's bytes from an answer: the header's text, and
    /// `x-amz-checksum-type`, which distinguishes it from a checksum of the parts' checksums
    /// (`COMPOSITE`). Stores that do not send the type send a checksum of the whole for objects
    /// written in one piece.
    pub fn of_whole(
        algorithm: Algorithm,
        text: &str,
        kind: Option<&str>,
        in_parts: bool,
    ) -> Option<Self> {
        let is_whole = match kind {
            Some(kind) => kind.trim().eq_ignore_ascii_case("FULL_OBJECT"),
            None => !in_parts || algorithm == Algorithm::Crc64Nvme,
        };
        let value = BASE64_STANDARD.decode(text.trim()).ok().filter(|_| is_whole)?;
        (value.len() == algorithm.len()).then(|| Self::of_bytes(algorithm, &value))
    }

    fn of_bytes(algorithm: Algorithm, value: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(value).for_each(|(to, from)| *to = *from);
        Self { algorithm, bytes }
    }

    fn of_crc(algorithm: Algorithm, crc: u64) -> Self {
        let all = crc.to_be_bytes();
        Self::of_bytes(algorithm, &all[8 - algorithm.len().min(8)..])
    }

    fn number(&self) -> u64 {
        let digits = self.bytes.iter().take(self.algorithm.len().min(8));
        digits.fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// An incremental checksum.
#[derive(Clone, Debug)]
pub struct SumHasher {
    algorithm: Algorithm,
    state: SumState,
}

#[derive(Clone, Debug)]
enum SumState {
    Crc(Digest),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl SumHasher {
    /// A hasher without bytes.
    pub fn new(algorithm: Algorithm) -> Self {
        let state = match (algorithm, algorithm.crc()) {
            (_, Some(crc)) => SumState::Crc(Digest::new(crc)),
            (Algorithm::Sha1, None) => SumState::Sha1(Sha1::default()),
            (_, None) => SumState::Sha256(Sha256::default()),
        };
        Self { algorithm, state }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            SumState::Crc(crc) => crc.update(bytes),
            SumState::Sha1(sha) => sha.update(bytes),
            SumState::Sha256(sha) => sha.update(bytes),
        }
    }

    /// The checksum of all bytes taken.
    pub fn finish(self) -> Sum {
        match self.state {
            SumState::Crc(crc) => Sum::of_crc(self.algorithm, crc.finalize()),
            SumState::Sha1(sha) => Sum::of_bytes(self.algorithm, &sha.finalize()),
            SumState::Sha256(sha) => Sum::of_bytes(self.algorithm, &sha.finalize()),
        }
    }
}

/// The checksum of these bytes.
pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Sum {
    let mut hasher = SumHasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

/// The checksum of a whole from those of its parts, each with its number of bytes, in order. `None`
/// if a part has none, or if the whole's does not follow from them.
pub fn joined(
    algorithm: Algorithm,
    parts: impl Iterator<Item = (Option<Sum>, u64)>,
) -> Option<Sum> {
    let crc = algorithm.crc()?;
    let mut parts = parts;
    let empty = of(algorithm, &[]).number();
    let whole = parts.try_fold(empty, |whole, (part, len)| {
        let part = part.filter(|part| part.algorithm == algorithm)?;
        Some(checksum_combine(crc, whole, part.number(), len))
    });
    whole.map(|whole| Sum::of_crc(algorithm, whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values in the CRC catalogue
    /// (<https://reveng.sourceforge.io/crc-catalogue/all.htm>), and `printf 123456789 | sha1sum`
    /// and `sha256sum`.
    const CHECKS: [(Algorithm, &str); 5] = [
        (Algorithm::Crc64Nvme, "ae8b14860a799888"),
        (Algorithm::Crc32C, "e3069283"),
        (Algorithm::Crc32, "cbf43926"),
        (Algorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        (Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
    ];

    fn text(hexadecimal: &str) -> String {
        BASE64_STANDARD.encode(hex::decode(hexadecimal).unwrap())
    }

    #[test]
    fn each_is_the_one_that_s3_means() {
        for (algorithm, check) in CHECKS {
            let told = Sum::of_whole(algorithm, &text(check), None, false).unwrap();
            assert_eq!(of(algorithm, b"123456789"), told, "{algorithm:?}");
            let mut hasher = SumHasher::new(algorithm);
            [&b"1234"[..], b"", b"56789"].iter().for_each(|chunk| hasher.update(chunk));
            assert_eq!(hasher.finish(), told, "{algorithm:?}");
        }
    }

    #[test]
    fn that_of_parts_is_told_from_that_of_the_whole() {
        let crc32 = text(CHECKS[2].1);
        let told = |kind, in_parts| Sum::of_whole(Algorithm::Crc32, &crc32, kind, in_parts);
        assert!(told(Some("FULL_OBJECT"), true).is_some());
        assert!(told(Some("COMPOSITE"), true).is_none());
        assert!(told(None, false).is_some());
        assert!(told(None, true).is_none());
        for wrong in ["", "no", "AAAA", &format!("{crc32}-2")] {
            assert!(Sum::of_whole(Algorithm::Crc32, wrong, None, false).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_crc_follows_from_its_parts() {
        for algorithm in Algorithm::ALL {
            let parts = [&b"123"[..], b"4567", b"", b"89"];
            let each = parts.iter().map(|part| (Some(of(algorithm, part)), part.len() as u64));
            let whole = joined(algorithm, each);
            let expected = algorithm.is_joined().then(|| of(algorithm, b"123456789"));
            assert_eq!(whole, expected, "{algorithm:?}");
            assert_eq!(joined(algorithm, [(None, 1)].into_iter()), None);
        }
        assert_eq!(Sum::crc64nvme(7).as_crc64nvme(), Some(7));
        assert_eq!(of(Algorithm::Crc32, b"").as_crc64nvme(), None);
    }
}
