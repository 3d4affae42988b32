//! Options of every command that compares: what is in scope, where the keys come from, what a dry run
//! assumes.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use crate::config::{Compare, Words as _};

/// What is compared and what counts as a difference.
#[derive(Debug, Args)]
#[command(next_help_heading = "What is compared")]
pub struct CompareArgs {
    /// Copy every object, whatever the destination has
    #[arg(long)]
    pub overwrite: bool,
    /// What to compare if both sides have an object (default: Compare in the ini)
    #[arg(long, value_name = "size|etag", conflicts_with = "overwrite")]
    pub compare: Option<Compare>,
    /// Which objects are in scope.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// A source that lists no object, or a pattern that matches no key, is no failure
    #[arg(long)]
    pub allow_empty: bool,
    /// With --dry-run: print what is skipped as well
    #[arg(long, requires = "dry_run")]
    pub all: bool,
    /// Delete at the destination what the source does not have; try it with --dry-run first
    #[arg(long, conflicts_with_all = ["keys", "manifest"])]
    pub delete: bool,
    /// Delete nothing at all if there would be more deletions than this
    #[arg(long, value_name = "N", requires = "delete", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_delete: u32,
    /// Compare nothing: explain what happens to this key of each pair
    #[arg(long, value_name = "KEY")]
    pub explain: Option<String>,
    /// Write every object that is not already at the destination to this file, one JSON object per
    /// line: jobs as they are sent, and what is left out with the reason
    #[arg(long, value_name = "FILE")]
    pub job_list: Option<PathBuf>,
}

/// Which objects are in scope.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// Only objects whose bucket/key matches; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub include: Vec<String>,
    /// Leave out objects whose bucket/key matches, like a line of the ignore list; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Only objects of at least this size, in bytes or like 64M
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub min_size: Option<u64>,
    /// Only objects of at most this size, in bytes or like 5G
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_size: Option<u64>,
    /// Only objects written at this time or later: 2026-01-31, or 2026-01-31T23:59:59Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub modified_after: Option<SystemTime>,
    /// Only objects written before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub modified_before: Option<SystemTime>,
}

/// Where the keys come from; without any of these options both sides are listed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where the keys come from")]
pub struct OriginArgs {
    /// Look at these keys only, one per line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["manifest", "inventory", "destination_inventory"])]
    pub keys: Option<PathBuf>,
    /// Look at these objects only: CSV lines of bucket,key or bucket,key,versionId, with
    /// URL-encoded keys, as for S3 Batch Operations
    #[arg(long, value_name = "FILE", conflicts_with_all = ["inventory", "destination_inventory"])]
    pub manifest: Option<PathBuf>,
    /// Read the source's keys from an S3 Inventory: its manifest.json, s3://BUCKET/KEY or a file
    #[arg(long, value_name = "ADDRESS")]
    pub inventory: Option<String>,
    /// Read the destination's keys from an S3 Inventory
    #[arg(long, value_name = "ADDRESS")]
    pub destination_inventory: Option<String>,
}

/// Assumptions for a dry run's estimate.
#[derive(Debug, Args)]
#[command(next_help_heading = "What a dry run estimates")]
pub struct EstimateArgs {
    /// Prices to use instead of the shipped ones, in the format of prices.json
    #[arg(long, value_name = "FILE", requires = "dry_run")]
    pub prices: Option<PathBuf>,
    /// Bandwidth of each worker, in megabits per second
    #[arg(long, value_name = "MBIT", requires = "dry_run", value_parser = clap::value_parser!(u64).range(1..))]
    pub bandwidth: Option<u64>,
    /// How many workers share the work (default: 1)
    #[arg(long, value_name = "N", requires = "dry_run", value_parser = clap::value_parser!(u32).range(1..))]
    pub workers: Option<u32>,
}

/// The words of the ini are the words of the command line.
impl ValueEnum for Compare {
    fn value_variants<'a>() -> &'a [Self] {
        Self::VALUES
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Size => "The number of bytes",
            Self::Etag => "The number of bytes, and the ETag if both sides' are of the same kind",
        };
        Some(PossibleValue::new(self.word()).help(help))
    }
}

fn size(text: &str) -> Result<u64, String> {
    let allowed = "write a number of bytes, or a size like 64M, 5G or 5GiB";
    crate::config::size(text).ok_or_else(|| allowed.to_owned())
}

pub(super) fn moment(text: &str) -> Result<SystemTime, String> {
    let allowed = "write a day like 2026-01-31, or a time like 2026-01-31T23:59:59Z (UTC)";
    crate::config::moment(text).ok_or_else(|| allowed.to_owned())
}
