//! What there is to download: each archive and each .deb is installed and run in a clean root.
//!
//! `just dist` builds the real ones and names their folder in `S3_MIGRATION_DIST`. Otherwise the binary of
//! the tests is packed, for this architecture only: it is not static, so the C library comes along.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::clean::Root;
use testkit::local::{ALL, Local, MIB, noise};
use testkit::process::program;
use testkit::python::python_with;

const CYCLONEDX: &str = "11.12.0";
const VERSION: &str = env!("CARGO_PKG_VERSION");
const UNITS: [&str; 3] = [
    "s3-migration-worker.service",
    "s3-migration-jobsender.service",
    "s3-migration-jobsender.timer",
];

/// An architecture, as the archive names it and as Debian does.
type Architecture = (&'static str, &'static str);
const ARCHITECTURES: [Architecture; 2] = [("x86_64", "amd64"), ("aarch64", "arm64")];

struct Downloads {
    folder: PathBuf,
    architectures: Vec<Architecture>,
    are_real: bool,
}

static DOWNLOADS: LazyLock<Downloads> =
    LazyLock::new(|| match std::env::var_os("S3_MIGRATION_DIST") {
        Some(folder) => {
            let (folder, architectures) = (PathBuf::from(folder), ARCHITECTURES.to_vec());
            Downloads { folder, architectures, are_real: true }
        }
        None => {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("download");
            let _ = fs::remove_dir_all(&folder);
            succeeded(&packed(&STRIPPED, &folder));
            let architectures = vec![own()];
            Downloads { folder, architectures, are_real: false }
        }
    });

/// This machine's.
fn own() -> Architecture {
    let own = ARCHITECTURES.into_iter().find(|(name, _)| *name == std::env::consts::ARCH);
    own.expect("an architecture that is packed")
}

/// The binary of the tests, half as large.
static STRIPPED: LazyLock<PathBuf> = LazyLock::new(|| {
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("s3-migration-stripped");
    let mut strip = Command::new("strip");
    strip.arg("-o").arg(&to).arg(env!("CARGO_BIN_EXE_s3-migration"));
    succeeded(&strip.output().expect("strip is installed, with the C compiler"));
    to
});

fn packed(binary: &Path, out: &Path) -> Output {
    let mut package = Command::new("packer/package.sh");
    package.arg("--fast").arg("--out").arg(out);
    package.arg(format!("{}={}", own().0, binary.display()));
    package.output().expect("the script can be run")
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn archive((architecture, _): Architecture) -> String {
    format!("s3-migration-{VERSION}-{architecture}-linux.tar.gz")
}

fn package((_, architecture): Architecture) -> String {
    format!("s3-migration_{VERSION}-1_{architecture}.deb")
}

fn downloads() -> (&'static Path, &'static [Architecture]) {
    (&DOWNLOADS.folder, &DOWNLOADS.architectures)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let files = fs::read_dir(folder).expect("the folder is there");
    files.map(|file| file.expect("a file").file_name().into_string().expect("UTF-8")).collect()
}

/// Unpacks an archive by the guide's command.
fn unpack(architecture: Architecture, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(DOWNLOADS.folder.join(archive(architecture)));
    tar.arg("-C").arg(to).arg("--strip-components=1");
    succeeded(&tar.output().expect("tar can be run"));
}

/// Its program, its units, pages, completions and licence.
fn assert_whole(prefix: &Path, manual: &str, zsh: &str) {
    let units = UNITS.map(|unit| format!("lib/systemd/system/{unit}"));
    let others = [
        "lib/sysusers.d/s3-migration.conf",
        &format!("share/man/man1/s3-migration.1{manual}"),
        &format!("share/man/man1/s3-migration-run.1{manual}"),
        "share/bash-completion/completions/s3-migration",
        zsh,
        "share/fish/vendor_completions.d/s3-migration.fish",
        "share/doc/s3-migration/s3-migration.cdx.json",
        "share/doc/s3-migration/THIRD-PARTY-NOTICES",
        "share/doc/s3-migration/examples/sysctl.d/90-s3-migration.conf",
    ];
    for file in units.iter().map(String::as_str).chain(others) {
        let there = fs::metadata(prefix.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(there.permissions().mode() & 0o777, 0o644, "{file}");
    }
    let binary = fs::metadata(prefix.join("bin/s3-migration")).expect("the program");
    assert_eq!(binary.permissions().mode() & 0o777, 0o755);
}

/// Prints its version and its help, plays the demo, and migrates two objects between servers.
async fn assert_works(root: &Root, installed: &str) {
    let work = root.home().join("work");
    fs::create_dir_all(&work).expect("a folder");
    let run = async |arguments: &[&str]| {
        let mut command = program(root.home(), &work);
        command.args(arguments);
        root.run(installed, &command).await.with_status(0).stdout
    };
    assert_eq!(run(&["--version"]).await, format!("s3-migration {VERSION}\n"));
    assert!(run(&["help"]).await.contains("jobsender"));
    let data = root.home().join("data");
    fs::create_dir_all(&data).expect("a folder");
    fs::write(data.join("large"), noise(45 * MIB, 1)).expect("a file");
    fs::write(data.join("small"), "small").expect("a file");
    let demo = run(&["demo", data.to_str().expect("UTF-8")]).await;
    assert!(demo.contains("proven   2 of 2 objects read on both sides: equal"), "{demo}");

    let local = Local::new().await;
    local.source.put("in parts", noise(12 * MIB, 2)).await;
    local.source.put("whole", b"whole".to_vec()).await;
    let ended = root.run(installed, &local.command(&["run", ALL[0], ALL[1]])).await.with_status(0);
    assert!(ended.stdout.contains("all 2 objects are at the destination"), "{}", ended.all());
    assert_eq!(local.destination.get("in parts").await, noise(12 * MIB, 2));
    assert_eq!(local.destination.get("whole").await, b"whole");
}

#[test]
fn each_architecture_has_an_archive_a_package_and_what_is_linked_into_them_and_all_have_sums() {
    let (folder, architectures) = downloads();
    let mut expected = BTreeSet::from(["SHA256SUMS".to_owned()]);
    for artefact in architectures.iter().flat_map(|it| [archive(*it), package(*it)]) {
        expected.insert(format!("{artefact}.cdx.json"));
        expected.insert(artefact);
    }
    assert_eq!(names(folder), expected);
    let sums = fs::read_to_string(folder.join("SHA256SUMS")).expect("the sums");
    assert_eq!(sums.lines().count(), expected.len() - 1);
    let mut check = Command::new("sha256sum");
    check.args(["--check", "--strict", "SHA256SUMS"]).current_dir(folder);
    succeeded(&check.output().expect("sha256sum can be run"));
}

/// Whoever packs it, wherever and whenever.
#[test]
fn the_same_commit_gives_the_same_bytes() {
    let [one, other] = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
    let copy = other.path().join("binary");
    fs::copy(&*STRIPPED, &copy).expect("the binary can be copied");
    succeeded(&packed(&STRIPPED, &one.path().join("out")));
    let mut again = Command::new("bash");
    let line = r#"umask 077; TZ=Asia/Shanghai LC_ALL=C.UTF-8 exec packer/package.sh "$@""#;
    again.args(["-c", line, "again", "--fast", "--out"]).arg(other.path().join("out"));
    again.arg(format!("{}={}", own().0, copy.display()));
    succeeded(&again.output().expect("bash can be run"));
    let [one, other] = [one, other].map(|folder| {
        let out = folder.path().join("out");
        let read = |name: String| (fs::read(out.join(&name)).expect("a file"), name);
        names(&out).into_iter().map(read).collect::<Vec<_>>()
    });
    assert_eq!(one.len(), 5);
    for ((one, name), (other, _)) in one.iter().zip(&other) {
        assert!(one == other, "{name} differs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_runs_where_nothing_else_is() {
    for architecture in downloads().1 {
        let root = Root::empty(architecture.0);
        let prefix = root.path().join("usr/local");
        unpack(*architecture, &prefix);
        assert_whole(&prefix, "", "share/zsh/site-functions/_s3-migration");
        for file in ["LICENSE", "CHANGELOG.md", "examples/s3_migration_config.ini"] {
            assert!(prefix.join("share/doc/s3-migration").join(file).exists(), "{file}");
        }
        if !DOWNLOADS.are_real {
            root.copy_libraries_of(&prefix.join("bin/s3-migration")).await;
        }
        assert_works(&root, "/usr/local/bin/s3-migration").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_is_installed_upgraded_and_removed_on_a_clean_debian() {
    for architecture in downloads().1 {
        let root = Root::debian(architecture.0).await;
        let inside = |path: &str| root.path().join(path.trim_start_matches('/'));
        let package = package(*architecture);
        fs::copy(DOWNLOADS.folder.join(&package), inside("/tmp").join(&package)).expect("copied");
        let package = format!("/tmp/{package}");
        if *architecture != own() {
            root.own(&["dpkg", "--add-architecture", architecture.1]).await;
        }
        root.own(&["dpkg", "--install", &package]).await;
        assert_whole(&inside("/usr"), ".gz", "share/zsh/vendor-completions/_s3-migration");
        assert_eq!(root.own(&["dpkg", "--verify", "s3-migration"]).await, "");
        assert_services(&root).await;
        assert_works(&root, "/usr/bin/s3-migration").await;

        // As if systemd ran, with a systemctl that notes what it is asked.
        let (systemctl, asked) = (inside("/usr/bin/systemctl"), inside("/tmp/asked"));
        fs::create_dir_all(inside("/run/systemd/system")).expect("a folder");
        fs::write(&systemctl, "#!/bin/sh\necho \"$@\" >> /tmp/asked\n").expect("a script");
        let asked = || fs::read_to_string(&asked).expect("something was asked");

        let ini = inside("/etc/s3-migration/s3_migration_config.ini");
        fs::write(&ini, "[Basic]\nJobType = GET\n").expect("the ini can be written");
        root.own(&["dpkg", "--install", &package]).await;
        let kept = || fs::read_to_string(&ini).expect("the ini");
        assert_eq!(kept(), "[Basic]\nJobType = GET\n", "what the operator changed stays");
        let upgraded = asked();
        let mut lines = upgraded.lines();
        assert!(lines.all(|it| it == "--system daemon-reload"), "it stops nothing: {upgraded}");
        root.own(&["dpkg", "--remove", "s3-migration"]).await;
        let stopped = asked();
        let stopped = stopped.lines().filter(|line| line.starts_with("stop "));
        let stopped: BTreeSet<&str> = stopped.flat_map(|line| line.split(' ').skip(1)).collect();
        assert_eq!(stopped, BTreeSet::from(UNITS));
        for gone in ["/usr/bin/s3-migration", "/usr/lib/systemd/system/s3-migration-worker.service"]
        {
            assert!(!inside(gone).exists(), "{gone}");
        }
        assert_eq!(kept(), "[Basic]\nJobType = GET\n");
        root.own(&["dpkg", "--purge", "s3-migration"]).await;
        assert!(
            !inside("/etc/s3-migration").exists()
                && !inside("/etc/logrotate.d/s3-migration").exists()
        );
    }
}

/// systemd finds the program, and the user that the units name.
async fn assert_services(root: &Root) {
    let mut verify = vec!["systemd-analyze".to_owned(), "verify".to_owned(), "--man=no".to_owned()];
    verify.extend(UNITS.map(|unit| format!("/usr/lib/systemd/system/{unit}")));
    root.own(&verify.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let user = root.own(&["getent", "passwd", "s3-migration"]).await;
    assert!(user.ends_with(":s3-migration:/var/lib/s3-migration:/usr/sbin/nologin\n"), "{user}");
    for unit in UNITS {
        let text = fs::read_to_string(root.path().join("usr/lib/systemd/system").join(unit));
        let text = text.expect("the unit");
        let original = fs::read_to_string(format!("systemd/{unit}")).expect("the unit");
        assert_eq!(text, original.replace("/usr/local/bin/", "/usr/bin/"), "{unit}");
        assert!(!text.contains("/usr/local/"), "{unit}");
    }
}

#[test]
fn lintian_has_nothing_to_say_about_a_package() {
    let (folder, architectures) = downloads();
    for architecture in architectures {
        let mut lintian = Command::new("lintian");
        lintian.args(["--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0"]);
        if !DOWNLOADS.are_real {
            // A static binary needs none.
            lintian.args(["--suppress-tags", "undeclared-elf-prerequisites"]);
        }
        let said = lintian.arg(folder.join(package(*architecture))).output();
        let said = said.expect("lintian is installed (Debian: apt install lintian)");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
    }
}

/// By the format's own schema, by Cargo.lock, and by the binary.
#[test]
fn what_is_linked_is_listed() {
    let probe = "from cyclonedx.validation.json import JsonStrictValidator";
    let python = python_with("cyclonedx-python-lib[json-validation]", CYCLONEDX, probe);
    let validate = "import sys\n\
        from cyclonedx.schema import SchemaVersion\n\
        from cyclonedx.validation.json import JsonStrictValidator\n\
        text = open(sys.argv[1]).read()\n\
        error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)\n\
        sys.exit(repr(error) if error else 0)\n";
    let (folder, architectures) = downloads();
    for architecture in architectures {
        let listed = folder.join(format!("{}.cdx.json", archive(*architecture)));
        succeeded(
            &Command::new(&python).args(["-c", validate]).arg(&listed).output().expect("python"),
        );
        let text = fs::read_to_string(&listed).expect("the list");
        let other = folder.join(format!("{}.cdx.json", package(*architecture)));
        assert_eq!(text, fs::read_to_string(other).expect("the list"), "one binary is in both");
        let unpacked = tempfile::tempdir().expect("a temporary folder");
        unpack(*architecture, unpacked.path());
        let inside = unpacked.path().join("share/doc/s3-migration/s3-migration.cdx.json");
        assert_eq!(text, fs::read_to_string(inside).expect("the list"));
        let binary = fs::read(unpacked.path().join("bin/s3-migration")).expect("the binary");
        let list: Value = serde_json::from_str(&text).expect("JSON");
        let about = &list["metadata"]["component"];
        assert_eq!(about["version"], VERSION);
        assert_eq!(about["hashes"][0]["content"], hex::encode(Sha256::digest(&binary)));
        let components = list["components"].as_array().expect("components");
        assert_components(components);
        let notices = unpacked.path().join("share/doc/s3-migration/THIRD-PARTY-NOTICES");
        assert_notices(&fs::read_to_string(notices).expect("the notices"), components);
    }
}

/// The text of each, its authors' names and what is vendored in C or JavaScript included.
fn assert_notices(notices: &str, components: &[Value]) {
    let lines: BTreeSet<&str> = notices.lines().collect();
    for component in components {
        let [name, version] = ["name", "version"].map(|it| component[it].as_str().expect("text"));
        assert!(lines.contains(format!("{name} {version}").as_str()), "{name} {version}");
    }
    let mut texts = vec![
        "Copyright (c) 2022 Leon Sorokin",
        "Copyright (c) 2022 Nugine",
        "SQLite, which is part of",
        "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION",
        "the fiat-crypto authors",
    ];
    if DOWNLOADS.are_real {
        texts.extend(["Rich Felker", "Copyright notices for The Rust Standard Library"]);
    }
    for text in texts {
        assert!(notices.contains(text), "{text}");
    }
}

fn assert_components(components: &[Value]) {
    let lock = fs::read_to_string("Cargo.lock").expect("the lock file");
    let mut checksums = BTreeMap::new();
    for package in lock.split("[[package]]\n").skip(1) {
        let value = |name: &str| {
            let line =
                package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            line.map(|value| value.trim_matches('"').to_owned())
        };
        checksums.insert((value("name"), value("version")), value("checksum"));
    }
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut names = BTreeSet::new();
    for component in components {
        let purl = component["purl"].as_str().expect("a purl");
        if purl.starts_with("pkg:cargo/") {
            let crate_of = (text(&component["name"]), text(&component["version"]));
            let checksum =
                checksums.get(&crate_of).unwrap_or_else(|| panic!("{purl} is not locked"));
            assert_eq!(&text(&component["hashes"][0]["content"]), checksum, "{purl}");
            assert!(component["licenses"][0]["expression"].is_string(), "{purl}");
        }
        names.extend(text(&component["name"]));
    }
    for linked in ["aws-sdk-s3", "aws-lc-sys", "libsqlite3-sys", "s3-endpoint", "tokio"] {
        assert!(names.contains(linked), "{linked}");
    }
    // A macro, a tool of the build, one of the tests.
    for other in ["syn", "cc", "proptest"] {
        assert!(!names.contains(other), "{other}");
    }
    assert_eq!(names.contains("musl"), DOWNLOADS.are_real);
}

fn verified(binary: &Path) -> Output {
    let mut verify = Command::new("packer/build-release.sh");
    verify.args(["--static", "--verify"]).arg(binary);
    verify.output().expect("the script can be run")
}

/// The second is no program at all.
#[test]
fn a_binary_that_needs_a_library_is_refused() {
    for (binary, why) in [("/bin/sh", "is not static"), ("LICENSE", "is no program")] {
        let refused = verified(Path::new(binary));
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains(why), "{binary}: {said}");
    }
    for architecture in downloads().1.iter().filter(|_| DOWNLOADS.are_real) {
        let unpacked: TempDir = tempfile::tempdir().expect("a temporary folder");
        unpack(*architecture, unpacked.path());
        succeeded(&verified(&unpacked.path().join("bin/s3-migration")));
    }
}
