//! The identity of the caller, and the signature that proves it.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningInstructions,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use bytes::Bytes;
use hyper::header::HOST;

use super::super::credentials::Renewed;
use super::super::new_object::HeaderList;
use super::Failure;
use super::endpoint::SigningScope;
use crate::aws::clock::Clock;
use crate::error::{Error, Result as Done};

/// One side's credentials and clock, to sign with.
pub(super) struct Signer {
    pub(super) credentials: Renewed,
    pub(super) clock: Clock,
}

/// The request to sign.
pub(super) struct Unsigned<'a> {
    pub(super) method: &'a str,
    pub(super) url: &'a str,
    pub(super) host: &'a str,
    pub(super) headers: &'a HeaderList,
    pub(super) body: SignableBody<'a>,
}

/// What a signed request carries, and what the chunks of its body are signed with.
pub(super) struct Signature {
    pub(super) headers: SigningInstructions,
    pub(super) identity: Identity,
    time: SystemTime,
    text: String,
}

impl Signature {
    /// The signer of the chunks of the request's body.
    pub(super) fn chunks(&self, scope: &SigningScope) -> Chunks {
        let (identity, region) = (self.identity.clone(), scope.region.clone());
        Chunks { identity, region, time: self.time, before: self.text.clone() }
    }
}

impl Signer {
    /// Signs a request.
    pub(super) async fn sign(
        &self,
        scope: &SigningScope,
        request: Unsigned<'_>,
    ) -> Result<Signature, Failure> {
        let identity = self.credentials.identity().await.map_err(Failure::unreached)?;
        let time = self.clock.now();
        let params = params(&identity, &scope.region, time, settings())?.into();
        let Unsigned { method, url, host, headers, body } = request;
        let headers = headers.iter().map(|(name, value)| (&**name, value.as_str()));
        let headers = headers.chain([(HOST.as_str(), host)]);
        let request = SignableRequest::new(method, url, headers, body);
        let signed = sign(request.map_err(Failure::unsendable)?, &params);
        let (headers, text) = signed.map_err(Failure::unsendable)?.into_parts();
        drop(params);
        Ok(Signature { headers, identity, time, text })
    }
}

/// The access key of an identity.
pub(super) fn access_key(identity: &Identity) -> Option<String> {
    identity.data::<Credentials>().map(|keys| keys.access_key_id().to_owned())
}

fn params<'a, S: Default>(
    identity: &'a Identity,
    region: &'a str,
    time: SystemTime,
    settings: S,
) -> Result<v4::SigningParams<'a, S>, Failure> {
    let params = v4::SigningParams::builder().identity(identity).region(region).name("s3");
    params.time(time).settings(settings).build().map_err(Failure::unsendable)
}

/// Signs the chunks of a body, each with the signature of the one before it.
#[derive(Debug)]
pub(super) struct Chunks {
    identity: Identity,
    region: String,
    time: SystemTime,
    before: String,
}

impl Chunks {
    /// The signature of the next chunk.
    pub(super) fn sign(&mut self, chunk: &Bytes) -> Done<&str> {
        let invalid = |error: String| Error::invalid(format!("a chunk cannot be signed: {error}"));
        let params = params(&self.identity, &self.region, self.time, ());
        let params = params.map_err(|_| invalid("its key".to_owned()))?;
        let signed = v4::sign_chunk(chunk, &self.before, &params);
        let (_, signature) = signed.map_err(|error| invalid(error.to_string()))?.into_parts();
        self.before = signature;
        Ok(&self.before)
    }
}

/// As S3 requires: the path encoded once and not normalised, since `a//b` and `../c` are keys.
fn settings() -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings
}
