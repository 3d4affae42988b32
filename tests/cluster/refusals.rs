//! What is missing, wrong or not allowed: the user reads what it is and what to do, the exit status
//! is the contract's, no secret is shown, and nothing is changed.

use aws_sdk_ssm::types::ParameterType;
use serde_json::json;
use tokio::process::Command;

use testkit::iam::{self, User};
use testkit::ministack::{ACCOUNT_A, ACCOUNT_B, Ministack};
use testkit::resources;
use testkit::stage::{Ran, Stage, Worker, ran};

/// Stands for a secret, and must be seen nowhere.
const SECRET: &str = "guessed-secret-0123456789";

fn assert_refused(ran: &Ran, code: i32, parts: &[&str]) {
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), ""), "{ran:?}");
    for part in parts {
        assert!(ran.stderr.contains(part), "{part:?} is not in: {}", ran.stderr);
    }
    assert!(!ran.stderr.contains(SECRET), "{}", ran.stderr);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
}

/// Runs a command of the stage with other settings.
async fn with(stage: &Stage, args: &[&str], settings: &[(&str, &str)]) -> Ran {
    let mut program = stage.program(args);
    program.envs(settings.iter().copied());
    ran(program).await
}

/// Promise 10.
#[tokio::test]
async fn what_is_missing_is_named_with_the_remedy() {
    let stage = Stage::put(5).await;
    stage.put_source("k", b"body").await;
    for (command, key, parts) in [
        ("jobsender", "sqs_queue_name", ["no SQS queue nowhere", "create it"]),
        ("worker", "sqs_queue_name", ["no SQS queue nowhere", "create it"]),
        ("status", "sqs_queue_name", ["no SQS queue nowhere", "create it"]),
        ("worker", "table_queue_name", ["no DynamoDB table nowhere", "create it"]),
        ("status", "table_queue_name", ["no DynamoDB table nowhere", "create it"]),
        ("jobsender", "ssm_parameter_bucket", ["no parameter nowhere", "create it"]),
        ("jobsender", "ssm_parameter_credentials", ["no parameter nowhere", "SecureString"]),
        ("worker", "ssm_parameter_credentials", ["no parameter nowhere", "SecureString"]),
    ] {
        assert_refused(&with(&stage, &[command], &[(key, "nowhere")]).await, 3, &parts);
    }
    assert_eq!(stage.depth().await, (0, 0));
}

#[tokio::test]
async fn a_missing_bucket_is_named_with_its_side_before_anything_is_sent() {
    let stage = Stage::put(5).await;
    stage.put_source("k", b"body").await;
    for (source, destination, parts) in [
        (&*stage.source, "absent-bucket", ["s3://absent-bucket", "(destination)"]),
        ("absent-bucket", &*stage.destination, ["s3://absent-bucket", "(source)"]),
    ] {
        let pairs = json!([{"src_bucket": source, "src_prefix": "", "des_bucket": destination,
                            "des_prefix": ""}]);
        let name = resources::parameter(&stage.a, ParameterType::String, &pairs.to_string()).await;
        let refused = with(&stage, &["jobsender"], &[("ssm_parameter_bucket", &name)]).await;
        assert_refused(&refused, 3, &parts);
    }
    assert_eq!(stage.depth().await, (0, 0));
}

#[tokio::test]
async fn a_parameter_that_cannot_be_used_is_told_without_its_text() {
    let stage = Stage::put(5).await;
    for (key, text, part) in [
        (
            "ssm_parameter_credentials",
            format!("{{\"aws_secret_access_key\":\"{SECRET}\"}}"),
            "aws_access_key_id is missing",
        ),
        ("ssm_parameter_credentials", format!("not json {SECRET}"), "not valid JSON"),
        ("ssm_parameter_bucket", format!("not json {SECRET}"), "bucket list in parameter"),
    ] {
        let name = resources::parameter(&stage.a, ParameterType::SecureString, &text).await;
        let refused = with(&stage, &["jobsender"], &[(key, &name)]).await;
        assert_refused(&refused, 2, &[&name, part]);
    }
}

#[tokio::test]
async fn a_wrong_ini_shows_all_its_mistakes_and_an_unknown_command_the_known_ones() {
    let stage = Stage::put(5).await;
    let five = [
        ("MaxThread", "many"),
        ("ChunkSize", "1"),
        ("JobType", "MOVE"),
        ("ResumableThreshold", "-1"),
        ("LoggingLevel", "LOUD"),
    ];
    let refused = with(&stage, &["worker"], &five).await;
    assert_refused(&refused, 2, &five.map(|(key, _)| key));
    let refused = stage.run(&["wrok"]).await;
    assert_refused(&refused, 2, &["wrok", "worker"]);
}

/// Two accounts on a server that looks at signatures and policies. The stage's parts that do not
/// depend on who asks are made by each account's own key.
pub struct Guarded {
    pub server: Ministack,
    /// What account A's machine may use.
    pub role: User,
    queue: String,
    table: String,
    pub source: String,
    pub destination: String,
    list: String,
}

impl Guarded {
    /// Objects go below `moved/`, by what [`Self::role`] may do: everything.
    pub async fn new() -> Self {
        let server = Ministack::start(&[("AUTH", "true")]);
        let (a, b) = (server.sdk_config(ACCOUNT_A), server.sdk_config(ACCOUNT_B));
        let (source, destination) = (resources::bucket(&a).await, resources::bucket(&b).await);
        let pairs = json!([{"src_bucket": source, "src_prefix": "", "des_bucket": destination,
                            "des_prefix": "moved"}]);
        let list = resources::parameter(&a, ParameterType::String, &pairs.to_string()).await;
        let role = iam::user(&server, ACCOUNT_A);
        allow(
            &server,
            ACCOUNT_A,
            &role,
            &["s3:*", "sqs:*", "dynamodb:*", "ssm:*", "kms:*", "autoscaling:*"],
        );
        let (queues, table) = (resources::queues(&a, 3).await, resources::table(&a).await);
        Self { queue: queues.name, table, source, destination, list, role, server }
    }

    /// A parameter with these keys of the other account.
    pub async fn keep(&self, stored: (&str, &str)) -> String {
        let a = self.server.sdk_config(ACCOUNT_A);
        let keys = json!({"aws_access_key_id": stored.0, "aws_secret_access_key": stored.1,
                          "region": "us-east-1"});
        resources::parameter(&a, ParameterType::SecureString, &keys.to_string()).await
    }

    /// The program as whoever has these keys; the other account's are in this parameter.
    pub fn program_with(&self, command: &str, as_role: (&str, &str), credentials: &str) -> Command {
        let mut program = testkit::stage::program(&[command]);
        program.envs(self.server.environment(as_role.0));
        program.env("AWS_SECRET_ACCESS_KEY", as_role.1).env("sqs_queue_name", &self.queue);
        program.env("table_queue_name", &self.table).env("ssm_parameter_bucket", &self.list);
        program.env("ssm_parameter_credentials", credentials).current_dir(std::env::temp_dir());
        program
    }

    /// The program as whoever has these keys, the other account's being `stored`.
    async fn program(&self, command: &str, as_role: (&str, &str), stored: (&str, &str)) -> Command {
        self.program_with(command, as_role, &self.keep(stored).await)
    }
}

fn allow(server: &Ministack, account: &str, user: &User, actions: &[&str]) {
    let statement = json!({"Effect": "Allow", "Action": actions, "Resource": "*"});
    iam::allow(server, account, user, &json!({"Version": "2012-10-17", "Statement": [statement]}));
}

/// Promise 10.
#[tokio::test]
async fn who_is_refused_is_told_which_side_which_call_and_whose_credentials() {
    let guarded = Guarded::new().await;
    let (server, role) = (&guarded.server, &guarded.role);
    let other = iam::user(server, ACCOUNT_B);
    let own = (role.key.as_str(), role.secret.as_str());
    let stored = (other.key.as_str(), other.secret.as_str());

    for command in ["jobsender", "worker", "status"] {
        let wrong = guarded.program(command, (own.0, SECRET), stored).await;
        assert_refused(&ran(wrong).await, 3, &["secret access key"]);
    }
    let wrong = guarded.program("jobsender", own, (stored.0, SECRET)).await;
    let parts = ["(destination)", &guarded.destination, "secret access key", "in parameter"];
    assert_refused(&ran(wrong).await, 3, &parts);

    let denied = guarded.program("jobsender", own, stored).await;
    let parts = ["ListObjectsV2", "(destination)", &guarded.destination, "s3:ListBucket"];
    assert_refused(
        &ran(denied).await,
        3,
        &[&parts[..], &["the credentials in parameter"]].concat(),
    );

    allow(server, ACCOUNT_B, &other, &["s3:*"]);
    allow(server, ACCOUNT_A, role, &["sqs:*", "dynamodb:*", "ssm:*", "kms:*"]);
    let denied = guarded.program("jobsender", own, stored).await;
    let parts = ["ListObjectsV2", "(source)", &guarded.source, "the default credentials"];
    assert_refused(&ran(denied).await, 3, &parts);

    for (command, missing, rest) in [
        ("jobsender", "sqs:", ["s3:*", "dynamodb:*", "ssm:*", "kms:*"]),
        ("worker", "ssm:GetParameter", ["s3:*", "sqs:*", "dynamodb:*", "kms:*"]),
        ("status", "dynamodb:Scan", ["s3:*", "sqs:*", "ssm:*", "kms:*"]),
    ] {
        allow(server, ACCOUNT_A, role, &rest);
        let denied = guarded.program(command, own, stored).await;
        assert_refused(&ran(denied).await, 3, &[missing, "IAM policy"]);
    }

    // With everything allowed the same program works.
    allow(server, ACCOUNT_A, role, &["s3:*", "sqs:*", "dynamodb:*", "ssm:*", "kms:*"]);
    let mut allowed = guarded.program("jobsender", own, stored).await;
    // Nothing is in the source.
    allowed.arg("--allow-empty");
    let allowed = ran(allowed).await;
    assert_eq!(allowed.code, Some(0), "{allowed:?}");
}

// Objects can be read and their versions cannot, as in many public data sets: without the switches
// all goes well, with them the error names what is missing.
/// Promise 2.
#[tokio::test]
async fn a_version_that_may_not_be_read_is_named_with_its_permission() {
    let guarded = Guarded::new().await;
    let (server, role) = (&guarded.server, &guarded.role);
    let other = iam::user(server, ACCOUNT_B);
    allow(server, ACCOUNT_B, &other, &["s3:*"]);
    let own = (role.key.as_str(), role.secret.as_str());
    let stored = (other.key.as_str(), other.secret.as_str());
    let a = server.sdk_config(ACCOUNT_A);
    let client = resources::s3(&a);
    resources::set_versioning(&client, &guarded.source, true).await;
    let put = client.put_object().bucket(&guarded.source).key("k").body(b"body".to_vec().into());
    let version = put.send().await.expect("PutObject").version_id.expect("a version");
    let rest = ["s3:ListBucket", "s3:GetObject", "sqs:*", "dynamodb:*", "ssm:*", "kms:*"];
    allow(server, ACCOUNT_A, role, &rest);

    let mut compares = guarded.program("jobsender", own, stored).await;
    compares.env("JobsenderCompareVersionId", "True");
    let parts = ["ListObjectVersions", "(source)", "s3:ListBucketVersions", "IAM policy"];
    assert_refused(&ran(compares).await, 3, &parts);

    let job = json!({"Src_bucket": guarded.source, "Src_key": "k", "Des_bucket": guarded.destination,
                     "Des_key": "k", "Size": 4, "versionId": version});
    let sqs = aws_sdk_sqs::Client::new(&a);
    let url = sqs.get_queue_url().queue_name(&guarded.queue).send().await.expect("GetQueueUrl");
    let url = url.queue_url.expect("a URL");
    let send = || sqs.send_message().queue_url(&url).message_body(job.to_string()).send();
    send().await.expect("SendMessage");
    let mut worker = guarded.program("worker", own, stored).await;
    worker.env("GetObjectWithVersionId", "True");
    let worker = Worker::start(worker);
    worker.until_logged("GetObject needs s3:GetObjectVersion").await;
    drop(worker);

    send().await.expect("SendMessage");
    let worker = Worker::start(guarded.program("worker", own, stored).await);
    let arrived = async || {
        let client = resources::s3(&server.sdk_config(ACCOUNT_B));
        let get = client.get_object().bucket(&guarded.destination).key("k").send().await.ok()?;
        Some(get.body.collect().await.expect("a body").to_vec())
    };
    let arrived = testkit::stage::until("the object arrives", arrived).await;
    assert_eq!(arrived, b"body");
    drop(worker);
}
