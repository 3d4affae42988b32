//! Writes objects with what the store accepts: if it refuses a header that can be left out, the
//! object goes without it, and that is logged once per bucket.
//!
//! The refusal's text shows which header to leave out; if it does not, headers are tried. A refusal
//! counts as proof only if the same write succeeds without the header.

use std::borrow::Cow;
use std::sync::Arc;

use tracing::warn;

use super::*;
use crate::quirk::Quirk;

/// What can be left out of a new object, in the order in which it is suspected.
const LEFT_OUT: [Quirk; 6] = [
    Quirk::NoTags,
    Quirk::NoStorageClass,
    Quirk::NoAcl,
    Quirk::NoWebsiteRedirect,
    Quirk::NoContentMd5,
    // Not left out, but written in another form.
    Quirk::EncodedMetadata,
];

/// After this many objects of a bucket were refused with and without all of it, guessing ends.
const MAX_IN_VAIN: u32 = 3;

/// How a bucket has responded to a header so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderHistory {
    /// Objects were accepted with it.
    Taken,
    /// This many were accepted only without it.
    Refused(u32),
}

/// How a bucket has responded, by the word of each header.
pub(super) type SeenWords = HashMap<Cow<'static, str>, HeaderHistory>;

/// The class that every store has, even one that knows no classes.
const STANDARD: &str = "STANDARD";

/// What a refused class is tried as before the object is sent without one: other stores' classes,
/// each with the class for the same purpose. Some names differ only in case.
const CLASSES: [(&str, &str); 12] = [
    ("IA", "STANDARD_IA"),
    ("COOL", "STANDARD_IA"),
    ("NEARLINE", "STANDARD_IA"),
    ("WARM", "STANDARD_IA"),
    ("INFREQUENT_ACCESS", "STANDARD_IA"),
    ("COLDLINE", "GLACIER_IR"),
    ("ARCHIVE_INSTANT", "GLACIER_IR"),
    ("MAZ_STANDARD", "STANDARD"),
    ("MAZ_IA", "STANDARD_IA"),
    ("MULTI_REGIONAL", "STANDARD"),
    ("REGIONAL", "STANDARD"),
    ("HOT", "STANDARD"),
];

/// The class under another name; `None` if it has no other.
fn translated(class: &str) -> Option<String> {
    let upper = class.to_ascii_uppercase();
    let known = CLASSES.iter().find(|(name, _)| *name == upper);
    let other = known.map_or(upper, |(_, name)| (*name).to_owned());
    (other != class).then_some(other)
}

/// A refusal: the status, the code, and the full text.
struct HeaderRefusal {
    status: u16,
    code: String,
    /// In lower case.
    said: String,
}

impl HeaderRefusal {
    fn of(error: &Error) -> Option<Self> {
        let evidence = error.evidence().filter(|evidence| evidence.status != 0)?;
        let said = format!("{}: {}", evidence.code, evidence.text).to_ascii_lowercase();
        Some(Self { status: evidence.status, code: evidence.code.clone(), said })
    }
}

/// Whether the refusal may be about a header rather than about the object.
fn is_about_a_header(refused: &HeaderRefusal) -> bool {
    refused.status == 501
        || matches!(
            refused.code.as_str(),
            "NotImplemented"
                | "InvalidArgument"
                | "InvalidRequest"
                | "InvalidStorageClass"
                | "InvalidTag"
                | "AccessControlListNotSupported"
                | "UnsupportedArgument"
                | "UnexpectedContent"
                | "NotSupported"
                | "XNotImplemented"
        )
}

/// Whether a refusal may be about a header of the request.
pub(super) fn may_be(error: &Error) -> bool {
    error.kind() == ErrorKind::Invalid
        && HeaderRefusal::of(error).is_some_and(|refused| is_about_a_header(&refused))
}

/// Whether the refusal does not say which header it means.
fn is_mute(refused: &HeaderRefusal) -> bool {
    names(refused).is_none() && !is_its_own(refused)
}

/// The header that the refusal names.
fn names(refused: &HeaderRefusal) -> Option<Quirk> {
    let any = |words: &[&str]| words.iter().any(|word| refused.said.contains(word));
    if any(&["tagging", "x-amz-tag", "invalidtag"]) {
        Some(Quirk::NoTags)
    } else if any(&["storageclass", "storage class", "storage-class"]) {
        Some(Quirk::NoStorageClass)
    } else if any(&["x-amz-acl", "accesscontrollist", "canned acl", "acls ", " acl "]) {
        Some(Quirk::NoAcl)
    } else if any(&["website-redirect", "redirect-location"]) {
        Some(Quirk::NoWebsiteRedirect)
    } else if any(&["metadata", "x-amz-meta", "ascii", "utf-8"]) {
        Some(Quirk::EncodedMetadata)
    } else if refuses_md5(&refused.said) {
        Some(Quirk::NoContentMd5)
    } else {
        None
    }
}

/// Whether a refusal may be about metadata that is not ASCII: many stores and proxies sign
/// different bytes of it than they receive, or say only that the request is bad.
fn may_be_about_metadata(error: &Error) -> bool {
    let Some(refused) = HeaderRefusal::of(error) else { return false };
    match refused.status {
        403 => refused.code == "SignatureDoesNotMatch",
        400 => is_about_a_header(&refused) || matches!(refused.code.as_str(), "" | "BadRequest"),
        status => status == 501,
    }
}

/// A value as encoded words, the form that Amazon S3 uses in answers for text that is not ASCII,
/// and that it decodes (RFC 2047, section 2: no word is longer than 75 characters;
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>).
fn encoded_words(value: &str) -> String {
    const MOST: usize = 45;
    let mut words: Vec<String> = vec![String::new()];
    for character in value.chars() {
        if let Some(last) = words.last_mut().filter(|w| w.len() + character.len_utf8() <= MOST) {
            last.push(character);
        } else {
            words.push(character.to_string());
        }
    }
    let words = words.iter().map(|word| format!("=?UTF-8?B?{}?=", BASE64_STANDARD.encode(word)));
    words.collect::<Vec<_>>().join(" ")
}

/// Whether a refusal, in lower case, says that Content-MD5 is unknown; not that it is wrong or
/// missing.
fn refuses_md5(said: &str) -> bool {
    let unknown = ["implemented", "support", "not allowed", "unknown", "unexpected"];
    said.contains("content-md5") && unknown.iter().any(|word| said.contains(word))
}

/// Whether a part was refused for its Content-MD5.
pub(super) fn is_about_md5(error: &Error) -> bool {
    HeaderRefusal::of(error).is_some_and(|refused| {
        is_about_a_header(&refused) && names(&refused) == Some(Quirk::NoContentMd5)
    })
}

/// A write that may go without some of what was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    /// Shared by every form of the write that keeps it.
    pub(super) new: Arc<NewObject>,
    /// The canned ACL is sent.
    pub(super) acl: bool,
    /// Content-MD5 is sent; without it the body's SHA-256 is signed.
    pub(super) md5: bool,
}

impl Given {
    fn has(&self, quirk: Quirk) -> bool {
        match quirk {
            Quirk::NoTags => !self.new.tags.is_empty(),
            Quirk::NoStorageClass => self.new.storage_class.is_some(),
            Quirk::NoAcl => self.acl,
            Quirk::NoContentMd5 => self.md5,
            Quirk::NoWebsiteRedirect => self.new.headers.website_redirect.is_some(),
            Quirk::EncodedMetadata => self.new.headers.user.values().any(|value| !value.is_ascii()),
            _ => false,
        }
    }

    /// The quirk's name for this object; for a class it includes which one.
    fn word(&self, quirk: Quirk) -> Cow<'static, str> {
        match (&self.new.storage_class, quirk) {
            (Some(class), Quirk::NoStorageClass) => format!("{quirk}={class}").into(),
            _ => quirk.name().into(),
        }
    }

    fn without(&self, quirk: Quirk) -> Self {
        let mut less = self.clone();
        match quirk {
            Quirk::NoTags => Arc::make_mut(&mut less.new).tags.clear(),
            Quirk::NoStorageClass => Arc::make_mut(&mut less.new).storage_class = None,
            Quirk::NoAcl => less.acl = false,
            Quirk::NoContentMd5 => less.md5 = false,
            Quirk::NoWebsiteRedirect => {
                Arc::make_mut(&mut less.new).headers.website_redirect = None;
            }
            Quirk::EncodedMetadata => {
                let user = Arc::make_mut(&mut less.new).headers.user.values_mut();
                user.filter(|value| !value.is_ascii())
                    .for_each(|value| *value = encoded_words(value));
            }
            _ => {}
        }
        less
    }
}

/// A step on the way to a write that succeeds.
#[derive(Clone)]
struct Step {
    given: Given,
    quirk: Quirk,
    /// The class that was refused, and its replacement.
    class: Option<(String, Option<String>)>,
    /// The refusal that led to this step.
    refusal: String,
    /// The refusal is about the header, not about its value.
    is_general: bool,
    /// What was left out, in one word.
    word: Cow<'static, str>,
}

impl Step {
    fn because(self, refusal: &Error) -> Self {
        let is_general = HeaderRefusal::of(refusal).is_some_and(|refused| {
            let words = ["implement", "support", "unknown", "unrecognized"];
            refused.status == 501 || words.iter().any(|word| refused.said.contains(word))
        });
        Self { refusal: refusal.to_string(), is_general, ..self }
    }
}

/// The write without this.
fn step(given: &Given, quirk: Quirk) -> Step {
    let class = given.new.storage_class.clone().filter(|_| quirk == Quirk::NoStorageClass);
    let other = class.as_deref().and_then(translated);
    let mut less = given.without(quirk);
    if class.is_some() {
        Arc::make_mut(&mut less.new).storage_class.clone_from(&other);
    }
    let class = class.map(|class| (class, other));
    Step {
        given: less,
        quirk,
        class,
        refusal: String::new(),
        is_general: false,
        word: given.word(quirk),
    }
}

/// What a refusal may mean that names nothing: each quirk by itself, then all of them.
fn guesses(present: Vec<Quirk>) -> Vec<Vec<Quirk>> {
    let all = (present.len() > 1).then(|| present.clone());
    present.into_iter().map(|quirk| vec![quirk]).chain(all).collect()
}

/// Whether the refusal is about this object's value, or about something missing.
fn is_its_own(refused: &HeaderRefusal) -> bool {
    let is_tag = refused.code == "InvalidTag" && !refused.said.contains("support");
    is_tag || refused.said.contains("required")
}

impl S3Store {
    /// Writes a body that can be sent only once, without what is known to be refused. If it is
    /// still refused, see [`Self::learns_header`].
    pub(super) async fn written_as_known<T, F>(
        &self,
        bucket: &str,
        new: &NewObject,
        write: impl FnOnce(Given) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let wanted = self.wanted(new, true);
        let given = self.known(bucket, &wanted);
        let written = write(given.clone()).await?;
        self.lost(bucket, &wanted, &given);
        Ok(written)
    }

    /// A body that can be sent only once was refused for a header. To find out which, it begins an
    /// upload of the same object and aborts it. Returns whether the next try will differ.
    pub(super) async fn learns_header(
        &self,
        target: &ObjectId,
        new: &NewObject,
        error: &Error,
    ) -> bool {
        let bucket = &target.bucket;
        let wanted = self.wanted(new, false);
        let is_odd = wanted.has(Quirk::EncodedMetadata) && may_be_about_metadata(error);
        let refused =
            HeaderRefusal::of(error).filter(|refused| is_odd || is_about_a_header(refused));
        let Some(refused) = refused else { return false };
        if names(&refused) == Some(Quirk::NoContentMd5) {
            self.profile.learn(bucket, Quirk::NoContentMd5, error);
            return true;
        }
        if is_its_own(&refused) || self.guesses_in_vain(bucket) {
            return false;
        }
        let before = self.known(bucket, &wanted);
        let begin = |given: Given| async move { self.begin_upload(target, &given).await };
        let Ok((created, _)) = self.taken(bucket, &wanted, begin).await else { return false };
        if let Err(error) = self.abort(&created.upload).await {
            warn!("an upload could not be aborted: {error}");
        }
        self.known(bucket, &wanted) != before
    }

    fn wanted(&self, new: &NewObject, has_body: bool) -> Given {
        Given { new: Arc::new(new.clone()), acl: self.writing.acl.is_some(), md5: has_body }
    }

    /// Writes a new object, or begins an upload of one, with as much of it as the bucket accepts.
    pub(super) async fn written_as_taken<T, F>(
        &self,
        bucket: &str,
        new: &NewObject,
        has_body: bool,
        write: impl Fn(Given) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let wanted = self.wanted(new, has_body);
        let (written, given) = self.taken(bucket, &wanted, write).await?;
        self.lost(bucket, &wanted, &given);
        Ok(written)
    }

    /// The same, and returns what it was finally written with.
    async fn taken<T, F>(
        &self,
        bucket: &str,
        wanted: &Given,
        write: impl Fn(Given) -> F,
    ) -> Result<(T, Given)>
    where
        F: Future<Output = Result<T>>,
    {
        let mut given = self.known(bucket, wanted);
        let mut refusal = match write(given.clone()).await {
            Ok(written) => return Ok(self.passed(bucket, given, &[], written)),
            Err(error) => error,
        };
        if self.suspects(bucket, &given, Quirk::EncodedMetadata) && may_be_about_metadata(&refusal)
        {
            let step = step(&given, Quirk::EncodedMetadata);
            if let Ok(written) = write(step.given.clone()).await {
                let less = step.given.clone();
                return Ok(self.passed(bucket, less, &[step.because(&refusal)], written));
            }
        }
        let first = refusal.another();
        let mut steps: Vec<Step> = Vec::new();
        // Headers that the refusals name go first, one after another.
        let open = loop {
            let Some(refused) = HeaderRefusal::of(&refusal).filter(is_about_a_header) else {
                // The object has another problem, with or without the header.
                return Err(if steps.is_empty() { refusal } else { first });
            };
            let named = names(&refused).filter(|_| !is_its_own(&refused));
            let named = named.filter(|quirk| self.suspects(bucket, &given, *quirk));
            let Some(quirk) = named else { break is_mute(&refused) };
            let step = step(&given, quirk);
            given = step.given.clone();
            steps.push(step.because(&refusal));
            match write(given.clone()).await {
                Ok(written) => {
                    return Ok(self.passed(bucket, given, &steps, written));
                }
                Err(error) => refusal = error,
            }
        };
        if !open || self.guesses_in_vain(bucket) {
            return Err(advised(first, wanted));
        }
        let present = LEFT_OUT.into_iter().filter(|quirk| self.suspects(bucket, &given, *quirk));
        for guess in guesses(present.collect()) {
            let mut steps = steps.clone();
            let mut less = given.clone();
            for quirk in guess {
                let step = step(&less, quirk);
                less = step.given.clone();
                steps.push(step.because(&refusal));
            }
            match write(less.clone()).await {
                Ok(written) => {
                    return Ok(self.passed(bucket, less, &steps, written));
                }
                Err(error) if HeaderRefusal::of(&error).is_some_and(|r| is_about_a_header(&r)) => {}
                Err(error) => return Err(error),
            }
        }
        self.guessed_in_vain(bucket);
        Err(advised(first, wanted))
    }

    /// A write has succeeded: keeps what it has shown.
    fn passed<T>(&self, bucket: &str, given: Given, steps: &[Step], written: T) -> (T, Given) {
        self.taught(bucket, steps);
        for quirk in LEFT_OUT.into_iter().filter(|quirk| given.has(*quirk)) {
            self.seen_of(bucket, |seen| seen.insert(given.word(quirk), HeaderHistory::Taken));
        }
        (written, given)
    }

    /// Whether a refusal may be about this: not if the bucket has accepted the header before.
    fn suspects(&self, bucket: &str, given: &Given, quirk: Quirk) -> bool {
        let is_taken =
            |seen: &mut SeenWords| seen.get(&given.word(quirk)) == Some(&HeaderHistory::Taken);
        given.has(quirk) && !self.seen_of(bucket, is_taken)
    }

    /// Whether the store generally refuses this: it says so, or it has refused it for several
    /// objects. Otherwise the cause may be this object's value.
    fn is_its_way(&self, bucket: &str, word: Cow<'static, str>, is_general: bool) -> bool {
        if is_general {
            return true;
        }
        self.seen_of(bucket, |seen| {
            let HeaderHistory::Refused(times) =
                seen.entry(word).or_insert(HeaderHistory::Refused(0))
            else {
                return false;
            };
            *times += 1;
            *times >= MAX_IN_VAIN
        })
    }

    /// What is known of the bucket's headers, by their words.
    fn seen_of<T>(&self, bucket: &str, look: impl FnOnce(&mut SeenWords) -> T) -> T {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(words) = seen.get_mut(bucket) {
            return look(words);
        }
        look(seen.entry(bucket.to_owned()).or_default())
    }

    /// Whether enough objects of the bucket were refused, whatever was left out, that further tries
    /// are pointless.
    fn guesses_in_vain(&self, bucket: &str) -> bool {
        let vain = self.vain.lock().unwrap_or_else(PoisonError::into_inner);
        vain.get(bucket).is_some_and(|times| *times >= MAX_IN_VAIN)
    }

    fn guessed_in_vain(&self, bucket: &str) {
        let mut vain = self.vain.lock().unwrap_or_else(PoisonError::into_inner);
        *vain.entry(bucket.to_owned()).or_default() += 1;
    }

    /// The object without what the bucket is known to refuse.
    fn known(&self, bucket: &str, wanted: &Given) -> Given {
        let mut given = wanted.clone();
        if let Some(class) = &given.new.storage_class
            && let Some(other) = self.other_class(bucket, class)
        {
            Arc::make_mut(&mut given.new).storage_class = other;
        }
        for quirk in LEFT_OUT {
            if given.has(quirk) && self.profile.has(bucket, quirk) {
                given = given.without(quirk);
            }
        }
        given
    }

    /// A write has succeeded after these steps: what they left out is what the store refuses.
    fn taught(&self, bucket: &str, steps: &[Step]) {
        for Step { quirk, class, refusal, word, is_general, .. } in steps {
            match class {
                Some((class, _)) if class != STANDARD => {
                    // If that was refused too, a later step says what is sent instead.
                    let last = steps.iter().rev().find_map(|step| step.class.clone());
                    let other = last.and_then(|(_, other)| other);
                    self.note_class(bucket, class, other.clone());
                    let other = other.as_deref().unwrap_or("none");
                    let evidence = format!("StorageClass = {class}: {other} is sent; {refusal}");
                    self.profile.learn(bucket, Quirk::OtherClasses, evidence);
                }
                _ if self.is_its_way(bucket, word.clone(), *is_general) => {
                    self.profile.learn(bucket, *quirk, refusal);
                }
                _ if *quirk == Quirk::EncodedMetadata => {
                    warn!(
                        "bucket {bucket}: metadata is sent as encoded words (RFC 2047): {refusal}"
                    );
                }
                _ => warn!(
                    "bucket {bucket}: an object is sent without what the bucket refused: {refusal}"
                ),
            }
        }
    }

    /// Counts what an object has lost.
    fn lost(&self, bucket: &str, wanted: &Given, given: &Given) {
        let (wanted_class, class) = (&wanted.new.storage_class, &given.new.storage_class);
        let same = |(a, b): (&str, &str)| a.eq_ignore_ascii_case(b);
        let kept = wanted_class.as_deref().map(|a| (a, class.as_deref().unwrap_or(STANDARD)));
        let class_lost = !kept.is_none_or(same);
        for (lost, what) in [
            (wanted.has(Quirk::NoTags) && !given.has(Quirk::NoTags), "tags (CopyTags)"),
            (class_lost, "storage class (StorageClass)"),
            (wanted.acl && !given.acl, "ACL"),
            (
                wanted.has(Quirk::NoWebsiteRedirect) && !given.has(Quirk::NoWebsiteRedirect),
                "x-amz-website-redirect-location",
            ),
        ] {
            if lost {
                self.profile.lose(bucket, what);
            }
        }
    }

    fn other_class(&self, bucket: &str, class: &str) -> Option<Option<String>> {
        let classes = self.classes.lock().unwrap_or_else(PoisonError::into_inner);
        classes.get(&(bucket.to_owned(), class.to_owned())).cloned()
    }

    fn note_class(&self, bucket: &str, class: &str, other: Option<String>) {
        let mut classes = self.classes.lock().unwrap_or_else(PoisonError::into_inner);
        classes.insert((bucket.to_owned(), class.to_owned()), other);
    }
}

/// Adds what to change, if nothing that can be left out was the cause.
fn advised(error: Error, wanted: &Given) -> Error {
    let Some(refused) = HeaderRefusal::of(&error) else { return error };
    let class = wanted.new.storage_class.as_deref().unwrap_or_default();
    let advice = match names(&refused) {
        Some(Quirk::NoTags) => "CopyTags = False leaves tags out".to_owned(),
        Some(Quirk::NoStorageClass) => {
            format!("StorageClass = NONE leaves the class {class} to the store")
        }
        Some(Quirk::NoAcl) => "an empty ACL in [Destination] sends none".to_owned(),
        _ => return error,
    };
    error.note(advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Evidence;

    fn refused(status: u16, code: &str, text: &str) -> HeaderRefusal {
        let said = format!("{code}: {text}").to_ascii_lowercase();
        HeaderRefusal { status, code: code.to_owned(), said }
    }

    #[test]
    fn the_header_is_known_by_its_name() {
        for (code, text, expected) in [
            ("NotImplemented", "Header x-amz-tagging not implemented", Some(Quirk::NoTags)),
            ("InvalidStorageClass", "bad", Some(Quirk::NoStorageClass)),
            ("AccessControlListNotSupported", "", Some(Quirk::NoAcl)),
            ("NotImplemented", "x-amz-website-redirect-location", Some(Quirk::NoWebsiteRedirect)),
            ("NotImplemented", "Content-MD5 is not supported", Some(Quirk::NoContentMd5)),
            ("InvalidArgument", "Metadata must be US-ASCII", Some(Quirk::EncodedMetadata)),
            ("InvalidRequest", "Content-MD5 OR x-amz-checksum- HTTP header is required", None),
            ("NotImplemented", "A header you provided is not implemented", None),
        ] {
            assert_eq!(names(&refused(501, code, text)), expected, "{code} {text}");
        }
    }

    #[test]
    fn neither_the_key_nor_our_own_advice_is_what_the_store_has_said() {
        let message = "PutObject s3://b/x-amz-tagging (destination): NotImplemented: A header you \
                       provided (status 501, request 1); switch off what it cannot do (CopyTags, \
                       ACL, SSE, StorageClass, Checksum)";
        let evidence = Evidence {
            status: 501,
            code: "NotImplemented".to_owned(),
            text: "A header you provided".to_owned(),
            ..Evidence::default()
        };
        let refused = HeaderRefusal::of(&Error::invalid(message).with_evidence(evidence)).unwrap();
        assert_eq!(refused.said, "notimplemented: a header you provided");
        assert_eq!(names(&refused), None);
    }

    #[test]
    fn only_a_refusal_of_a_header_is_worth_another_try() {
        for (status, code, expected) in [
            (501, "", true),
            (400, "InvalidArgument", true),
            (400, "InvalidStorageClass", true),
            (400, "", false),
            (403, "AccessDenied", false),
            (400, "BadDigest", false),
            (503, "SlowDown", false),
        ] {
            assert_eq!(is_about_a_header(&refused(status, code, "")), expected, "{status} {code}");
        }
    }

    #[test]
    fn each_header_is_suspected_by_itself_before_all_are() {
        let new = NewObject {
            storage_class: Some("STANDARD".to_owned()),
            tags: vec![("k".to_owned(), "v".to_owned())],
            ..NewObject::default()
        };
        let given = Given { new: Arc::new(new), acl: false, md5: false };
        let both = vec![Quirk::NoTags, Quirk::NoStorageClass];
        let expected = vec![vec![Quirk::NoTags], vec![Quirk::NoStorageClass], both.clone()];
        assert_eq!(guesses(both.clone()), expected);
        let less = step(&given, Quirk::NoStorageClass);
        assert_eq!(less.class, Some(("STANDARD".to_owned(), None)));
        assert!(less.given.new.storage_class.is_none() && !less.given.new.tags.is_empty());
    }

    #[test]
    fn words_are_encoded_as_mail_has_them() {
        assert_eq!(encoded_words("Größe"), "=?UTF-8?B?R3LDtsOfZQ==?=");
        let long = "ü".repeat(100);
        let encoded = encoded_words(&long);
        let words = encoded.split(' ').map(|word| {
            assert!(word.len() <= 75, "{word}");
            let text = word.strip_prefix("=?UTF-8?B?").and_then(|w| w.strip_suffix("?="));
            String::from_utf8(BASE64_STANDARD.decode(text.unwrap()).unwrap()).unwrap()
        });
        assert_eq!(words.collect::<String>(), long);
    }

    #[test]
    fn classes_of_other_stores_have_a_name_here() {
        for (class, expected) in [
            ("IA", Some("STANDARD_IA")),
            ("Standard", Some("STANDARD")),
            ("nearline", Some("STANDARD_IA")),
            ("STANDARD_IA", None),
            ("STANDARD", None),
        ] {
            assert_eq!(translated(class).as_deref(), expected, "{class}");
        }
    }
}
