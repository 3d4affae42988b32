//! CRC-64/NVME: the checksums that callers send, and those in answers
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>).

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc_fast::{CrcAlgorithm, checksum_combine};
use hyper::HeaderMap;
use s3s::dto::{ChecksumMode, ChecksumType};
use s3s::{S3Result, TrailingHeaders, s3_error};

use crate::blob::Blob;

const HEADER: &str = "x-amz-checksum-crc64nvme";

/// The checksum that a caller sends with a body: before it, or in a trailer.
#[derive(Default)]
pub(super) struct Said {
    before: Option<String>,
    behind: Option<TrailingHeaders>,
}

impl Said {
    pub(super) fn new(headers: &HeaderMap, behind: Option<TrailingHeaders>) -> Self {
        Self { before: of(headers), behind }
    }

    /// Checks the bytes against the sent checksum, which goes into the answer.
    pub(super) fn check(self, blob: &Blob) -> S3Result<Option<String>> {
        let behind = self.behind.and_then(|trailers| trailers.read(of).flatten());
        let Some(said) = self.before.or(behind) else { return Ok(None) };
        match said == text(blob.crc64nvme) {
            true => Ok(Some(said)),
            false => Err(s3_error!(BadDigest, "the bytes have another CRC64NVME")),
        }
    }
}

fn of(headers: &HeaderMap) -> Option<String> {
    Some(headers.get(HEADER)?.to_str().ok()?.to_owned())
}

/// Whether the upload's object gets a checksum of the whole.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    headers.get("x-amz-checksum-algorithm").is_some_and(|value| value == "CRC64NVME")
}

/// The form used in headers and answers.
pub(super) fn text(crc: u64) -> String {
    BASE64.encode(crc.to_be_bytes())
}

/// The checksum of consecutive parts.
pub(super) fn combined(parts: &[Blob]) -> u64 {
    parts.iter().fold(0, |crc, part| {
        checksum_combine(CrcAlgorithm::Crc64Nvme, crc, part.crc64nvme, part.len)
    })
}

/// The checksum in the answer to a read of the whole object, if requested.
pub(super) fn told(
    crc: Option<u64>,
    mode: Option<&ChecksumMode>,
) -> (Option<String>, Option<ChecksumType>) {
    let asked = mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
    let crc = crc.filter(|_| asked).map(text);
    let whole = ChecksumType::from_static(ChecksumType::FULL_OBJECT);
    let kind = crc.as_ref().map(|_| whole);
    (crc, kind)
}
