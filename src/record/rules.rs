//! The rules of a record, once for both backends: who may write it, and what is kept, dropped and
//! counted.
//!
//! Pure: a change becomes a [`Write`], which is data. Amazon DynamoDB carries it out as expressions,
//! SQLite by [`Change::carry_out`] within its transaction.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

use super::{JobStatus, Outcome, RecordId, Seal, Stamp, Start, UploadRef};
use crate::object::Etag;

mod row;
mod write;

use self::Condition::{Absent, AtMost, Equals};
pub(super) use self::row::is_copy;
pub use self::row::{Column, Kind, Row, Value};
pub use self::write::{Assign, Condition, Write, all_hold};

/// A change of one record.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// An attempt begins.
    Begin(&'a Start),
    /// An upload is about to be completed.
    Seal(&'a Seal),
    /// An attempt ends.
    Finish(&'a Outcome),
}

/// Why an existing record refuses the [`Write`] of a change, and what follows.
#[derive(Clone, Debug)]
pub enum Refusal<'a> {
    /// The change is on record already: the answer to an earlier try was lost.
    Repeated,
    /// Another attempt has replaced the token or has worked on the object in the meantime.
    Fenced,
    /// The change is good, but the record has another upload.
    OtherUpload {
        /// The write that replaces or drops that upload.
        instead: Write<'a>,
        /// The upload that nobody will complete; the caller must abort it.
        dropped: Option<UploadRef>,
    },
}

/// The result of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carried {
    /// Write it. The caller must abort the upload that it has made obsolete.
    Out(Option<UploadRef>),
    /// It is on record already.
    Repeated,
    /// The record refuses it: another attempt has taken it over.
    Fenced,
}

/// What happens to a multipart upload that the record may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OldUpload {
    /// It stays; the write is refused if it belongs to another ETag.
    Keep,
    /// It is dropped: it holds parts of other content, which no later attempt may complete.
    Drop,
}

impl<'a> Change<'a> {
    /// Which record.
    pub fn id(self) -> &'a RecordId {
        match self {
            Self::Begin(start) => &start.id,
            Self::Seal(seal) => &seal.id,
            Self::Finish(outcome) => &outcome.id,
        }
    }

    /// The write to try first.
    pub fn write(self) -> Write<'a> {
        match self {
            Self::Begin(start) => begin(start),
            Self::Seal(seal) => self::seal(seal),
            Self::Finish(outcome) => finish(outcome, OldUpload::Keep),
        }
    }

    /// Why `row` refuses the change.
    pub fn refused(self, row: &Row<'_>) -> Refusal<'a> {
        match self {
            Self::Begin(start) => refused_begin(start, row),
            Self::Seal(_) => Refusal::Fenced,
            Self::Finish(outcome) => refused_finish(outcome, row),
        }
    }

    /// Carries the change out on the record, which it makes if there is none.
    pub fn carry_out(self, row: &mut Option<Row<'a>>) -> Carried {
        let (mut write, mut obsolete) = (self.write(), None);
        let Some(row) = row else {
            *row = Some(write.new_row());
            return Carried::Out(None);
        };
        // The second write is about the upload that the first was refused for.
        for _ in 0..2 {
            if all_hold(&write.conditions, row) {
                write.apply(row);
                return Carried::Out(obsolete);
            }
            match self.refused(row) {
                Refusal::Repeated => return Carried::Repeated,
                Refusal::Fenced => return Carried::Fenced,
                Refusal::OtherUpload { instead, dropped } => (write, obsolete) = (instead, dropped),
            }
        }
        Carried::Fenced
    }
}

/// The start of an attempt: only the first time, the count of tries and what events left stay. The
/// token makes it idempotent: if it is on record already, the write is refused and the try is not
/// counted again.
fn begin(start: &Start) -> Write<'_> {
    let mut write = begun(start);
    write.add_one(Column::Tries);
    write.demand(Condition::NotAll(vec![is_held_by(&start.lease)]));
    write
}

/// The same attempt begins another upload: nothing is counted.
fn begin_again(start: &Start) -> Write<'_> {
    let mut write = begun(start);
    write.demand(is_held_by(&start.lease));
    write
}

fn begun(start: &Start) -> Write<'_> {
    let mut write = Write::default();
    write.set(Column::Size, Value::Number(start.size));
    write.set(Column::Version, version(start.version.as_deref()));
    write.set(Column::SourceEtag, etag(&start.etag));
    write.set(Column::UploadId, Value::text(&start.upload.id));
    write.set(Column::PartSize, Value::Number(start.upload.part_size));
    write.set_or_remove(Column::DigestsFirst, start.digests_first.then_some(Value::Yes));
    write.set(Column::Lease, Value::text(&start.lease));
    write.set(Column::Progress, Value::Number(start.progress.into()));
    attempted(&mut write, JobStatus::Running, &start.instance, start.start_time);
    write.remove(&[Column::EndTime, Column::EndTimeText, Column::Spent, Column::LastError]);
    write.remove(&[Column::Proof, Column::DesEtag]);
    write.conditions.extend(no_later_event(start));
    write
}

/// The outcome of a later event must not be on record.
fn no_later_event(start: &Start) -> Option<Condition<'_>> {
    let own = Value::text(start.sequencer.as_ref()?.as_str());
    let (none, earlier) = (Absent(Column::Sequencer), AtMost(Column::Sequencer, own));
    Some(Condition::Any(vec![none, earlier]))
}

/// What the attempt's upload is about to become. The attempt must still hold the record.
fn seal(seal: &Seal) -> Write<'_> {
    let mut write = Write::default();
    write.set(Column::Lease, Value::text(&seal.lease));
    write.set(Column::TargetUploadId, Value::text(&seal.upload_id));
    write.set(Column::Proof, Value::text(seal.proven.as_str()));
    write.set_or_remove(Column::TargetEtag, seal.target_etag.as_ref().map(etag));
    write.demand(is_held_by(&seal.lease));
    write
}

/// The end of an attempt. An attempt with a token ends only a record that it still holds; `begin`
/// has counted it. One without a token counts itself.
fn finish(outcome: &Outcome, old: OldUpload) -> Write<'_> {
    let mut write =
        Write { assignments: Vec::with_capacity(Column::ALL.len()), conditions: vec![] };
    ended(&mut write, outcome);
    content(&mut write, outcome, old);
    match (outcome.status, &outcome.lease) {
        (JobStatus::Done, _) => write.set(Column::Progress, Value::Number(100)),
        (_, Some(_)) => write.if_absent(Column::Progress, Value::Number(0)),
        (_, None) => write.set(Column::Progress, Value::Number(0)),
    }
    match &outcome.lease {
        Some(lease) => {
            write.set(Column::Lease, Value::text(lease));
            write.if_absent(Column::Tries, Value::Number(1));
            write.demand(is_held_by(lease));
        }
        None => {
            write.add_one(Column::Tries);
            // An attempt that never saw the object must not take the record from another.
            if outcome.knows() {
                write.remove(&[Column::Lease]);
            }
            match &outcome.order {
                Some(order) => write.conditions.extend(is_as_seen(order.seen)),
                None => write.demand(Condition::NotAll(is_on_record(outcome))),
            }
        }
    }
    if let Some(sequencer) = outcome.order.as_ref().and_then(|order| order.sequencer.as_ref()) {
        write.set(Column::Sequencer, Value::text(sequencer.as_str()));
    }
    if outcome.knows() {
        let proof = outcome.proven.map(|proven| Value::text(proven.as_str()));
        write.set_or_remove(Column::Proof, proof);
        write.set_or_remove(Column::DesEtag, outcome.written_text().map(Value::text));
    }
    write
}

/// The ETag and the upload on record belong together, or a later attempt could fill an upload that
/// holds parts of other content. So an outcome that never learned the source's ETag leaves size,
/// version, ETag and upload for a later attempt to resume; one with another ETag drops the upload,
/// as a deletion does.
fn content<'a>(write: &mut Write<'a>, outcome: &'a Outcome, old: OldUpload) {
    let version = version(outcome.version.as_deref());
    let has_no_upload = Absent(Column::UploadId);
    let fence = match &outcome.etag {
        Some(own) => {
            write.set(Column::Size, Value::Number(outcome.size));
            write.set(Column::Version, version);
            write.set(Column::SourceEtag, etag(own));
            write.remove(&[Column::Deleted]);
            Condition::Any(vec![has_no_upload, Equals(Column::SourceEtag, etag(own))])
        }
        None if outcome.deleted => {
            write.set(Column::Size, Value::Number(0));
            write.set(Column::Version, version);
            write.remove(&[Column::SourceEtag]);
            write.set(Column::Deleted, Value::Yes);
            has_no_upload
        }
        None => {
            write.if_absent(Column::Size, Value::Number(outcome.size));
            return write.if_absent(Column::Version, version);
        }
    };
    match old {
        OldUpload::Keep => write.demand(fence),
        OldUpload::Drop => write.remove(&[Column::UploadId, Column::PartSize]),
    }
}

fn ended<'a>(write: &mut Write<'a>, outcome: &'a Outcome) {
    let spent = outcome.end_time.duration_since(outcome.start_time).unwrap_or_default();
    attempted(write, outcome.status, &outcome.instance, outcome.start_time);
    write.set(Column::EndTime, Value::Time(outcome.end_time));
    write.set(Column::EndTimeText, readable(outcome.end_time));
    write.set(Column::Spent, Value::Span(spent));
    write.set_or_remove(Column::LastError, outcome.error.as_deref().map(Value::text));
}

/// What every attempt leaves, begun or ended.
fn attempted<'a>(write: &mut Write<'a>, status: JobStatus, instance: &'a str, start: SystemTime) {
    write.set(Column::Status, Value::text(status.as_str()));
    write.set(Column::Instance, Value::text(instance));
    write.if_absent(Column::FirstTime, Value::Time(start));
    write.set(Column::StartTime, Value::Time(start));
    write.set(Column::StartTimeText, readable(start));
}

/// Why a record of the same destination refused a begin: the same attempt, or a later event.
fn refused_begin<'a>(start: &'a Start, row: &Row<'_>) -> Refusal<'a> {
    let begun = [
        Equals(Column::UploadId, Value::text(&start.upload.id)),
        Equals(Column::PartSize, Value::Number(start.upload.part_size)),
        Equals(Column::StartTime, Value::Time(start.start_time)),
        Equals(Column::Status, Value::text(JobStatus::Running.as_str())),
    ];
    if all_hold(&begun, row) {
        return Refusal::Repeated;
    }
    match no_later_event(start) {
        Some(condition) if !condition.holds(row) => Refusal::Fenced,
        // The upload on record is this very attempt's: it knows what became of it.
        _ => Refusal::OtherUpload { instead: begin_again(start), dropped: None },
    }
}

/// Why a record of the same destination refused an outcome.
fn refused_finish<'a>(outcome: &'a Outcome, row: &Row<'_>) -> Refusal<'a> {
    let has_lost = match (&outcome.lease, &outcome.order) {
        (Some(lease), _) => !is_held_by(lease).holds(row),
        (None, _) if all_hold(&is_on_record(outcome), row) => return Refusal::Repeated,
        (None, Some(order)) => !all_hold(&is_as_seen(order.seen), row),
        (None, None) => false,
    };
    match has_lost {
        true => Refusal::Fenced,
        false => Refusal::OtherUpload {
            instead: finish(outcome, OldUpload::Drop),
            dropped: row.unfinished_upload(),
        },
    }
}

fn is_held_by(lease: &str) -> Condition<'_> {
    Equals(Column::Lease, Value::text(lease))
}

/// Without a token, an outcome on record is recognised by its instance, times and status, and by
/// the source's ETag if it knows that.
fn is_on_record(outcome: &Outcome) -> Vec<Condition<'_>> {
    let mut is = vec![
        Equals(Column::StartTime, Value::Time(outcome.start_time)),
        Equals(Column::EndTime, Value::Time(outcome.end_time)),
        Equals(Column::Instance, Value::text(&outcome.instance)),
        Equals(Column::Status, Value::text(outcome.status.as_str())),
    ];
    if let Some(own) = &outcome.etag {
        is.extend([Absent(Column::Lease), Equals(Column::SourceEtag, etag(own))]);
    }
    is
}

/// The record is in the state that an attempt saw; the state that this very outcome made, if its
/// answer was lost, is another.
fn is_as_seen(seen: Option<Stamp>) -> Vec<Condition<'static>> {
    let Some(Stamp { tries, end_time }) = seen else { return vec![Condition::NoRecord] };
    let same_tries = Equals(Column::Tries, Value::Number(tries.into()));
    let tries = match tries {
        0 => Condition::Any(vec![Absent(Column::Tries), same_tries]),
        _ => same_tries,
    };
    let end = end_time.map(|time| Equals(Column::EndTime, Value::Time(time)));
    vec![tries, end.unwrap_or(Absent(Column::EndTime))]
}

fn version(version: Option<&str>) -> Value<'_> {
    version.map_or(Value::NoVersion, Value::text)
}

fn etag(etag: &Etag) -> Value<'_> {
    Value::text(etag.as_str())
}

/// The form of the original's `startTime_f` and `endTime_f`, C's `asctime`: `Tue Nov 14 22:13:20
/// 2023`. It is in UTC here; the original uses the machine's time zone.
fn readable(time: SystemTime) -> Value<'static> {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = i64::try_from(since.as_secs()).ok();
    let text =
        time.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok()).map(|t| {
            let (weekday, month) = (t.weekday().to_string(), t.month().to_string());
            let (hour, minute, second) = t.to_hms();
            let date = format!("{:.3} {:.3} {:2}", weekday, month, t.day());
            format!("{date} {hour:02}:{minute:02}:{second:02} {}", t.year())
        });
    Value::Text(Cow::Owned(text.unwrap_or_default()))
}

impl Outcome {
    /// The destination's ETag in its stored form: `None` if it equals the source's, empty if
    /// unknown.
    fn written_text(&self) -> Option<&str> {
        match (&self.written, &self.etag, self.proven) {
            (_, _, None) => None,
            (Some(written), Some(etag), _) if written == etag => None,
            (written, _, _) => Some(written.as_ref().map_or("", Etag::as_str)),
        }
    }

    /// Whether the outcome says what is at the destination now: an object with this ETag, or none.
    fn knows(&self) -> bool {
        self.etag.is_some() || self.deleted
    }
}
