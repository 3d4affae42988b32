//! The places that a worker calls, each with a gate. A gate is closed while everything is refused
//! alike, so that an outage costs no object a failure. `worker::blame` decides; these files add
//!
//! | file | what |
//! |---|---|
//! | this | the gates with their clock, which jobs pass them, the log lines |
//! | `ruling.rs` | whose fault a refusal is; neutral calls |
//! | `receiving.rs` | which messages are taken while places are closed |

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use crate::error::{Asked, Error, ErrorKind};
use crate::job::Job;
use crate::mutex::lock;
use crate::store::Side;
use crate::store::pace::Paced;
use crate::worker::blame::{Admission, Blame, Breaker, Neutral, Tried};

mod receiving;
mod ruling;

pub(super) use receiving::Rest;
pub(super) use ruling::Ruled;

/// While a place stays closed, the log repeats it this often.
const SAID_AGAIN: Duration = Duration::from_secs(60);

/// Both sides, for neutral calls.
#[derive(Debug)]
pub(super) struct Both {
    pub source: Arc<Paced>,
    pub destination: Arc<Paced>,
}

impl Both {
    fn side(&self, place: &Asked) -> &Arc<Paced> {
        match place.side == Side::Source.name() {
            true => &self.source,
            false => &self.destination,
        }
    }
}

/// All gates of a worker.
#[derive(Debug)]
pub(super) struct Gates {
    both: Both,
    /// Refusals in a row that close a place.
    alike: usize,
    began: Instant,
    gates: Mutex<BTreeMap<Asked, Gate>>,
    /// Pairs with at least one object copied.
    pairs: Mutex<Vec<Arc<[Asked; 2]>>>,
    /// Jobs refused once as if the key were wrong, although it is not.
    suspects: Mutex<BTreeSet<u64>>,
    /// One neutral call at a time.
    asking: tokio::sync::Mutex<()>,
    /// Messages in a row that could only be put off.
    blocked: AtomicUsize,
}

#[derive(Debug)]
struct Gate {
    breaker: Breaker,
    /// The refusal that closed it, or the last one.
    why: String,
    told: Instant,
    /// How many calls of the refused kind had been answered when the row began.
    answered: u64,
    neutral: Option<(Instant, Neutral)>,
    proven: bool,
    /// How often an object that was accepted before was accepted again while others were refused.
    acquittals: u64,
}

/// Where a job reads and where it writes.
pub(super) fn places(job: &Job) -> [Asked; 2] {
    [(Side::Source, &job.src), (Side::Destination, &job.des)]
        .map(|(side, id)| Asked { side: side.name(), bucket: id.bucket.clone() })
}

/// The job as each of its places knows it, with the key's folder there.
fn tried(job: &Job) -> [Tried; 2] {
    let object = name_of(job);
    [&job.src, &job.des].map(|id| {
        let folder = hash(id.key.as_str().rsplit_once('/').map(|(folder, _)| folder));
        Tried { object, folder }
    })
}

/// Whether the job is one of this pair of buckets.
fn is_of(job: &Job, [source, destination]: &[Asked; 2]) -> bool {
    job.src.bucket == source.bucket && job.des.bucket == destination.bucket
}

fn name_of(job: &Job) -> u64 {
    hash((&job.src, &job.des))
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Gates {
    pub(super) fn new(both: Both, parallel: usize) -> Self {
        Self {
            both,
            alike: parallel.clamp(3, 8),
            began: Instant::now(),
            gates: Mutex::default(),
            pairs: Mutex::default(),
            suspects: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            blocked: AtomicUsize::new(0),
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn gates(&self) -> MutexGuard<'_, BTreeMap<Asked, Gate>> {
        lock(&self.gates)
    }

    fn with<T>(&self, place: &Asked, change: impl FnOnce(&mut Gate) -> T) -> T {
        let mut gates = self.gates();
        if let Some(gate) = gates.get_mut(place) {
            return change(gate);
        }
        let gate = Gate {
            breaker: Breaker::new(self.alike),
            why: String::new(),
            told: Instant::now(),
            answered: 0,
            neutral: None,
            proven: false,
            acquittals: 0,
        };
        change(gates.entry(place.clone()).or_insert(gate))
    }

    fn are_open(&self) -> bool {
        self.gates().values().all(|gate| gate.breaker.is_closed().is_none())
    }

    /// Whether a job may be tried, and whether as a probe; the error says why it may not.
    pub(super) fn admit(&self, job: &Job) -> Result<bool, Error> {
        if self.are_open() {
            return Ok(false);
        }
        let now = self.now();
        let mut probe = false;
        for (place, tried) in places(job).iter().zip(tried(job)) {
            match self.with(place, |gate| gate.breaker.admit(tried, now)) {
                Admission::Go => {}
                Admission::Probe => probe = true,
                Admission::Back(_) => {
                    self.probe_over(job);
                    return Err(self.closed(place));
                }
            }
        }
        Ok(probe)
    }

    fn closed(&self, place: &Asked) -> Error {
        let why = self.with(place, |gate| gate.why.clone());
        Error::cancelled().context(format_args!("{place} is not tried at present: {why}"))
    }

    fn give_up(&self, place: &Asked, job: &Job) {
        self.with(place, |gate| gate.breaker.given_up(name_of(job)));
    }

    /// If this job was a probe, it has ended without showing anything.
    pub(super) fn probe_over(&self, job: &Job) {
        places(job).iter().for_each(|place| self.give_up(place, job));
    }

    /// Both places of a job accepted its object.
    pub(super) fn passed(&self, job: &Job) {
        let (now, places) = (self.now(), self.known_places(job));
        for (place, tried) in places.iter().zip(tried(job)) {
            let passed = self.with(place, |gate| {
                gate.proven = true;
                gate.breaker.passed(tried, now)
            });
            self.say_open(place, passed);
        }
    }

    /// The places of a job whose object was taken, which are kept.
    fn known_places(&self, job: &Job) -> Arc<[Asked; 2]> {
        let mut pairs = lock(&self.pairs);
        if let Some(known) = pairs.iter().find(|pair| is_of(job, pair)) {
            return Arc::clone(known);
        }
        let new = Arc::new(places(job));
        pairs.push(Arc::clone(&new));
        new
    }

    fn say_open(&self, place: &Asked, closed: Option<Duration>) {
        if let Some(closed) = closed {
            self.with(place, |gate| gate.why.clear());
            let seconds = closed.as_secs();
            info!("{place} accepts objects again after {seconds} s: the work continues");
        }
    }

    /// Closes a place, and logs it once.
    fn close(&self, place: &Asked, blame: Blame, error: &Error) {
        let now = self.now();
        let why = error.to_string();
        let closed = self.with(place, |gate| {
            gate.why.clone_from(&why);
            gate.told = Instant::now();
            gate.breaker.close(blame, now)
        });
        if closed {
            self.say_closed(place, blame, &why);
        }
    }

    fn say_closed(&self, place: &Asked, blame: Blame, why: &str) {
        let what = match blame {
            Blame::Room => "accepts nothing more",
            Blame::Side | Blame::Passing => "does not answer",
            Blame::Place => "cannot be found by this worker",
            Blame::Asker => "does not accept this worker's credentials",
            Blame::Unless | Blame::Object => "refuses every object alike",
        };
        warn!(
            "{place} {what}: work on it pauses and no object is recorded as failed; one is tried \
             from time to time until it is accepted ({why})"
        );
    }

    /// A probe was refused. Logs at most once a minute that the place is still closed.
    fn failed(&self, place: &Asked, error: &Error) {
        let now = self.now();
        let told = self.with(place, |gate| {
            gate.breaker.is_closed()?;
            gate.breaker.failed(now);
            gate.why = error.to_string();
            let due = gate.told.elapsed() >= SAID_AGAIN;
            if due {
                gate.told = Instant::now();
            }
            gate.breaker.is_closed().filter(|_| due)
        });
        if let Some((_, since, _)) = told {
            let seconds = now.saturating_sub(since).as_secs();
            warn!("{place} has accepted no object for {seconds} s: {error}");
        }
    }

    /// The places that are closed because the bucket does not exist.
    pub(super) fn misplaced(&self) -> BTreeMap<Asked, String> {
        let gates = self.gates();
        let closed = gates.iter().filter_map(|(place, gate)| {
            let (blame, ..) = gate.breaker.is_closed()?;
            (blame == Blame::Place).then(|| (place.clone(), gate.why.clone()))
        });
        closed.collect()
    }

    /// The places that are closed, and why, in words.
    pub(super) fn waits(&self) -> Vec<String> {
        let gates = self.gates();
        let closed = gates.iter().filter(|(_, gate)| gate.breaker.is_closed().is_some());
        closed.map(|(place, gate)| format!("{place}: {}", gate.why)).collect()
    }

    /// A place that accepts no objects for now, and why.
    pub(super) fn closed_place(&self) -> Option<String> {
        let gates = self.gates();
        let mut closed = gates.iter().filter(|(_, gate)| gate.breaker.is_closed().is_some());
        closed.next().map(|(place, gate)| format!("waiting for {place}: {}", gate.why))
    }

    /// Why waiting is pointless for somebody who watches.
    pub(super) fn hopeless(&self) -> Option<Error> {
        let gates = self.gates();
        let (place, gate) = gates.iter().find(|(_, gate)| gate.breaker.is_hopeless())?;
        let message = format!(
            "{place} refuses every object alike, so the rest was not tried and none of it is \
             recorded as failed: {}; to leave objects out, use the ignore list",
            gate.why
        );
        Some(Error::new(ErrorKind::Denied, message))
    }
}
