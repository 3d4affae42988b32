//! GetObject, GetObjectTagging, PutObject, UploadPart and the pages of a listing without the SDK's
//! machinery, which costs several times as much as moving the bytes does. It uses the SDK's rules (`endpoint`) and
//! credentials, and hyper on connections of our own (`pool`, `body`); it signs by itself (`sign`).
//!
//! Each call does what the SDK's does, and fails with the same errors (`failure`). The conformance
//! suite runs on both paths.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;
use futures_util::StreamExt;
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use hyper::{Method, Request, Response, Uri};

use super::credentials::Renewed;
use super::new_object::HeaderList;
use super::objects::TAGGING;
use super::refused_headers::Given;
use super::*;
use crate::aws::clock::Clock;
use crate::aws::dial::Dial;
use crate::aws::http;
use crate::aws::trust::Trust;
use crate::quirk::Quirk;

mod answer;
mod body;
mod endpoint;
mod failure;
mod pages;
mod pool;
mod sign;

use body::{Arriving, CRC64NVME, Outgoing};
use endpoint::{Place, Places};
use failure::Failure;
use pool::Pool;
use sign::{Signature, SignedBody, Signer, Unsigned};

/// The product and its version.
const AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// An answer that only says whether a write was accepted is no longer than this; nor is an error.
const SHORT: usize = 64 * 1024;

/// Redirects that are followed for one call.
const MAX_REDIRECTS: usize = 4;

/// The short path of one store.
pub(super) struct Lean {
    places: Places,
    signer: Option<Signer>,
    pool: Arc<Pool>,
}

impl Lean {
    /// `None` if requests go through a proxy. `credentials` sign the requests; without them
    /// requests are unsigned.
    pub(super) fn new(credentials: Option<Renewed>, trust: Trust, clock: Clock) -> Option<Self> {
        (!http::has_proxy()).then(|| Self {
            places: Places::default(),
            signer: credentials.map(|credentials| Signer::new(credentials, clock)),
            pool: Arc::new(Pool::new(Dial::new(trust))),
        })
    }

    /// Sends one request; returns once the answer has begun. A redirect is followed only if the
    /// body can be sent again, and only to a host in the same domain. After an answer with too many
    /// headers, the request is sent again on a connection that reads more of them.
    async fn send(&self, place: &Place, call: HttpCall) -> Result<Response<Arriving>, Failure> {
        let (mut call, mut moved, mut left) = (call, None, MAX_REDIRECTS);
        loop {
            let (place, again) = (moved.as_ref().unwrap_or(place), call.body.again());
            let had_many = self.pool.reads_many_headers();
            let failure = match self.send_once(place, &mut call).await {
                Err(failure) => failure,
                answer => return answer,
            };
            let Some(body) = again.filter(|_| left > 0) else { return Err(failure) };
            left -= 1;
            call.body = body;
            if self.pool.reads_many_headers() != had_many {
                continue;
            }
            let to = failure.redirect().and_then(|location| place.moved(location, &call.path));
            let Some((to, path)) = to else { return Err(failure) };
            call.path = path;
            moved = Some(to);
        }
    }

    /// Takes the call's body.
    async fn send_once(
        &self,
        place: &Place,
        call: &mut HttpCall,
    ) -> Result<Response<Arriving>, Failure> {
        let (request, signature) = self.signed(place, call).await?;
        let mut line = self.pool.line(&place.origin).await?;
        let answer = line.send(request).await.inspect_err(|error| self.pool.note(error));
        let (head, body) = answer.map_err(Failure::cut)?.into_parts();
        let body = Arriving::new(body, line, Arc::clone(&self.pool));
        match head.status {
            status if status.is_success() => Ok(Response::from_parts(head, body)),
            status => {
                // If the body cannot be read, nothing is missed: the status is enough.
                let text = body.collect(SHORT).await.unwrap_or_default();
                let signed_by = signature.map(|signature| signature.access_key().to_owned());
                Err(Failure::refused(status, &head.headers, &text).signed_by(signed_by))
            }
        }
    }

    /// The request as it goes out, and its signature. Takes the call's body.
    async fn signed(
        &self,
        place: &Place,
        call: &mut HttpCall,
    ) -> Result<(Request<Outgoing>, Option<Signature>), Failure> {
        let mut body = std::mem::replace(&mut call.body, Outgoing::held(Bytes::new()));
        let HttpCall { method, path, headers, payload, encoding, .. } = call;
        let uri: Uri = path.parse().map_err(Failure::unsendable)?;
        let (mut put, mut signature) = (HeaderMap::with_capacity(headers.len() + 8), None);
        for (name, value) in headers.iter() {
            put_header(&mut put, name, value)?;
        }
        put_header(&mut put, HOST.as_str(), &place.host)?;
        if let (Some(scope), Some(signer)) = (&place.scope, &self.signer) {
            let held = body.bytes();
            let (uri, body_as) = (&uri, payload.signable(&held));
            let unsigned = Unsigned { method, uri, headers: &mut put, body: body_as };
            let signed = signer.sign(scope, unsigned).await?;
            body.sign_chunks(|| signed.chunks());
            signature = Some(signed);
        } else if let Some(name) = payload.name() {
            put_header(&mut put, "x-amz-content-sha256", name)?;
        }
        // Not signed: some compatible stores, GCS among them, change it before they check the
        // signature.
        put.insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding));
        put.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if *method != Method::GET {
            put.insert(CONTENT_LENGTH, body.length().into());
        }
        let mut request = Request::new(body);
        *request.uri_mut() = uri;
        *request.headers_mut() = put;
        *request.method_mut() = method.clone();
        Ok((request, signature))
    }

    /// Sends one request whose answer is complete in its headers.
    async fn write(&self, place: &Place, call: HttpCall) -> Result<Written, Failure> {
        let (head, body) = self.send(place, call).await?.into_parts();
        body.collect(SHORT).await.map_err(Failure::cut)?;
        answer::written(&head.headers).ok_or_else(|| Failure::unreached(NO_ETAG))
    }
}

/// The MD5 of no bytes (RFC 1321, section A.5).
const MD5_OF_NOTHING: &str = "d41d8cd98f00b204e9800998ecf8427e";

/// A success without an ETag is not the store's answer: something in transit has made it up.
const NO_ETAG: &str = "the answer has no ETag, so it is not the store's";

fn put_header(to: &mut HeaderMap, name: &str, value: &str) -> Result<(), Failure> {
    let unsendable = |part: &str| {
        let name = name.escape_debug();
        Failure::unsendable(format!("the header {name} has a {part} that HTTP cannot carry"))
    };
    let parsed = HeaderName::try_from(name).map_err(|_| unsendable("name"))?;
    to.insert(parsed, HeaderValue::try_from(value).map_err(|_| unsendable("value"))?);
    Ok(())
}

/// One request.
struct HttpCall {
    method: Method,
    path: String,
    headers: HeaderList,
    body: Outgoing,
    payload: Signed,
    /// `Accept-Encoding`.
    encoding: &'static str,
}

/// What the signature says about the body.
///
/// Bodies are not hashed with SHA-256, which costs more CPU time than all the rest. A held body has
/// its MD5 in a signed header: to change one byte, an attacker must change the MD5, and cannot sign
/// it. So this is safe even over plain http, as far as MD5 is; against accidental damage it is as
/// safe as any digest. A streamed body has no digest yet when its headers are sent; its ETag or its
/// trailing checksum is compared afterwards. Presigned URLs are sent in the same form
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>).
#[derive(Clone, Copy)]
enum Signed {
    /// There is no body.
    Empty,
    Unsigned,
    /// With a checksum after it.
    Trailer,
    /// Its SHA-256 is in the signature, for stores that refuse any other body.
    Hashed,
    /// The SHA-256 of each chunk is signed, for a body that is not held
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>).
    Chunks,
}

impl Signed {
    fn signable(self, held: &[u8]) -> SignedBody<'_> {
        match self {
            Self::Empty => SignedBody::Bytes(&[]),
            Self::Hashed => SignedBody::Bytes(held),
            Self::Chunks => SignedBody::Word("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
            Self::Unsigned => SignedBody::Word("UNSIGNED-PAYLOAD"),
            Self::Trailer => SignedBody::Word(TRAILER),
        }
    }

    /// What an unsigned request says about its body: only the form, if the store must know it to
    /// read the body.
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Empty | Self::Unsigned | Self::Hashed | Self::Chunks => None,
            Self::Trailer => Some(TRAILER),
        }
    }
}

/// What a request says about a body with a checksum after it.
const TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/// The path to one bucket.
pub(super) struct Way<'a> {
    lean: &'a Lean,
    place: Arc<Place>,
}

impl S3Store {
    /// The lean path to a bucket, if there is one.
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

    /// GetObject. `encoding` is sent as Accept-Encoding.
    pub(super) async fn get_lean(
        &self,
        way: &Way<'_>,
        request: &GetRequest,
        encoding: &'static str,
        mode: SumAsking,
    ) -> Result<Got> {
        let id = &request.id;
        let version = request.version.as_deref().map(|version| ("versionId", version));
        let mut headers = HeaderList::new();
        let mut header = |name: &'static str, value: Option<String>| {
            headers.extend(value.map(|value| (name.into(), value)));
        };
        header("range", request.range.map(crate::object::ByteRange::header));
        header("if-match", request.if_match.as_ref().map(Etag::quoted));
        header(SumAsking::HEADER, mode.value().map(str::to_owned));
        let payer = self.request_payer.as_ref().map(|payer| payer.as_str().to_owned());
        header("x-amz-request-payer", payer);
        let call = HttpCall {
            method: Method::GET,
            path: way.place.path(id.key.as_str(), version.as_slice()),
            headers,
            body: Outgoing::held(Bytes::new()),
            payload: Signed::Empty,
            encoding,
        };
        let answer = way.lean.send(&way.place, call).await;
        let failed = |failure| self.failed("GetObject", read_permission(request), id, &failure);
        let (head, body) = answer.map_err(failed)?.into_parts();
        let answer::AnsweredObject { mut meta, length, start, whole } =
            answer::object(&head.headers);
        if meta.etag.as_str().is_empty() {
            // s3proxy sends none for a folder marker. The digest of an empty body is known anyway.
            if !id.key.as_str().ends_with('/') || length != Some(0) {
                return Err(failed(Failure::unreached(NO_ETAG)));
            }
            meta.etag = Etag::new(MD5_OF_NOTHING);
        }
        let id = id.clone();
        let pieces = body.map(move |piece| {
            piece.map_err(|cut| {
                let message = format!("GetObject s3://{id}: the body was cut: {cut}");
                Error::new(ErrorKind::Unavailable, message)
            })
        });
        Ok(Got { meta, length, start, whole, pieces: pieces.boxed() })
    }

    /// GetObjectTagging.
    pub(super) async fn tags_lean(
        &self,
        way: &Way<'_>,
        id: &ObjectId,
        version: Option<&str>,
    ) -> Result<Vec<(String, String)>> {
        let query = [("tagging", ""), ("versionId", version.unwrap_or_default())];
        let query = &query[..1 + usize::from(version.is_some())];
        let payer = self.request_payer.as_ref().map(|payer| payer.as_str().to_owned());
        let get = HttpCall {
            method: Method::GET,
            path: way.place.path(id.key.as_str(), query),
            headers: payer.map(|payer| ("x-amz-request-payer".into(), payer)).into_iter().collect(),
            body: Outgoing::held(Bytes::new()),
            payload: Signed::Empty,
            encoding: IDENTITY,
        };
        let answered = async {
            let (_, body) = way.lean.send(&way.place, get).await?.into_parts();
            body.collect(SHORT).await.map_err(Failure::cut)
        };
        let (call, permission) = TAGGING;
        let document = answered.await.map_err(|f| self.failed(call, permission, id, &f))?;
        upload_answers::tags(&document).map_err(|error| error.context(self.said(call, id)))
    }

    /// PutObject.
    pub(super) async fn put_lean(
        &self,
        way: &Way<'_>,
        id: &ObjectId,
        given: &Given,
        body: Bytes,
        proof: Proof,
    ) -> Result<Written> {
        let (bucket, failed_of) = (&id.bucket, self.write_permission(&given.new));
        let proof = Proof { md5: proof.md5.filter(|_| given.md5), ..proof };
        let put = |payload| {
            let (body, way) = (body.clone(), &way);
            async move {
                let mut headers = self.new_object_headers(given);
                headers.extend(proven(proof));
                let call = HttpCall {
                    method: Method::PUT,
                    path: way.place.path(id.key.as_str(), &[]),
                    headers,
                    body: Outgoing::held(body),
                    payload,
                    encoding: IDENTITY,
                };
                let written = way.lean.write(&way.place, call).await;
                written.map_err(|failure| self.failed("PutObject", failed_of, id, &failure))
            }
        };
        self.signed_as_wanted(bucket, !given.md5, put).await
    }

    /// PutObject of a body as it arrives.
    pub(super) async fn put_streamed_lean(
        &self,
        way: &Way<'_>,
        id: &ObjectId,
        given: &Given,
        body: Body,
        md5: Option<Md5>,
    ) -> Result<Written> {
        let mut headers = self.new_object_headers(given);
        let signs = self.signs_bodies(&id.bucket);
        // For signed chunks it is undefined which bytes the MD5 would cover.
        let md5 = md5.filter(|_| given.md5 && !signs);
        headers.extend(proven(Proof { md5, crc64nvme: None }));
        let (body, payload) = match signs {
            true => {
                in_chunks(&mut headers, body.length());
                (Outgoing::in_chunks(body), Signed::Chunks)
            }
            false => (Outgoing::streamed(body, false), Signed::Unsigned),
        };
        let path = way.place.path(id.key.as_str(), &[]);
        let call =
            HttpCall { method: Method::PUT, path, headers, body, payload, encoding: IDENTITY };
        let written = way.lean.write(&way.place, call).await;
        written.map_err(|failure| {
            let permission = self.write_permission(&given.new);
            self.signed_next(&id.bucket, self.failed("PutObject", permission, id, &failure))
        })
    }

    /// UploadPart.
    pub(super) async fn part_lean(
        &self,
        way: &Way<'_>,
        upload: &Upload,
        number: u32,
        payload: Payload,
    ) -> Result<Written> {
        let target = &upload.target;
        let part = |headers: HeaderList, body: Outgoing, payload: Signed| async move {
            let text = number.to_string();
            let query = [("partNumber", text.as_str()), ("uploadId", upload.id.as_str())];
            let path = way.place.path(target.key.as_str(), &query);
            let call =
                HttpCall { method: Method::PUT, path, headers, body, payload, encoding: IDENTITY };
            let written = way.lean.write(&way.place, call).await;
            written.map_err(|failure| {
                let place = format_args!("{target} part {number}");
                self.failed("UploadPart", "s3:PutObject", place, &failure)
            })
        };
        match payload {
            Payload::Held { bytes, proof } => {
                let known = self.profile.has(&target.bucket, Quirk::NoContentMd5);
                let proof = Proof { md5: proof.md5.filter(|_| !known), ..proof };
                let held =
                    |payload| part(proven(proof).collect(), Outgoing::held(bytes.clone()), payload);
                let written = self.signed_as_wanted(&target.bucket, known, held).await;
                written.map_err(|error| self.without_md5(&target.bucket, error))
            }
            Payload::Streamed { body, trailer: true } => {
                let headers = trailer_headers(body.length());
                part(headers, Outgoing::streamed(body, true), Signed::Trailer).await
            }
            Payload::Streamed { body, .. } if self.signs_bodies(&target.bucket) => {
                let mut headers = Vec::new();
                in_chunks(&mut headers, body.length());
                part(headers, Outgoing::in_chunks(body), Signed::Chunks).await
            }
            Payload::Streamed { body, .. } => {
                let body = Outgoing::streamed(body, false);
                let written = part(Vec::new(), body, Signed::Unsigned).await;
                written.map_err(|error| self.signed_next(&target.bucket, error))
            }
        }
    }

    /// A streamed body that was refused because it is not signed is used up; another try brings a
    /// new one, which is signed.
    pub(super) fn signed_next(&self, bucket: &str, error: Error) -> Error {
        if !wants_signed_body(&error) {
            return error;
        }
        self.profile.learn(bucket, Quirk::SignedBodies, &error);
        error.of_kind(ErrorKind::Unavailable)
    }

    /// Whether the cause of a refusal may be the unsigned body: the refusal says so, or the
    /// signature does not match and the store has never accepted an unsigned body.
    fn may_want_signed(&self, error: &Error) -> bool {
        let untold = error.code() == "SignatureDoesNotMatch";
        wants_signed_body(error) || (untold && !self.unsigned.load(Ordering::Relaxed))
    }

    /// Whether the bucket takes signed bodies only, and requests are signed.
    pub(super) fn signs_bodies(&self, bucket: &str) -> bool {
        self.credentials.is_some() && self.profile.has(bucket, Quirk::SignedBodies)
    }

    /// Sends a body in memory, and again with its SHA-256 signed if the store wants that. `bare`:
    /// nothing else in the request proves the body.
    async fn signed_as_wanted<F>(
        &self,
        bucket: &str,
        bare: bool,
        send: impl Fn(Signed) -> F,
    ) -> Result<Written>
    where
        F: Future<Output = Result<Written>>,
    {
        if (bare && self.credentials.is_some()) || self.signs_bodies(bucket) {
            return send(Signed::Hashed).await;
        }
        let refusal = match send(Signed::Unsigned).await {
            Err(error) if self.credentials.is_some() && self.may_want_signed(&error) => error,
            written => {
                self.unsigned.fetch_or(written.is_ok(), Ordering::Relaxed);
                return written;
            }
        };
        let Ok(written) = send(Signed::Hashed).await else { return Err(refusal) };
        self.profile.learn(bucket, Quirk::SignedBodies, refusal);
        Ok(written)
    }

    /// The error of a failed call, in the same words as the SDK's.
    fn failed(
        &self,
        call: &str,
        permission: &str,
        place: impl fmt::Display,
        failure: &Failure,
    ) -> Error {
        let error = failure.error(self.said(call, place));
        let error = self.renewed(error, failure.expired(), failure.skewed());
        self.advised(error, call, permission, failure.region(), failure.is_unreached())
    }
}

/// The headers by which the store verifies a body in memory.
fn proven(proof: Proof) -> impl Iterator<Item = (Cow<'static, str>, String)> {
    let (md5, crc64nvme) = S3Store::digests(proof);
    let md5 = md5.map(|md5| ("content-md5".into(), md5));
    md5.into_iter().chain(crc64nvme.map(|crc| (CRC64NVME.into(), crc)))
}

/// Whether a store has refused a body because its SHA-256 is not signed. Error codes differ; the
/// name of the placeholder for the hash of such a body does not.
fn wants_signed_body(error: &Error) -> bool {
    let Some(evidence) = error.evidence() else { return false };
    let said = format!("{}: {}", evidence.code, evidence.text).to_ascii_uppercase();
    let named = ["UNSIGNED-PAYLOAD", "UNSIGNED PAYLOAD", "UNSIGNEDPAYLOAD", "CONTENT-SHA256"];
    matches!(evidence.status, 400 | 401 | 403 | 411 | 501)
        && (evidence.code == "XAmzContentSHA256Mismatch"
            || named.iter().any(|name| said.contains(name)))
}

/// The headers that announce a body with a checksum after it.
fn trailer_headers(length: u64) -> HeaderList {
    let headers = [
        ("content-encoding", "aws-chunked".to_owned()),
        ("x-amz-decoded-content-length", length.to_string()),
        ("x-amz-trailer", CRC64NVME.to_owned()),
    ];
    headers.into_iter().map(|(name, value)| (name.into(), value)).collect()
}

/// Announces a body in signed chunks. The object's own encoding comes after the framing.
fn in_chunks(headers: &mut HeaderList, length: u64) {
    let own = headers.iter().position(|(name, _)| name == "content-encoding");
    let encoding = match own.map(|at| headers.remove(at).1) {
        Some(own) => format!("aws-chunked,{own}"),
        None => "aws-chunked".to_owned(),
    };
    headers.push(("content-encoding".into(), encoding));
    headers.push(("x-amz-decoded-content-length".into(), length.to_string()));
}
