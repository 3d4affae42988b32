//! Decisions of an attempt, between two stores whose answers are made up.

use futures_util::FutureExt;
use tempfile::TempDir;

use super::*;
use crate::error::{ErrorKind, Evidence as Said};
use crate::object::ObjectId;
use crate::record::sqlite::SqliteRecords;
use crate::sqlite::Database;
use crate::store::tests::{Fake, meta};
use crate::store::{ListPage, Listed};

/// One attempt at `from/key`, which is copied to `to/key`, with nothing on record.
struct Bench {
    engine: Arc<Engine>,
    job: Job,
    halt: Halt,
    claim: Claim,
    progress: Progress,
    _folder: TempDir,
}

impl Bench {
    async fn of(source: Fake) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let records = Database::open(&folder.path().join("records.sqlite")).await.unwrap();
        let records = Arc::new(SqliteRecords::new(&records));
        let config = Config::default();
        let engine = Engine {
            source: source.paced(8),
            destination: Fake::default().paced(8),
            notes: Arc::<SqliteRecords>::clone(&records),
            state: records,
            budget: MemoryBudget::new(1 << 20),
            lanes: Lanes::new(),
            evidence: StoreEvidence::new(&config),
            looks: Looks::default(),
            part_times: PartTimes::default(),
            settings: Settings::new(&config, 1),
            monitor: Arc::new(Monitor::default()),
            instance: "i".to_owned(),
        };
        let job = Job::copy(ObjectId::new("from", "key"), ObjectId::new("to", "key"), 5, None);
        let delivered = Delivered { again: false, alone: true };
        let claim = Claim::new("i", delivered, CancellationToken::new());
        let (engine, halt, progress) = (Arc::new(engine), Halt::new(), Progress::default());
        Self { engine, job, halt, claim, progress, _folder: folder }
    }

    fn attempt(&self) -> Attempt<'_> {
        let Self { engine, job, halt, claim, progress, .. } = self;
        let (version, started) = (None, SystemTime::now());
        Attempt { engine, job, halt, version, claim, progress, started }
    }
}

/// A page with one object.
fn page(key: &str, etag: &str) -> ListPage {
    [Listed { etag: Some(etag), ..Listed::new(key, 5) }].into_iter().collect()
}

/// Promise 3.
#[tokio::test]
async fn another_length_than_listed_under_the_same_etag_is_a_broken_reading() {
    for (etag, expected) in [("e", Some(ErrorKind::Invalid)), ("replaced since", None)] {
        let source = Fake {
            head: Box::new(|_| async { Ok(meta(4)) }.boxed()),
            list: Box::new(move |_| async move { Ok(page("key", etag)) }.boxed()),
            ..Fake::default()
        };
        let bench = Bench::of(source).await;
        tokio::time::pause();
        let seen = bench.attempt().head_right().await;
        tokio::time::resume();
        assert_eq!(seen.map_err(|error| error.kind()).err(), expected, "{etag}");
    }
}

/// Promise 1.
#[tokio::test]
async fn an_object_is_gone_if_the_bucket_says_so_and_not_if_a_proxy_does() {
    const LISTS_IT: &str = "key";
    let (gone, unclear) = (ErrorKind::NotFound, ErrorKind::Unavailable);
    for (code, listed, expected) in
        [("NoSuchKey", LISTS_IT, gone), ("", "another key", gone), ("", LISTS_IT, unclear)]
    {
        let missing = move || {
            let said = Said { status: 404, code: code.to_owned(), ..Said::default() };
            Error::new(ErrorKind::NotFound, "missing").with_evidence(said)
        };
        let source = Fake {
            get: Box::new(move |_| async move { Err(missing()) }.boxed()),
            list: Box::new(move |_| async move { Ok(page(listed, "e")) }.boxed()),
            ..Fake::default()
        };
        let bench = Bench::of(source).await;
        let means = bench.attempt().missing(missing()).await;
        assert_eq!(means.kind(), expected, "{code:?}, listed: {listed}");
    }
}

/// Promise 9.
#[test]
fn parts_are_a_gain_unless_earlier_ones_were_of_no_use() {
    for (arrived, anew, advanced) in
        [(false, false, false), (true, false, true), (true, true, false)]
    {
        let first_part = CancellationToken::new();
        if arrived {
            first_part.cancel();
        }
        let claim = Claim::new("i", Delivered { again: true, alone: true }, first_part);
        let progress = Progress { anew: anew.into(), begun: arrived.into(), ..Progress::default() };
        let report = progress.report(Err(Error::cancelled()), &claim);
        assert_eq!(report.advanced, advanced, "{arrived} {anew}");
        assert_eq!(report.standing.lease.is_some(), arrived, "the token is on record");
    }
}
