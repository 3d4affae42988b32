//! Lines as entries of the systemd journal.

use log::Log;
use systemd_journal_logger::JournalLog;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::fields::{Fields, around, level, plain};
use crate::error::{Error, Result};
use crate::format::escape::shown;

/// Sends every line to the journal. Its fields become fields of the entry, in capitals as the
/// journal requires: LEVEL, BUCKET, KEY, PART, JOB and any others.
pub(super) struct Journal(JournalLog);

impl Journal {
    pub(super) fn connect() -> Result<Self> {
        let journal = JournalLog::new().map_err(|error| {
            Error::usage("LogFormat is journal, but the systemd journal cannot be reached")
                .with_source(error)
        })?;
        Ok(Self(journal.with_syslog_identifier("s3-migration".to_owned())))
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let fields = Fields::of(event);
        let mut all = vec![("level", level(event).to_owned())];
        let with = fields.with(&around(event, &context)).into_iter();
        all.extend(with.map(|(name, value)| match name {
            // Exact, since users filter by them; journalctl displays them in its own way.
            "bucket" | "key" => (name, plain(&value)),
            _ => (name, shown(&plain(&value)).to_string()),
        }));
        let priority = match *event.metadata().level() {
            tracing::Level::ERROR => log::Level::Error,
            tracing::Level::WARN => log::Level::Warn,
            tracing::Level::INFO => log::Level::Info,
            tracing::Level::DEBUG => log::Level::Debug,
            tracing::Level::TRACE => log::Level::Trace,
        };
        self.0.log(
            &log::Record::builder()
                .level(priority)
                .target(event.metadata().target())
                .key_values(&all.as_slice())
                .args(format_args!("{}", shown(&fields.message)))
                .build(),
        );
    }
}
