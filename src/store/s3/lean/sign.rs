//! Who asks, and the signature that says so.

use std::time::SystemTime;

use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;

use super::super::renew::Renewed;
use super::Failure;
use super::place::Scope;

/// One side's signature.
pub(super) struct Signer(pub(super) Renewed);

/// What is to be signed.
pub(super) struct Unsigned<'a> {
    pub(super) method: &'a str,
    pub(super) url: &'a str,
    pub(super) headers: &'a [(String, String)],
    pub(super) body: SignableBody<'a>,
}

impl Signer {
    /// The headers that sign a request.
    pub(super) async fn sign(
        &self,
        scope: &Scope,
        request: Unsigned<'_>,
    ) -> Result<Vec<(String, String)>, Failure> {
        let identity = self.0.identity().await.map_err(Failure::unreached)?;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&scope.region)
            .name("s3")
            .time(SystemTime::now())
            .settings(settings())
            .build();
        let params = params.map_err(Failure::unsendable)?.into();
        let Unsigned { method, url, headers, body } = request;
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request = SignableRequest::new(method, url, headers, body);
        let signed = sign(request.map_err(Failure::unsendable)?, &params);
        let (instructions, _) = signed.map_err(Failure::unsendable)?.into_parts();
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Ok(instructions.headers().map(owned).collect())
    }
}

/// As S3 wants it: the path encoded once and not normalised, since `a//b` and `../c` are keys.
fn settings() -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings
}
