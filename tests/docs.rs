//! The documents against the sources and the binary: what they name exists, and what exists is named.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use s3_migration::config::Config;
use s3_migration::store::profile::Quirk;

const NOBODY: [(&str, &str); 0] = [];

#[test]
fn every_promise_has_a_section_and_every_test_named_exists() {
    let semantics = read("SEMANTICS.md");
    let sections: Vec<&str> = semantics.split("\n## ").skip(1).collect();
    assert_eq!(sections.len(), 10, "ten promises");
    for (number, section) in (1..).zip(sections) {
        assert!(section.starts_with(&format!("{number}. ")), "{section}");
        let lines: Vec<&str> = section.lines().filter(|line| line.starts_with("- `")).collect();
        assert!(!lines.is_empty() || section.contains("Not yet:"), "promise {number}");
        for line in lines {
            let mut names = quoted(line);
            let file = names.next().expect("a line names its file");
            let source = read(file);
            let mut tests = names.peekable();
            assert!(tests.peek().is_some(), "{line}");
            for test in tests {
                assert!(
                    is_test(&source, test),
                    "SEMANTICS.md, promise {number}: {file}: no {test}"
                );
            }
        }
    }
}

/// Whether `name` is a function with the attribute of a test, or stands in the list of a suite,
/// which makes a test of it for each backend.
fn is_test(source: &str, name: &str) -> bool {
    let attribute = |line: &str| line.contains("test]") || line.contains("test(");
    let function = source.find(&format!("fn {name}("));
    let marked = function.is_some_and(|at| source[..at].lines().rev().take(4).any(attribute));
    let listed = source.lines().any(|line| line.trim() == format!("{name},"));
    marked || (listed && source.contains("suite"))
}

#[test]
fn the_commands_are_those_of_the_binary() {
    let readme = read("README.md");
    let table = section(&readme, "## Commands");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let mut documented = BTreeSet::new();
    for row in rows {
        let mut names = quoted(row);
        let command = names.next().expect("a row names its command");
        let help = binary(&[command, "--help"]);
        assert_eq!(help.status.code(), Some(0), "{command}");
        let help = text(&help.stdout);
        for option in names.filter(|name| name.starts_with("--")) {
            assert!(help.contains(option), "{command} {option}");
        }
        documented.insert(command.to_owned());
    }
    let help = text(&binary(&["--help"]).stdout);
    let commands = help.split("Commands:").nth(1).and_then(|rest| rest.split("\n\n").next());
    let existing = commands.expect("the help lists the commands").lines();
    let existing = existing.filter_map(|line| line.split_whitespace().next());
    let existing: BTreeSet<String> =
        existing.filter(|name| *name != "help").map(str::to_owned).collect();
    assert_eq!(documented, existing);
}

#[test]
fn a_command_that_is_not_there_yet_is_refused() {
    let readme = read("README.md");
    let missing =
        readme.split("**Not there yet:**").nth(1).expect("the README says what is missing");
    let missing = missing.split(';').next().unwrap_or_default();
    let missing = missing.split("Lambda").next().unwrap_or_default();
    let names: Vec<&str> = quoted(missing).collect();
    assert!(!names.is_empty());
    for command in names {
        assert_eq!(binary(&[command]).status.code(), Some(2), "{command} exists");
    }
}

#[test]
fn every_ini_in_the_readme_is_accepted() {
    let readme = read("README.md");
    let inis: Vec<&str> =
        readme.split("\n```ini\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    assert!(inis.len() > 3, "the README's inis are not where they were");
    for ini in inis {
        if let Err(error) = Config::from_text("README.md", ini, NOBODY) {
            panic!("{error}\n{ini}");
        }
    }
}

#[test]
fn every_key_that_the_documents_name_exists() {
    let ini = read("s3_migration_config.ini");
    let keys: BTreeSet<&str> = ini
        .lines()
        .filter(|line| !line.starts_with(['#', '[']))
        .filter_map(|line| line.split('=').next())
        .map(str::trim)
        .collect();
    // Of all that stands between backquotes, only this much is known to be a key by its looks.
    let word = |name: &str| !name.contains(char::is_whitespace);
    let like_a_key =
        |name: &str| word(name) && (name.starts_with("Max") || name.ends_with("_default"));
    for document in ["README.md", "ARCHITECTURE.md", "SEMANTICS.md", "CHANGELOG.md"] {
        for quote in quoted(&read(document)) {
            match quote.split_once(" = ") {
                Some((name, _)) => {
                    assert!(!word(name) || keys.contains(name), "{document}: {quote}");
                }
                None => assert!(!like_a_key(quote) || keys.contains(quote), "{document}: {quote}"),
            }
        }
    }
}

#[test]
fn the_architecture_names_every_file_and_no_other() {
    let named: BTreeSet<String> = read("ARCHITECTURE.md")
        .lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| quoted(line).next().map(str::to_owned))
        .filter(|name| name.ends_with(".rs"))
        .collect();
    let src = root().join("src");
    let mut files = Vec::new();
    walk(&src, &mut files);
    let name = |file: &PathBuf| file.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
    // Modules that exist for tests alone.
    let for_tests = |name: &String| name.ends_with("tests.rs") || name == "aws/scripted.rs";
    let existing: BTreeSet<String> = files.iter().map(name).filter(|n| !for_tests(n)).collect();
    let missing: Vec<_> = existing.difference(&named).collect();
    let gone: Vec<_> = named.difference(&existing).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md does not name {missing:?}");
    assert!(gone.is_empty(), "ARCHITECTURE.md names {gone:?}");
}

#[test]
fn every_quirk_is_explained_and_no_other() {
    let stores = read("docs/stores.md");
    let named: BTreeSet<&str> = section(&stores, "## Quirks")
        .lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| quoted(line).next())
        .collect();
    let existing: BTreeSet<&str> = Quirk::ALL.into_iter().map(Quirk::name).collect();
    assert_eq!(named, existing);
    // The table of stores uses the same names, each in brackets.
    let bracketed = stores.split(" [`").skip(1).filter_map(|rest| rest.split('`').next());
    for name in bracketed.filter(|name| !name.starts_with("x-amz-")) {
        assert!(existing.contains(name), "docs/stores.md: no quirk is called {name}");
    }
    // A link by its name leads to an address at the end.
    for name in stores.split("][").skip(1).filter_map(|rest| rest.split(']').next()) {
        assert!(stores.contains(&format!("\n[{name}]: https://")), "docs/stores.md: [{name}]");
    }
}

#[test]
fn the_servers_are_those_that_the_tests_start() {
    let (stores, tools) = (read("docs/stores.md"), read("tests/interop/tools.rs"));
    let pinned = |name: &str| {
        let line = tools.lines().find(|line| line.starts_with(&format!("pub const {name}: ")));
        line.and_then(|line| line.split('"').nth(1)).expect("a pinned version").to_owned()
    };
    for (server, constant) in [
        ("versitygw", "VERSITYGW"),
        ("`rclone serve s3`", "RCLONE"),
        ("s3proxy", "S3PROXY"),
        ("moto", "MOTO"),
        ("ElasticMQ", "ELASTICMQ"),
    ] {
        let named = format!("{server} {}", pinned(constant));
        assert!(stores.contains(&named), "docs/stores.md does not name {named}");
    }
}

#[test]
fn links_lead_somewhere() {
    for document in
        ["README.md", "ARCHITECTURE.md", "SEMANTICS.md", "CONTRIBUTING.md", "docs/stores.md"]
    {
        for link in read(document).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let outside = link.starts_with("https://");
            assert!(outside || root().join(link).exists(), "{document}: {link}");
        }
    }
}

#[test]
fn dependencies_are_explained() {
    let manifest = read("Cargo.toml");
    let table = section(&manifest, "[dependencies]");
    let explained = read("ARCHITECTURE.md");
    let explained = section(&explained, "## Dependencies, and why");
    for name in table.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name) {
        let family = name.starts_with("aws-smithy-") || name.starts_with("aws-sdk-");
        assert!(family || explained.contains(&format!("`{name}`")), "{name}");
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// From a heading to the next one of its kind.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let start = text.find(&format!("{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let body = &text[start + heading.len()..];
    let kind = if heading.starts_with('[') { "\n[" } else { "\n## " };
    &body[..body.find(kind).unwrap_or(body.len())]
}

/// What stands between backquotes on single lines.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The real binary, in a folder without a configuration.
fn binary(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_s3-migration"))
        .args(arguments)
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .output()
        .expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
