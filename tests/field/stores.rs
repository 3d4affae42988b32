//! Headers, calls and answers that a store does not know, or gives in its own way.

use crate::http::{Answer, Length, Request};
use crate::stage::{FROM, Stage, TO};
use crate::store::{MIB, Object};

/// Both ways of calling must behave alike.
const PATHS: [&str; 2] = ["lean", "sdk"];

async fn stage_by(path: &str) -> Stage {
    let mut stage = Stage::new().await;
    stage.set("HttpPath", path);
    stage
}

fn large() -> Object {
    Object::new((0..12 * MIB).map(|i| (i / 7) as u8).collect::<Vec<_>>())
}

fn begins(request: &Request) -> bool {
    request.method == "POST" && request.asks("uploads")
}

fn asks_for_a_part(request: &Request) -> bool {
    request.method == "HEAD" && request.asks("partNumber")
}

fn lists_uploads(request: &Request) -> bool {
    request.method == "GET" && request.key.is_empty() && request.asks("uploads")
}

fn lists_parts(request: &Request) -> bool {
    request.method == "GET" && request.asks("uploadId")
}

/// Puts other roots around the answers about uploads.
fn rename(answer: &mut Answer, from: &str, to: &str) {
    let text = String::from_utf8(std::mem::take(&mut answer.body)).unwrap();
    answer.body = text.replace(from, to).into_bytes();
}

#[tokio::test]
async fn answers_about_uploads_are_read_whatever_their_root() {
    for path in PATHS {
        let stage = stage_by(path).await;
        stage.store.put("large", large());
        stage.store.answer(|request, data| {
            let none = lists_uploads(request) && data.uploads.is_empty();
            none.then(|| Answer::error(404, "NoSuchUpload", "there is none"))
        });
        stage.store.edit(|request, answer, _| {
            if begins(request) {
                rename(answer, "InitiateMultipartUploadResult", "InitiateMultipartUpload");
            }
            if lists_parts(request) {
                rename(answer, "ListPartsResult", "ListPartsResponse");
            }
            if request.is_completion() {
                rename(answer, "CompleteMultipartUploadResult", "Completed");
                answer.body.splice(..0, *b" \n ");
            }
        });
        stage.migrate().await.with_status(0);
        stage.store.assert_whole();
        assert_eq!(stage.store.asked(begins), 1, "{path}: one upload");
    }
}

#[tokio::test]
async fn an_upload_whose_id_is_lost_is_found_and_aborted() {
    let stage = Stage::new().await;
    stage.store.put("large", large());
    let mut lost = 0;
    stage.store.edit(move |request, answer, _| {
        if begins(request) && lost < 1 {
            lost += 1;
            answer.body.truncate(answer.body.len() / 2);
        }
    });
    stage.migrate().await.with_status(0);
    stage.store.assert_whole();
}

#[tokio::test]
async fn a_list_of_parts_that_is_cut_is_asked_for_again() {
    let stage = Stage::new().await;
    stage.store.put("large", large());
    let mut cut = false;
    stage.store.edit(move |request, answer, _| {
        if lists_parts(request) && !cut {
            cut = true;
            answer.body.truncate(answer.body.len() - 40);
        }
    });
    stage.migrate().await.with_status(0);
    stage.store.assert_whole();
    let parts = stage.store.asked(Request::is_part);
    assert_eq!(parts, 3, "no part is sent again");
}

#[tokio::test]
async fn uploads_that_cannot_be_listed_cost_adoption_only() {
    for refusal in [403, 405, 501] {
        let stage = Stage::new().await;
        for key in ["a", "b", "c"] {
            stage.store.put(key, large());
        }
        stage.store.answer(move |request, _| {
            let code = if refusal == 403 { "AccessDenied" } else { "NotImplemented" };
            lists_uploads(request).then(|| Answer::error(refusal, code, "no"))
        });
        let ended = stage.migrate().await;
        let said = ended.stderr.matches("[no-upload-listing]").count();
        ended.with_status(0);
        assert_eq!(said, 1, "{refusal}: said once");
        stage.store.assert_whole();
    }
}

#[tokio::test]
async fn parts_that_cannot_be_listed_are_known_by_their_answers() {
    let stage = Stage::new().await;
    stage.store.put("large", large());
    stage.store.answer(|request, _| {
        lists_parts(request).then(|| Answer::error(501, "NotImplemented", "no"))
    });
    stage.migrate().await.with_status(0);
    stage.store.assert_whole();
}

#[tokio::test]
async fn a_head_of_a_part_that_is_refused_is_not_asked_for_again() {
    for status in [400, 405, 412, 416, 501] {
        let stage = Stage::new().await;
        for key in ["a", "b", "c", "d", "e", "f"] {
            let object = Object::new(vec![1; 6 * MIB]).in_parts(&[5 * MIB, MIB]);
            stage.store.put(key, object);
        }
        stage
            .store
            .answer(move |request, _| asks_for_a_part(request).then(|| Answer::new(status, "")));
        stage.migrate().await.with_status(0);
        stage.store.assert_whole();
        let asked = stage.store.asked(asks_for_a_part);
        assert!(asked <= 5, "{status}: asked {asked} times, five objects at once");
    }
}

#[tokio::test]
async fn a_head_of_a_part_that_is_ignored_is_given_up() {
    let mut stage = Stage::new().await;
    stage.set("MaxParallelFile", "1");
    for i in 0..9 {
        let object = Object::new(vec![1; 6 * MIB]).in_parts(&[5 * MIB, MIB]);
        stage.store.put(format!("k{i}"), object);
    }
    stage.store.answer(|request, _| {
        if asks_for_a_part(request) {
            request.query.remove("partNumber");
        }
        None
    });
    stage.migrate().await.with_status(0);
    stage.store.assert_whole();
    assert_eq!(stage.store.asked(asks_for_a_part), 4);
}

#[tokio::test]
async fn a_size_that_head_does_not_tell_is_never_nothing() {
    for path in PATHS {
        let stage = stage_by(path).await;
        stage.store.put("large", large());
        stage.store.put("small", Object::new("x"));
        stage.store.put("empty", Object::new(""));
        stage.store.edit(|request, answer, _| {
            if request.method == "HEAD" && request.bucket == FROM && !request.key.is_empty() {
                answer.length = Length::Unsaid;
            }
        });
        stage.migrate().await.with_status(0);
        stage.store.assert_whole();
    }
}

#[tokio::test]
async fn a_size_of_nothing_is_looked_at_twice() {
    let stage = Stage::new().await;
    stage.store.put("large", large());
    stage.store.put("empty", Object::new(""));
    stage.store.edit(|request, answer, _| {
        if request.method == "HEAD" && request.bucket == FROM && !request.key.is_empty() {
            answer.length = Length::Claimed(0);
        }
    });
    stage.migrate().await.with_status(0);
    stage.store.assert_whole();
}

/// Promise 5.
#[tokio::test]
async fn an_empty_object_of_another_etag_needs_no_listing() {
    let digest = "00112233445566778899aabbccddeeff";
    let encrypted = ("x-amz-server-side-encryption", "aws:kms");
    for (etag, (name, value)) in
        [(format!("\"{digest}\""), encrypted), (format!("\"{digest}-1\""), ("expires", "0"))]
    {
        let stage = Stage::new().await;
        stage.store.put("folder/", Object::new("").etag(etag).header(name, value));
        stage.store.put("other", Object::new("x"));
        // As for a worker that may not list.
        stage.store.answer(|request, _| {
            let of_one =
                request.query.get("prefix").is_some_and(|prefix| prefix.contains("folder"));
            let refuses = request.is_listing() && of_one;
            refuses.then(|| Answer::error(403, "AccessDenied", "s3:ListBucket"))
        });
        let ended = stage.migrate().await.with_status(0);
        stage.store.assert_whole();
        assert!(!ended.all().contains("AccessDenied"), "{}", ended.all());
    }
}

#[tokio::test]
async fn bodies_without_a_length_are_as_long_as_is_known_otherwise() {
    for path in PATHS {
        let stage = stage_by(path).await;
        stage.store.put("large", large());
        stage.store.put("small", Object::new("some bytes"));
        stage.store.put("empty", Object::new(""));
        stage.store.edit(|request, answer, _| {
            let object = request.bucket == FROM && !request.key.is_empty();
            if object && answer.status < 300 {
                let is_head = request.method == "HEAD";
                answer.length = if is_head { Length::Unsaid } else { Length::Chunked };
            }
        });
        let ended = stage.migrate().await.with_status(0);
        stage.store.assert_whole();
        assert!(ended.stderr.contains("[no-lengths]"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn a_body_without_a_length_that_ends_early_is_no_object() {
    let stage = Stage::new().await;
    stage.store.put("small", Object::new("some bytes"));
    stage.store.edit(|request, answer, _| {
        if request.reads() {
            answer.length = Length::Unsaid;
            answer.body.truncate(4);
        }
    });
    stage.migrate().await.with_status(1);
    assert!(stage.store.data().arrived("small").is_none());
}

/// Promise 5.
#[tokio::test]
async fn a_gzip_object_arrives_as_it_is_stored() {
    for path in PATHS {
        let stage = stage_by(path).await;
        for i in 0..5 {
            let object = Object::new("the compressed bytes").header("Content-Encoding", "gzip");
            stage.store.put(format!("k{i}"), object);
        }
        stage.store.answer(|request, data| {
            let identity = !request.header("accept-encoding").contains("gzip");
            (request.reads() && identity).then(|| {
                let etag = &data.source()[&request.key].etag;
                let etag = format!("W/{etag}");
                let answer = Answer::new(200, "decompressed and much longer than it was before");
                Answer { length: Length::Chunked, ..answer.with("ETag", etag) }
            })
        });
        let ended = stage.migrate().await.with_status(0);
        stage.store.assert_whole();
        assert_eq!(ended.stderr.matches("[decompresses-gzip]").count(), 1, "{path}");
    }
}

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

/// Promise 5.
#[tokio::test]
async fn the_framing_of_an_upload_does_not_travel() {
    for path in PATHS {
        let stage = stage_by(path).await;
        for (key, encoding) in [("a", "aws-chunked"), ("b", "AWS-chunked, gzip"), ("c", "gzip")] {
            stage.store.put(key, Object::new("x").header("Content-Encoding", encoding));
        }
        stage.store.put("large", large().header("Content-Encoding", "gzip,aws-chunked"));
        stage.migrate().await.with_status(0);
        let data = stage.store.data();
        let encoding = |key: &str| data.arrived(key).unwrap().value("content-encoding");
        assert_eq!(encoding("a"), None);
        for key in ["b", "c", "large"] {
            assert_eq!(encoding(key).as_deref(), Some("gzip"), "{path} {key}");
        }
    }
}

/// Promise 5.
#[tokio::test]
async fn hundreds_of_headers_are_read() {
    let stage = Stage::new().await;
    let many = (0..300)
        .fold(Object::new("x"), |object, i| object.header(&format!("x-amz-meta-k{i}"), "v"));
    stage.store.put("large", Object { headers: many.headers.clone(), ..large() });
    stage.store.put("many", many);
    stage.migrate().await.with_status(0);
    stage.store.assert_whole();
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

#[tokio::test]
async fn a_temporary_redirect_is_followed() {
    let stage = Stage::new().await;
    for key in ["a", "b"] {
        stage.store.put(key, Object::new("x"));
    }
    stage.store.put("large", large());
    let url = stage.store.url.clone();
    let mut seen = std::collections::BTreeMap::new();
    stage.store.answer(move |request, _| {
        let times = seen.entry(request.target.clone()).or_insert(0);
        *times += 1;
        let target = format!("{url}{}", request.target);
        let moved = request.writes() || request.reads();
        (moved && *times < 2).then(|| Answer::new(307, "").with("Location", target))
    });
    stage.migrate().await.with_status(0);
    stage.store.assert_whole();
}

#[tokio::test]
async fn a_redirect_to_a_stranger_is_not_followed() {
    let stage = Stage::new().await;
    stage.store.put("a", Object::new("x"));
    let stranger = Stage::new().await;
    let port = stranger.store.url.rsplit_once(':').unwrap().1.to_owned();
    stage.store.answer(move |request, _| {
        let elsewhere = format!("http://localhost:{port}{}", request.target);
        request.writes().then(|| Answer::new(307, "").with("Location", elsewhere))
    });
    stage.migrate().await.with_status(1);
    assert_eq!(stranger.store.asked(|_| true), 0);
}

#[tokio::test]
async fn an_archived_class_elsewhere_is_read_and_what_cannot_be_is_named() {
    let stage = Stage::new().await;
    stage.store.put("readable", Object::new("x").class("GLACIER"));
    stage.store.put("frozen", Object::new("x").class("DEEP_ARCHIVE"));
    stage.store.answer(|request, _| {
        let frozen = request.reads() && request.key == b"frozen";
        frozen.then(|| Answer::error(403, "InvalidObjectState", "not valid for the object's class"))
    });
    let ended = stage.migrate().await.with_status(1);
    stage.store.assert_arrived(&["readable"]);
    assert!(stage.store.data().arrived("frozen").is_none());
    assert!(ended.all().contains("restore"), "{}", ended.all());
}

/// Promise 5.
#[tokio::test]
async fn metadata_that_a_destination_drops_is_told() {
    let stage = Stage::new().await;
    for i in 0..30 {
        let object = Object::new("x").header("Cache-Control", "max-age=5");
        stage.store.put(format!("k{i}"), object.header("x-amz-meta-owner", "me"));
    }
    stage.store.answer(|request, _| {
        if request.writes() {
            request.headers.retain(|(name, _)| !name.starts_with("x-amz-meta-"));
        }
        None
    });
    let ended = stage.migrate().await.with_status(0);
    let text = ended.all();
    assert!(ended.stdout.contains("20 objects: user metadata"), "{text}");
    assert!(!text.contains("Cache-Control"), "{text}");
}

/// Promise 5.
#[tokio::test]
async fn tags_that_a_destination_drops_are_told() {
    for counts in [true, false] {
        let stage = Stage::new().await;
        for i in 0..30 {
            stage.store.put(format!("k{i}"), Object::new("x").tags("k=v"));
        }
        stage.store.edit(move |request, answer, data| {
            if request.writes() {
                data.bucket(TO).values_mut().for_each(|object| object.tags.clear());
            }
            if !counts {
                answer.remove("x-amz-tagging-count");
            }
        });
        let ended = stage.migrate().await.with_status(0);
        assert!(ended.stdout.contains("20 objects: tags"), "{counts}: {}", ended.all());
    }
}

/// Promise 5.
#[tokio::test]
async fn metadata_that_is_kept_is_not_spoken_of() {
    let stage = Stage::new().await;
    let object = Object::new("x").header("x-amz-meta-Owner", "me").header("Expires", "0");
    stage.store.put("small", object.header("Cache-Control", "max-age=5, public"));
    stage.store.put("plain", Object::new("x").tags("k=v"));
    stage.store.put("large", large().header("Content-Type", "image/png"));
    stage.store.edit(|request, answer, _| {
        let copy = request.bucket == TO && request.method == "HEAD";
        if copy && !answer.headers.iter().any(|(name, _)| name == "content-type") {
            answer.set("content-type", "binary/octet-stream");
        }
    });
    let ended = stage.migrate().await.with_status(0);
    assert!(!ended.all().contains("metadata"), "{}", ended.all());
    assert!(!ended.all().contains("tags"), "{}", ended.all());
}

/// Promise 5.
#[tokio::test]
async fn metadata_that_a_source_cannot_send_is_told() {
    let stage = Stage::new().await;
    stage.store.put("odd", Object::new("x").header("x-amz-missing-meta", "2"));
    let ended = stage.migrate().await.with_status(0);
    assert!(ended.stdout.contains("x-amz-missing-meta"), "{}", ended.all());
}

/// Promise 5.
#[tokio::test]
async fn tags_arrive_also_where_they_are_not_counted() {
    let stage = Stage::new().await;
    for i in 0..60 {
        stage.store.put(format!("k{i:02}"), Object::new("x").tags("k=v"));
    }
    stage.store.edit(|_, answer, _| answer.remove("x-amz-tagging-count"));
    stage.migrate().await.with_status(0);
    let data = stage.store.data();
    assert!(data.destination().values().all(|object| object.tags == "k=v"));
}

/// Objects with tags at a source that does not count them, whose question for tags is answered so this
/// often (for ever: `u32::MAX`).
async fn tags_refused(objects: u32, answer: fn() -> Answer, times: u32) -> Stage {
    let mut stage = Stage::new().await;
    stage.set("PackObjects", "1");
    stage.set("MaxParallelFile", "1");
    for i in 0..objects {
        stage.store.put(format!("k{i:02}"), Object::new("x").tags("k=v"));
    }
    let mut asked = 0;
    stage.store.answer(move |request, _| {
        let refuses = request.bucket == FROM && request.asks("tagging") && asked < times;
        asked += u32::from(refuses);
        refuses.then(answer)
    });
    stage.store.edit(|_, answer, _| answer.remove("x-amz-tagging-count"));
    stage
}

fn with_tags(stage: &Stage) -> usize {
    let data = stage.store.data();
    data.destination().values().filter(|object| object.tags == "k=v").count()
}

/// Promise 5.
#[tokio::test]
async fn a_passing_refusal_of_one_question_costs_no_tags() {
    let refusals: [fn() -> Answer; 5] = [
        || Answer::new(404, ""),
        || Answer::new(400, ""),
        || Answer::error(400, "ExpiredToken", "it is over"),
        || Answer::error(400, "InvalidToken", "it is not known"),
        || Answer::error(404, "NoSuchTagSet", "there are none"),
    ];
    for (i, refusal) in refusals.into_iter().enumerate() {
        let stage = tags_refused(6, refusal, 1).await;
        let ended = stage.migrate().await.with_status(0);
        // The last of them is an answer: this object has none.
        assert_eq!(with_tags(&stage), if i < 4 { 6 } else { 5 }, "{i}: {}", ended.all());
    }
}

/// Promises 0, 5.
#[tokio::test]
async fn a_source_that_knows_no_tags_is_told_of_once() {
    let refusals: [(fn() -> Answer, u32); 4] = [
        (|| Answer::error(501, "NotImplemented", "no"), 15),
        (|| Answer::new(405, ""), 15),
        // Each is asked three times, as many at once as are copied.
        (|| Answer::new(404, ""), 60),
        (|| Answer::error(400, "InvalidArgument", "tagging"), 60),
    ];
    for (refusal, most) in refusals {
        let stage = tags_refused(90, refusal, u32::MAX).await;
        let ended = stage.migrate().await.with_status(0);
        stage.store.assert_whole();
        let asked = stage.store.asked(|request| request.asks("tagging"));
        assert!(asked as u32 <= most, "asked {asked} times: {}", ended.all());
        assert_eq!(ended.stderr.matches("without their tags").count(), 1, "{}", ended.all());
    }
}

/// Promise 5.
#[tokio::test]
async fn where_an_object_has_had_tags_no_refusal_means_that_there_are_none() {
    let mut stage = Stage::new().await;
    stage.set("PackObjects", "1");
    stage.set("MaxParallelFile", "1");
    for i in 0..4 {
        stage.store.put(format!("k{i}"), Object::new("x").tags("k=v"));
    }
    stage.store.answer(|request, _| {
        let refuses = request.bucket == FROM && request.asks("tagging") && request.key() == "k2";
        refuses.then(|| Answer::new(404, ""))
    });
    stage.store.edit(|_, answer, _| answer.remove("x-amz-tagging-count"));
    let ended = stage.migrate().await.with_status(1);
    assert_eq!(with_tags(&stage), 3, "{}", ended.all());
    assert!(stage.store.data().arrived("k2").is_none(), "{}", ended.all());
}

/// Promise 5.
#[tokio::test]
async fn objects_without_tags_are_asked_a_few_times_only() {
    let mut stage = Stage::new().await;
    stage.set("PackObjects", "1");
    stage.set("MaxParallelFile", "1");
    for i in 0..90 {
        stage.store.put(format!("k{i:02}"), Object::new("x"));
    }
    stage.migrate().await.with_status(0);
    assert_eq!(stage.store.asked(|request| request.asks("tagging")), 20);
}

#[tokio::test]
async fn what_was_learned_is_kept_and_printed_and_can_be_pinned() {
    let mut stage = Stage::new().await;
    stage.ini("Quirks = -no-tags\n[Backend]\nQueue = embedded\nState = embedded\n");
    stage.store.put("a", Object::new("x"));
    let tagless = |request: &mut Request, _: &mut crate::store::Data| {
        let class = !request.header("x-amz-storage-class").is_empty();
        class.then(|| Answer::error(501, "NotImplemented", "x-amz-storage-class"))
    };
    stage.store.answer(tagless);
    let classes = |stage: &Stage| {
        stage.store.asked(|request| !request.header("x-amz-storage-class").is_empty())
    };
    stage.migrate().await.with_status(0);
    assert_eq!(classes(&stage), 1);
    stage.store.put("b", Object::new("y"));
    stage.migrate().await.with_status(0);
    assert_eq!(classes(&stage), 1, "known from the first run");
    let status = stage.run(&["status", "--json"]).await;
    assert!(status.stdout.contains("no-storage-class"), "{}", status.all());
    stage.ini("[Debug]\nLogFormat = text\n");
    stage.set("Destination_Quirks", "no-such-quirk");
    let refused = stage.migrate().await.with_status(2);
    assert!(refused.all().contains("no-part-sizes"), "the names are listed: {}", refused.all());
}

#[tokio::test]
async fn a_check_leaves_nothing_behind() {
    let stage = Stage::new().await;
    let mut stage = stage;
    stage.ini(
        "[Basic]\nbucket_para_file = buckets.json\nssm_parameter_ignore_list =\n\
         [Backend]\nQueue = embedded\nState = embedded\n",
    );
    let pair = format!(
        "[{{\"src_bucket\": \"{FROM}\", \"src_prefix\": \"\", \"des_bucket\": \"{TO}\", \
         \"des_prefix\": \"\"}}]"
    );
    stage.write("buckets.json", &pair);
    stage.store.put("a", Object::new("x"));
    stage.store.edit(|request, answer, _| {
        if begins(request) {
            rename(answer, "InitiateMultipartUploadResult", "InitiateMultipartUpload");
        }
    });
    stage.store.answer(|request, _| {
        let tags = !request.header("x-amz-tagging").is_empty();
        tags.then(|| Answer::error(501, "NotImplemented", ""))
    });
    let checked = stage.run(&["check"]).await;
    let data = stage.store.data();
    assert!(data.uploads.is_empty() && data.destination().is_empty(), "{}", checked.all());
    assert!(checked.stdout.contains("no-tags"), "{}", checked.all());
}
