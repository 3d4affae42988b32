//! Credentials that are kept until they end, or until they are refused.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_smithy_runtime_api::client::identity::Identity;
use tokio::time::Instant;

/// Credentials are fetched anew this long before they end, so that none ends on the way.
const BEFORE_EXPIRY: Duration = Duration::from_secs(60);
/// Credentials that do not say when they end are asked for again this often, as the SDK does.
const UNLIMITED_LAST: Duration = Duration::from_secs(15 * 60);
/// Credentials fetched so recently are not fetched again because they are refused.
const FRESH: Duration = Duration::from_secs(10);

/// One side's credentials, for all who sign on that side.
#[derive(Clone, Debug)]
pub(super) struct Renewed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    provider: SharedCredentialsProvider,
    current: RwLock<Current>,
    /// Held while credentials are fetched: everybody else waits for the same ones.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Current {
    kept: Option<Kept>,
    /// The key that was kept before.
    before: Option<String>,
}

#[derive(Debug)]
struct Kept {
    keys: Credentials,
    identity: Identity,
    until: SystemTime,
    fetched: Instant,
    /// They are others than those before them.
    changed: bool,
}

impl Renewed {
    pub(super) fn new(provider: SharedCredentialsProvider) -> Self {
        let fetching = tokio::sync::Mutex::default();
        Self(Arc::new(Inner { provider, current: RwLock::default(), fetching }))
    }

    /// Told that a store has refused a signature, or that there was none. Whether another try may
    /// fare better: the credentials were not fetched just now, so that they may have been rotated,
    /// or they have just replaced the ones that were refused. Where there never were any, there
    /// is nothing to try again.
    pub(super) fn refused(&self) -> bool {
        let mut current = self.0.current.write().unwrap_or_else(PoisonError::into_inner);
        match &current.kept {
            None => current.before.is_some(),
            Some(kept) if kept.fetched.elapsed() < FRESH => kept.changed,
            Some(_) => {
                current.forget();
                true
            }
        }
    }

    /// Told that a store has called the credentials expired, whatever they say themselves.
    pub(super) fn expired(&self) {
        self.0.current.write().unwrap_or_else(PoisonError::into_inner).forget();
    }

    /// The identity to sign with.
    pub(super) async fn identity(&self) -> Result<Identity, CredentialsError> {
        self.fetch(|kept| kept.identity.clone()).await
    }

    async fn fetch<T>(&self, of: impl Fn(&Kept) -> T) -> Result<T, CredentialsError> {
        if let Some(kept) = self.kept(&of) {
            return Ok(kept);
        }
        let _one = self.0.fetching.lock().await;
        if let Some(kept) = self.kept(&of) {
            return Ok(kept);
        }
        let keys = self.0.provider.provide_credentials().await?;
        let until = match keys.expiry() {
            Some(expiry) => expiry.checked_sub(BEFORE_EXPIRY).unwrap_or(expiry),
            None => SystemTime::now() + UNLIMITED_LAST,
        };
        let mut current = self.0.current.write().unwrap_or_else(PoisonError::into_inner);
        current.forget();
        let changed = current.before.as_deref().is_some_and(|key| key != keys.access_key_id());
        let identity = Identity::from(keys.clone());
        let kept = Kept { keys, identity, until, fetched: Instant::now(), changed };
        let answer = of(&kept);
        current.kept = Some(kept);
        Ok(answer)
    }

    fn kept<T>(&self, of: impl Fn(&Kept) -> T) -> Option<T> {
        let current = self.0.current.read().unwrap_or_else(PoisonError::into_inner);
        current.kept.as_ref().filter(|kept| SystemTime::now() < kept.until).map(of)
    }
}

impl Current {
    fn forget(&mut self) {
        if let Some(kept) = self.kept.take() {
            self.before = Some(kept.keys.access_key_id().to_owned());
        }
    }
}

impl ProvideCredentials for Renewed {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.fetch(|kept| kept.keys.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    struct Counting(AtomicU32);

    impl ProvideCredentials for Counting {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            // A new key at every other fetch.
            let key = format!("KEY{}", self.0.fetch_add(1, Ordering::Relaxed) / 2);
            future::ProvideCredentials::ready(Ok(Credentials::new(key, "s", None, None, "test")))
        }
    }

    #[tokio::test]
    async fn where_there_never_were_credentials_nothing_is_worth_another_try() {
        #[derive(Debug)]
        struct Nobody;
        impl ProvideCredentials for Nobody {
            fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
            where
                Self: 'a,
            {
                future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("none")))
            }
        }
        let renewed = Renewed::new(SharedCredentialsProvider::new(Nobody));
        assert!(renewed.provide_credentials().await.is_err());
        assert!(!renewed.refused());
    }

    async fn key(renewed: &Renewed) -> String {
        renewed.provide_credentials().await.unwrap().access_key_id().to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_are_kept_until_they_are_refused() {
        let renewed = Renewed::new(SharedCredentialsProvider::new(Counting::default()));
        assert_eq!([key(&renewed).await, key(&renewed).await], ["KEY0", "KEY0"]);
        assert!(!renewed.refused(), "fetched just now, another try would fare no better");
        tokio::time::advance(FRESH).await;
        assert!(renewed.refused());
        // The same again: the second fetch.
        assert_eq!(key(&renewed).await, "KEY0");
        assert!(!renewed.refused());
        tokio::time::advance(FRESH).await;
        assert!(renewed.refused());
        assert_eq!(key(&renewed).await, "KEY1");
        assert!(renewed.refused(), "it may have been the old one that was refused");
        renewed.expired();
        assert_eq!(key(&renewed).await, "KEY1");
    }
}
