//! Who may call, what is counted, and where a test may hold or refuse a call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey, SimpleAuth};
use s3s::{S3Result, s3_error};

/// A place where calls wait, so that a test can observe them, hold one back or refuse it.
#[async_trait]
pub trait Gate: Send + Sync + 'static {
    /// Awaited once a call is authenticated, before its body is read; `key` is empty where the
    /// operation has none.
    async fn before(&self, operation: &str, bucket: &str, key: &str) -> Passage;
}

/// What a gate says of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It goes on.
    Free,
    /// It is answered with 503 SlowDown.
    Refused,
}

/// What one operation was asked and moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperationStats {
    /// Calls, counted before the gate, whatever their outcome.
    pub requests: u64,
    /// Bytes of object data that came in.
    pub bytes_in: u64,
    /// Bytes of object data that went out.
    pub bytes_out: u64,
}

/// The counters of an endpoint.
#[derive(Default)]
pub(super) struct Stats(Mutex<BTreeMap<String, OperationStats>>);

impl Stats {
    pub(super) fn snapshot(&self) -> BTreeMap<String, OperationStats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn bytes_in(&self, operation: &str, bytes: u64) {
        self.update(operation, |stats| stats.bytes_in += bytes);
    }

    pub(super) fn bytes_out(&self, operation: &str, bytes: u64) {
        self.update(operation, |stats| stats.bytes_out += bytes);
    }

    fn update(&self, operation: &str, change: impl FnOnce(&mut OperationStats)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(operation) {
            Some(stats) => change(stats),
            None => change(all.entry(operation.to_owned()).or_default()),
        }
    }
}

/// Knows a single key, which may be rotated; unlike [`SimpleAuth`] it refuses others with the code that
/// S3 uses.
#[derive(Clone)]
pub(super) struct OneKey(Arc<Mutex<SimpleAuth>>);

impl OneKey {
    pub(super) fn new(access_key: String, secret_key: String) -> Self {
        Self(Arc::new(Mutex::new(SimpleAuth::from_single(access_key, secret_key))))
    }

    /// From now on another key is the one that may call.
    pub(super) fn rotate(&self, access_key: String, secret_key: String) {
        *self.key() = SimpleAuth::from_single(access_key, secret_key);
    }

    fn key(&self) -> MutexGuard<'_, SimpleAuth> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl S3Auth for OneKey {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let known = self.key().lookup(access_key).cloned();
        known.ok_or_else(|| s3_error!(InvalidAccessKeyId, "the access key id does not exist"))
    }
}

/// Stands before every operation.
pub(super) struct Guard {
    pub(super) stats: Arc<Stats>,
    pub(super) gate: Option<Arc<dyn Gate>>,
}

impl Guard {
    /// Lets an authenticated call in: counts it and takes it to the gate.
    pub(super) async fn admit(
        &self,
        authenticated: bool,
        operation: &str,
        bucket: &str,
        key: &str,
    ) -> S3Result<()> {
        if !authenticated {
            return Err(s3_error!(AccessDenied, "anonymous calls are not allowed"));
        }
        self.stats.update(operation, |stats| stats.requests += 1);
        let passage = match &self.gate {
            Some(gate) => gate.before(operation, bucket, key).await,
            None => Passage::Free,
        };
        match passage {
            Passage::Free => Ok(()),
            Passage::Refused => Err(s3_error!(SlowDown, "please reduce your request rate")),
        }
    }
}

/// Held by two of the endpoint's hooks.
pub(super) struct SharedGuard(pub(super) Arc<Guard>);

#[async_trait]
impl S3Access for SharedGuard {
    async fn check(&self, call: &mut S3AccessContext<'_>) -> S3Result<()> {
        let path = call.s3_path();
        let bucket = path.get_bucket_name().unwrap_or_default();
        let key = path.get_object_key().unwrap_or_default();
        self.0.admit(call.credentials().is_some(), call.s3_op().name(), bucket, key).await
    }
}
