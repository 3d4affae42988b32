//! What MD5 costs: `cargo run --release --example costs -- lanes [MIB_PER_SECOND]` hashes 4 GiB as 1, 4, 8
//! and 16 streams at once, each no faster than the rate if one is given, and prints the CPU
//! seconds (user and system) of this process for a GiB, and the elapsed ones.

use std::time::{Duration, Instant};

use bytes::Bytes;
use s3_migration::digest;
use s3_migration::digest::lanes::Lanes;
use tokio::task::JoinSet;

const GIB: usize = 1 << 30;
const TOTAL: usize = 4 * GIB;
const PIECE: usize = 64 * 1024;

#[tokio::main(worker_threads = 2)]
pub async fn run(rate: Option<String>) {
    let rate: Option<usize> = rate.and_then(|text| text.parse().ok());
    let bytes: Bytes = std::iter::repeat_with(|| fastrand::u8(..)).take(16 << 20).collect();
    let mut hasher = digest::Md5Hasher::default();
    let (cpu, start) = (cpu_seconds(), Instant::now());
    (0..GIB / bytes.len()).for_each(|_| hasher.update(&bytes));
    let expected = (hasher.finish(), cpu_seconds() - cpu, start.elapsed());
    println!("md-5 {:.2} CPU-s/GiB, {:.2} s", expected.1, expected.2.as_secs_f64());
    for streams in [1, 2, 3, 4, 6, 8, 12, 16, 32] {
        let (cpu, start) = (cpu_seconds(), Instant::now());
        let lanes = Lanes::new();
        let mut tasks = JoinSet::new();
        for _ in 0..streams {
            let (mut hasher, bytes) = (lanes.hasher(), bytes.clone());
            tasks.spawn(async move {
                for piece in 0..TOTAL / PIECE / streams {
                    let at = piece * PIECE % bytes.len();
                    hasher.push(bytes.slice(at..at + PIECE)).await;
                    if let Some(rate) = rate {
                        let due =
                            Duration::from_secs_f64((piece * PIECE) as f64 / (rate << 20) as f64);
                        tokio::time::sleep(due.saturating_sub(start.elapsed())).await;
                    }
                }
                hasher.finish().await.expect("a digest")
            });
        }
        tasks.join_all().await;
        let (spent, elapsed) = ((cpu_seconds() - cpu) * GIB as f64 / TOTAL as f64, start.elapsed());
        println!("{streams} streams: {spent:.2} CPU-s/GiB, {:.2} s", elapsed.as_secs_f64());
    }
}

/// User and system time of this process so far (proc(5), clock ticks of 10 ms).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(2).filter_map(|text| text.parse().ok()).collect();
    ticks.iter().sum::<f64>() / 100.0
}
