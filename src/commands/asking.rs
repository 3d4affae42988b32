//! The question before a `run` at a terminal.

use std::io::{self, IsTerminal};

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::comparing::PairResult;
use super::forecast::Estimating;
use super::jobsender::outlook_text;
use crate::cli::RunArgs;
use crate::compare::{ForecastCounts, Summary};
use crate::config::Config;
use crate::error::Result;
use crate::format::escape::lines;
use crate::params::Pair;
use crate::single_node::Consent;

/// Whether somebody can answer a question, and is not spared it.
pub(super) fn asks(args: &RunArgs) -> bool {
    !args.yes && io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks before anything is copied, with the numbers of a dry run.
pub(super) struct Asking {
    estimating: Estimating,
}

impl Asking {
    pub(super) fn new(config: &Config, args: &RunArgs) -> Result<Self> {
        Ok(Self { estimating: Estimating::new(config, &args.estimate, true)? })
    }
}

#[async_trait]
impl Consent for Asking {
    fn outlook(&self) -> ForecastCounts {
        self.estimating.outlook()
    }

    async fn ask(&self, pairs: &[Pair], found: Vec<(Summary, ForecastCounts)>) -> Result<bool> {
        let of_pair = |(pair, (summary, outlook)): (&Pair, (Summary, ForecastCounts))| {
            let forecast = self.estimating.finish(outlook, &summary);
            PairResult::new(pair, summary, Some(forecast))
        };
        let results: Vec<PairResult> = pairs.iter().zip(found).map(of_pair).collect();
        let text = outlook_text(&results, &self.estimating);
        eprint!("{}\n\ncopy this? [y/N] ", lines(&text));
        // A read from a terminal cannot be cut short: it must not hold up the end of the process.
        let (answered, answer) = oneshot::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = io::stdin().read_line(&mut line);
            drop(answered.send(read.map(|_| line)));
        });
        let answer = answer.await.ok().and_then(|line| line.ok()).unwrap_or_default();
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }
}
