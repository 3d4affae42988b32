//! `docs/deploy.md`: its commands, run as they stand there by the AWS CLI, and what it says of values and
//! costs.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use regex::Regex;
use serde_json::Value;
use tempfile::TempDir;

use crate::roles::statements;
use crate::stack::{AWS_CLI, call, template};
use testkit::ministack::{ACCOUNT_A, ACCOUNT_B, Ministack};
use testkit::process::{self, Running};
use testkit::python::python_with;
use testkit::resources;

const TO_THE_OTHER: &str = "Ten commands: from the own account to the other (`PUT`)";
const BACK: &str = "And back: from the other account to the own one (`GET`)";
const KEY: &str = "ü/a b+c";

fn guide() -> String {
    fs::read_to_string("docs/deploy.md").expect("the guide is there")
}

/// The text below a heading of the guide.
fn section(heading: &str) -> String {
    section_of(&guide(), heading)
}

/// The text below a heading.
pub fn section_of(page: &str, heading: &str) -> String {
    let (_, rest) =
        page.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("{heading}"));
    rest.split("\n## ").next().unwrap_or_default().to_owned()
}

/// The blocks of commands in a text.
pub fn blocks(text: &str) -> Vec<String> {
    let blocks = text.split("\n```sh\n").skip(1);
    blocks.map(|block| block.split("\n```").next().unwrap_or_default().to_owned()).collect()
}

/// The numbered command of a section of the guide.
fn command(heading: &str, number: u32) -> String {
    command_of(&section(heading), number)
}

/// The numbered command of a section.
pub fn command_of(section: &str, number: u32) -> String {
    let (_, rest) =
        section.split_once(&format!("**{number}.**")).unwrap_or_else(|| panic!("{number}"));
    blocks(rest).first().unwrap_or_else(|| panic!("{number} has no block")).clone()
}

fn says_as_shown(heading: &str, number: u32, said: &str) {
    says_as_shown_in(&section(heading), number, said);
}

/// Whether a command has said what is shown below it: line by line, `...` standing for anything.
pub fn says_as_shown_in(section: &str, number: u32, said: &str) {
    let (_, rest) =
        section.split_once(&format!("**{number}.**")).unwrap_or_else(|| panic!("{number}"));
    let below = rest.split("\n**").next().unwrap_or_default();
    let shown = below.split("\n```text\n").nth(1).and_then(|rest| rest.split("\n```").next());
    let shown = shown.unwrap_or_else(|| panic!("nothing is shown below command {number}"));
    // `check` breaks its lines before column 81.
    let said = said.replace("\n         ", " ");
    let mut lines = said.lines();
    for line in shown.lines().filter(|line| *line != "...") {
        let fragments: Vec<String> = line.split("...").map(regex::escape).collect();
        let pattern = Regex::new(&format!("^{}$", fragments.join(".*"))).expect("a pattern");
        let found = lines.any(|line| pattern.is_match(line.trim_end()));
        assert!(found, "command {number} does not say, or not in this order: {line}\n{said}");
    }
}

/// A desk at which the guide is followed: its folder has the repository's files that the commands name.
pub struct Desk {
    pub server: Ministack,
    pub folder: TempDir,
    values: String,
    pub destination: String,
}

impl Desk {
    pub async fn new(job_type: &str) -> Self {
        let server = Ministack::start(&[("AUTH", "true")]);
        let (a, b) = (server.sdk_config(ACCOUNT_A), server.sdk_config(ACCOUNT_B));
        let (from, to) = if job_type == "PUT" { (&a, &b) } else { (&b, &a) };
        let (source, destination) = (resources::bucket(from).await, resources::bucket(to).await);
        let put = resources::s3(from).put_object().bucket(&source).key(KEY);
        put.body(b"content".to_vec().into()).send().await.expect("PutObject");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in ["cloudformation", "s3_migration_ignore_list.txt"] {
            symlink(repository.join(name), at(name)).expect("a link");
        }
        fs::create_dir(at("dist")).expect("a folder");
        symlink(env!("CARGO_BIN_EXE_s3-migration"), at("dist/s3-migration")).expect("a link");
        for name in ["s3-migration-aarch64.tar.gz", "s3-migration-aarch64.tar.gz.sha256"] {
            fs::write(at(&format!("dist/{name}")), "an archive").expect("a file");
        }
        let profile = |name: &str, key: &str| {
            format!("[{name}]\naws_access_key_id = {key}\naws_secret_access_key = test\n")
        };
        let profiles = profile("own", ACCOUNT_A) + &profile("other", ACCOUNT_B);
        fs::write(at("credentials"), profiles).expect("a file");
        fs::write(at("config"), "[profile own]\n[profile other]\n").expect("a file");
        // One server is every region's, and all of the partition aws.
        let values = format!(
            "export OWN=own OTHER=other REGION=us-east-1 OTHER_REGION=us-east-1 ARN=arn:aws \
             OTHER_ARN=arn:aws SOURCE={source} DESTINATION={destination} RELEASE={source}-release \
             MAIL=me@example.org\n"
        );
        Self { server, folder, values, destination }
    }

    /// Runs commands of the guide in bash, each of which must do.
    pub fn run(&self, commands: &str) -> String {
        let output = self.try_run(commands);
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (said(&output.stdout), said(&output.stderr));
        assert!(output.status.success(), "{commands}\n{stdout}{stderr}");
        stdout
    }

    fn try_run(&self, commands: &str) -> Output {
        let tools = python_with("awscli", AWS_CLI, "import awscli");
        let tools = tools.parent().expect("a folder").display().to_string();
        let at = |name: &str| self.folder.path().join(name);
        let script = format!("set -euo pipefail\n{}{commands}\n", self.values);
        let mut bash = Command::new("bash");
        bash.args(["-c", &script]).env_clear().current_dir(self.folder.path());
        bash.env("PATH", format!("{tools}:/usr/bin:/bin")).env("HOME", self.folder.path());
        bash.env("AWS_SHARED_CREDENTIALS_FILE", at("credentials"));
        bash.env("AWS_CONFIG_FILE", at("config")).env("AWS_EC2_METADATA_DISABLED", "true");
        bash.env("AWS_ENDPOINT_URL", self.server.endpoint());
        bash.output().expect("bash can be run")
    }

    /// A message about an object that the source does not have.
    async fn send_a_job_that_fails(&self) {
        let url = self.run(
            "aws --profile own --region us-east-1 cloudformation describe-stacks --output text \
             --stack-name s3-migration --query \"Stacks[0].Outputs[?OutputKey=='QueueUrl'].OutputValue\"",
        );
        let body = self.run(
            "printf '{\"Src_bucket\":\"%s\",\"Src_key\":\"not there\",\"Des_bucket\":\"%s\",\
             \"Des_key\":\"not there\",\"Size\":1,\"versionId\":\"null\"}' $SOURCE $DESTINATION",
        );
        let queue = aws_sdk_sqs::Client::new(&self.server.sdk_config(ACCOUNT_A));
        let message = queue.send_message().queue_url(url.trim()).message_body(body);
        message.send().await.expect("SendMessage");
    }

    /// The program as a machine of the cluster runs it.
    fn machine(&self, command: &str) -> tokio::process::Command {
        self.program_of("s3-migration", command)
    }

    /// The program with the settings of a stack.
    pub fn program_of(&self, stack: &str, command: &str) -> tokio::process::Command {
        let settings = format!(
            "aws --profile \"$OWN\" --region \"$REGION\" ssm get-parameter --output text \
             --name /s3-migration/{stack}/settings --query Parameter.Value"
        );
        let settings = self.run(&settings);
        let mut program = process::program(self.folder.path(), self.folder.path());
        program.envs(self.server.environment(ACCOUNT_A)).arg(command);
        program.envs(settings.lines().filter_map(|line| line.split_once('=')));
        program
    }
}

async fn followed(job_type: &str, fifth: &str, seventh: &str) {
    let desk = Desk::new(job_type).await;
    for number in [2, 3, 4] {
        desk.run(&command(TO_THE_OTHER, number));
    }
    desk.run(fifth);
    let said = desk.run(&command(TO_THE_OTHER, 6));
    assert!(!said.to_lowercase().contains("secret"), "{said}");
    let said = desk.run(seventh);
    says_as_shown(TO_THE_OTHER, 7, &said);
    let check = command(TO_THE_OTHER, 8);
    let said = desk.run(&check);
    assert!(said.ends_with(" 0 failed\n"), "{said}");
    if job_type == "PUT" {
        says_as_shown(TO_THE_OTHER, 8, &said);
    }
    let printed: Value = serde_json::from_str(
        &desk.run(&check.replace("s3-migration check", "s3-migration check --json")),
    )
    .expect("JSON");
    let policy = fifth.split("--policy-document").nth(1).expect("a policy");
    let policy: Value =
        serde_json::from_str(&desk.run(&format!("printf %s {policy}"))).expect("JSON");
    assert_eq!(statements(&policy), statements(&printed["policies"]["user"]));
    desk.run(&command(TO_THE_OTHER, 9));

    for block in blocks(&section("Rotate the key")) {
        desk.run(&block);
    }
    Running::start(desk.machine("jobsender")).ended().await.with_status(0);
    let worker = Running::start(desk.machine("worker"));
    let account = if job_type == "PUT" { ACCOUNT_B } else { ACCOUNT_A };
    let client = resources::s3(&desk.server.sdk_config(account));
    process::until("the object has arrived", async || {
        client.head_object().bucket(&desk.destination).key(KEY).send().await.is_ok()
    })
    .await;
    let status = command(TO_THE_OTHER, 10);
    process::until("nothing is in the queue", async || {
        let said = desk.run(&status);
        said.contains("running             0") && said.contains("done                1")
    })
    .await;
    says_as_shown(TO_THE_OTHER, 10, &desk.run(&status));
    Running::start(desk.machine("jobsender")).ended().await.with_status(0);
    assert!(
        desk.run(&status).contains(" 0 of them sent"),
        "the closing comparison sends something"
    );

    desk.send_a_job_that_fails().await;
    let failed = blocks(&section("Objects that failed"));
    process::until("the failure is on record", async || {
        desk.run(&failed[0]).contains("/not there\tGetObject")
    })
    .await;
    worker.signal("TERM");
    worker.ended().await.with_status(0);

    for block in blocks(&section("Upgrade")) {
        desk.run(&without_build(&block));
    }
    for block in blocks(&section("Tear-down")) {
        desk.run(&block);
    }
    let stacks = [("Action", "DescribeStacks"), ("StackName", "s3-migration")];
    process::until("the stack is gone", async || {
        let said = call(&desk.server, &stacks);
        said.contains("DELETE_COMPLETE") || said.contains("does not exist")
    })
    .await;
    let user = "aws --profile other --region us-east-1 iam get-user --user-name s3-migration";
    assert!(!desk.try_run(user).status.success(), "the user is left");
    let kept =
        resources::s3(&desk.server.sdk_config(account)).head_object().bucket(&desk.destination);
    kept.key(KEY).send().await.expect("what was moved stays");
}

/// Building for an hour is the release's own test.
fn without_build(block: &str) -> String {
    let lines = block.lines().filter(|line| !line.starts_with("packer/build-release.sh"));
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ten_commands_lead_to_a_migration_into_the_other_account() {
    followed("PUT", &command(TO_THE_OTHER, 5), &command(TO_THE_OTHER, 7)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_back() {
    followed("GET", &command(BACK, 5), &command(BACK, 7)).await;
}

#[test]
fn every_value_that_is_used_must_be_supplied_and_no_other() {
    let table = section("What you must supply");
    let named = Regex::new(r"(?m)^\| `([A-Z_]+)` \|").expect("a pattern");
    let supplied: BTreeSet<String> =
        named.captures_iter(&table).map(|found| found[1].to_owned()).collect();
    assert_eq!(supplied.len(), 10, "{supplied:?}");
    let used = Regex::new(r"\$([A-Z_]+)").expect("a pattern");
    let blocks = blocks(&guide());
    let used: BTreeSet<String> = blocks
        .iter()
        .flat_map(|block| used.captures_iter(block))
        .map(|f| f[1].to_owned())
        .collect();
    assert_eq!(supplied, used);
    let set = Regex::new(r"\b([A-Z_]+)=").expect("a pattern");
    let set = set.captures_iter(&blocks[0]).map(|found| found[1].to_owned()).collect();
    assert_eq!(supplied, set);

    // What the template wants and has no default for, the commands give.
    let template = template();
    let (_, parameters) = template.split_once("\nParameters:\n").expect("parameters");
    let parameters = parameters.split("\nRules:\n").next().expect("their end");
    let parameters = format!("\n{parameters}\n");
    let each = Regex::new(r"(?m)^  ([A-Za-z0-9]+):\n((?:    .*\n)+)").expect("a pattern");
    let mut count = 0;
    for found in each.captures_iter(&parameters) {
        count += 1;
        let has_default = found[2].contains("\n    Default:");
        assert!(
            has_default || command(TO_THE_OTHER, 7).contains(&format!("{}=", &found[1])),
            "{}",
            &found[1]
        );
    }
    assert!(count > 20, "{count}");
    // What the guide gives to the template, the template has.
    let given = Regex::new(r#"[ '"]([A-Z][A-Za-z0-9]+)="#).expect("a pattern");
    for block in blocks.iter().filter(|block| block.contains("--parameter-overrides")) {
        let (_, given_here) = block.split_once("--parameter-overrides").expect("parameters");
        for found in given.captures_iter(given_here) {
            assert!(parameters.contains(&format!("\n  {}:\n", &found[1])), "{}", &found[1]);
        }
    }
}

#[test]
fn every_block_is_bash() {
    for block in blocks(&guide()) {
        let bash =
            Command::new("bash").args(["-n", "-c", &block]).output().expect("bash can be run");
        assert!(bash.status.success(), "{block}\n{}", String::from_utf8_lossy(&bash.stderr));
    }
    let ten = section(TO_THE_OTHER);
    let numbered = Regex::new(r"(?m)^\*\*(\d+)\.\*\*").expect("a pattern");
    let numbers: Vec<u32> =
        numbered.captures_iter(&ten).map(|found| found[1].parse().expect("a number")).collect();
    assert_eq!(numbers, (1..=10).collect::<Vec<u32>>());
    assert_eq!(blocks(&ten).len(), 10);
}

/// A number as the guide writes it.
fn number(text: &str) -> f64 {
    let text = text.trim().trim_matches('*').replace(',', "");
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn the_sums_are_right_and_their_prices_those_of_the_price_file() {
    let prices = fs::read_to_string("prices.json").expect("the price file");
    let prices: Value = serde_json::from_str(&prices).expect("JSON");
    let region = &prices["regions"]["us-east-1"];
    let price = |value: &Value| value.as_f64().expect("a price");
    let known = [
        price(&region["s3"]["STANDARD"]["read_per_1000"]) * 1000.0,
        price(&region["s3"]["STANDARD"]["write_per_1000"]) * 1000.0,
        price(&region["sqs"]["per_million"]),
        price(&region["dynamodb"]["write_per_million"]),
    ];
    let costs = section("What it costs");
    let tables = costs.split("| what | how many | price of one million | dollars |").skip(1);
    let mut sums = 0;
    for table in tables {
        let mut sum = 0.0;
        for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [what, count, of_a_million, dollars] = cells[..] else { panic!("{row}") };
            if what == "**sum**" {
                assert_eq!(format!("{sum:.2}"), dollars, "{table}");
                sums += 1;
                continue;
            }
            let one = number(of_a_million);
            assert!(known.iter().any(|known| (known - one).abs() < 1e-9), "{row}");
            let cost = number(count) * one / 1e6;
            assert_eq!(format!("{cost:.2}"), dollars, "{row}");
            sum += cost;
        }
    }
    assert_eq!(sums, 2);
    let out = price(&region["transfer"]["internet_per_gb"]) * 1024.0;
    assert!(costs.contains(&format!("**{out:.2}**")), "{out}");
    let near = price(&region["transfer"]["other_region_per_gb"]) * 1024.0;
    assert!(costs.contains(&format!("{near:.2}")), "{near}");
}

/// Alarms are paid for by the metrics that they look at; target tracking makes two of its own.
#[test]
fn the_alarms_that_cost_while_idle_are_all_counted() {
    let template = template();
    let resources = Regex::new(r"(?m)^  [A-Za-z0-9]+:\n    Type: (\S+)\n((?:    .*\n|\n)+)")
        .expect("a pattern");
    let mut metrics = 0;
    for found in resources.captures_iter(&template) {
        let looked_at = found[2].matches("MetricStat:").count();
        match &found[1] {
            "AWS::CloudWatch::Alarm" => metrics += looked_at.max(1),
            "AWS::AutoScaling::ScalingPolicy" => metrics += 2 * looked_at,
            _ => {}
        }
    }
    let row = format!(
        "| metrics that alarms look at | {metrics} | 0.10 | {:.2} |",
        metrics as f64 / 10.0
    );
    assert!(guide().contains(&row), "{row}");
}
