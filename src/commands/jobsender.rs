//! `jobsender`: compares, sends, and reports what was found.

use std::fmt::Write as _;
use std::sync::Arc;

use tracing::{info, warn};

use self::closing_report::ClosingReport;
use super::comparing::{self, Audience, PairResult, compare_all, with_args};
use super::forecast::Estimating;
use super::origins::keys;
use super::{Exit, print, serving, stop_on_signal};
use crate::cli::JobsenderArgs;
use crate::compare::to_activity::ToActivity;
use crate::compare::{Comparison, Finds, Keys, Outlet, Reach, Summary, Terms, Unmatched};
use crate::config::Config;
use crate::error::{ErrorKind, Result};
use crate::format::escape::shown;
use crate::format::human;
use crate::limits::beat::Member;
use crate::monitor::{Counts, Monitor, activity};
use crate::params::{Pair, load_pairs};
use crate::progress::{Phase, Progress, Totals};
use crate::record::RecordStore;
use crate::serve::metrics::ProcessSlot;
use crate::shutdown::Halt;
use crate::systemd::ServiceReport;
use crate::wiring::known_stores::Profiles;
use crate::wiring::{self, Sides, comparisons, fleets};

mod closing_report;

pub(super) async fn execute(config: &Config, args: &JobsenderArgs) -> Result<Exit> {
    let config = &with_args(config, &args.compare)?;
    let halt = Halt::new();
    let signals = stop_on_signal(&halt)?;
    serving::refuse_dry_run(args.dry_run, &args.serve)?;
    let counting = ProcessSlot::default();
    let serving = serving::of_jobsender(config, &args.serve, &counting, &halt).await?;
    let (reach, mut telling) = (Arc::<Reach>::default(), None);
    let ended = loop {
        let round = once(config, args, &halt, &counting, &reach, &mut telling).await;
        reach.end();
        let Some(pause) = args.every else {
            signals.abort();
            break round;
        };
        match round {
            Ok(_) => {}
            Err(_) if halt.is_stopping() => {}
            // The next round would fail the same way.
            Err(error) if error.kind() == ErrorKind::Usage => break Err(error),
            Err(error) => warn!("this comparison failed, the next one may succeed: {error}"),
        }
        if halt.stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            break Ok(Exit::Done);
        }
    };
    if let Some(serving) = serving {
        serving.end().await;
    }
    ended
}

async fn once(
    config: &Config,
    args: &JobsenderArgs,
    halt: &Halt,
    counting: &ProcessSlot,
    reach: &Arc<Reach>,
    telling: &mut Option<ServiceReport>,
) -> Result<Exit> {
    let parameters = wiring::parameters();
    let pairs = load_pairs(config, Some(&*parameters)).await?;
    if pairs.is_empty() {
        telling.get_or_insert_with(|| ServiceReport::jobsender(reach, halt));
        return nothing_listed(config, args);
    }
    let ignore = wiring::ignore_list(config, Some(&*parameters)).await?;
    let sends = !args.dry_run && args.compare.explain.is_none();
    let queue = match sends {
        true => Some(wiring::queue(config).await?),
        false => None,
    };
    let state = records(config, sends).await?;
    let sides = Sides::open(config, &parameters, false).await?;
    let profiles = match &state {
        Some(state) => Some(Profiles::load(config, &sides, state).await),
        None => None,
    };
    let monitor = Arc::new(Monitor::default());
    monitor.activity().begin(activity::Phase::Comparing);
    let fleet = match &state {
        Some(state) if sends => {
            Some(fleets::join(config, &sides, state, Member::Jobsender, Some(&monitor)).await?)
        }
        _ => None,
    };
    serving::count(counting, Member::Jobsender, &monitor, &sides);
    let keys = keys(config, &args.origins, &pairs, &sides, &halt.stop).await?;
    let names_all = matches!(keys, Keys::All(_));
    let terms = Terms {
        versions: state.clone().filter(|_| config.mode.jobsender_compare_version_id),
        reach: Arc::clone(reach),
        ..comparing::terms(config, &sides, &ignore, &args.compare, &pairs, keys)?
    };
    terms.probe(&pairs, &halt.stop).await?;
    let reporting = match sends {
        true => ClosingReport::open(config, args, state.as_ref(), &halt.stop).await?,
        false => None,
    };
    reach.begin();
    telling.get_or_insert_with(|| ServiceReport::jobsender(reach, halt));
    if let Some(key) = &args.compare.explain {
        let comparison = Comparison::dry_run(terms, halt.stop.clone());
        return comparing::explain(&comparison, &pairs, key).await;
    }
    let mut noted = None;
    let comparison = match queue {
        None => Comparison::dry_run(terms, halt.stop.clone()),
        Some(queue) => {
            noted = comparisons::remember(config, &*queue, state.as_ref(), &halt.stop).await?.sent;
            let (packs, sent) = (wiring::packs(config), noted.clone());
            let outlet = Outlet { queue, packs, sent, resend: args.force };
            Comparison::sending(terms, outlet, halt.stop.clone())
        }
    };
    let estimating = match args.dry_run {
        true => Some(Estimating::new(config, &args.estimate, false)?),
        false => None,
    };
    let mut audience = Audience::new(&args.compare, args.dry_run && !args.json)?;
    audience.finds.push(Arc::new(ToActivity(Arc::clone(monitor.activity()))));
    let results = listed(&comparison, &pairs, &audience.finds, estimating.as_ref()).await?;
    audience.finish()?;
    let is_whole = results.iter().all(|result| result.summary.is_whole());
    if let Some(profiles) = profiles {
        profiles.keep().await;
    }
    let mut reported = reporting.as_ref().is_some_and(|report| report.is_written(&results));
    let report = match reporting {
        Some(report) => report.write(config, &pairs, &results, &halt.stop).await,
        None => Ok(None),
    };
    reported |= matches!(report, Ok(Some(_)));
    if let Some(fleet) = fleet {
        fleet.leave().await;
    }
    if let Some(state) = state.filter(|_| sends) {
        comparisons::keep_counts(config, &halt.stop, &*state, &results, reported).await;
        // Nothing is known about objects in a missing range, or outside a file of names.
        let has_seen_all = |result: &PairResult| {
            result.summary.missing.is_empty() && result.summary.doubtful_ends == 0
        };
        if let (true, Some(sent)) = (names_all && results.iter().all(has_seen_all), noted)
            && let Err(error) = sent.renew().await
        {
            warn!("old notes of what was sent could not be removed: {error}");
        }
    }
    let unmatched =
        comparing::unmatched(&comparison, &pairs, &results, args.json, &halt.stop).await;
    print(args.json, &results, || text(&results, estimating.as_ref(), &unmatched))?;
    if let (Some(report), false) = (report?, args.json) {
        print(false, &(), || report.text())?;
    }
    Ok(if is_whole { comparing::matched(&unmatched, &args.compare) } else { Exit::Incomplete })
}

/// Compares all pairs and shows how far the listing is.
pub(super) async fn listed(
    comparison: &Comparison,
    pairs: &[Pair],
    finds: &[Arc<dyn Finds>],
    estimating: Option<&Estimating>,
) -> Result<Vec<PairResult>> {
    let totals = Arc::new(Totals::of_phase(Phase::Listing));
    let progress = Progress::start(Arc::clone(&totals), Counts::default);
    let finds: Vec<Arc<dyn Finds>> = finds.iter().cloned().chain([totals as _]).collect();
    let results = compare_all(comparison, pairs, &finds, estimating).await?;
    progress.finish();
    Ok(results)
}

/// With an empty bucket list, all objects come by events.
fn nothing_listed(config: &Config, args: &JobsenderArgs) -> Result<Exit> {
    let nothing = "the bucket list is empty: there is nothing to compare, objects come only by S3 \
                   event";
    match config.basic.des_bucket_default.is_empty() {
        true => {
            warn!("{nothing}, and these have no destination: set Des_bucket_default in [Basic]")
        }
        false => info!("{nothing}"),
    }
    let results: [PairResult; 0] = [];
    print(args.json, &results, || nothing.to_owned())?;
    Ok(Exit::Done)
}

/// The records, if they are needed to compare versions or to note what is sent. If only the notes
/// need them and they cannot be opened, sending goes on without them.
async fn records(config: &Config, sends: bool) -> Result<Option<Arc<dyn RecordStore>>> {
    let needed = config.mode.jobsender_compare_version_id;
    if !needed && !sends {
        return Ok(None);
    }
    match wiring::state(config).await {
        Ok(state) => Ok(Some(state)),
        Err(error) if needed => Err(error),
        Err(error) => {
            warn!(
                "what is sent is not noted: a comparison before the queue is empty will send it \
                 again: {error}"
            );
            Ok(None)
        }
    }
}

/// `estimating`: set for a dry run.
pub(super) fn text(
    results: &[PairResult],
    estimating: Option<&Estimating>,
    unmatched: &[Unmatched],
) -> String {
    let mut text = accounts_of(results, estimating.is_some());
    for line in comparing::said(unmatched) {
        let _ = writeln!(text, "  {line}");
    }
    if let Some(estimating) = estimating {
        text.push_str(&estimating.text(results));
        text.push_str("dry run: nothing was sent");
    }
    text.trim_end().to_owned()
}

/// What copying takes, before it begins.
pub(super) fn outlook_text(results: &[PairResult], estimating: &Estimating) -> String {
    let text = accounts_of(results, true) + &estimating.text(results);
    text.trim_end().to_owned()
}

fn accounts_of(results: &[PairResult], dry_run: bool) -> String {
    let mut text = String::new();
    for result in results {
        let (source, destination) = (shown(&result.source), shown(&result.destination));
        let _ = writeln!(text, "{source} -> {destination}");
        accounts(&mut text, &result.summary, dry_run);
    }
    text
}

fn plural(number: u64) -> &'static str {
    if number == 1 { "" } else { "s" }
}

/// Names the objects that cannot be copied.
pub(super) fn impossible(text: &mut String, summary: &Summary) {
    if summary.impossible > 0 {
        let (what, count) = ("impossible", human::column(summary.impossible));
        let count = count.trim_end();
        let _ = writeln!(text, "  {what:<14} {count}, each is named in the log");
        for named in &summary.impossible_named {
            let _ = writeln!(text, "    {named}");
        }
    }
    if summary.unlisted > 0 {
        let unlisted = human::count(summary.unlisted);
        let _ = writeln!(text, "  the destination does not list {unlisted} of those already there");
    }
    if let Some(caveat) = summary.caveat() {
        let _ = writeln!(text, "  {caveat}");
    }
}

/// The counts: what was listed, and that all of it is accounted for.
fn accounts(text: &mut String, summary: &Summary, dry_run: bool) {
    let copied = if dry_run { "to copy" } else { "sent" };
    let sent = if dry_run { summary.to_copy } else { summary.sent };
    let failed = summary.failed_to_send > 0;
    // If sending failed, only the bytes of all objects to send are known, not of those that were
    // sent.
    let sent_bytes = Some(summary.to_copy_bytes).filter(|_| !failed);
    for (what, objects, bytes, always) in [
        ("listed", summary.listed, Some(summary.listed_bytes), true),
        (copied, sent, sent_bytes, true),
        ("not sent", summary.failed_to_send, None, false),
        ("already there", summary.already_there, Some(summary.already_there_bytes), true),
        ("ignored", summary.ignored, Some(summary.ignored_bytes), true),
        ("in queue", summary.in_queue, Some(summary.in_queue_bytes), false),
        ("archived", summary.archived, Some(summary.archived_bytes), false),
        ("not there", summary.gone, None, false),
    ] {
        if always || objects > 0 {
            let bytes = bytes.map(human::bytes).unwrap_or_default();
            let objects = human::column(objects);
            let line = format!("  {what:<14} {objects}  {bytes:>12}");
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    if summary.messages > 0 {
        let messages = human::count(summary.messages);
        let _ = writeln!(text, "  {:<14} {messages:>12} message{}", "in", plural(summary.messages));
    }
    for (objects, what) in [
        (summary.size_differs, "with another size"),
        (summary.etag_differs, "with another ETag"),
        (summary.version_differs, "with another version, or with one that no record names"),
        (summary.overwritten, "already, and are overwritten as requested"),
    ] {
        if objects > 0 {
            let objects = human::count(objects);
            let are = if objects == "1" { "is" } else { "are" };
            let _ =
                writeln!(text, "  of those {copied}, {objects} {are} at the destination {what}");
        }
    }
    if summary.key_too_long > 0 {
        let _ = writeln!(
            text,
            "  {:<14} {}: the key would be too long at the destination",
            "impossible",
            human::column(summary.key_too_long).trim_end()
        );
    }
    impossible(text, summary);
    if summary.archived > 0 {
        text.push_str(
            "  archived objects must be restored at the source before they can be copied\n",
        );
    }
    if summary.only_at_destination > 0 {
        let only = human::count(summary.only_at_destination);
        let what = if summary.to_delete > 0 { "" } else { ", left alone" };
        let _ = writeln!(text, "  {only} more exist only at the destination{what}");
    }
    if summary.to_delete > 0 {
        let (all, sent) = (human::count(summary.to_delete), human::count(summary.deletions_sent));
        let _ = match (&summary.deletions_refused, dry_run) {
            (Some(why), true) => {
                writeln!(text, "  {all} of those to delete, BUT WILL NOT BE: {why}")
            }
            (Some(why), false) => writeln!(text, "  {all} DELETIONS NOT SENT: {why}"),
            (None, true) => writeln!(text, "  {all} of those to delete"),
            (None, false) => writeln!(text, "  {sent} deletions sent"),
        };
    }
    for missing in &summary.missing {
        let _ = writeln!(text, "  NOT COMPARED: {missing}");
    }
}
