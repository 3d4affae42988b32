//! A bad line between the binary and either side.

use std::time::Duration;

use futures_util::{StreamExt, stream};

use crate::bench::Bench;
use testkit::local::{ALL, noise};
use testkit::process::Ended;
use testkit::proxy::{Fault, Rule};

const LIST: &str = "ListObjectsV2";
/// What a run of one small and one large object asks of the source, and of the destination.
const READS: [&str; 3] = [LIST, "HeadObject", "GetObject"];
const WRITES: [&str; 6] = [
    LIST,
    "PutObject",
    "CreateMultipartUpload",
    "UploadPart",
    "ListParts",
    "CompleteMultipartUpload",
];

/// Each of these faults once for each of these operations, one after the other; for a listing once
/// more after the probe, whose answer is thrown away, so that the listings that are compared meet
/// them as well.
fn once_each<const N: usize>(operations: [&'static str; N], faults: &[Fault]) -> Vec<Rule> {
    let once =
        |operation| faults.iter().map(move |fault| Rule::on(operation, fault.clone()).once());
    let after_the_probe = once(LIST).map(|rule| rule.after(1));
    let listed = operations.contains(&LIST).then_some(after_the_probe);
    operations.into_iter().flat_map(once).chain(listed.into_iter().flatten()).collect()
}

/// The fault for the small object's GET, and for two of the large one's.
fn down(fault: &Fault) -> Vec<Rule> {
    let rule = || Rule::on("GetObject", fault.clone());
    vec![rule().containing("small").once(), rule().containing("large").most(2)]
}

/// The fault for the small object's PUT, and for two parts of the large one.
fn up(fault: &Fault) -> Vec<Rule> {
    let (put, parts) =
        (Rule::on("PutObject", fault.clone()), Rule::on("UploadPart", fault.clone()));
    vec![put.once(), parts.most(2)]
}

/// Promise 9.
#[tokio::test]
async fn throttling_and_internal_errors_pass() {
    let bench = Bench::new().await;
    let faults = [Fault::slow_down(), Fault::internal_error()];
    bench.arrives_in_spite_of(once_each(READS, &faults), once_each(WRITES, &faults)).await;
}

/// Promise 9.
#[tokio::test]
async fn a_storm_of_slow_down_fails_nothing() {
    let mut bench = Bench::new().await;
    for n in 0..20 {
        bench.put(&format!("many/{n:02}"), noise(1000 * n, n as u64)).await;
    }
    let storm = |operation: &&'static str| {
        let rule = Rule::on(operation, Fault::slow_down()).chance(0.5);
        // A listing is probed first, and a probe is not patient: a wrong endpoint shows soon.
        if *operation == LIST { rule.after(1) } else { rule }
    };
    let source = bench.source.inject(11, READS.iter().map(storm).collect());
    let destination = bench.destination.inject(12, WRITES.iter().map(storm).collect());
    bench.arrives().await;
    assert!(source.injected() > 10 && destination.injected() > 10);
}

/// Promise 9.
#[tokio::test]
async fn resets_before_a_request_pass() {
    let bench = Bench::new().await;
    let reset = &[Fault::Reset];
    bench.arrives_in_spite_of(once_each(READS, reset), once_each(WRITES, reset)).await;
}

/// Promise 3.
#[tokio::test]
async fn resets_within_a_body_pass() {
    let bench = Bench::new().await;
    bench
        .arrives_in_spite_of(
            down(&Fault::ResetInAnswer(70_000)),
            up(&Fault::ResetInRequest(70_000)),
        )
        .await;
}

/// Promise 3.
#[tokio::test]
async fn a_body_that_ends_too_soon_is_read_again() {
    let bench = Bench::new().await;
    bench.source.inject(1, down(&Fault::CutAnswer(99_000)));
    // Announced as short as it is: only who knows how long a part must be can tell.
    for less in [1, 99_999] {
        let short = Rule::on("GetObject", Fault::ShortAnswer(less)).containing("large").most(2);
        bench.source.inject(1, vec![short]);
    }
    bench.arrives().await;
    let injected: usize = bench.source.injected().values().sum();
    assert_eq!(injected, 7, "{:?}", bench.source.injected());
}

/// Promise 3.
#[tokio::test]
async fn a_body_that_is_too_long_is_read_again() {
    let bench = Bench::new().await;
    let parts = Rule::on("GetObject", Fault::LongAnswer(1)).containing("large").most(2);
    let behind = Rule::on("GetObject", Fault::BytesBehindAnswer(3)).most(4);
    bench.arrives_in_spite_of(vec![parts, behind], Vec::new()).await;
}

/// Promise 1.
#[tokio::test]
async fn answers_that_are_lost_after_the_work_do_no_harm() {
    let bench = Bench::new().await;
    let lost = &[Fault::LostAnswer];
    let answered = [LIST, "PutObject", "UploadPart", "ListParts"];
    bench.arrives_in_spite_of(once_each(READS, lost), once_each(answered, lost)).await;
    let put = bench.destination.calls("PutObject");
    assert_eq!((put, bench.destination.calls("UploadPart")), (2, 4));
}

/// Promise 8.
#[tokio::test]
async fn an_upload_whose_creation_was_not_answered_is_not_left() {
    let bench = Bench::new().await;
    let lost = Rule::on("CreateMultipartUpload", Fault::LostAnswer).once();
    bench.arrives_in_spite_of(Vec::new(), vec![lost]).await;
}

/// Promise 3.
#[tokio::test]
async fn a_bit_flipped_on_the_way_up_is_refused_and_sent_again() {
    let bench = Bench::new().await;
    let rules = up(&Fault::FlipInRequest(50_000));
    bench.arrives_in_spite_of(Vec::new(), rules).await;
}

// If the source's ETag is the MD5 of its bytes, as that of an object put in one piece is, it
// is a proof against the line as well: of its bits, and of a length that was announced wrong.
#[tokio::test]
async fn what_is_bent_on_the_way_down_is_found_where_the_etag_is_an_md5() {
    let mut bench = Bench::empty().await;
    for n in 0..4 {
        bench.put(&format!("small/{n}"), noise(100_000, n)).await;
    }
    let faults = [Fault::FlipInAnswer(50_000), Fault::ShortAnswer(1), Fault::LongAnswer(1)];
    let rules = faults.map(|fault| Rule::on("GetObject", fault).once()).to_vec();
    bench.arrives_in_spite_of(rules, Vec::new()).await;
}

/// Promise 9.
#[tokio::test]
async fn a_line_that_is_late_and_slow_is_slow_and_not_broken() {
    let bench = Bench::new().await;
    let late = Rule::always(Fault::Delay(Duration::from_millis(30)));
    let slow = Rule::on("GetObject", Fault::Slow(20_000_000));
    let slow_up = Rule::on("UploadPart", Fault::Slow(20_000_000));
    let late_up = Rule::always(Fault::Delay(Duration::from_millis(30)));
    bench.arrives_in_spite_of(vec![slow, late], vec![slow_up, late_up]).await;
    assert_eq!(bench.source.calls("GetObject"), 4, "nothing is read twice");
    assert_eq!(bench.destination.calls("UploadPart"), 3, "nothing is sent twice");
}

/// Promise 9.
#[tokio::test]
async fn a_body_that_stalls_is_cut_and_read_again() {
    let bench = Bench::new().await;
    let rules =
        vec![Rule::on("GetObject", Fault::StallInAnswer(70_000)).containing("large").once()];
    bench.arrives_in_spite_of(rules, Vec::new()).await;
}

/// Promise 9.
#[tokio::test]
async fn a_body_that_stalls_on_the_way_up_is_cut_and_sent_again() {
    let bench = Bench::new().await;
    // A part that is larger than what the system takes of it (4 MiB): a smaller one would have left
    // whole, and the time for its answer would run.
    let rules = vec![Rule::on("UploadPart", Fault::StallInRequest(70_000)).part(1).once()];
    let ended = bench.arrives_in_spite_of(Vec::new(), rules).await;
    // By the worker or by the system, whose limit is the same.
    let cut = ["no byte of the part was accepted", "Connection timed out"];
    assert!(cut.iter().any(|why| ended.stderr.contains(why)), "{}", ended.all());
    assert_eq!(
        bench.destination.calls("UploadPart"),
        4,
        "only the part that stalled is sent again"
    );
}

/// Promise 1.
#[tokio::test]
async fn a_page_that_stalls_on_its_way_is_asked_for_again() {
    let mut bench = Bench::empty().await;
    for n in 0..20 {
        bench.put(&format!("key/{n}"), vec![1]).await;
    }
    let ended = compared_in_spite_of(&bench, 0, Fault::StallInAnswer(1000)).await.with_status(0);
    assert_eq!(ended.json()[0]["listed"], 20);
}

/// A dry run whose source's listing meets this fault after the probe, whose answer is thrown away,
/// and this many pages.
async fn compared_in_spite_of(bench: &Bench, pages: u64, fault: Fault) -> Ended {
    let listing = Rule::on(LIST, fault).after(1 + pages).once();
    let faults = bench.source.inject(1, vec![listing]);
    let ended = bench.local.run(&["run", ALL[0], ALL[1], "--dry-run", "--json"]).await;
    assert_eq!(faults.injected(), 1, "{}", ended.all());
    ended
}

/// A listing that is announced and sent with fewer bytes is no shorter listing: it is read again, or
/// there is none.
async fn cut_at_every_place_of_an_entry(bench: &Bench, pages: u64, objects: u64) {
    // From nothing to a little more than one entry, so that every place of one is an end.
    for less in (1..300).step_by(13) {
        let ended = compared_in_spite_of(bench, pages, Fault::ShortAnswer(less)).await;
        match ended.status {
            Some(0) => assert_eq!(ended.json()[0]["listed"], objects, "{less} bytes less"),
            _ => ended.with_status(3).says(&[LIST, "source"]),
        }
    }
}

/// Promise 1.
#[tokio::test]
async fn a_listing_that_is_cut_midway_is_never_a_shorter_listing() {
    let mut bench = Bench::empty().await;
    for n in 0..5 {
        bench.put(&format!("key/{n}"), vec![1]).await;
    }
    cut_at_every_place_of_an_entry(&bench, 0, 5).await;
}

/// Promise 1.
#[tokio::test]
async fn a_listing_of_several_pages_loses_none_of_them() {
    let bench = Bench::empty().await;
    // The endpoint gives a thousand keys a page: two whole ones, and one with a single key.
    const OBJECTS: u64 = 2001;
    let puts = stream::iter(0..OBJECTS).map(async |n| {
        bench.local.source.put(&format!("key/{n:04}"), Vec::new()).await;
    });
    puts.buffer_unordered(16).collect::<Vec<()>>().await;
    for page in [0, 1] {
        cut_at_every_place_of_an_entry(&bench, page, OBJECTS).await;
    }
    for page in [1, 2] {
        for fault in [
            Fault::slow_down(),
            Fault::internal_error(),
            Fault::Reset,
            Fault::LostAnswer,
            Fault::CutAnswer(200),
            Fault::ResetInAnswer(200),
        ] {
            let name = fault.name();
            let ended = compared_in_spite_of(&bench, page, fault).await.with_status(0);
            assert_eq!(ended.json()[0]["listed"], OBJECTS, "{name}");
        }
    }
}
