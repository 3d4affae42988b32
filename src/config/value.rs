//! Parses one value from a layer's text, as its key's kind requires.

use std::time::SystemTime;

use super::keys::{Key, Kind};
use super::listen::listen_address;
use super::size;
use super::timetable::Timetable;
use crate::object::is_bucket_name;
use crate::quirk::Pins;

/// Longer values are not repeated in messages: a secret may have been pasted in the wrong place.
const LONGEST_SHOWN: usize = 32;

/// A value that satisfies its key's kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Parsed {
    /// Nothing is set.
    Unset,
    /// True or False.
    Bool(bool),
    /// In the key's unit.
    Integer(u64),
    /// The program chooses.
    Auto,
    /// The word in the table's spelling.
    Word(&'static str),
    /// Text, names, URLs and files.
    Text(String),
    /// A moment.
    Moment(SystemTime),
}

/// Parses `raw` for `key`; the error says what is wrong and what is allowed.
pub(super) fn parse(key: &Key, raw: &str) -> Result<Parsed, String> {
    if raw.is_empty() {
        return if key.optional { Ok(Parsed::Unset) } else { Err(wrong(key, "is empty")) };
    }
    if raw.chars().any(char::is_control) {
        return Err(wrong(key, "has a control character in it"));
    }
    if let Some(habit) = foreign_habit(key, raw) {
        return Err(wrong(key, habit));
    }
    let text = || Parsed::Text(raw.to_owned());
    match key.kind {
        Kind::Bool => boolean(raw).map(Parsed::Bool).ok_or_else(|| wrong(key, &shown(raw))),
        Kind::CountOrAuto { .. } if raw.eq_ignore_ascii_case("auto") => Ok(Parsed::Auto),
        Kind::Integer { min, max, .. } | Kind::CountOrAuto { min, max } => match number(key, raw) {
            Some(n) if (min..=max).contains(&n) => Ok(Parsed::Integer(n)),
            Some(_) => Err(wrong(key, &format!("{} is out of range", shown(raw)))),
            None => Err(wrong(key, &shown(raw))),
        },
        Kind::Choice(words) => words
            .iter()
            .find(|word| word.eq_ignore_ascii_case(raw))
            .map(|word| Parsed::Word(word))
            .ok_or_else(|| wrong(key, &shown(raw))),
        Kind::Moment => moment(raw).map(Parsed::Moment).ok_or_else(|| wrong(key, &shown(raw))),
        Kind::ParameterName if !is_parameter_name(raw) => {
            Err(wrong(key, "is not a valid name (the value is not shown)"))
        }
        Kind::Address if listen_address(raw).is_none() => Err(wrong(key, &shown(raw))),
        Kind::Url if !is_url(raw) => Err(wrong(key, &not_a_url(raw))),
        Kind::Quirks => match Pins::parse(raw) {
            Ok(_) => Ok(text()),
            Err(wrong_word) => Err(wrong(key, &format!("{}: {wrong_word}", shown(raw)))),
        },
        Kind::Timetable(unit) => match Timetable::parse(raw, unit) {
            Ok(_) => Ok(text()),
            Err(wrong_word) => Err(wrong(key, &format!("{}: {wrong_word}", shown(raw)))),
        },
        Kind::Money => money(raw).map(Parsed::Integer).ok_or_else(|| wrong(key, &shown(raw))),
        Kind::Bucket if !is_bucket_name(raw) => Err(wrong(key, &shown(raw))),
        Kind::Text
        | Kind::KeyText
        | Kind::Path
        | Kind::PathBesideIni
        | Kind::ParameterName
        | Kind::Url
        | Kind::Address
        | Kind::Bucket => Ok(text()),
    }
}

/// A number in the key's unit; a size may have a unit of its own.
fn number(key: &Key, raw: &str) -> Option<u64> {
    let with_unit = || size::multiple(raw, key.size_unit()?);
    raw.parse().ok().or_else(with_unit)
}

/// What other formats allow around a value and an ini takes for a part of it. Keys and patterns may
/// have such characters, and a file's name may contain a `#`.
fn foreign_habit(key: &Key, raw: &str) -> Option<&'static str> {
    let is_quoted = |quote| raw.len() > 1 && raw.starts_with(quote) && raw.ends_with(quote);
    let has_comment = || {
        let behind_blank = raw.split(char::is_whitespace).skip(1);
        behind_blank.into_iter().any(|word| word.starts_with(['#', ';']))
    };
    match key.kind {
        Kind::KeyText => None,
        _ if is_quoted('"') || is_quoted('\'') => {
            Some("has quotes around its value, which would be part of it: leave them out")
        }
        Kind::Path | Kind::PathBesideIni => None,
        _ if has_comment() => {
            Some("has a comment after its value: put the comment on a line of its own")
        }
        _ => None,
    }
}

/// Why a text is not the URL of an endpoint; shown only if it is plainly a host.
fn not_a_url(raw: &str) -> String {
    let is_host = |b: u8| b.is_ascii_alphanumeric() || b"-.:/[]".contains(&b);
    if raw.contains("://") || raw.len() > LONGEST_SHOWN * 2 || !raw.bytes().all(is_host) {
        return "is not a valid URL (the value is not shown)".to_owned();
    }
    format!("= {raw} has no scheme: write https://{raw}, or http://{raw} for plain HTTP")
}

fn wrong(key: &Key, what: &str) -> String {
    format!("[{}] {} {what}; allowed: {}", key.section, key.name, key.allowed())
}

fn shown(raw: &str) -> String {
    match raw.chars().count() {
        count if count > LONGEST_SHOWN => format!("= ({count} characters, not shown)"),
        _ => format!("= {raw}"),
    }
}

/// The words of Python's configparser, which the original tool used.
fn boolean(raw: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(raw));
    match (is(&["true", "yes", "on", "1"]), is(&["false", "no", "off", "0"])) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

/// A day, which begins at midnight UTC, or an RFC 3339 time.
pub fn moment(raw: &str) -> Option<SystemTime> {
    let day = raw.len() == "2026-01-31".len();
    let text = if day { format!("{raw}T00:00:00Z") } else { raw.to_owned() };
    humantime::parse_rfc3339_weak(&text).ok()
}

/// An amount in millionths.
pub fn money(raw: &str) -> Option<u64> {
    let plain = raw.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let amount = raw.parse::<f64>().ok().filter(|amount| plain && *amount < 1e12)?;
    Some((amount * 1e6).round() as u64)
}

/// Letters, digits and `. - _ /`, and `:` for an ARN
/// (<https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html>).
fn is_parameter_name(raw: &str) -> bool {
    raw.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/:".contains(&b))
}

/// An http URL with a host and without a user name or password.
fn is_url(raw: &str) -> bool {
    let rest = raw.strip_prefix("https://").or_else(|| raw.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        !host.is_empty() && !host.contains('@') && !rest.contains(char::is_whitespace)
    })
}

#[cfg(test)]
mod tests {
    use super::super::keys::{KEYS, find};
    use super::*;

    fn read(section: &str, name: &str, raw: &str) -> Result<Parsed, String> {
        parse(find(section, name).unwrap(), raw)
    }

    #[test]
    fn defaults_are_values_of_their_kind() {
        for key in KEYS {
            assert!(parse(key, key.default).is_ok(), "{}", key.path());
        }
    }

    #[test]
    fn booleans_are_those_of_configparser() {
        for (raw, expected) in [
            ("True", true),
            ("TRUE", true),
            ("yes", true),
            ("On", true),
            ("1", true),
            ("false", false),
            ("No", false),
            ("off", false),
            ("0", false),
        ] {
            assert_eq!(read("Mode", "CopyTags", raw), Ok(Parsed::Bool(expected)), "{raw}");
        }
        let wrong = read("Mode", "CopyTags", "maybe").unwrap_err();
        assert_eq!(wrong, "[Mode] CopyTags = maybe; allowed: True or False");
        assert!(read("Mode", "CopyTags", "").is_err());
        assert_eq!(read("Source", "ForcePathStyle", ""), Ok(Parsed::Unset));
    }

    #[test]
    fn numbers_have_ranges_and_units() {
        assert_eq!(read("Debug", "ChunkSize", "5120"), Ok(Parsed::Integer(5120)));
        assert_eq!(
            read("Debug", "ChunkSize", "4").unwrap_err(),
            "[Debug] ChunkSize = 4 is out of range; allowed: a whole number from 5 to 5120 \
             (MiB), or a size like 64M or 5G"
        );
        for (raw, mib) in [("5M", 5), ("5 MiB", 5), ("5g", 5120), ("1GiB", 1024)] {
            assert_eq!(read("Debug", "ChunkSize", raw), Ok(Parsed::Integer(mib)), "{raw}");
        }
        assert_eq!(read("Filter", "MinSize", "5K"), Ok(Parsed::Integer(5120)));
        for raw in ["-5", "5.0", "99999999999999999999", "512K", "6G", "5 apples"] {
            assert!(read("Debug", "ChunkSize", raw).is_err(), "{raw}");
        }
        assert!(read("Mode", "ResumableThreshold", "0").is_ok());
        assert!(read("Mode", "MaxThread", "0").is_err());
        assert!(read("Mode", "MaxThread", "1001").is_err());
        assert!(read("Mode", "VisibilityTimeout", "9").is_err());
        assert!(read("Mode", "VisibilityTimeout", "43201").is_err());
    }

    #[test]
    fn the_habits_of_other_formats_are_told_apart() {
        for (section, name, raw, words) in [
            ("Source", "Region", "\"eu-west-1\"", "quotes around its value"),
            ("Source", "Endpoint", "'https://minio.example'", "quotes around its value"),
            ("Mode", "MaxThread", "20  # many", "a comment after its value"),
            ("Source", "Region", "eu-west-1 ; home", "a comment after its value"),
            ("Source", "Endpoint", "https://minio.example # ours", "a comment after its value"),
            (
                "Source",
                "Endpoint",
                "minio.example:9000",
                "write https://minio.example:9000, or http:",
            ),
            ("Source", "Endpoint", "user:hunter2@host", "not shown"),
            ("Mode", "MaxThread", "many", "= many; allowed"),
        ] {
            let wrong = read(section, name, raw).unwrap_err();
            assert!(wrong.contains(words), "{raw}: {wrong}");
            assert!(!wrong.contains("hunter2"), "{wrong}");
        }
        for (section, name, raw) in [
            ("Basic", "Des_prefix_default", "\"quoted\" # and more"),
            ("Filter", "Include", "b/a #1"),
            ("Debug", "LogFile", "log #1"),
        ] {
            assert!(read(section, name, raw).is_ok(), "{raw}");
        }
    }

    #[test]
    fn some_counts_may_be_left_to_the_program() {
        for name in ["MaxThread", "MaxParallelFile"] {
            assert_eq!(read("Mode", name, "auto"), Ok(Parsed::Auto));
            assert_eq!(read("Mode", name, "AUTO"), Ok(Parsed::Auto));
            assert_eq!(read("Mode", name, "7"), Ok(Parsed::Integer(7)));
        }
        assert_eq!(
            read("Mode", "MaxThread", "automatic").unwrap_err(),
            "[Mode] MaxThread = automatic; allowed: a whole number from 1 to 1000, or auto"
        );
        assert!(read("Mode", "MaxRetry", "auto").is_err());
    }

    #[test]
    fn words_are_found_in_any_case() {
        assert_eq!(read("Mode", "StorageClass", "keep"), Ok(Parsed::Word("KEEP")));
        assert_eq!(
            read("Mode", "StorageClass", "Express_OneZone"),
            Ok(Parsed::Word("EXPRESS_ONEZONE"))
        );
        assert_eq!(
            read("Basic", "JobType", "POST").unwrap_err(),
            "[Basic] JobType = POST; allowed: PUT, GET"
        );
    }

    #[test]
    fn urls_parameter_names_and_buckets_are_checked() {
        assert!(read("Source", "Endpoint", "http://127.0.0.1:9000").is_ok());
        assert!(read("Source", "Endpoint", "https://oss.example/x").is_ok());
        for raw in ["127.0.0.1:9000", "https://", "ftp://host", "https://a b"] {
            assert!(read("Source", "Endpoint", raw).is_err(), "{raw}");
        }
        assert!(read("Basic", "ssm_parameter_bucket", "/a/b-c_d.e").is_ok());
        assert!(read("Basic", "Des_bucket_default", "s3://bucket").is_err());
    }

    #[test]
    fn a_moment_is_a_day_or_a_second_of_one() {
        let at = |seconds| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        for (raw, expected) in [
            ("2026-01-01", Some(at(1_767_225_600))),
            ("2026-01-01T00:00:01Z", Some(at(1_767_225_601))),
            ("2026-01-01 00:00:01", Some(at(1_767_225_601))),
            ("2026-13-01", None),
            ("yesterday!", None),
        ] {
            assert_eq!(moment(raw), expected, "{raw}");
        }
        assert!(read("Filter", "ModifiedAfter", "soon").unwrap_err().contains("2026-01-31"));
    }

    #[test]
    fn what_may_be_a_secret_is_not_repeated() {
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let json = format!("{{\"aws_secret_access_key\":\"{secret}\"}}");
        for (section, name, raw) in [
            ("Basic", "ssm_parameter_credentials", json.as_str()),
            ("Source", "Endpoint", "https://user:hunter2@host"),
            ("Source", "Credentials", secret),
            ("Mode", "MaxThread", secret),
            ("Mode", "CopyTags", secret),
            ("Basic", "Des_bucket_default", secret),
        ] {
            let wrong = read(section, name, raw).unwrap_err();
            assert!(!wrong.contains("hunter2") && !wrong.contains("wJalr"), "{wrong}");
        }
    }
}
