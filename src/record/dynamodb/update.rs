//! The writes as update expressions, and what a refused one means: pure.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::item::{self, Item};
use crate::object::Etag;
use crate::record::{JobStatus, Outcome, Proven, RecordId, Seal, Stamp, Start};

/// An error text is cut to this many bytes: an item is billed by the kibibyte.
const MAX_ERROR: usize = 1024;

/// Without a token, an outcome on record is recognised by its instance, times and status.
const REPEATED: &str = "(attribute_not_exists(#endTime) \
     OR #startTime <> :startTime OR #endTime <> :endTime OR #instanceID <> :instanceID \
     OR #jobStatus <> :jobStatus)";

/// The same for an outcome that knows the source's ETag.
const REPEATED_WITH_ETAG: &str = "(attribute_exists(#lease) OR attribute_not_exists(#endTime) \
     OR #startTime <> :startTime OR #endTime <> :endTime OR #instanceID <> :instanceID \
     OR #jobStatus <> :jobStatus OR attribute_not_exists(#sourceEtag) \
     OR #sourceEtag <> :sourceEtag)";

/// An UpdateItem without its table and key.
#[derive(Clone, Debug, Default)]
pub(super) struct Update {
    set: Vec<String>,
    remove: Vec<String>,
    add: Vec<String>,
    /// The condition on an existing record.
    fence: String,
    pub(super) names: HashMap<String, String>,
    /// Values that are written.
    written: HashMap<String, AttributeValue>,
    /// Values that are only compared.
    compared: HashMap<String, AttributeValue>,
}

/// What happens to a multipart upload that the record may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OldUpload {
    /// It stays; the write is refused if it belongs to another ETag.
    Keep,
    /// It is dropped: it holds parts of other content, which no later attempt may complete.
    Drop,
}

/// Why a write to the right record was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteRefusal {
    /// The write is on record already: the answer to an earlier try was lost.
    Repeated,
    /// Another attempt has replaced the token or has worked on the object in the meantime.
    Fenced,
    /// The token matches, but the record has another upload.
    OtherUpload,
}

impl Update {
    /// The start of an attempt. The token makes it idempotent: if it is on record already, the
    /// write is refused and the try is not counted again.
    pub(super) fn begin(start: &Start) -> Self {
        let mut update = Self::begun(start);
        update.add("tryTimes", 1);
        update.fence("(attribute_not_exists(#lease) OR #lease <> :lease)");
        update.fence_later_event(start);
        update
    }

    /// The same attempt begins another upload: nothing is counted.
    pub(super) fn begin_again(start: &Start) -> Self {
        let mut update = Self::begun(start);
        update.fence("#lease = :lease");
        update.fence_later_event(start);
        update
    }

    /// Refuses the write if the outcome of a later event is on record.
    fn fence_later_event(&mut self, start: &Start) {
        if let Some(sequencer) = &start.sequencer {
            self.compare("sequencer", AttributeValue::S(sequencer.as_str().to_owned()));
            self.fence("(attribute_not_exists(#sequencer) OR #sequencer <= :sequencer)");
        }
    }

    fn begun(start: &Start) -> Self {
        let mut update = Self::of(&start.id);
        update.number("Size", start.size);
        update.text("versionId", item::version(start.version.as_deref()));
        update.text("sourceEtag", start.etag.as_str());
        update.text("uploadId", &start.upload.id);
        update.number("partSize", start.upload.part_size);
        update.text("jobStatus", JobStatus::Running.as_str());
        update.text("instanceID", &start.instance);
        update.text("lease", &start.lease);
        update.number("startTime", item::epoch(start.start_time));
        update.text("startTime_f", &item::readable(start.start_time));
        update.number_if_absent("firstTime", item::epoch(start.start_time));
        update.number("lastTimeProgress", start.progress);
        update.remove(&["endTime", "endTime_f", "totalSpentTime", "lastError", "proof", "desEtag"]);
        update
    }

    /// What the attempt's upload is about to become. The attempt must still hold the record.
    pub(super) fn seal(seal: &Seal) -> Self {
        let mut update = Self::of(&seal.id);
        update.text("lease", &seal.lease);
        update.text("targetUploadId", &seal.upload_id);
        update.text("proof", seal.proven.as_str());
        match &seal.target_etag {
            Some(etag) => update.text("targetEtag", etag.as_str()),
            None => update.remove(&["targetEtag"]),
        }
        update.fence("#lease = :lease");
        update
    }

    /// The end of an attempt.
    ///
    /// The ETag and the upload on record belong together. So an outcome that never learned the
    /// source's ETag leaves size, version, ETag and upload for a later attempt to resume; one with
    /// another ETag drops the upload, as a deletion does.
    pub(super) fn finish(outcome: &Outcome, old: OldUpload) -> Self {
        let mut update = Self::of(&outcome.id);
        update.ended(outcome);
        let version = item::version(outcome.version.as_deref());
        match &outcome.etag {
            Some(etag) => {
                update.number("Size", outcome.size);
                update.text("versionId", version);
                update.text("sourceEtag", etag.as_str());
                match old {
                    OldUpload::Keep => update
                        .fence("(attribute_not_exists(#uploadId) OR #sourceEtag = :sourceEtag)"),
                    OldUpload::Drop => update.remove(&["uploadId", "partSize"]),
                }
                update.remove(&["deleted"]);
            }
            None if outcome.deleted => {
                update.number("Size", 0);
                update.text("versionId", version);
                update.text("deleted", item::DELETED);
                update.remove(&["sourceEtag"]);
                match old {
                    OldUpload::Keep => update.fence("attribute_not_exists(#uploadId)"),
                    OldUpload::Drop => update.remove(&["uploadId", "partSize"]),
                }
            }
            None => {
                update.number_if_absent("Size", outcome.size);
                update.set_if_absent("versionId", AttributeValue::S(version.to_owned()));
            }
        }
        match &outcome.lease {
            Some(lease) => {
                update.text("lease", lease);
                update.number_if_absent("tryTimes", 1);
                update.number_if_absent("lastTimeProgress", 0);
                update.fence("#lease = :lease");
            }
            None => {
                update.add("tryTimes", 1);
                update.number("lastTimeProgress", 0);
                // An attempt that never saw the object must not take the record from another.
                if outcome.knows() {
                    update.remove(&["lease"]);
                }
                match (&outcome.order, &outcome.etag) {
                    (Some(order), _) => update.fence_state(order.seen),
                    (None, Some(_)) => update.fence(REPEATED_WITH_ETAG),
                    (None, None) => update.fence(REPEATED),
                }
            }
        }
        if let Some(sequencer) = outcome.order.as_ref().and_then(|order| order.sequencer.as_ref()) {
            update.text("sequencer", sequencer.as_str());
        }
        update.proven(outcome);
        update
    }

    /// How the copy was verified, if the outcome knows what is at the destination.
    fn proven(&mut self, outcome: &Outcome) {
        let known = outcome.knows().then_some(outcome);
        for (name, text) in [
            ("proof", known.and_then(|known| known.proven).map(Proven::as_str)),
            ("desEtag", known.and_then(Outcome::written_text)),
        ] {
            match text {
                Some(text) => self.text(name, text),
                None if outcome.knows() => self.remove(&[name]),
                None => {}
            }
        }
    }

    /// Refuses the write if the record is in another state than the one seen; that includes the
    /// state that this very write made, if its answer was lost.
    fn fence_state(&mut self, seen: Option<Stamp>) {
        let Some(Stamp { tries, end_time }) = seen else {
            return self.fence("attribute_not_exists(#Key)");
        };
        self.compare("seenTries", AttributeValue::N(tries.to_string()));
        self.fence(match tries {
            0 => "(attribute_not_exists(#tryTimes) OR #tryTimes = :seenTries)",
            _ => "#tryTimes = :seenTries",
        });
        match end_time {
            None => self.fence("attribute_not_exists(#endTime)"),
            Some(end_time) => {
                self.compare("seenEnd", AttributeValue::N(item::epoch(end_time)));
                self.fence("#endTime = :seenEnd");
            }
        }
    }

    fn ended(&mut self, outcome: &Outcome) {
        let spent = outcome.end_time.duration_since(outcome.start_time).unwrap_or_default();
        self.text("jobStatus", outcome.status.as_str());
        self.text("instanceID", &outcome.instance);
        self.number("startTime", item::epoch(outcome.start_time));
        self.text("startTime_f", &item::readable(outcome.start_time));
        self.number_if_absent("firstTime", item::epoch(outcome.start_time));
        self.number("endTime", item::epoch(outcome.end_time));
        self.text("endTime_f", &item::readable(outcome.end_time));
        self.number("totalSpentTime", item::seconds(spent));
        match &outcome.error {
            Some(error) => {
                self.text("lastError", &error[..error.floor_char_boundary(MAX_ERROR)]);
            }
            None => self.remove(&["lastError"]),
        }
    }

    fn of(id: &RecordId) -> Self {
        let mut update = Self::default();
        update.text("srcBucket", &id.src.bucket);
        update.text("desBucket", &id.des.bucket);
        update.text("desKey", id.des.key.as_str());
        update
    }

    /// The item that the update creates if there is none yet, without its key.
    pub(super) fn into_item(self) -> impl Iterator<Item = (String, AttributeValue)> {
        self.written.into_iter().map(|(name, value)| (name[1..].to_owned(), value))
    }

    /// The values of the placeholders in the expression and condition.
    pub(super) fn values(&self) -> HashMap<String, AttributeValue> {
        let all = self.written.iter().chain(&self.compared);
        all.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The update expression.
    pub(super) fn expression(&self) -> String {
        let clauses = [("SET", &self.set), ("REMOVE", &self.remove), ("ADD", &self.add)];
        let clauses = clauses.iter().filter(|(_, parts)| !parts.is_empty());
        let clauses: Vec<_> = clauses.map(|(verb, p)| format!("{verb} {}", p.join(", "))).collect();
        clauses.join(" ")
    }

    /// The condition: an existing record must have the same destination and pass the fence.
    pub(super) fn condition(&self) -> String {
        let Self { fence, .. } = self;
        format!(
            "attribute_not_exists(#Key) OR \
             (#desBucket = :desBucket AND #desKey = :desKey{fence})"
        )
    }

    fn fence(&mut self, condition: &str) {
        for name in condition.split(|c: char| !c.is_alphanumeric() && c != '#') {
            if let Some(name) = name.strip_prefix('#') {
                self.name(name);
            }
        }
        self.fence.push_str(" AND ");
        self.fence.push_str(condition);
    }

    /// Every name goes through a placeholder, since `Size`, `Key` and others are reserved words.
    fn name(&mut self, name: &str) {
        for name in [name, "Key"] {
            self.names.insert(format!("#{name}"), name.to_owned());
        }
    }

    fn value(&mut self, name: &str, value: AttributeValue) {
        self.name(name);
        self.written.insert(format!(":{name}"), value);
    }

    fn compare(&mut self, placeholder: &str, value: AttributeValue) {
        self.compared.insert(format!(":{placeholder}"), value);
    }

    fn text(&mut self, name: &str, text: &str) {
        self.value(name, AttributeValue::S(text.to_owned()));
        self.set.push(format!("#{name} = :{name}"));
    }

    fn number(&mut self, name: &str, number: impl ToString) {
        self.value(name, AttributeValue::N(number.to_string()));
        self.set.push(format!("#{name} = :{name}"));
    }

    fn number_if_absent(&mut self, name: &str, number: impl ToString) {
        self.set_if_absent(name, AttributeValue::N(number.to_string()));
    }

    fn set_if_absent(&mut self, name: &str, value: AttributeValue) {
        self.value(name, value);
        self.set.push(format!("#{name} = if_not_exists(#{name}, :{name})"));
    }

    fn add(&mut self, name: &str, number: u32) {
        self.value(name, AttributeValue::N(number.to_string()));
        self.add.push(format!("#{name} :{name}"));
    }

    fn remove(&mut self, names: &[&str]) {
        for name in names {
            self.name(name);
            self.remove.push(format!("#{name}"));
        }
    }
}

/// Why a record of the same destination refused a begin: the same attempt, or a later event.
pub(super) fn refused_begin(start: &Start, item: &Item) -> WriteRefusal {
    let same = item::upload(item).as_ref() == Some(&start.upload)
        && item::moment(item, "startTime") == Some(start.start_time)
        && item::status(item) == JobStatus::Running;
    let later = start.sequencer.as_ref().zip(item::sequencer(item));
    match same {
        true => WriteRefusal::Repeated,
        false if later.is_some_and(|(own, recorded)| recorded > *own) => WriteRefusal::Fenced,
        false => WriteRefusal::OtherUpload,
    }
}

/// Why a record of the same destination refused an outcome.
pub(super) fn refused_finish(outcome: &Outcome, item: &Item) -> WriteRefusal {
    let etag = outcome.etag.as_ref().map(Etag::as_str);
    let same = (etag.is_none() || !item.contains_key("lease"))
        && item::text(item, "instanceID") == Some(outcome.instance.as_str())
        && item::moment(item, "startTime") == Some(outcome.start_time)
        && item::moment(item, "endTime") == Some(outcome.end_time)
        && item::text(item, "jobStatus") == Some(outcome.status.as_str())
        && (etag.is_none() || item::text(item, "sourceEtag") == etag);
    match &outcome.lease {
        Some(lease) if item::text(item, "lease") != Some(lease.as_str()) => WriteRefusal::Fenced,
        None if same => WriteRefusal::Repeated,
        None if outcome.order.as_ref().is_some_and(|o| o.seen != Some(item::stamp(item))) => {
            WriteRefusal::Fenced
        }
        _ => WriteRefusal::OtherUpload,
    }
}
