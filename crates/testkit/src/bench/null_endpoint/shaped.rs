//! A connection that is as slow as a long line: limited in bytes a second in each direction.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// Bytes that pass without delay.
const STEP: usize = 32 * 1024;

/// A connection of limited speed.
pub struct Shaped {
    stream: TcpStream,
    reading: Option<Turnstile>,
    writing: Option<Turnstile>,
}

impl Shaped {
    /// `rate`: bytes a second in each direction; `None`: unlimited.
    pub fn new(stream: TcpStream, rate: Option<u64>) -> Self {
        Self { stream, reading: rate.map(Turnstile::new), writing: rate.map(Turnstile::new) }
    }
}

struct Turnstile {
    rate: u64,
    next: Pin<Box<Sleep>>,
}

impl Turnstile {
    fn new(rate: u64) -> Self {
        Self { rate, next: Box::pin(sleep_until(Instant::now())) }
    }

    fn passed(&mut self, bytes: usize) {
        let takes = Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        let next = self.next.deadline().max(Instant::now()) + takes;
        self.next.as_mut().reset(next);
    }
}

impl AsyncRead for Shaped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Some(turnstile) = &mut this.reading else {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        };
        ready!(turnstile.next.as_mut().poll(cx));
        let mut step = vec![0; STEP.min(buffer.remaining())];
        let mut part = ReadBuf::new(&mut step);
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
        turnstile.passed(part.filled().len());
        buffer.put_slice(part.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Shaped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let Some(turnstile) = &mut this.writing else {
            return Pin::new(&mut this.stream).poll_write(cx, bytes);
        };
        ready!(turnstile.next.as_mut().poll(cx));
        let written =
            ready!(Pin::new(&mut this.stream).poll_write(cx, &bytes[..bytes.len().min(STEP)]))?;
        turnstile.passed(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.writing.is_none() {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        }
        let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |s| &s[..]);
        self.poll_write(cx, first)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
