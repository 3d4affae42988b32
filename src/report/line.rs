//! A line of the report: what is on record of one object.
//!
//! Pure: a line follows from a record.

use std::borrow::Cow;
use std::time::SystemTime;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::object::Etag;
use crate::record::{JobStatus, Proven, Record};

/// How the lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFormat {
    /// A JSON object a line.
    Json,
    /// Comma-separated values; the first line of each file names them.
    Csv,
}

impl LineFormat {
    /// The end of a file's name, before `.gz`.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Json => "jsonl",
            Self::Csv => "csv",
        }
    }

    /// The format of a file with this name.
    pub fn of_file(name: &str) -> Option<Self> {
        [Self::Json, Self::Csv]
            .into_iter()
            .find(|format| name.ends_with(&format!(".{}.gz", format.extension())))
    }
}

/// How far an object has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LineOutcome {
    /// It is at the destination.
    Copied,
    /// It was deleted at the destination, as its source was.
    Deleted,
    /// It ended by an error that a retry does not fix.
    Failed,
    /// It was begun and has not ended.
    Unfinished,
}

impl LineOutcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Copied, Self::Deleted, Self::Failed, Self::Unfinished];

    /// How this record's object has ended.
    pub fn of(record: &Record) -> Self {
        match record.status {
            JobStatus::Done if record.deleted => Self::Deleted,
            JobStatus::Done => Self::Copied,
            JobStatus::Failed => Self::Failed,
            JobStatus::Running => Self::Unfinished,
        }
    }

    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Copied => "copied",
            Self::Deleted => "deleted",
            Self::Failed => "failed",
            Self::Unfinished => "unfinished",
        }
    }
}

/// The columns, in their order.
pub const COLUMNS: [&str; 18] = [
    "source_bucket",
    "key",
    "version",
    "size",
    "destination_bucket",
    "destination_key",
    "source_etag",
    "destination_etag",
    "checksum",
    "proof",
    "outcome",
    "reason",
    "attempts",
    "first_started",
    "started",
    "ended",
    "seconds",
    "worker",
];

/// One object.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    source_bucket: &'a str,
    key: &'a str,
    version: Option<&'a str>,
    size: u64,
    destination_bucket: &'a str,
    destination_key: &'a str,
    source_etag: Option<&'a str>,
    destination_etag: Option<&'a str>,
    /// `md5:` and 32 digits if both sides reported the same MD5.
    checksum: Option<String>,
    proof: Option<&'static str>,
    outcome: LineOutcome,
    reason: Option<&'a str>,
    attempts: u32,
    first_started: String,
    started: String,
    ended: Option<String>,
    seconds: Option<f64>,
    worker: &'a str,
}

impl<'a> Line<'a> {
    /// The line of this record.
    pub fn of(record: &'a Record) -> Self {
        let outcome = LineOutcome::of(record);
        let copied = outcome == LineOutcome::Copied;
        let written = record.written.as_ref().filter(|_| copied);
        Self {
            source_bucket: &record.id.src.bucket,
            key: record.id.src.key.as_str(),
            version: record.version.as_deref(),
            size: record.size,
            destination_bucket: &record.id.des.bucket,
            destination_key: record.id.des.key.as_str(),
            source_etag: record.etag.as_ref().map(Etag::as_str),
            destination_etag: written.map(Etag::as_str),
            checksum: checksum(record.etag.as_ref(), written),
            proof: record.proven.filter(|_| copied).map(Proven::as_str),
            outcome,
            reason: record.last_error.as_deref(),
            attempts: record.tries,
            first_started: moment(record.first_time),
            started: moment(record.start_time),
            ended: record.end_time.map(moment),
            seconds: record.spent.map(|spent| spent.as_secs_f64()),
            worker: &record.instance,
        }
    }

    /// Appends the line, with its line end.
    pub fn write(&self, format: LineFormat, to: &mut Vec<u8>) -> Result<()> {
        match format {
            LineFormat::Json => serde_json::to_writer(&mut *to, self)
                .map_err(|e| Error::invalid("a line of the report").with_source(e))?,
            LineFormat::Csv => self.values(to),
        }
        to.push(b'\n');
        Ok(())
    }

    fn values(&self, to: &mut Vec<u8>) {
        let text = |text: Option<&'a str>| text.map(plain).unwrap_or_default();
        let own = |text: String| Cow::<str>::Owned(text);
        let cells: [Cow<'_, str>; COLUMNS.len()] = [
            plain(self.source_bucket),
            plain(self.key),
            text(self.version),
            own(self.size.to_string()),
            plain(self.destination_bucket),
            plain(self.destination_key),
            text(self.source_etag),
            text(self.destination_etag),
            self.checksum.as_deref().unwrap_or_default().into(),
            self.proof.unwrap_or_default().into(),
            self.outcome.as_str().into(),
            text(self.reason),
            own(self.attempts.to_string()),
            self.first_started.as_str().into(),
            self.started.as_str().into(),
            self.ended.as_deref().unwrap_or_default().into(),
            own(self.seconds.map(|seconds| seconds.to_string()).unwrap_or_default()),
            plain(self.worker),
        ];
        for (at, cell) in cells.iter().enumerate() {
            if at > 0 {
                to.push(b',');
            }
            to.push(b'"');
            to.extend(cell.replace('"', "\"\"").as_bytes());
            to.push(b'"');
        }
    }
}

/// The first line of a CSV file.
pub fn header() -> String {
    COLUMNS.map(|column| format!("\"{column}\"")).join(",") + "\n"
}

/// A text in a cell of CSV. An object is one line, and no key is a formula that a spreadsheet
/// calculates (<https://owasp.org/www-community/attacks/CSV_Injection>): control characters, `%`
/// and what begins a formula are percent-encoded.
fn plain(text: &str) -> Cow<'_, str> {
    let is_formula = |at: usize, c: char| at == 0 && matches!(c, '=' | '+' | '-' | '@');
    let is_escaped = |at: usize, c: char| c.is_control() || c == '%' || is_formula(at, c);
    if !text.char_indices().any(|(at, c)| is_escaped(at, c)) {
        return text.into();
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for (at, c) in text.char_indices() {
        if !is_escaped(at, c) {
            plain.push(c);
            continue;
        }
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            plain.push_str(&format!("%{byte:02X}"));
        }
    }
    plain.into()
}

/// Two stores that tell the same 32 digits have each computed the MD5 of the bytes; the random
/// ETags of encrypted objects differ.
fn checksum(source: Option<&Etag>, written: Option<&Etag>) -> Option<String> {
    let both = source.filter(|source| written == Some(*source) && source.looks_like_md5());
    both.map(|etag| format!("md5:{}", etag.as_str()))
}

/// To the millisecond, in UTC.
pub fn moment(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::object::ObjectId;
    use crate::record::RecordId;

    pub fn record(key: &str) -> Record {
        let time = UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        Record {
            id: RecordId { src: ObjectId::new("from", key), des: ObjectId::new("to", key) },
            size: 7,
            version: None,
            etag: Some(Etag::new("0123456789abcdef0123456789abcdef")),
            upload: None,
            target_etag: None,
            status: JobStatus::Done,
            instance: "w".to_owned(),
            lease: None,
            tries: 1,
            first_time: time,
            start_time: time,
            end_time: Some(time + Duration::from_millis(1500)),
            spent: Some(Duration::from_millis(1500)),
            progress: 0,
            last_error: None,
            sequencer: None,
            deleted: false,
            proven: Some(Proven::Source),
            written: Some(Etag::new("0123456789abcdef0123456789abcdef")),
            redriven: None,
            redrives: 0,
            digests_first: false,
        }
    }

    fn written(record: &Record, format: LineFormat) -> String {
        let mut line = Vec::new();
        Line::of(record).write(format, &mut line).unwrap();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_line_tells_what_is_on_record_under_the_names_of_the_columns() {
        let line = written(&record("a\nb"), LineFormat::Json);
        let names: Vec<usize> =
            COLUMNS.iter().map(|name| line.find(&format!("\"{name}\":")).unwrap()).collect();
        assert!(names.is_sorted(), "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value.as_object().unwrap().len(), COLUMNS.len());
        for (name, expected) in [
            ("key", "a\nb"),
            ("checksum", "md5:0123456789abcdef0123456789abcdef"),
            ("proof", "source"),
            ("outcome", "copied"),
            ("ended", "2026-01-01T00:00:01.500Z"),
        ] {
            assert_eq!(value[name], expected, "{line}");
        }
        let other = Record { written: Some(Etag::new("f".repeat(32))), ..record("k") };
        assert!(written(&other, LineFormat::Json).contains(r#""checksum":null"#));
        let failed = Record { status: JobStatus::Failed, ..record("k") };
        let failed = written(&failed, LineFormat::Json);
        assert!(failed.contains(r#""proof":null,"outcome":"failed""#), "{failed}");
    }

    #[test]
    fn an_object_is_one_line_of_csv_and_never_a_formula() {
        let odd = ["=1+1\n\"q\", 100%", "-x", "plain, 'ü'"];
        for (key, cell) in odd.iter().zip(["%3D1+1%0A\"\"q\"\", 100%25", "%2Dx", "plain, 'ü'"]) {
            let line = written(&record(key), LineFormat::Csv);
            assert!(line.starts_with(&format!("\"from\",\"{cell}\",\"\",\"7\",")), "{line}");
            assert_eq!(line.matches('\n').count(), 1);
        }
        assert_eq!(header().matches(',').count() + 1, COLUMNS.len());
    }
}
