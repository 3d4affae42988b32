//! Authentication, counters, and a gate at which a test may hold or refuse a call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey, SimpleAuth};
use s3s::{S3Result, s3_error};

/// A gate that calls wait at, so that a test can observe, hold or refuse them.
#[async_trait]
pub trait Gate: Send + Sync + 'static {
    /// Awaited after a call is authenticated and before its body is read; `key` is empty if the
    /// operation has none.
    async fn before(&self, operation: &str, bucket: &str, key: &str) -> Passage;
}

/// A gate's decision on a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// The call goes on.
    Free,
    /// The call is answered with 503 SlowDown.
    Refused,
}

/// Requests and bytes of one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperationStats {
    /// Calls, counted before the gate, regardless of their outcome.
    pub requests: u64,
    /// Bytes of object data received.
    pub bytes_in: u64,
    /// Bytes of object data sent.
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

/// Accepts a single key, which may be rotated; unlike [`SimpleAuth`] it refuses others with S3's
/// error code.
#[derive(Clone)]
pub(super) struct OneKey(Arc<Mutex<SimpleAuth>>);

impl OneKey {
    pub(super) fn new(access_key: String, secret_key: String) -> Self {
        Self(Arc::new(Mutex::new(SimpleAuth::from_single(access_key, secret_key))))
    }

    /// Replaces the key that may call.
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

/// Checks every operation before it runs.
pub(super) struct Guard {
    pub(super) stats: Arc<Stats>,
    pub(super) gate: Option<Arc<dyn Gate>>,
}

impl Guard {
    /// Admits an authenticated call: counts it, then awaits the gate.
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

/// Shared by two of the endpoint's hooks.
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
