//! One run of a migration at a time: two would drop each other's jobs.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A locked file next to the SQLite file. The system unlocks it however the process ends; an
/// orderly end also removes it.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Locks the migration `name` on the SQLite file `database`.
    pub(super) fn take(database: &Path, name: &str) -> Result<Self> {
        let path = path_of(database, name);
        let cannot = |error: io::Error| {
            Error::usage(format!("{} cannot be created or locked: {error}", path.display()))
        };
        loop {
            let file = File::options().create(true).append(true).open(&path).map_err(cannot)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(already_running()),
                Err(TryLockError::Error(error)) => return Err(cannot(error)),
            }
            // A run that ended between the two calls above has removed its file, and the next run
            // would lock a new one.
            if is_at(&file, &path).map_err(cannot)? {
                return Ok(Self { path, _file: file });
            }
        }
    }
}

impl Lock {
    /// Whether another process holds the lock of the migration `name`.
    pub(super) fn is_held(database: &Path, name: &str) -> bool {
        let file = File::options().append(true).open(path_of(database, name));
        file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
    }
}

fn path_of(database: &Path, name: &str) -> PathBuf {
    let mut path = database.to_owned().into_os_string();
    path.push(format!(".{name}.lock"));
    PathBuf::from(path)
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Before it is unlocked; a file that is left over does no harm.
        let _ = fs::remove_file(&self.path);
    }
}

fn already_running() -> Error {
    Error::usage(
        "this migration is already running in another process on this machine: wait for it, or \
         stop it; to run another migration, name another source or destination",
    )
}

/// Whether `path` still refers to `file`.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_runs_once_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("d.sqlite");
        let first = Lock::take(&database, "one").unwrap();
        assert!(Lock::is_held(&database, "one") && !Lock::is_held(&database, "two"));
        let again = Lock::take(&database, "one").unwrap_err();
        assert!(again.to_string().contains("already running"), "{again}");
        let other = Lock::take(&database, "two").unwrap();
        drop(first);
        drop(Lock::take(&database, "one").unwrap());
        drop(other);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_lock_on_a_file_that_is_gone_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let file = File::create(&path).unwrap();
        assert!(is_at(&file, &path).unwrap());
        fs::remove_file(&path).unwrap();
        assert!(!is_at(&file, &path).unwrap());
        File::create(&path).unwrap();
        assert!(!is_at(&file, &path).unwrap());
    }
}
