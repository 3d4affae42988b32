//! The places that a worker calls, each with a gate. A gate is closed while everything is refused
//! alike, so that an outage costs no object a failure. `worker::blame` decides; this file adds the
//! clock, the neutral calls and the log lines.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::error::{Asked, Error, ErrorKind};
use crate::job::Job;
use crate::mutex::lock;
use crate::store::pace::Paced;
use crate::store::{ListRequest, Reads, Side};
use crate::worker::blame::{self, Admission, Blame, Breaker, Neutral, Ruling, Tried};

/// The result of a neutral call holds this long: a thousand odd objects do not cost a thousand
/// calls.
const NEUTRAL_HOLDS: Duration = Duration::from_secs(10);
/// A neutral call that takes longer counts as unanswered.
const NEUTRAL_LIMIT: Duration = Duration::from_secs(30);
/// A refused object waits this long to see what others get.
const HOLD: Duration = Duration::from_secs(5);
/// How often it looks meanwhile.
const LOOK: Duration = Duration::from_millis(50);
/// The pause when nothing is known to be due.
const QUIET: Duration = Duration::from_millis(250);
/// After this many messages in a row that can only be put off, there is a pause.
const MOST_BLOCKED: usize = 10;
/// Beyond this number suspects are forgotten, which costs each of them another try.
const MOST_SUSPECTS: usize = 10_000;
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

/// The place of a refusal, and the text that refusals of one kind share.
fn refusal(error: &Error) -> Option<(Asked, String)> {
    let evidence = error.evidence()?;
    let what = format!("{} {} {}", evidence.call, evidence.status, evidence.code);
    Some((evidence.place.clone()?, what))
}

/// Whose fault a refusal is.
#[derive(Debug)]
pub(super) enum Ruled {
    /// The object's own: it keeps its usual meaning.
    Own(Error),
    /// Not the object's.
    Back(Error),
    /// The object's own, unless all others get the same: none was tried meanwhile.
    Alone(Error),
    /// This worker's: it would do no better with any other object.
    Unfit(Error),
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

    /// Whether enough probes were refused like this object that one which was accepted before
    /// should be tried again.
    pub(super) fn is_doubtful(&self, error: &Error) -> bool {
        let place = error.evidence().and_then(|evidence| evidence.place.as_ref());
        place.is_some_and(|place| self.with(place, |gate| gate.breaker.is_doubtful()))
    }

    /// An object that was accepted before was accepted again: objects refused like this are
    /// themselves at fault.
    pub(super) fn acquit(&self, error: &Error) {
        let Some((place, what)) = refusal(error) else { return };
        let until = self.now() + NEUTRAL_HOLDS;
        let was_closed = self.with(&place, |gate| {
            gate.why.clear();
            let was_closed = gate.breaker.is_closed().is_some();
            gate.breaker.acquit(&what, until);
            gate.acquittals += 1;
            was_closed
        });
        if was_closed {
            info!(
                "{place} accepts other objects, so objects that it refuses with this error are recorded as failed ({error})"
            );
        }
    }

    /// An object that was accepted before was refused like this one: the place refuses everything.
    pub(super) fn condemn(&self, error: &Error) {
        if let Some((place, _)) = refusal(error) {
            self.close(&place, Blame::Unless, error);
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

    /// Lists the bucket with the credentials that were refused, unless that was done after this
    /// call began, or recently. `anew`: a recent good answer does not count.
    async fn neutral(&self, place: &Asked, anew: bool) -> Neutral {
        let began = Instant::now();
        let _one = self.asking.lock().await;
        let known = self.with(place, |gate| gate.neutral).filter(|(at, neutral)| {
            let fresh = at.elapsed() < NEUTRAL_HOLDS && !(anew && *neutral == Neutral::Answered);
            *at >= began || fresh
        });
        match known {
            Some((_, neutral)) => neutral,
            None => self.ask(place).await.0,
        }
    }

    /// The neutral call.
    async fn ask(&self, place: &Asked) -> (Neutral, Option<Error>) {
        let at = Instant::now();
        let request = ListRequest {
            bucket: place.bucket.clone(),
            max_keys: Some(1),
            ..ListRequest::default()
        };
        let asked = self.both.side(place).list(&request);
        let answer = match tokio::time::timeout(NEUTRAL_LIMIT, asked).await {
            Ok(answer) => answer.map(drop),
            Err(_) => {
                let message =
                    format!("{place} gave no answer within {} s", NEUTRAL_LIMIT.as_secs());
                Err(Error::new(ErrorKind::Unavailable, message))
            }
        };
        let neutral = blame::neutral(answer.as_ref().copied());
        self.with(place, |gate| gate.neutral = Some((at, neutral)));
        (neutral, answer.err())
    }

    /// Decides whose fault it is that `job` was refused. `probe`: the job was to show whether its
    /// places accept objects again.
    pub(super) async fn rule(
        &self,
        error: Error,
        job: &Job,
        probe: bool,
        stopping: impl Fn() -> bool,
    ) -> Ruled {
        let about = blame::about(&error);
        if about == blame::About::Object {
            if probe {
                self.probe_over(job);
            }
            return Ruled::Own(error);
        }
        let place = match error.evidence().and_then(|evidence| evidence.place.clone()) {
            Some(place) => place,
            None => match self.silent_one(job).await {
                Some(place) => place,
                None => {
                    self.probe_over(job);
                    return Ruled::Own(error);
                }
            },
        };
        if !probe && self.with(&place, |gate| gate.breaker.is_closed()).is_some() {
            return Ruled::Back(error);
        }
        // Keys are rotated, and places go silent, at any moment.
        let changes = matches!(about, blame::About::Silence | blame::About::Asker);
        let neutral = self.neutral(&place, changes).await;
        let blame = blame::rule(about, neutral);
        if probe {
            for other in places(job).iter().filter(|other| **other != place) {
                self.give_up(other, job);
            }
            self.failed(&place, &error);
        }
        match blame {
            Blame::Asker => {
                self.close(&place, blame, &error);
                Ruled::Unfit(error)
            }
            Blame::Place | Blame::Room | Blame::Side => {
                self.close(&place, blame, &error);
                Ruled::Back(error)
            }
            Blame::Object => Ruled::Own(error),
            Blame::Unless | Blame::Passing => {
                match self.among_others(error, &place, job, stopping).await {
                    Ruled::Own(error) if about == blame::About::Asker && self.is_new(job) => {
                        Ruled::Back(error)
                    }
                    ruled => ruled,
                }
            }
        }
    }

    /// Whether this is the first time that `job` was refused as if the key were wrong. The
    /// credentials may have been rotated between the refusal and the neutral call: only a job that
    /// is refused again is itself at fault.
    fn is_new(&self, job: &Job) -> bool {
        let mut suspects = lock(&self.suspects);
        if suspects.len() >= MOST_SUSPECTS {
            suspects.clear();
        }
        suspects.insert(name_of(job))
    }

    /// The side that does not answer, for an error that does not name its place.
    async fn silent_one(&self, job: &Job) -> Option<Asked> {
        for place in places(job) {
            if self.neutral(&place, true).await != Neutral::Answered {
                return Some(place);
            }
        }
        None
    }

    /// Compares a refusal with what the other objects get.
    async fn among_others(
        &self,
        error: Error,
        place: &Asked,
        job: &Job,
        stopping: impl Fn() -> bool,
    ) -> Ruled {
        let Some(evidence) = error.evidence().cloned() else { return Ruled::Own(error) };
        let answered = || self.both.side(place).answered(&place.bucket, &evidence.call);
        let Some((_, what)) = refusal(&error) else { return Ruled::Own(error) };
        let is_silence = blame::about(&error) == blame::About::Silence;
        let closes_as = if is_silence { Blame::Passing } else { Blame::Unless };
        let (before, now) = (answered(), self.now());
        let [source, destination] = tried(job);
        let this = if place.side == Side::Source.name() { source } else { destination };
        let ruling = self.with(place, |gate| {
            let between = before > gate.answered;
            gate.answered = before;
            let ruling = gate.breaker.refused((&what, closes_as), this, between, now);
            (ruling, gate.acquittals)
        });
        let (ruling, acquittals) = ruling;
        match ruling {
            Ruling::Record => return Ruled::Own(error),
            Ruling::Back => {
                self.note_closed(place, &error);
                return Ruled::Back(error);
            }
            Ruling::Hold => {}
        }
        // Silence is retried by rules of its own: it is not held up, since no failure is recorded
        // yet.
        if is_silence {
            return Ruled::Own(match error.kind() {
                // It was retried for as long as a throttled bucket is, and the bucket answers.
                ErrorKind::Throttled => error.of_kind(ErrorKind::Invalid).note(format_args!(
                    "{place} answers other requests: it has trouble with this object alone"
                )),
                _ => error,
            });
        }
        let until = Instant::now() + HOLD;
        while Instant::now() < until {
            let (closed, others) = self.with(place, |gate| {
                let closed = gate.breaker.is_closed().is_some();
                (closed, gate.acquittals != acquittals)
            });
            if others || answered() != before {
                return Ruled::Own(error);
            }
            if stopping() || closed {
                return Ruled::Back(error);
            }
            tokio::time::sleep(LOOK).await;
        }
        Ruled::Alone(error)
    }

    /// The row has just closed the place: logs it once.
    fn note_closed(&self, place: &Asked, error: &Error) {
        let why = error.to_string();
        let first = self.with(place, |gate| {
            let first = gate.breaker.is_closed().filter(|_| gate.why.is_empty());
            gate.why.clone_from(&why);
            first
        });
        if let Some((blame, ..)) = first {
            self.say_closed(place, blame, &why);
        }
    }

    /// Makes a neutral call to each place that has not been proven yet, before its first object is
    /// tried. Returns an error if this worker is at fault.
    pub(super) async fn prove(&self, places: &BTreeSet<Asked>) -> Result<(), Error> {
        let unproven = places.iter().filter(|place| {
            self.with(place, |gate| !gate.proven && gate.breaker.is_closed().is_none())
        });
        let asked = unproven.map(async |place| (place, self.ask(place).await));
        for (place, (neutral, error)) in join_all(asked).await {
            let blame = match (neutral, &error) {
                (Neutral::Asker, Some(error)) => return Err(error.another()),
                (Neutral::Place, Some(_)) => Blame::Place,
                (Neutral::Silent, Some(_)) => Blame::Side,
                _ => {
                    self.with(place, |gate| gate.proven = true);
                    continue;
                }
            };
            if let Some(error) = &error {
                self.close(place, blame, error);
            }
        }
        Ok(())
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

    /// The places that are closed, whose fault that is, and when the next probe is due.
    fn closed_places(&self) -> Vec<(Asked, Blame, Option<Duration>)> {
        let gates = self.gates();
        let closed = gates.iter().filter_map(|(place, gate)| {
            let (blame, ..) = gate.breaker.is_closed()?;
            Some((place.clone(), blame, gate.breaker.due()))
        });
        closed.collect()
    }

    /// Repeats the neutral call to closed places for which it is meaningful. That call is the first
    /// probe, so that no message is received in vain. A silent place that answers reopens.
    async fn ask_closed(&self) {
        let now = self.now();
        let due = self.closed_places().into_iter().filter(|(_, blame, next)| {
            let by_neutral = matches!(blame, Blame::Side | Blame::Place | Blame::Asker);
            by_neutral && next.is_some_and(|next| next <= now)
        });
        let asked = due.map(async |(place, blame, _)| {
            let (neutral, error) = self.ask(&place).await;
            match error.filter(|_| neutral != Neutral::Answered) {
                Some(error) => self.failed(&place, &error),
                None if blame == Blame::Side => {
                    let closed = self.with(&place, |gate| gate.breaker.reopen(self.now()));
                    self.say_open(&place, closed);
                }
                None => {}
            }
        });
        join_all(asked).await;
    }

    /// Whether to receive further messages, and how many.
    pub(super) async fn rest(&self) -> Rest {
        self.ask_closed().await;
        let closed = self.closed_places();
        if closed.is_empty() {
            return Rest::Take;
        }
        // One missing bucket says nothing about the others that messages may name.
        let misplaced = closed.iter().all(|(_, blame, _)| *blame == Blame::Place);
        let due = closed.iter().filter_map(|(.., next)| *next).min();
        let closed: BTreeSet<&Asked> = closed.iter().map(|(place, ..)| place).collect();
        let pairs = lock(&self.pairs);
        let others = pairs.iter().any(|pair| pair.iter().all(|place| !closed.contains(place)));
        drop(pairs);
        let blocked = self.blocked.load(Ordering::Relaxed);
        let wait = match due {
            Some(due) => due.saturating_sub(self.now()),
            None => QUIET,
        };
        if wait.is_zero() && others && blocked == 0 {
            return Rest::Take;
        }
        if wait.is_zero() || ((others || misplaced) && blocked < MOST_BLOCKED) {
            return Rest::TakeOne;
        }
        self.blocked.store(0, Ordering::Relaxed);
        Rest::Wait(wait.clamp(LOOK, QUIET.max(wait)))
    }

    /// How long to put off a message if all its jobs would be sent back; `None`: it is worked on.
    pub(super) fn puts_off(&self, jobs: &[Job]) -> Option<Duration> {
        if self.are_open() {
            self.blocked.store(0, Ordering::Relaxed);
            return None;
        }
        let now = self.now();
        let mut longest = Duration::ZERO;
        for job in jobs {
            let mut closed = None;
            for place in places(job) {
                closed = closed.or(self.with(&place, |gate| {
                    gate.breaker.is_closed()?;
                    match gate.breaker.due() {
                        Some(due) if due <= now => None,
                        Some(due) => Some(due.saturating_sub(now)),
                        None => Some(QUIET),
                    }
                }));
            }
            let Some(time) = closed else {
                self.blocked.store(0, Ordering::Relaxed);
                return None;
            };
            longest = longest.max(time);
        }
        self.blocked.fetch_add(1, Ordering::Relaxed);
        Some(longest)
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

/// Whether to receive further messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// As usual.
    Take,
    /// One message.
    TakeOne,
    /// None for this long.
    Wait(Duration),
}
