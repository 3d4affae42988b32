//! Finds the ini and lays the environment over it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::problem::Problems;
use super::{Config, Given, function, layers, single_node_ini, typed};
use crate::error::{Error, Result};

/// Where the ini is looked for if none is named; the first file that exists is read. The second is
/// the original's name.
pub const DEFAULT_FILES: [&str; 3] = [
    "s3_migration_config.ini",
    "s3_migration_cluster_config.ini",
    "/etc/s3-migration/s3_migration_config.ini",
];

/// The ignore list that is used if neither a file nor a parameter gives one; it is next to the ini.
pub const IGNORE_LIST_FILE: &str = "s3_migration_ignore_list.txt";

impl Config {
    /// Reads the ini that the user named, or else the first of [`DEFAULT_FILES`] that exists, or
    /// else only defaults, and lays the environment over it. The error lists every problem.
    pub fn load<K, V>(
        explicit: Option<&Path>,
        env: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self>
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        Self::load_with(explicit, env, &[])
    }

    /// The same, with what the command line says laid over both.
    pub fn load_with<K, V>(
        explicit: Option<&Path>,
        env: impl IntoIterator<Item = (K, V)>,
        given: &[Given],
    ) -> Result<Self>
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        match explicit {
            Some(file) => load_first(&[file], true, env, given),
            None => load_first(&DEFAULT_FILES.map(Path::new), false, env, given),
        }
    }

    /// The configuration of a Lambda function: the first of [`DEFAULT_FILES`] that is in its
    /// package, if there is one, and its environment over it, with the names that the original's
    /// functions have. Also returns lines for the log.
    pub fn load_in_function<K, V>(
        env: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(Self, Vec<String>)>
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        Self::load_in_package(&DEFAULT_FILES.map(Path::new), env)
    }

    /// The same, with the first of these files.
    pub(super) fn load_in_package<K, V>(
        files: &[&Path],
        env: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(Self, Vec<String>)>
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        let mut problems = Problems::default();
        let environment = function::read(env, &mut problems);
        let ini = first_ini(files, false, &mut problems)?;
        let mut found = vec![environment.below];
        found.extend(ini.layer);
        found.push(environment.layer);
        let config = Config { file: ini.file, ..merge(found, ini.folder, problems)? };
        Ok((config, environment.notices))
    }

    /// Reads `text` as if it were in a file called `name`, and lays the environment over it.
    pub fn from_text<K, V>(
        name: &str,
        text: &str,
        env: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self>
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        let mut problems = Problems::default();
        let ini = layers::ini(name, text.as_bytes(), None, &mut problems);
        let env = layers::environment(env, &mut problems);
        merge(vec![ini, env], None, problems)
    }
}

impl Default for Config {
    /// The defaults of the table of keys.
    fn default() -> Self {
        merge(Vec::new(), None, Problems::default()).expect("the table's defaults are valid")
    }
}

/// Reads the first of `files` that exists; `required`: it is a problem if none does.
fn load_first<K, V>(
    files: &[&Path],
    required: bool,
    env: impl IntoIterator<Item = (K, V)>,
    given: &[Given],
) -> Result<Config>
where
    K: Into<OsString>,
    V: Into<OsString>,
{
    let mut problems = Problems::default();
    let ini = first_ini(files, required, &mut problems)?;
    let mut found: Vec<_> = ini.layer.into_iter().collect();
    found.push(layers::environment(env, &mut problems));
    found.push(layers::command_line(given));
    Ok(Config { file: ini.file, ..merge(found, ini.folder, problems)? })
}

/// What was read of an ini, and its folder.
#[derive(Default)]
struct FoundIni {
    layer: Option<layers::Layer>,
    folder: Option<PathBuf>,
    file: Option<PathBuf>,
}

fn first_ini(files: &[&Path], required: bool, problems: &mut Problems) -> Result<FoundIni> {
    for file in files {
        let name = file.display().to_string();
        match std::fs::read(file) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                if let Some(answer) = single_node_ini::answer(&name, &text) {
                    return Err(Error::usage(answer));
                }
                let folder = Some(folder_of(file));
                let layer = Some(layers::ini(&name, &bytes, folder.as_deref(), problems));
                return Ok(FoundIni { layer, folder, file: Some((*file).to_owned()) });
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !required => {}
            Err(e) => {
                problems.add(name, format!("cannot be read: {e}"));
                break;
            }
        }
    }
    Ok(FoundIni::default())
}

fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Lays the layers over the defaults, later ones over earlier ones.
fn merge(
    layers: Vec<layers::Layer>,
    folder: Option<PathBuf>,
    mut problems: Problems,
) -> Result<Config> {
    let mut builder = ::config::Config::builder().add_source(layers::defaults());
    for layer in layers {
        builder = builder.add_source(layer);
    }
    let merged =
        builder.build().map_err(|e| Error::usage("configuration cannot be used").with_source(e))?;
    let config = typed::config(&mut typed::ValueReader::new(merged, &mut problems), folder);
    problems.into_result()?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::super::Count;
    use super::*;

    const NOBODY: [(&str, &str); 0] = [];

    #[test]
    fn the_first_file_that_exists_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two, three] = ["1.ini", "2.ini", "3.ini"].map(|name| folder.path().join(name));
        let files = [one.as_path(), two.as_path(), three.as_path()];
        let none = load_first(&files, false, NOBODY, &[]).unwrap();
        assert_eq!((none.folder.clone(), none), (None, Config::default()));
        std::fs::write(&two, "[Mode]\nMaxThread = 2").unwrap();
        std::fs::write(&three, "[Mode]\nMaxThread = 3\nnonsense").unwrap();
        let second = load_first(&files, false, NOBODY, &[]).unwrap();
        assert_eq!((second.mode.max_thread, second.file), (Count::Fixed(2), Some(two)));
    }

    #[test]
    fn a_file_that_is_there_and_cannot_be_read_is_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let two = folder.path().join("2.ini");
        std::fs::write(&two, "").unwrap();
        let error = load_first(&[folder.path(), &two], false, NOBODY, &[]).unwrap_err();
        assert!(error.to_string().contains("cannot be read"), "{error}");
    }
}
