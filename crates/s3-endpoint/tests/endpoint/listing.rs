use aws_sdk_s3::types::ObjectStorageClass;

use crate::support::{BUCKET, Lab, code};

#[tokio::test]
async fn a_listing_is_paged_in_byte_order_and_ends_exactly() {
    let lab = Lab::new().await;
    // By UTF-16 units, U+FF5E would come after U+1F600.
    let keys = ["A", "a", "a!b", "a/1", "b", "\u{ff5e}", "\u{1f600}"];
    for key in keys.iter().rev() {
        lab.put(key, vec![]).await;
    }
    for size in 1..=8 {
        let (mut found, mut token) = (Vec::new(), None);
        loop {
            let list = lab.client.list_objects_v2().bucket(BUCKET).max_keys(size);
            let page = list.set_continuation_token(token).send().await.unwrap();
            assert_eq!(page.key_count, Some(page.contents().len() as i32));
            assert_eq!(page.is_truncated, Some(page.next_continuation_token.is_some()));
            found.extend(page.contents().iter().map(|o| o.key.clone().unwrap()));
            token = page.next_continuation_token;
            if token.is_none() {
                break;
            }
            assert_eq!(page.contents.unwrap().len(), size as usize);
        }
        assert_eq!(found, keys, "pages of {size}");
    }
}

#[tokio::test]
async fn prefix_and_start_after_bound_a_listing() {
    let lab = Lab::new().await;
    for key in ["a", "p/1", "p/2", "p/3", "q"] {
        lab.put(key, vec![]).await;
    }
    for (prefix, after, expected) in [
        ("p/", "", vec!["p/1", "p/2", "p/3"]),
        ("p/", "p/1", vec!["p/2", "p/3"]),
        ("p/", "a", vec!["p/1", "p/2", "p/3"]),
        ("p/", "q", vec![]),
        ("", "p/2x", vec!["p/3", "q"]),
    ] {
        let list = lab.client.list_objects_v2().bucket(BUCKET).prefix(prefix);
        let page = list.start_after(after).send().await.unwrap();
        let keys: Vec<_> = page.contents().iter().map(|o| o.key().unwrap()).collect();
        assert_eq!(keys, expected, "prefix {prefix:?} after {after:?}");
    }
}

#[tokio::test]
async fn a_delimiter_rolls_keys_up_across_pages() {
    let lab = Lab::new().await;
    for key in ["a", "d/1", "d/2", "d/sub/3", "e//4", "f"] {
        lab.put(key, vec![]).await;
    }
    for size in 1..=5 {
        let (mut found, mut token) = (Vec::new(), None);
        loop {
            let list = lab.client.list_objects_v2().bucket(BUCKET).delimiter("/").max_keys(size);
            let page = list.set_continuation_token(token).send().await.unwrap();
            let groups = page.common_prefixes().iter().map(|group| group.prefix.clone().unwrap());
            let mut entries: Vec<_> = groups.collect();
            entries.extend(page.contents().iter().map(|o| o.key.clone().unwrap()));
            entries.sort();
            assert_eq!(page.key_count, Some(entries.len() as i32));
            found.extend(entries);
            token = page.next_continuation_token;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(found, ["a", "d/", "e/", "f"], "pages of {size}");
    }
    let list = lab.client.list_objects_v2().bucket(BUCKET).delimiter("/").prefix("d/");
    let page = list.send().await.unwrap();
    assert_eq!(page.common_prefixes()[0].prefix(), Some("d/sub/"));
    assert_eq!(page.contents().len(), 2);
}

#[tokio::test]
async fn a_page_holds_at_most_a_thousand_keys() {
    let lab = Lab::new().await;
    for number in 0..1001 {
        lab.put(&format!("{number:04}"), vec![]).await;
    }
    let list = || lab.client.list_objects_v2().bucket(BUCKET);
    let page = list().max_keys(5000).send().await.unwrap();
    assert_eq!((page.contents().len(), page.max_keys), (1000, Some(1000)));
    let rest = list().set_continuation_token(page.next_continuation_token).send().await.unwrap();
    assert_eq!(rest.contents()[0].key(), Some("1000"));
    assert_eq!(rest.is_truncated, Some(false));

    let none = list().max_keys(0).send().await.unwrap();
    assert_eq!((none.contents().len(), none.is_truncated), (0, Some(false)));
    let bad = list().max_keys(-1).send().await.unwrap_err();
    assert_eq!(code(bad), "InvalidArgument");
    let bad = list().continuation_token("nonsense").send().await.unwrap_err();
    assert_eq!(code(bad), "InvalidArgument");
}

#[tokio::test]
async fn a_listing_says_what_a_head_says() {
    let lab = Lab::new().await;
    let put = lab.client.put_object().bucket(BUCKET).key("k").body(b"hello".to_vec().into());
    put.storage_class("STANDARD_IA".into()).send().await.unwrap();
    lab.put("standard", vec![]).await;
    let head = lab.client.head_object().bucket(BUCKET).key("k").send().await.unwrap();
    let page = lab.client.list_objects_v2().bucket(BUCKET).send().await.unwrap();
    let listed = &page.contents()[0];
    assert_eq!(listed.e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    assert_eq!(listed.e_tag, head.e_tag);
    assert_eq!(listed.last_modified, head.last_modified);
    assert_eq!((listed.size, head.content_length), (Some(5), Some(5)));
    assert_eq!(listed.storage_class, Some(ObjectStorageClass::StandardIa));
    assert_eq!(page.contents()[1].storage_class, Some(ObjectStorageClass::Standard));
}
