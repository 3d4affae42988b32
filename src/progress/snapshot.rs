//! The progress at one moment, and its text.
//!
//! Pure: all numbers are fields.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::format::human;

/// Longest text next to a bar: a terminal of 80 columns holds both.
const BESIDE_A_BAR: usize = 66;

/// What a migration is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It lists both sides, and copies what it has found so far.
    #[default]
    Comparing,
    /// Everything is listed: it copies the rest.
    Copying,
    /// It lists both sides once more, to see that everything is there.
    Closing,
    /// It lists both sides and copies nothing: a `jobsender`, or a `run` that will ask.
    Listing,
}

/// The progress at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    /// What it is doing.
    pub phase: Phase,
    /// Keys listed at the source.
    pub listed: u64,
    /// Objects to copy, as far as they are known.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects copied.
    pub done: u64,
    /// Bytes at the destination: an object in work counts by what has arrived.
    pub moved: u64,
    /// Objects that failed.
    pub failed: u64,
    /// Keys that the closing comparison has looked at.
    pub looked: u64,
    /// Objects a second over the last minute, of the phase.
    pub objects_per_second: f64,
    /// Bytes a second over the last minute.
    pub bytes_per_second: f64,
    /// Seconds until the end of the phase at this speed; `None`: unknown.
    pub seconds_left: Option<u64>,
    /// What is waited for, if nothing moves.
    pub waits_for: Option<String>,
}

/// A part of a line, and how soon it is left out if there is no room.
type Part = (u8, String);

impl Snapshot {
    /// The whole line.
    pub fn text(&self) -> String {
        join(&self.parts())
    }

    /// The line next to a bar: what matters least is left out until it fits.
    pub fn beside_a_bar(&self) -> String {
        let mut parts = self.parts();
        while join(&parts).chars().count() > BESIDE_A_BAR {
            let Some(least) = (0..parts.len()).max_by_key(|at| parts[*at].0) else { break };
            if parts[least].0 == 0 {
                break;
            }
            parts.remove(least);
        }
        join(&parts)
    }

    /// The position of a bar and its end.
    pub fn position(&self) -> (u64, u64) {
        match self.phase {
            Phase::Closing => (self.looked, self.listed),
            // Objects of no bytes move no bytes.
            _ if self.bytes == 0 => (self.done, self.objects),
            _ => (self.moved, self.bytes),
        }
    }

    fn parts(&self) -> Vec<Part> {
        let mut parts = match self.phase {
            Phase::Comparing | Phase::Copying => self.copying(),
            Phase::Closing => vec![(
                0,
                format!(
                    "closing comparison: {} of {}",
                    human::count(self.looked),
                    human::objects(self.listed)
                ),
            )],
            Phase::Listing => vec![
                (0, format!("listing, {} so far", human::things(self.listed, "key"))),
                (1, format!("{} to copy", human::objects(self.objects))),
                (2, human::bytes(self.bytes)),
            ],
        };
        match (&self.waits_for, self.seconds_left) {
            (Some(why), _) => parts.push((1, why.clone())),
            (None, Some(left)) => {
                parts.push((1, format!("{} left", human::about(Duration::from_secs(left)))));
            }
            (None, None) => {}
        }
        parts
    }

    fn copying(&self) -> Vec<Part> {
        let lists = self.phase == Phase::Comparing;
        let mut parts = vec![
            (
                0,
                format!(
                    "{} of {}{} object{}",
                    human::count(self.done),
                    human::count(self.objects),
                    if lists { "+" } else { "" },
                    if self.objects == 1 { "" } else { "s" },
                ),
            ),
            (3, format!("{} of {}", human::bytes(self.moved), human::bytes(self.bytes))),
        ];
        if self.bytes_per_second > 0.0 {
            parts.push((4, format!("{}/s", human::bytes(self.bytes_per_second as u64))));
        }
        if self.failed > 0 {
            parts.push((1, format!("{} failed", human::count(self.failed))));
        }
        if lists {
            parts.push((2, format!("listing, {} so far", human::things(self.listed, "key"))));
        }
        parts
    }
}

fn join(parts: &[Part]) -> String {
    parts.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copying() -> Snapshot {
        Snapshot {
            phase: Phase::Copying,
            listed: 5000,
            objects: 4068,
            bytes: 3 << 30,
            done: 850,
            moved: 1 << 30,
            bytes_per_second: 12.5 * 1024.0 * 1024.0,
            seconds_left: Some(163),
            ..Snapshot::default()
        }
    }

    #[test]
    fn every_phase_has_its_own_counts() {
        let copies = "850 of 4,068 objects, 1.0 GiB of 3.0 GiB, 12.5 MiB/s, 2m 43s left";
        assert_eq!(copying().text(), copies);
        let lists = Snapshot { phase: Phase::Comparing, seconds_left: None, ..copying() };
        assert_eq!(
            lists.text(),
            "850 of 4,068+ objects, 1.0 GiB of 3.0 GiB, 12.5 MiB/s, listing, 5,000 keys so far"
        );
        let closing = Snapshot { phase: Phase::Closing, looked: 1200, ..copying() };
        assert_eq!(closing.text(), "closing comparison: 1,200 of 5,000 objects, 2m 43s left");
        assert_eq!(closing.position(), (1200, 5000));
        let sends = Snapshot {
            phase: Phase::Listing,
            listed: 1,
            objects: 1,
            bytes: 7,
            ..Snapshot::default()
        };
        assert_eq!(sends.text(), "listing, 1 key so far, 1 object to copy, 7 B");
    }

    #[test]
    fn what_matters_least_is_left_out_next_to_a_bar() {
        let large = Snapshot {
            objects: 12_345_678,
            done: 1_234_567,
            bytes: 900 << 40,
            moved: 100 << 40,
            failed: 12,
            seconds_left: Some(45_000),
            ..copying()
        };
        let line = large.beside_a_bar();
        assert_eq!(line, "1,234,567 of 12,345,678 objects, 12 failed, 12h 30m left");
        assert_eq!(copying().beside_a_bar(), copying().text());
    }

    #[test]
    fn while_nothing_moves_it_says_what_is_waited_for() {
        let waits = Snapshot {
            bytes_per_second: 0.0,
            seconds_left: None,
            waits_for: Some("waiting for the destination".to_owned()),
            ..copying()
        };
        let line = "850 of 4,068 objects, 1.0 GiB of 3.0 GiB, waiting for the destination";
        assert_eq!(waits.text(), line);
    }
}
