//! The promises of `RecordStore`. Times are whole seconds, which every backend can hold.

use std::time::{Duration, SystemTime};

use s3_migration::error::ErrorKind;
use s3_migration::object::{Etag, ObjectId, Revision};
use s3_migration::record::{
    JobStatus, Outcome, Proven, Record, RecordId, RecordStore, RecordTally, Seal, Start, UploadRef,
};

use crate::conformance::support::{control_texts, odd_texts};

mod batches;
mod copies;
mod ends;
mod notes;
mod order;
mod pages;
mod rules;
mod statuses;
mod uploads;

pub use batches::*;
pub use copies::*;
pub use ends::*;
pub use notes::*;
pub use order::*;
pub use pages::*;
pub use rules::*;
pub use statuses::*;
pub use uploads::*;

/// Makes the suite's promises tests of the calling module. `$fresh` is an
/// `async fn() -> Fresh<dyn RecordStore>` that makes a store without records.
macro_rules! state_suite {
    ($fresh:path) => {
        $crate::conformance::support::promises!(state, $fresh:
            what_was_never_begun_has_no_record,
            a_start_is_on_record_whole,
            another_start_replaces_the_attempt_and_counts_it,
            an_end_closes_the_attempt_that_was_begun,
            what_a_copy_is_proven_by_is_on_record,
            the_same_end_may_be_recorded_twice,
            an_end_without_a_start_is_an_attempt_of_its_own,
            a_replaced_token_ends_nothing,
            what_is_known_of_the_parts_is_about_the_upload_on_record,
            a_seal_is_on_record_for_its_upload_only,
            an_upload_that_is_distrusted_is_on_record_as_such,
            a_replaced_token_seals_nothing,
            a_batch_with_one_fenced_end_records_the_others,
            an_attempt_without_a_token_takes_over,
            an_end_that_learned_nothing_keeps_what_a_resume_needs,
            an_end_that_learned_nothing_is_counted_once,
            an_upload_does_not_outlive_its_etag,
            two_pairs_that_share_a_source_have_two_records,
            keys_are_bytes,
            a_large_batch_is_recorded_whole,
            each_end_of_a_batch_has_its_own_answer,
            a_batch_counts_the_tries_of_what_is_known_and_of_what_is_new,
            a_batch_that_is_sent_again_changes_nothing,
            one_key_twice_in_a_batch_is_two_attempts,
            pairs_that_share_a_source_share_a_batch,
            concurrent_starts_are_all_counted,
            what_was_copied_is_told_of_finished_copies_only,
            what_was_copied_is_told_of_many_objects_and_of_each_pair,
            an_events_end_puts_its_sequencer_on_record,
            of_two_attempts_at_once_one_ends,
            whoever_has_been_at_work_meanwhile_refuses_an_ordered_end,
            an_ordered_end_may_be_recorded_twice,
            a_state_is_known_again_whatever_its_times_are,
            a_start_behind_a_later_event_is_refused,
            an_end_behind_a_beginning_breaks_its_fence,
            a_deletion_is_on_record_and_is_no_copy,
            a_deletion_drops_the_upload_that_was_begun,
            ordered_ends_of_a_batch_stand_by_themselves,
            copies_come_whole_and_in_byte_order,
            copies_are_what_has_ended_well_and_was_not_deleted,
            copies_of_a_prefix_and_behind_a_key,
            copies_of_two_pairs_are_told_apart,
            many_copies_come_on_pages,
            every_record_comes_once_page_by_page,
            records_of_a_bucket_and_prefix_come_alone,
            a_note_is_added_once_and_may_be_set_again,
            of_many_who_add_one_note_one_does,
            notes_are_bytes_under_any_name,
            large_notes_come_back_whole,
            notes_are_answered_in_the_order_asked,
            removed_notes_are_gone_and_no_others,
            notes_are_no_records,
            any_sequence_of_changes_leaves_what_the_rules_say,
            a_board_has_parts_and_each_change_answers_with_all,
            a_board_changes_as_a_whole_or_not_at_all,
            records_are_tallied,
            records_are_found_by_status,
            records_with_a_status_come_on_pages,
            only_the_failure_that_was_seen_is_marked_as_sent_again,
        );
    };
}

pub async fn what_was_never_begun_has_no_record(store: &dyn RecordStore) {
    assert_eq!(store.load(&id("key")).await.unwrap(), None);
    store.finish(&[]).await.unwrap();
    assert_eq!(store.tally(at(0)).await.unwrap(), RecordTally::default());
}

/// Promise 2.
pub async fn a_start_is_on_record_whole(store: &dyn RecordStore) {
    store.begin(&start("key", "t1", 10)).await.unwrap();
    assert_eq!(load(store, "key").await, begun("key"));
}

/// What [`start`] as `t1` at second 10 leaves on record.
fn begun(key: &str) -> Record {
    Record {
        id: id(key),
        size: 1 << 45,
        version: Some("v1".to_owned()),
        etag: Some(Etag::new("etag-1")),
        upload: Some(UploadRef { id: "upload t1".to_owned(), part_size: 5 << 30 }),
        target_etag: None,
        status: JobStatus::Running,
        instance: "i-1".to_owned(),
        lease: Some("t1".to_owned()),
        tries: 1,
        first_time: at(10),
        start_time: at(10),
        end_time: None,
        spent: None,
        progress: 42,
        last_error: None,
        sequencer: None,
        deleted: false,
        proven: None,
        written: None,
        redriven: None,
        redrives: 0,
        digests_first: false,
    }
}

/// Promise 8.
pub async fn another_start_replaces_the_attempt_and_counts_it(store: &dyn RecordStore) {
    store.begin(&start("key", "t1", 10)).await.unwrap();
    let back = Outcome {
        status: JobStatus::Running,
        error: Some("time is up".to_owned()),
        ..end("key", Some("t1"), 10, 20)
    };
    store.finish(&[back]).await.unwrap();
    let second = Start {
        size: 7,
        version: None,
        etag: Etag::new("etag-2"),
        instance: "i-2".to_owned(),
        progress: 0,
        ..start("key", "t2", 30)
    };
    store.begin(&second).await.unwrap();
    let expected = Record {
        size: 7,
        version: None,
        etag: Some(Etag::new("etag-2")),
        upload: Some(second.upload),
        instance: "i-2".to_owned(),
        lease: Some("t2".to_owned()),
        tries: 2,
        start_time: at(30),
        progress: 0,
        ..begun("key")
    };
    assert_eq!(load(store, "key").await, expected);
}

fn seal(key: &str, lease: &str) -> Seal {
    Seal {
        id: id(key),
        lease: lease.to_owned(),
        upload_id: format!("upload {lease}"),
        target_etag: Some(Etag::new("target-2")),
        proven: Proven::Transit,
    }
}

/// Promise 8.
pub async fn two_pairs_that_share_a_source_have_two_records(store: &dyn RecordStore) {
    let pairs = ["des-1", "des-2"].map(|bucket| RecordId {
        src: ObjectId::new("src", "key"),
        des: ObjectId::new(bucket, "key"),
    });
    for (id, token) in pairs.iter().zip(["t1", "t2"]) {
        store.begin(&Start { id: id.clone(), ..start("key", token, 10) }).await.unwrap();
    }
    let done = Outcome { id: pairs[0].clone(), ..end("key", Some("t1"), 10, 20) };
    store.finish(&[done]).await.unwrap();
    let [first, second] = [&pairs[0], &pairs[1]].map(|id| store.load(id));
    assert_eq!(first.await.unwrap().unwrap().status, JobStatus::Done);
    let second = second.await.unwrap().unwrap();
    assert_eq!((second.status, second.lease.as_deref()), (JobStatus::Running, Some("t2")));
}

/// Promise 4.
pub async fn keys_are_bytes(store: &dyn RecordStore) {
    let keys: Vec<String> = odd_texts().into_iter().chain(control_texts()).collect();
    let ids: Vec<RecordId> = keys
        .iter()
        .map(|key| RecordId {
            src: ObjectId::new("src", key.as_str()),
            des: ObjectId::new("des", key.as_str()),
        })
        .collect();
    for (n, id) in (0..).zip(&ids) {
        store.begin(&Start { id: id.clone(), ..start("", "t1", n) }).await.unwrap();
    }
    let ends: Vec<Outcome> = (0..)
        .zip(&ids)
        .map(|(n, id)| Outcome { id: id.clone(), ..end("", Some("t1"), n, 1000 + n) })
        .collect();
    store.finish(&ends).await.unwrap();
    for (n, id) in (0..).zip(&ids) {
        let record = store.load(id).await.unwrap().expect("no record");
        assert_eq!((&record.id, record.start_time, record.tries), (id, at(n), 1));
        assert_eq!(record.end_time, Some(at(1000 + n)));
    }
    let mut found = store.with_status(JobStatus::Done, 1000).await.unwrap();
    found.sort_by(|a, b| a.id.cmp(&b.id));
    let mut ids = ids;
    ids.sort();
    assert_eq!(found.into_iter().map(|r| r.id).collect::<Vec<_>>(), ids);
}

/// Promise 8.
pub async fn concurrent_starts_are_all_counted(store: &dyn RecordStore) {
    let tokens: Vec<String> = (0..8).map(|n| format!("t{n}")).collect();
    let starts: Vec<Start> = tokens.iter().map(|token| start("key", token, 10)).collect();
    let begun = futures_util::future::join_all(starts.iter().map(|start| store.begin(start))).await;
    begun.into_iter().for_each(|result| result.unwrap());
    let record = load(store, "key").await;
    assert_eq!(record.tries, 8);
    let holder = record.lease.unwrap();
    for token in &tokens {
        let result = store.finish(&[end("key", Some(token), 10, 20)]).await;
        assert_eq!(result.is_ok(), *token == holder, "{token}, held by {holder}");
    }
}

/// Promise 2.
pub async fn what_was_copied_is_told_of_finished_copies_only(store: &dyn RecordStore) {
    store.begin(&start("running", "t1", 10)).await.unwrap();
    let failed = Outcome { status: JobStatus::Failed, ..end("failed", None, 10, 20) };
    let without = Outcome { version: None, ..end("without a version", None, 10, 20) };
    let null = Outcome { version: Some("null".to_owned()), ..end("null", None, 10, 20) };
    let done = end("done", None, 10, 20);
    store.finish(&[failed, without, null, done]).await.unwrap();
    let etag = Some(Etag::new("etag-1"));
    let copied = |version: Option<&str>| {
        Some(Revision { version: version.map(str::to_owned), etag: etag.clone() })
    };
    for (key, expected) in [
        ("absent", None),
        ("running", None),
        ("failed", None),
        ("without a version", copied(None)),
        ("null", copied(None)),
        ("done", copied(Some("v1"))),
    ] {
        assert_eq!(store.copied(&[id(key)]).await.unwrap(), [expected], "{key}");
    }
    assert_eq!(store.copied(&[]).await.unwrap(), []);
}

/// Promise 2.
pub async fn what_was_copied_is_told_of_many_objects_and_of_each_pair(store: &dyn RecordStore) {
    let keys = (0..230).map(|n| format!("key {n}")).chain(odd_texts());
    let keys: Vec<String> = keys.chain(control_texts()).collect();
    let outcome = |id: &RecordId| Outcome {
        id: id.clone(),
        version: Some(format!("{}/{}", id.des.bucket, hex::encode(id.src.key.as_str()))),
        ..end("", None, 10, 20)
    };
    let of_pair = |bucket: &str| -> Vec<RecordId> {
        let id = |key: &String| RecordId {
            src: ObjectId::new("src", key.as_str()),
            des: ObjectId::new(bucket, key.as_str()),
        };
        keys.iter().map(id).collect()
    };
    // The second pair has records for every other object only, and asks for one of them twice.
    let (first, mut second) = (of_pair("des-1"), of_pair("des-2"));
    let outcomes: Vec<Outcome> =
        first.iter().chain(second.iter().step_by(2)).map(outcome).collect();
    store.finish(&outcomes).await.unwrap();
    second.push(second[0].clone());
    for (ids, step) in [(first, 1), (second, 2)] {
        let copied = store.copied(&ids).await.unwrap();
        assert_eq!(copied.len(), ids.len());
        for (at, (id, copied)) in ids.iter().zip(copied).enumerate() {
            let there = at % step == 0 || at == keys.len();
            let version = copied.and_then(|revision| revision.version);
            assert_eq!(version, outcome(id).version.filter(|_| there), "{id:?}");
        }
    }
}

/// A moment of the tests' own calendar.
fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_750_000_000 + second)
}

pub fn id(key: &str) -> RecordId {
    RecordId { src: ObjectId::new("src", key), des: ObjectId::new("des", format!("p/{key}")) }
}

pub fn start(key: &str, token: &str, second: u64) -> Start {
    Start {
        id: id(key),
        size: 1 << 45,
        version: Some("v1".to_owned()),
        etag: Etag::new("etag-1"),
        upload: UploadRef { id: format!("upload {token}"), part_size: 5 << 30 },
        digests_first: false,
        instance: "i-1".to_owned(),
        lease: token.to_owned(),
        start_time: at(second),
        progress: 42,
        sequencer: None,
    }
}

pub fn end(key: &str, token: Option<&str>, second: u64, ended: u64) -> Outcome {
    Outcome {
        id: id(key),
        size: 1 << 45,
        version: Some("v1".to_owned()),
        etag: Some(Etag::new("etag-1")),
        status: JobStatus::Done,
        instance: "i-1".to_owned(),
        lease: token.map(str::to_owned),
        start_time: at(second),
        end_time: at(ended),
        error: None,
        deleted: false,
        proven: None,
        written: None,
        order: None,
    }
}

async fn load(store: &dyn RecordStore, key: &str) -> Record {
    store.load(&id(key)).await.unwrap().expect("no record")
}

async fn assert_fenced(store: &dyn RecordStore, outcomes: &[Outcome]) {
    let error = store.finish(outcomes).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LeaseLost, "{error}");
}
