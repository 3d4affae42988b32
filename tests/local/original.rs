//! Users of the original on one machine: the name of its ini is found, and the inis of its single-node
//! version are answered with the command that replaces them. The inis have its keys and our words.

use std::path::Path;

use testkit::local::{ALL, BUCKETS, Local, noise};
use testkit::process::{Running, binary, program};

const CLUSTER: &str = include_str!("../cluster/original/s3_migration_cluster_config.ini");
const UPLOAD: &str = include_str!("original/s3_upload_config.ini");
const DOWNLOAD: &str = include_str!("original/s3_download_config.ini");

#[tokio::test]
async fn its_ini_is_found_by_its_own_name_and_serves_the_embedded_queue_too() {
    let mut local = Local::new().await;
    local.write("s3_migration_cluster_config.ini", CLUSTER);
    local.write("s3_migration_ignore_list.txt", "*.skip\n");
    local.source.put("k", noise(100, 1)).await;
    local.source.put("not.skip", noise(100, 2)).await;
    local.run(&["run", ALL[0], ALL[1]]).await.with_status(0);
    assert_eq!(local.destination.keys().await, ["k"], "the list next to the ini is obeyed");
    local.source.put("by a job", noise(100, 3)).await;
    local.embedded();
    local.run(&["jobsender"]).await.with_status(0);
    let worker = local.spawn(&["worker"]);
    let both = ["by a job", "k"];
    testkit::process::until("it arrives", async || local.destination.keys().await == both).await;
    worker.signal("TERM");
    worker.ended().await.with_status(0);
    // What is wrong in it is told of it, by its name and line.
    local.write(
        "s3_migration_cluster_config.ini",
        &CLUSTER.replace("MaxThread = 20", "MaxThread = x"),
    );
    let said = local.run(&["run", ALL[0], ALL[1]]).await.with_status(2);
    let place = "s3_migration_cluster_config.ini:39: [Mode] MaxThread = x; allowed: a whole number";
    assert!(said.stderr.contains(place), "{}", said.all());
    // Ours comes first.
    local.write("s3_migration_config.ini", "");
    local.run(&["run", ALL[0], ALL[1]]).await.with_status(0);
}

/// The command that the answer to this ini ends with.
async fn answered(local: &Local, name: &str, text: &str) -> (String, String) {
    local.write(name, text);
    let ended = local.run(&["--config", name, "run"]).await.with_status(2);
    let said = ended.stderr.trim_end().to_owned();
    let (_, command) = said.rsplit_once("\n  ").unwrap_or_else(|| panic!("no command: {said}"));
    let command = command.to_owned();
    assert!(
        said.contains(&format!("{name} is a configuration of the original's single-node")),
        "{said}"
    );
    (said, command)
}

#[tokio::test]
async fn a_single_node_ini_is_answered_with_the_run_that_replaces_it() {
    let local = Local::new().await;
    let (_, command) = answered(&local, "s3_upload_config.ini", UPLOAD).await;
    assert_eq!(
        command,
        "MaxThread=5 s3-migration run --source-profile iad --destination-profile zhy \
         s3://my-src-bucket/ s3://my-bucket"
    );
    let changed = UPLOAD.replace("S3Prefix = ", "S3Prefix = a/b");
    let changed = changed.replace("SrcFileIndex = *", "SrcFileIndex = it's.mp4");
    let changed = changed
        .replace("= STANDARD", "= DEEP_ARCHIVE")
        .replace("ifVerifyMD5 = False", "ifVerifyMD5 = True");
    let (_, command) = answered(&local, "other.ini", &changed).await;
    assert_eq!(
        command,
        "MaxThread=5 StorageClass=DEEP_ARCHIVE ifVerifyMD5Twice=True s3-migration run \
         --source-profile iad --destination-profile zhy --include 'my-src-bucket/a/b/it'\\''s.mp4' \
         s3://my-src-bucket/a/b s3://my-bucket"
    );
}

/// The answer is run in a shell, as the user would.
#[tokio::test]
async fn the_answered_command_migrates() {
    let local = Local::new().await;
    for (key, size) in [("in/a b", 100), ("in/large", 6 << 20), ("out", 1)] {
        local.source.put(key, noise(size, 1)).await;
    }
    let mut text = UPLOAD.to_owned();
    let urls = [&local.source, &local.destination].map(|place| place.endpoint.url());
    for (theirs, ours) in [
        ("my-src-bucket", BUCKETS[0]),
        ("my-bucket", BUCKETS[1]),
        ("S3Prefix = ", "S3Prefix = in/"),
        ("DesProfileName = zhy", "DesProfileName = destination-side"),
        ("SrcProfileName = iad", "SrcProfileName = source-side"),
        ("DesEndPointURL = AWS", &format!("DesEndPointURL = {}", urls[1])),
        ("SrcEndPointURL = AWS", &format!("SrcEndPointURL = {}", urls[0])),
    ] {
        text = text.replace(theirs, ours);
    }
    let (_, command) = answered(&local, "s3_upload_config.ini", &text).await;
    let environment = program(local.work().parent().expect("a folder"), &local.work());
    let mut bash = tokio::process::Command::new("bash");
    bash.args(["-c", &command]).env_clear().current_dir(local.work()).kill_on_drop(true);
    for (name, value) in environment.as_std().get_envs() {
        bash.env(name, value.expect("a value"));
    }
    let folder = binary().parent().map(Path::to_owned).expect("a folder");
    let path = std::env::var("PATH").expect("a path, on which bash is");
    bash.env("PATH", format!("{}:{path}", folder.display()));
    Running::start(bash).ended().await.with_status(0);
    assert_eq!(local.destination.keys().await, ["in/a b", "in/large"], "the keys stay whole");
}

#[tokio::test]
async fn folders_are_left_to_the_aws_cli() {
    let local = Local::new().await;
    let folder = UPLOAD.replace("JobType = S3_TO_S3", "JobType = LOCAL_TO_S3");
    let (said, command) = answered(&local, "s3_upload_config.ini", &folder).await;
    assert!(said.contains("moves objects between two stores"), "{said}");
    assert_eq!(command, "aws s3 sync '/home/ec2-user/my dir' s3://my-bucket/ --profile zhy");
    let (_, command) = answered(&local, "s3_download_config.ini", DOWNLOAD).await;
    assert_eq!(
        command,
        "aws s3 sync s3://my-src-bucket/photos/ /home/ec2-user/Download --profile iad"
    );
}
