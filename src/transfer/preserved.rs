//! Which of an object's headers, metadata, tags and storage class its copy has kept.
//!
//! Pure: both answers are arguments.

use std::collections::BTreeSet;

use crate::store::{Headers, ObjectMeta};

/// What was to be copied in addition to the bytes.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Headers and user metadata.
    pub metadata: bool,
    /// Tags.
    pub tags: bool,
    /// The storage class; `None` leaves the choice to the store.
    pub class: Option<&'a str>,
}

/// What the copy has lost, in users' terms. Differences in form only are no loss: the case of a
/// name, blanks, a type that the store adds if there was none.
pub fn lost(wanted: Wanted<'_>, object: &ObjectMeta, copy: &ObjectMeta) -> BTreeSet<&'static str> {
    let mut lost = BTreeSet::new();
    if wanted.metadata {
        lost.extend(headers(&object.headers, &copy.headers));
    }
    // A missing count says nothing.
    if let (true, Some(tags), Some(there)) = (wanted.tags, object.tag_count, copy.tag_count)
        && there < tags
    {
        lost.insert("tags");
    }
    let there = copy.storage_class.as_deref().unwrap_or("STANDARD");
    if wanted.class.is_some_and(|class| !class.eq_ignore_ascii_case(there)) {
        lost.insert("the storage class");
    }
    lost
}

fn headers(object: &Headers, copy: &Headers) -> Vec<&'static str> {
    let pairs = [
        ("Content-Type", &object.content_type, &copy.content_type),
        ("Content-Encoding", &object.content_encoding, &copy.content_encoding),
        ("Content-Language", &object.content_language, &copy.content_language),
        ("Content-Disposition", &object.content_disposition, &copy.content_disposition),
        ("Cache-Control", &object.cache_control, &copy.cache_control),
        ("Expires", &object.expires, &copy.expires),
        ("x-amz-website-redirect-location", &object.website_redirect, &copy.website_redirect),
    ];
    let differs = |(name, there, here): (&'static str, &Option<String>, &Option<String>)| {
        let there = there.as_deref().filter(|text| !text.trim().is_empty())?;
        (!here.as_deref().is_some_and(|here| is_same(there, here))).then_some(name)
    };
    let mut lost: Vec<_> = pairs.into_iter().filter_map(differs).collect();
    let has = |name: &String, value: &String| {
        let mut copies = copy.user.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        copies.any(|(_, here)| is_same(value, here))
    };
    if !object.user.iter().all(|(name, value)| has(name, value)) {
        lost.push("user metadata (x-amz-meta-*)");
    }
    lost
}

/// Whether the text is the same, except for blanks and the form in which S3 sends text that is not
/// ASCII (RFC 2047).
fn is_same(one: &str, other: &str) -> bool {
    let plain = |text: &str| text.split_whitespace().collect::<String>();
    let encoded = |text: &str| text.trim_start().starts_with("=?");
    plain(one) == plain(other)
        || (encoded(other) && !one.is_ascii())
        || (encoded(one) && !other.is_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store;

    fn meta(headers: Headers) -> ObjectMeta {
        ObjectMeta { headers, ..store::tests::meta(1) }
    }

    fn with(pairs: &[(&str, &str)], content_type: Option<&str>) -> ObjectMeta {
        let user = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let content_type = content_type.map(str::to_owned);
        meta(Headers { user: user.collect(), content_type, ..Headers::default() })
    }

    const ALL: Wanted<'_> = Wanted { metadata: true, tags: true, class: None };

    fn lost_of(object: &ObjectMeta, copy: &ObjectMeta) -> Vec<&'static str> {
        lost(ALL, object, copy).into_iter().collect()
    }

    #[test]
    fn what_is_missing_or_other_is_lost() {
        let object = with(&[("owner", "me")], Some("image/png"));
        let user = "user metadata (x-amz-meta-*)";
        for (copy, expected) in [
            (object.clone(), vec![]),
            (with(&[("Owner", "me"), ("more", "x")], Some("image/png")), vec![]),
            (with(&[("owner", "you")], Some("image/png")), vec![user]),
            (with(&[], Some("binary/octet-stream")), vec!["Content-Type", user]),
        ] {
            assert_eq!(lost_of(&object, &copy), expected, "{copy:?}");
        }
        let unwanted = Wanted { metadata: false, ..ALL };
        assert!(lost(unwanted, &object, &with(&[], None)).is_empty());
    }

    #[test]
    fn what_is_written_in_another_way_is_no_loss() {
        let object = meta(Headers {
            cache_control: Some("max-age=5, public".to_owned()),
            user: [("n".to_owned(), "Größe".to_owned())].into(),
            ..Headers::default()
        });
        let copy = meta(Headers {
            content_type: Some("binary/octet-stream".to_owned()),
            cache_control: Some("max-age=5,public".to_owned()),
            user: [("n".to_owned(), "=?UTF-8?B?R3LDtsOfZQ==?=".to_owned())].into(),
            ..Headers::default()
        });
        assert!(lost_of(&object, &copy).is_empty());
    }

    #[test]
    fn tags_and_class_count_where_they_are_told() {
        let tagged = |tag_count| ObjectMeta { tag_count, ..with(&[], None) };
        assert_eq!(lost_of(&tagged(Some(2)), &tagged(Some(1))), ["tags"]);
        assert!(lost_of(&tagged(Some(2)), &tagged(None)).is_empty());
        assert!(lost_of(&tagged(None), &tagged(Some(0))).is_empty());
        let cold = Wanted { class: Some("STANDARD_IA"), ..ALL };
        let copy = with(&[], None);
        assert_eq!(lost(cold, &copy, &copy).into_iter().collect::<Vec<_>>(), ["the storage class"]);
        let plain = Wanted { class: Some("STANDARD"), ..ALL };
        assert!(lost(plain, &copy, &copy).is_empty());
    }
}
