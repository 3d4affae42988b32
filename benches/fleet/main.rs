//! What a fleet of workers moves, what a kill costs it, and how it keeps to a limit: `cargo bench --profile dist --bench fleet --
//! [parts|small|kills|limit...] [--program FILE]`. See docs/benchmark.md.
//!
//! The workers are real ones, each a process, on one queue and one table of ministack; source and
//! destination are those of `benches/transfer/`, over a line on which one worker can do only
//! so much. Nothing is asserted about time: this prints, and fails only if not everything arrives.

mod ground;
mod limit;

use std::error::Error;
use std::time::{Duration, Instant};

use ground::Ground;
use limit::LIMIT;
use testkit::bench::measure;
use testkit::bench::null_endpoint::{self, Serve};
use testkit::ministack::Ministack;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
/// Before each answer, and for each new connection.
const LATENCY: Duration = Duration::from_millis(50);
/// Bits a second of each connection in each direction.
const BITS: u64 = 20_000_000;
/// Sizes of the fleet.
const FLEETS: [usize; 7] = [1, 2, 3, 4, 6, 8, 12];
/// Workers of the rehearsal, and how many of them are killed at once and replaced.
const REHEARSED: (usize, usize) = (4, 2);

/// What is moved.
#[derive(Clone, Copy)]
struct Load {
    name: &'static str,
    objects: u64,
    size: u64,
}

const PARTS: Load = Load { name: "parts", objects: 48, size: 16 * MIB };
const SMALL: Load = Load { name: "small", objects: 3000, size: 4 * KIB };
/// More than a lease's length of work, so that what a kill costs is not the batch's end.
///
/// In parts of the smallest size, so that there is something to go on from.
const KILLS: Load = Load { name: "kills", objects: 80, size: 64 * MIB };
/// Parts of each of them.
const KILLED_PARTS: u64 = 13;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("serve", numbers)) = arguments.split_first().map(|(a, b)| (a.as_str(), b)) {
        null_endpoint::serve(to_serve(numbers)?);
        return Ok(());
    }
    let (wanted, program) = read(&arguments)?;
    println!("{}", measure::machine());
    println!(
        "{} ms before each answer and for each new connection, {} Mbit/s a connection in each direction",
        LATENCY.as_millis(),
        BITS / 1_000_000
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let server = Ministack::start(&[]);
    let is_wanted = |load: &Load| wanted.is_empty() || wanted.iter().any(|name| name == load.name);
    for load in [PARTS, SMALL].iter().filter(|load| is_wanted(load)) {
        runtime.block_on(throughput(load, &server, &program))?;
    }
    if is_wanted(&KILLS) {
        runtime.block_on(rehearsal(&server, &program))?;
    }
    if is_wanted(&LIMIT) {
        runtime.block_on(limit::kept(&server, &program))?;
    }
    Ok(())
}

/// The loads that were asked for, and the binary.
fn read(arguments: &[String]) -> Result<(Vec<String>, String)> {
    let (mut wanted, mut program) = (vec![], env!("CARGO_BIN_EXE_s3-migration").to_owned());
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // What cargo adds.
            "--bench" => {}
            "--program" => program = arguments.next().ok_or("--program needs a file")?.clone(),
            name if [PARTS, SMALL, KILLS, LIMIT].iter().any(|load| load.name == name) => {
                wanted.push(name.to_owned());
            }
            other => {
                return Err(format!(
                    "{other} is neither parts, small, kills, limit nor --program FILE"
                )
                .into());
            }
        }
    }
    Ok((wanted, program))
}

fn to_serve(numbers: &[String]) -> Result<Serve> {
    let number = |at: usize| -> Result<u64> { Ok(numbers.get(at).ok_or("too few")?.parse()?) };
    let (objects, size, rate) = (number(0)?, number(1)?, Some(BITS / 8));
    Ok(Serve { objects, size, latency: LATENCY, rate })
}

/// The same load by fleets of several sizes.
async fn throughput(load: &Load, server: &Ministack, program: &str) -> Result<()> {
    println!("\n{} objects of {} KiB\n", load.objects, load.size / KIB);
    println!(
        "| workers | wall s | MiB/s | objects/s | against one worker | CPU-s of all workers |"
    );
    println!("|---|---|---|---|---|---|");
    let mut one = None;
    for workers in FLEETS {
        let ground = Ground::new(load.objects, load.size, server, program, "").await?;
        let began = Instant::now();
        let mut fleet = (0..workers).map(|_| ground.worker()).collect::<Result<Vec<_>>>()?;
        ground.until_done().await?;
        let wall = began.elapsed().as_secs_f64();
        let mut cpu = 0.0;
        for worker in &mut fleet {
            cpu += worker.stop()?;
        }
        let faster = *one.get_or_insert(wall) / wall;
        println!(
            "| {workers} | {wall:.1} | {:.1} | {:.1} | {faster:.2} | {cpu:.1} |",
            (load.objects * load.size / MIB) as f64 / wall,
            load.objects as f64 / wall,
        );
    }
    Ok(())
}

/// The same load twice; the second time some workers are killed in the middle and replaced at once.
async fn rehearsal(server: &Ministack, program: &str) -> Result<()> {
    let (workers, kills) = REHEARSED;
    let calm = rehearsed(server, program, 0).await?;
    let mut shaken = rehearsed(server, program, kills).await?;
    shaken.taken.sort_by(f64::total_cmp);
    let taken: Vec<String> = shaken.taken.iter().map(|seconds| format!("{seconds:.1}")).collect();
    println!("\n{} objects of {} MiB, {workers} workers\n", KILLS.objects, KILLS.size / MIB);
    println!(
        "| kills | wall s | time lost per kill, s | from the kills to other workers, s, each object \
         in parts | parts sent again |"
    );
    println!("|---|---|---|---|---|");
    println!("| 0 | {:.1} | - | - | {} |", calm.wall, calm.again);
    let lost = (shaken.wall - calm.wall) / kills as f64;
    let Rehearsed { wall, again, .. } = shaken;
    println!("| {kills} | {wall:.1} | {lost:.1} | {} | {again} |", taken.join(", "));
    Ok(())
}

/// How a rehearsal went.
struct Rehearsed {
    /// Seconds until all was done.
    wall: f64,
    /// Seconds from the kills to the moments at which others went on.
    taken: Vec<f64>,
    /// Parts that the destination was sent more than once.
    again: u64,
}

/// One round of it, with this many kills a quarter of the way.
async fn rehearsed(server: &Ministack, program: &str, kills: usize) -> Result<Rehearsed> {
    let ground = Ground::new(KILLS.objects, KILLS.size, server, program, "").await?;
    let began = Instant::now();
    let mut fleet = (0..REHEARSED.0).map(|_| ground.worker()).collect::<Result<Vec<_>>>()?;
    // In the middle of objects: workers that began together end their objects together.
    ground.until_asked("UploadPart", KILLS.objects * KILLED_PARTS / 4).await?;
    let killed = std::time::SystemTime::now();
    for worker in fleet.drain(..kills).collect::<Vec<_>>() {
        worker.kill()?;
    }
    for _ in 0..kills {
        fleet.push(ground.worker()?);
    }
    ground.until_done().await?;
    let wall = began.elapsed().as_secs_f64();
    for worker in &mut fleet {
        worker.stop()?;
    }
    let again = ground.asked("UploadPart")? - KILLS.objects * KILLED_PARTS;
    Ok(Rehearsed { wall, taken: ground.continued_after(killed)?, again })
}
