//! The commands: configuration in, exit status out.

use std::io::{self, Write};
use std::sync::Arc;

use serde::Serialize;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::cli::{Cli, Command, DemoArgs, WorkerArgs};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::monitor::Monitor;
use crate::observe;
use crate::services::{self, Sides};
use crate::shutdown::{Halt, signalled};
use crate::worker::Worker;

mod comparing;
mod jobsender;
mod origins;
mod outlook;
mod run;
mod status;

/// The exit status of a command that ran to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything is done.
    Done,
    /// Finished, but not everything arrived.
    Incomplete,
}

impl Exit {
    /// The process exit status.
    pub fn status(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Incomplete => 1,
        }
    }
}

/// Reads the configuration, starts logging and carries out the command.
pub async fn execute(cli: Cli) -> Result<Exit> {
    // The demo has a configuration of its own, and shows the same on every machine.
    let config = match cli.command {
        Command::Demo(_) => Config::default(),
        _ => Config::load(cli.config.as_deref(), std::env::vars_os())?,
    };
    observe::start(config.debug.log_format, config.debug.logging_level)?;
    match cli.command {
        Command::Jobsender(args) => jobsender::execute(&config, &args).await,
        Command::Worker(args) => worker(&config, &args).await,
        Command::Run(args) => run::execute(&config, &args).await,
        Command::Demo(args) => demo(&args).await,
        Command::Status(args) => status::execute(&config, &args).await,
    }
}

async fn demo(args: &DemoArgs) -> Result<Exit> {
    let program = std::env::current_exe()
        .map_err(|e| Error::usage(format!("this program's own file is not known: {e}")))?;
    let halt = Halt::new();
    let signals = stop_on_signal(&halt)?;
    let verified = crate::demo::run(args.dir.as_deref(), program, &halt).await?;
    signals.abort();
    Ok(if verified { Exit::Done } else { Exit::Incomplete })
}

async fn worker(config: &Config, args: &WorkerArgs) -> Result<Exit> {
    let parameters = services::parameters();
    let queue = services::queue(config).await?;
    let state = services::state(config).await?;
    let sides = Sides::open(config, &parameters, false).await?;
    let monitor = Arc::new(Monitor::default());
    let engine = services::engine(config, sides, state, Arc::clone(&monitor));
    let memory_mib = engine.budget.total() / crate::object::MIB;
    let parallel = services::at_once(config).objects;
    let halt = Halt::new();
    let signals = stop_on_signal(&halt)?;
    info!(instance = engine.instance, memory_mib, parallel, "worker started");
    if args.until_stdin_closes {
        stop_on_closed_stdin(&halt);
    }
    let end = CancellationToken::new();
    let traffic = tokio::spawn({
        let (monitor, interval, end) =
            (Arc::clone(&monitor), config.debug.log_interval, end.clone());
        async move { monitor.log_traffic_every(interval, end).await }
    });
    let ended = Worker::new(queue, engine, services::worker_settings(config)).run(&halt).await;
    end.cancel();
    traffic.await.map_err(|join| Error::cancelled().with_source(join))?;
    signals.abort();
    let counts = monitor.counts();
    info!(done = counts.done, failed = counts.failed, returned = counts.returned, "worker stopped");
    ended.map(|()| Exit::Done)
}

/// The first signal stops, the second aborts.
fn stop_on_signal(halt: &Halt) -> Result<JoinHandle<()>> {
    let halt = halt.clone();
    let mut signals = signalled()
        .map_err(|error| Error::usage("signals cannot be listened to").with_source(error))?;
    Ok(tokio::spawn(async move {
        let signal = signals.next().await;
        info!("{signal}: stopping, a second one cuts what is running");
        halt.stop.cancel();
        signals.next().await;
        halt.abort.cancel();
    }))
}

fn stop_on_closed_stdin(halt: &Halt) {
    let stop = halt.stop.clone();
    // A thread of its own: a blocking read would keep the runtime from ending.
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        stop.cancel();
    });
}

/// Writes a result to stdout: as JSON, or as text.
fn print(json: bool, result: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
    let cannot = |error: Box<dyn std::error::Error + Send + Sync>| {
        Error::usage(format!("the result cannot be written: {error}"))
    };
    let text = match json {
        true => serde_json::to_string(result).map_err(|e| cannot(e.into()))?,
        false => text(),
    };
    match writeln!(io::stdout(), "{text}") {
        // Whoever reads has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|e| cannot(e.into())),
    }
}
