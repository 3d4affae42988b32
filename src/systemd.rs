//! What systemd learns of a service: ready, status, alive, stopping.
//!
//! The protocol: <https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html>.
//!
//! Without `NOTIFY_SOCKET` in the environment nothing is sent.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::error;

use crate::compare::Reach;
use crate::monitor::Monitor;
use crate::monitor::liveness::{Hung, Limits};
use crate::shutdown::Halt;

mod socket;
mod status_text;
#[cfg(test)]
mod tests;

use socket::Word;

/// The longest time between two status messages.
const EVERY: Duration = Duration::from_secs(5);
/// The shortest time between them, even if the watchdog asks for less.
const SHORTEST: Duration = Duration::from_millis(50);
/// A draining worker has this long from one message to the next. So systemd waits for a `GraceTime`
/// longer than the unit's TimeoutStopSec, but not for a worker that hangs.
const EXTENSION: Duration = Duration::from_secs(30);

/// Sends the words of one datagram; `false` if it was not taken.
type Listener = Arc<dyn Fn(&[Word<'_>]) -> bool + Send + Sync>;

/// Reports a service to systemd once it is ready. When dropped, reports that the service ends.
#[must_use = "dropped, it tells that the service ends"]
pub struct ServiceReport(Option<ServiceTask>);

struct ServiceTask {
    task: JoinHandle<()>,
    subject: Arc<Subject>,
    listener: Listener,
}

/// The service to report on.
enum Subject {
    Worker { monitor: Arc<Monitor>, limits: Limits },
    Jobsender { reach: Arc<Reach> },
}

impl ServiceReport {
    /// A worker that begins to take jobs now. Its watchdog is fed as long as the worker keeps
    /// within `limits`.
    pub fn worker(monitor: &Arc<Monitor>, limits: Limits, halt: &Halt) -> Self {
        Self::start(Subject::Worker { monitor: Arc::clone(monitor), limits }, halt)
    }

    /// A jobsender that begins to compare now.
    pub fn jobsender(reach: &Arc<Reach>, halt: &Halt) -> Self {
        Self::start(Subject::Jobsender { reach: Arc::clone(reach) }, halt)
    }

    fn start(subject: Subject, halt: &Halt) -> Self {
        if !socket::is_heard() {
            return Self(None);
        }
        Self::to(Arc::new(socket::tell), subject, socket::watchdog(), halt)
    }

    /// `watchdog`: systemd expects a sign of life within this time.
    fn to(listener: Listener, subject: Subject, watchdog: Option<Duration>, halt: &Halt) -> Self {
        let subject = Arc::new(subject);
        let mut teller = Teller {
            subject: Arc::clone(&subject),
            listener: Arc::clone(&listener),
            halt: halt.clone(),
            watchdog,
            stopped: None,
            last: (Instant::now(), 0),
            hung: None,
            owed: Vec::new(),
        };
        // At once: a service that ends before it is ready has failed.
        teller.say(Some(Word::Ready));
        Self(Some(ServiceTask { task: tokio::spawn(teller.run()), subject, listener }))
    }
}

impl Drop for ServiceReport {
    fn drop(&mut self) {
        if let Some(ServiceTask { task, subject, listener }) = &self.0 {
            task.abort();
            // The task may not have sent it.
            listener(&[Word::Stopping, Word::Status(&subject.closing())]);
        }
    }
}

impl Subject {
    /// The status text; `rate`: bytes a second.
    fn words(&self, halt: &Halt, rate: u64) -> String {
        match self {
            Self::Worker { monitor, .. } if halt.is_stopping() => {
                status_text::draining(halt.cause(), monitor.in_work())
            }
            Self::Worker { monitor, .. } => {
                status_text::working(monitor.in_work(), monitor.turn(), monitor.counts(), rate)
            }
            Self::Jobsender { .. } if halt.is_stopping() => status_text::stopping(halt.cause()),
            Self::Jobsender { reach } => status_text::comparing(reach.listed()),
        }
    }

    fn closing(&self) -> String {
        match self {
            Self::Worker { monitor, .. } => status_text::worked(monitor.counts()),
            Self::Jobsender { .. } => "ended".to_owned(),
        }
    }

    fn uploaded(&self) -> u64 {
        match self {
            Self::Worker { monitor, .. } => monitor.counts().uploaded,
            Self::Jobsender { .. } => 0,
        }
    }

    /// A jobsender has no watchdog: it may sort an inventory for hours without a sign.
    fn hung(&self, stopped: Option<Duration>) -> Option<Hung> {
        match self {
            Self::Worker { monitor, limits } => limits.hung(monitor.signs(), stopped),
            Self::Jobsender { .. } => None,
        }
    }
}

/// The task that reports.
struct Teller {
    subject: Arc<Subject>,
    listener: Listener,
    halt: Halt,
    /// A sign of life is expected within this time.
    watchdog: Option<Duration>,
    stopped: Option<Instant>,
    /// When it last reported, and how much had been uploaded then.
    last: (Instant, u64),
    hung: Option<Hung>,
    /// Words to send once that have not been taken yet.
    owed: Vec<Word<'static>>,
}

impl Teller {
    async fn run(mut self) {
        // Three times as often as required: a late one is not fatal.
        let every = self.watchdog.map_or(EVERY, |asked| (asked / 3).clamp(SHORTEST, EVERY));
        loop {
            let stop = self.halt.stop.clone();
            tokio::select! {
                () = tokio::time::sleep(every) => self.say(None),
                () = stop.cancelled(), if self.stopped.is_none() => {
                    self.stopped = Some(Instant::now());
                    self.say(Some(Word::Stopping));
                }
            }
        }
    }

    /// Reports the status, and that the service is alive if it is.
    fn say(&mut self, first: Option<Word<'static>>) {
        self.owed.extend(first);
        let status = self.words();
        let mut words: Vec<Word<'_>> = self.owed.clone();
        words.push(Word::Status(&status));
        if self.hung.is_none() {
            words.extend(self.watchdog.map(|_| Word::Watchdog));
            words.extend(self.stopped.map(|_| Word::ExtendTimeout(EXTENSION)));
        }
        if (self.listener)(&words) {
            self.owed.clear();
        }
    }

    fn words(&mut self) -> String {
        let hung = self.subject.hung(self.stopped.map(|stopped| stopped.elapsed()));
        if let (Some(hung), None) = (hung, self.hung) {
            error!("the watchdog of systemd is no longer notified: {hung}");
        }
        self.hung = hung;
        let (now, uploaded) = (Instant::now(), self.subject.uploaded());
        let (before, already) = std::mem::replace(&mut self.last, (now, uploaded));
        let seconds = now.saturating_duration_since(before).as_secs_f64();
        let rate = match seconds > 0.0 {
            true => (uploaded.saturating_sub(already) as f64 / seconds) as u64,
            false => 0,
        };
        match hung {
            Some(hung) => format!("hangs: {hung}"),
            None => self.subject.words(&self.halt, rate),
        }
    }
}
