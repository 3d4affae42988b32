//! What the page asks for, and the answers in JSON.
//!
//! Pure: names and values.

use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::failed::{AskedFailures, Failure, FailurePage, Wanted};

/// Failures on a page.
const MOST: usize = 25;
/// Longer texts are in no key.
const LONGEST: usize = 1100;

/// The query of `/api/failures`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FailureQuery {
    search: String,
    reason: String,
    after: String,
}

impl FailureQuery {
    pub fn asked(self) -> AskedFailures {
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let text = self.search.trim().chars().take(LONGEST).collect();
        let wanted = Wanted { reason: given(self.reason), ..Wanted::default() };
        AskedFailures { wanted, text, after: given(self.after), most: MOST }
    }
}

/// The answer of `/api/failures`.
#[derive(Debug, Serialize)]
pub(super) struct FailureAnswer {
    failures: Vec<FailureLine>,
    /// How many failures were looked at.
    looked: u64,
    /// The next page begins after this.
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct FailureLine {
    /// Bucket and key at the source; `None`: the message names no object.
    object: Option<String>,
    /// Bucket and key at the destination.
    destination: Option<String>,
    size: u64,
    reason: String,
    error: String,
    tries: u32,
    /// Seconds since 1970.
    ended: Option<u64>,
    redriven: bool,
}

impl From<FailurePage> for FailureAnswer {
    fn from(page: FailurePage) -> Self {
        let failures = page.failures.into_iter().map(FailureLine::from).collect();
        Self { failures, looked: page.looked, next: page.next }
    }
}

impl From<Failure> for FailureLine {
    fn from(failure: Failure) -> Self {
        let both = failure.objects.map(|(src, des)| (src.exact(), des.exact()));
        let (object, destination) = both.unzip();
        let ended = failure.ended.and_then(|ended| ended.duration_since(UNIX_EPOCH).ok());
        Self {
            object,
            destination,
            size: failure.size,
            reason: failure.reason.word(),
            error: failure.error,
            tries: failure.tries,
            ended: ended.map(|ended| ended.as_secs()),
            redriven: failure.redriven,
        }
    }
}
