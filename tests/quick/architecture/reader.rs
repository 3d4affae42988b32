//! Reads the sources: their code, without comments, literals and tests.

use std::fs;
use std::path::{Path, PathBuf};

/// One file of the product.
pub struct Source {
    /// Its path below `src`.
    pub name: String,
    /// Its text without comments, literals and tests.
    pub code: String,
    /// The documentation of the module at its top: the lines that begin with `//!`.
    pub header: String,
}

impl Source {
    /// A file of the product, or of a test of these tests.
    pub fn new(name: &str, text: &str) -> Self {
        let header = text.lines().take_while(|line| line.starts_with("//!"));
        let header = header.map(|line| line.trim_start_matches("//!").trim_start());
        let header = header.collect::<Vec<_>>().join("\n");
        Self { name: name.to_owned(), code: code(text), header }
    }
}

/// The folder of the package.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `src` but those that are tests as a whole.
pub fn sources() -> Vec<Source> {
    let sources = sources_below("src");
    assert!(sources.len() > 50, "the sources are not where they were");
    sources
}

/// The same of the other crates, by their paths below `crates`.
pub fn sources_of_crates() -> Vec<Source> {
    let sources = sources_below("crates");
    assert!(sources.len() > 20, "the crates are not where they were");
    sources
}

fn sources_below(folder: &str) -> Vec<Source> {
    let src = root().join(folder);
    let mut files = Vec::new();
    walk(&src, &mut files);
    // A `tests.rs` is a `#[cfg(test)]` module of its own file.
    files.retain(|file| file.file_name().is_some_and(|name| name != "tests.rs"));
    let source = |file: PathBuf| {
        let name = file.strip_prefix(&src).unwrap().to_str().unwrap();
        Source::new(name, &fs::read_to_string(&file).unwrap())
    };
    files.into_iter().map(source).collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => walk(&path, files),
            false if path.extension().is_some_and(|extension| extension == "rs") => {
                files.push(path);
            }
            false => {}
        }
    }
}

/// Names and keywords.
pub fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The text without comments, literals, and what is compiled for tests alone.
pub fn code(text: &str) -> String {
    let text = without_tests(text);
    let mut code = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(c) = rest.chars().next() {
        let skipped = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => quoted(rest),
            'r' if rest.starts_with("r\"") || rest.starts_with("r#") => raw_text(rest),
            '\'' => character(rest),
            _ => 0,
        };
        match skipped {
            0 => {
                code.push(c);
                rest = &rest[c.len_utf8()..];
            }
            skipped => {
                code.push(' ');
                rest = &rest[skipped..];
            }
        }
    }
    code
}

/// Leaves out each item after `#[cfg(test)]`: up to its semicolon, or to the brace that closes it,
/// which rustfmt puts under the attribute.
fn without_tests(text: &str) -> String {
    const ATTRIBUTE: &str = "#[cfg(test)]\n";
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(ATTRIBUTE) {
        kept.push_str(&rest[..at]);
        let indent = rest[..at].chars().rev().take_while(|c| *c == ' ').count();
        let item = &rest[at + ATTRIBUTE.len()..];
        let closing = format!("\n{}}}", " ".repeat(indent));
        let length = match item.find(['{', ';']) {
            Some(end) if item[end..].starts_with(';') => end + 1,
            _ => item.find(&closing).map_or(item.len(), |end| end + closing.len()),
        };
        rest = &item[length..];
    }
    kept.push_str(rest);
    kept
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// 0 if it is an identifier such as `r#type`.
fn raw_text(text: &str) -> usize {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    if !text[1 + hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    text[body..].find(&end).map_or(text.len(), |at| body + at + end.len())
}

/// 0 if it is a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => text[3..].find('\'').map_or(text.len(), |at| 3 + at + 1),
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}
