//! Death is cheap: whatever ends a process, the next one goes on from the parts already there.

use std::sync::Arc;

use testkit::gate::Hold;
use testkit::local::{ALL, Local, MIB, SQLITE, noise};
use testkit::process::{Running, until};

const KEY: &str = "large";
/// Six parts of the smallest size.
const SIZE: usize = 5 * 5 * MIB + 1;
const PARTS: u64 = 6;
/// So many of them are at the destination when the next one is held.
const SENT: u64 = 3;

/// A source with one object in parts and a few small ones; parts go one after the other, so that
/// it is known which have arrived.
async fn lab() -> (Local, Arc<Hold>) {
    let gate = Hold::new("UploadPart", SENT);
    let mut local = Local::gated(Some(Arc::clone(&gate))).await;
    local.set("MaxThread", "1");
    local.source.put(KEY, noise(SIZE, 1)).await;
    for n in 0..5 {
        local.source.put(&format!("small/{n}"), noise(100, n)).await;
    }
    (local, gate)
}

/// A run that dies by SIGKILL while a call is held.
async fn killed_run(local: &Local, gate: &Hold) {
    let run = local.spawn(&["run", ALL[0], ALL[1]]);
    gate.reached().await;
    // So that none of the small ones has been read and not written.
    let small = local.source.keys().await.len() as u64 - 1;
    local.asked("PutObject", small).await;
    run.kill().await;
    gate.forget();
    assert_eq!(local.destination.uploads().await, 1);
    assert!(!local.destination.keys().await.contains(&KEY.to_owned()));
}

async fn assert_whole(local: &Local, body: &[u8]) {
    assert!(local.destination.get(KEY).await == body, "the object is not what it must be");
    assert_eq!(local.destination.keys().await, local.source.keys().await);
    assert_eq!(local.destination.uploads().await, 0, "no upload is left");
}

/// Promise 7.
#[tokio::test]
async fn a_killed_run_goes_on_from_the_parts_already_there() {
    let (local, gate) = lab().await;
    killed_run(&local, &gate).await;
    let (sent, read) = (local.destination.requests("UploadPart"), ranges_read(&local));
    assert_eq!((sent, read), (SENT + 1, SENT + 1));

    let ended = local.migrate().await.with_status(0);
    assert!(ended.stdout.contains("all 6 objects"), "{}", ended.all());
    assert_eq!(local.destination.requests("UploadPart") - sent, PARTS - SENT);
    // The MD5 of the whole is the source's: it takes what is there once more.
    assert_eq!(ranges_read(&local) - read, PARTS, "each part is read once");
    assert_eq!(local.destination.requests("CreateMultipartUpload"), 1);
    assert_whole(&local, &noise(SIZE, 1)).await;
    assert_eq!(local.files(), [SQLITE], "also the killed run's lock is gone");
}

/// GETs of the object in parts; each small object is read once.
fn ranges_read(local: &Local) -> u64 {
    local.source.requests("GetObject") - local.destination.requests("PutObject")
}

/// Promise 2.
#[tokio::test]
async fn another_chunk_size_does_no_harm_to_what_was_begun() {
    let (mut local, gate) = lab().await;
    killed_run(&local, &gate).await;
    local.set("ChunkSize", "7");
    local.migrate().await.with_status(0);
    assert_eq!(local.destination.requests("UploadPart"), SENT + 1 + PARTS - SENT);
    assert_whole(&local, &noise(SIZE, 1)).await;
}

/// Promise 2.
#[tokio::test]
async fn an_object_replaced_between_kill_and_resume_arrives_new_and_whole() {
    let (local, gate) = lab().await;
    killed_run(&local, &gate).await;
    local.source.put(KEY, noise(SIZE, 2)).await;
    local.migrate().await.with_status(0);
    assert_eq!(local.destination.requests("UploadPart"), SENT + 1 + PARTS);
    assert_whole(&local, &noise(SIZE, 2)).await;
}

/// Promise 3.
#[tokio::test]
async fn a_lost_database_costs_reads_and_no_part_twice() {
    let (local, gate) = lab().await;
    killed_run(&local, &gate).await;
    for file in local.files() {
        std::fs::remove_file(local.work().join(file)).unwrap();
    }
    local.migrate().await.with_status(0);
    assert_eq!(local.destination.requests("UploadPart"), SENT + 1 + PARTS - SENT);
    assert_whole(&local, &noise(SIZE, 1)).await;
}

/// Promise 7.
#[tokio::test]
async fn an_interrupted_run_says_so_and_goes_on() {
    let (local, gate) = lab().await;
    let mut run = local.spawn(&["run", ALL[0], ALL[1]]);
    gate.reached().await;
    run.signal("INT");
    run.logs("stopping: running parts finish").await;
    gate.open();
    let ended = run.ended().await.with_status(1);
    assert!(ended.stdout.contains("run the same command again to continue"), "{}", ended.all());
    // The part that was on its way has arrived.
    assert_eq!(local.destination.requests("UploadPart"), SENT + 1);
    local.migrate().await.with_status(0);
    assert_eq!(local.destination.requests("UploadPart"), PARTS);
    assert_whole(&local, &noise(SIZE, 1)).await;
}

#[tokio::test]
async fn a_second_signal_cuts_what_is_running() {
    let (local, gate) = lab().await;
    let mut run = local.spawn(&["run", ALL[0], ALL[1]]);
    gate.reached().await;
    run.signal("INT");
    run.logs("stopping: running parts finish").await;
    run.signal("TERM");
    run.ended().await.with_status(1);
    gate.forget();
    assert_eq!(local.destination.uploads().await, 1, "what has arrived stays");
    local.migrate().await.with_status(0);
    assert_eq!(local.destination.requests("UploadPart"), SENT + 1 + PARTS - SENT);
    assert_whole(&local, &noise(SIZE, 1)).await;
}

/// Promise 7.
#[tokio::test]
async fn a_run_killed_before_completion_sends_no_part_again() {
    let gate = Hold::new("CompleteMultipartUpload", 0);
    let local = Local::gated(Some(Arc::clone(&gate))).await;
    local.source.put(KEY, noise(SIZE, 1)).await;
    killed_run(&local, &gate).await;
    local.migrate().await.with_status(0);
    assert_eq!(local.destination.requests("UploadPart"), PARTS);
    assert_eq!(local.source.requests("GetObject"), 2 * PARTS, "once more for the MD5 of the whole");
    assert_whole(&local, &noise(SIZE, 1)).await;
}

#[tokio::test]
async fn what_is_stopped_before_it_began_says_so() {
    let gate = Hold::new("ListObjectsV2", 0);
    let mut local = Local::gated(Some(Arc::clone(&gate))).await;
    local.embedded();
    for command in
        [&["run", ALL[0], ALL[1]][..], &["run", ALL[0], ALL[1], "--dry-run"], &["jobsender"]]
    {
        let asked = local.destination.requests("ListObjectsV2");
        let run = local.spawn(command);
        local.asked("ListObjectsV2", asked + 1).await;
        run.signal("INT");
        run.ended().await.with_status(1).says(&["stopped"]);
    }
}

#[tokio::test]
async fn a_migration_runs_once_at_a_time() {
    let (local, gate) = lab().await;
    let first = local.spawn(&["run", ALL[0], ALL[1]]);
    gate.reached().await;
    let second = local.migrate().await.with_status(2);
    second.says(&["already running in another process"]);
    // Another migration on the same file is another matter.
    local.run(&["run", "s3://from-here/small", "s3://to-there/copy"]).await.with_status(0);
    gate.open();
    first.ended().await.with_status(0);
    assert_eq!(local.destination.requests("UploadPart"), PARTS);
    assert_eq!(local.destination.get(KEY).await, noise(SIZE, 1));
}

/// As [`lab`], with the jobs sent and one worker holding the large object.
async fn a_worker_at_work(visibility_seconds: u32) -> (Local, Arc<Hold>, Running) {
    let (mut local, gate) = lab().await;
    local.embedded();
    local.set("VisibilityTimeout", &visibility_seconds.to_string());
    let sent = local.run(&["jobsender", "--json"]).await.with_status(0).json();
    assert_eq!(sent[0]["to_copy"], 6);
    let worker = local.spawn(&["worker"]);
    gate.reached().await;
    (local, gate, worker)
}

/// Waits until the queue is empty, and stops the worker.
async fn finish(local: &Local, worker: Running) {
    local.asked("CompleteMultipartUpload", 1).await;
    until("an empty queue", async || {
        let status = local.run(&["status", "--json"]).await.with_status(0).json();
        let [waiting, running, done] =
            ["waiting", "running", "done"].map(|name| status[name].as_u64().unwrap());
        waiting + running == 0 && done == 6
    })
    .await;
    worker.signal("TERM");
    worker.ended().await.with_status(0);
    assert_whole(local, &noise(SIZE, 1)).await;
    assert_eq!(local.files(), ["pairs.json", SQLITE]);
}

/// Promise 7.
#[tokio::test]
async fn another_worker_takes_over_from_one_that_was_killed() {
    let (local, gate, first) = a_worker_at_work(10).await;
    let second = local.spawn(&["worker"]);
    first.kill().await;
    gate.forget();
    finish(&local, second).await;
    assert_eq!(local.destination.requests("UploadPart"), SENT + 1 + PARTS - SENT);
}

/// Promise 7.
#[tokio::test]
async fn a_worker_told_to_stop_hands_its_object_over_at_once() {
    // Whoever had to wait for this would wait longer than the test does.
    let (local, gate, mut first) = a_worker_at_work(3600).await;
    first.signal("TERM");
    first.logs("stopping: running parts finish").await;
    gate.open();
    first.ended().await.with_status(0);
    assert_eq!(local.destination.requests("UploadPart"), SENT + 1, "no further part is begun");
    let second = local.spawn(&["worker"]);
    finish(&local, second).await;
    assert_eq!(local.destination.requests("UploadPart"), PARTS);
    let again = SENT + 1;
    assert_eq!(local.source.requests("GetObject"), PARTS + 5 + again, "for the MD5 of the whole");
}

#[tokio::test]
async fn a_message_that_is_no_job_becomes_a_dead_letter() {
    use s3_migration::queue::Queue;
    use s3_migration::queue::sqlite::SqliteQueue;
    let mut local = Local::new().await;
    local.embedded();
    local.set("MaxReceiveCount", "2");
    local.source.put("fine", vec![1]).await;
    local.run(&["jobsender"]).await.with_status(0);
    let file = local.work().join(SQLITE);
    let database = s3_migration::sqlite::Database::open(file).await.unwrap();
    let queue = SqliteQueue::open(&database, "s3_migration_file_list", 2).await.unwrap();
    queue.send(&["no job\nat all".to_owned(), "{\"Src_bucket\":1}".to_owned()]).await.unwrap();

    let worker = local.spawn(&["worker"]);
    until("two dead letters", async || {
        let depth = queue.depth().await.unwrap();
        (depth.waiting, depth.running, depth.dead) == (0, 0, Some(2))
    })
    .await;
    worker.signal("TERM");
    let ended = worker.ended().await.with_status(0);
    assert!(ended.stderr.contains("refused: "), "{}", ended.all());
    assert_eq!(local.destination.get("fine").await, [1]);
    let mut dead: Vec<_> =
        queue.dead(9).await.unwrap().into_iter().map(|letter| letter.body).collect();
    dead.sort();
    assert_eq!(dead, ["no job\nat all", "{\"Src_bucket\":1}"], "as they came");
}

/// Promise 3.
#[tokio::test]
async fn an_unfinished_upload_is_begun_anew_where_that_is_wanted() {
    let (mut local, gate) = lab().await;
    killed_run(&local, &gate).await;
    local.set("CleanUnfinishedUpload", "True");
    local.migrate().await.with_status(0);
    assert_eq!(local.destination.requests("CreateMultipartUpload"), 2);
    assert_eq!(local.destination.requests("UploadPart"), SENT + 1 + PARTS);
    assert_whole(&local, &noise(SIZE, 1)).await;
}

/// Promise 3.
#[tokio::test]
async fn a_part_that_is_not_the_sources_is_found_by_reading_twice() {
    let (mut local, gate) = lab().await;
    killed_run(&local, &gate).await;
    let (client, bucket) = (&local.destination.client, testkit::local::BUCKETS[1]);
    let uploads = client.list_multipart_uploads().bucket(bucket).send().await.unwrap();
    let id = uploads.uploads()[0].upload_id().unwrap().to_owned();
    // Of the planned size, so that only its bytes tell.
    let other = client.upload_part().bucket(bucket).key(KEY).upload_id(id).part_number(2);
    other.body(noise(5 * MIB, 9).into()).send().await.unwrap();
    let (sent, read) = (local.destination.requests("UploadPart"), ranges_read(&local));

    local.set("ifVerifyMD5Twice", "True");
    local.migrate().await.with_status(0);
    assert_eq!(local.destination.requests("UploadPart") - sent, PARTS - SENT + 1);
    // The good ones a second time for the MD5 of the whole.
    assert_eq!(
        ranges_read(&local) - read,
        PARTS + 1 + SENT - 1,
        "all, and the wrong one once more"
    );
    assert_whole(&local, &noise(SIZE, 1)).await;
}

/// Promise 7.
#[tokio::test]
async fn an_object_that_outlasts_its_time_goes_back_and_on() {
    let (mut local, gate) = lab().await;
    local.embedded();
    // The part that is held outlasts both.
    local.set("JobTimeout", "10");
    local.set("GraceTime", "0");
    local.run(&["jobsender"]).await.with_status(0);
    let mut worker = local.spawn(&["worker"]);
    gate.reached().await;
    worker.logs("not finished within JobTimeout of 10 s").await;
    gate.forget();
    finish(&local, worker).await;
    assert_eq!(local.destination.requests("CreateMultipartUpload"), 1);
}
