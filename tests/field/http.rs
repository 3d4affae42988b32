//! HTTP/1.1 as far as the product speaks it, by hand: an answer may lack its length, have header bytes
//! of any kind, or not come at all.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};

use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A request, its body read to the end.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: String,
    /// The request target as it came: a path and a query, or a whole URL if a proxy is asked.
    pub target: String,
    pub bucket: String,
    /// Decoded; any bytes.
    pub key: Vec<u8>,
    /// Every parameter, decoded; those without a value as "".
    pub query: BTreeMap<String, String>,
    /// In lower case, with their values' bytes.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Without the frames of `aws-chunked`.
    pub body: Vec<u8>,
}

impl Request {
    /// A header's value, "" without one.
    pub fn header(&self, name: &str) -> String {
        let value = self.headers.iter().find(|(has, _)| has == name).map(|(_, value)| value);
        value.map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    }

    pub fn key(&self) -> String {
        String::from_utf8_lossy(&self.key).into_owned()
    }

    pub fn asks(&self, parameter: &str) -> bool {
        self.query.contains_key(parameter)
    }

    /// A page of the bucket's keys is asked for.
    pub fn is_listing(&self) -> bool {
        let other = ["uploads", "versioning", "location", "versions", "policyStatus"];
        let plain = !other.iter().any(|other| self.asks(other));
        self.method == "GET" && !self.bucket.is_empty() && self.key.is_empty() && plain
    }

    /// A whole object, a part, or the beginning of an upload comes to `to-there`.
    pub fn writes(&self) -> bool {
        let begins = self.method == "POST" && self.asks("uploads");
        self.bucket == super::stage::TO && (self.method == "PUT" || begins)
    }

    /// Bytes of an object of `from-here` are asked for.
    pub fn reads(&self) -> bool {
        let object = self.bucket == super::stage::FROM && !self.key.is_empty();
        self.method == "GET" && object && !self.asks("tagging") && !self.asks("attributes")
    }

    pub fn is_part(&self) -> bool {
        self.method == "PUT" && self.asks("partNumber")
    }

    pub fn is_completion(&self) -> bool {
        self.method == "POST" && self.asks("uploadId")
    }
}

/// What is answered.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// 0: the connection ends without an answer.
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    pub length: Length,
}

/// What the answer says of its body's length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Length {
    /// What it is.
    #[default]
    True,
    /// There is no such header; the connection ends after the body.
    Unsaid,
    /// No such header either: the body is `Transfer-Encoding: chunked`.
    Chunked,
    /// This, whatever the body is.
    Claimed(u64),
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, body: body.into(), ..Self::default() }
    }

    /// The connection ends.
    pub fn dropped() -> Self {
        Self::default()
    }

    /// Adds or replaces a header.
    pub fn with(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.set(name, value);
        self
    }

    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.remove(name);
        self.headers.push((name.to_owned(), value.into()));
    }

    pub fn remove(&mut self, name: &str) {
        self.headers.retain(|(has, _)| !has.eq_ignore_ascii_case(name));
    }

    /// An XML document.
    pub fn xml(root: &str, inner: &[u8]) -> Self {
        let mut body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root}>").into_bytes();
        body.extend_from_slice(inner);
        body.extend_from_slice(format!("</{root}>").as_bytes());
        Self::new(200, body).with("Content-Type", "application/xml")
    }

    /// An S3 error.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let inner = format!("<Code>{code}</Code><Message>{}</Message>", escape(message));
        Self { status, ..Self::xml("Error", inner.as_bytes()) }
    }

    /// Writes the answer to a request of this method; whether the connection goes on.
    pub async fn write(
        &self,
        method: &str,
        stream: &mut (impl AsyncWrite + Unpin),
    ) -> Result<bool> {
        if self.status == 0 {
            return Ok(false);
        }
        let mut out = format!("HTTP/1.1 {} X\r\n", self.status).into_bytes();
        let mut header = |name: &str, value: &[u8]| {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        };
        self.headers.iter().for_each(|(name, value)| header(name, value));
        let has_body = method != "HEAD" && self.status != 204 && self.status != 304;
        let body: &[u8] = if has_body { &self.body } else { &[] };
        match self.length {
            Length::True => header("Content-Length", self.body.len().to_string().as_bytes()),
            Length::Claimed(length) => header("Content-Length", length.to_string().as_bytes()),
            Length::Chunked if has_body => header("Transfer-Encoding", b"chunked"),
            Length::Unsaid if has_body => header("Connection", b"close"),
            Length::Chunked | Length::Unsaid => {}
        }
        out.extend_from_slice(b"\r\n");
        match self.length {
            Length::Chunked if has_body => {
                if !body.is_empty() {
                    out.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
                    out.extend_from_slice(body);
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(b"0\r\n\r\n");
            }
            _ => out.extend_from_slice(body),
        }
        stream.write_all(&out).await?;
        stream.flush().await?;
        let is_whole = match self.length {
            Length::Claimed(length) => length == body.len() as u64 || !has_body,
            Length::Unsaid => !has_body,
            Length::True | Length::Chunked => true,
        };
        Ok(is_whole)
    }
}

/// A connection that is being read.
pub struct Incoming<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Incoming<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The next request; `None` if the other side has closed.
    pub async fn request(&mut self) -> Result<Option<Request>> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            if self.fill().await? == 0 {
                return Ok(None);
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let mut request = parse(&head[..end])?;
        if request.header("expect").eq_ignore_ascii_case("100-continue") {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let body = match request.header("transfer-encoding").contains("chunked") {
            true => self.chunked().await?,
            false => self.take(request.header("content-length").parse().unwrap_or(0)).await?,
        };
        request.body = match request.header("x-amz-content-sha256").starts_with("STREAMING-") {
            true => unframed(&body)?,
            false => body,
        };
        Ok(Some(request))
    }

    async fn fill(&mut self) -> Result<usize> {
        let mut piece = vec![0; 64 * 1024];
        let len = self.stream.read(&mut piece).await?;
        self.buffer.extend_from_slice(&piece[..len]);
        Ok(len)
    }

    async fn take(&mut self, len: usize) -> Result<Vec<u8>> {
        while self.buffer.len() < len {
            if self.fill().await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.drain(..len).collect())
    }

    async fn line(&mut self) -> Result<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if self.fill().await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn chunked(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(Error::other)?;
            body.extend(self.take(size).await?);
            self.line().await?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
}

/// The bytes in `aws-chunked` frames: `SIZE[;chunk-signature=...]\r\nDATA\r\n`, trailers after the last
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>).
fn unframed(mut framed: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let at = framed.windows(2).position(|two| two == b"\r\n");
        let Some(at) = at else { return Ok(body) };
        let head = String::from_utf8_lossy(&framed[..at]).into_owned();
        let size = head.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(Error::other)?;
        framed = &framed[at + 2..];
        if size == 0 || framed.len() < size + 2 {
            return Ok(body);
        }
        body.extend_from_slice(&framed[..size]);
        framed = &framed[size + 2..];
    }
}

fn parse(head: &[u8]) -> Result<Request> {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end());
    let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let mut words = first.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().ok_or(ErrorKind::InvalidData)?.to_owned();
    let headers = lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
        Some((name, line[colon + 1..].trim_ascii().to_vec()))
    });
    let headers = headers.collect();
    let path = match target.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => target.strip_prefix('/').unwrap_or(&target),
    };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let decoded = |text: &str| {
        let blank = text.replace('+', " ");
        percent_decode_str(&blank).decode_utf8_lossy().into_owned()
    };
    let query = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    });
    Ok(Request {
        method,
        bucket: bucket.to_owned(),
        key: percent_decode_str(key).collect(),
        query: query.collect(),
        headers,
        body: Vec::new(),
        target,
    })
}

/// A text as it stands in XML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
