//! One record for each object, on DynamoDB or SQLite: what was begun, by whom, how it ended.
//!
//! The record is never the only trace of what is left to do: comparing the buckets finds it again.

use std::fmt;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde::Serialize;

use crate::error::{Error, Next, Result};
use crate::object::sequencer::Sequencer;
use crate::object::{Etag, ObjectId, ObjectKey, Revision};

pub mod dynamodb;
pub mod sqlite;

/// Names one record: an object and where it goes. Two pairs that share a source have two records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// The object at the source.
    pub src: ObjectId,
    /// The object at the destination.
    pub des: ObjectId,
}

impl RecordId {
    /// The record of `src` where it goes to `des`.
    pub fn of(src: &ObjectId, des: &ObjectId) -> Self {
        Self { src: src.clone(), des: des.clone() }
    }
}

/// Where an object stands; the text form is what the table holds as `jobStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobStatus {
    /// Begun and not ended.
    Running,
    /// At the destination, proven.
    Done,
    /// Ended by an error that trying again does not mend.
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

/// What a copy is proven by; the text form is what the table holds as `proof`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proven {
    /// A digest that the source has of the whole is that of what was sent, and the destination has
    /// verified what it took.
    Source,
    /// The destination has verified every byte that it took; the source has no digest to compare with.
    Transit,
    /// The destination verifies nothing.
    Nothing,
}

impl Proven {
    /// By whether the source vouches for the bytes, and whether the destination has verified them.
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

/// The multipart upload that an object is being filled into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRef {
    /// The destination's id of the upload.
    pub id: String,
    /// Bytes of every part but the last, or [`Self::DISTRUSTED`].
    pub part_size: u64,
}

impl UploadRef {
    /// The part size of an upload that is known to hold damaged parts. No part has it, so the next
    /// attempt aborts the upload and begins anew.
    pub const DISTRUSTED: u64 = 0;
}

/// The record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which object.
    pub id: RecordId,
    /// Bytes, as the source answered when the copy began.
    pub size: u64,
    /// The version that is or was copied, where one is known.
    pub version: Option<String>,
    /// The source's ETag that the copy is pinned to.
    pub etag: Option<Etag>,
    /// The upload in progress, or the last one.
    pub upload: Option<UploadRef>,
    /// The ETag that the upload's object will have, on record since just before its completion.
    pub target_etag: Option<Etag>,
    /// Where it stands.
    pub status: JobStatus,
    /// The worker that wrote last.
    pub instance: String,
    /// The fencing token of the attempt that wrote last: only that attempt may end it.
    pub lease: Option<String>,
    /// Attempts so far.
    pub tries: u32,
    /// When the first attempt began.
    pub first_time: SystemTime,
    /// When the latest attempt began.
    pub start_time: SystemTime,
    /// When it ended, well or not.
    pub end_time: Option<SystemTime>,
    /// Time spent from `start_time` to `end_time` of the latest attempt.
    pub spent: Option<Duration>,
    /// Percent of the bytes that were already at the destination when the latest attempt began.
    pub progress: u8,
    /// Why the latest attempt ended as it did, where it did not end well.
    pub last_error: Option<String>,
    /// The latest event whose job has ended well; `None` where none has come.
    pub sequencer: Option<Sequencer>,
    /// What ended well last was a deletion: there is no object at the destination.
    pub deleted: bool,
    /// What the copy is proven by; `None` where it was made before this was kept.
    pub proven: Option<Proven>,
    /// The ETag that the destination has answered, where it is not the source's.
    pub written: Option<Etag>,
}

impl Record {
    /// Which state of the record this is.
    pub fn stamp(&self) -> Stamp {
        Stamp { tries: self.tries, end_time: self.end_time }
    }

    /// The finished copy that is on record, if one is.
    pub fn copy(self) -> Option<Copy> {
        let is_there = self.status == JobStatus::Done && !self.deleted;
        let revision = Revision::new(self.version, self.etag);
        is_there.then_some(Copy { id: self.id, revision, written: self.written })
    }
}

/// Tells one state of a record from every other: each beginning counts a try and has no end yet, each
/// end has its own time, or counts a try by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Attempts so far.
    pub tries: u32,
    /// When the latest one ended.
    pub end_time: Option<SystemTime>,
}

/// What an attempt whose order matters demands of the record, since events come late, twice, in any
/// order, and two at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What goes on record: the later of the job's and the record's.
    pub sequencer: Option<Sequencer>,
    /// The state of the record when the attempt began; `None` where there was no record.
    pub seen: Option<Stamp>,
}

/// What an attempt knows when it begins a multipart copy.
#[derive(Clone, Debug)]
pub struct Start {
    /// Which object.
    pub id: RecordId,
    /// Bytes, as the source answered.
    pub size: u64,
    /// The version being copied, where one is known.
    pub version: Option<String>,
    /// The ETag that the copy is pinned to.
    pub etag: Etag,
    /// The upload being filled.
    pub upload: UploadRef,
    /// This worker.
    pub instance: String,
    /// This attempt's fencing token; it replaces an earlier attempt's.
    pub lease: String,
    /// When the attempt began.
    pub start_time: SystemTime,
    /// Percent of the bytes already at the destination, 0 to 100.
    pub progress: u8,
    /// The job's place among its object's events, where it came by one.
    pub sequencer: Option<Sequencer>,
}

/// What an attempt knows just before it completes its upload.
#[derive(Clone, Debug)]
pub struct Seal {
    /// Which object.
    pub id: RecordId,
    /// The token given to [`RecordStore::begin`].
    pub lease: String,
    /// The upload that is going to be completed.
    pub upload_id: String,
    /// The ETag that the object will have; `None` where it cannot be computed.
    pub target_etag: Option<Etag>,
    /// What it will be proven by.
    pub proven: Proven,
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which object.
    pub id: RecordId,
    /// Bytes.
    pub size: u64,
    /// The version copied, where one is known.
    pub version: Option<String>,
    /// The source's ETag.
    pub etag: Option<Etag>,
    /// Done or failed; `Running` where the job went back to the queue, keeping its parts.
    pub status: JobStatus,
    /// This worker.
    pub instance: String,
    /// The token given to [`RecordStore::begin`]; `None` for an attempt that did not begin one
    /// (a small object has a single write, this one).
    pub lease: Option<String>,
    /// When the attempt began.
    pub start_time: SystemTime,
    /// When it ended.
    pub end_time: SystemTime,
    /// Why it failed or went back.
    pub error: Option<String>,
    /// Done by deleting what was at the destination.
    pub deleted: bool,
    /// What the copy is proven by, where there is one.
    pub proven: Option<Proven>,
    /// The ETag that the destination has answered.
    pub written: Option<Etag>,
    /// What of the record must still be as it was; `None`: nothing.
    pub order: Option<Order>,
}

impl Outcome {
    /// The destination's ETag as it is kept: nothing where it is the source's, empty where it is not
    /// known.
    fn written_text(&self) -> Option<&str> {
        match (&self.written, &self.etag, self.proven) {
            (_, _, None) => None,
            (Some(written), Some(etag), _) if written == etag => None,
            (written, _, _) => Some(written.as_ref().map_or("", Etag::as_str)),
        }
    }

    /// It knows what is at the destination now: an object with this ETag, or none.
    fn knows(&self) -> bool {
        self.etag.is_some() || self.deleted
    }
}

/// The reverse of [`Outcome::written_text`].
fn written(proven: Option<Proven>, etag: Option<&Etag>, kept: Option<String>) -> Option<Etag> {
    proven?;
    match kept {
        None => etag.cloned(),
        Some(unknown) if unknown.is_empty() => None,
        Some(own) => Some(Etag::new(own)),
    }
}

/// Copies counted by what they are proven by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Proofs {
    /// Against the source's own digest.
    pub source: u64,
    /// Every byte was verified by the destination; the source has no digest of the whole.
    pub transit: u64,
    /// Written to a store that verifies nothing.
    pub none: u64,
}

impl Proofs {
    /// One more copy.
    pub fn count(&mut self, proven: Proven) {
        *match proven {
            Proven::Source => &mut self.source,
            Proven::Transit => &mut self.transit,
            Proven::Nothing => &mut self.none,
        } += 1;
    }
}

impl Proofs {
    /// How many of each kind there are, in words for the user; none of a kind is left out.
    pub fn in_words(&self) -> impl Iterator<Item = (u64, &'static str)> {
        let kinds = [
            (self.source, "compared with the source's own digest"),
            (self.transit, "verified on the way only: the source has no digest of the whole"),
            (self.none, "not verified: the destination neither checks nor tells what it stored"),
        ];
        kinds.into_iter().filter(|(objects, _)| *objects > 0)
    }
}

/// The end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
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
    /// Only keys at the destination that begin with this.
    pub prefix: String,
    /// Only keys at the destination after this one, in byte order; for the first page.
    pub after: Option<ObjectKey>,
    /// The token of the page before; for every further page.
    pub token: Option<String>,
}

/// A finished copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Which object, and where it was copied.
    pub id: RecordId,
    /// What of it was copied.
    pub revision: Revision,
    /// The ETag that the destination answered, where it is known.
    pub written: Option<Etag>,
}

/// One page of finished copies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopiesPage {
    /// In byte order of the destination's keys.
    pub copies: Vec<Copy>,
    /// The token for the next page; `None` on the last.
    pub next: Option<String>,
}

/// Names a note: what the jobsender keeps from one comparison to the next. Notes stand beside the
/// records, in the same table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NoteKey(String);

impl NoteKey {
    /// The note `name`. Its key begins as no record's does: a bucket's name has no colon
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>), and the ARN of
    /// an access point, which stands in its place, begins with `arn:`.
    pub fn new(name: impl fmt::Display) -> Self {
        Self(format!("note:{name}"))
    }

    /// The key as it is kept.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The records counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records that are begun and not ended.
    pub running: u64,
    /// Bytes of the objects begun and not ended.
    pub running_bytes: u64,
    /// Objects at the destination.
    pub done: u64,
    /// Bytes of the objects at the destination.
    pub done_bytes: u64,
    /// Of `done`: what they are proven by; copies made before that was kept are in none of these.
    pub proofs: Proofs,
    /// Objects that failed.
    pub failed: u64,
    /// Of `done`: those ended within the window asked for.
    pub recent: u64,
    /// Bytes of `recent`.
    pub recent_bytes: u64,
    /// The earliest start and the latest end among the records.
    pub span: Option<(SystemTime, SystemTime)>,
}

/// How the index of a table in Amazon DynamoDB is made, as `check` looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexForm {
    /// There is none.
    Missing,
    /// It has no order of keys: the original's.
    Unordered,
    /// It has not all attributes, or it is being made or removed.
    Partial,
    /// As the product's templates make it.
    Whole,
}

/// A table, likewise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFacts {
    /// Its ARN, where the service says it.
    pub arn: Option<String>,
    /// Its index.
    pub index: IndexForm,
}

/// A call on a table that can be made without changing anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableCall {
    /// Reads one item.
    GetItem,
    /// Reads many.
    BatchGetItem,
    /// Changes one.
    UpdateItem,
    /// Writes one.
    PutItem,
    /// Removes one.
    DeleteItem,
    /// Reads the index.
    Query,
}

impl TableCall {
    /// The permission that it takes, as `dynamodb:GetItem`.
    pub fn action(self) -> &'static str {
        match self {
            Self::GetItem => "dynamodb:GetItem",
            Self::BatchGetItem => "dynamodb:BatchGetItem",
            Self::UpdateItem => "dynamodb:UpdateItem",
            Self::PutItem => "dynamodb:PutItem",
            Self::DeleteItem => "dynamodb:DeleteItem",
            Self::Query => "dynamodb:Query",
        }
    }
}

/// The answer to an outcome that was to be put on record. `Some`: the upload that was on record, which
/// this outcome has made worthless; nobody else will abort it.
pub type Recorded = Result<Option<UploadRef>>;

/// One error as the answer to each of `count` outcomes.
fn all_failed(error: &Error, count: usize) -> Vec<Recorded> {
    (0..count).map(|_| Err(error.another())).collect()
}

/// Keeps one record per object and destination.
#[async_trait]
pub trait RecordStore: Send + Sync + fmt::Debug {
    /// The record of `id`, read consistently.
    async fn load(&self, id: &RecordId) -> Result<Option<Record>>;

    /// Puts the start of an attempt on record: counts the try, keeps `first_time`, replaces
    /// version, ETag, upload and the fencing token, clears the last end and error. Fails with
    /// `LeaseLost` where a later event than the start's is on record.
    async fn begin(&self, start: &Start) -> Result<()>;

    /// Puts on record what the upload is about to become, so that a completion whose answer is lost
    /// is known by the object. Fails with `LeaseLost` where the token has been replaced: then it
    /// is not for this attempt to complete anything.
    async fn seal(&self, seal: &Seal) -> Result<()>;

    /// Puts ends on record, batched as the backend can; answers each of them, in order. An outcome
    /// without a token counts a try of its own; one with a token that has been replaced fails with
    /// `LeaseLost` and changes nothing of that record. Each stands or falls by itself, and may be
    /// sent again.
    ///
    /// ETag and upload on record belong together: an outcome without an ETag leaves both as they
    /// are, for a later attempt to resume, and one with another ETag drops the upload, which is
    /// answered where it was unfinished, as a deletion does.
    ///
    /// One with an order but without a token fails with `LeaseLost` where the record is no longer in
    /// the state that it has seen: somebody else has worked on the object at the same time, and what
    /// is at the destination now is not known.
    async fn finish_each(&self, outcomes: &[Outcome]) -> Vec<Recorded>;

    /// As [`Self::finish_each`], for whoever does not ask which: an error worth trying again comes
    /// before any other, since repeating changes nothing that is on record, and a lost lease shows
    /// again.
    async fn finish(&self, outcomes: &[Outcome]) -> Result<()> {
        let answers = self.finish_each(outcomes).await;
        let mut errors: Vec<Error> = answers.into_iter().filter_map(Result::err).collect();
        errors.sort_by_key(|error| error.kind().next() != Next::Retry);
        errors.into_iter().next().map_or(Ok(()), Err)
    }

    /// What of each of these objects was copied, in order; `None` where no finished copy is on
    /// record, or its deletion is. The last second's writes may be missing.
    async fn copied(&self, ids: &[RecordId]) -> Result<Vec<Option<Revision>>>;

    /// How the last attempt at each of these objects ended and when, in order; `None` where none has
    /// ended. The last second's writes may be missing.
    async fn ends(&self, ids: &[RecordId]) -> Result<Vec<Option<End>>>;

    /// One page of the finished copies that are on record, in byte order of the destination's keys;
    /// the last second's writes may be missing. `None` where the records are kept in no such order:
    /// then [`Self::copied`] tells.
    async fn copies(&self, request: &CopiesRequest) -> Result<Option<CopiesPage>>;

    /// Puts a note under a key that no record can have; `false` where there is one already.
    async fn add_note(&self, key: &NoteKey, text: &[u8]) -> Result<bool>;

    /// Puts a note under a key, in place of the one there.
    async fn set_note(&self, key: &NoteKey, text: &[u8]) -> Result<()>;

    /// The notes under these keys, in order, read consistently. No key may stand among them twice.
    async fn notes(&self, keys: &[NoteKey]) -> Result<Vec<Option<Vec<u8>>>>;

    /// Removes the notes under these keys; what is not there is not missed.
    async fn remove_notes(&self, keys: &[NoteKey]) -> Result<()>;

    /// Counts all records; `recent` is what ended at or after `since`.
    async fn tally(&self, since: SystemTime) -> Result<Tally>;

    /// Up to `limit` records with `status`, in the backend's order.
    async fn with_status(&self, status: JobStatus, limit: usize) -> Result<Vec<Record>>;
}
