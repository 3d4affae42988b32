use super::*;
use crate::estimate::prices::{Prices, STANDARD};
use crate::estimate::requests::Manner;
use crate::estimate::work::{Lists, Messages};
use crate::object::MIB;

const NOWHERE: PricedPlaces<'_> = PricedPlaces {
    source: None,
    destination: None,
    queue: None,
    table: None,
    way: TransferWay::Internet,
};

/// A million small objects, a hundred to a message, and a thousand large ones of ten parts.
fn work() -> Work {
    let mut work = Work {
        lists: Lists { source: 1001, destination: 1 },
        messages: Messages { packs: 10_000, singles: 1000 },
        storage_class: Some(STANDARD.to_owned()),
        ..Work::default()
    };
    (0..1_000_000).for_each(|_| work.copy(1024, None, None));
    (0..1000).for_each(|_| work.copy(50 * MIB, Some(STANDARD), None));
    work
}

fn at_home(prices: &Prices) -> PricedPlaces<'_> {
    let home = Some(prices.region("us-east-1"));
    PricedPlaces {
        source: home,
        destination: home,
        queue: home,
        table: home,
        way: TransferWay::Internet,
    }
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

fn amount(estimate: &Estimate, what: CostItem) -> Option<f64> {
    estimate.costs.iter().find(|cost| cost.what == what).map(|cost| cost.amount)
}

/// Promise 1.
#[test]
fn requests_are_those_of_the_life_of_a_job() {
    let estimate = estimate(&work(), &NOWHERE);
    assert_eq!(estimate.source, SourceRequests { list: 1001, head: 1000, get: 1_010_000 });
    let destination = DestinationRequests {
        list: 1,
        put: 1_000_000,
        list_uploads: 1000,
        create_upload: 1000,
        upload_part: 10_000,
        list_parts: 1000,
        complete_upload: 1000,
        delete: 0,
    };
    assert_eq!(estimate.destination, destination);
    let table = TableUnits { write: 1_003_000, index_write: 1_003_000, read: 1000 };
    assert_eq!(estimate.table, table);
    assert_eq!(estimate.bytes_out, 1_000_000 * 1024 + 1000 * 50 * MIB);
    assert_eq!(estimate.tag_reads_at_most, 1_001_000);
    assert_eq!((estimate.costs, estimate.total), (vec![], 0.0), "nothing has a price");
}

/// Promise 1.
#[test]
fn ten_packs_are_sent_in_one_request_and_billed_as_four() {
    let of = |packs, singles| {
        let work = Work { messages: Messages { packs, singles }, ..Work::default() };
        let queue = estimate(&work, &NOWHERE).queue;
        (queue.send, queue.receive, queue.delete, queue.billed)
    };
    assert_eq!(of(0, 0), (0, 0, 0, 0));
    assert_eq!(of(10, 0), (1, 10, 10, 4 + 20));
    assert_eq!(of(0, 10), (1, 10, 10, 1 + 20));
    assert_eq!(of(1, 1), (1, 2, 2, 2 + 4));
    assert_eq!(of(10_000, 1000), (1100, 11_000, 11_000, 4000 + 100 + 22_000));
}

/// Promise 1.
#[test]
fn each_item_is_charged_at_its_own_price() {
    let prices = Prices::shipped().unwrap();
    let estimate = estimate(&work(), &at_home(&prices));
    let gb = (1_000_000.0 * 1024.0 + 1000.0 * 50.0 * MIB as f64) / (1 << 30) as f64;
    for (what, expected) in [
        (CostItem::SourceLists, Some(1.001 * 0.005)),
        (CostItem::SourceReads, Some(1011.0 * 0.0004)),
        (CostItem::Retrieval, None),
        (CostItem::TransferOut, Some(gb * 0.09)),
        (CostItem::DestinationLists, Some(2.001 * 0.005)),
        (CostItem::DestinationWrites, Some((1000.0 + 1.0 + 10.0 + 1.0) * 0.005)),
        (CostItem::Queue, Some(0.0261 * 0.4)),
        (CostItem::TableWrites, Some(2.006 * 0.625)),
        (CostItem::TableReads, Some(0.001 * 0.125)),
    ] {
        let charged = amount(&estimate, what);
        let fits = charged.zip(expected).map_or(charged == expected, |(a, b)| close(a, b));
        assert!(fits, "{what:?}: {charged:?}, not {expected:?}");
    }
    let sum: f64 = estimate.costs.iter().map(|cost| cost.amount).sum();
    assert!(close(estimate.total, sum) && !estimate.estimated);
}

/// Promise 1.
#[test]
fn the_way_of_the_bytes_decides_on_their_price() {
    let prices = Prices::shipped().unwrap();
    let mut work = Work::default();
    work.copy(1 << 30, None, None);
    for (way, per_gb) in [
        (TransferWay::SameRegion, 0.0),
        (TransferWay::OtherRegion, 0.02),
        (TransferWay::Internet, 0.09),
    ] {
        let estimate = estimate(&work, &PricedPlaces { way, ..at_home(&prices) });
        assert_eq!(amount(&estimate, CostItem::TransferOut), Some(per_gb), "{way:?}");
    }
}

#[test]
fn reading_a_class_for_rare_access_is_charged_by_the_byte() {
    let prices = Prices::shipped().unwrap();
    let mut work = Work::default();
    for class in [STANDARD, "STANDARD_IA", "GLACIER_IR"] {
        work.copy(MIB, Some(class), None);
    }
    let estimate = estimate(&work, &at_home(&prices));
    let retrieval = estimate.costs.iter().find(|cost| cost.what == CostItem::Retrieval).unwrap();
    assert_eq!(retrieval.quantity, 2 * MIB, "STANDARD is free of it");
    assert!(close(retrieval.amount, (0.01 + 0.03) / 1024.0), "{retrieval:?}");
    let reads = amount(&estimate, CostItem::SourceReads).unwrap();
    assert!(close(reads, (0.0004 + 0.001 + 0.01) / 1000.0), "{reads}");
}

#[test]
fn only_the_end_of_an_upload_into_an_archive_has_the_archives_price() {
    let prices = Prices::shipped().unwrap();
    let writes = |class: Option<&str>, source: &str, size| {
        let mut work = Work { storage_class: class.map(str::to_owned), ..Work::default() };
        work.copy(size, Some(source), None);
        amount(&estimate(&work, &at_home(&prices)), CostItem::DestinationWrites).unwrap() * 1000.0
    };
    let (small, large) = (MIB, 50 * MIB);
    assert!(close(writes(Some("DEEP_ARCHIVE"), STANDARD, small), 0.05));
    assert!(close(writes(Some("DEEP_ARCHIVE"), STANDARD, large), 0.05 + 11.0 * 0.005));
    assert!(close(writes(Some("GLACIER"), STANDARD, large), 0.03 + 11.0 * 0.005));
    assert!(close(writes(Some("GLACIER_IR"), STANDARD, large), 12.0 * 0.02));
    // KEEP: each object's own class decides.
    assert!(close(writes(None, "STANDARD_IA", large), 12.0 * 0.01));
}

/// Promise 1.
#[test]
fn an_uncertain_price_makes_an_uncertain_sum() {
    let prices = Prices::shipped().unwrap();
    let home = at_home(&prices);
    let of = |places: &PricedPlaces<'_>| estimate(&work(), places);
    assert!(!of(&home).estimated);
    let unknown = Some(prices.region("mars-1"));
    for places in [
        PricedPlaces { source: unknown, ..home },
        PricedPlaces { destination: unknown, ..home },
        PricedPlaces { queue: unknown, ..home },
        PricedPlaces { table: unknown, ..home },
        PricedPlaces { destination: Some(prices.region("cn-north-1")), ..home },
    ] {
        let estimate = of(&places);
        assert!(estimate.estimated, "{places:?}");
        assert!(estimate.costs.iter().any(|cost| !cost.estimated), "the others stay certain");
    }
}

/// Promise 1.
#[test]
fn the_time_is_that_of_the_narrowest_place() {
    let workers = Workers { count: 2, bits_per_second: Some(1_000_000_000), ..Workers::default() };
    // 900 GB on 2 Gbit/s: an hour; 36,000 objects on 200 connections: 72 s.
    let mut work = Work { workers, ..Work::default() };
    (0..36_000).for_each(|_| work.copy(0, None, None));
    let empty = estimate(&work, &NOWHERE).hours;
    assert!(close(empty.requests, 72.0 / 3600.0), "{empty:?}");
    assert_eq!((empty.bytes, empty.total), (Some(0.0), empty.requests));
    let tally = work.copies.get_mut(STANDARD).unwrap();
    tally.small_bytes = 900_000_000_000;
    let full = estimate(&work, &NOWHERE).hours;
    assert!(close(full.total, 1.0) && full.bytes == Some(full.total), "{full:?}");
    assert_eq!(full.requests, empty.requests);
    work.workers = Workers { bits_per_second: None, count: 0, ..workers };
    let unknown = estimate(&work, &NOWHERE).hours;
    assert_eq!((unknown.bytes, unknown.total), (None, unknown.requests));
    assert!(close(unknown.requests, 2.0 * empty.requests), "no worker is one");
}

#[test]
fn each_message_that_is_held_shows_a_sign_of_life() {
    let heartbeats = |count, messages, bits| {
        let messages = Messages { packs: 0, singles: messages };
        let workers = Workers { count, bits_per_second: bits, ..Workers::default() };
        let mut work = Work { messages, workers, ..Work::default() };
        work.copy(450_000_000_000, None, Some(10_000));
        estimate(&work, &NOWHERE).queue.heartbeat
    };
    // An hour at 1 Gbit/s: five messages, one heartbeat every 20 s.
    assert_eq!(heartbeats(1, 1000, Some(1_000_000_000)), 5 * 180);
    assert_eq!(heartbeats(1, 2, Some(1_000_000_000)), 2 * 180, "no more than there are");
    assert_eq!(heartbeats(2, 1000, Some(500_000_000)), 10 * 180);
    assert_eq!(heartbeats(1, 1000, None), 0, "its time is not known");
}

#[test]
fn deletions_tags_versions_and_failures_are_counted() {
    let manner = Manner { copy_tags: false, ..Manner::default() };
    let mut work = Work { manner, deletes: 7, versions_compared: 101, ..Work::default() };
    work.copy(u64::MAX, None, None);
    let estimate = estimate(&work, &NOWHERE);
    assert_eq!((estimate.destination.delete, estimate.tag_reads_at_most), (7, 0));
    assert_eq!(estimate.table, TableUnits { write: 1, index_write: 1, read: 51 });
    assert_eq!((estimate.source.head, estimate.bytes_out), (1, 0));
}

#[test]
fn it_is_written_with_names_that_scripts_can_rely_on() {
    let prices = Prices::shipped().unwrap();
    let written = serde_json::to_value(estimate(&work(), &at_home(&prices))).unwrap();
    assert_eq!(written["source"]["get"], 1_010_000);
    assert_eq!(written["costs"][0]["what"], "source_lists");
    assert_eq!(written["hours"]["bytes"], serde_json::Value::Null);
}
