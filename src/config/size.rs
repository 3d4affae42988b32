//! Sizes as people write them: `5G`, `64M`, `5GiB`.
//!
//! Pure: a text in, a number out.

/// The units by their first letters, each 1,024 times the one before.
const UNITS: &str = "KMGTPE";

/// The bytes of a size with a unit. `K`, `M`, `G`, `T`, `P` and `E`, also as `KiB` and so on, are powers
/// of 1,024; `KB` and so on are powers of 1,000; `B` is a byte. Case does not matter.
fn with_unit(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let unit = unit.trim_start().to_ascii_uppercase();
    if unit == "B" {
        return Some(number);
    }
    let mut letters = unit.chars();
    let power = u32::try_from(UNITS.find(letters.next()?)?).ok()? + 1;
    let base: u64 = match letters.as_str() {
        "" | "I" | "IB" => 1024,
        "B" => 1000,
        _ => return None,
    };
    number.checked_mul(base.checked_pow(power)?)
}

/// The bytes that a text means: a plain number of bytes, or a size with a unit.
pub fn size(text: &str) -> Option<u64> {
    text.parse().ok().or_else(|| with_unit(text))
}

/// How many times `unit` bytes a size with a unit is; `None` if it has no unit or is no multiple.
pub(super) fn multiple(text: &str, unit: u64) -> Option<u64> {
    with_unit(text).filter(|bytes| bytes.is_multiple_of(unit)).map(|bytes| bytes / unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::MIB;

    const GIB: u64 = 1024 * MIB;

    #[test]
    fn a_size_is_a_number_or_has_a_unit() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("1048576", Some(MIB)),
            ("5G", Some(5 * GIB)),
            ("5g", Some(5 * GIB)),
            ("5GiB", Some(5 * GIB)),
            ("5 GiB", Some(5 * GIB)),
            ("64M", Some(64 * MIB)),
            ("64Mi", Some(64 * MIB)),
            ("5GB", Some(5_000_000_000)),
            ("7B", Some(7)),
            ("15E", Some(15 << 60)),
            ("16E", None),
            ("5.0G", None),
            ("-5M", None),
            ("M", None),
            ("5X", None),
            ("5GiBs", None),
            ("5iB", None),
            ("", None),
        ] {
            assert_eq!(size(text), bytes, "{text}");
        }
        assert_eq!(multiple("5G", MIB), Some(5120));
        assert_eq!(multiple("5", MIB), None);
        assert_eq!(multiple("512K", MIB), None);
    }
}
