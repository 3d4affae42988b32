//! CompleteMultipartUpload, the call that S3 gives the most ways to misunderstand: errors inside a success,
//! lost answers, conflicts, uploads that are gone.

use crate::bench::Bench;
use testkit::local::noise;
use testkit::proxy::{Fault, Rule};

const COMPLETE: &str = "CompleteMultipartUpload";

/// A run in which the completion meets these faults, one after the other. No part is sent twice,
/// and one upload suffices.
async fn completed_in_spite_of(faults: Vec<Fault>) {
    let bench = Bench::new().await;
    let rules = faults.into_iter().map(|fault| Rule::on(COMPLETE, fault).once()).collect();
    bench.arrives_in_spite_of(Vec::new(), rules).await;
    assert_eq!(bench.destination.calls("CreateMultipartUpload"), 1);
    assert_eq!(bench.destination.calls("UploadPart"), 3);
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html: "A request could
// contain an error after the initial 200 OK response has been sent."
/// Promise 3.
#[tokio::test]
async fn an_error_inside_a_success_is_no_success() {
    let inside = |code| Fault::error(200, code);
    completed_in_spite_of(vec![inside("InternalError"), inside("SlowDown")]).await;
}

/// Promise 8.
#[tokio::test]
async fn an_object_whose_completion_was_not_answered_is_there_once() {
    completed_in_spite_of(vec![Fault::LostAnswer]).await;
}

/// Promise 8.
#[tokio::test]
async fn an_object_whose_completion_was_answered_by_an_error_is_there_once() {
    completed_in_spite_of(vec![Fault::error_after_the_work(500, "InternalError")]).await;
    completed_in_spite_of(vec![Fault::error_after_the_work(200, "InternalError")]).await;
}

/// Promise 8.
#[tokio::test]
async fn a_completion_that_conflicts_with_another_is_tried_again() {
    let conflict = |code| Fault::error(409, code);
    completed_in_spite_of(vec![
        conflict("OperationAborted"),
        conflict("ConditionalRequestConflict"),
    ])
    .await;
}

/// Promise 8.
#[tokio::test]
async fn an_upload_that_is_said_to_be_gone_leaves_one_right_object_and_nothing_else() {
    let bench = Bench::new().await;
    let gone = |operation| Rule::on(operation, Fault::error(404, "NoSuchUpload")).once();
    let part = gone("UploadPart").containing("large").part(2);
    bench.arrives_in_spite_of(Vec::new(), vec![gone(COMPLETE), part]).await;
}

/// Promise 8.
#[tokio::test]
async fn an_upload_aborted_by_somebody_else_is_begun_anew() {
    let mut bench = Bench::empty().await;
    bench.put("large", noise(crate::bench::LARGE, 2)).await;
    let held = bench.destination.inject(1, vec![Rule::on(COMPLETE, Fault::Hold).once()]);
    let abort = async {
        held.held().await;
        let (client, bucket) = (&bench.local.destination.client, testkit::local::BUCKETS[1]);
        let uploads = client.list_multipart_uploads().bucket(bucket).send().await.unwrap();
        let id = uploads.uploads()[0].upload_id().unwrap();
        let abort = client.abort_multipart_upload().bucket(bucket).key("large").upload_id(id);
        abort.send().await.unwrap();
        held.let_go();
    };
    tokio::join!(bench.arrives(), abort);
    assert_eq!(bench.destination.calls("CreateMultipartUpload"), 2);
}
