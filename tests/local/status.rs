//! What `status` says next to a `run`, and what a `run` says of another one.

use std::sync::Arc;

use serde_json::{Value, json};
use testkit::gate::Hold;
use testkit::local::{ALL, Local, noise};
use testkit::process::{Running, until};

async fn filled(gate: &Arc<Hold>) -> Local {
    let local = Local::gated(Some(Arc::clone(gate))).await;
    for key in ["x/1", "x/2", "y/3"] {
        local.source.put(key, noise(10, 1)).await;
    }
    local
}

async fn runs(local: &Local) -> Vec<Value> {
    let status = local.run(&["status", "--json"]).await.with_status(0).json();
    status["runs"].as_array().cloned().unwrap_or_default()
}

/// Promise 0.
#[tokio::test]
async fn the_runs_of_a_folder_have_a_block_each_and_no_queue_is_asked() {
    let gate = Hold::new("PutObject", 1);
    let local = filled(&gate).await;
    let run = local.spawn(&["run", "s3://from-here/x/", "s3://to-there/one"]);
    gate.reached().await;
    until("two objects to copy, one copied", async || {
        let runs = runs(&local).await;
        let progress = runs.first().map(|run| run["progress"].clone()).unwrap_or_default();
        progress["phase"] == "copying" && progress["objects"] == 2 && progress["done"] == 1
    })
    .await;
    let status = local.run(&["status"]).await.with_status(0);
    for words in [
        "s3://from-here/x/ -> s3://to-there/one\n  copying, since ",
        &format!("(process {})", run.id()),
        "\n  to copy  2 objects, 20 B\n",
        "\n  copied   1 object, ",
        "\n  left     1 object, ",
    ] {
        assert!(status.stdout.contains(words), "no {words:?} in {}", status.all());
    }
    run.kill().await;
    gate.forget();
    let status = local.run(&["status"]).await.with_status(0);
    assert!(status.stdout.contains("\n  killed after "), "{}", status.all());
    assert!(!status.stdout.contains("  left "), "{}", status.all());

    local.run(&["run", "s3://from-here/x/", "s3://to-there/one"]).await.with_status(0);
    local.run(&["run", "s3://from-here/y/", "s3://to-there/two"]).await.with_status(0);
    let runs = runs(&local).await;
    // Both may have begun in the same second.
    let listed = |pair: &str| {
        let run = runs.iter().find(|run| run["pairs"][0][0] == pair).unwrap();
        (run["end"].clone(), run["progress"]["listed"].clone())
    };
    let complete = Value::from("complete");
    assert_eq!(listed("s3://from-here/x/"), (complete.clone(), 2.into()), "{runs:?}");
    assert_eq!(listed("s3://from-here/y/"), (complete, 1.into()), "{runs:?}");
    let status = local.run(&["status"]).await.with_status(0);
    assert_eq!(status.stdout.matches("\n  complete at ").count(), 2, "{}", status.all());
    assert!(!status.stdout.contains("messages"), "{}", status.all());
}

/// Promise 0.
#[tokio::test]
async fn each_pair_of_a_bucket_list_has_a_block_with_its_own_counts() {
    let gate = Hold::new("PutObject", 1);
    let mut local = filled(&gate).await;
    let pair = |prefix: &str, to: &str| json!({"src_bucket": "from-here", "src_prefix": prefix, "des_bucket": "to-there", "des_prefix": to});
    local.write("pairs.json", &json!([pair("x/", "one"), pair("y/", "two")]).to_string());
    local.set("bucket_para_file", "pairs.json");
    local.set("ssm_parameter_ignore_list", "");
    let run = local.spawn(&["run"]);
    gate.reached().await;
    let numbers = |run: &Value| {
        let pairs = run["by_pair"].as_array().cloned().unwrap_or_default();
        let number = |pair: &Value, name: &str| pair[name].as_u64().unwrap();
        let names = ["listed", "to_copy", "to_copy_bytes", "copied", "copied_bytes", "failed"];
        pairs.iter().map(|pair| names.map(|name| number(pair, name))).collect::<Vec<_>>()
    };
    until("everything is listed, and one object is copied", async || {
        let runs = runs(&local).await;
        let pairs = runs.first().map(numbers).unwrap_or_default();
        let sum = |at: usize| pairs.iter().map(|pair| pair[at]).sum::<u64>();
        (sum(0), sum(3)) == (3, 1)
    })
    .await;
    let status = local.run(&["status"]).await.with_status(0);
    for words in [
        "s3://from-here/x/ -> s3://to-there/one\n",
        "\n  to copy  2 objects, 20 B",
        "\n\ns3://from-here/y/ -> s3://to-there/two\n",
        "\n  to copy  1 object, 10 B",
        "\n\nall 2 pairs\n  rate ",
        "\n  left     2 objects",
    ] {
        assert!(status.stdout.contains(words), "no {words:?} in {}", status.all());
    }
    gate.open();
    run.ended().await.with_status(0);
    let runs = runs(&local).await;
    assert_eq!(numbers(&runs[0]), [[2, 2, 20, 2, 20, 0], [1, 1, 10, 1, 10, 0]], "{runs:?}");
    let addresses = json!([
        ["s3://from-here/x/", "s3://to-there/one"],
        ["s3://from-here/y/", "s3://to-there/two"]
    ]);
    assert_eq!(runs[0]["pairs"], addresses, "{runs:?}");
}

/// Promise 0.
#[tokio::test]
async fn the_closing_comparison_is_a_phase_with_its_own_counts() {
    // A page to see that it answers, and a comparison with a request after its end.
    let gate = Hold::new("ListObjectsV2", 3);
    let local = filled(&gate).await;
    let run = local.spawn(&["run", ALL[0], ALL[1]]);
    gate.reached().await;
    until("the closing phase", async || {
        let runs = runs(&local).await;
        runs.first().is_some_and(|run| run["progress"]["phase"] == "closing")
    })
    .await;
    let status = local.run(&["status"]).await.with_status(0);
    let words =
        ["closing comparison, since ", "closing  0 objects looked at", "3 objects to look at"];
    for words in words {
        assert!(status.stdout.contains(words), "no {words:?} in {}", status.all());
    }
    gate.open();
    let ended = run.ended().await.with_status(0);
    assert!(ended.stderr.contains("closing comparison: 3 of 3 objects"), "{}", ended.all());
    assert!(!ended.stderr.contains("stopping"), "nobody asked for it: {}", ended.all());
}

/// The same pair, from another folder.
fn elsewhere(local: &Local) -> Running {
    let folder = local.work().join("elsewhere");
    std::fs::create_dir_all(&folder).unwrap();
    let mut command = local.command(&["run", ALL[0], ALL[1]]);
    command.current_dir(folder);
    Running::start(command)
}

/// Promise 8.
#[tokio::test]
async fn the_same_pair_from_another_folder_is_said() {
    let gate = Hold::new("PutObject", 1);
    let local = filled(&gate).await;
    let first = local.spawn(&["run", ALL[0], ALL[1]]);
    gate.reached().await;
    let refused = elsewhere(&local).ended().await.with_status(2);
    let file = local.work().join("s3_migration.sqlite").display().to_string();
    refused.says(&["already running in another process", &first.id().to_string(), &file]);
    first.kill().await;
    gate.forget();
    let warned = elsewhere(&local).ended().await.with_status(0);
    let words = format!("was begun with {file} and is not finished there");
    assert!(warned.stderr.contains(&words), "{}", warned.all());
    let here = local.migrate().await.with_status(0);
    assert!(!here.stderr.contains("is not finished there"), "{}", here.all());
}
