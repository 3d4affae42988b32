//! Scripted answers, for behaviour that no real server shows on demand.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use serde_json::Value;

/// A service that gives its answers in turn and records the requests. An answer with status 0
/// breaks the connection instead.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScriptedService {
    answers: Arc<Mutex<VecDeque<(u16, Value)>>>,
    asked: Arc<Mutex<Vec<Value>>>,
    read_timeouts: Arc<Mutex<Vec<Option<Duration>>>>,
}

impl ScriptedService {
    pub(crate) fn new(answers: impl IntoIterator<Item = (u16, Value)>) -> Self {
        let script = Self::default();
        script.answers.lock().expect("no panic while locked").extend(answers);
        script
    }

    /// The requests so far, in the JSON protocols' format.
    pub(crate) fn asked(&self) -> Vec<Value> {
        self.asked.lock().expect("no panic while locked").clone()
    }

    /// The read timeout of each request's client.
    pub(crate) fn read_timeouts(&self) -> Vec<Option<Duration>> {
        self.read_timeouts.lock().expect("no panic while locked").clone()
    }

    pub(crate) fn config(&self) -> SdkConfig {
        let script = self.clone();
        let credentials = Credentials::new("key", "secret", None, None, "tests");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http_client_fn(move |settings, _| {
                let timeout = settings.read_timeout();
                script.read_timeouts.lock().expect("no panic while locked").push(timeout);
                SharedHttpConnector::new(script.clone())
            }))
            .build()
    }
}

impl HttpConnector for ScriptedService {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = request.body().bytes().unwrap_or_default();
        let body = serde_json::from_slice(body).unwrap_or(Value::Null);
        self.asked.lock().expect("no panic while locked").push(body);
        let answer = self.answers.lock().expect("no panic while locked").pop_front();
        HttpConnectorFuture::ready(match answer.expect("a request that the script foresees") {
            (0, _) => Err(ConnectorError::io("connection reset".into())),
            (status, body) => Ok(HttpResponse::new(
                StatusCode::try_from(status).expect("a valid status"),
                SdkBody::from(body.to_string()),
            )),
        })
    }
}
