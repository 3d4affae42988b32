//! `report --check`: whether a report is as it was written.

use std::io::{BufRead as _, BufReader};

use flate2::bufread::GzDecoder;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::certificate::{self, Certificate, CertifiedFile};
use super::line::{self, LineFormat};
use super::merkle::{Tree, hash};
use super::place::Place;
use super::signature::{self, Signer, Verifier};
use crate::error::{ErrorKind, Result};

/// A certificate has a line for each file; this is one of a trillion objects.
const LONGEST_CERTIFICATE: u64 = 1 << 30;
/// Four lines, two of them comments.
const LONGEST_SIGNATURE: u64 = 64 * 1024;
/// A file of lines is not longer than this, whatever its certificate says: it is held in memory.
const LONGEST_FILE: u64 = 64 * 1024 * 1024;

/// What was found of one report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Audited {
    /// Where it is.
    pub place: String,
    /// Nothing was altered.
    pub intact: bool,
    /// What was altered, each with its file.
    pub altered: Vec<String>,
    /// Files that were read.
    pub files: u64,
    /// Lines of objects in them.
    pub lines: u64,
    /// The root over the lines, computed anew; `None` if not all lines were read.
    pub root: Option<String>,
    /// The seal of the certificate.
    pub seal: Option<String>,
    /// When the report was written, if its certificate is sound.
    pub created: Option<String>,
    /// The comment of a signature that is valid; `None`: it was not asked for, or it is wrong.
    pub signed: Option<String>,
}

/// Compares the report in `place` with its certificate. `only`: a single file of it. `key`: the
/// certificate must be signed with it. `None` if there is no certificate.
pub async fn audit(
    place: &Place,
    only: Option<&str>,
    key: Option<&Verifier>,
    cancel: &CancellationToken,
) -> Result<Option<Audited>> {
    let Some(text) = place.get(certificate::FILE, LONGEST_CERTIFICATE, cancel).await? else {
        return Ok(None);
    };
    let mut found = Audited {
        place: place.to_string(),
        intact: false,
        altered: Vec::new(),
        files: 0,
        lines: 0,
        root: None,
        seal: None,
        created: None,
        signed: None,
    };
    if let Some(key) = key {
        match signed_comment(place, key, &text, cancel).await? {
            Ok(comment) => found.signed = Some(comment),
            Err(why) => found.altered.push(why),
        }
    }
    let certificate = match Certificate::parse(&text) {
        Ok(certificate) => certificate,
        Err(why) => {
            found.altered.push(why);
            return Ok(Some(found));
        }
    };
    let mut tree = Tree::default();
    let files = certificate.files.iter();
    for file in files.filter(|file| only.is_none_or(|only| only == file.name)) {
        found.files += 1;
        if let Err(why) = of_file(place, file, &mut tree, cancel).await? {
            found.altered.push(why);
        }
    }
    if let (Some(only), 0) = (only, found.files) {
        found.altered.push(format!("{only} is no file of this report"));
    }
    found.lines = tree.lines();
    if only.is_none() && found.altered.is_empty() {
        let root = hex::encode(tree.root());
        if root != certificate.root || tree.lines() != certificate.lines {
            found.altered.push(format!(
                "{}: the root over all {} lines is {root}, and not {}",
                certificate::FILE,
                tree.lines(),
                certificate.root
            ));
        }
        found.altered.extend(unknown(place, &certificate));
        found.root = Some(root);
    }
    found.intact = found.altered.is_empty();
    (found.seal, found.created) = (Some(certificate.seal), Some(certificate.created));
    Ok(Some(found))
}

/// Signs the certificate of the report in `place`.
pub async fn sign(
    place: &Place,
    signer: &Signer,
    certificate: &Certificate,
    cancel: &CancellationToken,
) -> Result<()> {
    let comment = format!("seal {} of {}", certificate.seal, certificate.created);
    let signature = signer.sign(certificate.text()?.as_bytes(), &comment)?;
    place.put(signature::FILE, "text/plain", &signature.into(), cancel).await
}

/// The comment of the certificate's signature; the inner error says what is wrong with it.
async fn signed_comment(
    place: &Place,
    key: &Verifier,
    certificate: &[u8],
    cancel: &CancellationToken,
) -> Result<Result<String, String>> {
    let Some(text) = place.get(signature::FILE, LONGEST_SIGNATURE, cancel).await? else {
        return Ok(Err(format!("{} is missing: nobody has signed it", signature::FILE)));
    };
    Ok(key.verify(&String::from_utf8_lossy(&text), certificate))
}

/// Compares one file; the inner error says what was altered.
async fn of_file(
    place: &Place,
    file: &CertifiedFile,
    tree: &mut Tree,
    cancel: &CancellationToken,
) -> Result<Result<(), String>> {
    let name = &file.name;
    if name.contains('/') || name.contains('\\') || file.bytes > LONGEST_FILE {
        return Ok(Err(format!("{name}: no report has such a file")));
    }
    let bytes = match place.get(name, file.bytes, cancel).await {
        Err(error) if error.kind() == ErrorKind::Invalid => {
            return Ok(Err(format!("{name} was altered: it is longer than certified")));
        }
        got => got?,
    };
    let Some(bytes) = bytes else { return Ok(Err(format!("{name} is missing"))) };
    if hex::encode(hash(&[&bytes])) != file.sha256 {
        return Ok(Err(format!("{name} was altered: its bytes are not those that were certified")));
    }
    let Some(format) = LineFormat::of_file(name) else { return Ok(Ok(())) };
    let before = tree.lines();
    Ok(match read(&bytes, format, tree) {
        Err(error) => Err(format!("{name} was altered: {error}")),
        Ok(()) if tree.lines() - before != file.lines => {
            let lines = tree.lines() - before;
            Err(format!("{name} was altered: it has {lines} lines, and not {}", file.lines))
        }
        Ok(()) => Ok(()),
    })
}

fn read(packed: &[u8], format: LineFormat, tree: &mut Tree) -> std::io::Result<()> {
    let mut reader = BufReader::new(GzDecoder::new(packed));
    let mut text = Vec::new();
    let mut is_header = format == LineFormat::Csv;
    loop {
        text.clear();
        if reader.read_until(b'\n', &mut text)? == 0 {
            return Ok(());
        }
        if is_header && text != line::header().as_bytes() {
            return Err(std::io::Error::other("its first line does not name the columns"));
        }
        if !is_header {
            tree.add(text.strip_suffix(b"\n").unwrap_or(&text));
        }
        is_header = false;
    }
}

/// Files of lines that somebody has put next to those of the report.
fn unknown(place: &Place, certificate: &Certificate) -> Vec<String> {
    let Place::Folder(folder) = place else { return Vec::new() };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let is_unknown = |name: &String| {
        LineFormat::of_file(name).is_some()
            && certificate.files.iter().all(|file| file.name != *name)
    };
    names.filter(is_unknown).map(|name| format!("{name} was added: it is not certified")).collect()
}
