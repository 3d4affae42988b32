//! What the headers of an answer say.

use std::time::SystemTime;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::super::convert::{
    extent, is_restored, parse_crc64nvme, range_length, stored_encoding, told_sum,
};
use super::body::CRC64NVME;
use crate::object::Etag;
use crate::store::{Headers, ObjectMeta, SSE_C, Written};

const META: &str = "x-amz-meta-";

/// What the answer to a GetObject says about its object and its body.
pub(super) struct AnsweredObject {
    /// Its size is 0 if the answer gives none.
    pub(super) meta: ObjectMeta,
    /// Bytes of the body, if announced.
    pub(super) length: Option<u64>,
    /// The body's first byte in the object.
    pub(super) start: u64,
    /// Bytes of the whole object, if the answer gives them.
    pub(super) whole: Option<u64>,
}

/// The object of a GetObject.
///
/// It asks for some thirty headers, and an answer has about ten: comparing names one by one is
/// cheaper than thirty lookups in the map.
pub(super) fn object(headers: &HeaderMap) -> AnsweredObject {
    let named: Vec<(&str, &HeaderValue)> =
        headers.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let text =
        |name: &str| joined(named.iter().filter(|(own, _)| *own == name).map(|(_, value)| *value));
    let range = text("content-range");
    let length: Option<u64> = text("content-length").and_then(|length| length.parse().ok());
    let length = length.or_else(|| range_length(range.as_deref()));
    let (start, whole) = extent(range.as_deref(), length.unwrap_or_default());
    let whole_bytes = whole.filter(|_| range.is_some() || length.is_some());
    let size = whole_bytes.or(length).unwrap_or_default();
    let (etag, kind) = (text("etag").unwrap_or_default(), text("x-amz-checksum-type"));
    let sum = told_sum(|algorithm| text(algorithm.header()), kind.as_deref(), &etag);
    let user = headers.keys().map(HeaderName::as_str);
    let user = user.filter_map(|name| Some((name.strip_prefix(META)?.to_owned(), text(name)?)));
    let meta = ObjectMeta {
        size,
        etag: Etag::new(etag),
        version: text("x-amz-version-id"),
        last_modified: text("last-modified").as_deref().and_then(http_date),
        storage_class: text("x-amz-storage-class"),
        restored: text("x-amz-restore").as_deref().is_some_and(is_restored),
        tag_count: text("x-amz-tagging-count").and_then(|n| n.trim().parse().ok()),
        missing_meta: text("x-amz-missing-meta").and_then(|n| n.trim().parse().ok()).unwrap_or(0),
        headers: Headers {
            content_type: text("content-type"),
            content_encoding: text("content-encoding").as_deref().and_then(stored_encoding),
            content_language: text("content-language"),
            content_disposition: text("content-disposition"),
            cache_control: text("cache-control"),
            expires: text("expires"),
            website_redirect: text("x-amz-website-redirect-location"),
            user: user.collect(),
        },
        sse: text("x-amz-server-side-encryption").or_else(|| {
            text("x-amz-server-side-encryption-customer-algorithm").map(|_| SSE_C.to_owned())
        }),
        sum,
    };
    AnsweredObject { meta, length, start, whole: whole_bytes }
}

/// What a PutObject or UploadPart has written; `None` if the answer has no ETag.
pub(super) fn written(headers: &HeaderMap) -> Option<Written> {
    Some(Written {
        etag: Etag::new(text(headers, "etag").filter(|etag| !etag.is_empty())?),
        sse: text(headers, "x-amz-server-side-encryption"),
        crc64nvme: text(headers, CRC64NVME).as_deref().and_then(parse_crc64nvme),
    })
}

/// A header's text; several headers of one name form one list (RFC 9110, section 5.3).
pub(super) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    joined(headers.get_all(name).iter())
}

fn joined<'a>(values: impl Iterator<Item = &'a HeaderValue>) -> Option<String> {
    let mut values = values.map(|value| match value.to_str() {
        Ok(ascii) => ascii.to_owned(),
        // Stores send the UTF-8 that they were given; anything else is Latin-1, as HTTP once
        // specified.
        Err(_) => std::str::from_utf8(value.as_bytes()).map_or_else(
            |_| value.as_bytes().iter().map(|&byte| char::from(byte)).collect(),
            str::to_owned,
        ),
    });
    let first = values.next()?;
    Some(values.fold(first, |all, next| format!("{all},{next}")))
}

fn http_date(text: &str) -> Option<SystemTime> {
    DateTime::from_str(text, Format::HttpDate).ok()?.try_into().ok()
}
