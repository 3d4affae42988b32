//! The boundaries that ARCHITECTURE.md draws, held by reading the sources.
//!
//! Comments, texts and `#[cfg(test)]` modules do not count: a boundary is about what the product is
//! built of.

use std::fs;
use std::path::{Path, PathBuf};

/// Everything AWS: the adapters, and the module that sets their clients up.
const AWS: &[&str] =
    &["aws.rs", "aws/", "queue/sqs", "state/dynamodb", "params/ssm.rs", "store/s3"];

#[test]
fn only_the_adapters_name_aws_crates() {
    only(AWS, |word| {
        ["aws_config", "aws_credential", "aws_runtime", "aws_sdk", "aws_sigv4", "aws_smithy"]
            .iter()
            .any(|name| word.starts_with(name))
    });
}

#[test]
fn only_the_embedded_backends_name_sqlite() {
    let embedded = &["sqlite.rs", "queue/embedded", "state/embedded"];
    only(embedded, |word| matches!(word, "rusqlite" | "libsqlite3_sys"));
}

#[test]
fn only_the_demos_endpoint_names_its_server_crates() {
    only(&["demo/endpoint/"], |word| word == "s3s");
}

#[test]
fn only_the_endpoint_and_the_lean_way_speak_http_themselves() {
    let http = &["demo/endpoint/", "store/s3", "aws/dial.rs", "aws/http.rs"];
    only(http, |word| matches!(word, "hyper" | "hyper_rustls" | "hyper_util" | "tower_service"));
}

#[test]
fn only_one_module_decides_whom_a_connection_trusts() {
    let tls = &["aws/dial.rs", "aws/trust.rs"];
    only(tls, |word| matches!(word, "rustls" | "rustls_native_certs"));
}

#[test]
fn only_the_lanes_name_their_crate() {
    only(&["lanes"], |word| word == "md5_many");
}

#[test]
fn only_the_sources_name_the_formats_of_files() {
    only(&["sources/"], |word| matches!(word, "csv" | "flate2" | "parquet"));
}

#[test]
fn only_main_ends_the_process() {
    only(&["main.rs"], |word| word == "ExitCode");
    for source in sources() {
        for ending in ["process::exit", "process::abort"] {
            assert!(!source.code.contains(ending), "{}: {ending}", source.name);
        }
    }
}

#[test]
fn only_the_command_line_names_clap() {
    only(&["cli.rs", "main.rs"], |word| word == "clap");
}

#[test]
fn only_the_display_names_the_progress_bars() {
    only(&["progress.rs", "observe.rs"], |word| word == "indicatif");
}

#[test]
fn only_one_module_each_speaks_to_systemd_and_its_journal() {
    only(&["observe"], |word| word == "systemd_journal_logger");
    only(&["systemd"], |word| word == "UnixDatagram");
}

#[test]
fn decisions_are_pure() {
    let impure = [
        "async", "await", "env", "fastrand", "fs", "net", "process", "rusqlite", "spawn", "thread",
        "tokio", "tracing", "Instant",
    ];
    for source in sources().iter().filter(|source| source.name.starts_with("plan/")) {
        // A moment may be given; nobody asks what time it is.
        assert!(!source.code.contains("::now("), "{} looks at the clock", source.name);
        for word in words(&source.code) {
            let aws = word.starts_with("aws_");
            assert!(!aws && !impure.contains(&word), "{} names {word}", source.name);
        }
    }
}

/// The arrows point one way. A module on the left names none of those on the right.
#[test]
fn arrows_point_one_way() {
    let above_transfer =
        &["cli", "commands", "demo", "jobsender", "progress", "run", "systemd", "worker"];
    let rows: &[(&str, &[&[&str]])] = &[
        ("error.rs", &[&["config", "job", "object", "plan", "queue", "state", "store"]]),
        ("object.rs", &[&["config", "job", "plan", "queue", "state", "store", "transfer"]]),
        // Decisions speak of listed objects and parts, hence of the store's plain types.
        ("plan/", &[above_transfer, &["aws", "config", "job", "queue", "state", "transfer"]]),
        ("job", &[&["plan", "queue", "state", "store", "transfer"]]),
        ("store/", &[above_transfer, &["job", "plan", "queue", "state", "transfer"]]),
        ("queue/", &[above_transfer, &["job", "plan", "state", "store", "transfer"]]),
        ("state/", &[above_transfer, &["plan", "queue", "store", "transfer"]]),
        ("transfer/", &[above_transfer, &["aws", "queue", "services", "sqlite"]]),
        // What names objects knows a store at most.
        (
            "sources/",
            &[above_transfer, &["aws", "job", "queue", "services", "sqlite", "state", "transfer"]],
        ),
        (
            "worker.rs",
            &[&["aws", "cli", "commands", "demo", "jobsender", "run", "services", "systemd"]],
        ),
        ("jobsender.rs", &[&["aws", "cli", "commands", "demo", "run", "services", "worker"]]),
    ];
    for (from, forbidden) in rows {
        let of_row = |source: &&Source| match *from {
            "job" => source.name == "job.rs" || source.name.starts_with("job/"),
            from => source.name.starts_with(from),
        };
        let sources = sources();
        let concerned: Vec<_> = sources.iter().filter(of_row).collect();
        assert!(!concerned.is_empty(), "{from} is no module any more: adjust this table");
        for source in concerned {
            for module in forbidden.concat() {
                // A store's wrapper may ask what is decided; decisions never speak of wrappers.
                if source.name.starts_with("store/paced") && module == "plan" {
                    continue;
                }
                let named = modules(&source.code).any(|named| named == module);
                assert!(!named, "{} names crate::{module}", source.name);
            }
        }
    }
}

#[test]
fn nothing_is_unsafe() {
    for source in sources() {
        assert!(!words(&source.code).any(|word| word == "unsafe"), "{}", source.name);
    }
    assert!(fs::read_to_string(root().join("src/lib.rs")).unwrap().contains("forbid(unsafe_code)"));
}

#[test]
fn the_reader_itself_sees_code_and_nothing_else() {
    let text = "use a::b; // c\n/* d /* e */ f */ let g = \"h \\\" i\"; r#\"j \" k\"# 'l' 'm: n\n\
                #[cfg(test)]\nmod tests { o }";
    let seen: Vec<_> = words(&code(text)).map(str::to_owned).collect();
    assert_eq!(seen, ["use", "a", "b", "let", "g", "m", "n"]);
}

/// One file of the product.
struct Source {
    /// Its path below `src`.
    name: String,
    code: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut files = Vec::new();
    walk(&src, &mut files);
    assert!(files.len() > 50, "the sources are not where they were");
    // A `tests.rs` is a `#[cfg(test)]` module of its own file.
    files.retain(|file| file.file_name().is_some_and(|name| name != "tests.rs"));
    let source = |file: PathBuf| Source {
        name: file.strip_prefix(&src).unwrap().to_str().unwrap().to_owned(),
        code: code(&fs::read_to_string(&file).unwrap()),
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

/// No file but those that begin with one of `allowed` has such a word.
fn only(allowed: &[&str], forbidden: impl Fn(&str) -> bool) {
    let mut used = false;
    for source in sources() {
        let inside = allowed.iter().any(|start| source.name.starts_with(start));
        for word in words(&source.code).filter(|word| forbidden(word)) {
            assert!(inside, "{} names {word}; allowed in {allowed:?}", source.name);
            used = true;
        }
    }
    assert!(used, "nothing in {allowed:?} names it any more: the rule has lost its object");
}

/// The modules named after `crate::`, also those in a group `crate::{a, b}`, whose inner names come
/// along.
fn modules(code: &str) -> impl Iterator<Item = &str> {
    code.split("crate::").skip(1).flat_map(|rest| {
        let end = match rest.starts_with('{') {
            true => rest.find(';').unwrap_or(rest.len()),
            false => rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()),
        };
        words(&rest[..end])
    })
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The text without comments, literals, and everything from the first `#[cfg(test)]` module on.
fn code(text: &str) -> String {
    let text = match text.find("#[cfg(test)]\nmod ") {
        Some(at) => &text[..at],
        None => text,
    };
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
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

/// 0 where it is an identifier such as `r#type`.
fn raw_text(text: &str) -> usize {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    if !text[1 + hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    text[body..].find(&end).map_or(text.len(), |at| body + at + end.len())
}

/// 0 where it is a lifetime.
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
