//! Tools from the Python package index. The tests install each once, into its own virtual environment in
//! the build folder or in `S3_MIGRATION_TEST_CACHE`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder that keeps tools between runs.
pub fn cache() -> PathBuf {
    match std::env::var_os("S3_MIGRATION_TEST_CACHE") {
        Some(folder) => PathBuf::from(folder),
        None => build_folder().join("tmp"),
    }
}

/// The target folder, two folders above a test binary such as `debug/deps/local-0123`.
fn build_folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own file");
    test.ancestors().nth(3).expect("cargo puts tests into folders").to_owned()
}

/// A Python with this version of a package, which is installed if it is missing. `probe` is a
/// program that shows whether the installation works. Test binaries that run at the same time wait
/// for the first one to install it.
pub fn python_with(package: &str, version: &str, probe: &str) -> PathBuf {
    let folder = cache().join(format!("{package}-{version}"));
    let python = folder.join("bin/python");
    fs::create_dir_all(cache()).expect("the test cache can be created");
    let lock = File::create(cache().join(format!("{package}-{version}.lock")))
        .expect("the lock file can be created");
    lock.lock().expect("the lock file can be locked");
    // Run it to find out: the Python that the environment was made from may be gone.
    let probed = Command::new(&python)
        .args(["-c", probe])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !folder.join("complete").exists() || !probed.is_ok_and(|status| status.success()) {
        let _ = fs::remove_dir_all(&folder);
        let folder_name = folder.to_str().expect("the test cache has a UTF-8 path");
        run(Path::new("python3"), &["-m", "venv", folder_name]);
        let package = format!("{package}=={version}");
        run(&python, &["-m", "pip", "install", "--quiet", "--no-input", &package]);
        File::create(folder.join("complete")).expect("the environment can be marked complete");
    }
    python
}

fn run(program: &Path, args: &[&str]) {
    let shown = format!("{} {}", program.display(), args.join(" "));
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = output
        .unwrap_or_else(|e| panic!("{shown}: {e}; the tests need Python 3 with venv and pip"));
    assert!(
        output.status.success(),
        "{shown} failed; the tests need Python 3 with venv and pip, and its package index:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
