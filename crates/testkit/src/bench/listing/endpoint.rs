//! An endpoint with computed listings, in a separate process so that its CPU time is counted apart.
//!
//! It does not verify signatures. One thread serves all connections: a page takes it 0.1 to 0.2 ms, and
//! the other cores are left to the product.

use std::convert::Infallible;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use super::ask::Ask;
use super::bucket::Side;
use super::keys::{Keyspace, Layout};
use super::page;

/// The buckets: all keys, most of them, none.
pub const BUCKETS: [(&str, Side); 3] = [
    ("bench-source", Side::Source),
    ("bench-destination", Side::Destination),
    ("bench-empty", Side::Empty),
];
/// The path of [`Stats`].
pub const STATS: &str = "/_stats";

/// Counts of all buckets together.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Requested pages.
    pub requests: u64,
    /// Keys on them.
    pub keys: u64,
    /// The largest number of simultaneous requests.
    pub most_at_once: u64,
}

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    keys: AtomicU64,
    at_once: AtomicU64,
    most_at_once: AtomicU64,
}

/// A request in progress.
struct Running<'a>(&'a Counts);

impl<'a> Running<'a> {
    fn new(counts: &'a Counts) -> Self {
        counts.requests.fetch_add(1, Relaxed);
        let now = counts.at_once.fetch_add(1, Relaxed) + 1;
        counts.most_at_once.fetch_max(now, Relaxed);
        Self(counts)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Relaxed);
    }
}

struct Listings {
    keys: Keyspace,
    latency: Duration,
    counts: Counts,
}

/// Serves `count` keys on a free loopback port, which it prints, and ends when stdin does. Delays each
/// answer by `latency`.
pub fn serve(layout: Layout, count: u64, latency: Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async move {
        let keys = Keyspace::new(layout, count);
        let listings = Arc::new(Listings { keys, latency, counts: Counts::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("{}", listener.local_addr().expect("its port"));
        std::io::stdout().flush().expect("stdout");
        tokio::spawn(accept(listener, listings));
        let end = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = tokio::task::spawn_blocking(end).await;
    });
}

async fn accept(listener: TcpListener, listings: Arc<Listings>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let listings = Arc::clone(&listings);
        let answer = service_fn(move |request| {
            let listings = Arc::clone(&listings);
            async move { Ok::<_, Infallible>(listings.answer(&request).await) }
        });
        // Ignored: the client may close its connection.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

impl Listings {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.uri().path() == STATS {
            let stats = serde_json::to_vec(&self.stats()).expect("numbers");
            return answer(StatusCode::OK, stats);
        }
        let _running = Running::new(&self.counts);
        tokio::time::sleep(self.latency).await;
        match self.page(request) {
            Some(page) => {
                self.counts.keys.fetch_add(page.entries as u64, Relaxed);
                answer(StatusCode::OK, page.xml)
            }
            None => {
                let code = "<Error><Code>NotImplemented</Code><Message>not here</Message></Error>";
                answer(StatusCode::NOT_IMPLEMENTED, code.into())
            }
        }
    }

    fn page(&self, request: &Request<Incoming>) -> Option<page::Page> {
        let bucket = request.uri().path().trim_matches('/');
        let (name, side) = BUCKETS.iter().find(|(name, _)| *name == bucket)?;
        let ask = Ask::read(request.uri().query()?).filter(|_| request.method() == Method::GET)?;
        Some(page::render(&self.keys, *side, name, &ask))
    }

    fn stats(&self) -> Stats {
        let Counts { requests, keys, most_at_once, .. } = &self.counts;
        let [requests, keys, most_at_once] =
            [requests, keys, most_at_once].map(|n| n.load(Relaxed));
        Stats { requests, keys, most_at_once }
    }
}

fn answer(status: StatusCode, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static("application/xml");
    answer.headers_mut().insert("content-type", kind);
    answer
}
