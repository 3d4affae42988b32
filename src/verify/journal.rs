//! What has been looked at so far, and the checkpoint from which the same verification goes on.
//!
//! Counts, findings and the keys that are done change together, under one lock. So a checkpoint
//! never counts an object that the next process looks at again, and never leaves one out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::counts::Counts;
use super::findings::{Example, Finding, Findings, Wrong};
use crate::compare::MissingRange;
use crate::compare::ranges::{Bounds, RangeId, Ranges};
use crate::error::{Error, Result};
use crate::files::{cannot_write, replace};

/// The format of the checkpoint.
const VERSION: u32 = 1;

/// What is looked at, in words: a checkpoint of other arguments is refused.
pub type Arguments = BTreeMap<String, String>;

/// An interval of keys that is still to be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// After this key; `None`: from the first.
    pub after: Option<String>,
    /// Up to and including this one; `None`: to the last.
    pub through: Option<String>,
}

impl From<Bounds> for Left {
    fn from(Bounds { after, through }: Bounds) -> Self {
        Self { after, through }
    }
}

/// One pair: what is counted, and what is left.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PairState {
    /// `s3://BUCKET/PREFIX` of the source.
    pub source: String,
    /// `s3://BUCKET/PREFIX` of the destination.
    pub destination: String,
    /// What has been counted.
    pub counts: Counts,
    /// The keys that are left.
    pub left: Vec<Left>,
    /// What could not be listed by this process.
    #[serde(skip)]
    pub not_listed: Vec<MissingRange>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    arguments: Arguments,
    pairs: Vec<PairState>,
    files: BTreeMap<Wrong, u64>,
    examples: Vec<Example>,
}

/// The ranges of the pair at work.
#[derive(Debug)]
struct Course {
    pair: usize,
    ranges: Ranges,
    open: BTreeMap<RangeId, Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// Everything up to this key is counted.
    done: Option<String>,
    /// The range's last possible key, once the range is closed.
    end: Option<Option<String>>,
}

/// What one step of a range has brought.
#[derive(Debug, Default)]
pub struct Gain {
    /// What it has counted.
    pub counts: Counts,
    /// What is not equal.
    pub findings: Vec<(Wrong, Finding)>,
}

impl Gain {
    /// Adds what a closer look has brought.
    pub fn add(&mut self, other: Self) {
        self.counts.add(&other.counts);
        self.findings.extend(other.findings);
    }
}

/// How far a range has come by a step.
#[derive(Clone, Debug)]
pub enum Come {
    /// Up to this key.
    Through(String),
    /// To its end.
    ToTheEnd,
}

/// Everything that is known about the verification.
#[derive(Debug)]
pub struct Journal {
    checkpoint: Option<PathBuf>,
    /// A checkpoint is written after this many objects.
    every: u64,
    unsaved: u64,
    arguments: Arguments,
    pairs: Vec<PairState>,
    findings: Findings,
    course: Option<Course>,
}

impl Journal {
    /// Goes on from the checkpoint if the file exists, or begins.
    pub fn open(
        arguments: Arguments,
        names: Vec<[String; 2]>,
        checkpoint: Option<&Path>,
        every: u64,
        output: Option<&Path>,
    ) -> Result<Self> {
        let saved = checkpoint.map(|path| read(path, &arguments)).transpose()?.flatten();
        let begun = || {
            names.into_iter().map(|[source, destination]| PairState {
                source,
                destination,
                counts: Counts::default(),
                left: vec![Left::default()],
                not_listed: Vec::new(),
            })
        };
        let (pairs, files, examples) = match saved {
            Some(saved) => (saved.pairs, saved.files, saved.examples),
            None => (begun().collect(), BTreeMap::new(), Vec::new()),
        };
        let findings = Findings::open(output, &files, examples)?;
        let checkpoint = checkpoint.map(Path::to_owned);
        let mut journal =
            Self { checkpoint, every, unsaved: 0, arguments, pairs, findings, course: None };
        // A file that cannot be written is found out before hours of work.
        journal.save()?;
        Ok(journal)
    }

    /// The pairs.
    pub fn pairs(&self) -> &[PairState] {
        &self.pairs
    }

    /// The first findings.
    pub fn examples(&self) -> &[Example] {
        self.findings.examples()
    }

    /// Begins or continues a pair. `first` is the range in `ranges`, and `left` are more intervals.
    pub fn begin(
        &mut self,
        pair: usize,
        ranges: Ranges,
        first: RangeId,
        left: Vec<Bounds>,
    ) -> Vec<RangeId> {
        let mut course = Course { pair, ranges, open: BTreeMap::new() };
        let more: Vec<RangeId> = left.into_iter().map(|left| course.ranges.begin(left)).collect();
        let all: Vec<RangeId> = std::iter::once(first).chain(more).collect();
        for id in &all {
            course.add(*id);
        }
        self.course = Some(course);
        all
    }

    /// The bounds of a range.
    pub fn bounds(&self, id: RangeId) -> Bounds {
        self.course.as_ref().map(|course| course.ranges.bounds(id)).unwrap_or_default()
    }

    /// The plan of the ranges.
    pub fn ranges(&mut self) -> Option<&mut Ranges> {
        Some(&mut self.course.as_mut()?.ranges)
    }

    /// Gives work to idle tasks.
    pub fn split(&mut self) -> Vec<RangeId> {
        let Some(course) = &mut self.course else { return Vec::new() };
        let new = course.ranges.split();
        for id in &new {
            course.add(*id);
        }
        new
    }

    /// Closes a range for good; returns its last possible key.
    pub fn close(&mut self, id: RangeId, keys: usize) -> Option<String> {
        let course = self.course.as_mut()?;
        let open = course.open.entry(id).or_default();
        open.end.get_or_insert_with(|| course.ranges.close(id, keys)).clone()
    }

    /// Counts what a range has found on its way.
    pub fn commit(&mut self, id: RangeId, come: Come, gain: &Gain) -> Result<()> {
        let Some(course) = &mut self.course else { return Ok(()) };
        let Some(pair) = self.pairs.get_mut(course.pair) else { return Ok(()) };
        for (wrong, finding) in &gain.findings {
            self.findings.take(*wrong, finding)?;
        }
        pair.counts.add(&gain.counts);
        let is_over = matches!(come, Come::ToTheEnd);
        match come {
            Come::Through(key) => course.open.entry(id).or_default().done = Some(key),
            Come::ToTheEnd => drop(course.open.remove(&id)),
        }
        let Counts { source_objects, extra, .. } = gain.counts;
        // A range's end costs no more than a page.
        self.unsaved += source_objects + extra + u64::from(is_over);
        if self.unsaved >= self.every { self.save() } else { Ok(()) }
    }

    /// Notes that the rest of a range could not be listed; it is left for another process.
    pub fn fail(&mut self, id: RangeId, error: &Error) -> Option<MissingRange> {
        let course = self.course.as_ref()?;
        let missing = MissingRange::new(course.left(id), error.to_string());
        self.pairs.get_mut(course.pair)?.not_listed.push(missing.clone());
        Some(missing)
    }

    /// Ends the pair at work.
    pub fn end(&mut self) -> Result<()> {
        self.note_left();
        self.course = None;
        self.save()
    }

    /// Writes the checkpoint. There is a whole one at any time.
    pub fn save(&mut self) -> Result<()> {
        self.unsaved = 0;
        let files = self.findings.flush()?;
        self.note_left();
        let Some(path) = &self.checkpoint else { return Ok(()) };
        let saved = Saved {
            version: VERSION,
            arguments: self.arguments.clone(),
            pairs: self.pairs.clone(),
            files,
            examples: self.findings.examples().to_vec(),
        };
        let text = serde_json::to_vec(&saved).map_err(|error| cannot_write(path, error.into()))?;
        replace(path, &text)
    }

    fn note_left(&mut self) {
        let Some(course) = &self.course else { return };
        if let Some(pair) = self.pairs.get_mut(course.pair) {
            pair.left = course.open.keys().map(|id| course.left(*id).into()).collect();
        }
    }
}

impl Course {
    fn add(&mut self, id: RangeId) {
        let done = self.ranges.bounds(id).after;
        self.open.insert(id, Open { done, end: None });
    }

    /// What is left of a range.
    fn left(&self, id: RangeId) -> Bounds {
        let open = self.open.get(&id);
        let after = open.and_then(|open| open.done.clone());
        let end = open.and_then(|open| open.end.clone());
        Bounds { after, through: end.unwrap_or_else(|| self.ranges.bounds(id).through) }
    }
}

fn read(path: &Path, arguments: &Arguments) -> Result<Option<Saved>> {
    let text = match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|error| cannot_read(path, error))?,
    };
    let saved: Saved = serde_json::from_slice(&text).map_err(|error| {
        Error::usage(format!("{} is not a checkpoint of verify: {error}", path.display()))
    })?;
    if saved.version != VERSION {
        let (path, version) = (path.display(), saved.version);
        return Err(Error::usage(format!(
            "{path} is a checkpoint of version {version}, not {VERSION}"
        )));
    }
    let other = |(name, value): (&String, &String)| {
        let before = saved.arguments.get(name);
        (before != Some(value)).then(|| {
            let before = before.map_or("nothing", String::as_str);
            format!("{name} was {before} and is {value}")
        })
    };
    match arguments.iter().find_map(other) {
        None => Ok(Some(saved)),
        Some(other) => Err(Error::usage(format!(
            "{} is the checkpoint of another verification ({other}): name another file, or delete \
             this one to start again",
            path.display()
        ))),
    }
}

fn cannot_read(path: &Path, error: std::io::Error) -> Error {
    Error::usage(format!("{} cannot be read: {error}", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::ranges::RangeStep;

    fn journal(checkpoint: &Path) -> Result<Journal> {
        let names = vec![["s3://a/".to_owned(), "s3://b/".to_owned()]];
        let arguments = Arguments::from([("head".to_owned(), "all".to_owned())]);
        Journal::open(arguments, names, Some(checkpoint), 1, None)
    }

    fn gain(objects: u64) -> Gain {
        let counts = Counts { source_objects: objects, equal: objects, ..Counts::default() };
        Gain { counts, findings: Vec::new() }
    }

    #[test]
    fn what_is_left_and_what_is_done_are_all_keys_whatever_is_split() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.json");
        let mut first = journal(&path).unwrap();
        let (ranges, id) = Ranges::new(Bounds::default(), 8, 1024);
        first.begin(0, ranges, id, Vec::new());
        let ranges = first.ranges().unwrap();
        ranges.see(["k/000999"].into_iter());
        let step = RangeStep { first: "k/000999", claim: "k/000999", fetched: "k/000999" };
        assert!(ranges.advance(id, step));
        let new = first.split();
        assert!(!new.is_empty());
        first.commit(id, Come::Through("k/000999".into()), &gain(5)).unwrap();
        drop(first);

        let mut second = journal(&path).unwrap();
        let PairState { counts, left, .. } = second.pairs()[0].clone();
        assert_eq!((counts.equal, left.len()), (5, new.len() + 1));
        assert_eq!(left[0].after.as_deref(), Some("k/000999"));
        for pair in left.windows(2) {
            assert_eq!(pair[0].through, pair[1].after, "no gap: {left:?}");
        }
        assert_eq!(left.last().unwrap().through, None);
        let (ranges, id) = Ranges::new(Bounds::default(), 8, 1024);
        second.begin(0, ranges, id, Vec::new());
        second.close(id, 0);
        second.commit(id, Come::ToTheEnd, &gain(1)).unwrap();
        second.end().unwrap();
        let third = journal(&path).unwrap();
        assert_eq!((third.pairs()[0].counts.equal, third.pairs()[0].left.len()), (6, 0));
    }
}
