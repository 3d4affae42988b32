//! The numbers of `status --fleet`: what a fleet has done, is doing, and has left.
//!
//! They come from counters that every process keeps, never from a scan of the records.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::config::LimitsConfig;
use crate::error::Result;
use crate::format::human;
use crate::limits::beat::{Beat, Counts, Member};
use crate::limits::control::{Control, rates};
use crate::limits::detail::{Detail, ENDED, detail_note, ended_board};
use crate::limits::view::past;
use crate::limits::{CONTROL, MEMBER};
use crate::monitor::activity::{Doing, Held, PairAmounts, Phase};
use crate::monitor::spread::{SECONDS, SIZES, Spread};
use crate::record::{Board, BoardChange, NoteKey, RecordStore};

mod pace;
mod text;

use pace::{Moved, Window};

/// A process that is silent for this many of its intervals, and [`SLACK`], has ended.
const MISSED: u64 = 3;
const SLACK: u64 = 15;
/// Reasons that are shown.
const TOP: usize = 10;

/// A fleet, as `status --json` prints it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Overview {
    /// Which fleet, in words.
    pub fleet: String,
    /// When the first of the living processes began, in seconds since 1970.
    pub since: Option<u64>,
    /// Comparing, copying, closing.
    pub phases: Vec<PhaseView>,
    /// By source bucket and destination bucket.
    pub pairs: Vec<PairView>,
    /// Processes, those that live first.
    pub workers: Vec<WorkerView>,
    /// Why objects failed, the most frequent reason first; at most ten.
    pub failures: Vec<FailureView>,
    /// Places that refuse everything at present, and why.
    pub waiting_for: Vec<String>,
    /// Nothing new begins, because of this.
    pub paused: Option<String>,
    /// The limits in force.
    pub limits: LimitsView,
    /// All that was done.
    pub total: TotalView,
    /// How large the copied objects are, in bytes.
    pub sizes: Vec<ClassView>,
    /// How long each of them took, in seconds.
    pub seconds: Vec<ClassView>,
}

/// How many objects are in one class of sizes or times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClassView {
    /// The largest in this class; `None`: the class of all that is larger.
    pub up_to: Option<f64>,
    /// How many objects.
    pub objects: u64,
}

/// One phase.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhaseView {
    /// `comparing`, `copying`, `closing`.
    pub phase: Phase,
    /// Some process is in it.
    pub active: bool,
    /// Objects so far: listed, copied, checked.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of this many; `None`: it is not known yet.
    pub of_objects: Option<u64>,
    /// The same in bytes.
    pub of_bytes: Option<u64>,
    /// Over the last minutes.
    pub objects_per_second: f64,
    /// The same in bytes.
    pub bytes_per_second: f64,
    /// At least and at most; `None`: unknown.
    pub seconds_left: Option<[u64; 2]>,
}

/// One pair of buckets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairView {
    /// The bucket at the source.
    pub source: String,
    /// The bucket at the destination.
    pub destination: String,
    /// What has been done of it.
    #[serde(flatten)]
    pub amounts: PairAmounts,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkerView {
    /// Its machine and process.
    pub name: String,
    /// What it is.
    pub kind: Member,
    /// It has given a sign of life lately.
    pub lives: bool,
    /// Seconds since its last sign of life, by its clock and this one.
    pub silent_seconds: u64,
    /// What it is doing; `None`: it has not said yet.
    pub phase: Option<Phase>,
    /// Objects that it has copied.
    pub copied: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Objects that have failed on it.
    pub failed: u64,
    /// Bytes a second of copied objects, over the last minutes.
    pub bytes_per_second: f64,
    /// How many objects are in work.
    pub held: u64,
    /// The oldest of them; at most eight.
    pub holds: Vec<Held>,
}

/// One reason for failures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailureView {
    /// The call, the side and the answer, or the kind of the error.
    pub reason: String,
    /// How many objects.
    pub objects: u64,
    /// One of them, with its error.
    pub example: String,
}

/// Limits in force now; `None`: there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LimitsView {
    /// Bytes a second.
    pub source_bandwidth: Option<u64>,
    /// Requests a second.
    pub source_requests: Option<u64>,
    /// Bytes a second.
    pub destination_bandwidth: Option<u64>,
    /// Requests a second.
    pub destination_requests: Option<u64>,
}

/// All that was done, also by processes that have ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TotalView {
    /// Objects copied.
    pub copied: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Objects that failed.
    pub failed: u64,
    /// Objects deleted at the destination.
    pub deleted: u64,
    /// Bytes read from the source, also those read again.
    pub read_bytes: u64,
    /// Bytes sent to the destination, also those sent again.
    pub sent_bytes: u64,
    /// Requests to the source.
    pub source_requests: u64,
    /// Requests to the destination.
    pub destination_requests: u64,
    /// What requests and transfer have cost, by the price file.
    pub cost: f64,
    /// Its currency.
    pub currency: String,
}

/// What is read of a fleet.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    board: Board,
    details: BTreeMap<String, Detail>,
    ended: Doing,
}

impl Reading {
    /// Reads the board and what each process says of itself: three requests, whatever the number
    /// of objects.
    pub async fn of(state: &dyn RecordStore, key: &NoteKey) -> Result<Self> {
        let nothing = BoardChange::default();
        let board = state.board(key, &nothing).await?.unwrap_or_default();
        let mut notes: Vec<_> =
            beats(&board).map(|(_, beat)| beat.place).filter(|place| *place < u32::MAX).collect();
        notes.sort_unstable();
        notes.dedup();
        let notes: Vec<_> = notes.into_iter().map(|place| detail_note(key, place)).collect();
        let texts = match notes.is_empty() {
            true => Vec::new(),
            false => state.notes(&notes).await?,
        };
        let details = texts.iter().flatten().filter_map(|text| Detail::parse(text));
        let details = details.map(|detail| (detail.part.clone(), detail)).collect();
        let ended = state.board(&ended_board(key), &nothing).await?.unwrap_or_default();
        let ended = ended.get(ENDED).and_then(|text| serde_json::from_slice(text).ok());
        Ok(Self { board, details, ended: ended.unwrap_or_default() })
    }

    /// Whether any process has ever been there.
    pub fn is_empty(&self) -> bool {
        self.board.is_empty()
    }

    /// The numbers at this moment.
    pub fn overview(
        &self,
        fleet: &str,
        config: &LimitsConfig,
        currency: &str,
        now: SystemTime,
    ) -> Overview {
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let control = Control::parse(self.board.get(CONTROL));
        let [source_bandwidth, source_requests, destination_bandwidth, destination_requests] =
            rates(&control.limits(config), now);
        let mut doing = self.ended.clone();
        let known = beats(&self.board).filter_map(|(part, _)| self.details.get(part));
        known.for_each(|detail| doing.plus(&detail.doing));
        let workers = self.workers(seconds);
        let living = beats(&self.board).filter(|(_, beat)| lives(beat, seconds));
        Overview {
            fleet: fleet.to_owned(),
            since: living.map(|(_, beat)| beat.began).min(),
            phases: self.phases(&doing, seconds),
            pairs: pairs(&doing),
            waiting_for: self.waits(seconds),
            failures: failures(&doing),
            workers,
            paused: control.paused.map(|pause| pause.why),
            limits: LimitsView {
                source_bandwidth,
                source_requests,
                destination_bandwidth,
                destination_requests,
            },
            total: total(&self.board, currency),
            sizes: classes(&doing.sizes, SIZES),
            seconds: classes(&doing.seconds, SECONDS),
        }
    }

    fn living(&self, now: u64) -> impl Iterator<Item = &Detail> {
        let living = beats(&self.board).filter(move |(_, beat)| lives(beat, now));
        living.filter_map(move |(part, _)| self.details.get(part))
    }

    fn workers(&self, now: u64) -> Vec<WorkerView> {
        let worker = |(part, beat): (&String, Beat)| {
            let detail = self.details.get(part);
            let lives = lives(&beat, now);
            let rate = detail.filter(|_| lives).map(|d| Window::Minutes.rate(d, |s| s.copied));
            let name = part.trim_start_matches(MEMBER);
            WorkerView {
                name: name.rsplit_once('~').map_or(name, |(name, _)| name).to_owned(),
                kind: beat.member,
                lives,
                silent_seconds: now.saturating_sub(beat.at),
                phase: detail.map(|detail| detail.doing.phase),
                copied: beat.counts.done,
                copied_bytes: beat.counts.done_bytes,
                failed: beat.counts.failed,
                bytes_per_second: rate.unwrap_or_default().bytes,
                held: detail.filter(|_| lives).map_or(0, |detail| detail.doing.held),
                holds: detail.filter(|_| lives).map(|d| d.doing.holds.clone()).unwrap_or_default(),
            }
        };
        let mut workers: Vec<_> = beats(&self.board).map(worker).collect();
        workers.sort_by_key(|worker| (!worker.lives, worker.name.clone()));
        workers
    }

    fn waits(&self, now: u64) -> Vec<String> {
        let mut waits: Vec<String> =
            self.living(now).flat_map(|detail| detail.doing.waits.iter().cloned()).collect();
        waits.sort();
        waits.dedup();
        waits
    }

    fn phases(&self, doing: &Doing, now: u64) -> Vec<PhaseView> {
        let sum = doing.total();
        let is_in = |phase| self.living(now).any(|detail| detail.doing.phase == phase);
        let comparing = is_in(Phase::Comparing);
        // A run copies while it compares.
        let copying = self
            .living(now)
            .any(|detail| detail.doing.phase == Phase::Copying || detail.doing.held > 0);
        let listed = (sum.listed.objects > 0 && !comparing).then_some(sum.listed);
        // Objects that come by event are in no listing, so that more may be copied than was found.
        let known = !comparing
            && sum.to_copy.objects >= sum.copied.objects.saturating_add(sum.failed.objects);
        let to_copy = (known && sum.to_copy.objects > 0).then_some(sum.to_copy);
        let rate = |moved: Moved| {
            [Window::Minutes, Window::Last].map(|window| {
                let rates = self.living(now).map(|detail| window.rate(detail, moved));
                rates.fold(pace::Rate::default(), pace::Rate::plus)
            })
        };
        let mut done_or_failed = sum.copied;
        done_or_failed.plus(sum.failed);
        vec![
            PhaseView::new(
                Phase::Comparing,
                comparing,
                sum.listed,
                listed,
                None,
                rate(|s| s.listed),
            ),
            PhaseView::new(
                Phase::Copying,
                copying,
                sum.copied,
                to_copy,
                to_copy.map(|all| pace::left(all, done_or_failed)),
                rate(|s| s.copied),
            ),
            PhaseView::new(
                Phase::Closing,
                is_in(Phase::Closing),
                sum.checked,
                listed.filter(|_| sum.checked.objects > 0 || is_in(Phase::Closing)),
                listed.map(|all| pace::left(all, sum.checked)),
                rate(|s| s.checked),
            ),
        ]
    }
}

/// The parts of all processes.
fn beats(board: &Board) -> impl Iterator<Item = (&String, Beat)> {
    let members = board.iter().filter(|(part, _)| part.starts_with(MEMBER));
    members.filter_map(|(part, text)| Some((part, Beat::parse(text)?)))
}

fn lives(beat: &Beat, now: u64) -> bool {
    beat.at.saturating_add(beat.every.saturating_mul(MISSED)).saturating_add(SLACK) >= now
}

fn classes(spread: &Spread, bounds: &[f64]) -> Vec<ClassView> {
    let classes = spread.classes(bounds);
    classes.map(|(up_to, objects)| ClassView { up_to, objects }).collect()
}

fn pairs(doing: &Doing) -> Vec<PairView> {
    let pair = |(source, destination, amounts): &(String, String, PairAmounts)| PairView {
        source: source.clone(),
        destination: destination.clone(),
        amounts: *amounts,
    };
    doing.pairs.iter().map(pair).collect()
}

fn failures(doing: &Doing) -> Vec<FailureView> {
    let mut failures: Vec<_> = doing
        .reasons
        .iter()
        .map(|(reason, of)| FailureView {
            reason: reason.clone(),
            objects: of.objects,
            example: of.example.clone(),
        })
        .collect();
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.objects));
    failures.truncate(TOP);
    failures
}

fn total(board: &Board, currency: &str) -> TotalView {
    let all = beats(board).fold(past(board), |sum, (_, beat)| sum.plus(beat.counts));
    let Counts { source, destination, micros, done, done_bytes, failed, deleted } = all;
    TotalView {
        copied: done,
        copied_bytes: done_bytes,
        failed,
        deleted,
        read_bytes: source.bytes(),
        sent_bytes: destination.bytes(),
        source_requests: source.requests(),
        destination_requests: destination.requests(),
        cost: micros as f64 / 1e6,
        currency: currency.to_owned(),
    }
}

/// A time left, for people.
pub fn left_in_words(seconds: Option<[u64; 2]>) -> String {
    let time = |seconds| human::about(Duration::from_secs(seconds));
    match seconds {
        None => "unknown".to_owned(),
        Some([0, 0]) => "nothing".to_owned(),
        Some([least, most]) if least == most => format!("about {}", time(least)),
        Some([least, most]) => format!("{} to {}", time(least), time(most)),
    }
}

/// Fleets that the tests of other rooms show.
#[cfg(test)]
pub(crate) mod test_readings {
    pub(crate) use super::tests::cluster;
}

#[cfg(test)]
mod tests;
