//! What a dry run promises is what a migration asks for, request by request.

use std::collections::BTreeMap;

use s3_migration::estimate::requests::Manner;
use s3_migration::estimate::work::{Lists, Work};
use s3_migration::estimate::{Estimate, PricedPlaces, TransferWay, estimate};

use testkit::local::{Local, MIB, noise};

const NOWHERE: PricedPlaces<'_> = PricedPlaces {
    source: None,
    destination: None,
    queue: None,
    table: None,
    way: TransferWay::Internet,
};

/// Objects of every kind: empty, small, at the threshold, large, written in parts that are kept, in
/// parts that cannot be, and a small one in a single part.
async fn fill(local: &Local, work: &mut Work) {
    let single = [0, 1, 100, 5 * MIB, 5 * MIB + 1, 11 * MIB];
    for (n, size) in single.into_iter().enumerate() {
        local.source.put(&format!("single/{n}"), noise(size, n as u64)).await;
        work.copy(size as u64, None, None);
    }
    let in_parts: [&[usize]; 4] = [&[6 * MIB, 6 * MIB, 1], &[5 * MIB, 9], &[7], &[6 * MIB]];
    for (n, sizes) in in_parts.into_iter().enumerate() {
        let parts: Vec<Vec<u8>> = sizes.iter().map(|size| noise(*size, 9)).collect();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        local.source.put_in_parts(&format!("parts/{n}"), &parts).await;
        let size = sizes.iter().sum::<usize>() as u64;
        work.copy(size, None, Some(sizes.len() as u32));
    }
}

/// Both sides' requests by operation, without those that an estimate says are none.
fn promised(estimate: &Estimate) -> [BTreeMap<String, u64>; 2] {
    let (source, destination) = (estimate.source, estimate.destination);
    let sides: [&[(&str, u64)]; 2] = [
        &[("ListObjectsV2", source.list), ("HeadObject", source.head), ("GetObject", source.get)],
        &[
            ("ListObjectsV2", destination.list),
            ("PutObject", destination.put),
            ("ListMultipartUploads", destination.list_uploads),
            ("CreateMultipartUpload", destination.create_upload),
            ("UploadPart", destination.upload_part),
            ("ListParts", destination.list_parts),
            ("CompleteMultipartUpload", destination.complete_upload),
            ("DeleteObject", destination.delete),
        ],
    ];
    sides.map(|side| {
        let asked = side.iter().filter(|(_, count)| *count > 0);
        asked.map(|(name, count)| ((*name).to_owned(), *count)).collect()
    })
}

/// Migrates what `fill` makes, under these settings, and compares.
async fn the_run_asks_for_what_was_promised(manner: Manner, settings: &[(&str, &str)]) {
    let mut local = Local::new().await;
    settings.iter().for_each(|(key, value)| local.set(key, value));
    // A probe, and in the comparison and the closing one a page each and a request after its end.
    let mut work = Work { manner, lists: Lists { source: 5, destination: 5 }, ..Work::default() };
    fill(&local, &mut work).await;
    let before = [local.source.all_requests(), local.destination.all_requests()];
    assert!(before[1].is_empty());
    local.migrate().await.with_status(0);
    let estimate = estimate(&work, &NOWHERE);
    let [from, to] = promised(&estimate);
    let asked: BTreeMap<String, u64> = local
        .source
        .all_requests()
        .into_iter()
        .map(|(name, count)| {
            let filling = before[0].get(&name).copied().unwrap_or_default();
            (name, count - filling)
        })
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(asked, from, "{settings:?}");
    assert_eq!(local.destination.all_requests(), to, "{settings:?}");
}

/// Promise 1.
#[tokio::test]
async fn a_run_asks_for_what_the_estimate_counts() {
    the_run_asks_for_what_was_promised(Manner::default(), &[]).await;
}

/// Promise 1.
#[tokio::test]
async fn other_settings_are_counted_as_they_work() {
    let manner = Manner { preserve_etag: false, ..Manner::default() };
    the_run_asks_for_what_was_promised(manner, &[("PreserveEtag", "off")]).await;
    let (threshold, chunk) = (10 * MIB as u64, 6 * MIB as u64);
    let manner = Manner { threshold, chunk, ..Manner::default() };
    let settings = [("ResumableThreshold", "10"), ("ChunkSize", "6")];
    the_run_asks_for_what_was_promised(manner, &settings).await;
    let manner = Manner { update_version: true, ..Manner::default() };
    the_run_asks_for_what_was_promised(manner, &[("UpdateVersionId", "True")]).await;
}
