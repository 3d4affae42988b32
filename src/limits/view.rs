//! What a process sees of the fleet, and the share of each limit that follows.
//!
//! A limit is divided by weight among the processes that live: 1 for one that the limit has held up
//! lately, little for the others, so that a process without work keeps nothing from those that have
//! some. Views differ for as long as it takes to write and to read, so the sum is a little off
//! after each change, and right again at the next look.
//!
//! Pure: the board and the time since the last look are arguments.

use std::collections::BTreeMap;
use std::time::Duration;

use super::beat::{Beat, Counts, Member};
use super::control::Control;
use super::{CONTROL, FUNCTION, MEMBER, PAST};
use crate::record::Board;

/// The limits that are shared: bytes and requests of the source, then of the destination.
pub const LIMITS: usize = 4;
/// The weight of a process that a limit does not hold up.
const LITTLE: f64 = 0.1;
/// A process whose part has not changed for this many of its intervals is dead.
const MISSED: u32 = 3;
/// The counts of a process that has been dead for this long move to the past.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// A process that has written nothing for this many seconds is not there.
const HEARD_OF: u64 = 180;
/// Between two looks while something is limited ...
const LIMITED: Duration = Duration::from_secs(2);
/// ... and while nothing is: a command is in force after this time.
const UNLIMITED: Duration = Duration::from_secs(10);
/// Every process adds this to everybody's interval: an item of Amazon DynamoDB takes 1,000 write
/// units a second, and each write costs one for every KiB, which is three or four processes
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html>).
const FOR_EACH: Duration = Duration::from_millis(250);
/// No interval is longer, so that a command is in force within a minute.
const LONGEST: Duration = Duration::from_secs(30);

/// Another process, as it was last seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    beat: Beat,
    /// For how long it has not changed, not counting the time in which nothing could be read.
    still: Duration,
}

impl Seen {
    fn lives(&self) -> bool {
        self.still < Duration::from_secs(self.beat.every.max(1)) * MISSED
    }
}

/// The fleet as one process sees it.
#[derive(Clone, Debug, Default)]
pub struct View {
    me: String,
    others: BTreeMap<String, Seen>,
    /// Since it first wrote its part.
    known: Option<Duration>,
    control: Control,
    control_text: Option<Vec<u8>>,
    past: Counts,
    past_text: Option<Vec<u8>>,
}

impl View {
    /// The view of the process whose part is `me`.
    pub fn new(me: &str) -> Self {
        Self { me: me.to_owned(), ..Self::default() }
    }

    /// Takes in a board that was read `since` the last one that could be read, or since one should
    /// have been read, whichever is shorter.
    pub fn observe(&mut self, board: &Board, since: Duration) {
        self.known = Some(self.known.map_or(Duration::ZERO, |known| known + since));
        let mut others = BTreeMap::new();
        for (part, text) in board.iter().filter(|(part, _)| part.starts_with(MEMBER)) {
            let Some(beat) = Beat::parse(text).filter(|_| *part != self.me) else { continue };
            let before = self.others.get(part).filter(|seen| seen.beat.number == beat.number);
            let still = before.map_or(Duration::ZERO, |seen| seen.still + since);
            others.insert(part.clone(), Seen { beat, still });
        }
        self.others = others;
        self.control_text = board.get(CONTROL).cloned();
        self.control = Control::parse(self.control_text.as_ref());
        self.past_text = board.get(PAST).cloned();
        self.past = past(board);
    }

    /// What the commands say.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// The text of the control, as it was read.
    pub fn control_text(&self) -> Option<Vec<u8>> {
        self.control_text.clone()
    }

    /// How many processes live, this one included.
    pub fn living(&self) -> usize {
        1 + self.others.values().filter(|seen| seen.lives()).count()
    }

    /// Whether a worker lives at `now`, in seconds since 1970, that is no function. A function sees too
    /// little of the others to know who stands still, so this goes by their clocks.
    pub fn has_machines(&self, now: u64) -> bool {
        self.others.iter().any(|(part, seen)| {
            let name = part.strip_prefix(MEMBER).unwrap_or_default();
            let is_machine = seen.beat.member == Member::Worker && !name.starts_with(FUNCTION);
            is_machine && seen.lives() && seen.beat.at.saturating_add(HEARD_OF) >= now
        })
    }

    /// The lowest place for a detail that none of the others has; its own one, if it is alone there.
    pub fn place(&self, mine: Option<u32>) -> u32 {
        let taken = |place: u32| {
            let mut others = self.others.iter();
            others.any(|(part, seen)| {
                let first = mine != Some(place) || *part < self.me;
                seen.beat.place == place && first
            })
        };
        mine.filter(|mine| !taken(*mine))
            .unwrap_or_else(|| (0..u32::MAX).find(|place| !taken(*place)).unwrap_or_default())
    }

    /// Where the details of these parts are kept.
    pub fn places(&self, parts: &[String]) -> Vec<(String, u32)> {
        let others = self.others.iter().filter(|(part, _)| parts.contains(part));
        others.map(|(part, seen)| (part.clone(), seen.beat.place)).collect()
    }

    /// The share of limit number `at` that this process takes, out of 1.
    pub fn share(&self, at: usize, wants: u8) -> f64 {
        let weight = |wants: u8| if wants & (1 << at) == 0 { LITTLE } else { 1.0 };
        let living = || self.others.values().filter(|seen| seen.lives());
        let others: f64 = living().map(|seen| weight(seen.beat.wants)).sum();
        let longest = living().map(|seen| seen.beat.every).max().unwrap_or_default();
        // Until the others have had the time to see it, a newcomer takes what they can spare.
        let is_new = self.known.is_none_or(|known| known < Duration::from_secs(longest));
        let mine = if is_new { LITTLE } else { weight(wants) };
        mine / (mine + others)
    }

    /// What all processes have done; `mine` is this one's part.
    pub fn total(&self, mine: Counts) -> Counts {
        self.others.values().fold(self.past.plus(mine), |sum, seen| sum.plus(seen.beat.counts))
    }

    /// The time until the next look.
    pub fn interval(&self, limited: bool) -> Duration {
        let least = if limited { LIMITED } else { UNLIMITED };
        let count = u32::try_from(self.others.len() + 1).unwrap_or(u32::MAX);
        least.max(FOR_EACH.saturating_mul(count)).min(LONGEST)
    }

    /// The parts whose counts are to be moved to the past, and the past with them. Only the first
    /// of the living processes does it.
    pub fn forgotten(&self) -> Option<(Vec<String>, Counts)> {
        let is_first = self.others.iter().all(|(part, seen)| !seen.lives() || *part > self.me);
        let is_over = |seen: &Seen| seen.still >= FORGOTTEN && !seen.lives();
        let over: Vec<_> = self.others.iter().filter(|(_, seen)| is_over(seen)).collect();
        (is_first && !over.is_empty()).then(|| {
            let past = over.iter().fold(self.past, |sum, (_, seen)| sum.plus(seen.beat.counts));
            (over.into_iter().map(|(part, _)| part.clone()).collect(), past)
        })
    }

    /// The past as it was read.
    pub fn past(&self) -> (Counts, Option<Vec<u8>>) {
        (self.past, self.past_text.clone())
    }
}

/// The counts of the processes that have ended.
pub fn past(board: &Board) -> Counts {
    board.get(PAST).and_then(|text| serde_json::from_slice(text).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
