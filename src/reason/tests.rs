use super::*;
use crate::aws::ErrorAnswer;
use crate::error::Error;

/// The text of a store's refusal, as the store's adapter makes it.
fn refused(call: &str, status: u16, code: &str, text: &str) -> String {
    let answer = ErrorAnswer {
        status,
        code,
        text,
        body: "",
        request_id: Some("ID (status 1)"),
        retry_after: None,
    };
    answer.error(call).to_string()
}

/// Promise 10.
#[test]
fn a_refusal_has_the_reason_and_the_cure_of_its_code() {
    let (get, put) =
        ("GetObject s3://b/a (source): x (source)", "PutObject s3://d/k (destination)");
    for (call, status, code, word, cure) in [
        (get, 403, "AccessDenied", "denied-at-source", "GetObject is refused at the source: allow"),
        (put, 403, "AccessDenied", "denied-at-destination", "PutObject is refused at the destin"),
        (get, 403, "", "denied-at-source", "IAM policy"),
        (get, 404, "NoSuchKey", "gone-at-source", "deleted on purpose"),
        (put, 404, "NoSuchBucket", "no-bucket-at-destination", "check its name"),
        (get, 403, "InvalidObjectState", "archived-at-source", "restore it"),
        (put, 400, "KMS.DisabledException", "kms-key-at-destination", "kms:Decrypt"),
        (put, 400, "KmsNotFound", "kms-key-at-destination", "kms:Decrypt"),
        (put, 403, "SignatureDoesNotMatch", "credentials-at-destination", "secret access key"),
        (put, 400, "InvalidTag", "tags-at-destination", "CopyTags"),
        (put, 400, "InvalidStorageClass", "storage-class-at-destination", "StorageClass ="),
        (put, 501, "NotImplemented", "unsupported-at-destination", "switch off"),
        (put, 413, "", "proxy-at-destination", "ChunkSize"),
        (put, 507, "", "full-at-destination", "make room"),
        (put, 400, "InvalidArgument", "refused-at-destination", "the store refuses"),
        (put, 503, "SlowDown", "trouble-at-destination", "passes by itself"),
    ] {
        for text in ["", "words (of) a: store"] {
            let error = refused(call, status, code, text);
            let reason = Reason::of(&error);
            assert_eq!(reason.word(), word, "{error}");
            assert!(reason.cure(&error).contains(cure), "{}: {error}", reason.cure(&error));
            let alone = format!("no other object was tried meanwhile: {error}");
            assert_eq!((Reason::of(&alone), reason.cure(&alone)), (reason, reason.cure(&error)));
            assert!(is_known(word) && reason.is_meant(word), "{word}");
        }
    }
}

#[test]
fn what_was_given_up_is_trouble_that_passes() {
    let slow = refused("UploadPart s3://d/k (destination)", 500, "InternalError", "");
    for (error, word) in [
        (slow, "trouble-at-destination"),
        (
            "UploadPart s3://d/k (destination): connection refused".to_owned(),
            "trouble-at-destination",
        ),
        ("not finished within JobTimeout of 3 s".to_owned(), "trouble"),
    ] {
        let given_up = Error::invalid(error).context("given up, receipt 5").to_string();
        let reason = Reason::of(&given_up);
        assert_eq!(reason.word(), word, "{given_up}");
        assert!(reason.cure(&given_up).starts_with("this passes by itself"), "{given_up}");
    }
}

#[test]
fn messages_of_our_own_have_a_reason_too() {
    use crate::job::MessageRefusal;
    use crate::transfer::layout::TooLarge as Large;
    for (error, word) in [
        (MessageRefusal::NotAJob("x".into()).to_string(), "not-a-job"),
        (MessageRefusal::Newer(7).to_string(), "newer-format"),
        (MessageRefusal::NoDestination.to_string(), "no-route"),
        (MessageRefusal::NotListed("b".into()).to_string(), "no-route"),
        (MessageRefusal::ServesAnother("b".into(), "c".into()).to_string(), "no-route"),
        (crate::queue::spent_reason(60), "never-finished"),
        (Large { size: 1, max_parts: 1 }.to_string(), "too-large"),
        ("anything else".to_owned(), "other"),
        (String::new(), "other"),
    ] {
        let reason = Reason::of(&error);
        assert_eq!(reason.word(), word, "{error}");
        assert!(!reason.cure(&error).is_empty() && is_known(word));
    }
    assert!(!is_known("nonsense") && !is_known("denied-at-home"));
}
