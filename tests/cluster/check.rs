//! `check`: what it says of a sound set-up and of each fault, and whether its policies are enough and no
//! more than enough.

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::refusals::Guarded;
use crate::stage::{Ran, Stage, Worker, ran, until};
use crate::support::iam::{self, User};
use crate::support::ministack::{ACCOUNT_A, ACCOUNT_B};
use crate::support::resources;

/// The result as JSON.
fn report(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("no JSON ({e}): {ran:?}"))
}

/// What was looked at with this verdict, and what was said.
fn lines(report: &Value, verdict: &str) -> Vec<String> {
    let lines = report["checks"].as_array().expect("a list").iter();
    let lines = lines.filter(|line| line["verdict"] == verdict);
    lines.map(|line| format!("{}: {}", line["what"], line["said"])).collect()
}

#[tokio::test]
async fn a_sound_set_up_is_ok_and_keeps_no_trace_of_the_check() {
    let stage = Stage::put(20).await;
    stage.put_source("first", b"content").await;
    let ran = stage.run(&["check"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for said in ["ok       clock", "0 failed", "\"Sid\": \"Queue\"", "write an object"] {
        assert!(ran.stdout.contains(said), "{said}: {}", ran.stdout);
    }
    let said = report(&stage.run(&["check", "--json"]).await);
    assert_eq!(lines(&said, "failed"), Vec::<String>::new());
    assert_eq!(stage.arrived_keys().await, Vec::<String>::new());
    assert_eq!(stage.parts().await, Vec::<i64>::new());
    assert_eq!(stage.depth().await, (0, 0));
    let client = aws_sdk_dynamodb::Client::new(&stage.a);
    let kept = client.scan().table_name(&stage.table).send().await.expect("Scan");
    assert_eq!(kept.count, 0, "{:?}", kept.items);
}

/// A copy of the policy in which one action is missing.
fn without(policy: &Value, action: &str) -> Value {
    let mut policy = policy.clone();
    for statement in policy["Statement"].as_array_mut().expect("a list") {
        statement["Action"].as_array_mut().expect("a list").retain(|named| named != action);
    }
    let statements = policy["Statement"].as_array_mut().expect("a list");
    statements.retain(|statement| statement["Action"] != json!([]));
    policy
}

fn actions(policy: &Value) -> Vec<&str> {
    let statements = policy["Statement"].as_array().expect("a list").iter();
    let actions = statements.flat_map(|statement| statement["Action"].as_array().expect("a list"));
    actions.map(|action| action.as_str().expect("a text")).collect()
}

/// What no harmless call can try: a message that is sent or received is work.
const UNTRIED: &[&str] = &[
    "dynamodb:PartiQLInsert",
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:ReceiveMessage",
    "sqs:SendMessage",
];

/// What this server does not ask for: it decrypts a SecureString without a key.
const UNASKED: &[&str] = &["kms:Decrypt"];

struct Cast {
    guarded: Guarded,
    worker: User,
    jobsender: User,
    other: User,
    /// The parameter with the other account's keys.
    credentials: String,
    policies: Value,
    folder: TempDir,
}

impl Cast {
    /// Users that have exactly the policies which a check prints.
    async fn new() -> Self {
        let guarded = Guarded::new().await;
        let a = guarded.server.sdk_config(ACCOUNT_A);
        let put = resources::s3(&a).put_object().bucket(&guarded.source).key("ü/a b+c");
        put.body(b"content".to_vec().into()).send().await.expect("PutObject");
        let user = |account| iam::user(&guarded.server, account);
        let (worker, jobsender) = (user(ACCOUNT_A), user(ACCOUNT_A));
        let (role, other) = (guarded.role.clone(), user(ACCOUNT_B));
        let credentials = guarded.keep((&other.key, &other.secret)).await;
        let policies = Value::Null;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let pairs = json!([{"src_bucket": guarded.source, "src_prefix": "", "des_prefix": "moved",
                            "des_bucket": guarded.destination}]);
        let list = folder.path().join("pairs.json");
        std::fs::write(list, pairs.to_string()).expect("the list can be written");
        let mut cast = Self { guarded, worker, jobsender, other, credentials, policies, folder };
        let asked = cast.check(&role, &["--json"]).await;
        cast.policies = report(&asked)["policies"].clone();
        cast.allow(ACCOUNT_B, &cast.other, "user");
        cast.allow(ACCOUNT_A, &cast.worker, "worker");
        cast.allow(ACCOUNT_A, &cast.jobsender, "jobsender");
        cast
    }

    fn allow(&self, account: &str, user: &User, policy: &str) {
        iam::allow(&self.guarded.server, account, user, &self.policies[policy]);
    }

    fn program(&self, command: &str, user: &User) -> Command {
        self.guarded.program_with(command, (&user.key, &user.secret), &self.credentials)
    }

    async fn check(&self, user: &User, args: &[&str]) -> Ran {
        let mut program = self.program("check", user);
        program.args(args);
        // A worker may not read the parameter with the bucket list.
        if args.contains(&"worker") {
            program.env("bucket_para_file", self.folder.path().join("pairs.json"));
        }
        ran(program).await
    }

    /// Takes each action away in turn, and looks at what fails then.
    async fn without_each(&self, account: &str, user: &User, policy: &str, role: &str) {
        for action in actions(&self.policies[policy]) {
            let less = without(&self.policies[policy], action);
            iam::allow(&self.guarded.server, account, user, &less);
            let asked = match account {
                ACCOUNT_A => user,
                _ => &self.guarded.role,
            };
            let ran = self.check(asked, &["--json", "--role", role]).await;
            let failed = lines(&report(&ran), "failed");
            let named = failed.iter().filter(|line| line.contains(action)).count();
            match UNTRIED.contains(&action) || UNASKED.contains(&action) {
                true => assert_eq!((ran.code, failed.len()), (Some(0), 0), "{action}: {failed:?}"),
                false => {
                    assert!(named > 0, "{policy} without {action}: {failed:?}");
                    assert_eq!(ran.code, Some(1), "{action}");
                }
            }
        }
        self.allow(account, user, policy);
    }
}

#[tokio::test]
async fn the_policies_are_enough_for_the_whole_work_and_each_action_is_needed() {
    let cast = Cast::new().await;
    for (user, role) in [(&cast.worker, "worker"), (&cast.jobsender, "jobsender")] {
        let ran = cast.check(user, &["--json", "--role", role]).await;
        assert_eq!(lines(&report(&ran), "failed"), Vec::<String>::new(), "{role}");
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }

    let sent = ran(cast.program("jobsender", &cast.jobsender)).await;
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let _worker = Worker::start(cast.program("worker", &cast.worker));
    let b = resources::s3(&cast.guarded.server.sdk_config(ACCOUNT_B));
    until("the object has arrived", async || {
        let asked = b.head_object().bucket(&cast.guarded.destination).key("moved/ü/a b+c");
        asked.send().await.ok()
    })
    .await;

    cast.without_each(ACCOUNT_A, &cast.worker, "worker", "worker").await;
    cast.without_each(ACCOUNT_A, &cast.jobsender, "jobsender", "jobsender").await;
    cast.without_each(ACCOUNT_B, &cast.other, "user", "worker").await;
}
