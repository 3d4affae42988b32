//! The command line.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::builder::PossibleValue;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::config::{Given, ReportFormat, Words as _};

mod after;
mod comparing;
mod limits;
pub mod pages;
mod pair;
mod serve;
mod sides;
pub mod topics;

use comparing::moment;
pub use comparing::{CompareArgs, EstimateArgs, FilterArgs, OriginArgs};
pub use limits::{LimitArgs, LimitedSide, PauseArgs, RunLimitArgs};
pub use pair::PairArgs;
use pair::says;
pub use serve::ServeArgs;
pub use sides::{LoudnessArgs, SidesArgs};

/// Migrates objects between S3 buckets, across accounts, partitions and stores, and proves that they arrived.
#[derive(Debug, Parser)]
#[command(name = "s3-migration", version, about, after_help = after::ALL, disable_help_subcommand = true)]
pub struct Cli {
    /// The configuration; default: ./s3_migration_config.ini, then
    /// ./s3_migration_cluster_config.ini, then /etc/s3-migration/s3_migration_config.ini
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How much is said.
    #[command(flatten)]
    pub loudness: LoudnessArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The keys of the configuration that the command line sets.
    pub fn given(&self) -> Vec<Given> {
        let sides = match &self.command {
            Command::Run(args) => args.sides.given.as_slice(),
            Command::Verify(args) => &args.sides.given,
            Command::Check(args) => &args.sides.given,
            Command::Report(args) => &args.sides.given,
            Command::Cleanup(args) => &args.sides.given,
            Command::Jobsender(_)
            | Command::Worker(_)
            | Command::Demo(_)
            | Command::Status(_)
            | Command::Failed(_)
            | Command::Limit(_)
            | Command::Pause(_)
            | Command::Resume(_)
            | Command::Completions(_)
            | Command::Man(_)
            | Command::Help(_) => &[],
        };
        let serve = match &self.command {
            Command::Run(args) => args.serve.given(),
            Command::Jobsender(args) => args.serve.given(),
            Command::Status(args) => args.serve.given(),
            _ => None,
        };
        sides.iter().cloned().chain(serve).chain(self.loudness.given()).collect()
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compare the buckets and send a job for every object that differs
    #[command(after_help = after::JOBSENDER)]
    Jobsender(JobsenderArgs),
    /// Take jobs and move objects, until stopped
    #[command(after_help = after::WORKER)]
    Worker(WorkerArgs),
    /// Migrate with this process alone: no queue service, no table, no ini needed
    #[command(after_help = after::RUN)]
    Run(Box<RunArgs>),
    /// Show a real migration between two S3 endpoints inside this process
    #[command(after_help = after::DEMO)]
    Demo(DemoArgs),
    /// Show what is waiting, running, done and failed
    #[command(after_help = after::STATUS)]
    Status(StatusArgs),
    /// Show or change the bandwidth and the requests of the whole fleet, while it runs
    #[command(after_help = limits::EXAMPLES)]
    Limit(LimitArgs),
    /// Let nothing new begin, in the whole fleet; what has begun goes on
    #[command(after_help = after::PAUSE)]
    Pause(PauseArgs),
    /// Go on after a pause; if a budget was used up, it counts from zero again
    #[command(after_help = after::RESUME)]
    Resume(PauseArgs),
    /// Show the objects that failed, by reason with what cures it; send them again
    #[command(after_help = after::FAILED)]
    Failed(FailedArgs),
    /// Show the unfinished uploads at the destination; abort those that this system began
    #[command(after_help = after::CLEANUP)]
    Cleanup(CleanupArgs),
    /// Look at both sides once more, apart from all records: are they equal?
    #[command(after_help = after::VERIFY)]
    Verify(VerifyArgs),
    /// Write what became of every object: lines, a page for people, a certificate
    #[command(after_help = after::REPORT)]
    Report(ReportArgs),
    /// Test whether a migration would work, with calls that leave nothing behind
    #[command(after_help = after::CHECK)]
    Check(CheckArgs),
    /// Print the completions for a shell
    #[command(after_help = after::COMPLETIONS)]
    Completions(CompletionsArgs),
    /// Write the manual pages to a folder
    #[command(after_help = after::MAN)]
    Man(ManArgs),
    /// Show the help of a command, or a chapter of the guide
    #[command(after_help = after::HELP)]
    Help(HelpArgs),
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Which shell
    pub shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Where the pages go, such as ~/.local/share/man/man1
    pub folder: PathBuf,
}

/// Arguments of `help`.
#[derive(Debug, Args)]
pub struct HelpArgs {
    /// A command, or a part of a chapter's name; topics lists the chapters
    pub topic: Vec<String>,
}

/// Arguments of `jobsender`.
#[derive(Debug, Args)]
pub struct JobsenderArgs {
    /// Send nothing; print what would be sent, and why the rest is skipped
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Send even what an earlier comparison has sent and the queue may still hold
    #[arg(long)]
    pub force: bool,
    /// Repeat the comparison, with this pause in between, for example 1h
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, conflicts_with = "dry_run")]
    pub every: Option<Duration>,
    /// Once nothing is left to send and the queue has no more jobs, write a report to a new folder
    /// below this one (default: ReportTo in the ini)
    #[arg(long, value_name = "FOLDER|s3://BUCKET/PREFIX", conflicts_with = "dry_run")]
    pub report: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// What is compared.
    #[command(flatten)]
    pub compare: CompareArgs,
    /// Where the keys come from.
    #[command(flatten)]
    pub origins: OriginArgs,
    /// Assumptions for a dry run's estimate.
    #[command(flatten)]
    pub estimate: EstimateArgs,
    /// A page in the browser.
    #[command(flatten)]
    pub serve: ServeArgs,
}

impl ValueEnum for ReportFormat {
    fn value_variants<'a>() -> &'a [Self] {
        Self::VALUES
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Json => "A JSON object a line",
            Self::Csv => "Comma-separated values, with their names in the first line",
        };
        Some(PossibleValue::new(self.word()).help(help))
    }
}

/// Arguments of `worker`.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Stop as on SIGTERM when stdin closes: a parent process that dies takes its workers along
    #[arg(long, hide = true)]
    pub until_stdin_closes: bool,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(
    mut_arg(
        "destination",
        says("Where they go, s3://BUCKET/PREFIX; every key is placed after the prefix and one /")
    ),
    mut_arg(
        "strip_prefix",
        says(
            "Place the keys without the source's prefix: s3://a/x/ to s3://b/y/ makes x/1.jpg y/1.jpg"
        )
    )
)]
pub struct RunArgs {
    /// One pair, instead of the bucket list.
    #[command(flatten)]
    pub pair: PairArgs,
    /// Copy nothing; print what would be copied, and why the rest is skipped
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Do not ask before it copies; without a terminal it never asks
    #[arg(long)]
    pub yes: bool,
    /// At the end, write a report to a new folder below this one (default: ReportTo in the ini)
    #[arg(long, value_name = "FOLDER|s3://BUCKET/PREFIX", conflicts_with = "dry_run")]
    pub report: Option<String>,
    /// Write the keys of all objects that failed to this file, for --keys
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub failed_list: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// What is compared.
    #[command(flatten)]
    pub compare: CompareArgs,
    /// Where the keys come from.
    #[command(flatten)]
    pub origins: OriginArgs,
    /// Limits of bandwidth, requests and budget.
    #[command(flatten)]
    pub limits: RunLimitArgs,
    /// Assumptions for a dry run's estimate.
    #[command(flatten)]
    pub estimate: EstimateArgs,
    /// A page in the browser.
    #[command(flatten)]
    pub serve: ServeArgs,
    /// What each side is.
    #[command(flatten)]
    pub sides: SidesArgs,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Folder whose files are migrated; without it, the demo makes its own
    pub dir: Option<PathBuf>,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Repeat every two seconds, until stopped; at a terminal, as a full screen
    #[arg(long, conflicts_with = "serve")]
    pub watch: bool,
    /// Print what the processes say of themselves: phases, pairs, workers, failures, cost; the table is not scanned
    #[arg(long)]
    pub fleet: bool,
    /// Print the result as JSON
    #[arg(long, conflicts_with = "serve")]
    pub json: bool,
    /// A page in the browser.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// Arguments of `failed`.
#[derive(Debug, Args)]
pub struct FailedArgs {
    /// Send the objects again, from the dead letters and the records; remove their cause first
    #[arg(long)]
    pub redrive: bool,
    /// Also what was sent again before and has not been tried since
    #[arg(long, requires = "redrive")]
    pub force: bool,
    /// Only objects that failed for this reason, as printed: denied-at-source; denied: on either side
    #[arg(long, value_name = "REASON", value_parser = reason)]
    pub reason: Option<String>,
    /// Only objects whose key at the source begins with this; s3://BUCKET/PREFIX names the bucket too
    #[arg(long, value_name = "PREFIX")]
    pub prefix: Option<String>,
    /// Print the reasons, not the objects
    #[arg(long)]
    pub summary: bool,
    /// Write the objects to this file, one JSON object per line
    #[arg(long, value_name = "FILE", conflicts_with = "redrive")]
    pub export: Option<PathBuf>,
    /// Write the keys of the objects to this file, for --keys
    #[arg(long, value_name = "FILE", conflicts_with = "redrive")]
    pub failed_list: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

fn reason(word: &str) -> Result<String, String> {
    match crate::reason::is_known(word) {
        true => Ok(word.to_owned()),
        false => {
            let known: Vec<_> = crate::reason::Reason::words().collect();
            Err(format!(
                "the reasons are {}; -at-source or -at-destination may follow",
                known.join(", ")
            ))
        }
    }
}

/// Arguments of `cleanup`.
#[derive(Debug, Args)]
#[command(
    mut_arg(
        "source",
        says(
            "As for run, to look at this destination only; without it, the bucket list, or in a folder \
         with the SQLite file of a run all that this file names"
        )
    ),
    mut_arg("destination", says("The destination, s3://BUCKET/PREFIX"))
)]
pub struct CleanupArgs {
    /// One pair, instead of the bucket list.
    #[command(flatten)]
    pub pair: PairArgs,
    /// Abort the uploads that this system began, except those that a worker may be filling
    #[arg(long)]
    pub abort: bool,
    /// Abort only uploads of at least this age; their jobs would have to send all parts again
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "1d", requires = "abort")]
    pub older_than: Duration,
    /// Prices to use instead of the shipped ones, in the format of prices.json
    #[arg(long, value_name = "FILE")]
    pub prices: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// What each side is.
    #[command(flatten)]
    pub sides: SidesArgs,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// One pair, instead of the bucket list.
    #[command(flatten)]
    pub pair: PairArgs,
    /// Compare checksums, headers, metadata, tags and class by HEAD on both sides: of all objects, of
    /// none, or of one in N
    #[arg(long, value_name = "all|none|N", default_value = "100")]
    pub head: String,
    /// Read both objects and compare every byte: of all objects, of none, of one in N, or of those
    /// whose key begins with PREFIX
    #[arg(long, value_name = "all|none|N|PREFIX", default_value = "none")]
    pub deep: String,
    /// What only the destination has is no difference
    #[arg(long)]
    pub one_way: bool,
    /// Write all that is not equal to files in this folder, one JSON object per line
    #[arg(long, value_name = "FOLDER")]
    pub output: Option<PathBuf>,
    /// Keep in this file how far it has come; the same command with the same file goes on there
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Write the checkpoint after this many objects
    #[arg(long, value_name = "N", requires = "checkpoint", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub checkpoint_every: u64,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Which objects are in scope.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Read the source's keys from an S3 Inventory: its manifest.json, s3://BUCKET/KEY or a file
    #[arg(long, value_name = "ADDRESS")]
    pub inventory: Option<String>,
    /// Read the destination's keys from an S3 Inventory
    #[arg(long, value_name = "ADDRESS")]
    pub destination_inventory: Option<String>,
    /// What each side is.
    #[command(flatten)]
    pub sides: SidesArgs,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
#[command(
    mut_arg(
        "source",
        says(
            "Only objects copied from here, s3://BUCKET/PREFIX; without it, all that are on record"
        )
    ),
    mut_arg("destination", says("To here, s3://BUCKET/PREFIX, as for run")),
    mut_arg(
        "strip_prefix",
        says("The keys were placed without the source's prefix, as by run --strip-prefix")
    )
)]
pub struct ReportArgs {
    /// One pair, instead of the bucket list.
    #[command(flatten)]
    pub pair: PairArgs,
    /// Write to a new folder below this one, or below a prefix in a bucket of the destination side
    #[arg(long, value_name = "FOLDER|s3://BUCKET/PREFIX", required_unless_present = "check")]
    pub output: Option<String>,
    /// How the lines are written (default: ReportFormat in the ini)
    #[arg(long, value_name = "json|csv", conflicts_with = "check")]
    pub format: Option<ReportFormat>,
    /// Only objects that were tried at this time or later: 2026-01-31, or 2026-01-31T23:59:59Z
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "check")]
    pub since: Option<SystemTime>,
    /// Write nothing; compare a report, or one file of it, with its certificate
    #[arg(long, value_name = "FILE|FOLDER|s3://BUCKET/PREFIX", conflicts_with_all = ["output", "source"])]
    pub check: Option<String>,
    /// Sign the certificate with this secret key of minisign; its password is asked for, or taken
    /// from the variable S3_MIGRATION_KEY_PASSWORD
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    pub sign: Option<PathBuf>,
    /// The certificate must be signed with this public key of minisign, or the one in this file
    #[arg(long, value_name = "KEY|FILE", requires = "check")]
    pub public_key: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// What each side is.
    #[command(flatten)]
    pub sides: SidesArgs,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
#[command(
    mut_arg(
        "source",
        says(
            "Check what run needs between these two addresses, s3://BUCKET/PREFIX; without them, the \
         cluster's parts and the bucket list are checked"
        )
    ),
    mut_arg("destination", says("Where the copies are to go, s3://BUCKET/PREFIX")),
    mut_arg(
        "strip_prefix",
        says("Place the keys without the source's prefix, as run --strip-prefix does")
    )
)]
pub struct CheckArgs {
    /// One pair, instead of the bucket list.
    #[command(flatten)]
    pub pair: PairArgs,
    /// Print the smallest IAM policies, too, even if nothing failed
    #[arg(long)]
    pub policies: bool,
    /// Check only what this role needs, with the permissions of the user who runs the check
    #[arg(long, conflicts_with = "destination")]
    pub role: Option<Role>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// What each side is.
    #[command(flatten)]
    pub sides: SidesArgs,
}

/// A machine's role in a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// It moves objects
    Worker,
    /// It compares
    Jobsender,
}
