//! A real journald, and the binary as systemd starts it: with the journal as its stderr.
//!
//! Both run in namespaces of their own, where /run is a file system in memory and the user is root of
//! nothing else: the machine's own journal, if it has one, is not concerned. Needs util-linux and
//! systemd, and a kernel that gives user namespaces to whoever runs the tests.

use std::fs;

use serde_json::Value;
use tokio::process::Command;

use testkit::local::{Local, MIB, noise};
use testkit::process::Running;

/// What is done inside: the journal is started, the command ($@) has its stderr in it, and when both have
/// ended the entries are written to the working folder. systemd sets JOURNAL_STREAM to the device and
/// inode of that stderr
/// (<https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#%24JOURNAL_STREAM>).
/// Neither the kernel's messages nor its audit are this journal's business.
const PLAY: &str = r#"
set -eu
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journald.conf.d /run/log/journal
printf '[Journal]\nStorage=volatile\nAudit=no\nReadKMsg=no\nForwardToWall=no\nRateLimitBurst=0\n' \
    > /run/systemd/journald.conf.d/test.conf
/lib/systemd/systemd-journald &
journald=$!
tries=0
while [ ! -S /run/systemd/journal/stdout ] || [ ! -S /run/systemd/journal/socket ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 1000 ] || { echo 'journald did not start' >&2; exit 9; }
    sleep 0.05
done
status=0
systemd-cat sh -c 'JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec "$@"' sh "$@" \
    > result || status=$?
kill -TERM "$journald"
wait "$journald" || true
journalctl --directory=/run/log/journal --output=json --all --no-pager > entries.json
exit "$status"
"#;

/// The same command within [`PLAY`].
fn within_a_journal(command: &Command) -> Command {
    let inner = command.as_std();
    let mut outer = Command::new("unshare");
    outer.args(["--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child"]);
    outer.args(["--mount-proc", "bash", "-c", PLAY, "play"]);
    outer.arg(inner.get_program()).args(inner.get_args()).kill_on_drop(true);
    outer.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    outer.current_dir(inner.get_current_dir().expect("it has a folder"));
    outer
}

/// A field as text. What is not printable comes as an array of bytes.
fn field(entry: &Value, name: &str) -> Option<String> {
    let value = entry.get(name)?;
    if let Some(text) = value.as_str() {
        return Some(text.to_owned());
    }
    let bytes = value.as_array()?.iter().map(|byte| byte.as_u64().map(|byte| byte as u8));
    String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
}

fn fields<const N: usize>(entry: &Value, names: [&str; N]) -> [Option<String>; N] {
    names.map(|name| field(entry, name))
}

#[tokio::test]
async fn the_journal_gets_level_bucket_key_part_and_job() {
    let mut local = Local::new().await;
    local.set("StreamThreshold", "0");
    let key = "folder/with a\nnew line and \u{e4}";
    local.source.put(key, noise(6 * MIB, 1)).await;
    // Too long after the destination's prefix.
    let long = "k".repeat(1020);
    local.source.put(&long, noise(10, 2)).await;
    let run = local.command(&["run", "s3://from-here", "s3://to-there/behind/this"]);
    let ended = Running::start(within_a_journal(&run)).ended().await.with_status(1);
    assert_eq!(ended.stderr, "", "nothing goes past the journal");

    let entries = fs::read_to_string(local.work().join("entries.json")).unwrap();
    let entries: Vec<Value> =
        entries.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let own = |entry: &&Value| field(entry, "SYSLOG_IDENTIFIER").as_deref() == Some("s3-migration");
    let own: Vec<&Value> = entries.iter().filter(own).collect();
    let find = |start: &str| {
        let says =
            |entry: &&&Value| field(entry, "MESSAGE").is_some_and(|it| it.starts_with(start));
        let found: Vec<&Value> = own.iter().filter(says).copied().collect();
        assert!(!found.is_empty(), "no {start}");
        found
    };

    let text = |text: &str| Some(text.to_owned());
    let object = [text("DEBUG"), text("6"), text("from-here"), text(key)];
    let about = ["LEVEL", "PRIORITY", "BUCKET", "KEY"];
    let mut parts = Vec::new();
    for entry in find("--->Uploading ") {
        assert_eq!(fields(entry, about), object);
        assert!(field(entry, "JOB").is_some_and(|job| !job.is_empty()), "{entry:#}");
        parts.extend(field(entry, "PART"));
    }
    parts.sort();
    assert_eq!(parts, ["1", "2"]);
    for entry in find("--->Complete ") {
        assert_eq!(fields(entry, about), object);
        assert_eq!(field(entry, "PART"), None, "the whole object");
    }

    // A line that names its object, and is written in no span.
    let failed = find("cannot be copied, its key ")[0];
    let expected = [text("ERROR"), text("3"), text("from-here"), text(&long)];
    assert_eq!(fields(failed, about), expected);
    assert_eq!(field(failed, "OBJECT"), text(&format!("from-here/{long}")));
    assert_eq!(field(failed, "JOB"), None);
}
