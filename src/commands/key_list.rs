//! Writes the keys of failed objects to a file that `--keys` takes again.

use std::fs::Permissions;
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use tracing::warn;

use super::comparing::cannot_write;
use crate::error::Result;
use crate::object::ObjectId;

/// A file of keys, one a line, byte for byte. It takes its name only when it is finished, so that it
/// may replace the file that the keys of this very run are read from.
#[derive(Debug)]
pub(super) struct KeyList {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
    left_out: u64,
}

impl KeyList {
    /// A list that will be at `path`, in place of an old one.
    pub(super) fn create(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Err(cannot_write(path, std::io::ErrorKind::IsADirectory.into()));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let file = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))
            .map_err(|error| cannot_write(path, error))?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file), left_out: 0 })
    }

    /// Adds the key of an object at the source.
    pub(super) fn add(&mut self, src: &ObjectId) -> Result<()> {
        let key = src.key.as_str();
        // A line of the file is a key as it is.
        if key.contains('\n') || key.ends_with('\r') {
            self.left_out += 1;
            return Ok(());
        }
        writeln!(self.file, "{key}").map_err(|error| cannot_write(&self.path, error))
    }

    /// Writes what is left, and gives the file its name.
    pub(super) fn finish(self) -> Result<()> {
        if self.left_out > 0 {
            warn!(
                keys = self.left_out,
                "keys with a line break are not in {}: a file of keys cannot hold them; \
                 s3-migration failed --export has them",
                self.path.display()
            );
        }
        let cannot = |error| cannot_write(&self.path, error);
        let file = self.file.into_inner().map_err(|error| cannot(error.into_error()))?;
        // A temporary file is its owner's alone; this one is like any other that a command writes.
        let file = file.persist(&self.path).map_err(|error| cannot(error.error))?;
        file.set_permissions(Permissions::from_mode(0o644)).map_err(cannot)
    }
}
