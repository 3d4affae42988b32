//! Where a bucket is: the SDK's rules applied to endpoint, region, addressing and bucket.
//!
//! The rules are many (partitions, dual stack, FIPS, path style, URLs from the environment), and
//! they are the SDK's. So the SDK is asked once for each bucket: it builds and signs a GetObject
//! for a connector that keeps the request and sends nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Any key will do, but it must be the last of the path.
const ANY_KEY: &str = "k";

/// Everything that is not unreserved is encoded, once (RFC 3986, section 2.3).
pub(super) const UNRESERVED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The region that a signature is for.
#[derive(Debug)]
pub(super) struct SigningScope {
    pub(super) region: String,
}

/// A bucket's place.
#[derive(Debug)]
pub(in super::super) struct Place {
    /// Scheme, host and port.
    pub(super) origin: String,
    /// The `Host` header.
    pub(super) host: String,
    /// The path up to the key; it ends with `/`.
    path: String,
    /// `None` for unsigned requests.
    pub(super) scope: Option<SigningScope>,
}

impl Place {
    /// The path for a key, with its query.
    pub(super) fn path(&self, key: &str, query: &[(&str, &str)]) -> String {
        // S3 keys keep their `/`.
        const KEY: &AsciiSet = &UNRESERVED.remove(b'/');
        let mut path = format!("{}{}", self.path, utf8_percent_encode(key, KEY));
        for (i, (name, value)) in query.iter().enumerate() {
            path.push(if i == 0 { '?' } else { '&' });
            path.push_str(name);
            // `?tagging` has no value.
            if !value.is_empty() {
                path.push('=');
                path.extend(utf8_percent_encode(value, UNRESERVED));
            }
        }
        path
    }

    /// Where a redirect sends a request for `path`: the place, and the path there. `None` if it
    /// changes the scheme, or leads to a foreign host, which would receive a signature and the
    /// object.
    pub(super) fn moved(&self, location: &str, path: &str) -> Option<(Self, String)> {
        let (origin, there) = match location.starts_with('/') {
            true => (self.origin.clone(), location.to_owned()),
            false => {
                let start = location.find("://")? + 3;
                let end = location[start..].find('/').map_or(location.len(), |at| start + at);
                (location[..end].to_owned(), location[end..].to_owned())
            }
        };
        let (scheme, host) = origin.split_once("://")?;
        let (own_scheme, own_host) = self.origin.split_once("://")?;
        if scheme != own_scheme || host.contains('@') || !is_akin(host, own_host) {
            return None;
        }
        // A store that names only its host means the same path.
        let there = if matches!(there.as_str(), "" | "/") { path.to_owned() } else { there };
        let scope = self.scope.as_ref().map(|scope| SigningScope { region: scope.region.clone() });
        let (path, host) = (self.path.clone(), host.to_owned());
        Some((Self { origin, host, path, scope }, there))
    }

    fn parse(seen: &SeenRequest) -> Option<Self> {
        let path_start = seen.uri.find("://")? + 3;
        let path_start = path_start + seen.uri[path_start..].find('/')?;
        let (origin, path) = seen.uri.split_at(path_start);
        let path = path.split('?').next()?.strip_suffix(ANY_KEY)?;
        let scope = match &seen.authorization {
            None => None,
            Some(authorization) => Some(SigningScope::parse(authorization)?),
        };
        let (_, host) = origin.split_once("://")?;
        let (origin, host, path) = (origin.to_owned(), host.to_owned(), path.to_owned());
        (!seen.session).then_some(Self { origin, host, path, scope })
    }
}

/// Whether two hosts are the same, or end in the same registered name:
/// `b.s3.eu-west-1.amazonaws.com` and `s3.amazonaws.com`. An IP address is akin only to itself;
/// ports do not matter.
fn is_akin(host: &str, other: &str) -> bool {
    let name = |host: &str| match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name.to_ascii_lowercase(),
        _ => host.to_ascii_lowercase(),
    };
    let (host, other) = (name(host), name(other));
    if host == other {
        return true;
    }
    let registered = |host: &str| {
        let labels: Vec<&str> = host.split('.').collect();
        let is_number = labels.last().is_none_or(|last| last.bytes().all(|b| b.is_ascii_digit()));
        // `com.cn`, `co.uk`: a short label before the last belongs to the registry.
        let registry = labels.len() >= 2 && labels[labels.len() - 2].len() <= 3;
        let kept = if registry { 3 } else { 2 };
        (!is_number && !host.starts_with('[') && labels.len() >= kept)
            .then(|| labels[labels.len() - kept..].join("."))
    };
    registered(&host).is_some_and(|name| Some(name) == registered(&other))
}

impl SigningScope {
    /// From the `Authorization` header of Signature Version 4; `None` for any other.
    fn parse(authorization: &str) -> Option<Self> {
        let credential = authorization.strip_prefix("AWS4-HMAC-SHA256 Credential=")?;
        let credential = credential.split(',').next()?;
        // From the end, since some stores have access keys with slashes.
        let mut parts = credential.rsplit('/');
        let (end, service, region) = (parts.next()?, parts.next()?, parts.next()?);
        let region = region.to_owned();
        (end == "aws4_request" && service == "s3").then_some(Self { region })
    }
}

type Known = Option<Arc<Place>>;

/// The places found so far.
#[derive(Default)]
pub(super) struct Places(RwLock<HashMap<String, Known>>);

impl Places {
    /// The bucket's place; `None` if the SDK has to make the calls: for an access point or another
    /// ARN, a directory bucket (S3 Express, with its own sessions), or a signature of another kind.
    pub(super) async fn find(
        &self,
        client: &Client,
        bucket: &str,
    ) -> Result<Known, SdkError<GetObjectError, HttpResponse>> {
        if let Some(known) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(bucket) {
            return Ok(known.clone());
        }
        let special = bucket.starts_with("arn:") || bucket.ends_with("--x-s3");
        let place = if special { None } else { ask(client, bucket).await? };
        let mut places = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Ok(places.entry(bucket.to_owned()).or_insert(place.map(Arc::new)).clone())
    }
}

async fn ask(
    client: &Client,
    bucket: &str,
) -> Result<Option<Place>, SdkError<GetObjectError, HttpResponse>> {
    let keeper = Keeper::default();
    let shared = SharedHttpConnector::new(keeper.clone());
    let sends_nothing = Builder::new().http_client(http_client_fn(move |_, _| shared.clone()));
    let call = client.get_object().bucket(bucket).key(ANY_KEY);
    let answer = call.customize().config_override(sends_nothing).send().await;
    let seen = keeper.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (seen, answer) {
        (Some(seen), _) => Ok(Place::parse(&seen)),
        (None, Err(error)) => Err(error),
        (None, Ok(_)) => Ok(None),
    }
}

/// What is kept of a request.
#[derive(Debug)]
struct SeenRequest {
    uri: String,
    authorization: Option<String>,
    /// It belongs to a session of S3 Express.
    session: bool,
}

#[derive(Clone, Debug, Default)]
struct Keeper(Arc<Mutex<Option<SeenRequest>>>);

impl HttpConnector for Keeper {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let header = |name: &str| request.headers().get(name).map(str::to_owned);
        let seen = SeenRequest {
            uri: request.uri().to_owned(),
            authorization: header("authorization"),
            session: header("x-amz-s3session-token").is_some(),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        HttpConnectorFuture::ready(Err(ConnectorError::other("not to be sent".into(), None)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(uri: &str, authorization: Option<&str>) -> SeenRequest {
        let authorization = authorization.map(str::to_owned);
        SeenRequest { uri: uri.to_owned(), authorization, session: false }
    }

    /// Promise 4.
    #[test]
    fn a_request_tells_where_its_bucket_is() {
        let sigv4 = "AWS4-HMAC-SHA256 Credential=A/B/20260101/eu-west-1/s3/aws4_request, Signed";
        let virtual_host =
            seen("https://b.s3.eu-west-1.amazonaws.com/k?x-id=GetObject", Some(sigv4));
        let place = Place::parse(&virtual_host).unwrap();
        assert_eq!(place.origin, "https://b.s3.eu-west-1.amazonaws.com");
        assert_eq!(place.host, "b.s3.eu-west-1.amazonaws.com");
        assert_eq!(place.path("a b/../ü+", &[]), "/a%20b/../%C3%BC%2B");
        assert_eq!(place.scope.unwrap().region, "eu-west-1");

        let place = Place::parse(&seen("http://h:9/base/b/k", None)).unwrap();
        assert_eq!((place.origin.as_str(), place.host.as_str()), ("http://h:9", "h:9"));
        let path = place.path("/x", &[("partNumber", "1"), ("uploadId", "a/b+")]);
        assert_eq!(path, "/base/b//x?partNumber=1&uploadId=a%2Fb%2B");
        assert!(place.scope.is_none());
    }

    #[test]
    fn a_redirect_is_followed_to_the_same_owner_only() {
        let place = |uri: &str| Place::parse(&seen(uri, None)).unwrap();
        let moved = |uri: &str, location: &str| {
            place(uri)
                .moved(location, "/k?x")
                .map(|(place, path)| format!("{} {path}", place.origin))
        };
        let aws = "https://b.s3.amazonaws.com/k";
        let there = "https://b.s3.eu-west-1.amazonaws.com";
        assert_eq!(moved(aws, &format!("{there}/k?x")).unwrap(), format!("{there} /k?x"));
        assert_eq!(moved(aws, there).unwrap(), format!("{there} /k?x"));
        assert_eq!(moved(aws, "/k?y").unwrap(), "https://b.s3.amazonaws.com /k?y");
        let local = "http://127.0.0.1:9/b/k";
        assert!(moved(local, "http://127.0.0.1:10/b/k").is_some());
        for (uri, location) in [
            (aws, "http://b.s3.eu-west-1.amazonaws.com/k"),
            (aws, "https://amazonaws.com.evil.example/k"),
            (aws, "https://b.s3.amazonaws.com@evil.example/k"),
            (aws, "https://evilamazonaws.com/k"),
            (aws, "nonsense"),
            (local, "http://127.0.0.2:9/b/k"),
            ("https://s3.one.co.uk/b/k", "https://s3.two.co.uk/b/k"),
        ] {
            assert_eq!(moved(uri, location), None, "{location}");
        }
    }

    #[test]
    fn what_is_signed_in_another_way_is_for_the_sdk() {
        let uri = "https://h/k";
        for authorization in [
            "AWS4-ECDSA-P256-SHA256 Credential=A/20260101/s3/aws4_request, Signed",
            "AWS4-HMAC-SHA256 Credential=A/20260101/r/s3express/aws4_request, Signed",
            "Bearer x",
        ] {
            assert!(Place::parse(&seen(uri, Some(authorization))).is_none(), "{authorization}");
        }
        assert!(Place::parse(&SeenRequest { session: true, ..seen(uri, None) }).is_none());
    }
}
