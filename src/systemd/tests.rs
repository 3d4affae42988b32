//! Tests what is reported, and when, on a paused clock.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use super::*;
use crate::config::Config;
use crate::error::Result;
use crate::monitor::LoopTurn;
use crate::mutex::lock;
use crate::queue::{Depth, Message, Queue, Receipt};
use crate::record::sqlite::SqliteRecords;
use crate::sqlite::Database;
use crate::store::tests::Fake;
use crate::wiring::{self, Sides};
use crate::worker::{RuleBook, Rules, Worker};

const LIMITS: Limits =
    Limits { job_timeout: Duration::from_secs(100), grace: Duration::from_secs(300) };

/// Each datagram as it would be sent.
#[derive(Clone, Default)]
struct Datagrams(Arc<Mutex<Vec<Vec<String>>>>, Arc<AtomicBool>);

impl Datagrams {
    fn listener(&self) -> Listener {
        let Self(heard, is_full) = self.clone();
        Arc::new(move |words| {
            if is_full.load(Ordering::Relaxed) {
                return false;
            }
            let lines = words.iter().map(ToString::to_string).collect();
            lock(&heard).push(lines);
            true
        })
    }

    /// What has been reported since the last call.
    fn take(&self) -> Vec<Vec<String>> {
        std::mem::take(&mut lock(&self.0))
    }

    /// How often this has been reported since the last call.
    fn count(&self, line: &str) -> usize {
        self.take().iter().flatten().filter(|told| *told == line).count()
    }
}

/// Lets this many seconds pass for all tasks.
async fn pass(seconds: u64) {
    // And a moment more, in which tasks that are due run.
    tokio::time::sleep(Duration::from_secs(seconds) + Duration::from_millis(1)).await;
}

fn worker(
    monitor: &Arc<Monitor>,
    watchdog: Option<u64>,
    halt: &Halt,
) -> (ServiceReport, Datagrams) {
    let heard = Datagrams::default();
    (told(&heard, monitor, watchdog, halt), heard)
}

fn told(
    heard: &Datagrams,
    monitor: &Arc<Monitor>,
    watchdog: Option<u64>,
    halt: &Halt,
) -> ServiceReport {
    let subject = Subject::Worker { monitor: Arc::clone(monitor), limits: LIMITS };
    let watchdog = watchdog.map(Duration::from_secs);
    ServiceReport::to(heard.listener(), subject, watchdog, halt)
}

// Without its READY=1 systemd would end the service after a while.
#[tokio::test(start_paused = true)]
async fn a_word_that_was_not_taken_is_said_again() {
    let (monitor, halt, heard) = (Arc::new(Monitor::default()), Halt::new(), Datagrams::default());
    heard.1.store(true, Ordering::Relaxed);
    let _telling = told(&heard, &monitor, None, &halt);
    pass(60).await;
    heard.1.store(false, Ordering::Relaxed);
    pass(5).await;
    assert_eq!(heard.take()[0][0], "READY=1");
    pass(60).await;
    assert_eq!(heard.count("READY=1"), 0);
}

#[tokio::test(start_paused = true)]
async fn the_watchdog_is_fed_three_times_as_often_as_it_asks() {
    let (monitor, halt) = (Arc::new(Monitor::default()), Halt::new());
    let (_telling, heard) = worker(&monitor, Some(12), &halt);
    monitor.turned(LoopTurn::Asks);
    pass(0).await;
    assert_eq!(heard.take()[0][0], "READY=1");
    pass(120).await;
    assert_eq!(heard.count("WATCHDOG=1"), 120 / 4);
    // Without a watchdog there is no sign of life.
    let (_telling, heard) = worker(&monitor, None, &halt);
    pass(60).await;
    assert_eq!(heard.count("WATCHDOG=1"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_long_drain_is_asked_for_until_it_is_too_long() {
    let (monitor, halt) = (Arc::new(Monitor::default()), Halt::new());
    let (telling, heard) = worker(&monitor, Some(30), &halt);
    let message = monitor.begin_message();
    pass(1).await;
    heard.take();
    halt.stop_because("a Spot interruption");
    pass(0).await;
    let told = heard.take();
    let status = "STATUS=draining: a Spot interruption, 1 message left";
    assert_eq!(told[0], ["STOPPING=1", status, "WATCHDOG=1", "EXTEND_TIMEOUT_USEC=30000000"]);
    // GraceTime and a minute; no turns are taken any more.
    pass(350).await;
    let told = heard.take();
    assert!(told.iter().all(|told| told.iter().any(|line| line.starts_with("EXTEND_"))));
    assert!(told.len() >= 350 / 30, "{} times", told.len());
    pass(15).await;
    heard.take();
    pass(30).await;
    let told = heard.take();
    assert!(told.iter().all(|told| told.len() == 1 && told[0].starts_with("STATUS=hangs: ")));
    drop(message);
    drop(telling);
    assert_eq!(heard.take().last().unwrap()[0], "STOPPING=1");
}

/// Delivers these messages, and answers nothing else.
#[derive(Debug, Default)]
struct Silent(Mutex<Vec<Message>>);

#[async_trait]
impl Queue for Silent {
    async fn receive(&self, _: usize, _: Duration, _: Duration) -> Result<Vec<Message>> {
        let messages = std::mem::take(&mut *self.0.lock().unwrap());
        match messages.is_empty() {
            true => std::future::pending().await,
            false => Ok(messages),
        }
    }
    async fn send(&self, _: &[String]) -> Result<()> {
        unreachable!("nothing is sent")
    }
    async fn extend(&self, _: &Receipt, by: Duration) -> Result<std::time::Instant> {
        Ok((Instant::now() + by).into_std())
    }
    async fn delete(&self, _: &Receipt) -> Result<()> {
        unreachable!("nothing is received")
    }
    async fn release(&self, _: &Receipt, _: Duration) -> Result<()> {
        unreachable!("nobody has had the time")
    }
    async fn bury(&self, _: &Message, _: &str, _: &str) -> Result<bool> {
        unreachable!("nothing is received")
    }
    fn max_receives(&self) -> Option<u32> {
        None
    }
    async fn keeps(&self) -> Result<Option<Duration>> {
        unreachable!("nobody asks")
    }
    async fn depth(&self) -> Result<Depth> {
        unreachable!("nobody asks")
    }
}

/// A bucket list that is never read.
#[derive(Debug)]
struct Hanging;

#[async_trait]
impl RuleBook for Hanging {
    async fn read(&self) -> Result<Rules> {
        std::future::pending().await
    }
}

/// A real worker, with one message at once, on this queue.
async fn real_worker(queue: Silent, folder: &std::path::Path) -> (Arc<Worker>, Arc<Monitor>) {
    let config = Config::default();
    let state = Database::open(&folder.join("records.sqlite")).await.unwrap();
    let store = || Fake::default().paced(1);
    let sides = Sides { source: store(), destination: store() };
    let monitor = Arc::new(Monitor::default());
    let state = Arc::new(SqliteRecords::new(&state));
    let engine = wiring::engine(&config, sides, state, Arc::clone(&monitor));
    let mut settings = wiring::worker_settings(&config);
    settings.parallel = 1;
    settings.events = Arc::new(Hanging);
    (Worker::new(Arc::new(queue), engine, settings), monitor)
}

#[tokio::test]
async fn a_worker_whose_queue_hangs_gives_no_sign_of_life() {
    let folder = tempfile::tempdir().unwrap();
    let (hanging, monitor) = real_worker(Silent::default(), folder.path()).await;
    tokio::time::pause();
    let halt = Halt::new();
    let (_telling, heard) = worker(&monitor, Some(12), &halt);
    let _work = tokio::spawn({
        let halt = halt.clone();
        async move { hanging.run(&halt).await }
    });
    pass(60).await;
    assert!(heard.count("WATCHDOG=1") > 10, "a long poll is no hanging");
    pass(180).await;
    heard.take();
    pass(120).await;
    let told = heard.take();
    assert!(told.iter().flatten().all(|line| line != "WATCHDOG=1"), "{told:?}");
    assert!(told[0][0].starts_with("STATUS=hangs: the loop that receives messages"), "{told:?}");
}

#[tokio::test]
async fn a_worker_without_room_is_alive_until_its_message_takes_too_long() {
    let folder = tempfile::tempdir().unwrap();
    // An event whose place is never found.
    let message = Message {
        id: "1".to_owned(),
        receipt: Receipt("1".to_owned()),
        body: r#"{"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "b"}, "object": {"key": "k"}}}]}"#
            .to_owned(),
        receive_count: 1,
        deadline: std::time::Instant::now() + Duration::from_secs(60),
    };
    let queue = Silent(Mutex::new(vec![message]));
    let (hanging, monitor) = real_worker(queue, folder.path()).await;
    tokio::time::pause();
    let halt = Halt::new();
    let (_telling, heard) = worker(&monitor, Some(12), &halt);
    let _work = tokio::spawn({
        let halt = halt.clone();
        async move { hanging.run(&halt).await }
    });
    // Twice its time, the grace time, half an hour.
    pass(2 * 100 + 300 + 1800).await;
    let told = heard.take();
    let alive = told[1..].iter().all(|told| told.last().unwrap() == "WATCHDOG=1");
    assert!(alive, "{told:?}");
    assert_eq!(told[2][0], "STATUS=1 message in work, 0 objects done, 0 failed, 0 B/s");
    pass(30).await;
    heard.take();
    pass(30).await;
    let told = heard.take();
    assert!(told[0][0].starts_with("STATUS=hangs: a message has been in work"), "{told:?}");
    assert!(told.iter().flatten().all(|line| line != "WATCHDOG=1"), "{told:?}");
}
