//! Two S3 endpoints that cost next to nothing: a synthetic source and a sink that discards.
//!
//! They run in a separate process, so that its CPU time is counted apart. They do not verify
//! signatures, but they do compare bodies with the expected bytes: a benchmark of wrong bytes is
//! worth nothing.

mod call;
mod chunked;
mod content;
mod shaped;

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use call::{Call, range_of};
use chunked::Unframed;
use content::{Arrival, Content, etag_of_parts};
use shaped::Shaped;

/// The bucket with the synthetic objects.
pub const SOURCE: &str = "bench-source";
/// The bucket that discards what is written.
pub const SINK: &str = "bench-sink";
/// The part size from which the ETags of large source objects follow.
const SOURCE_PART: u64 = 16 * 1024 * 1024;
/// Source objects above this size have the ETag of a multipart upload.
const SOURCE_SINGLE: u64 = 64 * 1024 * 1024;
/// Bytes per write to the connection.
const PIECE: u64 = 256 * 1024;
const PAGE: usize = 1000;
const DATE: &str = "Wed, 01 Jan 2025 00:00:00 GMT";
const DATE_ISO: &str = "2025-01-01T00:00:00.000Z";

/// What to serve, and over which line.
#[derive(Clone, Copy, Debug)]
pub struct Serve {
    /// Objects in the source.
    pub objects: u64,
    /// The size of each, in bytes.
    pub size: u64,
    /// The delay of each answer and of each new connection.
    pub latency: Duration,
    /// The rate of each connection in each direction, in bytes a second.
    pub rate: Option<u64>,
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

struct Null {
    serve: Serve,
    content: Content,
    sunk: Mutex<Sunk>,
    /// Requests by operation.
    counts: Mutex<BTreeMap<String, u64>>,
    /// Bytes of the bodies that were sent to the sink.
    received: AtomicU64,
}

/// Size and MD5 by part number.
type Parts = BTreeMap<u32, (u64, [u8; 16])>;

#[derive(Default)]
struct Sunk {
    /// Size and ETag by key.
    objects: BTreeMap<String, (u64, String)>,
    /// Key and parts by upload id.
    uploads: HashMap<String, (String, Parts)>,
    begun: u64,
}

/// Serves both endpoints on free loopback ports, which it prints, and ends when stdin does.
pub fn serve(serve: Serve) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async move {
        let null = Arc::new(Null {
            serve,
            content: Content::new(),
            sunk: Mutex::default(),
            counts: Mutex::default(),
            received: AtomicU64::default(),
        });
        for _ in 0..2 {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            println!("{}", listener.local_addr().expect("its port"));
            tokio::spawn(accept(listener, Arc::clone(&null)));
        }
        std::io::stdout().flush().expect("stdout");
        let end = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = tokio::task::spawn_blocking(end).await;
    });
}

async fn accept(listener: TcpListener, null: Arc<Null>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let null = Arc::clone(&null);
        tokio::spawn(async move {
            tokio::time::sleep(null.serve.latency).await;
            let _ = stream.set_nodelay(true);
            let stream = TokioIo::new(Shaped::new(stream, null.serve.rate));
            let answer = service_fn(move |request| {
                let null = Arc::clone(&null);
                async move { Ok::<_, Infallible>(null.answer(request).await) }
            });
            // Ignored: the client may close its connection.
            let _ = http1::Builder::new().serve_connection(stream, answer).await;
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Null {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let call = Call::read(&request);
        if call.bucket == "_counts" {
            return text(StatusCode::OK, serde_json::json!(*lock(&self.counts)).to_string());
        }
        if call.bucket == "_received" {
            return text(StatusCode::OK, self.received.load(Ordering::Relaxed).to_string());
        }
        let operation = call.operation();
        *lock(&self.counts).entry(operation.to_owned()).or_default() += 1;
        let answer = match operation {
            "UploadPart" | "PutObject" => self.store(operation, &call, request.into_body()).await,
            _ => {
                // The body is discarded, but must be read so that the connection can be used again.
                let _ = request.into_body().collect().await;
                self.without_body(operation, &call)
            }
        };
        tokio::time::sleep(self.serve.latency).await;
        answer
    }

    fn without_body(&self, operation: &str, call: &Call) -> Response<Body> {
        match (operation, call.bucket.as_str()) {
            ("GetObject" | "HeadObject", SOURCE) => self.read_source(call),
            ("HeadObject" | "GetObject", SINK) => match lock(&self.sunk).objects.get(&call.key) {
                Some((size, etag)) => head(Response::builder().header(CONTENT_LENGTH, *size), etag),
                None => error(StatusCode::NOT_FOUND, "NoSuchKey"),
            },
            ("ListObjectsV2", SOURCE) => self.list_source(call),
            ("ListObjectsV2", SINK) => self.list_sink(call),
            ("HeadBucket", _) => text(StatusCode::OK, ""),
            ("GetBucketLocation", _) => xml("<LocationConstraint></LocationConstraint>"),
            ("GetObjectTagging", _) => xml("<Tagging><TagSet></TagSet></Tagging>"),
            ("ListMultipartUploads", _) => {
                xml("<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>\
                 </ListMultipartUploadsResult>")
            }
            ("CreateMultipartUpload", SINK) => self.begin(call),
            ("ListParts", SINK) => self.list_parts(call),
            ("CompleteMultipartUpload", SINK) => self.complete(call),
            ("AbortMultipartUpload", SINK) => {
                lock(&self.sunk).uploads.remove(call.value("uploadId"));
                text(StatusCode::NO_CONTENT, "")
            }
            _ => error(StatusCode::NOT_IMPLEMENTED, "NotImplemented"),
        }
    }

    fn source_etag(&self, number: u64) -> String {
        let size = self.serve.size;
        let part = (size > SOURCE_SINGLE).then_some(SOURCE_PART);
        self.content.etag(Content::start_of(number, size), size, part)
    }

    fn read_source(&self, call: &Call) -> Response<Body> {
        let size = self.serve.size;
        let number = number_of(&call.key).filter(|number| *number < self.serve.objects);
        let Some(number) = number else { return error(StatusCode::NOT_FOUND, "NoSuchKey") };
        let etag = self.source_etag(number);
        if call.header("if-match").is_some_and(|wanted| wanted.trim_matches('"') != etag) {
            return error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
        }
        let parts = if size > SOURCE_SINGLE { size.div_ceil(SOURCE_PART) } else { 1 };
        let by_part = call.value("partNumber").parse::<u64>().ok();
        let range = match (by_part, call.header("range").and_then(|text| range_of(text, size))) {
            (Some(part), _) if part > 0 && part <= parts => {
                let of_part = if parts > 1 { SOURCE_PART } else { size };
                Some(((part - 1) * of_part, of_part.min(size - (part - 1) * of_part)))
            }
            (_, range) => range,
        };
        let (first, length) = range.unwrap_or((0, size));
        let mut answer = Response::builder().header(CONTENT_LENGTH, length);
        if range.is_some() {
            let last = (first + length).saturating_sub(1);
            answer = answer
                .status(StatusCode::PARTIAL_CONTENT)
                .header("content-range", format!("bytes {first}-{last}/{size}"));
        }
        if by_part.is_some() && parts > 1 {
            answer = answer.header("x-amz-mp-parts-count", parts);
        }
        if call.method == Method::HEAD {
            return head(answer, &etag);
        }
        let start = Content::start_of(number, size) + first;
        let pieces = self.content.pieces(start, length, PIECE);
        let body = StreamBody::new(stream::iter(pieces.map(|piece| Ok(Frame::data(piece)))));
        head(answer, &etag).map(|_| body.boxed_unsync())
    }

    fn list_source(&self, call: &Call) -> Response<Body> {
        let first = call.after().map_or(0, |after| self.first_behind(&after));
        let page = (first..self.serve.objects).map(key_of);
        let object = |key: String| {
            let etag = self.source_etag(number_of(&key).unwrap_or_default());
            (key, self.serve.size, etag)
        };
        listing(call, page.map(object))
    }

    /// The number of the first object whose key comes after this text, which need not be a key. Keys
    /// are in the order of their numbers.
    fn first_behind(&self, after: &str) -> u64 {
        let (mut from, mut to) = (0, self.serve.objects);
        while from < to {
            let middle = from + (to - from) / 2;
            match key_of(middle).as_str() <= after {
                true => from = middle + 1,
                false => to = middle,
            }
        }
        from
    }

    fn list_sink(&self, call: &Call) -> Response<Body> {
        let sunk = lock(&self.sunk);
        let from = match call.after() {
            Some(key) => std::ops::Bound::Excluded(key),
            None => std::ops::Bound::Unbounded,
        };
        let page = sunk.objects.range((from, std::ops::Bound::Unbounded));
        listing(call, page.map(|(key, (size, etag))| (key.clone(), *size, etag.clone())))
    }

    /// Handles PutObject and UploadPart.
    async fn store(&self, operation: &str, call: &Call, mut body: Incoming) -> Response<Body> {
        let mut arrival = Arrival::new(&self.content);
        let mut framing = chunked::is_framed(&call.headers).then(Unframed::default);
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return error(StatusCode::BAD_REQUEST, "IncompleteBody") };
            let Some(data) = frame.data_ref() else { continue };
            self.received.fetch_add(data.len() as u64, Ordering::Relaxed);
            match &mut framing {
                Some(framing) => framing.take(data, |bytes| arrival.take(bytes)),
                None => arrival.take(data),
            }
        }
        let length = arrival.length();
        let Some(md5) = arrival.md5() else {
            return error(StatusCode::BAD_REQUEST, "BadDigest");
        };
        let wanted = call.header("content-md5");
        if wanted.is_some_and(|wanted| wanted != chunked::base64(&md5)) {
            return error(StatusCode::BAD_REQUEST, "BadDigest");
        }
        let etag = hex::encode(md5);
        let mut sunk = lock(&self.sunk);
        if operation == "PutObject" {
            sunk.objects.insert(call.key.clone(), (length, etag.clone()));
        } else {
            let Some((_, parts)) = sunk.uploads.get_mut(call.value("uploadId")) else {
                return error(StatusCode::NOT_FOUND, "NoSuchUpload");
            };
            parts.insert(call.value("partNumber").parse().unwrap_or_default(), (length, md5));
        }
        drop(sunk);
        let mut answer = head(Response::builder(), &etag);
        let trailer = framing.map(|framing| framing.checksums()).unwrap_or_default();
        answer.headers_mut().extend(chunked::checksums(&call.headers).chain(trailer));
        answer
    }

    fn begin(&self, call: &Call) -> Response<Body> {
        let mut sunk = lock(&self.sunk);
        sunk.begun += 1;
        let id = format!("upload-{}", sunk.begun);
        sunk.uploads.insert(id.clone(), (call.key.clone(), BTreeMap::new()));
        xml(&format!(
            "<InitiateMultipartUploadResult><Bucket>{SINK}</Bucket><Key>{}</Key>\
             <UploadId>{id}</UploadId></InitiateMultipartUploadResult>",
            call.key
        ))
    }

    fn list_parts(&self, call: &Call) -> Response<Body> {
        let sunk = lock(&self.sunk);
        let Some((_, parts)) = sunk.uploads.get(call.value("uploadId")) else {
            return error(StatusCode::NOT_FOUND, "NoSuchUpload");
        };
        let marker: u32 = call.value("part-number-marker").parse().unwrap_or_default();
        let page: Vec<_> = parts.range(marker + 1..).take(PAGE).collect();
        let last = page.last().map_or(marker, |(number, _)| **number);
        let more = parts.range(last + 1..).next().is_some();
        let list: String = page
            .iter()
            .map(|(number, (size, md5))| {
                format!(
                    "<Part><PartNumber>{number}</PartNumber><Size>{size}</Size>\
                     <ETag>&quot;{}&quot;</ETag><LastModified>{DATE_ISO}</LastModified></Part>",
                    hex::encode(md5)
                )
            })
            .collect();
        xml(&format!(
            "<ListPartsResult><IsTruncated>{more}</IsTruncated>\
             <NextPartNumberMarker>{last}</NextPartNumberMarker>{list}</ListPartsResult>"
        ))
    }

    fn complete(&self, call: &Call) -> Response<Body> {
        let mut sunk = lock(&self.sunk);
        let Some((key, parts)) = sunk.uploads.remove(call.value("uploadId")) else {
            return error(StatusCode::NOT_FOUND, "NoSuchUpload");
        };
        let size = parts.values().map(|(size, _)| size).sum();
        let etag = etag_of_parts(parts.values().map(|(_, md5)| *md5));
        let answer = xml(&format!(
            "<CompleteMultipartUploadResult><Bucket>{SINK}</Bucket><Key>{key}</Key>\
             <ETag>&quot;{etag}&quot;</ETag></CompleteMultipartUploadResult>"
        ));
        sunk.objects.insert(key, (size, etag));
        answer
    }
}

fn key_of(number: u64) -> String {
    format!("object-{number:07}")
}

fn number_of(key: &str) -> Option<u64> {
    key.strip_prefix("object-")?.parse().ok()
}

fn listing(call: &Call, objects: impl Iterator<Item = (String, u64, String)>) -> Response<Body> {
    let prefix = call.value("prefix").to_owned();
    let page = call.value("max-keys").parse().unwrap_or(PAGE).min(PAGE);
    let mut objects = objects.filter(|(key, ..)| key.starts_with(&prefix)).peekable();
    let mut list = String::new();
    let (mut count, mut last) = (0, String::new());
    while count < page
        && let Some((key, size, etag)) = objects.next()
    {
        list.push_str(&format!(
            "<Contents><Key>{key}</Key><LastModified>{DATE_ISO}</LastModified>\
             <ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size>\
             <StorageClass>STANDARD</StorageClass></Contents>"
        ));
        (count, last) = (count + 1, key);
    }
    let more = objects.peek().is_some();
    let next = match more {
        true => format!("<NextContinuationToken>{last}</NextContinuationToken>"),
        false => String::new(),
    };
    xml(&format!(
        "<ListBucketResult><Name>{}</Name><Prefix>{prefix}</Prefix><KeyCount>{count}</KeyCount>\
         <MaxKeys>{page}</MaxKeys><IsTruncated>{more}</IsTruncated>{next}{list}</ListBucketResult>",
        call.bucket
    ))
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut answer = Response::new(Full::new(body.into()).boxed_unsync());
    *answer.status_mut() = status;
    answer
}

fn xml(body: &str) -> Response<Body> {
    let declared = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}");
    let mut answer = text(StatusCode::OK, declared);
    let kind = HeaderValue::from_static("application/xml");
    answer.headers_mut().insert("content-type", kind);
    answer
}

fn error(status: StatusCode, code: &str) -> Response<Body> {
    let mut answer = xml(&format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>"));
    *answer.status_mut() = status;
    answer
}

/// An answer with the headers that S3 sends for every object.
fn head(answer: hyper::http::response::Builder, etag: &str) -> Response<Body> {
    answer
        .header("etag", format!("\"{etag}\""))
        .header("last-modified", DATE)
        .header("content-type", "application/octet-stream")
        .header("accept-ranges", "bytes")
        .body(Full::default().boxed_unsync())
        .expect("these headers are valid")
}
