//! A small in-process S3 endpoint for `s3-migration demo` and the tests.
//!
//! | file | decides |
//! |---|---|
//! | `lib.rs` | the server: its socket, its tasks, its end |
//! | `guard.rs` | who may call, what is counted, where a test may hold or refuse a call |
//! | `service.rs` | which function answers which S3 operation |
//! | `untyped.rs` | the calls that s3s would refuse for their headers |
//! | `objects.rs`, `uploads.rs`, `listing.rs` | what the answers are |
//! | `headers.rs` | what an object keeps in addition to its bytes |
//! | `index.rs` | what exists, in memory |
//! | `blob.rs` | the bytes, in files |
//! | `checksum.rs` | CRC-64/NVME: sent by callers, and in answers |
//!
//! The index lives only in memory, so an endpoint forgets everything when it ends, and removes its
//! files.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![warn(clippy::unwrap_used)]

mod blob;
mod checksum;
mod guard;
mod headers;
mod index;
mod listing;
mod objects;
mod service;
mod untyped;
mod uploads;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

pub use guard::{Gate, OperationStats, Passage};

/// The options of an [`Endpoint`].
#[derive(Clone, Default)]
pub struct EndpointOptions {
    /// The folder for the bytes; created if missing.
    pub folder: PathBuf,
    /// The only access key that may call.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// Buckets that exist from the start.
    pub buckets: Vec<String>,
    /// Awaited before each operation; `None` lets every call pass.
    pub gate: Option<Arc<dyn Gate>>,
    /// Its ETags look like MD5s but are not, as under SSE-KMS, and no answer says so.
    pub own_etags: bool,
}

/// An endpoint cannot start: its folder or its port is not to be had.
#[derive(Debug)]
pub struct StartError {
    what: String,
    source: io::Error,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} for an endpoint: {}", self.what, self.source)
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// A running S3 endpoint on a free port of the loopback interface.
///
/// Dropping it ends all its tasks; [`Endpoint::stop`] also waits for them.
pub struct Endpoint {
    address: SocketAddr,
    key: guard::OneKey,
    stats: Arc<guard::Stats>,
    connections: Arc<AtomicU64>,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl Endpoint {
    /// Binds a free port on loopback and serves until stopped or dropped.
    pub async fn start(options: EndpointOptions) -> Result<Self, StartError> {
        let unusable = |what: &str, source| StartError { what: what.to_owned(), source };
        let folder = blob::Folder::open(options.folder.clone(), options.own_etags)
            .map_err(|e| unusable(&format!("use folder {}", options.folder.display()), e))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(|e| unusable("bind a port", e))?;
        let address = listener.local_addr().map_err(|e| unusable("name its port", e))?;

        let stats = Arc::new(guard::Stats::default());
        let key = guard::OneKey::new(options.access_key.clone(), options.secret_key.clone());
        let service = build(options, folder, key.clone(), Arc::clone(&stats));
        let stop = CancellationToken::new();
        let connections = Arc::new(AtomicU64::new(0));
        let serving = serve(listener, service, stop.clone(), Arc::clone(&connections));
        let server = tokio::spawn(serving);
        Ok(Self { address, key, stats, connections, stop, server })
    }

    /// The URL of the endpoint, for path-style requests.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests and bytes so far, by S3 operation name such as `GetObject`.
    ///
    /// Only calls that passed authentication count.
    pub fn stats(&self) -> BTreeMap<String, OperationStats> {
        self.stats.snapshot()
    }

    /// Replaces the access key that may call.
    pub fn rotate(&self, access_key: impl Into<String>, secret_key: impl Into<String>) {
        self.key.rotate(access_key.into(), secret_key.into());
    }

    /// The number of connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Ends the endpoint; calls in progress are cut off.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // An error means that the server was aborted or panicked: it has ended either way.
        let _ = (&mut self.server).await;
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn build(
    options: EndpointOptions,
    folder: blob::Folder,
    key: guard::OneKey,
    stats: Arc<guard::Stats>,
) -> S3Service {
    let store = service::Store {
        index: Arc::new(index::Index::new(options.buckets)),
        folder: Arc::new(folder),
        stats: Arc::clone(&stats),
    };
    let guard = Arc::new(guard::Guard { stats, gate: options.gate });
    let mut builder = S3ServiceBuilder::new(store.clone());
    builder.set_auth(key);
    builder.set_access(guard::SharedGuard(Arc::clone(&guard)));
    builder.set_route(untyped::Untyped { store, guard });
    builder.build()
}

/// Accepts connections until stopped; owns every connection, so that none outlives it.
async fn serve(
    listener: TcpListener,
    service: S3Service,
    stop: CancellationToken,
    taken: Arc<AtomicU64>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    taken.fetch_add(1, Ordering::Relaxed);
                    connections.spawn(connection(stream, service.clone()));
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection was not accepted");
                    // Without free file descriptors, the next try would fail at once too.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, service: S3Service) {
    // Small answers must not wait for the client's delayed acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot send small answers at once");
    }
    if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
    {
        tracing::debug!(%error, "a connection broke");
    }
}
