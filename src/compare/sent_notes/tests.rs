//! Several comparisons, in sequence and at once, on the embedded records.

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::aws::scripted::ScriptedService;
use crate::object::ObjectId;
use crate::record::dynamodb::DynamoRecords;
use crate::record::sqlite::SqliteRecords;
use crate::sqlite::Database;

const MOST: usize = 1_000_000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn state() -> (Arc<dyn RecordStore>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("state.sqlite")).await.unwrap();
    (Arc::new(SqliteRecords::new(&database)), folder)
}

async fn opened(state: &Arc<dyn RecordStore>, queue: &str, is_empty: bool, most: usize) -> Sent {
    opened_from(state, queue, is_empty, Some(DAY * 4), most).await
}

/// The same for a queue that keeps messages for this long.
async fn opened_from(
    state: &Arc<dyn RecordStore>,
    queue: &str,
    is_empty: bool,
    keeps: Option<Duration>,
    most: usize,
) -> Sent {
    let (policy, cancel) = (Policy::probe(), CancellationToken::new());
    Sent::open(Arc::clone(state), queue, is_empty, keeps, most, policy, cancel).await.unwrap()
}

/// What a comparison finds while queue `q` has messages.
async fn open(state: &Arc<dyn RecordStore>) -> Sent {
    opened(state, "q", false, MOST).await
}

fn marks(sent: &Sent) -> Vec<Mark> {
    let mut marks: Vec<Mark> = sent.marks.keys().copied().collect();
    marks.sort_unstable();
    marks
}

/// Whether an object that differs is assumed to have a waiting job; it is on no record.
async fn knows(sent: &Sent, mark: Mark) -> bool {
    let id = |bucket: &str| ObjectId::new(bucket, format!("k{mark}"));
    let asked = [(RecordId { src: id("src"), des: id("des") }, mark)];
    sent.since(mark).is_some() && sent.are_waiting(&asked).await == [true]
}

/// Which of the first `of` notes of `q` exist.
async fn numbers(state: &Arc<dyn RecordStore>, of: u64) -> Vec<u64> {
    let keys: Vec<NoteKey> = (0..of).map(note_key).collect();
    let notes = state.notes(&keys).await.unwrap();
    (0..).zip(notes).filter_map(|(number, note)| note.map(|_| number)).collect()
}

fn note_key(number: u64) -> NoteKey {
    NoteKey::new(format_args!("sent:q:{number}"))
}

/// Promise 1.
#[tokio::test]
async fn what_was_noted_is_known_to_the_next_comparison_of_its_queue() {
    let (state, _folder) = state().await;
    let first = open(&state).await;
    first.note(vec![1, 2]).await;
    first.note(Vec::new()).await;
    first.note(vec![u64::MAX]).await;
    assert!(first.is_empty() && !knows(&first, 1).await, "it does not look at its own");
    let second = open(&state).await;
    assert_eq!((second.len(), marks(&second)), (3, vec![1, 2, u64::MAX]));
    assert!(knows(&second, 1).await && knows(&second, u64::MAX).await && !knows(&second, 3).await);
    assert_eq!(numbers(&state, 10).await, [0, 1], "nothing is noted of nothing");
    assert!(opened(&state, "another", false, MOST).await.is_empty());
}

/// Promise 1.
#[tokio::test]
async fn an_empty_queue_forgets_all_and_goes_on_behind_it() {
    let (state, _folder) = state().await;
    let first = open(&state).await;
    for mark in 1..=3 {
        first.note(vec![mark]).await;
    }
    let second = opened(&state, "q", true, MOST).await;
    assert!(second.is_empty() && !knows(&second, 1).await);
    assert_eq!(numbers(&state, 10).await, [0; 0]);
    second.note(vec![4]).await;
    assert_eq!(numbers(&state, 10).await, [3]);
    assert_eq!(marks(&open(&state).await), [4]);
}

/// Promise 1.
#[tokio::test]
async fn the_end_of_a_comparison_keeps_what_was_found_and_what_it_has_sent() {
    let (state, _folder) = state().await;
    open(&state).await.note(vec![1, 2, 3]).await;
    let second = open(&state).await;
    assert!(knows(&second, 2).await);
    second.note(vec![7]).await;
    // A second renewal changes nothing.
    for _ in 0..2 {
        second.renew().await.unwrap();
        assert_eq!(marks(&open(&state).await), [2, 7]);
        assert_eq!(numbers(&state, 10).await, [1, 2]);
    }
    // Without a renewal, as when some keys were not listed, all notes stay.
    let third = open(&state).await;
    assert!(knows(&third, 7).await);
    drop(third);
    let fourth = open(&state).await;
    assert_eq!(marks(&fourth), [2, 7]);
    fourth.renew().await.unwrap();
    assert!(open(&state).await.is_empty(), "nothing was found any more");
}

#[tokio::test]
async fn a_renewal_of_nothing_leaves_no_note() {
    let (state, _folder) = state().await;
    let first = open(&state).await;
    first.renew().await.unwrap();
    opened(&state, "q", true, MOST).await;
    assert_eq!(state.notes(&[first.head()]).await.unwrap(), [None]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobsenders_at_once_lose_none_of_each_others_notes() {
    let (state, _folder) = state().await;
    open(&state).await.note(vec![1]).await;
    let (here, there) = (open(&state).await, open(&state).await);
    let note = |sent: Sent, marks: Range<u64>| async move {
        for mark in marks {
            sent.note(vec![mark]).await;
        }
        sent
    };
    let (here, there) =
        tokio::join!(tokio::spawn(note(here, 100..180)), tokio::spawn(note(there, 200..280)));
    let (here, there) = (here.unwrap(), there.unwrap());
    let all: Vec<Mark> = [1].into_iter().chain(100..180).chain(200..280).collect();
    assert_eq!(marks(&open(&state).await), all);
    // Each ends by itself: what one has found stays, and so does what both have sent.
    assert!(knows(&here, 1).await);
    here.renew().await.unwrap();
    there.renew().await.unwrap();
    assert_eq!(marks(&open(&state).await), all);
}

#[tokio::test]
async fn a_comparison_that_ends_late_does_not_bring_back_what_was_forgotten() {
    let (state, _folder) = state().await;
    let first = open(&state).await;
    first.note(vec![1]).await;
    let late = open(&state).await;
    assert!(knows(&late, 1).await);
    // More notes than one request reads.
    for mark in 1000..1000 + 2 * PAGE {
        first.note(vec![mark]).await;
    }
    let second = open(&state).await;
    assert!(knows(&second, 1005).await);
    second.renew().await.unwrap();
    second.note(vec![8]).await;
    late.renew().await.unwrap();
    assert_eq!(marks(&open(&state).await), [1, 8, 1005]);
}

/// Promise 1.
#[tokio::test]
async fn a_gap_is_looked_past() {
    let (state, _folder) = state().await;
    for number in [0u64, 40, 139] {
        let text = [now().to_be_bytes(), number.to_be_bytes()].concat();
        assert!(state.add_note(&note_key(number), &text).await.unwrap());
    }
    let sent = open(&state).await;
    assert_eq!(marks(&sent), [0, 40, 139]);
    sent.note(vec![5]).await;
    assert_eq!(numbers(&state, 200).await, [0, 40, 139, 140]);
    sent.renew().await.unwrap();
    assert_eq!(numbers(&state, 200).await, [140]);
}

#[tokio::test]
async fn the_number_of_a_note_that_failed_is_that_of_the_next() {
    let refused = (400, json!({"__type": "x#AccessDeniedException", "message": "no"}));
    let taken = (400, json!({"__type": "x#ConditionalCheckFailedException", "message": "no"}));
    let answer = || (200, json!({}));
    let keys = json!([{"AttributeName": "Key", "KeyType": "HASH"}]);
    let described = (200, json!({"Table": {"KeySchema": keys}}));
    let script = ScriptedService::new([
        described,
        // The head note, and the notes.
        answer(),
        answer(),
        refused.clone(),
        refused,
        taken,
        answer(),
    ]);
    let state = DynamoRecords::connect(&script.config(), "t").await.unwrap();
    let state: Arc<dyn RecordStore> = Arc::new(state);
    let sent = open(&state).await;
    for mark in 1..=3 {
        sent.note(vec![mark]).await;
    }
    let asked = script.asked();
    let named: Vec<_> = asked[3..].iter().map(|put| put["Item"]["Key"]["S"].clone()).collect();
    assert_eq!(named, ["note:sent:q:0", "note:sent:q:0", "note:sent:q:0", "note:sent:q:1"]);
}

#[tokio::test]
async fn many_marks_are_several_notes_each_of_which_fits() {
    let (state, _folder) = state().await;
    let all: Vec<Mark> = (1..=2 * MARKS as u64 + 1).collect();
    open(&state).await.note(all.clone()).await;
    assert_eq!(numbers(&state, 10).await, [0, 1, 2]);
    let notes = state.notes(&[note_key(0)]).await.unwrap();
    // Leaves room in an item's 400 KB for its key and attribute names.
    assert!(notes[0].as_ref().is_some_and(|note| note.len() < 390_000));
    assert_eq!(marks(&open(&state).await), all);
}

#[tokio::test]
async fn no_more_is_remembered_than_there_is_room_for_and_all_of_it_is_forgotten() {
    let (state, _folder) = state().await;
    let first = open(&state).await;
    // Three pages of notes with ten marks each.
    for note in 0..3 * PAGE {
        first.note((note * 10 + 1..=note * 10 + 10).collect()).await;
    }
    for (most, remembered) in [(MOST, 3000), (1001, 1010), (999, 1000), (0, 10)] {
        assert_eq!(opened(&state, "q", false, most).await.len(), remembered, "{most}");
    }
    let second = opened(&state, "q", false, 1).await;
    assert!(knows(&second, 1).await && !knows(&second, 3000).await);
    second.renew().await.unwrap();
    assert_eq!(marks(&open(&state).await), [1]);
    assert_eq!(numbers(&state, 400).await, [3 * PAGE]);
}

#[tokio::test]
async fn what_is_no_note_of_ours_does_no_harm() {
    for head in [&b""[..], b"abc", &[0xff; 8], &[0xff; 11]] {
        let (state, _folder) = state().await;
        let first = open(&state).await;
        state.set_note(&first.head(), head).await.unwrap();
        state.add_note(&note_key(0), b"a text").await.unwrap();
        let sent = open(&state).await;
        assert!(sent.is_empty(), "{head:?}");
        sent.note(vec![1]).await;
        sent.renew().await.unwrap();
    }
}

/// Promise 1.
#[tokio::test]
async fn a_claim_ends_with_the_time_that_a_queue_keeps_a_message() {
    let (state, _folder) = state().await;
    let sent = open(&state).await;
    let ago = |days: u32| now() - (DAY * days).as_secs();
    sent.note_since(ago(5), vec![1]).await;
    sent.note_since(ago(4) - 1, vec![2]).await;
    sent.note_since(ago(4) + 600, vec![3]).await;
    for (keeps, expected) in [
        (Some(DAY), &[][..]),
        (Some(DAY * 4), &[3]),
        (Some(DAY * 14), &[1, 2, 3]),
        (None, &[1, 2, 3]),
    ] {
        assert_eq!(
            marks(&opened_from(&state, "q", false, keeps, MOST).await),
            expected,
            "{keeps:?}"
        );
    }
}

/// Promise 1.
#[tokio::test]
async fn a_claim_ends_with_an_attempt_that_has_ended_since() {
    use crate::record::{JobStatus, Outcome};
    let (state, _folder) = state().await;
    let sent = open(&state).await;
    let (sent_at, second) = (now() - 100, Duration::from_secs(1));
    sent.note_since(sent_at, vec![1, 2, 3]).await;
    let time = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let outcome = |mark: Mark, status, ended| {
        let id = |bucket: &str| ObjectId::new(bucket, format!("k{mark}"));
        Outcome {
            id: RecordId { src: id("src"), des: id("des") },
            size: 1,
            version: None,
            etag: None,
            status,
            instance: "i".to_owned(),
            lease: None,
            start_time: ended - second,
            end_time: ended,
            error: None,
            deleted: false,
            proven: None,
            written: None,
            order: None,
        }
    };
    let ends = [
        outcome(1, JobStatus::Failed, time(sent_at + 5)),
        outcome(2, JobStatus::Done, time(sent_at + 5)),
        // From an earlier job.
        outcome(3, JobStatus::Failed, time(sent_at - 5)),
    ];
    state.finish(&ends).await.unwrap();
    let next = open(&state).await;
    assert_eq!(
        [knows(&next, 1).await, knows(&next, 2).await, knows(&next, 3).await],
        [false, false, true]
    );
    next.renew().await.unwrap();
    assert_eq!(marks(&open(&state).await), [3]);
}
