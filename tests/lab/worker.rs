//! Workers on a queue and a table, while these, the clock, the credentials or the workers
//! themselves fail.

use s3_migration::job::Job;

use crate::bench::LARGE;
use crate::cloud::Cloud;
use testkit::proxy::{Answer, Fault, Proxy, Rule};
use testkit::stage::until;

/// The shortest time that a dead worker's message stays hidden.
const SHORT: (&str, &str) = ("VisibilityTimeout", "10");

/// Promise 9.
#[tokio::test]
async fn a_queue_and_a_table_that_are_gone_for_a_while_lose_nothing() {
    let cloud = Cloud::of(&[10, LARGE, 0, 30, 40, LARGE, 60, 70, 80]).await;
    cloud.send().await;
    let worker = cloud.worker(&[("MaxParallelFile", "3")]);
    cloud.destination.until_calls("UploadPart", 2).await;
    cloud.queue.go_out();
    cloud.table.go_out();
    // Nothing else is asked of either, so that each refusal is a call that was made in vain.
    tokio::join!(cloud.queue.refused(2), cloud.table.refused(6));
    cloud.queue.come_back();
    cloud.table.come_back();
    cloud.assert_finished().await;
    worker.terminate().await;
}

/// Promise 9.
#[tokio::test]
async fn a_queue_and_a_table_that_throttle_every_other_call_lose_nothing() {
    let cloud = Cloud::of(&[10, LARGE, 0, 30, 40, 50]).await;
    cloud.send().await;
    let throttled = |code| Rule::always(Fault::error(400, code)).chance(0.5);
    let lost = || vec![Rule::always(Fault::LostAnswer).chance(0.1)];
    let _worker = cloud.worker(&[("MaxParallelFile", "2"), SHORT]);
    cloud.table.until_calls("DescribeTable", 1).await;
    // Each deletion that fails costs the rest of a lease.
    cloud.queue.inject(1, vec![throttled("ThrottlingException").most(5)]);
    cloud.table.inject(2, vec![throttled("ProvisionedThroughputExceededException")]);
    cloud.table.inject(3, lost());
    cloud.assert_finished().await;
    assert!(cloud.table.injected().len() > 1, "{:?}", cloud.table.injected());
}

/// Promise 9.
#[tokio::test]
async fn a_worker_begins_although_its_first_calls_fail() {
    let cloud = Cloud::of(&[10]).await;
    cloud.send().await;
    let once = |operation, fault| vec![Rule::on(operation, fault).once()];
    let faults = [
        cloud.queue.inject(1, once("GetQueueUrl", Fault::Reset)),
        cloud.queue.inject(1, once("GetQueueAttributes", Fault::error(400, "RequestThrottled"))),
        cloud.table.inject(1, once("DescribeTable", Fault::error(500, "InternalServerError"))),
        cloud.parameters.inject(1, once("GetParameter", Fault::LostAnswer)),
    ];
    let _worker = cloud.worker(&[]);
    cloud.assert_finished().await;
    assert!(faults.iter().all(|faults| faults.injected() == 1));
}

/// What S3 says to a clock that is off.
fn skewed() -> Vec<Rule> {
    vec![Rule::always(Fault::error(403, "RequestTimeTooSkewed"))]
}

/// Promise 9.
#[tokio::test]
async fn a_worker_whose_clock_is_off_by_an_hour_ends_and_buries_nothing() {
    let cloud = Cloud::of(&[10, 20, 30, 40, 50]).await;
    cloud.send().await;
    // Of S3 only, as if the queue were on the machine itself.
    let clocks = [cloud.source.inject(1, skewed()), cloud.destination.inject(1, skewed())];
    let mut worker = cloud.worker(&[]);
    assert_eq!(worker.ended().await.code(), Some(3), "{}", worker.log());
    assert!(worker.log().contains("set the clock"), "{}", worker.log());
    assert_eq!(cloud.destination.calls("PutObject"), 0);
    clocks.iter().for_each(|clock| clock.end());

    // Of everything; this is how SQS and DynamoDB say it.
    let skewed = || {
        let message = "Signature expired: 20260101T000000Z is now earlier than 20260101T005500Z";
        let expired = Answer::of(400, "InvalidSignatureException");
        vec![Rule::always(Fault::Answer(Answer { message, ..expired }))]
    };
    let clocks = [cloud.queue.inject(1, skewed()), cloud.table.inject(1, skewed())];
    let mut worker = cloud.worker(&[]);
    assert_eq!(worker.ended().await.code(), Some(3), "{}", worker.log());
    assert!(worker.log().contains("set the clock"), "{}", worker.log());
    clocks.iter().for_each(|clock| clock.end());

    let status = cloud.stage.status().await;
    assert_eq!((&status["dead"], &status["failed"]), (&0.into(), &0.into()), "{status}");
    let _worker = cloud.worker(&[]);
    cloud.assert_finished().await;
}

// The answer to a HEAD has no body, and so no code: nothing tells a clock that is off from a
// permission that is missing.
#[tokio::test]
async fn a_clock_that_is_off_buries_no_object_in_parts_either() {
    let cloud = Cloud::of(&[LARGE, LARGE, LARGE, 10, 20]).await;
    cloud.send().await;
    let clocks = [cloud.source.inject(1, skewed()), cloud.destination.inject(1, skewed())];
    let mut worker = cloud.worker(&[]);
    assert_eq!(worker.ended().await.code(), Some(3), "{}", worker.log());
    clocks.iter().for_each(|clock| clock.end());
    let status = cloud.stage.status().await;
    assert_eq!((&status["dead"], &status["failed"]), (&0.into(), &0.into()), "{status}");
}

/// Kills a worker while as many calls are held as may be made at once, and lets another one go on.
async fn killed_at(pick: impl Fn(&Cloud) -> (&Proxy, Rule), calls: u64, arrived: bool) -> Cloud {
    let cloud = Cloud::of(&[1000, LARGE]).await;
    let (proxy, rule) = pick(&cloud);
    let held = proxy.inject(1, vec![rule]);
    cloud.send().await;
    let first = cloud.worker(&[SHORT]);
    held.held_at_least(calls).await;
    drop(first);
    match arrived {
        true => held.let_go(),
        false => held.drop_held(),
    }
    held.end();
    let second = cloud.worker(&[SHORT]);
    cloud.assert_finished().await;
    second.terminate().await;
    cloud
}

/// The large object's end on record.
fn done(fault: Fault) -> Rule {
    Rule::on("UpdateItem", fault).containing("\"DONE\"").containing("object/01")
}

/// Promise 1.
#[tokio::test]
async fn a_crash_between_object_record_and_deletion_repeats_work_and_loses_none() {
    // Both messages are held at their deletion: all of their work is done.
    let deleted = |fault| Rule::on("DeleteMessage", fault);
    let (before_record, after_record, before_deletion, after_deletion) = tokio::join!(
        killed_at(|cloud| (&cloud.table, done(Fault::Hold)), 1, false),
        killed_at(|cloud| (&cloud.table, done(Fault::HoldAnswer)), 1, true),
        killed_at(|cloud| (&cloud.queue, deleted(Fault::Hold)), 2, false),
        killed_at(|cloud| (&cloud.queue, deleted(Fault::HoldAnswer)), 2, true),
    );
    // What is on record as done is not done again, nor is what the record knows by its seal.
    for cloud in [before_record, after_record, before_deletion, after_deletion] {
        assert_eq!(cloud.destination.calls("UploadPart"), 3);
    }
}

/// Promise 8.
/// The record names the upload of the object as it was before; the one that was begun for the new one
/// is known to nobody but the worker that dies.
#[tokio::test]
async fn a_crash_between_an_upload_begun_anew_and_its_record_leaves_no_upload() {
    let mut cloud = Cloud::of(&[LARGE]).await;
    let part = cloud.destination.inject(1, vec![Rule::on("UploadPart", Fault::Hold).once()]);
    cloud.send().await;
    let first = cloud.worker(&[SHORT, ("MaxThread", "1")]);
    part.held().await;
    let (key, body) = ("object/00".to_owned(), testkit::local::noise(LARGE + 1, 99));
    cloud.stage.put_source(&key, &body).await;
    cloud.objects.insert(key, body);
    let record =
        cloud.table.inject(1, vec![Rule::on("UpdateItem", Fault::Hold).containing("desBucket")]);
    part.let_go();
    record.held().await;
    drop(first);
    record.drop_held();
    record.end();
    assert_eq!(cloud.destination.calls("CreateMultipartUpload"), 2);
    let _second = cloud.worker(&[SHORT]);
    cloud.assert_finished().await;
}

/// Promise 8.
/// The record names an upload to continue; another one, begun by somebody who died before it was on
/// record, has no part.
#[tokio::test]
async fn an_upload_that_is_continued_leaves_no_empty_one_beside_it() {
    let cloud = Cloud::of(&[LARGE]).await;
    let rule = Rule::on("UploadPart", Fault::Hold).part(3);
    let part = cloud.destination.inject(1, vec![rule]);
    cloud.send().await;
    let first = cloud.worker(&[SHORT]);
    part.held().await;
    cloud.destination.until_calls("UploadPart", 3).await;
    until("two parts are there", async || (cloud.stage.parts().await.len() == 2).then_some(()))
        .await;
    drop(first);
    part.drop_held();
    part.end();
    let client = testkit::resources::s3(cloud.stage.at_destination());
    let empty = client.create_multipart_upload().bucket(&cloud.stage.destination);
    empty.key("moved/object/00").send().await.expect("CreateMultipartUpload");
    let _second = cloud.worker(&[SHORT]);
    cloud.assert_finished().await;
    assert_eq!(cloud.destination.calls("CreateMultipartUpload"), 1, "it was continued");
}

/// Kills a worker at the dead letter of a job that cannot be done.
async fn killed_at_the_dead_letter(fault: Fault, letters: std::ops::RangeInclusive<usize>) {
    let cloud = Cloud::of(&[]).await;
    // The letter's body and reason name the object; nothing else is sent.
    let held = cloud.queue.inject(1, vec![Rule::on("SendMessage", fault)]);
    cloud.stage.send(&cloud.job("absent").to_message()).await;
    let first = cloud.worker(&[SHORT]);
    held.held().await;
    // The record says so before the dead letter does.
    assert_eq!(cloud.stage.record("absent").await["jobStatus"], "FAILED");
    drop(first);
    held.drop_held();
    held.end();
    let _second = cloud.worker(&[SHORT]);
    until("the job is gone", async || (cloud.stage.depth().await == (0, 0)).then_some(())).await;
    assert_eq!(cloud.stage.record("absent").await["jobStatus"], "FAILED");
    let status = cloud.stage.status().await;
    let dead = status["dead"].as_u64().expect("a number") as usize;
    assert!(letters.contains(&dead), "{status}");
    let (body, reason) = cloud.stage.dead_letter().await;
    assert!(body.contains("absent"), "{body}");
    assert!(reason.is_some_and(|reason| reason.contains("GetObject")));
}

/// Promise 1.
#[tokio::test]
async fn a_crash_around_the_dead_letter_leaves_the_failure_on_record_and_in_it() {
    tokio::join!(
        killed_at_the_dead_letter(Fault::Hold, 1..=1),
        // Sent, and not known to be: it is sent once more.
        killed_at_the_dead_letter(Fault::HoldAnswer, 1..=2),
    );
}

/// Promise 8.
#[tokio::test]
async fn messages_that_come_twice_and_in_any_order_give_one_object_each() {
    let cloud = Cloud::of(&[0, 10, LARGE, 30, LARGE + 5, 50]).await;
    let jobs = cloud.objects.keys().map(|key| cloud.job(key));
    let mut messages: Vec<String> = jobs.flat_map(|job: Job| vec![job.to_message(); 3]).collect();
    fastrand::Rng::with_seed(4).shuffle(&mut messages);
    for message in &messages {
        cloud.stage.send(message).await;
    }
    let workers = [(); 2].map(|()| cloud.worker(&[("MaxParallelFile", "4")]));
    cloud.assert_finished().await;
    for worker in &workers {
        worker.terminate().await;
    }
}

/// Two workers on one object: the first one, whose log is the answer, is held until the second has
/// done all.
async fn overtaken_at(pick: impl Fn(&Cloud) -> (&Proxy, Rule)) -> String {
    let cloud = Cloud::of(&[LARGE]).await;
    let (proxy, rule) = pick(&cloud);
    let held = proxy.inject(1, vec![rule.once()]);
    cloud.send().await;
    // It has no room for the second message.
    let first = cloud.worker(&[("MaxParallelFile", "1")]);
    held.held().await;
    cloud.stage.send(&cloud.job("object/00").to_message()).await;
    let second = cloud.worker(&[]);
    until("the second is done", async || {
        (cloud.stage.records("DONE").await.len() == 1).then_some(())
    })
    .await;
    held.let_go();
    cloud.assert_finished().await;
    first.terminate().await;
    second.terminate().await;
    let completions = cloud.destination.calls("CompleteMultipartUpload");
    assert_eq!(
        completions, 1,
        "the first one never completes, nor does whoever has its message next"
    );
    first.log()
}

/// Promise 8.
#[tokio::test]
async fn two_workers_on_one_object_are_fenced_by_its_record() {
    let (sealing, _) = tokio::join!(
        // The first one sleeps on the seal, without which nothing may be completed ...
        overtaken_at(|cloud| {
            (&cloud.table, Rule::on("UpdateItem", Fault::Hold).containing("targetUploadId"))
        }),
        // ... or on the answer to its last part.
        overtaken_at(|cloud| {
            (&cloud.destination, Rule::on("UploadPart", Fault::HoldAnswer).part(3))
        }),
    );
    assert!(sealing.contains("another attempt has taken over"), "{sealing}");
}
