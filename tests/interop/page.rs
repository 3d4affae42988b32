//! The page of a run in headless Chromium: what it shows, how it follows the run, and 100,000 failures.

use std::process::Stdio;
use std::time::{Duration, SystemTime};

use s3_migration::object::ObjectId;
use s3_migration::record::sqlite::SqliteRecords;
use s3_migration::record::{Attempts, JobStatus, Outcome, RecordId};
use s3_migration::sqlite::Database;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::harness::{Case, Outcome as Came};
use crate::tools::{self, Missing};
use testkit::gate::Hold;
use testkit::local::{ALL, Local, SQLITE, noise};
use testkit::web::served;

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![
        Case::new("page::in_a_browser", in_a_browser),
        Case::new("page::a_token_in_a_browser", a_token_in_a_browser),
    ]
}

const FAILED: usize = 100_000;
const AT_ONCE: usize = 1_000;

/// A failure on record. Names and errors are such as a page must not take for markup.
fn failure(n: usize) -> Outcome {
    let key = format!("<img src=x onerror=alert(1)>/{n:06}\u{202e}gpj");
    let id =
        RecordId { src: ObjectId::new("from-here", &*key), des: ObjectId::new("to-there", &*key) };
    let error = match n % 4 {
        0 => "GetObject s3://from-here/k (source): AccessDenied (status 403)",
        _ => "GetObject s3://from-here/k (source): InvalidObjectState (status 403)",
    };
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    Outcome {
        id,
        size: n as u64,
        version: None,
        etag: None,
        status: JobStatus::Failed,
        instance: "earlier".to_owned(),
        lease: None,
        start_time: at,
        end_time: at,
        error: Some(error.to_owned()),
        deleted: false,
        proven: None,
        written: None,
        order: None,
    }
}

/// The driver of the page at `address`.
async fn driver(local: &Local, address: &str, more: &[&str]) -> Result<Child, Missing> {
    let (chromium, python) = tools::browser()?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/page.py");
    let mut driver = Command::new(python);
    driver.arg(script).arg(format!("http://{address}/")).arg(chromium).args(more);
    driver.env("TMPDIR", local.work()).env("HOME", local.work());
    driver.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(driver.kill_on_drop(true).spawn().unwrap())
}

/// A person shows the token once, and the browser remembers it.
async fn a_token_in_a_browser() -> Came {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    tools::browser()?;
    let mut local = Local::new().await;
    local.source.put("a", noise(1000, 1)).await;
    local.migrate().await.with_status(0);
    local.set("S3_MIGRATION_SERVE_TOKEN", TOKEN);
    let mut status = local.spawn(&["status", "--serve", "127.0.0.1:0"]);
    let address = served(&mut status).await;
    let ended = driver(&local, &address, &[TOKEN]).await?.wait_with_output().await.unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    status.signal("TERM");
    status.ended().await.with_status(0);
    Ok(())
}

/// The driver tells each step that it has seen, and waits for a line before the next.
async fn in_a_browser() -> Came {
    tools::browser()?;
    let hold = Hold::new("PutObject", 10);
    let local = Local::gated(Some(hold.clone())).await;
    for n in 0..40 {
        local.source.put(&format!("object/{n:02}"), noise(1000, n)).await;
    }
    let database = Database::open(&local.work().join(SQLITE)).await.unwrap();
    let records = SqliteRecords::new(&database);
    for first in (0..FAILED).step_by(AT_ONCE) {
        let outcomes: Vec<Outcome> = (first..first + AT_ONCE).map(failure).collect();
        for recorded in records.finish_each(&outcomes).await {
            recorded.unwrap();
        }
    }
    let mut run = local.spawn(&["run", ALL[0], ALL[1], "--serve", "127.0.0.1:0"]);
    let address = served(&mut run).await;
    hold.reached().await;
    let mut driver = driver(&local, &address, &[]).await?;
    let mut stdin = driver.stdin.take().unwrap();
    let mut steps = BufReader::new(driver.stdout.take().unwrap()).lines();
    while let Some(step) = steps.next_line().await.unwrap() {
        if step == "held" {
            hold.open();
        }
        stdin.write_all(b"go on\n").await.unwrap();
    }
    drop(stdin);
    let ended = driver.wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    run.ended().await.with_status(0);
    Ok(())
}
