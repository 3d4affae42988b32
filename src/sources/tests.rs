//! Files of keys and manifests: what is read, and what is refused.

use std::io::Write;

use tempfile::NamedTempFile;

use super::*;
use crate::error::ErrorKind;

fn file(bytes: impl AsRef<[u8]>) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes.as_ref()).unwrap();
    file
}

async fn all(mut feed: Feed<NamedObject>) -> Result<Vec<NamedObject>> {
    let mut entries = Vec::new();
    while let Some(chunk) = feed.next().await? {
        assert!(chunk.len() <= CHUNK);
        entries.extend(chunk);
    }
    Ok(entries)
}

async fn keys_of(bytes: impl AsRef<[u8]>) -> Result<Vec<(String, u64)>> {
    let file = file(bytes);
    let entries = all(key_file::read(file.path())).await?;
    Ok(entries
        .into_iter()
        .map(|entry| {
            assert_eq!((entry.bucket, entry.version), (None, None));
            (entry.key.as_str().to_owned(), entry.line)
        })
        .collect())
}

async fn manifest_of(bytes: impl AsRef<[u8]>) -> Result<Vec<NamedObject>> {
    let file = file(bytes);
    all(batch_manifest::read(file.path())).await
}

/// The message of a refusal, without the folder before the file's name.
async fn refused<T: std::fmt::Debug>(read: impl Future<Output = Result<T>>) -> String {
    let error = read.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    error.to_string()
}

fn entry(bucket: &str, key: &str, version: Option<&str>, line: u64) -> NamedObject {
    NamedObject {
        bucket: Some(bucket.to_owned()),
        key: ObjectKey::new(key),
        odd: None,
        version: version.map(str::to_owned),
        line,
    }
}

/// Promise 1.
#[tokio::test]
async fn keys_are_the_bytes_of_their_lines() {
    let text = "a+b\r\n\n%2F\r\n\r\n blank \n\"q\",c\n# no comment\ncr\r\r\nü/文件\n../x//\nlast\r";
    let expected = [
        ("a+b", 1),
        ("%2F", 3),
        (" blank ", 5),
        ("\"q\",c", 6),
        ("# no comment", 7),
        ("cr\r", 8),
        ("ü/文件", 9),
        ("../x//", 10),
        ("last\r", 11),
    ];
    let keys = keys_of(text).await.unwrap();
    assert_eq!(keys, expected.map(|(key, line)| (key.to_owned(), line)));
    assert_eq!(keys_of("").await.unwrap(), []);
    assert_eq!(keys_of("\n\r\n").await.unwrap(), []);
}

/// Promise 1.
#[tokio::test]
async fn a_key_has_up_to_1024_bytes_with_any_line_end() {
    let longest = "k".repeat(MAX_KEY_BYTES);
    for end in ["", "\n", "\r\n"] {
        let keys = keys_of(format!("a\n{longest}{end}")).await.unwrap();
        assert_eq!(keys, [("a".to_owned(), 1), (longest.clone(), 2)]);
        let longer = refused(keys_of(format!("a\n{longest}k{end}"))).await;
        assert!(longer.contains(":2: the key is longer than 1024 bytes"), "{longer}");
    }
    // Refused after its first bytes: a file without line ends is not read into memory.
    let endless = "k".repeat(10 * 1024 * 1024);
    assert!(refused(keys_of(endless)).await.contains(":1: the key is longer"));
}

/// Promise 1.
#[tokio::test]
async fn what_is_no_file_of_keys_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = refused(all(key_file::read(folder.path().join("none")))).await;
    assert!(missing.contains("none cannot be read: "), "{missing}");
    let no_file = refused(all(key_file::read(folder.path()))).await;
    assert!(no_file.ends_with("is a folder; name a file"), "{no_file}");
    assert!(refused(all(batch_manifest::read(folder.path()))).await.contains("is a folder"));
}

/// Promise 1.
#[tokio::test]
async fn a_key_that_is_no_utf8_keeps_its_bytes() {
    let (keys, manifest) = (file(b"a\nb\xfc\n"), file("b,a\nb,b%FC\n"));
    for feed in [key_file::read(keys.path()), batch_manifest::read(manifest.path())] {
        let entries = all(feed).await.unwrap();
        let odd = entries.iter().map(|entry| entry.odd.as_deref());
        assert_eq!(odd.collect::<Vec<_>>(), [None, Some(&b"b\xfc"[..])]);
    }
}

/// Promise 1.
#[tokio::test]
async fn many_keys_arrive_in_their_order() {
    let lines: Vec<String> = (0..2 * CHUNK + 7).map(|n| format!("k/{n}")).collect();
    let keys = keys_of(lines.join("\n")).await.unwrap();
    assert!(keys.iter().map(|(key, _)| key).eq(&lines));
}

/// Promise 1.
#[tokio::test]
async fn a_manifests_keys_are_decoded_like_a_forms_fields() {
    let text = "b,plain.txt\r\nb,a%2Bb+c%20d\n\nb,%252F\n\"b\",\"x,y\"\"z\"\"\"\nc,%E6%96%87%0A%2C%22%00\n\
                b,文/ü\nb,a//./..";
    let expected = [
        entry("b", "plain.txt", None, 1),
        entry("b", "a+b c d", None, 2),
        entry("b", "%2F", None, 4),
        entry("b", "x,y\"z\"", None, 5),
        entry("c", "文\n,\"\0", None, 6),
        entry("b", "文/ü", None, 7),
        entry("b", "a//./..", None, 8),
    ];
    assert_eq!(manifest_of(text).await.unwrap(), expected);
    assert_eq!(manifest_of("").await.unwrap(), []);
}

/// Promise 1.
#[tokio::test]
async fn a_manifest_may_name_versions() {
    let entries = manifest_of("b,k,PZ9ibn9D5lP6p298B7S9_ceqx1n5EJ0p\nb,l,null\n").await.unwrap();
    let expected = [
        entry("b", "k", Some("PZ9ibn9D5lP6p298B7S9_ceqx1n5EJ0p"), 1),
        entry("b", "l", Some("null"), 2),
    ];
    assert_eq!(entries, expected);
}

/// Promise 1.
#[tokio::test]
async fn a_manifest_that_could_mean_something_else_is_refused_with_its_line() {
    let longest = "%FC".repeat(MAX_KEY_BYTES + 1);
    for (text, expected) in [
        ("b,k\nb\n", ":2: the number of fields is 1, in the first line 2; allowed: bucket,key or"),
        ("b,k\nb,k,v\n", ":2: the number of fields is 3, in the first line 2"),
        ("k\n", ":1: the number of fields is 1"),
        ("b,k,v,w\n", ":1: the number of fields is 4"),
        ("b,k,v\nb,l,\n", ":2: the version is empty; write null"),
        ("b,\n", ":1: the key is empty"),
        (",k\n", ":1: the first field names no bucket"),
        ("b/c,k\n", ":1: the first field names no bucket"),
        ("b,100%\n", ":1: the key is not URL-encoded"),
        ("b,a%2\n", ":1: the key is not URL-encoded"),
        ("b,a%zzb\n", ":1: the key is not URL-encoded"),
        ("b,k\nb,\"l\nb,m\nb,n\n", ": line 2: a field with a line break"),
        ("b,k\nb,\"l", ": line 2: a field with a line break"),
        (&format!("b,{longest}\n"), ":1: the key is longer than 1024 bytes"),
    ] {
        let refusal = refused(manifest_of(text)).await;
        assert!(refusal.contains(expected), "{text:?}: {refusal}");
    }
}

/// Promise 1.
#[tokio::test]
async fn a_quote_that_nobody_closes_is_not_drawn_into_memory() {
    let text = format!("b,k\nb,\"{}", "k".repeat(8 * 1024 * 1024));
    let refusal = refused(manifest_of(text)).await;
    assert!(refusal.contains("line 2: cannot be read: a record is longer than "), "{refusal}");
    // Any number of records of the usual length may follow each other.
    let key = "k".repeat(1000);
    let lines = format!("b,{key}\n").repeat(3000);
    assert_eq!(manifest_of(lines).await.unwrap().len(), 3000);
}
