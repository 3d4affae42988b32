//! Credentials that are kept until they expire or are refused.

use std::error::Error as StdError;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use tokio::time::Instant;
use tracing::warn;

use crate::aws::signer::ShownCredentials;

/// Credentials are renewed this long before they expire, by the first who needs them then; everybody
/// else goes on with the old ones meanwhile. A role's last an hour.
const BEFORE_EXPIRY: Duration = Duration::from_secs(5 * 60);
/// From then on everybody waits for new ones, so that none expires in flight.
const LAST_MOMENT: Duration = Duration::from_secs(60);
/// Credentials that do not say when they expire are fetched again this often, as the SDK does.
const UNLIMITED_LAST: Duration = Duration::from_secs(15 * 60);
/// While the last credentials stay in use because fetching fails, it is tried again this often.
const ASKED_AGAIN: Duration = Duration::from_secs(60);
/// Credentials are used at least this long after they are fetched, whatever expiry they state.
const SHORTEST: Duration = Duration::from_secs(30);
/// Credentials fetched this recently are not fetched again when they are refused.
const FRESH: Duration = Duration::from_secs(10);

/// One side's credentials, for everything that signs on that side.
#[derive(Clone, Debug)]
pub(super) struct Renewed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    provider: SharedCredentialsProvider,
    current: RwLock<Current>,
    /// Held while credentials are fetched: all other callers wait for the same ones.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Current {
    kept: Option<KeptKeys>,
    /// The key that was kept before.
    before: Option<String>,
    /// The last keys that were fetched and have not been called expired since.
    good: Option<Credentials>,
    /// What may be said about the keys that were fetched last.
    seen: Option<ShownCredentials>,
}

#[derive(Debug)]
struct KeptKeys {
    /// Shared, since a copy of credentials is a copy of a map.
    keys: Arc<Credentials>,
    until: SystemTime,
    /// While others are fetched, these are still good until then.
    good_until: SystemTime,
    fetched: Instant,
    /// They differ from the previous ones.
    changed: bool,
}

impl Renewed {
    pub(super) fn new(provider: SharedCredentialsProvider) -> Self {
        let fetching = tokio::sync::Mutex::default();
        Self(Arc::new(Inner { provider, current: RwLock::default(), fetching }))
    }

    /// Notes that a store has refused a signature, or that there was none. Returns whether another
    /// try may succeed: either the credentials were not fetched just now, so they may have been
    /// rotated, or they have just replaced the refused ones. If there never were any credentials,
    /// there is nothing to retry.
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

    /// Notes that a store has called the credentials of this access key expired, whatever expiry
    /// they state. A late refusal of keys that have already been replaced does not affect the new
    /// ones. If the signing key is unknown, credentials that have just replaced others are assumed
    /// not to be the expired ones.
    pub(super) fn expired(&self, signed_by: Option<&str>) {
        let mut current = self.0.current.write().unwrap_or_else(PoisonError::into_inner);
        let is_of_others = current.kept.as_ref().is_some_and(|kept| match signed_by {
            Some(key) => key != kept.keys.access_key_id(),
            None => kept.changed && kept.fetched.elapsed() < FRESH,
        });
        if !is_of_others {
            current.forget();
            current.good = None;
        }
    }

    /// Whether there are none now, but were some before: the store has not been asked, and may be
    /// soon.
    pub(super) fn is_between(&self) -> bool {
        let current = self.0.current.read().unwrap_or_else(PoisonError::into_inner);
        current.kept.is_none() && current.before.is_some()
    }

    /// The last good keys, unless they have expired: in use while no others can be fetched.
    fn last_good(&self) -> Option<Credentials> {
        let current = self.0.current.read().unwrap_or_else(PoisonError::into_inner);
        let ends = |keys: &Credentials| keys.expiry().is_some_and(|end| end <= SystemTime::now());
        current.good.clone().filter(|keys| !ends(keys))
    }

    /// What may be said about the keys that were fetched last.
    pub(super) fn seen(&self) -> Option<ShownCredentials> {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).seen.clone()
    }

    /// The keys themselves.
    pub(super) async fn keys(&self) -> Result<Arc<Credentials>, CredentialsError> {
        self.fetch(|kept| Arc::clone(&kept.keys)).await
    }

    async fn fetch<T>(&self, of: impl Fn(&KeptKeys) -> T) -> Result<T, CredentialsError> {
        if let Some(kept) = self.kept(&of) {
            return Ok(kept);
        }
        let _one = match (self.0.fetching.try_lock(), self.still_good(&of)) {
            (Ok(one), _) => one,
            (Err(_), Some(kept)) => return Ok(kept),
            (Err(_), None) => self.0.fetching.lock().await,
        };
        if let Some(kept) = self.kept(&of) {
            return Ok(kept);
        }
        let (keys, again) = match self.0.provider.provide_credentials().await {
            Ok(keys) => (keys, None),
            Err(error) => {
                let Some(keys) = self.last_good() else { return Err(error) };
                let why = StdError::source(&error).map(ToString::to_string);
                let why = why.unwrap_or_else(|| error.to_string());
                warn!("credentials cannot be fetched again, the last ones stay in use: {why}");
                (keys, Some(SystemTime::now() + ASKED_AGAIN))
            }
        };
        let now = SystemTime::now();
        let until = match keys.expiry() {
            _ if again.is_some() => again.unwrap_or_else(SystemTime::now),
            // If the clock is far ahead, all of them look expired; the store decides.
            Some(expiry) => expiry.checked_sub(BEFORE_EXPIRY).unwrap_or(expiry).max(now + SHORTEST),
            None => now + UNLIMITED_LAST,
        };
        let moment = keys.expiry().and_then(|expiry| expiry.checked_sub(LAST_MOMENT));
        let good_until = moment.unwrap_or(until).max(until);
        let mut current = self.0.current.write().unwrap_or_else(PoisonError::into_inner);
        current.forget();
        let changed = current.before.as_deref().is_some_and(|key| key != keys.access_key_id());
        current.good = Some(keys.clone());
        current.seen = Some(ShownCredentials::of(&keys));
        let keys = Arc::new(keys);
        let kept = KeptKeys { keys, until, good_until, fetched: Instant::now(), changed };
        let answer = of(&kept);
        current.kept = Some(kept);
        Ok(answer)
    }

    fn still_good<T>(&self, of: impl Fn(&KeptKeys) -> T) -> Option<T> {
        let current = self.0.current.read().unwrap_or_else(PoisonError::into_inner);
        current.kept.as_ref().filter(|kept| SystemTime::now() < kept.good_until).map(of)
    }

    fn kept<T>(&self, of: impl Fn(&KeptKeys) -> T) -> Option<T> {
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
        future::ProvideCredentials::new(async { Ok(Credentials::clone(&*self.keys().await?)) })
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
            // A new key at every second fetch.
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

    /// Provides keys until the test makes it fail.
    #[derive(Debug, Default)]
    struct Failing(Arc<std::sync::atomic::AtomicBool>);

    impl ProvideCredentials for Failing {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::ready(match self.0.load(Ordering::Relaxed) {
                true => Err(CredentialsError::provider_error("no parameter")),
                false => Ok(Credentials::new("KEY", "s", None, None, "test")),
            })
        }
    }

    /// Promise 9.
    #[tokio::test(start_paused = true)]
    async fn the_last_good_ones_stay_in_use_while_no_others_can_be_fetched() {
        let failing = Failing::default();
        let fails = Arc::clone(&failing.0);
        let renewed = Renewed::new(SharedCredentialsProvider::new(failing));
        assert_eq!(key(&renewed).await, "KEY");
        fails.store(true, Ordering::Relaxed);
        tokio::time::advance(FRESH).await;
        assert!(renewed.refused(), "one odd object may be the reason");
        assert_eq!(key(&renewed).await, "KEY");
        renewed.expired(Some("KEY"));
        assert!(renewed.provide_credentials().await.is_err(), "these are good no more");
    }

    /// Expire in four minutes; the second fetch takes until the test lets it end.
    #[derive(Debug, Default)]
    struct Slow(AtomicU32, Arc<tokio::sync::Notify>);

    impl ProvideCredentials for Slow {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(async {
                let fetch = self.0.fetch_add(1, Ordering::Relaxed);
                if fetch > 0 {
                    self.1.notified().await;
                }
                let end = SystemTime::now() + Duration::from_secs(240);
                Ok(Credentials::new(format!("KEY{fetch}"), "s", None, Some(end), "test"))
            })
        }
    }

    /// Promise 9.
    #[tokio::test]
    async fn nobody_waits_for_a_renewal_while_the_old_ones_are_good() {
        let slow = Slow::default();
        let go_on = Arc::clone(&slow.1);
        let renewed = Renewed::new(SharedCredentialsProvider::new(slow));
        assert_eq!(key(&renewed).await, "KEY0");
        // As if the renewal were due: its time is the clock's, which a test cannot move.
        renewed.0.current.write().unwrap().kept.as_mut().unwrap().until = SystemTime::UNIX_EPOCH;
        let renewing = tokio::spawn({
            let renewed = renewed.clone();
            async move { key(&renewed).await }
        });
        tokio::task::yield_now().await;
        assert_eq!([key(&renewed).await, key(&renewed).await], ["KEY0", "KEY0"]);
        go_on.notify_one();
        assert_eq!(renewing.await.unwrap(), "KEY1");
        assert_eq!(key(&renewed).await, "KEY1");
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
        // The same key again: the second fetch.
        assert_eq!(key(&renewed).await, "KEY0");
        assert!(!renewed.refused());
        tokio::time::advance(FRESH).await;
        assert!(renewed.refused());
        assert_eq!(key(&renewed).await, "KEY1");
        assert!(renewed.refused(), "it may have been the old one that was refused");
        renewed.expired(Some("KEY1"));
        assert_eq!(key(&renewed).await, "KEY1");
    }

    // A session ends while many requests are in flight, and their refusals arrive one after
    // another.
    #[tokio::test(start_paused = true)]
    async fn late_refusals_of_the_old_ones_cost_the_new_ones_nothing() {
        for (signed_by, wait) in [(Some("KEY0"), FRESH * 10), (None, FRESH / 2)] {
            let counting = Counting::default();
            counting.0.store(1, Ordering::Relaxed);
            let renewed = Renewed::new(SharedCredentialsProvider::new(counting));
            assert_eq!(key(&renewed).await, "KEY0");
            renewed.expired(signed_by);
            assert_eq!(key(&renewed).await, "KEY1");
            tokio::time::advance(wait).await;
            for _ in 0..100 {
                renewed.expired(signed_by);
                assert_eq!(key(&renewed).await, "KEY1");
            }
            assert!(renewed.last_good().is_some());
            renewed.expired(Some("KEY1"));
            assert!(renewed.last_good().is_none(), "and these are given up in their turn");
        }
    }

    // A store that has not been asked has refused nothing.
    #[tokio::test(start_paused = true)]
    async fn credentials_that_nobody_was_shown_are_kept() {
        let renewed = Renewed::new(SharedCredentialsProvider::new(Counting::default()));
        assert!(!renewed.is_between(), "there never were any");
        key(&renewed).await;
        tokio::time::advance(FRESH).await;
        assert!(!renewed.is_between());
        assert!(renewed.refused() && renewed.is_between());
    }
}
