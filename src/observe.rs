//! Logging: text or JSON on stderr, or the systemd journal with fields.

use std::io::{self, Write};
use std::sync::OnceLock;

use indicatif::MultiProgress;
use log::Log;
use systemd_journal_logger::{JournalLog, connected_to_journal};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, LogLevel};
use crate::error::{Error, Result};

static BARS: OnceLock<MultiProgress> = OnceLock::new();

/// The progress bars of this process; log lines step around them.
pub fn bars() -> &'static MultiProgress {
    BARS.get_or_init(MultiProgress::new)
}

/// Writes a line to stdout, stepping around progress bars. Where nobody reads it any more, the work
/// it tells of goes on.
pub fn say(line: impl std::fmt::Display) {
    let write = || drop(writeln!(io::stdout(), "{line}"));
    match BARS.get() {
        Some(bars) => bars.suspend(write),
        None => write(),
    }
}

/// Starts logging, once per process. Other crates are heard from ERROR up, at DEBUG from WARN up.
pub fn start(format: LogFormat, level: LogLevel) -> Result<()> {
    let (own, others) = match level {
        LogLevel::Warning => (LevelFilter::WARN, LevelFilter::ERROR),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::ERROR),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::WARN),
    };
    // The demo's endpoint calls every 404 an error.
    let targets = Targets::new()
        .with_target("s3_migration", own)
        .with_target("s3s", LevelFilter::OFF)
        .with_default(others);
    let registry = tracing_subscriber::registry().with(targets);
    let journal = match format {
        LogFormat::Auto => connected_to_journal(),
        LogFormat::Journal => true,
        LogFormat::Text | LogFormat::Json => false,
    };
    let started = if journal {
        registry.with(Journal::connect()?).try_init()
    } else {
        registry.with(Lines { json: format == LogFormat::Json }).try_init()
    };
    started.map_err(|error| Error::usage("logging was started twice").with_source(error))
}

/// Writes every event as one line on stderr, stepping around progress bars.
///
/// tracing-subscriber's own lines say WARN; the metric filters of the original count WARNING.
struct Lines {
    json: bool,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = match *event.metadata().level() {
            tracing::Level::WARN => "WARNING",
            ref level => level.as_str(),
        };
        let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let line = match self.json {
            true => fields.json(level, &now),
            false => fields.text(level, &now),
        };
        let write = || drop(writeln!(io::stderr(), "{line}"));
        match BARS.get() {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }
}

/// Hands every event to the journal, its fields as journal fields.
struct Journal(JournalLog);

impl Journal {
    fn connect() -> Result<Self> {
        let journal = JournalLog::new().map_err(|error| {
            Error::usage("LogFormat is journal, but the systemd journal cannot be reached")
                .with_source(error)
        })?;
        Ok(Self(journal.with_syslog_identifier("s3-migration".to_owned())))
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Fields {
    /// `LEVEL TIME message name=value`.
    fn text(&self, level: &str, now: &str) -> String {
        let mut line = format!("{level} {now} {}", self.message);
        for (name, value) in &self.others {
            line.push_str(&format!(" {name}={value}"));
        }
        line
    }

    fn json(&self, level: &str, now: &str) -> String {
        let mut line = serde_json::Map::new();
        let fixed = [("time", now), ("level", level), ("message", &self.message)];
        for (name, value) in fixed {
            line.insert(name.to_owned(), value.into());
        }
        for (name, value) in &self.others {
            line.insert((*name).to_owned(), value.as_str().into());
        }
        serde_json::Value::Object(line).to_string()
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.others.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.others.push((name, format!("{value:?}"))),
        }
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = match *event.metadata().level() {
            tracing::Level::ERROR => log::Level::Error,
            tracing::Level::WARN => log::Level::Warn,
            tracing::Level::INFO => log::Level::Info,
            tracing::Level::DEBUG => log::Level::Debug,
            tracing::Level::TRACE => log::Level::Trace,
        };
        self.0.log(
            &log::Record::builder()
                .level(level)
                .target(event.metadata().target())
                .key_values(&fields.others.as_slice())
                .args(format_args!("{}", fields.message))
                .build(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_level_time_message_and_fields() {
        let fields = Fields {
            message: "--->Uploading 5 b/k".to_owned(),
            others: vec![("object", "b/\"k\"".to_owned())],
        };
        assert_eq!(fields.text("WARNING", "now"), "WARNING now --->Uploading 5 b/k object=b/\"k\"");
        let json: serde_json::Value =
            serde_json::from_str(&fields.json("WARNING", "now")).expect("valid JSON");
        assert_eq!(json["level"], "WARNING");
        assert_eq!(json["object"], "b/\"k\"");
    }
}
