//! Objects arrive whole, under their own keys, whichever way they travel.

use aws_sdk_s3::operation::head_object::HeadObjectOutput;

use testkit::local::{BUCKETS, Local, MIB, Place, noise};

/// Keys that other tools lose, the longest one and folder markers among them.
fn odd_keys() -> Vec<String> {
    let keys = [
        "a//b",
        "./x",
        "../y",
        "x/../z",
        "/leading",
        "//",
        "trailing/",
        "folder/marker/",
        " space ",
        "+",
        "a+b c",
        "%2F",
        "%",
        "ü/文件",
        "\u{1F600}",
        "a&b=c?d#e",
        "<&>\"'",
        "new\nline",
        "return\r",
        "tab\t",
        "\u{1}\u{1f}\u{7f}\u{85}",
        "null\0",
    ];
    let longest = ["k".repeat(1024), "件".repeat(341) + "x"];
    keys.into_iter().map(str::to_owned).chain(longest).collect()
}

async fn odd_keys_arrive(local: &Local) {
    let mut keys = odd_keys();
    for key in &keys {
        local.source.put(key, format!("the body of {key}").into()).await;
    }
    local.migrate().await.with_status(0);
    keys.sort();
    assert_eq!(local.destination.keys().await, keys);
    for key in &keys {
        assert_eq!(local.destination.get(key).await, format!("the body of {key}").as_bytes());
    }
}

/// Promise 4.
#[tokio::test]
async fn odd_keys_arrive_in_one_piece() {
    let local = Local::new().await;
    odd_keys_arrive(&local).await;
    assert_eq!(local.destination.requests("CreateMultipartUpload"), 0);
}

/// Promise 4.
#[tokio::test]
async fn odd_keys_arrive_in_parts() {
    let mut local = Local::new().await;
    local.set("ResumableThreshold", "0");
    local.set("StreamThreshold", "0");
    odd_keys_arrive(&local).await;
    let count = odd_keys().len() as u64;
    assert_eq!(local.destination.requests("CompleteMultipartUpload"), count);
    assert_eq!(local.destination.uploads().await, 0);
}

/// Promise 5.
#[tokio::test]
async fn empty_objects_and_folder_markers_arrive() {
    let local = Local::new().await;
    for key in ["empty", "folder/", "folder/inner/"] {
        local.source.put(key, Vec::new()).await;
    }
    local.migrate().await.with_status(0);
    assert_eq!(local.destination.keys().await, ["empty", "folder/", "folder/inner/"]);
    assert_eq!(local.destination.get("folder/").await, [0; 0]);
}

/// A client of its own sets what an object can have; the body is no gzip at all, so that whoever
/// tried to unpack it would fail.
async fn put_described(place: &Place, key: &str, body: Vec<u8>) {
    let put = place.client.put_object().bucket(BUCKETS[0]).key(key).body(body.into());
    let put = put
        .content_type("text/x-odd; charset=\"ü\"".replace('ü', "u"))
        .content_encoding("gzip")
        .content_language("de-CH, mi")
        .content_disposition("attachment; filename=\"a b.txt\"")
        .cache_control("no-store, max-age=0")
        .website_redirect_location("/elsewhere")
        .metadata("mtime", "1700000000.5")
        .metadata("with-dash_and.dot", "some  text; with, signs=\"yes\"")
        .tagging("team=a%2Bb&purpose=%C3%BC%20%26%20more&empty=")
        .storage_class("STANDARD_IA".into());
    // As S3 keeps it: any text, not only a date.
    let put = put.customize().mutate_request(|http| {
        http.headers_mut().insert("expires", "in a while");
    });
    put.send().await.unwrap();
}

async fn head(place: &Place, bucket: &str, key: &str) -> HeadObjectOutput {
    place.client.head_object().bucket(bucket).key(key).send().await.unwrap()
}

async fn tags(place: &Place, bucket: &str, key: &str) -> Vec<(String, String)> {
    let tags = place.client.get_object_tagging().bucket(bucket).key(key).send().await.unwrap();
    let tags = tags.tag_set.into_iter().map(|tag| (tag.key, tag.value));
    let mut tags: Vec<_> = tags.collect();
    tags.sort();
    tags
}

fn described(head: HeadObjectOutput) -> Vec<Option<String>> {
    let mut metadata: Vec<_> = head.metadata.unwrap_or_default().into_iter().collect();
    metadata.sort();
    vec![
        head.content_type,
        head.content_encoding,
        head.content_language,
        head.content_disposition,
        head.cache_control,
        head.expires_string,
        head.website_redirect_location,
        Some(format!("{metadata:?}")),
    ]
}

/// Promise 5.
#[tokio::test]
async fn headers_metadata_and_tags_travel_along() {
    let mut local = Local::new().await;
    let bodies = [("small", noise(1000, 1)), ("large", noise(6 * MIB, 2))];
    for (key, body) in &bodies {
        put_described(&local.source, key, body.clone()).await;
    }
    local.set("StorageClass", "KEEP");
    local.set("StreamThreshold", "0");
    local.migrate().await.with_status(0);
    assert_eq!(local.destination.requests("CompleteMultipartUpload"), 1);
    for (key, body) in &bodies {
        assert_eq!(local.destination.get(key).await, *body, "{key}");
        let original = head(&local.source, BUCKETS[0], key).await;
        let copy = head(&local.destination, BUCKETS[1], key).await;
        assert_eq!(copy.storage_class().unwrap().as_str(), "STANDARD_IA", "{key}");
        let original = described(original);
        assert!(original.iter().all(Option::is_some), "{original:?}");
        assert_eq!(described(copy), original, "{key}");
        let expected = [("empty", ""), ("purpose", "ü & more"), ("team", "a+b")];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(tags(&local.destination, BUCKETS[1], key).await, expected, "{key}");
    }
}

/// Promise 5.
#[tokio::test]
async fn what_is_not_wanted_stays_behind() {
    let mut local = Local::new().await;
    for (key, len) in [("small", 1000), ("large", 6 * MIB)] {
        put_described(&local.source, key, noise(len, 3)).await;
    }
    local.set("CopyTags", "False");
    local.set("CopyMetadata", "False");
    local.migrate().await.with_status(0);
    for key in ["small", "large"] {
        let copy = head(&local.destination, BUCKETS[1], key).await;
        assert_eq!(copy.storage_class(), None, "{key}: the standard class by default");
        assert_eq!((copy.cache_control(), copy.content_encoding()), (None, None), "{key}");
        assert!(copy.metadata().is_none_or(|metadata| metadata.is_empty()), "{key}");
        assert_eq!(tags(&local.destination, BUCKETS[1], key).await, [], "{key}");
    }
    assert_eq!(local.source.requests("GetObjectTagging"), 0);
}
