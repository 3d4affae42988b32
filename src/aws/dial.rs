//! Opens connections: tries the addresses of a name in parallel, and trusts TLS as `trust` says.

use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tower_service::Service;

use super::trust::Trust;

/// Time limit for one address. On a lossy line of 300 ms the system resends its first packet after
/// 1, 3 and 7 s (RFC 6298), so three of four may be lost.
const ONE_ADDRESS: Duration = Duration::from_secs(10);

/// The next address is tried as well after this time, as in "happy eyeballs" (RFC 8305). A shorter
/// time would open two connections on a line that merely has a high latency.
const NEXT_ADDRESS: Duration = Duration::from_millis(500);

/// A TLS handshake takes two round trips; a server that does not speak TLS may silently wait for
/// more.
const HANDSHAKE: Duration = Duration::from_secs(12);

/// At most this many addresses are tried for one connection.
const MOST_ADDRESSES: usize = 16;

/// An idle connection is probed after this time, so that routers on the way do not forget it and
/// requests do not wait for a server that is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const KEEP_ALIVE_AGAIN: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TRIES: u32 = 3;

/// How long the other side may leave bytes unacknowledged, or have no room for them, before the
/// connection ends (TCP_USER_TIMEOUT, RFC 5482). A megabyte may wait in the system's buffers, and
/// nothing else notices that it does not move.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

type Cause = Box<dyn StdError + Send + Sync>;

/// A connection, with TLS if the URL says https.
pub type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Opens connections.
#[derive(Clone, Debug)]
pub struct Dial {
    tcp: Tcp,
    trust: Trust,
    /// Made at the first HTTPS call, since reading the system's root certificates takes tens of
    /// milliseconds.
    tls: Arc<OnceLock<Result<Arc<ClientConfig>, String>>>,
}

impl Dial {
    /// Trusts TLS as `trust` says.
    pub fn new(trust: Trust) -> Self {
        let mut one = HttpConnector::new();
        // A request's head and a small body must not wait for an acknowledgement.
        one.set_nodelay(true);
        one.set_keepalive(Some(KEEP_ALIVE));
        one.set_keepalive_interval(Some(KEEP_ALIVE_AGAIN));
        one.set_keepalive_retries(Some(KEEP_ALIVE_TRIES));
        #[cfg(target_os = "linux")]
        one.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        Self { tcp: Tcp(one), trust, tls: Arc::default() }
    }

    async fn secured(&self, uri: Uri) -> Result<Stream, Cause> {
        let build = || self.trust.tls().map(Arc::new).map_err(|error| error.to_string());
        let tls = self.tls.get_or_init(build).clone()?;
        let made = Made(Some(self.tcp.clone().call(uri.clone()).await?));
        match timeout(HANDSHAKE, HttpsConnector::from((made, tls)).call(uri)).await {
            Ok(secured) => secured,
            Err(_) => {
                let said =
                    format!("no TLS handshake within {HANDSHAKE:?}: {}", super::RIGHT_ENDPOINT);
                Err(io::Error::new(io::ErrorKind::TimedOut, said).into())
            }
        }
    }

    /// Opens a connection to the server of this URL.
    pub async fn open(&self, uri: Uri) -> Result<Stream, Cause> {
        match uri.scheme_str() {
            Some("https") => self.secured(uri).await,
            _ => self.tcp.clone().call(uri).await.map(MaybeHttpsStream::Http),
        }
    }
}

/// Opens connections without TLS.
#[derive(Clone, Debug)]
struct Tcp(HttpConnector);

impl Tcp {
    async fn open(self, uri: Uri) -> Result<TokioIo<TcpStream>, Cause> {
        let host = uri.host().ok_or("the URL has no host")?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(usual);
        let addresses = match host.parse() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => tokio::net::lookup_host((host, port))
                .await
                .map_err(|error| format!("{host} is not found: {error}"))?
                .collect(),
        };
        let one = |address: SocketAddr| {
            let mut one = self.0.clone();
            async move {
                let uri = Uri::try_from(format!("http://{address}"))?;
                one.call(uri).await.map_err(|error| Cause::from(Unreached(address, error.into())))
            }
        };
        first(alternating(addresses), one).await
    }
}

impl Service<Uri> for Tcp {
    type Response = TokioIo<TcpStream>;
    type Error = Cause;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Cause>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().open(uri))
    }
}

/// A connector that returns a connection which is already open.
struct Made(Option<TokioIo<TcpStream>>);

impl Service<Uri> for Made {
    type Response = TokioIo<TcpStream>;
    type Error = Cause;
    type Future = std::future::Ready<Result<Self::Response, Cause>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        std::future::ready(self.0.take().ok_or_else(|| "the connection is in use".into()))
    }
}

/// Alternates between the address families, beginning with the system's first choice: if one family
/// is unreachable, the other is tried next.
fn alternating(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, others): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first);
    let (mut preferred, mut others) = (preferred.into_iter(), others.into_iter());
    let mut ordered = Vec::new();
    loop {
        let pair = [preferred.next(), others.next()];
        if pair == [None, None] {
            ordered.truncate(MOST_ADDRESSES);
            return ordered;
        }
        ordered.extend(pair.into_iter().flatten());
    }
}

/// The first connection to succeed. The next address is tried when the previous one has failed or
/// is slow; a slow attempt goes on.
async fn first<S, F>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<S, Cause>
where
    F: Future<Output = Result<S, Cause>>,
{
    let one = |address| {
        let connecting = connect(address);
        async move {
            let late = |_| Cause::from(Unreached(address, silent()));
            timeout(ONE_ADDRESS, connecting).await.map_err(late)?
        }
    };
    let mut waiting = addresses.into_iter();
    let mut tried = FuturesUnordered::new();
    let mut failed: Option<Cause> = None;
    loop {
        tried.extend(waiting.next().map(one));
        tokio::select! {
            biased;
            ended = tried.next() => match ended {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => failed = Some(failed.unwrap_or(error)),
                None => return Err(failed.unwrap_or_else(|| "the host has no address".into())),
            },
            () = sleep(NEXT_ADDRESS), if waiting.len() > 0 => {}
        }
    }
}

fn silent() -> Cause {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {ONE_ADDRESS:?}")).into()
}

/// An address to which no connection could be made.
#[derive(Debug)]
struct Unreached(SocketAddr, Cause);

impl std::fmt::Display for Unreached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no connection to {}", self.0)
    }
}

impl StdError for Unreached {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.1)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn both_families_take_turns() {
        let of = |texts: &[&str]| texts.iter().map(|text| address(text)).collect::<Vec<_>>();
        let given = of(&["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1", "10.0.0.2:1"]);
        let tried = of(&["[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "[::3]:1"]);
        assert_eq!(alternating(given), tried);
        assert_eq!(alternating(vec![address("10.0.0.1:1"); 40]).len(), MOST_ADDRESSES);
    }

    /// The last byte of an address decides the outcome: silence for ever, an immediate refusal, or
    /// an answer after that many times ten milliseconds.
    async fn play(address: SocketAddr) -> Result<u16, Cause> {
        match address.ip().to_string().rsplit('.').next().unwrap().parse::<u64>().unwrap() {
            0 => std::future::pending().await,
            1 => Err("refused".into()),
            late => {
                sleep(Duration::from_millis(late * 10)).await;
                Ok(address.port())
            }
        }
    }

    async fn dialled(last: &[u8]) -> (Result<u16, String>, Duration) {
        let addresses = last.iter().enumerate();
        let addresses = addresses.map(|(i, n)| address(&format!("10.0.0.{n}:{}", i + 1)));
        let began = Instant::now();
        let answer = first(addresses.collect(), play).await;
        (answer.map_err(|error| error.to_string()), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_is_silent_costs_little_and_no_good_one_its_time() {
        let ms = Duration::from_millis;
        // Latency of 300 ms: no second connection.
        assert_eq!(dialled(&[30, 30]).await, (Ok(1), ms(300)));
        // A dead address before a good one.
        assert_eq!(dialled(&[0, 30]).await, (Ok(2), ms(800)));
        assert_eq!(dialled(&[1, 1, 30]).await, (Ok(3), ms(300)));
        // Eight addresses on a line that has lost the first packets: each may take several seconds.
        assert_eq!(dialled(&[0, 0, 0, 0, 0, 0, 0, 250]).await, (Ok(8), ms(3500 + 2500)));
        assert_eq!(dialled(&[250; 8]).await, (Ok(1), ms(2500)));
        let (failed, took) = dialled(&[0; 8]).await;
        assert!(failed.unwrap_err().contains("10.0.0.0:1"));
        assert_eq!(took, ms(3500) + ONE_ADDRESS);
        assert_eq!(dialled(&[1]).await.0, Err("refused".to_owned()));
        assert!(dialled(&[]).await.0.unwrap_err().contains("no address"));
    }
}
