//! Headers that a store refuses: what is then left out, signed or written in another form.

use crate::http::Answer;
use crate::stage::{PATHS, Stage, TO, stage_by};
use crate::store::{MIB, Object, large};

#[tokio::test]
async fn unsigned_bodies_that_are_refused_are_signed() {
    let refusals = [
        (400, "InvalidDigest", "UNSIGNED-PAYLOAD PUT is not allowed"),
        (403, "AccessDenied", "x-amz-content-sha256 UNSIGNED-PAYLOAD is not supported here"),
        (400, "XAmzContentSHA256Mismatch", "no"),
    ];
    let all = PATHS.iter().flat_map(|path| refusals.map(|refusal| (path, refusal)));
    for (path, (status, code, text)) in all {
        let stage = stage_by(path).await;
        stage.store.put("large", large());
        for i in 0..5 {
            stage.store.put(format!("k{i}"), Object::new("x"));
        }
        stage.store.answer(move |request, _| {
            let unsigned = request.header("x-amz-content-sha256") == "UNSIGNED-PAYLOAD";
            (request.method == "PUT" && unsigned).then(|| Answer::error(status, code, text))
        });
        let ended = stage.migrate().await.with_status(0);
        stage.store.assert_whole();
        assert!(ended.stderr.contains("[signed-bodies]"), "{}", ended.stderr);
    }
}

/// Promise 0.
#[tokio::test]
async fn a_streamed_body_is_signed_where_that_is_wanted() {
    for path in PATHS {
        for (status, code) in [(403, "AccessDenied"), (403, "SignatureDoesNotMatch")] {
            for size in [7 * MIB, 12 * MIB] {
                let stage = stage_by(path).await;
                // One alone: no other has shown what is refused.
                stage.store.put("alone", Object::new(vec![7; size]));
                stage.store.answer(move |request, _| {
                    let unsigned = request.header("x-amz-content-sha256") == "UNSIGNED-PAYLOAD";
                    let refusal = Answer::error(status, code, "x-amz-content-sha256 is not right");
                    (request.method == "PUT" && unsigned).then_some(refusal)
                });
                stage.migrate().await.with_status(0);
                stage.store.assert_whole();
            }
        }
    }
}

/// What is no ASCII in user metadata, refused by a destination as it is.
async fn refuses_raw_metadata(stage: &Stage, refusal: fn() -> Answer) {
    for i in 0..5 {
        stage.store.put(format!("k{i}"), Object::new("x").header("x-amz-meta-owner", "me"));
    }
    for (key, size) in [("small", 1), ("streamed", 7 * MIB), ("parts", 12 * MIB)] {
        let object = Object::new(vec![3; size]).header("x-amz-meta-name", "Größe €");
        stage.store.put(key, object.header("x-amz-meta-plain", "=?as it is"));
    }
    stage.store.answer(move |request, _| {
        let raw = request.headers.iter().any(|(_, value)| !value.is_ascii());
        (request.writes() && raw).then(refusal)
    });
}

/// Promise 5.
#[tokio::test]
async fn metadata_that_is_refused_as_it_is_goes_as_encoded_words() {
    let refusals: [fn() -> Answer; 3] = [
        || Answer::error(400, "InvalidArgument", "Metadata must be US-ASCII"),
        || Answer::error(403, "SignatureDoesNotMatch", "it does not match"),
        || Answer::new(400, ""),
    ];
    for path in PATHS {
        for refusal in refusals {
            let stage = stage_by(path).await;
            refuses_raw_metadata(&stage, refusal).await;
            let ended = stage.migrate().await.with_status(0);
            assert!(ended.stderr.contains("RFC 2047"), "{}", ended.stderr);
            assert!(!ended.stdout.contains("metadata"), "nothing is lost: {}", ended.stdout);
            let data = stage.store.data();
            for key in ["small", "streamed", "parts"] {
                let copy = data.arrived(key).unwrap();
                let name = copy.value("x-amz-meta-name").unwrap();
                assert_eq!(name, "=?UTF-8?B?R3LDtsOfZSDigqw=?=", "{path} {key}");
                assert_eq!(copy.value("x-amz-meta-plain").unwrap(), "=?as it is");
            }
        }
    }
}

/// Promise 5.
#[tokio::test]
async fn metadata_that_is_refused_in_any_form_fails_by_name() {
    let stage = Stage::new().await;
    for i in 0..20 {
        stage.store.put(format!("k{i}"), Object::new("x"));
    }
    stage.store.put("odd", Object::new("x").header("x-amz-meta-name", "Größe"));
    stage.store.answer(|request, _| {
        let odd = request.writes() && !request.header("x-amz-meta-name").is_empty();
        odd.then(|| Answer::error(403, "SignatureDoesNotMatch", "it does not match"))
    });
    let ended = stage.migrate().await.with_status(1);
    assert_eq!(stage.store.data().destination().len(), 20);
    for part in ["from-here/odd", "x-amz-meta-name", "ASCII"] {
        assert!(ended.all().contains(part), "{part}: {}", ended.all());
    }
}

#[tokio::test]
async fn a_signature_that_does_not_match_may_lack_the_body() {
    let stage = Stage::new().await;
    for i in 0..5 {
        stage.store.put(format!("k{i}"), Object::new("x"));
    }
    stage.store.answer(|request, _| {
        let unsigned = request.header("x-amz-content-sha256") == "UNSIGNED-PAYLOAD";
        let refusal = Answer::error(403, "SignatureDoesNotMatch", "it does not match");
        (request.method == "PUT" && unsigned).then_some(refusal)
    });
    stage.migrate().await.with_status(0);
    stage.store.assert_whole();
}

#[tokio::test]
async fn without_content_md5_bodies_are_signed() {
    for path in PATHS {
        let mut stage = stage_by(path).await;
        // Its ETags prove nothing, so that parts are held with a digest in front.
        stage.ini("SSE = aws:kms\n");
        stage.store.put("large", large());
        for i in 0..5 {
            stage.store.put(format!("k{i}"), Object::new("x"));
        }
        stage.store.answer(|request, _| {
            let sent = !request.header("content-md5").is_empty();
            sent.then(|| Answer::error(501, "NotImplemented", "Content-MD5 is not supported"))
        });
        let ended = stage.migrate().await.with_status(0);
        stage.store.assert_whole();
        assert!(ended.stderr.contains("[no-content-md5]"), "{}", ended.stderr);
    }
}

/// Promise 5.
#[tokio::test]
async fn headers_that_a_store_refuses_are_left_out_and_named() {
    for path in PATHS {
        for (header, text, name) in [
            ("x-amz-tagging", "Header x-amz-tagging not implemented", "CopyTags"),
            ("x-amz-tagging", "", "CopyTags"),
            ("x-amz-storage-class", "A header you provided is not implemented", "StorageClass"),
            ("x-amz-acl", "", "ACL"),
        ] {
            let mut stage = stage_by(path).await;
            stage.ini("ACL = public-read\n");
            // One after another, so that the first one teaches the others.
            stage.set("PackObjects", "1");
            stage.set("MaxParallelFile", "1");
            stage.store.put("large", large().tags("k=v"));
            for i in 0..30 {
                stage.store.put(format!("k{i}"), Object::new("x").tags("k=v"));
            }
            stage.store.answer(move |request, _| {
                let refused = !request.header(header).is_empty();
                refused.then(|| Answer::error(501, "NotImplemented", text))
            });
            let ended = stage.migrate().await.with_status(0);
            stage.store.assert_whole();
            assert!(ended.stderr.contains(name), "{header} {text}: {}", ended.stderr);
            let sent = stage.store.asked(|request| !request.header(header).is_empty());
            assert!(sent <= 4, "{header}: sent {sent} times");
            let data = stage.store.data();
            let has_tags = data.arrived("k9").unwrap().tags == "k=v";
            assert_eq!(has_tags, header != "x-amz-tagging", "nothing else is left out");
        }
    }
}

/// Promise 5.
#[tokio::test]
async fn what_is_lost_by_that_is_in_the_summary() {
    let stage = Stage::new().await;
    for i in 0..30 {
        stage.store.put(format!("k{i}"), Object::new("x").tags("k=v"));
    }
    stage.store.answer(|request, _| {
        let tags = !request.header("x-amz-tagging").is_empty();
        tags.then(|| Answer::error(501, "NotImplemented", "x-amz-tagging"))
    });
    let ended = stage.run(&["run", "--json", "s3://from-here", "s3://to-there"]).await;
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    ended.with_status(0);
    assert_eq!(report["losses"][0]["objects"], 30, "{report}");
    assert_eq!(report["losses"][0]["bucket"], TO);
    let status = stage.run(&["status", "--json"]).await;
    assert!(!status.stdout.contains("panicked"));
}

#[tokio::test]
async fn a_tag_that_is_refused_by_itself_fails_by_itself() {
    let stage = Stage::new().await;
    stage.store.put("odd", Object::new("x").tags("aws:k=v"));
    stage.store.put("ok", Object::new("x").tags("k=v"));
    stage.store.answer(|request, _| {
        let odd = request.header("x-amz-tagging").contains("aws");
        odd.then(|| Answer::error(400, "InvalidTag", "Your TagKey cannot be prefixed with aws:"))
    });
    let ended = stage.migrate().await.with_status(1);
    stage.store.assert_arrived(&["ok"]);
    assert!(ended.all().contains("CopyTags"), "{}", ended.all());
    assert_eq!(stage.store.data().arrived("ok").unwrap().tags, "k=v");
}

#[tokio::test]
async fn a_refusal_of_one_value_costs_no_other_object_its_tags() {
    let mut stage = Stage::new().await;
    stage.set("PackObjects", "1");
    stage.set("MaxParallelFile", "1");
    stage.store.put("a-odd", Object::new("x").tags("k=odd"));
    for i in 0..5 {
        stage.store.put(format!("k{i}"), Object::new("x").tags("k=v"));
    }
    stage.store.put("odd", Object::new("x").tags("k=odd"));
    stage.store.answer(|request, _| {
        let odd = request.header("x-amz-tagging").contains("odd");
        odd.then(|| Answer::error(400, "InvalidArgument", "x-amz-tagging: the value is odd"))
    });
    let ended = stage.migrate().await.with_status(1);
    let data = stage.store.data();
    for i in 0..5 {
        assert_eq!(data.arrived(&format!("k{i}")).unwrap().tags, "k=v");
    }
    assert!(data.arrived("odd").is_none(), "tags are taken here: this one fails by its name");
    assert!(ended.all().contains("CopyTags"), "{}", ended.all());
}

/// Promise 5.
#[tokio::test]
async fn classes_of_other_stores_become_known_ones() {
    let mut stage = Stage::new().await;
    stage.set("StorageClass", "KEEP");
    for (key, class) in [("a", "IA"), ("b", "Standard"), ("c", "NEARLINE"), ("d", "ODD")] {
        stage.store.put(key, Object::new("x").class(class));
    }
    stage.store.answer(|request, _| {
        let class = request.header("x-amz-storage-class");
        let known = ["", "STANDARD", "STANDARD_IA"].contains(&class.as_str());
        (!known).then(|| Answer::error(400, "InvalidStorageClass", "bad class"))
    });
    let ended = stage.migrate().await.with_status(0);
    stage.store.assert_whole();
    let data = stage.store.data();
    let class = |key: &str| data.arrived(key).unwrap().class.clone();
    assert_eq!(
        [class("a"), class("b"), class("c"), class("d")],
        ["STANDARD_IA", "STANDARD", "STANDARD_IA", "STANDARD"]
    );
    assert!(ended.stderr.contains("StorageClass = "), "{}", ended.stderr);
}

#[tokio::test]
async fn no_class_is_sent_where_none_is_wanted() {
    let mut stage = Stage::new().await;
    stage.set("Mode_StorageClass", "NONE");
    stage.store.put("small", Object::new("x"));
    stage.store.put("large", large());
    stage.migrate().await.with_status(0);
    stage.store.assert_whole();
    assert_eq!(stage.store.asked(|r| !r.header("x-amz-storage-class").is_empty()), 0);
}

#[tokio::test]
async fn a_read_that_is_refused_for_an_optional_header_goes_without_it() {
    for path in PATHS {
        for (header, quirk) in [("if-match", "no-if-match"), ("range", "no-ranges")] {
            let stage = stage_by(path).await;
            // In parts at the source, so that it is read by ranges of a pinned ETag.
            stage.store.put("large", large().in_parts(&[5 * MIB, 5 * MIB, 2 * MIB]));
            stage.store.put("small", Object::new("x"));
            stage.store.answer(move |request, _| {
                let sent = request.reads() && !request.header(header).is_empty();
                sent.then(|| Answer::error(501, "NotImplemented", "not here"))
            });
            let ended = stage.migrate().await.with_status(0);
            stage.store.assert_whole();
            let said = ended.stderr.matches(&format!("[{quirk}]")).count();
            assert_eq!(said, 1, "{path} {header}: {}", ended.stderr);
        }
    }
}
