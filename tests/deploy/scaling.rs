//! The cluster's scaling: the template says what `testkit::scaling` plays through, the document shows
//! what it prints, and nothing is lost on the way.

use std::fs;
use std::time::Duration;

use s3_migration::config::{Config, Count};

use crate::stack::template;
use testkit::scaling::policy::Policy;
use testkit::scaling::report::{self, Result};
use testkit::scaling::simulation::{Run, play};
use testkit::scaling::trace::Trace;
use testkit::scaling::{fleet, policy, queue};

/// A parameter or resource, without its name: all lines up to the next one.
fn block(name: &str) -> String {
    let template = template();
    let inside = template.split(&format!("\n  {name}:\n")).nth(1).expect(name);
    let lines = inside.lines().take_while(|line| line.starts_with("    "));
    lines.map(|line| format!("{}\n", line.trim())).collect()
}

/// The values of `key` in a block, one for each time that it is there.
fn values(block: &str, key: &str) -> Vec<String> {
    let key = format!("{key}: ");
    block.lines().filter_map(|line| line.strip_prefix(&key)).map(str::to_owned).collect()
}

/// Its identifiers, each with what it is: statistic and metric, or the expression.
fn metrics(block: &str) -> Vec<(String, String)> {
    let one = |text: &str| {
        let id = text.lines().next().unwrap_or_default().to_owned();
        let expression = values(text, "Expression").pop();
        let between = |from: &str| {
            let rest = text.split(from).nth(1).unwrap_or_default();
            rest.split(',').next().unwrap_or_default().to_owned()
        };
        let metric = || format!("{} {}", between("{Stat: "), between("MetricName: "));
        (id, expression.unwrap_or_else(metric))
    };
    block.split("- Id: ").skip(1).map(one).collect()
}

const VISIBLE: (&str, &str) = ("visible", "Maximum ApproximateNumberOfMessagesVisible");
const RUNNING: (&str, &str) = ("running", "Average GroupInServiceInstances");
/// `policy::minutes`.
const MINUTES: &str =
    "FILL(visible, 0) / IF(FILL(running, 0) > 1, running, 1) / ${MessagesPerMinute}";

fn is(block: &str, expected: &[(&str, &str)]) {
    let found = metrics(block);
    let found: Vec<_> = found.iter().map(|(id, what)| (id.as_str(), what.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn the_defaults_are_those_that_are_played_through() {
    for (name, number) in [
        ("TargetMinutes", policy::TARGET_MINUTES),
        ("MessagesPerMinute", policy::MESSAGES_PER_MINUTE),
        ("MinWorkers", f64::from(policy::template().min)),
        ("MaxWorkers", f64::from(policy::MAX_WORKERS)),
        ("VisibilityTimeout", f64::from(queue::LEASE)),
        ("MaxReceiveCount", f64::from(queue::MAX_RECEIVES)),
    ] {
        assert_eq!(values(&block(name), "Default"), [number.to_string()], "{name}");
    }
    let ini = Config::from_text("t.ini", "", [("", ""); 0]).expect("the defaults are usable");
    let (mode, seconds) = (&ini.mode, |n: u32| Duration::from_secs(n.into()));
    assert_eq!(mode.max_parallel_file, Count::Fixed(fleet::PLACES));
    assert_eq!(mode.job_timeout, seconds(fleet::JOB_TIMEOUT / 1000));
    assert_eq!(mode.grace_time, seconds(fleet::GRACE));
}

#[test]
fn the_formula_of_the_template_is_that_of_the_policy() {
    let backlog = block("Backlog");
    let held = "!Sub IF(FILL(sent, 0) > 0 AND FILL(running, 0) <= 1 AND minutes < ${TargetMinutes}, \
                ${TargetMinutes}, minutes)";
    is(
        &backlog,
        &[
            VISIBLE,
            RUNNING,
            ("sent", "Sum NumberOfMessagesSent"),
            ("minutes", &format!("!Sub {MINUTES}")),
            ("backlog", held),
        ],
    );
    assert_eq!(values(&backlog, "TargetValue"), ["!Ref TargetMinutes"]);
    let shown = backlog.matches("ReturnData: false").count();
    assert_eq!(shown, metrics(&backlog).len() - 1, "only the last one is tracked");
}

/// A step policy and its alarm are what the model has.
fn step(name: &str, alarm: &str, expected: &[(&str, &str)], threshold: f64, steps: &[(f64, u32)]) {
    let (scaling, alarm) = (block(name), block(alarm));
    assert_eq!(values(&scaling, "PolicyType"), ["StepScaling"], "{name}");
    assert_eq!(values(&scaling, "AdjustmentType"), ["ChangeInCapacity"], "{name}");
    assert!(!scaling.contains("Warmup"), "{name}: the group's");
    let bounds = |at: usize| match (steps[at].0, steps.get(at + 1)) {
        (low, Some((high, _))) => {
            format!("MetricIntervalLowerBound: {low}, MetricIntervalUpperBound: {high}")
        }
        (low, None) => format!("MetricIntervalLowerBound: {low}"),
    };
    let line = |at: usize| format!("- {{{}, ScalingAdjustment: {}}}", bounds(at), steps[at].1);
    let lines: Vec<String> = (0..steps.len()).map(line).collect();
    let found: Vec<&str> = scaling.lines().filter(|line| line.starts_with("- {Metric")).collect();
    assert_eq!(found, lines, "{name}");
    is(&alarm, expected);
    assert_eq!(values(&alarm, "Threshold"), [threshold.to_string()], "{name}");
    assert_eq!(values(&alarm, "ComparisonOperator"), ["GreaterThanOrEqualToThreshold"], "{name}");
    assert_eq!(values(&alarm, "EvaluationPeriods"), ["1"], "{name}");
    assert_eq!(alarm.matches("Period: 60,").count(), alarm.matches("MetricStat").count(), "{name}");
    assert_eq!(values(&alarm, "AlarmActions"), [format!("[!Ref {name}]")]);
}

#[test]
fn the_steps_of_the_template_are_those_of_the_policy() {
    let one = [(0.0, 1)];
    let first = [
        VISIBLE,
        ("wanted", "Maximum GroupDesiredCapacity"),
        ("first", "IF(FILL(wanted, 0) == 0, visible, 0)"),
    ];
    step("FirstWorker", "FirstJob", &first, policy::FIRST_JOB, &one);
    let times = format!("!Sub {MINUTES} / ${{TargetMinutes}}");
    let flood = [VISIBLE, RUNNING, ("times", &times)];
    step("Flood", "FloodComes", &flood, policy::FLOOD, &policy::FLOOD_STEPS);
    let late = [
        VISIBLE,
        ("age", "Maximum ApproximateAgeOfOldestMessage"),
        ("late", "!Sub IF(FILL(visible, 0) > 0, FILL(age, 0), 0) / 60 / ${TargetMinutes}"),
    ];
    step("Late", "JobsLate", &late, policy::LATE, &[(0.0, policy::LATE_STEP)]);
    let warmup = values(&block("Workers"), "DefaultInstanceWarmup");
    assert_eq!(warmup, [policy::WARMUP.to_string()]);
    // Nothing else scales the workers.
    let template = template();
    let group = "AutoScalingGroupName: !Ref Workers\n      PolicyType: ";
    assert_eq!(template.matches(group).count(), 1 + policy::template().steps.len());
}

const START: &str = "<!-- what the simulation prints -->\n";
const END: &str = "<!-- until here -->\n";

#[test]
fn the_document_shows_what_is_played_through() {
    let results = report::all();
    let document = fs::read_to_string("docs/scaling.md").expect("docs/scaling.md");
    let (before, rest) = document.split_once(START).expect("where the tables start");
    let (tables, after) = rest.split_once(END).expect("where the tables end");
    let expected = format!("\n{}", report::markdown(&results));
    let pictures = report::pictures(&results);
    if std::env::var_os("UPDATE_SCALING").is_some() {
        let text = format!("{before}{START}{expected}{END}{after}");
        fs::write("docs/scaling.md", text).expect("docs/scaling.md can be written");
        for (name, picture) in &pictures {
            fs::write(format!("docs/scaling/{name}"), picture).expect("a picture can be written");
        }
        return;
    }
    let how = "set UPDATE_SCALING=1 to write it anew, and read what has changed";
    assert!(tables == expected, "docs/scaling.md is not what is played through: {how}");
    for (name, picture) in &pictures {
        let file = fs::read_to_string(format!("docs/scaling/{name}")).expect("a picture");
        assert!(file == *picture, "docs/scaling/{name}: {how}");
    }
    let files = fs::read_dir("docs/scaling").expect("the pictures").count();
    assert_eq!(files, pictures.len(), "pictures of nothing");
}

/// What must be true of every run.
fn is_whole(trace: &Trace, run: &Run, min: u32) {
    let (name, account) = (format!("{}, {}", trace.name, run.name), &run.account);
    let expected: u32 = trace.arrivals.iter().map(|arrival| arrival.messages).sum();
    assert_eq!(run.sent, expected, "{name}");
    assert_eq!(account.done, run.sent, "{name}: all done, each once");
    assert_eq!(run.dead, 0, "{name}");
    assert!(account.peak <= trace.max, "{name}: {} workers", account.peak);
    assert_eq!(run.end, min, "{name}: back to the least");
    assert!(account.idle < account.billed, "{name}");
    // An interruption costs a part of a large object, at most 10 seconds of a small one.
    assert!(account.twice <= u64::from(account.again) * 10_000, "{name}");
}

#[test]
fn nothing_is_lost_whatever_scales() {
    let results = report::all();
    for Result { trace, runs } in &results {
        for (run, policy) in runs.iter().zip(report::policies()) {
            is_whole(trace, run, policy.min);
        }
    }
    for name in ["storms", "giant_storms"] {
        let runs = of(&results, name);
        assert!(runs.iter().all(|run| run.account.again > 0), "{name} hit nobody");
    }
}

fn of<'a>(results: &'a [Result], name: &str) -> &'a [Run] {
    &results.iter().find(|result| result.trace.name == name).expect(name).runs
}

#[test]
fn the_policy_is_fast_and_calm() {
    let results = report::all();
    let names = ["template", "without the flood step", "original"];
    for Result { runs, .. } in &results {
        assert_eq!(runs.iter().map(|run| run.name).collect::<Vec<_>>(), names);
    }
    for name in ["flood", "wide_flood", "storms"] {
        let [with, without, original] = of(&results, name) else { panic!("three policies") };
        let last = |run: &Run| run.account.last;
        assert!(last(with) + 120 <= last(without), "{name}: two minutes sooner");
        assert!(last(with) < last(original), "{name}");
    }
    // Up once, down once; a day has a flood and a peak, and what a storm brings back
    // of giants starts anew.
    for (name, turns) in [
        ("flood", 1),
        ("trickle", 1),
        ("giants", 1),
        ("storms", 1),
        ("day", 3),
        ("giant_storms", 9),
    ] {
        let run = &of(&results, name)[0];
        assert!(run.turns <= turns, "{name}: {} turns", run.turns);
    }
    // Were the last worker not held, each few messages of a trickle would start one.
    let trickle = results.iter().find(|result| result.trace.name == "trickle").expect("a trickle");
    let free = Policy { held: false, ..policy::template() };
    assert!(play(&free, &trickle.trace).turns > 50);
    // Few messages that take long get more workers than the one that their number asks for.
    let [with, _, original] = of(&results, "giants") else { panic!("three policies") };
    assert!(with.account.last < original.account.last);
    // What scaling is for: a day costs less than half of what the original's costs.
    let [with, _, original] = of(&results, "day") else { panic!("three policies") };
    assert!(with.account.billed * 2 < original.account.billed);
}
