//! The signatures, compared with those of the SDK's signer and with Amazon's example.

use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_smithy_runtime_api::client::identity::Identity;
use proptest::prelude::*;

use super::*;

fn keys(id: &str, secret: &str, token: Option<&str>) -> Credentials {
    Credentials::new(id, secret, token.map(str::to_owned), None, "tests")
}

fn signer() -> Signer {
    let provider = SharedCredentialsProvider::new(keys("unused", "unused", None));
    Signer::new(Renewed::new(provider), Clock::default())
}

/// What is signed.
#[derive(Clone, Debug)]
struct Sample {
    put: bool,
    path: String,
    headers: Vec<(String, String)>,
    /// `None`: the body is not signed.
    body: Option<Vec<u8>>,
    token: Option<String>,
    region: &'static str,
    secret: &'static str,
    seconds: u64,
}

impl Sample {
    fn method(&self) -> Method {
        if self.put { Method::PUT } else { Method::GET }
    }

    fn keys(&self) -> Credentials {
        keys("AKID", self.secret, self.token.as_deref())
    }

    fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.seconds)
    }

    /// The headers of the signature, and that of a chunk.
    fn ours(&self, signer: &Signer) -> (Vec<(String, String)>, String) {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().unwrap();
            headers.insert(name, HeaderValue::try_from(value.as_str()).unwrap());
        }
        let body = match &self.body {
            Some(bytes) => SignedBody::Bytes(bytes),
            None => SignedBody::Word("UNSIGNED-PAYLOAD"),
        };
        let (method, uri) = (self.method(), self.path.parse().unwrap());
        let request = Unsigned { method: &method, uri: &uri, headers: &mut headers, body };
        let signed = signer.sign_with(self.keys().into(), self.time(), self.region, request);
        let signed = signed.unwrap_or_else(|_| panic!("{self:?}"));
        let own = headers
            .iter()
            .filter(|(name, _)| !self.headers.iter().any(|(given, _)| given == name.as_str()));
        let own = own.map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()));
        let mut own: Vec<_> = own.collect();
        own.sort();
        (own, signed.chunks().sign(&Bytes::from_static(b"chunk")).to_owned())
    }

    /// The same by the SDK.
    fn theirs(&self) -> (Vec<(String, String)>, String) {
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let identity = Identity::from(self.keys());
        let params = || {
            let params = v4::SigningParams::builder().identity(&identity);
            params.region(self.region).name("s3").time(self.time()).settings(settings.clone())
        };
        let body = match &self.body {
            Some(bytes) => SignableBody::Bytes(bytes),
            None => SignableBody::UnsignedPayload,
        };
        let headers = self.headers.iter().map(|(name, value)| (&**name, &**value));
        let (method, url) = (self.method(), format!("http://localhost{}", self.path));
        let request = SignableRequest::new(method.as_str(), url, headers, body).unwrap();
        let signed = sign(request, &params().build().unwrap().into()).unwrap();
        let (headers, signature) = signed.into_parts();
        let headers = headers.headers();
        let mut headers: Vec<_> =
            headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        headers.sort();
        let params = params().build().unwrap();
        let chunk = v4::sign_chunk(&Bytes::from_static(b"chunk"), &signature, &params);
        (headers, chunk.unwrap().into_parts().1)
    }
}

fn sample() -> impl Strategy<Value = Sample> {
    let query = "(\\?((a|b|key|uploadId)(=[g-i%+=~é]{0,3}(%2F|%C3%A9|%20)?)?&?){0,3})?";
    let path = ("/[a-z./~-]{0,6}(%20|%2B|//|é)?", query).prop_map(|(path, query)| path + &query);
    let name = "(x-amz-meta-[a-z]{1,3}|content-type|range|cache-control)";
    let header = (name, "[ !-~é]{0,8}");
    let headers = prop::collection::btree_map(header.0, header.1, 0..4).prop_map(|headers| {
        let host = ("host".to_owned(), "localhost".to_owned());
        headers.into_iter().chain([host]).collect()
    });
    let body = prop::option::of(prop::collection::vec(any::<u8>(), 0..4));
    let secret = prop::sample::select(vec!["secret", "other"]);
    let region = prop::sample::select(vec!["eu-central-1", "us-east-1"]);
    let seconds = 951_782_000_u64..951_955_000;
    let token = prop::option::of("[a-z]{1,2}");
    (any::<bool>(), path, headers, body, token, region, secret, seconds).prop_map(
        |(put, path, headers, body, token, region, secret, seconds)| Sample {
            put,
            path,
            headers,
            body,
            token,
            region,
            secret,
            seconds,
        },
    )
}

proptest! {
    /// One signer for all: a key is never used for another day, region or secret.
    #[test]
    fn the_sdk_signs_alike(samples in prop::collection::vec(sample(), 1..6)) {
        let signer = signer();
        for sample in samples {
            prop_assert_eq!(sample.ours(&signer), sample.theirs(), "{:?}", sample);
        }
    }
}

/// The example in the documentation of Amazon S3.
#[test]
fn amazons_example() {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("examplebucket.s3.amazonaws.com"));
    headers.insert("range", HeaderValue::from_static("bytes=0-9"));
    let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    let keys = keys("AKIAIOSFODNN7EXAMPLE", secret, None);
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600);
    let request = Unsigned {
        method: &Method::GET,
        uri: &Uri::from_static("/test.txt"),
        headers: &mut headers,
        body: SignedBody::Bytes(&[]),
    };
    let signed = signer().sign_with(keys.into(), time, "us-east-1", request);
    assert!(signed.is_ok_and(|signed| signed.access_key() == "AKIAIOSFODNN7EXAMPLE"));
    let expected = "AWS4-HMAC-SHA256 \
        Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
        SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, \
        Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
    assert_eq!(headers["authorization"], expected);
}

/// The SDK's signer cannot sign them as they are: it reads parameters as text.
#[test]
fn parameters_that_are_no_text_stay_what_they_are() {
    assert_eq!(canonical_query("marker=%ff%c3&delimiter=%2f"), "delimiter=%2F&marker=%FF%C3");
}
