//! What a process writes on the board: that it lives, what it wants, and what it has done.
//!
//! Pure: the form of a part; times are arguments.

use serde::{Deserialize, Serialize};

use crate::store::pace::throttle::Passed;

/// What a process is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Member {
    /// It moves objects.
    #[default]
    Worker,
    /// It compares.
    Jobsender,
    /// It does both, by itself.
    Run,
}

/// Requests and bytes of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideCounts(
    /// Bytes of bodies.
    pub u64,
    /// GET and HEAD.
    pub u64,
    /// PUT, POST and LIST.
    pub u64,
    /// DELETE.
    pub u64,
);

impl From<Passed> for SideCounts {
    fn from(passed: Passed) -> Self {
        Self(passed.bytes, passed.reads, passed.writes, passed.free)
    }
}

impl SideCounts {
    /// Bytes of bodies.
    pub fn bytes(&self) -> u64 {
        self.0
    }

    /// All requests.
    pub fn requests(&self) -> u64 {
        self.1.saturating_add(self.2).saturating_add(self.3)
    }

    fn plus(self, other: Self) -> Self {
        let sum = u64::saturating_add;
        Self(sum(self.0, other.0), sum(self.1, other.1), sum(self.2, other.2), sum(self.3, other.3))
    }
}

/// What a process has done since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// At the source.
    #[serde(rename = "s")]
    pub source: SideCounts,
    /// At the destination.
    #[serde(rename = "d")]
    pub destination: SideCounts,
    /// What that has cost, in millionths of the price file's currency.
    #[serde(rename = "m")]
    pub micros: u64,
    /// Objects that arrived.
    #[serde(rename = "o")]
    pub done: u64,
    /// Their bytes.
    #[serde(rename = "b")]
    pub done_bytes: u64,
    /// Objects that failed for good.
    #[serde(rename = "f")]
    pub failed: u64,
    /// Objects deleted at the destination.
    #[serde(rename = "x")]
    pub deleted: u64,
}

impl Counts {
    /// The sum of both.
    pub fn plus(self, other: Self) -> Self {
        let sum = u64::saturating_add;
        Self {
            source: self.source.plus(other.source),
            destination: self.destination.plus(other.destination),
            micros: sum(self.micros, other.micros),
            done: sum(self.done, other.done),
            done_bytes: sum(self.done_bytes, other.done_bytes),
            failed: sum(self.failed, other.failed),
            deleted: sum(self.deleted, other.deleted),
        }
    }
}

/// The part of one process. Its names are short: all parts together are paid for with every write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Beat {
    /// Goes up with every write. A reader that sees it change knows that the process is alive.
    #[serde(rename = "n")]
    pub number: u64,
    /// What it is.
    #[serde(rename = "r")]
    pub member: Member,
    /// When it began, in seconds since 1970.
    #[serde(rename = "z")]
    pub began: u64,
    /// When this was written, by its own clock.
    #[serde(rename = "t")]
    pub at: u64,
    /// Seconds until the next write.
    #[serde(rename = "e")]
    pub every: u64,
    /// Where its detail is kept: see `super::detail`.
    #[serde(rename = "i")]
    pub place: u32,
    /// Which limits have held it up lately: a bit for each of [`super::view::LIMITS`].
    #[serde(rename = "w")]
    pub wants: u8,
    /// What it has done.
    #[serde(rename = "c")]
    pub counts: Counts,
}

impl Beat {
    /// Reads a part; `None` if another version has written something else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// The part's text.
    pub fn text(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_short_and_comes_back() {
        let side = SideCounts(1 << 50, 1 << 30, 1 << 30, 0);
        let counts = Counts {
            source: side,
            destination: side,
            micros: 1 << 40,
            done: 1 << 30,
            done_bytes: 1 << 50,
            ..Counts::default()
        };
        let (began, at) = (1_767_225_600, 1_767_225_601);
        let beat = Beat { number: 9999, began, at, every: 2, wants: 15, counts, ..Beat::default() };
        assert!(beat.text().len() < 300, "{}", beat.text().len());
        assert_eq!(Beat::parse(&beat.text()), Some(beat));
        assert_eq!(Beat::parse(b"{}"), Some(Beat::default()));
        assert_eq!(Beat::parse(b"new form"), None);
        let sum = counts.plus(counts);
        assert_eq!((sum.source.bytes(), sum.source.requests()), (1 << 51, 1 << 32));
    }
}
