//! The template's metric filters, on the lines that the binary really writes.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::stack::{SERVERLESS, template, text_of};
use testkit::local::{BUCKETS, Local, MIB, noise};
use testkit::process::until;

/// A metric filter of the template.
#[derive(Debug)]
struct Filter {
    metric: String,
    fields: Vec<Field>,
    value: String,
}

/// A field of a pattern for lines of words.
#[derive(Debug, PartialEq)]
enum Field {
    /// Any word; its name.
    Named(String),
    /// This word.
    Equal(String),
    /// Any number of words.
    Rest,
}

/// What follows `name: ` in a line, without its quotes.
fn after<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!("{name}: "))?;
    let end = match rest.chars().next()? {
        quote @ ('"' | '\'') => return rest[1..].split(quote).next(),
        _ => rest.find([',', '}']).unwrap_or(rest.len()),
    };
    Some(&rest[..end])
}

/// The fields of a pattern.
fn fields(pattern: &str) -> Vec<Field> {
    let pattern = pattern.trim_start_matches('[').trim_end_matches(']');
    let fields = pattern.split(", ").map(|field| match field.split_once('=') {
        _ if field == "..." => Field::Rest,
        Some((_, word)) => Field::Equal(word.trim_matches('"').to_owned()),
        None => Field::Named(field.to_owned()),
    });
    fields.collect()
}

/// The filters of the cluster's template, by their own names.
fn filters() -> Vec<Filter> {
    filters_of(&template(), "own")
}

/// The filters of a template; `names`: the value of its parameter MetricNames.
fn filters_of(template: &str, names: &str) -> Vec<Filter> {
    let metric = |line: &str| match line.split_once("[MetricNames, !Ref MetricNames, ") {
        Some((_, which)) => {
            let which = which.split(']').next().unwrap_or_default();
            let mapping = template.split("\n  MetricNames:\n    own:").nth(1).expect("a mapping");
            let all = format!("    own:{mapping}");
            let row = all.lines().find(|row| row.trim_start().starts_with(&format!("{names}: ")));
            after(row.expect("a row"), which).expect("a name").to_owned()
        }
        None => after(line, "MetricName").expect("a name").to_owned(),
    };
    let mut filters = Vec::new();
    for block in template.split("Type: AWS::Logs::MetricFilter").skip(1) {
        let line = |name: &str| block.lines().find_map(|line| after(line, name)).expect(name);
        let fields = fields(line("FilterPattern"));
        let named = block.lines().find(|line| line.contains("MetricName: ")).expect("a name");
        let (metric, value) = (metric(named), line("MetricValue").to_owned());
        filters.push(Filter { metric, fields, value });
    }
    filters
}

/// The words of a line: what stands in brackets or double quotes is one
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html>). Of a bracket or
/// quote that is not closed nothing is promised: then there are no words after it.
fn words(line: &str) -> Vec<&str> {
    let (mut words, mut rest) = (Vec::new(), line.trim_start());
    while let Some(first) = rest.chars().next() {
        let close = match first {
            '"' => '"',
            '[' => ']',
            _ => ' ',
        };
        let body = if close == ' ' { rest } else { &rest[1..] };
        let Some(end) = body.find(close).or((close == ' ').then_some(body.len())) else { break };
        words.push(&body[..end]);
        rest = body[end..].strip_prefix(close).unwrap_or_default().trim_start();
    }
    words
}

impl Filter {
    /// What a line adds to the metric; `None`: it does not match.
    fn value(&self, line: &str) -> Option<f64> {
        let words = words(line);
        let open = self.fields.last() == Some(&Field::Rest);
        let fixed = &self.fields[..self.fields.len() - usize::from(open)];
        if words.len() < fixed.len() || (!open && words.len() > fixed.len()) {
            return None;
        }
        let fits = |(field, word): (&Field, &&str)| match field {
            Field::Equal(wanted) => wanted == word,
            Field::Named(_) | Field::Rest => true,
        };
        if !fixed.iter().zip(&words).all(fits) {
            return None;
        }
        let Some(name) = self.value.strip_prefix('$') else { return self.value.parse().ok() };
        let at = fixed.iter().position(|field| *field == Field::Named(name.to_owned()))?;
        words[at].parse().ok()
    }

    fn sum(&self, lines: &str) -> f64 {
        lines.lines().filter_map(|line| self.value(line)).sum()
    }
}

/// Keys that a line of words is hardest on.
const KEYS: [&str; 8] = [
    "plain",
    "two words",
    "a \"quote",
    "\"all quoted\"",
    "[bracket",
    "[in brackets] x",
    "ü = $bytes",
    "--->Complete 7",
];

/// What a worker writes of a whole migration, and the bytes that it has moved.
async fn lines_of_a_migration(level: &str) -> (String, f64) {
    let mut local = Local::new().await;
    local.embedded();
    let mut all = 11 * MIB;
    for (size, key) in (1..).map(|n| n * 1000).zip(KEYS) {
        local.source.put(key, noise(size, 1)).await;
        all += size;
    }
    local.source.put("large one", noise(11 * MIB, 2)).await;
    local.set("LoggingLevel", level);
    local.run(&["jobsender"]).await.with_status(0);
    local.set("LogFile", "worker.log");
    let worker = local.spawn(&["worker"]);
    until("all have arrived", async || local.destination.keys().await.len() == KEYS.len() + 1)
        .await;
    worker.signal("TERM");
    worker.ended().await.with_status(0);
    let lines = fs::read_to_string(local.work().join("worker.log")).expect("a log");
    (lines, all as f64)
}

fn of<'a>(filters: &'a [Filter], metric: &str) -> &'a Filter {
    filters.iter().find(|filter| filter.metric == metric).unwrap_or_else(|| panic!("no {metric}"))
}

#[tokio::test]
async fn what_moved_is_what_the_filters_add_up() {
    let filters = filters();
    let metrics: Vec<&str> = filters.iter().map(|filter| filter.metric.as_str()).collect();
    let traffic = ["DownloadedBytes", "UploadedBytes", "CompletedBytes"];
    let levels = ["Warnings", "Errors", "JobsenderErrors"];
    assert_eq!(metrics, [traffic, levels].concat());
    // In sums, and part by part.
    for level in ["INFO", "DEBUG"] {
        let (worker, moved) = lines_of_a_migration(level).await;
        for metric in traffic {
            assert_eq!(of(&filters, metric).sum(&worker), moved, "{metric}: {worker}");
        }
        assert_eq!(of(&filters, "Errors").sum(&worker), 0.0, "{worker}");
    }
}

/// The filters of docs/coming-from-the-original.md: what its shell loops expand to.
fn filters_for_users_of_the_original() -> Vec<Filter> {
    let page = fs::read_to_string("docs/coming-from-the-original.md").expect("the page is there");
    let block = page.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next());
    let block = block.expect("a block of commands");
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Prints what it is given, a line for each argument, in place of the AWS CLI.
    let (aws, script) = (folder.path().join("aws"), "#!/bin/bash\nprintf '%s\\n' \"$@\"\n");
    fs::write(&aws, script).expect("written");
    fs::set_permissions(&aws, Permissions::from_mode(0o755)).expect("executable");
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    let mut bash = Command::new("bash");
    bash.args(["-euc", block]).env("PATH", path).env("LOG_GROUP", "a group");
    let said = bash.output().expect("bash can be run");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let said = String::from_utf8(said.stdout).expect("UTF-8");
    let calls = said.split("put-metric-filter\n").skip(1);
    let filters = calls.map(|call| {
        let given = |name: &str| {
            let mut lines = call.lines().skip_while(|line| *line != name);
            lines.nth(1).unwrap_or_else(|| panic!("no {name} in {call}"))
        };
        let makes = given("--metric-transformations");
        let made = |name: &str| {
            let each = makes.split(',').find_map(|one| one.strip_prefix(&format!("{name}=")));
            each.unwrap_or_else(|| panic!("no {name} in {makes}")).to_owned()
        };
        assert_eq!(
            (made("metricNamespace"), made("defaultValue")),
            ("s3_migrate".into(), "0".into())
        );
        Filter {
            metric: made("metricName"),
            fields: fields(given("--filter-pattern")),
            value: made("metricValue"),
        }
    });
    filters.collect()
}

#[tokio::test]
async fn the_filters_for_users_of_the_original_count_what_moved() {
    let filters = filters_for_users_of_the_original();
    let traffic = ["Downloading-bytes", "Uploading-bytes", "Completed-bytes"];
    let metrics: Vec<&str> = filters.iter().map(|filter| filter.metric.as_str()).collect();
    assert_eq!(metrics, [&traffic[..], &["ERROR-Logs", "WARNING-Logs"]].concat());
    let (worker, moved) = lines_of_a_migration("INFO").await;
    for metric in traffic {
        assert_eq!(of(&filters, metric).sum(&worker), moved, "{metric}: {worker}");
    }
    for (metric, level) in [("ERROR-Logs", "ERROR "), ("WARNING-Logs", "WARNING ")] {
        let written = worker.lines().filter(|line| line.starts_with(level)).count();
        assert_eq!(of(&filters, metric).sum(&worker), written as f64, "{metric}: {worker}");
    }
    let wrong = "ERROR 2026-01-31T00:00:00Z [x: it failed";
    assert_eq!(of(&filters, "ERROR-Logs").sum(wrong), 1.0);
}

const ORIGINAL: [&str; 5] =
    ["Downloading-bytes", "Uploading-bytes", "Completed-bytes", "WARNING-Logs", "ERROR-Logs"];

/// With MetricNames=original, the cluster's filters have the original's names.
#[tokio::test]
async fn the_originals_names_count_the_same() {
    let filters = filters_of(&template(), "original");
    let metrics: Vec<&str> = filters.iter().map(|filter| filter.metric.as_str()).collect();
    assert_eq!(metrics, [&ORIGINAL[..], &["JobsenderErrors"]].concat());
    let (worker, moved) = lines_of_a_migration("INFO").await;
    for metric in &ORIGINAL[..3] {
        assert_eq!(of(&filters, metric).sum(&worker), moved, "{metric}: {worker}");
    }
}

/// A line of a function has the invocation's request between its time and its text.
#[tokio::test]
async fn the_functions_filters_count_what_moved() {
    let filters = filters_of(&text_of(SERVERLESS), "");
    let metrics: Vec<&str> = filters.iter().map(|filter| filter.metric.as_str()).collect();
    assert_eq!(metrics, [&ORIGINAL[..], &["MaxMemoryUsed"]].concat());
    let (worker, moved) = lines_of_a_migration("INFO").await;
    let lines = worker.lines().map(|line| {
        let mut words = line.splitn(3, ' ');
        let (level, time) = (words.next().expect("a level"), words.next().expect("a time"));
        format!("{level} {time} 8476a536-e9f4-11e8 {}\n", words.next().unwrap_or_default())
    });
    let lines: String = lines.collect();
    for metric in &ORIGINAL[..3] {
        assert_eq!(of(&filters, metric).sum(&lines), moved, "{metric}: {lines}");
    }
    let written = lines.lines().filter(|line| line.starts_with("WARNING ")).count();
    assert_eq!(of(&filters, "WARNING-Logs").sum(&lines), written as f64, "{lines}");
    // What Lambda writes itself
    // (<https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-view.html>).
    let report = "REPORT RequestId: 8476a536-e9f4-11e8\tDuration: 15.74 ms\tBilled Duration: 16 ms\t\
                  Memory Size: 1024 MB\tMax Memory Used: 95 MB\tInit Duration: 80.1 ms";
    let report = report.replace('\t', " ");
    assert_eq!(of(&filters, "MaxMemoryUsed").sum(&report), 95.0);
    assert_eq!(of(&filters, "ERROR-Logs").sum(&report), 0.0);
}

/// The seed's names of the filters, its namespace, and its default.
#[test]
fn the_functions_filters_are_the_seeds() {
    let template = text_of(SERVERLESS);
    for name in ["Downloading-bytes", "Uploading-bytes", "Complete-bytes", "WARNING", "ERROR"] {
        let block = template.split("Type: AWS::Logs::MetricFilter").skip(1);
        let mut block = block.filter(|b| b.contains(&format!("\n      FilterName: {name}\n")));
        let block = block.next().unwrap_or_else(|| panic!("no filter {name}"));
        let made = block.lines().find(|line| line.contains("MetricTransformations")).expect("one");
        assert_eq!(after(made, "MetricNamespace"), Some("s3_migrate"));
        assert_eq!(after(made, "DefaultValue"), Some("0"));
    }
}

#[tokio::test]
async fn each_warning_and_each_error_counts_once() {
    let filters = filters();
    let mut local = Local::new().await;
    local.embedded();
    local.source.put("[gone \"", noise(10, 1)).await;
    local.source.put("stays", noise(10, 1)).await;
    local.run(&["jobsender"]).await.with_status(0);
    let gone = local.source.client.delete_object().bucket(BUCKETS[0]).key("[gone \"");
    gone.send().await.expect("DeleteObject");
    local.set("LogFile", "worker.log");
    let mut worker = local.spawn(&["worker"]);
    worker.logs("failed: ").await;
    worker.signal("TERM");
    worker.ended().await.with_status(0);
    let lines = fs::read_to_string(local.work().join("worker.log")).expect("a log");
    for (metric, level) in [("Errors", "ERROR "), ("Warnings", "WARNING ")] {
        let written = lines.lines().filter(|line| line.starts_with(level)).count();
        assert_eq!(of(&filters, metric).sum(&lines), written as f64, "{metric}: {lines}");
    }
    assert!(of(&filters, "Errors").sum(&lines) >= 1.0, "{lines}");
}

/// Promise 10.
/// The alarm of a jobsender that fails stands on this.
#[tokio::test]
async fn the_error_that_ends_a_command_is_counted_and_stands_on_stderr_once() {
    let mut local = Local::new().await;
    local.embedded();
    local.write("pairs.json", r#"[{"src_bucket":"from-here","des_bucket":"nowhere"}]"#);
    local.set("LogFile", "jobsender.log");
    let ended = local.run(&["jobsender"]).await.with_status(3);
    let lines = fs::read_to_string(local.work().join("jobsender.log")).expect("a log");
    assert_eq!(of(&filters(), "JobsenderErrors").sum(&lines), 1.0, "{lines}");
    assert_eq!(ended.stderr.matches("NoSuchBucket").count(), 1, "{}", ended.all());
}

/// Promise 10.
/// As a mistyped key of the template's FurtherKeys would do it.
#[tokio::test]
async fn a_configuration_that_cannot_be_used_is_counted_too() {
    let mut local = Local::new().await;
    local.embedded();
    local.set("LogFile", "jobsender.log");
    local.set("MaxThread", "many");
    local.set("ChunkSize", "1");
    local.run(&["jobsender"]).await.with_status(2);
    let lines = fs::read_to_string(local.work().join("jobsender.log")).expect("a log");
    assert_eq!(of(&filters(), "JobsenderErrors").sum(&lines), 1.0, "{lines}");
    for named in ["MaxThread", "ChunkSize"] {
        assert!(lines.contains(named), "{named}: {lines}");
    }
}
