//! The signature that proves who sends a request: Signature Version 4, in headers
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>).
//!
//! The SDK's signer makes the same signatures, and the tests compare them. It takes a quarter of all
//! instructions of a small object: it parses, copies and formats for every kind of request, and
//! computes the signing key each time.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::sign::v4;
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use percent_encoding::{percent_decode_str, percent_encode};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use super::super::credentials::Renewed;
use super::Failure;
use super::endpoint::{SigningScope, UNRESERVED};
use crate::aws::clock::Clock;
use crate::mutex::lock;

/// The SHA-256 of no bytes.
const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

const SERVICE: &str = "s3";

/// What the signature says about a body.
#[derive(Clone, Copy)]
pub(super) enum SignedBody<'a> {
    /// Its SHA-256 is signed.
    Bytes(&'a [u8]),
    /// Only this word is.
    Word(&'static str),
}

impl SignedBody<'_> {
    fn text(self) -> Cow<'static, str> {
        match self {
            Self::Bytes([]) => NOTHING.into(),
            Self::Bytes(bytes) => hex::encode(Sha256::digest(bytes)).into(),
            Self::Word(word) => word.into(),
        }
    }
}

/// The request to sign. All of its headers are signed.
pub(super) struct Unsigned<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    /// The signature's own headers are added.
    pub(super) headers: &'a mut HeaderMap,
    pub(super) body: SignedBody<'a>,
}

/// One side's credentials and clock, to sign with.
pub(super) struct Signer {
    credentials: Renewed,
    clock: Clock,
    /// The key of the last signature.
    key: Mutex<Option<Arc<SigningKey>>>,
}

/// A key is for one day, and for one region.
struct SigningKey {
    keys: Arc<Credentials>,
    /// `20130524/us-east-1/s3/aws4_request`
    scope: String,
    bytes: Vec<u8>,
}

/// Who has signed a request, and what the chunks of its body are signed with.
pub(super) struct Signature {
    key: Arc<SigningKey>,
    date: String,
    text: String,
}

impl Signature {
    /// The access key that has signed.
    pub(super) fn access_key(&self) -> &str {
        self.key.keys.access_key_id()
    }

    /// The signer of the chunks of the request's body.
    pub(super) fn chunks(&self) -> Chunks {
        let (key, date) = (Arc::clone(&self.key), self.date.clone());
        Chunks { key, date, before: self.text.clone() }
    }
}

impl Signer {
    pub(super) fn new(credentials: Renewed, clock: Clock) -> Self {
        Self { credentials, clock, key: Mutex::default() }
    }

    /// Signs a request.
    pub(super) async fn sign(
        &self,
        scope: &SigningScope,
        request: Unsigned<'_>,
    ) -> Result<Signature, Failure> {
        let keys = self.credentials.keys().await.map_err(Failure::unreached)?;
        self.sign_with(keys, self.clock.now(), &scope.region, request)
    }

    fn sign_with(
        &self,
        keys: Arc<Credentials>,
        time: SystemTime,
        region: &str,
        Unsigned { method, uri, headers, body }: Unsigned<'_>,
    ) -> Result<Signature, Failure> {
        let (date, body) = (date(time), body.text());
        let own = [
            ("x-amz-date", Some(date.as_str())),
            ("x-amz-content-sha256", Some(&*body)),
            ("x-amz-security-token", keys.session_token()),
        ];
        for (name, value) in own {
            let Some(value) = value else { continue };
            let value = HeaderValue::try_from(value).map_err(Failure::unsendable)?;
            headers.insert(HeaderName::from_static(name), value);
        }
        let key = self.key(keys, time, &date[..8], region);
        let (request, signed) = canonical(method, uri, headers, &body);
        let text = key.sign("AWS4-HMAC-SHA256", &date, &hex::encode(Sha256::digest(request)));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={signed}, Signature={text}",
            key.keys.access_key_id(),
            key.scope,
        );
        let authorization = HeaderValue::try_from(authorization).map_err(Failure::unsendable)?;
        headers.insert(AUTHORIZATION, authorization);
        Ok(Signature { key, date, text })
    }

    /// The signing key, computed only if the last one was another.
    fn key(
        &self,
        keys: Arc<Credentials>,
        time: SystemTime,
        day: &str,
        region: &str,
    ) -> Arc<SigningKey> {
        let scope = format!("{day}/{region}/{SERVICE}/aws4_request");
        let mut last = lock(&self.key);
        if let Some(key) = last.as_ref().filter(|key| key.scope == scope && key.keys == keys) {
            return Arc::clone(key);
        }
        let bytes = v4::generate_signing_key(keys.secret_access_key(), time, region, SERVICE);
        let key = Arc::new(SigningKey { keys, scope, bytes: bytes.as_ref().to_vec() });
        *last = Some(Arc::clone(&key));
        key
    }
}

impl SigningKey {
    fn sign(&self, what: &str, date: &str, hashes: &str) -> String {
        let text = format!("{what}\n{date}\n{}\n{hashes}", self.scope);
        v4::calculate_signature(&self.bytes, text.as_bytes())
    }
}

/// Signs the chunks of a body, each with the signature of the one before it
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>).
pub(super) struct Chunks {
    key: Arc<SigningKey>,
    date: String,
    before: String,
}

impl Chunks {
    /// The signature of the next chunk.
    pub(super) fn sign(&mut self, chunk: &Bytes) -> &str {
        let hashes = format!("{}\n{NOTHING}\n{}", self.before, SignedBody::Bytes(chunk).text());
        self.before = self.key.sign("AWS4-HMAC-SHA256-PAYLOAD", &self.date, &hashes);
        &self.before
    }
}

/// `20130524T000000Z`
fn date(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second) = time.to_hms();
    format!("{year:04}{:02}{day:02}T{hour:02}{minute:02}{second:02}Z", u8::from(month))
}

/// The request as both sides write it for the signature, and the names of its headers. The path is as
/// it is sent: S3 does not normalise it, since `a//b` and `../c` are keys.
fn canonical(method: &Method, uri: &Uri, headers: &HeaderMap, body: &str) -> (Vec<u8>, String) {
    let mut sorted: Vec<(&str, &[u8])> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    sorted.sort_unstable();
    let mut text = Vec::with_capacity(1024);
    let mut names = String::with_capacity(128);
    let query = uri.query().map(canonical_query).unwrap_or_default();
    for line in [method.as_str(), uri.path(), &query] {
        text.extend_from_slice(line.as_bytes());
        text.push(b'\n');
    }
    for (name, value) in sorted {
        if !names.is_empty() {
            names.push(';');
        }
        names.push_str(name);
        text.extend_from_slice(name.as_bytes());
        text.push(b':');
        // A run of spaces counts as one, and those at the ends do not count.
        for (i, word) in value.split(|&b| b == b' ').filter(|word| !word.is_empty()).enumerate() {
            if i > 0 {
                text.push(b' ');
            }
            text.extend_from_slice(word);
        }
        text.push(b'\n');
    }
    for piece in ["\n", &names, "\n", body] {
        text.extend_from_slice(piece.as_bytes());
    }
    (text, names)
}

/// The parameters, each encoded in the one form that counts, and sorted.
fn canonical_query(query: &str) -> String {
    let encoded = |text: &str| {
        let text = text.replace('+', " ");
        percent_encode(&percent_decode_str(&text).collect::<Vec<u8>>(), UNRESERVED).to_string()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut pairs: Vec<_> = pairs.map(|(name, value)| (encoded(name), encoded(value))).collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests;
