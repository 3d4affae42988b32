//! The one error: what went wrong, in words a user can act on, and what happens next.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The meaning of an error, independent of the service that it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The service throttles: 503 SlowDown, 429, ThrottlingException.
    Throttled,
    /// No usable answer: a refused or broken connection, a timeout, a 5xx.
    Unavailable,
    /// A body arrived too short, too long or with the wrong digest; another try may succeed.
    Damaged,
    /// The source object has changed since the copy began (412 on If-Match).
    SourceChanged,
    /// The multipart upload is gone: another process has completed or aborted it.
    UploadGone,
    /// The message's lease ran out, or another worker holds the object.
    LeaseLost,
    /// Stopped on purpose: shutdown, or the time limit for one object.
    Cancelled,
    /// The object, version, bucket, queue, table or parameter does not exist.
    NotFound,
    /// The service knows the caller and denies the call.
    Denied,
    /// The caller cannot make this call for any object: its credentials are unknown, wrong or
    /// missing, or its clock is off. Another worker may succeed.
    Unfit,
    /// The store accepts no more data: a quota is used up, or its disks are full. It concerns no
    /// particular object and passes once there is room again.
    Full,
    /// The object is in an archive class and must be restored before it can be read.
    Archived,
    /// Data, a message or an answer is invalid; another try gives the same.
    Invalid,
    /// Arguments or configuration that cannot be used.
    Usage,
}

/// What the holder of a job does after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Retry the same call after a pause.
    Retry,
    /// Return the job to the queue: another attempt, perhaps by another worker, may succeed.
    ReturnToQueue,
    /// A retry cannot help: record the failure and move the job to the dead letters.
    RecordFailure,
}

impl ErrorKind {
    /// The policy for a failed call. Once a call's tries are used up, [`Next::Retry`] counts as
    /// [`Next::ReturnToQueue`] for the job that made the call.
    pub fn next(self) -> Next {
        match self {
            Self::Throttled | Self::Unavailable | Self::Damaged => Next::Retry,
            Self::SourceChanged
            | Self::UploadGone
            | Self::LeaseLost
            | Self::Cancelled
            | Self::Unfit
            | Self::Full => Next::ReturnToQueue,
            Self::NotFound | Self::Denied | Self::Archived | Self::Invalid | Self::Usage => {
                Next::RecordFailure
            }
        }
    }

    /// The process exit status if this error ends a command (PRODUCT contract: 1 not everything
    /// arrived, 2 unusable input, 3 a service was unreachable or refused).
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Cancelled => 1,
            Self::Usage => 2,
            Self::Throttled
            | Self::Unavailable
            | Self::Damaged
            | Self::SourceChanged
            | Self::UploadGone
            | Self::LeaseLost
            | Self::NotFound
            | Self::Denied
            | Self::Unfit
            | Self::Full
            | Self::Archived
            | Self::Invalid => 3,
        }
    }
}

/// A service's answer, unchanged. This, and not the error's text, decides what a refusal is blamed
/// on (`crate::worker::blame`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The HTTP status; 0 if there was no answer.
    pub status: u16,
    /// The service's own name for the error; empty if the answer had none.
    pub code: String,
    /// The service's message, in one line.
    pub text: String,
    /// The call, such as `PutObject`.
    pub call: String,
    /// The side and the bucket of the call, once a store's wrapper has added them.
    pub place: Option<Asked>,
}

impl Evidence {
    /// Whether the answer had no error document, so that it may come from a proxy. The SDK makes up
    /// a code for the 404 of a HEAD.
    pub fn is_bare(&self) -> bool {
        self.status != 0 && (self.code.is_empty() || self.code == "NotFound")
    }
}

/// Used instead of a side for the table of records.
pub const RECORDS: &str = "records";

/// The target of a refused call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Asked {
    /// `source` or `destination`, or [`RECORDS`].
    pub side: &'static str,
    /// The bucket.
    pub bucket: String,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bucket {} ({})", self.bucket, self.side)
    }
}

/// An error with its kind, a message for the user, and the underlying cause.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    retry_after: Option<Duration>,
    evidence: Option<Box<Evidence>>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `message` says what, where and what to do, lower case, no full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None, evidence: None, source: None }
    }

    /// Unusable arguments or configuration.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// Invalid data or an invalid answer.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Stopped on purpose.
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "stopped")
    }

    /// Adds the underlying cause.
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds the pause that the service asked for.
    pub fn with_retry_after(mut self, pause: Option<Duration>) -> Self {
        self.retry_after = pause;
        self
    }

    /// Adds the service's answer.
    pub fn with_evidence(mut self, evidence: Evidence) -> Self {
        self.evidence = Some(Box::new(evidence));
        self
    }

    /// Notes the target of the refused call.
    pub fn at(mut self, call: &'static str, side: &'static str, bucket: &str) -> Self {
        let evidence = self.evidence.get_or_insert_default();
        evidence.place.get_or_insert_with(|| Asked { side, bucket: bucket.to_owned() });
        if evidence.call.is_empty() {
            evidence.call = call.to_owned();
        }
        self
    }

    /// The same error, of another kind.
    pub fn of_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// Puts `context` and a colon before the message.
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// Appends a semicolon and `note`, usually what to do, to the message.
    pub fn note(mut self, note: impl fmt::Display) -> Self {
        self.message = format!("{}; {note}", self.message);
        self
    }

    /// A copy of the error for another object of the same request, without the underlying cause.
    pub fn another(&self) -> Self {
        let evidence = self.evidence.clone();
        let another = Self::new(self.kind, self.message.as_str());
        Self { evidence, ..another.with_retry_after(self.retry_after) }
    }

    /// What the error means.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The service's answer, if a service refused.
    pub fn evidence(&self) -> Option<&Evidence> {
        self.evidence.as_deref()
    }

    /// The service's own name for the error; empty if there is none.
    pub fn code(&self) -> &str {
        self.evidence().map_or("", |evidence| evidence.code.as_str())
    }

    /// Whether it concerns the table of records.
    pub fn is_of_records(&self) -> bool {
        let place = self.evidence().and_then(|evidence| evidence.place.as_ref());
        place.is_some_and(|place| place.side == RECORDS)
    }

    /// Whether a service refused without an error document.
    pub fn is_bare(&self) -> bool {
        self.evidence().is_some_and(Evidence::is_bare)
    }

    /// The pause that the service asked for (Retry-After), if it named one.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|s| s as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise 1.
    #[test]
    fn permanent_errors_are_recorded_and_passing_ones_tried_again() {
        assert_eq!(ErrorKind::Throttled.next(), Next::Retry);
        assert_eq!(ErrorKind::SourceChanged.next(), Next::ReturnToQueue);
        assert_eq!(ErrorKind::Denied.next(), Next::RecordFailure);
        assert_eq!(ErrorKind::Full.next(), Next::ReturnToQueue);
        assert_eq!(ErrorKind::Cancelled.exit_status(), 1);
        assert_eq!(ErrorKind::Usage.exit_status(), 2);
        assert_eq!(ErrorKind::Denied.exit_status(), 3);
    }
}
