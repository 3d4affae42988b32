//! Passes chunks from a thread that may block to code that may not, through a bounded channel.

use tokio::sync::mpsc;
use tokio::task::{self, JoinHandle};

use crate::error::{Error, Result};

/// How many chunks may wait: one in hand and one ahead.
const AHEAD: usize = 1;

/// What a blocking reader finds, chunk by chunk.
///
/// The reader reports its end explicitly: if it fails, or stops without a report, `next` is an
/// error, and stays one. Dropping the feed ends the reader at its next chunk.
#[derive(Debug)]
pub struct Feed<T> {
    chunks: mpsc::Receiver<FeedMessage<T>>,
    reader: JoinHandle<()>,
    end: FeedEnd,
}

#[derive(Debug)]
enum FeedMessage<T> {
    Items(Vec<T>),
    End(Result<()>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FeedEnd {
    Ahead,
    Reached,
    Failed,
}

impl<T: Send + 'static> Feed<T> {
    /// Runs `read` on a blocking thread of its own, inside a Tokio runtime; what it pushes arrives
    /// in chunks of up to `size`.
    pub(super) fn start<F>(size: usize, read: F) -> Self
    where
        F: FnOnce(&mut FeedSender<T>) -> Result<()> + Send + 'static,
    {
        let (sender, chunks) = mpsc::channel(AHEAD);
        let reader = task::spawn_blocking(move || {
            let mut outlet = FeedSender { sender, chunk: Vec::with_capacity(size), size };
            let end = read(&mut outlet).and_then(|()| outlet.flush());
            // If the feed has been dropped, the end is of no interest.
            let _ = outlet.sender.blocking_send(FeedMessage::End(end));
        });
        Self { chunks, reader, end: FeedEnd::Ahead }
    }

    /// The next chunk, never an empty one; `None` after the last. Nothing is lost if the future is
    /// dropped.
    pub async fn next(&mut self) -> Result<Option<Vec<T>>> {
        match (self.end, self.chunks.recv().await) {
            (_, Some(FeedMessage::Items(items))) => Ok(Some(items)),
            (_, Some(FeedMessage::End(end))) => {
                self.end = if end.is_ok() { FeedEnd::Reached } else { FeedEnd::Failed };
                end.map(|()| None)
            }
            (FeedEnd::Reached, None) => Ok(None),
            (FeedEnd::Failed, None) => Err(Error::invalid("reading has already failed")),
            (FeedEnd::Ahead, None) => Err(self.lost().await),
        }
    }

    /// Why the reader has stopped without reporting an end: it panicked, or the runtime is ending.
    async fn lost(&mut self) -> Error {
        self.end = FeedEnd::Failed;
        match (&mut self.reader).await {
            Err(join) if join.is_panic() => {
                Error::invalid("reading stopped: a bug in this program").with_source(join)
            }
            _ => Error::cancelled(),
        }
    }
}

/// The reader's end of a [`Feed`].
pub(super) struct FeedSender<T> {
    sender: mpsc::Sender<FeedMessage<T>>,
    chunk: Vec<T>,
    size: usize,
}

impl<T> FeedSender<T> {
    /// Passes `item` on; blocks while the channel is full. Fails with `Cancelled` if the feed has
    /// been dropped.
    pub(super) fn push(&mut self, item: T) -> Result<()> {
        self.chunk.push(item);
        match self.chunk.len() < self.size {
            true => Ok(()),
            false => self.flush(),
        }
    }

    fn flush(&mut self) -> Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(self.size));
        self.sender.blocking_send(FeedMessage::Items(chunk)).map_err(|_| Error::cancelled())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as std_mpsc;

    use super::*;
    use crate::error::ErrorKind;

    #[tokio::test]
    async fn chunks_arrive_in_order_and_the_end_stays_the_end() {
        let mut feed = Feed::start(2, |out| (1..=5).try_for_each(|n| out.push(n)));
        let mut seen = Vec::new();
        while let Some(chunk) = feed.next().await.unwrap() {
            seen.push(chunk);
        }
        assert_eq!(seen, [vec![1, 2], vec![3, 4], vec![5]]);
        assert!(feed.next().await.unwrap().is_none());
    }

    /// Promise 1.
    #[tokio::test]
    async fn a_failed_reader_never_looks_like_an_end() {
        let mut feed = Feed::start(1, |out| {
            out.push(1)?;
            Err(Error::usage("no"))
        });
        assert_eq!(feed.next().await.unwrap(), Some(vec![1]));
        assert_eq!(feed.next().await.unwrap_err().kind(), ErrorKind::Usage);
        assert!(feed.next().await.is_err());
    }

    /// Promise 1.
    #[tokio::test]
    async fn a_reader_that_panics_never_looks_like_an_end() {
        let mut feed = Feed::<u8>::start(1, |_| panic!("on purpose"));
        assert_eq!(feed.next().await.unwrap_err().kind(), ErrorKind::Invalid);
        assert!(feed.next().await.is_err());
    }

    #[tokio::test]
    async fn a_dropped_feed_ends_its_reader() {
        let (told, ended) = std_mpsc::channel();
        let mut feed = Feed::start(1, move |out| {
            let end = (0..).try_for_each(|n: u64| out.push(n));
            told.send(end.as_ref().map_err(Error::kind).err()).unwrap();
            end
        });
        feed.next().await.unwrap();
        drop(feed);
        assert_eq!(ended.recv().unwrap(), Some(ErrorKind::Cancelled));
    }
}
