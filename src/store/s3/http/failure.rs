//! Why a call failed, before it becomes an error in the user's words.

use std::error::Error as StdError;
use std::fmt;

use hyper::{HeaderMap, StatusCode};

use super::super::listing::is_unknown;
use super::super::{Expired, Skewed, region_hint};
use super::answer::text;
use crate::aws::{self, ErrorAnswer};
use crate::error::{Error, ErrorKind};

type Cause = Box<dyn StdError + Send + Sync>;

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The request cannot be built, however often it is tried.
    Unsendable(Cause),
    /// No connection, no credentials, or no answer.
    Unanswered(Cause),
    /// The store refuses.
    Refused(Box<Refused>),
}

#[derive(Debug)]
pub(super) struct Refused {
    status: u16,
    code: String,
    text: String,
    request_id: Option<String>,
    retry_after: Option<String>,
    region: Option<String>,
    /// The beginning of the answer.
    body: String,
    location: Option<String>,
    date: Option<String>,
    /// The access key that signed the request.
    signed_by: Option<String>,
}

/// How much of a body is kept: no more is shown of one that is not a document.
const KEPT: usize = 1024;

impl Failure {
    pub(super) fn unsendable(cause: impl Into<Cause>) -> Self {
        Self::Unsendable(cause.into())
    }

    pub(super) fn unreached(cause: impl Into<Cause>) -> Self {
        Self::Unanswered(cause.into())
    }

    /// The connection ended before the answer did.
    pub(super) fn cut(error: hyper::Error) -> Self {
        Self::Unanswered(error.into())
    }

    pub(super) fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(body);
        let header = |name: &str| text(headers, name);
        Self::Refused(Box::new(Refused {
            status: status.as_u16(),
            code: element(&body, "Code").unwrap_or_default(),
            text: element(&body, "Message").unwrap_or_default(),
            request_id: header("x-amz-request-id"),
            retry_after: header("retry-after"),
            region: header("x-amz-bucket-region"),
            body: body.chars().take(KEPT).collect(),
            location: header("location"),
            date: header("date"),
            signed_by: None,
        }))
    }

    /// The refusal, with the access key that signed the request.
    pub(super) fn signed_by(mut self, key: Option<String>) -> Self {
        if let Self::Refused(refused) = &mut self {
            refused.signed_by = key;
        }
        self
    }

    /// Set if the store called the credentials expired: the access key that signed.
    pub(super) fn expired(&self) -> Expired<'_> {
        match self {
            Self::Refused(refused) if aws::is_expired(&refused.code) => {
                Some(refused.signed_by.as_deref())
            }
            _ => None,
        }
    }

    /// Whether the store may not know this call.
    pub(super) fn is_unknown_call(&self) -> bool {
        match self {
            Self::Refused(refused) => is_unknown(refused.status, &refused.code),
            Self::Unsendable(_) | Self::Unanswered(_) => false,
        }
    }

    /// Set if the store refused the request's time: the `Date` of the answer.
    pub(super) fn skewed(&self) -> Skewed<'_> {
        match self {
            Self::Refused(refused) if aws::is_skewed(&refused.code, &refused.text) => {
                Some(refused.date.as_deref())
            }
            _ => None,
        }
    }

    /// Whether the network or the endpoint failed.
    pub(super) fn is_unreached(&self) -> bool {
        let Self::Unanswered(cause) = self else { return false };
        aws::own_error(Some(&**cause)).is_none() && !aws::is_of_credentials(Some(&**cause))
    }

    /// The region that the bucket is in, if it is a different one.
    pub(super) fn region(&self) -> Option<String> {
        match self {
            Self::Refused(refused) => region_hint(refused.status, refused.region.as_deref()),
            Self::Unsendable(_) | Self::Unanswered(_) => None,
        }
    }

    /// Where the store redirects this one request (307). A permanent redirect is a configuration to
    /// correct, and is reported.
    pub(super) fn redirect(&self) -> Option<&str> {
        match self {
            Self::Refused(refused) if refused.status == 307 => refused.location.as_deref(),
            Self::Refused(_) | Self::Unsendable(_) | Self::Unanswered(_) => None,
        }
    }

    /// The error; its message begins with `call`.
    pub(super) fn error(&self, call: impl fmt::Display) -> Error {
        match self {
            Self::Unsendable(cause) => Error::new(
                ErrorKind::Invalid,
                format!("{call}: the request cannot be built: {cause}"),
            ),
            Self::Unanswered(cause) => match aws::own_error(Some(&**cause)) {
                // The error of the body that was to be sent.
                Some(own) => Error::new(own.kind(), format!("{call}: {own}")),
                None => aws::unanswered(call, &**cause),
            },
            Self::Refused(refused) => ErrorAnswer {
                status: refused.status,
                code: &refused.code,
                text: &refused.text,
                body: &refused.body,
                request_id: refused.request_id.as_deref(),
                retry_after: refused.retry_after.as_deref(),
            }
            .error(call),
        }
    }
}

/// The text of the first element of this name. An error is a small, flat document
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>).
fn element(document: &str, name: &str) -> Option<String> {
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(decoded(text))
}

/// Text with XML entities decoded, named or numeric (<https://www.w3.org/TR/xml/#sec-references>).
/// Anything else stays as it is.
fn decoded(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        decoded.push_str(&rest[..at]);
        rest = &rest[at..];
        let entity = rest.split_once(';').and_then(|(name, behind)| Some((entity(name)?, behind)));
        match entity {
            Some((c, behind)) => {
                decoded.push(c);
                rest = behind;
            }
            None => {
                decoded.push('&');
                rest = &rest[1..];
            }
        }
    }
    decoded.push_str(rest);
    decoded
}

/// The character of an entity, which begins with its `&` and lacks its `;`.
fn entity(entity: &str) -> Option<char> {
    match entity {
        "&lt" => Some('<'),
        "&gt" => Some('>'),
        "&quot" => Some('"'),
        "&apos" => Some('\''),
        "&amp" => Some('&'),
        _ => {
            let number = entity.strip_prefix("&#")?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &str, headers: &[(&'static str, &'static str)]) -> Failure {
        let headers = headers.iter().map(|(name, value)| {
            (name.parse().unwrap(), hyper::header::HeaderValue::from_static(value))
        });
        let status = StatusCode::from_u16(status).unwrap();
        Failure::refused(status, &HeaderMap::from_iter(headers), body.as_bytes())
    }

    #[test]
    fn an_error_document_says_what_the_sdk_would() {
        let body = "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>a &lt;b&gt; &amp;amp;\
                    </Message></Error>";
        let failure = refused(503, body, &[("retry-after", "7"), ("x-amz-request-id", "ID")]);
        let error = failure.error("PutObject s3://b/k (source)");
        assert_eq!(error.kind(), ErrorKind::Throttled);
        assert_eq!(error.retry_after().unwrap().as_secs(), 7);
        let said = "PutObject s3://b/k (source): SlowDown: a <b> &amp; (status 503, request ID)";
        assert_eq!(error.to_string(), said);
    }

    #[test]
    fn an_answer_without_a_document_speaks_by_its_status() {
        for (status, kind) in [
            (412, ErrorKind::SourceChanged),
            (404, ErrorKind::NotFound),
            (500, ErrorKind::Unavailable),
            (403, ErrorKind::Denied),
        ] {
            assert_eq!(refused(status, "no XML", &[]).error("c").kind(), kind, "{status}");
        }
    }

    /// Promise 10.
    #[test]
    fn entities_are_decoded_once_whether_named_or_numbered() {
        for (text, expected) in [
            ("a &#34;b&#x22; &#X27;c&apos;", "a \"b\" 'c'"),
            ("&amp;#34; &amp;lt;", "&#34; &lt;"),
            ("R&D; & &; &#xD800; &#99999999999;", "R&D; & &; &#xD800; &#99999999999;"),
            ("", ""),
        ] {
            assert_eq!(decoded(text), expected);
        }
    }

    /// Promise 10.
    #[test]
    fn a_page_that_is_no_document_is_shown_by_its_beginning() {
        let body = "<html>\n<head><title>400 The plain HTTP request was sent to HTTPS port</title>";
        let error = refused(400, body, &[]).error("ListObjectsV2 s3://b/ (source)").to_string();
        assert!(error.contains("plain HTTP request was sent to HTTPS port"), "{error}");
        assert!(error.contains("is Endpoint right (http or https)?"), "{error}");
        let empty = refused(400, "", &[]).error("PutObject s3://b/k (source)").to_string();
        assert!(!empty.contains("begins"), "{empty}");
    }

    #[test]
    fn another_region_is_named_where_the_answer_is_a_redirect() {
        let header = [("x-amz-bucket-region", "eu-west-1")];
        assert_eq!(refused(301, "", &header).region().as_deref(), Some("eu-west-1"));
        assert_eq!(refused(403, "", &header).region(), None);
    }

    #[test]
    fn whose_credentials_have_expired_is_known() {
        let expired = refused(400, "<Code>ExpiredToken</Code>", &[]);
        assert_eq!(expired.signed_by(Some("KEY".to_owned())).expired(), Some(Some("KEY")));
        let denied = refused(403, "<Code>AccessDenied</Code>", &[]);
        assert_eq!(denied.signed_by(Some("KEY".to_owned())).expired(), None);
    }

    #[test]
    fn what_a_body_failed_with_keeps_its_kind() {
        let own = Error::new(ErrorKind::SourceChanged, "the body changed");
        let error = Failure::unreached(own).error("UploadPart s3://b/k part 1 (destination)");
        assert_eq!(error.kind(), ErrorKind::SourceChanged);
    }
}
