//! The endpoint of `cargo bench --bench listing` against a plain sorted model: a benchmark of a wrong
//! listing is worth nothing.

use std::collections::BTreeSet;

use testkit::bench::listing::ask::Ask;
use testkit::bench::listing::bucket::{Lacks, Side};
use testkit::bench::listing::keys::{Keyspace, LONGEST, Layout};
use testkit::bench::listing::page;

const LAYOUTS: [Layout; 2] = [Layout::Flat, Layout::Tree];

fn key(space: &Keyspace, number: u64) -> String {
    let mut key = Vec::new();
    space.write(number, &mut key);
    String::from_utf8(key).unwrap()
}

fn all(space: &Keyspace) -> Vec<String> {
    (0..space.behind(b"")).map(|number| key(space, number)).collect()
}

/// Texts in, between and around the keys.
fn texts(rng: &mut fastrand::Rng, all: &[String]) -> Vec<String> {
    let mut texts =
        vec![String::new(), "~".to_owned(), "\u{10ffff}".to_owned(), "data/".to_owned()];
    for _ in 0..200 {
        let key = &all[rng.usize(..all.len())];
        let cut = &key[..rng.usize(..=key.len())];
        texts.extend([cut.to_owned(), format!("{cut}{}", rng.char(..)), format!("{cut}\0")]);
    }
    texts
}

#[test]
fn numbers_are_in_byte_order_and_no_key_comes_twice() {
    for layout in LAYOUTS {
        for count in [0, 1, 7, 50_000] {
            let all = all(&Keyspace::new(layout, count));
            assert!(all.is_sorted_by(|a, b| a < b), "{layout:?} {count}");
            assert!(all.iter().all(|key| key.len() <= LONGEST && key.len() >= 36), "{:?}", all[0]);
        }
    }
    // What is served by default is never made in whole: look at where places change.
    let space = Keyspace::new(Layout::Tree, 20_000_000);
    for _ in 0..20_000 {
        let number = fastrand::u64(..20_000_000 - 1);
        assert!(key(&space, number) < key(&space, number + 1), "{number}");
    }
}

#[test]
fn a_few_folders_of_the_tree_hold_far_more_than_others() {
    let space = Keyspace::new(Layout::Tree, 1_000_000);
    let held = |prefix: &str| space.behind(prefix.as_bytes()) - space.from(prefix.as_bytes());
    let huge = "2023/07/01/00/";
    assert!((300_000..360_000).contains(&held(huge)), "{}", held(huge));
    assert!(held("2022/01/01/12/") > 20 * held("2022/01/01/13/"));
    assert_eq!(held(""), 1_000_000);
}

#[test]
fn the_first_key_after_any_text_is_that_of_a_sorted_model() {
    let mut rng = fastrand::Rng::with_seed(4);
    for layout in LAYOUTS {
        let space = Keyspace::new(layout, 5_000);
        let all = all(&space);
        for text in texts(&mut rng, &all) {
            let count = |of: &dyn Fn(&String) -> bool| all.iter().filter(|k| of(k)).count() as u64;
            assert_eq!(
                space.from(text.as_bytes()),
                count(&|k| k.as_str() < text.as_str()),
                "{text:?}"
            );
            assert_eq!(
                space.after(text.as_bytes()),
                count(&|k| k.as_str() <= text.as_str()),
                "{text:?}"
            );
            let behind = count(&|k| k.as_str() < text.as_str() || k.starts_with(&text));
            assert_eq!(space.behind(text.as_bytes()), behind, "{text:?}");
        }
    }
}

#[test]
fn the_destination_lacks_what_is_said() {
    let (mut missing, mut different) = (0, 0);
    for number in 0..10_000 {
        let source = Side::Source.object(number).unwrap();
        match Side::Destination.object(number) {
            None => missing += 1,
            Some(there) if there.size != source.size => different += 1,
            Some(there) => assert_eq!(there, source),
        }
        assert_eq!(Side::Empty.object(number), None);
    }
    assert_eq!(Lacks::of(10_000), Lacks { missing, different });
    assert!((150..250).contains(&missing) && (150..250).contains(&different));
}

/// What stands between `<name>` and `</name>`, each time.
fn values<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    xml.split(&open).skip(1).map(|rest| rest.split(&close).next().unwrap()).collect()
}

/// Every page from `query` on: keys, folders, and how many pages.
fn listed(space: &Keyspace, side: Side, query: &str) -> (Vec<String>, Vec<String>, usize) {
    let (mut keys, mut folders, mut pages) = (Vec::new(), Vec::new(), 0);
    let mut token = String::new();
    loop {
        let ask = Ask::read(&format!("list-type=2&{query}{token}")).unwrap();
        let page = page::render(space, side, "b", &ask);
        let xml = String::from_utf8(page.xml).unwrap();
        let (objects, head) = (values(&xml, "Contents"), xml.split("<Contents>").next().unwrap());
        for object in &objects {
            keys.push(values(object, "Key")[0].to_owned());
            assert_eq!(values(object, "ETag")[0].len(), 32 + 2 * "&quot;".len());
            assert_eq!(values(object, "StorageClass"), ["STANDARD"]);
            assert!(!object.contains("Owner"));
        }
        let common = values(&xml, "CommonPrefixes");
        folders.extend(common.iter().map(|common| values(common, "Prefix")[0].to_owned()));
        let count = objects.len() + common.len();
        assert_eq!((values(head, "KeyCount"), page.entries), (vec![&*count.to_string()], count));
        pages += 1;
        match values(head, "NextContinuationToken").first() {
            Some(next) => {
                assert_eq!(values(head, "IsTruncated"), ["true"]);
                token = format!("&continuation-token={next}");
            }
            None => {
                assert_eq!(values(head, "IsTruncated"), ["false"]);
                return (keys, folders, pages);
            }
        }
    }
}

#[test]
fn pages_add_up_to_the_bucket_whatever_their_size() {
    for layout in LAYOUTS {
        let space = Keyspace::new(layout, 2_500);
        assert_eq!(listed(&space, Side::Source, "encoding-type=url"), (all(&space), vec![], 3));
        let there = |n: &u64| Side::Destination.object(*n).is_some();
        let there: Vec<String> = (0..2_500).filter(there).map(|n| key(&space, n)).collect();
        for size in [1, 999, 1000, 5000] {
            let (keys, _, pages) =
                listed(&space, Side::Destination, &format!("max-keys={size}&prefix="));
            assert_eq!(keys, there);
            assert_eq!(pages, there.len().div_ceil(size.min(1000)), "no page is short or empty");
        }
        assert_eq!(listed(&space, Side::Empty, ""), (vec![], vec![], 1));
    }
    let whole = Keyspace::new(Layout::Flat, 1000);
    assert_eq!(listed(&whole, Side::Source, "").2, 1, "a page that is just full is the last");
    let missing = (10..).find(|n| Side::Destination.object(*n).is_none()).unwrap();
    let ends_with_it = Keyspace::new(Layout::Flat, missing + 1);
    let there = (0..missing).filter(|n| Side::Destination.object(*n).is_some()).count();
    let query = format!("max-keys={there}");
    let pages = listed(&ends_with_it, Side::Destination, &query).2;
    assert_eq!(pages, 1, "nothing is behind it but what is missing");
}

#[test]
fn a_prefix_a_start_and_a_size_are_those_of_a_sorted_model() {
    let mut rng = fastrand::Rng::with_seed(5);
    let encode = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    for layout in LAYOUTS {
        let space = Keyspace::new(layout, 300);
        let all = all(&space);
        let texts = texts(&mut rng, &all);
        for _ in 0..200 {
            let (prefix, after) =
                (&texts[rng.usize(..texts.len())], &texts[rng.usize(..texts.len())]);
            let query = format!("prefix={}&start-after={}", encode(prefix), encode(after));
            let wanted =
                all.iter().filter(|k| k.starts_with(prefix) && (after.is_empty() || *k > after));
            let wanted: Vec<String> = wanted.cloned().collect();
            assert_eq!(listed(&space, Side::Source, &query).0, wanted, "{prefix:?} {after:?}");
        }
    }
}

#[test]
fn a_delimiter_rolls_folders_up() {
    let space = Keyspace::new(Layout::Tree, 100_000);
    let all = all(&space);
    for prefix in ["", "2023/", "2023/06/15/", "2023/06/15/12/", "2023/06/15"] {
        let (mut keys, mut folders) = (Vec::new(), BTreeSet::new());
        for rest in all.iter().filter_map(|key| key.strip_prefix(prefix)) {
            match rest.split_once('/') {
                Some((folder, _)) => _ = folders.insert(format!("{prefix}{folder}/")),
                None => keys.push(format!("{prefix}{rest}")),
            }
        }
        for size in [2, 1000] {
            let query = format!("delimiter=%2F&prefix={prefix}&max-keys={size}");
            let (found, rolled, _) = listed(&space, Side::Source, &query);
            assert_eq!((found, rolled), (keys.clone(), folders.iter().cloned().collect()));
        }
    }
}

#[test]
fn what_is_not_served_is_refused_and_not_answered_wrongly() {
    for query in [
        "",
        "list-type=1",
        "versions",
        "list-type=2&delimiter=x",
        "list-type=2&continuation-token=x",
    ] {
        assert_eq!(Ask::read(query), None, "{query}");
    }
    let ask = Ask::read("list-type=2&prefix=a%2Bb+c&start-after=%3C&encoding-type=url").unwrap();
    assert_eq!((ask.prefix.as_slice(), ask.start_after.as_slice()), (&b"a+b c"[..], &b"<"[..]));
    let space = Keyspace::new(Layout::Flat, 1);
    let page =
        |ask: &Ask| String::from_utf8(page::render(&space, Side::Source, "b", ask).xml).unwrap();
    assert!(page(&ask).contains("<Prefix>a%2bb%20c</Prefix><StartAfter>%3c</StartAfter>"));
    let plain = page(&Ask { encoded: false, ..ask });
    assert!(plain.contains("<StartAfter>&lt;</StartAfter>"), "{plain}");
}
