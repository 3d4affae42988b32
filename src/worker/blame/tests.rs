use super::*;
use crate::error::Evidence;

fn refused(kind: ErrorKind, status: u16, code: &str) -> Error {
    let evidence = Evidence { status, code: code.to_owned(), ..Evidence::default() };
    Error::new(kind, "refused").with_evidence(evidence)
}

const SECOND: Duration = Duration::from_secs(1);

/// Promises 0, 9.
#[test]
fn a_refusal_is_sorted_by_what_it_may_be_about() {
    for (kind, status, code, expected) in [
        (ErrorKind::Unfit, 403, "SignatureDoesNotMatch", About::Asker),
        (ErrorKind::Unavailable, 400, "ExpiredToken", About::Asker),
        (ErrorKind::Unavailable, 400, "InvalidToken", About::Asker),
        (ErrorKind::NotFound, 404, "NoSuchBucket", About::Place),
        (ErrorKind::Invalid, 301, "PermanentRedirect", About::Place),
        (ErrorKind::Invalid, 400, "AuthorizationHeaderMalformed", About::Place),
        (ErrorKind::Full, 507, "", About::Room),
        (ErrorKind::Throttled, 503, "SlowDown", About::Silence),
        (ErrorKind::Unavailable, 502, "", About::Silence),
        (ErrorKind::Denied, 403, "AccessDenied", About::Unclear),
        (ErrorKind::Denied, 403, "", About::Unclear),
        (ErrorKind::Invalid, 400, "", About::Unclear),
        (ErrorKind::NotFound, 404, "", About::Unclear),
        (ErrorKind::NotFound, 404, "NoSuchKey", About::Object),
        (ErrorKind::Archived, 403, "InvalidObjectState", About::Object),
        (ErrorKind::SourceChanged, 412, "", About::Object),
    ] {
        assert_eq!(about(&refused(kind, status, code)), expected, "{status} {code}");
    }
    // An error that no service answered is about the object, such as a key that is too long.
    assert_eq!(about(&Error::invalid("too long")), About::Object);
}

/// Promises 0, 9.
#[test]
fn a_neutral_call_confirms_or_clears() {
    let denied = refused(ErrorKind::Denied, 403, "AccessDenied");
    let wrong = refused(ErrorKind::Unfit, 403, "SignatureDoesNotMatch");
    let gone = refused(ErrorKind::NotFound, 404, "NoSuchBucket");
    let page = refused(ErrorKind::NotFound, 404, "");
    let unknown = refused(ErrorKind::Invalid, 501, "");
    let out = refused(ErrorKind::Unavailable, 0, "");
    for (answer, expected) in [
        (Ok(()), Neutral::Answered),
        (Err(&denied), Neutral::Answered),
        (Err(&wrong), Neutral::Asker),
        (Err(&gone), Neutral::Place),
        (Err(&page), Neutral::Place),
        (Err(&unknown), Neutral::Answered),
        (Err(&out), Neutral::Silent),
    ] {
        assert_eq!(neutral(answer), expected);
    }
}

/// Promises 0, 9.
#[test]
fn blame_follows_from_both() {
    use About as A;
    use Blame as B;
    use Neutral as N;
    for (about, neutral, expected) in [
        (A::Object, N::Silent, B::Object),
        (A::Asker, N::Asker, B::Asker),
        (A::Asker, N::Answered, B::Unless),
        (A::Asker, N::Silent, B::Side),
        (A::Place, N::Place, B::Place),
        (A::Place, N::Answered, B::Unless),
        (A::Room, N::Answered, B::Room),
        (A::Silence, N::Silent, B::Side),
        (A::Silence, N::Answered, B::Passing),
        (A::Silence, N::Asker, B::Asker),
        (A::Unclear, N::Answered, B::Unless),
        (A::Unclear, N::Place, B::Place),
    ] {
        assert_eq!(rule(about, neutral), expected, "{about:?} {neutral:?}");
    }
}

/// An object in the folder from which others are accepted.
fn tried(object: u64) -> Tried {
    Tried { object, folder: 0 }
}

/// Promises 0, 9.
#[test]
fn so_many_alike_close_the_place_and_a_success_between_them_does_not() {
    let mut breaker = Breaker::new(3);
    let denied = ("PutObject AccessDenied", Blame::Unless);
    assert_eq!(breaker.refused(denied, tried(1), false, SECOND), Ruling::Hold);
    assert_eq!(breaker.refused(denied, tried(1), false, SECOND), Ruling::Hold, "one object is one");
    assert_eq!(breaker.refused(denied, tried(2), false, SECOND), Ruling::Hold);
    assert_eq!(
        breaker.refused(denied, tried(3), true, SECOND),
        Ruling::Hold,
        "another one was taken"
    );
    assert_eq!(breaker.refused(denied, tried(4), false, SECOND), Ruling::Hold);
    assert_eq!(
        breaker.refused(("PutObject InvalidTag", Blame::Unless), tried(5), false, SECOND),
        Ruling::Hold,
        "not alike"
    );
    assert_eq!(breaker.is_closed(), None);
    for (object, expected) in [(6, Ruling::Hold), (7, Ruling::Hold), (8, Ruling::Back)] {
        assert_eq!(breaker.refused(denied, tried(object), false, SECOND), expected);
    }
    assert!(breaker.is_closed().is_some());
    assert_eq!(breaker.refused(denied, tried(9), false, SECOND), Ruling::Back);
}

/// Promises 0, 9.
#[test]
fn one_probe_at_a_time_until_one_passes() {
    let mut breaker = Breaker::new(1);
    assert!(breaker.close(Blame::Room, Duration::ZERO));
    assert!(!breaker.close(Blame::Room, Duration::ZERO), "said once");
    assert_eq!(breaker.admit(tried(1), Duration::ZERO), Admission::Back(SECOND));
    assert_eq!(breaker.admit(tried(1), SECOND), Admission::Probe);
    assert!(matches!(breaker.admit(tried(2), SECOND), Admission::Back(_)));
    breaker.failed(SECOND);
    assert_eq!(breaker.due(), Some(3 * SECOND));
    assert_eq!(breaker.admit(tried(3), 3 * SECOND), Admission::Probe);
    breaker.given_up(2);
    assert!(matches!(breaker.admit(tried(2), 3 * SECOND), Admission::Back(_)), "3 is still tried");
    breaker.given_up(3);
    assert_eq!(breaker.admit(tried(4), 3 * SECOND), Admission::Probe);
    assert_eq!(breaker.passed(tried(3), 4 * SECOND), None, "it began before");
    assert_eq!(breaker.passed(tried(4), 4 * SECOND), Some(4 * SECOND));
    assert_eq!(breaker.passed(tried(4), 4 * SECOND), None);
    assert_eq!(breaker.admit(tried(5), 4 * SECOND), Admission::Go);
}

const X: (&str, Blame) = ("x", Blame::Unless);

/// Closed by two refusals, then reopened by an accepted probe; accepts `others` as well.
fn closed_and_open_again(refused: [Tried; 2], others: std::ops::Range<u64>) -> Breaker {
    let mut breaker = Breaker::new(2);
    breaker.passed(tried(0), SECOND);
    breaker.refused(X, refused[0], false, SECOND);
    assert_eq!(breaker.refused(X, refused[1], false, SECOND), Ruling::Back);
    assert_eq!(breaker.admit(tried(9), 2 * SECOND), Admission::Probe);
    assert_eq!(breaker.passed(tried(9), 2 * SECOND), Some(SECOND));
    others.for_each(|object| assert_eq!(breaker.passed(tried(object), 2 * SECOND), None));
    breaker
}

/// Promises 0, 9.
#[test]
fn what_is_refused_again_after_others_were_taken_is_its_own_fault() {
    let mut breaker = closed_and_open_again([tried(1), tried(2)], 10..11);
    for object in [1, 2] {
        assert_eq!(breaker.refused(X, tried(object), false, SECOND), Ruling::Record);
    }
    let new = breaker.refused(X, tried(4), false, SECOND);
    assert_eq!(new, Ruling::Hold, "it was not there before");
    let mut flapping = closed_and_open_again([tried(1), tried(2)], 0..0);
    let again = flapping.refused(X, tried(1), false, SECOND);
    assert_eq!(again, Ruling::Hold, "one that was taken is not enough");
}

/// An object in a folder of its own.
fn denied(object: u64) -> Tried {
    Tried { object, folder: 99 }
}

/// Promises 0, 9.
#[test]
fn the_probe_is_sought_where_something_was_taken_or_nothing_tried() {
    let mut breaker = Breaker::new(2);
    breaker.refused(X, denied(1), false, SECOND);
    breaker.refused(X, denied(2), false, SECOND);
    for object in 3..1000 {
        assert_eq!(breaker.admit(denied(object), 2 * SECOND), Admission::Back(QUICK));
    }
    assert_eq!(breaker.admit(tried(1000), 2 * SECOND), Admission::Probe);
    breaker.failed(2 * SECOND);
    let mut admitted = (0..).map(|object| breaker.admit(denied(object), 3 * SECOND));
    let found = admitted.position(|admitted| admitted == Admission::Probe);
    assert_eq!(found, Some(MOST_PASSED_OVER as usize), "it is not sought for ever");
}

/// Promises 0, 9.
#[test]
fn a_folder_that_is_refused_while_others_are_taken_has_failed() {
    let mut breaker = closed_and_open_again([denied(1), denied(2)], 10..11);
    assert_eq!(breaker.refused(X, denied(300), false, SECOND), Ruling::Record);
    assert_eq!(
        breaker.refused(X, tried(301), false, SECOND),
        Ruling::Hold,
        "others are taken there"
    );
    let one = Tried { object: 302, folder: 98 };
    breaker.refused(X, one, true, SECOND);
    (20..30).for_each(|object| assert_eq!(breaker.passed(tried(object), 2 * SECOND), None));
    let other = breaker.refused(X, Tried { object: 303, ..one }, true, SECOND);
    assert_eq!(other, Ruling::Hold, "one that was refused is no folder");
    breaker.passed(denied(304), SECOND);
    let new = breaker.refused(X, denied(305), true, SECOND);
    assert_eq!(new, Ruling::Hold, "some are taken there now");
}

/// Promises 0, 9.
#[test]
fn one_that_was_taken_before_and_is_taken_again_acquits_the_place() {
    let mut breaker = Breaker::new(1);
    assert_eq!(breaker.refused(X, tried(1), false, SECOND), Ruling::Back);
    for probe in 0..DOUBTFUL {
        assert!(!breaker.is_doubtful(), "after {probe} probes");
        breaker.failed(SECOND);
    }
    assert!(breaker.is_doubtful());
    breaker.acquit("x", 10 * SECOND);
    assert_eq!(breaker.is_closed(), None);
    assert_eq!(breaker.refused(X, tried(2), false, 9 * SECOND), Ruling::Record);
    let other = breaker.refused(("y", Blame::Unless), tried(3), false, 9 * SECOND);
    assert_eq!(other, Ruling::Back, "not that refusal");
    assert_eq!(breaker.reopen(9 * SECOND), Some(Duration::ZERO));
    let late = breaker.refused(X, tried(4), false, 10 * SECOND);
    assert_eq!(late, Ruling::Back, "it may be otherwise by now");
}

/// Promises 0, 9.
#[test]
fn a_permission_does_not_come_right_by_itself_and_room_may() {
    for (blame, probes, expected) in [
        (Blame::Unless, 11, false),
        (Blame::Unless, 12, true),
        (Blame::Place, 3, true),
        (Blame::Room, 1000, false),
        (Blame::Side, 1000, false),
    ] {
        let mut breaker = Breaker::new(1);
        breaker.close(blame, Duration::ZERO);
        (0..probes).for_each(|_| breaker.failed(SECOND));
        assert_eq!(breaker.is_hopeless(), expected, "{blame:?} {probes}");
        assert!(breaker.due() <= Some(SECOND + LONGEST));
    }
}

/// Promises 0, 9.
#[test]
fn what_is_odd_is_named() {
    let mut headers = Headers {
        content_disposition: Some("attachment; filename=\"Zürich.pdf\"".to_owned()),
        content_type: Some("text/plain".to_owned()),
        ..Headers::default()
    };
    headers.user.insert("note".to_owned(), "two  blanks".to_owned());
    let odd = oddities("a//b+c", Some(&headers)).join(", ");
    for part in ["//", "+", "Content-Disposition has other", "x-amz-meta-note has blanks in a row"]
    {
        assert!(odd.contains(part), "{part}: {odd}");
    }
    assert_eq!(oddities("plain/key.txt", None), Vec::<String>::new());
}
