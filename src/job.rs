//! The job: one object to copy or delete, and every form of message that brings one.
//!
//! `parse` distinguishes the forms. `event` reads those that S3 sends: `event_names` knows their
//! names, and `routes` decides where their objects go. `pack` is the product's own form for many
//! small objects, and `batch` decides which of them share a message.

use std::fmt;

use serde::Serialize;

use crate::format::escape::shown;
use crate::object::sequencer::Sequencer;
use crate::object::{Etag, NO_VERSION, ObjectId};

mod batch;
mod event;
mod event_names;
mod pack;
mod parse;
mod routes;

pub use batch::{MAX_PACK_DATA, PackLimits, Packer, messages};
pub use event::{Events, Heard};
pub use pack::{PACK_VERSION, Packed, pack, pack_within};
pub use parse::{Opened, open, parse};
pub use routes::Routes;

/// What a job does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Copies the source's object to the destination.
    #[default]
    Copy,
    /// Deletes the destination's object if the source has none. With the object that a comparison
    /// saw there, only that object is deleted. Events carry no such object.
    Delete(Option<SeenCopy>),
}

/// An object at the destination, as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenCopy {
    /// Bytes.
    pub size: u64,
    /// The ETag, if the listing gave one.
    pub etag: Option<Etag>,
}

/// One object to move from the source to the destination, or to delete there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What a job does.
    pub action: Action,
    /// The object at the source.
    pub src: ObjectId,
    /// The object at the destination, to write or to delete.
    pub des: ObjectId,
    /// Its size in bytes as listed; when the copy begins, the source's own answer decides. 0 for a
    /// deletion, or if the size is unknown.
    pub size: u64,
    /// The version to fetch; `None` if the message says `"null"`. For a deletion: the version that
    /// was permanently deleted at the source, which need not have been the current one.
    pub version: Option<String>,
    /// The position of the event that brought the job; `None` if no event did.
    pub sequencer: Option<Sequencer>,
}

impl Job {
    /// A copy of `size` bytes, of one `version` or of the current one.
    pub fn copy(src: ObjectId, des: ObjectId, size: u64, version: Option<String>) -> Self {
        Self { action: Action::Copy, src, des, size, version, sequencer: None }
    }

    /// The deletion of `des`, which a comparison has `seen`; the source has no `src`.
    pub fn delete(src: ObjectId, des: ObjectId, seen: SeenCopy) -> Self {
        let action = Action::Delete(Some(seen));
        Self { action, src, des, size: 0, version: None, sequencer: None }
    }

    /// Whether the job is a deletion.
    pub fn deletes(&self) -> bool {
        matches!(self.action, Action::Delete(_))
    }
}

/// The content of a message that was understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Incoming {
    /// The jobs; without any, the message may be deleted at once.
    pub jobs: Vec<Job>,
    /// What else the message contained, and why nothing is done about it, for the log.
    pub dropped: Vec<String>,
    /// Actions that the user should take, though they are neither a job nor a failure.
    pub notices: Vec<String>,
    /// Parts that cannot be carried out, each as a message of its own, so that the rest can be.
    pub apart: Vec<Apart>,
}

/// A refused part of a message, to be sent on separately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apart {
    /// A message with only this part.
    pub body: String,
    /// Why it is refused.
    pub refusal: MessageRefusal,
}

impl Incoming {
    /// Nothing to do, with the reason.
    fn nothing(reason: impl Into<String>) -> Self {
        Self { dropped: vec![reason.into()], ..Self::default() }
    }

    /// A message that consists of a single refused part is refused as a whole.
    fn whole(mut self) -> Result<Self, MessageRefusal> {
        let nothing_else =
            self.jobs.is_empty() && self.dropped.is_empty() && self.notices.is_empty();
        match self.apart.len() {
            1 if nothing_else => Err(self.apart.remove(0).refusal),
            _ => Ok(self),
        }
    }
}

/// Why a message is refused. It is not deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageRefusal {
    /// It has no known form, or something in it is missing or wrong.
    NotAJob(String),
    /// It is packed in this version of the form, which needs a newer worker.
    Newer(u64),
    /// It is an S3 event, and no destination is configured for events.
    NoDestination,
    /// It is an S3 event of this bucket, which is not in the bucket list.
    NotListed(String),
    /// It is an S3 event of the first bucket, but without a bucket list this worker serves the
    /// second.
    ServesAnother(String, String),
}

impl MessageRefusal {
    /// Whether the bucket list, or the default destination in its place, has no route for it.
    pub fn is_by_rules(&self) -> bool {
        match self {
            Self::NoDestination | Self::NotListed(_) | Self::ServesAnother(..) => true,
            Self::NotAJob(_) | Self::Newer(_) => false,
        }
    }
}

impl fmt::Display for MessageRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAJob(reason) => write!(f, "not a job: {reason}"),
            Self::Newer(version) => write!(
                f,
                "packed in version {version}, this worker knows versions up to {PACK_VERSION}: \
                 update the worker"
            ),
            Self::NoDestination => {
                f.write_str("an S3 event names no destination: set Des_bucket_default in [Basic]")
            }
            Self::NotListed(bucket) => write!(
                f,
                "an S3 event of bucket {}, which no pair of the bucket list names: add a pair, so \
                 that its objects have their own destination",
                shown(bucket)
            ),
            Self::ServesAnother(bucket, served) => write!(
                f,
                "an S3 event of bucket {}, but Des_bucket_default serves bucket {} already, whose \
                 objects it would overwrite: name both in the bucket list",
                shown(bucket),
                shown(served)
            ),
        }
    }
}

impl std::error::Error for MessageRefusal {}

/// The job in the original's form.
#[derive(Serialize)]
pub(crate) struct PlainJob<'a> {
    #[serde(rename = "Src_bucket")]
    src_bucket: &'a str,
    #[serde(rename = "Src_key")]
    src_key: &'a str,
    #[serde(rename = "Des_bucket")]
    des_bucket: &'a str,
    #[serde(rename = "Des_key")]
    des_key: &'a str,
    #[serde(rename = "Size")]
    pub size: u64,
    #[serde(rename = "versionId")]
    version_id: &'a str,
    /// An additional field, so that older workers still copy the object.
    #[serde(rename = "Sequencer", skip_serializing_if = "Option::is_none")]
    sequencer: Option<&'a str>,
}

impl Job {
    /// The message of this job: JSON in pure ASCII. Even a single deletion is packed: older workers
    /// would copy a plain job, whatever additional fields it had.
    pub fn to_message(&self) -> String {
        if self.deletes() {
            return pack(std::slice::from_ref(self));
        }
        ascii_json(&self.plain())
    }

    pub(crate) fn plain(&self) -> PlainJob<'_> {
        PlainJob {
            src_bucket: &self.src.bucket,
            src_key: self.src.key.as_str(),
            des_bucket: &self.des.bucket,
            des_key: self.des.key.as_str(),
            size: self.size,
            version_id: self.version.as_deref().unwrap_or(NO_VERSION),
            sequencer: self.sequencer.as_ref().map(Sequencer::as_str),
        }
    }
}

/// JSON in which everything but printable ASCII is escaped: Amazon SQS refuses some characters that
/// keys may contain
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>).
fn ascii_json(value: &impl Serialize) -> String {
    // Writing text and numbers cannot fail: `Serialize` is derived, and map keys are strings.
    let json = serde_json::to_string(value).unwrap_or_default();
    let mut ascii = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            ' '..='~' => ascii.push(c),
            // Outside of strings JSON has only printable ASCII, so this is inside a string.
            _ => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }),
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise 4.
    #[test]
    fn a_job_is_written_as_the_original_does_in_ascii() {
        let src = ObjectId::new("src", "\u{fc}/\u{6587}\u{1f600}\u{1}\u{7f}\"\\\n");
        let job = Job::copy(src, ObjectId::new("des", "p/ +%2F"), 5, None);
        assert_eq!(
            job.to_message(),
            concat!(
                r#"{"Src_bucket":"src","Src_key":"\u00fc/\u6587\ud83d\ude00\u0001\u007f\"\\\n","#,
                r#""Des_bucket":"des","Des_key":"p/ +%2F","Size":5,"versionId":"null"}"#
            )
        );
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        assert!(MessageRefusal::NoDestination.to_string().contains("set Des_bucket_default"));
        assert!(MessageRefusal::Newer(7).to_string().contains("version 7"));
        assert_eq!(MessageRefusal::NotAJob("x".into()).to_string(), "not a job: x");
        let other = MessageRefusal::ServesAnother("a".into(), "b\u{202e}".into()).to_string();
        assert!(other.contains("name both in the bucket list") && other.contains("\\u{202e}"));
    }
}
