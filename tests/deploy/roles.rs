//! The roles of the stack: the same policies that `check` prints, enough for the whole work on a server
//! that enforces them, and for nothing else.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_ssm::types::ParameterType;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::stack::{
    CLUSTER, SERVERLESS, aws, create_of, package, parameter, physical_id, release, release_of,
    until_complete,
};
use testkit::iam::{self, User, element, query};
use testkit::ministack::{ACCOUNT_A, ACCOUNT_B, Ministack, unique};
use testkit::process::{self, Running};
use testkit::resources;

const KEY: &str = "ü/a b+c";

/// A stack on a server that looks at signatures and policies.
struct Cluster {
    template: &'static str,
    server: Ministack,
    stack: String,
    job_type: &'static str,
    source: String,
    destination: String,
    settings: String,
    /// The other account's user, whose keys are stored; it may do nothing yet.
    other: User,
    folder: TempDir,
}

impl Cluster {
    /// `further`: parameters of the template.
    async fn new(job_type: &'static str, further: &[(&str, &str)]) -> Self {
        Self::of(CLUSTER, job_type, further).await
    }

    async fn of(template: &'static str, job_type: &'static str, further: &[(&str, &str)]) -> Self {
        let server = Ministack::start(&[("AUTH", "true")]);
        let release = release(&server.sdk_config(ACCOUNT_A)).await;
        Self::on(server, &release, template, job_type, further).await
    }

    /// `release`: the bucket with the program.
    async fn on(
        server: Ministack,
        release: &str,
        template: &'static str,
        job_type: &'static str,
        further: &[(&str, &str)],
    ) -> Self {
        let (a, b) = (server.sdk_config(ACCOUNT_A), server.sdk_config(ACCOUNT_B));
        let (from, to) = if job_type == "PUT" { (&a, &b) } else { (&b, &a) };
        let (source, destination) = (resources::bucket(from).await, resources::bucket(to).await);
        let own = if job_type == "PUT" { &source } else { &destination };
        let other = iam::user(&server, ACCOUNT_B);
        let keys = json!({"aws_access_key_id": other.key, "aws_secret_access_key": other.secret,
                          "region": "us-east-1"});
        let keys = resources::parameter(&a, ParameterType::SecureString, &keys.to_string()).await;
        let pairs = json!([{"src_bucket": source, "src_prefix": "", "des_bucket": destination,
                            "des_prefix": "moved"}]);
        let (arns, pairs) = (format!("arn:aws:s3:::{own}"), pairs.to_string());
        let given = [
            ("JobType", job_type),
            ("BucketArns", &arns),
            ("BucketList", &pairs),
            ("CredentialsParameter", &keys),
            ("ReleaseBucket", release),
        ];
        let given = [&given[..], further].concat();
        let (answer, stack) = create_of(template, &server, &a, &given).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        until_complete(&server, &stack).await;
        let settings = parameter(&a, &format!("/s3-migration/{stack}/settings")).await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { template, server, stack, job_type, source, destination, settings, other, folder }
    }

    /// A client of the account that has the source, and one of that which has the destination.
    fn sides(&self) -> [aws_sdk_s3::Client; 2] {
        let [a, b] = [ACCOUNT_A, ACCOUNT_B].map(|account| self.server.sdk_config(account));
        let [a, b] = [a, b].map(|config| resources::s3(&config));
        if self.job_type == "PUT" { [a, b] } else { [b, a] }
    }

    /// The program with what a machine of the stack has in its environment.
    fn program(&self, arguments: &[&str], key: &str, secret: &str) -> Command {
        let mut program = process::program(self.folder.path(), self.folder.path());
        program.envs(self.server.environment(key)).env("AWS_SECRET_ACCESS_KEY", secret);
        program.envs(self.settings.lines().filter_map(|line| line.split_once('=')));
        if self.template == CLUSTER {
            program.env("AutoScalingGroup", format!("{}-workers", self.stack));
            program.env("LifecycleHook", "drain");
        }
        program.args(arguments);
        program
    }

    async fn printed(&self) -> Value {
        let check = Running::start(self.program(&["check", "--json"], ACCOUNT_A, "test"));
        let ended = check.ended().await;
        let report: Value = serde_json::from_str(&ended.stdout)
            .unwrap_or_else(|e| panic!("no JSON ({e}): {}", ended.all()));
        report["policies"].clone()
    }

    /// A policy of a role as the stack has made it.
    fn policy(&self, role: &str, policy: &str) -> Value {
        let role = physical_id(&self.server, &self.stack, role);
        let form =
            format!("Action=GetRolePolicy&RoleName={role}&PolicyName={policy}&Version=2010-05-08");
        let answer = query(&self.server, ACCOUNT_A, "iam", &form);
        let document = element(&answer, "PolicyDocument");
        let document = percent_decode_str(&document).decode_utf8().expect("UTF-8");
        let document = document.replace("&quot;", "\"").replace("&amp;", "&");
        serde_json::from_str(&document).unwrap_or_else(|e| panic!("{e}: {document}"))
    }

    /// A user that may do what the machines of a role may, their plumbing included.
    fn machine(&self, role: &str, policy: &str) -> User {
        let user = iam::user(&self.server, ACCOUNT_A);
        let mut document = self.policy(role, policy);
        let plumbing = if self.template == CLUSTER { "instance" } else { "function" };
        let plumbing = self.policy(role, plumbing);
        let plumbing = plumbing["Statement"].as_array().expect("a list").clone();
        document["Statement"].as_array_mut().expect("a list").extend(plumbing);
        iam::allow(&self.server, ACCOUNT_A, &user, &document);
        user
    }
}

fn list(value: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let mut list = match value {
        Value::Array(values) => values.iter().map(text).collect(),
        value => vec![text(value)],
    };
    list.sort();
    list
}

/// The statements by their identifiers: effect and condition, actions, resources.
pub fn statements(policy: &Value) -> BTreeMap<String, (String, Vec<String>, Vec<String>)> {
    let statements = policy["Statement"].as_array().expect("a list").iter();
    let each = statements.map(|statement| {
        let rest = format!("{} {}", statement["Effect"], statement["Condition"]);
        let lists = (rest, list(&statement["Action"]), list(&statement["Resource"]));
        (statement["Sid"].as_str().expect("a Sid").to_owned(), lists)
    });
    each.collect()
}

/// Promise 10.
#[tokio::test(flavor = "multi_thread")]
async fn the_stacks_roles_have_the_policies_that_check_prints() {
    for (job_type, versions) in
        [("PUT", "off"), ("PUT", "consistency"), ("GET", "integrity"), ("GET", "consistency")]
    {
        let cluster = Cluster::new(job_type, &[("Versions", versions)]).await;
        let printed = cluster.printed().await;
        for (role, policy) in [("WorkerRole", "worker"), ("JobsenderRole", "jobsender")] {
            let made = statements(&cluster.policy(role, policy));
            assert_eq!(made, statements(&printed[policy]), "{job_type} {versions} {policy}");
        }
    }
}

/// Promise 10.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_of_the_other_account_takes_the_place_of_the_stored_key() {
    for job_type in ["PUT", "GET"] {
        let role = format!("arn:aws:iam::{ACCOUNT_B}:role/migration");
        let further = [("RoleArn", role.as_str()), ("ExternalId", "agreed")];
        let cluster = Cluster::new(job_type, &further).await;
        let side = if job_type == "PUT" { "Destination" } else { "Source" };
        for line in [format!("{side}_RoleArn={role}"), format!("{side}_ExternalId=agreed")] {
            assert!(cluster.settings.lines().any(|set| set == line), "{}", cluster.settings);
        }
        let printed = cluster.printed().await;
        for (role_of, policy) in [("WorkerRole", "worker"), ("JobsenderRole", "jobsender")] {
            let made = statements(&cluster.policy(role_of, policy));
            assert_eq!(made, statements(&printed[policy]), "{job_type} {policy}");
            assert!(made.contains_key("Role") && !made.contains_key("Credentials"), "{made:?}");
        }
    }
}

async fn works_by_its_roles_alone(template: &'static str, job_type: &'static str) {
    let cluster = Cluster::of(template, job_type, &[("Versions", "integrity")]).await;
    let printed = cluster.printed().await;
    iam::allow(&cluster.server, ACCOUNT_B, &cluster.other, &printed["user"]);
    let [source, destination] = cluster.sides();
    let put = source.put_object().bucket(&cluster.source).key(KEY);
    put.body(b"content".to_vec().into()).send().await.expect("PutObject");

    let jobsender = cluster.machine("JobsenderRole", "jobsender");
    let sent = cluster.program(&["jobsender"], &jobsender.key, &jobsender.secret);
    Running::start(sent).ended().await.with_status(0);
    let worker = cluster.machine("WorkerRole", "worker");
    let working = Running::start(cluster.program(&["worker"], &worker.key, &worker.secret));
    let key = format!("moved/{KEY}");
    process::until("the object has arrived", async || {
        destination.get_object().bucket(&cluster.destination).key(&key).send().await.is_ok()
    })
    .await;
    working.signal("TERM");
    working.ended().await.with_status(0);
    nothing_else(&cluster, &[(&worker, &[]), (&jobsender, &["remove a record"])]).await;
}

/// What a machine has no business with is refused, each by a call that would work otherwise; with each
/// user what is its business all the same.
async fn nothing_else(cluster: &Cluster, machines: &[(&User, &[&str])]) {
    let root = cluster.server.sdk_config(ACCOUNT_A);
    let queue = physical_id(&cluster.server, &cluster.stack, "Queue");
    let other = resources::bucket(&root).await;
    let own = if cluster.job_type == "PUT" { &cluster.source } else { &cluster.destination };
    let tables =
        [resources::table(&root).await, physical_id(&cluster.server, &cluster.stack, "Table")];
    let secret = resources::parameter(&root, ParameterType::SecureString, &unique("else")).await;
    let elsewhere = resources::queues(&root, 3).await;
    // There is something to be read.
    let put = resources::s3(&root).put_object().bucket(&other).key("there");
    put.body(vec![1].into()).send().await.expect("PutObject");

    let outcomes = async |config: &SdkConfig| {
        let s3 = resources::s3(config);
        let sqs = aws_sdk_sqs::Client::new(config);
        let dynamodb = aws_sdk_dynamodb::Client::new(config);
        let ssm = aws_sdk_ssm::Client::new(config);
        let put = |bucket: &String| s3.put_object().bucket(bucket).key("k").body(vec![1].into());
        let record = || AttributeValue::S("k".to_owned());
        let mut outcomes = vec![
            ("list another bucket", s3.list_objects_v2().bucket(&other).send().await.is_ok()),
            ("write to another bucket", put(&other).send().await.is_ok()),
            (
                "read from another bucket",
                s3.get_object().bucket(&other).key("there").send().await.is_ok(),
            ),
            ("set a bucket's policy", {
                let policy = json!({"Version": "2012-10-17", "Statement": []}).to_string();
                s3.put_bucket_policy().bucket(own).policy(policy).send().await.is_ok()
            }),
            ("read another table", {
                dynamodb.get_item().table_name(&tables[0]).key("Key", record()).send().await.is_ok()
            }),
            ("read the whole table", dynamodb.scan().table_name(&tables[1]).send().await.is_ok()),
            ("remove a record", {
                let remove = dynamodb.delete_item().table_name(&tables[1]);
                remove.key("Key", record()).send().await.is_ok()
            }),
            ("read another secret", ssm.get_parameter().name(&secret).send().await.is_ok()),
            ("send elsewhere", {
                let send = sqs.send_message().queue_url(&elsewhere.url).message_body("x");
                send.send().await.is_ok()
            }),
            ("empty the queue", sqs.purge_queue().queue_url(&queue).send().await.is_ok()),
        ];
        if cluster.job_type == "PUT" {
            outcomes.push(("write to the source", put(own).send().await.is_ok()));
        }
        outcomes.push(("delete an object", {
            s3.delete_object().bucket(own).key("k").send().await.is_ok()
        }));
        outcomes.push(("delete the table", {
            dynamodb.delete_table().table_name(&tables[1]).send().await.is_ok()
        }));
        outcomes
            .push(("delete the queue", sqs.delete_queue().queue_url(&queue).send().await.is_ok()));
        outcomes
    };
    for (user, business) in machines {
        let as_machine = cluster.server.sdk_config_with(&user.key, &user.secret);
        for (call, allowed) in outcomes(&as_machine).await {
            assert_eq!(allowed, business.contains(&call), "{call} by {}", user.name);
        }
    }
    // The calls themselves are sound: whoever may do everything does them.
    for (call, allowed) in outcomes(&root).await {
        assert!(allowed, "nobody may {call}");
    }
}

/// Promise 10.
#[tokio::test(flavor = "multi_thread")]
async fn a_put_cluster_works_by_its_roles_alone_and_they_allow_nothing_else() {
    works_by_its_roles_alone(CLUSTER, "PUT").await;
}

/// Promise 10.
#[tokio::test(flavor = "multi_thread")]
async fn a_get_cluster_works_by_its_roles_alone_and_they_allow_nothing_else() {
    works_by_its_roles_alone(CLUSTER, "GET").await;
}

/// Promise 10.
#[tokio::test(flavor = "multi_thread")]
async fn the_functions_roles_have_the_policies_that_check_prints() {
    let role = format!("arn:aws:iam::{ACCOUNT_B}:role/migration");
    let further = [("RoleArn", role.as_str()), ("ExternalId", "agreed")];
    for (job_type, given) in [
        ("PUT", &[("Versions", "off")][..]),
        ("PUT", &[("Versions", "consistency")]),
        ("GET", &[("Versions", "integrity")]),
        ("PUT", &further),
        ("GET", &further),
    ] {
        let stack = Cluster::of(SERVERLESS, job_type, given).await;
        let printed = stack.printed().await;
        for (role, policy) in [("WorkerRole", "worker"), ("JobsenderRole", "jobsender")] {
            let made = statements(&stack.policy(role, policy));
            assert_eq!(made, statements(&printed[policy]), "{job_type} {given:?} {policy}");
        }
    }
}

/// ministack starts the package's `bootstrap` itself, with the function's environment and its role's
/// credentials, and calls it from the queue: a whole migration by the stack alone.
#[tokio::test(flavor = "multi_thread")]
async fn the_stack_migrates_by_its_own_functions_and_their_roles() {
    let server = Ministack::start(&[("AUTH", "true"), ("FUNCTIONS", "true")]);
    let release = release_of(&server.sdk_config(ACCOUNT_A), package()).await;
    let stack = Cluster::on(server, &release, SERVERLESS, "PUT", &[]).await;
    iam::allow(&stack.server, ACCOUNT_B, &stack.other, &stack.printed().await["user"]);
    let [source, destination] = stack.sides();
    let objects = [(KEY, 100), ("large", 6 << 20), ("empty", 0)];
    for (key, size) in objects {
        let put = source.put_object().bucket(&stack.source).key(key);
        put.body(vec![7; size].into()).send().await.expect("PutObject");
    }
    let jobsender = physical_id(&stack.server, &stack.stack, "Jobsender");
    let answer = stack.folder.path().join("answer").display().to_string();
    let invoked = aws(
        &stack.server,
        &["lambda", "invoke", "--function-name", &jobsender, "--payload", "{}", &answer],
    );
    let answer: Value = serde_json::from_slice(&std::fs::read(answer).expect("an answer"))
        .unwrap_or_else(|e| panic!("{e}: {invoked}"));
    assert_eq!(answer["state"], "compared", "{invoked} {answer}");
    for (key, size) in objects {
        let key = format!("moved/{key}");
        process::until(&format!("{key} has arrived"), async || {
            let head = destination.head_object().bucket(&stack.destination).key(&key).send().await;
            head.is_ok_and(|head| head.content_length() == Some(size as i64))
        })
        .await;
    }
}

/// Promise 10.
#[tokio::test(flavor = "multi_thread")]
async fn the_functions_roles_are_enough_and_allow_nothing_else() {
    works_by_its_roles_alone(SERVERLESS, "PUT").await;
    works_by_its_roles_alone(SERVERLESS, "GET").await;
}
