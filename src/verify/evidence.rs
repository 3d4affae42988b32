//! What two objects' listings, headers and bytes say about each other. The rules are this room's own
//! on purpose: a mistake in what decides about copying must not be repeated here.
//!
//! Pure: what was seen of both objects is an argument.

use std::collections::BTreeSet;

use crate::object::Etag;
use crate::store::ObjectMeta;
use crate::transfer::preserved::{Wanted, lost};

/// In what an object and its copy differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The number of bytes.
    Size,
    /// ETags of one kind.
    Etag,
    /// Stored checksums of one algorithm.
    Checksum,
    /// Bytes, read on both sides.
    Bytes,
    /// Headers or user metadata.
    Metadata,
    /// The number of tags.
    Tags,
    /// The storage class.
    Class,
}

impl How {
    /// Its name in results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Etag => "etag",
            Self::Checksum => "checksum",
            Self::Bytes => "bytes",
            Self::Metadata => "metadata",
            Self::Tags => "tags",
            Self::Class => "class",
        }
    }
}

/// The strongest evidence for equal contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// All bytes, read on both sides.
    Bytes,
    /// Stored checksums of the whole object.
    Checksum,
    /// ETags of one kind.
    Etag,
    /// Nothing but the number of bytes.
    Size,
}

/// The result for an object and its copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opinion {
    /// No difference was seen.
    Equal(Ground),
    /// The differences, and the names of lost headers.
    Differ(Vec<How>, BTreeSet<&'static str>),
}

/// Which ETags say nothing about an object's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    /// Those that look like an MD5.
    pub md5: bool,
    /// Those of multipart uploads.
    pub parts: bool,
}

/// What two ETags say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EtagsSaw {
    /// They are of one kind and equal.
    Equal,
    /// They are of one kind and differ.
    Different,
    /// They are not comparable.
    Nothing,
}

/// Compares two ETags. An MD5 is comparable with an MD5, and a multipart digest with one of as many
/// parts.
pub fn etags(source: Option<&Etag>, copy: Option<&Etag>, hidden: Hidden) -> EtagsSaw {
    let Some((source, copy)) = source.zip(copy) else { return EtagsSaw::Nothing };
    let md5s = source.looks_like_md5() && copy.looks_like_md5() && !hidden.md5;
    let parts = source.parts().is_some() && source.parts() == copy.parts() && !hidden.parts;
    match (md5s || parts, source.same_digest(copy)) {
        (false, _) => EtagsSaw::Nothing,
        (true, true) => EtagsSaw::Equal,
        (true, false) => EtagsSaw::Different,
    }
}

/// What was seen of an object or of its copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Bytes.
    pub size: u64,
    /// The ETag.
    pub etag: Option<Etag>,
}

/// Everything that was seen of an object and its copy.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Both listings: the source's, then the destination's.
    pub listed: [&'a Seen; 2],
    /// Both answers to HEAD; they are newer than the listings and replace them.
    pub heads: Option<&'a [ObjectMeta; 2]>,
    /// Whether all bytes are equal, if they were read.
    pub same_bytes: Option<bool>,
    /// ETags that say nothing here.
    pub hidden: Hidden,
    /// What was to be kept in addition to the bytes.
    pub wanted: Wanted<'a>,
}

impl Evidence<'_> {
    /// Judges the object. Read bytes outweigh ETags, and so do checksums: two stores may have ETags
    /// of different kinds that look alike.
    pub fn judge(&self) -> Opinion {
        let sizes = match self.heads {
            Some([source, copy]) => [source.size, copy.size],
            None => self.listed.map(|seen| seen.size),
        };
        if sizes[0] != sizes[1] {
            return Opinion::Differ(vec![How::Size], BTreeSet::new());
        }
        let (sums, etags) = (self.sums_agree(), self.etags());
        let mut how = Vec::new();
        let is_known = self.same_bytes == Some(true) || sums == Some(true);
        if etags == EtagsSaw::Different && !is_known {
            how.push(How::Etag);
        }
        if sums == Some(false) {
            how.push(How::Checksum);
        }
        if self.same_bytes == Some(false) {
            how.push(How::Bytes);
        }
        let lost = self.lost(&mut how);
        match (self.same_bytes, sums, etags) {
            _ if !how.is_empty() => Opinion::Differ(how, lost),
            (Some(true), ..) => Opinion::Equal(Ground::Bytes),
            (_, Some(true), _) => Opinion::Equal(Ground::Checksum),
            (.., EtagsSaw::Equal) => Opinion::Equal(Ground::Etag),
            _ => Opinion::Equal(Ground::Size),
        }
    }

    fn etags(&self) -> EtagsSaw {
        let Some([source, copy]) = self.heads else {
            let [source, copy] = self.listed.map(|seen| seen.etag.as_ref());
            return etags(source, copy, self.hidden);
        };
        // Under KMS or SSE-C a tag may look like a digest, and the answer says so.
        let is_digest =
            |meta: &ObjectMeta| meta.md5().is_some() || meta.multipart_digest().is_some();
        let hidden = match is_digest(source) && is_digest(copy) {
            true => self.hidden,
            false => Hidden { md5: true, parts: true },
        };
        etags(Some(&source.etag), Some(&copy.etag), hidden)
    }

    /// Whether both stores keep the same checksum; `None` if they keep none, or of two algorithms.
    fn sums_agree(&self) -> Option<bool> {
        let [source, copy] = self.heads?;
        let (source, copy) = source.sum.zip(copy.sum)?;
        (source.algorithm() == copy.algorithm()).then_some(source == copy)
    }

    fn lost(&self, how: &mut Vec<How>) -> BTreeSet<&'static str> {
        let Some([source, copy]) = self.heads else { return BTreeSet::new() };
        let Wanted { metadata, tags, class } = self.wanted;
        let nothing = Wanted { metadata: false, tags: false, class: None };
        let mut all = BTreeSet::new();
        for (what, wanted) in [
            (How::Metadata, Wanted { metadata, ..nothing }),
            (How::Tags, Wanted { tags, ..nothing }),
            (How::Class, Wanted { class, ..nothing }),
        ] {
            let lost = lost(wanted, source, copy);
            if !lost.is_empty() {
                how.push(what);
            }
            all.extend(lost);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::sums::{Algorithm, Sum, of};
    use crate::store;

    const NOTHING: Wanted<'_> = Wanted { metadata: false, tags: false, class: None };

    fn meta(size: u64, etag: &str, sum: Option<Sum>) -> ObjectMeta {
        ObjectMeta { etag: Etag::new(etag), sum, ..store::tests::meta(size) }
    }

    fn seen(size: u64, etag: &str) -> Seen {
        Seen { size, etag: Some(Etag::new(etag)) }
    }

    fn md5(digit: &str) -> String {
        digit.repeat(32)
    }

    #[test]
    fn listings_say_size_and_comparable_etags() {
        let parts = |digit: &str, count: u32| format!("{}-{count}", md5(digit));
        let differ = |how| Opinion::Differ(vec![how], BTreeSet::new());
        for (source, copy, hidden, expected) in [
            (seen(1, &md5("a")), seen(2, &md5("a")), false, differ(How::Size)),
            (seen(1, &md5("a")), seen(1, &md5("A")), false, Opinion::Equal(Ground::Etag)),
            (seen(1, &md5("a")), seen(1, &md5("b")), false, differ(How::Etag)),
            (seen(1, &md5("a")), seen(1, &md5("b")), true, Opinion::Equal(Ground::Size)),
            (seen(1, &parts("a", 2)), seen(1, &parts("b", 2)), false, differ(How::Etag)),
            (seen(1, &parts("a", 2)), seen(1, &parts("b", 3)), false, Opinion::Equal(Ground::Size)),
            (seen(1, &md5("a")), seen(1, &parts("b", 3)), false, Opinion::Equal(Ground::Size)),
            (seen(1, "opaque"), seen(1, "other"), false, Opinion::Equal(Ground::Size)),
        ] {
            let hidden = Hidden { md5: hidden, parts: hidden };
            let listed = [&source, &copy];
            let (heads, same_bytes, wanted) = (None, None, NOTHING);
            let evidence = Evidence { listed, heads, same_bytes, hidden, wanted };
            assert_eq!(evidence.judge(), expected, "{source:?} {copy:?}");
        }
    }

    #[test]
    fn bytes_and_checksums_outweigh_etags() {
        let sum = |bytes: &[u8]| Some(of(Algorithm::Crc32, bytes));
        let other = Some(of(Algorithm::Sha1, b"x"));
        let differ = |how: &[How]| Opinion::Differ(how.to_vec(), BTreeSet::new());
        for (etags, sums, same_bytes, expected) in [
            (["a", "b"], [None, None], Some(true), Opinion::Equal(Ground::Bytes)),
            (["a", "b"], [sum(b"x"), sum(b"x")], None, Opinion::Equal(Ground::Checksum)),
            (["a", "a"], [sum(b"x"), other], None, Opinion::Equal(Ground::Etag)),
            (["a", "a"], [sum(b"x"), sum(b"y")], None, differ(&[How::Checksum])),
            (["a", "b"], [None, None], Some(false), differ(&[How::Etag, How::Bytes])),
            (["a", "b"], [None, None], None, differ(&[How::Etag])),
        ] {
            let heads = [0, 1].map(|at| meta(1, &md5(etags[at]), sums[at]));
            let listed = [&seen(1, "x"), &seen(1, "y")];
            let (hidden, wanted) = (Hidden::default(), NOTHING);
            let evidence = Evidence { listed, heads: Some(&heads), same_bytes, hidden, wanted };
            assert_eq!(evidence.judge(), expected, "{etags:?} {sums:?} {same_bytes:?}");
        }
    }

    #[test]
    fn a_kms_etag_says_nothing_and_headers_are_compared() {
        let mut heads = [meta(1, &md5("a"), None), meta(1, &md5("b"), None)];
        heads[1].sse = Some("aws:kms".to_owned());
        let listed = [&seen(1, &md5("a")), &seen(1, &md5("b"))];
        let judge = |heads: &[ObjectMeta; 2], class| {
            let wanted = Wanted { metadata: true, tags: true, class };
            let (same_bytes, hidden) = (None, Hidden::default());
            Evidence { listed, heads: Some(heads), same_bytes, hidden, wanted }.judge()
        };
        assert_eq!(judge(&heads, None), Opinion::Equal(Ground::Size));
        heads[0].headers.content_type = Some("image/png".to_owned());
        heads[0].tag_count = Some(2);
        heads[1].tag_count = Some(1);
        let how = vec![How::Metadata, How::Tags, How::Class];
        let lost = ["Content-Type", "tags", "the storage class"].into();
        assert_eq!(judge(&heads, Some("GLACIER_IR")), Opinion::Differ(how, lost));
    }
}
