//! Two ways to end work, both final: `stop` (nothing new) and `abort` (at once, keeping parts).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Shared by everything that works; ending a child does not end its parent.
#[derive(Clone, Debug, Default)]
pub struct Halt {
    /// No new jobs, no new parts; what is running finishes.
    pub stop: CancellationToken,
    /// Cuts what is running. Uploads stay for the next worker.
    pub abort: CancellationToken,
    cause: Arc<OnceLock<String>>,
}

impl Halt {
    /// Nothing is halted yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Halts with `self`, and can be halted by itself.
    pub fn child(&self) -> Self {
        self.within(&self.abort)
    }

    /// Stops with `self`, and aborts with `abort`.
    pub fn within(&self, abort: &CancellationToken) -> Self {
        let (stop, abort) = (self.stop.child_token(), abort.child_token());
        Self { stop, abort, cause: Arc::clone(&self.cause) }
    }

    /// Stops, for a short reason such as `SIGTERM`. The first reason given stays.
    pub fn stop_because(&self, cause: &str) {
        let _ = self.cause.set(cause.to_owned());
        self.stop.cancel();
    }

    /// The reason given for the stop.
    pub fn cause(&self) -> Option<&str> {
        self.cause.get().map(String::as_str)
    }

    /// Whether nothing new should begin.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled() || self.abort.is_cancelled()
    }

    /// Waits for `ready`, unless the work stops first: for use before anything new.
    pub async fn unless_stopping<T>(&self, ready: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            () = self.abort.cancelled() => None,
            value = ready => Some(value),
        }
    }

    /// Waits for `ready`, unless the work is aborted first: for whatever must not outlast the grace
    /// time.
    pub async fn unless_aborted<T>(&self, ready: impl Future<Output = T>) -> Option<T> {
        self.abort.run_until_cancelled(ready).await
    }

    /// Stops, and aborts when `grace` has passed. Returns at once if it is aborted earlier.
    pub async fn drain(&self, grace: Duration) {
        self.stop.cancel();
        tokio::select! {
            () = tokio::time::sleep(grace) => self.abort.cancel(),
            () = self.abort.cancelled() => {}
        }
    }
}

/// SIGTERM and SIGINT (Ctrl-C), from now on.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Waits for the next signal; returns its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Begins to listen: from now on, neither signal ends the process.
pub fn signalled() -> std::io::Result<Signals> {
    let terminate = signal(SignalKind::terminate())?;
    let interrupt = signal(SignalKind::interrupt())?;
    Ok(Signals { terminate, interrupt })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stays_and_is_known_to_all() {
        let halt = Halt::new();
        let child = halt.child();
        assert_eq!((child.cause(), child.is_stopping()), (None, false));
        halt.stop_because("SIGTERM");
        halt.stop_because("a Spot interruption");
        assert_eq!((child.cause(), child.is_stopping()), (Some("SIGTERM"), true));
    }
}
