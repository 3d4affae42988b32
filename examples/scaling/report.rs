//! Every trace under every policy: tables as Markdown, and the pictures.

use std::fmt::Write;

use super::picture;
use super::policy::{self, Policy};
use super::simulation::{Run, play};
use super::trace::{self, Trace};

/// A trace and what each policy made of it.
#[derive(Clone, Debug)]
pub struct Result {
    /// What was played.
    pub trace: Trace,
    /// In the order of `policies`.
    pub runs: Vec<Run>,
}

/// The policies that are compared.
pub fn policies() -> [Policy; 3] {
    [policy::template(), policy::without_flood_step(), policy::original()]
}

/// Plays everything.
pub fn all() -> Vec<Result> {
    let run = |trace: Trace| {
        let runs = policies().iter().map(|policy| play(policy, &trace)).collect();
        Result { trace, runs }
    };
    trace::all().into_iter().map(run).collect()
}

/// The tables, one for each trace, and what another target would have made of two of them.
pub fn markdown(results: &[Result]) -> String {
    let mut text = String::new();
    for result in results {
        let _ = write!(text, "### {}\n\n{HEAD}", result.trace.title);
        result.runs.iter().for_each(|run| row(&mut text, run.name, run));
        let name = result.trace.name;
        let _ = write!(text, "\n![Queue and workers over time](scaling/{name}.svg)\n\n");
    }
    text + &targets()
}

const HEAD: &str = "| policy | done after | instance hours | of these idle | turns | most workers | \
                    oldest message | begun again | done twice, min | dead letters |\n\
                    |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n";

fn row(text: &mut String, name: &str, run: &Run) {
    let account = &run.account;
    let _ = writeln!(
        text,
        "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
        clock(account.last.saturating_sub(run.first)),
        hours(account.billed),
        hours(account.idle),
        run.turns,
        account.peak,
        clock(account.oldest),
        account.again,
        account.twice / 60_000,
        run.dead,
    );
}

fn targets() -> String {
    let traces = trace::all();
    let of = |name: &str| traces.iter().find(|trace| trace.name == name);
    let mut text = String::new();
    for trace in ["wide_flood", "day"].into_iter().filter_map(of) {
        let _ = write!(text, "### `TargetMinutes`: {}\n\n{HEAD}", trace.title);
        for minutes in [5.0, 15.0, 30.0, 60.0] {
            let policy = Policy { tracking: Some(minutes), ..policy::template() };
            row(&mut text, &format!("{minutes}"), &play(&policy, trace));
        }
        text.push('\n');
    }
    text
}

/// The pictures, each with its file's name.
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
