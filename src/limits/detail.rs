//! What a process is doing, kept apart from the board: only those who look read it.
//!
//! Pure: times and counts are arguments.

use serde::{Deserialize, Serialize};

use crate::monitor::activity::{Amount, Doing};
use crate::record::NoteKey;

/// Seconds between two samples that are kept, and how many are.
const EVERY: u64 = 60;
const KEPT: usize = 7;
/// The part of the ended processes' board.
pub const ENDED: &str = "doing";

/// The counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds since 1970.
    pub at: u64,
    /// Listed so far.
    pub listed: Amount,
    /// Copied so far.
    pub copied: Amount,
    /// Listed again so far.
    pub checked: Amount,
}

/// The detail of one process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Detail {
    /// The process's part of the board: another one may have had this place before.
    pub part: String,
    /// What it is doing.
    pub doing: Doing,
    /// The last minutes, oldest first; the last one is the present.
    pub samples: Vec<Sample>,
}

impl Detail {
    /// Reads a detail; `None`: there is none, or one of another form.
    pub fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// Its text.
    pub fn text(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Takes in what the process does now.
    pub fn observe(&mut self, doing: Doing, now: u64) {
        let total = doing.total();
        let (listed, copied, checked) = (total.listed, total.copied, total.checked);
        let sample = Sample { at: now, listed, copied, checked };
        // The last one is replaced until it is a minute after the one before.
        if let [.., before, last] = &self.samples[..]
            && last.at.saturating_sub(before.at) < EVERY
        {
            self.samples.pop();
        }
        self.samples.push(sample);
        let surplus = self.samples.len().saturating_sub(KEPT);
        self.samples.drain(..surplus);
        self.doing = doing;
    }
}

/// Where the detail of the process with this place is kept.
pub fn detail_note(board: &NoteKey, place: u32) -> NoteKey {
    NoteKey::new(format_args!("detail:{}:{place}", board.as_str()))
}

/// Where the counts of ended processes are kept.
pub fn ended_board(board: &NoteKey) -> NoteKey {
    NoteKey::new(format_args!("ended:{}", board.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_a_minute_is_kept_and_the_present() {
        let mut detail = Detail::default();
        let times = |detail: &Detail| detail.samples.iter().map(|s| s.at).collect::<Vec<_>>();
        for now in [100, 102, 104] {
            detail.observe(Doing::default(), now);
        }
        assert_eq!(times(&detail), [100, 104]);
        for now in (106..=1000).step_by(2) {
            detail.observe(Doing::default(), now);
        }
        let kept = times(&detail);
        assert_eq!((kept.len(), *kept.last().unwrap()), (KEPT, 1000));
        assert!(1000 - kept[0] >= 300, "five minutes: {kept:?}");
        assert_eq!(Detail::parse(&detail.text()), Some(detail));
    }
}
