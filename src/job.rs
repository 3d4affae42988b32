//! The job: one object to copy or delete, and every form of message that brings one.
//!
//! `parse` tells the forms apart, `event` reads those that S3 sends, whose names `event_names` knows and
//! whose objects go where `routes` says, `pack` is the product's own form for many small objects,
//! `batch` decides which of them share a message.

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

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// The destination gets the source's object.
    #[default]
    Copy,
    /// The destination's object is deleted, where the source has none. With what a comparison has
    /// seen there: only that object is deleted. Events have seen nothing.
    Delete(Option<Seen>),
}

/// An object at the destination as it was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Bytes.
    pub size: u64,
    /// The ETag, where the listing gave one.
    pub etag: Option<Etag>,
}

/// One object to move from the source to the destination, or to delete there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What is asked for.
    pub action: Action,
    /// Where the object is.
    pub src: ObjectId,
    /// Where it goes, or where it is deleted.
    pub des: ObjectId,
    /// Its size in bytes as listed; the source's own answer decides when the copy begins. 0 where
    /// something is deleted, or where nobody has said it.
    pub size: u64,
    /// The version to fetch; `None` where the message says `"null"`. Where something is deleted:
    /// the version that was deleted for good at the source, and need not have been the current one.
    pub version: Option<String>,
    /// When the event happened that the job came by; `None` where it came by none.
    pub sequencer: Option<Sequencer>,
}

impl Job {
    /// A copy of `size` bytes, of one `version` or of whatever is current.
    pub fn copy(src: ObjectId, des: ObjectId, size: u64, version: Option<String>) -> Self {
        Self { action: Action::Copy, src, des, size, version, sequencer: None }
    }

    /// The deletion of `des`, which a comparison has `seen` where the source has no `src`.
    pub fn delete(src: ObjectId, des: ObjectId, seen: Seen) -> Self {
        let action = Action::Delete(Some(seen));
        Self { action, src, des, size: 0, version: None, sequencer: None }
    }

    /// Whether it deletes.
    pub fn deletes(&self) -> bool {
        matches!(self.action, Action::Delete(_))
    }
}

/// What a message that was understood asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Incoming {
    /// The objects to move; with none of them the message may be deleted at once.
    pub jobs: Vec<Job>,
    /// What else the message spoke of, and why nothing is done about it, for the log.
    pub dropped: Vec<String>,
    /// What somebody should do about it, though it is neither a job nor a failure.
    pub notices: Vec<String>,
    /// What of it cannot be carried out, each as a message of its own: the rest is not to suffer.
    pub apart: Vec<Apart>,
}

/// A part of a message that is refused, to be sent on by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apart {
    /// The message that has nothing else in it.
    pub body: String,
    /// Why that is refused.
    pub refusal: Refusal,
}

impl Incoming {
    /// Nothing to do, for this reason.
    fn nothing(reason: impl Into<String>) -> Self {
        Self { dropped: vec![reason.into()], ..Self::default() }
    }

    /// A message that has nothing in it but one refused part is that part: it is refused whole.
    fn whole(mut self) -> Result<Self, Refusal> {
        let nothing_else =
            self.jobs.is_empty() && self.dropped.is_empty() && self.notices.is_empty();
        match self.apart.len() {
            1 if nothing_else => Err(self.apart.remove(0).refusal),
            _ => Ok(self),
        }
    }
}

/// Why a message is not carried out. It is not deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is nothing that this system knows, or something in it is missing or wrong.
    NotAJob(String),
    /// It is packed in a form of this version, which a newer worker understands.
    Newer(u64),
    /// It is an S3 event, and no destination is configured for those.
    NoDestination,
    /// It is an S3 event of this bucket, which the bucket list does not name.
    NotListed(String),
    /// It is an S3 event of the first bucket, and what has no bucket list serves the second.
    ServesAnother(String, String),
}

impl Refusal {
    /// Whether it is the bucket list, or what serves in its place, that has no room for it.
    pub fn is_by_rules(&self) -> bool {
        match self {
            Self::NoDestination | Self::NotListed(_) | Self::ServesAnother(..) => true,
            Self::NotAJob(_) | Self::Newer(_) => false,
        }
    }
}

impl fmt::Display for Refusal {
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
                "an S3 event of bucket {}, which no pair of the bucket list names: add it there, so \
                 that its objects have a place of their own",
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

impl std::error::Error for Refusal {}

/// The job as the original writes it.
#[derive(Serialize)]
struct Wire<'a> {
    #[serde(rename = "Src_bucket")]
    src_bucket: &'a str,
    #[serde(rename = "Src_key")]
    src_key: &'a str,
    #[serde(rename = "Des_bucket")]
    des_bucket: &'a str,
    #[serde(rename = "Des_key")]
    des_key: &'a str,
    #[serde(rename = "Size")]
    size: u64,
    #[serde(rename = "versionId")]
    version_id: &'a str,
    /// A further field, so that older workers copy all the same.
    #[serde(rename = "Sequencer", skip_serializing_if = "Option::is_none")]
    sequencer: Option<&'a str>,
}

impl Job {
    /// The message of this job: JSON in pure ASCII. A deletion is packed, also by itself: a plain
    /// job would be copied by older workers, whatever further field it had.
    pub fn to_message(&self) -> String {
        if self.deletes() {
            return pack(std::slice::from_ref(self));
        }
        ascii_json(&Wire {
            src_bucket: &self.src.bucket,
            src_key: self.src.key.as_str(),
            des_bucket: &self.des.bucket,
            des_key: self.des.key.as_str(),
            size: self.size,
            version_id: self.version.as_deref().unwrap_or(NO_VERSION),
            sequencer: self.sequencer.as_ref().map(Sequencer::as_str),
        })
    }
}

/// JSON with everything escaped that is not printable ASCII: Amazon SQS refuses some characters
/// that keys may have
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>).
fn ascii_json(value: &impl Serialize) -> String {
    // Writing text and numbers cannot fail: `Serialize` is derived, and maps have text keys.
    let json = serde_json::to_string(value).unwrap_or_default();
    let mut ascii = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            ' '..='~' => ascii.push(c),
            // Outside of texts JSON has only printable ASCII, so that this is inside of one.
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
        assert!(Refusal::NoDestination.to_string().contains("set Des_bucket_default"));
        assert!(Refusal::Newer(7).to_string().contains("version 7"));
        assert_eq!(Refusal::NotAJob("x".into()).to_string(), "not a job: x");
        let other = Refusal::ServesAnother("a".into(), "b\u{202e}".into()).to_string();
        assert!(other.contains("name both in the bucket list") && other.contains("\\u{202e}"));
    }
}
