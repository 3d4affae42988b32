//! Where an interval of keys may be cut so that several requests list it at once.
//!
//! Nothing is known of the keys that are still to come but what was seen of others: the characters
//! they are made of, and how close together the last ones were. So keys are taken for numbers whose
//! digits are the characters seen so far. What is wrong with that guess costs an empty answer and
//! never a key: a cut is only a place, any string will do.

use std::collections::BTreeSet;

/// Characters beyond these are no digits of their own: a few thousand tell enough.
const MAX_DIGITS: usize = 4096;
/// Digits of a number: enough that a hundred million keys with a common beginning differ within.
const DIGITS: usize = 16;
/// A cut differs from the keys around it in its first digits; more would only make it longer.
const FINE: usize = 3;

/// The characters that keys have been seen to have, in order.
#[derive(Clone, Debug, Default)]
pub struct Alphabet {
    ascii: u128,
    others: BTreeSet<char>,
    digits: Vec<char>,
}

impl Alphabet {
    /// Takes in the characters of a key.
    pub fn see(&mut self, key: &str) {
        let mut news = false;
        for c in key.chars() {
            if c.is_ascii() {
                let bit = 1 << u32::from(c);
                news |= self.ascii & bit == 0;
                self.ascii |= bit;
            } else if self.others.len() < MAX_DIGITS {
                news |= self.others.insert(c);
            }
        }
        if news {
            let ascii = (0..128u8).filter(|c| self.ascii & (1 << c) != 0).map(char::from);
            self.digits = ascii.chain(self.others.iter().copied()).collect();
        }
    }

    /// The number system's base: a digit for each character, and 0 for the end of a key.
    fn base(&self) -> f64 {
        self.digits.len() as f64 + 1.0
    }

    /// The digit of a character; one that has not been seen shares the digit of the next lower.
    fn digit(&self, c: char) -> usize {
        self.digits.partition_point(|digit| *digit <= c)
    }

    /// The key's part from `at` (in characters) on as a fraction: 0 for nothing, below 1.
    fn fraction(&self, key: &str, at: usize) -> f64 {
        let (mut value, mut weight) = (0.0, 1.0);
        for c in key.chars().skip(at).take(DIGITS) {
            weight /= self.base();
            value += self.digit(c) as f64 * weight;
        }
        value
    }

    /// The characters of a fraction, up to a few behind the first in which it differs from `low`.
    fn characters(&self, fraction: f64, low: &str) -> String {
        let (mut left, mut low, mut text) = (fraction, low.chars(), String::new());
        let mut fine = None;
        for _ in 0..DIGITS {
            left *= self.base();
            let digit = (left as usize).min(self.digits.len());
            left -= digit as f64;
            let Some(c) = digit.checked_sub(1).and_then(|at| self.digits.get(at)) else { break };
            text.push(*c);
            if fine.is_none() && low.next() != Some(*c) {
                fine = Some(0);
            }
            if let Some(fine) = &mut fine {
                *fine += 1;
                if *fine >= FINE {
                    break;
                }
            }
        }
        text
    }

    /// How many times the interval from `from` to `at` fits between `at` and `to` (`None`: no end):
    /// with the keys in the first a guess at those in the second. Infinite where the first is too
    /// small to be measured.
    pub fn ratio(&self, from: &str, at: &str, to: Option<&str>) -> f64 {
        let common = to.map_or(0, |to| common(from, to));
        let end = to.map_or(1.0, |to| self.fraction(to, common));
        let at = self.fraction(at, common);
        let passed = at - self.fraction(from, common);
        let left = (end - at).max(0.0);
        match passed > 0.0 {
            true => left / passed,
            false => f64::INFINITY,
        }
    }

    /// Up to `count` places between `low` and `high` (`None`: no end), in order, each above `low` and
    /// below `high`. `alike`: how many characters the last keys have in common.
    ///
    /// Half of them divide the interval evenly. The other half lie right behind what begins as `low`
    /// does, for shorter and shorter beginnings of what is alike: they find the end of keys that have
    /// much in common. A single one is of the first kind or, where `nested`, of the second.
    pub fn cuts(
        &self,
        low: &str,
        high: Option<&str>,
        alike: usize,
        count: usize,
        nested: bool,
    ) -> Vec<String> {
        let shared = high.map_or(0, |high| common(low, high));
        let behind = if count == 1 { usize::from(nested) } else { count / 2 };
        let nests = nests(low, shared, alike, behind);
        let mut cuts = self.even(low, high, shared, count - nests.len());
        cuts.extend(nests);
        cuts.retain(|cut| cut.as_str() > low && high.is_none_or(|high| cut.as_str() < high));
        cuts.sort_unstable();
        cuts.dedup();
        cuts
    }

    fn even(&self, low: &str, high: Option<&str>, shared: usize, count: usize) -> Vec<String> {
        let begin: String = low.chars().take(shared).collect();
        let rest: String = low.chars().skip(shared).collect();
        let from = self.fraction(low, shared);
        let to = high.map_or(1.0, |high| self.fraction(high, shared));
        let cut = |i: usize| {
            let fraction = from + (to - from) * (i as f64) / (count as f64 + 1.0);
            format!("{begin}{}", self.characters(fraction, &rest))
        };
        (1..=count).map(cut).collect()
    }
}

/// Up to `count` places right behind what begins with the first characters of `low`: more of them than
/// `shared`, and no more than one beyond those that are `alike`, since any other lies behind a few keys
/// only.
fn nests(low: &str, shared: usize, alike: usize, count: usize) -> Vec<String> {
    let starts = low.char_indices().take(alike.saturating_add(1)).skip(shared);
    let starts: Vec<(usize, char)> = starts.collect();
    let count = count.min(starts.len());
    let behind = |i: usize| {
        let (start, c) = *starts.get(starts.len() * (2 * i + 1) / (2 * count))?;
        Some(format!("{}{}", &low[..start], after(c)?))
    };
    (0..count).filter_map(behind).collect()
}

/// The next character in the order of UTF-8, which is that of their numbers.
fn after(c: char) -> Option<char> {
    let next = u32::from(c) + 1;
    char::from_u32(if next == 0xD800 { 0xE000 } else { next })
}

/// How many characters both keys begin with.
pub fn common(one: &str, other: &str) -> usize {
    one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(keys: &[&str]) -> Alphabet {
        let mut alphabet = Alphabet::default();
        keys.iter().for_each(|key| alphabet.see(key));
        alphabet
    }

    #[test]
    fn an_interval_of_numbers_is_cut_evenly() {
        let decimal = seen(&["0123456789"]);
        let cuts = decimal.cuts("data/000001000", Some("data/9"), 10, 7, false);
        let firsts: Vec<&str> = cuts.iter().map(|cut| &cut[..6]).collect();
        for expected in ["data/1", "data/3", "data/5", "data/7"] {
            assert!(firsts.contains(&expected), "{cuts:?}");
        }
        assert!(cuts.iter().all(|cut| cut.len() < "data/000001000".len()), "{cuts:?}");
    }

    #[test]
    fn the_end_of_keys_with_much_in_common_is_found_by_shorter_beginnings() {
        let low = "photos/2024/summer/img-0001.jpg";
        let cuts = seen(&[low]).cuts(low, None, low.len(), 62, false);
        for expected in ["q", "photos0", "photos/2025", "photos/2024/summer/img-1"] {
            assert!(cuts.iter().any(|cut| cut == expected), "{expected}: {cuts:?}");
        }
        // Alone it lies in the middle, so that each halves what is not known.
        assert_eq!(seen(&[low]).cuts("b/k", None, 3, 1, true), ["b0"]);
    }

    #[test]
    fn a_guess_at_what_is_left_follows_from_what_was_passed() {
        let decimal = seen(&["0123456789"]);
        let ratio = decimal.ratio("100", "110", Some("200"));
        assert!((5.0..20.0).contains(&ratio), "{ratio}");
        assert_eq!(decimal.ratio("1", "1", Some("2")), f64::INFINITY);
        assert_eq!(decimal.ratio("1", "2", Some("2")), 0.0);
        assert!(decimal.ratio("", "0", None).is_finite());
    }

    #[test]
    fn every_cut_lies_inside_whatever_the_keys() {
        let odd =
            ["", "\u{0}", "\u{1}\u{1}", " ", "a", "a\u{10FFFF}", "\u{D7FF}", "\u{E000}/\u{6587}"];
        let alphabet = seen(&odd);
        for low in odd {
            for high in odd.into_iter().map(Some).chain([None]) {
                for count in [1, 2, 7, 64] {
                    for nested in [false, true] {
                        let cuts = alphabet.cuts(low, high, 2, count, nested);
                        assert!(cuts.len() <= count);
                        assert!(cuts.is_sorted_by(|one, next| one < next));
                        let inside = |cut: &String| {
                            cut.as_str() > low && high.is_none_or(|high| cut.as_str() < high)
                        };
                        assert!(cuts.iter().all(inside), "{low:?} {high:?} {cuts:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_unseen_character_lies_between_its_neighbours() {
        let alphabet = seen(&["az"]);
        assert_eq!(alphabet.digit('m'), alphabet.digit('a'));
        assert!(alphabet.digit('z') > alphabet.digit('m'));
        assert_eq!(Alphabet::default().cuts("x", Some("x"), 1, 3, false), Vec::<String>::new());
    }
}
