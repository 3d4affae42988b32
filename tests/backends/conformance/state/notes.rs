//! What holds for notes, which are kept with the records.

use s3_migration::record::{BoardChange, JobStatus, NoteKey, RecordStore, RecordTally};

use super::{all_copies, at, control_texts, end, odd_texts};

fn numbered(numbers: impl Iterator<Item = u32>) -> Vec<NoteKey> {
    numbers.map(|n| NoteKey::new(format_args!("n:{n}"))).collect()
}

async fn note(store: &dyn RecordStore, key: &NoteKey) -> Option<Vec<u8>> {
    let notes = store.notes(std::slice::from_ref(key)).await.unwrap();
    let [note] = <[_; 1]>::try_from(notes).expect("an answer for each key");
    note
}

/// Promise 1.
pub async fn a_note_is_added_once_and_may_be_set_again(store: &dyn RecordStore) {
    let key = NoteKey::new("one");
    assert_eq!(note(store, &key).await, None);
    assert!(store.add_note(&key, b"first").await.unwrap());
    assert!(!store.add_note(&key, b"second").await.unwrap());
    assert_eq!(note(store, &key).await.as_deref(), Some(&b"first"[..]));
    store.set_note(&key, b"third").await.unwrap();
    assert_eq!(note(store, &key).await.as_deref(), Some(&b"third"[..]));
    assert!(!store.add_note(&key, b"fourth").await.unwrap());
    let other = NoteKey::new("other");
    store.set_note(&other, b"new").await.unwrap();
    assert_eq!(note(store, &other).await.as_deref(), Some(&b"new"[..]));
    assert_eq!(note(store, &key).await.as_deref(), Some(&b"third"[..]));
}

/// Promise 1.
pub async fn of_many_who_add_one_note_one_does(store: &dyn RecordStore) {
    let key = NoteKey::new("contended");
    let texts: Vec<Vec<u8>> = (0..8).map(|n| vec![n]).collect();
    let added = texts.iter().map(|text| store.add_note(&key, text));
    let added = futures_util::future::join_all(added).await;
    let winners =
        texts.into_iter().zip(added).filter_map(|(text, added)| added.unwrap().then_some(text));
    let winners: Vec<_> = winners.collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(note(store, &key).await, winners.into_iter().next());
}

/// Promise 1.
pub async fn notes_are_bytes_under_any_name(store: &dyn RecordStore) {
    let names = odd_texts().into_iter().chain(control_texts()).chain([String::new()]);
    let keys: Vec<NoteKey> = names.map(NoteKey::new).collect();
    let every: Vec<u8> = (0..=255).collect();
    for (n, key) in keys.iter().enumerate() {
        let text = &every[..n.min(every.len())];
        assert!(store.add_note(key, text).await.unwrap(), "{key:?}");
    }
    store.set_note(&keys[1], &every).await.unwrap();
    let mut expected: Vec<_> = (0..keys.len()).map(|n| Some(every[..n].to_vec())).collect();
    expected[1] = Some(every);
    assert_eq!(store.notes(&keys).await.unwrap(), expected);
}

/// Promise 1.
pub async fn large_notes_come_back_whole(store: &dyn RecordStore) {
    let keys = numbered(0..60);
    // Together more than the 16 MB of one answer of Amazon DynamoDB.
    let text = |n: usize| -> Vec<u8> { (0..300 * 1024).map(|i| (i * 7 + n) as u8).collect() };
    for (n, key) in keys.iter().enumerate() {
        assert!(store.add_note(key, &text(n)).await.unwrap());
    }
    let notes = store.notes(&keys).await.unwrap();
    assert_eq!(notes.len(), keys.len());
    for (n, note) in notes.into_iter().enumerate() {
        assert!(note == Some(text(n)), "note {n} is not what it was");
    }
}

/// Promise 1.
pub async fn notes_are_answered_in_the_order_asked(store: &dyn RecordStore) {
    for (n, key) in (0u32..).zip(numbered(0..250)).filter(|(n, _)| !n.is_multiple_of(3)) {
        assert!(store.add_note(&key, &n.to_be_bytes()).await.unwrap());
    }
    // Backwards, and some that are not there.
    let asked: Vec<u32> = (0..270).rev().chain([999]).collect();
    let answers = store.notes(&numbered(asked.iter().copied())).await.unwrap();
    let there = |n: &u32| (*n < 250 && !n.is_multiple_of(3)).then(|| n.to_be_bytes().to_vec());
    assert_eq!(answers, asked.iter().map(there).collect::<Vec<_>>());
    assert_eq!(store.notes(&[]).await.unwrap(), [None; 0]);
}

/// Promise 1.
pub async fn removed_notes_are_gone_and_no_others(store: &dyn RecordStore) {
    let keys = numbered(0..130);
    for key in &keys {
        assert!(store.add_note(key, b"x").await.unwrap());
    }
    store.remove_notes(&[]).await.unwrap();
    // What is not there is not missed, also when all of it is removed again.
    for _ in 0..2 {
        store.remove_notes(&numbered((10..125).chain(900..950))).await.unwrap();
        let left = store.notes(&keys).await.unwrap();
        let expected = (0..130).map(|n| (!(10..125).contains(&n)).then(|| b"x".to_vec()));
        assert_eq!(left, expected.collect::<Vec<_>>());
    }
    assert!(store.add_note(&keys[10], b"again").await.unwrap());
    assert_eq!(note(store, &keys[10]).await.as_deref(), Some(&b"again"[..]));
}

/// Promise 1.
pub async fn notes_are_no_records(store: &dyn RecordStore) {
    for key in numbered(0..3) {
        store.set_note(&key, &[7; 100]).await.unwrap();
    }
    assert_eq!(store.tally(at(0)).await.unwrap(), RecordTally::default());
    for status in [JobStatus::Running, JobStatus::Done, JobStatus::Failed] {
        assert_eq!(store.with_status(status, 10).await.unwrap(), [], "{status:?}");
    }
    let page = store.copies(&all_copies("des")).await.unwrap();
    assert_eq!(page.map(|page| page.copies), Some(vec![]));
    store.finish(&[end("key", None, 10, 20)]).await.unwrap();
    let tally = store.tally(at(0)).await.unwrap();
    assert_eq!((tally.done, tally.running, tally.failed), (1, 0, 0));
    assert_eq!(tally.span, Some((at(10), at(20))));
    assert_eq!(store.with_status(JobStatus::Done, 10).await.unwrap().len(), 1);
    let keys = numbered(0..3);
    assert_eq!(store.notes(&keys).await.unwrap(), vec![Some(vec![7; 100]); 3]);
}

fn change(set: &[(&str, &str)]) -> BoardChange {
    let set = set.iter().map(|(part, text)| ((*part).to_owned(), text.as_bytes().to_vec()));
    BoardChange { set: set.collect(), ..BoardChange::default() }
}

async fn on_board(store: &dyn RecordStore, key: &NoteKey) -> Vec<(String, String)> {
    let board = store.board(key, &BoardChange::default()).await.unwrap().unwrap();
    let text = |(part, text)| (part, String::from_utf8(text).unwrap());
    board.into_iter().map(text).collect()
}

fn parts(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(part, text)| ((*part).to_owned(), (*text).to_owned())).collect()
}

/// Promise 9.
pub async fn a_board_has_parts_and_each_change_answers_with_all(store: &dyn RecordStore) {
    let (key, other) = (NoteKey::new("board"), NoteKey::new("board2"));
    assert_eq!(on_board(store, &key).await, []);
    store.board(&other, &change(&[("x", "apart")])).await.unwrap();
    let answer = store.board(&key, &change(&[("a", "1"), ("member:b c~\"", "2")])).await.unwrap();
    assert_eq!(answer.unwrap().len(), 2);
    let both =
        BoardChange { remove: vec!["a".to_owned(), "none".to_owned()], ..change(&[("d", "")]) };
    let answer = store.board(&key, &both).await.unwrap().unwrap();
    assert_eq!(answer.keys().collect::<Vec<_>>(), ["d", "member:b c~\""]);
    assert_eq!(on_board(store, &key).await, parts(&[("d", ""), ("member:b c~\"", "2")]));
    assert_eq!(on_board(store, &other).await, parts(&[("x", "apart")]));
    assert_eq!(store.tally(at(0)).await.unwrap(), RecordTally::default(), "a board is no record");
}

/// Promise 9.
pub async fn a_board_changes_as_a_whole_or_not_at_all(store: &dyn RecordStore) {
    let key = NoteKey::new("conditional");
    let only_if = |expected: Option<&str>, to: &str| BoardChange {
        only_if: Some(("control".to_owned(), expected.map(|text| text.as_bytes().to_vec()))),
        ..change(&[("control", to), ("mine", to)])
    };
    assert!(store.board(&key, &only_if(Some("a"), "b")).await.unwrap().is_none());
    assert_eq!(on_board(store, &key).await, []);
    assert!(store.board(&key, &only_if(None, "a")).await.unwrap().is_some());
    assert!(store.board(&key, &only_if(None, "b")).await.unwrap().is_none());
    assert_eq!(on_board(store, &key).await, parts(&[("control", "a"), ("mine", "a")]));
    let texts: Vec<String> = (0..8).map(|n| n.to_string()).collect();
    let changes: Vec<_> = texts.iter().map(|text| only_if(Some("a"), text)).collect();
    let changed = changes.iter().map(|change| store.board(&key, change));
    let changed = futures_util::future::join_all(changed).await;
    let won = changed.into_iter().filter(|answer| answer.as_ref().unwrap().is_some()).count();
    assert_eq!(won, 1, "of many at once one changes it");
}
