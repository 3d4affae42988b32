//! `verify`: an independent second look at both sides.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::comparing::{excluding, filtered};
use super::origins::keys;
use super::run::places;
use super::{Exit, print, stop_on_signal};
use crate::cli::{OriginArgs, VerifyArgs};
use crate::compare::{Keys, MissingRange, Terms};
use crate::config::{Config, Sse};
use crate::digest;
use crate::error::{Error, Result};
use crate::filter::patterns::Patterns;
use crate::format::escape::shown;
use crate::format::human;
use crate::params::Pair;
use crate::shutdown::Halt;
use crate::verify::counts::Counts;
use crate::verify::extent::Extent;
use crate::verify::findings::Example;
use crate::verify::journal::{Arguments, Journal};
use crate::verify::{Keeps, Verification, Verified};
use crate::wiring::{self, Sides};

pub(super) async fn execute(config: &Config, args: &VerifyArgs) -> Result<Exit> {
    let config = &filtered(config.clone(), &args.filter)?;
    let (head, deep) = (extent("--head", &args.head)?, extent("--deep", &args.deep)?);
    if let Extent::Prefix(prefix) = &head {
        let prefix = shown(prefix);
        return Err(Error::usage(format!("--head {prefix}: write all, none or a number")));
    }
    let parameters = wiring::parameters();
    let both = args.pair.both();
    let (pairs, ignore) = places(config, "verify", &args.pair, &parameters).await?;
    let ignore = excluding(&ignore, &args.filter)?;
    let rules = rules(config, &ignore);
    let arguments = arguments(config, args, [&head, &deep], &rules, &ignore, &pairs);
    let names = pairs.iter().map(names).collect();
    let (checkpoint, output) = (args.checkpoint.as_deref(), args.output.as_deref());
    // With two addresses both sides take the default chain, as for `run`; with the bucket list
    // JobType decides, as for `jobsender`.
    let sides = Sides::open_to_read(config, &parameters, both.is_some()).await?;
    let halt = Halt::new();
    let signals = stop_on_signal(&halt)?;
    let verification =
        verification(config, args, &pairs, sides, ignore, [head, deep], &halt).await?;
    let journal = Journal::open(arguments, names, checkpoint, args.checkpoint_every, output)?;
    let said = [verification.head.to_string(), verification.deep.to_string()];
    let verified = verification.run(&pairs, journal, &halt.stop).await?;
    signals.abort();
    let result = VerifyResult::new(&verified, args, said, rules);
    print(args.json, &result, || result.text(output))?;
    if let (Some(path), true) = (checkpoint, verified.is_over()) {
        // Otherwise the next verification would repeat this one's result and look at nothing.
        std::fs::remove_file(path).map_err(|error| {
            Error::usage(format!("{} cannot be removed: {error}", path.display()))
        })?;
    }
    Ok(match result.verdict {
        Outcome::Equal => Exit::Done,
        Outcome::Different => Exit::Incomplete,
        Outcome::Incomplete => Exit::NotAllSeen,
    })
}

async fn verification(
    config: &Config,
    args: &VerifyArgs,
    pairs: &[Pair],
    sides: Sides,
    ignore: Patterns,
    [head, deep]: [Extent; 2],
    halt: &Halt,
) -> Result<Verification> {
    let VerifyArgs { inventory, destination_inventory, .. } = args;
    let origins = OriginArgs {
        keys: None,
        manifest: None,
        inventory: inventory.clone(),
        destination_inventory: destination_inventory.clone(),
    };
    let keys = keys(config, &origins, pairs, &sides, &halt.stop).await?;
    let Sides { source, destination } = sides;
    let max_retry = config.mode.max_retry;
    let terms = Terms { keys, ..Terms::of_sizes(source.clone(), destination.clone(), max_retry) };
    // Before any file is created, so that a mistyped name leaves nothing behind.
    terms.probe(pairs, &halt.stop).await?;
    let Keys::All(origins) = terms.keys else {
        return Err(Error::usage("verify lists both sides, or reads inventories"));
    };
    Ok(Verification {
        source,
        destination,
        origins,
        ignore: Arc::new(ignore),
        filter: Arc::new(config.filter.clone()),
        head,
        deep,
        keeps: Keeps {
            metadata: config.mode.copy_metadata,
            tags: config.mode.copy_tags,
            class: config.mode.storage_class.clone(),
        },
        kms: matches!(config.destination.sse, Sse::Kms(_)),
        at_once: wiring::list_concurrency(config),
        max_retry,
        log_interval: config.debug.log_interval,
    })
}

fn extent(option: &str, text: &str) -> Result<Extent> {
    Extent::parse(text).map_err(|wrong| Error::usage(format!("{option} {wrong}")))
}

fn names(pair: &Pair) -> [String; 2] {
    [
        format!("s3://{}/{}", pair.src_bucket, pair.src_prefix),
        format!("s3://{}/{}", pair.des_bucket, pair.des_prefix),
    ]
}

/// What leaves objects out, in words.
fn rules(config: &Config, ignore: &Patterns) -> Vec<String> {
    let filter = &config.filter;
    let time = |time| humantime::format_rfc3339_millis(time).to_string();
    let patterns = |what: &str, patterns: &Patterns| {
        let count = patterns.len();
        (count > 0).then(|| format!("{what}: {count} pattern{}", if count == 1 { "" } else { "s" }))
    };
    let bounds = [
        patterns("ignore list", ignore),
        patterns("Include", &filter.include),
        filter.min_size.map(|size| format!("MinSize {size}")),
        filter.max_size.map(|size| format!("MaxSize {size}")),
        filter.modified_after.map(|at| format!("ModifiedAfter {}", time(at))),
        filter.modified_before.map(|at| format!("ModifiedBefore {}", time(at))),
    ];
    bounds.into_iter().flatten().collect()
}

/// Everything that decides what is found, so that a checkpoint of other arguments is refused.
fn arguments(
    config: &Config,
    args: &VerifyArgs,
    [head, deep]: [&Extent; 2],
    rules: &[String],
    ignore: &Patterns,
    pairs: &[Pair],
) -> Arguments {
    let file = |path: &Option<_>| {
        path.as_deref().map_or("none".to_owned(), |path: &Path| path.display().to_string())
    };
    let origin = |inventory: &Option<String>, sorts| match inventory {
        Some(address) => address.clone(),
        None if sorts => "listed in order".to_owned(),
        None => "listed in any order".to_owned(),
    };
    let (source, destination) = (&config.source.endpoint, &config.destination.endpoint);
    let place = |url: &Option<String>| url.clone().unwrap_or_else(|| "AWS".to_owned());
    let patterns = [ignore.rules(), &["include".to_owned()], config.filter.include.rules()];
    let patterns = digest::lasting_id(patterns.concat().iter().map(String::as_str));
    let mode = &config.mode;
    let kept = format!("{} {} {}", mode.copy_metadata, mode.copy_tags, mode.storage_class);
    let is_stripped = pairs.iter().any(|pair| pair.strip);
    let naming = if is_stripped { "without the source's prefix" } else { "whole keys" };
    [
        ("copies' keys", naming.to_owned()),
        ("source endpoint", place(&source.url)),
        ("destination endpoint", place(&destination.url)),
        ("source keys", origin(&args.inventory, source.sorts_keys)),
        ("destination keys", origin(&args.destination_inventory, destination.sorts_keys)),
        ("--head", head.to_string()),
        ("--deep", deep.to_string()),
        ("--output", file(&args.output)),
        ("filters", rules.join(", ")),
        ("patterns", format!("{patterns:016x}")),
        ("metadata, tags and class", kept),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Equal,
    Different,
    Incomplete,
}

#[derive(Debug, Serialize)]
struct PairResult {
    source: String,
    destination: String,
    #[serde(flatten)]
    counts: Counts,
    not_listed: Vec<MissingRange>,
}

#[derive(Debug, Serialize)]
struct VerifyResult {
    verdict: Outcome,
    /// Every key was listed, and every object was looked at as was asked.
    complete: bool,
    interrupted: bool,
    one_way: bool,
    head: String,
    deep: String,
    filters: Vec<String>,
    pairs: Vec<PairResult>,
    /// The first of what is not equal.
    examples: Vec<Example>,
    #[serde(skip)]
    total: Counts,
}

impl VerifyResult {
    fn new(
        verified: &Verified,
        args: &VerifyArgs,
        said: [String; 2],
        filters: Vec<String>,
    ) -> Self {
        let (total, complete) = (verified.total(), verified.is_whole());
        let verdict = match (total.differs(args.one_way), complete) {
            (true, _) => Outcome::Different,
            (false, true) => Outcome::Equal,
            (false, false) => Outcome::Incomplete,
        };
        let pairs = verified.pairs.iter().map(|pair| PairResult {
            source: pair.source.clone(),
            destination: pair.destination.clone(),
            counts: pair.counts.clone(),
            not_listed: pair.not_listed.clone(),
        });
        let [head, deep] = said;
        Self {
            verdict,
            complete,
            interrupted: verified.interrupted,
            one_way: args.one_way,
            head,
            deep,
            filters,
            pairs: pairs.collect(),
            examples: verified.examples.clone(),
            total,
        }
    }

    fn text(&self, output: Option<&Path>) -> String {
        let mut text = String::new();
        for pair in &self.pairs {
            let (source, destination) = (shown(&pair.source), shown(&pair.destination));
            let _ = writeln!(text, "{source} -> {destination}");
            counts(&mut text, &pair.counts);
            for missing in &pair.not_listed {
                let _ = writeln!(text, "  NOT LOOKED AT: {missing}");
            }
        }
        self.looks(&mut text);
        for Example { wrong, key, how } in &self.examples {
            let (wrong, how) = (wrong.as_str(), how.join(", "));
            let how = if how == wrong { String::new() } else { format!(" ({})", shown(&how)) };
            let _ = writeln!(text, "    {wrong}: {}{how}", shown(key));
        }
        let Counts { differing, missing, extra, not_looked_at, .. } = self.total;
        let more = (differing + missing + extra + not_looked_at)
            .saturating_sub(self.examples.len() as u64);
        if more > 0 {
            let _ = writeln!(text, "    and {} more", human::count(more));
        }
        match output {
            Some(folder) => {
                let _ = writeln!(text, "  all of these are in {}", folder.display());
            }
            None if more > 0 => text.push_str("  --output FOLDER writes all of them to files\n"),
            None => {}
        }
        text + &self.verdict()
    }

    /// What was looked at, and what was not.
    fn looks(&self, text: &mut String) {
        let Counts { heads, read, read_bytes, unlisted, doubtful_ends, unchecked_ends, .. } =
            self.total;
        let _ = writeln!(text, "  by HEAD: {}, {} objects", self.head, human::count(heads));
        let (objects, bytes) = (human::count(read), human::bytes(read_bytes));
        let _ = writeln!(text, "  read: {}, {objects} objects, {bytes}", self.deep);
        if !self.filters.is_empty() {
            let _ = writeln!(text, "  left out by: {}", self.filters.join("; "));
        }
        for (number, what) in [
            (unlisted, "objects the destination has and does not list"),
            (doubtful_ends, "listings may have ended early: nothing can be asked after their end"),
            (unchecked_ends, "listings have an end that could not be checked"),
        ] {
            if number > 0 {
                let _ = writeln!(text, "  {} {what}", human::count(number));
            }
        }
    }

    fn verdict(&self) -> String {
        let Counts { source_objects, equal, differing, missing, extra, .. } = self.total;
        let mut text = match self.verdict {
            Outcome::Equal => format!(
                "equal: all {} objects are at the destination, by what was looked at",
                human::count(equal)
            ),
            Outcome::Different => format!(
                "different: {} of {} objects differ, {} are missing, {} are at the destination only",
                human::count(differing),
                human::count(source_objects),
                human::count(missing),
                human::count(extra)
            ),
            Outcome::Incomplete if source_objects + extra == 0 && !self.interrupted => {
                "incomplete: no object was looked at; are the prefixes and filters right?"
                    .to_owned()
            }
            Outcome::Incomplete => format!(
                "incomplete: nothing differs among {} objects, but not everything was looked at",
                human::count(source_objects)
            ),
        };
        if self.interrupted {
            text.push_str("\nstopped before the end: with --checkpoint, the same command goes on");
        } else if self.verdict == Outcome::Different && !self.complete {
            text.push_str("\nand not everything was looked at");
        }
        text
    }
}

fn counts(text: &mut String, counts: &Counts) {
    let mut line = |what: &str, objects: u64, bytes: Option<u64>, always: bool| {
        if objects > 0 || always {
            let bytes = bytes.map(human::bytes).unwrap_or_default();
            let objects = human::count(objects);
            let line = format!("  {what:<16} {objects:>12} objects  {bytes:>12}");
            let _ = writeln!(text, "{}", line.trim_end());
        }
    };
    let (by, how) = (&counts.equal_by, &counts.differing_by);
    line("at the source", counts.source_objects, Some(counts.source_bytes), true);
    line("equal", counts.equal, Some(counts.equal_bytes), true);
    line("  by bytes", by.bytes, None, false);
    line("  by checksum", by.checksum, None, false);
    line("  by ETag", by.etag, None, false);
    line("  by size only", by.size, None, false);
    line("differing", counts.differing, None, true);
    line("  in size", how.size, None, false);
    line("  in ETag", how.etag, None, false);
    line("  in checksum", how.checksum, None, false);
    line("  in bytes", how.bytes, None, false);
    line("  in metadata", how.metadata, None, false);
    line("  in tags", how.tags, None, false);
    line("  in class", how.class, None, false);
    line("missing", counts.missing, Some(counts.missing_bytes), true);
    line("extra", counts.extra, Some(counts.extra_bytes), true);
    line("not looked at", counts.not_looked_at, None, false);
    line("left out", counts.left_out, None, false);
}
