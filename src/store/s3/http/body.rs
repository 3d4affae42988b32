//! Outgoing and incoming bodies.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest};
use futures_util::{Stream, StreamExt};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use super::super::convert::crc64nvme_text;
use super::pool::{Line, Pool};
use super::sign::Chunks;
use crate::error::{Error, Result};
use crate::store::Body;

/// Bytes in memory are passed on in slices of this size, so that one write to the socket does not
/// take all of a large part.
const SLICE: usize = 256 * 1024;

/// The trailer's name.
pub(super) const CRC64NVME: &str = "x-amz-checksum-crc64nvme";

/// Bytes of a signed chunk; all but the last need at least 8 KiB.
const CHUNK: u64 = 64 * 1024;

/// A request's body, whose length is known before it is sent.
pub(super) struct Outgoing {
    source: Source,
    framing: Option<Box<Framing>>,
    signing: Option<Box<Signing>>,
    /// Bytes on the wire.
    length: u64,
}

enum Source {
    Held(Bytes),
    Streamed(Body),
}

/// The form `aws-chunked` with one chunk and a checksum after it
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>).
struct Framing {
    head: Bytes,
    digest: Digest,
    /// There is a chunk, and it ends with a line break.
    any: bool,
    ended: bool,
}

impl Framing {
    fn new(length: u64) -> Self {
        let head = if length == 0 { String::new() } else { format!("{length:x}\r\n") };
        let digest = Digest::new(CrcAlgorithm::Crc64Nvme);
        Self { head: head.into(), digest, any: length > 0, ended: false }
    }

    fn tail(&self) -> Bytes {
        let line_break = if self.any { "\r\n" } else { "" };
        let crc = crc64nvme_text(self.digest.finalize());
        format!("{line_break}0\r\n{CRC64NVME}:{crc}\r\n\r\n").into()
    }
}

/// The form `aws-chunked` with a signature before each chunk.
struct Signing {
    /// `None` until the request itself has been signed.
    chunks: Option<Chunks>,
    gathered: BytesMut,
    ended: bool,
}

impl Signing {
    /// The bytes that a chunk of `bytes` has before and after it.
    fn around(bytes: u64) -> u64 {
        let hex = format!("{bytes:x}").len() as u64;
        hex + ";chunk-signature=".len() as u64 + 64 + 4
    }

    /// Bytes on the wire for a body of `length`.
    fn length(length: u64) -> u64 {
        let (whole, rest) = (length / CHUNK, length % CHUNK);
        let last = if rest > 0 { Self::around(rest) } else { 0 };
        length + whole * Self::around(CHUNK) + last + Self::around(0)
    }

    fn chunk(&mut self, bytes: Bytes) -> Result<Bytes> {
        let unsigned = || Error::invalid("a body in signed chunks has no signature");
        let signature = self.chunks.as_mut().ok_or_else(unsigned)?.sign(&bytes);
        let mut framed = BytesMut::with_capacity(bytes.len() + Self::around(CHUNK) as usize);
        framed.extend_from_slice(
            format!("{:x};chunk-signature={signature}\r\n", bytes.len()).as_bytes(),
        );
        framed.extend_from_slice(&bytes);
        framed.extend_from_slice(b"\r\n");
        Ok(framed.freeze())
    }
}

impl Outgoing {
    pub(super) fn held(bytes: Bytes) -> Self {
        let length = bytes.len() as u64;
        Self { length, source: Source::Held(bytes), framing: None, signing: None }
    }

    /// A body whose chunks are signed: see [`Self::sign_chunks`].
    pub(super) fn in_chunks(body: Body) -> Self {
        let signing = Signing { chunks: None, gathered: BytesMut::new(), ended: false };
        let length = Signing::length(body.length());
        Self {
            source: Source::Streamed(body),
            framing: None,
            signing: Some(Box::new(signing)),
            length,
        }
    }

    /// Sets the signer of the chunks, if the body is sent in signed chunks.
    pub(super) fn sign_chunks(&mut self, chunks: impl FnOnce() -> Chunks) {
        if let Some(signing) = &mut self.signing {
            signing.chunks = Some(chunks());
        }
    }

    /// The held bytes; empty for a stream.
    pub(super) fn bytes(&self) -> Bytes {
        match &self.source {
            Source::Held(bytes) => bytes.clone(),
            Source::Streamed(_) => Bytes::new(),
        }
    }

    /// The same body again, if it is held.
    pub(super) fn again(&self) -> Option<Self> {
        match &self.source {
            Source::Held(bytes) => Some(Self::held(bytes.clone())),
            Source::Streamed(_) => None,
        }
    }

    pub(super) fn streamed(body: Body, trailer: bool) -> Self {
        let framing = trailer.then(|| Box::new(Framing::new(body.length())));
        // A checksum's text has the same length for every value.
        let around = framing.as_ref().map_or(0, |f| f.head.len() + f.tail().len());
        let length = body.length() + around as u64;
        Self { source: Source::Streamed(body), framing, signing: None, length }
    }

    /// Bytes on the wire.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        match self.signing.is_some() {
            true => self.next_signed(context),
            false => self.next_plain(context),
        }
    }

    /// A whole chunk with its signature; the last one is empty.
    fn next_signed(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        loop {
            let Some(signing) = &mut self.signing else { return Poll::Ready(None) };
            if signing.gathered.len() as u64 >= CHUNK {
                let chunk = signing.gathered.split_to(CHUNK as usize).freeze();
                return Poll::Ready(Some(signing.chunk(chunk)));
            }
            if signing.ended {
                return Poll::Ready(None);
            }
            match ready!(self.next_plain(context)?) {
                Some(bytes) => self.gather(&bytes),
                None => return Poll::Ready(self.last_chunks()),
            }
        }
    }

    fn gather(&mut self, bytes: &Bytes) {
        if let Some(signing) = &mut self.signing {
            signing.gathered.extend_from_slice(bytes);
        }
    }

    fn last_chunks(&mut self) -> Option<Result<Bytes>> {
        let signing = self.signing.as_mut()?;
        signing.ended = true;
        self.source = Source::Held(Bytes::new());
        let rest = signing.gathered.split().freeze();
        let rest = (!rest.is_empty()).then_some(rest);
        let last = rest.into_iter().chain([Bytes::new()]).map(|chunk| signing.chunk(chunk));
        let last: Result<Vec<_>> = last.collect();
        Some(last.map(|chunks| chunks.concat().into()))
    }

    fn next_plain(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if let Some(framing) = self.framing.as_mut().filter(|framing| !framing.head.is_empty()) {
            return Poll::Ready(Some(Ok(std::mem::take(&mut framing.head))));
        }
        let chunk = match &mut self.source {
            Source::Held(bytes) if bytes.is_empty() => None,
            Source::Held(bytes) => Some(bytes.split_to(SLICE.min(bytes.len()))),
            Source::Streamed(body) => ready!(body.poll_next_unpin(context)).transpose()?,
        };
        Poll::Ready(match (chunk, &mut self.framing) {
            (Some(chunk), Some(framing)) => {
                framing.digest.update(&chunk);
                Some(Ok(chunk))
            }
            (None, Some(framing)) if !framing.ended => {
                framing.ended = true;
                self.source = Source::Held(Bytes::new());
                Some(Ok(framing.tail()))
            }
            (chunk, _) => chunk.map(Ok),
        })
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        self.get_mut().next(context).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        // Only what is held has no framing around it.
        let is_plain = self.framing.is_none() && self.signing.is_none();
        is_plain && matches!(&self.source, Source::Held(bytes) if bytes.is_empty())
    }

    /// Asked for once, before the first byte.
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

/// An answer's body, and the connection that it arrives on.
pub(super) struct Arriving {
    body: Incoming,
    line: Option<Line>,
    pool: Arc<Pool>,
}

impl Arriving {
    pub(super) fn new(body: Incoming, line: Line, pool: Arc<Pool>) -> Self {
        Self { body, line: Some(line), pool }
    }

    /// All of it, up to about `most` bytes.
    pub(super) async fn collect(mut self, most: usize) -> hyper::Result<Bytes> {
        let mut all = BytesMut::new();
        while let Some(chunk) = std::future::poll_fn(|context| self.poll_chunk(context)).await {
            all.extend_from_slice(&chunk?);
            if all.len() >= most {
                break;
            }
        }
        Ok(all.freeze())
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<hyper::Result<Bytes>>> {
        loop {
            let frame = match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Pending => match &mut self.line {
                    Some(line) => {
                        line.drive(context);
                        ready!(Pin::new(&mut self.body).poll_frame(context))
                    }
                    None => return Poll::Pending,
                },
                Poll::Ready(frame) => frame,
            };
            let ended = self.body.is_end_stream();
            match frame {
                Some(Err(error)) => {
                    self.line = None;
                    return Poll::Ready(Some(Err(error)));
                }
                // Returned with the last bytes: not every reader polls for the end after them.
                _ if ended => self.let_go(context),
                _ => {}
            }
            match frame.map(|frame| frame.map(Frame::into_data)).transpose() {
                Ok(None) => {
                    self.let_go(context);
                    return Poll::Ready(None);
                }
                Ok(Some(Ok(bytes))) if bytes.is_empty() => {}
                Ok(Some(Ok(bytes))) => return Poll::Ready(Some(Ok(bytes))),
                Ok(Some(Err(_trailers))) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    fn let_go(&mut self, context: &mut Context<'_>) {
        if let Some(line) = self.line.take() {
            self.pool.put_back(line, context);
        }
    }
}

impl Stream for Arriving {
    type Item = hyper::Result<Bytes>;

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Bytes>>> {
        self.get_mut().poll_chunk(context)
    }
}
