//! Pages of a listing, and keys in a form that XML can carry.

use std::collections::BTreeMap;
use std::ops::Bound;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::EncodingType;
use s3s::{S3Result, s3_error};

/// The longest page that S3 returns
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>).
const MAX_PAGE: usize = 1000;

/// The characters to encode for `encoding-type=url`. The space is excluded because it becomes `+`.
const URL: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/').remove(b' ');

/// Where a listing continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    /// After this key.
    After(String),
    /// After every key with this prefix.
    Behind(String),
}

/// The request for a page.
#[derive(Clone, Copy)]
pub(super) struct Query<'a> {
    pub(super) prefix: &'a str,
    pub(super) delimiter: &'a str,
    pub(super) from: Option<&'a Marker>,
    pub(super) limit: usize,
}

/// A page of a listing: entries and common prefixes share its limit.
pub(super) struct Page<'a, T> {
    pub(super) entries: Vec<(&'a String, &'a T)>,
    pub(super) prefixes: Vec<String>,
    /// Where the next page begins; `None` on the last page.
    pub(super) next: Option<Marker>,
}

/// Lists `all` in key order.
pub(super) fn page<'a, T>(all: &'a BTreeMap<String, T>, query: Query<'_>) -> Page<'a, T> {
    let mut page = Page { entries: Vec::new(), prefixes: Vec::new(), next: None };
    let Some(first) = first(query) else { return page };
    if query.limit == 0 {
        return page;
    }
    let from = |bound: Bound<&str>| all.range::<str, _>((bound, Bound::Unbounded));
    let mut rest = from(first.as_ref().map(String::as_str));
    let mut last = None;
    while let Some((key, value)) = rest.next() {
        let Some(tail) = key.strip_prefix(query.prefix) else { break };
        if page.entries.len() + page.prefixes.len() == query.limit {
            page.next = last;
            break;
        }
        match common_prefix(query, tail) {
            None => {
                page.entries.push((key, value));
                last = Some(Marker::After(key.clone()));
            }
            Some(prefix) => {
                last = Some(Marker::Behind(prefix.clone()));
                let behind = behind(&prefix);
                page.prefixes.push(prefix);
                let Some(behind) = behind else { break };
                rest = from(Bound::Included(&behind));
            }
        }
    }
    page
}

fn common_prefix(query: Query<'_>, tail: &str) -> Option<String> {
    if query.delimiter.is_empty() {
        return None;
    }
    let end = tail.find(query.delimiter)? + query.delimiter.len();
    Some(format!("{}{}", query.prefix, &tail[..end]))
}

/// The first key that the page may show; `None` if there can be none.
fn first(query: Query<'_>) -> Option<Bound<String>> {
    let prefix = query.prefix.to_owned();
    Some(match query.from {
        Some(Marker::After(key)) if *key >= prefix => Bound::Excluded(key.clone()),
        Some(Marker::Behind(group)) => Bound::Included(behind(group)?.max(prefix)),
        _ => Bound::Included(prefix),
    })
}

/// The least text greater than every text with this prefix. Code points have the same order as
/// UTF-8 bytes, so the last character that can be incremented is.
fn behind(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            text.push(next);
            return Some(text);
        }
    }
    None
}

impl Marker {
    /// An opaque continuation token.
    pub(super) fn to_token(&self) -> String {
        match self {
            Self::After(key) => format!("k{}", hex::encode(key)),
            Self::Behind(prefix) => format!("p{}", hex::encode(prefix)),
        }
    }

    pub(super) fn from_token(token: &str) -> S3Result<Self> {
        let parse = |text: &str| String::from_utf8(hex::decode(text).ok()?).ok();
        let marker = match token.split_at_checked(1) {
            Some(("k", text)) => parse(text).map(Self::After),
            Some(("p", text)) => parse(text).map(Self::Behind),
            _ => None,
        };
        marker.ok_or_else(|| s3_error!(InvalidArgument, "the continuation token is not valid"))
    }
}

/// The length of a page: as requested, but at most that of S3.
pub(super) fn limit(asked: Option<i32>) -> S3Result<usize> {
    let Some(asked) = asked else { return Ok(MAX_PAGE) };
    let asked = usize::try_from(asked)
        .map_err(|e| s3_error!(e, InvalidArgument, "the page length must not be negative"))?;
    Ok(asked.min(MAX_PAGE))
}

/// Encodes keys as the caller requested.
pub(super) fn encoder(encoding: Option<&EncodingType>) -> fn(&str) -> String {
    match encoding {
        Some(encoding) if encoding.as_str() == EncodingType::URL => url_encoded,
        _ => str::to_owned,
    }
}

fn url_encoded(key: &str) -> String {
    utf8_percent_encode(key, URL).to_string().replace(' ', "+")
}

/// The key in an answer that only repeats the caller's: left out if XML 1.0 cannot carry it
/// (<https://www.w3.org/TR/xml/#charsets>). s3s would write the raw character, and the SDK's reader
/// would refuse the whole answer.
pub(super) fn echo(key: String) -> Option<String> {
    (!key.contains(|c: char| c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}'))).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_prefix_is_the_least_greater_text() {
        for (prefix, expected) in [
            ("a/", Some("a0")),
            ("\u{d7ff}", Some("\u{e000}")),
            ("a\u{10ffff}", Some("b")),
            ("\u{10ffff}\u{10ffff}", None),
            ("", None),
        ] {
            assert_eq!(behind(prefix).as_deref(), expected, "{prefix:?}");
        }
    }

    #[test]
    fn a_token_leads_back_to_its_marker() {
        for marker in [Marker::After("a\u{1}/ü".to_owned()), Marker::Behind("d/".to_owned())] {
            assert_eq!(Marker::from_token(&marker.to_token()).unwrap(), marker);
        }
        for token in ["", "k0", "x00", "kff"] {
            assert!(Marker::from_token(token).is_err(), "{token:?}");
        }
    }
}
