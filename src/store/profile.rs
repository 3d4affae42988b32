//! What a store does in another way than Amazon S3 documents: found out at the first refusal or by
//! `check`, said once, and worked around from then on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

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
    /// `start-after` is ignored; the value is 2 where the `marker` of version 1 is ignored as well.
    IgnoresStartAfter,
    /// Keys in a listing that calls itself url-encoded stand as they are.
    ListsUnencoded,
    /// Keys in a url-encoded listing are encoded twice.
    EncodesTwice,
    /// A `+` in a url-encoded listing stands for itself, not for a blank.
    PlusIsLiteral,
    /// Some keys are stored and not listed, those among them that are the folder of another.
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
    /// A body that differs from its `Content-MD5` is taken.
    IgnoresContentMd5,
    /// `If-Match` never matches: the ETag of each answer is compared instead.
    NoIfMatch,
    /// The question for the checksums that it keeps is refused.
    NoChecksums,
    /// User metadata must be ASCII: what is not is sent as encoded words (RFC 2047).
    EncodedMetadata,
    /// `Range` is ignored: objects are read from their beginning.
    NoRanges,
    /// An upload has fewer parts than 10,000 at most; the value is that number.
    MaxParts,
}

impl Quirk {
    /// Every one.
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

    /// The name by which the ini, the notes and `check` know it.
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
                "this store ends its listings early: every listing is continued after its last key \
                 until nothing more comes"
            }
            Self::ListsByVersion1 => "this store does not know ListObjectsV2: version 1 is used",
            Self::RepeatsKeys => {
                "this store lists a page's last key again on the next page: it is counted once"
            }
            Self::IgnoresStartAfter => {
                "this store ignores start-after: version 1 and its marker are used; where those are \
                 ignored too, its listing is not split, and its end cannot be checked"
            }
            Self::ListsUnencoded => {
                "this store calls its listings encoded and leaves keys as they are: they are not decoded"
            }
            Self::EncodesTwice => {
                "this store encodes the keys of its listings twice: they are decoded twice"
            }
            Self::PlusIsLiteral => {
                "this store leaves + as it is in encoded listings: it is not read as a blank"
            }
            Self::HidesFolderKeys => {
                "this store does not list every key that it has, one that is the folder of another for \
                 instance: what its listing lacks is looked at by itself"
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
            Self::IgnoresContentMd5 => {
                "this store takes bodies that differ from their Content-MD5: what neither its ETag \
                 nor a checksum proves counts as not verified"
            }
            Self::NoIfMatch => {
                "If-Match is not known or never matches here: the ETag of every answer is compared instead"
            }
            Self::NoChecksums => {
                "this store refuses the question for checksums: copies are compared with its ETags only"
            }
            Self::EncodedMetadata => {
                "this store takes user metadata in ASCII only: other characters are sent as encoded \
                 words (RFC 2047), the form in which Amazon S3 answers them"
            }
            Self::NoRanges => {
                "this store does not know Range: objects are read from their beginning"
            }
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

/// What the ini says of a store, for all of its buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins(BTreeMap<Quirk, Option<u64>>);

impl Pins {
    /// Names that commas separate: `no-tags` is so, `-own-etags` is not, `max-parts=1000` has a number.
    /// Fails with what is wrong and what is allowed.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let mut pins = BTreeMap::new();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let (denied, rest) = match word.strip_prefix('-') {
                Some(rest) => (true, rest),
                None => (false, word),
            };
            let (name, value) = rest.split_once('=').map_or((rest, None), |(n, v)| (n, Some(v)));
            let quirk = Quirk::named(&name.trim().to_ascii_lowercase());
            let quirk = quirk.ok_or_else(|| format!("{word:?} is none of them"))?;
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
                _ => return Err(format!("{word:?} has no number")),
            };
            pins.insert(quirk, pin);
        }
        Ok(Self(pins))
    }

    /// What is said of a quirk: `Some(None)`: that it is not so.
    fn get(&self, quirk: Quirk) -> Option<Option<u64>> {
        self.0.get(&quirk).copied()
    }
}

/// A number, and when it was learned.
#[derive(Clone, Copy, Debug)]
struct Fact {
    value: u64,
    at: SystemTime,
}

/// What is known of one side's store, bucket by bucket.
#[derive(Debug)]
pub struct Profile {
    side: Side,
    /// It is Amazon S3 itself, by whatever address.
    amazon: bool,
    known: Mutex<BTreeMap<(String, Quirk), Fact>>,
    /// Something has been learned since [`Self::news`] was asked.
    has_news: AtomicBool,
    /// What the ini says of every bucket: the number, or that it is not so.
    pins: Pins,
    losses: Mutex<BTreeMap<(String, String), u64>>,
    /// Buckets in which an archived object could not be read; not kept, for each may be restored.
    locked: Mutex<BTreeSet<String>>,
}

impl Profile {
    /// Nothing is known yet.
    pub fn new(side: Side) -> Self {
        Self {
            side,
            amazon: false,
            known: Mutex::default(),
            has_news: AtomicBool::new(false),
            pins: Pins::default(),
            losses: Mutex::default(),
            locked: Mutex::default(),
        }
    }

    /// The same with what the ini says of the store.
    pub fn pinned(self, pins: &Pins) -> Self {
        Self { pins: pins.clone(), ..self }
    }

    /// The profile of Amazon S3, whose ways are documented.
    pub fn of_amazon(side: Side) -> Self {
        Self { amazon: true, ..Self::new(side) }
    }

    /// Whether the store is Amazon S3 itself: then what it does not say means what its documentation
    /// says it means.
    pub fn is_amazon(&self) -> bool {
        self.amazon
    }

    /// Whether the bucket is known for this.
    pub fn has(&self, bucket: &str, quirk: Quirk) -> bool {
        self.value(bucket, quirk).is_some()
    }

    /// The number that belongs to the quirk, where the bucket is known for it; 1 for those that have
    /// none.
    pub fn value(&self, bucket: &str, quirk: Quirk) -> Option<u64> {
        match self.pins.get(quirk) {
            Some(pinned) => pinned,
            None => self.known().get(&(bucket.to_owned(), quirk)).map(|fact| fact.value),
        }
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
        if self.pins.get(quirk).is_some() {
            return false;
        }
        let fact = Fact { value, at: SystemTime::now() };
        let before = self.known().insert((bucket.to_owned(), quirk), fact);
        let is_news = before.is_none_or(|before| before.value != value);
        if is_news {
            self.has_news.store(true, Ordering::Relaxed);
            let (side, meaning) = (self.side, quirk.meaning());
            warn!("bucket {} ({side}): {meaning} [{quirk}] ({evidence})", bucket.escape_debug());
        }
        is_news
    }

    /// Takes up what was learned at `at` by another process, without a word.
    pub fn remember(&self, bucket: &str, quirk: Quirk, value: u64, at: SystemTime) {
        self.known().entry((bucket.to_owned(), quirk)).or_insert(Fact { value, at });
    }

    /// All that is known, in order: bucket, quirk, number.
    pub fn all(&self) -> Vec<(String, Quirk, u64)> {
        self.facts().into_iter().map(|(bucket, quirk, value, _)| (bucket, quirk, value)).collect()
    }

    /// The same with the time at which it was learned, if anything has been since the last time.
    pub fn news(&self) -> Option<Vec<(String, Quirk, u64, SystemTime)>> {
        self.has_news.swap(false, Ordering::Relaxed).then(|| self.facts())
    }

    fn facts(&self) -> Vec<(String, Quirk, u64, SystemTime)> {
        let known = self.known();
        let fact = |((bucket, quirk), fact): (&(String, Quirk), &Fact)| {
            (bucket.clone(), *quirk, fact.value, fact.at)
        };
        known.iter().map(fact).collect()
    }

    /// Notes that an archived object of the bucket cannot be read.
    pub fn lock_archives(&self, bucket: &str) {
        let mut locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        locked.insert(bucket.to_owned());
    }

    /// Whether an archive class in a listing is a reason not to try: where the listing tells which
    /// objects are restored, as Amazon S3's does, and where this process has seen one refused.
    pub fn has_locked_archives(&self, bucket: &str) -> bool {
        let locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        self.amazon || locked.contains(bucket)
    }

    /// Counts an object whose copy lacks something that its source has; whether it is the first.
    pub fn lose(&self, bucket: &str, what: &str) -> bool {
        let mut losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        let times = losses.entry((bucket.to_owned(), what.to_owned())).or_default();
        *times += 1;
        *times == 1
    }

    /// What objects were written without: bucket, what, how many.
    pub fn losses(&self) -> Vec<(String, String, u64)> {
        let losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        losses.iter().map(|((bucket, what), n)| (bucket.clone(), what.clone(), *n)).collect()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<(String, Quirk), Fact>> {
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
    fn what_the_ini_says_stands_above_what_is_learned() {
        let pins = Pins::parse("no-tags, -own-etags,MAX-PARTS=1000").unwrap();
        let profile = Profile::new(Side::Source).pinned(&pins);
        assert!(profile.has("any", Quirk::NoTags));
        assert!(!profile.learn("b", Quirk::OwnEtags, "an answer"));
        assert!(!profile.has("b", Quirk::OwnEtags));
        assert_eq!(profile.value("b", Quirk::MaxParts), Some(1000));
        assert!(profile.news().is_none());
        assert!(profile.learn("b", Quirk::NoRanges, "an answer"));
        assert_eq!(profile.news().unwrap().len(), 1);
        assert!(profile.news().is_none());
        for wrong in ["nonsense", "max-parts", "max-parts=0", "no-tags=2", "-max-parts=5"] {
            assert!(Pins::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_unique_and_lead_back() {
        for quirk in Quirk::ALL {
            assert_eq!(Quirk::named(quirk.name()), Some(quirk));
        }
        assert_eq!(Quirk::named("no-such"), None);
    }
}
