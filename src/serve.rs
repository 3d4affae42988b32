//! What a process shows over HTTP: a page in the browser, metrics, and whether it lives. Read only.
//!
//! Whoever can reach the port can read it, so it is a loopback address or asks for a token; see
//! docs/security.md. A worker has no page: it serves `/metrics`, `/healthz` and `/readyz`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::error::Result;
use crate::failed::{AskedFailures, FailurePage, ReasonCount};
use crate::overview::Overview;

mod answers;
mod door;
mod guard;
mod history;
mod listener;
mod look;
pub mod metrics;
mod routes;
mod token;

pub use door::{Door, Listening, TOKEN_VARIABLE};

use look::Look;
use metrics::ProcessSlot;

/// Streams of events at once: each is a browser that watches.
const MOST_STREAMS: usize = 16;
/// Searches of failures at once.
const MOST_SEARCHES: usize = 2;
/// How long connections may take to end.
const FAREWELL: Duration = Duration::from_secs(2);

/// Where the page's numbers come from.
#[async_trait]
pub trait Source: Send + Sync {
    /// The time between two looks while somebody watches.
    fn every(&self) -> Duration;

    /// The fleets as they are now.
    async fn overviews(&self) -> Result<Vec<Overview>>;

    /// Some of the failures.
    async fn failures(&self, asked: &AskedFailures) -> Result<FailurePage>;

    /// All failures by reason; that may take a while.
    async fn reasons(&self) -> Result<Vec<ReasonCount>>;
}

/// What is wrong, if anything.
pub type Wrong = Option<String>;

/// Whether a process lives, and whether it does its work.
pub struct Health {
    /// It hangs: it should be started again.
    pub hangs: Box<dyn Fn() -> Wrong + Send + Sync>,
    /// It does not work at present.
    pub idle: Box<dyn Fn() -> Wrong + Send + Sync>,
}

/// What is shown.
pub struct Shown {
    /// This process's own counters.
    pub process: ProcessSlot,
    /// What the page shows; `None`: there is no page.
    pub source: Option<Arc<dyn Source>>,
    /// What `/healthz` and `/readyz` say.
    pub health: Health,
}

/// What every request needs.
struct Host {
    door: Door,
    shown: Shown,
    look: Option<Arc<Look>>,
    streams: Arc<Semaphore>,
    searches: Semaphore,
    end: CancellationToken,
}

/// A server that serves until it is ended or dropped.
pub struct Serving {
    address: SocketAddr,
    look: Option<Arc<Look>>,
    end: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Serving {
    fn start(listening: Listening, shown: Shown) -> Self {
        let Listening { door, listener, address } = listening;
        let end = CancellationToken::new();
        let look = shown.source.as_ref().map(|source| Arc::new(Look::new(Arc::clone(source))));
        let mut tasks = Vec::new();
        if let Some(look) = &look {
            let (one, other) = (Arc::clone(look), Arc::clone(look));
            tasks.push(tokio::spawn(async move { one.look_again_and_again().await }));
            tasks.push(tokio::spawn(async move { other.count_reasons().await }));
        }
        let what = if look.is_some() { "the page" } else { "metrics" };
        info!("serving {what} at http://{address}/");
        if !address.ip().is_loopback() {
            warn!(
                "the page and the token travel unencrypted to {address}: put a proxy with TLS in \
                 front of it, or use a tunnel"
            );
        }
        let host = Arc::new(Host {
            door,
            shown,
            look: look.clone(),
            streams: Arc::new(Semaphore::new(MOST_STREAMS)),
            searches: Semaphore::new(MOST_SEARCHES),
            end: end.clone(),
        });
        let until = end.clone();
        tasks.push(tokio::spawn(async move {
            let served = axum::serve(listener::Bounded::new(listener), routes::router(host));
            let ended = served.with_graceful_shutdown(until.cancelled_owned()).await;
            if let Err(error) = ended {
                warn!("the page is served no longer: {error}");
            }
        }));
        Self { address, look, end, tasks }
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells those who watch how it all ended, and ends.
    pub async fn end(mut self) {
        if let Some(look) = &self.look {
            look.look(FAREWELL).await;
        }
        self.end.cancel();
        if let Some(server) = self.tasks.last_mut() {
            // A browser that reads no more must not hold up the end.
            let _ = tokio::time::timeout(FAREWELL, server).await;
        }
    }
}
