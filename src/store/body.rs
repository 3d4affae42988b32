//! A body on its way: it knows its length, and no other number of bytes passes.
//!
//! Whoever must learn of a body has a tap in it: the limit of its silence, the permit of its GET,
//! the watch on what its destination takes. So it is one stream, however many look at it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, Stream, StreamExt, TryStreamExt};

use super::pace::throttle::Throttle;
use super::pace::{Arrival, Permit};
use super::stall::{Sending, Taking};
use crate::error::{Error, ErrorKind, Result};

/// A body of a known length that arrives in pieces.
///
/// A short or a long one ends in a `Damaged` error before its last bytes have passed: a request
/// with that length is then cut, and the store keeps nothing of it.
pub struct Body {
    /// The bytes as they come. A cut connection shows as an error, never as an end.
    pieces: BoxStream<'static, Result<Bytes>>,
    length: u64,
    /// Bytes still to come.
    left: u64,
    /// Bytes to leave out before them.
    skip: u64,
    /// More may follow, and is not read.
    is_cut: bool,
    /// The last bytes, held back until it is certain that nothing follows.
    last: Option<Bytes>,
    ended: bool,
    /// Taps, each set by the wrapper that it is for.
    arrival: Option<Box<Arrival>>,
    sending: Option<Sending>,
    room: Option<Permit>,
    /// Each counts what passes, and may hold it up.
    throttles: Vec<Arc<Throttle>>,
    /// Bytes that wait for their turn at a throttle, and where they go on.
    held: Option<Box<(Bytes, usize, BoxFuture<'static, ()>)>>,
}

impl Body {
    /// A body that must have `length` bytes.
    pub fn new(pieces: impl Stream<Item = Result<Bytes>> + Send + 'static, length: u64) -> Self {
        Self {
            pieces: pieces.boxed(),
            length,
            left: length,
            skip: 0,
            is_cut: false,
            last: None,
            ended: false,
            arrival: None,
            sending: None,
            room: None,
            throttles: Vec::new(),
            held: None,
        }
    }

    /// How many bytes it must have.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether all its bytes have passed, and nothing follows them.
    pub fn is_whole(&self) -> bool {
        self.left == 0 && self.last.is_none() && self.held.is_none()
    }

    /// The `len` bytes after the first `skip`. What follows them is not read.
    pub fn cut(self, skip: u64, len: u64) -> Self {
        Self { length: len, left: len, skip, is_cut: true, ..self }
    }

    /// All of it, in memory.
    pub async fn read_all(mut self) -> Result<Bytes> {
        let mut bytes = BytesMut::with_capacity(self.length as usize);
        while let Some(piece) = self.try_next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.freeze())
    }

    /// The same, with a permit to send it.
    pub fn with_room(self, room: Permit) -> Self {
        Self { room: Some(room), ..self }
    }

    pub(super) fn take_room(&mut self) -> Option<Permit> {
        self.room.take()
    }

    /// The body of an answer.
    pub(super) fn arriving(self, arrival: Arrival) -> Self {
        Self { arrival: Some(Box::new(arrival)), ..self }
    }

    /// Passes at the pace of this throttle, too.
    pub(super) fn throttled(mut self, throttle: &Arc<Throttle>) -> Self {
        self.throttles.push(Arc::clone(throttle));
        self
    }

    /// Shows what its destination takes of it.
    pub(super) fn taking(&mut self) -> Arc<Taking> {
        self.sending.get_or_insert_default().taking()
    }

    /// The next bytes, once every throttle lets them pass.
    fn poll_throttled(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let (piece, mut at) = match self.held.take() {
            Some(mut held) => {
                if held.2.poll_unpin(context).is_pending() {
                    self.held = Some(held);
                    return Poll::Pending;
                }
                (held.0, held.1)
            }
            None => match ready!(self.poll_counted(context)) {
                Some(Ok(piece)) => (piece, 0),
                ended => return Poll::Ready(ended),
            },
        };
        while let Some(throttle) = self.throttles.get(at) {
            at += 1;
            let Some(mut turn) = throttle.bytes(piece.len()) else { continue };
            if turn.poll_unpin(context).is_pending() {
                self.held = Some(Box::new((piece, at, turn)));
                return Poll::Pending;
            }
        }
        Poll::Ready(Some(Ok(piece)))
    }

    /// The next bytes that may pass. Bytes are counted here and nowhere else.
    fn poll_counted(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        while !self.ended {
            let piece = match self.is_cut && self.left == 0 {
                true => None,
                false => ready!(self.poll_piece(context)),
            };
            let passes = match piece {
                Some(piece) => piece.and_then(|piece| self.count(piece)).transpose(),
                None => self.end().transpose(),
            };
            self.ended |= passes.as_ref().is_some_and(Result::is_err);
            if passes.is_some() {
                return Poll::Ready(passes);
            }
        }
        Poll::Ready(None)
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let polled = self.pieces.poll_next_unpin(context);
        match &mut self.arrival {
            Some(arrival) => arrival.saw(polled, context),
            None => polled,
        }
    }

    /// Counts a piece; returns what of it passes now.
    fn count(&mut self, mut piece: Bytes) -> Result<Option<Bytes>> {
        let ahead = self.skip.min(piece.len() as u64);
        self.skip -= ahead;
        piece.advance(ahead as usize);
        if self.is_cut {
            piece.truncate(self.left.min(piece.len() as u64) as usize);
        }
        let Some(left) = self.left.checked_sub(piece.len() as u64) else {
            return Err(other_length(format_args!("more than {}", self.length)));
        };
        if piece.is_empty() {
            return Ok(None);
        }
        self.left = left;
        if left > 0 {
            return Ok(Some(piece));
        }
        self.last = Some(piece);
        Ok(None)
    }

    /// Nothing follows; returns what was held back until this is certain.
    fn end(&mut self) -> Result<Option<Bytes>> {
        self.ended = true;
        if self.left > 0 {
            let came = self.length - self.left;
            return Err(other_length(format_args!("{came} of {}", self.length)));
        }
        if let Some(arrival) = &mut self.arrival {
            arrival.ended();
        }
        Ok(self.last.take())
    }
}

impl Stream for Body {
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Some(sending) = &mut this.sending else { return this.poll_throttled(context) };
        let waker = sending.asked(context);
        let polled = this.poll_throttled(&mut Context::from_waker(&waker));
        let is_whole = this.is_whole();
        if let Some(sending) = &this.sending {
            sending.answered(&polled, is_whole);
        }
        polled
    }
}

fn other_length(came: std::fmt::Arguments<'_>) -> Error {
    Error::new(ErrorKind::Damaged, format!("the body has {came} bytes"))
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn body<const N: usize>(pieces: [&'static str; N], length: u64) -> Body {
        Body::new(stream::iter(pieces.map(|piece| Ok(piece.into()))), length)
    }

    /// Promise 3.
    #[tokio::test]
    async fn a_body_of_another_length_fails_before_its_last_byte() {
        let whole = body(["ab", "", "c", ""], 3).read_all().await;
        assert_eq!(whole.unwrap(), "abc");
        for (length, before) in [(2, 0), (4, 3), (1, 0), (0, 0)] {
            let mut body = body(["ab", "", "c", ""], length);
            let mut items: Vec<_> = body.by_ref().collect().await;
            let error = items.pop().unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged, "{length}");
            let bytes: usize = items.into_iter().map(|item| item.unwrap().len()).sum();
            assert_eq!(bytes, before, "{length}");
            assert!(!body.is_whole() || length == 0, "{length}");
            assert!(body.next().await.is_none(), "{length}");
        }
        assert_eq!(body([], 0).read_all().await.unwrap(), "");
    }

    /// Promise 3.
    #[tokio::test]
    async fn the_last_bytes_wait_for_the_end() {
        let cut = || Err(Error::new(ErrorKind::Unavailable, "cut"));
        let mut late = Body::new(stream::iter([Ok(Bytes::from_static(b"ab")), cut()]), 2);
        assert_eq!(late.next().await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(!late.is_whole() && late.next().await.is_none());
    }

    /// Promise 3.
    #[tokio::test]
    async fn a_piece_is_cut_out_of_a_body_wherever_its_chunks_end() {
        for (skip, len, expected) in [(0, 3, "abc"), (2, 2, "cd"), (3, 3, "def"), (1, 0, "")] {
            let cut = body(["ab", "", "cde", "f"], 6).cut(skip, len);
            assert_eq!(cut.read_all().await.unwrap(), expected, "{skip} {len}");
        }
        let beyond = body(["abcdef"], 6).cut(5, 9).read_all().await;
        assert_eq!(beyond.unwrap_err().kind(), ErrorKind::Damaged);
    }
}
