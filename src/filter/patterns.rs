//! Lists of shell patterns that name objects: the ignore list, and the includes of a filter.
//!
//! The patterns are those of Python's `fnmatch.fnmatchcase`, which the original used, down to its
//! reading of `[...]` (<https://docs.python.org/3/library/fnmatch.html>): lists written for it
//! keep their meaning.
//!
//! Pure: a list of patterns follows from its text.

use std::collections::HashMap;

use regex::{RegexSet, RegexSetBuilder};

use crate::error::{Error, Result};

/// Maximum bytes of the compiled list. A pattern takes a few kilobytes at most, so lists of
/// thousands of lines fit.
const MAX_COMPILED_BYTES: usize = 64 * 1024 * 1024;

/// Maximum bytes of cached states per thread. A list whose states do not fit costs a thousand times
/// as much per key: 5,000 patterns with two stars each took 20 ms with the default of 2 MiB.
const MAX_CACHE_BYTES: usize = 32 * 1024 * 1024;

/// Patterns over `bucket/key`.
///
/// Most lists consist of whole paths, folders (`bucket/dir/*`) and endings (`*.tmp`): these are
/// looked up, so thousands cost no more than a few. All others form one regular expression, which
/// thousands of patterns with several stars would make slow.
#[derive(Clone, Debug)]
pub struct Patterns {
    rules: Vec<String>,
    whole: HashMap<String, usize>,
    beginnings: Literals,
    endings: Literals,
    others: RegexSet,
    /// The numbers of the rules in `others`, in its order.
    numbers: Vec<usize>,
}

/// The rules decide; all else follows from them.
impl PartialEq for Patterns {
    fn eq(&self, other: &Self) -> bool {
        self.rules == other.rules
    }
}

impl Eq for Patterns {}

impl Default for Patterns {
    /// A list that matches nothing.
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            whole: HashMap::new(),
            beginnings: Literals::default(),
            endings: Literals::default(),
            others: RegexSet::empty(),
            numbers: Vec::new(),
        }
    }
}

impl Patterns {
    /// Reads one pattern per line. Skips blank lines and lines that begin with `#`; trims blanks
    /// around a pattern (`[ ]` matches a blank). Fails only if the whole list is too large.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.lines().map(|line| line.trim_matches([' ', '\t', '\r']));
        let rules = lines.filter(|l| !l.is_empty() && !l.starts_with('#')).map(str::to_owned);
        let mut patterns = Self { rules: rules.collect(), ..Self::default() };
        let (mut beginnings, mut endings) = (Vec::new(), Vec::new());
        for (number, rule) in patterns.rules.iter().enumerate() {
            let is_literal = |text: &str| !text.contains(['*', '?', '[']);
            match (rule.strip_suffix('*'), rule.strip_prefix('*')) {
                _ if is_literal(rule) => {
                    patterns.whole.entry(rule.clone()).or_insert(number);
                }
                (Some(beginning), _) if is_literal(beginning) => {
                    beginnings.push((beginning.to_owned(), number));
                }
                (_, Some(ending)) if is_literal(ending) => {
                    endings.push((ending.chars().rev().collect(), number));
                }
                _ => patterns.numbers.push(number),
            }
        }
        (patterns.beginnings, patterns.endings) =
            (Literals::new(beginnings), Literals::new(endings));
        let others = patterns.numbers.iter().map(|number| to_regex(&patterns.rules[*number]));
        let set = RegexSetBuilder::new(others)
            .size_limit(MAX_COMPILED_BYTES)
            .dfa_size_limit(MAX_CACHE_BYTES)
            .build();
        patterns.others = set.map_err(|e| {
            let count = patterns.rules.len();
            Error::usage(format!("a list of {count} patterns is too large")).with_source(e)
        })?;
        Ok(patterns)
    }

    /// The first pattern that matches `path`, which is `bucket/key`.
    pub fn matches(&self, path: &str) -> Option<&str> {
        let ending = || {
            let backwards: String = path.chars().rev().collect();
            self.endings.first(&backwards)
        };
        let found = [
            self.whole.get(path).copied(),
            self.beginnings.first(path),
            if self.endings.is_empty() { None } else { ending() },
            if self.numbers.is_empty() { None } else { self.other(path) },
        ];
        let first = found.into_iter().flatten().min()?;
        self.rules.get(first).map(String::as_str)
    }

    /// Calls `seen` with the number of every pattern that matches `path`. Of equal patterns, the
    /// first counts.
    pub fn each_match(&self, path: &str, mut seen: impl FnMut(usize)) {
        self.whole.get(path).copied().into_iter().for_each(&mut seen);
        self.beginnings.each(path, &mut seen);
        if !self.endings.is_empty() {
            let backwards: String = path.chars().rev().collect();
            self.endings.each(&backwards, &mut seen);
        }
        if !self.numbers.is_empty() {
            let others = self.others.matches(path).into_iter();
            others.filter_map(|at| self.numbers.get(at)).copied().for_each(seen);
        }
    }

    fn other(&self, path: &str) -> Option<usize> {
        let first = self.others.matches(path).into_iter().next()?;
        self.numbers.get(first).copied()
    }

    /// The patterns, in their order.
    pub fn rules(&self) -> &[String] {
        &self.rules
    }

    /// Number of patterns.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no pattern at all.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

/// A prefix of paths.
#[derive(Clone, Debug)]
struct Literal {
    text: String,
    /// The number of its rule.
    rule: usize,
    /// The lowest number of all rules whose literals are prefixes of this one.
    first: usize,
}

/// Sorted prefixes of paths.
#[derive(Clone, Debug, Default)]
struct Literals(Vec<Literal>);

impl Literals {
    /// Each literal gets the lowest number of all literals that are its prefixes, so that the
    /// longest match gives the first rule.
    fn new(mut literals: Vec<(String, usize)>) -> Self {
        literals.sort();
        literals.dedup_by(|next, one| next.0 == one.0);
        let mut sorted: Vec<Literal> = Vec::with_capacity(literals.len());
        for (text, rule) in literals {
            // The literals before it have their number already.
            let shorter = Self::longest(&sorted, &text).map(|at| sorted[at].first);
            let first = shorter.map_or(rule, |shorter| shorter.min(rule));
            sorted.push(Literal { text, rule, first });
        }
        Self(sorted)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of the first rule whose literal is a prefix of `path`.
    fn first(&self, path: &str) -> Option<usize> {
        Self::longest(&self.0, path).map(|at| self.0[at].first)
    }

    /// Calls `seen` with the number of each rule whose literal is a prefix of `path`.
    fn each(&self, path: &str, mut seen: impl FnMut(usize)) {
        let mut end = self.0.len();
        while let Some(at) = Self::longest(&self.0[..end], path) {
            seen(self.0[at].rule);
            // Shorter prefixes of the path come before it.
            end = at;
        }
    }

    /// The index of the longest literal that is a prefix of `path`.
    fn longest(sorted: &[Literal], path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            // The greatest literal not above the path is the match, or shares at least as much of
            // the path as the match is long.
            let at = sorted.partition_point(|literal| literal.text.as_str() <= path);
            let at = at.checked_sub(1)?;
            let text = sorted[at].text.as_str();
            if path.starts_with(text) {
                return Some(at);
            }
            path = &path[..shared(path, text)];
        }
    }
}

/// The length in bytes of the common prefix, in whole characters.
fn shared(one: &str, other: &str) -> usize {
    let same = one.chars().zip(other.chars()).take_while(|(one, other)| one == other);
    same.map(|(c, _)| c.len_utf8()).sum()
}

/// The pattern as a regular expression over the whole path.
fn to_regex(pattern: &str) -> String {
    let chars: Vec<char> = pattern.chars().collect();
    let mut regex = String::from(r"(?s)\A");
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        at += 1;
        match c {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '[' => match class_end(&chars, at) {
                Some(end) => {
                    regex.push_str(&class(&chars[at..end]));
                    at = end + 1;
                }
                None => regex.push_str(r"\["),
            },
            c => regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    regex + r"\z"
}

/// The position of the `]` that closes the class whose content begins at `start`. A `]` right at
/// the beginning (after `!`, if there is one) belongs to the content.
fn class_end(chars: &[char], start: usize) -> Option<usize> {
    let mut from = start;
    if chars.get(from) == Some(&'!') {
        from += 1;
    }
    if chars.get(from) == Some(&']') {
        from += 1;
    }
    (from..chars.len()).find(|&i| chars[i] == ']')
}

/// One element of a class: a character, or the hyphen between the ends of a range.
#[derive(Clone, Copy, PartialEq)]
enum ClassToken {
    Char(char),
    To,
}

/// The content of `[...]` as a class of a regular expression.
fn class(content: &[char]) -> String {
    let mut tokens = tokens(content);
    let negated = tokens.first() == Some(&ClassToken::Char('!'));
    if negated {
        tokens.remove(0);
    }
    match (tokens.is_empty(), negated) {
        // Every range was empty: nothing matches or, if negated, any character does.
        (true, false) => r"[^\x{0}-\x{10FFFF}]".to_owned(),
        (true, true) => ".".to_owned(),
        (false, _) => format!("[{}{}]", if negated { "^" } else { "" }, items(&tokens)),
    }
}

/// Splits the content at the hyphens that form ranges, and drops ranges that end before they begin
/// together with their ends, in Python's order.
fn tokens(content: &[char]) -> Vec<ClassToken> {
    let mut chunks: Vec<Vec<char>> = Vec::new();
    let mut begin = 0;
    // A hyphen forms a range only if the character on its left is not the end of a range.
    let mut from = if content.first() == Some(&'!') { 2 } else { 1 };
    while let Some(hyphen) = (from..content.len()).find(|&i| content[i] == '-') {
        chunks.push(content[begin..hyphen].to_vec());
        begin = hyphen + 1;
        from = hyphen + 3;
    }
    match (&content[begin..], chunks.last_mut()) {
        ([], Some(last)) => last.push('-'),
        (rest, _) => chunks.push(rest.to_vec()),
    }
    for k in (1..chunks.len()).rev() {
        if chunks[k - 1].last() > chunks[k].first() {
            let right = chunks.remove(k);
            chunks[k - 1].pop();
            chunks[k - 1].extend(&right[1..]);
        }
    }
    let mut tokens = Vec::new();
    for (i, chunk) in chunks.iter().enumerate() {
        if i > 0 {
            tokens.push(ClassToken::To);
        }
        tokens.extend(chunk.iter().copied().map(ClassToken::Char));
    }
    tokens
}

/// Characters and ranges by their code points, so that none has a special meaning.
fn items(tokens: &[ClassToken]) -> String {
    let number = |c: char| format!(r"\x{{{:X}}}", u32::from(c));
    let mut items = String::new();
    let mut rest = tokens;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (ClassToken::Char(low), [ClassToken::To, ClassToken::Char(high), tail @ ..])
                if low <= high =>
            {
                items.push_str(&format!("{}-{}", number(*low), number(*high)));
                rest = tail;
            }
            (ClassToken::Char(c), _) => items.push_str(&number(*c)),
            (ClassToken::To, _) => items.push_str(&number('-')),
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Patterns::parse(pattern).unwrap().matches(path).is_some()
    }

    /// Promise 1.
    #[test]
    fn a_pattern_matches_the_whole_path_and_its_case() {
        for (pattern, path, expected) in [
            ("bucket/exact.mp4", "bucket/exact.mp4", true),
            ("bucket/exact.mp4", "bucket/exact.mp4x", false),
            ("bucket/exact.mp4", "xbucket/exact.mp4", false),
            ("bucket/exact.mp4", "bucket/exactXmp4", false),
            ("bucket/exact.mp4", "bucket/EXACT.mp4", false),
            ("bucket/exact.*", "bucket/exact.tar.gz", true),
            ("bucket/dir_*", "bucket/dir_", true),
            ("bucket/dir_*", "bucket/dir_1/a/b", true),
            ("bucket/dir_*", "bucket/dir", false),
            ("*.jpg", "bucket/a/b.jpg", true),
            ("*.jpg", "bucket/a/b.JPG", false),
            ("*.jpg", "bucket/a/b.jpg.txt", false),
            ("*.jpg", "bucket/a\nb.jpg", true),
            ("*/readme.md", "bucket/readme.md", true),
            ("*/readme.md", "bucket/a/readme.md", true),
            ("*/readme.md", "bucket/areadme.md", false),
            ("bucket/?", "bucket/\u{6587}", true),
            ("bucket/?", "bucket//", true),
            ("bucket/?", "bucket/", false),
            ("b/(x|y){1}+^$.", "b/(x|y){1}+^$.", true),
            ("b/a\u{fc}", "b/a\u{fc}", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} on {path}");
        }
    }

    /// The results of Python 3.11's `fnmatchcase` for each of these characters.
    #[rustfmt::skip]
    const PYTHON: &[(&str, bool, &str)] = &[
        ("[abc]", true, "abc"),
        ("[!abc]", false, "abc"),
        ("[a-c]", true, "abc"),
        ("[abc", true, ""),
        ("[]]", true, "]"),
        ("[!]]", false, "]"),
        ("[]-a]", true, "a]^"),
        ("[a-]", true, "a-"),
        ("[-a]", true, "a-"),
        ("[!-a]", false, "a-"),
        ("[b-a]", true, ""),
        ("[!b-a]", false, ""),
        ("[b-a!x]", false, "x"),
        ("[b-a!-z]", false, "z-"),
        ("[a-c-e]", true, "abce-"),
        ("[^a]", true, "a^"),
        ("[[a]", true, "a["),
        ("[a\\]", true, "a\\"),
        ("[\\]", true, "\\"),
        ("[a&&b]", true, "ab&"),
        ("[a~~b]", true, "ab~"),
        ("[a||b]", true, "ab|"),
        ("[--a]", true, "a][-^\\?05/"),
        ("[+--]", true, "-+,"),
        ("[e-d-z-a]", true, "-"),
        ("[*]", true, "*"),
        ("[?]", true, "?"),
        ("[!!]", false, "!"),
        ("[!]", true, ""),
        ("[]", true, ""),
        ("[0-9-x]", true, "x-05"),
        ("[c-az]", true, "z"),
        ("[b-ax-y]", true, "xy"),
        ("[\u{e4}-\u{fc}]", true, "\u{e9}\u{fc}"),
        ("[/]", true, "/"),
        ("?", false, ""),
        ("*", false, ""),
        ("\\", true, "\\"),
    ];

    /// Promise 1.
    #[test]
    fn classes_mean_what_they_mean_in_python() {
        for &(pattern, among, characters) in PYTHON {
            for c in "abcxyze][-!^\\&~|+*?$,05\n/\u{e9}\u{fc}".chars() {
                let expected = characters.contains(c) == among;
                assert_eq!(matches(pattern, &c.to_string()), expected, "{pattern} on {c:?}");
            }
        }
    }

    /// Promise 1.
    #[test]
    fn comments_blank_lines_and_line_ends_are_no_patterns() {
        let text =
            "\u{feff}# all pictures\r\n*.jpg\r\n\r\n  \t\n  # indented\n  b/two words  \nb/[ ]";
        let list = Patterns::parse(text).unwrap();
        assert_eq!(list.rules, ["*.jpg", "b/two words", "b/[ ]"]);
        assert_eq!(list.len(), 3);
        assert_eq!(list.matches("b/two words"), Some("b/two words"));
        assert_eq!(list.matches("b/ "), Some("b/[ ]"));
        assert_eq!(list.matches("b/# all pictures"), None);
    }

    /// Promise 1.
    #[test]
    fn the_first_pattern_that_matches_is_named() {
        let list = Patterns::parse("b/x\nb/*\n*").unwrap();
        assert_eq!(list.matches("b/y"), Some("b/*"));
        assert_eq!(list.matches("c/y"), Some("*"));
    }

    /// Promise 1.
    #[test]
    fn the_first_of_several_kinds_is_named() {
        let list =
            Patterns::parse("*/x?\nb/dir/*\nb/*\n*.tmp\nb/dir/a.tmp\nb/dir/*\nb/di*\n*\u{fc}")
                .unwrap();
        for (path, expected) in [
            ("b/x1", Some("*/x?")),
            ("b/dir/x1", Some("*/x?")),
            ("b/dir/a.tmp", Some("b/dir/*")),
            ("b/d", Some("b/*")),
            ("b/", Some("b/*")),
            ("c/a.tmp", Some("*.tmp")),
            ("c/\u{fc}", Some("*\u{fc}")),
            ("c/u", None),
            ("b", None),
        ] {
            assert_eq!(list.matches(path), expected, "{path}");
        }
        let nested = Patterns::parse("b/a/b*\nb/a*\nb/a/b/c*\nb/c").unwrap();
        for (path, expected) in [("b/a/b/c/d", "b/a/b*"), ("b/a/x", "b/a*"), ("b/c", "b/c")] {
            assert_eq!(nested.matches(path), Some(expected), "{path}");
        }
        assert_eq!(nested.matches("b/c/"), None);
    }

    #[test]
    fn every_pattern_that_matches_is_seen_even_behind_an_earlier_one() {
        let list =
            Patterns::parse("b/*\nb/dir/*\nb/d*\n*.tmp\n*p\n*/x?\nb/dir/a.tmp\nc/*\nb/*").unwrap();
        let seen = |path: &str| {
            let mut seen = Vec::new();
            list.each_match(path, |number| seen.push(number));
            seen.sort_unstable();
            seen
        };
        assert_eq!(seen("b/dir/a.tmp"), [0, 1, 2, 3, 4, 6]);
        assert_eq!(seen("b/x1"), [0, 5]);
        assert_eq!(seen("d/y"), [0; 0]);
    }

    /// Promise 1.
    #[test]
    fn an_empty_list_matches_nothing() {
        for list in [Patterns::default(), Patterns::parse("# nothing\n").unwrap()] {
            assert!(list.is_empty());
            assert_eq!(list.matches(""), None);
            assert_eq!(list.matches("b/k"), None);
        }
    }

    /// Promise 1.
    #[test]
    fn thousands_of_patterns_fit() {
        let text: String = (0..5000).map(|i| format!("bucket/some/longer/dir_{i}/*\n")).collect();
        let list = Patterns::parse(&text).unwrap();
        assert_eq!(
            list.matches("bucket/some/longer/dir_4999/x"),
            Some("bucket/some/longer/dir_4999/*")
        );
    }
}
