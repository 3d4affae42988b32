//! Compares in ranges on simulated stores, and checks the result against a plain sorted model.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::compare::difference::Difference;
use crate::error::{Error, ErrorKind};
use crate::object::{ObjectKey, destination_key};
use crate::params::Pair;
use crate::quirk::Quirk;
use crate::record::sqlite::SqliteRecords;
use crate::sqlite::Database;
use crate::store::tests::Fake;
use crate::store::{ListPage, ListRequest, Reads};

type Contents = BTreeMap<String, u64>;

/// A simulated store's behaviour besides listing.
#[derive(Clone, Default)]
struct Moods {
    /// Contents on a page.
    page: usize,
    /// Makes answers arrive in another order than they were requested.
    seed: u64,
    asked: Arc<AtomicUsize>,
    at_once: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    /// Each answer takes 50 ms of simulated time.
    slow: bool,
    /// Pages have any size, claim an end where there is none, and begin with the last key of the
    /// page before.
    strange: bool,
    /// Interrupts the comparison once so many pages in all were requested.
    interrupt: Arc<Mutex<(usize, CancellationToken)>>,
    /// Pages that begin after this key, but not after a later one, fail permanently.
    broken: Option<String>,
}

/// A request in flight, including one that is given up.
struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    fn new(moods: &Moods) -> Self {
        let now = moods.at_once.fetch_add(1, Ordering::Relaxed) + 1;
        moods.most.fetch_max(now, Ordering::Relaxed);
        Self(Arc::clone(&moods.at_once))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A page; `strange` decides where it misbehaves.
fn page(
    keys: &Contents,
    request: &ListRequest,
    limit: usize,
    mut strange: Option<fastrand::Rng>,
) -> ListPage {
    let limit = limit.min(request.max_keys.map_or(usize::MAX, |max| max as usize));
    // At least two keys, so that one of them is new.
    let limit = strange.as_mut().map_or(limit, |rng| rng.usize(2..=limit.max(2)));
    let mut goes_astray = |of: u32| strange.as_mut().is_some_and(|rng| rng.u32(..of) == 0);
    let start = request.start_after.as_deref().map(|key| std::str::from_utf8(key).unwrap());
    let after = request.token.as_deref().or(start);
    let from = match after {
        Some(after) if after >= request.prefix.as_str() && goes_astray(3) => Bound::Included(after),
        Some(after) if after >= request.prefix.as_str() => Bound::Excluded(after),
        _ => Bound::Included(request.prefix.as_str()),
    };
    let mut rest = keys
        .range::<str, _>((from, Bound::Unbounded))
        .take_while(|(key, _)| key.starts_with(&request.prefix));
    let listed: Vec<_> = rest.by_ref().take(limit).collect();
    let mut page: ListPage = listed.iter().map(|(key, size)| Listed::new(key, **size)).collect();
    let ends_early = goes_astray(4);
    page.next = rest
        .next()
        .filter(|_| !ends_early)
        .and_then(|_| listed.last().map(|(key, _)| (*key).clone()));
    page
}

fn store(keys: &Contents, moods: &Moods) -> Arc<dyn Reads> {
    let (keys, moods) = (Arc::new(keys.clone()), moods.clone());
    let list = move |request: ListRequest| {
        let (keys, moods) = (Arc::clone(&keys), moods.clone());
        async move {
            let turn = moods.asked.fetch_add(1, Ordering::Relaxed) as u64;
            let _asking = InFlight::new(&moods);
            let (pages, interrupt) = moods.interrupt.lock().unwrap().clone();
            if turn >= pages as u64 {
                interrupt.cancel();
            }
            for _ in 0..(moods.seed ^ turn.wrapping_mul(0x9E37_79B9_7F4A_7C15)) >> 60 {
                tokio::task::yield_now().await;
            }
            if moods.slow {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let strange = moods.strange.then(|| fastrand::Rng::with_seed(moods.seed ^ turn));
            let page = page(&keys, &request, moods.page, strange);
            let meets = |broken: &String| page.iter().any(|listed| listed.key == broken);
            if moods.broken.as_ref().is_some_and(meets) {
                return Err(Error::new(ErrorKind::Unavailable, "the page is broken"));
            }
            Ok(page)
        }
        .boxed()
    };
    Arc::new(Fake { list: Box::new(list), ..Fake::default() })
}

/// Records what it receives.
#[derive(Default)]
struct RecordedFinds(Mutex<Vec<(String, String)>>);

impl Finds for RecordedFinds {
    fn found(&self, job: &Job, _: Listed<'_>, verdict: &Verdict<'_>) {
        let seen = (job.src.key.as_str().to_owned(), verdict.to_string());
        self.0.lock().unwrap().push(seen);
    }
}

struct Compared {
    summary: Summary,
    seen: Vec<(String, String)>,
    most: usize,
}

const PREFIX: &str = "to/";

fn pair() -> Pair {
    let [src_bucket, des_bucket] = ["src", "des"].map(str::to_owned);
    let (src_prefix, des_prefix) = (String::new(), PREFIX.to_owned());
    Pair { src_bucket, src_prefix, des_bucket, des_prefix, strip: false }
}

fn of_sizes(source: Arc<dyn Reads>, copies: Arc<dyn Reads>) -> Comparison {
    Comparison::dry_run(Terms::of_sizes(source, copies, 1), CancellationToken::new())
}

async fn compare(
    source: &Contents,
    destination: &Contents,
    at_once: usize,
    moods: &Moods,
) -> Compared {
    let target = |key: &String| destination_key(PREFIX, &ObjectKey::new(key)).as_str().to_owned();
    let copies: Contents = destination.iter().map(|(key, size)| (target(key), *size)).collect();
    let (source, copies) = (store(source, moods), store(&copies, moods));
    let terms = Terms { at_once, ..Terms::of_sizes(source, copies, 1) };
    let reach = Arc::clone(&terms.reach);
    let comparison = Comparison::dry_run(terms, CancellationToken::new());
    let seen = Arc::new(RecordedFinds::default());
    let finds: [Arc<dyn Finds>; 1] = [Arc::<RecordedFinds>::clone(&seen)];
    reach.begin();
    let summary = comparison.compare(&pair(), &finds).await.expect("compared");
    assert_eq!(reach.listed(), Some(summary.listed), "told as it goes");
    let mut seen = std::mem::take(&mut *seen.0.lock().unwrap());
    seen.sort();
    Compared { summary, seen, most: moods.most.load(Ordering::Relaxed) }
}

/// Compares in several pieces: each is interrupted after some pages, a few more each time.
async fn compare_in_pieces(
    source: &Contents,
    destination: &Contents,
    at_once: usize,
    moods: &Moods,
    pages: usize,
) -> (Compared, usize) {
    let target = |key: &String| destination_key(PREFIX, &ObjectKey::new(key)).as_str().to_owned();
    let copies: Contents = destination.iter().map(|(key, size)| (target(key), *size)).collect();
    let (source, copies) = (store(source, moods), store(&copies, moods));
    let seen = Arc::new(RecordedFinds::default());
    let finds: [Arc<dyn Finds>; 1] = [Arc::<RecordedFinds>::clone(&seen)];
    let (mut summary, mut from, mut pieces) = (Summary::default(), Vec::new(), 0);
    loop {
        pieces += 1;
        let interrupt = CancellationToken::new();
        let until = moods.asked.load(Ordering::Relaxed) + pieces * pages;
        *moods.interrupt.lock().unwrap() = (until, interrupt.clone());
        let terms = Terms::of_sizes(Arc::clone(&source), Arc::clone(&copies), 1);
        let terms = Terms { at_once, interrupt, ..terms };
        let comparison = Comparison::dry_run(terms, CancellationToken::new());
        let piece = comparison.compare_on(&pair(), &finds, &from).await.expect("compared");
        summary.add(&piece.0);
        from = piece.1;
        if from.is_empty() {
            break;
        }
    }
    let mut seen = std::mem::take(&mut *seen.0.lock().unwrap());
    seen.sort();
    (Compared { summary, seen, most: moods.most.load(Ordering::Relaxed) }, pieces)
}

/// What a comparison of two maps says about each key.
fn model(source: &Contents, destination: &Contents) -> Vec<(String, String)> {
    let verdict = |(key, size): (&String, &u64)| match destination.get(key) {
        None => Verdict::Copy(Difference::Missing),
        Some(copy) if copy != size => Verdict::Copy(Difference::SizeDiffers),
        Some(_) => Verdict::AlreadyThere,
    };
    source.iter().map(|entry| (entry.0.clone(), verdict(entry).to_string())).collect()
}

fn check(source: &Contents, destination: &Contents, compared: &Compared) {
    let expected = model(source, destination);
    assert_eq!(compared.seen, expected);
    let only = destination.keys().filter(|key| !source.contains_key(*key)).count();
    assert_eq!(compared.summary.only_at_destination, only as u64);
    assert_eq!(compared.summary.listed, source.len() as u64);
    let copied = expected.iter().filter(|(_, verdict)| verdict.starts_with("copy")).count();
    assert_eq!(compared.summary.to_copy, copied as u64);
    assert!(compared.summary.balances(false) && compared.summary.is_whole());
}

/// Key sets as real buckets have them: flat numbers, trees, long common prefixes, odd characters,
/// one cluster.
fn keys() -> impl Strategy<Value = Contents> {
    let key = prop_oneof![
        4 => (0u32..5000).prop_map(|n| format!("data/{n:08}")),
        2 => (0u32..40, 0u32..4, 0u32..9).prop_map(|(a, b, c)| format!("{a}/b{b}/part-{c:05}.parquet")),
        2 => (0u32..600).prop_map(|n| format!("{}{n}", "much/in/common/".repeat(4))),
        2 => "[\u{0}-\u{1f}a/]{1,4}",
        2 => "[\u{7f}-\u{ff}\u{4e00}-\u{4e40}\u{fffd}\u{10000}-\u{1000f}]{1,4}",
        1 => "\\PC{1,6}",
        1 => (0u32..300).prop_map(|n| format!("zzzz/{n}")),
    ];
    prop::collection::btree_map(key, 0u64..3, 0..400)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Promise 1.
    /// The result is that of two sorted maps, whatever the keys, the pages and the number of
    /// ranges.
    #[test]
    fn ranges_find_what_two_sorted_maps_find(
        source in keys(),
        destination in keys(),
        is_similar in any::<bool>(),
        page in 1usize..9,
        at_once in prop_oneof![Just(1usize), 2usize..9, Just(64)],
        seed in any::<u64>(),
        strange in any::<bool>(),
    ) {
        let mut destination = destination;
        if is_similar {
            destination.extend(source.iter().filter(|(key, _)| key.len() % 7 != 3).map(|(k, s)| (k.clone(), *s)));
        }
        let moods = Moods { page, seed, strange, ..Moods::default() };
        let compared = runtime().block_on(compare(&source, &destination, at_once, &moods));
        check(&source, &destination, &compared);
        prop_assert!(compared.most <= 4 * at_once, "{} at once", compared.most);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Promise 1.
    /// A comparison that is interrupted and continued, however often, finds the same.
    #[test]
    fn pieces_find_what_two_sorted_maps_find(
        source in keys(),
        destination in keys(),
        page in 1usize..9,
        at_once in prop_oneof![Just(1usize), 2usize..9],
        seed in any::<u64>(),
        strange in any::<bool>(),
        pages in 1usize..9,
    ) {
        let moods = Moods { page, seed, strange, ..Moods::default() };
        let pieces = compare_in_pieces(&source, &destination, at_once, &moods, pages);
        let (compared, _) = runtime().block_on(pieces);
        check(&source, &destination, &compared);
    }
}

/// Promise 1.
#[tokio::test]
async fn a_large_bucket_takes_several_pieces() {
    let (keys, moods) = (numbers("data/", 3000), Moods { page: 10, ..Moods::default() });
    let (compared, pieces) = compare_in_pieces(&keys, &Contents::new(), 8, &moods, 20).await;
    check(&keys, &Contents::new(), &compared);
    assert!(pieces > 3, "{pieces}");
}

fn numbers(prefix: &str, count: u32) -> Contents {
    (0..count).map(|n| (format!("{prefix}{n:09}"), 1)).collect()
}

/// Promise 1.
#[tokio::test]
async fn nothing_and_one_key_cost_a_page_of_each_side_and_a_look_behind_it() {
    for count in [0, 1, 10] {
        let keys = numbers("", count);
        let moods = Moods { page: 10, ..Moods::default() };
        let compared = compare(&keys, &Contents::new(), 64, &moods).await;
        check(&keys, &Contents::new(), &compared);
        assert_eq!(moods.asked.load(Ordering::Relaxed), 4);
    }
}

/// Promise 1.
#[tokio::test]
async fn a_range_that_cannot_be_listed_is_named_and_the_others_are_compared() {
    let keys = numbers("data/", 3000);
    let broken = Some("data/000001500".to_owned());
    let moods = Moods { page: 10, broken, ..Moods::default() };
    let compared = compare(&keys, &Contents::new(), 16, &moods).await;
    // The range before may have met the page as well, since the page extends past its end.
    let missing = &compared.summary.missing;
    assert!((1..=2).contains(&missing.len()), "{:?}", compared.summary);
    assert!(missing.iter().all(|range| range.error.contains("the page is broken")));
    assert!(!compared.summary.is_whole() && compared.summary.balances(false));
    let is_within = |key: &str| {
        missing.iter().any(|range| {
            range.after.as_deref().is_none_or(|after| key > after)
                && range.through.as_deref().is_none_or(|through| key <= through)
        })
    };
    assert!(is_within("data/000001500"));
    let (inside, outside): (Vec<_>, Vec<_>) = keys.keys().partition(|key| is_within(key));
    let seen: Vec<&String> = compared.seen.iter().map(|(key, _)| key).collect();
    assert_eq!(seen, outside, "all but {inside:?}");
    assert!(inside.len() < 3000 / 4, "{} keys are missing", inside.len());
}

/// Promise 1.
#[tokio::test]
async fn a_bucket_of_which_nothing_can_be_listed_is_an_error() {
    let broken = Some("data/000000000".to_owned());
    let moods = Moods { page: 10, broken, ..Moods::default() };
    let keys = numbers("data/", 30);
    let (source, destination) = (store(&keys, &moods), store(&Contents::new(), &moods));
    let error =
        of_sizes(source, destination).compare(&pair(), &[]).await.expect_err("nothing is known");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

/// Promise 1.
#[tokio::test]
async fn a_store_that_does_not_list_in_byte_order_is_named() {
    let list = |_: ListRequest| {
        async { Ok(["b", "a"].into_iter().map(|key| Listed::new(key, 1)).collect()) }.boxed()
    };
    let unordered = Arc::new(Fake { list: Box::new(list), ..Fake::default() });
    let empty = store(&Contents::new(), &Moods { page: 10, ..Moods::default() });
    let error = of_sizes(unordered, empty).compare(&pair(), &[]).await.expect_err("no order");
    let said = error.to_string();
    assert!(said.contains("bucket src") && said.contains("(b before a)"), "{said}");
    assert!(said.contains("ListOrder = any"), "{said}");
}

/// Promises 0, 1.
#[tokio::test]
async fn an_early_end_is_said_once_and_a_key_written_meanwhile_is_none() {
    let keys = numbers("k", 40);
    for (written, expected) in
        [(SystemTime::UNIX_EPOCH, true), (SystemTime::now() + Duration::from_secs(60), false)]
    {
        let list = {
            let keys = keys.clone();
            move |request: ListRequest| {
                let rest = page(&keys, &request, 10, None);
                let mut cut = ListPage::default();
                for listed in rest.iter() {
                    cut.push(Listed { last_modified: Some(written), ..listed });
                }
                async { Ok(cut) }.boxed()
            }
        };
        let source = Arc::new(Fake { list: Box::new(list), ..Fake::default() });
        let empty = store(&Contents::new(), &Moods { page: 10, ..Moods::default() });
        let told: Arc<dyn Reads> = Arc::<Fake>::clone(&source);
        let comparison = of_sizes(told, empty);
        assert_eq!(comparison.compare(&pair(), &[]).await.unwrap().listed, 40);
        assert_eq!(source.profile.has("src", Quirk::EndsListingsEarly), expected);
    }
}

/// Promises 1, 2.
#[tokio::test]
async fn only_a_closing_comparison_forgets_what_was_asked_for_once() {
    let (source, there) = (numbers("", 3), numbers("", 5));
    let copies = there.iter().map(|(key, size)| (format!("{PREFIX}{key}"), *size)).collect();
    let moods = Moods { page: 10, ..Moods::default() };
    let deletions = Deletions::new(9, &[pair()]).map(Arc::new).unwrap();
    let mut terms = Terms::of_sizes(store(&source, &moods), store(&copies, &moods), 1);
    terms.criteria.overwrite = true;
    terms.deletions = Some(deletions);
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("state.sqlite")).await.unwrap();
    let records = Arc::new(SqliteRecords::new(&database));
    let dry_run = Comparison::dry_run(terms.clone(), CancellationToken::new());
    let closing = Comparison::closing(terms, records, CancellationToken::new());
    for (comparison, to_copy, to_delete) in [(dry_run, 3, 2), (closing, 0, 0)] {
        let summary = comparison.compare(&pair(), &[]).await.unwrap();
        let found = (summary.to_copy, summary.to_delete, summary.only_at_destination);
        assert_eq!(found, (to_copy, to_delete, 2));
        assert_eq!((summary.sent, summary.listed), (0, 3));
    }
}

/// Contents as real buckets have them: one prefix; folders, one of which holds a third of all; and
/// digests.
fn layouts(count: u64) -> [Contents; 3] {
    let digest = |n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let folder = |n: u64| if n.is_multiple_of(3) { 10_000 } else { digest(n) % 24_192 };
    let flat = (0..count).map(|n| (format!("data/{n:012}-{:016x}.bin", digest(n)), 1));
    let tree = (0..count).map(|n| {
        let at = folder(n);
        let (year, month, day, hour) = (2022 + at / 8064, at / 672 % 12, at / 24 % 28, at % 24);
        (format!("{year}/{month:02}/{day:02}/{hour:02}/part-{:07}-{n:08x}.parquet", n / 3), 1)
    });
    let digests = (0..count).map(|n| (format!("{:016x}", digest(n)), 1));
    [flat.collect(), tree.collect(), digests.collect()]
}

/// Promise 1.
/// Each answer takes 50 ms of a simulated clock, so nothing here depends on this machine.
#[tokio::test(start_paused = true)]
async fn requests_at_once_make_a_listing_nearly_so_many_times_faster() {
    const PAGES: u64 = 1000;
    for keys in layouts(PAGES * 100) {
        for (at_once, slack, most) in
            [(1, 1.01, 1001), (4, 1.15, 1120), (16, 1.4, 1330), (64, 3.0, 2100)]
        {
            let moods = Moods { page: 100, slow: true, ..Moods::default() };
            let began = tokio::time::Instant::now();
            let compared = compare(&keys, &keys, at_once, &moods).await;
            check(&keys, &keys, &compared);
            let (took, first) = (began.elapsed().as_secs_f64(), keys.keys().next().unwrap());
            let ideal = PAGES as f64 * 0.05 / at_once as f64;
            assert!(took <= ideal * slack, "{first} {at_once}: {took} s, at best {ideal}");
            let Summary { source_pages, destination_pages, .. } = compared.summary;
            assert!(
                source_pages.max(destination_pages) <= most,
                "{first} {at_once}: {source_pages}"
            );
        }
    }
}
