//! Which objects an inventory gives, and how.

use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use s3_migration::error::ErrorKind;

use super::make::*;

/// Keys that a wrong decoder, a wrong order or a path would change.
fn odd_keys() -> Vec<String> {
    let keys = [
        "a+b",
        "a b",
        "a%2Fb",
        "%2F",
        "%",
        "a//b",
        "../x",
        "./y",
        "/leading",
        "trailing/",
        " ",
        "ü",
        "文件",
        "line\nbreak",
        "cr\r",
        "quote\"d",
        "it's",
        "comma,separated",
        "\u{1}\u{7f}",
        "emoji/😀",
        "\u{fffd}",
        "\u{e000}",
        "nul\0",
        "A",
        "a",
        "~",
        "a&b=c;d?e#f",
        "\"",
        ",",
    ];
    let mut keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    keys.push("k".repeat(1024));
    keys
}

/// Promise 1.
#[tokio::test]
async fn odd_keys_arrive_as_they_are_and_in_byte_order() {
    for format in FORMATS {
        let objects: Vec<Object> = odd_keys().iter().zip(0..).map(|(k, n)| object(k, n)).collect();
        let (one, other) = objects.split_at(objects.len() / 2);
        let made = Made::new(format, CURRENT, &[one.to_vec(), other.to_vec()]);
        let mut expected: Vec<_> = objects.iter().map(|object| object.row(None)).collect();
        expected.sort_by(|a, b| a.key.as_str().as_bytes().cmp(b.key.as_str().as_bytes()));
        assert_eq!(made.rows("").await.unwrap(), expected, "{format:?}");
    }
}

/// Promise 1.
#[tokio::test]
async fn only_keys_below_the_prefix_count() {
    for format in FORMATS {
        let keys = ["a/1", "a/2", "a", "ab", "b/a/1", "A/1", "a /1", "a+/1"];
        let objects = keys.map(|key| object(key, 1)).to_vec();
        let made = Made::new(format, CURRENT, &[objects]);
        let keys = |rows: Vec<s3_migration::sources::sort::KeyRow>| {
            rows.iter().map(|row| row.key.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(keys(made.rows("a/").await.unwrap()), ["a/1", "a/2"]);
        assert_eq!(keys(made.rows("a+").await.unwrap()), ["a+/1"]);
        assert_eq!(keys(made.rows("none").await.unwrap()), [""; 0]);
    }
}

/// Promise 1.
#[tokio::test]
async fn of_all_versions_only_the_current_objects_count() {
    let version =
        |object: Object, version, latest| Object { version, latest: Some(latest), ..object };
    let marker = |key, latest| Object {
        size: None,
        deleted: true,
        ..version(object(key, 0), Some("m"), latest)
    };
    let current = version(object("k", 3), Some("v3"), true);
    let null = version(object("null", 4), None, true);
    let objects = vec![
        version(object("k", 1), Some("v1"), false),
        current.clone(),
        version(object("k", 2), None, false),
        marker("gone", true),
        version(object("gone", 5), Some("v5"), false),
        marker("null", false),
        null.clone(),
    ];
    for format in FORMATS {
        let made = Made::new(format, VERSIONS, std::slice::from_ref(&objects));
        let expected = [current.row(Some("v3")), null.row(Some("null"))];
        assert_eq!(made.rows("").await.unwrap(), expected, "{format:?}");
    }
}

/// Promise 1.
#[tokio::test]
async fn columns_may_be_few_and_in_any_order() {
    for format in FORMATS {
        let made = Made::new(format, &["Size", "Key", "Bucket"], &[vec![object("k", 7)]]);
        let rows = made.rows("").await.unwrap();
        let row = &rows[0];
        assert_eq!((row.key.as_str(), row.size, rows.len()), ("k", 7, 1));
        let absent = (&row.etag, row.last_modified, &row.storage_class, &row.version);
        assert_eq!(absent, (&None, None, &None, &None));
    }
}

/// Promise 1.
#[tokio::test]
async fn an_inventory_tells_its_bucket_and_its_age() {
    let made = Made::new(Format::Csv, CURRENT, &[vec![object("k", 1)]]);
    let inventory = made.open().await.unwrap();
    let created = UNIX_EPOCH + Duration::from_millis(CREATED_MS);
    assert_eq!((inventory.bucket(), inventory.created()), (BUCKET, created));
    assert_eq!(inventory.age(created + Duration::from_secs(90)), Duration::from_secs(90));
    assert_eq!(inventory.age(UNIX_EPOCH), Duration::ZERO);
    assert_eq!(inventory.bytes(), fs::metadata(&made.files[0]).unwrap().len());
    let error = inventory.sorted("other", "").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().ends_with("is the inventory of source-bucket, not of other"));
    made.edit(|manifest| manifest["creationTimestamp"] = CREATED_MS.into());
    assert_eq!(made.open().await.unwrap().created(), created);
}

/// Promise 1.
#[tokio::test]
async fn an_empty_bucket_has_an_empty_inventory() {
    for format in FORMATS {
        assert_eq!(Made::new(format, CURRENT, &[]).rows("").await.unwrap(), []);
        assert_eq!(Made::new(format, CURRENT, &[vec![]]).rows("").await.unwrap(), []);
    }
}

/// Promise 1.
#[tokio::test]
async fn many_rows_in_many_files_and_groups() {
    for format in FORMATS {
        let files: Vec<Vec<Object>> = (0..6)
            .map(|file| (0..6001).rev().map(|n| object(format!("{n:04}/{file}"), n)).collect())
            .collect();
        let rows = Made::new(format, VERSIONS, &files).rows("").await.unwrap();
        assert_eq!(rows.len(), 6 * 6001);
        assert!(rows.is_sorted_by(|one, other| one.key < other.key));
        assert!(rows.iter().all(|row| row.key.as_str().starts_with(&format!("{:04}/", row.size))));
    }
}

/// Promise 1.
#[tokio::test]
async fn data_files_are_found_in_copies_of_all_shapes() {
    let objects = vec![object("k", 1)];
    let name = "0000-0.csv.gz";
    // Beside the manifest.
    let made = Made::new(Format::Csv, CURRENT, std::slice::from_ref(&objects));
    fs::rename(&made.files[0], made.manifest.with_file_name(name)).unwrap();
    assert_eq!(made.rows("").await.unwrap().len(), 1);
    // In `data`, as S3 lays it out, below another root.
    let made = Made::new(Format::Csv, CURRENT, std::slice::from_ref(&objects));
    let copy = made.folder.path().join("copy");
    fs::rename(made.folder.path().join("inventories/source-bucket/all"), &copy).unwrap();
    let manifest = copy.join("2025-11-24T00-00Z/manifest.json");
    let sorted = open(&manifest).await.unwrap().sorted(BUCKET, "").await.unwrap();
    assert_eq!(collect(sorted).await.unwrap().len(), 1);
    // By its whole key below a folder above the manifest.
    let elsewhere = made.folder.path().join("manifest.json");
    fs::create_dir_all(made.files[0].parent().unwrap()).unwrap();
    fs::rename(copy.join("data").join(name), &made.files[0]).unwrap();
    fs::rename(manifest, &elsewhere).unwrap();
    let sorted = open(&elsewhere).await.unwrap().sorted(BUCKET, "").await.unwrap();
    assert_eq!(collect(sorted).await.unwrap().len(), 1);
}

/// Promise 1.
#[tokio::test]
async fn an_inventory_without_its_checksum_is_read() {
    let made = Made::new(Format::Csv, CURRENT, &[vec![object("k", 1)]]);
    fs::remove_file(made.checksum()).unwrap();
    assert_eq!(made.rows("").await.unwrap().len(), 1);
}

/// Promise 1.
/// gzip files may follow each other in one (RFC 1952, section 2.2).
#[tokio::test]
async fn all_members_of_a_gzip_file_are_read() {
    let made = Made::new(Format::Csv, CURRENT, &[vec![]]);
    let members = ["a", "b"].map(|key| csv(CURRENT, &[object(key, 1)]));
    made.replace(0, &members.concat());
    assert_eq!(made.rows("").await.unwrap().len(), 2);
}
