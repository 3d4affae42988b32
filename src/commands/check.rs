//! `check`: prints the checks as lines, and the policies if they are wanted or needed.

use std::fmt::Write as _;

use serde_json::json;

use super::run::pair;
use super::{Exit, print};
use crate::check::findings::{CheckEnd, CheckVerdict};
use crate::check::{CheckReport, Roles, Trust, run};
use crate::cli::{CheckArgs, Role};
use crate::config::{Config, Credentials, QueueBackend, StateBackend};
use crate::error::Result;

/// Lines are broken before this column: a terminal may have no more.
const COLUMNS: usize = 80;
/// Where a line's words begin, after its verdict.
const INDENT: usize = 9;

pub(super) async fn execute(config: &Config, args: &CheckArgs) -> Result<Exit> {
    let roles = Roles {
        worker: args.role != Some(Role::Jobsender),
        jobsender: args.role != Some(Role::Worker),
    };
    let report = match args.pair.both() {
        None => run(config, roles, None).await,
        Some((source, destination)) => {
            let config = as_for_run(config);
            let pair = pair(&config, source, destination, args.pair.strip_prefix)?;
            run(&config, roles, Some(pair)).await
        }
    };
    let end = report.end();
    let with_policies = args.policies || end != CheckEnd::Well;
    print(args.json, &report, || text(&report, with_policies))?;
    Ok(match end {
        CheckEnd::Well => Exit::Done,
        CheckEnd::Failed => Exit::Incomplete,
        CheckEnd::Unreached => Exit::Unreached,
    })
}

/// What `run` makes of the configuration: a file for queue and records, and the default chain for
/// both sides unless they are configured otherwise.
fn as_for_run(config: &Config) -> Config {
    let mut config = config.clone();
    config.backend.queue = QueueBackend::Embedded;
    config.backend.state = StateBackend::Embedded;
    for side in [&mut config.source.endpoint, &mut config.destination.endpoint] {
        side.credentials = side.credentials.or(Some(Credentials::Default));
    }
    config
}

fn text(report: &CheckReport, with_policies: bool) -> String {
    let mut text = String::new();
    for line in &report.checks {
        let said = format!("{}: {}", line.what, line.said);
        wrapped(&mut text, line.verdict.as_str(), &said);
    }
    let counts = [CheckVerdict::Ok, CheckVerdict::Warning, CheckVerdict::Failed]
        .map(|verdict| format!("{} {}", report.count(verdict), verdict.as_str()));
    let _ = write!(text, "{}", counts.join(", "));
    if with_policies {
        policies(&mut text, report);
    }
    text
}

/// Writes words after a verdict, in lines of at most [`COLUMNS`] unless a word alone is longer.
fn wrapped(text: &mut String, verdict: &str, said: &str) {
    let mut column = INDENT;
    let _ = write!(text, "{verdict:<width$}", width = INDENT - 1);
    for word in said.split(' ') {
        let width = word.chars().count();
        if column > INDENT && column + width > COLUMNS {
            let _ = write!(text, "\n{:width$}", "", width = INDENT - 1);
            column = INDENT;
        }
        let _ = write!(text, " {word}");
        column += width + 1;
    }
    text.push('\n');
}

fn policies(text: &mut String, report: &CheckReport) {
    let found = &report.policies;
    let policies = match found.worker == found.jobsender {
        true => [("whoever starts the run", Some(&found.worker)), ("", None)],
        false => [
            ("the role of the workers", Some(&found.worker)),
            ("the role of the jobsender", Some(&found.jobsender)),
        ],
    };
    let other = ("the other account's user or role", found.user.as_ref());
    text.push('\n');
    for (whose, policy) in policies.into_iter().chain([other]) {
        if let Some(policy) = policy.filter(|policy| policy["Statement"] != json!([])) {
            let _ = write!(text, "\nThe smallest policy for {whose}:\n{policy:#}\n");
        }
    }
    for Trust { role, policy } in &report.trust {
        let _ = write!(text, "\nThe trust policy of {role}:\n{policy:#}\n");
    }
    for lacking in &report.not_in_policies {
        let _ = write!(text, "\nNot in these policies: {lacking}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_before_the_81st_column() {
        let mut text = String::new();
        wrapped(&mut text, "failed", &format!("{} {}", "seven77 ".repeat(20), "l".repeat(100)));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        for line in &lines[..3] {
            assert!((70..=COLUMNS).contains(&line.trim_end().len()) || line.len() < 30, "{text}");
        }
        assert!(lines[0].starts_with("failed   seven77 ") && lines[3].starts_with("         lll"));
    }
}
