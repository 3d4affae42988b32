//! Processes that end at any moment, and sources that change at any moment.

use std::pin::pin;

use fastrand::Rng;

use crate::bench::{Bench, LARGE};
use testkit::local::{ALL, Local, noise};
use testkit::process::{signal, until};
use testkit::proxy::{Fault, Faults, Proxy, Rule};

/// So many runs are ended before one is left alone.
const DEATHS: usize = 6;

/// Ends runs by a signal after as many requests as the seed says, and leaves the last one alone.
async fn runs_ended_by(name: &str, seed: u64) {
    let mut bench = Bench::new().await;
    for n in 0..6 {
        bench.put(&format!("more/{n}"), noise(10_000, n)).await;
    }
    bench.put("another", noise(2 * LARGE, 9)).await;
    bench.local.set("MaxThread", "2");
    let mut rng = Rng::with_seed(seed);
    let mut deaths = 0;
    for death in 0..DEATHS {
        let run = bench.local.spawn(&["run", ALL[0], ALL[1]]);
        let id = run.id().to_string();
        let moment = bench.destination.seen().len() + rng.usize(2..14);
        let what = format!("request {moment} of run {death}, seed {seed}");
        let mut ended = pin!(run.ended());
        let (ended, signalled) = tokio::select! {
            ended = &mut ended => (ended, false),
            () = bench.destination.until(&what, |seen| seen.len() >= moment) => {
                signal(name, &id);
                (ended.await, true)
            }
        };
        match ended.status {
            // By SIGKILL; stopped by SIGTERM, before there was anything to do or after.
            None | Some(1) if signalled => deaths += 1,
            Some(0) => break,
            _ => panic!("{what}: {}", ended.all()),
        }
    }
    assert!(deaths > 0, "no run was ended by SIG{name}, seed {seed}");
    bench.local.run(&["run", ALL[0], ALL[1]]).await.with_status(0);
    bench.assert_arrived().await;
    // Every death costs at most the parts that were on their way.
    let sent = bench.destination.calls("UploadPart");
    assert!(sent <= 3 + 5 + DEATHS * 4, "{sent} parts were sent");
}

/// Promise 7.
#[tokio::test]
async fn runs_that_are_killed_at_any_moment_lose_nothing() {
    runs_ended_by("KILL", 1).await;
    runs_ended_by("KILL", 2).await;
}

/// Promise 7.
#[tokio::test]
async fn runs_that_are_stopped_at_any_moment_lose_nothing() {
    runs_ended_by("TERM", 3).await;
}

/// A part is damaged on its way, and its run is killed before the answer shows that: the upload on
/// record holds a part that no run has compared with anything. `own_etags`: which sides have ETags
/// that are no MD5s.
async fn a_damaged_part_is_left(own_etags: [bool; 2], number: u32) -> Bench {
    let local = Local::with_own_etags(own_etags).await;
    let mut bench = Bench::of(local).await;
    let line = Proxy::before_url(bench.destination.url()).await;
    bench.local.set("Destination_Endpoint", line.url());
    bench.local.set("MaxThread", "1");
    if own_etags[0] {
        // Known from the start, as it is after the first objects of a bucket.
        bench.local.set("Source_Quirks", "own-etags");
    }
    bench.put("large", noise(LARGE, 1)).await;
    line.inject(1, vec![Rule::on("UploadPart", Fault::FlipInRequest(100_000)).part(number)]);
    let hold = Rule::on("UploadPart", Fault::HoldAnswer).part(number).once();
    let held = bench.destination.inject(1, vec![hold]);
    let run = bench.local.spawn(&["run", ALL[0], ALL[1]]);
    held.held().await;
    run.kill().await;
    held.drop_held();
    bench.local.set("Destination_Endpoint", bench.destination.url());
    bench
}

/// Promise 3.
#[tokio::test]
async fn a_part_that_was_damaged_just_before_its_run_died_is_found() {
    for own_etags in [false, true] {
        let bench = a_damaged_part_is_left([own_etags, false], 2).await;
        let again = bench.local.run(&["run", ALL[0], ALL[1]]).await.with_status(0);
        bench.assert_arrived().await;
        // Two by the run that died, the third, and the damaged one again.
        assert_eq!(bench.destination.calls("UploadPart"), 4, "{own_etags}: {}", again.all());
    }
}

/// Promise 3.
#[tokio::test]
async fn a_part_sent_before_the_etags_were_known_to_be_no_md5s_is_sent_again() {
    for (known, verify_twice) in [(false, "False"), (true, "False"), (true, "True")] {
        let mut bench = a_damaged_part_is_left([false, true], 1).await;
        if known {
            bench.local.set("Destination_Quirks", "own-etags");
        }
        bench.local.set("ifVerifyMD5Twice", verify_twice);
        let again = bench.local.run(&["run", ALL[0], ALL[1]]).await.with_status(0);
        bench.assert_arrived().await;
        // Otherwise its ETag alone makes it look damaged.
        let is_resent = again.all().contains("before it knew that is sent again");
        assert_eq!(is_resent, known, "{}", again.all());
    }
}

/// Promise 5.
#[tokio::test]
async fn a_store_with_etags_of_its_own_is_known_by_the_third_try() {
    let mut bench = Bench::of(Local::with_own_etags([false, true]).await).await;
    bench.local.set("MaxThread", "1");
    bench.put("large", noise(LARGE, 1)).await;
    bench.local.run(&["run", ALL[0], ALL[1]]).await.with_status(0);
    bench.assert_arrived().await;
    // The first part twice as it comes and once after its digest, then a wrong body, which the store
    // refuses, then the other two.
    assert_eq!(bench.destination.calls("UploadPart"), 6);
}

/// Promises 3, 7.
#[tokio::test]
async fn parts_that_were_sent_after_their_digests_stay() {
    let mut bench = Bench::of(Local::with_own_etags([false, true]).await).await;
    bench.local.set("MaxThread", "1");
    bench.local.set("Destination_Quirks", "own-etags");
    bench.put("large", noise(LARGE, 1)).await;
    let hold = Rule::on("UploadPart", Fault::Hold).part(2).once();
    let held = bench.destination.inject(1, vec![hold]);
    let run = bench.local.spawn(&["run", ALL[0], ALL[1]]);
    held.held().await;
    run.kill().await;
    held.drop_held();
    // The record tells the next run as well.
    bench.local.set("Destination_Quirks", "");
    bench.local.run(&["run", ALL[0], ALL[1]]).await.with_status(0);
    bench.assert_arrived().await;
    // The first part, the one that was held, and the two that were left.
    assert_eq!(bench.source.calls("GetObject"), 4);
}

/// Promise 8.
#[tokio::test]
async fn an_upload_that_a_dead_worker_begins_late_is_cleared_away() {
    let mut bench = Bench::empty().await;
    bench.local.embedded();
    bench.local.set("VisibilityTimeout", "10");
    bench.put("large", noise(LARGE, 1)).await;
    bench.local.run(&["jobsender"]).await.with_status(0);
    let hold = |operation| vec![Rule::on(operation, Fault::Hold).once()];
    let late = bench.destination.inject(1, hold("CreateMultipartUpload"));
    let worker = bench.local.spawn(&["worker"]);
    late.held().await;
    worker.kill().await;
    let part = bench.destination.inject(1, hold("UploadPart"));
    let worker = bench.local.spawn(&["worker"]);
    part.held().await;
    late.let_go();
    until("the dead worker's upload begins", async || bench.local.destination.uploads().await == 2)
        .await;
    part.let_go();
    until("no upload is left", async || bench.local.destination.uploads().await == 0).await;
    worker.signal("TERM");
    worker.ended().await.with_status(0);
    bench.assert_arrived().await;
}

/// Replaces an object while a request of its copy is held.
async fn replaced(bench: &mut Bench, held: &Faults, key: &str, body: Vec<u8>) {
    held.held().await;
    bench.put(key, body).await;
    held.let_go();
}

/// Promise 2.
#[tokio::test]
async fn a_source_replaced_at_any_request_arrives_new_and_whole() {
    for (operation, at, size) in [
        // By one of the same size, of another one, and by one that is in one piece.
        ("HeadObject", 0, LARGE),
        ("GetObject", 0, LARGE),
        ("GetObject", 1, LARGE + 1),
        ("GetObject", 2, 10),
    ] {
        let mut bench = Bench::empty().await;
        bench.local.set("MaxThread", "1");
        bench.put("large", noise(LARGE, 1)).await;
        let hold = Rule::on(operation, Fault::Hold).after(at).once();
        let held = bench.source.inject(1, vec![hold]);
        let run = bench.local.spawn(&["run", ALL[0], ALL[1]]);
        replaced(&mut bench, &held, "large", noise(size, 2)).await;
        run.ended().await.with_status(0);
        // An upload that was begun for another object is given up, see SEMANTICS.md, promise 8.
        bench.assert_arrived().await;
    }
}

/// Promise 2.
#[tokio::test]
async fn a_source_replaced_between_the_last_part_and_the_completion_does_no_harm() {
    let mut bench = Bench::empty().await;
    bench.put("large", noise(LARGE, 1)).await;
    let hold = Rule::on("CompleteMultipartUpload", Fault::Hold).once();
    let held = bench.destination.inject(1, vec![hold]);
    let run = bench.local.spawn(&["run", ALL[0], ALL[1]]);
    replaced(&mut bench, &held, "large", noise(LARGE + 1, 2)).await;
    // The old one arrives whole; the closing comparison finds that it is the old one.
    let ended = run.ended().await.with_status(1);
    assert!(ended.stdout.contains("1 of 1 object missing or different"), "{}", ended.all());
    assert!(bench.local.destination.get("large").await == noise(LARGE, 1));
    bench.local.run(&["run", ALL[0], ALL[1]]).await.with_status(0);
    bench.assert_arrived().await;
}
