//! `demo DIR`: proven, and gone without a trace.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use tempfile::TempDir;

use testkit::local::{MIB, files, noise};
use testkit::process::{Running, program, signal, until};

/// A folder with files, among them one in nine parts, and what is no file.
fn folder() -> (TempDir, u64) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("a/b")).unwrap();
    fs::write(at("large"), noise(45 * MIB, 1)).unwrap();
    fs::write(at("empty"), "").unwrap();
    fs::write(at("a/b/ü 文件+%2F"), "odd").unwrap();
    fs::write(folder.path().join(OsStr::from_bytes(b"not\xffutf8")), "no key can be this").unwrap();
    symlink(at("large"), at("link")).unwrap();
    symlink("/", at("a/everything")).unwrap();
    fs::write(at("locked"), "nobody may read this").unwrap();
    fs::set_permissions(at("locked"), PermissionsExt::from_mode(0o0)).unwrap();
    // Root reads everything.
    let readable = fs::File::open(at("locked")).is_ok();
    (folder, if readable { 4 } else { 3 })
}

fn start(data: &Path, temporary: &Path) -> Running {
    let mut command = program(temporary, temporary);
    command.arg("demo").arg(data).env("TMPDIR", temporary).process_group(0);
    Running::start(command)
}

/// No file, and no process that was started for it.
async fn assert_nothing_left(temporary: &Path) {
    assert_eq!(files(temporary), [""; 0]);
    // A process that has been killed is seen for a moment longer.
    until("no worker is left", async || workers(temporary) == 0).await;
}

/// How many processes have the folder in their arguments.
fn workers(temporary: &Path) -> usize {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let arguments = all.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    let folder = temporary.to_str().unwrap();
    arguments.filter(|line| String::from_utf8_lossy(line).contains(folder)).count()
}

/// Promise 1.
#[tokio::test]
async fn a_folder_is_migrated_and_proven() {
    let ((data, objects), temporary) = (folder(), tempfile::tempdir().unwrap());
    let ended = start(data.path(), temporary.path()).ended().await.with_status(0);
    for words in [
        format!("{objects} objects with 45.0 MiB put into the source"),
        format!("({} left out: links, special or unreadable files)", 7 - objects),
        "killed (SIGKILL): 3 of 9 parts of \"large\" are there".to_owned(),
        "with 3 of 9 parts of \"large\" sent".to_owned(),
        "which sent 6 parts; uploads left: 0".to_owned(),
        format!("proven   {objects} of {objects} objects read on both sides: equal"),
    ] {
        assert!(ended.stdout.contains(&words), "no {words:?} in {}", ended.all());
    }
    let screen = ended.stdout.split_once("What you have just seen").unwrap().1;
    assert!(screen.lines().count() < 9, "{screen}");
    assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
    assert_nothing_left(temporary.path()).await;
}

#[tokio::test]
async fn an_interrupted_demo_leaves_nothing_behind() {
    let ((data, _), temporary) = (folder(), tempfile::tempdir().unwrap());
    let mut demo = start(data.path(), temporary.path());
    demo.prints("workers started").await;
    // The arguments of a process show a moment after it has been started.
    until("two workers", async || workers(temporary.path()) == 2).await;
    // As a terminal does it: the workers hear it too.
    signal("INT", &format!("-{}", demo.id()));
    let ended = demo.ended().await.with_status(1);
    assert!(ended.stderr.contains("the demo was stopped"), "{}", ended.all());
    assert_nothing_left(temporary.path()).await;
}
