//! Keys from elsewhere than a listing: files, manifests, inventories, stores that list in any order.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use testkit::local::{ALL, Local, noise};

async fn filled() -> Local {
    let mut local = Local::new().await;
    local.embedded();
    for (n, key) in ["a", "b c+d", "e/f", "g\u{fc}"].into_iter().enumerate() {
        local.source.put(key, noise(10, n as u64)).await;
    }
    local.destination.put("a", noise(10, 0)).await;
    local
}

async fn found(local: &Local, arguments: &[&str], status: i32) -> Value {
    let all = [&["jobsender", "--json"][..], arguments].concat();
    local.run(&all).await.with_status(status).json()[0].clone()
}

/// Promise 1.
#[tokio::test]
async fn a_file_of_keys_is_looked_at_key_by_key() {
    let local = filled().await;
    local.write("keys.txt", "a\nb c+d\r\n\nnot there\n");
    let found = found(&local, &["--keys", "keys.txt"], 1).await;
    for (name, count) in [("listed", 3), ("already_there", 1), ("sent", 1), ("gone", 1)] {
        assert_eq!(found[name], count, "{name} of {found}");
    }
    let lists = [&local.source, &local.destination].map(|place| place.requests("ListObjectsV2"));
    assert_eq!(lists, [0, 0], "nothing is listed");
    local
        .run(&["jobsender", "--keys", "/dev/null"])
        .await
        .with_status(2)
        .says(&["not a regular file"]);
    local.write("keys.txt", &format!("a\n{}", "k".repeat(1025)));
    let wrong = local.run(&["jobsender", "--keys", "keys.txt"]).await.with_status(2);
    wrong.says(&["keys.txt:2:", "longer than 1024 bytes"]);
}

/// Promise 1.
#[tokio::test]
async fn a_manifest_names_objects_and_nothing_is_sent_if_a_line_is_wrong() {
    let local = filled().await;
    local.write("manifest.csv", "from-here,b+c%2Bd\nfrom-here,g%C3%BC\n");
    let sent = found(&local, &["--manifest", "manifest.csv"], 0).await;
    assert_eq!((&sent["listed"], &sent["sent"]), (&2.into(), &2.into()), "{sent}");
    local.write("manifest.csv", "from-here,a\nelsewhere,b\n");
    let wrong = local.run(&["jobsender", "--manifest", "manifest.csv"]).await.with_status(2);
    wrong.says(&["manifest.csv, line 2", "elsewhere/b", "no pair"]);
}

/// A local inventory of these keys and sizes.
fn inventory(local: &Local, name: &str, bucket: &str, rows: &[(&str, u64)]) -> String {
    let folder = local.work().join(name);
    std::fs::create_dir(&folder).unwrap();
    let mut csv = GzEncoder::new(Vec::new(), Compression::fast());
    for (key, size) in rows {
        writeln!(csv, "\"{bucket}\",\"{key}\",\"{size}\"").unwrap();
    }
    let data = csv.finish().unwrap();
    let md5 = hex::encode(<md5::Md5 as md5::Digest>::digest(&data));
    std::fs::write(folder.join("part.csv.gz"), &data).unwrap();
    let manifest = json!({
        "sourceBucket": bucket, "destinationBucket": "arn:aws:s3:::inventories",
        "version": "2016-11-30", "creationTimestamp": "1767225600000",
        "fileFormat": "CSV", "fileSchema": "Bucket, Key, Size",
        "files": [{"key": "data/part.csv.gz", "size": data.len(), "MD5checksum": md5}],
    });
    std::fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
    format!("{name}/manifest.json")
}

/// Promise 1.
#[tokio::test]
async fn with_inventories_of_both_sides_nothing_is_listed() {
    let local = filled().await;
    // Not in order, as Amazon writes them.
    let rows = [("g%C3%BC", 10), ("a", 10), ("e/f", 10), ("b+c%2Bd", 10)];
    let source = inventory(&local, "source", "from-here", &rows);
    let destination = inventory(&local, "destination", "to-there", &[("only", 1), ("a", 10)]);
    let arguments = ["--inventory", &source, "--destination-inventory", &destination];
    let both = found(&local, &arguments, 0).await;
    for (name, count) in
        [("listed", 4), ("already_there", 1), ("sent", 3), ("only_at_destination", 1)]
    {
        assert_eq!(both[name], count, "{name} of {both}");
    }
    let lists = [&local.source, &local.destination].map(|place| place.requests("ListObjectsV2"));
    assert_eq!(lists, [0, 0], "nothing is listed");
    let ended = local.run(&["jobsender", "--force", "--inventory", &source]).await.with_status(0);
    assert!(ended.stderr.contains("old: what has changed since is not in it"), "{}", ended.all());
    std::fs::write(local.work().join("source/part.csv.gz"), b"damaged").unwrap();
    let damaged = local.run(&["jobsender", "--inventory", &source]).await;
    assert_eq!(damaged.status, Some(3), "{}", damaged.all());
}

/// Promise 1.
#[tokio::test]
async fn a_store_of_any_order_is_sorted_first() {
    let mut local = filled().await;
    local.set("Source_ListOrder", "any");
    local.set("Destination_ListOrder", "any");
    let ended = local.run(&["run", ALL[0], ALL[1], "--json"]).await.with_status(0);
    let report = ended.json();
    assert_eq!(
        (&report["compared"]["listed"], &report["copied"]),
        (&4.into(), &3.into()),
        "{report}"
    );
}

/// Promise 1.
#[tokio::test]
async fn a_run_from_an_inventory_of_the_destination_closes_with_a_listing() {
    let local = filled().await;
    let destination = inventory(&local, "destination", "to-there", &[("a", 10)]);
    let arguments = ["run", ALL[0], ALL[1], "--json", "--destination-inventory", &destination];
    let report = local.run(&arguments).await.with_status(0).json();
    let counts = (&report["copied"], &report["closing"]["already_there"]);
    assert_eq!(counts, (&3.into(), &4.into()), "{report}");
}
