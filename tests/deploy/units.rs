//! The files under `systemd/`: as systemd reads them, and against the program that they start.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use s3_migration::config::Config;
use s3_migration::monitor::liveness::Limits;

const SERVICES: [&str; 2] = ["s3-migration-worker.service", "s3-migration-jobsender.service"];
const TIMER: &str = "s3-migration-jobsender.timer";
const BINARY: &str = "/usr/local/bin/s3-migration";
/// What `systemd-analyze security` may say of a service at most, in tenths.
const MOST_EXPOSED: &str = "20";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd")
}

fn text(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

/// The values of each key of a unit, in order.
fn unit(name: &str) -> BTreeMap<String, Vec<String>> {
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text(name).lines().filter(|line| !line.starts_with('#')) {
        if let Some((key, value)) = line.split_once('=') {
            keys.entry(key.to_owned()).or_default().push(value.to_owned());
        }
    }
    keys
}

fn only(name: &str, key: &str) -> String {
    let unit = unit(name);
    let values = unit.get(key).unwrap_or_else(|| panic!("{name} has no {key}"));
    assert_eq!(values.len(), 1, "{name}: {key}");
    values[0].clone()
}

fn seconds(name: &str, key: &str) -> Duration {
    Duration::from_secs(only(name, key).parse().expect("whole seconds"))
}

fn analyze(arguments: &[&str]) -> Output {
    let output = Command::new("systemd-analyze").args(arguments).output();
    output.expect("systemd-analyze is installed (Debian: apt install systemd)")
}

fn said(output: &Output) -> String {
    let both = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    both.concat()
}

/// Copies of the units that name a binary which is there, as `change` makes them.
fn verify(change: impl Fn(String) -> String) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut arguments = vec!["verify".to_owned(), "--man=no".to_owned()];
    for name in [SERVICES[0], SERVICES[1], TIMER] {
        let copy = folder.path().join(name);
        let unit = text(name).replace(BINARY, env!("CARGO_BIN_EXE_s3-migration"));
        fs::write(&copy, change(unit)).unwrap();
        arguments.push(copy.to_str().unwrap().to_owned());
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = analyze(&arguments);
    (output.status.success(), said(&output))
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    assert_eq!(verify(|unit| unit), (true, String::new()));
    // It would have said so.
    let (_, said) = verify(|unit| unit.replace("WatchdogSec", "WatchDogSec"));
    assert!(said.contains("Unknown key 'WatchDogSec'"), "{said}");
}

#[test]
fn the_services_are_hardly_exposed() {
    for name in SERVICES {
        let path = folder().join(name);
        let threshold = format!("--threshold={MOST_EXPOSED}");
        let path = path.to_str().unwrap();
        let output = analyze(&["security", "--offline=true", "--no-pager", &threshold, path]);
        assert!(output.status.success(), "{}", said(&output));
        assert!(said(&output).contains("Overall exposure level"), "{}", said(&output));
    }
}

#[test]
fn the_times_of_the_worker_fit_those_of_its_unit() {
    let config = Config::default();
    let (job_timeout, grace) = (config.mode.job_timeout, config.mode.grace_time);
    let limits = Limits { job_timeout, grace };
    assert!(seconds(SERVICES[0], "TimeoutStopSec") >= limits.drain());
    // Its sign of life comes every five seconds if that is often enough.
    assert!(seconds(SERVICES[0], "WatchdogSec") >= 6 * Duration::from_secs(5));
}

/// A comparison runs for days, and begins after hours if an inventory is sorted.
#[test]
fn no_time_limit_ends_a_comparison() {
    assert_eq!(only(SERVICES[1], "TimeoutStartSec"), "infinity");
    assert_eq!(only(SERVICES[1], "Type"), "notify");
    let unit = unit(SERVICES[1]);
    assert!(!unit.contains_key("WatchdogSec") && !unit.contains_key("RuntimeMaxSec"));
}

#[test]
fn services_start_again_after_a_failure_and_only_then() {
    for (name, final_statuses) in [(SERVICES[0], "2"), (SERVICES[1], "1 2 5")] {
        assert_eq!(only(name, "Restart"), "on-failure");
        assert_eq!(only(name, "RestartPreventExitStatus"), final_statuses, "{name}");
        assert!(seconds(name, "RestartSec") >= Duration::from_secs(10), "{name} hammers");
        assert_eq!(only(name, "StartLimitIntervalSec"), "0", "{name} gives up");
    }
}

/// MaxMemory's default is half of the cgroup's limit or of the machine's memory, read from /proc and
/// /sys/fs/cgroup.
#[test]
fn the_memory_limits_can_be_seen_and_leave_room_for_max_memory() {
    let percent = |name, key| -> u32 { only(name, key).trim_end_matches('%').parse().unwrap() };
    for name in SERVICES {
        let (high, max) = (percent(name, "MemoryHigh"), percent(name, "MemoryMax"));
        assert!(max / 2 < high && high < max && max < 100, "{name}: {high} {max}");
        assert_eq!(only(name, "MemorySwapMax"), "0", "object data is written to no disk");
        assert!(!unit(name).contains_key("ProcSubset"), "/proc/meminfo is hidden from {name}");
        assert_ne!(only(name, "ProtectControlGroups"), "private");
    }
}

#[test]
fn both_services_are_shut_in_the_same_way() {
    let own = ["Description", "ExecStart", "Environment", "TimeoutStartSec", "WatchdogSec"];
    let own = [&own[..], &["RestartSec", "RestartPreventExitStatus", "WantedBy"]].concat();
    let [worker, jobsender] = SERVICES.map(|name| {
        let mut unit = unit(name);
        unit.retain(|key, _| !own.contains(&key.as_str()));
        unit
    });
    assert_eq!(worker, jobsender);
    assert_eq!(worker["CapabilityBoundingSet"], [""], "no capabilities");
    assert_eq!(worker["ProtectSystem"], ["strict"]);
    assert_eq!(worker["User"], ["s3-migration"]);
    assert!(!worker.contains_key("ReadWritePaths"), "only the state folder can be written");
}

/// What a unit sets are keys of the configuration, by the names that the environment has for them.
#[test]
fn what_the_units_set_is_understood() {
    let folder = "/var/lib/s3-migration/";
    let logs = ["worker.log", "jobsender.log"].map(|log| Path::new(folder).join(log));
    for (name, log) in SERVICES.into_iter().zip(logs) {
        let settings = unit(name)["Environment"].clone();
        let settings = settings.iter().map(|setting| setting.split_once('=').unwrap());
        let ini = "[Debug]\nLoggingLevel = INFO\n";
        let config = Config::from_text("test.ini", ini, settings).expect("a good configuration");
        assert_eq!(config.debug.log_file.as_deref(), Some(log.as_path()));
        assert_eq!(only(name, "EnvironmentFile"), "-/etc/s3-migration/environment");
        assert_eq!(only(name, "WorkingDirectory"), folder.trim_end_matches('/'));
        assert_eq!(format!("/var/lib/{}/", only(name, "StateDirectory")), folder);
    }
    let rotated = text("logrotate.d/s3-migration");
    assert!(rotated.contains("/var/lib/s3-migration/*.log {") && rotated.contains("copytruncate"));
}

#[test]
fn the_commands_of_the_units_are_those_of_the_program() {
    for (name, command) in SERVICES.into_iter().zip(["worker", "jobsender"]) {
        let start = only(name, "ExecStart");
        let mut words = start.split_whitespace();
        assert_eq!(words.next(), Some(BINARY));
        let words: Vec<&str> = words.collect();
        let ini = "/etc/s3-migration/s3_migration_config.ini";
        assert_eq!(words, ["--config", ini, command]);
    }
    assert_eq!(only(TIMER, "Unit"), SERVICES[1]);
}

/// Each line is a setting of the kernel, and what it names is loaded.
#[test]
fn the_kernels_settings_are_well_formed_and_their_modules_are_loaded() {
    let settings = text("sysctl.d/90-s3-migration.conf");
    let lines = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        lines.map(str::to_owned).collect()
    };
    for line in lines(&settings) {
        let (name, value) = line.split_once(" = ").unwrap_or_else(|| panic!("{line}"));
        assert!(name.starts_with("net.core.") || name.starts_with("net.ipv4."), "{line}");
        assert!(!value.trim().is_empty(), "{line}");
    }
    assert!(settings.contains("net.ipv4.tcp_congestion_control = bbr\n"));
    assert!(settings.contains("net.core.default_qdisc = fq\n"));
    assert_eq!(lines(&text("modules-load.d/s3-migration.conf")), ["tcp_bbr", "sch_fq"]);
}
