//! `report` on the table: what it says of copies and failures, and what it costs to read them.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::ledger::Ledger;
use testkit::stage::{MIB, Stage, noise, ran};

/// The lines of a report, by key.
fn lines(folder: &Path) -> BTreeMap<String, Value> {
    let mut text = String::new();
    let file = std::fs::File::open(folder.join("objects-00001.jsonl.gz")).expect("the lines");
    GzDecoder::new(file).read_to_string(&mut text).expect("a gzip file");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.map(|line| (line["key"].as_str().expect("a key").to_owned(), line)).collect()
}

/// Promise 0.
#[tokio::test]
async fn the_closing_comparison_writes_a_report_and_reads_each_record_once() {
    let stage = Stage::put(5).await;
    for n in 0..30 {
        stage.put_source(&format!("small/{n:02}"), &noise(100, n)).await;
    }
    stage.put_source("large", &noise(11 * MIB, 99)).await;
    let out = tempfile::tempdir().expect("a folder");
    let to = out.path().join("reports").display().to_string();

    let sent = stage.run(&["jobsender", "--report", &to]).await;
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert!(sent.stderr.contains("no report is written yet"), "{sent:?}");
    let mut worker = stage.worker(&[]);
    stage.until_done(31).await;
    // It fails for good: there is no such object.
    let gone = json!({"Src_bucket": stage.source, "Src_key": "gone", "Des_bucket": stage.destination,
                      "Des_key": "moved/gone", "Size": 5, "versionId": "null"});
    stage.send(&gone.to_string()).await;
    stage.dead_letter().await;
    worker.terminate().await;
    assert_eq!(worker.ended().await.code(), Some(0), "{}", worker.log());

    let ledger = Ledger::before(stage.server.address()).await;
    let mut closing = stage.program(&["jobsender", "--report", &to]);
    closing.env("AWS_ENDPOINT_URL", ledger.url());
    let closing = ran(closing).await;
    assert_eq!(closing.code, Some(0), "{closing:?}");
    assert!(closing.stdout.contains("report: "), "{closing:?}");
    let counts = ledger.counts();
    // A page of the index has a mebibyte, these records are a few dozen kibibytes.
    assert_eq!((counts.get("Query"), counts.get("Scan")), (Some(&1), None), "{counts:?}");

    let folder = std::fs::read_dir(&to).expect("reports").next().expect("one").expect("it").path();
    let lines = lines(&folder);
    assert_eq!(lines.len(), 32);
    assert_eq!(lines["large"]["outcome"], "copied");
    assert_eq!(lines["gone"]["outcome"], "failed", "{}", lines["gone"]);
    let page = std::fs::read_to_string(folder.join("report.html")).expect("a page");
    let all = "closing comparison: all 31 objects are at the destination";
    let failed = ["31 of 32 objects are done, 1 failed", "gone-at-source", "/gone</code>"];
    for words in [all].into_iter().chain(failed) {
        assert!(page.contains(words), "{words}: {page}");
    }
    let checked = stage.run(&["report", "--check", &to]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");

    // All records of the table, whatever the bucket list says.
    let later = out.path().join("later").display().to_string();
    let found = stage.run(&["report", "--output", &later, "--json"]).await;
    assert_eq!(found.code, Some(0), "{found:?}");
    let found: Value = serde_json::from_str(&found.stdout).expect("JSON");
    let counts = ["lines", "copied", "failed"].map(|name| found[name].as_u64());
    assert_eq!(counts, [Some(32), Some(31), Some(1)], "{found}");
    let folder = found["report"].as_str().expect("a folder");
    let page = std::fs::read_to_string(Path::new(folder).join("report.html")).expect("a page");
    assert!(page.contains("listed 31 objects: 31 were at the destination"), "{page}");
}
