//! The certificate: what the files of a report are, so that nobody can alter one unnoticed.
//!
//! Pure: a certificate follows from what was written.

use serde::{Deserialize, Serialize};

use super::merkle::{Hash, hash};
use crate::error::{Error, Result};

/// The name of its file.
pub const FILE: &str = "certificate.json";
/// What it says it is.
const FORMAT: &str = "s3-migration report certificate 1";

/// A file of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertifiedFile {
    /// Its name.
    pub name: String,
    /// Lines of objects in it; 0 for the page.
    pub lines: u64,
    /// Bytes.
    pub bytes: u64,
    /// Their SHA-256.
    pub sha256: String,
}

impl CertifiedFile {
    /// A file with these bytes.
    pub fn new(name: &str, lines: u64, bytes: &[u8]) -> Self {
        let sha256 = hex::encode(hash(&[bytes]));
        Self { name: name.to_owned(), lines, bytes: bytes.len() as u64, sha256 }
    }
}

/// The certificate of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Which form of certificate it is.
    format: String,
    /// When the report was written.
    pub created: String,
    /// What wrote it.
    pub program: String,
    /// Which records are in it.
    pub scope: Vec<String>,
    /// Lines in all files.
    pub lines: u64,
    /// The Merkle root over them, as in RFC 6962 with SHA-256.
    pub root: String,
    /// The files, those with lines in the order of the lines.
    pub files: Vec<CertifiedFile>,
    /// The SHA-256 of [`FORMAT`], a zero byte and the certificate with an empty seal.
    pub seal: String,
}

impl Certificate {
    /// Certifies these files. The first two texts: when they were written, and by what.
    pub fn new(
        [created, program]: [String; 2],
        scope: Vec<String>,
        lines: u64,
        root: Hash,
        files: Vec<CertifiedFile>,
    ) -> Result<Self> {
        let mut certificate = Self {
            format: FORMAT.to_owned(),
            created,
            program,
            scope,
            lines,
            root: hex::encode(root),
            files,
            seal: String::new(),
        };
        certificate.seal = certificate.sealed()?;
        Ok(certificate)
    }

    /// Its file, which has exactly one form.
    pub fn text(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self);
        text.map(|text| text + "\n").map_err(|e| Error::invalid("the certificate").with_source(e))
    }

    /// Reads a file; the error says that it was altered.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let parsed: Self = serde_json::from_slice(text).map_err(|error| {
            format!("{FILE} was altered or is not a certificate of s3-migration: {error}")
        })?;
        if parsed.format != FORMAT {
            return Err(format!("{FILE} has a form that this version does not know"));
        }
        let is_own = parsed.text().is_ok_and(|own| own.as_bytes() == text);
        if !is_own || parsed.sealed().ok().as_ref() != Some(&parsed.seal) {
            return Err(format!("{FILE} was altered: its seal does not fit what it says"));
        }
        Ok(parsed)
    }

    fn sealed(&self) -> Result<String> {
        let open = Self { seal: String::new(), ..self.clone() }.text()?;
        Ok(hex::encode(hash(&[FORMAT.as_bytes(), &[0], open.as_bytes()])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise 0.
    #[test]
    fn no_byte_of_a_certificate_can_be_altered_unnoticed() {
        let files = vec![CertifiedFile::new("objects-00001.jsonl.gz", 1, b"x")];
        let created = "2026-01-01T00:00:00.000Z".to_owned();
        let scope = vec!["all records".to_owned()];
        let certificate =
            Certificate::new([created, "s".to_owned()], scope, 1, [7; 32], files).unwrap();
        let text = certificate.text().unwrap().into_bytes();
        assert_eq!(Certificate::parse(&text).unwrap(), certificate);
        for at in 0..text.len() {
            for bit in [1, 0x20] {
                let mut altered = text.clone();
                altered[at] ^= bit;
                assert!(Certificate::parse(&altered).is_err(), "byte {at}, bit {bit}");
            }
        }
        assert!(Certificate::parse(&text[..text.len() - 1]).is_err());
        assert!(Certificate::parse(&[&text[..], b" "].concat()).is_err());
    }
}
