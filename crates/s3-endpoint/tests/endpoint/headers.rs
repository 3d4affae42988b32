use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::RequestChecksumCalculation;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::StorageClass;

use crate::support::{BUCKET, Lab, MIB, code, noise};

/// Everything that an object can carry, put and begun with the same values.
macro_rules! dressed {
    ($request:expr) => {
        $request
            .bucket(BUCKET)
            .content_type("Text/Plain;Charset=UTF-8")
            .content_encoding("gzip")
            .content_language("de, en")
            .content_disposition("attachment; filename=\"a b.txt\"")
            .cache_control("max-age=1")
            .expires(DateTime::from(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)))
            .website_redirect_location("/else where")
            .storage_class(StorageClass::StandardIa)
            .metadata("One", "1")
            .metadata("two-words", "a  b, c")
            .tagging("plain=1&with%20space+and%2Bplus=%C3%BC%3D%26&empty=")
    };
}

async fn assert_dressed(lab: &Lab, key: &str, body: &[u8]) {
    let get = lab.client.get_object().bucket(BUCKET).key(key).send().await.unwrap();
    let head = lab.client.head_object().bucket(BUCKET).key(key).send().await.unwrap();
    macro_rules! check {
        ($($field:ident = $value:expr),*) => {$(
            assert_eq!(get.$field(), Some($value), concat!("get ", stringify!($field)));
            assert_eq!(head.$field(), Some($value), concat!("head ", stringify!($field)));
        )*};
    }
    check!(
        content_type = "Text/Plain;Charset=UTF-8",
        content_encoding = "gzip",
        content_language = "de, en",
        content_disposition = "attachment; filename=\"a b.txt\"",
        cache_control = "max-age=1",
        expires_string = "Tue, 14 Nov 2023 22:13:20 GMT",
        website_redirect_location = "/else where",
        storage_class = &StorageClass::StandardIa,
        accept_ranges = "bytes",
        content_length = body.len() as i64,
        tag_count = 3
    );
    let metadata = get.metadata.unwrap();
    assert_eq!(Some(&metadata), head.metadata.as_ref());
    assert_eq!(metadata.len(), 2);
    assert_eq!((&*metadata["one"], &*metadata["two-words"]), ("1", "a  b, c"));
    assert_eq!(get.body.collect().await.unwrap().to_vec(), body);

    let tags = lab.client.get_object_tagging().bucket(BUCKET).key(key).send().await.unwrap();
    let tags: Vec<_> = tags.tag_set().iter().map(|tag| (tag.key(), tag.value())).collect();
    assert_eq!(tags, [("plain", "1"), ("with space and+plus", "ü=&"), ("empty", "")]);
}

#[tokio::test]
async fn an_object_keeps_all_its_headers_and_its_encoded_body() {
    let lab = Lab::new().await;
    let put = dressed!(lab.client.put_object()).key("k").body(b"not really gzip".to_vec().into());
    put.send().await.unwrap();
    assert_dressed(&lab, "k", b"not really gzip").await;
}

#[tokio::test]
async fn an_upload_hands_its_headers_to_the_object() {
    let lab = Lab::new().await;
    let begun = dressed!(lab.client.create_multipart_upload()).key("k").send().await.unwrap();
    let id = begun.upload_id.unwrap();
    let part = lab.part("k", &id, 1, b"body".to_vec()).await;
    lab.complete("k", &id, vec![part]).await.unwrap();
    assert_dressed(&lab, "k", b"body").await;
}

#[tokio::test]
async fn an_object_without_headers_gets_none_but_a_type() {
    let lab = Lab::new().await;
    let put = lab.client.put_object().bucket(BUCKET).key("k").customize();
    let put = put.mutate_request(|request| drop(request.headers_mut().remove("content-type")));
    put.send().await.unwrap();
    let head = lab.client.head_object().bucket(BUCKET).key("k").send().await.unwrap();
    assert_eq!(head.content_type(), Some("binary/octet-stream"));
    assert_eq!(head.storage_class, None);
    assert_eq!(head.tag_count, Some(0));
    assert_eq!(head.metadata.unwrap().len(), 0);
}

/// The SDK's own default frames a body and puts a checksum after it.
#[tokio::test]
async fn a_framed_body_is_stored_bare() {
    let lab = Lab::new().await;
    let config = lab.client.config().to_builder();
    let config = config.request_checksum_calculation(RequestChecksumCalculation::WhenSupported);
    let client = aws_sdk_s3::Client::from_conf(config.build());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), noise(MIB)).unwrap();
    for (key, encoding) in [("plain", None), ("gzip", Some("gzip"))] {
        let body = ByteStream::from_path(file.path()).await.unwrap();
        let put = client.put_object().bucket(BUCKET).key(key).body(body);
        put.set_content_encoding(encoding.map(str::to_owned)).send().await.unwrap();
        let get = lab.client.get_object().bucket(BUCKET).key(key).send().await.unwrap();
        assert_eq!(get.content_encoding(), encoding);
        assert!(get.body.collect().await.unwrap().to_vec() == noise(MIB));
    }
}

#[tokio::test]
async fn expires_is_kept_as_text_also_where_it_is_no_date() {
    let lab = Lab::new().await;
    let put = lab.client.put_object().bucket(BUCKET).key("put").body(b"put".to_vec().into());
    let put = put.metadata("one", "1").customize();
    let put = put.mutate_request(|request| drop(request.headers_mut().insert("expires", "0")));
    put.send().await.unwrap();
    let begin = lab.client.create_multipart_upload().bucket(BUCKET).key("ü\u{1}").customize();
    let begin = begin.mutate_request(|request| drop(request.headers_mut().insert("expires", "-1")));
    let id = begin.send().await.unwrap().upload_id.unwrap();
    let part = lab.part("ü\u{1}", &id, 1, b"part".to_vec()).await;
    lab.complete("ü\u{1}", &id, vec![part]).await.unwrap();

    for (key, body, expires) in [("put", "put", "0"), ("ü\u{1}", "part", "-1")] {
        let get = lab.client.get_object().bucket(BUCKET).key(key).send().await.unwrap();
        assert_eq!(get.expires_string(), Some(expires));
        assert_eq!(get.body.collect().await.unwrap().to_vec(), body.as_bytes());
    }
    assert_eq!(lab.endpoint.stats()["PutObject"].requests, 1);
    assert_eq!(lab.endpoint.stats()["CreateMultipartUpload"].requests, 1);
}

#[tokio::test]
async fn an_archived_object_is_seen_but_not_read() {
    let lab = Lab::new().await;
    let put = lab.client.put_object().bucket(BUCKET).key("k").storage_class(StorageClass::Glacier);
    put.send().await.unwrap();
    let head = lab.client.head_object().bucket(BUCKET).key("k").send().await.unwrap();
    assert_eq!(head.storage_class, Some(StorageClass::Glacier));
    let get = lab.client.get_object().bucket(BUCKET).key("k").send().await.unwrap_err();
    assert_eq!(code(get), "InvalidObjectState");
}
