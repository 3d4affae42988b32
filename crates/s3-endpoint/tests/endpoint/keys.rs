use aws_sdk_s3::types::{Delete, EncodingType, ObjectIdentifier};

use crate::support::{BUCKET, Lab, decoded};

fn odd_keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        "plain",
        "a//b",
        "./x",
        "../y",
        "x/..",
        "/leading",
        "//",
        "/",
        "trailing/",
        " space ",
        "+",
        "%2F",
        "%",
        "a%20b+c",
        "ü/文件",
        "\u{1F600}",
        "a&b=c?d#e",
        "<&>\"'",
        "~*()!$,;:@[]{}|\\^`",
        "new\nline",
        "return\rline",
        "tab\t",
        "\u{1}",
        "\u{1f}\u{7f}",
        "\u{85}\u{9f}",
        "\u{fffe}",
        "null\0",
    ]
    .map(str::to_owned)
    .into();
    keys.push("k".repeat(1024));
    keys.push("件".repeat(341) + "x");
    keys
}

#[tokio::test]
async fn odd_keys_arrive_under_their_own_bytes() {
    let lab = Lab::new().await;
    for key in odd_keys() {
        lab.put(&key, key.clone().into_bytes()).await;
        assert_eq!(lab.get(&key).await, key.as_bytes(), "{key:?}");
        let head = lab.client.head_object().bucket(BUCKET).key(&key).send().await.unwrap();
        assert_eq!(head.content_length, Some(key.len() as i64), "{key:?}");
    }

    let list = lab.client.list_objects_v2().bucket(BUCKET).encoding_type(EncodingType::Url);
    let listing = list.send().await.unwrap();
    let listed: Vec<_> = listing.contents().iter().map(|o| decoded(o.key().unwrap())).collect();
    let mut expected = odd_keys();
    expected.sort();
    assert_eq!(listed, expected);

    for key in odd_keys() {
        let list = lab.client.list_objects_v2().bucket(BUCKET).encoding_type(EncodingType::Url);
        let listing = list.prefix(&key).max_keys(1).send().await.unwrap();
        assert_eq!(decoded(listing.contents()[0].key().unwrap()), key);
        assert_eq!(decoded(listing.prefix().unwrap()), key);
        lab.client.delete_object().bucket(BUCKET).key(&key).send().await.unwrap();
    }
    assert_eq!(lab.files(), [""; 0]);
}

#[tokio::test]
async fn odd_keys_arrive_in_parts() {
    let lab = Lab::new().await;
    for key in odd_keys() {
        let id = lab.begin(&key).await;
        let part = lab.part(&key, &id, 1, key.clone().into_bytes()).await;
        let list = lab.client.list_parts().bucket(BUCKET).key(&key).upload_id(&id);
        let listed = list.send().await.unwrap_or_else(|e| panic!("{key:?}: {e:?}"));
        assert_eq!(listed.parts()[0].e_tag, part.e_tag, "{key:?}");

        let list = lab.client.list_multipart_uploads().bucket(BUCKET);
        let list = list.encoding_type(EncodingType::Url).prefix(&key);
        let listed = list.send().await.unwrap();
        assert_eq!(decoded(listed.uploads()[0].key().unwrap()), key);

        lab.complete(&key, &id, vec![part]).await.unwrap();
        assert_eq!(lab.get(&key).await, key.as_bytes(), "{key:?}");
    }
}

#[tokio::test]
async fn odd_keys_are_deleted_in_a_batch() {
    let lab = Lab::new().await;
    for key in odd_keys() {
        lab.put(&key, vec![]).await;
    }
    let named = odd_keys().into_iter().map(|key| ObjectIdentifier::builder().key(key).build());
    let named = named.collect::<Result<_, _>>().unwrap();
    let delete = Delete::builder().set_objects(Some(named)).build().unwrap();
    let answer = lab.client.delete_objects().bucket(BUCKET).delete(delete).send().await.unwrap();
    assert_eq!(answer.deleted().len(), odd_keys().len());
    assert_eq!(lab.files(), [""; 0]);
}

/// An answer may leave the key out that it only repeats; it must not repeat another one.
#[tokio::test]
async fn keys_that_xml_cannot_carry_are_left_out_of_answers() {
    let lab = Lab::new().await;
    for (key, expected) in [("a\n", None), ("\u{1}", None), ("<&>", Some("<&>"))] {
        let create = lab.client.create_multipart_upload().bucket(BUCKET).key(key);
        assert_eq!(create.send().await.unwrap().key(), expected);
    }
}

#[tokio::test]
async fn a_key_of_more_than_1024_bytes_is_refused() {
    let lab = Lab::new().await;
    let put = lab.client.put_object().bucket(BUCKET).key("k".repeat(1025)).send().await;
    assert_eq!(crate::support::code(put.unwrap_err()), "KeyTooLongError");
}

#[tokio::test]
async fn url_encoding_is_the_one_of_s3() {
    let lab = Lab::new().await;
    for (key, encoded) in [
        ("test_file(3).png", "test_file%283%29.png"),
        ("a b+c/d%e", "a+b%2Bc/d%25e"),
        ("ü-._*~", "%C3%BC-._*%7E"),
        ("\u{1}\n", "%01%0A"),
    ] {
        lab.put(key, vec![]).await;
        let list = lab.client.list_objects_v2().bucket(BUCKET).encoding_type(EncodingType::Url);
        let listing = list.prefix(key).send().await.unwrap();
        assert_eq!(listing.contents()[0].key(), Some(encoded));
        assert_eq!(listing.prefix(), Some(encoded));
    }
}
