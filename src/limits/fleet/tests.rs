//! Fleets in virtual time, on a board in memory.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use tokio::task::JoinSet;

use super::*;
use crate::config::timetable::{RateUnit, Timetable};
use crate::error::ErrorKind;
use crate::limits::board_of_runs;
use crate::limits::view::past;
use crate::mutex::lock;
use crate::record::*;

/// A board, and nothing else.
#[derive(Debug, Default)]
struct OneBoard {
    board: Mutex<Board>,
    is_out: AtomicBool,
    /// It takes calls and never answers.
    hangs: AtomicBool,
    asked: AtomicU64,
}

#[async_trait]
impl Notes for OneBoard {
    async fn add_note(&self, _: &NoteKey, _: &[u8]) -> Result<bool> {
        unreachable!("only the board")
    }

    async fn set_note(&self, _: &NoteKey, _: &[u8]) -> Result<()> {
        unreachable!("only the board")
    }

    async fn notes(&self, _: &[NoteKey]) -> Result<Vec<Option<Vec<u8>>>> {
        unreachable!("only the board")
    }

    async fn remove_notes(&self, _: &[NoteKey]) -> Result<()> {
        unreachable!("only the board")
    }

    async fn board(&self, _: &NoteKey, change: &BoardChange) -> Result<Option<Board>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending().await
        }
        if self.is_out.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Unavailable, "out"));
        }
        let mut board = lock(&self.board);
        if let Some((part, expected)) = &change.only_if
            && board.get(part) != expected.as_ref()
        {
            return Ok(None);
        }
        change.remove.iter().for_each(|part| drop(board.remove(part)));
        board.extend(change.set.iter().cloned());
        Ok(Some(board.clone()))
    }
}

const MIB: u64 = 1 << 20;
const LIMIT: u64 = 50 * MIB;
const PIECE: usize = 64 * 1024;

/// The time until a store answers an object, and the time until it accepts a piece of one.
const ANSWER: Duration = Duration::from_millis(400);
const SLOW_PIECE: u64 = 60;

/// A worker that always has something to send.
struct Busy {
    throttle: Arc<Throttle>,
    membership: Option<Membership>,
    tasks: JoinSet<()>,
}

struct Simulation {
    state: Arc<OneBoard>,
    limit: &'static str,
    /// What is read is written, under the same limit.
    both: bool,
    workers: BTreeMap<usize, Busy>,
    /// Bytes of all, for each second.
    seconds: Vec<u64>,
    ended: u64,
}

impl Simulation {
    fn new(limit: &'static str) -> Self {
        let (workers, seconds) = (BTreeMap::new(), Vec::new());
        Self { state: Arc::default(), limit, both: false, workers, seconds, ended: 0 }
    }

    fn terms(&self, name: usize, config: LimitsConfig) -> Terms {
        Terms {
            state: Arc::<OneBoard>::clone(&self.state),
            board: board_of_runs(),
            name: format!("worker-{name}"),
            member: Member::Worker,
            config,
            pricing: Pricing::default(),
            throttles: [Arc::default(), Arc::default()],
            monitor: None,
            embedded: false,
        }
    }

    async fn join(&mut self, name: usize) {
        let mut config = LimitsConfig::default();
        config.source.bandwidth = Timetable::parse(self.limit, RateUnit::Bytes).unwrap();
        if self.both {
            config.destination.bandwidth = config.source.bandwidth.clone();
        }
        let terms = self.terms(name, config);
        let [source, destination] = terms.throttles.each_ref().map(Arc::clone);
        let throttle = Arc::clone(if self.both { &destination } else { &source });
        let membership = Some(Fleet::join(terms).await.spawn());
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            if self.both {
                tasks.spawn(copies(Arc::clone(&source), Arc::clone(&destination)));
                continue;
            }
            let throttle = Arc::clone(&throttle);
            tasks.spawn(async move {
                loop {
                    match throttle.bytes(PIECE) {
                        Some(turn) => turn.await,
                        // A link of its own: 100 MiB/s.
                        None => tokio::time::sleep(Duration::from_millis(5)).await,
                    }
                }
            });
        }
        self.workers.insert(name, Busy { throttle, membership, tasks });
    }

    /// As SIGKILL does.
    async fn kill(&mut self, name: usize) {
        let mut killed = self.workers.remove(&name).unwrap();
        drop(killed.membership.take());
        killed.tasks.shutdown().await;
        self.ended += killed.throttle.passed().bytes;
    }

    async fn go(&mut self, seconds: u64) {
        for _ in 0..seconds {
            let before = self.sent();
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.seconds.push(self.sent() - before);
        }
    }

    fn sent(&self) -> u64 {
        let living = self.workers.values().map(|worker| worker.throttle.passed().bytes);
        self.ended + living.sum::<u64>()
    }

    /// Every minute that begins in these seconds, against the limit.
    fn assert_within(&self, seconds: std::ops::Range<usize>, limit: u64) {
        for from in seconds {
            let minute: u64 = self.seconds[from..from + 60].iter().sum();
            let off = minute as f64 / (60 * limit) as f64 - 1.0;
            assert!(off.abs() <= 0.1, "minute from {from}: {:.1} % off", off * 100.0);
        }
    }
}

/// Copies one object after the other: each piece is read, then written at the line's own speed.
async fn copies(source: Arc<Throttle>, destination: Arc<Throttle>) {
    loop {
        for _ in 0..fastrand::usize(8..64) {
            for side in [&source, &destination] {
                if let Some(turn) = side.bytes(PIECE) {
                    turn.await;
                }
            }
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..SLOW_PIECE))).await;
        }
        tokio::time::sleep(ANSWER).await;
    }
}

/// A limit of both sides, and stores that make the bytes come in gusts.
#[tokio::test(start_paused = true)]
async fn what_is_read_and_written_under_one_limit_reaches_it() {
    for seed in 0..4 {
        fastrand::seed(seed);
        let mut fleet = Simulation { both: true, ..Simulation::new("4M") };
        for name in 0..4 {
            fleet.join(name).await;
        }
        fleet.go(130).await;
        fleet.assert_within(10..70, 4 * MIB);
    }
}

#[tokio::test(start_paused = true)]
async fn four_workers_keep_the_limit_while_they_come_and_one_is_killed() {
    for seed in 0..4 {
        fastrand::seed(seed);
        let mut fleet = Simulation::new("50M");
        for name in 0..4 {
            fleet.join(name).await;
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..1500))).await;
        }
        fleet.go(60 + seed).await;
        fleet.kill(fastrand::usize(0..4)).await;
        fleet.go(70).await;
        fleet.join(9).await;
        fleet.go(80).await;
        fleet.assert_within(0..fleet.seconds.len() - 60, LIMIT);
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_leaves_its_share_to_the_others() {
    let mut fleet = Simulation::new("50M");
    for name in 0..3 {
        fleet.join(name).await;
    }
    fleet.go(30).await;
    // It lives on, and has nothing more to send.
    fleet.workers.get_mut(&0).unwrap().tasks.shutdown().await;
    fleet.go(80).await;
    fleet.assert_within(0..50, LIMIT);
}

#[tokio::test(start_paused = true)]
async fn a_command_is_in_force_within_a_minute_for_all() {
    let mut fleet = Simulation::new("off");
    for name in 0..4 {
        fleet.join(name).await;
    }
    fleet.go(5).await;
    assert!(fleet.sent() > 5 * LIMIT, "no limit: {}", fleet.sent());
    let mut control = Control::default();
    control.source.bandwidth = Some("50M".to_owned());
    lock(&fleet.state.board).insert(CONTROL.to_owned(), control.text());
    fleet.go(90).await;
    // Nobody has looked since longer than ten seconds.
    fleet.assert_within(20..30, LIMIT);
    control.source.bandwidth = Some("off".to_owned());
    lock(&fleet.state.board).insert(CONTROL.to_owned(), control.text());
    fleet.go(15).await;
    assert!(fleet.seconds.last().unwrap() > &(3 * LIMIT), "{:?}", fleet.seconds.last());
    control.paused = Some(Pause { why: "so".to_owned(), by_budget: false, since: 0 });
    lock(&fleet.state.board).insert(CONTROL.to_owned(), control.text());
    fleet.go(15).await;
    assert!(fleet.workers.values().all(|worker| worker.throttle.is_paused()));
}

#[tokio::test(start_paused = true)]
async fn while_the_table_is_out_the_last_shares_stay() {
    let mut fleet = Simulation::new("50M");
    for name in 0..4 {
        fleet.join(name).await;
    }
    fleet.go(30).await;
    fleet.state.is_out.store(true, Ordering::Relaxed);
    fleet.go(120).await;
    fleet.state.is_out.store(false, Ordering::Relaxed);
    fleet.go(80).await;
    fleet.assert_within(0..170, LIMIT);
}

/// Promise 7.
#[tokio::test(start_paused = true)]
async fn a_table_that_never_answers_delays_the_end_by_seconds_only() {
    let mut fleet = Simulation::new("50M");
    fleet.join(0).await;
    fleet.state.hangs.store(true, Ordering::Relaxed);
    // A look has begun when it leaves.
    fleet.go(30).await;
    let membership = fleet.workers.get_mut(&0).unwrap().membership.take().unwrap();
    let began = Instant::now();
    membership.leave().await;
    assert!(began.elapsed() <= FAREWELL, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_it_costs_is_a_request_for_each_look() {
    let mut fleet = Simulation::new("50M");
    for name in 0..4 {
        fleet.join(name).await;
    }
    let joined = fleet.state.asked.load(Ordering::Relaxed);
    fleet.go(60).await;
    let asked = fleet.state.asked.load(Ordering::Relaxed) - joined;
    assert!((116..=124).contains(&asked), "{asked} requests in a minute");
    let text: usize = lock(&fleet.state.board).values().map(Vec::len).sum();
    assert!(text < 1024, "four processes are one write unit: {text} bytes");
}

#[tokio::test(start_paused = true)]
async fn a_used_up_budget_pauses_all_and_resume_grants_it_again() {
    let simulation = Simulation::new("off");
    let config = LimitsConfig { max_bytes: Some(10 * MIB), ..LimitsConfig::default() };
    let terms = [0, 1].map(|name| simulation.terms(name, config.clone()));
    let throttles = terms.each_ref().map(|terms| Arc::clone(&terms.throttles[0]));
    let mut members = Vec::new();
    for terms in terms {
        members.push(Fleet::join(terms).await.spawn());
    }
    let spend = |at: usize, bytes: u64| drop(throttles[at].bytes(bytes as usize));
    spend(0, 4 * MIB);
    spend(1, 5 * MIB);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!throttles[0].is_paused() && !throttles[1].is_paused());
    spend(0, MIB);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(throttles[0].is_paused() && throttles[1].is_paused());
    let mut control = Control::parse(lock(&simulation.state.board).get(CONTROL));
    let pause = control.paused.take().unwrap();
    assert!(pause.by_budget && pause.why.starts_with("MaxBytes = 10485760"), "{}", pause.why);
    control.spent.bytes = 10 * MIB;
    lock(&simulation.state.board).insert(CONTROL.to_owned(), control.text());
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!throttles[0].is_paused() && !throttles[1].is_paused());
    for member in members {
        member.leave().await;
    }
    let left = lock(&simulation.state.board).clone();
    assert!(!left.keys().any(|part| part.starts_with(MEMBER)), "{:?}", left.keys());
    assert_eq!(past(&left).source.bytes(), 10 * MIB);
    // The next run begins at zero, with what the commands have said.
    control.source.bandwidth = Some("1M".to_owned());
    control.paused = Some(pause);
    lock(&simulation.state.board).insert(CONTROL.to_owned(), control.text());
    begin_anew(&*simulation.state, &board_of_runs()).await.unwrap();
    let left = lock(&simulation.state.board).clone();
    control = Control::parse(left.get(CONTROL));
    assert_eq!((past(&left), control.paused), (Counts::default(), None));
    assert_eq!(control.source.bandwidth.as_deref(), Some("1M"));
}
