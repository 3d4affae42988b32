//! The faults: what goes wrong, where, and how often.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::BOUND;
use super::call::Call;

/// One fault. Offsets count the bytes of a body, not its framing.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The server never sees the request; the client gets this answer.
    Answer(Answer),
    /// The server carries the call out; the client gets this answer.
    Instead(Answer),
    /// The connection is reset before the server sees anything.
    Reset,
    /// The connection is reset after this many bytes of the request's body were forwarded.
    ResetInRequest(u64),
    /// The connection is reset after this many bytes of the answer's body were forwarded.
    ResetInAnswer(u64),
    /// The server carries the call out, then the connection is reset.
    LostAnswer,
    /// The connection is closed after this many bytes of the answer's body, fewer than announced.
    CutAnswer(u64),
    /// The answer's body lacks this many bytes at its end, and the announced length agrees.
    ShortAnswer(u64),
    /// The answer's body has this many extra bytes at its end, and the announced length agrees.
    LongAnswer(u64),
    /// This many bytes follow the answer's body, beyond the announced length.
    BytesBehindAnswer(u64),
    /// A bit of the request's body flips at this offset.
    FlipInRequest(u64),
    /// A bit of the answer's body flips at this offset.
    FlipInAnswer(u64),
    /// After this many bytes of the answer's body nothing more comes until the client gives up or
    /// the faults end; then the connection is closed.
    StallInAnswer(u64),
    /// After this many bytes of the request's body nothing more is read until the faults end; what
    /// does not fit into the system's buffers stays with the client.
    StallInRequest(u64),
    /// The answer has another body, made from the server's; the announced length agrees.
    Rewritten(&'static str, fn(Vec<u8>) -> Vec<u8>),
    /// The request is delayed before it is forwarded.
    Delay(Duration),
    /// Both bodies are limited to this many bytes a second.
    Slow(u64),
    /// The request waits until the test lets it go: [`Faults::held`], [`Faults::let_go`],
    /// [`Faults::drop_held`].
    Hold,
    /// Like [`Self::Hold`], but the server has carried the call out, and the answer waits.
    HoldAnswer,
}

/// A canned answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The service's error code.
    pub code: &'static str,
    /// The message in the XML.
    pub message: &'static str,
    /// Seconds of a Retry-After header.
    pub retry_after: Option<u32>,
}

impl Answer {
    /// An error with its code as its only information.
    pub fn of(status: u16, code: &'static str) -> Self {
        Self { status, code, message: "injected", retry_after: None }
    }
}

impl Fault {
    /// 503 SlowDown.
    pub fn slow_down() -> Self {
        Self::error(503, "SlowDown")
    }

    /// 500 InternalError.
    pub fn internal_error() -> Self {
        Self::error(500, "InternalError")
    }

    /// Answers with an error in place of the call.
    pub fn error(status: u16, code: &'static str) -> Self {
        Self::Answer(Answer::of(status, code))
    }

    /// Answers with an error after the call.
    pub fn error_after_the_work(status: u16, code: &'static str) -> Self {
        Self::Instead(Answer::of(status, code))
    }

    /// The fault's name in the counts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Answer(answer) => answer.code,
            Self::Instead(_) => "instead of the answer",
            Self::Reset => "reset",
            Self::ResetInRequest(_) => "reset in the request",
            Self::ResetInAnswer(_) => "reset in the answer",
            Self::LostAnswer => "answer lost",
            Self::CutAnswer(_) => "answer cut",
            Self::ShortAnswer(_) => "answer short",
            Self::LongAnswer(_) => "answer long",
            Self::BytesBehindAnswer(_) => "bytes behind the answer",
            Self::FlipInRequest(_) => "bit flipped in the request",
            Self::FlipInAnswer(_) => "bit flipped in the answer",
            Self::StallInAnswer(_) => "answer stalled",
            Self::StallInRequest(_) => "request stalled",
            Self::Rewritten(name, _) => name,
            Self::Delay(_) => "delayed",
            Self::Slow(_) => "slow",
            Self::Hold => "held",
            Self::HoldAnswer => "answer held",
        }
    }

    /// How the request's body is altered.
    pub fn of_request(&self) -> Shape {
        match *self {
            Self::ResetInRequest(at) => Shape::stopped(at, Stop::Reset),
            Self::StallInRequest(at) => Shape::stopped(at, Stop::Stall),
            Self::FlipInRequest(at) => Shape { flip: Some(at), ..Shape::default() },
            Self::Slow(rate) => Shape { bytes_per_second: Some(rate), ..Shape::default() },
            _ => Shape::default(),
        }
    }

    /// How the answer's body is altered.
    pub fn of_answer(&self) -> Shape {
        match *self {
            Self::ResetInAnswer(at) => Shape::stopped(at, Stop::Reset),
            Self::CutAnswer(at) => Shape::stopped(at, Stop::Close),
            Self::StallInAnswer(at) => Shape::stopped(at, Stop::Stall),
            Self::FlipInAnswer(at) => Shape { flip: Some(at), ..Shape::default() },
            Self::Slow(rate) => Shape { bytes_per_second: Some(rate), ..Shape::default() },
            _ => Shape::default(),
        }
    }
}

/// How a body is altered on its way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape {
    /// The offset of the damaged byte.
    pub flip: Option<u64>,
    /// The offset at which it stops, and how.
    pub stop: Option<(u64, Stop)>,
    /// `None`: unlimited.
    pub bytes_per_second: Option<u64>,
}

/// How a body is cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    Reset,
    Close,
    Stall,
}

impl Shape {
    /// Unaltered up to this offset.
    pub fn stopped(at: u64, how: Stop) -> Self {
        Self { stop: Some((at, how)), ..Self::default() }
    }

    /// The same, with offsets moved inside a body of this length, so that the fault also happens to
    /// a short body. An empty body cannot be altered.
    pub fn within(self, length: Option<u64>) -> Self {
        let last = length.map_or(u64::MAX, |length| length.saturating_sub(1));
        Self {
            flip: self.flip.map(|at| at.min(last)),
            stop: self.stop.map(|(at, how)| (at.min(last), how)),
            ..self
        }
    }
}

/// Which calls a fault affects.
#[derive(Clone, Debug)]
pub struct Rule {
    operation: Option<&'static str>,
    containing: Vec<String>,
    part: Option<u32>,
    signed_by: Option<String>,
    lacking: Option<&'static str>,
    chance: f64,
    skip: u64,
    most: u64,
    fault: Fault,
}

impl Rule {
    /// Every call of this operation.
    pub fn on(operation: &'static str, fault: Fault) -> Self {
        Self { operation: Some(operation), ..Self::always(fault) }
    }

    /// Every call.
    pub fn always(fault: Fault) -> Self {
        Self {
            operation: None,
            containing: Vec::new(),
            part: None,
            signed_by: None,
            lacking: None,
            chance: 1.0,
            skip: 0,
            most: u64::MAX,
            fault,
        }
    }

    /// Of those, the ones whose key (or JSON body) contains this text.
    pub fn containing(mut self, text: impl Into<String>) -> Self {
        self.containing.push(text.into());
        self
    }

    /// Of those, the ones with this part number.
    pub fn part(self, number: u32) -> Self {
        Self { part: Some(number), ..self }
    }

    /// Of those, the ones signed with this access key id.
    pub fn signed_by(self, id: impl Into<String>) -> Self {
        Self { signed_by: Some(id.into()), ..self }
    }

    /// Of those, the ones whose head does not contain this text, which must be in lower case.
    pub fn lacking(self, text: &'static str) -> Self {
        Self { lacking: Some(text), ..self }
    }

    /// Of those, about this proportion, chosen by the seed.
    pub fn chance(self, chance: f64) -> Self {
        Self { chance, ..self }
    }

    /// Of those, all except this many at the start.
    pub fn after(self, skip: u64) -> Self {
        Self { skip, ..self }
    }

    /// Of those, this many at the start.
    pub fn most(self, most: u64) -> Self {
        Self { most, ..self }
    }

    /// Of those, the first one.
    pub fn once(self) -> Self {
        self.most(1)
    }

    fn fits(&self, call: &Call) -> bool {
        self.operation.is_none_or(|operation| operation == call.operation)
            && self.containing.iter().all(|text| call.key.contains(text))
            && self.part.is_none_or(|part| call.part == Some(part))
            && self.lacking.is_none_or(|text| !call.head.contains(text))
            && self.signed_by.as_ref().is_none_or(|id| *id == call.signed_by)
    }
}

/// Rules that are in force until they are ended together. If several match a call, the first one
/// applies.
pub struct Faults {
    seed: u64,
    rules: Vec<Rule>,
    over: AtomicBool,
    counts: Mutex<Counts>,
    held: watch::Sender<u64>,
    end: watch::Sender<Option<End>>,
}

#[derive(Default)]
struct Counts {
    /// For each rule: the calls that matched it, and those that it affected.
    rules: BTreeMap<usize, (u64, u64)>,
    /// How often each call was made.
    calls: BTreeMap<(usize, String), u64>,
}

/// What happens to held or stalled calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// They go on.
    LetGo,
    /// They are never made: their connections are reset.
    Dropped,
}

impl Faults {
    /// These rules, with this seed.
    pub fn new(seed: u64, rules: Vec<Rule>) -> Arc<Self> {
        Arc::new(Self {
            seed,
            rules,
            over: AtomicBool::new(false),
            counts: Mutex::default(),
            held: watch::Sender::new(0),
            end: watch::Sender::new(None),
        })
    }

    /// Ends these rules. Held calls go on, unless they were dropped.
    pub fn end(&self) {
        self.over.store(true, Ordering::Release);
        self.end.send_if_modified(|end| end.replace(end.unwrap_or(End::LetGo)).is_none());
    }

    /// The number of faults they have caused.
    pub fn injected(&self) -> u64 {
        self.counts().rules.values().map(|(_, had)| had).sum()
    }

    /// The rules that have caused no fault.
    pub fn missed(&self) -> Vec<&Rule> {
        let counts = self.counts();
        let had = |at| counts.rules.get(&at).is_some_and(|(_, had)| *had > 0);
        self.rules.iter().enumerate().filter(|(at, _)| !had(*at)).map(|(_, rule)| rule).collect()
    }

    /// Waits until a call is held.
    pub async fn held(&self) {
        self.held_at_least(1).await;
    }

    /// Waits until this many calls are held.
    pub async fn held_at_least(&self, calls: u64) {
        let mut held = self.held.subscribe();
        let reached = tokio::time::timeout(BOUND, held.wait_for(|held| *held >= calls)).await;
        assert!(reached.is_ok(), "fewer than {calls} calls are held");
    }

    /// Lets held calls go on, and holds none from now on.
    pub fn let_go(&self) {
        self.end.send_replace(Some(End::LetGo));
    }

    /// Drops held calls, and holds none from now on.
    pub fn drop_held(&self) {
        self.end.send_replace(Some(End::Dropped));
    }

    /// Holds a call.
    pub(super) async fn hold(&self) -> End {
        let mut end = self.end.subscribe();
        if self.end.borrow().is_some() {
            return End::LetGo;
        }
        self.held.send_modify(|held| *held += 1);
        match end.wait_for(Option::is_some).await {
            Ok(end) => end.unwrap_or(End::LetGo),
            Err(_) => End::Dropped,
        }
    }

    /// The fault of a call. With the same seed, the n-th time of the same call always has the same
    /// fault, whatever calls come in between.
    pub(super) fn of(&self, call: &Call) -> Option<Fault> {
        if self.over.load(Ordering::Acquire) {
            return None;
        }
        let mut counts = self.counts();
        for (at, rule) in self.rules.iter().enumerate().filter(|(_, rule)| rule.fits(call)) {
            // The body of a call by target contains receipts and times, which differ each time.
            let key = if call.bucket.is_empty() { "" } else { &call.key };
            let what = format!("{} {key} {:?} {:?}", call.operation, call.part, call.range);
            let times = counts.calls.entry((at, what.clone())).or_default();
            *times += 1;
            if self.drawn(at, &what, *times) >= rule.chance {
                continue;
            }
            let (wanted, had) = counts.rules.entry(at).or_default();
            *wanted += 1;
            if *wanted > rule.skip && *had < rule.most {
                *had += 1;
                return Some(rule.fault.clone());
            }
        }
        None
    }

    /// A number from 0 to below 1.
    fn drawn(&self, rule: usize, what: &str, times: u64) -> f64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, rule, what, times).hash(&mut hasher);
        fastrand::Rng::with_seed(hasher.finish()).f64()
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
