//! The documents against the sources and the binary: what they name exists, and what exists is named.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use s3_migration::config::Config;
use s3_migration::quirk::Quirk;

const NOBODY: [(&str, &str); 0] = [];

const PROMISES: &str = "docs/promises.md";

#[test]
fn every_promise_has_tests_and_the_list_of_them_is_up_to_date() {
    let semantics = read("SEMANTICS.md");
    let titles: Vec<&str> = semantics.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(titles.len(), 11, "promises 0 to 10");
    for (number, title) in titles.iter().enumerate() {
        assert!(title.starts_with(&format!("{number}. ")), "{title}");
    }
    let held = held_promises();
    let unknown = held.keys().find(|number| **number >= titles.len());
    assert_eq!(unknown, None, "{held:?}");
    let mut list = String::from(PROMISES_INTRODUCTION);
    for (number, title) in titles.iter().enumerate() {
        let files = held.get(&number).unwrap_or_else(|| panic!("no test holds promise {number}"));
        list.push_str(&format!("\n## {title}\n\n"));
        for (file, tests) in files {
            list.push_str(&format!("- `{file}`: `{}`\n", tests.join("`, `")));
        }
    }
    if std::env::var_os("UPDATE_PROMISES").is_some() {
        fs::write(root().join(PROMISES), &list).expect("the list can be written");
    }
    let how = "UPDATE_PROMISES=1 cargo test --test quick promise";
    assert!(read(PROMISES) == list, "{PROMISES} is out of date: {how}");
}

const PROMISES_INTRODUCTION: &str = "\
# Which test holds which promise

For anyone who wants to see what stands behind [SEMANTICS.md](../SEMANTICS.md). This list is generated from
the doc comments of the tests (`/// Promise 3.`); `tests/quick/docs.rs` fails if it is out of date. To write it
again: `UPDATE_PROMISES=1 cargo test --test quick promise`.
";

/// The tests of each promise by file, as their doc comments say.
fn held_promises() -> BTreeMap<usize, BTreeMap<String, Vec<String>>> {
    let mut files = Vec::new();
    for folder in ["src", "tests", "crates"].map(|folder| root().join(folder)) {
        if folder.exists() {
            walk(&folder, &mut files);
        }
    }
    files.sort();
    let name = |file: &PathBuf| file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    let sources: Vec<(String, String)> =
        files.iter().map(name).map(|name| (name.clone(), read(&name))).collect();
    let suites: Vec<&str> = sources
        .iter()
        .map(|(_, text)| text.as_str())
        .filter(|text| text.contains("suite {") || text.contains("suite!("))
        .collect();
    let mut held = BTreeMap::<usize, BTreeMap<String, Vec<String>>>::new();
    for (file, text) in &sources {
        for (numbers, name) in marked_tests(file, text, &suites) {
            for number in numbers {
                let tests = held.entry(number).or_default().entry(file.clone()).or_default();
                assert!(!tests.contains(&name), "{file}: {name} names promise {number} twice");
                tests.push(name.clone());
            }
        }
    }
    held
}

/// The functions below a doc comment that names promises. Each must be a test: by its attribute, or by
/// its place in the list of a suite, which makes a test of it for each backend.
fn marked_tests(file: &str, text: &str, suites: &[&str]) -> Vec<(Vec<usize>, String)> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(numbers) = line.strip_prefix("/// Promise") else { continue };
        let numbers = numbers.strip_prefix('s').unwrap_or(numbers);
        let numbers = numbers.split('.').next().unwrap_or_default().split(',');
        let numbers: Vec<usize> = numbers
            .map(|number| number.trim().parse())
            .collect::<Result<_, _>>()
            .unwrap_or_else(|error| panic!("{file}: {line}: {error}"));
        let below = lines[at..].iter().position(|line| line.contains("fn "));
        let below = below.unwrap_or_else(|| panic!("{file}: {line}: no function below"));
        let name = lines[at + below].split("fn ").nth(1).unwrap_or_default();
        let name = name.split(['(', '<']).next().unwrap_or_default().to_owned();
        let mut attributes = lines[at..at + below].iter().filter(|line| line.starts_with("#["));
        let is_test = attributes.any(|line| line.contains("test]") || line.contains("test("));
        let listed =
            |text: &&str| [",", ")"].iter().any(|end| text.contains(&format!(" {name}{end}")));
        assert!(is_test || suites.iter().any(listed), "{file}: {name} is no test");
        found.push((numbers, name));
    }
    found
}

#[test]
fn the_commands_are_those_of_the_binary() {
    let reference = read("docs/reference.md");
    let table = section(&reference, "## Commands");
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
    let existing: BTreeSet<String> = existing.map(str::to_owned).collect();
    assert_eq!(documented, existing);
}

#[test]
fn a_command_that_is_not_there_yet_is_refused() {
    let limits = read("docs/limits.md");
    let missing =
        limits.split("**Not there yet:**").nth(1).expect("the limits say what is missing");
    let missing = missing.split(';').next().unwrap_or_default();
    let missing = missing.split("Lambda").next().unwrap_or_default();
    let names: Vec<&str> = quoted(missing).collect();
    assert!(!names.is_empty());
    for command in names {
        assert_eq!(binary(&[command]).status.code(), Some(2), "{command} exists");
    }
}

#[test]
fn every_ini_in_the_documents_is_accepted() {
    let mut inis = 0;
    for document in documents() {
        let text = read(&document);
        let blocks = text.split("\n```ini\n").skip(1);
        for ini in blocks.filter_map(|rest| rest.split("\n```").next()) {
            inis += 1;
            if let Err(error) = Config::from_text(&document, ini, NOBODY) {
                panic!("{error}\n{ini}");
            }
        }
    }
    assert!(inis > 8, "the inis are not where they were: {inis}");
}

#[test]
fn the_readme_is_short_and_each_document_says_for_whom_it_is() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 150, "README.md has {lines} lines; what does not fit goes to docs/");
    // The notes on design are for those who change the code, as their list says.
    for document in markdown("docs").iter().map(String::as_str).chain(["docs/design/README.md"]) {
        let text = read(document);
        let first = text.lines().nth(2).unwrap_or_default();
        assert!(first.starts_with("For "), "{document} does not say for whom it is: {first}");
    }
}

/// What stands between `...` in the first column of a table is part of a message of the program.
#[test]
fn every_message_that_is_explained_exists() {
    let mut files = Vec::new();
    walk(&root().join("src"), &mut files);
    files.retain(|file| !file.ends_with("tests.rs"));
    let program = |file: &PathBuf| {
        let source = fs::read_to_string(file).unwrap();
        unbroken(source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default())
    };
    let sources: Vec<String> = files.iter().map(program).collect();
    let exists = |words: &str| sources.iter().any(|source| source.contains(words));
    let troubleshooting = read("docs/troubleshooting.md");
    let mut messages = 0;
    for row in troubleshooting.lines().filter(|line| line.starts_with("| `")) {
        let seen = row.trim_start_matches("| ").split(" | ").next().unwrap_or_default();
        for words in quoted(seen).flat_map(|message| message.split("...")).map(str::trim) {
            assert!(exists(words), "docs/troubleshooting.md: no message says: {words}");
            messages += 1;
        }
    }
    assert!(messages > 60, "{messages}");
}

/// Source text whose strings are not broken into lines any more.
fn unbroken(source: &str) -> String {
    let mut lines = source.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| text + line.trim_start())
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
    let templates = read("cloudformation/cluster.yaml") + &read("cloudformation/serverless.yaml");
    let is_parameter = |name: &str| templates.contains(&format!("\n  {name}:\n"));
    // Of all that stands between backquotes, only this much is known to be a key by its looks.
    let word = |name: &str| !name.contains(char::is_whitespace);
    let like_a_key =
        |name: &str| word(name) && (name.starts_with("Max") || name.ends_with("_default"));
    for document in documents() {
        for quote in quoted(&read(&document)) {
            match quote.split_once(" = ") {
                Some((name, _)) => {
                    assert!(!word(name) || keys.contains(name), "{document}: {quote}");
                }
                None => {
                    let known = keys.contains(quote) || is_parameter(quote);
                    assert!(!like_a_key(quote) || known, "{document}: {quote}");
                }
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut files = Vec::new();
    for folder in ["src", "crates/s3-endpoint/src", "crates/testkit/src"] {
        walk(&root().join(folder), &mut files);
    }
    assert!(files.len() > 100, "the sources are not where they were");
    for file in files.iter().filter(|file| !file.ends_with("tests.rs")) {
        let text = fs::read_to_string(file).unwrap();
        let first = text.lines().next().and_then(|line| line.strip_prefix("//! "));
        let name = file.strip_prefix(root()).unwrap().display();
        assert!(first.is_some_and(|line| line.len() > 10), "{name} does not begin with `//! ...`");
    }
}

#[test]
fn every_file_that_the_architecture_names_exists() {
    let mut documents = markdown("docs/design");
    documents.push("ARCHITECTURE.md".to_owned());
    let mut named = 0;
    for document in documents {
        for name in quoted(&read(&document)).filter(|name| name.ends_with(".rs")) {
            let places = [root().join("src").join(name), root().join(name)];
            let exists = places.iter().any(|place| place.exists());
            assert!(exists, "{document}: there is no {name}");
            named += 1;
        }
    }
    assert!(named > 50, "the documents name {named} files");
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
    for document in documents() {
        let text = read(&document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("https://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => root().join(&document),
                file => root().join(&document).with_file_name("").join(file),
            };
            assert!(target.exists(), "{document}: {link}");
            let headings = || fs::read_to_string(&target).expect("a text");
            let is_there = anchor.is_empty() || anchors(&headings()).contains(anchor);
            assert!(is_there, "{document}: {link}: no such heading");
        }
    }
}

/// The names by which headings are linked to.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let name = |heading: &str| -> String {
        let heading = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        heading.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
    };
    headings.map(name).collect()
}

/// All documents for people.
fn documents() -> Vec<String> {
    let top = ["README.md", "ARCHITECTURE.md", "SEMANTICS.md", "CONTRIBUTING.md", "CHANGELOG.md"];
    let mut documents: Vec<String> = top.map(str::to_owned).into();
    documents.extend(markdown("docs"));
    documents.extend(markdown("docs/design"));
    documents
}

#[test]
fn every_design_note_is_in_their_list() {
    let list = read("docs/design/README.md");
    for note in markdown("docs/design").iter().filter(|note| !note.ends_with("README.md")) {
        let name = note.rsplit('/').next().unwrap_or_default();
        assert!(list.contains(&format!("]({name})")), "docs/design/README.md does not list {name}");
    }
}

#[test]
fn dependencies_are_explained() {
    let manifest = read("Cargo.toml");
    let table = section(&manifest, "[dependencies]");
    let explained = read("docs/design/dependencies.md");
    for name in table.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name) {
        let family = name.starts_with("aws-smithy-") || name.starts_with("aws-sdk-");
        assert!(family || explained.contains(&format!("`{name}`")), "{name}");
    }
}

/// The Markdown files of a folder, without its subfolders.
fn markdown(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".md")).map(|name| format!("{folder}/{name}")).collect()
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
