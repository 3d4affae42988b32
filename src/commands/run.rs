//! `run`: one process, and no services except the two object stores.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::asking::{Asking, asks};
use super::comparing::{Audience, explain, matched, said, terms, unmatched, with_args};
use super::forecast::Estimating;
use super::jobsender::{impossible, listed, text as comparison_text};
use super::key_list::KeyList;
use super::origins::keys;
use super::report::{ReportResult, Reporting};
use super::{Exit, print, serving, stop_on_signal};
use crate::cli::{PairArgs, RunArgs};
use crate::compare::{Comparison, Terms};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::failed::{Failure, ReasonCount};
use crate::filter::patterns::Patterns;
use crate::format::escape::shown;
use crate::format::human;
use crate::params::{Pair, ParameterStore, load_pairs, same_place};
use crate::record::sqlite::SqliteRecords;
use crate::report::ReportScope;
use crate::report::place::Place;
use crate::shutdown::Halt;
use crate::single_node::{Consent, Run, RunReport};
use crate::sqlite::Database;
use crate::wiring::known_stores::MetadataLoss;
use crate::wiring::{self, Sides};

pub(super) async fn execute(config: &Config, args: &RunArgs) -> Result<Exit> {
    let mut config = with_args(config, &args.compare)?;
    args.limits.apply(&mut config.limits);
    let config = &config;
    let parameters = wiring::parameters();
    let (pairs, ignore) = places(config, "run", &args.pair, &parameters).await?;
    let sides = Sides::open(config, &parameters, true).await?;
    let halt = Halt::new();
    let signals = stop_on_signal(&halt)?;
    serving::refuse_dry_run(args.dry_run, &args.serve)?;
    let listening = serving::open(config, &args.serve).await?;
    let throttles = [&sides.source, &sides.destination].map(|side| Arc::clone(side.throttle()));
    let keys = keys(config, &args.origins, &pairs, &sides, &halt.stop).await?;
    let mut terms = terms(config, &sides, &ignore, &args.compare, &pairs, keys)?;
    // Before any file is created, so that a mistyped name leaves nothing behind.
    terms.probe(&pairs, &halt.stop).await?;
    if args.dry_run || args.compare.explain.is_some() {
        if config.mode.jobsender_compare_version_id {
            let database = Database::open(&config.backend.path).await?;
            terms = Terms { versions: Some(Arc::new(SqliteRecords::new(&database))), ..terms };
        }
        let comparison = Comparison::dry_run(terms, halt.stop.clone());
        return match &args.compare.explain {
            Some(key) => explain(&comparison, &pairs, key).await,
            None => dry_run(config, &comparison, &pairs, args, &halt).await,
        };
    }
    let to = args.report.as_deref().or(config.report.to.as_deref());
    let reporting = match to {
        Some(to) => Some(report_to(config, to, &pairs, &halt.stop).await?),
        None => None,
    };
    let audience = Audience::new(&args.compare, false)?;
    let (finds, cancel) = (audience.finds.clone(), halt.stop.clone());
    let asking = asks(args).then(|| Asking::new(config, args)).transpose()?;
    let run = Run::open(config, sides, terms, pairs, finds, halt).await?;
    let serving = match listening {
        Some(listening) => Some(serving::of_run(config, listening, &run, throttles).await?),
        None => None,
    };
    let consent = asking.as_ref().map(|asking| asking as &dyn Consent);
    let mut keys = args.failed_list.as_deref().map(KeyList::create).transpose()?;
    let mut list = |failure: &Failure| match (&mut keys, &failure.objects) {
        (Some(keys), Some((src, _))) => keys.add(src),
        _ => Ok(()),
    };
    let ran = run.execute(consent, &mut list).await;
    if let Some(serving) = serving {
        serving.end().await;
    }
    let mut report = ran?;
    keys.map_or(Ok(()), KeyList::finish)?;
    // Without a closing comparison the run is not at its end.
    let reported = match reporting.filter(|_| report.closing.is_some()) {
        Some((place, scope)) => Some(write_report(config, place, scope, &report, &cancel).await),
        None => None,
    };
    signals.abort();
    audience.finish()?;
    if let Some(Ok(written)) = &reported {
        report.report = serde_json::to_value(written).ok();
    }
    print(args.json, &report, || match &reported {
        Some(Ok(written)) => format!("{}\n{}", text(&report), written.text()),
        _ => text(&report),
    })?;
    reported.transpose()?;
    Ok(match report.is_complete() {
        true => matched(&report.unmatched, &args.compare),
        false if report.ended_by.is_some() => Exit::Unreached,
        false => Exit::Incomplete,
    })
}

/// Where the report of a run goes, and what is in it. Fails before anything is copied if it cannot
/// be written there.
async fn report_to(
    config: &Config,
    to: &str,
    pairs: &[Pair],
    cancel: &CancellationToken,
) -> Result<(Place, ReportScope)> {
    let place = super::report::place(config, to, true).await?;
    place.probe(cancel).await?;
    Ok((place, ReportScope { pairs: pairs.to_vec(), ..ReportScope::default() }))
}

async fn write_report(
    config: &Config,
    place: Place,
    scope: ReportScope,
    report: &RunReport,
    cancel: &CancellationToken,
) -> Result<ReportResult> {
    let state = Arc::new(SqliteRecords::new(&Database::open(&config.backend.path).await?));
    let format = config.report.format;
    let reporting =
        Reporting { config, state, scope, format, place, signer: None, standalone: true };
    let closing = (verdict(report), report.is_complete());
    reporting.write(Some(closing), cancel).await
}

/// The pairs and the ignore list: of two addresses on the command line, or of the bucket list.
pub(super) async fn places(
    config: &Config,
    command: &str,
    args: &PairArgs,
    parameters: &Arc<dyn ParameterStore>,
) -> Result<(Vec<Pair>, Patterns)> {
    if let Some((source, destination)) = args.both() {
        // Names on the command line need no parameter service.
        let pair = pair(config, source, destination, args.strip_prefix)?;
        return Ok((vec![pair], wiring::ignore_list(config, None).await?));
    }
    let pairs = load_pairs(config, Some(&**parameters)).await?;
    if pairs.is_empty() {
        return Err(Error::usage(format!(
            "the bucket list is empty: name both sides, {command} s3://FROM s3://TO"
        )));
    }
    Ok((pairs, wiring::ignore_list(config, Some(&**parameters)).await?))
}

async fn dry_run(
    config: &Config,
    comparison: &Comparison,
    pairs: &[Pair],
    args: &RunArgs,
    halt: &Halt,
) -> Result<Exit> {
    let estimating = Estimating::new(config, &args.estimate, true)?;
    let audience = Audience::new(&args.compare, !args.json)?;
    let results = listed(comparison, pairs, &audience.finds, Some(&estimating)).await?;
    audience.finish()?;
    let unmatched = unmatched(comparison, pairs, &results, args.json, &halt.stop).await;
    print(args.json, &results, || comparison_text(&results, Some(&estimating), &unmatched))?;
    let is_whole = results.iter().all(|result| result.summary.is_whole());
    Ok(if is_whole { matched(&unmatched, &args.compare) } else { Exit::Incomplete })
}

/// Makes a pair of two addresses, under the same rules as a line of the bucket list.
pub(super) fn pair(config: &Config, source: &str, destination: &str, strip: bool) -> Result<Pair> {
    let (src_bucket, src_prefix) = address(source)?;
    let (des_bucket, des_prefix) = address(destination)?;
    let pair = Pair { src_bucket, src_prefix, des_bucket, des_prefix, strip };
    // By default, `run` uses the same credentials on both sides.
    let (one, other) = (&config.source.endpoint, &config.destination.endpoint);
    match pair.problems(one == other || same_place(config)).first() {
        Some(problem) => Err(Error::usage(format!("{source} {destination}: {problem}"))),
        None => Ok(pair),
    }
}

/// Splits `s3://BUCKET/PREFIX` into bucket and prefix; the prefix may be empty.
pub(super) fn address(text: &str) -> Result<(String, String)> {
    let rest = text.strip_prefix("s3://").unwrap_or_default();
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(Error::usage(format!(
            "{text} is not an address: write s3://BUCKET or s3://BUCKET/PREFIX"
        )));
    }
    Ok((bucket.to_owned(), prefix.to_owned()))
}

fn text(report: &RunReport) -> String {
    let mut text = String::new();
    let took = Duration::try_from_secs_f64(report.seconds).unwrap_or_default();
    let mut line = |what: &str, objects: u64, bytes: u64| {
        let (objects, bytes) = (human::column(objects), human::bytes(bytes));
        let _ = writeln!(text, "  {what:<14} {objects}  {bytes:>12}");
    };
    let compared = &report.compared;
    line("listed", compared.listed, compared.listed_bytes);
    line("already there", compared.already_there, compared.already_there_bytes);
    line("ignored", compared.ignored, compared.ignored_bytes);
    line("copied", report.copied, report.copied_bytes);
    if report.deleted > 0 {
        line("deleted", report.deleted, 0);
    }
    if compared.archived > 0 {
        line("archived", compared.archived, compared.archived_bytes);
    }
    if compared.key_too_long > 0 {
        let impossible = human::column(compared.key_too_long);
        let _ = writeln!(
            text,
            "  {:<14} {}: the key would be too long at the destination",
            "impossible",
            impossible.trim_end()
        );
    }
    impossible(&mut text, compared);
    if let Some(why) = &compared.deletions_refused {
        let _ = writeln!(text, "  nothing was deleted: {why}");
    }
    for (objects, what) in report.proofs.in_words() {
        let _ = writeln!(text, "  {:<14} {} {what}", "proven", human::column(objects));
    }
    let _ = writeln!(text, "  {:<14} {}", "failed", human::column(report.failed_count).trim_end());
    failures(&mut text, report);
    for MetadataLoss { side, bucket, what, objects } in &report.losses {
        let (objects, bucket) = (human::column(*objects), bucket.escape_debug());
        let objects = objects.trim_end();
        let _ = writeln!(
            text,
            "  {:<14} {objects}: {what} is not kept by the {side}, bucket {bucket}",
            "metadata lost"
        );
    }
    for line in said(&report.unmatched) {
        let _ = writeln!(text, "  {line}");
    }
    let rate = human::rate(report.uploaded_bytes, took);
    let _ = writeln!(text, "  in {}, {rate} to the destination", human::duration(took));
    text.push_str(&verdict(report));
    text
}

/// The failures by reason with what cures each, then the first of the objects.
fn failures(text: &mut String, report: &RunReport) {
    let name = |object: &Option<String>| match object {
        Some(object) => shown(object).to_string(),
        None => "a message that is not a job".to_owned(),
    };
    for ReasonCount { reason, objects, cure, example, .. } in &report.failed_reasons {
        let (number, s) = (human::count(*objects), if *objects == 1 { "" } else { "s" });
        let (object, error) = (name(&example.object), shown(&example.error));
        let _ = writeln!(
            text,
            "    {reason}: {number} object{s}\n      cure     {cure}\n      example  {object}: {error}"
        );
    }
    if report.failed_count > report.failed_reasons.len() as u64 {
        for failure in &report.failed {
            let _ = writeln!(text, "    {}", name(&failure.object));
        }
    }
    if report.failed_left_out > 0 {
        let more = human::count(report.failed_left_out);
        let _ = writeln!(
            text,
            "    and {more} more: s3-migration failed shows each, run --failed-list FILE writes all keys"
        );
    }
}

fn verdict(report: &RunReport) -> String {
    if let Some(why) = &report.ended_by {
        return format!(
            "ended early: {why}\nobjects that were not tried are not recorded as failed: fix the \
             cause, then run the same command again"
        );
    }
    match &report.closing {
        _ if report.declined => "nothing was copied".to_owned(),
        _ if report.interrupted => {
            "stopped before the end: run the same command again to continue".to_owned()
        }
        None => "there was no closing comparison".to_owned(),
        Some(closing) if closing.to_copy == 0 && closing.is_whole() => {
            let there = human::count(closing.already_there);
            let mut text = match closing.caveat() {
                None if closing.listed == 0 => {
                    "closing comparison: the source lists no object".to_owned()
                }
                None if closing.already_there == 0 => format!(
                    "closing comparison: of {} none is in scope, all are ignored",
                    human::objects(closing.listed)
                ),
                None if closing.already_there == 1 => {
                    "closing comparison: the object is at the destination".to_owned()
                }
                None => format!("closing comparison: all {there} objects are at the destination"),
                Some(caveat) => format!(
                    "closing comparison: the {there} objects that were listed are at the \
                     destination\n  {caveat}"
                ),
            };
            unlisted(&mut text, closing.unlisted);
            text
        }
        Some(closing) => {
            let mut text = "closing comparison:".to_owned();
            for (objects, what) in [
                (closing.to_copy, missing_or_different(report, closing.to_copy)),
                (closing.archived, "archived; restore them at the source, then run this again"),
                (closing.key_too_long + closing.impossible, "impossible, each is named in the log"),
            ] {
                if objects > 0 {
                    let (objects, of) = (human::count(objects), human::objects(closing.listed));
                    let _ = write!(text, "\n  {objects} of {of} {what}");
                }
            }
            unlisted(&mut text, closing.unlisted);
            for object in &report.differing {
                let _ = write!(text, "\n    {}", shown(object));
            }
            if report.differing_left_out > 0 {
                let more = human::count(report.differing_left_out);
                let _ = write!(text, "\n    and {more} more");
            }
            if closing.etag_differs > 0 {
                text.push_str(
                    "\n  to copy objects again whose ETag changed, use --compare etag if both \
                     sides' ETags are of the same kind, or --overwrite",
                );
            }
            if let Some(caveat) = closing.caveat() {
                let _ = write!(text, "\n  {caveat}");
            }
            for missing in &closing.missing {
                let _ = write!(text, "\n    not compared: {missing}");
            }
            text
        }
    }
}

/// What to do about missing objects. Another run does not fix what made them fail.
fn missing_or_different(report: &RunReport, objects: u64) -> &'static str {
    match report.failed_count {
        0 if report.copied > 0 && report.copied >= report.compared.to_copy => {
            "missing or different, although every difference was copied: they appeared or changed \
             meanwhile, or the destination does not list what it received; another run shows \
             which"
        }
        0 => "missing or different; run the same command again to copy them",
        failed if failed >= objects => {
            "missing or different: they failed for the reasons above; fix those first, another \
             run alone changes nothing"
        }
        _ => {
            "missing or different: some failed for the reasons above, which another run does not \
             fix; the others appeared or changed meanwhile, run the same command again to copy \
             those"
        }
    }
}

/// Objects that the destination has but does not list; listing again does not help.
fn unlisted(text: &mut String, objects: u64) {
    if objects > 0 {
        let objects = human::count(objects);
        let _ = write!(
            text,
            "\n  the destination does not list {objects} of these, but has them when asked for each"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_run_is_advised_only_where_it_helps() {
        use crate::compare::Summary;
        let text = |failed_count, to_copy| {
            let closing = Summary { listed: 9, to_copy, ..Summary::default() };
            verdict(&RunReport { failed_count, closing: Some(closing), ..RunReport::default() })
        };
        assert!(
            text(0, 2).contains("2 of 9 objects missing or different; run the same command again")
        );
        assert!(!text(2, 2).contains("run the same command"), "{}", text(2, 2));
        assert!(text(2, 2).contains("another run alone changes nothing"), "{}", text(2, 2));
        assert!(text(1, 2).contains("the others appeared or changed meanwhile, run the same"));
        let copied = RunReport {
            compared: Summary { to_copy: 2, ..Summary::default() },
            copied: 2,
            closing: Some(Summary { listed: 9, to_copy: 1, ..Summary::default() }),
            ..RunReport::default()
        };
        assert!(verdict(&copied).contains("another run shows which"), "{}", verdict(&copied));
        let interrupted = RunReport { interrupted: true, ..RunReport::default() };
        assert!(verdict(&interrupted).contains("run the same command again to continue"));
    }

    #[test]
    fn addresses_keep_their_prefix_as_it_is() {
        for (text, bucket, prefix) in [
            ("s3://b", "b", ""),
            ("s3://b/", "b", ""),
            ("s3://b/p", "b", "p"),
            ("s3://b//p/", "b", "/p/"),
        ] {
            assert_eq!(address(text).unwrap(), (bucket.to_owned(), prefix.to_owned()));
        }
        for wrong in ["", "b", "s3://", "s3:///p", "https://b/p"] {
            assert!(address(wrong).unwrap_err().to_string().contains("s3://BUCKET"), "{wrong}");
        }
    }
}
