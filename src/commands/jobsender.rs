//! `jobsender`: compare, send, say what was found.

use std::fmt::Write as _;

use serde::Serialize;
use tracing::{info, warn};

use super::{Exit, print, stop_on_signal};
use crate::cli::JobsenderArgs;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::human;
use crate::jobsender::{Finds, Jobsender, Summary, Verdict};
use crate::object::ObjectId;
use crate::params::{Pair, load_ignore_list, load_pairs};
use crate::services::{self, Sides};
use crate::shutdown::Halt;
use crate::store::Listed;

/// What one comparison found for one pair.
#[derive(Debug, Serialize)]
pub(super) struct PairResult {
    source: String,
    destination: String,
    #[serde(flatten)]
    pub(super) summary: Summary,
}

pub(super) async fn execute(config: &Config, args: &JobsenderArgs) -> Result<Exit> {
    let halt = Halt::new();
    let signals = stop_on_signal(&halt)?;
    loop {
        let round = once(config, args, &halt).await;
        let Some(pause) = args.every else {
            signals.abort();
            return match round? {
                Round::Compared(exit) => Ok(exit),
                Round::Refused(why) => Err(Error::usage(why)),
            };
        };
        match round {
            Ok(Round::Compared(_)) => {}
            Ok(Round::Refused(why)) => info!("nothing sent: {why}"),
            Err(_) if halt.is_stopping() => {}
            Err(error) => warn!("this comparison failed, the next may not: {error}"),
        }
        if halt.stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return Ok(Exit::Done);
        }
    }
}

/// How one comparison went.
enum Round {
    Compared(Exit),
    /// Nothing was compared or sent, for this reason.
    Refused(String),
}

async fn once(config: &Config, args: &JobsenderArgs, halt: &Halt) -> Result<Round> {
    let parameters = services::parameters();
    let pairs = load_pairs(config, Some(&*parameters)).await?;
    let ignore = load_ignore_list(config, Some(&*parameters)).await?;
    let queue = match args.dry_run {
        true => None,
        false => Some(services::queue(config).await?),
    };
    let versions = match config.mode.jobsender_compare_version_id {
        true => Some(services::state(config).await?),
        false => None,
    };
    let sides = Sides::open(config, &parameters, false).await?;
    let jobsender = Jobsender {
        source: sides.source,
        destination: sides.destination,
        queue,
        packs: (&config.mode).into(),
        versions,
        ignore,
        max_retry: config.mode.max_retry,
        cancel: halt.stop.clone(),
    };
    jobsender.probe(&pairs).await?;
    if !args.force
        && let Some(why) = jobsender.filled_queue().await?
    {
        return Ok(Round::Refused(why));
    }
    let results = compare_all(&jobsender, &pairs, args.dry_run && !args.json).await?;
    print(args.json, &results, || text(&results, args.dry_run))?;
    let impossible: u64 = results.iter().map(|result| result.summary.key_too_long).sum();
    Ok(Round::Compared(if impossible > 0 { Exit::Incomplete } else { Exit::Done }))
}

/// Compares every pair; `name`: each object is printed with what happens to it.
pub(super) async fn compare_all(
    jobsender: &Jobsender,
    pairs: &[Pair],
    name: bool,
) -> Result<Vec<PairResult>> {
    let mut results = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let summary = match name {
            true => jobsender.compare(pair, &mut Named).await?,
            false => jobsender.compare(pair, &mut ()).await?,
        };
        results.push(PairResult {
            source: format!("s3://{}/{}", pair.src_bucket, pair.src_prefix),
            destination: format!("s3://{}/{}", pair.des_bucket, pair.des_prefix),
            summary,
        });
    }
    Ok(results)
}

/// Prints each object with what happens to it.
struct Named;

impl Finds for Named {
    fn found(&mut self, object: &ObjectId, listed: &Listed, verdict: &Verdict<'_>) {
        let line = format!("{object}\t{}\t{verdict}", listed.size);
        // A closed pipe ends the naming, not the comparison.
        let _ = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{line}\n"));
    }
}

pub(super) fn text(results: &[PairResult], dry_run: bool) -> String {
    let mut text = String::new();
    for result in results {
        let Summary { listed, listed_bytes, to_copy, to_copy_bytes, .. } = result.summary;
        let Summary { already_there, already_there_bytes, .. } = result.summary;
        let Summary { ignored, ignored_bytes, size_differs, version_differs, .. } = result.summary;
        let sent = if dry_run { "to copy" } else { "sent" };
        let _ = writeln!(text, "{} -> {}", result.source, result.destination);
        for (what, objects, bytes) in [
            ("listed", listed, listed_bytes),
            (sent, to_copy, to_copy_bytes),
            ("already there", already_there, already_there_bytes),
            ("ignored", ignored, ignored_bytes),
        ] {
            let (objects, bytes) = (human::count(objects), human::bytes(bytes));
            let _ = writeln!(text, "  {what:<14} {objects:>12} objects  {bytes:>12}");
        }
        if result.summary.messages > 0 {
            let messages = human::count(result.summary.messages);
            let _ = writeln!(text, "  {:<14} {messages:>12} messages", "in");
        }
        for (objects, what) in [
            (size_differs, "with another size"),
            (version_differs, "of another version, or of one on no record"),
        ] {
            if objects > 0 {
                let objects = human::count(objects);
                let _ =
                    writeln!(text, "  of those {sent}, {objects} are at the destination {what}");
            }
        }
        if result.summary.key_too_long > 0 {
            let _ = writeln!(
                text,
                "  {:<14} {:>12} objects: the key would be too long at the destination",
                "impossible",
                human::count(result.summary.key_too_long)
            );
        }
        if result.summary.only_at_destination > 0 {
            let only = human::count(result.summary.only_at_destination);
            let _ = writeln!(text, "  {only} more at the destination only, left alone");
        }
    }
    if dry_run {
        text.push_str("dry run: nothing was sent");
    }
    text.trim_end().to_owned()
}
