//! Handles writes whose headers s3s would refuse, before it parses them.
//!
//! S3 keeps Expires as text, and `0` or `-1` are common, but s3s requires a date. If a body is
//! framed (`aws-chunked`) and encoded, the SDK sends two Content-Encoding headers, but s3s requires
//! one.

use std::sync::Arc;

use async_trait::async_trait;
use hyper::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPIRES, HeaderName, HeaderValue,
};
use hyper::http::Extensions;
use hyper::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;
use s3s::dto::{CreateMultipartUploadInput, PutObjectInput, Timestamp, TimestampFormat};
use s3s::path::{S3Path, parse_path_style};
use s3s::route::S3Route;
use s3s::xml::{Serialize, Serializer};
use s3s::{Body, S3Error, S3Request, S3Response, S3Result, s3_error};

use crate::checksum::Said;
use crate::guard::Guard;
use crate::service::Store;

/// Handles PutObject and CreateMultipartUpload with such headers.
pub(super) struct Untyped {
    pub(super) store: Store,
    pub(super) guard: Arc<Guard>,
}

#[async_trait]
impl S3Route for Untyped {
    fn is_match(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        _: &mut Extensions,
    ) -> bool {
        operation(method, uri).is_some() && is_refused(headers)
    }

    async fn check_access(&self, call: &mut S3Request<Body>) -> S3Result<()> {
        let operation = operation(&call.method, &call.uri).unwrap_or_default();
        let (bucket, key) = place(&call.uri)?;
        self.guard.admit(call.credentials.is_some(), operation, &bucket, &key).await
    }

    async fn call(&self, call: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let (bucket, key) = place(&call.uri)?;
        match operation(&call.method, &call.uri) {
            Some("PutObject") => self.put(call, bucket, key).await,
            _ => self.begin(&call, bucket, key),
        }
    }
}

impl Untyped {
    async fn put(
        &self,
        call: S3Request<Body>,
        bucket: String,
        key: String,
    ) -> S3Result<S3Response<Body>> {
        let input = PutObjectInput {
            bucket,
            key,
            body: Some(call.input.into()),
            content_length: header(&call.headers, CONTENT_LENGTH).and_then(|v| v.parse().ok()),
            content_md5: header(&call.headers, HeaderName::from_static("content-md5")),
            ..PutObjectInput::default()
        };
        let crc = Said::new(&call.headers, call.trailing_headers);
        let output = self.store.put(input, &call.headers, crc).await?;
        let mut headers = HeaderMap::new();
        if let Some(etag) = output.e_tag {
            headers.insert("etag", etag.to_http_header().map_err(S3Error::internal_error)?);
        }
        Ok(S3Response::with_headers(Body::empty(), headers))
    }

    fn begin(
        &self,
        call: &S3Request<Body>,
        bucket: String,
        key: String,
    ) -> S3Result<S3Response<Body>> {
        let input =
            CreateMultipartUploadInput { bucket, key, ..CreateMultipartUploadInput::default() };
        let output = self.store.begin(input, &call.headers)?;
        let mut xml = Vec::new();
        let mut serializer = Serializer::new(&mut xml);
        let written = serializer.decl().and_then(|()| output.serialize(&mut serializer));
        written.map_err(S3Error::internal_error)?;
        let xml_type = HeaderValue::from_static("application/xml");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, xml_type)]);
        Ok(S3Response::with_headers(Body::from(xml), headers))
    }
}

/// The operation, if it is one that sets headers.
fn operation(method: &Method, uri: &Uri) -> Option<&'static str> {
    let names = |name: &str| {
        let pairs = uri.query().unwrap_or_default().split('&');
        pairs.into_iter().any(|pair| pair.split('=').next() == Some(name))
    };
    match *method {
        Method::PUT if !names("partNumber") => Some("PutObject"),
        Method::POST if names("uploads") => Some("CreateMultipartUpload"),
        _ => None,
    }
}

fn place(uri: &Uri) -> S3Result<(String, String)> {
    let path = percent_decode_str(uri.path()).decode_utf8();
    match parse_path_style(&path.map_err(|e| s3_error!(e, InvalidURI))?) {
        Ok(S3Path::Object { bucket, key }) => Ok((bucket.into(), key.into())),
        _ => Err(s3_error!(InvalidURI)),
    }
}

fn is_refused(headers: &HeaderMap) -> bool {
    headers.get(EXPIRES).is_some_and(|expires| !is_date(expires))
        || headers.get_all(CONTENT_ENCODING).iter().count() > 1
}

fn is_date(expires: &HeaderValue) -> bool {
    let text = expires.to_str().unwrap_or_default();
    Timestamp::parse(TimestampFormat::HttpDate, text).is_ok()
}

fn header(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}
