//! Refusals and outages: of one object, of who asks, of a side, of everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::http::{Answer, Request};
use crate::stage::{FROM, RUN, Stage, TO};
use crate::store::{MIB, Object};
use testkit::process::Ended;

const SIGNATURE: &str =
    "The request signature we calculated does not match the signature you provided.";

/// A stage with that many small objects `k000`, `k001` and so on.
async fn many(count: usize) -> Stage {
    let stage = Stage::new().await;
    put(&stage, "k", count);
    stage
}

fn put(stage: &Stage, prefix: &str, count: usize) {
    (0..count).for_each(|i| stage.store.put(format!("{prefix}{i:03}"), Object::new("x")));
}

/// The store refuses what is so, while `switch` is on.
fn refuse(
    stage: &Stage,
    switch: &Arc<AtomicBool>,
    answer: impl Fn() -> Answer + Send + 'static,
    is: impl Fn(&Request) -> bool + Send + 'static,
) {
    let switch = Arc::clone(switch);
    stage
        .store
        .answer(move |request, _| (switch.load(Ordering::Relaxed) && is(request)).then(&answer));
}

fn on() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(true))
}

/// What `is` so is refused with `answer` once `count` objects have arrived, while the switch is on.
fn refuse_from(
    stage: &Stage,
    count: usize,
    answer: Answer,
    is: fn(&Request) -> bool,
) -> Arc<AtomicBool> {
    let switch = on();
    let cured = Arc::clone(&switch);
    stage.store.answer(move |request, data| {
        let refuses = cured.load(Ordering::Relaxed) && data.destination().len() >= count;
        (refuses && is(request)).then(|| answer.clone())
    });
    switch
}

#[track_caller]
fn assert_says(ended: &Ended, words: &[&str]) {
    for word in words {
        assert!(ended.all().contains(word), "no {word:?} in {}", ended.all());
    }
}

#[track_caller]
fn assert_nothing_failed(ended: &Ended) {
    let failed = ended.stdout.lines().find(|line| line.trim().starts_with("failed"));
    let failed = failed.unwrap_or_else(|| panic!("no summary: {}", ended.all()));
    assert!(failed.contains(" 0 objects"), "{}", ended.all());
}

/// Promises 0, 9.
#[tokio::test]
async fn a_signature_that_fits_all_but_a_few_objects_is_theirs() {
    let stage = many(60).await;
    for i in 0..3 {
        let odd = "attachment; filename=\"Z\u{fc}rich  \u{20ac}.pdf\"";
        let object = Object::new("x").header("Content-Disposition", odd);
        stage.store.put(format!("a{i}"), object);
    }
    let answer = || Answer::error(403, "SignatureDoesNotMatch", SIGNATURE);
    refuse(&stage, &on(), answer, |request| request.writes() && request.key().starts_with('a'));
    let ended = stage.migrate().await.with_status(1);
    assert_says(&ended, &["a0", "a1", "a2", "Content-Disposition", "SignatureDoesNotMatch"]);
    assert_eq!(stage.store.data().destination().len(), 60);
}

/// Promises 0, 9.
#[tokio::test]
async fn a_secret_that_is_wrong_for_all_ends_the_run_with_a_summary() {
    let stage = many(300).await;
    let switch = refuse_from(
        &stage,
        50,
        Answer::error(403, "SignatureDoesNotMatch", SIGNATURE),
        Request::writes,
    );
    // Whatever is asked of the destination from then on.
    stage.store.answer(|request, data| {
        let refuses = data.destination().len() >= 50 && request.bucket == TO;
        let lists = refuses && request.is_listing();
        lists.then(|| Answer::error(403, "SignatureDoesNotMatch", SIGNATURE))
    });
    let ended = stage.migrate().await.with_status(3);
    assert_says(&ended, &["secret access key", "listed", "run the same command again"]);
    assert_nothing_failed(&ended);
    assert!(switch.load(Ordering::Relaxed));
}

// A quota, a full disk: both have many names.
async fn waits_for_room(answer: Answer) {
    let stage = many(300).await;
    let switch = refuse_from(&stage, 50, answer, Request::writes);
    let mut running = stage.spawn(&RUN);
    running.logs("accepts nothing more").await;
    switch.store(false, Ordering::Relaxed);
    let ended = running.ended().await.with_status(0);
    assert_says(&ended, &["full, or a quota", "accepts objects again"]);
    assert!(!ended.all().contains("IAM policy"), "{}", ended.all());
    assert_nothing_failed(&ended);
    stage.store.assert_whole();
}

/// Promises 0, 9.
#[tokio::test]
async fn what_is_full_is_waited_for_and_costs_no_object() {
    tokio::join!(
        waits_for_room(Answer::error(403, "QuotaExceeded", "no")),
        waits_for_room(Answer::error(507, "XMinioStorageFull", "no")),
        waits_for_room(Answer::new(507, "")),
    );
}

async fn waits_for_the_line(answer: Answer, hits: fn(&Request) -> bool) {
    let stage = many(150).await;
    let (switch, refused) = (on(), Arc::new(AtomicUsize::new(0)));
    let (cured, count) = (Arc::clone(&switch), Arc::clone(&refused));
    stage.store.answer(move |request, data| {
        let is_out = cured.load(Ordering::Relaxed) && data.destination().len() >= 20;
        let hit = is_out && hits(request);
        count.fetch_add(usize::from(hit), Ordering::Relaxed);
        hit.then(|| answer.clone())
    });
    let mut running = stage.spawn(&RUN);
    running.logs("does not answer").await;
    switch.store(false, Ordering::Relaxed);
    let ended = running.ended().await.with_status(0);
    assert_nothing_failed(&ended);
    assert!(refused.load(Ordering::Relaxed) > 0);
    stage.store.assert_whole();
}

/// Promises 0, 9.
#[tokio::test]
async fn an_outage_is_waited_for_and_costs_no_receipt() {
    tokio::join!(
        waits_for_the_line(Answer::dropped(), |_| true),
        waits_for_the_line(Answer::new(502, "<html>bad gateway</html>"), |r| r.bucket == FROM),
        waits_for_the_line(Answer::error(500, "InternalError", "no"), |r| r.bucket == TO),
    );
}

/// Everything is refused once 50 objects of 1,500 have arrived.
async fn is_recorded_for_none(method: &str, refuses: fn(&Request) -> bool) {
    let stage = many(1500).await;
    let denied = Answer::error(403, "AccessDenied", "Access Denied");
    let switch = refuse_from(&stage, 50, denied, refuses);
    let ended = stage.migrate().await.with_status(3);
    assert_says(&ended, &["every object alike", "IAM policy", "ignore list"]);
    assert_nothing_failed(&ended);
    let tried = stage.store.asked(|request| request.method == method && !request.key.is_empty());
    // What was under way, and one message after the other to see whether it passes.
    assert!(tried < 900, "{tried} times {method}");
    switch.store(false, Ordering::Relaxed);
    stage.migrate().await.with_status(0);
    stage.store.assert_whole();
}

/// Promises 0, 9.
#[tokio::test]
async fn what_is_refused_to_all_is_recorded_for_none() {
    // A key that decrypts no more refuses every GET, and no HEAD.
    let reads = |r: &Request| r.bucket == FROM && r.method == "GET" && !r.key.is_empty();
    tokio::join!(is_recorded_for_none("PUT", Request::writes), is_recorded_for_none("GET", reads),);
}

/// All objects of this prefix are refused, and 300 others are not.
async fn stops_no_other(prefix: &str, refuses: fn(&Request) -> bool) {
    let stage = many(300).await;
    put(&stage, prefix, 250);
    let answer = || Answer::error(403, "AccessDenied", "Access Denied");
    let denied = prefix.to_owned();
    refuse(&stage, &on(), answer, move |r| refuses(r) && r.key().starts_with(&denied));
    let ended = stage.migrate().await.with_status(1);
    assert_says(&ended, &[&format!("{prefix}0"), "AccessDenied", "250 objects"]);
    assert_eq!(stage.store.data().destination().len(), 300, "{prefix}: {}", ended.all());
}

/// Promises 0, 9.
#[tokio::test]
async fn a_prefix_that_is_refused_stops_no_other() {
    let reads = |r: &Request| r.bucket == FROM && r.method == "GET";
    tokio::join!(
        stops_no_other("denied/", Request::writes),
        stops_no_other("k2-denied/", Request::writes),
        stops_no_other("z-denied/", Request::writes),
        stops_no_other("z-in-no-folder", Request::writes),
        stops_no_other("z-denied/", reads),
    );
}

/// Promises 0, 9.
#[tokio::test]
async fn few_objects_that_are_all_refused_are_named() {
    let stage = many(2).await;
    let answer = || Answer::error(403, "AccessDenied", "Access Denied");
    refuse(&stage, &on(), answer, Request::writes);
    let ended = stage.migrate().await.with_status(1);
    assert_says(&ended, &["k000", "k001", "IAM policy"]);
}

/// Promises 0, 9.
#[tokio::test]
async fn a_bare_400_to_a_put_is_no_outage() {
    let stage = many(20).await;
    stage.store.put("a[1].txt", Object::new("x"));
    stage.store.put("a|2.txt", Object::new("x"));
    refuse(
        &stage,
        &on(),
        || Answer::new(400, "Bad Request"),
        |r| r.writes() && r.key().starts_with('a'),
    );
    let ended = stage.migrate().await.with_status(1);
    assert_says(&ended, &["a[1].txt", "a|2.txt", "is Endpoint right (http or https)?"]);
    assert_eq!(stage.store.data().destination().len(), 20);
    let tried = stage.store.asked(|r| r.writes() && r.key().starts_with('a'));
    assert!((4..=8).contains(&tried), "{tried} tries of two objects");
}

// A proxy's page while a store is failed over.
/// Promises 0, 9.
#[tokio::test]
async fn a_bare_404_is_nobodys_word_that_an_object_is_gone() {
    let stage = Stage::new().await;
    stage.store.put("large", Object::new(vec![7; 12 * MIB]));
    stage.store.put("small", Object::new("x"));
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    stage.store.answer(move |request, _| {
        let asks = request.bucket == FROM && !request.key.is_empty();
        let hit = asks && seen.fetch_add(1, Ordering::Relaxed) < 6;
        hit.then(|| Answer::new(404, "no such page"))
    });
    let ended = stage.migrate().await.with_status(0);
    assert!(count.load(Ordering::Relaxed) >= 6, "{}", ended.all());
    stage.store.assert_whole();
}

/// Promise 10.
#[tokio::test]
async fn a_page_that_is_no_listing_is_shown() {
    let stage = many(1).await;
    refuse(&stage, &on(), || Answer::new(200, "<html>\n<title>Welcome</title></html>"), |_| true);
    let ended = stage.migrate().await.with_status(3);
    assert_says(&ended, &["<html> <title>Welcome", "is Endpoint right (http or https)?"]);
}

/// Promise 10.
#[tokio::test]
async fn a_bucket_that_is_not_there_is_named_with_the_address() {
    let stage = many(1).await;
    let ended = stage.run(&["run", "s3://from-here", "s3://nowhere-here"]).await.with_status(3);
    assert_says(&ended, &["NoSuchBucket", &format!("the request went to {}", stage.store.url)]);
}

const CLUSTER: &str = "[Basic]\nssm_parameter_ignore_list =\nbucket_para_file = pairs.json\n\
                       [Backend]\nQueue = embedded\nState = embedded\n";

// Wrong keys, a wrong region: another worker may do better, so this one leaves the messages alone.
/// Promises 0, 9.
#[tokio::test]
async fn a_worker_that_is_refused_takes_no_message() {
    for (status, code) in [(403, "InvalidAccessKeyId"), (400, "AuthorizationHeaderMalformed")] {
        let mut stage = many(20).await;
        stage.ini(CLUSTER);
        let pair = format!(
            r#"[{{"src_bucket":"{FROM}","src_prefix":"","des_bucket":"{TO}","des_prefix":""}}]"#
        );
        stage.write("pairs.json", &pair);
        stage.run(&["jobsender"]).await.with_status(0);
        let before = stage.store.asked(|_| true);
        let answer = move || Answer::error(status, code, "no");
        let switch = on();
        refuse(&stage, &switch, answer, |request| request.bucket == TO);
        let ended = stage.run(&["worker"]).await.with_status(3);
        assert_says(&ended, &[code]);
        let asked = stage.store.asked(|_| true) - before;
        assert!(asked <= 4, "{asked} requests");
        assert_eq!(stage.store.asked(|request| !request.key.is_empty()), 0, "nothing was tried");
    }
}
