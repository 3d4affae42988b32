//! The key LogFile: every line in a file besides, for a log agent.

use std::fs;

use testkit::local::{Local, noise};
use testkit::process::until;

async fn stage() -> Local {
    let mut local = Local::new().await;
    local.embedded();
    local.set("LoggingLevel", "INFO");
    local.set("LogFile", "a.log");
    local
}

#[tokio::test]
async fn every_line_is_in_the_file_and_on_stderr() {
    let mut local = stage().await;
    local.set("LogFormat", "json");
    local.source.put("object", noise(1000, 1)).await;
    let sent = local.run(&["jobsender"]).await.with_status(0);
    local.set("LogInterval", "1");
    let mut worker = local.spawn(&["worker"]);
    worker.logs("--->Complete 1000 from-here/object").await;
    worker.signal("TERM");
    let ended = worker.ended().await.with_status(0);
    let text = fs::read_to_string(local.work().join("a.log")).unwrap();
    for message in ["--->Downloading 1000 ", "--->Uploading 1000 ", "worker stopped"] {
        let on_stderr = ended.stderr.lines().find(|line| line.contains(message)).unwrap();
        assert!(on_stderr.starts_with('{'), "{on_stderr}");
        let in_file = text.lines().find(|line| line.contains(message)).unwrap();
        assert!(in_file.starts_with("INFO "), "{in_file}");
    }
    let on_stderr = format!("{}{}", sent.stderr, ended.stderr);
    assert_eq!(text.lines().count(), on_stderr.lines().count(), "{text}\n{on_stderr}");
}

/// As logrotate's `copytruncate` does it.
#[tokio::test]
async fn a_file_that_is_cut_goes_on_at_its_beginning() {
    let local = stage().await;
    let file = local.work().join("a.log");
    fs::write(&file, "what was there before\n").unwrap();
    let worker = local.spawn(&["worker"]);
    until("the worker has begun", async || {
        fs::read_to_string(&file).unwrap().contains("worker started")
    })
    .await;
    let before = fs::read_to_string(&file).unwrap();
    assert!(before.starts_with("what was there before\n"), "{before}");
    fs::File::options().write(true).open(&file).unwrap().set_len(0).unwrap();
    worker.signal("TERM");
    worker.ended().await.with_status(0);
    let after = fs::read_to_string(&file).unwrap();
    assert!(after.starts_with("INFO ") && after.contains("worker stopped"), "{after:?}");
    assert!(!after.contains("worker started"), "{after:?}");
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_wrong_input() {
    let mut local = stage().await;
    local.set("LogFile", "no/such/folder/a.log");
    let ended = local.run(&["worker"]).await.with_status(2);
    ended.says(&["[Debug] LogFile", "no/such/folder/a.log", "No such file"]);
    assert_eq!(local.files(), ["pairs.json"], "nothing was touched");
}
