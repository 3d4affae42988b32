//! How to read the keys of a listing: not all stores do what `EncodingType` says.
//!
//! Pure: evidence on a page, and what to ask if there is none.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// How a key is written in a listing that calls itself URL-encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyReading {
    /// As Amazon S3 writes it, like a field of an HTML form: a space is `+`, a plus is `%2B`.
    Form,
    /// Percent signs, and `+` is a plus.
    PlusIsLiteral,
    /// As it is.
    Plain,
    /// As [`Self::Form`], twice.
    Twice,
}

impl KeyReading {
    /// The key's bytes.
    pub fn decode(self, raw: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Plain => Cow::Borrowed(raw),
            Self::PlusIsLiteral => percent_decode(raw).into(),
            Self::Form => form(raw),
            Self::Twice => Cow::Owned(form(&form(raw)).into_owned()),
        }
    }
}

fn form(raw: &[u8]) -> Cow<'_, [u8]> {
    if !raw.contains(&b'+') {
        return percent_decode(raw).into();
    }
    let spaces: Vec<u8> = raw.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    Cow::Owned(percent_decode(&spaces).collect())
}

/// What a page's keys show about how they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EncodingEvidence {
    /// Nothing contradicts Amazon S3's way, and nothing on the page depends on it.
    None,
    /// Such keys are written in this way only.
    Is(KeyReading),
    /// Ask the store for the key under each of these readings: the right one is the one under which
    /// the store lists the key exactly as it is written here.
    Ask {
        /// A key as the page shows it.
        raw: Vec<u8>,
        /// Its possible readings, the likely one first.
        readings: &'static [KeyReading],
    },
}

/// Looks at the keys of a page that calls itself encoded.
pub(super) fn evidence<'a>(keys: impl Iterator<Item = &'a [u8]> + Clone) -> EncodingEvidence {
    use KeyReading::{Form, Plain, PlusIsLiteral, Twice};
    let seen = keys.clone().fold(SeenKeys::default(), SeenKeys::with);
    let readings: &'static [KeyReading] = match seen {
        // No encoder leaves a percent sign without two digits.
        SeenKeys { broken: true, .. } => &[Plain, Form, PlusIsLiteral],
        SeenKeys { blank: true, plus: true, plus_code: false, clear: false, .. } => {
            return EncodingEvidence::Is(PlusIsLiteral);
        }
        SeenKeys { blank: false, plus: true, plus_code: true, clear: false, .. } => {
            return EncodingEvidence::Is(Form);
        }
        SeenKeys { clear: true, .. } | SeenKeys { plus: true, .. } => &[Form, PlusIsLiteral, Plain],
        SeenKeys { codes, twice, .. } if codes > 0 && codes == twice => &[Form, Twice],
        SeenKeys { .. } => return EncodingEvidence::None,
    };
    let depends = |raw: &&[u8]| {
        let mut meant = readings.iter().map(|reading| reading.decode(raw));
        let first = meant.next();
        meant.any(|other| first.as_ref().is_some_and(|first| *first != other))
    };
    // The key with the most possible readings is the most telling.
    let tells = |raw: &&[u8]| 2 * u8::from(raw.contains(&b'+')) + u8::from(raw.contains(&b'%'));
    match keys.filter(depends).max_by_key(tells) {
        Some(raw) => EncodingEvidence::Ask { raw: raw.to_vec(), readings },
        None => EncodingEvidence::None,
    }
}

#[derive(Clone, Copy, Default)]
struct SeenKeys {
    /// A percent sign without two digits after it.
    broken: bool,
    /// `%20`.
    blank: bool,
    /// `+`.
    plus: bool,
    /// `%2B`.
    plus_code: bool,
    /// A byte that every encoder encodes: a space, a control character, a quotation mark.
    clear: bool,
    /// The number of codes; `twice` counts those of a percent sign before two digits.
    codes: usize,
    twice: usize,
}

impl SeenKeys {
    fn with(mut self, raw: &[u8]) -> Self {
        for (at, byte) in raw.iter().enumerate() {
            match byte {
                b'+' => self.plus = true,
                b'%' => self.code(raw, at),
                0..=b' ' | b'"' | b'<' | b'>' | 0x7f => self.clear = true,
                _ => {}
            }
        }
        self
    }

    fn code(&mut self, raw: &[u8], at: usize) {
        let digits = |at: usize| {
            let digits = raw.get(at..at + 2)?;
            digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)
        };
        let Some(code) = digits(at + 1) else {
            self.broken = true;
            return;
        };
        self.codes += 1;
        self.blank |= code == b"20";
        self.plus_code |= code.eq_ignore_ascii_case(b"2B");
        self.twice += usize::from(code == b"25" && digits(at + 3).is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promises 0, 1.
    #[test]
    fn listed_keys_are_decoded_once_unless_they_were_encoded_twice() {
        use KeyReading::{Form, Plain, PlusIsLiteral, Twice};
        for (reading, raw, key) in [
            (Form, "a//b", "a//b"),
            (Form, "%2B", "+"),
            (Form, "%2b%c3%bc", "+ü"),
            (Form, "a+b", "a b"),
            (Form, "%252F", "%2F"),
            (Form, "%C3%BC/%E6%96%87", "ü/文"),
            (Form, "line%0Abreak%01", "line\nbreak\u{1}"),
            (Form, "100%", "100%"),
            (PlusIsLiteral, "a+b%20c", "a+b c"),
            (Plain, "a+b%20c", "a+b%20c"),
            (Twice, "a%252Bb", "a+b"),
            (Twice, "%25252F", "%2F"),
        ] {
            assert_eq!(&*reading.decode(raw.as_bytes()), key.as_bytes(), "{reading:?} {raw}");
        }
        assert_eq!(&*Form.decode(b"caf%E9"), b"caf\xe9");
    }

    /// Promises 0, 1.
    #[test]
    fn a_page_tells_how_it_is_written_or_what_to_ask() {
        use KeyReading::{Form, Plain, PlusIsLiteral, Twice};
        let of = |keys: &[&'static str]| evidence(keys.iter().map(|key| key.as_bytes()));
        let ask =
            |raw: &str, readings| EncodingEvidence::Ask { raw: raw.as_bytes().to_vec(), readings };
        for (keys, expected) in [
            (&["a", "b%2Fc"][..], EncodingEvidence::None),
            (&["a+b", "c%20d"], EncodingEvidence::Is(PlusIsLiteral)),
            (&["a+b", "c%2Bd"], EncodingEvidence::Is(Form)),
            (&["a", "a+b"], ask("a+b", &[Form, PlusIsLiteral, Plain])),
            (&["a+b", "c%20d", "%2B"], ask("a+b", &[Form, PlusIsLiteral, Plain])),
            (&["100%", "e%41"], ask("e%41", &[Plain, Form, PlusIsLiteral])),
            (&["100%"], EncodingEvidence::None),
            (&["c d", "e%41"], ask("e%41", &[Form, PlusIsLiteral, Plain])),
            (&["c d", "e"], EncodingEvidence::None),
            (&["a%2520b"], ask("a%2520b", &[Form, Twice])),
            (&["a%2520b", "%2F"], EncodingEvidence::None),
        ] {
            assert_eq!(of(keys), expected, "{keys:?}");
        }
    }
}
