//! `check`: prints the checks as lines, and the policies.

use std::fmt::Write as _;

use serde_json::json;

use super::{Exit, print};
use crate::check::findings::{CheckEnd, CheckVerdict};
use crate::check::{CheckReport, Roles, run};
use crate::cli::{CheckArgs, Role};
use crate::config::Config;
use crate::error::Result;

pub(super) async fn execute(config: &Config, args: &CheckArgs) -> Result<Exit> {
    let roles = Roles {
        worker: args.role != Some(Role::Jobsender),
        jobsender: args.role != Some(Role::Worker),
    };
    let report = run(config, roles).await;
    print(args.json, &report, || text(&report))?;
    Ok(match report.end() {
        CheckEnd::Well => Exit::Done,
        CheckEnd::Failed => Exit::Incomplete,
        CheckEnd::Unreached => Exit::Unreached,
    })
}

fn text(report: &CheckReport) -> String {
    let policies = [
        ("the role of the workers", Some(&report.policies.worker)),
        ("the role of the jobsender", Some(&report.policies.jobsender)),
        ("the other account's user", report.policies.user.as_ref()),
    ];
    let mut text = String::new();
    for (whose, policy) in policies {
        if let Some(policy) = policy.filter(|policy| policy["Statement"] != json!([])) {
            let _ = writeln!(text, "The smallest policy for {whose}:\n{policy:#}\n");
        }
    }
    for lacking in &report.not_in_policies {
        let _ = writeln!(text, "Not in these policies: {lacking}");
    }
    text.push('\n');
    for line in &report.checks {
        let _ = writeln!(text, "{:<8} {}: {}", line.verdict.as_str(), line.what, line.said);
    }
    let counts = [CheckVerdict::Ok, CheckVerdict::Warning, CheckVerdict::Failed]
        .map(|verdict| format!("{} {}", report.count(verdict), verdict.as_str()));
    let _ = write!(text, "{}", counts.join(", "));
    text
}
