//! Names, paths and times that stand in more than one place: the template, what a machine runs first, the
//! units, the image, the agent, the program. Each is compared with where it comes from.

use std::fs;
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use s3_migration::config::Config;
use s3_migration::config::keys::KEYS;

use crate::stack::{call, create, physical_id, template, until_complete};
use testkit::iam::{element, query};
use testkit::ministack::{ACCOUNT_A, Ministack};

const TEMPLATES: [(&str, &str); 3] =
    [("WorkerArm64", "worker"), ("WorkerX86", "worker"), ("Jobsender", "jobsender")];

fn file(name: &str) -> String {
    fs::read_to_string(name).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// What a machine of a launch template runs at its first start.
fn first(server: &Ministack, stack: &str, resource: &str) -> String {
    let id = physical_id(server, stack, resource);
    let form =
        format!("Action=DescribeLaunchTemplateVersions&LaunchTemplateId={id}&Version=2016-11-15");
    let answer = query(server, ACCOUNT_A, "ec2", &form);
    let data = BASE64_STANDARD.decode(element(&answer, "userData")).expect("base64");
    String::from_utf8(data).expect("UTF-8")
}

/// The lines of the environment that a script writes.
fn environment(script: &str) -> Vec<(&str, &str)> {
    let (_, rest) = script.split_once("environment='").expect("an environment");
    let (lines, _) = rest.split_once('\'').expect("its end");
    lines.lines().map(|line| line.split_once('=').unwrap_or((line, ""))).collect()
}

/// The values of a setting in an ini-like text, such as a unit.
fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_machines_are_told_is_what_the_program_and_the_stack_know() {
    let server = Ministack::start(&[]);
    let a = server.sdk_config(ACCOUNT_A);
    let given = [
        ("BucketArns", "arn:aws:s3:::some-bucket"),
        ("ReleaseBucket", "releases"),
        ("DefaultDestinationBucket", "there"),
        ("DefaultDestinationPrefix", "below"),
        ("FurtherKeys", "StorageClass=KEEP,Destination_ACL=private"),
    ];
    let (answer, stack) = create(&server, &a, &given).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    until_complete(&server, &stack).await;
    for (resource, role) in TEMPLATES {
        let script = first(&server, &stack, resource);
        let told = environment(&script);
        for (name, value) in &told {
            let known = |key: &&s3_migration::config::keys::Key| {
                key.env_name() == *name || (key.env_by_name_alone() && key.name == *name)
            };
            let known = KEYS.iter().any(|key| known(&key)) || *name == "AWS_REGION";
            assert!(known, "{resource} tells {name}={value}, which is no key");
        }
        let config = Config::from_text("none", "", told.iter().copied()).expect("usable keys");
        let physical = |name: &str| physical_id(&server, &stack, name);
        assert_eq!(config.basic.table_queue_name, physical("Table"));
        assert!(physical("Queue").ends_with(&format!("/{}", config.basic.sqs_queue_name)));
        assert_eq!(config.basic.ssm_parameter_bucket, physical("BucketListParameter"));
        assert_eq!(config.basic.ssm_parameter_ignore_list, physical("IgnoreListParameter"));
        let is_worker = role == "worker";
        assert_eq!(config.instance.group, is_worker.then(|| physical("Workers")));
        assert_eq!(config.instance.lifecycle_hook, is_worker.then(|| "drain".to_owned()));
        assert!(script.contains(&format!("\nrole={role}\n")), "{script}");
        runs_what_is_there(&script, role);
        // The agent writes where the filters and the dashboard look.
        let logs = if is_worker { "WorkerLogs" } else { "JobsenderLogs" };
        assert_eq!(physical(logs), format!("/s3-migration/{stack}/{role}"));
        assert!(script.contains(&format!("\"/s3-migration/{stack}/$role\"")), "{script}");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("first");
        fs::write(&path, &script).expect("the script can be written");
        let bash = Command::new("bash").arg("-n").arg(&path).output().expect("bash can be run");
        assert!(bash.status.success(), "{}", String::from_utf8_lossy(&bash.stderr));
    }
    let state = call(&server, &[("Action", "DescribeStacks"), ("StackName", &stack)]);
    assert!(state.contains("some-bucket"), "{state}");
}

/// Paths of the units, of the script, of the installation and of the rotation.
fn runs_what_is_there(script: &str, role: &str) {
    let name = format!("s3-migration-{role}.service");
    let unit = file(&format!("systemd/{name}"));
    assert!(script.contains(&name), "{script}");
    let [environment] = values(&unit, "EnvironmentFile")[..] else { panic!("{unit}") };
    let environment = environment.trim_start_matches('-');
    assert!(script.contains(&format!("> {environment}\n")), "{environment}: {script}");
    let log = format!("/var/lib/s3-migration/{role}.log");
    assert!(values(&unit, "Environment").contains(&format!("LogFile={log}").as_str()), "{unit}");
    assert!(script.contains("\"file_path\": \"/var/lib/s3-migration/$role.log\""), "{script}");
    assert!(file("systemd/logrotate.d/s3-migration").contains("\n/var/lib/s3-migration/*.log {"));

    let [command] = values(&unit, "ExecStart")[..] else { panic!("{unit}") };
    let mut words = command.split(' ');
    let (binary, ini) = (words.next().expect("a program"), words.nth(1).expect("an ini"));
    let install = file("packer/install.sh");
    assert!(install.contains(&format!("\"$root{binary}\"")), "{binary}");
    assert!(script.contains(&format!("[[ ! -x {binary} ]]")), "{script}");
    let folder = ini.strip_suffix("/s3_migration_config.ini").expect("the shipped ini's name");
    assert!(install.contains(&format!("\"$root{folder}/$file\"")), "{folder}");
    assert!(environment.starts_with(&format!("{folder}/")), "{environment}");
    let [user] = values(&unit, "User")[..] else { panic!("{unit}") };
    assert!(install.contains(&format!("/sbin/nologin {user}\n")), "{user}");
    let [state] = values(&unit, "StateDirectory")[..] else { panic!("{unit}") };
    assert!(log.starts_with(&format!("/var/lib/{state}/")), "{state}");
}

/// The number that follows a name in the template, at its first place after `at`.
fn number(at: &str, name: &str) -> u64 {
    let template = template();
    let (_, rest) = template.split_once(&format!("\n  {at}:\n")).unwrap_or_else(|| panic!("{at}"));
    let (_, rest) = rest.split_once(&format!("{name}: ")).unwrap_or_else(|| panic!("{at} {name}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|e| panic!("{at} {name}: {e}"))
}

#[test]
fn times_fit_into_each_other() {
    let config = Config::default();
    let unit = file("systemd/s3-migration-worker.service");
    let [stop] = values(&unit, "TimeoutStopSec")[..] else { panic!("{unit}") };
    let stop: u64 = stop.parse().expect("seconds");
    assert!(config.mode.grace_time.as_secs() < stop);
    assert!(stop < number("Drain", "HeartbeatTimeout"), "the hook waits for the whole drain");
    let visibility = number("VisibilityTimeout", "Default");
    assert_eq!(visibility, config.mode.visibility_timeout.as_secs());
    // The watchdog ends a worker that is hung; by then its jobs have come back, and nobody else waits.
    let [watchdog] = values(&unit, "WatchdogSec")[..] else { panic!("{unit}") };
    assert!(watchdog.parse::<u64>().expect("seconds") >= visibility);
    let days = number("Queue", "MessageRetentionPeriod") / 86_400;
    assert_eq!(days, 14);
    assert_eq!(number("DeadLetters", "MessageRetentionPeriod") / 86_400, days);
}

#[test]
fn image_template_and_agent_agree() {
    let (template, image) = (template(), file("packer/s3-migration.pkr.hcl"));
    assert_eq!(template.matches("MetadataOptions: {HttpTokens: required").count(), TEMPLATES.len());
    let required = image.lines().filter(|line| line.contains("http_tokens"));
    assert!(required.clone().count() > 0 && required.clone().all(|l| l.contains("\"required\"")));
    // Either takes the archive that the release's script makes, and its sum.
    let release = file("packer/build-release.sh");
    assert!(release.contains("s3-migration-$architecture.tar.gz"), "{release}");
    assert!(template.contains("archive=s3-migration-$(uname -m).tar.gz"));
    for taken in [&template, &image] {
        assert!(taken.contains("sha256sum --check --strict"), "{taken}");
        assert!(taken.contains("install.sh"), "{taken}");
    }
    let agent = file("packer/amazon-cloudwatch-agent.json");
    let agent: serde_json::Value = serde_json::from_str(&agent).expect("JSON");
    let namespace = agent["metrics"]["namespace"].as_str().expect("a namespace");
    assert!(template.contains(&format!("{{cloudwatch:namespace: {namespace}}}")), "{namespace}");
    let searched = template.matches("SEARCH('Namespace=").count();
    assert!(searched > 0);
    assert_eq!(template.matches(&format!("SEARCH('Namespace={namespace} ")).count(), searched);
}
