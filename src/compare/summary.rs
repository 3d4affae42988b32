//! The counts of a comparison: every listed object is in exactly one of them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::compare::difference::Difference;
use crate::compare::ranges::Bounds;
use crate::object::MAX_KEY_BYTES;
use crate::store::{Listed, Odd};

/// How many objects that cannot be copied a summary names; the others are only counted.
const NAMED: usize = 20;

/// What was found and done for one pair.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// Keys at the source.
    pub listed: u64,
    /// Their bytes.
    pub listed_bytes: u64,
    /// Objects that differ: sent, or in a dry run to be sent.
    pub to_copy: u64,
    /// Their bytes.
    pub to_copy_bytes: u64,
    /// Of `to_copy`: those that the queue has accepted.
    pub sent: u64,
    /// Of `to_copy`: those that the queue has not accepted.
    pub failed_to_send: u64,
    /// Messages that the objects to copy were sent in.
    pub messages: u64,
    /// Of `to_copy`: those that the destination has with another size.
    pub size_differs: u64,
    /// Of `to_copy`: those that the destination has with the same size and another ETag.
    pub etag_differs: u64,
    /// Of `to_copy`: those that the destination has with the same size, but from another version,
    /// or from one that is not on record.
    pub version_differs: u64,
    /// Of `to_copy`: those that the destination has and that are copied anyway.
    pub overwritten: u64,
    /// Objects that the destination already has unchanged.
    pub already_there: u64,
    /// Their bytes.
    pub already_there_bytes: u64,
    /// Of `already_there`: those that the destination does not list, but has when asked directly.
    pub unlisted: u64,
    /// Objects that the ignore list or a filter leaves out.
    pub ignored: u64,
    /// Their bytes.
    pub ignored_bytes: u64,
    /// Objects that differ and must be restored from an archive before they can be read.
    pub archived: u64,
    /// Their bytes.
    pub archived_bytes: u64,
    /// Objects that differ and were sent by an earlier comparison; their jobs wait or run.
    pub in_queue: u64,
    /// Their bytes.
    pub in_queue_bytes: u64,
    /// Objects whose key, with the destination's prefix in front, is longer than S3 accepts; the
    /// log names each.
    pub key_too_long: u64,
    /// Objects that cannot be copied because of their key, or because a listing lacks information;
    /// the log names each.
    pub impossible: u64,
    /// The first of them, each with its reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub impossible_named: Vec<String>,
    /// Of `impossible`: those whose key is not known.
    pub unreadable: u64,
    /// Objects that were named and are not at the source; the log names each.
    pub gone: u64,
    /// Keys under the pair's prefix that only the destination has; left alone without `--delete`.
    pub only_at_destination: u64,
    /// Their bytes.
    pub only_at_destination_bytes: u64,
    /// Of these, under `--delete`: those to be deleted.
    pub to_delete: u64,
    /// Of `to_delete`: deletions that the queue has accepted. All or none, unless it refuses.
    pub deletions_sent: u64,
    /// Why some or all of `to_delete` were not sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletions_refused: Option<String>,
    /// Pages requested from the source.
    pub source_pages: u64,
    /// Pages requested from the destination.
    pub destination_pages: u64,
    /// Ranges whose end could not be checked by asking for what may follow.
    pub unchecked_ends: u64,
    /// Of these, at the source: those whose end even the store's pages do not confirm, so that the
    /// store may have more objects than it lists.
    pub doubtful_ends: u64,
    /// Ranges of keys about which nothing is known.
    pub missing: Vec<MissingRange>,
}

/// A range of keys whose listing could not be finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingRange {
    /// Keys after this one; `None`: from the first.
    pub after: Option<String>,
    /// Up to and including this one; `None`: to the last.
    pub through: Option<String>,
    /// Why it could not be finished.
    pub error: String,
}

impl MissingRange {
    /// A missing range of these bounds.
    pub fn new(bounds: Bounds, error: String) -> Self {
        Self { after: bounds.after, through: bounds.through, error }
    }
}

impl fmt::Display for MissingRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = |key: &str| key.escape_debug().to_string();
        match (&self.after, &self.through) {
            (None, None) => f.write_str("all keys")?,
            (Some(after), None) => write!(f, "keys after {}", key(after))?,
            (None, Some(through)) => write!(f, "keys up to {}", key(through))?,
            (Some(after), Some(through)) => {
                write!(f, "keys after {} up to {}", key(after), key(through))?;
            }
        }
        write!(f, ": {}", self.error)
    }
}

impl Summary {
    /// Adds the numbers of another pair or range.
    pub fn add(&mut self, other: &Self) {
        self.listed += other.listed;
        self.listed_bytes += other.listed_bytes;
        self.to_copy += other.to_copy;
        self.to_copy_bytes += other.to_copy_bytes;
        self.sent += other.sent;
        self.failed_to_send += other.failed_to_send;
        self.messages += other.messages;
        self.size_differs += other.size_differs;
        self.etag_differs += other.etag_differs;
        self.version_differs += other.version_differs;
        self.overwritten += other.overwritten;
        self.already_there += other.already_there;
        self.unlisted += other.unlisted;
        self.already_there_bytes += other.already_there_bytes;
        self.ignored += other.ignored;
        self.ignored_bytes += other.ignored_bytes;
        self.archived += other.archived;
        self.archived_bytes += other.archived_bytes;
        self.in_queue += other.in_queue;
        self.in_queue_bytes += other.in_queue_bytes;
        self.key_too_long += other.key_too_long;
        self.impossible += other.impossible;
        let room = NAMED.saturating_sub(self.impossible_named.len());
        self.impossible_named.extend(other.impossible_named.iter().take(room).cloned());
        self.unreadable += other.unreadable;
        self.unchecked_ends += other.unchecked_ends;
        self.doubtful_ends += other.doubtful_ends;
        self.gone += other.gone;
        self.only_at_destination += other.only_at_destination;
        self.only_at_destination_bytes += other.only_at_destination_bytes;
        self.to_delete += other.to_delete;
        self.deletions_sent += other.deletions_sent;
        self.deletions_refused = self.deletions_refused.take().or(other.deletions_refused.clone());
        self.source_pages += other.source_pages;
        self.destination_pages += other.destination_pages;
        self.missing.extend(other.missing.iter().cloned());
    }

    /// Counts one listed object by its verdict.
    pub(super) fn count(&mut self, listed: Listed<'_>, verdict: &Verdict<'_>) {
        self.listed += 1;
        self.listed_bytes += listed.size;
        let (objects, bytes) = match verdict {
            Verdict::Copy(difference) => {
                self.count_difference(*difference);
                (&mut self.to_copy, &mut self.to_copy_bytes)
            }
            Verdict::AlreadyThere => (&mut self.already_there, &mut self.already_there_bytes),
            Verdict::Ignored(_) => (&mut self.ignored, &mut self.ignored_bytes),
            Verdict::Archived => (&mut self.archived, &mut self.archived_bytes),
            Verdict::InQueue => (&mut self.in_queue, &mut self.in_queue_bytes),
            Verdict::KeyTooLong(_) => return self.key_too_long += 1,
        };
        *objects += 1;
        *bytes += listed.size;
    }

    /// Counts an object that cannot be copied.
    pub(super) fn count_impossible(&mut self, bucket: &str, odd: &Odd) {
        self.listed += 1;
        self.listed_bytes += odd.size.unwrap_or_default();
        self.impossible += 1;
        self.unreadable += u64::from(!odd.is_known());
        if self.impossible_named.len() < NAMED {
            self.impossible_named.push(format!("{}/{odd}", bucket.escape_debug()));
        }
    }

    /// Moves this many objects from `already_there` to those whose ETags differ.
    pub fn differ_after_all(&mut self, objects: u64) {
        let objects = objects.min(self.already_there);
        self.already_there -= objects;
        self.to_copy += objects;
        self.etag_differs += objects;
    }

    fn count_difference(&mut self, difference: Difference) {
        match difference {
            Difference::Missing => {}
            Difference::SizeDiffers => self.size_differs += 1,
            Difference::EtagDiffers | Difference::WrittenDiffers => self.etag_differs += 1,
            Difference::VersionDiffers | Difference::VersionUnknown => self.version_differs += 1,
            Difference::Overwritten => self.overwritten += 1,
        }
    }

    /// Whether every listed object is accounted for and, with a queue, every object to copy was
    /// either sent or not.
    pub fn balances(&self, has_queue: bool) -> bool {
        let judged = self.to_copy
            + self.already_there
            + self.ignored
            + self.archived
            + self.in_queue
            + self.key_too_long
            + self.impossible
            + self.gone;
        let sent = self.sent + self.failed_to_send;
        self.listed == judged && (!has_queue || self.to_copy == sent)
    }

    /// The reservation to print next to these numbers if a listing may have ended early.
    pub fn caveat(&self) -> Option<&'static str> {
        match (self.doubtful_ends, self.unchecked_ends) {
            (0, 0) => None,
            (0, _) => Some(
                "the end of a listing could not be checked, because the store does not list from \
                 a given key on: the result holds for what it listed",
            ),
            _ => Some(
                "the source may have more objects than it lists: the end of its listing could not \
                 be checked, and its last page was full, or it has ended listings early before; \
                 compare with an inventory or --keys",
            ),
        }
    }

    /// Whether everything was listed, and nothing listed was left out because it could not be
    /// handled.
    pub fn is_whole(&self) -> bool {
        let in_vain =
            self.key_too_long + self.impossible + self.archived + self.gone + self.failed_to_send;
        let was_listed = self.missing.is_empty() && self.doubtful_ends == 0;
        in_vain == 0 && was_listed && self.deletions_refused.is_none()
    }
}

/// What happens to one listed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It is copied.
    Copy(Difference),
    /// It is at the destination, equal in everything that is compared.
    AlreadyThere,
    /// This rule of the ignore list, or the filter of this name, leaves it out.
    Ignored(&'a str),
    /// It differs, and is in an archive.
    Archived,
    /// It differs, and the job of an earlier comparison waits or runs.
    InQueue,
    /// It cannot be copied: its key at the destination would have this many bytes.
    KeyTooLong(usize),
}

impl Verdict<'_> {
    /// The verdict as one word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Copy(_) => "copy",
            Self::AlreadyThere => "already there",
            Self::Ignored(_) => "ignored",
            Self::Archived => "archived",
            Self::InQueue => "in queue",
            Self::KeyTooLong(_) => "key too long",
        }
    }
}

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy(difference) => write!(f, "copy, {}", difference.as_str()),
            Self::AlreadyThere => f.write_str("skip, already there with the same size"),
            Self::Ignored(rule) => write!(f, "skip, ignored by {rule}"),
            Self::Archived => f.write_str("skip, archived: restore it first, then compare again"),
            Self::InQueue => f.write_str("skip, sent before: its job is waiting or running"),
            Self::KeyTooLong(bytes) => write!(
                f,
                "cannot be copied, its key with the destination's prefix has {bytes} bytes and S3 \
                 allows {MAX_KEY_BYTES}: choose a shorter prefix"
            ),
        }
    }
}
