//! An inventory takes little memory, whatever the number of its rows. In a process of its own, because
//! the peak is that of the whole process.

use s3_migration::sources::inventory::Inventory;
use testkit::process::is_alone;

use super::make::*;

const FILES: u64 = 100;
const ROWS: u64 = 200_000;
/// What the sorter holds, the buffers of a few files and runs, and pages ahead.
const ALLOWED_KIB: u64 = 40 * 1024;

/// Promise 6.
#[tokio::test]
async fn many_rows_take_little_memory() {
    if !is_alone("sources::memory::many_rows_take_little_memory") {
        return;
    }
    for format in FORMATS {
        // Some 300 bytes a row: close to 60 MiB.
        let key = |n: u64| format!("{}{:06}", "folder/".repeat(40), n * 99_991 % ROWS);
        let file = |file: u64| {
            let rows = file * (ROWS / FILES)..(file + 1) * (ROWS / FILES);
            rows.map(|n| object(key(n), n)).collect()
        };
        let made = Made::one_by_one(format, &["Bucket", "Key", "Size"], (0..FILES).map(file));
        let inventory = made.open().await.unwrap();
        let before = peak_kib();
        assert_eq!(count(&inventory).await, ROWS);
        let grown = peak_kib() - before;
        println!("{format:?}: {ROWS} rows took {grown} KiB");
        assert!(grown < ALLOWED_KIB, "{format:?}: {ROWS} rows took {grown} KiB");
    }
}

async fn count(inventory: &Inventory) -> u64 {
    let mut sorted = inventory.sorted(BUCKET, "").await.unwrap();
    let mut rows = 0;
    while let Some(page) = sorted.next_page().await.unwrap() {
        rows += page.len() as u64;
    }
    rows
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse().unwrap()
}
