//! What is not equal: the files of all of them, and the first few for the eye.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files::cannot_write;

/// How many are kept for the printed result.
const EXAMPLES: usize = 20;

/// What is wrong with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrong {
    /// On both sides, and different.
    Differing,
    /// Only at the source.
    Missing,
    /// Only at the destination.
    Extra,
    /// Not looked at as was asked.
    NotLookedAt,
}

impl Wrong {
    const ALL: [Self; 4] = [Self::Differing, Self::Missing, Self::Extra, Self::NotLookedAt];

    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Differing => "differing",
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::NotLookedAt => "not looked at",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Differing => "differing.jsonl",
            Self::Missing => "missing.jsonl",
            Self::Extra => "extra.jsonl",
            Self::NotLookedAt => "not_looked_at.jsonl",
        }
    }
}

/// An object that is not equal: one line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The key at the source, without anything before it.
    pub key: String,
    /// In what it differs, or the only word that applies: `missing`, `extra`, or why it was not
    /// looked at.
    pub how: Vec<String>,
    /// What of its headers is lost.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<String>,
    /// `s3://BUCKET/KEY` of the object.
    pub source: String,
    /// `s3://BUCKET/KEY` of its copy.
    pub destination: String,
}

/// One of the first findings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// What is wrong.
    pub wrong: Wrong,
    /// The object.
    pub key: String,
    /// In what it differs.
    pub how: Vec<String>,
}

/// Receives the findings.
#[derive(Debug, Default)]
pub struct Findings {
    folder: Option<PathBuf>,
    files: BTreeMap<Wrong, BufWriter<File>>,
    examples: Vec<Example>,
}

impl Findings {
    /// Opens the files in `folder`. `lengths`: how long they were when the checkpoint was written;
    /// what was written after that is cut off, since it will be found again.
    pub fn open(
        folder: Option<&Path>,
        lengths: &BTreeMap<Wrong, u64>,
        examples: Vec<Example>,
    ) -> Result<Self> {
        let mut files = BTreeMap::new();
        for wrong in Wrong::ALL {
            let Some(folder) = folder else { break };
            let path = folder.join(wrong.file());
            let length = lengths.get(&wrong).copied().unwrap_or_default();
            let opened = std::fs::create_dir_all(folder).and_then(|()| open(&path, length));
            let file = opened.map_err(|error| cannot_write(&path, error))?;
            files.insert(wrong, BufWriter::new(file));
        }
        Ok(Self { folder: folder.map(Path::to_owned), files, examples })
    }

    /// Takes a finding.
    pub fn take(&mut self, wrong: Wrong, finding: &Finding) -> Result<()> {
        if self.examples.len() < EXAMPLES {
            let Finding { key, how, .. } = finding.clone();
            self.examples.push(Example { wrong, key, how });
        }
        let Some(file) = self.files.get_mut(&wrong) else { return Ok(()) };
        let written = serde_json::to_writer(&mut *file, finding).map_err(std::io::Error::from);
        written.and_then(|()| file.write_all(b"\n")).map_err(|error| self.failed(wrong, error))
    }

    /// Writes out what is buffered; returns the length of each file.
    pub fn flush(&mut self) -> Result<BTreeMap<Wrong, u64>> {
        let mut lengths = BTreeMap::new();
        let mut failed = None;
        for (wrong, file) in &mut self.files {
            match file.flush().and_then(|()| file.stream_position()) {
                Ok(length) => drop(lengths.insert(*wrong, length)),
                Err(error) => failed = Some((*wrong, error)),
            }
        }
        match failed {
            Some((wrong, error)) => Err(self.failed(wrong, error)),
            None => Ok(lengths),
        }
    }

    /// The first findings.
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    fn failed(&self, wrong: Wrong, error: std::io::Error) -> Error {
        let folder = self.folder.clone().unwrap_or_default();
        cannot_write(&folder.join(wrong.file()), error)
    }
}

fn open(path: &Path, length: u64) -> std::io::Result<File> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    let there = file.metadata()?.len();
    if there < length {
        return Err(std::io::Error::other(format!(
            "it has {there} bytes, and the checkpoint says {length}: it is not the file of this \
             verification"
        )));
    }
    file.set_len(length)?;
    file.seek(SeekFrom::End(0))?;
    Ok(file)
}
