//! What a migration logs: at INFO it is a matter of time, not of the number of objects.

use testkit::local::{Local, MIB, noise};
use testkit::process::{Ended, until};

/// Objects of the test.
const OBJECTS: u64 = 1500;
/// A run of 100,000 objects may log a megabyte.
const BYTES_PER_OBJECT: usize = 10;

async fn filled() -> Local {
    let mut local = Local::new().await;
    local.set("LoggingLevel", "INFO");
    for n in 0..OBJECTS {
        local.source.put(&format!("small/{n:05}"), noise(10, n)).await;
    }
    local
}

/// `jobsender`, and a worker that moves everything it has sent.
async fn by_worker(local: &mut Local) -> [Ended; 2] {
    local.embedded();
    // One sum of all, at the end.
    local.set("LogInterval", "3600");
    let sent = local.run(&["jobsender"]).await.with_status(0);
    let worker = local.spawn(&["worker"]);
    let done = async || local.run(&["status", "--json"]).await.json()["done"] == OBJECTS;
    until("all objects are done", done).await;
    worker.signal("TERM");
    [sent, worker.ended().await.with_status(0)]
}

#[tokio::test]
async fn many_small_objects_write_a_few_lines_at_info() {
    let run = filled().await.migrate().await.with_status(0);
    assert!(run.stdout.contains("1,500 objects"), "{}", run.all());
    let [sent, worked] = by_worker(&mut filled().await).await;
    assert!(worked.stderr.contains("--->Complete 15000 "), "the sum is there: {}", worked.all());
    for ended in [run, sent, worked] {
        let most = BYTES_PER_OBJECT * OBJECTS as usize;
        let (bytes, lines) = (ended.stderr.len(), ended.stderr.lines().count());
        assert!(bytes < most, "{bytes} bytes, more than {most}: {}", ended.all());
        assert!(lines < 100, "{lines} lines: {}", ended.all());
    }
}

#[tokio::test]
async fn each_finished_object_has_a_line_at_info_if_it_is_asked_for() {
    let mut local = Local::new().await;
    local.set("LoggingLevel", "INFO");
    local.source.put("small", noise(10, 1)).await;
    local.source.put("large", noise(11 * MIB, 2)).await;
    local.destination.put("old", noise(3, 1)).await;
    let run = ["run", "s3://from-here", "s3://to-there", "--overwrite", "--delete"];
    let lines = |ended: &Ended| {
        let lines = ended.stderr.lines().filter(|line| line.starts_with("INFO"));
        let lines = lines.filter(|line| line.contains(" copied") || line.contains(" deleted at"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let silent = local.run(&run).await.with_status(0);
    assert_eq!(lines(&silent), [""; 0]);

    local.destination.put("old", noise(3, 1)).await;
    local.set("LogObjects", "True");
    let told = local.run(&run).await.with_status(0);
    let lines = lines(&told);
    assert_eq!(lines.len(), 3, "{}", told.all());
    for words in [
        &["copied", "object=from-here/small", "bytes=10", "parts=1", "receives=1", "spent_ms="][..],
        &["copied", "object=from-here/large", "bytes=11534336", "parts=3"],
        &["deleted at the destination", "object=to-there/old"],
    ] {
        let is_told = |line: &&String| words.iter().all(|word| line.contains(word));
        assert!(lines.iter().any(|line| is_told(&line)), "{words:?}: {lines:?}");
    }
}
