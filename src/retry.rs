//! Retries failed calls, and nothing else does; callers choose a policy per operation.
//!
//! SDK clients are built without retries.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::error::{Error, ErrorKind, Evidence, Next, Result};
use crate::mutex::lock;

/// How patient a call is.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Maximum number of tries, at least 1.
    pub tries: u32,
    /// Throttling does not use up tries, for up to a quarter of an hour. A service that does
    /// nothing but throttle for that long counts as down, and the caller decides what to do.
    pub patient: bool,
    /// The first pause is between zero and this; it doubles with each try.
    pub base: Duration,
    /// The longest pause, unless the service asks for a longer one.
    pub cap: Duration,
    /// How long to wait for a side that does not answer at all, regardless of the tries: for
    /// callers that have nothing else to do.
    pub outlasts: Duration,
    /// A try that takes longer is dropped and counts as unanswered; see [`untimed`].
    pub timeout: Duration,
}

impl Policy {
    /// For calls that carry no object data.
    pub fn control(max_retry: u32) -> Self {
        Self { timeout: Duration::from_secs(30), ..Self::data(max_retry, 0) }
    }

    /// For pages of a listing, which take long if the store must skip many deleted keys.
    pub fn listing(max_retry: u32) -> Self {
        Self { outlasts: PATIENCE, ..Self::data(max_retry, 0) }
    }

    /// For a call that moves `bytes`: the timeout of one try grows with them, at 32 KiB/s, so that
    /// a bad connection is slow and does not fail.
    pub fn data(max_retry: u32, bytes: u64) -> Self {
        Self {
            tries: max_retry,
            patient: true,
            outlasts: Duration::ZERO,
            base: Duration::from_millis(200),
            cap: Duration::from_secs(20),
            timeout: Duration::from_secs(120 + bytes / (32 * 1024)),
        }
    }

    /// For CompleteMultipartUpload: S3 may take minutes before it answers
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>).
    pub fn completion(max_retry: u32) -> Self {
        Self { timeout: Duration::from_secs(900), ..Self::control(max_retry) }
    }

    /// For the first call of a command: a mistyped endpoint should fail within seconds.
    pub fn probe() -> Self {
        Self { patient: false, timeout: Duration::from_secs(20), ..Self::control(3) }
    }

    /// The pause after try number `attempt` (from 1): full jitter
    /// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>), but at least
    /// as long as the service asked for.
    fn pause(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        let doubled = self.base.saturating_mul(1u32 << attempt.saturating_sub(1).min(16));
        let ceiling = doubled.min(self.cap);
        ceiling.mul_f64(fastrand::f64()).max(asked.unwrap_or_default())
    }
}

/// How long a service may throttle.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Calls `call` until it succeeds, fails permanently, has used up its tries, or `cancel` is
/// cancelled; cancelling drops the running call.
pub async fn retry<T, F, Fut>(policy: Policy, cancel: &CancellationToken, mut call: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let mut tried = 0;
    let mut throttled = 0;
    let (mut patience_ends, mut out_since) = (None, None);
    loop {
        let error = match once(policy.timeout, cancel, call()).await {
            Ok(value) => return Ok(value),
            Err(error) if error.kind().next() != Next::Retry => return Err(error),
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::Throttled if policy.patient && has_patience(&mut patience_ends) => {
                throttled += 1;
            }
            _ => tried += 1,
        }
        let since = match is_outage(&error) {
            true => *out_since.get_or_insert_with(Instant::now),
            false => {
                out_since = None;
                Instant::now()
            }
        };
        let waits = out_since.is_some() && since.elapsed() < policy.outlasts;
        if tried >= policy.tries && !waits {
            return Err(error.context(format_args!("given up after {tried} tries")));
        }
        let pause = policy.pause(tried + throttled, error.retry_after());
        report(&error, tried + throttled, pause);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = cancel.cancelled() => return Err(Error::cancelled()),
        }
    }
}

/// A store, a queue or a record whose calls are tried again.
#[derive(Debug)]
pub struct Retrying<'a, S: ?Sized> {
    /// Makes each call once.
    pub inner: &'a S,
    by: By,
    cancel: &'a CancellationToken,
}

/// Which policy a call has.
#[derive(Clone, Copy, Debug)]
enum By {
    /// That of its operation, with this many tries.
    Operation(u32),
    /// The same as all others.
    Policy(Policy),
}

impl<S: ?Sized> Clone for Retrying<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: ?Sized> Copy for Retrying<'_, S> {}

impl<'a, S: ?Sized> Retrying<'a, S> {
    /// Each call by the policy of its operation, with at most `max_retry` tries; `cancel` drops the
    /// running one.
    pub fn new(inner: &'a S, max_retry: u32, cancel: &'a CancellationToken) -> Self {
        Self { inner, by: By::Operation(max_retry), cancel }
    }

    /// All calls by one policy.
    pub fn by(inner: &'a S, policy: Policy, cancel: &'a CancellationToken) -> Self {
        Self { inner, by: By::Policy(policy), cancel }
    }

    /// All calls as the first of a command: see [`Policy::probe`].
    pub fn probing(inner: &'a S, cancel: &'a CancellationToken) -> Self {
        Self::by(inner, Policy::probe(), cancel)
    }

    /// With this many tries: for calls that only find something out.
    pub fn with_tries(self, max_retry: u32) -> Self {
        Self { by: By::Operation(max_retry), ..self }
    }

    fn policy(&self, of_operation: impl FnOnce(u32) -> Policy) -> Policy {
        match self.by {
            By::Operation(max_retry) => of_operation(max_retry),
            By::Policy(policy) => policy,
        }
    }

    /// For a call, or several at once, without object data.
    pub async fn control<T, F>(&self, call: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        retry(self.policy(Policy::control), self.cancel, call).await
    }

    /// For calls that move `bytes` in all.
    pub async fn data<T, F>(&self, bytes: u64, call: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let policy = self.policy(|max_retry| Policy::data(max_retry, bytes));
        retry(policy, self.cancel, call).await
    }

    /// For the completion of an upload.
    pub async fn completion<T, F>(&self, call: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        retry(self.policy(Policy::completion), self.cancel, call).await
    }
}

/// Gives [`Retrying`] these methods of a trait, none of which carries object data.
macro_rules! retrying {
    ($trait:ident: $($name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl<S: $trait + ?Sized> $crate::retry::Retrying<'_, S> {
            $(
                #[doc = concat!("[`", stringify!($trait), "::", stringify!($name), "`].")]
                pub async fn $name(&self, $($arg: $type),*) -> Result<$answer> {
                    self.control(|| self.inner.$name($($arg),*)).await
                }
            )*
        }
    };
}
pub(crate) use retrying;

/// Whether the service did not answer, or only a proxy that cannot reach it did.
fn is_outage(error: &Error) -> bool {
    let unanswered = |evidence: &Evidence| {
        evidence.status == 0 || (evidence.status >= 500 && evidence.is_bare())
    };
    error.kind() == ErrorKind::Unavailable && error.evidence().is_some_and(unanswered)
}

/// Whether to keep waiting for a throttling service; its time counts from the first throttled try.
fn has_patience(ends: &mut Option<Instant>) -> bool {
    let now = Instant::now();
    now < *ends.get_or_insert(now + PATIENCE)
}

/// A single transient fault is normal; several in a row are worth a warning.
fn report(error: &Error, attempt: u32, pause: Duration) {
    let pause_ms = pause.as_millis() as u64;
    match attempt.is_multiple_of(5) {
        true => warn!(attempt, pause_ms, "still trying: {error}"),
        false => debug!(attempt, pause_ms, "trying again: {error}"),
    }
}

async fn once<T>(
    timeout: Duration,
    cancel: &CancellationToken,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    let (began, waits) = (Instant::now(), Arc::new(Waits::default()));
    let mut call = std::pin::pin!(WAITS.scope(Arc::clone(&waits), call));
    let mut due = began + timeout;
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Error::cancelled()),
            answer = &mut call => return answer,
            () = tokio::time::sleep_until(due) => {}
        }
        let (now, later) = (Instant::now(), began + timeout + waits.total());
        if later <= now {
            let seconds = timeout.as_secs();
            let message = format!("no answer within {seconds} s");
            let error = Error::new(ErrorKind::Unavailable, message);
            return Err(error.with_evidence(Evidence::default()));
        }
        // Check again at most once a second while the wait goes on.
        due = later.max(now + Duration::from_secs(1));
    }
}

tokio::task_local! {
    static WAITS: Arc<Waits>;
}

/// Awaits `turn` while the timeout of the enclosing try stands still: waiting for one's turn is not
/// a missing answer. Outside of [`retry`], just awaits it.
pub async fn untimed<F: Future>(turn: F) -> F::Output {
    let _waiting = WAITS.try_with(Arc::clone).ok().map(Waiting::begin);
    turn.await
}

/// How long a try has waited for turns.
#[derive(Debug, Default)]
struct Waits(Mutex<Waited>);

#[derive(Debug, Default)]
struct Waited {
    /// Waits in progress; the two halves of a streamed part may wait at the same time.
    under_way: u32,
    since: Option<Instant>,
    before: Duration,
}

impl Waits {
    fn total(&self) -> Duration {
        let waited = lock(&self.0);
        waited.before + waited.since.map(|since| since.elapsed()).unwrap_or_default()
    }
}

/// A wait in progress; it ends when this is dropped.
struct Waiting(Arc<Waits>);

impl Waiting {
    fn begin(waits: Arc<Waits>) -> Self {
        let mut waited = lock(&waits.0);
        waited.under_way += 1;
        waited.since.get_or_insert_with(Instant::now);
        drop(waited);
        Self(waits)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waited = lock(&self.0.0);
        waited.under_way -= 1;
        if waited.under_way == 0
            && let Some(since) = waited.since.take()
        {
            waited.before += since.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const QUICK: Policy = Policy {
        tries: 3,
        patient: true,
        outlasts: Duration::ZERO,
        base: Duration::from_micros(1),
        cap: Duration::from_micros(10),
        timeout: Duration::from_secs(60),
    };

    async fn failing_with(kind: ErrorKind, until: u32) -> (Result<u32>, u32) {
        calling(QUICK, kind, until).await
    }

    async fn calling(policy: Policy, kind: ErrorKind, until: u32) -> (Result<u32>, u32) {
        let calls = AtomicU32::new(0);
        let cancel = CancellationToken::new();
        let result = retry(policy, &cancel, || async {
            match calls.fetch_add(1, Ordering::Relaxed) + 1 {
                call if call > until => Ok(call),
                _ => Err(Error::new(kind, "fault")),
            }
        })
        .await;
        (result, calls.into_inner())
    }

    /// Promise 9.
    #[tokio::test]
    async fn a_passing_fault_is_tried_again_and_a_permanent_one_is_not() {
        assert_eq!(failing_with(ErrorKind::Unavailable, 2).await.0.unwrap(), 3);
        assert_eq!(failing_with(ErrorKind::Unavailable, 9).await.1, 3);
        assert_eq!(failing_with(ErrorKind::Denied, 9).await.1, 1);
    }

    /// Promise 9.
    #[tokio::test]
    async fn throttling_does_not_use_up_the_tries() {
        assert_eq!(failing_with(ErrorKind::Throttled, 50).await.0.unwrap(), 51);
        let probe = Policy { patient: false, ..QUICK };
        assert_eq!(calling(probe, ErrorKind::Throttled, 50).await.1, 3);
    }

    /// Promise 9.
    #[tokio::test(start_paused = true)]
    async fn a_service_that_asks_for_patience_for_ever_is_given_up() {
        let policy =
            Policy { cap: Duration::from_secs(20), base: Duration::from_secs(20), ..QUICK };
        let began = Instant::now();
        let (ended, calls) = calling(policy, ErrorKind::Throttled, u32::MAX).await;
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::Throttled);
        assert!(began.elapsed() >= PATIENCE && calls > 10, "{calls}");
    }

    /// Promise 9.
    #[tokio::test(start_paused = true)]
    async fn who_has_nothing_else_to_do_outlasts_an_outage_and_no_fault() {
        let policy = Policy { outlasts: PATIENCE, cap: Duration::from_secs(20), ..QUICK };
        let policy = Policy { base: Duration::from_secs(20), ..policy };
        let cancel = CancellationToken::new();
        for (status, code, outlasts) in
            [(0, "", true), (502, "", true), (500, "InternalError", false)]
        {
            let began = Instant::now();
            let never = || async {
                let evidence = Evidence { status, code: code.to_owned(), ..Evidence::default() };
                Err::<(), _>(Error::new(ErrorKind::Unavailable, "fault").with_evidence(evidence))
            };
            retry(policy, &cancel, never).await.unwrap_err();
            assert_eq!(began.elapsed() >= PATIENCE, outlasts, "{status}");
        }
    }

    /// Promise 7.
    #[tokio::test]
    async fn cancelling_ends_a_call_that_never_answers() {
        let cancel = CancellationToken::new();
        cancel.cancel();
        let never = retry(QUICK, &cancel, std::future::pending::<Result<()>>);
        assert_eq!(never.await.unwrap_err().kind(), ErrorKind::Cancelled);
    }

    /// Promise 9.
    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_turn_is_no_lack_of_an_answer() {
        let cancel = CancellationToken::new();
        let once = Policy { tries: 1, ..QUICK };
        let slow = |wait: u64, work: u64| async move {
            untimed(tokio::time::sleep(Duration::from_secs(wait))).await;
            tokio::time::sleep(Duration::from_secs(work)).await;
            Ok(())
        };
        retry(once, &cancel, || slow(3600, 59)).await.unwrap();
        let late = retry(once, &cancel, || slow(3600, 65)).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Unavailable);
    }

    /// Promise 9.
    #[test]
    fn a_service_that_names_a_pause_gets_it() {
        let asked = Duration::from_secs(7);
        assert!(QUICK.pause(1, Some(asked)) >= asked);
        assert!(QUICK.pause(40, None) <= QUICK.cap);
    }
}
