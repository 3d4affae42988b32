//! The template's metric filters, on the lines that the binary really writes.

use std::fs;

use crate::stack::template;
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

fn filters() -> Vec<Filter> {
    let template = template();
    let mut filters = Vec::new();
    for block in template.split("Type: AWS::Logs::MetricFilter").skip(1) {
        let line = |name: &str| block.lines().find_map(|line| after(line, name)).expect(name);
        let pattern = line("FilterPattern").trim_start_matches('[').trim_end_matches(']');
        let fields = pattern.split(", ").map(|field| match field.split_once('=') {
            _ if field == "..." => Field::Rest,
            Some((_, word)) => Field::Equal(word.trim_matches('"').to_owned()),
            None => Field::Named(field.to_owned()),
        });
        let (metric, value) = (line("MetricName").to_owned(), line("MetricValue").to_owned());
        filters.push(Filter { metric, fields: fields.collect(), value });
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
