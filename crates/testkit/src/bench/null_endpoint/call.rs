//! Which call a request is.

use std::collections::HashMap;

use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Method, Request};
use percent_encoding::percent_decode_str;

/// A request without its body.
pub struct Call {
    /// The bucket, from the path.
    pub bucket: String,
    /// The decoded key, from the path; empty for a bucket.
    pub key: String,
    /// The query parameters, decoded.
    pub query: HashMap<String, String>,
    /// The method.
    pub method: Method,
    /// The headers, unchanged.
    pub headers: HeaderMap,
}

impl Call {
    /// Reads everything before the body.
    pub fn read(request: &Request<Incoming>) -> Self {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let path = request.uri().path().trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let pairs = request.uri().query().unwrap_or_default().split('&');
        let pairs = pairs.filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(&value.replace('+', " ")))
        });
        Self {
            bucket: bucket.to_owned(),
            key: decode(key),
            query: pairs.collect(),
            method: request.method().clone(),
            headers: request.headers().clone(),
        }
    }

    /// Whether the query has this parameter.
    pub fn has(&self, name: &str) -> bool {
        self.query.contains_key(name)
    }

    /// The parameter's value; empty if there is none.
    pub fn value(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    /// The header's value, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// S3's name of the operation.
    pub fn operation(&self) -> &'static str {
        let of_key = !self.key.is_empty();
        match self.method {
            Method::GET if self.has("uploadId") => "ListParts",
            Method::GET if self.has("uploads") => "ListMultipartUploads",
            Method::GET if self.has("tagging") => "GetObjectTagging",
            Method::GET if of_key => "GetObject",
            Method::GET if self.has("location") => "GetBucketLocation",
            Method::GET => "ListObjectsV2",
            Method::HEAD if of_key => "HeadObject",
            Method::HEAD => "HeadBucket",
            Method::PUT if self.has("partNumber") => "UploadPart",
            Method::PUT if of_key => "PutObject",
            Method::POST if self.has("uploads") => "CreateMultipartUpload",
            Method::POST if self.has("uploadId") => "CompleteMultipartUpload",
            Method::DELETE if self.has("uploadId") => "AbortMultipartUpload",
            _ => "other",
        }
    }

    /// The key after which the page begins.
    pub fn after(&self) -> Option<String> {
        let keys = ["continuation-token", "start-after", "marker"].map(|name| self.value(name));
        keys.into_iter().find(|key| !key.is_empty()).map(str::to_owned)
    }
}

/// The first byte and the length of a `Range`, limited to the object.
pub fn range_of(text: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let first: u64 = first.parse().ok()?;
    let last = last.parse().unwrap_or(u64::MAX).min(size.saturating_sub(1));
    Some((first, (last + 1).saturating_sub(first)))
}
