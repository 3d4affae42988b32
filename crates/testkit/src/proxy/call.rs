//! Which call a request is.

use percent_encoding::percent_decode_str;

use super::http::Head;

/// A call of S3, or of a service that names its calls in `X-Amz-Target` (SQS, DynamoDB, SSM).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// Such as `GetObject`, `SendMessage`.
    pub operation: String,
    /// Empty if the operation has none.
    pub bucket: String,
    /// The decoded key; for a call by target, its whole JSON body.
    pub key: String,
    /// The part number of an UploadPart.
    pub part: Option<u32>,
    /// The Range header.
    pub range: Option<String>,
    /// The access key id that signed it.
    pub signed_by: String,
    /// Its head, in lower case.
    pub head: String,
}

impl Call {
    /// Whether `X-Amz-Target` names the call, so that only its body says what it is about.
    pub fn is_by_target(head: &Head) -> bool {
        head.header("x-amz-target").is_some()
    }

    /// The call of a request with this head; `body` is the body of a call by target.
    pub fn of(head: &Head, body: &str) -> Self {
        let signed_by = head.header("authorization").and_then(access_key).unwrap_or_default();
        let range = head.header("range").map(str::to_owned);
        if let Some(target) = head.header("x-amz-target") {
            let operation = target.rsplit('.').next().unwrap_or(target).to_owned();
            return Self { operation, key: body.to_owned(), signed_by, ..Self::default() };
        }
        let (path, query) = head.word(1).split_once('?').unwrap_or((head.word(1), ""));
        let path = path.trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let operation = operation(head.word(0), !bucket.is_empty(), !key.is_empty(), query);
        let part = parameter(query, "partNumber").and_then(|part| part.parse().ok());
        Self {
            operation: operation.to_owned(),
            bucket: decoded(bucket),
            key: decoded(key),
            part,
            range,
            signed_by,
            head: String::from_utf8_lossy(head.bytes()).to_lowercase(),
        }
    }
}

fn operation(method: &str, bucket: bool, key: bool, query: &str) -> &'static str {
    let asks = |name: &str| parameter(query, name).is_some();
    match (method, bucket, key) {
        ("GET", true, true) if asks("uploadId") => "ListParts",
        ("GET", true, true) if asks("tagging") => "GetObjectTagging",
        ("GET", true, true) if asks("attributes") => "GetObjectAttributes",
        ("GET", true, true) => "GetObject",
        ("GET", true, false) if asks("uploads") => "ListMultipartUploads",
        ("GET", true, false) if asks("versions") => "ListObjectVersions",
        ("GET", true, false) if asks("list-type") => "ListObjectsV2",
        ("GET", true, false) => "GetBucket",
        ("GET", false, _) => "ListBuckets",
        ("HEAD", true, true) => "HeadObject",
        ("HEAD", _, _) => "HeadBucket",
        ("PUT", true, true) if asks("partNumber") => "UploadPart",
        ("PUT", true, true) if asks("tagging") => "PutObjectTagging",
        ("PUT", true, true) => "PutObject",
        ("PUT", _, _) => "CreateBucket",
        ("POST", true, true) if asks("uploads") => "CreateMultipartUpload",
        ("POST", true, true) if asks("uploadId") => "CompleteMultipartUpload",
        ("POST", true, false) if asks("delete") => "DeleteObjects",
        ("DELETE", true, true) if asks("uploadId") => "AbortMultipartUpload",
        ("DELETE", true, true) => "DeleteObject",
        _ => "Unknown",
    }
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn access_key(authorization: &str) -> Option<String> {
    let (_, rest) = authorization.split_once("Credential=")?;
    Some(rest.split('/').next()?.to_owned())
}
