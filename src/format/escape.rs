//! Shows people text from outside: keys, names, the words of a service or a message.
//!
//! A terminal obeys control characters, and some Unicode characters are invisible but reverse the
//! text around them, end its line, or hide in it
//! (<https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing>). None of them is ever
//! printed unescaped. Texts are escaped where they are made ([`shown`]), and again where they leave
//! the program ([`lines`]); JSON keeps the exact text, since programs read it ([`json`]).

use std::fmt::{self, Write};

/// A text from outside, safe within a line.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(&'a str);

/// Escapes everything that is not plainly visible, line ends included.
pub fn shown(text: &str) -> Shown<'_> {
    Shown(text)
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(f, self.0, |c| !is_plain(c))
    }
}

/// The same for output with several lines: line ends and tabs stay.
pub fn lines(text: &str) -> String {
    let mut lines = String::with_capacity(text.len());
    // Writing to a string cannot fail.
    let _ = escape(&mut lines, text, |c| !is_plain(c) && !matches!(c, '\n' | '\t'));
    lines
}

/// Equivalent JSON in which everything is plainly visible.
pub fn json(text: &str) -> String {
    let mut json = String::with_capacity(text.len());
    for c in text.chars() {
        // ASCII control characters are already escaped in strings, and are line ends elsewhere.
        match c.is_ascii_control() && c != '\u{7f}' || is_plain(c) {
            true => json.push(c),
            false => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                let _ = write!(json, "\\u{unit:04x}");
            }),
        }
    }
    json
}

/// Whether a character is visible and has no other effect.
pub fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(
            c,
            // The soft hyphen, and the direction controls of bidirectional text.
            '\u{ad}' | '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            // Zero-width characters, and letters that look blank.
            | '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180e}'
            | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}'
            // Line and paragraph separators, annotations, tags, the format controls of some
            // scripts.
            | '\u{2028}'..='\u{2029}' | '\u{fff9}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        )
}

fn escape(to: &mut impl Write, text: &str, is_escaped: impl Fn(char) -> bool) -> fmt::Result {
    let mut rest = text;
    while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_escaped(*c)) {
        write!(to, "{}{}", &rest[..at], c.escape_default())?;
        rest = &rest[at + c.len_utf8()..];
    }
    to.write_str(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIDDEN: &str = "\u{1b}\u{7f}\u{85}\u{ad}\u{61c}\u{200b}\u{200d}\u{200e}\u{200f}\u{2028}\u{2029}\
                          \u{202a}\u{202e}\u{2060}\u{2066}\u{2069}\u{feff}\u{e0041}";

    /// Promise 4.
    #[test]
    fn nothing_hidden_is_shown() {
        for c in HIDDEN.chars().chain("\n\r\t\0".chars()) {
            assert!(!is_plain(c), "{c:?}");
            let text = format!("a{c}b");
            assert_eq!(shown(&text).to_string(), format!("a{}b", c.escape_default()));
        }
        for text in
            ["", "a b", "\u{fc}/\u{6587}/\u{1f600}", "back\\slash", "e\u{301}", "\u{5d0}\u{5d1}"]
        {
            assert_eq!(shown(text).to_string(), text);
            assert_eq!((lines(text), json(text)), (text.to_owned(), text.to_owned()));
        }
    }

    #[test]
    fn lines_keep_their_ends() {
        assert_eq!(lines("a\tb\nc\r\u{202e}d\u{1b}[2J"), "a\tb\nc\\r\\u{202e}d\\u{1b}[2J");
    }

    /// Promise 4.
    #[test]
    fn json_means_the_same() {
        let text = format!("{HIDDEN}\n\t\0\u{1f600}\"\\");
        let plain = json(&serde_json::to_string(&text).unwrap());
        assert!(plain.chars().all(is_plain), "{plain}");
        assert_eq!(serde_json::from_str::<String>(&plain).unwrap(), text);
        let pretty = "{\n  \"a\": 1\n}";
        assert_eq!(json(pretty), pretty);
    }
}
