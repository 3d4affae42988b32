//! `check`: whether a migration would work, by real calls that leave nothing; IAM policies.
//!
//! Each look prints one line, and a failed look does not end the others. [`crate::check::findings`]
//! decides what a line means, [`crate::check::iam`] what must be allowed.

use serde::Serialize;
use serde_json::Value;

use crate::aws::clock::Clock;
use crate::aws::identity::Caller;
use crate::check::findings::{CheckEnd, CheckVerdict, Judged, Reached, clock, end};
use crate::check::iam::{Policies, Scope};
use crate::config::{Config, Credentials, QueueBackend, StateBackend};
use crate::error::{Error, ErrorKind, Result};
use crate::params::Pair;
use crate::store::Side;
use crate::wiring;

mod backends;
mod buckets;
mod callers;
pub mod findings;
pub mod iam;
mod parameters;
mod scope;
mod writing;

/// The roles whose permissions are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// Those that `worker` needs.
    pub worker: bool,
    /// Those that `jobsender` needs.
    pub jobsender: bool,
}

/// The result of one look.
#[derive(Debug, Serialize)]
pub struct CheckLine {
    /// `ok`, `warning` or `failed`.
    pub verdict: CheckVerdict,
    /// What was looked at.
    pub what: String,
    /// What was found, and what to do if something is wrong.
    pub said: String,
    #[serde(skip)]
    reached: Reached,
}

/// The trust policy that a role needs.
#[derive(Debug, Serialize)]
pub struct Trust {
    /// The role's ARN.
    pub role: String,
    /// Its trust policy, as far as this migration goes.
    pub policy: Value,
}

/// Everything that was found.
#[derive(Debug, Serialize)]
pub struct CheckReport {
    /// The looks, in the order in which they were made.
    pub checks: Vec<CheckLine>,
    /// The smallest policies for this configuration.
    pub policies: Policies,
    /// What the roles that are assumed must trust.
    pub trust: Vec<Trust>,
    /// What the policies may lack, a sentence each.
    pub not_in_policies: Vec<String>,
}

impl CheckReport {
    /// The overall result of the check.
    pub fn end(&self) -> CheckEnd {
        end(self.checks.iter().map(|line| (line.verdict, line.reached)))
    }

    /// How many lines have this verdict.
    pub fn count(&self, verdict: CheckVerdict) -> usize {
        self.checks.iter().filter(|line| line.verdict == verdict).count()
    }
}

/// A running check: what it needs, and what it has found.
struct Check<'a> {
    config: &'a Config,
    roles: Roles,
    lines: Vec<CheckLine>,
    /// The clocks of the services that are asked.
    clocks: Vec<Clock>,
    scope: Scope,
    /// Who this machine is, once STS has said it.
    own: Option<Caller>,
    trust: Vec<Trust>,
    /// For `run`, which needs nothing but the two stores and a file.
    is_run: bool,
}

/// Makes all the looks that this configuration and these roles call for; with a pair, those that
/// `run` needs between its two places.
pub async fn run(config: &Config, roles: Roles, pair: Option<Pair>) -> CheckReport {
    let (lines, clocks) = (Vec::new(), Vec::new());
    let (own, trust) = (None, Vec::new());
    let is_run = pair.is_some();
    let mut check = Check {
        config,
        roles,
        lines,
        clocks,
        scope: scope::of(config, is_run),
        own,
        trust,
        is_run,
    };
    check.configuration();
    check.machine().await;
    let parameters = wiring::parameters();
    let stored = check.credentials(&*parameters).await;
    check.others(stored.as_ref()).await;
    let pairs = match pair {
        Some(pair) => vec![pair],
        None => check.bucket_list(&*parameters).await,
    };
    check.ignore_list((!is_run).then_some(&*parameters)).await;
    let has_keys = stored.is_some() || !check.uses(Credentials::Ssm);
    check.buckets(&parameters, &pairs, has_keys).await;
    check.queue().await;
    check.table().await;
    check.group().await;
    check.clock();
    CheckReport {
        policies: match is_run {
            true => Policies::of_run(&check.scope),
            false => Policies::of(&check.scope),
        },
        not_in_policies: check.scope.unknown(),
        trust: check.trust,
        checks: check.lines,
    }
}

impl Check<'_> {
    fn configuration(&mut self) {
        let file = match &self.config.file {
            Some(file) => file.display().to_string(),
            None => "no ini, only the environment and defaults".to_owned(),
        };
        let [source, destination] = [Side::Source, Side::Destination].map(|side| self.asker(side));
        let said = format!(
            "{file}; credentials for the source: {source}; for the destination: {destination}"
        );
        self.say("configuration", (CheckVerdict::Ok, said), Reached::NotAsked);
    }

    fn asker(&self, side: Side) -> String {
        let base = match wiring::credentials(self.config, side, false) {
            Credentials::Default => "this machine",
            Credentials::Ssm => "the stored credentials",
            Credentials::Profile => "a profile",
            Credentials::Anonymous => "unsigned requests",
        };
        match scope::role(self.config, side) {
            Some(role) => format!("role {}, assumed with {base}", role.arn),
            None => base.to_owned(),
        }
    }

    /// Compares this machine's clock with the one that differs most.
    fn clock(&mut self) {
        let seen = self.clocks.iter().filter_map(Clock::skew);
        let judged = match seen.max_by_key(|ahead| ahead.unsigned_abs()) {
            Some(ahead) => clock(ahead),
            None => (CheckVerdict::Warning, "no service's answer contained the time".to_owned()),
        };
        self.say("clock", judged, Reached::NotAsked);
    }

    fn say(&mut self, what: impl Into<String>, (verdict, said): Judged, reached: Reached) {
        self.lines.push(CheckLine { verdict, what: what.into(), said, reached });
    }

    /// One look at a service: judges its answer, or reports its failure. `action` is the permission
    /// that the call needs.
    fn look<T>(
        &mut self,
        what: impl Into<String>,
        action: &str,
        answer: Result<T>,
        judge: impl FnOnce(&T) -> Judged,
    ) -> Option<T> {
        match answer {
            Ok(answer) => {
                let judged = judge(&answer);
                self.say(what, judged, Reached::Yes);
                Some(answer)
            }
            Err(error) => {
                let reached = match error.kind() {
                    ErrorKind::Unavailable | ErrorKind::Unfit => Reached::No,
                    ErrorKind::Usage => Reached::NotAsked,
                    _ => Reached::Yes,
                };
                self.say(what, (CheckVerdict::Failed, refused(&error, action)), reached);
                None
            }
        }
    }

    /// Marks the latest look as one at a file, not at a service.
    fn at_a_file(&mut self) {
        if let Some(line) = self.lines.last_mut() {
            line.reached = Reached::NotAsked;
        }
    }

    /// Whether any service of the machine's own account is used.
    fn asks_aws(&self) -> bool {
        let config = self.config;
        let services = config.backend.queue == QueueBackend::Sqs
            || config.backend.state == StateBackend::DynamoDb;
        let list = !self.is_run && config.basic.bucket_para_file.is_none();
        services || self.uses(Credentials::Ssm) || list
    }

    /// Whether either side uses such credentials.
    fn uses(&self, credentials: Credentials) -> bool {
        [Side::Source, Side::Destination]
            .into_iter()
            .any(|side| wiring::credentials(self.config, side, false) == credentials)
    }
}

/// The error, and the missing permission if the error does not name it.
fn refused(error: &Error, action: &str) -> String {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::Denied if !action.is_empty() && !text.contains(action) => {
            format!("{text}; allow {action}")
        }
        _ => text,
    }
}
