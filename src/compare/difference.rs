//! Compares two listings that are in key order.
//!
//! Pure: two listed objects are compared, wherever they were listed.

use std::cmp::Ordering;

use crate::config::Compare;
use crate::object::{Etag, Revision};
use crate::store::Listed;

/// Which side has the smaller of two keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeStep {
    /// Only the source has the key.
    SourceOnly,
    /// Both have it.
    Both,
    /// Only the destination has it.
    DestinationOnly,
}

/// One step of a merge of two ordered listings: which side to take from; `None` at the end of both.
pub fn step(source: Option<&str>, destination: Option<&str>) -> Option<MergeStep> {
    let (source, destination) = match (source, destination) {
        (None, None) => return None,
        (Some(_), None) => return Some(MergeStep::SourceOnly),
        (None, Some(_)) => return Some(MergeStep::DestinationOnly),
        (Some(source), Some(destination)) => (source, destination),
    };
    Some(match source.cmp(destination) {
        Ordering::Less => MergeStep::SourceOnly,
        Ordering::Equal => MergeStep::Both,
        Ordering::Greater => MergeStep::DestinationOnly,
    })
}

/// What counts as a difference if both sides have an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Criteria {
    /// What is compared.
    pub compare: Compare,
    /// The destination encrypts by SSE-KMS, so that its ETags are not MD5s
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html>).
    pub opaque: bool,
    /// Every object is copied, whatever the destination has.
    pub overwrite: bool,
}

impl Criteria {
    /// Only this is compared.
    pub fn only(compare: Compare) -> Self {
        Self { compare, opaque: false, overwrite: false }
    }
}

/// Why an object is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The destination does not have it.
    Missing,
    /// The destination's object has another number of bytes.
    SizeDiffers,
    /// The destination's object has another ETag of the same kind.
    EtagDiffers,
    /// The destination lists another ETag than the one it returned when the object was written, or
    /// than the source's if the two are comparable.
    WrittenDiffers,
    /// Another version than the current one was copied.
    VersionDiffers,
    /// No record says which version was copied.
    VersionUnknown,
    /// It is at the destination and is copied anyway.
    Overwritten,
}

impl Difference {
    /// Words for the user.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing at the destination",
            Self::SizeDiffers => "size differs",
            Self::EtagDiffers => "ETag differs",
            Self::WrittenDiffers => "the destination lists another ETag than the one written",
            Self::VersionDiffers => "another version was copied",
            Self::VersionUnknown => "no record says which version was copied",
            Self::Overwritten => "overwritten, as requested",
        }
    }
}

/// What differs between an object and its copy, if anything; their keys are the same.
pub fn difference(
    criteria: Criteria,
    source: Listed<'_>,
    destination: Option<Listed<'_>>,
) -> Option<Difference> {
    let Some(copy) = destination else { return Some(Difference::Missing) };
    if copy.size != source.size {
        return Some(Difference::SizeDiffers);
    }
    if criteria.overwrite {
        return Some(Difference::Overwritten);
    }
    match criteria.compare {
        Compare::Size => None,
        Compare::Etag => {
            let etags = source.etag.zip(copy.etag);
            let differ = |(source, copy)| etags_differ(source, copy, criteria.opaque);
            etags.is_some_and(differ).then_some(Difference::EtagDiffers)
        }
    }
}

/// Whether two ETags are of one kind and differ. An MD5 is comparable with an MD5. A multipart
/// digest is comparable with one of as many parts, since both uploads were then cut alike; if they
/// were not, the ETags differ and the object is copied in the source's own layout. Anything else
/// says nothing.
fn etags_differ(source: &str, copy: &str, opaque: bool) -> bool {
    let (source, copy) = (Etag::new(source), Etag::new(copy));
    let both_md5 = source.looks_like_md5() && copy.looks_like_md5();
    let alike = both_md5 || source.parts().is_some() && source.parts() == copy.parts();
    alike && !opaque && !source.same_digest(&copy)
}

/// What the ETags of an object and its copy say at the end of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EtagsSay {
    /// The copy is what was written.
    Equal,
    /// The copy is not what was written.
    Differ,
    /// The two differ and there is no record: they may be of two kinds that look alike.
    MayDiffer,
    /// Nothing.
    Nothing,
}

/// What both sides' ETags say. `written`: what the destination returned when this very object was
/// written, if that is on record. A store may list an ETag in another form than it returned; then
/// the record says nothing.
pub fn etags_say(source: Option<&str>, copy: Option<&str>, written: Option<&Etag>) -> EtagsSay {
    let Some(copy) = copy.map(Etag::new) else { return EtagsSay::Nothing };
    let of_a_kind = |one: &Etag, other: &Etag| {
        let both_md5 = one.looks_like_md5() && other.looks_like_md5();
        both_md5 || (one.parts().is_some() && one.parts() == other.parts())
    };
    let source = source.map(Etag::new);
    match (written, source) {
        (Some(written), _) if *written == copy => EtagsSay::Equal,
        (Some(written), _) if of_a_kind(written, &copy) => EtagsSay::Differ,
        (_, Some(source)) if !of_a_kind(&source, &copy) => EtagsSay::Nothing,
        (_, Some(source)) if source == copy => EtagsSay::Equal,
        (None, Some(_)) => EtagsSay::MayDiffer,
        (Some(_), _) | (None, None) => EtagsSay::Nothing,
    }
}

/// What differs between an object's current version and the one that was copied. The null version
/// is whatever was written last while the bucket did not keep versions, so its ETag counts too.
pub fn version_difference(source: Listed<'_>, copied: Option<&Revision>) -> Option<Difference> {
    let Some(copied) = copied else { return Some(Difference::VersionUnknown) };
    let current = Revision::new(source.version.map(str::to_owned), source.etag.map(Etag::new));
    let etags = current.etag.as_ref().zip(copied.etag.as_ref());
    let same_null = || etags.is_none_or(|(current, copied)| current == copied);
    let same = current.version == copied.version && (current.version.is_some() || same_null());
    (!same).then_some(Difference::VersionDiffers)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise 1.
    #[test]
    fn the_smaller_key_in_byte_order_is_taken_first() {
        for (source, destination, expected) in [
            (None, None, None),
            (Some("a"), None, Some(MergeStep::SourceOnly)),
            (None, Some("a"), Some(MergeStep::DestinationOnly)),
            (Some("a"), Some("a"), Some(MergeStep::Both)),
            (Some("a"), Some("a/"), Some(MergeStep::SourceOnly)),
            // Bytes decide, not UTF-16: U+FFFD is EF BF BD, U+10000 is F0 90 80 80.
            (Some("\u{FFFD}"), Some("\u{10000}"), Some(MergeStep::SourceOnly)),
            (Some("Z"), Some("a"), Some(MergeStep::SourceOnly)),
            (Some("é"), Some("z"), Some(MergeStep::DestinationOnly)),
        ] {
            assert_eq!(step(source, destination), expected);
        }
    }

    /// Promise 1.
    #[test]
    fn a_copy_differs_by_absence_or_size() {
        let source = Listed::new("k", 5);
        let size = Criteria::only(Compare::Size);
        let overwrite = Criteria { overwrite: true, ..size };
        for criteria in [size, Criteria::only(Compare::Etag), overwrite] {
            let difference = |copy| difference(criteria, source, copy);
            assert_eq!(difference(None), Some(Difference::Missing));
            assert_eq!(difference(Some(Listed::new("k", 4))), Some(Difference::SizeDiffers));
            let expected = criteria.overwrite.then_some(Difference::Overwritten);
            assert_eq!(difference(Some(Listed::new("k", 5))), expected);
        }
    }

    /// Promise 1.
    #[test]
    fn etags_are_compared_where_they_are_of_a_kind() {
        let etag = Criteria::only(Compare::Etag);
        let md5 = |digit: &str| digit.repeat(32);
        let parts = |digit: &str, count: u32| format!("{}-{count}", digit.repeat(32));
        for (source, copy, differs) in [
            (md5("a"), md5("a"), false),
            (md5("a"), md5("A"), false),
            (md5("a"), md5("b"), true),
            (parts("a", 2), parts("a", 2), false),
            (parts("a", 2), parts("b", 2), true),
            (parts("a", 2), parts("b", 3), false),
            (md5("a"), parts("b", 2), false),
            ("opaque".to_owned(), "other".to_owned(), false),
        ] {
            let listed = |etag| Listed { etag: Some(etag), ..Listed::new("k", 5) };
            let compared = |criteria| difference(criteria, listed(&source), Some(listed(&copy)));
            let expected = differs.then_some(Difference::EtagDiffers);
            assert_eq!(compared(etag), expected, "{source} {copy}");
            assert_eq!(compared(Criteria { opaque: true, ..etag }), None);
            assert_eq!(compared(Criteria::only(Compare::Size)), None);
        }
        let unknown = Listed::new("k", 5);
        assert_eq!(difference(etag, unknown, Some(unknown)), None);
    }

    /// Promise 3.
    #[test]
    fn a_copy_is_what_was_written_or_what_the_source_says() {
        use EtagsSay::{Differ, Equal, MayDiffer, Nothing};
        let md5 = |digit: &str| digit.repeat(32);
        let parts = |digit: &str, count: u32| format!("{}-{count}", digit.repeat(32));
        for (source, copy, written, expected) in [
            (md5("a"), md5("a"), Some(md5("a")), Equal),
            (md5("a"), md5("b"), Some(md5("a")), Differ),
            (md5("a"), md5("b"), Some(md5("b")), Equal), // ETags of its own
            (md5("a"), md5("c"), Some(md5("b")), Differ),
            (md5("a"), parts("b", 2), Some(parts("b", 2)), Equal),
            (md5("a"), parts("c", 2), Some(parts("b", 2)), Differ),
            (md5("a"), "opaque".to_owned(), Some(md5("a")), Nothing),
            (md5("a"), md5("B"), Some("opaque".to_owned()), Nothing),
            (md5("a"), md5("A"), None, Equal),
            (md5("a"), md5("b"), None, MayDiffer),
            (parts("a", 2), parts("b", 2), None, MayDiffer),
            (parts("a", 2), parts("b", 3), None, Nothing),
            (md5("a"), parts("b", 2), None, Nothing),
        ] {
            let written = written.map(Etag::new);
            let said = etags_say(Some(&source), Some(&copy), written.as_ref());
            assert_eq!(said, expected, "{source} {copy} {written:?}");
        }
        assert_eq!(etags_say(None, Some("x"), None), Nothing);
        assert_eq!(etags_say(Some("x"), None, Some(&Etag::new("x"))), Nothing);
    }

    /// Promise 2.
    #[test]
    fn a_version_differs_from_another_and_a_null_version_by_its_etag() {
        use Difference::{VersionDiffers, VersionUnknown};
        let copied = |version: Option<&str>, etag: &str| {
            Revision::new(version.map(str::to_owned), Some(Etag::new(etag)))
        };
        for (version, from, expected) in [
            (Some("v2"), None, Some(VersionUnknown)),
            (None, None, Some(VersionUnknown)),
            (Some("v2"), Some(copied(Some("v2"), "e")), None),
            (Some("v2"), Some(copied(Some("v1"), "e")), Some(VersionDiffers)),
            (Some("v2"), Some(copied(None, "e")), Some(VersionDiffers)),
            (Some("null"), Some(copied(None, "e")), None),
            (None, Some(copied(None, "e")), None),
            (Some("null"), Some(copied(None, "other")), Some(VersionDiffers)),
            (Some("null"), Some(copied(Some("v1"), "e")), Some(VersionDiffers)),
        ] {
            let listed = Listed { version, etag: Some("e"), ..Listed::new("k", 5) };
            assert_eq!(version_difference(listed, from.as_ref()), expected, "{listed:?} {from:?}");
        }
    }
}
