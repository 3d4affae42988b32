//! Bodies, lengths, redirects and refusals that a store has in its own way, and what is learned of it.

use crate::http::{Answer, Length, Request};
use crate::stage::{FROM, PATHS, Stage, TO, stage_by};
use crate::store::{Object, large};
use crate::uploads::{begins, rename};

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
