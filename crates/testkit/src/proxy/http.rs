//! HTTP/1.1 on the wire: heads unchanged, bodies in pieces that know which of their bytes are data.
//! Nothing is reassembled, so the server gets exactly what the client sent, including the Host
//! header and the signature.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// The longest head or line that occurs.
const LONGEST_HEAD: usize = 256 * 1024;
/// Bytes per read.
const READ: usize = 64 * 1024;

/// One side of a connection.
pub struct Wire {
    /// Incoming bytes.
    pub input: Input,
    /// Outgoing bytes.
    pub output: OwnedWriteHalf,
}

/// Incoming bytes, with those that are not used yet.
pub struct Input {
    stream: OwnedReadHalf,
    buffer: BytesMut,
}

impl Wire {
    /// Sends small pieces without delay.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let (stream, output) = stream.into_split();
        Ok(Self { input: Input { stream, buffer: BytesMut::new() }, output })
    }

    /// Resets the connection: undelivered bytes are lost.
    pub fn reset(self) {
        if let Ok(stream) = self.input.stream.reunite(self.output) {
            // If this fails, the reset is a close, which is a fault too.
            let _ = stream.set_zero_linger();
        }
    }
}

impl Input {
    /// Reads more; `false` at the end of the stream.
    async fn more(&mut self) -> io::Result<bool> {
        self.buffer.reserve(READ);
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }

    /// The next head, including the empty line after it; `None` if the stream ends first.
    pub async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                return Head::parse(self.buffer.split_to(at + 4).freeze()).map(Some);
            }
            if self.buffer.len() > LONGEST_HEAD {
                return Err(malformed("a head without an end"));
            }
            if !self.more().await? {
                return Ok(None);
            }
        }
    }

    /// The next `length` bytes, without consuming them.
    pub async fn peek(&mut self, length: usize) -> io::Result<Bytes> {
        while self.buffer.len() < length {
            if !self.more().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(Bytes::copy_from_slice(&self.buffer[..length]))
    }

    /// Whether the other side has closed the connection or sent unexpected bytes.
    pub fn is_over(&mut self) -> bool {
        let mut probe = [0];
        let nothing = self.stream.try_read(&mut probe);
        !matches!(nothing, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Waits until the other side closes the connection; discards what it sends until then.
    pub async fn closed(&mut self) {
        while matches!(self.more().await, Ok(true)) {
            self.buffer.clear();
        }
    }

    async fn line(&mut self) -> io::Result<Bytes> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                return Ok(self.buffer.split_to(at + 2).freeze());
            }
            if self.buffer.len() > LONGEST_HEAD || !self.more().await? {
                return Err(malformed("a line without an end"));
            }
        }
    }

    /// Between one and `most` bytes.
    async fn some(&mut self, most: u64) -> io::Result<Option<Bytes>> {
        if self.buffer.is_empty() && !self.more().await? {
            return Ok(None);
        }
        let length = self.buffer.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

/// The head of a request or an answer.
#[derive(Clone, Debug)]
pub struct Head {
    text: String,
}

impl Head {
    fn parse(bytes: Bytes) -> io::Result<Self> {
        let text =
            String::from_utf8(bytes.to_vec()).map_err(|_| malformed("a head in no UTF-8"))?;
        Ok(Self { text })
    }

    /// Unchanged.
    pub fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// Word number `at` of the first line.
    pub fn word(&self, at: usize) -> &str {
        self.text.lines().next().and_then(|line| line.split(' ').nth(at)).unwrap_or_default()
    }

    /// The status of an answer.
    pub fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or_default()
    }

    /// The value of the first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.text.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// Whether a header contains this word.
    pub fn has(&self, name: &str, word: &str) -> bool {
        self.header(name).is_some_and(|value| value.to_ascii_lowercase().contains(word))
    }

    /// The announced length.
    pub fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    /// The same head with another body length.
    pub fn with_content_length(&self, length: u64) -> Self {
        let line = |line: &str| match line.split_once(':') {
            Some((name, _)) if name.eq_ignore_ascii_case("content-length") => {
                format!("{name}: {length}\r\n")
            }
            _ => format!("{line}\r\n"),
        };
        Self { text: self.text.lines().map(line).collect() }
    }

    /// The same head for a body of this length, whatever its framing was.
    pub fn with_body_of(&self, length: u64) -> Self {
        let framing = |line: &&str| {
            let name = line.split(':').next().unwrap_or_default();
            !["content-length", "transfer-encoding"].iter().any(|of| name.eq_ignore_ascii_case(of))
        };
        let lines = self.text.lines().filter(|line| !line.is_empty()).filter(framing);
        let mut text: String = lines.map(|line| format!("{line}\r\n")).collect();
        text += &format!("content-length: {length}\r\n\r\n");
        Self { text }
    }

    /// The body of a request with this head.
    pub fn request_body(&self) -> Body {
        match self.has("transfer-encoding", "chunked") {
            true => Body::chunked(),
            false => Body::of(self.content_length().unwrap_or(0)),
        }
    }

    /// The body of an answer with this head, to a request with `method`.
    pub fn answer_body(&self, method: &str) -> Body {
        let none = method == "HEAD" || matches!(self.status(), 100..=199 | 204 | 304);
        match (none, self.content_length()) {
            (true, _) => Body::of(0),
            _ if self.has("transfer-encoding", "chunked") => Body::chunked(),
            (_, Some(length)) => Body::of(length),
            (_, None) => Body { rest: Rest::UntilClose },
        }
    }
}

/// A body that is being read.
#[derive(Debug)]
pub struct Body {
    rest: Rest,
}

#[derive(Debug)]
enum Rest {
    Data(u64),
    UntilClose,
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    Over,
}

/// The next bytes of a body.
#[derive(Debug)]
pub struct Piece {
    /// As they are on the wire.
    pub bytes: Bytes,
    /// The body's own bytes, without framing.
    pub is_data: bool,
}

impl Body {
    fn of(length: u64) -> Self {
        Self { rest: if length == 0 { Rest::Over } else { Rest::Data(length) } }
    }

    fn chunked() -> Self {
        Self { rest: Rest::ChunkSize }
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        matches!(self.rest, Rest::Over)
    }

    /// Whether it ends with the connection.
    pub fn ends_with_connection(&self) -> bool {
        matches!(self.rest, Rest::UntilClose)
    }

    /// The next piece; `None` after the last.
    pub async fn piece(&mut self, input: &mut Input) -> io::Result<Option<Piece>> {
        let (bytes, is_data) = match self.rest {
            Rest::Over => return Ok(None),
            Rest::Data(left) | Rest::Chunk(left) => {
                let bytes = input.some(left).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
                let left = left - bytes.len() as u64;
                self.rest = match (&self.rest, left) {
                    (Rest::Data(_), 0) => Rest::Over,
                    (Rest::Data(_), left) => Rest::Data(left),
                    (_, 0) => Rest::ChunkEnd,
                    (_, left) => Rest::Chunk(left),
                };
                (bytes, true)
            }
            Rest::UntilClose => match input.some(u64::MAX).await? {
                Some(bytes) => (bytes, true),
                None => return Ok(None),
            },
            Rest::ChunkSize => {
                let line = input.line().await?;
                self.rest = match chunk_size(&line)? {
                    0 => Rest::Trailers,
                    size => Rest::Chunk(size),
                };
                (line, false)
            }
            Rest::ChunkEnd => {
                self.rest = Rest::ChunkSize;
                (input.line().await?, false)
            }
            Rest::Trailers => {
                let line = input.line().await?;
                if line.as_ref() == b"\r\n" {
                    self.rest = Rest::Over;
                }
                (line, false)
            }
        };
        Ok(Some(Piece { bytes, is_data }))
    }
}

/// The size in a line such as `1f4;chunk-signature=...`.
fn chunk_size(line: &[u8]) -> io::Result<u64> {
    let text = std::str::from_utf8(line).map_err(|_| malformed("a chunk size in no UTF-8"))?;
    let size = text.trim_end().split(';').next().unwrap_or_default();
    u64::from_str_radix(size.trim(), 16).map_err(|_| malformed("a chunk without a size"))
}

/// Writes a canned answer.
pub async fn answer(
    output: &mut OwnedWriteHalf,
    status: u16,
    headers: &str,
    body: &str,
) -> io::Result<()> {
    let head = format!("HTTP/1.1 {status} Injected\r\n{headers}");
    output.write_all(format!("{head}\r\n{body}").as_bytes()).await
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Forwards a body, altered as `shape` says; returns why it was cut short.
pub async fn pass(
    body: &mut Body,
    from: &mut Input,
    to: &mut OwnedWriteHalf,
    shape: &super::fault::Shape,
) -> io::Result<Option<super::fault::Stop>> {
    let mut data = 0;
    while let Some(Piece { mut bytes, is_data }) = body.piece(from).await? {
        if is_data {
            let begin = data;
            data += bytes.len() as u64;
            if let Some(at) = shape.flip.filter(|at| (begin..data).contains(at)) {
                let mut bent = BytesMut::from(&bytes[..]);
                bent[(at - begin) as usize] ^= 1;
                bytes = bent.freeze();
            }
            if let Some((at, stop)) = shape.stop.filter(|(at, _)| *at < data) {
                bytes.truncate(at.saturating_sub(begin) as usize);
                to.write_all(&bytes).await?;
                return Ok(Some(stop));
            }
            if let Some(rate) = shape.bytes_per_second {
                slowly(&mut bytes, to, rate).await?;
            }
        }
        to.write_all(&bytes).await?;
    }
    Ok(None)
}

/// Writes all of `bytes`, in slices of a fiftieth of a second.
async fn slowly(bytes: &mut Bytes, to: &mut OwnedWriteHalf, rate: u64) -> io::Result<()> {
    let slice = usize::try_from(rate / 50).unwrap_or(usize::MAX).max(1);
    while bytes.has_remaining() {
        let next = bytes.split_to(slice.min(bytes.len()));
        to.write_all(&next).await?;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Ok(())
}
