//! What an object keeps in addition to its bytes: unchanged headers, and tags.
//!
//! The headers bypass the typed fields of s3s, which would parse and rewrite some of them.

use hyper::HeaderMap;
use hyper::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES,
    HeaderName, HeaderValue,
};
use percent_encoding::percent_decode_str;
use s3s::{S3Result, s3_error};

const META_PREFIX: &str = "x-amz-meta-";
const STORAGE_CLASS: &str = "x-amz-storage-class";
const TAGGING: &str = "x-amz-tagging";
const WEBSITE_REDIRECT: &str = "x-amz-website-redirect-location";

/// The class of an object without one.
const STANDARD: &str = "STANDARD";

/// The headers and tags of an object, or of an upload that will become one.
#[derive(Clone, Default)]
pub(super) struct Kept {
    headers: HeaderMap,
    pub(super) tags: Vec<(String, String)>,
}

impl Kept {
    /// Takes the headers that S3 keeps from PutObject or CreateMultipartUpload.
    pub(super) fn from_request(request: &HeaderMap) -> S3Result<Self> {
        let mut headers = HeaderMap::new();
        for (name, value) in request.iter().filter(|(name, _)| is_kept(name)) {
            // Copied: a clone would keep the request's whole read buffer alive.
            let value = HeaderValue::from_bytes(value.as_bytes());
            headers.append(name, value.map_err(|e| s3_error!(e, InvalidArgument))?);
        }
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("binary/octet-stream"));
        strip_aws_chunked(&mut headers)?;
        Ok(Self { headers, tags: tags(request)? })
    }

    /// The headers for GetObject and HeadObject.
    pub(super) fn to_response(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        // S3 names the class only if it is not the standard one.
        if self.storage_class() == STANDARD {
            headers.remove(STORAGE_CLASS);
        }
        // Amazon S3 sends it only for objects with tags; if it is always sent, clients need not ask
        // for tags.
        headers.insert("x-amz-tagging-count", self.tags.len().into());
        headers
    }

    /// The storage class; listings name the standard one too.
    pub(super) fn storage_class(&self) -> &str {
        self.headers.get(STORAGE_CLASS).and_then(|v| v.to_str().ok()).unwrap_or(STANDARD)
    }

    /// Whether the object must be restored before it can be read.
    pub(super) fn is_archived(&self) -> bool {
        matches!(self.storage_class(), "GLACIER" | "DEEP_ARCHIVE")
    }
}

fn is_kept(name: &HeaderName) -> bool {
    let by_name = [
        CACHE_CONTROL,
        CONTENT_DISPOSITION,
        CONTENT_ENCODING,
        CONTENT_LANGUAGE,
        CONTENT_TYPE,
        EXPIRES,
    ];
    by_name.contains(name)
        || [STORAGE_CLASS, WEBSITE_REDIRECT].contains(&name.as_str())
        || name.as_str().starts_with(META_PREFIX)
}

/// Removes `aws-chunked`, which describes the transfer, not the object
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>).
fn strip_aws_chunked(headers: &mut HeaderMap) -> S3Result<()> {
    let texts = headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::to_str);
    let Ok(texts) = texts.collect::<Result<Vec<_>, _>>() else { return Ok(()) };
    let (framing, codings): (Vec<_>, Vec<_>) =
        texts.iter().flat_map(|text| text.split(',')).partition(|c| c.trim() == "aws-chunked");
    if framing.is_empty() {
        return Ok(());
    }
    let rest = codings.join(",").trim().to_owned();
    headers.remove(CONTENT_ENCODING);
    if !rest.is_empty() {
        headers.insert(CONTENT_ENCODING, rest.parse().map_err(|e| s3_error!(e, InvalidArgument))?);
    }
    Ok(())
}

/// Parses the tagging header, a query string.
fn tags(request: &HeaderMap) -> S3Result<Vec<(String, String)>> {
    let Some(value) = request.get(TAGGING) else { return Ok(Vec::new()) };
    let text = value.to_str().map_err(|e| s3_error!(e, InvalidTag))?;
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(key)?, decode(value)?))
        })
        .collect()
}

fn decode(text: &str) -> S3Result<String> {
    let text = text.replace('+', " ");
    let decoded = percent_decode_str(&text).decode_utf8();
    Ok(decoded.map_err(|e| s3_error!(e, InvalidTag))?.into_owned())
}
