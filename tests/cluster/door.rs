//! A way to a server that lets some bytes of its answers through and then waits: how a test holds
//! a worker in the middle of an object without counting on anybody's speed.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Stands in front of a server. Dropping it cuts every connection.
pub struct Door {
    url: String,
    passed: Arc<AtomicU64>,
    allowed: watch::Sender<u64>,
    server: JoinHandle<()>,
}

impl Door {
    /// Lets `bytes` of the answers of the server at `target` through.
    pub async fn after(target: SocketAddr, bytes: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (allowed, limit) = watch::channel(bytes);
        let passed = Arc::new(AtomicU64::new(0));
        let server = tokio::spawn(serve(listener, target, Arc::clone(&passed), limit));
        Self { url: format!("http://{address}"), passed, allowed, server }
    }

    /// Lets everything through; only counts.
    pub async fn open_to(target: SocketAddr) -> Self {
        Self::after(target, u64::MAX).await
    }

    /// Its own address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on everything passes.
    pub fn open(&self) {
        self.allowed.send_replace(u64::MAX);
    }

    /// Bytes of answers that came this far.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(
    listener: TcpListener,
    target: SocketAddr,
    passed: Arc<AtomicU64>,
    limit: watch::Receiver<u64>,
) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(connection(client, target, Arc::clone(&passed), limit.clone()));
    }
}

/// An error ends the connection, as it would without the door.
async fn connection(
    client: TcpStream,
    target: SocketAddr,
    passed: Arc<AtomicU64>,
    mut limit: watch::Receiver<u64>,
) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = TcpStream::connect(target).await?.into_split();
    let asking = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(drop) };
    let answering = async {
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let length = from_server.read(&mut chunk).await?;
            if length == 0 {
                return to_client.shutdown().await;
            }
            let after = passed.fetch_add(length as u64, Ordering::Relaxed) + length as u64;
            if limit.wait_for(|allowed| after <= *allowed).await.is_err() {
                return Ok(());
            }
            to_client.write_all(&chunk[..length]).await?;
        }
    };
    tokio::try_join!(asking, answering).map(drop)
}
