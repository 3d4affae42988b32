//! A client of S3 that shares nothing with the product's: requests as they are written here, answers read by
//! their elements.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What a path leaves as it is.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
const QUERY: &AsciiSet = &PATH.add(b'/');
/// No answer here takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// One account at one server.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    credentials: Credentials,
    http: legacy::Client<HttpConnector, Full<Bytes>>,
}

/// An answer, whole.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// One object or version of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    pub size: u64,
    /// Without quotation marks.
    pub etag: String,
}

impl Answer {
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header, taken for UTF-8.
    pub fn header(&self, name: &str) -> Option<String> {
        let value = self.headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    #[track_caller]
    fn must(self, what: &str) -> Self {
        assert!(self.is_ok(), "{what}: {} {}", self.status, self.text());
        self
    }
}

impl Client {
    pub fn new(address: SocketAddr, access_key: &str, secret_key: &str) -> Self {
        let credentials = Credentials::new(access_key, secret_key, None, None, "interop");
        let http = legacy::Client::builder(TokioExecutor::new()).build_http();
        Self { address, credentials, http }
    }

    /// Sends one request. `key` is written byte for byte after the bucket.
    pub async fn call(
        &self,
        method: &str,
        (bucket, key): (&str, &str),
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let body: Bytes = body.into();
        let url = self.url(bucket, key, query);
        let mut headers: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        headers.push(("host".to_owned(), self.address.to_string()));
        // Also for an empty body: servers insist on it.
        headers.push(("content-length".to_owned(), body.len().to_string()));
        headers.extend(self.signature(method, &url, &headers, &body));
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).expect("a request that can be written");
        let whole = async {
            let answer = self.http.request(request).await.expect("an answer");
            let (head, body) = answer.into_parts();
            let body = body.collect().await.expect("a whole answer").to_bytes();
            Answer { status: head.status.as_u16(), headers: head.headers, body }
        };
        tokio::time::timeout(PATIENCE, whole).await.expect("an answer in time")
    }

    fn url(&self, bucket: &str, key: &str, query: &[(&str, &str)]) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, QUERY).to_string();
        let parameters: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
            .collect();
        let mut url = format!("http://{}/{bucket}", self.address);
        if !key.is_empty() {
            url.push('/');
            url.extend(utf8_percent_encode(key, PATH));
        }
        if !parameters.is_empty() {
            url.push('?');
            url.push_str(&parameters.join("&"));
        }
        url
    }

    fn signature(
        &self,
        method: &str,
        url: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Vec<(String, String)> {
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .expect("whole parameters")
            .into();
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request = SignableRequest::new(method, url, headers, SignableBody::Bytes(body));
        let signed = sign(request.expect("a signable request"), &params).expect("a signature");
        let (instructions, _) = signed.into_parts();
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        instructions.headers().map(owned).collect()
    }

    pub async fn create_bucket(&self, bucket: &str) {
        self.call("PUT", (bucket, ""), &[], &[], "").await.must("CreateBucket");
    }

    /// Lets a bucket keep versions.
    pub async fn enable_versions(&self, bucket: &str) {
        let status = "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                      <Status>Enabled</Status></VersioningConfiguration>";
        let put = self.call("PUT", (bucket, ""), &[("versioning", "")], &[], status).await;
        put.must("PutBucketVersioning");
    }

    pub async fn put(
        &self,
        at: (&str, &str),
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        self.call("PUT", at, &[], headers, body).await
    }

    pub async fn get(&self, at: (&str, &str)) -> Answer {
        self.call("GET", at, &[], &[], "").await
    }

    /// Uploads an object in parts of these sizes; the answer of the first call that is refused, or of the
    /// completion.
    pub async fn put_in_parts(
        &self,
        at: (&str, &str),
        headers: &[(&str, &str)],
        body: &Bytes,
        sizes: &[usize],
    ) -> Answer {
        let created = self.call("POST", at, &[("uploads", "")], headers, "").await;
        if !created.is_ok() {
            return created;
        }
        let id = unescaped(&field(&created.text(), "UploadId").expect("an upload has an id"));
        let (mut parts, mut begin) = (String::new(), 0);
        for (number, size) in (1..).zip(sizes) {
            let query = [("partNumber", &*format!("{number}")), ("uploadId", &*id)];
            let part = body.slice(begin..begin + size);
            begin += size;
            let answer = self.call("PUT", at, &query, &[], part).await.must("UploadPart");
            let etag = answer.header("etag").expect("a part has an ETag").replace('"', "&quot;");
            parts.push_str(&format!(
                "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
            ));
        }
        assert_eq!(begin, body.len(), "the parts are the object");
        let parts = format!(
            "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{parts}\
             </CompleteMultipartUpload>"
        );
        self.call("POST", at, &[("uploadId", &id)], &[], parts).await
    }

    /// Everything in the bucket, page after page, in the order in which it comes.
    pub async fn list(&self, bucket: &str) -> Vec<Listed> {
        let mut listed: Vec<Listed> = Vec::new();
        let mut token = None::<String>;
        loop {
            let mut query = vec![("list-type", "2"), ("encoding-type", "url")];
            query.extend(token.as_deref().map(|token| ("continuation-token", token)));
            let page = self.call("GET", (bucket, ""), &query, &[], "").await.must("ListObjectsV2");
            let text = page.text();
            listed.extend(entries(&text, "Contents"));
            token = field(&text, "NextContinuationToken").map(|token| unescaped(&token));
            if token.is_none() || field(&text, "IsTruncated").as_deref() != Some("true") {
                return listed;
            }
        }
    }

    /// Every version in the bucket, of at most a thousand.
    pub async fn versions(&self, bucket: &str) -> Vec<Listed> {
        let query = [("versions", ""), ("encoding-type", "url")];
        let page = self.call("GET", (bucket, ""), &query, &[], "").await;
        entries(&page.must("ListObjectVersions").text(), "Version")
    }

    /// How many uploads are unfinished in the bucket.
    pub async fn uploads(&self, bucket: &str) -> usize {
        let list = self.call("GET", (bucket, ""), &[("uploads", "")], &[], "").await;
        // What `rclone serve s3` answers when there is none.
        if list.status == 404 && list.text().contains("NoSuchUpload") {
            return 0;
        }
        blocks(&list.must("ListMultipartUploads").text(), "Upload").len()
    }

    /// The object's tags, in order; `None` if the server does not say.
    pub async fn tags(&self, at: (&str, &str)) -> Option<Vec<(String, String)>> {
        let answer = self.call("GET", at, &[("tagging", "")], &[], "").await;
        if !answer.is_ok() {
            return None;
        }
        let text = answer.text();
        let pair = |tag: &&str| {
            let part = |name| field(tag, name).map(|value| unescaped(&value)).unwrap_or_default();
            (part("Key"), part("Value"))
        };
        let mut tags: Vec<_> = blocks(&text, "Tag").iter().map(pair).collect();
        tags.sort();
        Some(tags)
    }
}

/// The entries of a page of a listing.
fn entries(page: &str, name: &str) -> Vec<Listed> {
    let is_encoded = field(page, "EncodingType").as_deref() == Some("url");
    let entry = |block: &&str| {
        let part = |name| field(block, name).map(|text| unescaped(&text)).unwrap_or_default();
        let key = match is_encoded {
            true => {
                let spaced = part("Key").replace('+', " ");
                percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
            }
            false => part("Key"),
        };
        let size = part("Size").parse().unwrap_or_default();
        Listed { key, size, etag: part("ETag").trim_matches('"').to_owned() }
    };
    blocks(page, name).iter().map(entry).collect()
}

/// What stands in each element of this name, from its first `>` to its end.
fn blocks<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let (begin, end) = (format!("<{name}"), format!("</{name}>"));
    let mut found = Vec::new();
    let mut rest = xml;
    while let Some(at) = rest.find(&begin) {
        rest = &rest[at + begin.len()..];
        // `<Tag` is also the beginning of `<Tagging`.
        if !rest.starts_with([' ', '>']) {
            continue;
        }
        let Some(closed) = rest.find(&end) else { break };
        let block = &rest[..closed];
        found.push(block.split_once('>').map_or("", |(_, content)| content));
        rest = &rest[closed + end.len()..];
    }
    found
}

/// The text of the first element of this name.
fn field(xml: &str, name: &str) -> Option<String> {
    blocks(xml, name).first().map(|text| (*text).to_owned())
}

fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('&') {
        plain.push_str(before);
        let Some((entity, behind)) = behind.split_once(';') else {
            plain.push('&');
            rest = behind;
            continue;
        };
        match entity {
            "amp" => plain.push('&'),
            "lt" => plain.push('<'),
            "gt" => plain.push('>'),
            "quot" => plain.push('"'),
            "apos" => plain.push('\''),
            number => {
                let number = number.strip_prefix('#').unwrap_or("x");
                let code = match number.strip_prefix('x') {
                    Some(hex) => u32::from_str_radix(hex, 16),
                    None => number.parse(),
                };
                plain.extend(code.ok().and_then(char::from_u32));
            }
        }
        rest = behind;
    }
    plain + rest
}
