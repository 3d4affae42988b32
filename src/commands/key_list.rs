//! Writes the keys of failed objects to a file that `--keys` takes again.

use std::path::{Path, PathBuf};

use tracing::warn;

use crate::error::Result;
use crate::files::WholeFile;
use crate::object::ObjectId;

/// A file of keys, one a line, byte for byte. It takes its name only when it is finished, so that it
/// may replace the file that the keys of this very run are read from.
#[derive(Debug)]
pub(super) struct KeyList {
    path: PathBuf,
    file: WholeFile,
    left_out: u64,
}

impl KeyList {
    /// A list that will be at `path`, in place of an old one.
    pub(super) fn create(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), file: WholeFile::create(path)?, left_out: 0 })
    }

    /// Adds the key of an object at the source.
    pub(super) fn add(&mut self, src: &ObjectId) -> Result<()> {
        let key = src.key.as_str();
        // A line of the file is a key as it is.
        if key.contains('\n') || key.ends_with('\r') {
            self.left_out += 1;
            return Ok(());
        }
        self.file.write(key.as_bytes())?;
        self.file.write(b"\n")
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
        self.file.finish()
    }
}
