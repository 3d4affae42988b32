use super::*;
use crate::error::Evidence;

fn refused(kind: ErrorKind, status: u16, code: &str) -> Error {
    let evidence = Evidence { status, code: code.to_owned(), ..Evidence::default() };
    Error::new(kind, "refused").with_evidence(evidence)
}

const SECOND: Duration = Duration::from_secs(1);

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
    // What no service has said is about the object: a key that would be too long.
    assert_eq!(about(&Error::invalid("too long")), About::Object);
}

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

#[test]
fn so_many_alike_close_the_place_and_a_success_between_them_does_not() {
    let mut breaker = Breaker::new(3);
    let denied = ("PutObject AccessDenied", Blame::Unless);
    assert_eq!(breaker.refused(denied, 1, false, SECOND), Ruling::Hold);
    assert_eq!(breaker.refused(denied, 1, false, SECOND), Ruling::Hold, "one object is one");
    assert_eq!(breaker.refused(denied, 2, false, SECOND), Ruling::Hold);
    assert_eq!(breaker.refused(denied, 3, true, SECOND), Ruling::Hold, "another one was taken");
    assert_eq!(breaker.refused(denied, 4, false, SECOND), Ruling::Hold);
    assert_eq!(
        breaker.refused(("PutObject InvalidTag", Blame::Unless), 5, false, SECOND),
        Ruling::Hold,
        "not alike"
    );
    assert_eq!(breaker.is_closed(), None);
    for (object, expected) in [(6, Ruling::Hold), (7, Ruling::Hold), (8, Ruling::Back)] {
        assert_eq!(breaker.refused(denied, object, false, SECOND), expected);
    }
    assert!(breaker.is_closed().is_some());
    assert_eq!(breaker.refused(denied, 9, false, SECOND), Ruling::Back);
}

#[test]
fn one_probe_at_a_time_until_one_passes() {
    let mut breaker = Breaker::new(1);
    assert!(breaker.close(Blame::Room, Duration::ZERO));
    assert!(!breaker.close(Blame::Room, Duration::ZERO), "said once");
    assert_eq!(breaker.admit(Duration::ZERO), Admission::Back(SECOND));
    assert_eq!(breaker.admit(SECOND), Admission::Probe);
    assert!(matches!(breaker.admit(SECOND), Admission::Back(_)));
    breaker.failed(SECOND);
    assert_eq!(breaker.due(), Some(3 * SECOND));
    assert_eq!(breaker.admit(3 * SECOND), Admission::Probe);
    breaker.given_up();
    assert_eq!(breaker.admit(3 * SECOND), Admission::Probe);
    assert_eq!(breaker.passed(4 * SECOND), Some(4 * SECOND));
    assert_eq!(breaker.passed(4 * SECOND), None);
    assert_eq!(breaker.admit(4 * SECOND), Admission::Go);
}

#[test]
fn what_is_refused_again_after_others_were_taken_is_its_own_fault() {
    let mut breaker = Breaker::new(2);
    breaker.refused(("x", Blame::Unless), 1, false, SECOND);
    assert_eq!(breaker.refused(("x", Blame::Unless), 2, false, SECOND), Ruling::Back);
    breaker.remember(3);
    breaker.passed(SECOND);
    for object in [1, 2, 3] {
        assert_eq!(breaker.refused(("x", Blame::Unless), object, false, SECOND), Ruling::Record);
    }
    assert_eq!(
        breaker.refused(("x", Blame::Unless), 4, false, SECOND),
        Ruling::Hold,
        "it was not there before"
    );
}

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
