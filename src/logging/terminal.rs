//! How a line looks at a terminal.
//!
//! Pure: the terminal and the time are arguments.

use time::OffsetDateTime;

/// What a terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terminal {
    colours: bool,
}

const RED: &str = "\u{1b}[1;31m";
const YELLOW: &str = "\u{1b}[33m";
const PLAIN: &str = "\u{1b}[0m";

impl Terminal {
    /// `no_color`: the variable NO_COLOR (<https://no-color.org>); `term`: the variable TERM.
    pub(super) fn new(no_color: Option<&str>, term: Option<&str>) -> Self {
        let is_dumb = term.is_none_or(|term| term.is_empty() || term == "dumb");
        Self { colours: no_color.is_none_or(str::is_empty) && !is_dumb }
    }

    /// `19:21:45 words`, in UTC as everywhere; what is no plain news begins with its level.
    pub(super) fn line(self, level: &str, now: OffsetDateTime, words: &str) -> String {
        let (hour, minute, second) = (now.hour(), now.minute(), now.second());
        let time = format!("{hour:02}:{minute:02}:{second:02}");
        match level {
            "INFO" => format!("{time} {words}"),
            "ERROR" => format!("{time} {}", self.coloured(RED, &format!("ERROR {words}"))),
            "WARNING" => format!("{time} {} {words}", self.coloured(YELLOW, level)),
            level => format!("{time} {level} {words}"),
        }
    }

    /// A result with its failures set off: the lines that count or name some.
    pub(super) fn result(self, text: &str) -> String {
        let line = |line: &str| match counts_failures(line) {
            true => self.coloured(RED, line),
            false => line.to_owned(),
        };
        text.split('\n').map(line).collect::<Vec<_>>().join("\n")
    }

    fn coloured(self, colour: &str, text: &str) -> String {
        match self.colours {
            true => format!("{colour}{text}{PLAIN}"),
            false => text.to_owned(),
        }
    }
}

/// Whether a line of a result is the count of failures, and not zero.
fn counts_failures(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let count = words.next().filter(|word| *word == "failed").and(words.next());
    count.is_some_and(|count| count.starts_with(|c: char| ('1'..='9').contains(&c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_stands_out_where_there_are_colours() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let colours = Terminal::new(None, Some("xterm"));
        assert_eq!(colours.line("INFO", now, "compared"), "00:00:00 compared");
        assert_eq!(colours.line("ERROR", now, "x"), "00:00:00 \u{1b}[1;31mERROR x\u{1b}[0m");
        assert_eq!(colours.line("WARNING", now, "x"), "00:00:00 \u{1b}[33mWARNING\u{1b}[0m x");
        let result = "  copied   1 object\n  failed  12 objects\n  failed   0 objects";
        let red =
            "  copied   1 object\n\u{1b}[1;31m  failed  12 objects\u{1b}[0m\n  failed   0 objects";
        assert_eq!(colours.result(result), red);
        for plain in [
            Terminal::new(Some("1"), Some("xterm")),
            Terminal::new(None, Some("dumb")),
            Terminal::new(None, None),
        ] {
            assert_eq!(plain.line("ERROR", now, "x"), "00:00:00 ERROR x");
            assert_eq!(plain.result(result), result);
        }
        assert_eq!(Terminal::new(Some(""), Some("xterm")), colours);
    }
}
