//! What the commands say to the fleet.
//!
//! Pure: the form of the control and what follows from it; the moment is an argument.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::beat::Counts;
use crate::config::timetable::{RateUnit, Timetable};
use crate::config::{LimitsConfig, SideLimits};
use crate::store::Side;

/// Why nothing new begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// In words.
    pub why: String,
    /// The budget is used up; otherwise somebody asked for it.
    #[serde(default)]
    pub by_budget: bool,
    /// When, in seconds since 1970.
    #[serde(default)]
    pub since: u64,
}

/// Limits of one side that replace those of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SideControl {
    /// A timetable of bytes a second; `None`: the configuration's.
    pub bandwidth: Option<String>,
    /// A timetable of requests a second; `None`: the configuration's.
    pub requests: Option<String>,
}

/// The control part of a board.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Control {
    /// Nothing new begins.
    pub paused: Option<Pause>,
    /// Limits at the source.
    pub source: SideControl,
    /// Limits at the destination.
    pub destination: SideControl,
    /// What the budget does not count: all that was before the last `resume`.
    pub spent: Spent,
}

/// What a budget counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spent {
    /// Bytes read from the source.
    pub bytes: u64,
    /// Millionths of the currency.
    pub micros: u64,
}

impl From<Counts> for Spent {
    fn from(counts: Counts) -> Self {
        Self { bytes: counts.source.bytes(), micros: counts.micros }
    }
}

impl Control {
    /// Reads the part; what another version has written and this one cannot read changes nothing.
    pub fn parse(text: Option<&Vec<u8>>) -> Self {
        text.and_then(|text| serde_json::from_slice(text).ok()).unwrap_or_default()
    }

    /// The part's text.
    pub fn text(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The part of one side.
    pub fn side(&mut self, side: Side) -> &mut SideControl {
        match side {
            Side::Source => &mut self.source,
            Side::Destination => &mut self.destination,
        }
    }

    /// The limits in force: the control's, or the configuration's.
    pub fn limits(&self, config: &LimitsConfig) -> [SideLimits; 2] {
        let of = |control: &SideControl, config: &SideLimits| SideLimits {
            bandwidth: chosen(control.bandwidth.as_deref(), &config.bandwidth, RateUnit::Bytes),
            requests: chosen(control.requests.as_deref(), &config.requests, RateUnit::Requests),
        };
        [of(&self.source, &config.source), of(&self.destination, &config.destination)]
    }

    /// Why the budget is used up, if it is.
    pub fn used_up(&self, config: &LimitsConfig, total: Counts, currency: &str) -> Option<String> {
        let total = Spent::from(total);
        let bytes = total.bytes.saturating_sub(self.spent.bytes);
        let micros = total.micros.saturating_sub(self.spent.micros);
        if let Some(most) = config.max_bytes.filter(|most| bytes >= *most) {
            return Some(format!("MaxBytes = {most} is reached: {bytes} bytes were read"));
        }
        let most = config.max_cost.filter(|most| micros >= *most)?;
        let (cost, most) = (micros as f64 / 1e6, most as f64 / 1e6);
        Some(format!("MaxCost = {most} is reached: {cost:.2} {currency} were spent"))
    }
}

fn chosen(control: Option<&str>, config: &Timetable, unit: RateUnit) -> Timetable {
    // Only a newer version could have written what cannot be read.
    let read = control.and_then(|text| Timetable::parse(text, unit).ok());
    read.unwrap_or_else(|| config.clone())
}

/// The rates in force at this moment: bytes and requests of the source, then of the destination.
pub fn rates([source, destination]: &[SideLimits; 2], now: SystemTime) -> [Option<u64>; 4] {
    [&source.bandwidth, &source.requests, &destination.bandwidth, &destination.requests]
        .map(|timetable| timetable.at(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::beat::SideCounts;

    #[test]
    fn a_command_goes_before_the_configuration() {
        let table = |text| Timetable::parse(text, RateUnit::Bytes).unwrap();
        let mut config = LimitsConfig::default();
        config.source.bandwidth = table("1M");
        config.destination.bandwidth = table("2M");
        let mut control = Control::default();
        control.side(Side::Source).bandwidth = Some("off".to_owned());
        control.side(Side::Destination).requests = Some("7".to_owned());
        let written = Control::parse(Some(&control.text()));
        assert_eq!(written, control);
        let now = SystemTime::UNIX_EPOCH;
        assert_eq!(rates(&control.limits(&config), now), [None, None, Some(2 << 20), Some(7)]);
        control.side(Side::Source).bandwidth = Some("faster than light".to_owned());
        assert_eq!(rates(&control.limits(&config), now)[0], Some(1 << 20));
        assert_eq!(Control::parse(Some(&b"?".to_vec())), Control::default());
    }

    #[test]
    fn a_budget_counts_from_the_last_resume() {
        let total =
            Counts { source: SideCounts(1000, 0, 0, 0), micros: 2_500_000, ..Counts::default() };
        let mut control = Control::default();
        let bytes = |most| LimitsConfig { max_bytes: Some(most), ..LimitsConfig::default() };
        let cost = |most| LimitsConfig { max_cost: Some(most), ..LimitsConfig::default() };
        let used_up = |control: &Control, config| control.used_up(&config, total, "USD");
        assert_eq!(used_up(&control, LimitsConfig::default()), None);
        assert_eq!(used_up(&control, bytes(1001)), None);
        let why = used_up(&control, bytes(1000)).unwrap();
        assert_eq!(why, "MaxBytes = 1000 is reached: 1000 bytes were read");
        let why = used_up(&control, cost(2_500_000)).unwrap();
        assert_eq!(why, "MaxCost = 2.5 is reached: 2.50 USD were spent");
        control.spent = Spent::from(total);
        assert_eq!(used_up(&control, bytes(1)), None);
        assert_eq!(used_up(&control, cost(1)), None);
    }
}
