//! An S3 in memory that behaves as Amazon documents it, until a test gives it a habit: a hook that
//! answers in its place, or one that changes its answers. Nobody is authenticated.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use md5::{Digest as _, Md5};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::http::{Answer, Incoming, Request, escape};
use crate::stage::{FROM, TO};

/// One mebibyte in bytes.
pub const MIB: usize = 1024 * 1024;
/// The headers that travel with an object, in addition to `x-amz-meta-*`.
const KEPT: [&str; 6] = [
    "content-type",
    "content-encoding",
    "content-disposition",
    "content-language",
    "cache-control",
    "expires",
];
const WRITTEN: &str = "2024-01-02T03:04:05.000Z";
/// What Amazon S3 leaves as it is in an encoded key.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');

/// An object at rest.
#[derive(Clone, Debug)]
pub struct Object {
    pub data: Vec<u8>,
    /// In lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// With its quotation marks.
    pub etag: String,
    pub class: String,
    /// The sizes of its parts, if it was uploaded in parts.
    pub parts: Vec<usize>,
    /// As `x-amz-tagging` has them.
    pub tags: String,
}

/// An object of three parts, no two alike.
pub fn large() -> Object {
    Object::new((0..12 * MIB).map(|i| (i / 7) as u8).collect::<Vec<_>>())
}

impl Object {
    pub fn new(data: impl Into<Vec<u8>>) -> Self {
        let data = data.into();
        Self {
            etag: format!("\"{}\"", md5(&data)),
            data,
            headers: Vec::new(),
            class: "STANDARD".to_owned(),
            parts: Vec::new(),
            tags: String::new(),
        }
    }

    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    /// The ETag, in whatever form.
    pub fn etag(mut self, etag: impl Into<String>) -> Self {
        self.etag = etag.into();
        self
    }

    pub fn class(mut self, class: &str) -> Self {
        self.class = class.to_owned();
        self
    }

    pub fn tags(mut self, tags: &str) -> Self {
        self.tags = tags.to_owned();
        self
    }

    /// As if it had been uploaded in these parts.
    pub fn in_parts(mut self, sizes: &[usize]) -> Self {
        let mut rest = self.data.as_slice();
        let pieces = sizes.iter().map(|size| {
            let (piece, after) = rest.split_at(*size);
            rest = after;
            piece.to_vec()
        });
        self.etag = etag_in_parts(&pieces.collect::<Vec<_>>());
        self.parts = sizes.to_vec();
        self
    }

    /// A header's value, if it has it.
    pub fn value(&self, name: &str) -> Option<String> {
        let found = self.headers.iter().find(|(has, _)| has == name);
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }

    /// A GET's or HEAD's headers.
    fn said(&self) -> Vec<(String, Vec<u8>)> {
        let mut said = vec![
            ("etag".to_owned(), self.etag.clone().into_bytes()),
            ("last-modified".to_owned(), b"Tue, 02 Jan 2024 03:04:05 GMT".to_vec()),
        ];
        if !self.tags.is_empty() {
            let count = self.tags.split('&').count().to_string();
            said.push(("x-amz-tagging-count".to_owned(), count.into_bytes()));
        }
        if self.class != "STANDARD" {
            said.push(("x-amz-storage-class".to_owned(), self.class.clone().into_bytes()));
        }
        said.extend(self.headers.iter().cloned());
        said
    }
}

/// An unfinished upload.
#[derive(Clone, Debug)]
pub struct Upload {
    pub key: Vec<u8>,
    pub headers: Vec<(String, Vec<u8>)>,
    pub parts: BTreeMap<u32, Vec<u8>>,
    pub tags: String,
    pub class: String,
}

type Answers = Box<dyn FnMut(&mut Request, &mut Data) -> Option<Answer> + Send>;
type Edits = Box<dyn FnMut(&Request, &mut Answer, &mut Data) + Send>;
type Encode = Box<dyn Fn(&[u8]) -> String + Send>;
type CompletedEtag = Box<dyn Fn(&[Vec<u8>]) -> String + Send>;

/// What the store holds, and its way with a few things.
pub struct Data {
    pub buckets: BTreeMap<String, BTreeMap<Vec<u8>, Object>>,
    pub uploads: BTreeMap<String, Upload>,
    /// Every request, in the order in which their answers were made, with the answer's status.
    pub log: Vec<(Request, u16)>,
    /// Keys in a page of a listing, at most.
    pub page: usize,
    /// How a key stands in an encoded listing.
    pub encode: Encode,
    /// The ETag of an object made from these parts, with its quotation marks.
    pub completed_etag: CompletedEtag,
    uploads_begun: u32,
}

impl Data {
    pub fn bucket(&mut self, name: &str) -> &mut BTreeMap<Vec<u8>, Object> {
        self.buckets.get_mut(name).unwrap()
    }

    pub fn put(&mut self, key: impl AsRef<[u8]>, object: Object) {
        self.bucket(FROM).insert(key.as_ref().to_vec(), object);
    }

    pub fn source(&self) -> &BTreeMap<Vec<u8>, Object> {
        &self.buckets[FROM]
    }

    pub fn destination(&self) -> &BTreeMap<Vec<u8>, Object> {
        &self.buckets[TO]
    }

    /// The object of this key at the destination.
    pub fn arrived(&self, key: &str) -> Option<&Object> {
        self.destination().get(key.as_bytes())
    }

    /// What the store answers by itself.
    pub fn answer(&mut self, request: &Request) -> Answer {
        if !self.buckets.contains_key(&request.bucket) {
            return Answer::error(404, "NoSuchBucket", "The specified bucket does not exist");
        }
        match (request.key.is_empty(), request.asks("uploadId")) {
            (false, true) => self.in_upload(request),
            (false, false) => self.of_object(request),
            (true, _) => self.of_bucket(request),
        }
    }

    fn of_bucket(&mut self, request: &Request) -> Answer {
        if request.is_listing() {
            return self.listing(request, &self.buckets[&request.bucket]);
        }
        if request.asks("uploads") {
            return self.list_uploads(request);
        }
        match (request.method.as_str(), request.asks("versioning")) {
            ("HEAD", _) => Answer::new(200, ""),
            (_, true) => Answer::xml("VersioningConfiguration", b""),
            _ => Answer::error(501, "NotImplemented", "not here"),
        }
    }

    fn list_uploads(&self, request: &Request) -> Answer {
        let prefix = request.query.get("prefix").cloned().unwrap_or_default();
        let mut inner = "<IsTruncated>false</IsTruncated>".to_owned();
        for (id, upload) in &self.uploads {
            if request.bucket == TO && upload.key.starts_with(prefix.as_bytes()) {
                let key = escape(&String::from_utf8_lossy(&upload.key));
                inner += &format!(
                    "<Upload><Key>{key}</Key><UploadId>{id}</UploadId>\
                     <Initiated>{WRITTEN}</Initiated></Upload>"
                );
            }
        }
        Answer::xml("ListMultipartUploadsResult", inner.as_bytes())
    }

    fn in_upload(&mut self, request: &Request) -> Answer {
        let id = &request.query["uploadId"];
        let Some(upload) = self.uploads.get_mut(id) else {
            return Answer::error(404, "NoSuchUpload", "The specified upload does not exist");
        };
        match request.method.as_str() {
            "PUT" => {
                let answer = stored(request, &format!("\"{}\"", md5(&request.body)));
                if answer.status == 200 {
                    let number = request.query["partNumber"].parse().unwrap();
                    upload.parts.insert(number, request.body.clone());
                }
                answer
            }
            "GET" => {
                let part = |(number, data): (&u32, &Vec<u8>)| {
                    let (etag, size) = (md5(data), data.len());
                    format!(
                        "<Part><PartNumber>{number}</PartNumber><LastModified>{WRITTEN}\
                         </LastModified><ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size></Part>"
                    )
                };
                let parts: String = upload.parts.iter().map(part).collect();
                let inner = format!("<IsTruncated>false</IsTruncated>{parts}");
                Answer::xml("ListPartsResult", inner.as_bytes())
            }
            "DELETE" => {
                self.uploads.remove(id);
                Answer::new(204, "")
            }
            _ => self.complete(request),
        }
    }

    fn complete(&mut self, request: &Request) -> Answer {
        let upload = self.uploads.remove(&request.query["uploadId"]).unwrap();
        let document = String::from_utf8_lossy(&request.body).into_owned();
        let numbers = document.split("<PartNumber>").skip(1);
        let numbers = numbers.map(|rest| rest.split('<').next().unwrap().parse::<u32>().unwrap());
        let parts: Vec<Vec<u8>> = numbers.map(|number| upload.parts[&number].clone()).collect();
        let etag = (self.completed_etag)(&parts);
        let mut object = Object::new(parts.concat()).etag(&etag);
        object.parts = parts.iter().map(Vec::len).collect();
        object.headers = upload.headers;
        object.tags = upload.tags;
        object.class = upload.class;
        self.bucket(&request.bucket).insert(request.key.clone(), object);
        let inner = format!("<Key>{}</Key><ETag>{}</ETag>", escape(&request.key()), escape(&etag));
        Answer::xml("CompleteMultipartUploadResult", inner.as_bytes())
    }

    fn of_object(&mut self, request: &Request) -> Answer {
        let class = Some(request.header("x-amz-storage-class")).filter(|class| !class.is_empty());
        let class = class.unwrap_or_else(|| "STANDARD".to_owned());
        match request.method.as_str() {
            "DELETE" => {
                self.bucket(&request.bucket).remove(&request.key);
                Answer::new(204, "")
            }
            "POST" => {
                self.uploads_begun += 1;
                let id = format!("upload{}", self.uploads_begun);
                let upload = Upload {
                    key: request.key.clone(),
                    headers: kept(request),
                    parts: BTreeMap::new(),
                    tags: request.header("x-amz-tagging"),
                    class,
                };
                self.uploads.insert(id.clone(), upload);
                let key = escape(&request.key());
                let inner = format!("<Key>{key}</Key><UploadId>{id}</UploadId>");
                Answer::xml("InitiateMultipartUploadResult", inner.as_bytes())
            }
            "PUT" => {
                let mut object = Object::new(request.body.clone()).class(&class);
                object.headers = kept(request);
                object.tags = request.header("x-amz-tagging");
                let answer = stored(request, &object.etag);
                if answer.status == 200 {
                    self.bucket(&request.bucket).insert(request.key.clone(), object);
                }
                answer
            }
            _ => match self.buckets[&request.bucket].get(&request.key) {
                None => Answer::error(404, "NoSuchKey", "The specified key does not exist."),
                Some(found) if request.asks("tagging") => tagging(found),
                Some(_) if request.asks("attributes") => {
                    Answer::error(501, "NotImplemented", "not here")
                }
                Some(found) => content(request, found),
            },
        }
    }

    /// A page of ListObjectsV2, or of version 1 if the request is one.
    pub fn listing(&self, request: &Request, bucket: &BTreeMap<Vec<u8>, Object>) -> Answer {
        let of = |name: &str| request.query.get(name).cloned().unwrap_or_default();
        let two = of("list-type") == "2";
        let prefix = of("prefix");
        let after = match two {
            true => Some(of("continuation-token")).filter(|token| !token.is_empty()),
            false => Some(of("marker")),
        };
        let after = unhex(&after.unwrap_or_else(|| of("start-after")));
        let asked = of("max-keys").parse().unwrap_or(1000);
        let keys =
            bucket.range(after.clone()..).filter(|(key, _)| **key > after || after.is_empty());
        let mut keys = keys.filter(|(key, _)| key.starts_with(prefix.as_bytes()));
        let page: Vec<_> = keys.by_ref().take(self.page.min(asked)).collect();
        let truncated = keys.next().is_some() && !page.is_empty();
        let url = of("encoding-type") == "url";
        let encoded = |key: &[u8]| match url {
            true => (self.encode)(key).into_bytes(),
            false => escape_bytes(key),
        };
        let mut inner = format!("<Name>{}</Name><Prefix>", request.bucket).into_bytes();
        inner.extend(encoded(prefix.as_bytes()));
        inner.extend(format!("</Prefix><MaxKeys>{asked}</MaxKeys>").into_bytes());
        if url {
            inner.extend_from_slice(b"<EncodingType>url</EncodingType>");
        }
        if two {
            inner.extend(format!("<KeyCount>{}</KeyCount>", page.len()).into_bytes());
        }
        inner.extend(format!("<IsTruncated>{truncated}</IsTruncated>").into_bytes());
        if let (true, true, Some((last, _))) = (two, truncated, page.last()) {
            let token = format!("hex-{}", hex::encode(last));
            inner.extend(
                format!("<NextContinuationToken>{token}</NextContinuationToken>").into_bytes(),
            );
        }
        for (key, object) in page {
            inner.extend_from_slice(b"<Contents><Key>");
            inner.extend(encoded(key));
            let (etag, size) = (escape(&object.etag), object.data.len());
            let class = &object.class;
            inner.extend(
                format!(
                    "</Key><LastModified>{WRITTEN}</LastModified><ETag>{etag}</ETag>\
                     <Size>{size}</Size><StorageClass>{class}</StorageClass></Contents>"
                )
                .into_bytes(),
            );
        }
        Answer::xml("ListBucketResult", &inner)
    }
}

/// A token differs from a key by its beginning; it carries any bytes.
fn unhex(after: &str) -> Vec<u8> {
    let token = after.strip_prefix("hex-").and_then(|digits| hex::decode(digits).ok());
    token.unwrap_or_else(|| after.as_bytes().to_vec())
}

fn escape_bytes(key: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::new();
    for byte in key {
        match byte {
            b'&' => escaped.extend_from_slice(b"&amp;"),
            b'<' => escaped.extend_from_slice(b"&lt;"),
            byte => escaped.push(*byte),
        }
    }
    escaped
}

/// The headers of a new object that stay with it.
fn kept(request: &Request) -> Vec<(String, Vec<u8>)> {
    let stays = |name: &str| KEPT.contains(&name) || name.starts_with("x-amz-meta-");
    request.headers.iter().filter(|(name, _)| stays(name)).cloned().collect()
}

/// The answer to bytes that are kept, or that are not what they were said to be.
fn stored(request: &Request, etag: &str) -> Answer {
    let claimed = request.header("content-md5");
    let found = BASE64_STANDARD.encode(Md5::digest(&request.body));
    match claimed.is_empty() || claimed == found {
        true => Answer::new(200, "").with("ETag", etag),
        false => Answer::error(400, "BadDigest", "The Content-MD5 you specified did not match"),
    }
}

fn tagging(object: &Object) -> Answer {
    let mut inner = "<TagSet>".to_owned();
    for tag in object.tags.split('&').filter(|tag| !tag.is_empty()) {
        let (key, value) = tag.split_once('=').unwrap_or((tag, ""));
        inner += &format!("<Tag><Key>{}</Key><Value>{}</Value></Tag>", escape(key), escape(value));
    }
    inner += "</TagSet>";
    Answer::xml("Tagging", inner.as_bytes())
}

/// GET or HEAD of an object, of a range or of a part of it.
fn content(request: &Request, object: &Object) -> Answer {
    let demanded = request.header("if-match");
    if !demanded.is_empty() && demanded != object.etag {
        return Answer::error(412, "PreconditionFailed", "one of the conditions did not hold");
    }
    let size = object.data.len();
    let mut headers = object.said();
    let mut bounds = None;
    if let Some(range) = request.header("range").strip_prefix("bytes=") {
        let (first, last) = range.split_once('-').unwrap();
        let first: usize = first.parse().unwrap();
        if first >= size {
            return Answer::error(416, "InvalidRange", "The requested range is not satisfiable");
        }
        bounds = Some((first, last.parse().unwrap_or(size).min(size - 1) + 1));
    } else if let Some(number) = request.query.get("partNumber")
        && !object.parts.is_empty()
    {
        let number: usize = number.parse().unwrap();
        let end: usize = object.parts[..number].iter().sum();
        bounds = Some((end - object.parts[number - 1], end));
        let count = object.parts.len().to_string();
        headers.push(("x-amz-mp-parts-count".to_owned(), count.into_bytes()));
    }
    let (status, body) = match bounds {
        None => (200, object.data.clone()),
        Some((start, end)) => {
            let range = format!("bytes {start}-{}/{size}", end - 1);
            headers.push(("content-range".to_owned(), range.into_bytes()));
            (206, object.data[start..end].to_vec())
        }
    };
    Answer { status, headers, body, ..Answer::default() }
}

/// The store as a server on a free port of loopback; it ends when this is dropped.
pub struct Store {
    data: Arc<Mutex<Data>>,
    hooks: Arc<Mutex<Hooks>>,
    pub url: String,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Hooks {
    answers: Vec<Answers>,
    edits: Vec<Edits>,
}

impl Store {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let buckets = [FROM, TO].map(|name| (name.to_owned(), BTreeMap::new())).into();
        let data = Arc::new(Mutex::new(Data {
            buckets,
            uploads: BTreeMap::new(),
            log: Vec::new(),
            page: 1000,
            encode: Box::new(|key| percent_encode(key, PLAIN).to_string()),
            completed_etag: Box::new(etag_in_parts),
            uploads_begun: 0,
        }));
        let hooks = Arc::new(Mutex::new(Hooks::default()));
        let mut tasks = JoinSet::new();
        let (of_data, of_hooks) = (Arc::clone(&data), Arc::clone(&hooks));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                stream.set_nodelay(true).unwrap();
                let (data, hooks) = (Arc::clone(&of_data), Arc::clone(&of_hooks));
                connections.spawn(serve(Incoming::new(stream), data, hooks));
            }
        });
        Self { data, hooks, url, _tasks: tasks }
    }

    /// The same store over TLS, by one of the certificates next to this file; its URL.
    pub async fn behind_tls(&mut self, certificate: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let acceptor = crate::wire::acceptor(certificate);
        let (of_data, of_hooks) = (Arc::clone(&self.data), Arc::clone(&self.hooks));
        self._tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (acceptor, data) = (acceptor.clone(), Arc::clone(&of_data));
                let hooks = Arc::clone(&of_hooks);
                connections.spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(Incoming::new(stream), data, hooks).await;
                    }
                });
            }
        });
        url
    }

    /// What it holds.
    pub fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap()
    }

    /// An object of the source.
    pub fn put(&self, key: impl AsRef<[u8]>, object: Object) {
        self.data().put(key, object);
    }

    /// A habit: what this answers, the store does not; it may also change the request.
    pub fn answer(
        &self,
        hook: impl FnMut(&mut Request, &mut Data) -> Option<Answer> + Send + 'static,
    ) {
        self.hooks.lock().unwrap().answers.push(Box::new(hook));
    }

    /// A habit: this changes what the store answers.
    pub fn edit(&self, hook: impl FnMut(&Request, &mut Answer, &mut Data) + Send + 'static) {
        self.hooks.lock().unwrap().edits.push(Box::new(hook));
    }

    /// A habit: this changes the pages of a bucket's listing.
    pub fn edit_listing(
        &self,
        bucket: &'static str,
        mut change: impl FnMut(&Request, String) -> String + Send + 'static,
    ) {
        self.edit(move |request, answer, _| {
            if request.is_listing() && request.bucket == bucket {
                let page = String::from_utf8(std::mem::take(&mut answer.body)).unwrap();
                answer.body = change(request, page).into_bytes();
            }
        });
    }

    /// The requests so far that are so.
    pub fn asked(&self, is: impl Fn(&Request) -> bool) -> usize {
        self.data().log.iter().filter(|(request, _)| is(request)).count()
    }

    /// Asserts that the destination has what the source has, bytes and headers, and no upload is left.
    #[track_caller]
    pub fn assert_whole(&self) {
        let data = self.data();
        let keys: Vec<String> =
            data.source().keys().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        assert_arrived(&data, &keys);
        assert!(data.uploads.is_empty(), "{} uploads left", data.uploads.len());
    }

    /// Asserts that these objects have arrived, bytes and headers.
    #[track_caller]
    pub fn assert_arrived(&self, keys: &[&str]) {
        assert_arrived(&self.data(), keys);
    }
}

#[track_caller]
fn assert_arrived(data: &Data, keys: &[&str]) {
    for key in keys {
        let source = &data.source()[key.as_bytes()];
        let there = data.arrived(key).unwrap_or_else(|| panic!("{key:?} has not arrived"));
        assert!(there.data == source.data, "{key:?} has other bytes");
        for (name, _) in &source.headers {
            if KEPT.contains(&name.as_str()) || name.starts_with("x-amz-meta-") {
                assert_eq!(there.value(name), source.value(name), "{key:?} {name}");
            }
        }
    }
}

async fn serve<S>(mut incoming: Incoming<S>, data: Arc<Mutex<Data>>, hooks: Arc<Mutex<Hooks>>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Ok(Some(mut request)) = incoming.request().await {
        let answer = {
            let (mut hooks, mut data) = (hooks.lock().unwrap(), data.lock().unwrap());
            let logged = request.clone();
            let own = hooks.answers.iter_mut().find_map(|hook| hook(&mut request, &mut data));
            let answer = own.unwrap_or_else(|| {
                let mut answer = data.answer(&request);
                hooks.edits.iter_mut().for_each(|hook| hook(&request, &mut answer, &mut data));
                answer
            });
            data.log.push((Request { body: Vec::new(), ..logged }, answer.status));
            answer
        };
        match answer.write(&request.method, incoming.stream()).await {
            Ok(true) => {}
            Ok(false) | Err(_) => return,
        }
    }
}

pub fn md5(data: &[u8]) -> String {
    hex::encode(Md5::digest(data))
}

/// The ETag that S3 gives to an upload in these parts.
pub fn etag_in_parts(parts: &[Vec<u8>]) -> String {
    let digests: Vec<u8> = parts.iter().flat_map(|part| Md5::digest(part).to_vec()).collect();
    format!("\"{}-{}\"", md5(&digests), parts.len())
}
