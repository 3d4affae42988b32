//! An inventory that is damaged, incomplete or unfit is an error, never a shorter listing.

use std::fs;

use s3_migration::error::ErrorKind;
use serde_json::json;

use super::make::*;

/// Two data files, so that what is wrong with one is not the end of all.
fn made(format: Format) -> Made {
    let file = |name: &str| (0..3000).map(|n| object(format!("{name}/{n}"), n)).collect();
    Made::new(format, CURRENT, &[file("a"), file("b")])
}

async fn refused(made: &Made, kind: ErrorKind, expected: &str) {
    let error = made.rows("").await.unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
    assert_eq!(error.kind(), kind, "{error}");
}

/// Promise 1.
#[tokio::test]
async fn a_data_file_that_is_not_the_manifests_is_refused_before_it_is_read() {
    for format in FORMATS {
        let made = made(format);
        let mut content = fs::read(&made.files[1]).unwrap();
        let whole = content.clone();
        content[20] ^= 1;
        fs::write(&made.files[1], &content).unwrap();
        refused(&made, ErrorKind::Invalid, "the inventory file is damaged: its MD5 is ").await;
        fs::write(&made.files[1], &whole[..whole.len() - 1]).unwrap();
        refused(&made, ErrorKind::Invalid, " bytes, but the manifest says ").await;
        fs::remove_file(&made.files[1]).unwrap();
        refused(&made, ErrorKind::NotFound, "data/0000-1.").await;
    }
}

/// Promise 1.
/// What an MD5 over damaged content does not show.
#[tokio::test]
async fn a_data_file_that_breaks_off_is_never_shorter() {
    for format in FORMATS {
        let made = made(format);
        let whole = fs::read(&made.files[1]).unwrap();
        for cut in [0, 1, 10, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
            made.replace(1, &whole[..cut]);
            // An empty file is no gzip and no Parquet.
            refused(&made, ErrorKind::Invalid, "inventory file inventories/source-bucket").await;
        }
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 0x55;
        made.replace(1, &damaged);
        match format {
            Format::Csv => refused(&made, ErrorKind::Invalid, "inventory file ").await,
            // Parquet has no checksum of its own: it may be read, but then as a whole.
            Format::Parquet => {
                if let Ok(rows) = made.rows("").await {
                    assert_eq!(rows.len(), 6000);
                }
            }
        }
    }
}

/// Promise 1.
#[tokio::test]
async fn a_manifest_that_is_not_its_checksums_is_refused() {
    let made = made(Format::Csv);
    let text = fs::read_to_string(&made.manifest).unwrap();
    fs::write(&made.manifest, text + " ").unwrap();
    refused(&made, ErrorKind::Invalid, "is damaged: its MD5 is not the one in manifest.checksum")
        .await;
}

/// Promise 1.
#[tokio::test]
async fn what_is_no_manifest_is_named() {
    let made = made(Format::Csv);
    made.edit(|manifest| *manifest = json!({"files": []}));
    refused(&made, ErrorKind::Invalid, "not the manifest.json of an S3 Inventory").await;
    fs::remove_file(&made.manifest).unwrap();
    refused(&made, ErrorKind::Usage, "manifest.json cannot be read: ").await;
}

/// Promise 1.
#[tokio::test]
async fn an_unfit_inventory_says_what_to_change() {
    let made = made(Format::Csv);
    let whole = fs::read(&made.manifest).unwrap();
    let edits: [(&str, serde_json::Value, ErrorKind, &str); 8] = [
        ("fileFormat", json!("ORC"), ErrorKind::Usage, "set its output format to CSV or Parquet"),
        ("fileFormat", json!("XLS"), ErrorKind::Usage, "fileFormat is \"XLS\"; CSV and Parquet"),
        ("version", json!("2030-01-01"), ErrorKind::Usage, "version is \"2030-01-01\""),
        ("creationTimestamp", json!("soon"), ErrorKind::Invalid, "creationTimestamp"),
        ("fileSchema", json!("Bucket, Key"), ErrorKind::Usage, "add the optional field Size"),
        ("fileSchema", json!("Bucket, Size"), ErrorKind::Usage, "has no column Key"),
        ("fileSchema", json!("Bucket, Key, Size, VersionId"), ErrorKind::Usage, "no IsLatest"),
        ("files", json!([{"key": "k", "size": 1, "MD5checksum": ""}]), ErrorKind::Invalid, "MD5"),
    ];
    for (field, value, kind, expected) in edits {
        fs::write(&made.manifest, &whole).unwrap();
        made.edit(|manifest| manifest[field] = value);
        refused(&made, kind, expected).await;
    }
    let parquet = Made::new(Format::Parquet, &["Bucket", "Key"], &[vec![object("k", 1)]]);
    refused(&parquet, ErrorKind::Usage, "add the optional field Size").await;
}

/// Promise 1.
#[tokio::test]
async fn a_manifest_leads_to_no_file_outside() {
    let made = made(Format::Csv);
    for key in ["../../etc/0000-0.csv.gz", "/0000-0.csv.gz", "a/.."] {
        made.edit(|manifest| manifest["files"][0]["key"] = json!(key));
        refused(&made, ErrorKind::Invalid, "names a file ").await;
    }
}

/// Promise 1.
#[tokio::test]
async fn rows_that_contradict_the_manifest_are_refused_with_their_place() {
    let made = made(Format::Csv);
    let cells = |bucket: &str, key: &str, size: &str, date: &str| {
        format!("\"{bucket}\",\"{key}\",\"{size}\",\"{date}\",\"e\",\"STANDARD\",\"SSE-S3\"\n")
    };
    let date = "2025-11-24T00:00:00.000Z";
    let good = cells(BUCKET, "k", "1", date);
    for (bad, expected) in [
        (cells("other", "k", "1", date), "line 2: k: of bucket \"other\", the manifest says"),
        (cells(BUCKET, "a%2", "1", date), "line 2: the key is not URL-encoded"),
        (cells(BUCKET, "", "1", date), "line 2: the key is empty"),
        (cells(BUCKET, "l", "", date), "line 2: l: Size is empty"),
        (cells(BUCKET, "l", "-1", date), "line 2: Size is \"-1\""),
        (cells(BUCKET, "l", "1", "soon"), "line 2: LastModifiedDate is \"soon\""),
        ("\"source-bucket\",\"l\"\n".to_owned(), "line 2: 2 fields, but fileSchema names 7"),
        (cells(BUCKET, "k", "2", date), "the key k is listed twice"),
    ] {
        made.replace(1, &gzip((good.clone() + &bad).as_bytes()));
        refused(&made, ErrorKind::Invalid, expected).await;
    }
    made.replace(1, &gzip(good.as_bytes()));
    assert_eq!(made.rows("").await.unwrap().len(), 3001);
}

/// Promises 0, 1.
#[tokio::test]
async fn a_key_that_is_no_utf8_is_kept_apart_and_ends_nothing() {
    let made = made(Format::Csv);
    let row = |key: &str| {
        let date = "2025-11-24T00:00:00.000Z";
        format!("\"{BUCKET}\",\"{key}\",\"7\",\"{date}\",\"e\",\"STANDARD\",\"SSE-S3\"\n")
    };
    made.replace(1, &gzip((row("caf%E9") + &row("k")).as_bytes()));
    let inventory = open(&made.manifest).await.unwrap();
    let mut sorted = inventory.sorted(BUCKET, "").await.unwrap();
    let [odd] = &sorted.take_odd()[..] else { panic!("one") };
    assert_eq!((odd.key.as_slice(), odd.size), (&b"caf\xe9"[..], Some(7)));
    assert!(collect(sorted).await.unwrap().iter().any(|row| row.key.as_str() == "k"));
}

/// Promise 1.
#[tokio::test]
async fn a_version_that_may_or_may_not_be_current_is_refused() {
    for format in FORMATS {
        let unknown = Object { latest: None, ..object("k", 1) };
        let made = Made::new(format, VERSIONS, &[vec![unknown]]);
        refused(&made, ErrorKind::Invalid, "k: IsLatest is empty").await;
    }
}
