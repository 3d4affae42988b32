//! A proxy between the real binary and any server, with faults chosen by a seed.
//!
//! | file | holds |
//! |---|---|
//! | `proxy.rs` | the proxy: its socket, its log of requests, its outages |
//! | `relay.rs` | one connection: request after request, each with its fault |
//! | `fault.rs` | the faults: what goes wrong, where, and how often |
//! | `call.rs` | which call a request is |
//! | `http.rs` | HTTP/1.1 on the wire |
//!
//! Requests are forwarded unchanged, including the Host header, so signatures stay valid. Bodies are
//! streamed. A reset is a real TCP reset.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

mod call;
mod fault;
mod http;
mod relay;

pub use call::Call;
pub use fault::{Answer, Fault, Faults, Rule};

/// Longer than anything here takes: whatever has not come by then never will.
const BOUND: Duration = Duration::from_secs(90);

/// The receive buffer of a connection. Small enough that a stalled request does not fit into it, but
/// several loopback segments (64 KiB) large; otherwise each segment would wait for the acknowledgement
/// of the one before.
const RECEIVED: u32 = 256 * 1024;

/// A proxy in front of a server. Dropping it cuts every connection.
pub struct Proxy {
    url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The call.
    pub call: Call,
    /// Its fault.
    pub fault: Option<&'static str>,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a request ended for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in progress.
    Open,
    /// The answer had this status and was forwarded as far as the fault allowed.
    Status(u16),
    /// There was no answer.
    None,
}

struct Shared {
    target: SocketAddr,
    faults: Mutex<Vec<Arc<Faults>>>,
    seen: watch::Sender<Vec<Seen>>,
    /// Whether it refuses connections, and how many it has refused.
    out: watch::Sender<bool>,
    refused: watch::Sender<u64>,
}

impl Proxy {
    /// Starts a proxy on a free loopback port, in front of the server at `target`.
    pub async fn before(target: SocketAddr) -> Self {
        let listener = listen().expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            target,
            faults: Mutex::default(),
            seen: watch::Sender::new(Vec::new()),
            out: watch::Sender::new(false),
            refused: watch::Sender::new(0),
        });
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self { url: format!("http://{address}"), shared, server }
    }

    /// Like [`Self::before`], but with the server's `http://` URL.
    pub async fn before_url(url: &str) -> Self {
        let address = url.strip_prefix("http://").and_then(|address| address.parse().ok());
        Self::before(address.expect("an address of loopback")).await
    }

    /// The address it listens on.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Adds these rules after the ones already in force.
    pub fn inject(&self, seed: u64, rules: Vec<Rule>) -> Arc<Faults> {
        let faults = Faults::new(seed, rules);
        self.shared.faults().push(Arc::clone(&faults));
        faults
    }

    /// Ends all faults.
    pub fn heal(&self) {
        for faults in self.shared.faults().drain(..) {
            faults.end();
        }
        self.shared.out.send_replace(false);
    }

    /// Starts an outage: connections are cut, new ones refused.
    pub fn go_out(&self) {
        self.shared.out.send_replace(true);
    }

    /// Ends the outage.
    pub fn come_back(&self) {
        self.shared.out.send_replace(false);
    }

    /// Waits until this many connections in all were refused.
    pub async fn refused(&self, times: u64) {
        let mut refused = self.shared.refused.subscribe();
        let enough = refused.wait_for(|refused| *refused >= times);
        assert!(
            tokio::time::timeout(BOUND, enough).await.is_ok(),
            "never {times} connections to a server that is gone"
        );
    }

    /// The number of connections refused so far.
    pub fn refusals(&self) -> u64 {
        *self.shared.refused.borrow()
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.borrow().clone()
    }

    /// The number of calls of an operation.
    pub fn calls(&self, operation: &str) -> usize {
        self.shared.seen.borrow().iter().filter(|seen| seen.call.operation == operation).count()
    }

    /// How often each fault happened to each operation.
    pub fn injected(&self) -> BTreeMap<(String, &'static str), usize> {
        let mut counts = BTreeMap::new();
        for seen in self.shared.seen.borrow().iter() {
            if let Some(fault) = seen.fault {
                *counts.entry((seen.call.operation.clone(), fault)).or_default() += 1;
            }
        }
        counts
    }

    /// Waits until `enough` holds for the requests seen.
    pub async fn until(&self, what: &str, enough: impl Fn(&[Seen]) -> bool) {
        let mut seen = self.shared.seen.subscribe();
        let enough = seen.wait_for(|seen| enough(seen));
        let reached = tokio::time::timeout(BOUND, enough).await;
        assert!(reached.is_ok(), "never seen by the proxy: {what}");
    }

    /// Waits until an operation was called this many times.
    pub async fn until_calls(&self, operation: &str, times: usize) {
        let count = |seen: &[Seen]| {
            seen.iter().filter(|seen| seen.call.operation == operation).count() >= times
        };
        self.until(&format!("{times} {operation}"), count).await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
        if std::thread::panicking() {
            let seen = self.shared.seen.borrow();
            eprintln!("--- the last requests that {} saw:", self.url);
            for Seen { call, fault, outcome } in seen.iter().rev().take(30).rev() {
                let key: String = call.key.chars().take(120).collect();
                eprintln!(
                    "{} {} {key:?} part {:?} {:?}: {outcome:?} {fault:?}",
                    call.operation, call.bucket, call.part, call.range
                );
            }
        }
    }
}

impl Shared {
    fn faults(&self) -> MutexGuard<'_, Vec<Arc<Faults>>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fault of a call, and the rules it comes from.
    fn fault(&self, call: &Call) -> Option<(Arc<Faults>, Fault)> {
        let faults = self.faults();
        faults.iter().find_map(|faults| Some((Arc::clone(faults), faults.of(call)?)))
    }

    /// Logs a request; returns its number.
    fn begins(&self, call: Call, fault: Option<&'static str>) -> usize {
        let mut number = 0;
        self.seen.send_modify(|seen| {
            number = seen.len();
            seen.push(Seen { call, fault, outcome: Outcome::Open });
        });
        number
    }

    fn ends(&self, number: usize, outcome: Outcome) {
        self.seen.send_modify(|seen| seen[number].outcome = outcome);
    }
}

/// Listens on a free loopback port, with receive buffers of [`RECEIVED`] bytes.
fn listen() -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // Accepted sockets inherit it.
    socket.set_recv_buffer_size(RECEIVED)?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    socket.listen(1024)
}

/// Accepts connections until it is dropped; owns all of them.
async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        if *shared.out.borrow() {
            // A listener that is closed might not get its port back, so this resets at once,
            // which comes closest to a refusal.
            let _ = stream.set_zero_linger();
            drop(stream);
            shared.refused.send_modify(|refused| *refused += 1);
            continue;
        }
        connections.spawn(relay::connection(stream, Arc::clone(&shared)));
    }
}
