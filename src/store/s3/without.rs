//! Writing what a store takes: where it refuses a header that can be left out, the object goes without,
//! and that is said once for each bucket.
//!
//! What is left out is guessed from the refusal's text, or tried where it has none. A refusal teaches
//! something only if the same write passes without the header.

use super::*;
use crate::store::profile::Quirk;

/// What can be left out of a new object, in the order in which it is suspected.
const LEFT_OUT: [Quirk; 4] =
    [Quirk::NoTags, Quirk::NoStorageClass, Quirk::NoAcl, Quirk::NoWebsiteRedirect];

/// The class that every store has, also one that knows no class.
const STANDARD: &str = "STANDARD";

/// What a refused class is tried as before none is sent: the classes of other stores by what they are
/// for. Names differ in case only, too.
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

/// The class by another name; `None` where it has no other.
fn translated(class: &str) -> Option<String> {
    let upper = class.to_ascii_uppercase();
    let known = CLASSES.iter().find(|(name, _)| *name == upper);
    let other = known.map_or(upper, |(_, name)| (*name).to_owned());
    (other != class).then_some(other)
}

/// A refusal: the status, the code, and all that was said.
struct Refused {
    status: u16,
    code: String,
    /// In lower case.
    said: String,
}

impl Refused {
    fn of(error: &Error) -> Option<Self> {
        let evidence = error.evidence().filter(|evidence| evidence.status != 0)?;
        let (code, said) = (evidence.code.clone(), said(&error.to_string(), &evidence.code));
        Some(Self { status: evidence.status, code, said })
    }
}

/// What the store has said, in lower case: what stands in front of its code names the object, whose key
/// may say anything, and behind the status comes our own advice, which names headers.
fn said(message: &str, code: &str) -> String {
    match message.split_once(code) {
        Some((_, text)) if !code.is_empty() => {
            let text = text.split(" (status ").next().unwrap_or_default();
            format!("{code}{text}").to_ascii_lowercase()
        }
        _ => String::new(),
    }
}

/// Whether the refusal may be about a header rather than about the object.
fn is_about_a_header(refused: &Refused) -> bool {
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

/// Whether the refusal leaves open which header it means.
fn is_mute(refused: &Refused) -> bool {
    refused.status == 501 || refused.said.contains("header")
}

/// The header that the refusal names.
fn names(refused: &Refused) -> Option<Quirk> {
    let any = |words: &[&str]| words.iter().any(|word| refused.said.contains(word));
    if any(&["tagging", "x-amz-tag", "invalidtag"]) {
        Some(Quirk::NoTags)
    } else if any(&["storageclass", "storage class", "storage-class"]) {
        Some(Quirk::NoStorageClass)
    } else if any(&["x-amz-acl", "accesscontrollist", "canned acl", "acls ", " acl "]) {
        Some(Quirk::NoAcl)
    } else if any(&["website-redirect", "redirect-location"]) {
        Some(Quirk::NoWebsiteRedirect)
    } else {
        None
    }
}

/// A write that may go without some of what it was to have.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) new: NewObject,
    /// The canned ACL is sent.
    pub(super) acl: bool,
}

impl Given {
    fn has(&self, quirk: Quirk) -> bool {
        match quirk {
            Quirk::NoTags => !self.new.tags.is_empty(),
            Quirk::NoStorageClass => self.new.storage_class.is_some(),
            Quirk::NoAcl => self.acl,
            Quirk::NoWebsiteRedirect => self.new.headers.website_redirect.is_some(),
            _ => false,
        }
    }

    fn without(&self, quirk: Quirk) -> Self {
        let mut less = self.clone();
        match quirk {
            Quirk::NoTags => less.new.tags.clear(),
            Quirk::NoStorageClass => less.new.storage_class = None,
            Quirk::NoAcl => less.acl = false,
            Quirk::NoWebsiteRedirect => less.new.headers.website_redirect = None,
            _ => {}
        }
        less
    }
}

/// A step on the way to a write that passes.
struct Step {
    given: Given,
    quirk: Quirk,
    /// The class that was refused, and what took its place.
    class: Option<(String, Option<String>)>,
}

impl S3Store {
    /// Writes what can be sent once only, without what is known to be refused. Another refusal teaches
    /// nothing here.
    pub(super) async fn written_as_known<T, F>(
        &self,
        bucket: &str,
        new: &NewObject,
        write: impl FnOnce(Given) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let wanted = Given { new: new.clone(), acl: self.writing.acl.is_some() };
        let given = self.known(bucket, &wanted);
        let written = write(given.clone()).await?;
        self.lost(bucket, &wanted, &given);
        Ok(written)
    }

    /// Writes a new object, or begins an upload of one, with as much as the bucket takes of it.
    pub(super) async fn written_as_taken<T, F>(
        &self,
        bucket: &str,
        new: &NewObject,
        write: impl Fn(Given) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let wanted = Given { new: new.clone(), acl: self.writing.acl.is_some() };
        let mut given = self.known(bucket, &wanted);
        let mut steps: Vec<Step> = Vec::new();
        let mut refusal = match write(given.clone()).await {
            Ok(written) => {
                self.lost(bucket, &wanted, &given);
                return Ok(written);
            }
            Err(error) => error,
        };
        let first = refusal.another();
        loop {
            let Some(refused) = Refused::of(&refusal).filter(is_about_a_header) else {
                // Something else is wrong with it, with or without.
                return Err(if steps.is_empty() { refusal } else { first });
            };
            let Some(step) = self.less(&given, &refused) else {
                return Err(advised(first, &wanted));
            };
            given = step.given.clone();
            steps.push(step);
            match write(given.clone()).await {
                Ok(written) => {
                    self.taught(bucket, &steps, &first);
                    self.lost(bucket, &wanted, &given);
                    return Ok(written);
                }
                Err(error) => refusal = error,
            }
        }
    }

    /// What is left of an object without what the bucket is known to refuse.
    fn known(&self, bucket: &str, wanted: &Given) -> Given {
        let mut given = wanted.clone();
        if let Some(class) = &given.new.storage_class
            && let Some(other) = self.other_class(bucket, class)
        {
            given.new.storage_class = other;
        }
        for quirk in LEFT_OUT {
            if given.has(quirk) && self.profile.has(bucket, quirk) {
                given = given.without(quirk);
            }
        }
        given
    }

    /// The next that is worth a try after a refusal.
    fn less(&self, given: &Given, refused: &Refused) -> Option<Step> {
        let named = names(refused).filter(|quirk| given.has(*quirk));
        let quirk = named.or_else(|| {
            // Said of something else, it is not worth guessing.
            let mute = names(refused).is_none() && is_mute(refused);
            LEFT_OUT.into_iter().find(|quirk| mute && given.has(*quirk))
        })?;
        // What a tag must not be is the object's own trouble.
        if refused.code == "InvalidTag" && !refused.said.contains("support") {
            return None;
        }
        let class = given.new.storage_class.clone().filter(|_| quirk == Quirk::NoStorageClass);
        let other = class.as_deref().and_then(translated);
        let mut less = given.without(quirk);
        less.new.storage_class = match &class {
            Some(_) => other.clone(),
            None => less.new.storage_class,
        };
        Some(Step { given: less, quirk, class: class.map(|class| (class, other)) })
    }

    /// A write has passed after these steps: what they left out is what the store refuses.
    fn taught(&self, bucket: &str, steps: &[Step], refusal: &Error) {
        for step in steps {
            match &step.class {
                Some((class, _)) if class != STANDARD => {
                    // Where that was refused too, a later step tells what is sent instead.
                    let last = steps.iter().rev().find_map(|step| step.class.clone());
                    let other = last.and_then(|(_, other)| other);
                    self.note_class(bucket, class, other.clone());
                    let other = other.as_deref().unwrap_or("none");
                    let evidence = format!("StorageClass = {class}: {other} is sent; {refusal}");
                    self.profile.learn(bucket, Quirk::OtherClasses, evidence);
                }
                _ => {
                    self.profile.learn(bucket, step.quirk, refusal);
                }
            }
        }
    }

    /// Counts what an object has gone without.
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

/// What to change where nothing that can be left out was the reason.
fn advised(error: Error, wanted: &Given) -> Error {
    let Some(refused) = Refused::of(&error) else { return error };
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

    fn refused(status: u16, code: &str, text: &str) -> Refused {
        let said = format!("{code}: {text}").to_ascii_lowercase();
        Refused { status, code: code.to_owned(), said }
    }

    #[test]
    fn the_header_is_known_by_its_name() {
        for (code, text, expected) in [
            ("NotImplemented", "Header x-amz-tagging not implemented", Some(Quirk::NoTags)),
            ("InvalidStorageClass", "bad", Some(Quirk::NoStorageClass)),
            ("AccessControlListNotSupported", "", Some(Quirk::NoAcl)),
            ("NotImplemented", "x-amz-website-redirect-location", Some(Quirk::NoWebsiteRedirect)),
            ("NotImplemented", "A header you provided is not implemented", None),
        ] {
            assert_eq!(names(&refused(501, code, text)), expected, "{code} {text}");
        }
    }

    #[test]
    fn neither_the_key_nor_our_own_advice_is_what_the_store_has_said() {
        let message = "PutObject s3://b/x-amz-tagging (destination): NotImplemented: A header you \
                       provided (status 501, request 1); leave out what it cannot do (CopyTags, \
                       ACL, SSE, StorageClass, Checksum)";
        assert_eq!(said(message, "NotImplemented"), "notimplemented: a header you provided");
        assert_eq!(said(message, ""), "");
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
