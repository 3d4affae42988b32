//! The boundaries that ARCHITECTURE.md draws, held by reading the sources.
//!
//! Comments, texts and `#[cfg(test)]` modules do not count: a boundary is about what the product is
//! built of.
//!
//! | file | holds |
//! |---|---|
//! | `architecture.rs` | which crates a room may name |
//! | `rooms.rs` | the graph of rooms: no cycle, and the picture in ARCHITECTURE.md |
//! | `pure.rs` | what a file says of itself with `//! Pure:` |
//! | `reader.rs` | reads the sources |

mod pure;
mod reader;
mod rooms;

use std::fs;

use reader::{code, root, sources, sources_of_crates, words};

/// Everything AWS: the adapters, and the module that sets their clients up.
const AWS: &[&str] =
    &["aws.rs", "aws/", "ec2/", "queue/sqs", "record/dynamodb", "params/ssm.rs", "store/s3"];

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
    let embedded = &["sqlite.rs", "queue/sqlite", "record/sqlite"];
    only(embedded, |word| matches!(word, "rusqlite" | "libsqlite3_sys"));
}

#[test]
fn only_the_demo_names_the_endpoint() {
    only(&["demo.rs", "demo/"], |word| word == "s3_endpoint");
}

#[test]
fn only_the_adapters_speak_http_themselves() {
    let http = &["store/s3", "aws/dial.rs", "aws/http.rs"];
    only(http, |word| matches!(word, "hyper" | "hyper_rustls" | "hyper_util" | "tower_service"));
}

#[test]
fn only_one_module_decides_whom_a_connection_trusts() {
    let tls = &["aws/dial.rs", "aws/trust.rs"];
    only(tls, |word| matches!(word, "rustls" | "rustls_native_certs"));
}

#[test]
fn only_the_lanes_name_their_crate() {
    only(&["digest/lanes"], |word| word == "md5_many");
}

#[test]
fn only_the_sources_name_the_formats_of_files() {
    only(&["sources/"], |word| matches!(word, "csv" | "parquet"));
    // A report is packed, too.
    only(&["sources/", "report.rs", "report/"], |word| word == "flate2");
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
    only(&["cli", "main.rs"], |word| word == "clap");
}

#[test]
fn only_the_display_names_the_progress_bars() {
    only(&["progress.rs", "logging.rs"], |word| word == "indicatif");
}

#[test]
fn only_the_screens_name_the_terminal() {
    only(&["screens"], |word| word == "ratatui");
}

#[test]
fn only_the_server_names_its_crates() {
    only(&["serve"], |word| matches!(word, "axum" | "prometheus_client"));
}

#[test]
fn only_one_module_each_speaks_to_systemd_and_its_journal() {
    only(&["systemd"], |word| word == "UnixDatagram");
    only(&["logging"], |word| word == "systemd_journal_logger");
}

#[test]
fn nothing_is_unsafe() {
    for source in sources().into_iter().chain(sources_of_crates()) {
        assert!(!words(&source.code).any(|word| word == "unsafe"), "{}", source.name);
    }
    let read = |file: &str| fs::read_to_string(root().join(file)).unwrap();
    assert!(read("src/lib.rs").contains("forbid(unsafe_code)"));
    assert!(read("Cargo.toml").contains("[workspace.lints.rust]\nunsafe_code = \"forbid\""));
    for package in [".", "crates/s3-endpoint", "crates/testkit"] {
        let manifest = read(&format!("{package}/Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{package} has lints of its own");
    }
}

/// The crates know nothing of the product: a change of its sources does not build them again.
#[test]
fn no_crate_names_the_product() {
    for source in sources_of_crates() {
        assert!(!words(&source.code).any(|word| word == "s3_migration"), "{}", source.name);
    }
}

#[test]
fn the_reader_itself_sees_code_and_nothing_else() {
    let text = "use a::b; // c\n/* d /* e */ f */ let g = \"h \\\" i\"; r#\"j \" k\"# 'l' 'm: n\n\
                #[cfg(test)]\nmod tests;\np!()\n#[cfg(test)]\nmod more {\n    o\n}";
    let seen: Vec<_> = words(&code(text)).map(str::to_owned).collect();
    assert_eq!(seen, ["use", "a", "b", "let", "g", "m", "n", "p"]);
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
