//! Lines also in a file, for a log agent.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::fields::{Fields, level};
use super::now;
use crate::error::{Error, Result};

/// Appends every line as text to a file. If the file is truncated in the meantime (logrotate's
/// `copytruncate`), writing continues at its start.
pub(super) struct LogFile {
    file: File,
    /// Set once a write has failed: the failure is reported once.
    failed: AtomicBool,
}

impl LogFile {
    /// Opens or creates the file that LogFile names.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path).map_err(|error| {
            let path = path.display();
            let message = format!("[Debug] LogFile: {path} cannot be opened for writing: {error}");
            Error::usage(message).with_source(error)
        })?;
        Ok(Self { file, failed: AtomicBool::new(false) })
    }
}

impl<S: Subscriber> Layer<S> for LogFile {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Fields::of(event).text(level(event), &now());
        line.push('\n');
        // One write, so that the lines of several threads do not mix.
        if let Err(error) = (&self.file).write_all(line.as_bytes())
            && !self.failed.swap(true, Ordering::Relaxed)
        {
            // Not as a log line, which would come back here.
            eprintln!("s3-migration: [Debug] LogFile cannot be written: {error}");
        }
    }
}
