//! What a store does in another way than Amazon S3 documents: found out at the first refusal or by
//! `check`, said once, and worked around from then on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::warn;

use super::Side;

/// A way in which a store differs from Amazon S3. Each has a name, for the ini and for `check`, and
/// says what the product does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Quirk {
    /// A page that calls itself the last is not: `start-after` its last key brings more.
    EndsListingsEarly,
    /// ListObjectsV2 is not known: listings are asked for by version 1.
    ListsByVersion1,
    /// `start-after` or a token brings the key it names once more.
    RepeatsKeys,
    /// A `+` in a url-encoded listing stands for itself, not for a blank.
    PlusIsLiteral,
    /// Keys that are the beginning of others up to a `/` are stored and not listed.
    HidesFolderKeys,
    /// ETags of objects in one piece, and of parts, are no MD5s.
    OwnEtags,
    /// ETags of objects in parts are not the digest of their parts' MD5s.
    OwnMultipartEtags,
    /// HEAD with `partNumber` is refused.
    NoPartSizes,
    /// ListMultipartUploads is refused.
    NoUploadListing,
    /// ListParts is refused.
    NoPartListing,
    /// A body whose SHA-256 is not signed is refused.
    SignedBodies,
    /// `x-amz-tagging` is refused.
    NoTags,
    /// The storage class asked for is refused, or the header is not known.
    NoStorageClass,
    /// Some storage classes are not known, others are.
    OtherClasses,
    /// A canned ACL is refused.
    NoAcl,
    /// `x-amz-website-redirect-location` is refused.
    NoWebsiteRedirect,
    /// Bodies come without Content-Length.
    NoLengths,
    /// Objects stored with gzip come decompressed, unless gzip is asked for.
    DecompressesGzip,
    /// `Content-MD5` is refused.
    NoContentMd5,
    /// `If-Match` never matches: the ETag of each answer is compared instead.
    NoIfMatch,
    /// `Range` is ignored: objects are read from their beginning.
    NoRanges,
    /// An upload has fewer parts than 10,000 at most; the value is that number.
    MaxParts,
}

impl Quirk {
    /// Every one.
    pub const ALL: [Self; 22] = [
        Self::EndsListingsEarly,
        Self::ListsByVersion1,
        Self::RepeatsKeys,
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
        Self::NoIfMatch,
        Self::NoRanges,
        Self::MaxParts,
    ];

    /// The name by which the ini, the notes and `check` know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::EndsListingsEarly => "ends-listings-early",
            Self::ListsByVersion1 => "lists-by-version-1",
            Self::RepeatsKeys => "repeats-keys",
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
            Self::NoIfMatch => "no-if-match",
            Self::NoRanges => "no-ranges",
            Self::MaxParts => "max-parts",
        }
    }

    /// What the store does, and what the product does about it; one line, lower case.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::EndsListingsEarly => {
                "this store ends its listings early: every listing is continued after its last key \
                 until nothing more comes"
            }
            Self::ListsByVersion1 => "this store does not know ListObjectsV2: version 1 is used",
            Self::RepeatsKeys => {
                "this store lists a page's last key again on the next page: it is counted once"
            }
            Self::PlusIsLiteral => {
                "this store leaves + as it is in encoded listings: it is not read as a blank"
            }
            Self::HidesFolderKeys => {
                "this store does not list a key that is the folder of another: such keys are looked \
                 at by themselves"
            }
            Self::OwnEtags => {
                "this store's ETags are no MD5s: bytes are verified by Content-MD5 or a checksum"
            }
            Self::OwnMultipartEtags => {
                "this store's ETags of objects in parts are its own: the parts' ETags and the size \
                 are compared instead"
            }
            Self::NoPartSizes => {
                "this store does not tell the sizes of an object's parts: the source's ETag is kept \
                 only where the likely part sizes give it"
            }
            Self::NoUploadListing => {
                "unfinished uploads cannot be listed here: only uploads on record are resumed"
            }
            Self::NoPartListing => {
                "the parts of an upload cannot be listed here: uploads are not resumed"
            }
            Self::SignedBodies => "this store wants bodies signed: their SHA-256 is computed",
            Self::NoTags => "this store does not take tags: objects arrive without them (CopyTags)",
            Self::NoStorageClass => {
                "this store does not take the storage class: objects go without one (StorageClass)"
            }
            Self::OtherClasses => {
                "this store does not know some storage classes: objects are given another one \
                 (StorageClass)"
            }
            Self::NoAcl => "this store takes no ACL: objects go without one (ACL)",
            Self::NoWebsiteRedirect => {
                "this store takes no x-amz-website-redirect-location: objects go without it"
            }
            Self::NoLengths => {
                "bodies come without their length here: HEAD, a range or the listing tells it"
            }
            Self::DecompressesGzip => {
                "this store decompresses gzip objects for those who do not ask for gzip: it is \
                 asked for"
            }
            Self::NoContentMd5 => "this store refuses Content-MD5: answers are verified by ETag",
            Self::NoIfMatch => {
                "If-Match never matches here: the ETag of every answer is compared instead"
            }
            Self::NoRanges => "this store ignores Range: objects are read from their beginning",
            Self::MaxParts => "this store takes fewer parts than 10,000: parts are made larger",
        }
    }

    /// The quirk of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|quirk| quirk.name() == name)
    }
}

impl fmt::Display for Quirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is known of one side's store, bucket by bucket.
#[derive(Debug)]
pub struct Profile {
    side: Side,
    known: Mutex<BTreeMap<(String, Quirk), u64>>,
    losses: Mutex<BTreeMap<(String, String), u64>>,
}

impl Profile {
    /// Nothing is known yet.
    pub fn new(side: Side) -> Self {
        Self { side, known: Mutex::default(), losses: Mutex::default() }
    }

    /// Whether the bucket is known for this.
    pub fn has(&self, bucket: &str, quirk: Quirk) -> bool {
        self.value(bucket, quirk).is_some()
    }

    /// The number that belongs to the quirk, where the bucket is known for it; 1 for those that have
    /// none.
    pub fn value(&self, bucket: &str, quirk: Quirk) -> Option<u64> {
        self.known().get(&(bucket.to_owned(), quirk)).copied()
    }

    /// Notes that the bucket does so, by this evidence (a call and what was answered); says it the
    /// first time. Whether it is news.
    pub fn learn(&self, bucket: &str, quirk: Quirk, evidence: impl fmt::Display) -> bool {
        self.learn_value(bucket, quirk, 1, evidence)
    }

    /// The same, with a number.
    pub fn learn_value(
        &self,
        bucket: &str,
        quirk: Quirk,
        value: u64,
        evidence: impl fmt::Display,
    ) -> bool {
        let before = self.known().insert((bucket.to_owned(), quirk), value);
        let is_news = before != Some(value);
        if is_news {
            let (side, meaning) = (self.side, quirk.meaning());
            warn!("bucket {} ({side}): {meaning} [{quirk}] ({evidence})", bucket.escape_debug());
        }
        is_news
    }

    /// All that is known, in order: bucket, quirk, number.
    pub fn all(&self) -> Vec<(String, Quirk, u64)> {
        let known = self.known();
        known.iter().map(|((bucket, quirk), value)| (bucket.clone(), *quirk, *value)).collect()
    }

    /// Counts an object that was written without something that its source has.
    pub fn lose(&self, bucket: &str, what: &str) {
        let mut losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        *losses.entry((bucket.to_owned(), what.to_owned())).or_default() += 1;
    }

    /// What objects were written without: bucket, what, how many.
    pub fn losses(&self) -> Vec<(String, String, u64)> {
        let losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        losses.iter().map(|((bucket, what), n)| (bucket.clone(), what.clone(), *n)).collect()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<(String, Quirk), u64>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_learned_is_news_once_and_of_one_bucket() {
        let profile = Profile::new(Side::Source);
        assert!(profile.learn("b", Quirk::NoRanges, "GetObject answered 200"));
        assert!(!profile.learn("b", Quirk::NoRanges, "GetObject answered 200"));
        assert!(profile.learn_value("b", Quirk::MaxParts, 1000, "UploadPart answered 400"));
        assert!(profile.has("b", Quirk::NoRanges) && !profile.has("c", Quirk::NoRanges));
        assert_eq!(profile.value("b", Quirk::MaxParts), Some(1000));
        assert_eq!(profile.all().len(), 2);
    }

    #[test]
    fn names_are_unique_and_lead_back() {
        for quirk in Quirk::ALL {
            assert_eq!(Quirk::named(quirk.name()), Some(quirk));
        }
        assert_eq!(Quirk::named("no-such"), None);
    }
}
