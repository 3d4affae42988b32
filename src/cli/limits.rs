//! Arguments of `limit`, `pause` and `resume`, and the limits of `run`.

use clap::{Args, ValueEnum};

use crate::config::timetable::{RateUnit, Timetable};
use crate::config::{self, LimitsConfig, money};
use crate::store::Side;

pub(super) const EXAMPLES: &str = "\
Examples:
  s3-migration limit                                 show what is in force
  s3-migration limit 50M                             50 MiB a second on each side, all processes together
  s3-migration limit '08:00-18:00 200M, else off'    in working hours only; times are UTC
  s3-migration limit '+08:00 Mon-Fri 08:00-18:00 200M, else 1G'
  s3-migration limit --requests 500 --side source    requests a second
  s3-migration limit off                             no limit, whatever the configuration says
  s3-migration limit default                         as the configuration says

K, M, G and T are powers of 1,024. The limit is that of the fleet: every process takes a share, and shares \
follow within a minute. It stays until another command replaces it.

Exit status: 0 done, 2 unusable arguments or configuration, 3 a service could not be reached or refused";

/// One side, on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LimitedSide {
    /// What is read
    Source,
    /// What is written
    Destination,
}

impl LimitedSide {
    /// As everywhere else.
    pub fn of(self) -> Side {
        match self {
            Self::Source => Side::Source,
            Self::Destination => Side::Destination,
        }
    }
}

/// Arguments of `limit`.
#[derive(Debug, Args)]
pub struct LimitArgs {
    /// Bytes a second: 50M, a timetable, off, or default
    #[arg(value_name = "RATE")]
    pub bandwidth: Option<String>,
    /// Requests a second: a number, a timetable, off, or default
    #[arg(long, value_name = "RATE")]
    pub requests: Option<String>,
    /// Only this side; without it, both
    #[arg(long)]
    pub side: Option<LimitedSide>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `pause` and `resume`.
#[derive(Debug, Args)]
pub struct PauseArgs {
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Limits of a `run`; each replaces the configuration's.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Limits")]
pub struct RunLimitArgs {
    /// Bytes a second on each side: 50M, or a timetable like '08:00-18:00 200M, else off' (UTC)
    #[arg(long, value_name = "RATE", value_parser = bandwidth)]
    pub bandwidth_limit: Option<Timetable>,
    /// Bytes a second from the source
    #[arg(long, value_name = "RATE", value_parser = bandwidth)]
    pub source_bandwidth_limit: Option<Timetable>,
    /// Bytes a second to the destination
    #[arg(long, value_name = "RATE", value_parser = bandwidth)]
    pub destination_bandwidth_limit: Option<Timetable>,
    /// Requests a second to each side
    #[arg(long, value_name = "RATE", value_parser = requests)]
    pub request_limit: Option<Timetable>,
    /// Requests a second to the source
    #[arg(long, value_name = "RATE", value_parser = requests)]
    pub source_request_limit: Option<Timetable>,
    /// Requests a second to the destination
    #[arg(long, value_name = "RATE", value_parser = requests)]
    pub destination_request_limit: Option<Timetable>,
    /// Pause when this many bytes have been read from the source, such as 500G
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub max_bytes: Option<u64>,
    /// Pause when requests and transfer have cost this much by the price file
    #[arg(long, value_name = "DOLLARS", value_parser = cost)]
    pub max_cost: Option<u64>,
}

impl RunLimitArgs {
    /// Replaces what is given here.
    pub fn apply(&self, limits: &mut LimitsConfig) {
        let set = |limit: &mut Timetable, own: &Option<Timetable>, both: &Option<Timetable>| {
            if let Some(given) = own.as_ref().or(both.as_ref()) {
                limit.clone_from(given);
            }
        };
        let (source, destination) = (&mut limits.source, &mut limits.destination);
        set(&mut source.bandwidth, &self.source_bandwidth_limit, &self.bandwidth_limit);
        set(&mut source.requests, &self.source_request_limit, &self.request_limit);
        set(&mut destination.bandwidth, &self.destination_bandwidth_limit, &self.bandwidth_limit);
        set(&mut destination.requests, &self.destination_request_limit, &self.request_limit);
        limits.max_bytes = self.max_bytes.or(limits.max_bytes);
        limits.max_cost = self.max_cost.or(limits.max_cost);
    }
}

fn bandwidth(text: &str) -> Result<Timetable, String> {
    timetable(text, RateUnit::Bytes)
}

fn requests(text: &str) -> Result<Timetable, String> {
    timetable(text, RateUnit::Requests)
}

fn timetable(text: &str, unit: RateUnit) -> Result<Timetable, String> {
    Timetable::parse(text, unit)
        .map_err(|wrong| format!("{wrong}; allowed: {}", Timetable::allowed(unit)))
}

fn size(text: &str) -> Result<u64, String> {
    config::size(text).ok_or_else(|| "write a number of bytes like 500G".to_owned())
}

fn cost(text: &str) -> Result<u64, String> {
    money(text).ok_or_else(|| "write an amount like 250 or 12.50".to_owned())
}
