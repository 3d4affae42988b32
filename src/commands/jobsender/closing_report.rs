//! The report that the jobsender writes once nothing is left to do.

use std::sync::Arc;

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::cli::JobsenderArgs;
use crate::commands::comparing::PairResult;
use crate::commands::report::{ReportResult, Reporting, place};
use crate::compare::Summary;
use crate::config::Config;
use crate::error::Result;
use crate::format::human;
use crate::params::Pair;
use crate::record::RecordStore;
use crate::report::ReportScope;
use crate::report::place::Place;
use crate::retry::Retrying;
use crate::wiring::comparisons;

/// Where a report goes, and whether the last comparison has written one already.
pub(super) struct ClosingReport {
    place: Place,
    state: Arc<dyn RecordStore>,
    /// The comparison before this one was closing, too, and its report was written.
    is_written: bool,
    /// Somebody asks for it now.
    is_asked_for: bool,
}

impl ClosingReport {
    /// `None` if no report is wanted. Fails before the comparison if it cannot be written.
    pub(super) async fn open(
        config: &Config,
        args: &JobsenderArgs,
        state: Option<&Arc<dyn RecordStore>>,
        cancel: &CancellationToken,
    ) -> Result<Option<Self>> {
        let to = args.report.as_deref().or(config.report.to.as_deref());
        let Some((to, state)) = to.zip(state) else { return Ok(None) };
        let place = place(config, to, false).await?;
        place.probe(cancel).await?;
        let note = [comparisons::note(config)];
        let kept = Retrying::probing(&**state, cancel).notes(&note).await?;
        let kept = kept.into_iter().flatten().next();
        let kept: Option<Value> = kept.and_then(|text| serde_json::from_slice(&text).ok());
        Ok(Some(Self {
            place,
            state: Arc::clone(state),
            is_written: kept.is_some_and(|kept| kept["reported"] == true),
            is_asked_for: args.report.is_some() && args.every.is_none(),
        }))
    }

    /// Writes the report if this comparison is the closing one and its report is not written yet:
    /// a jobsender on a timer would write the same again and again.
    pub(super) async fn write(
        self,
        config: &Config,
        pairs: &[Pair],
        results: &[PairResult],
        cancel: &CancellationToken,
    ) -> Result<Option<ReportResult>> {
        if !is_over(results) {
            info!("no report is written yet: this comparison found objects that are still to come");
            return Ok(None);
        }
        if self.is_written && !self.is_asked_for {
            return Ok(None);
        }
        let scope = ReportScope { pairs: pairs.to_vec(), ..ReportScope::default() };
        let (state, format, place) = (self.state, config.report.format, self.place);
        let reporting =
            Reporting { config, state, scope, format, place, signer: None, standalone: false };
        let written = reporting.write(Some(closing(results)), cancel).await?;
        written.log();
        Ok(Some(written))
    }

    /// Whether a report of this state exists, if this comparison writes none.
    pub(super) fn is_written(&self, results: &[PairResult]) -> bool {
        self.is_written && is_over(results)
    }
}

/// Whether nothing is sent and the queue has no more jobs.
fn is_over(results: &[PairResult]) -> bool {
    let left = |summary: &Summary| summary.to_copy + summary.in_queue + summary.to_delete;
    results.iter().all(|result| left(&result.summary) == 0 && result.summary.missing.is_empty())
}

/// What the comparison found, in words, and whether all is there.
fn closing(results: &[PairResult]) -> (String, bool) {
    let mut all = Summary::default();
    results.iter().for_each(|result| all.add(&result.summary));
    let there = human::count(all.already_there);
    let mut words = match (all.is_whole(), all.caveat()) {
        (true, None) => format!("closing comparison: all {there} objects are at the destination"),
        _ => format!(
            "closing comparison: {there} of {} listed objects are at the destination",
            human::count(all.listed)
        ),
    };
    let impossible = all.key_too_long + all.impossible;
    for (objects, what) in [
        (all.ignored, "are ignored"),
        (all.archived, "are archived and must be restored first"),
        (impossible, "cannot be copied, each is named in the log"),
    ] {
        if objects > 0 {
            words.push_str(&format!("\n{} {what}", human::count(objects)));
        }
    }
    if let Some(caveat) = all.caveat() {
        words.push_str(&format!("\n{caveat}"));
    }
    (words, all.is_whole())
}
