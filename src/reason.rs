//! Why objects fail, in groups that one action cures.
//!
//! A reason is read from an error's text, since that is what records, dead letters and logs of every
//! version hold. What a service's answer means, and what to do about it, is decided by the table
//! that decided it when the error was made (`aws::meaning`).
//!
//! Pure: a text goes in, a reason comes out.

use crate::aws;
use crate::error::ErrorKind;
use crate::store::Side;

/// Why an object failed: the reasons of all objects that the same action cures are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reason {
    cause: Cause,
    /// The side that refused, if that matters.
    side: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Cause {
    Denied,
    Credentials,
    Key,
    Account,
    NoBucket,
    Gone,
    Archived,
    Changing,
    Damaged,
    Full,
    Tags,
    StorageClass,
    Unsupported,
    Proxy,
    TooLarge,
    Memory,
    Odd,
    Refused,
    Trouble,
    Unfinished,
    NotAJob,
    NewerFormat,
    NoRoute,
    Other,
}

use Cause::{
    Account, Archived, Changing, Credentials, Damaged, Denied, Full, Gone, Key, Memory,
    NewerFormat, NoBucket, NoRoute, NotAJob, Odd, Other, Proxy, Refused, StorageClass, Tags,
    TooLarge, Trouble, Unfinished, Unsupported,
};

/// Every cause, its stable word, and what cures it if the service's answer gives no advice.
const CAUSES: &[(Cause, &str, &str)] = &[
    (Denied, "denied", "allow this call in the caller's IAM policy, and in the resource's policy"),
    (Credentials, "credentials", "check the credentials, and this machine's clock"),
    (Key, "kms-key", "enable the KMS key, and allow the caller to use it in its key policy"),
    (Account, "account", "the service refuses this account: check its billing and activation"),
    (NoBucket, "no-bucket", "check the bucket's name, Region and Endpoint"),
    (
        Gone,
        "gone",
        "the source no longer has these objects: nothing to do if they were deleted on purpose",
    ),
    (Archived, "archived", "restore these objects at the source (s3:RestoreObject)"),
    (Changing, "changing", "stop what writes these objects, or wait until it has finished"),
    (
        Damaged,
        "damaged",
        "repair these objects at the source: their bytes do not match what the source says of them",
    ),
    (Full, "full", "make room at the store, or raise the quota"),
    (Tags, "tags", "the destination does not accept these tags: CopyTags = False leaves them out"),
    (StorageClass, "storage-class", "set StorageClass to a class that the destination supports"),
    (Unsupported, "unsupported", "switch off what the store does not support"),
    (Proxy, "proxy", "check Endpoint and any proxy in front of the store"),
    (
        TooLarge,
        "too-large",
        "no setting helps: the destination does not hold such large objects; the ignore list leaves \
         them out",
    ),
    (Memory, "memory", "raise MaxMemory in [Mode], or lower ChunkSize"),
    (
        Odd,
        "odd",
        "look at the object's key and headers: the same request works for other objects here",
    ),
    (Refused, "refused", "the store refuses the request itself: its words in the example say why"),
    (
        Trouble,
        "trouble",
        "this passes by itself: wait until the store, the network and the workers are well again",
    ),
    (
        Unfinished,
        "never-finished",
        "workers took the message and never finished it: look in their logs for why they ended, and \
         raise MaxReceiveCount if they were only interrupted",
    ),
    (NotAJob, "not-a-job", "look at who sends these messages: no worker understands them"),
    (NewerFormat, "newer-format", "update the workers: these messages are of a newer version"),
    (
        NoRoute,
        "no-route",
        "add the bucket to the bucket list, or set Des_bucket_default in [Basic]",
    ),
    (Other, "other", "the error says what to do"),
];

/// What messages of our own say, in words that they keep.
const OWN_WORDS: &[(&str, Cause)] = &[
    ("so it is this object", Odd),
    ("not a job: ", NotAJob),
    ("update the worker", NewerFormat),
    ("names no destination", NoRoute),
    ("which no pair of the bucket list names", NoRoute),
    ("but Des_bucket_default serves bucket", NoRoute),
    ("and never finished", Unfinished),
    ("keeps changing: ", Changing),
    ("damaged at the source: ", Damaged),
    ("a wrong answer each time", Damaged),
    ("that the destination holds", TooLarge),
    ("raise MaxMemory", Memory),
    ("has trouble with this object alone", Trouble),
];

/// Begins an error after which an object was given up.
const GIVEN_UP: &str = "given up, receipt ";

impl Reason {
    /// The reason that the text of an error gives.
    pub fn of(error: &str) -> Self {
        let own = OWN_WORDS.iter().find(|(words, _)| error.contains(words));
        if let Some((_, cause)) = own {
            return Self { cause: *cause, side: None };
        }
        match Answer::read(error) {
            Some(answer) => Self { cause: answer.meaning().0, side: answer.side },
            None if error.starts_with(GIVEN_UP) => Self { cause: Trouble, side: None },
            None => Self { cause: Other, side: None },
        }
    }

    /// The stable word for it, such as `denied-at-destination`.
    pub fn word(&self) -> String {
        let word = self.entry().1;
        match self.side {
            Some(side) => format!("{word}-at-{side}"),
            None => word.to_owned(),
        }
    }

    /// What to do about all errors with this reason; `error` is one of them.
    pub fn cure(&self, error: &str) -> String {
        let answer = Answer::read(error).filter(|answer| answer.meaning().0 == self.cause);
        let advised = answer.as_ref().and_then(|answer| answer.meaning().1);
        let cure = advised.unwrap_or(self.entry().2);
        match (self.cause, answer) {
            (Denied, Some(Answer { call, side: Some(side), .. })) => {
                format!("{call} is refused at the {side}: {cure}")
            }
            _ => cure.to_owned(),
        }
    }

    /// Whether it can be cured by sending the object again, once its cause is removed. No worker
    /// carries out what is not a job.
    pub fn is_curable(&self) -> bool {
        self.cause != NotAJob
    }

    /// Whether nobody has recorded the failure: the queue itself gave the message up.
    pub fn is_unrecorded(&self) -> bool {
        matches!(self.cause, Unfinished)
    }

    /// Whether a user who writes `word` means this reason: with its side, or on either.
    pub fn is_meant(&self, word: &str) -> bool {
        self.entry().1 == word || self.word() == word
    }

    /// The words that [`Self::is_meant`] understands; each may end with `-at-source` or
    /// `-at-destination`.
    pub fn words() -> impl Iterator<Item = &'static str> {
        CAUSES.iter().map(|(_, word, _)| *word)
    }

    fn entry(&self) -> &'static (Cause, &'static str, &'static str) {
        let entry = CAUSES.iter().find(|(cause, ..)| *cause == self.cause);
        entry.unwrap_or(&CAUSES[CAUSES.len() - 1])
    }
}

/// Whether `word` names a reason, on one side or on either.
pub fn is_known(word: &str) -> bool {
    let sides = [Side::Source, Side::Destination].map(|side| format!("-at-{}", side.name()));
    let bare = sides.iter().find_map(|side| word.strip_suffix(side.as_str())).unwrap_or(word);
    Reason::words().any(|known| known == bare)
}

/// A service's answer, read from an error's text: `GetObject s3://b/k (source): NoSuchKey: no such
/// key (status 404, request ID)`.
struct Answer<'a> {
    call: &'a str,
    side: Option<&'static str>,
    status: u16,
    code: &'a str,
    text: &'a str,
    given_up: bool,
}

impl<'a> Answer<'a> {
    fn read(error: &'a str) -> Option<Self> {
        let given_up = error.starts_with(GIVEN_UP);
        let call = match given_up {
            true => error.split_once(": ")?.1,
            false => error,
        };
        let call = call.strip_prefix("no other object was tried meanwhile: ").unwrap_or(call);
        let call = call.split(' ').next()?;
        let place = |side: Side| {
            let place = format!(" ({}): ", side.name());
            Some((error.rfind(&place)? + place.len(), side.name()))
        };
        let (said, side) = [Side::Source, Side::Destination].into_iter().filter_map(place).max()?;
        let said = &error[said..];
        let Some(at) = said.find("(status ") else {
            // No answer at all.
            return given_up.then_some(Self {
                call,
                side: Some(side),
                status: 0,
                code: "",
                text: "",
                given_up,
            });
        };
        let digits: String =
            said[at + "(status ".len()..].chars().take_while(char::is_ascii_digit).collect();
        let said = said[..at].trim_end();
        let (code, text) = said.split_once(": ").unwrap_or((said, ""));
        let code = if code.starts_with("no error code") { "" } else { code };
        Some(Self { call, side: Some(side), status: digits.parse().ok()?, code, text, given_up })
    }

    /// The cause, and the advice of the table that judges answers.
    fn meaning(&self) -> (Cause, Option<&'static str>) {
        if self.status == 0 {
            return (Trouble, None);
        }
        let (kind, advice) = aws::meaning(self.call, self.status, self.code, self.text);
        let cause = match kind {
            ErrorKind::Denied => match self.code {
                "AccountProblem" | "OptInRequired" | "InvalidPayer" => Account,
                code if code.to_ascii_lowercase().starts_with("kms") || code == "InvalidKeyId" => {
                    Key
                }
                _ => Denied,
            },
            ErrorKind::Unfit => Credentials,
            ErrorKind::Full => Full,
            ErrorKind::Archived => Archived,
            ErrorKind::NotFound if self.code == "NoSuchBucket" => NoBucket,
            ErrorKind::NotFound if self.side == Some(Side::Source.name()) => Gone,
            ErrorKind::Invalid => match (self.status, self.code) {
                (_, "InvalidTag" | "InvalidTagError") => Tags,
                (_, "InvalidStorageClass") => StorageClass,
                (501, _) | (_, "NotImplemented") => Unsupported,
                (405 | 411 | 413 | 414 | 431, _) => Proxy,
                _ => Refused,
            },
            ErrorKind::NotFound | ErrorKind::Usage => Refused,
            ErrorKind::Throttled
            | ErrorKind::Unavailable
            | ErrorKind::Damaged
            | ErrorKind::SourceChanged
            | ErrorKind::UploadGone
            | ErrorKind::LeaseLost
            | ErrorKind::Cancelled => Trouble,
        };
        let advice = advice.filter(|_| !(self.given_up && cause == Trouble));
        (cause, advice)
    }
}

#[cfg(test)]
mod tests;
