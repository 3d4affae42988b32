//! What a `run` looks like at a terminal, and as lines for programs.

use std::ffi::OsStr;
use std::process::Stdio;
use std::sync::Arc;

use serde_json::Value;
use testkit::gate::Hold;
use testkit::local::{ALL, Local, noise};
use testkit::process::{BOUND, until};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

const COLUMNS: usize = 80;

async fn filled(gate: Option<Arc<Hold>>) -> Local {
    let mut local = Local::gated(gate).await;
    for key in ["a", "b", "c"] {
        local.source.put(key, noise(1000, 1)).await;
    }
    local.set("LoggingLevel", "INFO");
    local
}

/// How it ended, and everything that was on the screen.
struct Screen {
    status: Option<i32>,
    text: String,
}

/// The binary at a terminal, on which this is typed.
async fn at_terminal(local: &Local, arguments: &[&str], typed: &str, no_color: bool) -> Screen {
    let inner = local.command(arguments);
    let inner = inner.as_std();
    let words = std::iter::once(inner.get_program()).chain(inner.get_args());
    let words: Vec<String> =
        words.map(|word| format!("'{}'", OsStr::to_string_lossy(word))).collect();
    // script(1) makes a terminal; it has no size of its own here.
    let mut command = Command::new("script");
    let run = format!("stty cols {COLUMNS} rows 24; exec {}", words.join(" "));
    command.args(["-q", "-e", "-f", "-c", &run, "/dev/null"]).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.env("TERM", "xterm").env("SHELL", "/bin/sh").kill_on_drop(true);
    if no_color {
        command.env("NO_COLOR", "1");
    }
    command.current_dir(local.work());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut keys = child.stdin.take().unwrap();
    keys.write_all(typed.as_bytes()).await.unwrap();
    // Its end would be typed too.
    let ended = tokio::time::timeout(BOUND, child.wait_with_output()).await;
    let ended = ended.expect("it does not end").unwrap();
    drop(keys);
    Screen {
        status: ended.status.code(),
        text: String::from_utf8_lossy(&ended.stdout).into_owned(),
    }
}

/// The lines as they were drawn, without colours and movements.
fn drawn(text: &str) -> Vec<String> {
    let codes = regex::Regex::new("\u{1b}\\[[0-9;?]*[A-Za-z]").unwrap();
    let plain = codes.replace_all(text, "\r");
    plain.split(['\r', '\n']).map(str::to_owned).filter(|line| !line.is_empty()).collect()
}

#[tokio::test]
async fn at_a_terminal_everything_fits_and_reads_well() {
    let gate = Hold::new("PutObject", 1);
    let local = filled(Some(Arc::clone(&gate))).await;
    let arguments = ["run", ALL[0], ALL[1], "--yes"];
    let held = async {
        gate.reached().await;
        // Bars are drawn more often than this is written.
        until("the state of the run", async || {
            let status = local.run(&["status", "--json"]).await.json();
            status["runs"][0]["progress"]["objects"] == 3
        })
        .await;
        gate.open();
    };
    let (screen, ()) = tokio::join!(at_terminal(&local, &arguments, "", false), held);
    assert_eq!(screen.status, Some(0), "{}", screen.text);
    let lines = drawn(&screen.text);
    let bar = lines.iter().find(|line| line.contains("0 of 3 objects"));
    assert!(bar.is_some_and(|bar| bar.contains('=')), "{lines:?}");
    let long = lines.iter().filter(|line| line.chars().count() > COLUMNS);
    assert_eq!(long.count(), 0, "{lines:#?}");
    let compared = lines.iter().find(|line| line.contains("compared"));
    let expected = regex::Regex::new(r"^\d\d:\d\d:\d\d compared \(listed 3, to copy 3\)$").unwrap();
    assert!(compared.is_some_and(|line| expected.is_match(line.trim_end())), "{lines:#?}");
    for word in ["queue", "table", "to_copy=", "copy this?"] {
        assert!(!screen.text.contains(word), "{word:?} in {}", screen.text);
    }
}

#[tokio::test]
async fn a_run_asks_before_it_copies() {
    let local = filled(None).await;
    let run = ["run", ALL[0], ALL[1]];
    let declined = at_terminal(&local, &run, "n\n", false).await;
    assert_eq!(declined.status, Some(1), "{}", declined.text);
    for words in ["3 objects", "GET", "USD", "time", "copy this? [y/N]", "nothing was copied"] {
        assert!(declined.text.contains(words), "no {words:?} in {}", declined.text);
    }
    assert_eq!(local.destination.requests("PutObject"), 0);
    let asked = at_terminal(&local, &run, "y\n", false).await;
    assert_eq!(asked.status, Some(0), "{}", asked.text);
    assert!(asked.text.contains("all 3 objects are at the destination"), "{}", asked.text);
    // Nothing is left to ask about.
    let again = at_terminal(&local, &run, "", false).await;
    assert!(again.status == Some(0) && !again.text.contains("[y/N]"), "{}", again.text);
}

#[tokio::test]
async fn a_failure_stands_out_unless_colours_are_not_wanted() {
    let local = filled(None).await;
    let put = local.source.client.put_object().bucket("from-here").key("frozen");
    put.storage_class("GLACIER".into()).body(vec![1].into()).send().await.unwrap();
    let arguments = ["run", ALL[0], ALL[1], "--yes"];
    let red = at_terminal(&local, &arguments, "", false).await;
    assert_eq!(red.status, Some(1), "{}", red.text);
    for words in ["\u{1b}[1;31mERROR from-here/frozen: failed: ", "\u{1b}[1;31m  failed "] {
        assert!(red.text.contains(words), "no {words:?} in {}", red.text);
    }
    let plain = at_terminal(&local, &arguments, "", true).await;
    assert!(!plain.text.contains("\u{1b}[1;31m"), "{}", plain.text);
    assert!(plain.text.contains("ERROR from-here/frozen: failed: "), "{}", plain.text);
}

#[tokio::test]
async fn json_lines_have_numbers_and_nothing_else_is_among_them() {
    let mut local = filled(None).await;
    local.set("LogFormat", "json");
    let ended = local.run(&["run", ALL[0], ALL[1]]).await.with_status(0);
    let lines: Vec<Value> = ended
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    let compared = lines.iter().find(|line| line["message"] == "compared").unwrap();
    assert_eq!((&compared["listed"], &compared["to_copy"]), (&3.into(), &3.into()));
    let shows = |words: &str| {
        lines.iter().any(|line| line["message"].as_str().is_some_and(|text| text.contains(words)))
    };
    assert!(shows("closing comparison: 3 of 3 objects"), "{lines:?}");
}

#[tokio::test]
async fn a_jobsender_shows_how_far_its_listing_is() {
    let mut local = filled(None).await;
    local.embedded();
    let ended = local.run(&["jobsender"]).await.with_status(0);
    let words = "listing, 3 keys so far, 3 objects to copy, 2.9 KiB";
    assert!(ended.stderr.contains(words), "{}", ended.all());
}
