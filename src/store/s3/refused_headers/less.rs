//! A new object without some of what was wanted: without a header, with a class of another name,
//! with metadata in another form.
//!
//! Pure: a write and what it goes without are arguments.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::refusal::HeaderRefusal;
use crate::error::Error;
use crate::quirk::Quirk;
use crate::store::NewObject;

/// The class that every store has, even one that knows no classes.
pub(super) const STANDARD: &str = "STANDARD";

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

/// A write that may go without some of what was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store::s3) struct Given {
    /// Shared by every form of the write that keeps it.
    pub new: Arc<NewObject>,
    /// The canned ACL is sent.
    pub acl: bool,
    /// Content-MD5 is sent; without it the body's SHA-256 is signed.
    pub md5: bool,
}

impl Given {
    /// Whether it has what a store with this quirk refuses.
    pub fn has(&self, quirk: Quirk) -> bool {
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
    pub fn word(&self, quirk: Quirk) -> Cow<'static, str> {
        match (&self.new.storage_class, quirk) {
            (Some(class), Quirk::NoStorageClass) => format!("{quirk}={class}").into(),
            _ => quirk.name().into(),
        }
    }

    /// The same write for a store with this quirk.
    pub fn without(&self, quirk: Quirk) -> Self {
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

/// A step on the way to a write that succeeds.
#[derive(Clone)]
pub(super) struct Step {
    pub given: Given,
    pub quirk: Quirk,
    /// The class that was refused, and its replacement.
    pub class: Option<(String, Option<String>)>,
    /// The refusal that led to this step.
    pub refusal: String,
    /// The refusal is about the header, not about its value.
    pub is_general: bool,
    /// What was left out, in one word.
    pub word: Cow<'static, str>,
}

impl Step {
    pub fn because(self, refusal: &Error) -> Self {
        let is_general = HeaderRefusal::of(refusal).is_some_and(|refused| {
            let words = ["implement", "support", "unknown", "unrecognized"];
            refused.status == 501 || words.iter().any(|word| refused.said.contains(word))
        });
        Self { refusal: refusal.to_string(), is_general, ..self }
    }
}

/// The write without this.
pub(super) fn step(given: &Given, quirk: Quirk) -> Step {
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

#[cfg(test)]
mod tests {
    use super::*;

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
