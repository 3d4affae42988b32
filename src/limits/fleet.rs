//! A process as a member of the fleet: it writes its part, reads the others', and sets its limits.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::beat::{Beat, Counts, Member};
use super::control::{Control, Pause, rates};
use super::detail::{Detail, ENDED, detail_note, ended_board};
use super::pricing::Pricing;
use super::view::{LIMITS, View};
use super::{CONTROL, MEMBER, PAST};
use crate::config::{LimitsConfig, SideLimits};
use crate::error::{Error, Result};
use crate::format::human;
use crate::monitor::Monitor;
use crate::monitor::activity::Doing;
use crate::record::{Board, BoardChange, NoteKey, Notes};
use crate::store::pace::throttle::{Rate, Throttle};

/// Others may change the same part at the same moment.
const TRIES: usize = 5;
/// One call; the table normally answers within milliseconds.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// The last calls of a process, all together.
const FAREWELL: Duration = Duration::from_secs(15);
/// A process that a limit has held up keeps its full share for this many looks.
const KEPT: u8 = 3;
/// How often a process writes what it is doing, if that costs something.
const DETAIL: Duration = Duration::from_secs(30);
/// The embedded records cost nothing to read, so a command is in force at once.
const EMBEDDED: Duration = Duration::from_millis(500);
/// A part that was written this long ago, by a clock of this machine, is of a process that ended.
const LONG_AGO: u64 = 60;

/// What a member of the fleet needs.
#[derive(Debug)]
pub struct Terms {
    /// Where the board is.
    pub state: Arc<dyn Notes>,
    /// Which board.
    pub board: NoteKey,
    /// The name of this process.
    pub name: String,
    /// What it is.
    pub member: Member,
    /// The limits of the configuration.
    pub config: LimitsConfig,
    /// What things cost.
    pub pricing: Pricing,
    /// Source and destination.
    pub throttles: [Arc<Throttle>; 2],
    /// What it counts, if it moves objects.
    pub monitor: Option<Arc<Monitor>>,
    /// The board is on this machine.
    pub embedded: bool,
}

/// A member of the fleet.
#[derive(Debug)]
pub struct Fleet {
    terms: Terms,
    part: String,
    began: u64,
    number: u64,
    view: View,
    /// For how many more looks it wants each limit.
    wants: [u8; LIMITS],
    looked: Option<Instant>,
    /// When it last began to look, by the clock of the day: no other goes on while a function is
    /// frozen.
    asked: SystemTime,
    told: Option<Told>,
    is_out: bool,
    /// Where its detail is kept, once it knows the others.
    place: Option<u32>,
    detail: Detail,
    detailed: Option<Instant>,
}

/// The task of a member. If it is dropped, the others see after a while that it is gone.
#[derive(Debug)]
pub struct Membership {
    end: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Membership {
    /// Leaves the fleet, with the last counts. A table that does not answer delays the end by at
    /// most [`FAREWELL`]; the others then move the counts once this process has been silent.
    pub async fn leave(mut self) {
        self.end.cancel();
        let Some(task) = &mut self.task else { return };
        match tokio::time::timeout(FAREWELL, task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!("the limits' task failed: {error}"),
            Err(_) => debug!("the last counts were not written: the table does not answer"),
        }
    }
}

/// What was last said in the log.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    limits: [SideLimits; 2],
    paused: Option<String>,
}

impl Fleet {
    /// Joins; the limits are in force when this returns. If the board cannot be reached, those of
    /// the configuration are, for this process alone, and it is tried again.
    pub async fn join(terms: Terms) -> Self {
        let part = format!("{MEMBER}{}~{:08x}", terms.name, fastrand::u32(..));
        let mut fleet = Self {
            view: View::new(&part),
            part,
            began: unix_now(),
            number: 0,
            // Nobody knows yet what it will need.
            wants: [KEPT; LIMITS],
            looked: None,
            asked: SystemTime::UNIX_EPOCH,
            told: None,
            is_out: false,
            place: None,
            detail: Detail::default(),
            detailed: None,
            terms,
        };
        fleet.look().await;
        fleet
    }

    /// Looks from time to time, until the membership ends.
    pub fn spawn(mut self) -> Membership {
        let end = CancellationToken::new();
        let until = end.clone();
        let task = tokio::spawn(async move {
            while until.run_until_cancelled(tokio::time::sleep(self.interval())).await.is_some() {
                self.look().await;
            }
            self.leave().await;
        });
        Membership { end, task: Some(task) }
    }

    /// Looks from time to time, for as long as this is awaited.
    pub async fn watch(&mut self) -> Infallible {
        loop {
            tokio::time::sleep(self.interval().saturating_sub(self.since_asked())).await;
            self.look().await;
        }
    }

    /// Whether a worker lives that is no function.
    pub fn has_machines(&self) -> bool {
        self.view.has_machines(unix_now())
    }

    /// Looks, if the last look was long enough ago.
    pub async fn look_if_due(&mut self) {
        if self.since_asked() >= self.interval() {
            self.look().await;
        }
    }

    fn since_asked(&self) -> Duration {
        // A clock that was set back says nothing.
        SystemTime::now().duration_since(self.asked).unwrap_or(Duration::MAX)
    }

    fn interval(&self) -> Duration {
        let interval = self.view.interval(self.is_limited());
        if self.terms.embedded { interval.min(EMBEDDED) } else { interval }
    }

    fn limits(&self) -> [SideLimits; 2] {
        self.view.control().limits(&self.terms.config)
    }

    fn is_limited(&self) -> bool {
        let config = &self.terms.config;
        let has_budget = config.max_bytes.is_some() || config.max_cost.is_some();
        has_budget
            || self.limits().iter().any(|side| side.bandwidth.limits() || side.requests.limits())
    }

    async fn look(&mut self) {
        let now = Instant::now();
        self.asked = SystemTime::now();
        self.note_wants();
        let change = self.change();
        let over = self.view.places(&change.remove);
        match self.ask(&change).await {
            Ok(Some(board)) => {
                let since = self.looked.replace(now).map(|at| now.saturating_duration_since(at));
                // If the table was out, the others could not write either.
                let longest = self.interval().saturating_mul(3) / 2;
                self.view.observe(&board, since.unwrap_or_default().min(longest));
                self.keep_ended(&change.remove, &over).await;
                self.place = Some(self.view.place(self.place));
                if std::mem::take(&mut self.is_out) {
                    info!("the limits are shared again");
                }
            }
            // The control or the past has changed meanwhile: the next look sees it.
            Ok(None) => self.observe_only().await,
            Err(error) => {
                if !std::mem::replace(&mut self.is_out, true) {
                    warn!("limits and pauses cannot be read, the last ones stay: {error}");
                }
            }
        }
        self.apply();
        self.keep_detail().await;
    }

    /// Writes what it is doing, from time to time.
    async fn keep_detail(&mut self) {
        let (Some(monitor), Some(place)) = (&self.terms.monitor, self.place) else { return };
        self.detail.part.clone_from(&self.part);
        self.detail.observe(monitor.activity().now(), unix_now());
        let every = if self.terms.embedded { EMBEDDED } else { DETAIL };
        if self.detailed.is_some_and(|at| at.elapsed() < every) {
            return;
        }
        let note = detail_note(&self.terms.board, place);
        let text = self.detail.text();
        match tokio::time::timeout(CALL_LIMIT, self.terms.state.set_note(&note, &text)).await {
            Ok(Ok(())) => self.detailed = Some(Instant::now()),
            Ok(Err(error)) => debug!("what this process does was not written: {error}"),
            Err(_) => debug!("what this process does was not written: the table does not answer"),
        }
    }

    /// The details of those whose counts have just been moved to the past.
    async fn keep_ended(&self, removed: &[String], places: &[(String, u32)]) {
        if removed.is_empty() {
            return;
        }
        let board = &self.terms.board;
        let notes: Vec<_> = places.iter().map(|(_, place)| detail_note(board, *place)).collect();
        let Ok(Ok(texts)) = tokio::time::timeout(CALL_LIMIT, self.terms.state.notes(&notes)).await
        else {
            return;
        };
        let details = texts.into_iter().flatten().filter_map(|text| Detail::parse(&text));
        let mut ended = Doing::default();
        details.filter(|detail| removed.contains(&detail.part)).for_each(|d| ended.plus(&d.doing));
        self.add_ended(&ended).await;
    }

    /// Adds to what ended processes have done. It is for people: if it is lost, nothing is wrong.
    async fn add_ended(&self, ended: &Doing) {
        let key = ended_board(&self.terms.board);
        for _ in 0..TRIES {
            let Ok(Some(board)) = self.ask_for(&key, &BoardChange::default()).await else { return };
            let before = board.get(ENDED);
            let parsed = before.and_then(|text| serde_json::from_slice(text).ok());
            let mut sum: Doing = parsed.unwrap_or_default();
            sum.plus(ended);
            let change = BoardChange {
                set: vec![(ENDED.to_owned(), serde_json::to_vec(&sum).unwrap_or_default())],
                only_if: Some((ENDED.to_owned(), before.cloned())),
                ..BoardChange::default()
            };
            match self.ask_for(&key, &change).await {
                Ok(None) => {}
                _ => return,
            }
        }
    }

    async fn observe_only(&mut self) {
        if let Ok(Some(board)) = self.ask(&BoardChange::default()).await {
            self.view.observe(&board, Duration::ZERO);
        }
    }

    async fn ask(&self, change: &BoardChange) -> Result<Option<Board>> {
        self.ask_for(&self.terms.board, change).await
    }

    async fn ask_for(&self, key: &NoteKey, change: &BoardChange) -> Result<Option<Board>> {
        let call = self.terms.state.board(key, change);
        let late =
            |_| Error::new(crate::error::ErrorKind::Unavailable, "the table does not answer");
        tokio::time::timeout(CALL_LIMIT, call).await.map_err(late)?
    }

    /// Its own part, and what it has to do for the fleet.
    fn change(&mut self) -> BoardChange {
        self.number += 1;
        let beat = self.beat();
        let mut change =
            BoardChange { set: vec![(self.part.clone(), beat.text())], ..BoardChange::default() };
        if let Some(control) = self.pause_for_budget(beat.counts) {
            change.only_if = Some((CONTROL.to_owned(), self.view.control_text()));
            change.set.push((CONTROL.to_owned(), control.text()));
        } else if let Some((over, past)) = self.view.forgotten() {
            change.only_if = Some((PAST.to_owned(), self.view.past().1));
            change.set.push((PAST.to_owned(), serde_json::to_vec(&past).unwrap_or_default()));
            change.remove = over;
        }
        change
    }

    fn pause_for_budget(&self, mine: Counts) -> Option<Control> {
        let control = self.view.control();
        if control.paused.is_some() {
            return None;
        }
        let (total, currency) = (self.view.total(mine), &self.terms.pricing.currency);
        let why = control.used_up(&self.terms.config, total, currency)?;
        let pause = Pause { why, by_budget: true, since: unix_now() };
        Some(Control { paused: Some(pause), ..control.clone() })
    }

    fn beat(&self) -> Beat {
        let bit = |at: usize| u8::from(self.wants[at] > 0) << at;
        Beat {
            number: self.number,
            member: self.terms.member,
            began: self.began,
            at: unix_now(),
            every: self.interval().as_secs().max(1),
            place: self.place.unwrap_or(u32::MAX),
            wants: (0..LIMITS).map(bit).sum(),
            counts: self.counts(),
        }
    }

    fn counts(&self) -> Counts {
        let [source, destination] = self.terms.throttles.each_ref().map(|t| t.passed().into());
        let done = self.terms.monitor.as_ref().map(|monitor| monitor.counts()).unwrap_or_default();
        Counts {
            source,
            destination,
            micros: self.terms.pricing.micros(source, destination),
            done: done.done,
            done_bytes: done.done_bytes,
            failed: done.failed,
            deleted: done.deleted,
        }
    }

    fn note_wants(&mut self) {
        // What is read is written: a process that one side holds up would be held up by the other
        // with a smaller share there.
        for rate in [Rate::Bytes, Rate::Requests] {
            let waited = self.terms.throttles.each_ref().map(|side| side.has_waited(rate));
            let is_held_up = waited.contains(&true);
            for (at, left) in self.wants.iter_mut().enumerate() {
                if throttle(&self.terms.throttles, at).1 == rate {
                    *left = if is_held_up { KEPT } else { left.saturating_sub(1) };
                }
            }
        }
    }

    /// Sets what this process may do.
    fn apply(&mut self) {
        let limits = self.limits();
        let wants = self.beat().wants;
        for (at, rate) in rates(&limits, SystemTime::now()).into_iter().enumerate() {
            let share = self.view.share(at, wants);
            let (throttle, kind) = throttle(&self.terms.throttles, at);
            let mine = rate.map(|rate| rate as f64 * share);
            if let Some(mine) = mine {
                debug!("limit {at}: {mine:.1} a second of {rate:?} for this process");
            }
            throttle.set(kind, mine);
        }
        let paused = self.view.control().paused.as_ref();
        self.terms.throttles.iter().for_each(|throttle| throttle.pause(paused.is_some()));
        let paused = paused.map(|pause| pause.why.clone());
        self.tell(Told { limits, paused });
    }

    fn tell(&mut self, now: Told) {
        let before = self.told.replace(now.clone());
        match (before.as_ref().and_then(|told| told.paused.as_ref()), &now.paused) {
            (None, Some(why)) => warn!(
                "paused: {why}; what has begun goes on, nothing new begins; to go on: s3-migration \
                 resume"
            ),
            (Some(_), None) => info!("resumed"),
            _ => {}
        }
        let unlimited = <[SideLimits; 2]>::default();
        let (words, processes) = (in_words(&now.limits), self.view.living());
        if words != in_words(before.as_ref().map_or(&unlimited, |told| &told.limits)) {
            info!(processes, "limits of the fleet: {words}");
        }
    }

    /// Moves its counts to the past; if that does not work, one of the others does it later.
    async fn leave(mut self) {
        self.number += 1;
        if let Some(monitor) = &self.terms.monitor {
            self.add_ended(&monitor.activity().now()).await;
        }
        let mine = self.counts();
        for _ in 0..TRIES {
            let (past, text) = self.view.past();
            let past = serde_json::to_vec(&past.plus(mine)).unwrap_or_default();
            let change = BoardChange {
                set: vec![(PAST.to_owned(), past)],
                remove: vec![self.part.clone()],
                only_if: Some((PAST.to_owned(), text)),
            };
            match self.ask(&change).await {
                Ok(Some(_)) => return,
                Ok(None) => self.observe_only().await,
                Err(error) => {
                    debug!("the last counts were not written: {error}");
                    return;
                }
            }
        }
    }
}

/// Limit number `at`: see [`LIMITS`].
fn throttle(throttles: &[Arc<Throttle>; 2], at: usize) -> (&Throttle, Rate) {
    (&throttles[at / 2], if at.is_multiple_of(2) { Rate::Bytes } else { Rate::Requests })
}

/// The limits of both sides, for people.
pub fn in_words(limits: &[SideLimits; 2]) -> String {
    let side = |name: &str, side: &SideLimits| {
        let SideLimits { bandwidth, requests } = side;
        format!("{name} bandwidth {bandwidth}, requests {requests}")
    };
    format!("{}; {}", side("source", &limits[0]), side("destination", &limits[1]))
}

/// Clears the board of `run`s if none lives: a new run has a new budget, and the counts of the last
/// one are not its own. What `limit` and `pause` have said stays.
pub async fn begin_anew(state: &dyn Notes, key: &NoteKey) -> Result<()> {
    let board = state.board(key, &BoardChange::default()).await?.unwrap_or_default();
    let members = || board.iter().filter(|(part, _)| part.starts_with(MEMBER));
    let oldest = unix_now().saturating_sub(LONG_AGO);
    if members().filter_map(|(_, text)| Beat::parse(text)).any(|beat| beat.at >= oldest) {
        return Ok(());
    }
    let mut control = Control::parse(board.get(CONTROL));
    control.paused = control.paused.filter(|pause| !pause.by_budget);
    control.spent = Default::default();
    let parts = board.keys().filter(|part| part.starts_with(MEMBER) || *part == PAST);
    let change = BoardChange {
        set: vec![(CONTROL.to_owned(), control.text())],
        remove: parts.cloned().collect(),
        only_if: Some((CONTROL.to_owned(), board.get(CONTROL).cloned())),
    };
    state.board(key, &change).await?;
    let ended = BoardChange { remove: vec![ENDED.to_owned()], ..BoardChange::default() };
    state.board(&ended_board(key), &ended).await.map(drop)
}

/// Seconds since 1970.
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Bytes a second, or requests a second, for people.
pub fn rate_in_words(bytes: bool, rate: Option<u64>) -> String {
    match (bytes, rate) {
        (_, None) => "off".to_owned(),
        (true, Some(rate)) => format!("{}/s", human::bytes(rate)),
        (false, Some(rate)) => format!("{rate}/s"),
    }
}

#[cfg(test)]
mod tests;
