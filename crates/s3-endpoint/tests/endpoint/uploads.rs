use std::collections::BTreeSet;

use aws_sdk_s3::types::CompletedPart;
use md5::{Digest, Md5};

use crate::support::{BUCKET, Lab, MIB, code, noise};

const PART: usize = 5 * MIB;

#[tokio::test]
async fn parts_become_one_object_without_being_copied() {
    let lab = Lab::new().await;
    let bodies = [noise(PART), noise(PART + 1), noise(10)];
    let id = lab.begin("k").await;
    let mut parts = Vec::new();
    // Numbers may leave gaps, and parts may come in any order.
    for (number, body) in [(7, &bodies[1]), (2, &bodies[0]), (9, &bodies[2])] {
        parts.push(lab.part("k", &id, number, body.clone()).await);
    }
    parts.sort_by_key(|part| part.part_number);
    assert_eq!(lab.keys().await, [""; 0]);
    let files = lab.files();
    let etag = lab.complete("k", &id, parts).await.unwrap();
    assert_eq!(lab.files(), files);

    let digests = bodies.iter().flat_map(|body| Md5::digest(body).to_vec());
    let digest = Md5::digest(digests.collect::<Vec<u8>>());
    assert_eq!(etag, format!("\"{}-3\"", hex::encode(digest)));
    let whole = bodies.concat();
    assert!(lab.get("k").await == whole);

    let get = || lab.client.get_object().bucket(BUCKET).key("k");
    let across = get().range(format!("bytes={}-{}", PART - 3, 2 * PART + 5)).send().await.unwrap();
    let read = across.body.collect().await.unwrap().to_vec();
    assert!(read == whole[PART - 3..=2 * PART + 5]);

    let second = get().part_number(2).send().await.unwrap();
    assert_eq!(second.parts_count, Some(3));
    assert!(second.body.collect().await.unwrap().to_vec() == bodies[1]);
    let head = lab.client.head_object().bucket(BUCKET).key("k").part_number(3).send().await;
    assert_eq!(head.unwrap().content_length, Some(10));
    let beyond = get().part_number(4).send().await.unwrap_err();
    assert_eq!(code(beyond), "InvalidPartNumber");
}

#[tokio::test]
async fn a_part_is_verified_and_replaced() {
    let lab = Lab::new().await;
    let id = lab.begin("k").await;
    let upload = |md5: &str| {
        let upload = lab.client.upload_part().bucket(BUCKET).key("k").upload_id(&id);
        upload.part_number(1).content_md5(md5).body(b"hello".to_vec().into()).send()
    };
    assert_eq!(code(upload("AAAAAAAAAAAAAAAAAAAAAA==").await.unwrap_err()), "BadDigest");
    assert_eq!(lab.files(), [""; 0]);
    let good = upload("XUFAKrxLKna5cZ2REBfFkg==").await.unwrap();
    assert_eq!(good.e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    let other = lab.part("k", &id, 1, b"other".to_vec()).await;
    assert_eq!(lab.files().len(), 1);
    let stale = CompletedPart::builder().part_number(1).set_e_tag(good.e_tag).build();
    assert_eq!(lab.complete("k", &id, vec![stale]).await, Err("InvalidPart".to_owned()));
    lab.complete("k", &id, vec![other]).await.unwrap();
    assert_eq!(lab.get("k").await, b"other");
    for number in [0, 10_001] {
        let upload = lab.client.upload_part().bucket(BUCKET).key("k").upload_id(&id);
        let refused = upload.part_number(number).send().await.unwrap_err();
        assert_eq!(code(refused), "InvalidArgument");
    }
}

#[tokio::test]
async fn a_completion_is_checked_before_anything_changes() {
    let lab = Lab::new().await;
    let id = lab.begin("k").await;
    let one = lab.part("k", &id, 1, noise(PART)).await;
    let two = lab.part("k", &id, 2, noise(PART - 1)).await;
    let three = lab.part("k", &id, 3, noise(1)).await;
    let missing = CompletedPart::builder().part_number(4).set_e_tag(one.e_tag.clone()).build();
    for (parts, error) in [
        (vec![], "MalformedXML"),
        (vec![one.clone(), missing], "InvalidPart"),
        (vec![three.clone(), one.clone()], "InvalidPartOrder"),
        (vec![one.clone(), one.clone()], "InvalidPartOrder"),
        (vec![one.clone(), two.clone(), three.clone()], "EntityTooSmall"),
    ] {
        assert_eq!(lab.complete("k", &id, parts).await, Err(error.to_owned()));
    }
    assert_eq!(lab.files().len(), 3);
    // A part that is left out is gone with the upload.
    lab.complete("k", &id, vec![one.clone(), three]).await.unwrap();
    assert_eq!(lab.files().len(), 2);
    assert_eq!(lab.complete("k", &id, vec![one]).await, Err("NoSuchUpload".to_owned()));
}

#[tokio::test]
async fn a_completion_is_held_to_its_condition() {
    let lab = Lab::new().await;
    lab.put("k", b"there".to_vec()).await;
    let id = lab.begin("k").await;
    let part = lab.part("k", &id, 1, noise(1)).await;
    let parts = aws_sdk_s3::types::CompletedMultipartUpload::builder().parts(part).build();
    let complete = lab.client.complete_multipart_upload().bucket(BUCKET).key("k").upload_id(id);
    let complete = complete.multipart_upload(parts);
    let refused = complete.clone().if_none_match("*").send().await.unwrap_err();
    assert_eq!(code(refused), "PreconditionFailed");
    assert_eq!(lab.get("k").await, b"there");
    complete.send().await.unwrap();
    assert_eq!(lab.get("k").await, noise(1));
}

#[tokio::test]
async fn an_upload_that_is_gone_is_named() {
    let lab = Lab::new().await;
    let id = lab.begin("k").await;
    lab.part("k", &id, 1, noise(1)).await;
    let abort = |key: &str, id: &str| {
        lab.client.abort_multipart_upload().bucket(BUCKET).key(key).upload_id(id).send()
    };
    assert_eq!(code(abort("other key", &id).await.unwrap_err()), "NoSuchUpload");
    abort("k", &id).await.unwrap();
    assert_eq!(lab.files(), [""; 0]);
    assert_eq!(code(abort("k", &id).await.unwrap_err()), "NoSuchUpload");
    let list = lab.client.list_parts().bucket(BUCKET).key("k").upload_id(&id);
    assert_eq!(code(list.send().await.unwrap_err()), "NoSuchUpload");
    let part = lab.client.upload_part().bucket(BUCKET).key("k").upload_id(&id).part_number(1);
    assert_eq!(code(part.send().await.unwrap_err()), "NoSuchUpload");
}

#[tokio::test]
async fn parts_are_listed_in_pages() {
    let lab = Lab::new().await;
    let id = lab.begin("k").await;
    for number in [1, 2, 5, 10_000] {
        lab.part("k", &id, number, noise(number as usize)).await;
    }
    for size in 1..=5 {
        let (mut found, mut marker) = (Vec::new(), None);
        loop {
            let list = lab.client.list_parts().bucket(BUCKET).key("k").upload_id(&id);
            let list = list.max_parts(size).set_part_number_marker(marker);
            let page = list.send().await.unwrap();
            assert_eq!((page.key(), page.upload_id()), (Some("k"), Some(&*id)));
            found.extend(page.parts().iter().map(|part| (part.part_number, part.size)));
            marker = page.next_part_number_marker;
            assert_eq!(page.is_truncated, Some(marker.is_some()));
            if marker.is_none() {
                break;
            }
            assert_eq!(page.parts.unwrap().len(), size as usize);
        }
        let expected = [1, 2, 5, 10_000].map(|n: i32| (Some(n), Some(i64::from(n))));
        assert_eq!(found, expected, "pages of {size}");
    }
}

#[tokio::test]
async fn uploads_are_listed_in_order_and_pages() {
    let lab = Lab::new().await;
    let mut expected = Vec::new();
    for key in ["p/a", "p/a", "p/a!", "p/b", "p/b"] {
        expected.push((key.to_owned(), lab.begin(key).await));
    }
    lab.begin("other").await;
    lab.begin("z").await;
    assert_eq!(expected.iter().collect::<BTreeSet<_>>().len(), 5);
    for size in 1..=6 {
        let (mut found, mut key_marker, mut id_marker) = (Vec::new(), None, None);
        loop {
            let list = lab.client.list_multipart_uploads().bucket(BUCKET).prefix("p/");
            let list = list.set_key_marker(key_marker).set_upload_id_marker(id_marker);
            let page = list.max_uploads(size).send().await.unwrap();
            for upload in page.uploads() {
                assert!(upload.initiated.is_some());
                found.push((upload.key.clone().unwrap(), upload.upload_id.clone().unwrap()));
            }
            (key_marker, id_marker) = (page.next_key_marker, page.next_upload_id_marker);
            assert_eq!(page.is_truncated, Some(key_marker.is_some()));
            if key_marker.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "pages of {size}");
    }
    // A key marker alone passes over every upload of its key.
    let list = lab.client.list_multipart_uploads().bucket(BUCKET).key_marker("p/a");
    let page = list.send().await.unwrap();
    let keys: Vec<_> = page.uploads().iter().map(|upload| upload.key().unwrap()).collect();
    assert_eq!(keys, ["p/a!", "p/b", "p/b", "z"]);
}
