use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::*;
use crate::config::LimitsConfig;
use crate::error::Error;
use crate::object::ObjectId;
use crate::overview::test_readings::cluster;
use crate::record::Proven;

const DASHBOARD: &str = include_str!("../../../docs/grafana/s3-migration.json");
const REFERENCE: &str = include_str!("../../../docs/reference.md");

/// The metrics of a worker that has moved one object and failed at one, and of a fleet.
fn both() -> String {
    let monitor = Arc::new(Monitor::default());
    let (src, des) = (ObjectId::new("from", "k"), ObjectId::new("to", "k"));
    monitor.done(5000, Proven::Source, &src, &des);
    monitor.failed(&src, &des);
    monitor.activity().took(5000, Duration::from_millis(300));
    monitor.activity().failed(&src, &des, 7, &Error::invalid("a \"wrong\" object\n"));
    let process = Process {
        kind: Member::Worker,
        began: SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600),
        monitor,
        throttles: Default::default(),
    };
    let slot = Arc::new(Mutex::new(Some(process)));
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    let fleet = cluster().overview("a \"fleet\"", &LimitsConfig::default(), "USD", now);
    text(&slot, of_fleets(Some(&[fleet])))
}

/// The names of the families, as Prometheus stores them.
fn names(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let endings: &[&str] = match kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            "info" => &["_info"],
            _ => &[""],
        };
        names.extend(endings.iter().map(|ending| format!("{name}{ending}")));
    }
    names
}

/// Every name of ours in a text.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(|c: char| !is_part(c));
    words.filter(|word| word.starts_with("s3_migration_")).map(str::to_owned).collect()
}

#[test]
fn a_process_and_a_fleet_are_counted_under_conventional_names() {
    let text = both();
    for line in [
        "s3_migration_build_info{version=\"0.1.0\",kind=\"worker\"} 1",
        "s3_migration_start_time_seconds 1767225600.0",
        "s3_migration_objects_copied_total 1",
        "s3_migration_copied_bytes_total 5000",
        "s3_migration_objects_proven_total{proof=\"source\"} 1",
        "s3_migration_failures_total{reason=\"invalid\"} 1",
        "s3_migration_object_size_bytes_bucket{le=\"4096.0\"} 0",
        "s3_migration_object_size_bytes_bucket{le=\"65536.0\"} 1",
        "s3_migration_object_size_bytes_bucket{le=\"+Inf\"} 1",
        "s3_migration_object_size_bytes_sum 5000.0",
        "s3_migration_object_duration_seconds_bucket{le=\"0.5\"} 1",
        "s3_migration_fleet_seen 1.0",
        "# EOF",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
    }
    assert!(
        text.contains("fleet=\"a \\\"fleet\\\"\""),
        "what comes from outside is escaped:\n{text}"
    );
    for name in names(&text) {
        let rest = name.strip_prefix("s3_migration_").unwrap_or_else(|| panic!("{name}"));
        let is_conventional = rest.split('_').all(|word| !word.is_empty());
        assert!(is_conventional && !rest.contains("total_"), "{name}");
    }
    assert!(super::text(&ProcessSlot::default(), of_fleets(None)).contains("fleet_seen 0.0"));
}

#[test]
fn the_dashboard_shows_what_is_served_and_nothing_else() {
    let served = names(&both());
    let shown = named(DASHBOARD);
    let unknown: Vec<_> = shown.difference(&served).collect();
    assert!(unknown.is_empty(), "docs/grafana/s3-migration.json asks for {unknown:?}");
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let of_type = |panel: &&serde_json::Value| panel["type"] != "row";
    for panel in panels.iter().filter(of_type) {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            assert!(!named(target["expr"].as_str().unwrap()).is_empty(), "{target}");
        }
    }
}

#[test]
fn the_reference_has_every_name() {
    let section = REFERENCE.split("\n## Metrics\n").nth(1).expect("a section about metrics");
    let listed = named(section.split("\n## ").next().unwrap());
    let all: Vec<String> = names(&both())
        .into_iter()
        .map(|name| {
            let parts = ["_bucket", "_sum", "_count"];
            let whole = parts.iter().find_map(|part| name.strip_suffix(part));
            whole.map_or(name.clone(), str::to_owned)
        })
        .collect();
    let missing: Vec<_> = all.iter().filter(|name| !listed.contains(*name)).collect();
    assert!(missing.is_empty(), "docs/reference.md lacks {missing:?}");
    let unknown: Vec<_> = listed.iter().filter(|name| !all.contains(name)).collect();
    assert!(unknown.is_empty(), "docs/reference.md has {unknown:?}, which are not served");
}
