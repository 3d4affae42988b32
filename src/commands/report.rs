//! `report`: what became of every object, and whether a report was altered since.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::forecast::Estimating;
use super::run::{address, pair};
use super::{Exit, print, stop_on_signal};
use crate::cli::{EstimateArgs, ReportArgs};
use crate::config::{Config, ReportFormat, StateBackend};
use crate::error::{Error, Result};
use crate::format::escape::shown;
use crate::format::human;
use crate::params::ParameterStore;
use crate::record::sqlite::SqliteRecords;
use crate::record::{NoteKey, RecordStore};
use crate::report::audit::{Audited, audit, sign};
use crate::report::certificate;
use crate::report::line::{LineFormat, LineOutcome};
use crate::report::page::{self, PageFacts};
use crate::report::place::Place;
use crate::report::signature::{self, Signer, Verifier};
use crate::report::{ReportScope, ReportWriter};
use crate::retry::Retrying;
use crate::shutdown::Halt;
use crate::sqlite::Database;
use crate::store::Side;
use crate::wiring::{self, comparisons};

pub(super) async fn execute(config: &Config, args: &ReportArgs) -> Result<Exit> {
    let halt = Halt::new();
    let signals = stop_on_signal(&halt)?;
    let ended = match (&args.check, &args.output) {
        (Some(check), _) => check_all(config, args, check, &halt.stop).await,
        (None, Some(output)) => write(config, args, output, &halt.stop).await,
        (None, None) => Err(Error::usage("name where the report goes: --output FOLDER")),
    };
    signals.abort();
    ended
}

async fn write(
    config: &Config,
    args: &ReportArgs,
    output: &str,
    cancel: &CancellationToken,
) -> Result<Exit> {
    let embedded = is_embedded(config);
    let state = records(config, embedded).await?;
    let both = args.pair.both();
    let pairs = both
        .map(|(source, destination)| pair(config, source, destination, args.pair.strip_prefix))
        .transpose()?;
    let all = match embedded {
        true => format!("all records in {}", config.backend.path.display()),
        false => format!("all records of the table {}", config.basic.table_queue_name),
    };
    let scope = ReportScope { pairs: pairs.into_iter().collect(), since: args.since, all };
    let signer = signer(args)?;
    let place = place(config, output, embedded).await?;
    place.probe(cancel).await?;
    let closing = match embedded {
        true => None,
        false => last_comparison(&*state, comparisons::note(config), cancel).await,
    };
    let format = args.format.unwrap_or(config.report.format);
    let reporting = Reporting { config, state, scope, format, place, signer, standalone: embedded };
    let result = reporting.write(closing, cancel).await?;
    print(args.json, &result, || result.text())?;
    Ok(Exit::Done)
}

/// Whether the records are in the embedded file. Without any configuration, that is where `run`
/// has left them.
fn is_embedded(config: &Config) -> bool {
    let unsaid = config.file.is_none() && config.backend.path.exists();
    config.backend.state == StateBackend::Embedded || unsaid
}

async fn records(config: &Config, embedded: bool) -> Result<Arc<dyn RecordStore>> {
    if !embedded {
        return wiring::state(config).await;
    }
    let file = &config.backend.path;
    if !file.exists() {
        let file = file.display();
        return Err(Error::usage(format!("there is no {file}: nothing has been recorded there")));
    }
    Ok(Arc::new(SqliteRecords::new(&Database::open(file).await?)))
}

/// The place that `text` names: `s3://BUCKET/PREFIX` on the destination side, or a folder.
pub(super) async fn place(config: &Config, text: &str, standalone: bool) -> Result<Place> {
    if !text.starts_with("s3://") {
        return Ok(Place::Folder(text.into()));
    }
    let (bucket, prefix) = address(text)?;
    let prefix = prefix.trim_end_matches('/');
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    let parameters: Arc<dyn ParameterStore> = wiring::parameters();
    let store = wiring::store(config, &parameters, Side::Destination, standalone).await?;
    let max_retry = config.mode.max_retry;
    Ok(Place::Bucket { store: Arc::new(store), bucket, prefix, max_retry })
}

/// What the last comparison of the jobsender found. A report is written without it as well.
async fn last_comparison(
    state: &dyn RecordStore,
    note: NoteKey,
    cancel: &CancellationToken,
) -> Option<(String, bool)> {
    let note = [note];
    let kept = Retrying::probing(state, cancel).notes(&note).await.ok()?;
    let kept: Value = serde_json::from_slice(&kept.into_iter().flatten().next()?).ok()?;
    let sum = |name: &str| {
        let pairs = kept["pairs"].as_array()?;
        pairs.iter().map(|pair| pair[name].as_u64()).sum::<Option<u64>>()
    };
    let (listed, there, to_copy) = (sum("listed")?, sum("already_there")?, sum("to_copy")?);
    let ended = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(kept["ended"].as_u64()?);
    let words = format!(
        "the last comparison, at {}, listed {} objects: {} were at the destination, {} were to be \
         copied",
        humantime::format_rfc3339_seconds(ended),
        human::count(listed),
        human::count(there),
        human::count(to_copy)
    );
    Some((words, to_copy == 0))
}

/// A report to be written.
pub(super) struct Reporting<'a> {
    pub(super) config: &'a Config,
    pub(super) state: Arc<dyn RecordStore>,
    pub(super) scope: ReportScope,
    pub(super) format: ReportFormat,
    pub(super) place: Place,
    /// Signs the certificate.
    pub(super) signer: Option<Signer>,
    /// The queue and the records cost nothing.
    pub(super) standalone: bool,
}

impl Reporting<'_> {
    /// Writes it. `closing`: what the closing comparison found, and whether all was there.
    pub(super) async fn write(
        self,
        closing: Option<(String, bool)>,
        cancel: &CancellationToken,
    ) -> Result<ReportResult> {
        let args = EstimateArgs { prices: None, bandwidth: None, workers: None };
        let estimating = Estimating::new(self.config, &args, self.standalone)?;
        let writer = ReportWriter {
            state: self.state,
            scope: self.scope,
            format: match self.format {
                ReportFormat::Json => LineFormat::Json,
                ReportFormat::Csv => LineFormat::Csv,
            },
            place: self.place,
            max_retry: self.config.mode.max_retry,
            cancel: cancel.clone(),
        };
        let gathered = writer.gather(estimating.empty()).await?;
        let cost = Some(estimating.of_copies(&gathered.totals.work));
        let totals = gathered.totals.clone();
        let of = |outcome| totals.of(outcome).objects;
        let facts = PageFacts { closing, cost, ..PageFacts::default() };
        let mut result = ReportResult {
            copied: of(LineOutcome::Copied),
            copied_bytes: totals.of(LineOutcome::Copied).bytes,
            deleted: of(LineOutcome::Deleted),
            failed: of(LineOutcome::Failed),
            unfinished: of(LineOutcome::Unfinished),
            ..ReportResult::default()
        };
        let reported = writer.finish(gathered, facts).await?;
        let certificate = reported.certificate;
        if let Some(signer) = &self.signer {
            sign(&reported.place, signer, &certificate, cancel).await?;
            result.signature = Some(signature::FILE);
        }
        result.report = reported.place.to_string();
        result.files = certificate.files.len() as u64;
        (result.lines, result.root, result.seal) =
            (certificate.lines, certificate.root, certificate.seal);
        Ok(result)
    }
}

/// The key that `--sign` names.
fn signer(args: &ReportArgs) -> Result<Option<Signer>> {
    let password = std::env::var(signature::PASSWORD).ok();
    args.sign.as_deref().map(|path| Signer::load(path, password)).transpose()
}

/// What was written.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct ReportResult {
    /// Where it is.
    report: String,
    lines: u64,
    files: u64,
    copied: u64,
    copied_bytes: u64,
    deleted: u64,
    failed: u64,
    unfinished: u64,
    root: String,
    seal: String,
    /// The file of the signature, if it was signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<&'static str>,
}

impl ReportResult {
    /// For those who read the log only.
    pub(super) fn log(&self) {
        let Self { report, lines, failed, root, .. } = self;
        info!(lines, failed, root, "report written to {}", shown(report));
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!("report: {}\n", shown(&self.report));
        let mut line = |what: &str, objects: u64, bytes: &str| {
            let _ = writeln!(text, "  {what:<14} {:>12} objects  {bytes}", human::count(objects));
        };
        line("copied", self.copied, &format!("{:>12}", human::bytes(self.copied_bytes)));
        for (what, objects) in
            [("deleted", self.deleted), ("failed", self.failed), ("unfinished", self.unfinished)]
        {
            if objects > 0 {
                line(what, objects, "");
            }
        }
        let Self { root, seal, .. } = self;
        let _ = writeln!(text, "  for people     {}", page::FILE);
        let _ = writeln!(text, "  certificate    {}, seal {seal}", certificate::FILE);
        if let Some(signature) = self.signature {
            let _ = writeln!(text, "  signature      {signature}");
        }
        let _ = write!(text, "  root           {root}");
        text
    }
}

/// Checks what `text` names: a report, one file of it, or all reports in a folder.
async fn check_all(
    config: &Config,
    args: &ReportArgs,
    text: &str,
    cancel: &CancellationToken,
) -> Result<Exit> {
    let key = args.public_key.as_deref().map(Verifier::load).transpose()?;
    let (folder, only) = split(text);
    let place = place(config, folder, is_embedded(config)).await?;
    let key = key.as_ref();
    let mut found: Vec<Audited> = audit(&place, only, key, cancel).await?.into_iter().collect();
    if let (true, None, Place::Folder(folder)) = (found.is_empty(), only, &place) {
        for name in subfolders(folder) {
            found.extend(audit(&place.within(&name), None, key, cancel).await?);
        }
    }
    if found.is_empty() {
        return Err(Error::usage(format!(
            "{} has no {}: it is no report, or one that was never completed",
            shown(folder),
            certificate::FILE
        )));
    }
    print(args.json, &found, || found.iter().map(told).collect::<Vec<_>>().join("\n"))?;
    let intact = found.iter().all(|audited| audited.intact);
    Ok(if intact { Exit::Done } else { Exit::Incomplete })
}

/// The report's folder, and the file in it that is meant, if one is.
fn split(text: &str) -> (&str, Option<&str>) {
    let is_own = |name: &str| {
        let own = [certificate::FILE, signature::FILE, page::FILE];
        own.contains(&name) || LineFormat::of_file(name).is_some()
    };
    let is_file = !text.starts_with("s3://") && Path::new(text).is_file();
    let (folder, name) = text.rsplit_once('/').unwrap_or((".", text));
    match is_own(name) || is_file {
        true if name == certificate::FILE || name == signature::FILE => (folder, None),
        true => (folder, Some(name)),
        false => (text, None),
    }
}

fn subfolders(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> =
        folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn told(audited: &Audited) -> String {
    let place = shown(&audited.place);
    if !audited.intact {
        let altered = audited.altered.iter().map(|what| format!("\n  {}", shown(what)));
        return format!("ALTERED: {place}{}", altered.collect::<String>());
    }
    let (lines, files) = (human::count(audited.lines), human::count(audited.files));
    let mut text = format!("intact: {place}, {lines} objects in {files} files");
    for (what, value) in [
        ("root", &audited.root),
        ("seal", &audited.seal),
        ("written", &audited.created),
        ("signed", &audited.signed),
    ] {
        if let Some(value) = value {
            let _ = write!(text, "\n  {what:<14} {}", shown(value));
        }
    }
    text
}
