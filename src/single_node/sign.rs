//! The sign that a run leaves on its machine. The same migration started from two folders would copy
//! everything twice: each folder has its own file of what was done.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use crate::error::{Error, Result};

/// A locked file that names the run. A run that is complete removes it; one that is not leaves it,
/// so that a run started in another folder can name the first folder.
#[derive(Debug)]
pub(super) struct Sign {
    path: PathBuf,
    _file: File,
}

#[derive(Debug, Deserialize, Serialize)]
struct Text {
    /// The SQLite file of the run.
    file: PathBuf,
    process: u32,
}

impl Sign {
    /// Leaves the sign of the migration `name` on the SQLite file `database`. Fails if the same
    /// migration runs from another folder; if signs cannot be left here, there is none.
    pub(super) fn leave(name: &str, database: &Path) -> Result<Option<Self>> {
        let folder = std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty());
        let folder = folder.map_or_else(std::env::temp_dir, PathBuf::from);
        Self::leave_in(&folder, name, database)
    }

    fn leave_in(folder: &Path, name: &str, database: &Path) -> Result<Option<Self>> {
        let opened = own_folder(folder).and_then(|folder| {
            let path = folder.join(format!("{name}.lock"));
            let options = File::options().read(true).append(true).create(true).open(&path);
            options.map(|file| (path, file))
        });
        let (path, mut file) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                debug!("no sign of this run can be left in {}: {error}", folder.display());
                return Ok(None);
            }
        };
        let mut there = String::new();
        let _ = file.read_to_string(&mut there);
        let there = serde_json::from_str(&there).ok();
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(runs_elsewhere(there)),
            Err(TryLockError::Error(_)) => return Ok(None),
        }
        let own = std::path::absolute(database).unwrap_or_else(|_| database.to_owned());
        if let Some(Text { file, .. }) = there.filter(|there: &Text| there.file != own)
            && file.exists()
        {
            warn!(
                "this migration was begun with {} and is not finished there: to go on with its \
                 parts and records, start it in that folder; here it begins anew",
                file.display()
            );
        }
        let text = Text { file: own, process: std::process::id() };
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| {
            file.write_all(serde_json::to_string(&text).unwrap_or_default().as_bytes())
        });
        if let Err(error) = written {
            debug!("{} cannot be written: {error}", path.display());
        }
        Ok(Some(Self { path, _file: file }))
    }

    /// Removes the sign of a run that is complete.
    pub(super) fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn runs_elsewhere(there: Option<Text>) -> Error {
    let place = match there {
        Some(Text { file, process }) => format!(" (process {process}, with {})", file.display()),
        None => String::new(),
    };
    Error::usage(format!(
        "this migration is already running in another process on this machine{place}: both would \
         copy every object; wait for it, or stop it"
    ))
}

/// The folder of this user's signs; others can neither read nor write in it.
fn own_folder(folder: &Path) -> io::Result<PathBuf> {
    let user = fs::metadata("/proc/self")?.uid();
    let path = folder.join(format!("s3-migration-{user}"));
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let there = fs::symlink_metadata(&path)?;
    match there.is_dir() && there.uid() == user {
        true => Ok(path),
        false => Err(io::Error::other("it belongs to somebody else")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_elsewhere_is_named_while_it_lives() {
        let folder = tempfile::tempdir().unwrap();
        let (here, there) = (folder.path().join("here"), folder.path().join("there"));
        let leave = |database: &Path| Sign::leave_in(folder.path(), "run-1", database);
        let first = leave(&here).unwrap().unwrap();
        let refused = leave(&there).unwrap_err().to_string();
        assert!(refused.contains(&here.display().to_string()), "{refused}");
        assert!(Sign::leave_in(folder.path(), "run-2", &there).unwrap().is_some());
        drop(first);
        leave(&there).unwrap().unwrap().remove();
        assert!(leave(&here).unwrap().is_some());
    }

    #[test]
    fn without_a_folder_of_its_own_it_does_without_a_sign() {
        let folder = tempfile::tempdir().unwrap();
        let none = Sign::leave_in(&folder.path().join("none"), "run-1", Path::new("x"));
        assert!(none.unwrap().is_none());
    }
}
