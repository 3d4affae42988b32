//! The ways in which stores differ from Amazon S3, by name.
//!
//! Pure: names, and the text of a key of the ini.

use std::collections::BTreeMap;
use std::fmt;

/// A way in which a store differs from Amazon S3. Each has a name, for the ini and for `check`, and
/// a text that says what the product does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Quirk {
    /// A page that claims to be the last is not: `start-after` its last key returns more.
    EndsListingsEarly,
    /// ListObjectsV2 is not supported: listings use version 1.
    ListsByVersion1,
    /// `start-after` or a token returns the named key again.
    RepeatsKeys,
    /// `start-after` is ignored; the value is 2 if the `marker` of version 1 is ignored too.
    IgnoresStartAfter,
    /// Keys in a listing that claims to be url-encoded are not encoded.
    ListsUnencoded,
    /// Keys in a url-encoded listing are encoded twice.
    EncodesTwice,
    /// A `+` in a url-encoded listing is a plus, not a space.
    PlusIsLiteral,
    /// Some stored keys are not listed, such as those that are a folder of another key.
    HidesFolderKeys,
    /// ETags of objects in one piece and of parts are not MD5s.
    OwnEtags,
    /// ETags of multipart objects are not the digest of their parts' MD5s.
    OwnMultipartEtags,
    /// HEAD with `partNumber` is refused.
    NoPartSizes,
    /// ListMultipartUploads is refused.
    NoUploadListing,
    /// ListParts is refused.
    NoPartListing,
    /// A body without a signed SHA-256 is refused.
    SignedBodies,
    /// `x-amz-tagging` is refused.
    NoTags,
    /// The requested storage class is refused, or the header is not supported.
    NoStorageClass,
    /// Some storage classes are supported, others are not.
    OtherClasses,
    /// A canned ACL is refused.
    NoAcl,
    /// `x-amz-website-redirect-location` is refused.
    NoWebsiteRedirect,
    /// Bodies come without Content-Length.
    NoLengths,
    /// Objects stored with gzip arrive decompressed, unless the request asks for gzip.
    DecompressesGzip,
    /// `Content-MD5` is refused.
    NoContentMd5,
    /// A body that does not match its `Content-MD5` is accepted.
    IgnoresContentMd5,
    /// `If-Match` never matches: the ETag of each answer is compared instead.
    NoIfMatch,
    /// The request for stored checksums is refused.
    NoChecksums,
    /// User metadata must be ASCII: other text is sent as encoded words (RFC 2047).
    EncodedMetadata,
    /// `Range` is ignored: objects are read from the start.
    NoRanges,
    /// An upload may have fewer than 10,000 parts; the value is the maximum.
    MaxParts,
}

impl Quirk {
    /// All quirks.
    pub const ALL: [Self; 28] = [
        Self::EndsListingsEarly,
        Self::ListsByVersion1,
        Self::RepeatsKeys,
        Self::IgnoresStartAfter,
        Self::ListsUnencoded,
        Self::EncodesTwice,
        Self::PlusIsLiteral,
        Self::HidesFolderKeys,
        Self::OwnEtags,
        Self::OwnMultipartEtags,
        Self::NoPartSizes,
        Self::NoUploadListing,
        Self::NoPartListing,
        Self::SignedBodies,
        Self::NoTags,
        Self::NoStorageClass,
        Self::OtherClasses,
        Self::NoAcl,
        Self::NoWebsiteRedirect,
        Self::NoLengths,
        Self::DecompressesGzip,
        Self::NoContentMd5,
        Self::IgnoresContentMd5,
        Self::NoIfMatch,
        Self::NoChecksums,
        Self::EncodedMetadata,
        Self::NoRanges,
        Self::MaxParts,
    ];

    /// The name used in the ini, the notes and `check`.
    pub fn name(self) -> &'static str {
        match self {
            Self::EndsListingsEarly => "ends-listings-early",
            Self::ListsByVersion1 => "lists-by-version-1",
            Self::RepeatsKeys => "repeats-keys",
            Self::IgnoresStartAfter => "ignores-start-after",
            Self::ListsUnencoded => "lists-unencoded",
            Self::EncodesTwice => "encodes-twice",
            Self::PlusIsLiteral => "plus-is-literal",
            Self::HidesFolderKeys => "hides-folder-keys",
            Self::OwnEtags => "own-etags",
            Self::OwnMultipartEtags => "own-multipart-etags",
            Self::NoPartSizes => "no-part-sizes",
            Self::NoUploadListing => "no-upload-listing",
            Self::NoPartListing => "no-part-listing",
            Self::SignedBodies => "signed-bodies",
            Self::NoTags => "no-tags",
            Self::NoStorageClass => "no-storage-class",
            Self::OtherClasses => "other-classes",
            Self::NoAcl => "no-acl",
            Self::NoWebsiteRedirect => "no-website-redirect",
            Self::NoLengths => "no-lengths",
            Self::DecompressesGzip => "decompresses-gzip",
            Self::NoContentMd5 => "no-content-md5",
            Self::IgnoresContentMd5 => "ignores-content-md5",
            Self::NoIfMatch => "no-if-match",
            Self::NoChecksums => "no-checksums",
            Self::EncodedMetadata => "encoded-metadata",
            Self::NoRanges => "no-ranges",
            Self::MaxParts => "max-parts",
        }
    }

    /// What the store does, and what the product does about it; one line, lower case.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::EndsListingsEarly => {
                "this store ends its listings early: every listing is continued after its last \
                 key until no more keys come"
            }
            Self::ListsByVersion1 => "this store does not support ListObjectsV2: version 1 is used",
            Self::RepeatsKeys => {
                "this store lists a page's last key again on the next page: it is counted once"
            }
            Self::IgnoresStartAfter => {
                "this store ignores start-after: version 1 and its marker are used; if the marker \
                 is ignored too, listings are not split and their end cannot be checked"
            }
            Self::ListsUnencoded => {
                "this store says that its listings are encoded, but the keys are not: they are not decoded"
            }
            Self::EncodesTwice => {
                "this store encodes the keys of its listings twice: they are decoded twice"
            }
            Self::PlusIsLiteral => {
                "this store does not encode + in encoded listings: it is not read as a blank"
            }
            Self::HidesFolderKeys => {
                "this store does not list every key that it has, for instance a key that is also \
                 the folder of another: keys missing from its listing are looked up one by one"
            }
            Self::OwnEtags => {
                "this store's ETags are not MD5s: bytes are verified by Content-MD5 or a checksum"
            }
            Self::OwnMultipartEtags => {
                "this store has its own kind of ETags for objects in parts: the parts' ETags and \
                 the size are compared instead"
            }
            Self::NoPartSizes => {
                "this store does not give the sizes of an object's parts: the copy keeps the \
                 source's ETag only if a usual part size yields it"
            }
            Self::NoUploadListing => {
                "this store does not list unfinished uploads: only uploads on record are resumed"
            }
            Self::NoPartListing => {
                "this store does not list the parts of an upload: uploads are not resumed"
            }
            Self::SignedBodies => "this store demands signed bodies: their SHA-256 is computed",
            Self::NoTags => {
                "this store does not accept tags: objects arrive without them (CopyTags)"
            }
            Self::NoStorageClass => {
                "this store does not accept the storage class: objects go without one \
                 (StorageClass)"
            }
            Self::OtherClasses => {
                "this store does not support some storage classes: objects get another one \
                 (StorageClass)"
            }
            Self::NoAcl => "this store accepts no ACL: objects go without one (ACL)",
            Self::NoWebsiteRedirect => {
                "this store accepts no x-amz-website-redirect-location: objects go without it"
            }
            Self::NoLengths => {
                "this store sends bodies without their length: HEAD, a range or the listing gives \
                 it"
            }
            Self::DecompressesGzip => {
                "this store decompresses gzip objects unless the request accepts gzip: every \
                 request does"
            }
            Self::NoContentMd5 => "this store refuses Content-MD5: answers are verified by ETag",
            Self::IgnoresContentMd5 => {
                "this store accepts bodies that differ from their Content-MD5: a copy that \
                 neither its ETag nor a checksum proves counts as not verified"
            }
            Self::NoIfMatch => {
                "this store does not support If-Match, or it never matches: the ETag of every answer is compared instead"
            }
            Self::NoChecksums => {
                "this store refuses requests for checksums: copies are compared with its ETags only"
            }
            Self::EncodedMetadata => {
                "this store accepts user metadata in ASCII only: other characters are sent as \
                 encoded words (RFC 2047), the form in which Amazon S3 returns them"
            }
            Self::NoRanges => {
                "this store does not support Range: objects are read from their beginning"
            }
            Self::MaxParts => "this store accepts fewer parts than 10,000: parts are made larger",
        }
    }

    /// The quirk with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|quirk| quirk.name() == name)
    }
}

impl fmt::Display for Quirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The quirks that the ini sets for a store, for all of its buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins(BTreeMap<Quirk, Option<u64>>);

impl Pins {
    /// Names separated by commas: `no-tags` is set, `-own-etags` is unset, `max-parts=1000` has a
    /// number. An error says what is wrong and what is allowed.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let mut pins = BTreeMap::new();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let (denied, rest) = match word.strip_prefix('-') {
                Some(rest) => (true, rest),
                None => (false, word),
            };
            let (name, value) = rest.split_once('=').map_or((rest, None), |(n, v)| (n, Some(v)));
            let quirk = Quirk::named(&name.trim().to_ascii_lowercase());
            let quirk = quirk.ok_or_else(|| format!("{word:?} is not one of them"))?;
            let number = value.map(|value| value.trim().parse::<u64>());
            let pin = match (denied, quirk, number) {
                (true, _, None) => None,
                (false, Quirk::MaxParts, Some(Ok(number))) if (1..=10_000).contains(&number) => {
                    Some(number)
                }
                (false, quirk, None) if quirk != Quirk::MaxParts => Some(1),
                (_, Quirk::MaxParts, _) => {
                    return Err(format!("{word:?} needs a number from 1 to 10000: max-parts=1000"));
                }
                _ => return Err(format!("{word:?} takes no number")),
            };
            pins.insert(quirk, pin);
        }
        Ok(Self(pins))
    }

    /// The setting of a quirk; `Some(None)`: the store does not have it.
    pub(crate) fn get(&self, quirk: Quirk) -> Option<Option<u64>> {
        self.0.get(&quirk).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lead_back() {
        for quirk in Quirk::ALL {
            assert_eq!(Quirk::named(quirk.name()), Some(quirk));
        }
        assert_eq!(Quirk::named("no-such"), None);
    }
}
