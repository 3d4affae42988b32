//! The smallest IAM policies under which a migration works: what each role calls, and nothing else.
//!
//! There are three documents: for the machines that run workers, for the machine that compares, and
//! for the other account's user, whose access key is stored and who does both. The identifiers of
//! the statements are stable; the template's roles have the same.
//!
//! Two things are missing, because they are not known here: customer managed keys of the queue, the
//! table or a source bucket ([`SideScope::keys`] is the place for the latter), and the permissions
//! that only commands other than `worker`, `jobsender` and `check` need.
//!
//! Pure: a policy follows from the scope that it is asked for.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};

mod arn;
mod calls;
#[cfg(test)]
mod tests;

pub use arn::AccountPlace;
pub use calls::{CallerKind, SideScope};

use calls::Duties;

/// The table's index, which `jobsender` reads if versions are compared.
const INDEX: &str = "desBucket-index";

/// The names and ARNs that a migration uses. A `None` is not in AWS, or is not used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Where the machines' own account is.
    pub place: AccountPlace,
    /// Where objects are read from.
    pub source: SideScope,
    /// Where objects are written to.
    pub destination: SideScope,
    /// ARN of the queue.
    pub queue: Option<String>,
    /// ARN of its dead letter queue.
    pub dead_letters: Option<String>,
    /// ARN of the table.
    pub table: Option<String>,
    /// Name of the parameter with the bucket list.
    pub bucket_list: Option<String>,
    /// Name of the parameter with the ignore list.
    pub ignore_list: Option<String>,
    /// Name of the parameter with the other account's credentials.
    pub credentials: Option<String>,
    /// ARNs of the roles that the machines assume.
    pub roles: Vec<String>,
    /// The workers' autoscaling group.
    pub group: Option<GroupScope>,
    /// Objects are read by version (`GetObjectWithVersionId`).
    pub reads_versions: bool,
    /// Versions are compared (`JobsenderCompareVersionId`).
    pub compares_versions: bool,
    /// Tags are copied (`CopyTags`).
    pub copies_tags: bool,
    /// New objects are given an ACL (`ACL`).
    pub sets_acl: bool,
    /// The jobsender writes a report of the records at the end (`ReportTo`).
    pub reports: bool,
    /// Deletions are propagated to the destination (`PropagateDelete`, or `jobsender --delete`).
    pub deletes: bool,
}

impl Scope {
    /// What the policies may lack because the configuration does not say it, a sentence each.
    pub fn unknown(&self) -> Vec<String> {
        let sides = [("source", &self.source), ("destination", &self.destination)];
        let unnamed = sides
            .into_iter()
            .filter(|(_, side)| side.buckets.is_empty() && side.asker != CallerKind::Nobody)
            .map(|(name, _)| format!("the {name}'s buckets: no bucket list names any"));
        let keys = "customer managed KMS keys, except the one that SSE names: kms:Decrypt on the \
                    source's, kms:Decrypt and kms:GenerateDataKey on the destination's";
        unnamed.chain([keys.to_owned()]).collect()
    }
}

/// An autoscaling group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupScope {
    /// Its name.
    pub name: String,
    /// It has a hook that instances complete when they terminate.
    pub hook: bool,
}

/// The documents, each `{"Version", "Statement"}` as IAM takes it
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>). Actions
/// are sorted; actions and resources are lists even if they have one element.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Policies {
    /// For the role of the machines that run `worker`.
    pub worker: Value,
    /// For the role of the machine that runs `jobsender`.
    pub jobsender: Value,
    /// For the user whose stored credentials (or profile) are used, or for the role that is assumed;
    /// `None`: there is neither.
    pub user: Option<Value>,
}

impl Policies {
    /// The policies for this scope.
    pub fn of(scope: &Scope) -> Self {
        let user = calls::statements(scope, CallerKind::Other, Duties::ALL);
        Self {
            worker: document(worker(scope)),
            jobsender: document(jobsender(scope)),
            user: (!user.is_empty()).then(|| document(user)),
        }
    }

    /// The policies for `run`: one process compares and copies, and uses no other service.
    pub fn of_run(scope: &Scope) -> Self {
        let mut own = calls::statements(scope, CallerKind::Machine, Duties::ALL);
        let read = [&scope.credentials];
        own.extend(parameters(scope, &read));
        own.extend(assumption(scope));
        let own = document(own);
        Self { worker: own.clone(), jobsender: own, ..Self::of(scope) }
    }
}

fn worker(scope: &Scope) -> Vec<Value> {
    let mut statements = calls::statements(scope, CallerKind::Machine, Duties::WORKER);
    // SendMessage: the unfinished part of a message goes back as a new message.
    statements.extend(on(
        &scope.queue,
        "Queue",
        &[
            "sqs:ChangeMessageVisibility",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:GetQueueUrl",
            "sqs:ReceiveMessage",
            "sqs:SendMessage",
        ],
    ));
    let bury = ["sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:SendMessage"];
    statements.extend(on(&scope.dead_letters, "DeadLetters", &bury));
    statements.extend(on(
        &scope.table,
        "Table",
        &[
            "dynamodb:BatchGetItem",
            "dynamodb:DescribeTable",
            "dynamodb:GetItem",
            "dynamodb:PartiQLInsert",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
        ],
    ));
    // The bucket list decides where events go.
    let read = [&scope.bucket_list, &scope.ignore_list, &scope.credentials];
    statements.extend(parameters(scope, &read));
    statements.extend(assumption(scope));
    statements.extend(scope.group.as_ref().map(|group| group_statement(&scope.place, group)));
    statements
}

fn jobsender(scope: &Scope) -> Vec<Value> {
    let mut statements = calls::statements(scope, CallerKind::Machine, Duties::JOBSENDER);
    let send = ["sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:SendMessage"];
    statements.extend(on(&scope.queue, "Queue", &send));
    let count = ["sqs:GetQueueAttributes", "sqs:GetQueueUrl"];
    statements.extend(on(&scope.dead_letters, "DeadLetters", &count));
    statements.extend(on(
        &scope.table,
        "Table",
        &[
            "dynamodb:BatchGetItem",
            "dynamodb:DeleteItem",
            "dynamodb:DescribeTable",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
        ],
    ));
    let index = scope.table.as_ref().filter(|_| scope.compares_versions || scope.reports);
    let index = index.map(|table| format!("{table}/index/{INDEX}"));
    statements.extend(on(&index, "Index", &["dynamodb:Query"]));
    let read = [&scope.bucket_list, &scope.ignore_list, &scope.credentials];
    statements.extend(parameters(scope, &read));
    statements.extend(assumption(scope));
    statements
}

/// Allows assuming the roles of the sides that have one.
fn assumption(scope: &Scope) -> Option<Value> {
    let roles: BTreeSet<&String> = scope.roles.iter().collect();
    let roles: Vec<String> = roles.into_iter().cloned().collect();
    (!roles.is_empty()).then(|| statement("Role", ["sts:AssumeRole"], roles))
}

/// A role's trust policy: who may assume it, and with which external id
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_common-scenarios_third-party.html>).
pub fn trust(caller: &str, external_id: Option<&str>) -> Value {
    let mut statement = json!({
        "Sid": "Migration",
        "Effect": "Allow",
        "Principal": {"AWS": principal(caller)},
        "Action": "sts:AssumeRole",
    });
    if let Some(id) = external_id {
        statement["Condition"] = json!({"StringEquals": {"sts:ExternalId": id}});
    }
    document(vec![statement])
}

/// The principal of a trust policy that lets `caller` assume a role. For a session it is the
/// session's role, which outlives it; the role's path is not in the session's ARN.
fn principal(caller: &str) -> String {
    let parts: Vec<_> = caller.splitn(6, ':').collect();
    let session =
        |rest: &str| rest.strip_prefix("assumed-role/")?.split('/').next().map(str::to_owned);
    match parts[..] {
        [arn, partition, _, _, account, rest] => match session(rest) {
            Some(role) => format!("{arn}:{partition}:iam::{account}:role/{role}"),
            None => caller.to_owned(),
        },
        _ => "arn:aws:iam::ACCOUNT:role/MACHINE".to_owned(),
    }
}

/// Allows reading the parameters, and decrypting the one that is secret.
fn parameters(scope: &Scope, names: &[&Option<String>]) -> Vec<Value> {
    let names = names.iter().copied().flatten();
    let arns: Vec<String> = names.map(|name| scope.place.parameter(name)).collect();
    if arns.is_empty() {
        return Vec::new();
    }
    let mut statements = vec![statement("Parameters", ["ssm:GetParameter"], arns)];
    statements.extend(scope.credentials.as_deref().map(|name| decryption(&scope.place, name)));
    statements
}

/// Allows decryption with the parameter's key, whichever it is: Parameter Store names the parameter
/// in each request to decrypt
/// (<https://docs.aws.amazon.com/kms/latest/developerguide/services-parameter-store.html>).
fn decryption(place: &AccountPlace, name: &str) -> Value {
    let mut statement = statement("Credentials", ["kms:Decrypt"], vec![place.key("*")]);
    statement["Condition"] = json!({"StringEquals": {
        "kms:ViaService": place.service("ssm"),
        "kms:EncryptionContext:PARAMETER_ARN": place.parameter(name),
    }});
    statement
}

fn group_statement(place: &AccountPlace, group: &GroupScope) -> Value {
    let hook =
        ["autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat"];
    let hook = hook.into_iter().filter(|_| group.hook);
    let actions = hook.chain(["autoscaling:SetInstanceProtection"]);
    statement("Group", actions, vec![place.group(&group.name)])
}

fn on(resource: &Option<String>, sid: &str, actions: &[&'static str]) -> Option<Value> {
    let resource = resource.clone()?;
    Some(statement(sid, actions.iter().copied(), vec![resource]))
}

fn statement(
    sid: &str,
    actions: impl IntoIterator<Item = &'static str>,
    resources: Vec<String>,
) -> Value {
    let actions: BTreeSet<&str> = actions.into_iter().collect();
    json!({"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources})
}

fn document(statements: Vec<Value>) -> Value {
    json!({"Version": "2012-10-17", "Statement": statements})
}
