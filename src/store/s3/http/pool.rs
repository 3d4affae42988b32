//! Connections: the call that uses a connection drives it; between calls it is idle.
//!
//! A connection has no task of its own. The call that waits for an answer polls the connection
//! itself, which saves a channel and two wake-ups for every piece of a body, and a dropped call
//! closes its connection.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Request, Response, Uri};

use super::Failure;
use super::body::Outgoing;
use crate::aws::CONNECT_TIMEOUT;
use crate::aws::dial::{Dial, Stream};
use crate::aws::http::MAX_HEADERS;

/// The most that one read may take, and so the memory of a connection: few system calls for a large
/// body, and little memory for a small one, since the buffer starts small and grows with use.
const MAX_BUFFER: usize = 256 * 1024;
/// Servers close a connection after some idle time, AWS after about 20 s; a connection that was
/// idle for less than this is worth a try.
const MAX_IDLE: Duration = Duration::from_secs(15);

/// The connections of one store.
pub(super) struct Pool {
    dial: Dial,
    /// By origin; the one that has been idle for the longest first.
    idle: Mutex<HashMap<String, VecDeque<Line>>>,
    /// An answer had more headers than hyper reads by default (100). Room for more is set to zero for
    /// each answer, which costs a small object 2 % of its CPU, so it is given only if it is needed.
    many_headers: AtomicBool,
}

impl Pool {
    pub(super) fn new(dial: Dial) -> Self {
        Self { dial, idle: Mutex::default(), many_headers: AtomicBool::new(false) }
    }

    /// Whether connections read as many headers as they ever do.
    pub(super) fn reads_many_headers(&self) -> bool {
        self.many_headers.load(Ordering::Relaxed)
    }

    /// Notes how a call has ended on a connection: if its answer had too many headers, new connections
    /// read more of them.
    pub(super) fn note(&self, error: &hyper::Error) {
        if error.is_parse_too_large() && !self.many_headers.swap(true, Ordering::Relaxed) {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// A connection to `origin`: an idle one that is still open, or a new one.
    pub(super) async fn line(&self, origin: &str) -> Result<Line, Failure> {
        while let Some(mut line) = self.take(origin) {
            // Polled once: if the server has closed it meanwhile, that shows without waiting.
            if poll_fn(|context| Poll::Ready(line.is_idle(context))).await {
                return Ok(line);
            }
        }
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, self.connect(origin)).await;
        connected.unwrap_or_else(|_| {
            Err(Failure::unreached(format!("no connection within {CONNECT_TIMEOUT:?}")))
        })
    }

    /// Keeps a connection for the next call.
    pub(super) fn put_back(&self, mut line: Line, context: &mut Context<'_>) {
        if !line.is_idle(context) {
            return;
        }
        line.0.idle_since = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lines) = idle.get_mut(&line.0.origin) {
            while lines.front().is_some_and(Line::is_stale) {
                lines.pop_front();
            }
            lines.push_back(line);
        } else {
            idle.insert(line.0.origin.clone(), VecDeque::from([line]));
        }
    }

    fn take(&self, origin: &str) -> Option<Line> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.get_mut(origin)?.pop_back().filter(|line| !line.is_stale())
    }

    async fn connect(&self, origin: &str) -> Result<Line, Failure> {
        let uri: Uri = origin.parse().map_err(Failure::unreached)?;
        let stream = self.dial.open(uri).await.map_err(Failure::unreached)?;
        let socket = Socket { stream, deaf: false };
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_BUFFER);
        if self.reads_many_headers() {
            builder.max_headers(MAX_HEADERS);
        }
        let (sender, connection) = builder.handshake(socket).await.map_err(Failure::unreached)?;
        let (origin, idle_since) = (origin.to_owned(), Instant::now());
        Ok(Line(Box::new(Connection { sender, connection, open: true, origin, idle_since })))
    }
}

/// One HTTP/1.1 connection; boxed, since it is large and is passed from call to body and back.
pub(super) struct Line(Box<Connection>);

struct Connection {
    sender: http1::SendRequest<Outgoing>,
    connection: http1::Connection<Socket, Outgoing>,
    open: bool,
    origin: String,
    idle_since: Instant,
}

impl Line {
    /// Sends the request and waits until its answer begins, even if that is before the body has
    /// been sent.
    pub(super) async fn send(
        &mut self,
        request: Request<Outgoing>,
    ) -> hyper::Result<Response<Incoming>> {
        let Connection { sender, connection, open, .. } = &mut *self.0;
        let mut answer = pin!(sender.send_request(request));
        poll_fn(|context| {
            // If this ends the connection, its answer is already here.
            if *open && connection.poll_unpin(context).is_ready() {
                *open = false;
            }
            answer.as_mut().poll(context)
        })
        .await
    }

    /// Makes progress without waiting; returns false if no more can be made.
    pub(super) fn drive(&mut self, context: &mut Context<'_>) -> bool {
        self.0.open = self.0.open && self.0.connection.poll_unpin(context).is_pending();
        self.0.open
    }

    /// Whether the server has probably closed it.
    fn is_stale(&self) -> bool {
        self.0.idle_since.elapsed() >= MAX_IDLE
    }

    /// Whether it is open and may take a request.
    fn is_idle(&mut self, context: &mut Context<'_>) -> bool {
        self.drive(context) && self.0.sender.is_ready()
    }
}

/// A stream whose failed writes wait for the answer to be read.
///
/// A server that refuses a request before it has read the body answers and closes; the next write
/// fails, but the answer can still be read, and says why. If there is no answer, the read fails.
struct Socket {
    stream: Stream,
    /// The other side no longer reads.
    deaf: bool,
}

impl Socket {
    fn written(
        &mut self,
        write: impl FnOnce(Pin<&mut Stream>) -> Poll<std::io::Result<usize>>,
    ) -> Poll<std::io::Result<usize>> {
        if self.deaf {
            return Poll::Pending;
        }
        match ready!(write(Pin::new(&mut self.stream))) {
            Err(_) => {
                self.deaf = true;
                Poll::Pending
            }
            written => Poll::Ready(written),
        }
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.written(|stream| stream.poll_write(context, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        self.written(|stream| stream.poll_write_vectored(context, slices))
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        if !self.deaf {
            self.deaf = ready!(Pin::new(&mut self.stream).poll_flush(context)).is_err();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
