//! One file for each command: configuration in, exit status out.

use std::io::{self, Write};

use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tracing::info;

use crate::cli::{Cli, Command, DemoArgs};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::format::escape;
use crate::logging;
use crate::shutdown::{Halt, signalled};

mod asking;
mod backends;
mod check;
mod cleanup;
mod comparing;
mod failed;
mod forecast;
mod help;
mod jobsender;
mod key_list;
mod limit;
mod origins;
mod report;
mod run;
mod run_blocks;
mod serving;
mod status;
mod verify;
mod watch;
mod worker;

/// The exit status of a command that ran to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything is done.
    Done,
    /// Finished, but not everything arrived, or something is wrong.
    Incomplete,
    /// A service could not be reached, or refused.
    Unreached,
    /// Nothing is wrong as far as was looked, but not everything could be looked at.
    NotAllSeen,
    /// A source lists no object, or a pattern matches no key.
    NothingMatched,
}

impl Exit {
    /// The process exit status.
    pub fn status(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Incomplete => 1,
            Self::Unreached => 3,
            Self::NotAllSeen => 4,
            Self::NothingMatched => 5,
        }
    }
}

/// Reads the configuration, starts logging and carries out the command on `runtime`.
///
/// This is no async function, so that the library holds the code of all that it calls: the binary
/// would otherwise compile most of it a second time.
pub fn execute_on(runtime: &Runtime, cli: Cli) -> Result<Exit> {
    runtime.block_on(execute(cli))
}

async fn execute(cli: Cli) -> Result<Exit> {
    let config = match &cli.command {
        // What the program says about itself does not depend on an ini that may be wrong.
        Command::Help(args) => return help::show(args),
        Command::Completions(args) => return help::complete(args),
        Command::Man(args) => return help::write_manual(args),
        // The demo has its own configuration, so that it is the same on every machine.
        Command::Demo(_) => Config::default(),
        _ => Config::load_with(cli.config.as_deref(), std::env::vars_os(), &cli.given())
            .inspect_err(logging::unusable)?,
    };
    logging::start(&config.debug)?;
    let ended = match cli.command {
        Command::Jobsender(args) => jobsender::execute(&config, &args).await,
        Command::Worker(args) => worker::execute(&config, &args).await,
        Command::Run(args) => run::execute(&config, &args).await,
        Command::Demo(args) => demo(&args).await,
        Command::Status(args) => status::execute(&config, &args).await,
        Command::Limit(args) => limit::limit(&config, &args).await,
        Command::Pause(args) => limit::pause(&config, &args).await,
        Command::Resume(args) => limit::resume(&config, &args).await,
        Command::Failed(args) => failed::execute(&config, &args).await,
        Command::Cleanup(args) => cleanup::execute(&config, &args).await,
        Command::Verify(args) => verify::execute(&config, &args).await,
        Command::Report(args) => report::execute(&config, &args).await,
        Command::Check(args) => check::execute(&config, &args).await,
        // Shown already.
        Command::Help(_) | Command::Completions(_) | Command::Man(_) => Ok(Exit::Done),
    };
    ended.inspect_err(logging::ended_by)
}

async fn demo(args: &DemoArgs) -> Result<Exit> {
    let program = std::env::current_exe()
        .map_err(|e| Error::usage(format!("cannot find this program's own file: {e}")))?;
    let halt = Halt::new();
    let signals = stop_on_signal(&halt)?;
    let verified = crate::demo::run(args.dir.as_deref(), program, &halt).await?;
    signals.abort();
    Ok(if verified { Exit::Done } else { Exit::Incomplete })
}

/// The first signal stops, the second aborts.
fn stop_on_signal(halt: &Halt) -> Result<JoinHandle<()>> {
    let halt = halt.clone();
    let mut signals = signalled()
        .map_err(|error| Error::usage("cannot listen for signals").with_source(error))?;
    Ok(tokio::spawn(async move {
        let signal = signals.next().await;
        info!("{signal}: stopping, a second signal aborts running parts");
        halt.stop_because(signal);
        signals.next().await;
        halt.abort.cancel();
    }))
}

/// Writes a result to stdout: as JSON, or as text.
fn print(json: bool, result: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
    let cannot = |error: Box<dyn std::error::Error + Send + Sync>| {
        Error::usage(format!("the result cannot be written: {error}"))
    };
    let text = match json {
        true => escape::json(&serde_json::to_string(result).map_err(|e| cannot(e.into()))?),
        false => logging::result(escape::lines(&text())),
    };
    match writeln!(io::stdout(), "{text}") {
        // The reader has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|e| cannot(e.into())),
    }
}
