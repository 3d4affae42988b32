//! What `jobsender` and `run` share: comparing, and reporting the result.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::forecast::{Estimating, PairForecast};
use super::{Exit, print};
use crate::cli::{CompareArgs, FilterArgs};
use crate::compare::difference::Criteria;
use crate::compare::{
    Comparison, Deletions, Finds, Keys, Matched, Summary, Terms, Unmatched, Verdict,
};
use crate::config::{Compare, Config};
use crate::error::{Error, Result};
use crate::files::cannot_write;
use crate::filter::patterns::Patterns;
use crate::job::{Job, PlainJob};
use crate::logging;
use crate::mutex::lock;
use crate::object::ObjectId;
use crate::params::Pair;
use crate::store::Listed;
use crate::wiring::{self, Sides, comparisons};

/// What one comparison found for one pair.
#[derive(Debug, Serialize)]
pub(super) struct PairResult {
    pub(super) source: String,
    pub(super) destination: String,
    #[serde(flatten)]
    pub(super) summary: Summary,
    /// What copying will cost; only of a dry run.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) outlook: Option<PairForecast>,
}

impl PairResult {
    pub(super) fn new(pair: &Pair, summary: Summary, outlook: Option<PairForecast>) -> Self {
        Self {
            source: format!("s3://{}/{}", pair.src_bucket, pair.src_prefix),
            destination: format!("s3://{}/{}", pair.des_bucket, pair.des_prefix),
            summary,
            outlook,
        }
    }
}

/// The configuration, overridden by the command line.
pub(super) fn with_args(config: &Config, args: &CompareArgs) -> Result<Config> {
    let mut config = config.clone();
    // An `--overwrite` run copies everything: its closing comparison falls back to sizes.
    let given = if args.overwrite { Some(Compare::Size) } else { args.compare };
    config.mode.compare = given.unwrap_or(config.mode.compare);
    filtered(config, &args.filter)
}

/// The configuration, with the filter of the command line.
pub(super) fn filtered(mut config: Config, args: &FilterArgs) -> Result<Config> {
    for (option, patterns) in [("--include", &args.include), ("--exclude", &args.exclude)] {
        // In a list such a line is a comment: an include would then include everything.
        if let Some(none) = patterns.iter().find(|p| p.trim().is_empty() || p.starts_with('#')) {
            return Err(Error::usage(format!("{option} {none:?} is not a pattern")));
        }
    }
    let filter = &mut config.filter;
    if !args.include.is_empty() {
        filter.include =
            Patterns::parse(&args.include.join("\n")).map_err(|e| e.context("--include"))?;
    }
    filter.min_size = args.min_size.or(filter.min_size);
    filter.max_size = args.max_size.or(filter.max_size);
    filter.modified_after = args.modified_after.or(filter.modified_after);
    filter.modified_before = args.modified_before.or(filter.modified_before);
    match config.filter.contradictions().first() {
        Some((key, wrong)) => Err(Error::usage(format!("[Filter] {key} {wrong}"))),
        None => Ok(config),
    }
}

/// The ignore list, with the patterns of `--exclude` as its last lines.
pub(super) fn excluding(ignore: &Patterns, args: &FilterArgs) -> Result<Patterns> {
    let lines = ignore.rules().iter().chain(&args.exclude);
    let lines = lines.map(String::as_str).collect::<Vec<_>>().join("\n");
    Patterns::parse(&lines).map_err(|e| e.context("--exclude"))
}

/// What is compared according to the configuration and the command line; versions are not.
pub(super) fn terms(
    config: &Config,
    sides: &Sides,
    ignore: &Patterns,
    args: &CompareArgs,
    pairs: &[Pair],
    keys: Keys,
) -> Result<Terms> {
    let excludes_from = ignore.len();
    let ignore = excluding(ignore, &args.filter)?;
    let matched = Matched::new(&ignore, excludes_from, &config.filter.include, pairs);
    let deletions = args.delete.then(|| Deletions::new(args.max_delete as usize, pairs));
    let criteria = Criteria { overwrite: args.overwrite, ..comparisons::criteria(config) };
    let (source, destination) = (Arc::clone(&sides.source), Arc::clone(&sides.destination));
    Ok(Terms {
        criteria,
        ignore: Arc::new(ignore),
        filter: Arc::new(config.filter.clone()),
        matched: Arc::new(matched),
        keys,
        deletions: deletions.transpose()?.map(Arc::new),
        at_once: wiring::list_concurrency(config),
        ..Terms::of_sizes(source, destination, config.mode.max_retry)
    })
}

/// Compares every pair; with `estimating`, also counts what copying would cost.
pub(super) async fn compare_all(
    comparison: &Comparison,
    pairs: &[Pair],
    finds: &[Arc<dyn Finds>],
    estimating: Option<&Estimating>,
) -> Result<Vec<PairResult>> {
    let mut results = Vec::with_capacity(pairs.len());
    for pair in pairs {
        match compare_one(comparison, pair, finds, estimating).await {
            Ok(result) => results.push(result),
            Err(error) => {
                // What has been sent for the pairs before stays sent.
                for PairResult { source, destination, summary, .. } in &results {
                    let (listed, sent) = (summary.listed, summary.sent);
                    warn!(listed, sent, "compared before the error: {source} -> {destination}");
                }
                return Err(error);
            }
        }
    }
    let summaries = results.iter_mut().map(|result| &mut result.summary).collect();
    comparison.send_deletions(summaries).await;
    Ok(results)
}

async fn compare_one(
    comparison: &Comparison,
    pair: &Pair,
    finds: &[Arc<dyn Finds>],
    estimating: Option<&Estimating>,
) -> Result<PairResult> {
    let (summary, outlook) = match estimating {
        None => (comparison.compare(pair, finds).await?, None),
        Some(estimating) => {
            let forecast = comparison.forecast(pair, finds, estimating.outlook()).await;
            let (summary, outlook) = forecast?;
            let forecast = estimating.finish(outlook, &summary);
            (summary, Some(forecast))
        }
    };
    Ok(PairResult::new(pair, summary, outlook))
}

/// How many patterns and sources that match nothing are named.
const NAMED: usize = 20;

/// What matches nothing, a line each.
pub(super) fn said(unmatched: &[Unmatched]) -> Vec<String> {
    let mut lines: Vec<String> = unmatched.iter().take(NAMED).map(ToString::to_string).collect();
    if unmatched.len() > NAMED {
        lines.push(format!("and {} more match nothing", unmatched.len() - NAMED));
    }
    lines
}

/// What matches nothing, after these results. If they are printed as JSON, the log names it.
pub(super) async fn unmatched(
    comparison: &Comparison,
    pairs: &[Pair],
    results: &[PairResult],
    json: bool,
    cancel: &CancellationToken,
) -> Vec<Unmatched> {
    let summaries: Vec<&Summary> = results.iter().map(|result| &result.summary).collect();
    let unmatched = comparison.terms().unmatched(pairs, &summaries, cancel).await;
    if json {
        said(&unmatched).iter().for_each(|line| warn!("{line}"));
    }
    unmatched
}

/// The exit status of a comparison that is otherwise done: what was named and matches nothing is
/// no success, unless that is allowed.
pub(super) fn matched(unmatched: &[Unmatched], args: &CompareArgs) -> Exit {
    match !args.allow_empty && unmatched.iter().any(Unmatched::is_failure) {
        true => Exit::NothingMatched,
        false => Exit::Done,
    }
}

/// Explains what happens to one key of each pair.
pub(super) async fn explain(comparison: &Comparison, pairs: &[Pair], key: &str) -> Result<Exit> {
    for pair in pairs {
        let explained = comparison.explain(pair, key).await?;
        print(false, &(), || explained)?;
    }
    Ok(Exit::Done)
}

/// Prints each object to which something happens, or would have to.
struct PrintedFinds {
    /// Also those that are skipped because they are there already or ignored.
    all: bool,
}

impl Finds for PrintedFinds {
    fn found(&self, job: &Job, listed: Listed<'_>, verdict: &Verdict<'_>) {
        if !self.all && matches!(verdict, Verdict::AlreadyThere | Verdict::Ignored(_)) {
            return;
        }
        logging::say(format_args!("{}\t{}\t{verdict}", job.src, listed.size));
    }

    fn doomed(&self, des: &ObjectId, listed: Listed<'_>) {
        let size = listed.size;
        logging::say(format_args!("{des}\t{size}\tdelete, the source does not have it"));
    }
}

/// One line of the job list: a job as it is sent, with its verdict and reason.
#[derive(Serialize)]
struct JobLine<'a> {
    #[serde(flatten)]
    job: PlainJob<'a>,
    verdict: &'static str,
    reason: String,
}

/// Writes a list of the objects that are not already at the destination.
struct JobList {
    path: PathBuf,
    file: Mutex<(BufWriter<File>, std::io::Result<()>)>,
}

impl JobList {
    /// Creates the file, or replaces an old one.
    fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|e| cannot_write(path, e))?;
        Ok(Self { path: path.to_owned(), file: Mutex::new((BufWriter::new(file), Ok(()))) })
    }

    /// Fails if not all of it has been written.
    fn finish(&self) -> Result<()> {
        let mut file = lock(&self.file);
        let written = std::mem::replace(&mut file.1, Ok(()));
        written.and_then(|()| file.0.flush()).map_err(|e| cannot_write(&self.path, e))
    }
}

/// Receives every object: the printed names, and the job list.
pub(super) struct Audience {
    pub(super) finds: Vec<Arc<dyn Finds>>,
    list: Option<Arc<JobList>>,
}

impl Audience {
    /// `named`: print each object.
    pub(super) fn new(args: &CompareArgs, named: bool) -> Result<Self> {
        let list = args.job_list.as_deref().map(|path| JobList::create(path).map(Arc::new));
        let list = list.transpose()?;
        let mut finds: Vec<Arc<dyn Finds>> = Vec::new();
        finds.extend(named.then(|| Arc::new(PrintedFinds { all: args.all }) as Arc<dyn Finds>));
        finds.extend(list.clone().map(|list| list as Arc<dyn Finds>));
        Ok(Self { finds, list })
    }

    /// Fails if the job list is not complete.
    pub(super) fn finish(&self) -> Result<()> {
        self.list.as_ref().map_or(Ok(()), |list| list.finish())
    }
}

impl JobList {
    fn write(&self, line: &impl Serialize) {
        let mut file = lock(&self.file);
        let (writer, written) = &mut *file;
        if written.is_ok() {
            *written = serde_json::to_writer(&mut *writer, line)
                .map_err(std::io::Error::from)
                .and_then(|()| writer.write_all(b"\n"));
        }
    }
}

impl Finds for JobList {
    fn doomed(&self, des: &ObjectId, listed: Listed<'_>) {
        // Not in the form of a job: a reader that takes lines for jobs must not copy what is to be
        // deleted.
        self.write(&serde_json::json!({
            "bucket": des.bucket, "key": des.key.as_str(), "size": listed.size,
            "verdict": "delete", "reason": "the source does not have it",
        }));
    }

    fn found(&self, job: &Job, listed: Listed<'_>, verdict: &Verdict<'_>) {
        if *verdict == Verdict::AlreadyThere {
            return;
        }
        let mut job = job.plain();
        job.size = listed.size;
        self.write(&JobLine { job, verdict: verdict.as_str(), reason: verdict.to_string() });
    }
}
