//! Converts between the SDK's types and our own.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::StreamExt;
use hyper::body::{Frame, SizeHint};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::time;
use crate::digest::sums::{Algorithm, Sum};
use crate::error::{Error, Result};
use crate::object::Etag;
use crate::store::{Body, Headers, ObjectMeta, SSE_C};

/// An answer that describes an object.
pub(super) trait Headed {
    /// The object's metadata, for an object of `size` bytes.
    fn meta(&self, size: u64) -> ObjectMeta;
}

macro_rules! headed {
    ($($output:ty),*) => {$(
        impl Headed for $output {
            fn meta(&self, size: u64) -> ObjectMeta {
                let owned = |text: Option<&str>| text.map(str::to_owned);
                ObjectMeta {
                    size,
                    etag: Etag::new(self.e_tag().unwrap_or_default()),
                    version: owned(self.version_id()),
                    last_modified: time(self.last_modified()),
                    storage_class: self.storage_class().map(|class| class.as_str().to_owned()),
                    restored: self.restore().is_some_and(is_restored),
                    tag_count: self.tag_count().and_then(|n| u32::try_from(n).ok()),
                    missing_meta: self.missing_meta().and_then(|n| u32::try_from(n).ok())
                        .unwrap_or(0),
                    headers: Headers {
                        content_type: owned(self.content_type()),
                        content_encoding: self.content_encoding().and_then(stored_encoding),
                        content_language: owned(self.content_language()),
                        content_disposition: owned(self.content_disposition()),
                        cache_control: owned(self.cache_control()),
                        expires: owned(self.expires_string()),
                        website_redirect: owned(self.website_redirect_location()),
                        user: self.metadata().into_iter().flatten()
                            .map(|(name, value)| (name.clone(), value.clone())).collect(),
                    },
                    sse: self.server_side_encryption().map(|sse| sse.as_str().to_owned())
                        .or_else(|| self.sse_customer_algorithm().map(|_| SSE_C.to_owned())),
                    sum: told_sum(
                        |algorithm| match algorithm {
                            Algorithm::Crc64Nvme => self.checksum_crc64_nvme(),
                            Algorithm::Crc32C => self.checksum_crc32_c(),
                            Algorithm::Crc32 => self.checksum_crc32(),
                            Algorithm::Sha256 => self.checksum_sha256(),
                            Algorithm::Sha1 => self.checksum_sha1(),
                        },
                        self.checksum_type().map(|kind| kind.as_str()),
                        self.e_tag().unwrap_or_default(),
                    ),
                }
            }
        }
    )*};
}

headed!(GetObjectOutput, HeadObjectOutput);

/// The checksum of the whole object from an answer's headers: the first that is present.
pub(super) fn told_sum<T: AsRef<str>>(
    header: impl Fn(Algorithm) -> Option<T>,
    kind: Option<&str>,
    etag: &str,
) -> Option<Sum> {
    let mut told = Algorithm::ALL.into_iter().filter_map(|algorithm| {
        let sum = header(algorithm)?;
        let in_parts = Etag::new(etag).parts().is_some();
        Sum::of_whole(algorithm, sum.as_ref(), kind, in_parts)
    });
    told.next()
}

/// Whether `x-amz-restore` says that a restoration has ended
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html>).
pub(super) fn is_restored(header: &str) -> bool {
    header.contains("ongoing-request=\"false\"")
}

/// A CRC-64/NVME as headers and answers carry it: base64 of its eight bytes, the highest first.
pub(super) fn crc64nvme_text(crc: u64) -> String {
    BASE64_STANDARD.encode(crc.to_be_bytes())
}

/// The reverse of [`crc64nvme_text`].
pub(super) fn parse_crc64nvme(text: &str) -> Option<u64> {
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// A body on its way out by the SDK.
pub(super) struct Outgoing {
    length: u64,
    // The SDK wants a body that is `Sync`, and a stream is only `Send`.
    body: Mutex<Body>,
}

impl Outgoing {
    pub(super) fn new(body: Body) -> Self {
        Self { length: body.length(), body: Mutex::new(body) }
    }
}

impl hyper::body::Body for Outgoing {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        let body = self.get_mut().body.get_mut().unwrap_or_else(PoisonError::into_inner);
        body.poll_next_unpin(context).map_ok(Frame::data)
    }

    /// Asked for once, before the first byte.
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

/// A key from a listing that was requested with `encoding-type=url`: percent signs, and `+` for a
/// space, as in an HTML form; every S3 client reads it that way.
pub(super) fn decode_key(listed: &str, encoded: bool) -> Result<String> {
    if !encoded {
        return Ok(listed.to_owned());
    }
    let spaces = listed.replace('+', " ");
    let key = percent_decode_str(&spaces).decode_utf8();
    key.map(Into::into).map_err(|not_utf8| {
        Error::invalid(format!("a listed key is not UTF-8: {listed}")).with_source(not_utf8)
    })
}

/// The size of the whole object from a Content-Range header (RFC 9110, section 14.4).
pub(super) fn whole_size(content_range: Option<&str>) -> Option<u64> {
    content_range?.rsplit_once('/')?.1.parse().ok()
}

/// Where a body lies in its object: its first byte, and the size of the whole if the header gives
/// it (`bytes 0-4/*` does not); without a header the body is the whole object.
pub(super) fn extent(content_range: Option<&str>, content_length: u64) -> (u64, Option<u64>) {
    let Some(range) = content_range else { return (0, Some(content_length)) };
    let first = range.trim_start().trim_start_matches("bytes").trim_start_matches([' ', '=']);
    let first = first.split_once('-').and_then(|(first, _)| first.trim().parse().ok());
    (first.unwrap_or(0), whole_size(Some(range)))
}

/// How many bytes a Content-Range header announces.
pub(super) fn range_length(content_range: Option<&str>) -> Option<u64> {
    let range = content_range?.trim_start().trim_start_matches("bytes");
    let (bounds, _) = range.trim_start_matches([' ', '=']).split_once('/')?;
    let (first, last) = bounds.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    last.checked_sub(first)?.checked_add(1)
}

/// `Content-Encoding` without `aws-chunked`, which describes an upload's body and is no property of
/// the object: some stores keep it anyway, and Amazon S3 refuses it for a body in one piece.
pub(super) fn stored_encoding(header: &str) -> Option<String> {
    let is_framing = |token: &str| token.trim().eq_ignore_ascii_case("aws-chunked");
    if !header.split(',').any(is_framing) {
        return Some(header.to_owned());
    }
    let kept = header.split(',').filter(|token| !is_framing(token) && !token.trim().is_empty());
    let kept: Vec<_> = kept.map(str::trim).collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

/// Tags as the query string that `x-amz-tagging` takes; `None` for none.
pub(super) fn tagging(tags: &[(String, String)]) -> Option<String> {
    const SET: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    let encode = |text: &str| utf8_percent_encode(text, SET).to_string();
    let pair = |(key, value): &(String, String)| format!("{}={}", encode(key), encode(value));
    let pairs: Vec<String> = tags.iter().map(pair).collect();
    (!pairs.is_empty()).then(|| pairs.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise 4.
    #[test]
    fn listed_keys_are_decoded_once() {
        for (listed, key) in [
            ("a//b", "a//b"),
            ("%2B", "+"),
            ("a+b", "a b"),
            ("%252F", "%2F"),
            ("%C3%BC/%E6%96%87", "ü/文"),
            ("line%0Abreak%01", "line\nbreak\u{1}"),
        ] {
            assert_eq!(decode_key(listed, true).unwrap(), key);
        }
        assert_eq!(decode_key("a+b%2F", false).unwrap(), "a+b%2F");
        assert!(decode_key("%FF", true).is_err());
    }

    #[test]
    fn a_content_range_tells_the_whole_size() {
        assert_eq!(whole_size(Some("bytes 0-4/123")), Some(123));
        assert_eq!(whole_size(Some("bytes 0-4/*")), None);
        assert_eq!(whole_size(None), None);
    }

    #[test]
    fn a_content_range_tells_where_a_body_lies() {
        assert_eq!(extent(Some("bytes 5-9/123"), 5), (5, Some(123)));
        assert_eq!(extent(Some("bytes=5-9/123"), 5), (5, Some(123)));
        assert_eq!(extent(Some("bytes 5-9/*"), 5), (5, None));
        assert_eq!(extent(None, 5), (0, Some(5)));
        assert_eq!(range_length(Some("bytes 5-9/*")), Some(5));
        assert_eq!(range_length(Some("bytes 0-0/1")), Some(1));
        for none in [None, Some("bytes */5"), Some("bytes 9-5/10"), Some("5")] {
            assert_eq!(range_length(none), None, "{none:?}");
        }
    }

    #[test]
    fn the_framing_of_an_upload_is_no_encoding() {
        for (header, expected) in [
            ("aws-chunked", None),
            ("AWS-Chunked", None),
            ("aws-chunked,gzip", Some("gzip")),
            ("gzip, aws-chunked", Some("gzip")),
            ("aws-chunked, aws-chunked", None),
            ("gzip,aws-chunked,br", Some("gzip,br")),
            ("gzip, br", Some("gzip, br")),
            ("aws-chunked,", None),
            ("", Some("")),
        ] {
            assert_eq!(stored_encoding(header).as_deref(), expected, "{header}");
        }
    }

    #[test]
    fn a_restoration_must_have_ended() {
        let ended = "ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2026 00:00:00 GMT\"";
        assert!(is_restored(ended));
        assert!(!is_restored("ongoing-request=\"true\""));
    }

    /// Promise 5.
    #[test]
    fn tags_become_a_query_string() {
        let tags = [("a b".to_owned(), "1&2".to_owned()), ("ü".to_owned(), String::new())];
        assert_eq!(tagging(&tags).unwrap(), "a%20b=1%262&%C3%BC=");
        assert_eq!(tagging(&[]), None);
    }
}
