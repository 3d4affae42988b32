//! Comparing two listings that are in key order.

use std::cmp::Ordering;

use crate::object::{ObjectKey, Revision};
use crate::store::Listed;

/// Where the smaller of two keys stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Only the source has the key.
    SourceOnly,
    /// Both have it.
    Both,
    /// Only the destination has it.
    DestinationOnly,
}

/// One step of a merge of two ordered listings: which side to take from; `None` at the end of both.
pub fn step(source: Option<&ObjectKey>, destination: Option<&ObjectKey>) -> Option<Step> {
    let (source, destination) = match (source, destination) {
        (None, None) => return None,
        (Some(_), None) => return Some(Step::SourceOnly),
        (None, Some(_)) => return Some(Step::DestinationOnly),
        (Some(source), Some(destination)) => (source, destination),
    };
    Some(match source.cmp(destination) {
        Ordering::Less => Step::SourceOnly,
        Ordering::Equal => Step::Both,
        Ordering::Greater => Step::DestinationOnly,
    })
}

/// Why an object is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The destination does not have it.
    Missing,
    /// The destination has another number of bytes.
    SizeDiffers,
    /// Another version than the current one was copied.
    VersionDiffers,
    /// No record says which version was copied.
    VersionUnknown,
}

impl Difference {
    /// Words for the user.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing at the destination",
            Self::SizeDiffers => "size differs",
            Self::VersionDiffers => "another version was copied",
            Self::VersionUnknown => "no record says which version was copied",
        }
    }
}

/// What differs between an object and its copy, if anything: the key is given, the size counts.
pub fn difference(source: &Listed, destination: Option<&Listed>) -> Option<Difference> {
    match destination {
        None => Some(Difference::Missing),
        Some(copy) if copy.size != source.size => Some(Difference::SizeDiffers),
        Some(_) => None,
    }
}

/// What differs between the current version of an object and the one that was copied. The null
/// version is whatever was written last while the bucket kept none, so its ETag counts too.
pub fn version_difference(source: &Listed, copied: Option<&Revision>) -> Option<Difference> {
    let Some(copied) = copied else { return Some(Difference::VersionUnknown) };
    let current = Revision::new(source.version.clone(), source.etag.clone());
    let etags = current.etag.as_ref().zip(copied.etag.as_ref());
    let same_null = || etags.is_none_or(|(current, copied)| current == copied);
    let same = current.version == copied.version && (current.version.is_some() || same_null());
    (!same).then_some(Difference::VersionDiffers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Etag;

    fn listed(key: &str, size: u64) -> Listed {
        let key = ObjectKey::new(key);
        Listed { key, size, etag: None, last_modified: None, storage_class: None, version: None }
    }

    #[test]
    fn the_smaller_key_in_byte_order_is_taken_first() {
        let key = ObjectKey::new;
        for (source, destination, expected) in [
            (None, None, None),
            (Some("a"), None, Some(Step::SourceOnly)),
            (None, Some("a"), Some(Step::DestinationOnly)),
            (Some("a"), Some("a"), Some(Step::Both)),
            (Some("a"), Some("a/"), Some(Step::SourceOnly)),
            // Bytes decide, not UTF-16: U+FFFD is EF BF BD, U+10000 is F0 90 80 80.
            (Some("\u{FFFD}"), Some("\u{10000}"), Some(Step::SourceOnly)),
            (Some("Z"), Some("a"), Some(Step::SourceOnly)),
            (Some("é"), Some("z"), Some(Step::DestinationOnly)),
        ] {
            assert_eq!(step(source.map(key).as_ref(), destination.map(key).as_ref()), expected);
        }
    }

    #[test]
    fn a_copy_differs_by_absence_or_size() {
        let source = listed("k", 5);
        assert_eq!(difference(&source, None), Some(Difference::Missing));
        assert_eq!(difference(&source, Some(&listed("k", 4))), Some(Difference::SizeDiffers));
        assert_eq!(difference(&source, Some(&listed("k", 5))), None);
    }

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
            let (version, etag) = (version.map(str::to_owned), Some(Etag::new("e")));
            let listed = Listed { version, etag, ..listed("k", 5) };
            assert_eq!(version_difference(&listed, from.as_ref()), expected, "{listed:?} {from:?}");
        }
    }
}
