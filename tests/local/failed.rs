//! `failed`: what went wrong, by reason with what cures it, and sent again.

use s3_migration::queue::{LetterBox, Queue};
use serde_json::Value;

use crate::faults::queue;
use testkit::local::{ALL, Local};
use testkit::process::{Running, until};

/// Objects that nobody can read until they are restored.
async fn freeze(local: &Local, keys: &[&str]) {
    for key in keys {
        let put = local.source.client.put_object().bucket("from-here").key(*key);
        put.storage_class("GLACIER".into()).body(vec![7; 100].into()).send().await.unwrap();
    }
}

async fn thaw(local: &Local, keys: &[&str]) {
    for key in keys {
        local.source.put(key, vec![7; 100]).await;
    }
}

async fn failed(local: &Local, arguments: &[&str]) -> Value {
    let arguments = [&["failed", "--json"], arguments].concat();
    local.run(&arguments).await.with_status(0).json()
}

/// A worker that has put these objects on record as failed.
async fn failing(local: &Local, objects: u64) -> Running {
    local.run(&["jobsender"]).await.with_status(0);
    let worker = local.spawn(&["worker"]);
    let queue = queue(local).await;
    let dead = async || queue.depth().await.unwrap().dead == Some(objects);
    until("the dead letters", dead).await;
    worker
}

fn texts<'a>(list: &'a Value, name: &str) -> Vec<&'a str> {
    let mut texts: Vec<_> =
        list.as_array().unwrap().iter().map(|one| one[name].as_str().unwrap()).collect();
    texts.sort_unstable();
    texts
}

/// Promises 1, 10.
#[tokio::test]
async fn failures_of_a_run_are_told_by_reason_and_tried_again_by_the_next() {
    let local = Local::new().await;
    freeze(&local, &["frozen/a", "frozen/b\u{202e}"]).await;
    local.source.put("fine", vec![1]).await;
    let nowhere = local.run(&["failed"]).await.with_status(3);
    nowhere.says(&["no AWS credentials", "there is no s3_migration.sqlite of a run here either"]);
    assert!(local.files().is_empty(), "looking creates no file");
    local.migrate().await.with_status(1);

    let told = local.run(&["failed"]).await.with_status(0);
    for words in [
        "2 objects failed, 200 B",
        "archived-at-source: 2 objects, 200 B",
        "cure     the object is in an archive class: restore it (s3:RestoreObject)",
        "\nfrom-here/frozen/a: GetObject s3://from-here/frozen/a (source): InvalidObjectState",
        "\nfrom-here/frozen/b\\u{202e}: ",
        "s3-migration failed --redrive",
    ] {
        assert!(told.stdout.contains(words), "no {words:?} in {}", told.all());
    }
    let short = local.run(&["failed", "--summary"]).await.with_status(0).stdout;
    assert!(short.contains("archived-at-source") && !short.contains("\nfrom-here/"), "{short}");
    let found = failed(&local, &[]).await;
    assert_eq!((&found["failed"], &found["bytes"]), (&2.into(), &200.into()), "{found}");
    let reason = &found["reasons"][0];
    assert_eq!((&reason["reason"], &reason["objects"]), (&"archived-at-source".into(), &2.into()));
    assert!(reason["cure"].as_str().unwrap().contains("restore it"), "{reason}");
    assert_eq!(texts(&found["objects"], "src_key"), ["frozen/a", "frozen/b\u{202e}"]);
    assert_eq!(found["objects"][0]["des_bucket"], "to-there");

    thaw(&local, &["frozen/a", "frozen/b\u{202e}"]).await;
    let again = local.run(&["failed", "--redrive"]).await.with_status(0).stdout;
    assert!(again.contains("2 objects sent again") && again.contains("the same run"), "{again}");
    assert_eq!(failed(&local, &[]).await["redriven"], 2, "marked until they are tried");
    local.migrate().await.with_status(0);
    assert_eq!(failed(&local, &[]).await["failed"], 0);
    assert_eq!(local.destination.keys().await.len(), 3);
}

/// Promises 1, 10.
#[tokio::test]
async fn many_failures_of_one_cause_are_one_line_and_a_file_of_keys() {
    let mut local = Local::new().await;
    local.set("LoggingLevel", "INFO");
    let keys: Vec<String> = (0..30).map(|n| format!("frozen/{n:02}")).collect();
    freeze(&local, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    local.source.put("fine", vec![1]).await;
    let ended = local.run(&["run", ALL[0], ALL[1], "--failed-list", "keys.txt"]).await;
    let ended = ended.with_status(1);
    let log = |word: &str| ended.stderr.lines().filter(|line| line.contains(word)).count();
    assert_eq!(log("InvalidObjectState"), 2, "one went back, one failed: {}", ended.all());
    assert_eq!(log("failed: "), 2, "and the counts: {}", ended.all());
    for words in [
        "failed: 29 more objects, archived-at-source",
        "is tried again later: 29 more objects, archived",
    ] {
        assert!(ended.stderr.contains(words), "no {words:?} in {}", ended.all());
    }
    for words in [
        "archived-at-source: 30 objects\n      cure     the object is in an archive class",
        "      example  from-here/frozen/",
        "    and 10 more: s3-migration failed shows each",
    ] {
        assert!(ended.stdout.contains(words), "no {words:?} in {}", ended.all());
    }
    let list = std::fs::read_to_string(local.work().join("keys.txt")).unwrap();
    let mut listed: Vec<_> = list.lines().collect();
    listed.sort_unstable();
    assert_eq!(listed, keys);
    let json = local.run(&["run", ALL[0], ALL[1], "--json"]).await.with_status(1).json();
    assert_eq!((&json["failed_count"], &json["failed_left_out"]), (&30.into(), &10.into()));
    assert_eq!(json["failed"].as_array().unwrap().len(), 20);
    assert_eq!(json["differing"].as_array().unwrap().len(), 20);
    assert_eq!(json["differing_left_out"], 10, "{json}");
    let reasons = &json["failed_reasons"];
    assert_eq!(
        (&reasons[0]["reason"], &reasons[0]["objects"]),
        (&"archived-at-source".into(), &30.into())
    );

    thaw(&local, &keys[..5].iter().map(String::as_str).collect::<Vec<_>>()).await;
    let some = ["run", ALL[0], ALL[1], "--keys", "keys.txt", "--failed-list", "keys.txt", "--json"];
    let again = local.run(&some).await.with_status(1).json();
    assert_eq!((&again["copied"], &again["failed_count"]), (&5.into(), &25.into()), "{again}");
}

/// Promise 1.
#[tokio::test]
async fn what_is_chosen_is_sent_again_from_letters_and_records_alike() {
    let mut local = Local::new().await;
    local.embedded();
    let keys = ["a/1", "a/2", "b/1"];
    freeze(&local, &keys).await;
    let worker = failing(&local, 3).await;
    worker.signal("TERM");
    worker.ended().await.with_status(0);

    for (arguments, expected) in [
        (&["--prefix", "a/"][..], &["a/1", "a/2"][..]),
        (&["--prefix", "s3://from-here/b"], &["b/1"]),
        (&["--prefix", "s3://from-her/b"], &[]),
        (&["--reason", "archived"], &keys),
        (&["--reason", "archived-at-source"], &keys),
        (&["--reason", "archived-at-destination"], &[]),
        (&["--reason", "denied"], &[]),
    ] {
        let found = failed(&local, arguments).await;
        assert_eq!(texts(&found["objects"], "src_key"), expected, "{arguments:?}");
    }
    let wrong = local.run(&["failed", "--reason", "nonsense"]).await.with_status(2);
    assert!(wrong.stderr.contains("archived, "), "{}", wrong.all());

    let files = ["--export", "failed.jsonl", "--failed-list", "keys.txt", "--prefix", "a/"];
    failed(&local, &files).await;
    let read = |name: &str| std::fs::read_to_string(local.work().join(name)).unwrap();
    let listed = read("keys.txt");
    assert!(["a/1\na/2\n", "a/2\na/1\n"].contains(&listed.as_str()), "{listed}");
    let lines: Vec<Value> =
        read("failed.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["reason"], &lines[0]["on_record"]),
        (&"archived-at-source".into(), &true.into())
    );
    let keys_again = ["jobsender", "--dry-run", "--keys", "keys.txt", "--json"];
    let dry = local.run(&keys_again).await.with_status(0).json();
    assert_eq!(dry[0]["to_copy"], 2, "{dry}");

    // The letters of `a/` go back; those of `b/` are lost, and the record has not forgotten.
    let queue = queue(&local).await;
    let sent = failed(&local, &["--redrive", "--prefix", "a/"]).await;
    assert_eq!(
        (&sent["sent"], &sent["from_dead_letters"], &sent["marked"]),
        (&2.into(), &2.into(), &2.into())
    );
    let depth = queue.depth().await.unwrap();
    assert_eq!((depth.waiting, depth.dead), (2, Some(1)));
    for letter in queue.dead_letters(None, std::time::Duration::ZERO).await.unwrap() {
        queue.remove_letter(&letter).await.unwrap();
    }
    let rest = failed(&local, &["--redrive"]).await;
    assert_eq!(
        (&rest["sent"], &rest["from_records"], &rest["waiting"]),
        (&1.into(), &1.into(), &2.into())
    );
    let found = failed(&local, &[]).await;
    assert_eq!((&found["failed"], &found["redriven"]), (&3.into(), &3.into()), "{found}");
    let nothing = failed(&local, &["--redrive"]).await;
    assert_eq!((&nothing["sent"], &nothing["waiting"]), (&0.into(), &3.into()), "{nothing}");
    assert_eq!(failed(&local, &["--redrive", "--force", "--prefix", "b/"]).await["sent"], 1);

    // One fails again: it is a failure like any other, and is counted.
    thaw(&local, &["a/1", "b/1"]).await;
    let worker = local.spawn(&["worker"]);
    until("an empty queue", async || queue.is_empty().await.unwrap()).await;
    let found = failed(&local, &[]).await;
    assert_eq!((&found["failed"], &found["redriven"]), (&1.into(), &0.into()), "{found}");
    assert_eq!(
        (&found["objects"][0]["src_key"], &found["objects"][0]["redrives"]),
        (&"a/2".into(), &1.into())
    );
    assert_eq!(local.destination.keys().await, ["a/1", "b/1"]);

    // The worker is at work while they are sent again.
    thaw(&local, &["a/2"]).await;
    assert_eq!(failed(&local, &["--redrive"]).await["sent"], 1);
    until("the object", async || local.destination.keys().await.len() == 3).await;
    until("an empty queue", async || queue.is_empty().await.unwrap()).await;
    assert_eq!(failed(&local, &[]).await["failed"], 0);
    worker.signal("TERM");
    worker.ended().await.with_status(0);
}

/// Promise 1.
#[tokio::test]
async fn letters_that_are_no_failure_or_no_job_are_told_apart() {
    let mut local = Local::new().await;
    local.embedded();
    freeze(&local, &["frozen"]).await;
    let worker = failing(&local, 1).await;
    let queue = queue(&local).await;
    // Copied by another job since: the letter is of the past.
    thaw(&local, &["frozen"]).await;
    local.run(&["jobsender"]).await.with_status(0);
    until("the object", async || local.destination.keys().await == ["frozen"]).await;
    until("an empty queue", async || queue.is_empty().await.unwrap()).await;
    worker.signal("TERM");
    worker.ended().await.with_status(0);
    queue.send(&["no job".to_owned()]).await.unwrap();
    let hour = std::time::Duration::from_secs(3600);
    let message = queue.receive(1, hour, hour).await.unwrap().remove(0);
    queue.bury(&message, "no job", "not a job: not valid JSON at line 1 column 2").await.unwrap();

    let found = failed(&local, &[]).await;
    assert_eq!((&found["failed"], &found["outdated"]), (&1.into(), &1.into()), "{found}");
    assert_eq!(found["reasons"][0]["reason"], "not-a-job");
    let told = local.run(&["failed"]).await.with_status(0).stdout;
    assert!(told.contains("a message that names no object: not a job"), "{told}");
    let sent = failed(&local, &["--redrive"]).await;
    assert_eq!(
        (&sent["sent"], &sent["outdated"], &sent["not_a_job"]),
        (&0.into(), &1.into(), &1.into())
    );
    assert_eq!(queue.depth().await.unwrap().dead, Some(1));
    assert_eq!(failed(&local, &["--redrive", "--reason", "not-a-job"]).await["sent"], 1);
    assert_eq!(queue.depth().await.unwrap().dead, Some(0));
}
