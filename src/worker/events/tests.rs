//! Tests what a message asks for, with the tests' own queue, bucket list and clock.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::monitor::Monitor;
use crate::queue::{Depth, Message, Queue, Receipt};
use crate::record::sqlite::SqliteRecords;
use crate::shutdown::Halt;
use crate::sqlite::Database;
use crate::store::Side;
use crate::store::profile::Profile;
use crate::store::tests::Fake;
use crate::wiring::{self, Sides};

fn minute() -> crate::worker::Turn {
    crate::worker::Turn::of(Duration::from_secs(60))
}

/// A queue that notes its calls.
#[derive(Debug, Default)]
struct Noting {
    told: Mutex<Vec<&'static str>>,
    /// Somebody else has the message.
    has_given: bool,
}

impl Noting {
    fn note(&self, what: &'static str) {
        self.told.lock().unwrap().push(what);
    }

    fn told(&self) -> Vec<&'static str> {
        self.told.lock().unwrap().clone()
    }
}

#[async_trait]
impl Queue for Noting {
    async fn receive(&self, _: usize, _: Duration, _: Duration) -> Result<Vec<Message>> {
        unreachable!("nothing is received")
    }
    async fn send(&self, _: &[String]) -> Result<()> {
        self.note("send");
        Ok(())
    }
    async fn extend(&self, _: &Receipt, by: Duration) -> Result<std::time::Instant> {
        self.note("extend");
        match self.has_given {
            true => Err(Error::new(ErrorKind::LeaseLost, "another worker has it")),
            false => Ok((Instant::now() + by).into_std()),
        }
    }
    async fn delete(&self, _: &Receipt) -> Result<()> {
        self.note("delete");
        Ok(())
    }
    async fn release(&self, _: &Receipt, _: Duration) -> Result<()> {
        self.note("release");
        Ok(())
    }
    async fn bury(&self, _: &Message, _: &str, _: &str) -> Result<bool> {
        self.note("bury");
        Ok(true)
    }
    fn max_receives(&self) -> Option<u32> {
        Some(10)
    }
    async fn keeps(&self) -> Result<Option<Duration>> {
        unreachable!("nobody asks")
    }
    async fn depth(&self) -> Result<Depth> {
        unreachable!("nobody asks")
    }
}

/// A bucket list whose reading takes this long.
#[derive(Debug)]
struct Slow(Duration, Rules);

#[async_trait]
impl RuleBook for Slow {
    async fn read(&self) -> Result<Rules> {
        tokio::time::sleep(self.0).await;
        Ok(self.1.clone())
    }
}

async fn worker(
    queue: &Arc<Noting>,
    book: impl RuleBook + 'static,
    profile: Profile,
    folder: &Path,
) -> Arc<Worker> {
    let config = Config::default();
    let state = Database::open(&folder.join("records.sqlite")).await.unwrap();
    let source = Fake { profile, ..Fake::default() }.paced(1);
    let sides = Sides { source, destination: Fake::default().paced(1) };
    let state = Arc::new(SqliteRecords::new(&state));
    let engine = wiring::engine(&config, sides, state, Arc::new(Monitor::default()));
    let mut settings = wiring::worker_settings(&config);
    settings.events = Arc::new(book);
    Worker::new(Arc::clone(queue) as Arc<dyn Queue>, engine, settings)
}

/// Rules that ignore bucket `s`.
fn ignoring() -> Rules {
    let routes = Routes { bucket: "d".to_owned(), ..Routes::default() };
    Rules { routes, ignore: Patterns::parse("s/*").unwrap(), ..Rules::default() }
}

fn event(key: &str) -> String {
    json!({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "s"}, "object": {"key": key, "size": 1}}}]})
    .to_string()
}

fn message(body: String) -> Message {
    let deadline = (Instant::now() + Duration::from_secs(60)).into_std();
    Message {
        id: "1".to_owned(),
        receipt: Receipt("1".to_owned()),
        body,
        receive_count: 1,
        deadline,
    }
}

/// Promise 7.
#[tokio::test]
async fn a_message_stays_hidden_while_its_place_is_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let queue = Arc::new(Noting::default());
    let book = Slow(Duration::from_secs(300), ignoring());
    let worker = worker(&queue, book, Profile::new(Side::Source), folder.path()).await;
    tokio::time::pause();
    worker.handle(message(event("k")), minute(), Halt::new()).await;
    let told = queue.told();
    let extended = told.iter().filter(|told| **told == "extend").count();
    assert!(extended >= 300 / 60, "{told:?}");
    assert_eq!(told.last(), Some(&"delete"), "{told:?}");
}

#[tokio::test]
async fn a_message_that_somebody_else_has_meanwhile_is_let_go_of() {
    let folder = tempfile::tempdir().unwrap();
    let queue = Arc::new(Noting { has_given: true, ..Noting::default() });
    let book = Slow(Duration::from_secs(300), ignoring());
    let worker = worker(&queue, book, Profile::new(Side::Source), folder.path()).await;
    tokio::time::pause();
    let begun = Instant::now();
    worker.handle(message(event("k")), minute(), Halt::new()).await;
    assert!(begun.elapsed() < Duration::from_secs(60), "it waits for nothing more");
    assert_eq!(queue.told(), ["extend"]);
}

#[tokio::test]
async fn a_worker_that_is_told_to_go_gives_back_what_it_has_not_understood() {
    let folder = tempfile::tempdir().unwrap();
    let queue = Arc::new(Noting::default());
    let book = Slow(Duration::from_secs(300), ignoring());
    let worker = worker(&queue, book, Profile::new(Side::Source), folder.path()).await;
    tokio::time::pause();
    let halt = Halt::new();
    let handled = tokio::spawn(worker.handle(message(event("k")), minute(), halt.clone()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    halt.stop.cancel();
    halt.abort.cancel();
    tokio::time::timeout(Duration::from_secs(30), handled).await.unwrap().unwrap();
    assert_eq!(queue.told(), ["release"]);
}

// The store panics on any call.
/// Promise 4.
#[tokio::test]
async fn amazon_s3_is_not_asked_how_it_writes_keys() {
    let folder = tempfile::tempdir().unwrap();
    let queue = Arc::new(Noting::default());
    let routes = Routes { bucket: "d".to_owned(), ..Routes::default() };
    let book = Rules { routes, ..Rules::default() };
    let worker = worker(&queue, book, Profile::of_amazon(Side::Source), folder.path()).await;
    let cut = CancellationToken::new();
    let incoming = worker.understand(&event("a+b%20c"), &cut).await.unwrap();
    assert_eq!(incoming.jobs[0].src.key.as_str(), "a b c");
}

/// Promise 1.
#[tokio::test]
async fn what_the_rules_have_no_place_for_is_refused_by_fresh_ones_only() {
    /// Has pairs after the first read, or cannot be read again.
    #[derive(Debug)]
    struct Changing(std::sync::atomic::AtomicUsize, bool);
    #[async_trait]
    impl RuleBook for Changing {
        async fn read(&self) -> Result<Rules> {
            let bucket = match (self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed), self.1) {
                (0, _) => String::new(),
                (_, true) => "d".to_owned(),
                (_, false) => return Err(Error::invalid("somebody is writing it")),
            };
            let routes = Routes { bucket, ..Routes::default() };
            Ok(Rules { routes, ..Rules::default() })
        }
    }
    for is_readable in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let book = Changing(Default::default(), is_readable);
        let profile = Profile::new(Side::Source);
        let worker = worker(&Arc::default(), book, profile, folder.path()).await;
        let (event, cut) = (event("k"), CancellationToken::new());
        let refused = worker.understand(&event, &cut).await;
        assert!(
            matches!(refused, Err(Obstacle::Refused(MessageRefusal::NoDestination))),
            "{refused:?}"
        );
        let again = worker.understand(&event, &cut).await;
        assert!(matches!(again, Err(Obstacle::Refused(_))), "these are fresh: {again:?}");
        tokio::time::pause();
        tokio::time::advance(FRESH).await;
        tokio::time::resume();
        let understood = worker.understand(&event, &cut).await;
        match is_readable {
            true => assert_eq!(understood.unwrap().jobs[0].des.bucket, "d"),
            false => assert!(matches!(understood, Err(Obstacle::NotNow(_))), "{understood:?}"),
        }
    }
}

#[test]
fn how_keys_are_written_is_known_by_two_of_them() {
    let mut writing = KeyWriting::default();
    assert!(!writing.shows(false, "a+b"), "one may be an accident");
    assert!(!writing.shows(false, "a+b"), "and so may the same once more");
    assert!(writing.shows(false, "c+d"));
    assert!(!writing.shows(false, "e+f"), "that is no news");
    assert_eq!(writing.encoded, Some(false));
    assert!(!writing.shows(true, "g h"));
    assert_eq!(writing.encoded, None, "they do not agree");
    assert!(!writing.shows(false, "i+j") && writing.shows(false, "k+l"));
}
