//! The order of S3 events for one object.
//!
//! Pure: an order of texts.

use std::fmt;

/// The longest accepted sequencer. Amazon S3 documents no limit and writes 18 digits.
const MAX_DIGITS: usize = 128;

/// The position of an event among the events of the same object; greater is later. It says nothing
/// about events of different objects.
///
/// Amazon S3 compares two of them as texts of hexadecimal digits, after the shorter has been padded
/// on its right with zeros
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>).
/// Plain comparison of the texts in capitals, without trailing zeros, gives the same order. A
/// sequencer is kept in that form here and on record, so that a database can compare two directly.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequencer(String);

impl Sequencer {
    /// Reads the text of an event; `None` if it is not a hexadecimal number of up to 128 digits,
    /// and so says nothing about the order.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
        if !digits || text.len() > MAX_DIGITS {
            return None;
        }
        // A database may refuse an empty text; a single zero is still the least of all.
        let short = text.trim_end_matches('0');
        Some(Self(if short.is_empty() { "0".to_owned() } else { short.to_ascii_uppercase() }))
    }

    /// The stored form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sequencer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering::{self, Equal, Greater, Less};

    use super::*;

    /// As Amazon S3 documents it.
    fn documented(a: &str, b: &str) -> Ordering {
        let width = a.len().max(b.len());
        let padded = |text: &str| format!("{text:0<width$}").to_ascii_uppercase();
        padded(a).cmp(&padded(b))
    }

    /// Promise 2.
    #[test]
    fn the_shorter_is_padded_on_its_right() {
        for (a, b, expected) in [
            ("0055AED6DCD90281E5", "0055AED6DCD90281E5", Equal),
            ("0055AED6DCD90281E5", "0055AED6DCD90281E6", Less),
            ("0055aed6dcd90281e5", "0055AED6DCD90281E4", Greater),
            ("0055AED6DCD90281E5", "0055AED6DCD90281E500", Equal),
            ("0055AED6DCD90281E5", "0055AED6DCD90281E501", Less),
            // As a number it would be greater.
            ("1", "0FFFF", Greater),
            ("9", "A", Less),
            ("0", "0000", Equal),
            ("0", "00001", Less),
            ("0", "1", Less),
        ] {
            let (x, y) = (Sequencer::parse(a).unwrap(), Sequencer::parse(b).unwrap());
            assert_eq!(x.cmp(&y), expected, "{a} {b}");
            assert_eq!(documented(a, b), expected, "{a} {b}");
        }
    }

    /// Promise 2.
    #[test]
    fn the_short_form_has_the_documented_order() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut text = || -> String {
            (0..rng.usize(1..9)).map(|_| ['0', '0', '1', '9', 'a', 'F'][rng.usize(..6)]).collect()
        };
        for _ in 0..5000 {
            let (a, b) = (text(), text());
            let (x, y) = (Sequencer::parse(&a).unwrap(), Sequencer::parse(&b).unwrap());
            assert_eq!(x.cmp(&y), documented(&a, &b), "{a} {b}");
            assert_eq!(Sequencer::parse(x.as_str()), Some(x), "{a}");
        }
    }

    #[test]
    fn what_is_no_hexadecimal_number_is_no_sequencer() {
        for text in ["", "x", "0x12", "-1", "1 ", "12.5", "\u{661}", &"1".repeat(129)] {
            assert_eq!(Sequencer::parse(text), None, "{text}");
        }
        assert!(Sequencer::parse(&"1".repeat(128)).is_some());
    }
}
