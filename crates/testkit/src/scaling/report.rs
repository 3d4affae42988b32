//! All policies on all traces: Markdown tables and pictures.

use std::fmt::Write;

use super::picture;
use super::policy::{self, Adjustment, Metric, Policy};
use super::simulation::{Run, play};
use super::trace::{self, Trace};

/// A trace with the result of each policy.
#[derive(Clone, Debug)]
pub struct Result {
    /// The trace.
    pub trace: Trace,
    /// The results, in the order of `policies`.
    pub runs: Vec<Run>,
}

/// The policies that are compared.
pub fn policies() -> [Policy; 3] {
    [policy::template(), policy::without_flood_step(), policy::original()]
}

/// Runs every policy on every trace.
pub fn all() -> Vec<Result> {
    let run = |trace: Trace| {
        let runs = policies().iter().map(|policy| play(policy, &trace)).collect();
        Result { trace, runs }
    };
    trace::all().into_iter().map(run).collect()
}

/// The tables: one for each trace; then, for some traces, other steps for a flood and other targets.
pub fn markdown(results: &[Result]) -> String {
    let mut text = String::new();
    for result in results {
        let _ = write!(text, "### {}\n\n{HEAD}", result.trace.title);
        result.runs.iter().for_each(|run| row(&mut text, run.name, run));
        let name = result.trace.name;
        let _ = write!(text, "\n![Queue and workers over time](scaling/{name}.svg)\n\n");
    }
    text + &additions() + &choices() + &targets() + &floors()
}

const HEAD: &str = "| policy | done after | instance hours | of these idle | turns | most workers | workers at the end | \
                    oldest message | begun again | done twice, min | dead letters |\n\
                    |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n";

fn row(text: &mut String, name: &str, run: &Run) {
    let account = &run.account;
    let _ = writeln!(
        text,
        "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
        clock(account.last.saturating_sub(run.first)),
        hours(account.billed),
        hours(account.idle),
        run.turns,
        account.peak,
        run.end,
        clock(account.oldest),
        account.again,
        account.twice / 60_000,
        run.dead,
    );
}

/// The template's other policies, next to target tracking and the step for a flood, and the result
/// without them.
fn additions() -> String {
    let (all, mut never_late) = (policy::template(), policy::template());
    never_late.steps.retain(|steps| steps.metric != Metric::Late);
    let not_held = Policy { held: false, ..policy::template() };
    let mut text = String::new();
    for (title, trace, variants) in [
        (
            "The last worker stays while messages come in",
            "trickle",
            [("template", &all), ("it may go", &not_held)],
        ),
        (
            "One more while something waits too long",
            "giants",
            [("template", &all), ("nothing of the kind", &never_late)],
        ),
    ] {
        for trace in named(&[trace]) {
            let _ = write!(text, "### {title}: {}\n\n{HEAD}", lower(trace.title));
            for (name, policy) in variants {
                row(&mut text, name, &play(policy, &trace));
            }
            text.push('\n');
        }
    }
    text
}

/// The form for the middle of a sentence.
fn lower(title: &str) -> String {
    title.chars().take(1).flat_map(char::to_lowercase).chain(title.chars().skip(1)).collect()
}

/// Alternatives to the step for a flood.
fn choices() -> String {
    let add = policy::FLOOD_STEPS.map(|(from, more)| (from, Adjustment::Add(more)));
    let percent = [(0.0, 100), (2.0, 300), (6.0, 700)];
    let percent = percent.map(|(from, more)| (from, Adjustment::Percent(more)));
    let variants = [
        ("none", None),
        ("from once the target", Some(policy::flood(1.0, &add))),
        ("from twice (the template)", Some(policy::flood(policy::FLOOD, &add))),
        ("from four times", Some(policy::flood(4.0, &add))),
        ("in percent, from twice", Some(policy::flood(policy::FLOOD, &percent))),
    ];
    let mut text = String::new();
    for trace in named(&["wide_flood", "rising", "day"]) {
        let _ = write!(text, "### The step for a flood: {}\n\n{HEAD}", lower(trace.title));
        for (name, steps) in &variants {
            let mut policy = policy::without_flood_step();
            policy.steps.extend(steps.clone());
            row(&mut text, name, &play(&policy, &trace));
        }
        text.push('\n');
    }
    text
}

fn named(names: &[&str]) -> Vec<Trace> {
    trace::all().into_iter().filter(|trace| names.contains(&trace.name)).collect()
}

fn targets() -> String {
    let mut text = String::new();
    for trace in named(&["wide_flood", "day"]) {
        let _ = write!(text, "### `TargetMinutes`: {}\n\n{HEAD}", lower(trace.title));
        for minutes in [5.0, 15.0, 30.0, 60.0] {
            let policy = Policy { tracking: Some(minutes), ..policy::template() };
            row(&mut text, &format!("{minutes}"), &play(&policy, &trace));
        }
        text.push('\n');
    }
    text
}

fn floors() -> String {
    let mut text = String::new();
    for trace in named(&["trickle", "day"]) {
        let _ = write!(text, "### `MinWorkers`: {}\n\n{HEAD}", lower(trace.title));
        for min in [0, 1, 2] {
            let policy = Policy { min, ..policy::template() };
            row(&mut text, &format!("{min}"), &play(&policy, &trace));
        }
        text.push('\n');
    }
    text
}

/// The pictures, each with its file name.
pub fn pictures(results: &[Result]) -> Vec<(String, String)> {
    let one = |result: &Result| (format!("{}.svg", result.trace.name), picture::draw(result));
    results.iter().map(one).collect()
}

/// Seconds as `h:mm:ss`.
fn clock(seconds: u32) -> String {
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn hours(seconds: u32) -> String {
    format!("{:.1}", f64::from(seconds) / 3600.0)
}
