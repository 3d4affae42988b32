//! A file that decides and does nothing says so in its header: `//! Pure:` and why. It is believed,
//! and checked.

use super::reader::{Source, sources, words};

/// What a pure file does not name: I/O, the clock, tasks and threads, randomness, the environment.
const IMPURE: &[&str] = &[
    "async", "await", "env", "fastrand", "fs", "net", "process", "rusqlite", "spawn", "thread",
    "tokio", "tracing", "Instant",
];

#[test]
fn what_calls_itself_pure_is() {
    let sources = sources();
    let pure: Vec<&Source> = sources.iter().filter(|source| is_pure(source)).collect();
    assert!(pure.len() >= 25, "only {} files say that they are pure", pure.len());
    for source in pure {
        if let Some(what) = impurity(source) {
            panic!("{} calls itself pure and {what}", source.name);
        }
    }
}

#[test]
fn an_impure_file_is_told_by_what_it_names() {
    let of = |code: &str| {
        let source = Source::new("x.rs", &format!("//! What.\n//!\n//! Pure: a test.\n{code}"));
        assert!(is_pure(&source));
        impurity(&source)
    };
    assert_eq!(of("fn f(at: SystemTime) {} // Instant"), None);
    assert_eq!(of("#[cfg(test)]\nmod tests { use fastrand; }"), None);
    for code in ["use std::fs;", "async fn f() {}", "let x = fastrand::u8(..);", "use tokio::sync;"]
    {
        assert!(of(code).is_some(), "{code}");
    }
    assert!(of("SystemTime::now()").is_some());
    assert!(of("use aws_sdk_s3::Client;").is_some());
    assert!(!is_pure(&Source::new("x.rs", "//! Speaks of\n//! what is Pure: or not.\n")));
    assert!(!is_pure(&Source::new("x.rs", "//! Pure:\n")), "the reason is missing");
}

/// Its header has a line `Pure:` with a reason.
fn is_pure(source: &Source) -> bool {
    source.header.lines().any(|line| line.strip_prefix("Pure: ").is_some_and(|why| !why.is_empty()))
}

fn impurity(source: &Source) -> Option<String> {
    // A time may be given; nobody asks what time it is.
    if source.code.contains("::now(") {
        return Some("looks at the clock".to_owned());
    }
    let mut words = words(&source.code);
    let word = words.find(|word| IMPURE.contains(word) || word.starts_with("aws_"))?;
    Some(format!("names {word}"))
}
