use super::*;
use crate::limits::detail::Sample;
use crate::monitor::activity::{Amount, Reason};

const NOW: u64 = 1_767_225_600;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

fn amount(objects: u64) -> Amount {
    Amount { objects, bytes: objects * 100 }
}

fn beat(kind: Member, at: u64, place: u32, done: u64) -> Vec<u8> {
    let counts = Counts { done, micros: 250_000, ..Counts::default() };
    Beat { number: 1, member: kind, began: NOW - 600, at, every: 10, place, counts, wants: 0 }
        .text()
}

/// A jobsender that has ended, two workers of which one is dead, and a reason for failures.
pub(crate) fn cluster() -> Reading {
    let part = |name: &str| format!("{MEMBER}{name}~0000");
    let samples: Vec<Sample> = [(NOW - 120, 0), (NOW - 60, 300), (NOW, 600)]
        .map(|(at, copied)| Sample { at, copied: amount(copied), ..Sample::default() })
        .into();
    let pair = |amounts| vec![("from".to_owned(), "to".to_owned(), amounts)];
    let copied = |copied| PairAmounts { copied: amount(copied), ..PairAmounts::default() };
    let detail = |name: &str, doing| Detail { part: part(name), doing, samples: samples.clone() };
    let holds = vec![Held { object: "from/a\u{1b}[31m".to_owned(), bytes: 7 }];
    let reason = Reason { objects: 2, example: "from/x: denied".to_owned() };
    let living = Doing {
        pairs: pair(copied(600)),
        reasons: [("GetObject source AccessDenied 403".to_owned(), reason)].into(),
        holds,
        held: 3,
        waits: vec!["bucket to (destination): 503".to_owned()],
        ..Doing::default()
    };
    let dead = Doing { pairs: pair(copied(100)), held: 1, ..Doing::default() };
    let found =
        PairAmounts { listed: amount(2000), to_copy: amount(1000), ..PairAmounts::default() };
    Reading {
        board: [
            (part("alive"), beat(Member::Worker, NOW - 3, 0, 600)),
            (part("gone"), beat(Member::Worker, NOW - 300, 1, 100)),
        ]
        .into(),
        details: [(part("alive"), detail("alive", living)), (part("gone"), detail("gone", dead))]
            .into(),
        ended: Doing { pairs: pair(found), listed_all: true, ..Doing::default() },
    }
}

#[test]
fn the_numbers_of_all_processes_are_put_together() {
    let view = cluster().overview("the fleet", &LimitsConfig::default(), "USD", now());
    assert_eq!((view.since, view.total.copied, view.total.cost), (Some(NOW - 600), 700, 0.5));
    let [comparing, copying, closing] = &view.phases[..] else { panic!("{view:?}") };
    assert_eq!(
        (comparing.active, comparing.objects, comparing.of_objects),
        (false, 2000, Some(2000))
    );
    assert_eq!((copying.active, copying.objects, copying.of_objects), (true, 700, Some(1000)));
    assert_eq!((copying.objects_per_second, copying.bytes_per_second), (5.0, 500.0));
    assert_eq!(copying.seconds_left, Some([60, 60]), "300 objects at 5 a second");
    assert_eq!((closing.active, closing.objects), (false, 0));
    let [alive, gone] = &view.workers[..] else { panic!("{view:?}") };
    assert_eq!((alive.lives, alive.silent_seconds, alive.held), (true, 3, 3));
    assert_eq!((gone.lives, gone.silent_seconds, gone.held), (false, 300, 0));
    assert_eq!(view.waiting_for, ["bucket to (destination): 503"]);
    let text = view.text();
    for line in [
        "copying   700 of 1,000 objects, 68.4 KiB, 5.0/s 500 B/s, left: about 1m",
        "closing   0 objects, 0 B, 0.0/s 0 B/s, not begun",
        "pair      from -> to: 700 copied of 1,000, 0 failed",
        "process   gone silent for 5m, 100 copied, 0 B/s, holds -",
        "waits     bucket to (destination): 503",
        "failed    2: GetObject source AccessDenied 403, such as from/x: denied",
        "spent     0 requests, 0 B read, 0 B sent, 0.50 USD",
    ] {
        assert!(text.lines().any(|l| l == line), "no {line:?} in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn nothing_is_claimed_that_is_not_known() {
    let mut reading = cluster();
    let comparing = Doing { phase: Phase::Comparing, ..Doing::default() };
    let part = format!("{MEMBER}sender~0");
    let detail = Detail { part: part.clone(), doing: comparing, samples: Vec::new() };
    reading.board.insert(part.clone(), beat(Member::Jobsender, NOW, 2, 0));
    reading.details.insert(part, detail);
    let view = reading.overview("the fleet", &LimitsConfig::default(), "USD", now());
    assert_eq!((view.phases[0].active, view.phases[0].of_objects), (true, None));
    assert_eq!((view.phases[1].of_objects, view.phases[1].seconds_left), (None, None));
    assert_eq!(view.phases[1].left_in_words(), "left: unknown");
    // Objects that no listing has found: from events.
    let mut reading = cluster();
    reading.ended = Doing::default();
    let view = reading.overview("the fleet", &LimitsConfig::default(), "USD", now());
    assert_eq!((view.phases[1].of_objects, view.phases[1].seconds_left), (None, None));
    let nothing = Reading::default();
    assert!(nothing.is_empty());
    let view = nothing.overview("the fleet", &LimitsConfig::default(), "USD", now());
    assert!(view.phases.iter().all(|phase| phase.left_in_words() == "not begun"));
    assert_eq!(left_in_words(Some([60, 120])), "1m to 2m");
}
