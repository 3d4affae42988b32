//! Looks at the fleets again and again, once for all who watch.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use tokio::sync::{Notify, watch};
use tracing::debug;

use super::history::{History, Point};
use super::{Source, Wrong};
use crate::error::{Error, ErrorKind, Result};
use crate::failed::ReasonCount;
use crate::mutex::lock;
use crate::overview::Overview;

/// The time between two looks while nobody watches: the history goes on.
const UNWATCHED: Duration = Duration::from_secs(10);
/// A look that takes longer is given up.
const SLOW: Duration = Duration::from_secs(30);
/// What was seen longer ago is no longer true.
const STALE: Duration = Duration::from_secs(90);
/// Between two counts of all failures, and how much longer than the count itself.
const RECOUNT: Duration = Duration::from_secs(5);
const RECOUNT_SHARE: u32 = 10;

/// What has been seen, for all who watch.
pub(super) struct Look {
    pub source: Arc<dyn Source>,
    seen: Mutex<Seen>,
    told: watch::Sender<Arc<str>>,
    wake: Notify,
}

#[derive(Default)]
struct Seen {
    fleets: Vec<Overview>,
    histories: BTreeMap<String, History>,
    /// When it was last right, and what is wrong since.
    at: Option<Instant>,
    wrong: Wrong,
    reasons: Option<Reasons>,
}

/// All failures, counted at one moment.
#[derive(Clone, Debug, Serialize)]
struct Reasons {
    /// Seconds since 1970.
    at: u64,
    by_reason: Vec<ReasonCount>,
}

/// What the page gets.
#[derive(Serialize)]
struct State<'a> {
    version: &'static str,
    /// Milliseconds since 1970.
    now: u64,
    /// Seconds since what is shown was right.
    age_seconds: Option<u64>,
    wrong: &'a Wrong,
    fleets: Vec<Fleet<'a>>,
    reasons: &'a Option<Reasons>,
}

#[derive(Serialize)]
struct Fleet<'a> {
    #[serde(flatten)]
    overview: &'a Overview,
    history: Option<&'a History>,
}

impl Look {
    pub fn new(source: Arc<dyn Source>) -> Self {
        let look = Self {
            source,
            seen: Mutex::default(),
            told: watch::Sender::new(Arc::from("")),
            wake: Notify::new(),
        };
        look.tell();
        look
    }

    /// What is shown from now on, beginning with what is known.
    pub fn watch(&self) -> watch::Receiver<Arc<str>> {
        let told = self.told.subscribe();
        self.wake.notify_one();
        told
    }

    /// What is known.
    pub fn state(&self) -> Arc<str> {
        Arc::clone(&self.told.borrow())
    }

    /// The fleets as they were last seen, if that was lately.
    pub fn fleets(&self) -> Option<Vec<Overview>> {
        let seen = lock(&self.seen);
        let fresh = seen.at.is_some_and(|at| at.elapsed() < STALE);
        fresh.then(|| seen.fleets.clone())
    }

    /// Why the fleets cannot be seen.
    pub fn wrong(&self) -> Wrong {
        let seen = lock(&self.seen);
        match (&seen.at, &seen.wrong) {
            (Some(at), _) if at.elapsed() < STALE => None,
            (_, Some(wrong)) => Some(wrong.clone()),
            (_, None) => Some("nothing has been seen yet".to_owned()),
        }
    }

    /// Looks once, and tells what it sees.
    pub async fn look(&self, patience: Duration) {
        let looked = tokio::time::timeout(patience, self.source.overviews()).await;
        self.note(looked.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Unavailable, "the records do not answer"))
        }));
        self.tell();
    }

    /// Looks from time to time, more often while somebody watches.
    pub async fn look_again_and_again(&self) {
        loop {
            self.look(SLOW).await;
            let pause = if self.is_watched() { self.source.every() } else { UNWATCHED };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.wake.notified() => {}
            }
        }
    }

    /// Counts the failures by reason, while somebody watches and there are new ones.
    pub async fn count_reasons(&self) {
        let mut counted = None;
        loop {
            let ended = self.ended();
            if !self.is_watched() || ended.is_none() || counted == ended {
                tokio::time::sleep(self.source.every()).await;
                continue;
            }
            let began = Instant::now();
            match self.source.reasons().await {
                Ok(by_reason) => {
                    counted = ended;
                    lock(&self.seen).reasons = Some(Reasons { at: millis() / 1000, by_reason });
                    self.tell();
                }
                Err(error) => debug!("the failures cannot be counted: {error}"),
            }
            let pause = began.elapsed().saturating_mul(RECOUNT_SHARE).max(RECOUNT);
            tokio::time::sleep(pause).await;
        }
    }

    fn is_watched(&self) -> bool {
        self.told.receiver_count() > 0
    }

    /// How many objects have ended; an object that failed before may have been copied.
    fn ended(&self) -> Option<u64> {
        let seen = lock(&self.seen);
        let ended = |fleet: &Overview| fleet.total.failed + fleet.total.copied;
        seen.at.map(|_| seen.fleets.iter().map(ended).sum())
    }

    fn note(&self, looked: Result<Vec<Overview>>) {
        let mut seen = lock(&self.seen);
        match looked {
            Ok(fleets) => {
                let now = millis();
                seen.histories.retain(|name, _| fleets.iter().any(|fleet| fleet.fleet == *name));
                for fleet in &fleets {
                    let history = seen.histories.entry(fleet.fleet.clone()).or_default();
                    history.add(Point::of(&fleet.total, now));
                }
                seen.fleets = fleets;
                seen.at = Some(Instant::now());
                seen.wrong = None;
            }
            Err(error) => seen.wrong = Some(error.to_string()),
        }
    }

    fn tell(&self) {
        self.told.send_replace(Arc::from(self.text()));
    }

    fn text(&self) -> String {
        let seen = lock(&self.seen);
        let fleets = seen.fleets.iter().map(|overview| {
            let history = seen.histories.get(&overview.fleet);
            Fleet { overview, history }
        });
        let state = State {
            version: env!("CARGO_PKG_VERSION"),
            now: millis(),
            age_seconds: seen.at.map(|at| at.elapsed().as_secs()),
            wrong: &seen.wrong,
            fleets: fleets.collect(),
            reasons: &seen.reasons,
        };
        serde_json::to_string(&state).unwrap_or_default()
    }
}

fn millis() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
