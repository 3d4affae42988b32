//! Numbers as people read them.

use std::time::Duration;

/// `1536` as `1.5 KiB`: binary units, one decimal.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `1234567` as `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 object`, `1,234 objects`.
pub fn objects(number: u64) -> String {
    things(number, "object")
}

/// The number of these things; the plural of `thing` takes an s.
pub fn things(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(number), if number == 1 { "" } else { "s" })
}

/// `     1,234 objects`: a count in a column.
pub fn column(number: u64) -> String {
    format!("{:>12} {:<7}", count(number), if number == 1 { "object" } else { "objects" })
}

/// Bytes per second, `-` if no time has passed.
pub fn rate(bytes_moved: u64, elapsed: Duration) -> String {
    match elapsed.as_secs_f64() {
        seconds if seconds > 0.0 => format!("{}/s", bytes((bytes_moved as f64 / seconds) as u64)),
        _ => "-".to_owned(),
    }
}

/// The longest remaining time that is shown. A rate measured over minutes says nothing about more
/// than that.
const LONGEST_LEFT: Duration = Duration::from_secs(60 * 24 * 60 * 60);

/// The remaining time from an estimate in seconds; `None` if the estimate is unreasonable, and so
/// unknown.
pub fn time_left(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().filter(|left| *left <= LONGEST_LEFT)
}

/// Whole seconds, in words: `1h 2m 3s`; below ten seconds with one decimal.
pub fn duration(duration: Duration) -> String {
    match duration {
        short if short < Duration::from_secs(10) => format!("{:.1}s", short.as_secs_f64()),
        long => humantime::format_duration(Duration::from_secs(long.as_secs())).to_string(),
    }
}

/// An estimate in its two largest units: `2days 3h`, `12h 30m`, `2m 43s`.
pub fn about(duration: Duration) -> String {
    let all = humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string();
    all.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(5 << 40), "5.0 TiB");
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!((objects(0), objects(1)), ("0 objects".to_owned(), "1 object".to_owned()));
        assert_eq!(column(1), "           1 object ");
        assert_eq!(things(1_000, "key"), "1,000 keys");
        assert_eq!(about(Duration::from_secs(3_723)), "1h 2m");
        assert_eq!(about(Duration::from_secs(43)), "43s");
        assert_eq!(rate(3072, Duration::from_secs(2)), "1.5 KiB/s");
        assert_eq!(rate(1, Duration::ZERO), "-");
        assert_eq!(duration(Duration::from_millis(1_234)), "1.2s");
        let days = |days: f64| days * 86_400.0;
        assert_eq!(time_left(1.5), Some(Duration::from_millis(1_500)));
        assert!(time_left(days(60.0)).is_some());
        for unknown in [days(60.1), days(1_000.0), f64::MAX, f64::INFINITY, f64::NAN, -1.0] {
            assert_eq!(time_left(unknown), None, "{unknown}");
        }
        assert_eq!(duration(Duration::from_secs(3_723)), "1h 2m 3s");
    }
}
