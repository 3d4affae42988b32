//! How a body and an object are proven.

use std::fmt;

use bytes::Bytes;

use crate::config::Checksum;
use crate::digest;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Md5, Proof, Written};

/// The digests to send with a body in memory that has this MD5.
pub(super) fn proof(wanted: Checksum, bytes: &Bytes, md5: Md5) -> Proof {
    Proof {
        md5: wanted.has_md5().then_some(md5),
        crc64nvme: wanted.has_crc64nvme().then(|| digest::crc64nvme(bytes)),
    }
}

/// Whether what was stored is what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProofVerdict {
    /// The store answers a digest, and it is the one computed here.
    Proven,
    /// The store's answer shows nothing: its ETags are no MD5, and it names no checksum.
    Open,
}

/// Compares the destination's answer with the digests computed here; `Damaged` if one differs.
/// `opaque`: its ETags are known to be no MD5s.
pub(super) fn compare(
    written: &Written,
    sent: Proof,
    opaque: bool,
    what: impl fmt::Display,
) -> Result<ProofVerdict> {
    let mut verdict = ProofVerdict::Open;
    if let Some(md5) = sent.md5.filter(|_| written.etag_is_md5() && !opaque) {
        if written.etag.md5() != Some(md5) {
            let (expected, held) = (digest::single_etag(&md5), &written.etag);
            let message = format!("{what}: the destination holds {held}, but {expected} was sent");
            return Err(Error::new(ErrorKind::Damaged, message));
        }
        verdict = ProofVerdict::Proven;
    }
    if let (Some(crc), Some(held)) = (sent.crc64nvme, written.crc64nvme) {
        if crc != held {
            let message = format!(
                "{what}: the destination's CRC-64/NVME is {held:016x}, but {crc:016x} was sent"
            );
            return Err(Error::new(ErrorKind::Damaged, message));
        }
        verdict = ProofVerdict::Proven;
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Etag;

    /// Promise 3.
    #[test]
    fn an_md5_etag_that_differs_is_damage_and_another_kind_is_no_proof() {
        let md5 = digest::md5(b"sent");
        let verdict = |etag: &Etag, sse: Option<&str>| {
            let sse = sse.map(str::to_owned);
            compare(&Written { etag: etag.clone(), sse, crc64nvme: None }, md5.into(), false, "p")
                .ok()
        };
        let (right, other) = (digest::single_etag(&md5), digest::single_etag(&digest::md5(b"x")));
        assert_eq!(verdict(&right, None), Some(ProofVerdict::Proven));
        assert_eq!(verdict(&other, None), None);
        assert_eq!(verdict(&other, Some("AES256")), None);
        assert_eq!(verdict(&other, Some("aws:kms")), Some(ProofVerdict::Open));
        assert_eq!(verdict(&other, Some("aws:kms:dsse")), Some(ProofVerdict::Open));
        assert_eq!(verdict(&Etag::new("opaque"), None), Some(ProofVerdict::Open));
    }

    /// Promise 3.
    #[test]
    fn a_checksum_that_the_store_answers_is_a_proof_under_any_encryption() {
        let sent = Proof { md5: Some(digest::md5(b"sent")), crc64nvme: Some(7) };
        let verdict = |crc64nvme| {
            let sse = Some("aws:kms".to_owned());
            compare(&Written { etag: Etag::new("opaque"), sse, crc64nvme }, sent, false, "p").ok()
        };
        assert_eq!(verdict(Some(7)), Some(ProofVerdict::Proven));
        assert_eq!(verdict(Some(8)), None);
        assert_eq!(verdict(None), Some(ProofVerdict::Open));
    }

    /// Promise 3.
    #[test]
    fn an_etag_of_a_store_that_has_its_own_tells_nothing() {
        let md5 = digest::md5(b"sent");
        let other = digest::single_etag(&digest::md5(b"x"));
        let written = Written { etag: other, sse: None, crc64nvme: None };
        assert_eq!(compare(&written, md5.into(), true, "p").ok(), Some(ProofVerdict::Open));
    }

    /// Promise 3.
    #[test]
    fn a_body_is_sent_with_what_is_wanted() {
        let (bytes, md5) = (Bytes::from_static(b"read"), digest::md5(b"read"));
        let crc64nvme = Some(digest::crc64nvme(b"read"));
        assert_eq!(proof(Checksum::Both, &bytes, md5), Proof { md5: Some(md5), crc64nvme });
        assert_eq!(proof(Checksum::Crc64Nvme, &bytes, md5), Proof { md5: None, crc64nvme });
    }
}
