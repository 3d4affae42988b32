//! One record for each object, on DynamoDB or SQLite: what was begun, by whom, how it ended.
//!
//! The record is never the only trace of what is left to do: comparing the buckets finds it again.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::object::sequencer::Sequencer;
use crate::object::{Etag, ObjectId, ObjectKey, Revision};

pub mod dynamodb;
pub mod rules;
pub mod sqlite;
mod traits;

pub use traits::{Attempts, Notes, PastCopies, RecordList, RecordStore};

/// The maximum number of outcomes that Amazon DynamoDB records per request
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchExecuteStatement.html>).
pub const MAX_WRITTEN: usize = 25;

/// The maximum number of records or notes that Amazon DynamoDB looks up per request
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>).
pub const MAX_LOOKED_UP: usize = 100;

/// Identifies one record: an object and its destination. Two pairs that share a source have two
/// records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// The object at the source.
    pub src: ObjectId,
    /// The object at the destination.
    pub des: ObjectId,
}

impl RecordId {
    /// The record of `src` copied to `des`.
    pub fn of(src: &ObjectId, des: &ObjectId) -> Self {
        Self { src: src.clone(), des: des.clone() }
    }
}

/// The state of an object; the table holds its text form as `jobStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobStatus {
    /// Started, not finished.
    Running,
    /// At the destination and verified as far as possible: see [`Proven`].
    Done,
    /// Ended by an error that a retry does not fix.
    Failed,
}

impl JobStatus {
    /// `RUNNING`, `DONE` or `FAILED`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Done => "DONE",
            Self::Failed => "FAILED",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Running, Self::Done, Self::Failed].into_iter().find(|s| s.as_str() == text)
    }
}

/// How a copy was verified; the table holds the text form as `proof`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proven {
    /// The source's digest of the whole object equals that of the bytes sent, and the destination
    /// has verified the bytes it received.
    Source,
    /// The destination has verified every byte that it received; the source has no digest to
    /// compare with.
    Transit,
    /// The destination verifies nothing.
    Nothing,
}

impl Proven {
    /// `vouched`: the source's digest matches; `verified`: the destination has verified the bytes.
    pub fn new(vouched: bool, verified: bool) -> Self {
        match (vouched, verified) {
            (_, false) => Self::Nothing,
            (true, true) => Self::Source,
            (false, true) => Self::Transit,
        }
    }

    /// `source`, `transit` or `none`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Transit => "transit",
            Self::Nothing => "none",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Source, Self::Transit, Self::Nothing].into_iter().find(|p| p.as_str() == text)
    }
}

/// The multipart upload that receives an object's parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRef {
    /// The upload's id at the destination.
    pub id: String,
    /// Size in bytes of every part except the last, or [`Self::DISTRUSTED`].
    pub part_size: u64,
}

impl UploadRef {
    /// The part size of an upload that is known to hold damaged parts. No part has this size, so
    /// the next attempt aborts the upload and starts over.
    pub const DISTRUSTED: u64 = 0;
}

/// The record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which object.
    pub id: RecordId,
    /// Size in bytes that the source reported when the copy began.
    pub size: u64,
    /// The version that is or was copied, if known.
    pub version: Option<String>,
    /// The source's ETag that the copy is pinned to.
    pub etag: Option<Etag>,
    /// The upload in progress, or the last one.
    pub upload: Option<UploadRef>,
    /// Each part in that upload was sent after its digest: the destination would have refused a
    /// damaged one.
    pub digests_first: bool,
    /// The ETag that the completed upload will have, recorded just before its completion.
    pub target_etag: Option<Etag>,
    /// The state of the object.
    pub status: JobStatus,
    /// The worker that wrote last.
    pub instance: String,
    /// The fencing token of the attempt that wrote last: only that attempt may finish the record.
    pub lease: Option<String>,
    /// Attempts so far.
    pub tries: u32,
    /// When the first attempt began.
    pub first_time: SystemTime,
    /// When the latest attempt began.
    pub start_time: SystemTime,
    /// When the latest attempt ended, successfully or not.
    pub end_time: Option<SystemTime>,
    /// Time spent from `start_time` to `end_time` of the latest attempt.
    pub spent: Option<Duration>,
    /// Percentage of the bytes that were at the destination when the latest attempt began.
    pub progress: u8,
    /// Why the latest attempt did not succeed.
    pub last_error: Option<String>,
    /// The latest event whose job succeeded; `None` if there was none.
    pub sequencer: Option<Sequencer>,
    /// The last success was a deletion: there is no object at the destination.
    pub deleted: bool,
    /// How the copy was verified; `None` if it was made before this was recorded.
    pub proven: Option<Proven>,
    /// The ETag that the destination returned, if it differs from the source's.
    pub written: Option<Etag>,
    /// When the failure had ended for which the object was last sent again.
    pub redriven: Option<SystemTime>,
    /// How often the object was sent again after a failure.
    pub redrives: u32,
}

impl Record {
    /// Whether the failure on record has been answered by sending the object again, and no attempt
    /// has ended since. It compares no clocks: a later failure has another end.
    pub fn is_redriven(&self) -> bool {
        self.status == JobStatus::Failed
            && self.redriven.is_some()
            && self.redriven == self.end_time
    }

    /// Identifies this state of the record.
    pub fn stamp(&self) -> Stamp {
        Stamp { tries: self.tries, end_time: self.end_time }
    }

    /// The finished copy on record, if there is one.
    pub fn copy(self) -> Option<Copy> {
        let is_copy = rules::is_copy(self.status, self.deleted);
        let revision = Revision::new(self.version, self.etag);
        is_copy.then_some(Copy { id: self.id, revision, written: self.written })
    }
}

/// Distinguishes one state of a record from every other: each start counts a try and has no end
/// time yet; each end has its own time, or counts a try itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Attempts so far.
    pub tries: u32,
    /// When the latest one ended.
    pub end_time: Option<SystemTime>,
}

/// What an attempt whose order matters requires of the record. Events arrive late, twice, out of
/// order, and two at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The sequencer to record: the later of the job's and the record's.
    pub sequencer: Option<Sequencer>,
    /// The state of the record when the attempt began; `None` if there was no record.
    pub seen: Option<Stamp>,
}

/// What an attempt knows when it begins a multipart copy.
#[derive(Clone, Debug)]
pub struct Start {
    /// Which object.
    pub id: RecordId,
    /// Size in bytes that the source reported.
    pub size: u64,
    /// The version being copied, if known.
    pub version: Option<String>,
    /// The ETag that the copy is pinned to.
    pub etag: Etag,
    /// The upload being filled.
    pub upload: UploadRef,
    /// Each part in it was, and will be, sent after its digest.
    pub digests_first: bool,
    /// This worker.
    pub instance: String,
    /// This attempt's fencing token; it replaces that of an earlier attempt.
    pub lease: String,
    /// When the attempt began.
    pub start_time: SystemTime,
    /// Percentage of the bytes already at the destination, 0 to 100.
    pub progress: u8,
    /// The job's position among the events of its object, if an event brought it.
    pub sequencer: Option<Sequencer>,
}

/// What an attempt knows just before it completes its upload.
#[derive(Clone, Debug)]
pub struct Seal {
    /// Which object.
    pub id: RecordId,
    /// The token passed to [`Attempts::begin`].
    pub lease: String,
    /// The upload about to be completed.
    pub upload_id: String,
    /// The ETag that the object will have; `None` if it cannot be computed.
    pub target_etag: Option<Etag>,
    /// How the copy will be verified.
    pub proven: Proven,
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which object.
    pub id: RecordId,
    /// Bytes.
    pub size: u64,
    /// The version copied, if known.
    pub version: Option<String>,
    /// The source's ETag.
    pub etag: Option<Etag>,
    /// Done or failed; `Running` if the job went back to the queue and keeps its parts.
    pub status: JobStatus,
    /// This worker.
    pub instance: String,
    /// The token passed to [`Attempts::begin`]; `None` for an attempt that did not call it (a
    /// small object has only this one write).
    pub lease: Option<String>,
    /// When the attempt began.
    pub start_time: SystemTime,
    /// When it ended.
    pub end_time: SystemTime,
    /// Why it failed or went back.
    pub error: Option<String>,
    /// The attempt deleted the object at the destination.
    pub deleted: bool,
    /// How the copy was verified, if there is a copy.
    pub proven: Option<Proven>,
    /// The ETag that the destination returned.
    pub written: Option<Etag>,
    /// The state that the record must still have; `None`: any.
    pub order: Option<Order>,
}

/// Copies counted by how they were verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Proofs {
    /// Against the source's own digest.
    pub source: u64,
    /// The destination verified every byte; the source has no digest of the whole object.
    pub transit: u64,
    /// Written to a store that verifies nothing.
    pub none: u64,
}

impl Proofs {
    /// Counts one copy.
    pub fn count(&mut self, proven: Proven) {
        *match proven {
            Proven::Source => &mut self.source,
            Proven::Transit => &mut self.transit,
            Proven::Nothing => &mut self.none,
        } += 1;
    }
}

impl Proofs {
    /// The number of copies of each kind, in words for the user; kinds without copies are skipped.
    pub fn in_words(&self) -> impl Iterator<Item = (u64, &'static str)> {
        let kinds = [
            (self.source, "compared with the source's own digest"),
            (self.transit, "verified on the way only: the source has no digest of the whole"),
            (self.none, "not verified: the destination neither checks nor reports what it stored"),
        ];
        kinds.into_iter().filter(|(objects, _)| *objects > 0)
    }
}

/// The end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptEnd {
    /// `Done` or `Failed`.
    pub status: JobStatus,
    /// When.
    pub time: SystemTime,
}

/// One page of finished copies to ask for.
#[derive(Clone, Debug, Default)]
pub struct CopiesRequest {
    /// The bucket at the destination.
    pub bucket: String,
    /// Only destination keys with this prefix.
    pub prefix: String,
    /// Only destination keys after this one, in byte order; for the first page.
    pub after: Option<ObjectKey>,
    /// The token from the previous page; for every later page.
    pub token: Option<String>,
}

/// A finished copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The object and its destination.
    pub id: RecordId,
    /// The content that was copied.
    pub revision: Revision,
    /// The ETag that the destination returned, if known.
    pub written: Option<Etag>,
}

/// One page of finished copies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopiesPage {
    /// The copies, in byte order of the destination keys.
    pub copies: Vec<Copy>,
    /// The token for the next page; `None` on the last.
    pub next: Option<String>,
}

/// One page of records to ask for.
#[derive(Clone, Debug, Default)]
pub struct RecordsRequest {
    /// Only records of this bucket at the destination whose keys there have this prefix; `None`: all
    /// records.
    pub within: Option<ObjectId>,
    /// The token from the previous page; for every page after the first.
    pub token: Option<String>,
}

impl RecordsRequest {
    fn is_within(&self, des: &ObjectId) -> bool {
        self.within.as_ref().is_none_or(|within| {
            within.bucket == des.bucket && des.key.as_str().starts_with(within.key.as_str())
        })
    }
}

/// One page of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordsPage {
    /// The records, in the backend's order; a page may be empty and not be the last.
    pub records: Vec<Record>,
    /// The token for the next page; `None` on the last.
    pub next: Option<String>,
}

/// Names a note: data that the jobsender keeps from one comparison to the next. Notes are stored in
/// the same table as the records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NoteKey(String);

impl NoteKey {
    /// The note `name`. No record's key begins like this: a bucket name has no colon
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>), and the
    /// ARN of an access point, which may replace it, begins with `arn:`.
    pub fn new(name: impl fmt::Display) -> Self {
        Self(format!("note:{name}"))
    }

    /// The key in its stored form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A note of many parts, each written by a process of its own.
pub type Board = BTreeMap<String, Vec<u8>>;

/// A change of a board; by default, none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoardChange {
    /// Parts to write.
    pub set: Vec<(String, Vec<u8>)>,
    /// Parts to remove; none of them is written, too.
    pub remove: Vec<String>,
    /// This part must be as given (`None`: missing), or nothing is changed.
    pub only_if: Option<(String, Option<Vec<u8>>)>,
}

/// Counts over all records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordTally {
    /// Records that are started and not finished.
    pub running: u64,
    /// Bytes of the objects started and not finished.
    pub running_bytes: u64,
    /// Objects at the destination.
    pub done: u64,
    /// Bytes of the objects at the destination.
    pub done_bytes: u64,
    /// How the objects in `done` were verified; copies made before that was recorded are not
    /// counted.
    pub proofs: Proofs,
    /// Objects that failed.
    pub failed: u64,
    /// Objects in `done` that finished within the requested window.
    pub recent: u64,
    /// Bytes of `recent`.
    pub recent_bytes: u64,
    /// The earliest start and the latest end among the records.
    pub span: Option<(SystemTime, SystemTime)>,
}

/// How the index of an Amazon DynamoDB table is set up, for `check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexForm {
    /// There is no index.
    Missing,
    /// It has no sort key: the original's index.
    Unordered,
    /// It lacks attributes, or it is being created or deleted.
    Partial,
    /// As the product's templates create it.
    Whole,
}

/// How an Amazon DynamoDB table is set up, for `check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFacts {
    /// Its ARN, if the service reports it.
    pub arn: Option<String>,
    /// Its index.
    pub index: IndexForm,
}

/// A table call that `check` can make without changing anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableCall {
    /// Reads one item.
    GetItem,
    /// Reads several items.
    BatchGetItem,
    /// Changes one item.
    UpdateItem,
    /// Writes one item.
    PutItem,
    /// Removes one item.
    DeleteItem,
    /// Reads the index.
    Query,
    /// Writes items by PartiQL.
    Insert,
}

impl TableCall {
    /// The permission that it needs, such as `dynamodb:GetItem`.
    pub fn action(self) -> &'static str {
        match self {
            Self::GetItem => "dynamodb:GetItem",
            Self::BatchGetItem => "dynamodb:BatchGetItem",
            Self::UpdateItem => "dynamodb:UpdateItem",
            Self::PutItem => "dynamodb:PutItem",
            Self::DeleteItem => "dynamodb:DeleteItem",
            Self::Query => "dynamodb:Query",
            Self::Insert => "dynamodb:PartiQLInsert",
        }
    }
}

/// The result of recording an outcome. `Some`: the upload that was on record and that this outcome
/// has made obsolete; the caller must abort it, since nothing else will.
pub type Recorded = Result<Option<UploadRef>>;

/// The same error for each of `count` outcomes.
fn all_failed(error: &Error, count: usize) -> Vec<Recorded> {
    (0..count).map(|_| Err(error.another())).collect()
}

/// The answer to an attempt that no longer holds the record.
fn taken_over(id: &RecordId) -> Error {
    Error::new(ErrorKind::LeaseLost, format!("another attempt has taken over {}", id.src))
}
