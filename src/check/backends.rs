//! The queue and the table, or the file used instead of them.

use std::path::Path;

use super::{Check, refused, scope};
use crate::aws;
use crate::check::findings::{
    CheckVerdict, Judged, Reached, message_size, redrive, retention, together,
};
use crate::config::{QueueBackend, StateBackend};
use crate::ec2::autoscaling::ScalingGroup;
use crate::error::{Error, ErrorKind, Result};
use crate::queue::{DeadLetters, QueueCall, QueueFacts};
use crate::record::dynamodb::DynamoRecords;
use crate::record::{IndexForm, TableCall, TableFacts};
use crate::wiring::{self, first};

/// What each role calls on the table.
const WORKER: [TableCall; 5] = [
    TableCall::GetItem,
    TableCall::UpdateItem,
    TableCall::BatchGetItem,
    TableCall::PutItem,
    TableCall::Insert,
];
const JOBSENDER: [TableCall; 4] =
    [TableCall::BatchGetItem, TableCall::PutItem, TableCall::DeleteItem, TableCall::UpdateItem];

/// The instance in rehearsed calls to an autoscaling group; no instance has this id.
const NO_INSTANCE: &str = "i-00000000000000000";

impl Check<'_> {
    /// Looks at the queue and its dead letter queue, or at their file.
    pub(super) async fn queue(&mut self) {
        scope::name_services(&mut self.scope, self.config);
        let name = &self.config.basic.sqs_queue_name;
        if self.config.backend.queue == QueueBackend::Embedded {
            return self.file("queue").await;
        }
        let what = format!("queue {name}");
        let queue = match wiring::sqs_queue(self.config).await {
            Ok(queue) => queue,
            failed => {
                self.look(what, "sqs:GetQueueUrl", failed.map(drop), |()| {
                    (CheckVerdict::Ok, String::new())
                });
                return;
            }
        };
        let facts = first(|| queue.facts()).await;
        let facts = self.look(what.clone(), "sqs:GetQueueAttributes", facts, queue_facts);
        let facts = facts.unwrap_or_default();
        self.scope.queue = facts.arn.or(self.scope.queue.take());
        let dead = first(|| queue.dead_letters()).await;
        let judge = |dead: &Option<DeadLetters>| {
            let kept = dead.as_ref().and_then(|dead| dead.retention).map(retention);
            together([redrive(facts.max_receives)].into_iter().chain(kept))
        };
        let dead = self.look("dead letter queue", "sqs:GetQueueAttributes", dead, judge);
        if let Some(dead) = dead {
            self.scope.dead_letters = dead.and_then(|dead| dead.arn);
        }
        let worker = [QueueCall::Receive, QueueCall::Delete, QueueCall::Hide];
        let worker = worker.into_iter().filter(|_| self.roles.worker);
        for call in [QueueCall::Send].into_iter().chain(worker).collect::<Vec<_>>() {
            let made = first(|| queue.rehearse(call)).await;
            self.impossible(format!("{what}, {call:?}"), call.action(), made);
        }
    }

    /// Looks at the calls that a worker makes to its autoscaling group, if it has one.
    pub(super) async fn group(&mut self) {
        let instance = &self.config.instance;
        let Some(name) = instance.group.as_ref().filter(|_| self.roles.worker) else { return };
        let what = format!("autoscaling group {name}");
        let group = match aws::load_sdk_config().await {
            Ok(sdk) => ScalingGroup::new(&sdk, name, NO_INSTANCE),
            failed => {
                self.look(what, "", failed.map(drop), |()| (CheckVerdict::Ok, String::new()));
                return;
            }
        };
        let action = "autoscaling:SetInstanceProtection";
        let made = first(|| group.protect(false)).await;
        self.impossible(format!("{what}, protect"), action, made);
        if let Some(hook) = &instance.lifecycle_hook {
            let action = "autoscaling:RecordLifecycleActionHeartbeat";
            let made = first(|| group.prolong(hook)).await;
            self.impossible(format!("{what}, prolong"), action, made);
            let action = "autoscaling:CompleteLifecycleAction";
            let made = first(|| group.complete(hook)).await;
            self.impossible(format!("{what}, complete"), action, made);
        }
    }

    /// One look by a call whose content the service must refuse: that refusal shows that the caller
    /// has the permission.
    fn impossible(&mut self, what: String, action: &str, made: Result<()>) {
        let is_no_group = |error: &Error| error.to_string().contains("name not found");
        let made = match made {
            Err(error) if error.kind() == ErrorKind::Invalid && !is_no_group(&error) => Ok(()),
            made => made,
        };
        let said = "allowed, by a call that could change nothing";
        self.look(what, action, made, |()| (CheckVerdict::Ok, said.to_owned()));
    }

    /// Looks at the table, its key, its index, and the calls that each role makes on it.
    pub(super) async fn table(&mut self) {
        if self.config.backend.state == StateBackend::Embedded {
            return self.file("records").await;
        }
        let what = format!("table {}", self.config.basic.table_queue_name);
        let table = match wiring::dynamodb_table(self.config).await {
            Ok(table) => table,
            failed => {
                let failed = failed.map(drop);
                self.look(what, "dynamodb:DescribeTable", failed, |()| {
                    (CheckVerdict::Ok, String::new())
                });
                return;
            }
        };
        let compares = self.scope.compares_versions && self.roles.jobsender;
        let facts = first(|| table.facts()).await;
        let judge = |facts: &TableFacts| index(facts.index, compares);
        let facts = self.look(what.clone(), "dynamodb:DescribeTable", facts, judge);
        if let Some(arn) = facts.as_ref().and_then(|facts| facts.arn.clone()) {
            self.scope.table = Some(arn);
        }
        let worker = WORKER.into_iter().filter(|_| self.roles.worker);
        let both = |call: &TableCall| self.roles.worker && WORKER.contains(call);
        let jobsender = JOBSENDER.into_iter().filter(|_| self.roles.jobsender);
        let jobsender = jobsender.filter(|call| !both(call));
        let has_index = facts.is_some_and(|facts| facts.index != IndexForm::Missing);
        let reads = compares || (self.scope.reports && self.roles.jobsender);
        let query = Some(TableCall::Query).filter(|_| reads && has_index);
        for call in worker.chain(jobsender).chain(query).collect::<Vec<_>>() {
            self.rehearse(&table, &what, call).await;
        }
    }

    async fn rehearse(&mut self, table: &DynamoRecords, what: &str, call: TableCall) {
        let made = first(|| table.rehearse(call)).await;
        let what = format!("{what}, {call:?}");
        if let (TableCall::Insert, Err(error)) = (call, &made)
            && matches!(error.kind(), ErrorKind::Denied | ErrorKind::Invalid)
        {
            // A worker goes on without it.
            let said = format!(
                "{}; without it small objects cost a write request each instead of one for 25",
                refused(error, call.action())
            );
            return self.say(what, (CheckVerdict::Warning, said), Reached::Yes);
        }
        self.look(what, call.action(), made, |()| (CheckVerdict::Ok, "allowed".to_owned()));
    }

    /// Looks at the SQLite file: opens it if it exists, otherwise writes to its folder.
    async fn file(&mut self, what: &str) {
        let path = self.config.backend.path.clone();
        let file = path.display().to_string();
        let looked = match path.exists() {
            true => wiring::state(self.config).await.map(|_| file),
            false => {
                writable(&path).map(|()| format!("{file}, which is created when it is needed"))
            }
        };
        let (verdict, said) = match looked {
            Ok(said) => (CheckVerdict::Ok, said),
            Err(error) => (CheckVerdict::Failed, error.to_string()),
        };
        self.say(format!("{what} in a file"), (verdict, said), Reached::NotAsked);
    }
}

fn writable(path: &Path) -> Result<()> {
    let folder = std::path::absolute(path).ok();
    let folder = folder.as_deref().and_then(Path::parent).unwrap_or(Path::new("."));
    let made = tempfile::tempfile_in(folder);
    made.map(drop).map_err(|error| {
        let (path, folder) = (path.display(), folder.display());
        Error::usage(format!(
            "{path} cannot be created in {folder}: {error}; set Path in [Backend]"
        ))
    })
}

fn queue_facts(facts: &QueueFacts) -> Judged {
    let kept = facts.retention.map(retention);
    let judged = kept.into_iter().chain(facts.max_message.map(message_size));
    together(judged)
}

fn index(form: IndexForm, compares: bool) -> Judged {
    let slow = "comparing versions looks up each key by itself, which is slow and costs more";
    let made = "create the index desBucket-index with the keys desBucket and desKey and all \
                attributes";
    match (form, compares) {
        (IndexForm::Whole, _) => (CheckVerdict::Ok, "key and index are correct".to_owned()),
        (_, false) => (
            CheckVerdict::Ok,
            "its key is correct; the index is not, but is not needed now".to_owned(),
        ),
        (IndexForm::Missing, true) => {
            (CheckVerdict::Warning, format!("it has no index desBucket-index: {slow}; {made}"))
        }
        (IndexForm::Unordered, true) => {
            (CheckVerdict::Warning, format!("its index has no sort key: {slow}; {made}"))
        }
        (IndexForm::Partial, true) => (
            CheckVerdict::Warning,
            format!("its index lacks attributes, or is still being created: {slow}; {made}"),
        ),
    }
}
