//! The cluster's template: what cfn-lint says of it, and the stack that it makes in ministack, on whose
//! queue, table and parameters the real program then works.

use std::fs;
use std::process::Command;

use aws_sdk_ssm::types::ParameterType;
use s3_migration::config::{Config, JobType, StorageClass};
use serde_json::{Value, json};

use crate::stack::{
    CLUSTER, SERVERLESS, call, create, parameter, physical_id, text_of, until_complete,
};
use testkit::ministack::{ACCOUNT_A, ACCOUNT_B, Ministack, unique};
use testkit::process::{self, Running};
use testkit::python::python_with;
use testkit::resources;

/// Pinned: a later one may know more to say.
const CFN_LINT: &str = "1.58.0";

/// A region of each partition that the templates are for.
const REGIONS: [&str; 5] =
    ["us-east-1", "eu-central-1", "cn-north-1", "cn-northwest-1", "us-gov-west-1"];

#[test]
fn cfn_lint_finds_nothing() {
    let python = python_with("cfn-lint", CFN_LINT, "import cfnlint");
    let cfn_lint = python.with_file_name("cfn-lint");
    for template in [CLUSTER, SERVERLESS] {
        for region in REGIONS {
            let lint = Command::new(&cfn_lint)
                .args(["--regions", region, "--template"])
                .arg(format!("cloudformation/{template}"))
                .output()
                .expect("cfn-lint can be run");
            let said = String::from_utf8_lossy(&lint.stdout);
            let wrong = String::from_utf8_lossy(&lint.stderr);
            assert!(lint.status.success(), "{template} in {region}: {said}{wrong}");
        }
    }
}

/// Partition and suffix come from the stack. Those of services that are called the same in all partitions
/// are written down; EC2's is not
/// (<https://docs.amazonaws.cn/en_us/aws/latest/userguide/endpoints-arns.html>).
#[test]
fn no_partition_is_written_down() {
    let everywhere = [
        "com.amazonaws.${AWS::Region}.",
        "cloudwatch.amazonaws.com",
        "events.amazonaws.com",
        "lambda.amazonaws.com",
        "s3.amazonaws.com",
        "aws.amazon.com",
        // Of the console, by partition.
        "console.amazonaws.cn",
        "console.amazonaws-us-gov.com",
    ];
    for template in [CLUSTER, SERVERLESS].map(text_of) {
        let (_, resources) =
            template.split_once("\nMappings:\n").expect("what follows the parameters");
        for line in resources.lines().filter(|line| !line.trim_start().starts_with('#')) {
            let rest = everywhere.iter().fold(line.to_owned(), |rest, name| rest.replace(name, ""));
            let rest = rest.split(" # ").next().unwrap_or_default();
            for written in ["arn:aws", "amazonaws", ".com.cn"] {
                assert!(!rest.contains(written), "{written}: {line}");
            }
        }
        assert!(resources.matches("arn:${AWS::Partition}:").count() > 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_works_on_what_the_stack_has_made() {
    let server = Ministack::start(&[]);
    let (a, b) = (server.sdk_config(ACCOUNT_A), server.sdk_config(ACCOUNT_B));
    let (source, destination) = (resources::bucket(&a).await, resources::bucket(&b).await);
    let keys = json!({"aws_access_key_id": ACCOUNT_B, "aws_secret_access_key": "test",
                      "region": "us-east-1"});
    let keys = resources::parameter(&a, ParameterType::SecureString, &keys.to_string()).await;
    let pairs = json!([{"src_bucket": source, "src_prefix": "", "des_bucket": destination,
                        "des_prefix": "moved"}]);
    let (answer, stack) = create(
        &server,
        &a,
        &[
            ("BucketArns", &format!("arn:aws:s3:::{source}")),
            ("BucketList", &pairs.to_string()),
            ("CredentialsParameter", &keys),
            ("ReleaseBucket", "releases"),
            ("Versions", "integrity"),
            ("FurtherKeys", "StorageClass=KEEP,MaxThread=7"),
            ("MailAddress", "somebody@example.org"),
            ("JobsenderSchedule", "0 3 * * *"),
        ],
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    until_complete(&server, &stack).await;

    let settings = parameter(&a, &format!("/s3-migration/{stack}/settings")).await;
    let settings: Vec<(&str, &str)> =
        settings.lines().filter_map(|line| line.split_once('=')).collect();
    let config = Config::from_text("t.ini", "", settings.iter().copied()).expect("usable keys");
    assert_eq!(config.basic.job_type, JobType::Put);
    assert_eq!(config.basic.ssm_parameter_credentials, keys);
    assert_eq!(config.mode.storage_class, StorageClass::Keep, "a further key");
    assert!(config.mode.update_version_id && config.mode.get_object_with_version_id);

    let put = resources::s3(&a).put_object().bucket(&source).key("ü/a b+c");
    put.body(b"content".to_vec().into()).send().await.expect("PutObject");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let command = |name: &str| {
        let mut command = process::program(folder.path(), folder.path());
        // What the stack's settings leave out is the machine's: where AWS is, and who asks.
        command.envs(server.environment(ACCOUNT_A)).envs(settings.iter().copied()).arg(name);
        command
    };
    Running::start(command("jobsender")).ended().await.with_status(0);
    let worker = Running::start(command("worker"));
    let client = resources::s3(&b);
    process::until("the object has arrived", async || {
        client.get_object().bucket(&destination).key("moved/ü/a b+c").send().await.is_ok()
    })
    .await;
    worker.signal("TERM");
    worker.ended().await.with_status(0);
    let asked = client.get_object().bucket(&destination).key("moved/ü/a b+c").send().await;
    let body = asked.expect("GetObject").body.collect().await.expect("a whole body");
    assert_eq!(body.to_vec(), b"content");
}

/// What a machine does at its first start is sound bash, and names what `packer/` and `systemd/` have.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_machine_does_first_is_bash() {
    let server = Ministack::start(&[]);
    let a = server.sdk_config(ACCOUNT_A);
    let given = [("BucketArns", "arn:aws:s3:::some-bucket"), ("ReleaseBucket", "releases")];
    let (answer, stack) = create(&server, &a, &given).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    until_complete(&server, &stack).await;
    let script = parameter(&a, &format!("/s3-migration/{stack}/start")).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("start");
    fs::write(&file, &script).expect("the script can be written");
    let bash = Command::new("bash").arg("-n").arg(&file).output().expect("bash can be run");
    assert!(bash.status.success(), "{}", String::from_utf8_lossy(&bash.stderr));
    for needed in [
        "/usr/local/bin/s3-migration",
        "/etc/s3-migration/environment",
        "/var/lib/s3-migration/$role.log",
        "s3-migration-worker.service",
        "s3-migration-jobsender.service",
        "install.sh",
        "sha256sum --check",
    ] {
        assert!(script.contains(needed), "{needed}: {script}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn contradictions_are_refused_before_anything_is_made() {
    let server = Ministack::start(&[]);
    let a = server.sdk_config(ACCOUNT_A);
    let buckets = ("BucketArns", "arn:aws:s3:::some-bucket");
    let release = ("ReleaseBucket", "releases");
    for (given, said) in [
        (vec![buckets], "ReleaseBucket"),
        (vec![buckets, release, ("VpcId", "vpc-12345678")], "SubnetIds"),
        (
            vec![
                buckets,
                release,
                ("NewBucketArn", "arn:aws:s3:::other"),
                ("DefaultDestinationBucket", "there"),
            ],
            "NewBucketArn must be one of BucketArns",
        ),
    ] {
        let (answer, _) = create(&server, &a, &given).await;
        assert!(!answer.starts_with("HTTP/1.1 200") && answer.contains(said), "{answer}");
    }
}

/// A bucket of the stack's own: what is put there is a job at once. And what is left when the stack goes.
#[tokio::test(flavor = "multi_thread")]
async fn new_objects_arrive_by_the_stacks_own_bucket_and_records_outlive_the_stack() {
    let server = Ministack::start(&[]);
    let (a, b) = (server.sdk_config(ACCOUNT_A), server.sdk_config(ACCOUNT_B));
    let (fresh, destination) = (unique("new-objects"), resources::bucket(&b).await);
    let keys = json!({"aws_access_key_id": ACCOUNT_B, "aws_secret_access_key": "test",
                      "region": "us-east-1"});
    let keys = resources::parameter(&a, ParameterType::SecureString, &keys.to_string()).await;
    let arn = format!("arn:aws:s3:::{fresh}");
    let given = [
        ("BucketArns", arn.as_str()),
        ("NewBucketArn", &arn),
        ("CredentialsParameter", &keys),
        ("ReleaseBucket", "releases"),
        ("DefaultDestinationBucket", &destination),
        ("DefaultDestinationPrefix", "arrived"),
        ("Versions", "events"),
    ];
    let (answer, stack) = create(&server, &a, &given).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    until_complete(&server, &stack).await;
    let put = resources::s3(&a).put_object().bucket(&fresh).key("ü/a b+c");
    put.body(b"content".to_vec().into()).send().await.expect("PutObject");

    let settings = parameter(&a, &format!("/s3-migration/{stack}/settings")).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut worker = process::program(folder.path(), folder.path());
    worker.envs(server.environment(ACCOUNT_A)).arg("worker");
    worker.envs(settings.lines().filter_map(|line| line.split_once('=')));
    let worker = Running::start(worker);
    let client = resources::s3(&b);
    process::until("the object has arrived", async || {
        client.head_object().bucket(&destination).key("arrived/ü/a b+c").send().await.is_ok()
    })
    .await;
    worker.signal("TERM");
    worker.ended().await.with_status(0);

    let [queue, table] = ["Queue", "Table"].map(|name| physical_id(&server, &stack, name));
    let answer = call(&server, &[("Action", "DeleteStack"), ("StackName", &stack)]);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let sqs = aws_sdk_sqs::Client::new(&a);
    process::until("the queue is gone", async || {
        sqs.get_queue_attributes().queue_url(&queue).send().await.is_err()
    })
    .await;
    let state = call(&server, &[("Action", "DescribeStacks"), ("StackName", &stack)]);
    assert!(!state.contains("DELETE_FAILED"), "{state}");
    let records = aws_sdk_dynamodb::Client::new(&a).scan().table_name(&table).send().await;
    assert!(records.expect("Scan").count > 0, "the records are the proof, and stay");
    let kept = resources::s3(&a).head_object().bucket(&fresh).key("ü/a b+c").send().await;
    kept.expect("the objects stay");
}

/// What the check of security finds in either template, and why it is as it is.
const EXCEPTIONS_OF_BOTH: &[(&str, &str, &str)] = &[
    (
        "CKV_AWS_27",
        "AWS::SQS::Queue.Queue",
        "it is encrypted, by SSE-SQS, which this check does not know; a key of KMS would be paid for \
         by each request, and S3's events would need a policy on it",
    ),
    ("CKV_AWS_27", "AWS::SQS::Queue.DeadLetters", "as the queue"),
    (
        "CKV_AWS_119",
        "AWS::DynamoDB::Table.Table",
        "it is encrypted by the service's own key; what it holds are names, sizes and times of objects",
    ),
    (
        "CKV_AWS_18",
        "AWS::S3::Bucket.NewBucket",
        "a log of accesses needs another bucket with a policy of its own; whoever keeps one names it there",
    ),
    (
        "CKV_AWS_158",
        "AWS::Logs::LogGroup.WorkerLogs",
        "it is encrypted by the service's own key; there are no secrets in it",
    ),
    ("CKV_AWS_158", "AWS::Logs::LogGroup.JobsenderLogs", "as the workers'"),
    (
        "CKV_AWS_26",
        "AWS::SNS::Topic.Mails",
        "an alarm may not publish to a topic under the service's own key, and a mail is not encrypted",
    ),
];

/// Pinned: a later one may know more to say.
const CHECKOV: &str = "3.3.30";

const EXCEPTIONS_OF_THE_CLUSTER: &[(&str, &str, &str)] = &[(
    "CKV_AWS_23",
    "AWS::EC2::SecurityGroup.SecurityGroup",
    "each rule has a description; the check does not see into Fn::If",
)];

const EXCEPTIONS_OF_THE_FUNCTIONS: &[(&str, &str, &str)] = &[
    (
        "CKV_AWS_116",
        "AWS::Lambda::Function.Worker",
        "what is not done stays in its queue, which has a dead letter queue of its own",
    ),
    (
        "CKV_AWS_116",
        "AWS::Lambda::Function.Jobsender",
        "a comparison that failed is not a job: its alarm tells, and the next one finds the same",
    ),
    (
        "CKV_AWS_115",
        "AWS::Lambda::Function.Worker",
        "its event source has a maximum concurrency, which reserves nothing of the account's",
    ),
    (
        "CKV_AWS_115",
        "AWS::Lambda::Function.Jobsender",
        "two at a time do no harm, and a new account has no concurrency to reserve",
    ),
    (
        "CKV_AWS_173",
        "AWS::Lambda::Function.Worker",
        "the variables are encrypted by the service's own key, and hold no secrets, only names",
    ),
    ("CKV_AWS_173", "AWS::Lambda::Function.Jobsender", "as the worker's"),
];

/// Exactly the exceptions are found: one that nothing needs any more is a failure, too.
#[test]
fn checkov_finds_nothing_but_the_exceptions() {
    checked(CLUSTER, EXCEPTIONS_OF_THE_CLUSTER);
    checked(SERVERLESS, EXCEPTIONS_OF_THE_FUNCTIONS);
}

fn checked(template: &str, own: &[(&str, &str, &str)]) {
    let python = python_with("checkov", CHECKOV, "import checkov.main");
    let checkov = Command::new(&python)
        .args(["-m", "checkov.main", "--framework", "cloudformation", "--compact", "--quiet"])
        // Nothing is asked of its makers.
        .args(["--skip-download", "--output", "json", "--file"])
        .arg(format!("cloudformation/{template}"))
        .output()
        .expect("checkov can be run");
    let said = String::from_utf8_lossy(&checkov.stdout);
    let report: Value = serde_json::from_str(&said).unwrap_or_else(|e| {
        panic!("no JSON ({e}): {said}{}", String::from_utf8_lossy(&checkov.stderr))
    });
    assert!(report["summary"]["passed"].as_u64() > Some(30), "{report}");
    assert_eq!(report["summary"]["parsing_errors"], 0, "{report}");
    let failed = report["results"]["failed_checks"].as_array().expect("a list").iter();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let mut found: Vec<_> =
        failed.map(|failed| (text(&failed["check_id"]), text(&failed["resource"]))).collect();
    let exceptions = EXCEPTIONS_OF_BOTH.iter().chain(own).map(|(check, resource, reason)| {
        assert!(!reason.is_empty(), "{check} has no reason");
        ((*check).to_owned(), (*resource).to_owned())
    });
    let mut exceptions: Vec<_> = exceptions.collect();
    found.sort();
    exceptions.sort();
    assert_eq!(found, exceptions);
}
