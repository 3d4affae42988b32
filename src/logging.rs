//! Logging: text or JSON on stderr, the systemd journal, a file.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::MultiProgress;
use systemd_journal_logger::connected_to_journal;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Debug, LogFormat, LogLevel};
use crate::error::{Error, Result};
use crate::format::escape::{lines, shown};

mod fields;
mod file;
mod held;
mod journal;
pub mod scope;
mod terminal;

use fields::{Fields, Spans, around, level, plain};
use file::LogFile;
pub use held::HeldLines;
use journal::Journal;
use terminal::Terminal;

static BARS: OnceLock<MultiProgress> = OnceLock::new();

/// The progress bars of this process; log lines step around them.
pub fn bars() -> &'static MultiProgress {
    BARS.get_or_init(MultiProgress::new)
}

/// Set if lines are read by programs: JSON, or the journal.
static STRUCTURED: AtomicBool = AtomicBool::new(false);

/// Writes how far the work is: to stderr as it is, or as a log line if programs read those.
pub fn progress(line: &str) {
    match STRUCTURED.load(Ordering::Relaxed) {
        true => tracing::info!("{line}"),
        false => drop(writeln!(io::stderr(), "{line}")),
    }
}

/// Writes a line to stdout, stepping around progress bars. If stdout is closed, the work goes on.
pub fn say(line: impl std::fmt::Display) {
    let line = lines(&line.to_string());
    let write = || drop(writeln!(io::stdout(), "{line}"));
    match BARS.get() {
        Some(bars) => bars.suspend(write),
        None => write(),
    }
}

const POISONING: &str = "aws_smithy_runtime::client::http::connection_poisoning";

/// Starts logging, once per process. Other crates log from ERROR up, at DEBUG from WARN up.
pub fn start(config: &Debug) -> Result<()> {
    let (own, others) = match config.logging_level {
        LogLevel::Warning => (LevelFilter::WARN, LevelFilter::ERROR),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::ERROR),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::WARN),
    };
    // The demo's endpoint logs every 404 as an error; and a connection that breaks before it is
    // established is reported by the call itself, with what was tried.
    let targets = Targets::new()
        .with_target("s3_migration", own)
        .with_target("s3_endpoint", own)
        .with_target("s3s", LevelFilter::OFF)
        .with_target(POISONING, LevelFilter::OFF)
        .with_default(others);
    let format = config.log_format;
    let to_journal = match format {
        LogFormat::Auto => connected_to_journal(),
        LogFormat::Journal => true,
        LogFormat::Text | LogFormat::Json => false,
    };
    STRUCTURED.store(to_journal || format == LogFormat::Json, Ordering::Relaxed);
    let file = config.log_file.as_deref().map(LogFile::open).transpose()?;
    let journal = to_journal.then(Journal::connect).transpose()?;
    let style = match format {
        LogFormat::Json => Style::Json,
        LogFormat::Auto if io::stderr().is_terminal() => Style::Terminal(terminal()),
        _ => Style::Text,
    };
    let lines = (!to_journal).then_some(StderrLines { style });
    let registry = tracing_subscriber::registry().with(targets).with(Spans);
    let started = registry.with(journal).with(lines).with(file).try_init();
    started.map_err(|error| Error::usage("logging was started twice").with_source(error))
}

/// The target for the error that ends a command: `main` alone writes it to stderr.
const END: &str = "s3_migration::end";

/// Writes the error that ends this process to the journal and to the file, for operators of a
/// cluster. On stderr `main` writes it.
pub fn ended_by(error: &Error) {
    tracing::error!(target: END, "ended: {error}");
}

/// The same for an unusable configuration: it has started no log, but if the environment names a
/// LogFile, as the units do, that file can be written to.
pub fn unusable(error: &Error) {
    let Some(path) = std::env::var_os("LogFile") else { return };
    let Ok(mut file) = std::fs::OpenOptions::new().append(true).create(true).open(path) else {
        return;
    };
    let text = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    let _ = writeln!(file, "ERROR {} ended: {}", now(), shown(&text));
}

/// The current time; in a function, the request's id follows it, as in the lines of Lambda's own
/// runtimes: `LEVEL TIME REQUEST message`.
fn stamp<S: Subscriber + for<'a> LookupSpan<'a>>(
    event: &Event<'_>,
    context: &Context<'_, S>,
) -> String {
    let around = around(event, context);
    match around.iter().find(|(name, _)| *name == scope::REQUEST) {
        Some((_, request)) => format!("{} {}", now(), shown(&plain(request))),
        None => now(),
    }
}

/// The current time for a line, in UTC.
fn now() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default()
}

fn terminal() -> Terminal {
    let [no_color, term] = ["NO_COLOR", "TERM"].map(|name| std::env::var(name).ok());
    Terminal::new(no_color.as_deref(), term.as_deref())
}

/// A result for stdout, with its failures set off if that is a terminal with colours.
pub fn result(text: String) -> String {
    if io::stdout().is_terminal() { terminal().result(&text) } else { text }
}

/// How lines look on stderr.
#[derive(Clone, Copy, Debug)]
enum Style {
    Json,
    Text,
    Terminal(Terminal),
}

/// Writes every event as one line on stderr, stepping around progress bars.
struct StderrLines {
    style: Style,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for StderrLines {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.metadata().target() == END {
            return;
        }
        let (fields, level) = (Fields::of(event), level(event));
        let line = match self.style {
            Style::Json => fields.json(level, &now(), &around(event, &context)),
            Style::Text => fields.text(level, &stamp(event, &context)),
            Style::Terminal(terminal) => {
                terminal.line(level, OffsetDateTime::now_utc(), &fields.words())
            }
        };
        let Some(line) = held::unless_held(line) else { return };
        let write = || drop(writeln!(io::stderr(), "{line}"));
        match BARS.get() {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }
}
