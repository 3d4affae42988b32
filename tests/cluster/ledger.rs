//! A way to a server that counts the calls of the JSON protocols (SQS, DynamoDB, SSM) by name: what a
//! migration costs is what is asked of the services, not what the program believes to have asked.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// The header that names the call, as hyper writes it.
const TARGET: &[u8] = b"x-amz-target: ";
/// In the body of every call that is about the fleet's board: how often those come is a matter of
/// time, so they are counted as [`BOARD_CALLS`].
const BOARD: &[u8] = b"note:fleet:";
/// The name of those calls.
pub const BOARD_CALLS: &str = "the fleet's board";

type Counts = Arc<Mutex<BTreeMap<String, u64>>>;

/// Stands in front of a server. Dropping it cuts every connection.
pub struct Ledger {
    url: String,
    counts: Counts,
    server: JoinHandle<()>,
}

impl Ledger {
    /// Passes everything to and from the server at `target`.
    pub async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let counts = Counts::default();
        let server = tokio::spawn(serve(listener, target, Arc::clone(&counts)));
        Self { url: format!("http://{address}"), counts, server }
    }

    /// Its own address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Calls so far, by name without the service's version: `SendMessageBatch`, `UpdateItem`.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, target: SocketAddr, counts: Counts) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(connection(client, target, Arc::clone(&counts)));
    }
}

/// An error ends the connection, as it would without the ledger.
async fn connection(client: TcpStream, target: SocketAddr, counts: Counts) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = TcpStream::connect(target).await?.into_split();
    let asking = async {
        let (mut chunk, mut unread, mut last) = (vec![0; 64 * 1024], Vec::new(), None);
        loop {
            let length = from_client.read(&mut chunk).await?;
            if length == 0 {
                return to_server.shutdown().await;
            }
            unread.extend_from_slice(&chunk[..length]);
            count(&mut unread, &mut last, &counts);
            to_server.write_all(&chunk[..length]).await?;
        }
    };
    let answering = async { tokio::io::copy(&mut from_server, &mut to_client).await.map(drop) };
    tokio::try_join!(asking, answering).map(drop)
}

/// Counts the whole headers in `unread` and leaves what may be the beginning of one; `last`: the name of
/// the call whose body is being read.
fn count(unread: &mut Vec<u8>, last: &mut Option<String>, counts: &Counts) {
    loop {
        let (header, board) = (find(unread, TARGET), find(unread, BOARD));
        match (header, board) {
            (Some(at), board) if board.is_none_or(|board| at < board) => {
                let value = &unread[at + TARGET.len()..];
                let Some(end) = find(value, b"\r\n") else { return drop(unread.drain(..at)) };
                let name = String::from_utf8_lossy(&value[..end]);
                let name = name.rsplit('.').next().unwrap_or_default().to_owned();
                add(counts, &name, 1);
                *last = Some(name);
                unread.drain(..at + TARGET.len() + end);
            }
            (_, Some(at)) => {
                if let Some(name) = last.take() {
                    add(counts, &name, -1);
                    add(counts, BOARD_CALLS, 1);
                }
                unread.drain(..at + BOARD.len());
            }
            (_, None) => break,
        }
    }
    let useless = unread.len().saturating_sub(TARGET.len().max(BOARD.len()) - 1);
    unread.drain(..useless);
}

fn add(counts: &Counts, name: &str, calls: i64) {
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    let count = counts.entry(name.to_owned()).or_default();
    *count = count.saturating_add_signed(calls);
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
