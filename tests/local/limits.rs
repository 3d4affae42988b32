//! Limits, pause and budget of a `run`, changed while it runs.

use s3_migration::limits::beat::Beat;
use s3_migration::limits::{MEMBER, board_of_runs};
use s3_migration::record::sqlite::SqliteRecords;
use s3_migration::record::{BoardChange, Notes};
use s3_migration::sqlite::Database;
use testkit::gate::Hold;
use testkit::local::{ALL, Local, MIB, SQLITE, noise};
use testkit::process::until;

/// The board of the runs in a folder, read as another process reads it.
struct Watch(SqliteRecords);

impl Watch {
    async fn of(local: &Local) -> Self {
        let file = local.work().join(SQLITE);
        Self(SqliteRecords::new(&Database::open(&file).await.unwrap()))
    }

    /// The only run's part.
    async fn beat(&self) -> Beat {
        let board = self.0.board(&board_of_runs(), &BoardChange::default()).await.unwrap();
        let board = board.unwrap();
        let mut members = board.iter().filter(|(part, _)| part.starts_with(MEMBER));
        Beat::parse(members.next().expect("a run").1).unwrap()
    }

    /// Waits until it has looked so often again.
    async fn looks(&self, times: u64) -> Beat {
        let from = self.beat().await.number;
        let enough = async || self.beat().await.number >= from + times;
        until("more signs of life", enough).await;
        self.beat().await
    }

    /// Waits until what had begun has ended.
    async fn at_rest(&self) {
        let rests = async || self.looks(1).await.counts == self.looks(1).await.counts;
        until("nothing is sent", rests).await;
    }
}

async fn small_objects(local: &Local, count: u64) {
    for n in 0..count {
        local.source.put(&format!("object/{n:03}"), noise(1000, n)).await;
    }
}

/// Promise 7.
#[tokio::test]
async fn a_paused_run_sends_nothing_until_it_is_resumed() {
    let hold = Hold::new("PutObject", 20);
    let local = Local::gated(Some(hold.clone())).await;
    small_objects(&local, 200).await;
    let mut run = local.spawn(&["run", ALL[0], ALL[1]]);
    hold.reached().await;
    let paused = local.run(&["pause"]).await.with_status(0);
    assert!(paused.stdout.contains("1 process is alive"), "{}", paused.all());
    assert!(paused.stdout.contains("paused: the command pause"), "{}", paused.all());
    run.logs("paused: the command pause; what has begun goes on, nothing new begins").await;
    hold.open();
    let watch = Watch::of(&local).await;
    watch.at_rest().await;

    let requests = || [&local.source, &local.destination].map(|place| place.all_requests());
    let before = requests();
    watch.looks(4).await;
    assert_eq!(requests(), before, "a paused run has sent something");
    assert!(local.destination.keys().await.len() < 200);
    let json = local.run(&["limit", "--json"]).await.with_status(0).json();
    assert_eq!((&json[0]["paused"], &json[0]["processes"]), (&true.into(), &1.into()), "{json}");

    let resumed = local.run(&["resume"]).await.with_status(0);
    assert!(resumed.stdout.contains("not paused"), "{}", resumed.all());
    run.logs("resumed").await;
    let ended = run.ended().await.with_status(0);
    assert!(ended.stdout.contains("all 200 objects are at the destination"), "{}", ended.all());
}

/// Promise 7.
#[tokio::test]
async fn a_paused_run_ends_at_once_when_it_is_stopped_and_goes_on_later() {
    let hold = Hold::new("PutObject", 5);
    let local = Local::gated(Some(hold.clone())).await;
    small_objects(&local, 50).await;
    let mut run = local.spawn(&["run", ALL[0], ALL[1]]);
    hold.reached().await;
    local.run(&["pause"]).await.with_status(0);
    run.logs("paused: ").await;
    hold.open();
    run.signal("TERM");
    let ended = run.ended().await.with_status(1);
    assert!(ended.stdout.contains("stopped before the end"), "{}", ended.all());
    // The pause is the folder's, not the process's.
    let mut run = local.spawn(&["run", ALL[0], ALL[1]]);
    run.logs("paused: the command pause").await;
    local.run(&["resume"]).await.with_status(0);
    run.ended().await.with_status(0);
    assert_eq!(local.destination.keys().await.len(), 50);
}

/// Promise 9.
#[tokio::test]
async fn a_limit_is_kept_until_another_command_lifts_it() {
    let local = Local::new().await;
    local.source.put("large", noise(20 * MIB, 1)).await;
    let limits = ["--source-bandwidth-limit", "64K", "--destination-request-limit", "1000"];
    let mut run = local.spawn(&[&["run", ALL[0], ALL[1]], &limits[..]].concat());
    run.logs("limits of the fleet: source bandwidth 64K, requests off; destination bandwidth off, requests 1000").await;
    let watch = Watch::of(&local).await;
    watch.looks(3).await;
    let said = local.run(&["limit", "00:00-24:00 128K, else off", "--side", "source"]).await;
    assert!(said.stdout.contains("128.0 KiB/s (00:00-24:00 128K, else off)"), "{}", said.all());
    run.logs("source bandwidth 00:00-24:00 128K, else off").await;
    let json = local.run(&["limit", "--json"]).await.with_status(0).json();
    assert_eq!(json[0]["source"]["bandwidth_now"], 128 * 1024, "{json}");
    assert_eq!(json[0]["destination"]["requests"], "off", "that of the option is the run's own");
    let beat = watch.looks(2).await;
    assert!(beat.counts.source.bytes() < 20 * MIB as u64, "{beat:?}");
    assert_eq!(local.destination.keys().await.len(), 0, "minutes are left at this rate");
    local.run(&["limit", "off"]).await.with_status(0);
    run.ended().await.with_status(0);
    assert_eq!(local.destination.get("large").await, noise(20 * MIB, 1));
    let json = local.run(&["limit", "default", "--json"]).await.with_status(0).json();
    assert_eq!(
        (&json[0]["processes"], &json[0]["source"]["bandwidth"]),
        (&0.into(), &"off".into())
    );
}

/// Promise 9.
#[tokio::test]
async fn a_budget_of_bytes_pauses_the_run_and_resume_grants_it_again() {
    let hold = Hold::new("PutObject", 4);
    let mut local = Local::gated(Some(hold.clone())).await;
    for n in 0..7 {
        local.source.put(&format!("object/{n}"), noise(MIB, n)).await;
    }
    // One after the other, so that what has been read when the fifth is held is five.
    local.set("MaxParallelFile", "1");
    local.set("MaxThread", "1");
    let mut run = local.spawn(&["run", ALL[0], ALL[1], "--max-bytes", "3M"]);
    hold.reached().await;
    run.logs("paused: MaxBytes = 3145728 is reached: 5242880 bytes were read").await;
    hold.open();
    let watch = Watch::of(&local).await;
    watch.at_rest().await;
    assert_eq!(local.destination.keys().await.len(), 5);
    let json = local.run(&["limit", "--json"]).await.with_status(0).json();
    let why = json[0]["pause_reason"].as_str().unwrap();
    assert!(why.starts_with("MaxBytes = 3145728 is reached"), "{json}");
    local.run(&["resume"]).await.with_status(0);
    run.ended().await.with_status(0);
    assert_eq!(local.destination.keys().await.len(), 7);
}

/// Promise 9.
#[tokio::test]
async fn workers_on_one_file_are_limited_together() {
    let hold = Hold::new("PutObject", 10);
    let mut local = Local::gated(Some(hold.clone())).await;
    small_objects(&local, 100).await;
    local.embedded();
    local.set("PackObjects", "1");
    local.run(&["jobsender"]).await.with_status(0);
    let mut workers = [local.spawn(&["worker"]), local.spawn(&["worker"])];
    hold.reached().await;
    let paused = local.run(&["pause"]).await.with_status(0);
    assert!(paused.stdout.contains("the workers on s3_migration.sqlite"), "{}", paused.all());
    for worker in &mut workers {
        worker.logs("paused: the command pause").await;
    }
    hold.open();
    local.run(&["resume"]).await.with_status(0);
    until("all have arrived", async || local.destination.keys().await.len() == 100).await;
    for worker in workers {
        worker.signal("TERM");
        worker.ended().await.with_status(0);
    }
}

#[tokio::test]
async fn what_is_no_limit_is_refused_with_what_is_allowed() {
    let mut local = Local::new().await;
    let refused = local.run(&["run", ALL[0], ALL[1], "--bandwidth-limit", "fast"]).await;
    assert_eq!(refused.status, Some(2));
    assert!(refused.stderr.contains("08:00-18:00 200M, else off"), "{}", refused.all());
    local.run(&["run", ALL[0], ALL[1], "--max-cost", "dear"]).await.with_status(2);
    local.embedded();
    local.run(&["limit", "10K"]).await.with_status(2).says(&["10K is too little", "at least 64K"]);
    local.run(&["pause"]).await.with_status(2).says(&["there is nothing to limit"]);
    local.set("Source_RequestLimit", "9 to 5");
    local.set("MaxCost", "1,000");
    let wrong = local.run(&["worker"]).await.with_status(2);
    for words in ["[Source] RequestLimit = 9 to 5", "[Mode] MaxCost = 1,000", "250 or 12.50"] {
        assert!(wrong.stderr.contains(words), "no {words:?} in {}", wrong.all());
    }
}
