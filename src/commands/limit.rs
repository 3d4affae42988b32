//! `limit`, `pause` and `resume`: change what the fleet may do, while it runs.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::{Exit, print};
use crate::cli::{LimitArgs, PauseArgs};
use crate::config::timetable::{RateUnit, Timetable};
use crate::config::{Config, LimitsConfig, StateBackend};
use crate::error::{Error, Result};
use crate::limits::beat::{Beat, Counts};
use crate::limits::control::{Control, Pause, SideControl, Spent, rates};
use crate::limits::fleet::{rate_in_words, unix_now};
use crate::limits::view::past;
use crate::limits::{CONTROL, MEMBER, board_of_queue, board_of_runs};
use crate::record::sqlite::SqliteRecords;
use crate::record::{Board, BoardChange, NoteKey, RecordStore};
use crate::sqlite::Database;
use crate::store::Side;
use crate::wiring;

/// Others may write the control at the same moment; each time it is read and changed again.
const TRIES: usize = 10;
/// A process whose part is older than this many of its intervals, and a minute, has ended.
const MISSED: u64 = 3;

/// A fleet, wherever its board is.
pub(super) struct Place {
    pub(super) state: Arc<dyn RecordStore>,
    pub(super) key: NoteKey,
    /// In words.
    pub(super) name: String,
}

impl Place {
    /// The fleets that the configuration means: that of the queue, and that of the `run`s on the
    /// SQLite file in this folder. Without an ini, only the runs are meant if there is a file.
    pub(super) async fn find(config: &Config) -> Result<Vec<Self>> {
        let mut places = Vec::new();
        let path = &config.backend.path;
        let is_embedded = config.backend.state == StateBackend::Embedded;
        if path.exists() {
            let database = Database::open(path).await?;
            let state: Arc<dyn RecordStore> = Arc::new(SqliteRecords::new(&database));
            let mut fleets = vec![(board_of_runs(), format!("the runs on {}", path.display()))];
            if is_embedded {
                fleets.push((
                    board_of_queue(&config.basic.sqs_queue_name),
                    format!("the workers on {}", path.display()),
                ));
            }
            for (key, name) in fleets {
                let place = Self { state: Arc::clone(&state), key, name };
                // A board without parts: nobody has ever been there.
                if !place.read().await?.is_empty() {
                    places.push(place);
                }
            }
        }
        if !is_embedded && (places.is_empty() || config.file.is_some()) {
            let (queue, table) = (&config.basic.sqs_queue_name, &config.basic.table_queue_name);
            let name = format!("the fleet of queue {queue}, table {table}");
            let (state, key) = (wiring::state(config).await?, board_of_queue(queue));
            places.push(Self { state, key, name });
        }
        match places.is_empty() {
            true => Err(Error::usage(format!(
                "there is nothing to limit: no run and no worker has ever used {}",
                path.display()
            ))),
            false => Ok(places),
        }
    }

    /// The board as it is.
    pub(super) async fn read(&self) -> Result<Board> {
        let nothing = BoardChange::default();
        let read = wiring::first(|| self.state.board(&self.key, &nothing)).await?;
        Ok(read.unwrap_or_default())
    }

    /// Changes the control; nothing that another command has said at the same time is lost.
    async fn change(&self, change: impl Fn(&mut Control, &Board)) -> Result<Board> {
        for _ in 0..TRIES {
            let board = self.read().await?;
            let mut control = Control::parse(board.get(CONTROL));
            change(&mut control, &board);
            let written = BoardChange {
                set: vec![(CONTROL.to_owned(), control.text())],
                only_if: Some((CONTROL.to_owned(), board.get(CONTROL).cloned())),
                ..BoardChange::default()
            };
            if let Some(board) = wiring::first(|| self.state.board(&self.key, &written)).await? {
                return Ok(board);
            }
        }
        Err(Error::new(
            crate::error::ErrorKind::Unavailable,
            format!("{}: others change the limits at the same moment, try again", self.name),
        ))
    }
}

/// What is in force, for `--json`.
#[derive(Debug, Serialize)]
struct InForce {
    /// Which fleet.
    fleet: String,
    /// Processes that live.
    processes: usize,
    /// Nothing new begins.
    paused: bool,
    /// Why.
    pause_reason: Option<String>,
    source: SideInForce,
    destination: SideInForce,
    /// Seconds until every process has heard of a change.
    in_force_within_seconds: u64,
}

#[derive(Debug, Serialize)]
struct SideInForce {
    /// The timetable of bytes a second.
    bandwidth: String,
    /// Now, in bytes a second; none: no limit.
    bandwidth_now: Option<u64>,
    /// The timetable of requests a second.
    requests: String,
    /// Now; none: no limit.
    requests_now: Option<u64>,
}

impl InForce {
    fn of(place: &Place, board: &Board, config: &LimitsConfig) -> Self {
        let control = Control::parse(board.get(CONTROL));
        let limits = control.limits(config);
        let now = rates(&limits, SystemTime::now());
        let side = |at: usize| SideInForce {
            bandwidth: limits[at].bandwidth.to_string(),
            bandwidth_now: now[2 * at],
            requests: limits[at].requests.to_string(),
            requests_now: now[2 * at + 1],
        };
        let living: Vec<Beat> = living(board).collect();
        Self {
            fleet: place.name.clone(),
            processes: living.len(),
            paused: control.paused.is_some(),
            pause_reason: control.paused.map(|pause| pause.why),
            source: side(0),
            destination: side(1),
            in_force_within_seconds: living.iter().map(|beat| beat.every).max().unwrap_or(0),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{}: {}\n", self.fleet, processes(self.processes));
        for (name, side) in [("source", &self.source), ("destination", &self.destination)] {
            for (what, is_bytes, table, now) in [
                ("bandwidth", true, &side.bandwidth, side.bandwidth_now),
                ("requests", false, &side.requests, side.requests_now),
            ] {
                let now = rate_in_words(is_bytes, now);
                let note =
                    if table.contains([' ', ',']) { format!(" ({table})") } else { String::new() };
                let _ = writeln!(text, "  {name:<11} {what:<9} {now}{note}");
            }
        }
        match &self.pause_reason {
            Some(why) => {
                let _ = write!(text, "  paused: {why}; to go on: s3-migration resume");
            }
            None => text.push_str("  not paused"),
        }
        if self.processes > 0 {
            let seconds = self.in_force_within_seconds;
            let _ = write!(text, "\n  every process knows of a change within {seconds} s");
        }
        text
    }
}

fn processes(count: usize) -> String {
    match count {
        0 => "no process is alive; these limits apply to the next one that starts".to_owned(),
        1 => "1 process is alive".to_owned(),
        count => format!("{count} processes are alive"),
    }
}

/// The processes that have given a sign of life lately, by the clocks of this machine and theirs.
fn living(board: &Board) -> impl Iterator<Item = Beat> {
    let now = unix_now();
    let members = board.iter().filter(|(part, _)| part.starts_with(MEMBER));
    let beats = members.filter_map(|(_, text)| Beat::parse(text));
    beats.filter(move |beat| beat.at + MISSED * beat.every + 60 >= now)
}

fn total(board: &Board) -> Counts {
    let members = board.iter().filter(|(part, _)| part.starts_with(MEMBER));
    let counts = members.filter_map(|(_, text)| Beat::parse(text)).map(|beat| beat.counts);
    counts.fold(past(board), Counts::plus)
}

/// Pauses one fleet.
pub(super) async fn pause_fleet(place: &Place) -> Result<()> {
    place.change(|control, _| paused(control)).await.map(drop)
}

/// Lets one fleet go on.
pub(super) async fn resume_fleet(place: &Place) -> Result<()> {
    place.change(resumed).await.map(drop)
}

/// Sets the bandwidth of both sides of one fleet.
pub(super) async fn limit_fleet(place: &Place, rate: &str) -> Result<()> {
    let rate = text_of(Some(rate), RateUnit::Bytes)?.flatten();
    let set = |control: &mut Control, _: &Board| {
        control.source.bandwidth.clone_from(&rate);
        control.destination.bandwidth.clone_from(&rate);
    };
    place.change(set).await.map(drop)
}

fn paused(control: &mut Control) {
    // A budget that is used up stays the reason.
    let (why, since) = ("the command pause".to_owned(), unix_now());
    control.paused.get_or_insert(Pause { why, by_budget: false, since });
}

fn resumed(control: &mut Control, board: &Board) {
    if control.paused.take().is_some_and(|pause| pause.by_budget) {
        control.spent = Spent::from(total(board));
    }
}

pub(super) async fn limit(config: &Config, args: &LimitArgs) -> Result<Exit> {
    let bandwidth = text_of(args.bandwidth.as_deref(), RateUnit::Bytes)?;
    let requests = text_of(args.requests.as_deref(), RateUnit::Requests)?;
    let sides = match args.side {
        None => vec![Side::Source, Side::Destination],
        Some(side) => vec![side.of()],
    };
    let says_nothing = bandwidth.is_none() && requests.is_none();
    change(config, args.json, |control, _| {
        for side in &sides {
            let SideControl { bandwidth: of_bytes, requests: of_requests } = control.side(*side);
            if let Some(bandwidth) = &bandwidth {
                of_bytes.clone_from(bandwidth);
            }
            if let Some(requests) = &requests {
                of_requests.clone_from(requests);
            }
        }
        !says_nothing
    })
    .await
}

pub(super) async fn pause(config: &Config, args: &PauseArgs) -> Result<Exit> {
    change(config, args.json, |control, _| {
        paused(control);
        true
    })
    .await
}

pub(super) async fn resume(config: &Config, args: &PauseArgs) -> Result<Exit> {
    change(config, args.json, |control, board| {
        resumed(control, board);
        true
    })
    .await
}

/// Changes the control of every fleet that is meant, if there is anything to change, and prints
/// what is in force.
async fn change(
    config: &Config,
    json: bool,
    change: impl Fn(&mut Control, &Board) -> bool,
) -> Result<Exit> {
    let mut in_force = Vec::new();
    for place in Place::find(config).await? {
        let mut board = place.read().await?;
        if change(&mut Control::parse(board.get(CONTROL)), &board) {
            let changed = |control: &mut Control, board: &Board| {
                change(control, board);
            };
            board = place.change(changed).await?;
        }
        in_force.push(InForce::of(&place, &board, &config.limits));
    }
    print(json, &in_force, || in_force.iter().map(InForce::text).collect::<Vec<_>>().join("\n"))?;
    Ok(Exit::Done)
}

/// What the control should hold: `Some(None)` is the configuration's limit.
fn text_of(given: Option<&str>, unit: RateUnit) -> Result<Option<Option<String>>> {
    match given {
        None => Ok(None),
        Some(text) if text.eq_ignore_ascii_case("default") => Ok(Some(None)),
        Some(text) => {
            let table = Timetable::parse(text, unit).map_err(|wrong| {
                Error::usage(format!("{wrong}; allowed: default, {}", Timetable::allowed(unit)))
            })?;
            Ok(Some(Some(table.to_string())))
        }
    }
}
