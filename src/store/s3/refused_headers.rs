//! Writes objects with what the store accepts: if it refuses a header that can be left out, the
//! object goes without it, and that is logged once per bucket.
//!
//! The refusal's text shows which header to leave out (`refusal.rs`); if it does not, headers are
//! tried (`less.rs` is a write without one). A refusal counts as proof only if the same write
//! succeeds without the header.

use std::borrow::Cow;
use std::sync::Arc;

use tracing::warn;

use super::*;
use crate::quirk::Quirk;

mod less;
mod refusal;

pub(super) use less::Given;
use less::{STANDARD, Step, step};
use refusal::{
    HeaderRefusal, is_about_a_header, is_its_own, is_mute, may_be_about_metadata, names,
};
pub(super) use refusal::{is_about_md5, may_be};

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

/// What a refusal may mean that names nothing: each quirk by itself, then all of them.
fn guesses(present: Vec<Quirk>) -> Vec<Vec<Quirk>> {
    let all = (present.len() > 1).then(|| present.clone());
    present.into_iter().map(|quirk| vec![quirk]).chain(all).collect()
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
}
