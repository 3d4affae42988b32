//! `check` of two addresses on broken set-ups: each leads a first-time user to its fix.

use crate::http::{Answer, Request};
use crate::stage::{FROM, Stage, TO};
use crate::store::Object;

const CHECK: [&str; 3] = ["check", "s3://from-here", "s3://to-there"];

/// What fails on a store that answers some requests with this error.
async fn failed(status: u16, code: &'static str, is: fn(&Request) -> bool) -> String {
    let stage = Stage::new().await;
    stage.store.put("k", Object::new("x"));
    stage.store.answer(move |request, _| {
        is(request).then(|| Answer::error(status, code, "as the store says it"))
    });
    let ended = stage.run(&CHECK).await;
    assert!(matches!(ended.status, Some(1 | 3)), "{}", ended.all());
    assert!(!ended.all().contains("field-secret"), "{}", ended.all());
    let (looks, policies) = ended.stdout.split_once(" failed\n").expect("the counts");
    assert!(policies.contains("The smallest policy for"), "{}", ended.all());
    // Each finding with its further lines.
    let one_line = looks.replace("\n         ", " ");
    let failed: Vec<_> = one_line.lines().filter(|line| line.starts_with("failed")).collect();
    failed.join("\n")
}

/// Promise 10.
#[tokio::test]
async fn a_store_that_refuses_leads_to_the_fix() {
    let at_source: fn(&Request) -> bool = |request| request.bucket == FROM;
    let at_destination: fn(&Request) -> bool = |request| request.bucket == TO;
    let reads: fn(&Request) -> bool =
        |r| r.bucket == FROM && r.method == "GET" && !r.key.is_empty();
    for (status, code, is, words) in [
        (
            403,
            "SignatureDoesNotMatch",
            at_source,
            ["source s3://from-here/, list", "the secret access key does not match"],
        ),
        (301, "PermanentRedirect", at_source, ["source s3://from-here/, list", "region"]),
        (
            404,
            "NoSuchBucket",
            at_destination,
            ["destination s3://to-there/, list", "check its name, the region and the endpoint"],
        ),
        (
            400,
            "KMS.DisabledException",
            reads,
            ["source s3://from-here/, read", "the KMS key cannot be used: enable it"],
        ),
    ] {
        let failed = failed(status, code, is).await;
        for word in words {
            assert!(failed.contains(word), "{code}: no {word:?} in {failed}");
        }
        assert_eq!(failed.lines().count(), 1, "{code}: {failed}");
    }
}
