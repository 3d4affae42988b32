//! GetObject, PutObject, UploadPart and the pages of a listing without the SDK's machinery, which costs
//! several times what moving the bytes does: the SDK's rules (`place`) and credentials, its signer (`sign`), and hyper
//! on connections of our own (`pool`, `body`).
//!
//! Each call does what the SDK's does, and fails with the same errors (`failure`). The conformance
//! suite runs on both ways.

use std::fmt;
use std::sync::Arc;

use aws_sigv4::http_request::SignableBody;
use bytes::BytesMut;
use futures_util::StreamExt;
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use hyper::{Method, Request, Response};

use super::renew::Renewed;
use super::*;

mod answer;
mod body;
mod failure;
mod pages;
mod place;
mod pool;
mod sign;

use body::{Arriving, CRC64NVME, Outgoing};
use failure::Failure;
use place::{Place, Places};
use pool::Pool;
use sign::{Signer, Unsigned};

/// The product and its version.
const AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// An answer that only says whether a write was taken is short; so is an error.
const SHORT: usize = 64 * 1024;

/// The variables that name a proxy: the SDK knows how to use one.
const PROXIES: &[&str] =
    &["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// The short way of one store.
pub(super) struct Lean {
    places: Places,
    signer: Option<Signer>,
    pool: Arc<Pool>,
}

impl Lean {
    /// `None` where requests go by a proxy. `credentials`: whose credentials sign; none for unsigned
    /// requests.
    pub(super) fn new(credentials: Option<Renewed>) -> Option<Self> {
        let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        (!PROXIES.iter().any(is_set)).then(|| Self {
            places: Places::default(),
            signer: credentials.map(Signer),
            pool: Arc::new(Pool::new()),
        })
    }

    /// Sends one request; the answer has begun by then.
    async fn send(&self, place: &Place, call: Call) -> Result<Response<Arriving>, Failure> {
        let Call { method, path, mut headers, body, payload } = call;
        headers.push((HOST.as_str().to_owned(), place.host.clone()));
        if let (Some(scope), Some(signer)) = (&place.scope, &self.signer) {
            let url = format!("{}{path}", place.origin);
            let body = payload.signable();
            let unsigned = Unsigned { method: method.as_str(), url: &url, headers: &headers, body };
            let signature = signer.sign(scope, unsigned).await?;
            headers.extend(signature);
        } else if let Some(name) = payload.name() {
            headers.push(("x-amz-content-sha256".to_owned(), name.to_owned()));
        }
        let length = body.length();
        let mut request = Request::new(body);
        *request.uri_mut() = path.parse().map_err(Failure::unsendable)?;
        put_headers(request.headers_mut(), headers)?;
        // Not signed: some compatible stores, GCS among them, change it before they check.
        request.headers_mut().insert(
            ACCEPT_ENCODING,
            HeaderValue::from_static(accept_encoding(Some(&place.origin))),
        );
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if method != Method::GET {
            request.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
        *request.method_mut() = method;
        let mut line = self.pool.line(&place.origin).await?;
        let (head, body) = line.send(request).await.map_err(Failure::cut)?.into_parts();
        let body = Arriving::new(body, line, Arc::clone(&self.pool));
        match head.status {
            status if status.is_success() => Ok(Response::from_parts(head, body)),
            status => {
                // What cannot be read of it is not missed: the status speaks.
                let text = body.collect(SHORT).await.unwrap_or_default();
                Err(Failure::refused(status, &head.headers, &text))
            }
        }
    }

    /// Sends one request whose answer says all in its headers.
    async fn write(&self, place: &Place, call: Call) -> Result<Written, Failure> {
        let (head, body) = self.send(place, call).await?.into_parts();
        body.collect(SHORT).await.map_err(Failure::cut)?;
        answer::written(&head.headers).ok_or_else(|| Failure::unreached(NO_ETAG))
    }
}

/// A success without an ETag is not the store's answer: something on the way has made it up.
const NO_ETAG: &str = "the answer names no ETag, so it is not the store's";

fn put_headers(to: &mut HeaderMap, headers: Vec<(String, String)>) -> Result<(), Failure> {
    for (name, value) in headers {
        let name = HeaderName::try_from(name).map_err(Failure::unsendable)?;
        to.insert(name, HeaderValue::try_from(value).map_err(Failure::unsendable)?);
    }
    Ok(())
}

/// One request.
struct Call {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Outgoing,
    payload: Signed,
}

/// What the signature says of the body.
///
/// Bodies are not hashed with SHA-256, which costs more CPU time than all the rest. What is held
/// has its MD5 in a header that is signed: whoever changes one byte must change the MD5, and cannot
/// sign it, so this is safe also over plain http, as far as MD5 is; and against damage as safe as
/// any digest. What is streamed has no digest yet when its headers are sent; its ETag or its
/// trailing checksum is compared afterwards. Presigned URLs are sent in the same form
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>).
#[derive(Clone, Copy)]
enum Signed {
    /// There is none.
    Empty,
    Unsigned,
    /// With a checksum behind it.
    Trailer,
}

impl Signed {
    fn signable(self) -> SignableBody<'static> {
        match self {
            Self::Empty => SignableBody::Bytes(&[]),
            Self::Unsigned => SignableBody::UnsignedPayload,
            Self::Trailer => SignableBody::StreamingUnsignedPayloadTrailer,
        }
    }

    /// What a request without a signature says of it: only the form that must be known to read it.
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Empty | Self::Unsigned => None,
            Self::Trailer => Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        }
    }
}

/// The way to one bucket.
pub(super) struct Way<'a> {
    lean: &'a Lean,
    place: Arc<Place>,
}

impl S3Store {
    /// The lean way to a bucket, where there is one.
    pub(super) async fn lean_way(
        &self,
        bucket: &str,
        call: &str,
        what: impl fmt::Display,
    ) -> Result<Option<Way<'_>>> {
        let Some(lean) = &self.lean else { return Ok(None) };
        let place = lean.places.find(&self.client, bucket).await;
        let place = place.map_err(|error| self.error(call, "s3:GetObject", what, error))?;
        Ok(place.map(|place| Way { lean, place }))
    }

    /// GetObject.
    pub(super) async fn get_lean(&self, way: &Way<'_>, request: &GetRequest) -> Result<GetAnswer> {
        let id = &request.id;
        let version = request.version.as_deref().map(|version| ("versionId", version));
        let mut headers = Vec::new();
        let mut header = |name: &str, value: Option<String>| {
            headers.extend(value.map(|value| (name.to_owned(), value)));
        };
        header("range", request.range.map(crate::object::ByteRange::header));
        header("if-match", request.if_match.as_ref().map(Etag::quoted));
        header("x-amz-checksum-mode", self.checksums.then(|| "ENABLED".to_owned()));
        let payer = self.request_payer.as_ref().map(|payer| payer.as_str().to_owned());
        header("x-amz-request-payer", payer);
        let call = Call {
            method: Method::GET,
            path: way.place.path(id.key.as_str(), version.as_slice()),
            headers,
            body: Outgoing::held(Bytes::new()),
            payload: Signed::Empty,
        };
        let answer = way.lean.send(&way.place, call).await;
        let failed = |failure| self.failed("GetObject", read_permission(request), id, &failure);
        let (head, body) = answer.map_err(failed)?.into_parts();
        let (meta, content_length) = answer::object(&head.headers)
            .ok_or_else(|| Error::invalid(format!("GetObject s3://{id}: no Content-Length")))?;
        if meta.etag.as_str().is_empty() {
            return Err(failed(Failure::unreached(NO_ETAG)));
        }
        let id = id.clone();
        let body = body.map(move |chunk| {
            chunk.map_err(|cut| {
                let message = format!("GetObject s3://{id}: the body was cut: {cut}");
                Error::new(ErrorKind::Unavailable, message)
            })
        });
        Ok(GetAnswer { meta, content_length, body: body.boxed() })
    }

    /// PutObject.
    pub(super) async fn put_lean(
        &self,
        way: &Way<'_>,
        id: &ObjectId,
        new: &NewObject,
        body: Bytes,
        proof: Proof,
    ) -> Result<Written> {
        let mut headers = self.new_object_headers(new);
        headers.extend(proven(proof));
        let call = Call {
            method: Method::PUT,
            path: way.place.path(id.key.as_str(), &[]),
            headers,
            body: Outgoing::held(body),
            payload: Signed::Unsigned,
        };
        let written = way.lean.write(&way.place, call).await;
        written.map_err(|f| self.failed("PutObject", self.write_permission(new), id, &f))
    }

    /// UploadPart.
    pub(super) async fn part_lean(
        &self,
        way: &Way<'_>,
        upload: &Upload,
        number: u32,
        payload: Payload,
    ) -> Result<Written> {
        let (target, number) = (&upload.target, number.to_string());
        let query = [("partNumber", number.as_str()), ("uploadId", upload.id.as_str())];
        let (headers, body, payload) = match payload {
            Payload::Held { bytes, proof } => {
                (proven(proof).collect(), Outgoing::held(bytes), Signed::Unsigned)
            }
            Payload::Streamed { body, length, trailer, .. } => {
                let body = Outgoing::streamed(body, length, trailer);
                match trailer {
                    true => (trailer_headers(length), body, Signed::Trailer),
                    false => (Vec::new(), body, Signed::Unsigned),
                }
            }
        };
        let path = way.place.path(target.key.as_str(), &query);
        let call = Call { method: Method::PUT, path, headers, body, payload };
        let written = way.lean.write(&way.place, call).await;
        written.map_err(|failure| {
            let place = format_args!("{target} part {number}");
            self.failed("UploadPart", "s3:PutObject", place, &failure)
        })
    }

    /// The error of a failed call, in the same words as the SDK's.
    fn failed(
        &self,
        call: &str,
        permission: &str,
        place: impl fmt::Display,
        failure: &Failure,
    ) -> Error {
        let error = self.renewed(failure.error(self.said(call, place)), failure.is_expired());
        self.advised(error, call, permission, failure.region(), failure.is_unreached())
    }
}

/// The headers by which the store verifies a body in memory.
fn proven(proof: Proof) -> impl Iterator<Item = (String, String)> {
    let (md5, crc64nvme) = S3Store::digests(proof);
    let md5 = md5.map(|md5| ("content-md5".to_owned(), md5));
    md5.into_iter().chain(crc64nvme.map(|crc| (CRC64NVME.to_owned(), crc)))
}

/// What a body with a checksum behind it is announced by.
fn trailer_headers(length: u64) -> Vec<(String, String)> {
    let headers = [
        ("content-encoding", "aws-chunked".to_owned()),
        ("x-amz-decoded-content-length", length.to_string()),
        ("x-amz-trailer", CRC64NVME.to_owned()),
    ];
    headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
