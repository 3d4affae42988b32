//! `report`: a line for every object, a page for people, and a certificate that shows what was altered.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use minisign::{KeyPair, SignatureBox};
use serde_json::{Value, json};

use testkit::local::{ALL, BUCKETS, Local, MIB, files, noise};

/// A migration of a few objects of all kinds, with a report in the folder `out`.
async fn migrated() -> (Local, PathBuf) {
    let mut local = Local::new().await;
    local.set("LoggingLevel", "INFO");
    for n in 0..5 {
        local.source.put(&format!("small/{n}"), noise(100, n)).await;
    }
    local.source.put("odd \n\"<b>,\u{fc}", noise(10, 7)).await;
    local.source.put("empty", Vec::new()).await;
    local.source.put("large", noise(11 * MIB, 9)).await;
    let ended = local.run(&["run", ALL[0], ALL[1], "--report", "out", "--json"]).await;
    let found = ended.with_status(0).json();
    let folder = local.work().join(found["report"]["report"].as_str().unwrap());
    assert_eq!(folder.parent(), Some(local.work().join("out").as_path()));
    assert_eq!(found["report"]["lines"], 8, "{found}");
    (local, folder)
}

fn text_of(path: &Path) -> String {
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text
}

/// The lines of a report, by key.
fn lines(folder: &Path) -> BTreeMap<String, Value> {
    let text = text_of(&folder.join("objects-00001.jsonl.gz"));
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| (line["key"].as_str().unwrap().to_owned(), line)).collect()
}

fn page(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("report.html")).unwrap()
}

/// Promise 0.
#[tokio::test]
async fn a_run_writes_a_line_for_every_object_a_page_and_a_certificate() {
    let (local, folder) = migrated().await;
    let written = ["certificate.json", "objects-00001.jsonl.gz", "report.html"];
    assert_eq!(files(&folder), written);
    let lines = lines(&folder);
    let mut keys = local.source.keys().await;
    keys.sort();
    assert_eq!(lines.keys().cloned().collect::<Vec<_>>(), keys);
    for (key, line) in &lines {
        let [source, destination] = [&local.source, &local.destination];
        assert_eq!(line["source_etag"], source.etag(key).await, "{line}");
        assert_eq!(line["destination_etag"], destination.etag(key).await, "{line}");
        let told = ["outcome", "reason", "attempts", "destination_bucket", "destination_key"];
        let expected = json!(["copied", null, 1, BUCKETS[1], key]);
        assert_eq!(Value::from_iter(told.map(|name| line[name].clone())), expected, "{line}");
        let size = local.source.get(key).await.len();
        assert_eq!((&line["proof"], &line["size"]), (&json!("source"), &json!(size)), "{line}");
        // In parts, the destination's ETag is no MD5 of the whole.
        assert_eq!(line["checksum"].is_null(), key == "large", "{line}");
        assert!(line["worker"].as_str().is_some_and(|worker| worker.contains('-')), "{line}");
        assert!(line["started"].as_str() <= line["ended"].as_str(), "{line}");
    }
    let page = page(&folder);
    for words in [
        "All 8 objects on record are done",
        "closing comparison: all 8 objects are at the destination",
        "that the source keeps of the object, and the destination has checked",
        "<dt>Source bucket</dt><dd>from-here</dd>",
        "<dt>Destination bucket</dt><dd>to-there</dd>",
        "s3://from-here/ -&gt; s3://to-there/",
        "no prices are known for these stores",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    for outside in ["http:", "https:", "src=", "href=", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let again = local.run(&["run", ALL[0], ALL[1]]).await.with_status(0);
    assert!(!again.stdout.contains("report"), "none is asked for: {}", again.all());
}

/// Promise 0.
#[tokio::test]
async fn a_report_that_was_altered_in_one_byte_is_refused() {
    let (local, folder) = migrated().await;
    let text = folder.display().to_string();
    let intact = local.run(&["report", "--check", &text, "--json"]).await.with_status(0).json();
    let report = &intact[0];
    assert_eq!((&report["intact"], &report["lines"]), (&json!(true), &json!(8)), "{intact}");
    let root = report["root"].as_str().unwrap();
    assert!(page(&folder).contains(root), "the page has the root");

    for name in files(&folder) {
        let path = folder.join(&name);
        let original = std::fs::read(&path).unwrap();
        // Also one that a gzip reader ignores: the sixth byte is of the file's time.
        for at in [0, 5, original.len() / 2, original.len() - 1] {
            let mut altered = original.clone();
            altered[at] ^= 1;
            std::fs::write(&path, altered).unwrap();
            let ended = local.run(&["report", "--check", &text]).await.with_status(1);
            assert!(ended.stdout.starts_with("ALTERED: "), "{}", ended.all());
            assert!(ended.stdout.contains(&name), "byte {at} of {name}: {}", ended.all());
        }
        std::fs::write(&path, &original[..original.len() - 1]).unwrap();
        local.run(&["report", "--check", &text]).await.with_status(1);
        std::fs::write(&path, [&original[..], b"\n"].concat()).unwrap();
        local.run(&["report", "--check", &text]).await.with_status(1);
        std::fs::write(&path, &original).unwrap();
    }
    local.run(&["report", "--check", &text]).await.with_status(0);

    let objects = folder.join("objects-00001.jsonl.gz");
    let original = std::fs::read(&objects).unwrap();
    std::fs::write(folder.join("objects-00002.jsonl.gz"), &original).unwrap();
    let ended = local.run(&["report", "--check", &text]).await.with_status(1);
    assert!(ended.stdout.contains("objects-00002.jsonl.gz was added"), "{}", ended.all());
    std::fs::remove_file(folder.join("objects-00002.jsonl.gz")).unwrap();
    std::fs::remove_file(&objects).unwrap();
    let ended = local.run(&["report", "--check", &text]).await.with_status(1);
    assert!(ended.stdout.contains("objects-00001.jsonl.gz is missing"), "{}", ended.all());

    // One file of it, and all reports in a folder.
    let html = folder.join("report.html").display().to_string();
    let one = local.run(&["report", "--check", &html]).await.with_status(0);
    assert!(one.stdout.contains("in 1 files"), "{}", one.all());
    local.run(&["report", "--check", "out"]).await.with_status(1);
    let none = local.run(&["report", "--check", "."]).await.with_status(2);
    none.says(&["certificate.json", "never completed"]);
}

/// Promise 0.
#[tokio::test]
async fn what_run_has_recorded_is_reported_later_without_an_ini() {
    let (local, folder) = migrated().await;
    let args = ["report", "--output", "later", "--format", "csv", "--json"];
    let found = local.run(&args).await.with_status(0).json();
    let later = local.work().join(found["report"].as_str().unwrap());
    let text = text_of(&later.join("objects-00001.csv.gz"));
    let mut table = csv::Reader::from_reader(text.as_bytes());
    let names = table.headers().unwrap().clone();
    let key = names.iter().position(|name| name == "key").unwrap();
    let mut keys: Vec<String> = table.records().map(|row| row.unwrap()[key].to_owned()).collect();
    keys.sort();
    let expected = lines(&folder).into_keys().map(|key| key.replace('\n', "%0A"));
    assert_eq!(keys, expected.collect::<Vec<_>>());
    local.run(&["report", "--check", "later"]).await.with_status(0);

    let small = ["s3://from-here/small/", ALL[1], "--output", "part", "--json"];
    let args = [&["report"][..], &small].concat();
    let found = local.run(&args).await.with_status(0).json();
    assert_eq!((&found["lines"], &found["copied_bytes"]), (&json!(5), &json!(500)), "{found}");
    let args = ["report", "--output", "none", "--since", "2999-01-01", "--json"];
    let found = local.run(&args).await.with_status(0).json();
    assert_eq!((&found["lines"], &found["files"]), (&json!(0), &json!(2)), "{found}");
    let none = local.work().join(found["report"].as_str().unwrap());
    assert!(page(&none).contains("No object is on record"));
    local.run(&["report", "--check", "none"]).await.with_status(0);
}

/// Promise 0.
#[tokio::test]
async fn a_report_in_a_bucket_is_checked_there() {
    let local = Local::new().await;
    local.source.put("k", noise(100, 1)).await;
    let to = "s3://to-there/reports/";
    let ended = local.run(&["run", ALL[0], ALL[1], "--report", to, "--json"]).await;
    let found = ended.with_status(0).json();
    let place = found["report"]["report"].as_str().unwrap();
    assert!(place.starts_with("s3://to-there/reports/2"), "{found}");
    let checked = local.run(&["report", "--check", place, "--json"]).await.with_status(0).json();
    assert_eq!(checked[0]["root"], found["report"]["root"], "{checked}");
    let key = format!("{}/report.html", place.strip_prefix("s3://to-there/").unwrap());
    let mut page = local.destination.get(&key).await;
    page[100] ^= 1;
    local.destination.put(&key, page).await;
    let ended = local.run(&["report", "--check", place]).await.with_status(1);
    assert!(ended.stdout.contains("report.html was altered"), "{}", ended.all());
    let one = format!("{place}/objects-00001.jsonl.gz");
    local.run(&["report", "--check", &one]).await.with_status(0);
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_refused_before_anything_is_copied() {
    let mut local = Local::new().await;
    local.source.put("k", noise(100, 1)).await;
    local.write("file", "");
    let ended = local.run(&["run", ALL[0], ALL[1], "--report", "file/x"]).await.with_status(2);
    ended.says(&["file/x cannot be written"]);
    let to = "s3://there-is-none/x";
    let ended = local.run(&["run", ALL[0], ALL[1], "--report", to]).await.with_status(3);
    ended.says(&["there-is-none"]);
    assert_eq!(local.destination.requests("PutObject"), 0);
    let ended = local.run(&["report", "--output", "x"]).await;
    assert_ne!(ended.status, Some(0), "nothing is on record: {}", ended.all());
    local.set("Backend_State", "embedded");
    let ended = local.run(&["report", "--output", "x"]).await.with_status(2);
    ended.says(&["there is no s3_migration.sqlite"]);
    local.run(&["report"]).await.with_status(2);
}

/// Promise 0.
#[tokio::test]
async fn a_worker_and_the_closing_comparison_write_a_report_by_the_ini() {
    let mut local = Local::new().await;
    local.embedded();
    local.set("ReportTo", "reports");
    for n in 0..3 {
        local.source.put(&format!("k{n}"), noise(100, n)).await;
    }
    let first = local.run(&["jobsender"]).await.with_status(0);
    assert!(first.stderr.contains("no report is written yet"), "{}", first.all());
    let mut worker = local.spawn(&["worker"]);
    worker.logs("--->Complete").await;
    let gone = async || local.run(&["status", "--json"]).await.json()["done"] == 3;
    testkit::process::until("three objects are done", gone).await;
    worker.signal("TERM");
    worker.ended().await.with_status(0);
    let closing = local.run(&["jobsender"]).await.with_status(0);
    assert!(closing.stdout.contains("report: reports/2"), "{}", closing.all());
    let reports = || files(&local.work().join("reports"));
    let [report] = &reports()[..] else { panic!("{:?}", reports()) };
    let folder = local.work().join("reports").join(report);
    assert_eq!(lines(&folder).len(), 3);
    assert!(page(&folder).contains("closing comparison: all 3 objects are at the destination"));
    local.run(&["report", "--check", "reports"]).await.with_status(0);
    // The next comparison finds nothing new, and writes no second one unless it is asked to.
    local.run(&["jobsender"]).await.with_status(0);
    assert_eq!(reports().len(), 1);
    local.run(&["jobsender", "--report", "reports", "--json"]).await.with_status(0);
    assert_eq!(reports().len(), 2);
}

/// Promise 0.
#[tokio::test]
async fn a_report_is_signed_and_only_that_signature_is_accepted() {
    let (local, _) = migrated().await;
    let pairs = [0, 1].map(|_| KeyPair::generate_unencrypted_keypair().unwrap());
    let [key, other] = pairs.each_ref().map(|pair| pair.pk.to_base64());
    local.write("report.key", &pairs[0].sk.to_box(None).unwrap().to_string());
    local.write("report.pub", &pairs[0].pk.to_box().unwrap().to_string());
    let sign = ["report", "--output", "signed", "--sign", "report.key", "--json"];
    let written = local.run(&sign).await.with_status(0).json();
    assert_eq!(written["signature"], "certificate.json.minisig", "{written}");
    let folder = local.work().join(written["report"].as_str().unwrap());
    for key in [key.as_str(), "report.pub"] {
        let check = ["report", "--check", "signed", "--public-key", key, "--json"];
        let checked = local.run(&check).await.with_status(0).json();
        let signed = checked[0]["signed"].as_str().unwrap();
        assert!(signed.contains(written["seal"].as_str().unwrap()), "{checked}");
    }
    let refused = async |folder: &str, key: &str, why: &str| {
        let check = ["report", "--check", folder, "--public-key", key];
        let ended = local.run(&check).await.with_status(1);
        assert!(ended.stdout.contains(why), "{}", ended.all());
    };
    refused("signed", &other, "certificate.json.minisig is no valid signature").await;
    refused("out", &key, "certificate.json.minisig is missing: nobody has signed it").await;
    // What minisign itself says of it.
    let certificate = std::fs::read(folder.join("certificate.json")).unwrap();
    let signature = SignatureBox::from_file(folder.join("certificate.json.minisig")).unwrap();
    let certificate = std::io::Cursor::new(certificate);
    minisign::verify(&pairs[0].pk, &signature, certificate, true, false, false).unwrap();

    local.write("report.key", "nothing");
    let ended = local.run(&sign).await.with_status(2);
    ended.says(&["report.key is no secret key of minisign that can be used"]);
}
