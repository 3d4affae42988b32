//! A record as its columns, and what they say together.
//!
//! Pure: values in memory; each backend converts them to and from its own.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::object::sequencer::Sequencer;
use crate::object::{Etag, Revision};
use crate::record::{AttemptEnd, Copy, JobStatus, Proven, Record, RecordId, UploadRef};

macro_rules! columns {
    ($($(#[$doc:meta])* $column:ident = $name:literal: $kind:ident,)*) => {
        /// A column of a record; an attribute of its DynamoDB item and a column of its SQLite row.
        /// What identifies the record (source and destination) is not among them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Column {
            $($(#[$doc])* $column,)*
        }

        impl Column {
            /// All of them, each at the index that is its discriminant.
            pub const ALL: [Self; [$(Self::$column),*].len()] = [$(Self::$column),*];

            /// The name in both backends.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$column => $name,)*
                }
            }

            /// The kind of its values.
            pub fn kind(self) -> Kind {
                match self {
                    $(Self::$column => Kind::$kind,)*
                }
            }
        }
    };
}

columns! {
    /// Bytes.
    Size = "Size": Number,
    /// The version that is or was copied.
    Version = "versionId": Version,
    /// The source's ETag that the copy is pinned to.
    SourceEtag = "sourceEtag": Text,
    /// The upload in progress, or the last one.
    UploadId = "uploadId": Text,
    /// The size of that upload's parts.
    PartSize = "partSize": Number,
    /// Each of that upload's parts was sent after its digest.
    DigestsFirst = "digestsFirst": Flag,
    /// The upload that the seal is about.
    TargetUploadId = "targetUploadId": Text,
    /// The ETag that it will have once completed.
    TargetEtag = "targetEtag": Text,
    /// The state of the object.
    Status = "jobStatus": Text,
    /// The worker that wrote last.
    Instance = "instanceID": Text,
    /// The fencing token.
    Lease = "lease": Text,
    /// Attempts so far.
    Tries = "tryTimes": Number,
    /// When the first attempt began.
    FirstTime = "firstTime": Time,
    /// When the latest attempt began.
    StartTime = "startTime": Time,
    /// The same in words.
    StartTimeText = "startTime_f": Text,
    /// When the latest attempt ended.
    EndTime = "endTime": Time,
    /// The same in words.
    EndTimeText = "endTime_f": Text,
    /// How long the latest attempt took.
    Spent = "totalSpentTime": Span,
    /// Percentage of the bytes that the latest attempt found at the destination; 100 once the
    /// object is done, which is how the original's tools tell what is still running.
    Progress = "lastTimeProgress": Number,
    /// Why the latest attempt did not succeed.
    LastError = "lastError": Text,
    /// The latest event whose job succeeded.
    Sequencer = "sequencer": Text,
    /// The last success was a deletion.
    Deleted = "deleted": Flag,
    /// How the copy was verified.
    Proof = "proof": Text,
    /// The ETag that the destination returned, if it is not the source's; empty if it is unknown.
    DesEtag = "desEtag": Text,
    /// When the failure had ended for which the object was last sent again.
    Redriven = "redriven": Time,
    /// How often it was sent again.
    Redrives = "redrives": Number,
}

/// A kind of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Value::Text`].
    Text,
    /// [`Value::Text`] or [`Value::NoVersion`].
    Version,
    /// [`Value::Number`].
    Number,
    /// [`Value::Time`].
    Time,
    /// [`Value::Span`].
    Span,
    /// [`Value::Yes`], or absent.
    Flag,
}

/// A value of a column.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// A whole number.
    Number(u64),
    /// A moment.
    Time(SystemTime),
    /// A length of time.
    Span(Duration),
    /// A flag that is set.
    Yes,
    /// On record as known to have no version.
    NoVersion,
}

impl<'a> Value<'a> {
    /// A borrowed text.
    pub fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// The order of two values of one kind; `None` if they are of different kinds.
    ///
    /// Times are compared by the millisecond, which every backend keeps. Both are rounded as
    /// floating-point seconds, because that is what SQLite's column holds.
    pub fn compared_with(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Self::Text(own), Value::Text(other)) => Some(own.as_ref().cmp(other.as_ref())),
            (Self::Number(own), Value::Number(other)) => Some(own.cmp(other)),
            (Self::Time(own), Value::Time(other)) => millis(*own).partial_cmp(&millis(*other)),
            (Self::Span(own), Value::Span(other)) => Some(own.cmp(other)),
            (Self::Yes, Value::Yes) | (Self::NoVersion, Value::NoVersion) => Some(Ordering::Equal),
            _ => None,
        }
    }

    /// The same value, borrowing nothing.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::Number(number) => Value::Number(number),
            Self::Time(time) => Value::Time(time),
            Self::Span(span) => Value::Span(span),
            Self::Yes => Value::Yes,
            Self::NoVersion => Value::NoVersion,
        }
    }
}

/// Whether a record is that of a finished copy.
pub(in crate::record) fn is_copy(status: JobStatus, deleted: bool) -> bool {
    status == JobStatus::Done && !deleted
}

fn millis(time: SystemTime) -> f64 {
    (time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1000.0).round()
}

/// The values of a record, by column. Any of them may be absent: the original's records lack what
/// was added later.
#[derive(Clone, Debug, Default)]
pub struct Row<'a>([Option<Value<'a>>; Column::ALL.len()]);

impl<'a> Row<'a> {
    /// The value of a column.
    pub fn get(&self, column: Column) -> Option<&Value<'a>> {
        self.0[column as usize].as_ref()
    }

    /// The place of a column's value.
    pub fn slot(&mut self, column: Column) -> &mut Option<Value<'a>> {
        &mut self.0[column as usize]
    }

    /// The columns that have a value.
    pub fn into_values(self) -> impl Iterator<Item = (Column, Value<'a>)> {
        Column::ALL.into_iter().zip(self.0).filter_map(|(column, value)| Some((column, value?)))
    }

    /// The same row, borrowing nothing.
    pub fn into_owned(self) -> Row<'static> {
        Row(self.0.map(|value| value.map(Value::into_owned)))
    }

    fn text(&self, column: Column) -> Option<&str> {
        match self.get(column)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn owned(&self, column: Column) -> Option<String> {
        self.text(column).map(str::to_owned)
    }

    fn number(&self, column: Column) -> Option<u64> {
        match self.get(column)? {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    fn time(&self, column: Column) -> Option<SystemTime> {
        match self.get(column)? {
            Value::Time(time) => Some(*time),
            _ => None,
        }
    }

    /// The status. The original may have written another text: such a record has ended if it has an
    /// end time.
    pub fn status(&self) -> JobStatus {
        let otherwise = match self.get(Column::EndTime) {
            Some(_) => JobStatus::Failed,
            None => JobStatus::Running,
        };
        self.text(Column::Status).and_then(JobStatus::parse).unwrap_or(otherwise)
    }

    /// Bytes; 0 if unknown.
    pub fn size(&self) -> u64 {
        self.number(Column::Size).unwrap_or(0)
    }

    /// When the first attempt began.
    pub fn first_time(&self) -> Option<SystemTime> {
        self.time(Column::FirstTime)
    }

    /// When the latest attempt ended.
    pub fn end_time(&self) -> Option<SystemTime> {
        self.time(Column::EndTime)
    }

    /// How the copy was verified.
    pub fn proven(&self) -> Option<Proven> {
        self.text(Column::Proof).and_then(Proven::parse)
    }

    /// How and when the latest attempt ended; `None` if none has ended.
    pub fn end(&self) -> Option<AttemptEnd> {
        let status = self.status();
        let time = self.end_time().filter(|_| status != JobStatus::Running)?;
        Some(AttemptEnd { status, time })
    }

    /// The content that was copied, if there is a finished copy.
    pub fn copied(&self) -> Option<Revision> {
        let etag = self.owned(Column::SourceEtag).map(Etag::new);
        let is_copy = is_copy(self.status(), self.get(Column::Deleted).is_some());
        is_copy.then(|| Revision::new(self.owned(Column::Version), etag))
    }

    /// The finished copy, if there is one.
    pub fn copy(&self, id: RecordId) -> Option<Copy> {
        let revision = self.copied()?;
        Some(Copy { id, revision, written: self.written() })
    }

    /// The ETag that the destination returned, if known.
    fn written(&self) -> Option<Etag> {
        if self.status() != JobStatus::Done {
            return None;
        }
        self.proven()?;
        match self.text(Column::DesEtag).or(self.text(Column::SourceEtag)) {
            None | Some("") => None,
            Some(etag) => Some(Etag::new(etag)),
        }
    }

    /// The upload on record.
    fn upload(&self) -> Option<UploadRef> {
        let (id, part_size) = self.owned(Column::UploadId).zip(self.number(Column::PartSize))?;
        Some(UploadRef { id, part_size })
    }

    /// The upload on record, unless it has become an object.
    pub(super) fn unfinished_upload(&self) -> Option<UploadRef> {
        self.upload().filter(|_| self.status() != JobStatus::Done)
    }

    fn tries(&self) -> u32 {
        self.number(Column::Tries).and_then(|tries| tries.try_into().ok()).unwrap_or(0)
    }

    /// The record of `id`.
    pub fn record(&self, id: RecordId) -> Record {
        let start_time = self.time(Column::StartTime);
        let first_time = self.first_time().or(start_time).unwrap_or(UNIX_EPOCH);
        let upload_id = self.text(Column::UploadId);
        // The seal of another upload says nothing about this one.
        let sealed = upload_id.is_some() && self.text(Column::TargetUploadId) == upload_id;
        let spent = match self.get(Column::Spent) {
            Some(Value::Span(spent)) => Some(*spent),
            _ => None,
        };
        Record {
            id,
            size: self.size(),
            version: self.owned(Column::Version),
            etag: self.owned(Column::SourceEtag).map(Etag::new),
            upload: self.upload(),
            digests_first: self.get(Column::DigestsFirst).is_some(),
            target_etag: self.owned(Column::TargetEtag).filter(|_| sealed).map(Etag::new),
            status: self.status(),
            instance: self.owned(Column::Instance).unwrap_or_default(),
            lease: self.owned(Column::Lease),
            tries: self.tries(),
            first_time,
            start_time: start_time.unwrap_or(first_time),
            end_time: self.end_time(),
            spent,
            progress: self.number(Column::Progress).map_or(0, |percent| percent.min(100) as u8),
            last_error: self.owned(Column::LastError),
            sequencer: self.text(Column::Sequencer).and_then(Sequencer::parse),
            deleted: self.get(Column::Deleted).is_some(),
            proven: self.proven(),
            written: self.written(),
            redriven: self.time(Column::Redriven),
            redrives: self
                .number(Column::Redrives)
                .and_then(|number| number.try_into().ok())
                .unwrap_or(0),
        }
    }
}
