//! `check`: what it says of a sound set-up and of each fault, and whether its policies are enough and no
//! more than enough.

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::refusals::Guarded;
use testkit::iam::{self, User};
use testkit::ministack::{ACCOUNT_A, ACCOUNT_B, Ministack};
use testkit::resources;
use testkit::stage::{Ran, Stage, Worker, ran, until};

/// The result as JSON.
fn report(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("no JSON ({e}): {ran:?}"))
}

/// What was looked at with this verdict, and what was said.
fn lines(report: &Value, verdict: &str) -> Vec<String> {
    let lines = report["checks"].as_array().expect("a list").iter();
    let lines = lines.filter(|line| line["verdict"] == verdict);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    lines.map(|line| format!("{}: {}", text(&line["what"]), text(&line["said"]))).collect()
}

/// Promise 10.
#[tokio::test]
async fn a_sound_set_up_is_ok_and_keeps_no_trace_of_the_check() {
    let stage = Stage::put(20).await;
    stage.put_source("first", b"content").await;
    let ran = stage.run(&["check", "--policies"]).await;
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

/// Whether the line has the action, and not only one that begins like it.
fn names(line: &str, action: &str) -> bool {
    let mut rest = line.match_indices(action).map(|(at, _)| &line[at + action.len()..]);
    rest.any(|rest| !rest.starts_with(|next: char| next.is_alphanumeric()))
}

fn actions(policy: &Value) -> Vec<&str> {
    let statements = policy["Statement"].as_array().expect("a list").iter();
    let actions = statements.flat_map(|statement| statement["Action"].as_array().expect("a list"));
    actions.map(|action| action.as_str().expect("a text")).collect()
}

/// What no harmless call can try: deleting in a bucket that may keep versions leaves a marker.
const UNTRIED: &[&str] = &["s3:DeleteObject"];

/// Without it the work costs more.
const WARNED_OF: &str = "dynamodb:PartiQLInsert";

/// What this server does not ask for: it decrypts a SecureString without a key.
const UNASKED: &[&str] = &["kms:Decrypt"];

/// The group that the settings name; on this server every answer to its calls is a yes.
fn scaling_group(server: &Ministack) {
    let form = "Action=CreateAutoScalingGroup&AutoScalingGroupName=workers&MinSize=0&MaxSize=0\
                &AvailabilityZones.member.1=us-east-1a&Version=2011-01-01";
    let answer = iam::query(server, ACCOUNT_A, "autoscaling", form);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

struct Cast {
    guarded: Guarded,
    worker: User,
    jobsender: User,
    other: User,
    /// The parameter with the other account's keys.
    credentials: String,
    policies: Value,
    settings: Settings,
    folder: TempDir,
}

/// Keys of the configuration, as environment variables.
type Settings = &'static [(&'static str, &'static str)];

const PLAIN: Settings = &[("CopyTags", "False")];
const EVERYTHING: Settings = &[
    ("JobsenderCompareVersionId", "True"),
    ("UpdateVersionID", "True"),
    ("GetObjectWithVersionId", "True"),
    ("PropagateDelete", "True"),
    ("Destination_ACL", "bucket-owner-full-control"),
    ("AutoScalingGroup", "workers"),
    ("LifecycleHook", "drain"),
];

impl Cast {
    /// Users that have exactly the policies which a check prints.
    async fn new(settings: Settings) -> Self {
        let guarded = Guarded::new().await;
        let a = guarded.server.sdk_config(ACCOUNT_A);
        resources::set_versioning(&resources::s3(&a), &guarded.source, true).await;
        let b = guarded.server.sdk_config(ACCOUNT_B);
        resources::set_versioning(&resources::s3(&b), &guarded.destination, true).await;
        let put = resources::s3(&a).put_object().bucket(&guarded.source).key("ü/a b+c");
        put.body(b"content".to_vec().into()).send().await.expect("PutObject");
        scaling_group(&guarded.server);
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
        let mut cast =
            Self { guarded, worker, jobsender, other, credentials, policies, settings, folder };
        let asked = cast.check(&role, &["--json"]).await;
        cast.policies = report(&asked)["policies"].clone();
        // Whoever may look whether versions are kept is tried with more.
        let everything = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]});
        iam::allow(&cast.guarded.server, ACCOUNT_B, &cast.other, &everything);
        let asked = cast.check(&role, &["--json"]).await;
        assert_eq!(lines(&report(&asked), "failed"), Vec::<String>::new());
        cast.allow(ACCOUNT_B, &cast.other, "user");
        cast.allow(ACCOUNT_A, &cast.worker, "worker");
        cast.allow(ACCOUNT_A, &cast.jobsender, "jobsender");
        cast
    }

    fn allow(&self, account: &str, user: &User, policy: &str) {
        iam::allow(&self.guarded.server, account, user, &self.policies[policy]);
    }

    fn program(&self, command: &str, user: &User) -> Command {
        let own = (user.key.as_str(), user.secret.as_str());
        let mut program = self.guarded.program_with(command, own, &self.credentials);
        program.envs(self.settings.iter().copied());
        program
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
            let named = failed.iter().filter(|line| names(line, action)).count();
            if action == WARNED_OF {
                let warned = lines(&report(&ran), "warning");
                assert!(warned.iter().any(|line| names(line, action)), "{warned:?}");
                assert_eq!((ran.code, failed.len()), (Some(0), 0), "{failed:?}");
                continue;
            }
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

async fn policies_by_trial(settings: Settings) {
    let cast = Cast::new(settings).await;
    let b = resources::s3(&cast.guarded.server.sdk_config(ACCOUNT_B));
    let left = b.list_object_versions().bucket(&cast.guarded.destination).send().await;
    let left = left.expect("ListObjectVersions");
    assert_eq!((left.versions().len(), left.delete_markers().len()), (0, 0), "{left:?}");
    for (user, role) in [(&cast.worker, "worker"), (&cast.jobsender, "jobsender")] {
        let ran = cast.check(user, &["--json", "--role", role]).await;
        assert_eq!(lines(&report(&ran), "failed"), Vec::<String>::new(), "{role}");
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }

    let sent = ran(cast.program("jobsender", &cast.jobsender)).await;
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let _worker = Worker::start(cast.program("worker", &cast.worker));
    until("the object has arrived", async || {
        let asked = b.head_object().bucket(&cast.guarded.destination).key("moved/ü/a b+c");
        asked.send().await.ok()
    })
    .await;

    cast.without_each(ACCOUNT_A, &cast.worker, "worker", "worker").await;
    cast.without_each(ACCOUNT_A, &cast.jobsender, "jobsender", "jobsender").await;
    cast.without_each(ACCOUNT_B, &cast.other, "user", "worker").await;
}

/// Promise 10.
#[tokio::test]
async fn the_policies_are_enough_for_the_whole_work_and_each_action_that_is_tried_is_needed() {
    policies_by_trial(PLAIN).await;
}

/// Promise 10.
#[tokio::test]
async fn so_are_those_with_versions_tags_acls_and_deletions() {
    policies_by_trial(EVERYTHING).await;
}

/// Promise 10.
#[tokio::test]
async fn what_is_wrong_fails_its_own_lines_and_says_what_to_do() {
    let cast = Cast::new(PLAIN).await;
    let (guarded, role) = (&cast.guarded, &cast.guarded.role);
    let own = (role.key.as_str(), role.secret.as_str());
    let wrong = guarded.keep((&cast.other.key, SECRET)).await;
    let spoiled = |set: &'static [(&'static str, &'static str)], credentials: &str| {
        let mut program = guarded.program_with("check", own, credentials);
        program.arg("--json").envs(PLAIN.iter().chain(set).copied());
        ran(program)
    };
    for (set, credentials, failed, parts) in [
        (
            &[][..],
            wrong.as_str(),
            &["identity at the destination", "destination s3://"][..],
            &["secret access key"][..],
        ),
        (
            &[("sqs_queue_name", "nowhere")],
            &cast.credentials,
            &["queue nowhere"],
            &["create it as a standard queue"],
        ),
        (
            &[("table_queue_name", "nowhere")],
            &cast.credentials,
            &["table nowhere"],
            &["create it with the partition key Key"],
        ),
        (
            &[("ssm_parameter_bucket", "nowhere")],
            &cast.credentials,
            &["bucket list in parameter nowhere"],
            &["create it, or set bucket_para_file"],
        ),
        (&[], "nowhere", &["credentials in parameter nowhere", "destination: "], &["SecureString"]),
    ] {
        let ran = spoiled(set, credentials).await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(!ran.stdout.contains(SECRET) && !ran.stderr.contains(SECRET), "{ran:?}");
        let lines = lines(&report(&ran), "failed");
        assert_eq!(lines.len(), failed.len(), "{lines:#?}");
        for (line, what) in lines.iter().zip(failed) {
            assert!(line.starts_with(what), "{what}: {line}");
        }
        for part in parts {
            assert!(lines.iter().any(|line| line.contains(part)), "{part}: {lines:#?}");
        }
    }
}

const SECRET: &str = "anything+Else/0123456789";

/// Promise 10.
/// Another clock than this machine's, at a service that is asked for nothing but who asks.
#[tokio::test]
async fn a_clock_that_is_off_is_told() {
    let stage = Stage::put(20).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        let body = "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws-cn:iam::1:user/u\
                    </Arn><UserId>u</UserId><Account>1</Account></GetCallerIdentityResult>\
                    </GetCallerIdentityResponse>";
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = vec![0; 65536];
            let _ = stream.read(&mut asked).await;
            let answer = format!(
                "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/xml\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let mut check = stage.program(&["check", "--json"]);
    check.env("AWS_ENDPOINT_URL_STS", url);
    let ran = ran(check).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let report = report(&ran);
    // Who asks is in China, and so are the own buckets.
    let own = report["policies"]["worker"]["Statement"][0]["Resource"].to_string();
    assert_eq!(own, format!("[\"arn:aws-cn:s3:::{}\"]", stage.source));
    let failed = lines(&report, "failed");
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(
        failed[0].contains("ahead of the services: beyond 15 minutes requests are refused"),
        "{failed:?}"
    );
}

/// Promise 10.
#[tokio::test]
async fn a_table_without_its_index_is_told_with_what_to_create() {
    use aws_sdk_dynamodb::types::{
        AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    };
    let stage = Stage::put(20).await;
    let table = format!("{}-bare", stage.table);
    let key = KeySchemaElement::builder().attribute_name("Key").key_type(KeyType::Hash).build();
    let text = AttributeDefinition::builder().attribute_name("Key");
    let text = text.attribute_type(ScalarAttributeType::S).build();
    let create = aws_sdk_dynamodb::Client::new(&stage.a).create_table().table_name(&table);
    let create = create.key_schema(key.unwrap()).attribute_definitions(text.unwrap());
    create.billing_mode(BillingMode::PayPerRequest).send().await.expect("CreateTable");
    let mut check = stage.program(&["check", "--json"]);
    check.env("table_queue_name", &table).env("JobsenderCompareVersionId", "True");
    let warned = lines(&report(&ran(check).await), "warning");
    let is_told = |line: &String| {
        line.starts_with(&format!("table {table}: it has no index desBucket-index"))
            && line.contains("create the index desBucket-index with the keys desBucket and desKey")
    };
    assert!(warned.iter().any(is_told), "{warned:?}");
}
