//! The functions' template: the stack that it makes in ministack, alone and together with a cluster, and
//! what its NAT instance does first. ministack knows no Elastic IP, so the stack with `Network=nat` is checked
//! by cfn-lint, and the instance's script is played through.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use aws_sdk_sqs::types::QueueAttributeName;
use aws_sdk_ssm::types::ParameterType;
use s3_migration::config::keys::KEYS;
use s3_migration::config::{Config, JobType, StorageClass};
use serde_json::{Value, json};

use crate::stack::{
    CLUSTER, SERVERLESS, aws, call, create_of, package, parameter, physical_id, release,
    release_of, text_of, until_complete,
};
use testkit::ministack::{ACCOUNT_A, ACCOUNT_B, Ministack, unique};
use testkit::process::{self, Running};
use testkit::resources;

/// A stack of the functions with these parameters besides those that it must have.
async fn stack(server: &Ministack, given: &[(&str, &str)]) -> String {
    let bucket = release(&server.sdk_config(ACCOUNT_A)).await;
    stack_of(server, &bucket, given).await
}

/// The same with the program in this bucket.
async fn stack_of(server: &Ministack, bucket: &str, given: &[(&str, &str)]) -> String {
    let a = server.sdk_config(ACCOUNT_A);
    let dashboard = unique("dashboard");
    let own = [("ReleaseBucket", bucket), ("DashboardName", dashboard.as_str())];
    let (answer, stack) = create_of(SERVERLESS, server, &a, &[&own[..], given].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    until_complete(server, &stack).await;
    stack
}

fn function(server: &Ministack, stack: &str, name: &str) -> Value {
    let id = physical_id(server, stack, name);
    aws(server, &["lambda", "get-function-configuration", "--function-name", &id])
}

async fn settings(server: &Ministack, stack: &str) -> BTreeMap<String, String> {
    let name = format!("/s3-migration/{stack}/settings");
    let text = parameter(&server.sdk_config(ACCOUNT_A), &name).await;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_and_functions_are_as_the_original_has_them() {
    let server = Ministack::start(&[]);
    let stack = stack(&server, &[("BucketArns", "arn:aws:s3:::some-bucket")]).await;
    let queue = physical_id(&server, &stack, "Queue");
    let asked = aws_sdk_sqs::Client::new(&server.sdk_config(ACCOUNT_A))
        .get_queue_attributes()
        .queue_url(&queue)
        .attribute_names(QueueAttributeName::All);
    let attributes = asked.send().await.expect("GetQueueAttributes").attributes.expect("some");
    let (minutes, days) = (60, 24 * 3600);
    for (name, seconds) in [
        (QueueAttributeName::VisibilityTimeout, 15 * minutes),
        (QueueAttributeName::MessageRetentionPeriod, 14 * days),
    ] {
        assert_eq!(attributes[&name], seconds.to_string(), "{name:?}");
    }
    let redrive: Value =
        serde_json::from_str(&attributes[&QueueAttributeName::RedrivePolicy]).expect("JSON");
    assert_eq!(redrive["maxReceiveCount"].to_string().trim_matches('"'), "60", "{redrive}");
    for (name, handler) in [("Worker", "worker"), ("Jobsender", "jobsender")] {
        let function = function(&server, &stack, name);
        assert_eq!(function["Handler"], handler, "{function}");
        assert_eq!(function["Runtime"], "provided.al2023", "{function}");
        assert_eq!(function["Architectures"], json!(["arm64"]), "{function}");
        for (what, expected) in [("MemorySize", "1024"), ("Timeout", "900")] {
            let is = function[what].to_string();
            assert_eq!(is.trim_matches('"'), expected, "{what} of {function}");
        }
    }
    // ministack keeps less of the event source than AWS does.
    let template = text_of(SERVERLESS);
    for line in [
        "      FunctionResponseTypes: [ReportBatchItemFailures]",
        "      ScalingConfig: {MaximumConcurrency: !Ref MaximumConcurrency}",
    ] {
        assert!(template.lines().any(|found| found == line), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_functions_are_told_is_what_the_program_and_the_stack_know() {
    let server = Ministack::start(&[]);
    let given = [
        ("BucketArns", "arn:aws:s3:::some-bucket"),
        ("JobType", "GET"),
        ("StorageClass", "KEEP"),
        ("MaxThread", "7"),
        ("OtherEndpoint", "https://store.example"),
        ("Versions", "integrity"),
        ("DefaultDestinationBucket", "there"),
    ];
    let stack = stack(&server, &given).await;
    let settings = settings(&server, &stack).await;
    let told = settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let config = Config::from_text("none", "", told).expect("usable keys");
    assert_eq!(config.basic.job_type, JobType::Get);
    assert_eq!(config.mode.storage_class, StorageClass::Keep);
    assert!(config.mode.update_version_id && config.mode.get_object_with_version_id);
    assert_eq!(config.basic.table_queue_name, physical_id(&server, &stack, "Table"));
    let queue = physical_id(&server, &stack, "Queue");
    assert!(queue.ends_with(&format!("/{}", config.basic.sqs_queue_name)), "{queue}");
    assert_eq!(settings["Source_Endpoint"], "https://store.example");
    assert_eq!(settings["Destination_Endpoint"], "");
    for name in ["Worker", "Jobsender"] {
        let function = function(&server, &stack, name);
        let variables = function["Environment"]["Variables"].as_object().expect("variables").iter();
        // Lambda itself sets the region, and the original calls the queue `sqs_queue`.
        let variables: BTreeMap<String, String> = variables
            .map(|(name, value)| {
                let name = if name == "sqs_queue" { "sqs_queue_name" } else { name };
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                (name.to_owned(), text)
            })
            .collect();
        let mut expected = settings.clone();
        expected.remove("AWS_REGION");
        assert_eq!(variables, expected, "{name}");
        for name in variables.keys() {
            let known = KEYS.iter().any(|key| {
                key.env_name() == *name || (key.env_by_name_alone() && key.name == *name)
            });
            assert!(known, "{name} is no key");
        }
    }
}

/// What the jobsender function answers to an event.
fn compared(server: &Ministack, stack: &str, event: &str) -> Value {
    let function = physical_id(server, stack, "Jobsender");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let answer = folder.path().join("answer").display().to_string();
    aws(server, &["lambda", "invoke", "--function-name", &function, "--payload", event, &answer]);
    let answer = fs::read_to_string(answer).expect("an answer");
    serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{e}: {answer}"))
}

/// What only comes by events has nothing to compare: no alarm waits for the end of a batch, and the
/// jobsender's invocations are green and do nothing. The functions are the real program, called by the queue.
#[tokio::test(flavor = "multi_thread")]
async fn a_stack_for_events_alone_checks_nothing_and_moves_what_arrives() {
    let server = Ministack::start(&[("FUNCTIONS", "true")]);
    let (a, b) = (server.sdk_config(ACCOUNT_A), server.sdk_config(ACCOUNT_B));
    let (fresh, destination) = (unique("new-objects"), resources::bucket(&b).await);
    let keys = json!({"aws_access_key_id": ACCOUNT_B, "aws_secret_access_key": "test",
                      "region": "us-east-1"});
    let keys = resources::parameter(&a, ParameterType::SecureString, &keys.to_string()).await;
    let arn = format!("arn:aws:s3:::{fresh}");
    let events = [
        ("BucketArns", arn.as_str()),
        ("NewBucketArn", &arn),
        ("CredentialsParameter", &keys),
        ("DefaultDestinationBucket", &destination),
        ("DefaultDestinationPrefix", "arrived"),
    ];
    let bucket = release_of(&a, package()).await;
    let stack = stack_of(&server, &bucket, &events).await;
    let resources = call(&server, &[("Action", "DescribeStackResources"), ("StackName", &stack)]);
    for (name, is_there) in [("BatchDone", false), ("DeadJobs", true), ("NewBucket", true)] {
        let named = format!("<LogicalResourceId>{name}<");
        assert_eq!(resources.contains(&named), is_there, "{name}: {resources}");
    }
    let put = resources::s3(&a).put_object().bucket(&fresh).key("ü/a b+c");
    put.body(b"content".to_vec().into()).send().await.expect("PutObject");
    let client = resources::s3(&b);
    process::until("the object has arrived", async || {
        client.head_object().bucket(&destination).key("arrived/ü/a b+c").send().await.is_ok()
    })
    .await;
    let answer = compared(&server, &stack, "{}");
    assert_eq!(answer, json!({"state": "compared", "pairs": []}));
    assert_eq!(compared(&server, &stack, "{\"continue\": true}")["state"], "nothing to continue");
}

/// Cluster and functions on one queue and one table: the cluster's stack makes neither, and its machines
/// take what the functions' jobsender has sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_works_on_the_queue_and_the_table_of_the_functions() {
    let server = Ministack::start(&[]);
    let (a, b) = (server.sdk_config(ACCOUNT_A), server.sdk_config(ACCOUNT_B));
    let (source, destination) = (resources::bucket(&a).await, resources::bucket(&b).await);
    let keys = json!({"aws_access_key_id": ACCOUNT_B, "aws_secret_access_key": "test",
                      "region": "us-east-1"});
    let keys = resources::parameter(&a, ParameterType::SecureString, &keys.to_string()).await;
    let pairs = json!([{"src_bucket": source, "src_prefix": "", "des_bucket": destination,
                        "des_prefix": ""}]);
    let (arns, pairs) = (format!("arn:aws:s3:::{source}"), pairs.to_string());
    let both =
        [("BucketArns", arns.as_str()), ("BucketList", &pairs), ("CredentialsParameter", &keys)];
    let functions = stack(&server, &both).await;
    let output = |stack: &str, key: &str| {
        let query = format!("Stacks[0].Outputs[?OutputKey=='{key}'].OutputValue|[0]");
        let said = aws(
            &server,
            &["cloudformation", "describe-stacks", "--stack-name", stack, "--query", &query],
        );
        said.as_str().unwrap_or_else(|| panic!("no output {key}: {said}")).to_owned()
    };
    let [queue, dead, table] =
        ["QueueName", "DeadLetterQueueName", "TableName"].map(|key| output(&functions, key));
    let shared = [
        ("ReleaseBucket", "releases"),
        ("ExistingQueue", queue.as_str()),
        ("ExistingDeadLetters", &dead),
        ("ExistingTable", &table),
    ];
    let given = [&both[..], &shared].concat();
    let (answer, cluster) = create_of(CLUSTER, &server, &a, &given).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    until_complete(&server, &cluster).await;
    let resources = call(&server, &[("Action", "DescribeStackResources"), ("StackName", &cluster)]);
    for name in ["Queue", "DeadLetters", "QueuePolicy", "Table"] {
        assert!(!resources.contains(&format!("<LogicalResourceId>{name}<")), "{name}: {resources}");
    }
    assert!(output(&cluster, "QueueUrl").ends_with(&format!("/{queue}")));
    assert!(output(&cluster, "RedriveTheDead").ends_with(&format!(":{dead}")));
    let (theirs, ours) = (settings(&server, &functions).await, settings(&server, &cluster).await);
    for name in ["sqs_queue_name", "table_queue_name"] {
        assert_eq!(theirs[name], ours[name], "{name}");
    }

    let put = resources::s3(&a).put_object().bucket(&source).key("k");
    put.body(b"content".to_vec().into()).send().await.expect("PutObject");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let command = |name: &str, settings: &BTreeMap<String, String>| {
        let mut command = process::program(folder.path(), folder.path());
        command.envs(server.environment(ACCOUNT_A)).envs(settings).arg(name);
        command
    };
    Running::start(command("jobsender", &theirs)).ended().await.with_status(0);
    let worker = Running::start(command("worker", &ours));
    let client = resources::s3(&b);
    process::until("the object has arrived", async || {
        client.head_object().bucket(&destination).key("k").send().await.is_ok()
    })
    .await;
    worker.signal("TERM");
    worker.ended().await.with_status(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn contradictions_are_refused_before_anything_is_made() {
    let server = Ministack::start(&[]);
    let a = server.sdk_config(ACCOUNT_A);
    let (buckets, release) = (("BucketArns", "arn:aws:s3:::some"), ("ReleaseBucket", "releases"));
    let fresh = ("NewBucketArn", "arn:aws:s3:::other");
    let place = ("DefaultDestinationBucket", "there");
    for (template, given, said) in [
        (
            SERVERLESS,
            vec![buckets, release, fresh, place],
            "NewBucketArn must be one of BucketArns",
        ),
        (
            SERVERLESS,
            vec![buckets, release, ("NewBucketArn", "arn:aws:s3:::some")],
            "DefaultDestinationBucket",
        ),
        (CLUSTER, vec![buckets, release, ("ExistingQueue", "theirs")], "ExistingDeadLetters"),
    ] {
        let (answer, _) = create_of(template, &server, &a, &given).await;
        assert!(!answer.starts_with("HTTP/1.1 200") && answer.contains(said), "{answer}");
    }
}

/// The script of the NAT instance, with the stack's values in it.
fn nat_script() -> String {
    let template = text_of(SERVERLESS);
    let (_, rest) = template.split_once("  NatTemplate:\n").expect("a launch template");
    let (_, rest) = rest.split_once("Fn::Base64: !Sub |\n").expect("a script");
    let lines = rest.lines().take_while(|line| line.is_empty() || line.starts_with("            "));
    let script: String =
        lines.map(|line| format!("{}\n", line.trim_start_matches("            "))).collect();
    let script = script.replace("${AWS::Region}", "us-east-1").replace("${PrivateRoutes}", "rtb-1");
    script.replace("${NatAddress.AllocationId}", "eipalloc-1").replace("${!", "${")
}

/// Puts a stand-in for a command into a folder: it notes how it was called, then runs `does`.
fn stand_in(folder: &Path, name: &str, does: &str) {
    let file = folder.join(name);
    let script = format!("#!/bin/bash\necho {name} \"$@\" >> \"$CALLS\"\n{does}\n");
    fs::write(&file, script).expect("written");
    fs::set_permissions(&file, Permissions::from_mode(0o755)).expect("executable");
}

/// Plays the script with stand-ins; what was called, and the files that it wrote below `root`.
fn played(root: &Path, aws: &str) -> String {
    for folder in ["bin", "etc/modules-load.d", "etc/sysctl.d", "etc/sysconfig"] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    let bin = root.join("bin");
    for name in ["modprobe", "sysctl", "systemctl", "nft", "tc"] {
        stand_in(&bin, name, "");
    }
    stand_in(&bin, "aws", aws);
    // The first attempt fails, as without a network.
    stand_in(&bin, "dnf", "test -e \"$CALLS.again\" || { touch \"$CALLS.again\"; exit 1; }");
    stand_in(&bin, "sleep", "");
    stand_in(&bin, "ip", "echo default via 10.0.16.1 dev ens5 proto dhcp");
    let curl = "case \"$*\" in *token) echo secret;; *instance-id) echo i-1;; */mac) echo 0a:1b;; \
                *macs/0a:1b/interface-id) echo eni-1;; esac";
    stand_in(&bin, "curl", curl);
    let script = nat_script().replace("/etc/", &format!("{}/etc/", root.display()));
    let calls = root.join("calls");
    let mut bash = Command::new("bash");
    bash.arg("-c").arg(script).env_clear().env("CALLS", &calls);
    bash.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    let ended = bash.output().expect("bash can be run");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    fs::read_to_string(calls).expect("calls")
}

#[test]
fn the_nat_instance_takes_the_address_forwards_and_only_then_opens_the_way() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let calls = played(folder.path(), "");
    let position = |part: &str| {
        calls
            .lines()
            .position(|line| line.contains(part))
            .unwrap_or_else(|| panic!("{part}: {calls}"))
    };
    let order = [
        "associate-address --allow-reassociation --instance-id i-1 --allocation-id eipalloc-1",
        "dnf install -y",
        "modprobe -a tcp_bbr sch_fq",
        "tc qdisc replace dev ens5 root fq",
        "systemctl enable --now nftables",
        "modify-instance-attribute --instance-id i-1 --no-source-dest-check",
        "replace-route --route-table-id rtb-1 --destination-cidr-block 0.0.0.0/0 --network-interface-id eni-1",
    ];
    let positions: Vec<usize> = order.iter().map(|part| position(part)).collect();
    assert!(positions.is_sorted(), "{positions:?}: {calls}");
    assert_eq!(calls.matches("dnf install").count(), 2, "it waits for the network: {calls}");
    assert!(!calls.contains("create-route"), "{calls}");
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("a file");
    let kernel = read("etc/sysctl.d/90-nat.conf");
    for line in [
        "net.ipv4.ip_forward = 1",
        "net.core.default_qdisc = fq",
        "net.ipv4.tcp_congestion_control = bbr",
    ] {
        assert!(kernel.lines().any(|found| found == line), "{line}: {kernel}");
    }
    assert!(read("etc/sysconfig/nftables.conf").contains("oifname \"ens5\" masquerade"));
}

/// The first instance of a stack finds no route that it could replace.
#[test]
fn the_first_nat_instance_makes_the_route() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let calls = played(folder.path(), "test \"$2\" != replace-route");
    assert!(calls.contains("aws ec2 create-route --route-table-id rtb-1"), "{calls}");
}
