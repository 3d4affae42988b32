//! `docs/serverless.md`: its ten commands, run as they stand there by the AWS CLI, and the cluster next to
//! the functions.

use std::fs;
use std::process::Command;

use regex::Regex;

use crate::guide::{Desk, blocks, command_of, says_as_shown_in, section_of};
use crate::stack::{SERVERLESS, call, text_of};
use testkit::ministack::ACCOUNT_B;
use testkit::process::{self, Running};
use testkit::resources;

const STACK: &str = "s3-migration-serverless";
const KEY: &str = "ü/a b+c";

fn page() -> String {
    fs::read_to_string("docs/serverless.md").expect("the page is there")
}

fn ten() -> String {
    section_of(&page(), "Deploy: ten commands")
}

/// Puts an archive into the desk's `dist`, as command 1 makes it.
fn built(desk: &Desk) {
    let made = desk.run(
        "mkdir built && printf '#!/bin/sh\\n' > built/s3-migration && chmod +x built/s3-migration && \
         tar -czf dist/s3-migration-aarch64.tar.gz -C built .",
    );
    assert!(made.is_empty(), "{made}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ten_commands_lead_to_functions_that_migrate() {
    let (desk, ten) = (Desk::new("PUT").await, ten());
    built(&desk);
    for number in 2..=7 {
        let said = desk.run(&command_of(&ten, number));
        assert!(!said.to_lowercase().contains("secret"), "{said}");
    }
    let kept = desk.run("python3 -m zipfile -l dist/s3-migration-lambda-aarch64.zip");
    assert!(kept.contains("bootstrap"), "{kept}");
    let listed = desk.run(
        "aws --profile own --region us-east-1 ssm get-parameter --query Parameter.Value --output text \
         --name /s3-migration/s3-migration-serverless/ignore-list",
    );
    let file = fs::read_to_string("s3_migration_ignore_list.txt").expect("a file");
    assert_eq!(listed.trim_end(), file.trim_end());
    let said = desk.run(&command_of(&ten, 8));
    assert!(said.ends_with(" 0 failed\n"), "{said}");
    says_as_shown_in(&ten, 8, &said);
    let said = desk.run(&command_of(&ten, 9));
    assert!(said.contains("202"), "{said}");

    Running::start(desk.program_of(STACK, "jobsender")).ended().await.with_status(0);
    let worker = Running::start(desk.program_of(STACK, "worker"));
    let client = resources::s3(&desk.server.sdk_config(ACCOUNT_B));
    process::until("the object has arrived", async || {
        client.head_object().bucket(&desk.destination).key(KEY).send().await.is_ok()
    })
    .await;
    let status = command_of(&ten, 10);
    process::until("nothing is in the queue", async || {
        let said = desk.run(&status);
        said.contains("running             0") && said.contains("done                1")
    })
    .await;
    says_as_shown_in(&ten, 10, &desk.run(&status));
    worker.signal("TERM");
    worker.ended().await.with_status(0);

    for block in blocks(&section_of(&page(), "Together with a cluster")) {
        desk.run(&block);
    }
    let shared = |stack: &str| {
        desk.run(&format!(
            "aws --profile own --region us-east-1 ssm get-parameter --query Parameter.Value \
             --output text --name /s3-migration/{stack}/settings | grep -E '^(sqs|table)_queue_name='"
        ))
    };
    let (functions, cluster) = (shared(STACK), shared("s3-migration"));
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&functions), sorted(&cluster));

    desk.run(blocks(&ten).last().expect("the tear-down"));
    let stacks = [("Action", "DescribeStacks"), ("StackName", STACK)];
    process::until("the stack is gone", async || {
        let said = call(&desk.server, &stacks);
        said.contains("DELETE_COMPLETE") || said.contains("does not exist")
    })
    .await;
}

#[test]
fn every_block_is_bash_and_gives_what_the_template_has() {
    let parameters = text_of(SERVERLESS) + &text_of(crate::stack::CLUSTER);
    let given = Regex::new(r#"[ '"]([A-Z][A-Za-z0-9]+)="#).expect("a pattern");
    for block in blocks(&page()) {
        let bash =
            Command::new("bash").args(["-n", "-c", &block]).output().expect("bash can be run");
        assert!(bash.status.success(), "{block}\n{}", String::from_utf8_lossy(&bash.stderr));
        let Some((_, given_here)) = block.split_once("--parameter-overrides") else { continue };
        for found in given.captures_iter(given_here) {
            assert!(parameters.contains(&format!("\n  {}:\n", &found[1])), "{}", &found[1]);
        }
    }
    let numbered = Regex::new(r"(?m)^\*\*(\d+)\.\*\*").expect("a pattern");
    let numbers: Vec<u32> =
        numbered.captures_iter(&ten()).map(|found| found[1].parse().expect("a number")).collect();
    assert_eq!(numbers, (1..=10).collect::<Vec<u32>>());
}
