//! How a run ended.

use serde::Serialize;

use super::state::RunEnd;
use crate::compare::{Summary, Unmatched};
use crate::error::Result;
use crate::failed::{FailedObject, ReasonCount};
use crate::record::Proofs;
use crate::wiring::known_stores::MetadataLoss;

/// How a run ended.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RunReport {
    /// What the comparison at the start found.
    pub compared: Summary,
    /// Objects copied by this run.
    pub copied: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// What proves those copies.
    pub proofs: Proofs,
    /// Objects deleted at the destination by this run.
    pub deleted: u64,
    /// Bytes that the destination accepted, including parts that were sent again.
    pub uploaded_bytes: u64,
    /// Objects that failed, with their last error; at most twenty are named.
    pub failed: Vec<FailedObject>,
    /// Total number of failures.
    pub failed_count: u64,
    /// Failures that are not named.
    pub failed_left_out: u64,
    /// All failures by reason, with what cures them.
    pub failed_reasons: Vec<ReasonCount>,
    /// What the closing comparison found.
    pub closing: Option<Summary>,
    /// A note to the closing comparison's numbers, if those cannot include everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caveat: Option<&'static str>,
    /// Keys that the closing comparison found to differ; at most twenty are named.
    pub differing: Vec<String>,
    /// Keys that differ and are not named.
    pub differing_left_out: u64,
    /// What copies are known to lack of what their sources have, other than bytes; found by
    /// comparing a sample of them.
    pub losses: Vec<MetadataLoss>,
    /// What was named and matches nothing: a source that lists no object, a pattern.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unmatched: Vec<Unmatched>,
    /// Nothing was copied: the user was asked, and said no.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub declined: bool,
    /// A signal stopped the run before it was finished.
    pub interrupted: bool,
    /// Why the work ended before it was finished, if no object was the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
    /// The report that was written, if one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<serde_json::Value>,
    /// Seconds from start to end.
    pub seconds: f64,
}

impl RunReport {
    /// Everything that was listed and not ignored is at the destination.
    pub fn is_complete(&self) -> bool {
        let whole = self.closing.as_ref().is_some_and(|c| c.to_copy == 0 && c.is_whole());
        let whole = whole && self.compared.deletions_refused.is_none();
        !self.interrupted
            && !self.declined
            && self.ended_by.is_none()
            && self.failed_count == 0
            && whole
    }
}

/// How a run ended, for `status`.
pub(super) fn end_of(ended: &Result<RunReport>) -> RunEnd {
    match ended {
        Ok(report) if report.is_complete() => RunEnd::Complete,
        Ok(report) if report.interrupted || report.declined => RunEnd::Stopped,
        Ok(report) if report.ended_by.is_none() => RunEnd::Incomplete,
        Ok(_) | Err(_) => RunEnd::Failed,
    }
}
