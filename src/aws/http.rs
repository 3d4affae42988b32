//! Sends the SDK's requests on our own connections (`dial`), so that its calls trust the same
//! authorities and reach the same addresses as ours.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};

use crate::mutex::lock;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use hyper::Uri;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;
use tower_service::Service;

use super::dial::{Dial, Stream};
use super::trust::Trust;

/// Servers close a connection after some idle time, AWS after about 20 s.
const MAX_IDLE: Duration = Duration::from_secs(15);

/// Most headers of one answer. User metadata may be 2 KiB in hundreds of small headers, and some
/// stores accept more; hyper's own limit is 100.
pub const MAX_HEADERS: usize = 768;

/// The variables that name a proxy: only the SDK's own connections can use one.
const PROXIES: &[&str] =
    &["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

type Cause = Box<dyn StdError + Send + Sync>;

/// Whether requests use a proxy, or might.
pub fn has_proxy() -> bool {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    PROXIES.iter().any(is_set)
}

/// The HTTP client of the SDK's clients.
pub fn client(trust: &Trust) -> SharedHttpClient {
    match has_proxy() {
        true => by_proxy(trust),
        false => SharedHttpClient::new(Direct::new(Dial::new(trust.clone()))),
    }
}

fn by_proxy(trust: &Trust) -> SharedHttpClient {
    let mut store = TrustStore::default();
    for pem in trust.pems() {
        store.add_pem_certificate(pem);
    }
    Builder::new().build_with_connector_fn(move |settings, components| {
        let tls = TlsContext::builder().with_trust_store(store.clone()).build();
        let mut builder = ConnectorBuilder::default()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(tls.unwrap_or_default())
            .proxy_config(ProxyConfig::from_env());
        builder.set_connector_settings(settings.cloned());
        builder.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        builder.build()
    })
}

type Connections = Client<Limited, SdkBody>;

/// Connects the SDK to our connections. Each connect timeout has its own pool.
#[derive(Clone, Debug)]
struct Direct {
    dial: Dial,
    pools: Arc<Mutex<HashMap<Option<Duration>, Connections>>>,
}

impl Direct {
    fn new(dial: Dial) -> Self {
        Self { dial, pools: Arc::default() }
    }

    fn pool(&self, limit: Option<Duration>) -> Connections {
        let mut pools = lock(&self.pools);
        let new = || {
            Client::builder(TokioExecutor::new())
                .pool_idle_timeout(MAX_IDLE)
                .pool_timer(TokioTimer::new())
                .http1_max_headers(MAX_HEADERS)
                .build(Limited { dial: self.dial.clone(), limit })
        };
        pools.entry(limit).or_insert_with(new).clone()
    }
}

impl HttpClient for Direct {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let pool = self.pool(settings.connect_timeout());
        SharedHttpConnector::new(PooledClient { pool, limit: settings.read_timeout() })
    }
}

/// Sends one client's requests.
#[derive(Debug)]
struct PooledClient {
    pool: Connections,
    /// How soon an answer must begin.
    limit: Option<Duration>,
}

impl HttpConnector for PooledClient {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
            }
        };
        let (answer, limit) = (self.pool.request(request), self.limit);
        HttpConnectorFuture::new(async move {
            let answer = match limit {
                None => answer.await,
                Some(limit) => match timeout(limit, answer).await {
                    Ok(answer) => answer,
                    Err(_) => {
                        let said = format!("no answer within {limit:?}");
                        return Err(ConnectorError::timeout(said.into()));
                    }
                },
            };
            let answer = answer.map_err(|error| ConnectorError::io(error.into()))?;
            HttpResponse::try_from(answer.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// Opens connections within a time limit.
#[derive(Clone, Debug)]
struct Limited {
    dial: Dial,
    limit: Option<Duration>,
}

impl Service<Uri> for Limited {
    type Response = Stream;
    type Error = Cause;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Cause>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { dial, limit } = self.clone();
        Box::pin(async move {
            match limit {
                None => dial.open(uri).await,
                Some(limit) => match timeout(limit, dial.open(uri)).await {
                    Ok(opened) => opened,
                    Err(_) => Err(format!("no connection within {limit:?}").into()),
                },
            }
        })
    }
}
