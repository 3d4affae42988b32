//! What the headers of an answer say.

use std::time::SystemTime;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use hyper::HeaderMap;

use super::super::convert::{is_restored, parse_crc64nvme, whole_size};
use super::body::CRC64NVME;
use crate::object::Etag;
use crate::store::{Headers, ObjectMeta, SSE_C, Written};

const META: &str = "x-amz-meta-";

/// The object of a GetObject, and how many bytes the body announces; `None` where it does not.
pub(super) fn object(headers: &HeaderMap) -> Option<(ObjectMeta, u64)> {
    let text = |name: &str| text(headers, name);
    let content_length: u64 = text("content-length")?.parse().ok()?;
    let size = whole_size(text("content-range").as_deref()).unwrap_or(content_length);
    let whole = text("x-amz-checksum-type").as_deref() != Some("COMPOSITE");
    let user = headers.keys().filter_map(|name| {
        Some((name.as_str().strip_prefix(META)?.to_owned(), text(name.as_str())?))
    });
    let meta = ObjectMeta {
        size,
        etag: Etag::new(text("etag").unwrap_or_default()),
        version: text("x-amz-version-id"),
        last_modified: text("last-modified").as_deref().and_then(http_date),
        storage_class: text("x-amz-storage-class"),
        restored: text("x-amz-restore").as_deref().is_some_and(is_restored),
        tag_count: text("x-amz-tagging-count").and_then(|n| n.parse().ok()).unwrap_or(0),
        headers: Headers {
            content_type: text("content-type"),
            content_encoding: text("content-encoding"),
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
        crc64nvme: text(CRC64NVME).filter(|_| whole).as_deref().and_then(parse_crc64nvme),
    };
    Some((meta, content_length))
}

/// What a PutObject or UploadPart has written; `None` where the answer has no ETag.
pub(super) fn written(headers: &HeaderMap) -> Option<Written> {
    Some(Written {
        etag: Etag::new(text(headers, "etag").filter(|etag| !etag.is_empty())?),
        sse: text(headers, "x-amz-server-side-encryption"),
        crc64nvme: text(headers, CRC64NVME).as_deref().and_then(parse_crc64nvme),
    })
}

/// A header's text; several of one name are one list (RFC 9110, section 5.3).
pub(super) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = headers.get_all(name).iter().map(|value| match value.to_str() {
        Ok(ascii) => ascii.to_owned(),
        // Stores send the UTF-8 that they were given; what is none is Latin-1, as HTTP once said.
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
