//! What a backend of records does, split by who asks: each caller names the least that it needs.

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;

use super::{
    AttemptEnd, Board, BoardChange, CopiesPage, CopiesRequest, JobStatus, NoteKey, Outcome, Record,
    RecordId, RecordTally, Recorded, RecordsPage, RecordsRequest, Seal, Stamp, Start,
};
use crate::error::{Error, Next, Result};
use crate::object::Revision;
use crate::retry::retrying;

/// The course of one object: what an attempt begins, and how it ends.
#[async_trait]
pub trait Attempts: Send + Sync + fmt::Debug {
    /// The record of `id`, read consistently.
    async fn load(&self, id: &RecordId) -> Result<Option<Record>>;

    /// Records the start of an attempt: counts the try, keeps `first_time`, replaces version, ETag,
    /// upload and the fencing token, clears the last end and error. Fails with `LeaseLost` if a
    /// later event than the start's is on record.
    async fn begin(&self, start: &Start) -> Result<()>;

    /// Records what the upload is about to become, so that the object itself proves a completion
    /// whose answer was lost. Fails with `LeaseLost` if the token has been replaced: this attempt
    /// must then not complete anything.
    async fn seal(&self, seal: &Seal) -> Result<()>;

    /// Records the outcomes, batched as the backend can; returns one answer per outcome, in order.
    /// An outcome without a token counts a try of its own; one whose token has been replaced fails
    /// with `LeaseLost` and does not change the record. Each succeeds or fails independently, and
    /// may be sent again.
    ///
    /// ETag and upload on record belong together. An outcome without an ETag leaves both unchanged,
    /// for a later attempt to resume. One with another ETag, or a deletion, drops the upload and
    /// returns it if it was unfinished.
    ///
    /// An outcome with an order but without a token fails with `LeaseLost` if the record is no
    /// longer in the state that it saw: another attempt has worked on the object at the same time,
    /// and what is at the destination now is unknown.
    async fn finish_each(&self, outcomes: &[Outcome]) -> Vec<Recorded>;

    /// Like [`Self::finish_each`], for callers that do not need each answer. A retryable error
    /// takes precedence: repeating changes nothing that is on record, and a lost lease fails again.
    async fn finish(&self, outcomes: &[Outcome]) -> Result<()> {
        let answers = self.finish_each(outcomes).await;
        let mut errors: Vec<Error> = answers.into_iter().filter_map(Result::err).collect();
        errors.sort_by_key(|error| error.kind().next() != Next::Retry);
        errors.into_iter().next().map_or(Ok(()), Err)
    }
}

/// What earlier attempts have copied, for a comparison.
#[async_trait]
pub trait PastCopies: Send + Sync + fmt::Debug {
    /// The content copied of each of these objects, in order; `None` if no finished copy is on
    /// record, or its deletion is. Writes of the last second may be missing.
    async fn copied(&self, ids: &[RecordId]) -> Result<Vec<Option<Revision>>>;

    /// How and when the last attempt at each of these objects ended, in order; `None` if none has
    /// ended. Writes of the last second may be missing.
    async fn ends(&self, ids: &[RecordId]) -> Result<Vec<Option<AttemptEnd>>>;

    /// One page of the finished copies on record, in byte order of the destination keys; writes of
    /// the last second may be missing. `None` if the records are not kept in that order: use
    /// [`Self::copied`] instead.
    async fn copies(&self, request: &CopiesRequest) -> Result<Option<CopiesPage>>;
}

/// Short texts that are kept next to the records, and boards that the processes of a fleet share.
#[async_trait]
pub trait Notes: Send + Sync + fmt::Debug {
    /// Adds a note under a key that no record can have; `false` if there is one already.
    async fn add_note(&self, key: &NoteKey, text: &[u8]) -> Result<bool>;

    /// Sets a note, replacing an existing one.
    async fn set_note(&self, key: &NoteKey, text: &[u8]) -> Result<()>;

    /// The notes under these keys, in order, read consistently. The keys must be distinct.
    async fn notes(&self, keys: &[NoteKey]) -> Result<Vec<Option<Vec<u8>>>>;

    /// Removes the notes under these keys; a missing note is not an error.
    async fn remove_notes(&self, keys: &[NoteKey]) -> Result<()>;

    /// Changes a board in one step and returns all of it as it is then, read consistently; `None` if
    /// its condition refuses the change. A board that does not exist is empty. The board of a key
    /// and the note of the same key are apart in no backend: use other keys.
    async fn board(&self, key: &NoteKey, change: &BoardChange) -> Result<Option<Board>>;
}

/// All records: counted, page by page, and by status.
#[async_trait]
pub trait RecordList: Send + Sync + fmt::Debug {
    /// Counts all records; `recent` counts those that ended at or after `since`.
    async fn tally(&self, since: SystemTime) -> Result<RecordTally>;

    /// One page of records, each exactly once over all pages unless it is written meanwhile; writes
    /// of the last second may be missing. It costs as much as reading these records.
    async fn records(&self, request: &RecordsRequest) -> Result<RecordsPage>;

    /// Up to `limit` records with `status`, in the backend's order.
    async fn with_status(&self, status: JobStatus, limit: usize) -> Result<Vec<Record>>;

    /// One page of the records with `status`, read consistently: each exactly once over all pages,
    /// unless it is written meanwhile. A record that cannot be understood is left out and logged.
    async fn page_with_status(&self, status: JobStatus, token: Option<&str>)
    -> Result<RecordsPage>;

    /// Marks a failed object as sent again. `false`: the record is no longer the failure that was
    /// `seen`, and stays as it is.
    async fn mark_redriven(&self, id: &RecordId, seen: Stamp) -> Result<bool>;
}

/// Keeps one record per object and destination.
pub trait RecordStore: Attempts + PastCopies + Notes + RecordList {}

impl<S: Attempts + PastCopies + Notes + RecordList> RecordStore for S {}

// Of a batch of outcomes, only those that are not on record are tried again:
// `worker/recording.rs`.
retrying! { Attempts:
    load(id: &RecordId) -> Option<Record>;
    begin(start: &Start) -> ();
    seal(seal: &Seal) -> ();
}

retrying! { PastCopies:
    copied(ids: &[RecordId]) -> Vec<Option<Revision>>;
    ends(ids: &[RecordId]) -> Vec<Option<AttemptEnd>>;
    copies(request: &CopiesRequest) -> Option<CopiesPage>;
}

retrying! { Notes:
    add_note(key: &NoteKey, text: &[u8]) -> bool;
    set_note(key: &NoteKey, text: &[u8]) -> ();
    notes(keys: &[NoteKey]) -> Vec<Option<Vec<u8>>>;
    remove_notes(keys: &[NoteKey]) -> ();
}

retrying! { RecordList:
    tally(since: SystemTime) -> RecordTally;
    records(request: &RecordsRequest) -> RecordsPage;
}
