//! Limits that follow the clock: `08:00-18:00 200M, else off`.
//!
//! Pure: the moment is an argument.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::size;

/// What a limit counts each second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateUnit {
    /// Bytes; K, M, G and T are powers of 1,024.
    Bytes,
    /// Requests.
    Requests,
}

/// The lowest bandwidth: a slower body would look like one that stalls.
const LEAST_BYTES: u64 = 64 * 1024;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_MINUTES: i64 = 24 * 60;

/// A rate for each moment of the week. The first entry that covers a moment counts; a moment that
/// no entry covers has no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timetable {
    /// Minutes east of UTC.
    offset: i64,
    entries: Vec<Entry>,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    /// On which days it begins, Monday first.
    days: [bool; 7],
    /// Minutes of the day; if `to` is not later, it ends the next day.
    from: i64,
    to: i64,
    /// `None`: no limit.
    rate: Option<u64>,
}

impl Timetable {
    /// Reads a timetable; the error says what is wrong and what is allowed.
    pub fn parse(text: &str, unit: RateUnit) -> Result<Self, String> {
        let text = text.trim();
        let (offset, rest) = match text.split_once(' ') {
            Some((zone, rest)) if zone.starts_with(['+', '-']) => (offset(zone)?, rest),
            _ => (0, text),
        };
        let entries = rest.split(',').map(|entry| Entry::parse(entry.trim(), unit));
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { offset, entries, text: text.to_owned() })
    }

    /// What may be written, for messages.
    pub fn allowed(unit: RateUnit) -> &'static str {
        match unit {
            RateUnit::Bytes => {
                "bytes a second like 50M (at least 64K), off, or a timetable like 08:00-18:00 \
                 200M, else off (UTC; +08:00 in front of it: another zone; Mon-Fri in front of a \
                 time: on these days)"
            }
            RateUnit::Requests => {
                "requests a second like 300, off, or a timetable like 08:00-18:00 300, else off"
            }
        }
    }

    /// The limit at this moment; `None`: there is none.
    pub fn at(&self, now: SystemTime) -> Option<u64> {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let minutes = i64::try_from(since.as_secs() / 60).unwrap_or_default() + self.offset;
        // 1970 began on a Thursday.
        let (day, minute) = (minutes.div_euclid(DAY_MINUTES) + 3, minutes.rem_euclid(DAY_MINUTES));
        self.entries.iter().find(|entry| entry.covers(day, minute)).and_then(|entry| entry.rate)
    }

    /// Whether there is a limit at any time.
    pub fn limits(&self) -> bool {
        self.entries.iter().any(|entry| entry.rate.is_some())
    }
}

impl fmt::Display for Timetable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.text.is_empty() { "off" } else { &self.text })
    }
}

impl Entry {
    fn parse(text: &str, unit: RateUnit) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (days, time, rate) = match words[..] {
            [rate] => (None, None, rate),
            [word, rate] if word.eq_ignore_ascii_case("else") => (None, None, rate),
            [time, rate] => (None, Some(time), rate),
            [days, time, rate] => (Some(days), Some(time), rate),
            _ => return Err(format!("{text:?} is no entry of a timetable")),
        };
        let (from, to) = time.map_or(Ok((0, DAY_MINUTES)), span)?;
        let days = days.map_or(Ok([true; 7]), weekdays)?;
        Ok(Self { days, from, to, rate: rate_of(rate, unit)? })
    }

    fn covers(&self, day: i64, minute: i64) -> bool {
        let begins_on = |day: i64| self.days[day.rem_euclid(7) as usize];
        match self.from < self.to {
            true => begins_on(day) && (self.from..self.to).contains(&minute),
            false => {
                (begins_on(day) && minute >= self.from) || (begins_on(day - 1) && minute < self.to)
            }
        }
    }
}

fn rate_of(text: &str, unit: RateUnit) -> Result<Option<u64>, String> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let rate = match unit {
        RateUnit::Bytes => size(text.trim_end_matches("/s")),
        RateUnit::Requests => text.trim_end_matches("/s").parse().ok(),
    };
    let least = if unit == RateUnit::Bytes { LEAST_BYTES } else { 1 };
    match rate {
        Some(rate) if rate >= least => Ok(Some(rate)),
        Some(_) => Err(format!("{text} is too little")),
        None => Err(format!("{text:?} is no rate")),
    }
}

fn clock(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    let part = |text: &str, max: i64| {
        let is_short = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<i64>().ok().filter(|n| is_short && *n <= max)
    };
    let minutes = part(hours, 24)? * 60 + part(minutes, 59)?;
    (minutes <= DAY_MINUTES).then_some(minutes)
}

fn span(text: &str) -> Result<(i64, i64), String> {
    let ends = text.split_once('-').and_then(|(from, to)| clock(from).zip(clock(to)));
    let ends = ends.filter(|(from, to)| from != to && *from < DAY_MINUTES);
    ends.ok_or_else(|| format!("{text:?} is no time like 08:00-18:00"))
}

fn offset(text: &str) -> Result<i64, String> {
    let minutes = clock(&text[1..]).ok_or_else(|| format!("{text:?} is no zone like +08:00"))?;
    Ok(if text.starts_with('-') { -minutes } else { minutes })
}

fn weekdays(text: &str) -> Result<[bool; 7], String> {
    let day = |text: &str| DAYS.iter().position(|day| text.eq_ignore_ascii_case(day));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (Some(first), Some(last)) = (day(first), day(last)) else {
        return Err(format!("{text:?} is no day like Mon or Mon-Fri"));
    };
    let mut days = [false; 7];
    let count = (last + 7 - first) % 7;
    (0..=count).for_each(|n| days[(first + n) % 7] = true);
    Ok(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Timetable {
        Timetable::parse(text, RateUnit::Bytes).unwrap()
    }

    fn at(text: &str) -> SystemTime {
        humantime::parse_rfc3339(text).unwrap()
    }

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_rate_alone_is_always_in_force() {
        let now = SystemTime::UNIX_EPOCH;
        for (text, rate) in [
            ("50M", Some(50 * MIB)),
            ("65536", Some(65_536)),
            ("64k/s", Some(65_536)),
            ("10MiB", Some(10 * MIB)),
            ("off", None),
            ("else 1M", Some(MIB)),
        ] {
            assert_eq!(table(text).at(now), rate, "{text}");
        }
        assert_eq!(Timetable::default().at(now), None);
        let requests = Timetable::parse("300", RateUnit::Requests).unwrap();
        assert_eq!(requests.at(now), Some(300));
    }

    #[test]
    fn the_first_entry_that_covers_the_moment_counts() {
        let day = table("08:00-18:00 200M, else off");
        for (time, rate) in [
            ("2026-01-31T07:59:59Z", None),
            ("2026-01-31T08:00:00Z", Some(200 * MIB)),
            ("2026-01-31T17:59:59Z", Some(200 * MIB)),
            ("2026-01-31T18:00:00Z", None),
        ] {
            assert_eq!(day.at(at(time)), rate, "{time}");
        }
        // 2026-01-31 is a Saturday.
        let night = table("Fri 22:00-06:00 1M, 00:00-24:00 2M");
        assert_eq!(night.at(at("2026-01-30T23:00:00Z")), Some(MIB));
        assert_eq!(night.at(at("2026-01-31T05:59:00Z")), Some(MIB));
        assert_eq!(night.at(at("2026-01-31T06:00:00Z")), Some(2 * MIB));
        assert_eq!(night.at(at("2026-01-31T23:00:00Z")), Some(2 * MIB));
        let weekend = table("Sat-Mon 00:00-24:00 1M");
        assert_eq!(weekend.at(at("2026-02-02T12:00:00Z")), Some(MIB));
        assert_eq!(weekend.at(at("2026-02-03T12:00:00Z")), None);
    }

    #[test]
    fn a_zone_shifts_the_clock() {
        let china = table("+08:00 08:00-18:00 1M, else 2M");
        assert_eq!(china.at(at("2026-01-31T00:00:00Z")), Some(MIB));
        assert_eq!(china.at(at("2026-01-31T10:00:00Z")), Some(2 * MIB));
        let west = table("-05:30 23:00-24:00 1M");
        assert_eq!(west.at(at("2026-01-31T04:30:00Z")), Some(MIB));
    }

    #[test]
    fn what_is_no_timetable_is_named() {
        for (text, named) in [
            ("", "no entry"),
            ("fast", "fast"),
            ("10K", "too little"),
            ("08:00 1M", "08:00-18:00"),
            ("8:00-18:00 1M", "08:00-18:00"),
            ("08:00-08:00 1M", "08:00-18:00"),
            ("24:00-08:00 1M", "08:00-18:00"),
            ("25:00-26:00 1M", "08:00-18:00"),
            ("Someday 08:00-18:00 1M", "Mon-Fri"),
            ("+8 1M", "zone"),
            ("08:00-18:00 1M,", "no entry"),
            ("1M 2M 3M 4M", "no entry"),
            ("-1M", "no rate"),
            ("1e9", "no rate"),
        ] {
            let wrong = Timetable::parse(text, RateUnit::Bytes).unwrap_err();
            assert!(wrong.contains(named), "{text}: {wrong}");
        }
        assert!(Timetable::parse("5M", RateUnit::Requests).is_err());
        assert!(Timetable::parse("0", RateUnit::Requests).is_err());
    }
}
