use aws_sdk_s3::types::{Delete, ObjectIdentifier};

use crate::support::{BUCKET, Lab, MIB, code, noise};

#[tokio::test]
async fn bodies_of_every_size_come_back_whole() {
    let lab = Lab::new().await;
    for size in [0, 1, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 3 * MIB + 7] {
        lab.put("k", noise(size)).await;
        assert_eq!(lab.get("k").await, noise(size), "{size} bytes");
    }
    assert_eq!(lab.files().len(), 1);
}

#[tokio::test]
async fn ranges_are_cut_exactly() {
    let lab = Lab::new().await;
    let body = noise(MIB);
    lab.put("k", body.clone()).await;
    let get = |range: &str| lab.client.get_object().bucket(BUCKET).key("k").range(range).send();
    for (range, first, end) in [
        ("bytes=0-0", 0, 1),
        ("bytes=1000-300000", 1000, 300_001),
        ("bytes=1048575-", MIB - 1, MIB),
        ("bytes=0-99999999", 0, MIB),
        ("bytes=-10", MIB - 10, MIB),
    ] {
        let answer = get(range).await.unwrap();
        let expected = format!("bytes {first}-{}/{MIB}", end - 1);
        assert_eq!(answer.content_range(), Some(&*expected), "{range}");
        assert_eq!(answer.content_length, Some((end - first) as i64), "{range}");
        assert_eq!(answer.body.collect().await.unwrap().to_vec(), body[first..end], "{range}");
    }
    let beyond = get("bytes=1048576-").await.unwrap_err();
    assert_eq!(beyond.raw_response().unwrap().status().as_u16(), 416);
    assert_eq!(code(beyond), "InvalidRange");
}

#[tokio::test]
async fn reads_are_held_to_their_conditions() {
    let lab = Lab::new().await;
    lab.put("k", b"old".to_vec()).await;
    let get = || lab.client.get_object().bucket(BUCKET).key("k");
    let head = || lab.client.head_object().bucket(BUCKET).key("k");
    let etag = head().send().await.unwrap().e_tag.unwrap();
    get().if_match(&etag).send().await.unwrap();
    let unchanged = get().if_none_match(&etag).send().await.unwrap_err();
    assert_eq!(unchanged.raw_response().unwrap().status().as_u16(), 304);

    lab.put("k", b"new".to_vec()).await;
    assert_eq!(code(get().if_match(&etag).send().await.unwrap_err()), "PreconditionFailed");
    let ranged = get().if_match(&etag).range("bytes=0-0").send().await.unwrap_err();
    assert_eq!(code(ranged), "PreconditionFailed");
    let refused = head().if_match(&etag).send().await.unwrap_err();
    assert_eq!(refused.raw_response().unwrap().status().as_u16(), 412);
    get().if_none_match(&etag).send().await.unwrap();
}

#[tokio::test]
async fn writes_are_held_to_their_conditions() {
    let lab = Lab::new().await;
    let put = || lab.client.put_object().bucket(BUCKET).key("k").body(b"x".to_vec().into());
    assert_eq!(code(put().if_match("\"0\"").send().await.unwrap_err()), "NoSuchKey");
    let etag = put().if_none_match("*").send().await.unwrap().e_tag.unwrap();
    assert_eq!(code(put().if_none_match("*").send().await.unwrap_err()), "PreconditionFailed");
    assert_eq!(code(put().if_match("\"0\"").send().await.unwrap_err()), "PreconditionFailed");
    put().if_match(etag).send().await.unwrap();
    assert_eq!(lab.files().len(), 1);
}

#[tokio::test]
async fn a_wrong_digest_stores_nothing() {
    let lab = Lab::new().await;
    let put = |md5: &str| {
        let put = lab.client.put_object().bucket(BUCKET).key("k").body(b"hello".to_vec().into());
        put.content_md5(md5).send()
    };
    let answer = put("XUFAKrxLKna5cZ2REBfFkg==").await.unwrap();
    assert_eq!(answer.e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    lab.client.delete_object().bucket(BUCKET).key("k").send().await.unwrap();

    assert_eq!(code(put("AAAAAAAAAAAAAAAAAAAAAA==").await.unwrap_err()), "BadDigest");
    assert_eq!(code(put("AAAA").await.unwrap_err()), "InvalidDigest");
    assert_eq!(lab.keys().await, [""; 0]);
    assert_eq!(lab.files(), [""; 0]);
}

#[tokio::test]
async fn a_body_that_is_not_the_signed_one_stores_nothing() {
    let lab = Lab::new().await;
    let url = lab.signed_put("k").await;
    let headers = format!("x-amz-content-sha256: {}\r\ncontent-length: 4\r\n", "0".repeat(64));
    let answer = lab.raw("PUT", &url, &headers, "body").await;
    assert!(answer.contains("<Code>BadDigest</Code>"), "{answer}");
    assert_eq!(lab.keys().await, [""; 0]);
    assert_eq!(lab.files(), [""; 0]);
}

#[tokio::test]
async fn a_short_body_stores_nothing() {
    let lab = Lab::new().await;
    let url = lab.signed_put("k").await;
    let answer = lab.raw("PUT", &url, "content-length: 100\r\n", "short").await;
    assert!(answer.contains("<Code>IncompleteBody</Code>"), "{answer}");
    assert_eq!(lab.keys().await, [""; 0]);
    assert_eq!(lab.files(), [""; 0]);
}

#[tokio::test]
async fn a_body_of_unknown_length_is_refused() {
    let lab = Lab::new().await;
    let url = lab.signed_put("k").await;
    let body = "4\r\nbody\r\n0\r\n\r\n";
    let answer = lab.raw("PUT", &url, "transfer-encoding: chunked\r\n", body).await;
    assert!(answer.contains("<Code>MissingContentLength</Code>"), "{answer}");
    assert_eq!(lab.files(), [""; 0]);
}

#[tokio::test]
async fn a_reader_keeps_the_object_that_it_opened() {
    let lab = Lab::new().await;
    // More than the sockets and the client can hold, so that most of it is read afterwards.
    let old = noise(32 * MIB);
    lab.put("k", old.clone()).await;
    let get = || lab.client.get_object().bucket(BUCKET).key("k").send();
    let mut reader = get().await.unwrap().body;
    let mut read = reader.next().await.unwrap().unwrap().to_vec();
    lab.put("k", b"new".to_vec()).await;
    assert!(lab.endpoint.stats()["GetObject"].bytes_out < old.len() as u64 / 2);
    assert_eq!(lab.files().len(), 2);
    while let Some(bytes) = reader.next().await {
        read.extend_from_slice(&bytes.unwrap());
    }
    assert!(read == old);
    assert_eq!(lab.get("k").await, b"new");
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let lab = Lab::new().await;
    let get = lab.client.get_object().bucket(BUCKET).key("k").send().await.unwrap_err();
    assert_eq!(code(get), "NoSuchKey");
    let head = lab.client.head_object().bucket(BUCKET).key("k").send().await.unwrap_err();
    assert!(head.into_service_error().is_not_found());
    let tags = lab.client.get_object_tagging().bucket(BUCKET).key("k").send().await.unwrap_err();
    assert_eq!(code(tags), "NoSuchKey");
    lab.client.delete_object().bucket(BUCKET).key("k").send().await.unwrap();
    lab.put("k", vec![]).await;
    let get = lab.client.get_object().bucket(BUCKET).key("k");
    get.clone().version_id("null").send().await.unwrap();
    assert_eq!(code(get.version_id("another").send().await.unwrap_err()), "NoSuchVersion");
}

#[tokio::test]
async fn deleted_objects_are_gone_with_their_files() {
    let lab = Lab::new().await;
    for key in ["a", "b/ c", "ü", "stays"] {
        lab.put(key, vec![1]).await;
    }
    let named = ["a", "b/ c", "ü", "never was"];
    let named = named.map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
    let delete = Delete::builder().set_objects(Some(named.into())).build().unwrap();
    let answer = lab.client.delete_objects().bucket(BUCKET).delete(delete).send().await.unwrap();
    assert_eq!(answer.deleted().len(), 4);
    assert_eq!(lab.keys().await, ["stays"]);
    assert_eq!(lab.files().len(), 1);
}
