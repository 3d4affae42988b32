//! `report`: a line for each object on record, a page for people, and a certificate.
//!
//! Records are read page by page and written to files of a bounded size, so it takes the same memory
//! for one object and for a billion.

use std::io::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio_util::sync::CancellationToken;

use self::certificate::{Certificate, CertifiedFile};
use self::line::{Line, LineFormat};
use self::merkle::Tree;
use self::page::PageFacts;
use self::place::Place;
use self::totals::ReportTotals;
use crate::error::{Error, Result};
use crate::estimate::work::Work;
use crate::object::ObjectId;
use crate::params::Pair;
use crate::record::{Record, RecordList, RecordsRequest};
use crate::retry::Retrying;

pub mod audit;
pub mod certificate;
mod chart;
pub mod line;
pub mod merkle;
pub mod page;
pub mod place;
pub mod reasons;
pub mod signature;
pub mod timeline;
pub mod totals;

/// A file of lines is full with this many compressed bytes: it is held in memory until it is
/// written, and 16 MiB are about 200,000 objects.
const FULL: usize = 16 * 1024 * 1024;

/// What writes reports.
const PROGRAM: &str = concat!("s3-migration ", env!("CARGO_PKG_VERSION"));

/// Which records are in a report.
#[derive(Clone, Debug, Default)]
pub struct ReportScope {
    /// Those of these pairs; none: all records.
    pub pairs: Vec<Pair>,
    /// Only objects whose last attempt began or ended at this time or later.
    pub since: Option<SystemTime>,
    /// What all records are called.
    pub all: String,
}

impl ReportScope {
    /// In words.
    fn words(&self) -> Vec<String> {
        let place = |pair: &Pair| {
            let Pair { src_bucket, src_prefix, des_bucket, des_prefix, strip } = pair;
            let how = if *strip { ", without the source's prefix" } else { "" };
            format!("s3://{src_bucket}/{src_prefix} -> s3://{des_bucket}/{des_prefix}{how}")
        };
        let mut words: Vec<String> = self.pairs.iter().map(place).collect();
        if words.is_empty() {
            words.push(self.all.clone());
        }
        let since =
            self.since.map(|time| format!("only what was tried since {}", line::moment(time)));
        words.extend(since);
        words
    }

    /// Whether a record is in the report. `pair`: the one whose records are being read. An object
    /// of several pairs is in the report once, as the first one's.
    fn takes(&self, record: &Record, pair: Option<usize>) -> bool {
        let last = record.end_time.unwrap_or(record.start_time);
        if self.since.is_some_and(|since| last < since) {
            return false;
        }
        let of = |pair: &Pair| {
            let src = &record.id.src;
            src.bucket == pair.src_bucket
                && src.key.as_str().starts_with(&pair.src_prefix)
                && pair.target(&src.key) == record.id.des
        };
        pair.is_none_or(|at| self.pairs.iter().position(of) == Some(at))
    }

    /// The requests that read all of it, each with its pair.
    fn requests(&self) -> Vec<(Option<usize>, RecordsRequest)> {
        let of = |(at, pair): (usize, &Pair)| {
            let within = Some(ObjectId::new(&pair.des_bucket, pair.copies_prefix()));
            (Some(at), RecordsRequest { within, token: None })
        };
        match self.pairs.as_slice() {
            [] => vec![(None, RecordsRequest::default())],
            pairs => pairs.iter().enumerate().map(of).collect(),
        }
    }
}

/// What a report is made of.
#[derive(Debug)]
pub struct ReportWriter {
    /// The records.
    pub state: Arc<dyn RecordList>,
    /// Which of them.
    pub scope: ReportScope,
    /// How the lines are written.
    pub format: LineFormat,
    /// Reports are written here, each in a folder of its own.
    pub place: Place,
    /// MaxRetry.
    pub max_retry: u32,
    /// Ends it early.
    pub cancel: CancellationToken,
}

/// A report that is written except for its page.
#[derive(Debug)]
pub struct Gathered {
    /// The numbers.
    pub totals: ReportTotals,
    /// Where the report is.
    pub place: Place,
    created: String,
    files: Vec<CertifiedFile>,
    tree: Tree,
}

/// A report that is complete.
#[derive(Clone, Debug)]
pub struct Reported {
    /// Where it is.
    pub place: Place,
    /// Its certificate.
    pub certificate: Certificate,
}

impl ReportWriter {
    /// Reads the records and writes their lines.
    pub async fn gather(&self, work: Work) -> Result<Gathered> {
        let created = SystemTime::now();
        let folder = line::moment(created).replace(['-', ':'], "");
        let mut gathered = Gathered {
            totals: ReportTotals::new(work),
            place: self.place.within(&folder),
            created: line::moment(created),
            files: Vec::new(),
            tree: Tree::default(),
        };
        let mut file = Lines::new(self.format)?;
        for (pair, mut request) in self.scope.requests() {
            loop {
                let state = Retrying::new(&*self.state, self.max_retry, &self.cancel);
                let read = state.records(&request).await?;
                for record in read.records.iter().filter(|record| self.scope.takes(record, pair)) {
                    gathered.totals.add(record);
                    file.add(record, &mut gathered.tree)?;
                    if file.is_full() {
                        self.write(file, &mut gathered).await?;
                        file = Lines::new(self.format)?;
                    }
                }
                request.token = read.next;
                if request.token.is_none() {
                    break;
                }
            }
        }
        // A report of nothing has a file, too.
        if file.lines > 0 || gathered.files.is_empty() {
            self.write(file, &mut gathered).await?;
        }
        Ok(gathered)
    }

    async fn write(&self, file: Lines, to: &mut Gathered) -> Result<()> {
        let number = to.files.len() + 1;
        let name = format!("objects-{number:05}.{}.gz", self.format.extension());
        let lines = file.lines;
        let bytes = file.finish()?;
        to.place.put(&name, "application/gzip", &bytes, &self.cancel).await?;
        to.files.push(CertifiedFile::new(&name, lines, &bytes));
        Ok(())
    }

    /// Writes the page, and last of all the certificate: a report without one is not complete.
    pub async fn finish(&self, gathered: Gathered, facts: PageFacts) -> Result<Reported> {
        let Gathered { totals, place, created, mut files, tree } = gathered;
        let facts = PageFacts {
            created: created.clone(),
            program: PROGRAM.to_owned(),
            scope: self.scope.words(),
            ..facts
        };
        let root = tree.root();
        let page = Bytes::from(page::page(&facts, &totals, &files, &hex::encode(root)));
        place.put(page::FILE, "text/html; charset=utf-8", &page, &self.cancel).await?;
        files.push(CertifiedFile::new(page::FILE, 0, &page));
        let certificate = Certificate::new(
            [created, PROGRAM.to_owned()],
            self.scope.words(),
            tree.lines(),
            root,
            files,
        )?;
        let text = Bytes::from(certificate.text()?);
        place.put(certificate::FILE, "application/json", &text, &self.cancel).await?;
        Ok(Reported { place, certificate })
    }
}

/// A file of lines while it is written.
struct Lines {
    format: LineFormat,
    packed: GzEncoder<Vec<u8>>,
    line: Vec<u8>,
    lines: u64,
}

impl Lines {
    fn new(format: LineFormat) -> Result<Self> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        if format == LineFormat::Csv {
            packed.write_all(line::header().as_bytes()).map_err(in_memory)?;
        }
        Ok(Self { format, packed, line: Vec::new(), lines: 0 })
    }

    fn add(&mut self, record: &Record, tree: &mut Tree) -> Result<()> {
        self.line.clear();
        Line::of(record).write(self.format, &mut self.line)?;
        tree.add(self.line.strip_suffix(b"\n").unwrap_or(&self.line));
        self.lines += 1;
        self.packed.write_all(&self.line).map_err(in_memory)
    }

    fn is_full(&self) -> bool {
        self.packed.get_ref().len() >= FULL
    }

    fn finish(self) -> Result<Bytes> {
        self.packed.finish().map(Bytes::from).map_err(in_memory)
    }
}

fn in_memory(error: std::io::Error) -> Error {
    Error::invalid("the lines of the report").with_source(error)
}
