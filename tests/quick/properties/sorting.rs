//! The external sort against a sorted model, whatever it is given and however little it may hold.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use s3_migration::error::{ErrorKind, Result};
use s3_migration::object::{Etag, ObjectKey};
use s3_migration::sources::sort::{KeyRow, Sorter};

/// Short keys of few letters share beginnings; any others have any characters.
fn key() -> impl Strategy<Value = String> {
    prop_oneof!["[ab/]{1,4}", "a{0,3}[\\x00-\\x7f]", "\\PC{1,8}", any::<String>()]
        .prop_filter("a key", |key| !key.is_empty() && key.len() <= 1024)
}

fn time() -> impl Strategy<Value = SystemTime> {
    (any::<bool>(), 0u64..1 << 40, 0u32..1_000_000_000).prop_map(|(before, seconds, nanos)| {
        let distance = Duration::new(seconds, nanos);
        if before { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
    })
}

prop_compose! {
    fn row()(
        key in key(), size in any::<u64>(), etag in option::of("[0-9a-f-]{0,34}"),
        last_modified in option::of(time()), storage_class in option::of("[A-Z_]{0,9}"),
        version in option::of("\\PC{0,9}"), restored in any::<bool>()
    ) -> KeyRow {
        let (key, etag) = (ObjectKey::new(key), etag.map(Etag::new));
        KeyRow { key, size, etag, last_modified, storage_class, version, restored }
    }
}

/// What comes out, page by page.
fn sort(pages: Vec<Vec<KeyRow>>, memory: usize) -> Result<Vec<Vec<KeyRow>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let sorter = Sorter::with_memory(None, memory);
        for page in pages {
            sorter.push_page(page).await?;
        }
        let (mut sorted, mut pages) = (sorter.finish(), Vec::new());
        while let Some(page) = sorted.next_page().await? {
            pages.push(page);
        }
        Ok(pages)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Promise 1.
    #[test]
    fn sorting_is_sorting(rows in vec(row(), 0..200), memory in 0usize..4096, per_page in 1usize..50) {
        let mut model = BTreeMap::new();
        let rows: Vec<KeyRow> = rows.into_iter().filter(|row| {
            model.insert(row.key.as_str().as_bytes().to_vec(), row.clone()).is_none()
        }).collect();
        // Of two rows of one key the first stays.
        for row in &rows {
            model.insert(row.key.as_str().as_bytes().to_vec(), row.clone());
        }
        let pages = rows.chunks(per_page).map(<[KeyRow]>::to_vec).collect();
        let sorted = sort(pages, memory).unwrap().concat();
        prop_assert_eq!(sorted, model.into_values().collect::<Vec<_>>());
    }

    /// Promise 1.
    #[test]
    fn a_key_that_comes_twice_is_one_or_an_error_wherever_it_comes(
        rows in vec(row(), 1..100), at in any::<prop::sample::Index>(), memory in 0usize..4096
    ) {
        let mut rows = rows;
        rows.sort_by(|one, other| one.key.cmp(&other.key));
        rows.dedup_by(|one, other| one.key == other.key);
        let same = at.get(&rows).clone();
        let other = KeyRow { size: same.size ^ 1, ..same.clone() };
        let sorted = sort(vec![rows.clone(), vec![same]], memory).unwrap().concat();
        prop_assert_eq!(&sorted, &rows);
        prop_assert_eq!(sort(vec![rows, vec![other]], memory).unwrap_err().kind(), ErrorKind::Invalid);
    }
}

/// Promise 1.
/// More runs than are merged at once, several times over: 70 bytes hold one row.
#[test]
fn runs_of_runs_are_merged() {
    let count = 3 * 32 * 32 + 5;
    let row = |n: usize| KeyRow {
        key: ObjectKey::new(format!("{:05}", n * 7919 % count)),
        size: n as u64,
        etag: None,
        last_modified: None,
        storage_class: None,
        version: None,
        restored: false,
    };
    let pages = sort(vec![(0..count).map(row).collect()], 30).unwrap();
    assert!(pages[..pages.len() - 1].iter().all(|page| page.len() == 1000));
    let keys: Vec<String> = pages.concat().iter().map(|row| row.key.to_string()).collect();
    assert!(keys.iter().cloned().eq((0..count).map(|n| format!("{n:05}"))));
}
