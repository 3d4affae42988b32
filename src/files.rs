//! Files that commands write: under their name they are whole, or as they were before.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A file that takes its name, in place of an old one, only when it is finished.
///
/// Until then its bytes are in `NAME.partial` next to it. A process that is killed leaves this one
/// behind, and the next that writes the same file takes it over, so that nothing piles up.
#[derive(Debug)]
pub struct WholeFile {
    path: PathBuf,
    partial: PathBuf,
    file: Option<BufWriter<File>>,
}

impl WholeFile {
    /// A file that will be at `path`. Fails if it cannot be written there, if something other than a
    /// file is there, or if another process is writing it.
    pub fn create(path: &Path) -> Result<Self> {
        let cannot = |error| cannot_write(path, error);
        // What a link points to is replaced, not the link.
        let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if target.exists() && !target.is_file() {
            return Err(cannot(io::Error::other("it is not a file")));
        }
        let partial = partial(&target);
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&partial);
        let file = file.map_err(cannot)?;
        // Two processes would mix their lines.
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Error::usage(format!(
                "{} is being written by another process: name another file, or wait for its end",
                path.display()
            )),
            TryLockError::Error(error) => cannot(error),
        })?;
        file.set_len(0).map_err(cannot)?;
        Ok(Self { path: target, partial, file: Some(BufWriter::new(file)) })
    }

    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(bytes).map_err(|error| cannot_write(&self.path, error))
    }

    /// Gives the file its name, once its bytes are on the disk.
    pub fn finish(mut self) -> Result<()> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        let written = file.flush().and_then(|()| file.get_ref().sync_all());
        // The lock is held until the file has its name.
        let named = written.and_then(|()| std::fs::rename(&self.partial, &self.path));
        named.map_err(|error| {
            let _ = std::fs::remove_file(&self.partial);
            cannot_write(&self.path, error)
        })
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            // It is not whole, and nobody asks for it.
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}

/// Writes a file with these bytes, in place of an old one.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = WholeFile::create(path)?;
    file.write(bytes)?;
    file.finish()
}

/// The error of a file that cannot be written, with its name.
pub fn cannot_write(path: &Path, error: io::Error) -> Error {
    Error::usage(format!("{} cannot be written: {error}", path.display())).with_source(error)
}

fn partial(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".partial");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_whole_or_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        replace(&path, b"old").unwrap();
        let mut file = WholeFile::create(&path).unwrap();
        file.write(b"half").unwrap();
        let other = WholeFile::create(&path).unwrap_err().to_string();
        assert!(other.contains("is being written by another process"), "{other}");
        drop(file);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["list"]);
    }

    #[test]
    fn what_a_killed_process_left_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        std::fs::write(partial(&path), b"a long beginning").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["list"]);
    }

    #[test]
    fn a_link_stays_and_what_is_no_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let [path, link] = ["list", "link"].map(|name| folder.path().join(name));
        std::fs::write(&path, b"old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        replace(&link, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert!(link.is_symlink());
        for other in [folder.path(), Path::new("/dev/null")] {
            let error = replace(other, b"").unwrap_err().to_string();
            assert!(error.contains("cannot be written: it is not a file"), "{error}");
        }
        assert_eq!(names(folder.path()), ["link", "list"]);
    }
}
