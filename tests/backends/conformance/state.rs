//! The promises of `RecordStore`. Times are whole seconds, which every backend can hold.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use s3_migration::error::ErrorKind;
use s3_migration::object::{Etag, ObjectId, Revision};
use s3_migration::record::{
    JobStatus, NoteKey, Outcome, Proofs, Proven, Record, RecordId, RecordStore, RecordTally,
    RecordsPage, Seal, Start, UploadRef,
};

use crate::conformance::support::{control_texts, odd_texts};

mod batches;
mod copies;
mod notes;
mod order;
mod pages;
mod rules;

pub use batches::*;
pub use copies::*;
pub use notes::*;
pub use order::*;
pub use pages::*;
pub use rules::*;

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

/// Promise 3.
pub async fn what_is_known_of_the_parts_is_about_the_upload_on_record(store: &dyn RecordStore) {
    for (token, digests_first) in [("t1", true), ("t2", false), ("t3", true), ("t4", true)] {
        let start = Start { digests_first, ..start("key", token, 10) };
        store.begin(&start).await.unwrap();
        assert_eq!(load(store, "key").await.digests_first, digests_first, "{token}");
    }
    // A failure keeps the upload.
    let failed = Outcome { status: JobStatus::Failed, ..end("key", Some("t4"), 10, 20) };
    store.finish(&[failed]).await.unwrap();
    assert!(load(store, "key").await.digests_first);
}

/// Promise 8.
pub async fn a_seal_is_on_record_for_its_upload_only(store: &dyn RecordStore) {
    store.begin(&start("key", "t1", 10)).await.unwrap();
    store.seal(&seal("key", "t1")).await.unwrap();
    let (target_etag, proven) = (Some(Etag::new("target-2")), Some(Proven::Transit));
    let sealed = Record { target_etag, proven, ..begun("key") };
    assert_eq!(load(store, "key").await, sealed);
    store.begin(&start("key", "t2", 20)).await.unwrap();
    assert_eq!(load(store, "key").await.target_etag, None, "another upload");
    let again = Start { upload: begun("key").upload.unwrap(), ..start("key", "t3", 30) };
    store.begin(&again).await.unwrap();
    assert_eq!(load(store, "key").await.target_etag, sealed.target_etag, "the same upload");
}

/// Promise 3.
pub async fn an_upload_that_is_distrusted_is_on_record_as_such(store: &dyn RecordStore) {
    let first = start("key", "t1", 10);
    store.begin(&first).await.unwrap();
    let upload = UploadRef { part_size: UploadRef::DISTRUSTED, ..first.upload.clone() };
    store.begin(&Start { upload: upload.clone(), ..first }).await.unwrap();
    assert_eq!(load(store, "key").await.upload, Some(upload));
}

/// Promise 8.
pub async fn a_replaced_token_seals_nothing(store: &dyn RecordStore) {
    store.begin(&start("key", "t1", 10)).await.unwrap();
    store.begin(&start("key", "t2", 20)).await.unwrap();
    let refused = store.seal(&seal("key", "t1")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LeaseLost);
    assert_eq!(load(store, "key").await.target_etag, None);
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

pub async fn what_a_copy_is_proven_by_is_on_record(store: &dyn RecordStore) {
    let (own, other) = (Some(Etag::new("etag-1")), Some(Etag::new("other")));
    let kinds = [Proven::Source, Proven::Transit, Proven::Nothing];
    for (at, (proven, written)) in
        kinds.into_iter().zip([own.clone(), other.clone(), None]).enumerate()
    {
        let (key, proven) = (format!("key {at}"), Some(proven));
        store.begin(&start(&key, "t1", 10)).await.unwrap();
        let sealed = store.seal(&seal(&key, "t1")).await;
        sealed.unwrap();
        assert_eq!(load(store, &key).await.proven, Some(Proven::Transit), "as it was sealed");
        let end = Outcome { proven, written: written.clone(), ..end(&key, Some("t1"), 10, 25) };
        store.finish(&[end]).await.unwrap();
        let record = load(store, &key).await;
        assert_eq!((record.proven, record.written), (proven, written), "{key}");
    }
    let expected = Proofs { source: 1, transit: 1, none: 1 };
    assert_eq!(store.tally(at(0)).await.unwrap().proofs, expected);
    // Another attempt begins with nothing proven.
    store.begin(&start("key 0", "t2", 30)).await.unwrap();
    assert_eq!(load(store, "key 0").await.proven, None);
}

pub async fn an_end_closes_the_attempt_that_was_begun(store: &dyn RecordStore) {
    store.begin(&start("key", "t1", 10)).await.unwrap();
    store.finish(&[end("key", Some("t1"), 10, 25)]).await.unwrap();
    let expected = Record {
        status: JobStatus::Done,
        end_time: Some(at(25)),
        spent: Some(Duration::from_secs(15)),
        ..begun("key")
    };
    assert_eq!(load(store, "key").await, expected);
}

/// Promise 8.
pub async fn the_same_end_may_be_recorded_twice(store: &dyn RecordStore) {
    store.begin(&start("key", "t1", 10)).await.unwrap();
    store.finish(&[end("key", Some("t1"), 10, 25)]).await.unwrap();
    let once = load(store, "key").await;
    store.finish(&[end("key", Some("t1"), 10, 25)]).await.unwrap();
    assert_eq!(load(store, "key").await, once);
}

pub async fn an_end_without_a_start_is_an_attempt_of_its_own(store: &dyn RecordStore) {
    let failed = Outcome {
        status: JobStatus::Failed,
        error: Some("access denied: s3:PutObject on 'ü'\n".to_owned()),
        ..end("key", None, 10, 12)
    };
    store.finish(std::slice::from_ref(&failed)).await.unwrap();
    let first = Record {
        upload: None,
        status: JobStatus::Failed,
        lease: None,
        end_time: Some(at(12)),
        spent: Some(Duration::from_secs(2)),
        progress: 0,
        last_error: failed.error,
        ..begun("key")
    };
    assert_eq!(load(store, "key").await, first);
    store.finish(&[end("key", None, 30, 31)]).await.unwrap();
    let second = Record {
        status: JobStatus::Done,
        tries: 2,
        start_time: at(30),
        end_time: Some(at(31)),
        spent: Some(Duration::from_secs(1)),
        last_error: None,
        ..first
    };
    assert_eq!(load(store, "key").await, second);
}

/// Promise 8.
pub async fn a_replaced_token_ends_nothing(store: &dyn RecordStore) {
    store.begin(&start("key", "t1", 10)).await.unwrap();
    store.begin(&start("key", "t2", 20)).await.unwrap();
    let before = load(store, "key").await;
    assert_fenced(store, &[end("key", Some("t1"), 10, 30)]).await;
    assert_eq!(load(store, "key").await, before);
    store.finish(&[end("key", Some("t2"), 20, 30)]).await.unwrap();
    assert_eq!(load(store, "key").await.status, JobStatus::Done);
}

pub async fn an_attempt_without_a_token_takes_over(store: &dyn RecordStore) {
    store.begin(&start("key", "t1", 10)).await.unwrap();
    store.finish(&[end("key", None, 20, 21)]).await.unwrap();
    let record = load(store, "key").await;
    assert_eq!((record.lease.clone(), record.tries), (None, 2));
    assert_fenced(store, &[end("key", Some("t1"), 10, 30)]).await;
    assert_eq!(load(store, "key").await, record);
}

/// Promise 2.
pub async fn an_end_that_learned_nothing_keeps_what_a_resume_needs(store: &dyn RecordStore) {
    store.begin(&start("key", "t1", 10)).await.unwrap();
    let refused = Outcome {
        size: 3,
        version: None,
        etag: None,
        status: JobStatus::Failed,
        error: Some("the source cannot be reached".to_owned()),
        ..end("key", None, 20, 21)
    };
    store.finish(&[refused]).await.unwrap();
    let (record, begun) = (load(store, "key").await, begun("key"));
    assert_eq!(record.status, JobStatus::Failed);
    assert_eq!((record.etag, record.upload), (begun.etag, begun.upload));
    // Nor has it taken the object from whoever is at work on it.
    store.finish(&[end("key", Some("t1"), 10, 30)]).await.unwrap();
    assert_eq!(load(store, "key").await.status, JobStatus::Done);
}

/// Promise 2.
pub async fn an_end_that_learned_nothing_is_counted_once(store: &dyn RecordStore) {
    store.begin(&start("key", "t1", 10)).await.unwrap();
    let refused = Outcome {
        etag: None,
        status: JobStatus::Failed,
        error: Some("the source cannot be reached".to_owned()),
        ..end("key", None, 20, 21)
    };
    for _ in 0..2 {
        store.finish(std::slice::from_ref(&refused)).await.unwrap();
        assert_eq!(load(store, "key").await.tries, 2);
    }
}

/// Promise 2.
pub async fn an_upload_does_not_outlive_its_etag(store: &dyn RecordStore) {
    let begun = start("key", "t1", 10);
    store.begin(&begun).await.unwrap();
    let same = Outcome { status: JobStatus::Running, ..end("key", None, 15, 16) };
    let other = Outcome { etag: Some(Etag::new("etag-2")), ..end("key", None, 20, 21) };
    // Whoever drops an upload learns of it, once: nobody else would abort it.
    for (outcome, dropped) in [(same, None), (other.clone(), Some(begun.upload)), (other, None)] {
        let answers = store.finish_each(&[outcome]).await;
        assert_eq!(answers.into_iter().next().unwrap().unwrap(), dropped);
    }
    let record = load(store, "key").await;
    assert_eq!((record.etag, record.upload), (Some(Etag::new("etag-2")), None));
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

pub async fn records_are_tallied(store: &dyn RecordStore) {
    store.begin(&start("running", "t1", 50)).await.unwrap();
    let sized = |size, outcome| Outcome { size, ..outcome };
    store
        .finish(&[
            sized(1000, end("early", None, 20, 30)),
            sized(200, end("at the edge", None, 40, 60)),
            sized(30, end("late", None, 61, 90)),
            sized(4, Outcome { status: JobStatus::Failed, ..end("failed", None, 61, 95) }),
        ])
        .await
        .unwrap();
    let expected = RecordTally {
        running: 1,
        running_bytes: 1 << 45,
        done: 3,
        done_bytes: 1230,
        proofs: Proofs::default(),
        failed: 1,
        recent: 2,
        recent_bytes: 230,
        span: Some((at(20), at(95))),
    };
    assert_eq!(store.tally(at(60)).await.unwrap(), expected);
}

pub async fn records_are_found_by_status(store: &dyn RecordStore) {
    let failed = |key: &str| Outcome {
        status: JobStatus::Failed,
        error: Some(format!("{key} is gone")),
        ..end(key, None, 10, 20)
    };
    store.finish(&[failed("a"), end("b", None, 10, 20), failed("c")]).await.unwrap();
    let mut found = store.with_status(JobStatus::Failed, 10).await.unwrap();
    found.sort_by(|a, b| a.id.cmp(&b.id));
    let errors: Vec<_> = found.iter().map(|r| r.last_error.as_deref()).collect();
    assert_eq!(errors, [Some("a is gone"), Some("c is gone")]);
    assert_eq!(store.with_status(JobStatus::Failed, 1).await.unwrap().len(), 1);
    assert_eq!(store.with_status(JobStatus::Running, 10).await.unwrap(), []);
}

pub async fn records_with_a_status_come_on_pages(store: &dyn RecordStore) {
    let failed = |key: String| Outcome { status: JobStatus::Failed, ..end(&key, None, 10, 20) };
    let outcomes: Vec<Outcome> = (0..1005).map(|n| failed(format!("failed/{n}"))).collect();
    store.finish(&outcomes).await.unwrap();
    store.finish(&[end("done", None, 10, 20)]).await.unwrap();
    store.set_note(&NoteKey::new("n"), b"no record").await.unwrap();
    let (mut keys, mut token) = (BTreeSet::new(), None);
    loop {
        let page = store.page_with_status(JobStatus::Failed, token.as_deref()).await.unwrap();
        for record in page.records {
            assert_eq!(record.status, JobStatus::Failed);
            assert!(keys.insert(record.id.src.key.clone()), "twice: {}", record.id.src);
        }
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(keys.len(), 1005);
    let running = store.page_with_status(JobStatus::Running, None).await.unwrap();
    assert_eq!(running, RecordsPage::default());
}

/// Promise 1.
pub async fn only_the_failure_that_was_seen_is_marked_as_sent_again(store: &dyn RecordStore) {
    let failed = |from, to| Outcome { status: JobStatus::Failed, ..end("key", None, from, to) };
    store.finish(&[failed(10, 20)]).await.unwrap();
    // Shares the source, so that its record is under the other key of the table.
    let other = RecordId { des: ObjectId::new("elsewhere", "key"), ..id("key") };
    store.finish(&[Outcome { id: other.clone(), ..failed(10, 30) }]).await.unwrap();
    let first = load(store, "key").await;
    assert!(!first.is_redriven());
    assert!(store.mark_redriven(&first.id, first.stamp()).await.unwrap());
    let marked = load(store, "key").await;
    assert!(marked.is_redriven());
    assert_eq!(marked, Record { redriven: Some(at(20)), redrives: 1, ..first.clone() });
    let untouched = store.load(&other).await.unwrap().unwrap();
    assert!(!untouched.is_redriven());
    assert!(store.mark_redriven(&other, untouched.stamp()).await.unwrap());
    assert!(store.load(&other).await.unwrap().unwrap().is_redriven());

    // A later failure is not the one that was sent again, whatever the clocks say.
    store.finish(&[failed(5, 15)]).await.unwrap();
    let again = load(store, "key").await;
    assert_eq!((again.is_redriven(), again.redrives, again.tries), (false, 1, 2));
    assert!(!store.mark_redriven(&first.id, first.stamp()).await.unwrap());
    assert_eq!(load(store, "key").await, again);
    assert!(store.mark_redriven(&first.id, again.stamp()).await.unwrap());
    assert_eq!(load(store, "key").await.redrives, 2);

    store.finish(&[end("key", None, 40, 50)]).await.unwrap();
    let done = load(store, "key").await;
    assert!(!store.mark_redriven(&done.id, done.stamp()).await.unwrap());
    assert!(!store.mark_redriven(&id("never"), done.stamp()).await.unwrap());
    assert_eq!(store.load(&id("never")).await.unwrap(), None);
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
