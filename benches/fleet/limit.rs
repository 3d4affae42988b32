//! Whether a fleet keeps to its limit, with a worker killed and the limit changed while it works.

use std::time::{Duration, Instant};

use testkit::ministack::Ministack;

use crate::ground::{Ground, Worker};
use crate::{Load, MIB, Result};

/// More than all of it can move.
pub const LIMIT: Load = Load { name: "limit", objects: 480, size: 16 * MIB };
const WORKERS: usize = 4;
/// MiB a second: by the configuration, and by the command `limit`.
const LIMITS: [u64; 2] = [20, 10];
/// Between two readings of the bytes that have arrived.
const LOOK: Duration = Duration::from_secs(1);
/// Seconds that are left out: the start, and the time in which a command comes into force.
const START: f64 = 20.0;
const COMMAND: f64 = 60.0;
/// Seconds of each step.
const STEP: f64 = 100.0;
/// Seconds over which the limit must hold, and over which rates are printed.
const MINUTE: f64 = 60.0;
const SHORT: f64 = 10.0;

/// What has arrived, by the second.
struct Meter<'a> {
    ground: &'a Ground,
    began: Instant,
    /// Seconds since the start, and the bytes that had arrived.
    seen: Vec<(f64, u64)>,
}

impl Meter<'_> {
    fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Reads until this many seconds after the start.
    async fn until(&mut self, seconds: f64) -> Result<()> {
        while self.now() < seconds {
            tokio::time::sleep(LOOK).await;
            self.seen.push((self.now(), self.ground.received()?));
        }
        Ok(())
    }

    /// MiB a second over the first `length` seconds from each reading between `from` and `to`, if
    /// they end before `to`.
    fn rates(&self, from: f64, to: f64, length: f64) -> Vec<f64> {
        let within = self.seen.iter().filter(|(at, _)| (from..=to).contains(at));
        let rate = |&(at, bytes): &(f64, u64)| {
            let end = self.seen.iter().find(|(end, _)| *end >= at + length)?;
            (end.0 <= to).then(|| (end.1 - bytes) as f64 / MIB as f64 / (end.0 - at))
        };
        within.filter_map(rate).collect()
    }

    /// A row: the minutes of these seconds, against the limit.
    fn print(&self, what: &str, from: f64, to: f64, limit: u64) {
        let minutes = self.rates(from, to, MINUTE);
        let lowest = minutes.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = minutes.iter().copied().fold(0.0, f64::max);
        let off = |rate: f64| (rate / limit as f64 - 1.0) * 100.0;
        let each = self.rates(from, to, SHORT);
        let each = each.iter().step_by(SHORT as usize).map(|rate| format!("{rate:.1}"));
        println!(
            "| {what} | {limit} | {lowest:.2} ({:+.1} %) | {highest:.2} ({:+.1} %) | {} |",
            off(lowest),
            off(highest),
            each.collect::<Vec<_>>().join(", "),
        );
    }
}

/// Four workers under a limit of the configuration; one is killed; then a command halves the limit.
pub async fn kept(server: &Ministack, program: &str) -> Result<()> {
    let limited = format!("BandwidthLimit = {}M\n", LIMITS[0]);
    let mut ground = Ground::new(LIMIT.objects, LIMIT.size, server, program, &limited).await?;
    // Two at once, on connections of 20 Mbit/s, would do less than the limit when one is killed.
    ground.set("MaxParallelFile", "12");
    ground.set("MaxMemory", "256");
    let mut fleet = (0..WORKERS).map(|_| ground.worker()).collect::<Result<Vec<Worker>>>()?;
    ground.until_asked("UploadPart", 1).await?;
    let mut meter = Meter { ground: &ground, began: Instant::now(), seen: vec![] };
    meter.until(START + STEP).await?;
    let killed = meter.now();
    fleet.remove(0).kill()?;
    meter.until(killed + STEP).await?;
    let changed = meter.now();
    ground.limit(LIMITS[1])?;
    meter.until(changed + COMMAND + STEP).await?;
    let end = meter.now();
    if ground.is_done()? {
        return Err("there was nothing left to do before the end".into());
    }

    println!(
        "\n{WORKERS} workers, {} objects of {} MiB, BandwidthLimit = {}M of the destination; one \
         worker killed after {killed:.0} s, `limit {}M` after {changed:.0} s\n",
        LIMIT.objects,
        LIMIT.size / MIB,
        LIMITS[0],
        LIMITS[1],
    );
    println!(
        "| minutes | limit, MiB/s | lowest, MiB/s | highest, MiB/s | each ten seconds, MiB/s |"
    );
    println!("|---|---|---|---|---|");
    meter.print("four workers", START, killed, LIMITS[0]);
    meter.print("with the kill in them or after it", killed - MINUTE, changed, LIMITS[0]);
    meter.print("a minute and more after the command", changed + COMMAND, end, LIMITS[1]);
    Ok(())
}
