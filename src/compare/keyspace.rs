//! Chooses where to cut an interval of keys so that several requests list it at once.
//!
//! All that is known about the keys to come is what other keys have shown: the characters they are
//! made of, and how close together the last ones were. So keys are treated as numbers whose digits
//! are the characters seen so far. A wrong guess costs an empty answer and never a key: a cut is
//! only a place, and any string will do.
//!
//! Pure: a cut follows from the keys that were seen.

use std::collections::BTreeSet;

/// More characters than these are not digits of their own: a few thousand are enough.
const MAX_DIGITS: usize = 4096;
/// How many places of a key have their own set of characters.
const PLACES: usize = 128;
/// Digits of a number: enough to tell apart a hundred million keys with a common beginning.
const DIGITS: usize = 16;
/// A cut differs from the keys around it in its first digits; more digits would only make it
/// longer.
const FINE: usize = 3;

/// The characters of numbers and digests: if only some of them have been seen, the others are
/// likely to come.
const CLASSES: [&str; 3] = ["0123456789", "0123456789abcdef", "0123456789ABCDEF"];

/// A set of ASCII characters, a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ascii(u128);

impl Ascii {
    fn of(text: &str) -> Self {
        Self(text.bytes().filter(u8::is_ascii).fold(0, |set, byte| set | 1 << byte))
    }

    fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    fn chars(self) -> impl Iterator<Item = char> {
        (0..128u8).filter(move |c| self.0 & (1 << c) != 0).map(char::from)
    }
}

/// The characters that have been seen in keys, in order.
#[derive(Clone, Debug)]
pub struct Alphabet {
    /// All of them.
    digits: Vec<char>,
    seen: Ascii,
    others: BTreeSet<char>,
    /// The characters in each place of a key; `None`: some of them are not ASCII.
    places: Vec<Option<Ascii>>,
    classes: [(Ascii, Vec<char>); 3],
}

impl Default for Alphabet {
    fn default() -> Self {
        Self {
            digits: Vec::new(),
            seen: Ascii::default(),
            others: BTreeSet::new(),
            places: Vec::new(),
            classes: CLASSES.map(|class| (Ascii::of(class), class.chars().collect())),
        }
    }
}

impl Alphabet {
    /// Takes in the characters of a key. The first `alike` are common to other keys too, and say
    /// nothing about what other places may have.
    pub fn see(&mut self, key: &str, alike: usize) {
        for (place, c) in key.chars().enumerate() {
            self.see_in(place, c);
            if place >= alike {
                self.see_anywhere(c);
            }
        }
    }

    fn see_in(&mut self, place: usize, c: char) {
        if place >= PLACES {
            return;
        }
        if place >= self.places.len() {
            self.places.resize(place + 1, Some(Ascii::default()));
        }
        let seen = self.places[place].filter(|_| c.is_ascii());
        self.places[place] = seen.map(|seen| Ascii(seen.0 | 1 << u32::from(c)));
    }

    fn see_anywhere(&mut self, c: char) {
        let is_new = match c.is_ascii() {
            true => self.seen.0 & (1 << u32::from(c)) == 0,
            false => self.others.len() < MAX_DIGITS && !self.others.contains(&c),
        };
        if !is_new {
            return;
        }
        match c.is_ascii() {
            true => self.seen.0 |= 1 << u32::from(c),
            false => drop(self.others.insert(c)),
        }
        self.digits = self.seen.chars().chain(self.others.iter().copied()).collect();
    }

    /// The characters that this place may have: all that have been seen anywhere, or, if the place
    /// has only digits of numbers, all such digits.
    fn digits(&self, place: usize) -> &[char] {
        let seen = self.places.get(place).copied().flatten().filter(|seen| seen.0 != 0);
        let is_in =
            |(class, _): &&(Ascii, Vec<char>)| seen.is_some_and(|seen| seen.is_within(*class));
        self.classes.iter().find(is_in).map_or(&self.digits, |(_, digits)| digits)
    }

    /// Where the interval between the keys can be cut at all: how many leading characters any place
    /// inside shares with `low`, and whether `high` bounds it there. Between `a/part-17` and
    /// `a/pas`, as far as is known, every key begins with `a/part`.
    fn frame(&self, low: &str, high: Option<&str>, alike: usize) -> (usize, bool) {
        let mut shared = high.map_or(0, |high| common(low, high));
        let mut bound = high.and_then(|high| high.chars().nth(shared));
        let mut bounded = high.is_some();
        for (place, c) in low.chars().enumerate().skip(shared).take(alike.saturating_sub(shared)) {
            let is_between = |digit: &char| *digit > c && bound.is_none_or(|bound| *digit < bound);
            if self.digits(place).iter().any(is_between) {
                break;
            }
            (shared, bound, bounded) = (place + 1, None, false);
        }
        (shared, bounded)
    }

    /// The part of the key from `at` (in characters) on as a fraction: 0 for nothing, below 1. Each
    /// character is a digit, and the end of a key is 0; a character that is not a digit counts as
    /// the next lower one.
    fn fraction(&self, key: &str, at: usize) -> f64 {
        let (mut value, mut weight) = (0.0, 1.0);
        for (place, c) in key.chars().enumerate().skip(at).take(DIGITS) {
            let digits = self.digits(place);
            weight /= digits.len() as f64 + 1.0;
            value += digits.partition_point(|digit| *digit <= c) as f64 * weight;
        }
        value
    }

    /// The characters of a fraction at this place, up to a few after the first that differs from
    /// `low`.
    fn characters(&self, at: usize, fraction: f64, low: &str) -> String {
        let (mut left, mut low, mut text) = (fraction, low.chars(), String::new());
        let mut fine = None;
        for place in at..at + DIGITS {
            let digits = self.digits(place);
            left *= digits.len() as f64 + 1.0;
            let digit = (left as usize).min(digits.len());
            left -= digit as f64;
            let Some(c) = digit.checked_sub(1).and_then(|at| digits.get(at)) else { break };
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

    /// How many times the interval from `from` to `at` fits between `at` and `to` (`None`: no end).
    /// With the number of keys in the first interval, this estimates the number in the second.
    /// Infinite if the first is too small to measure.
    pub fn ratio(&self, from: &str, at: &str, to: Option<&str>) -> f64 {
        let (shared, bounded) = self.frame(at, to, common(from, at));
        let end = to.filter(|_| bounded).map_or(1.0, |to| self.fraction(to, shared));
        let at = self.fraction(at, shared);
        let passed = at - self.fraction(from, shared);
        let left = (end - at).max(0.0);
        match passed > 0.0 {
            true => left / passed,
            false => f64::INFINITY,
        }
    }

    /// Up to `evens + nests` places between `low` and `high` (`None`: no end), in order, each above
    /// `low` and below `high`. `alike`: how many characters the last keys have in common.
    ///
    /// `evens` of them divide the interval evenly. `nests` lie right after all keys that share a
    /// beginning with `low`, for shorter and shorter beginnings of the common part: they find the
    /// end of keys that have much in common. Nests for which there is no place become even ones.
    pub fn cuts(
        &self,
        low: &str,
        high: Option<&str>,
        alike: usize,
        (evens, nests): (usize, usize),
    ) -> Vec<String> {
        let shared = high.map_or(0, |high| common(low, high));
        let nested = nested(low, shared, alike, nests);
        let mut cuts = self.even(low, high, alike, evens + nests - nested.len());
        cuts.extend(nested);
        cuts.retain(|cut| cut.as_str() > low && high.is_none_or(|high| cut.as_str() < high));
        cuts.sort_unstable();
        cuts.dedup();
        cuts
    }

    fn even(&self, low: &str, high: Option<&str>, alike: usize, count: usize) -> Vec<String> {
        let (shared, bounded) = self.frame(low, high, alike);
        let begin: String = low.chars().take(shared).collect();
        let rest: String = low.chars().skip(shared).collect();
        let from = self.fraction(low, shared);
        let to = high.filter(|_| bounded).map_or(1.0, |high| self.fraction(high, shared));
        let cut = |i: usize| {
            let fraction = from + (to - from) * (i as f64) / (count as f64 + 1.0);
            format!("{begin}{}", self.characters(shared, fraction, &rest))
        };
        (1..=count).map(cut).collect()
    }
}

/// Up to `count` places right after the keys that begin with the first characters of `low`. These
/// beginnings are longer than `shared`, and at most one character longer than `alike`: any longer
/// one would be followed by a place only a few keys away.
fn nested(low: &str, shared: usize, alike: usize, count: usize) -> Vec<String> {
    let starts = low.char_indices().take(alike.saturating_add(1)).skip(shared);
    let starts: Vec<(usize, char)> = starts.collect();
    let count = count.min(starts.len());
    let behind = |i: usize| {
        let (start, c) = *starts.get(starts.len() * (2 * i + 1) / (2 * count))?;
        Some(format!("{}{}", &low[..start], after(c)?))
    };
    (0..count).filter_map(behind).collect()
}

/// The place right after everything that begins with `prefix`; `None`: there is none.
pub fn behind(prefix: &str) -> Option<String> {
    let (start, last) = prefix.char_indices().next_back()?;
    Some(format!("{}{}", &prefix[..start], after(last)?))
}

/// The next character in UTF-8 order, which is the order of code points.
fn after(c: char) -> Option<char> {
    let next = u32::from(c) + 1;
    char::from_u32(if next == 0xD800 { 0xE000 } else { next })
}

/// How many leading characters both keys share.
pub fn common(one: &str, other: &str) -> usize {
    one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(keys: &[&str]) -> Alphabet {
        let mut alphabet = Alphabet::default();
        keys.iter().for_each(|key| alphabet.see(key, 0));
        alphabet
    }

    /// Promise 1.
    #[test]
    fn an_interval_of_numbers_is_cut_evenly() {
        let decimal = seen(&["0123456789"]);
        let cuts = decimal.cuts("data/000001000", Some("data/9"), 10, (4, 3));
        let firsts: Vec<&str> = cuts.iter().map(|cut| &cut[..6]).collect();
        for expected in ["data/1", "data/3", "data/5", "data/7"] {
            assert!(firsts.contains(&expected), "{cuts:?}");
        }
        assert!(cuts.iter().all(|cut| cut.len() < "data/000001000".len()), "{cuts:?}");
    }

    /// Promise 1.
    #[test]
    fn the_end_of_keys_with_much_in_common_is_found_by_shorter_beginnings() {
        let low = "photos/2024/summer/img-0001.jpg";
        let cuts = seen(&[low]).cuts(low, None, low.len(), (31, 31));
        for expected in ["q", "photos0", "photos/2025", "photos/2024/summer/img-1"] {
            assert!(cuts.iter().any(|cut| cut == expected), "{expected}: {cuts:?}");
        }
        // A single nest lies in the middle, so that each one halves the unknown part.
        assert_eq!(seen(&[low]).cuts("b/k", None, 3, (0, 1)), ["b0"]);
    }

    #[test]
    fn a_guess_at_what_is_left_follows_from_what_was_passed() {
        let decimal = seen(&["0123456789"]);
        let ratio = decimal.ratio("100", "110", Some("200"));
        assert!((5.0..20.0).contains(&ratio), "{ratio}");
        assert_eq!(decimal.ratio("1", "1", Some("2")), f64::INFINITY);
        // Between 19 and 20, every key begins with 1.
        assert!(decimal.ratio("10", "19", Some("20")) < 1.0);
        assert!(decimal.ratio("", "0", None).is_finite());
    }

    /// Promise 1.
    #[test]
    fn every_cut_lies_inside_whatever_the_keys() {
        let odd =
            ["", "\u{0}", "\u{1}\u{1}", " ", "a", "a\u{10FFFF}", "\u{D7FF}", "\u{E000}/\u{6587}"];
        let alphabet = seen(&odd);
        for low in odd {
            for high in odd.into_iter().map(Some).chain([None]) {
                for (evens, nests) in [(0, 1), (1, 0), (1, 1), (4, 3), (32, 32)] {
                    let cuts = alphabet.cuts(low, high, 2, (evens, nests));
                    assert!(cuts.len() <= evens + nests);
                    assert!(cuts.is_sorted_by(|one, next| one < next));
                    let inside = |cut: &String| {
                        cut.as_str() > low && high.is_none_or(|high| cut.as_str() < high)
                    };
                    assert!(cuts.iter().all(inside), "{low:?} {high:?} {cuts:?}");
                }
            }
        }
    }

    #[test]
    fn behind_a_prefix_there_is_none_of_its_keys() {
        for (prefix, expected) in [("", None), ("a/", Some("a0")), ("\u{D7FF}", Some("\u{E000}"))] {
            assert_eq!(behind(prefix).as_deref(), expected);
        }
        assert_eq!(behind("x\u{10FFFF}"), None, "as good as no end");
    }

    #[test]
    fn a_place_of_numbers_has_all_of_their_digits_and_no_others() {
        let alphabet = seen(&["k/01-ab", "k/02-cz"]);
        let digits = |place| alphabet.digits(place).iter().collect::<String>();
        assert_eq!((digits(2), digits(3)), ("0123456789".to_owned(), "0123456789".to_owned()));
        assert_eq!(
            (digits(5), digits(6)),
            ("0123456789abcdef".to_owned(), "-/012abckz".to_owned())
        );
        assert_eq!(digits(99), "-/012abckz");
        let beyond = seen(&["\u{fc}1", "a1"]);
        assert_eq!(beyond.digits(0).iter().collect::<String>(), "1a\u{fc}");
    }

    #[test]
    fn an_unseen_character_lies_between_its_neighbours() {
        let alphabet = seen(&["xyz", "zxw"]);
        assert_eq!(alphabet.fraction("A", 0), 0.0);
        assert!(alphabet.fraction("z", 0) > alphabet.fraction("y", 0));
        assert_eq!(Alphabet::default().cuts("x", Some("x"), 1, (2, 1)), Vec::<String>::new());
    }
}
