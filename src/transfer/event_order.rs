//! Events in any order: which one is late, and what a late one or a deletion finds.
//!
//! Pure: what the record and both sides say is an argument.

use crate::object::Etag;
use crate::object::sequencer::Sequencer;
use crate::store::ObjectMeta;

/// What the record says about the destination: how the latest attempt left it.
#[derive(Clone, Copy, Debug)]
pub struct Left<'a> {
    /// Bytes.
    pub size: u64,
    /// The source's ETag.
    pub etag: Option<&'a Etag>,
    /// The ETag of an object made of parts.
    pub target_etag: Option<&'a Etag>,
    /// It was left by a deletion.
    pub deleted: bool,
}

/// What happens to an event that need not copy its own object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// There is nothing to do.
    PassOver,
    /// The destination is brought to the source's current state.
    Refresh,
}

/// Whether an event happened before another one whose outcome is on record. An equal one is not
/// late: otherwise a store with a constant sequencer would get only its first event.
pub fn is_late(event: Option<&Sequencer>, recorded: Option<&Sequencer>) -> bool {
    event.zip(recorded).is_some_and(|(event, recorded)| event < recorded)
}

/// Whether the destination is as it was left; `None` if its ETag does not show it.
fn is_as_left(left: &Left<'_>, there: Option<&ObjectMeta>) -> Option<bool> {
    let Some(there) = there.filter(|_| !left.deleted) else {
        return Some(left.deleted && there.is_none());
    };
    if there.size != left.size {
        return Some(false);
    }
    let known = [left.etag, left.target_etag];
    if known.into_iter().flatten().any(|etag| etag.same_digest(&there.etag)) {
        return Some(true);
    }
    // If both are MD5s and differ, the destination's object is another one.
    let comparable = there.md5().is_some() && left.etag.is_some_and(|etag| etag.md5().is_some());
    comparable.then_some(false)
}

/// A late event is passed over if the later one's outcome stands. The record alone does not say so:
/// an attempt at this very message may have written after it, and have died. `doubtful`: there was
/// such an attempt, so that an outcome that cannot be verified does not stand.
pub fn late(left: &Left<'_>, there: Option<&ObjectMeta>, doubtful: bool) -> Late {
    match is_as_left(left, there).unwrap_or(!doubtful) {
        true => Late::PassOver,
        false => Late::Refresh,
    }
}

/// Decides about a deletion whose object exists at the source. `for_good`: a version is gone, so
/// that an earlier one, which has no event, may be current now; otherwise the event of a new object
/// brings it.
pub fn outlived(
    source: &ObjectMeta,
    there: Option<&ObjectMeta>,
    left: Option<&Left<'_>>,
    for_good: bool,
) -> Late {
    // Another attempt at the deletion may have found nothing at the source, and deleted too late.
    let Some(destination) = there else { return Late::Refresh };
    let same = source.size == destination.size && source.etag.same_digest(&destination.etag);
    let of_source = |left: &&Left<'_>| left.etag == Some(&source.etag) && left.size == source.size;
    let brought = left.filter(of_source).is_some_and(|left| is_as_left(left, there) != Some(false));
    match !for_good || same || brought {
        true => Late::PassOver,
        false => Late::Refresh,
    }
}

/// Whether the destination still has the object that was seen there when its deletion was decided.
pub fn is_as_seen(size: u64, etag: Option<&Etag>, there: &ObjectMeta) -> bool {
    size == there.size && etag.is_none_or(|etag| etag.same_digest(&there.etag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store;

    const A: &str = "0123456789abcdef0123456789abcdef";
    const B: &str = "ffffffffffffffffffffffffffffffff";
    const PARTS: &str = "0123456789abcdef0123456789abcdef-2";
    const OTHER_PARTS: &str = "ffffffffffffffffffffffffffffffff-3";

    fn meta(size: u64, etag: &str, sse: Option<&str>) -> ObjectMeta {
        ObjectMeta {
            etag: Etag::new(etag),
            sse: sse.map(str::to_owned),
            ..store::tests::meta(size)
        }
    }

    /// Promise 2.
    #[test]
    fn an_event_is_late_behind_a_later_one_only() {
        let at = |text: &str| Sequencer::parse(text);
        for (event, recorded, expected) in [
            (at("1A"), at("1B"), true),
            (at("1A"), at("1A"), false),
            (at("1B"), at("1A"), false),
            (at("1A"), at("1A01"), true),
            (None, at("1A"), false),
            (at("1A"), None, false),
            (None, None, false),
        ] {
            assert_eq!(is_late(event.as_ref(), recorded.as_ref()), expected, "{event:?}");
        }
    }

    /// Promise 2.
    #[test]
    fn a_late_event_is_passed_over_where_the_later_ones_outcome_stands() {
        let (a, parts) = (Etag::new(A), Etag::new(PARTS));
        let left = |etag, target_etag| Left { size: 5, etag, target_etag, deleted: false };
        let small = left(Some(&a), None);
        let (kms, stands, broken) = (Some("aws:kms"), Late::PassOver, Late::Refresh);
        for (left, there, doubtful, expected) in [
            (small, Some(meta(5, A, None)), true, stands),
            (small, Some(meta(5, &A.to_uppercase(), None)), true, stands),
            (small, Some(meta(5, B, None)), false, broken),
            (small, Some(meta(6, A, None)), false, broken),
            (small, None, false, broken),
            // ETags that are no MD5.
            (small, Some(meta(5, B, kms)), false, stands),
            (small, Some(meta(5, B, kms)), true, broken),
            (small, Some(meta(6, B, kms)), false, broken),
            // Written in other parts than at the source.
            (left(Some(&parts), Some(&a)), Some(meta(5, A, None)), true, stands),
            (left(Some(&parts), None), Some(meta(5, OTHER_PARTS, None)), false, stands),
            (left(Some(&parts), None), Some(meta(5, OTHER_PARTS, None)), true, broken),
            (Left { deleted: true, ..left(None, None) }, None, true, stands),
            (Left { deleted: true, ..left(None, None) }, Some(meta(5, A, None)), false, broken),
        ] {
            let decided = late(&left, there.as_ref(), doubtful);
            assert_eq!(decided, expected, "{left:?} {there:?} {doubtful}");
        }
    }

    /// Promise 2.
    #[test]
    fn a_deletion_that_its_object_has_outlived() {
        let (pass, refresh) = (Late::PassOver, Late::Refresh);
        let (source, etag, parts) = (meta(5, A, None), Etag::new(A), Etag::new(PARTS));
        let left = Left { size: 5, etag: Some(&etag), target_etag: None, deleted: false };
        let deleted = Left { deleted: true, etag: None, size: 0, ..left };
        let other = Left { etag: Some(&parts), ..left };
        for (there, left, for_good, expected) in [
            (Some(meta(5, A, None)), None, false, pass),
            // The new object's own event brings it.
            (Some(meta(5, B, None)), None, false, pass),
            (None, None, false, refresh),
            (None, Some(left), false, refresh),
            // An older version is gone, or the current one.
            (Some(meta(5, A, None)), None, true, pass),
            (Some(meta(5, B, None)), None, true, refresh),
            (Some(meta(5, B, None)), Some(left), true, refresh),
            (Some(meta(5, B, Some("aws:kms"))), Some(left), true, pass),
            (Some(meta(5, B, None)), Some(other), true, refresh),
            (Some(meta(5, B, None)), Some(deleted), true, refresh),
        ] {
            let decided = outlived(&source, there.as_ref(), left.as_ref(), for_good);
            assert_eq!(decided, expected, "{there:?} {left:?} {for_good}");
        }
    }

    /// Promise 2.
    #[test]
    fn only_what_was_seen_is_deleted() {
        let there = meta(5, A, None);
        for (size, etag, expected) in [
            (5, Some(A), true),
            (5, None, true),
            (6, Some(A), false),
            (6, None, false),
            (5, Some(B), false),
        ] {
            assert_eq!(
                is_as_seen(size, etag.map(Etag::new).as_ref(), &there),
                expected,
                "{etag:?}"
            );
        }
    }
}
