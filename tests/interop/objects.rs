//! What is moved: every size that decides something, every key that is hard to keep, every header.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::Bytes;

use crate::client::{Answer, Client};
use crate::rows::Row;
use testkit::local::{MIB, noise};

/// The default of `ResumableThreshold`.
const THRESHOLD: usize = 5 * MIB;

/// One object of the source.
#[derive(Clone)]
pub struct Object {
    pub key: String,
    pub body: Bytes,
    /// The sizes of the parts it is uploaded in; empty: in one piece.
    pub parts: Vec<usize>,
    pub has_headers: bool,
    pub has_tags: bool,
}

/// Headers of [`Object::has_headers`], under the names by which rows know them.
pub const HEADERS: [(&str, &str); 8] = [
    ("content-type", "text/x-log; charset=utf-8"),
    ("content-encoding", "gzip"),
    ("content-language", "de-AT"),
    ("content-disposition", "attachment; filename=\"a b.log\""),
    ("cache-control", "max-age=7, private"),
    ("expires", "Wed, 21 Oct 2037 07:28:00 GMT"),
    ("x-amz-meta-colour", "blue  green"),
    ("x-amz-meta-number", "42"),
];

/// Tags of [`Object::has_tags`], as a header and as they are listed.
const TAGS: (&str, [(&str, &str); 2]) = ("a=b%20c&team=sea", [("a", "b c"), ("team", "sea")]);

/// Keys that are no paths: a store on folders has other keys in their place, or none.
pub const NO_PATHS: [&str; 6] =
    ["two//slashes", "./dot", "../dots", "middle/./dot", "middle/../dots", "/leading"];

/// More keys that are hard to keep. None becomes another of them, or of [`NO_PATHS`], when a store takes keys for
/// paths.
const ODD_KEYS: [&str; 18] = [
    "trailing/",
    " blank",
    "blank ",
    "in the middle",
    "plus+plus",
    "percent%2Fslash",
    "percent%zz",
    "umlaut/ü/文件",
    "face-\u{1f980}",
    "question?mark#hash",
    "amp&<>\"'",
    "back\\slash",
    "colon:star*bar|",
    "tab\tin",
    "line\nfeed",
    "control\u{1}\u{1f}",
    "delete\u{7f}",
    "parent",
];

/// A key for whose beginning [`ODD_KEYS`] has one: a store on folders has no place for both.
pub const BELOW_PARENT: &str = "parent/child";

/// The longest key that S3 takes, in folders whose names a file system takes.
pub fn longest_key() -> String {
    let folder = format!("{}/", "k".repeat(127));
    folder.repeat(7) + &"k".repeat(128)
}

/// The longest key in one piece: no file has such a name.
pub fn longest_name() -> String {
    "n".repeat(1024)
}

impl Object {
    fn of(key: impl Into<String>, body: Bytes) -> Self {
        Self { key: key.into(), body, parts: Vec::new(), has_headers: false, has_tags: false }
    }

    /// A small object of this key, each with other bytes.
    pub fn small(key: impl Into<String>) -> Self {
        let key = key.into();
        let body = Bytes::from(format!("the object {key:?}"));
        Self::of(key, body)
    }

    fn in_parts(self, parts: &[usize]) -> Self {
        Self { parts: parts.to_vec(), ..self }
    }

    fn with_all(self) -> Self {
        Self { has_headers: true, has_tags: true, ..self }
    }
}

/// The first bytes of one stretch of noise; `from` sets it apart from others.
pub fn some_noise(from: usize, len: usize) -> Bytes {
    static NOISE: OnceLock<Bytes> = OnceLock::new();
    let all = NOISE.get_or_init(|| Bytes::from(noise(48 * MIB, 11)));
    all.slice(from..from + len)
}

/// Objects by size and by what they carry: every store keeps their keys.
pub fn plain() -> Vec<Object> {
    let mut objects = vec![
        Object::of("size/0", Bytes::new()),
        Object::of("size/1", some_noise(1, 1)),
        Object::of("size/threshold", some_noise(2, THRESHOLD)),
        Object::of("size/threshold-and-1", some_noise(3, THRESHOLD + 1)),
        Object::of("size/12-whole", some_noise(4, 12 * MIB)),
        Object::of("size/12-in-parts", some_noise(5, 12 * MIB)).in_parts(&[
            5 * MIB,
            5 * MIB,
            2 * MIB,
        ]),
        Object::of("size/30-in-parts", some_noise(6, 30 * MIB)).in_parts(&[
            8 * MIB,
            8 * MIB,
            8 * MIB,
            6 * MIB,
        ]),
        Object::small("all/small").with_all(),
        Object::of("all/large", some_noise(7, 6 * MIB)).in_parts(&[5 * MIB, MIB]).with_all(),
    ];
    objects.extend((0..40).map(|number| Object::small(format!("many/{number:03}"))));
    objects
}

/// Small objects under every key that is hard to keep.
pub fn odd() -> Vec<Object> {
    let keys = NO_PATHS.into_iter().chain(ODD_KEYS).map(str::to_owned);
    let others = [BELOW_PARENT.to_owned(), longest_key(), longest_name()];
    let mut objects: Vec<Object> = keys.chain(others).map(Object::small).collect();
    for object in &mut objects {
        if object.key.ends_with('/') {
            // A folder marker.
            object.body = Bytes::new();
        }
    }
    objects
}

/// Puts an object into a bucket; the answer of what was refused, or of the last call.
pub async fn put(client: &Client, bucket: &str, object: &Object, row: &Row) -> Answer {
    let mut headers: Vec<(&str, &str)> = Vec::new();
    if object.has_headers {
        headers.extend(HEADERS);
    }
    let at = (bucket, object.key.as_str());
    let tagged = [("x-amz-tagging", TAGS.0)];
    let with_tags = [&headers[..], &tagged].concat();
    let given = if object.has_tags && !row.refuses_tags { &with_tags } else { &headers };
    match object.parts.is_empty() {
        true => client.put(at, given, object.body.clone()).await,
        false => client.put_in_parts(at, given, &object.body, &object.parts).await,
    }
}

/// What an object at rest lacks of what it was given, under the names of rows; nothing if it is whole. Wrong
/// bytes are no loss that a row may have.
pub async fn lost(client: &Client, bucket: &str, object: &Object) -> Vec<&'static str> {
    let at = (bucket, object.key.as_str());
    let found = client.get(at).await;
    assert!(found.is_ok(), "{:?}: {} {}", object.key, found.status, found.text());
    assert!(found.body == object.body, "{:?} has {} other bytes", object.key, found.body.len());
    let mut lost = Vec::new();
    if object.has_headers {
        let is_lost = |(name, value): &(&str, &str)| {
            let kept = found.header(name);
            // A type and its parameter are equal however they are spaced.
            kept.is_none_or(|kept| kept.replace("; ", ";") != value.replace("; ", ";"))
        };
        lost.extend(HEADERS.iter().filter(|header| is_lost(header)).map(|(name, _)| *name));
    } else if let Some(name) =
        found.headers.keys().find(|name| name.as_str().starts_with("x-amz-meta"))
    {
        // rclone keeps a time for each file, which it shows as metadata.
        assert!(name.as_str().ends_with("mtime"), "{:?} has {name}", object.key);
    }
    if object.has_tags {
        let wanted = TAGS.1.map(|(key, value)| (key.to_owned(), value.to_owned()));
        if client.tags(at).await.is_none_or(|tags| tags != wanted) {
            lost.push("tags");
        }
    }
    lost.sort_unstable();
    lost
}

/// Asserts that each of `objects` is in the bucket, and nothing else, with all that neither of the two stores
/// loses.
pub async fn assert_arrived(client: &Client, bucket: &str, objects: &[Object], rows: [&Row; 2]) {
    let listed = client.list(bucket).await;
    let found: BTreeMap<&str, u64> =
        listed.iter().map(|one| (one.key.as_str(), one.size)).collect();
    let wanted: BTreeMap<&str, u64> =
        objects.iter().map(|one| (one.key.as_str(), one.body.len() as u64)).collect();
    assert_eq!(found, wanted, "keys and sizes at the destination");
    for object in objects {
        let lost = lost(client, bucket, object).await;
        let all = object.has_headers && object.has_tags;
        let expected = if all { may_be_lost(object, &rows) } else { Vec::new() };
        assert_eq!(lost, expected, "what {:?} lost on the way", object.key);
    }
}

/// What an object with headers and tags may lack if these stores had it.
pub fn may_be_lost(object: &Object, rows: &[&Row]) -> Vec<&'static str> {
    let of = |row: &&Row| if object.parts.is_empty() { row.loses } else { row.loses_in_parts };
    let mut names: Vec<&'static str> = rows.iter().flat_map(of).copied().collect();
    if rows.iter().any(|row| row.refuses_tags) {
        names.push("tags");
    }
    names.sort_unstable();
    names.dedup();
    names
}
