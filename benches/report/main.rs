//! What a report costs: `cargo bench --profile dist --bench report -- [--records N] [--program FILE]`.
//! See docs/benchmark.md.
//!
//! The records are made up and put into an SQLite file by the program's own library; then the real
//! binary writes a report of them and checks it. Nothing is asserted about time: this prints, and
//! fails only if a line is missing or the check fails.

use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use s3_migration::object::{Etag, ObjectId};
use s3_migration::record::sqlite::SqliteRecords;
use s3_migration::record::{Attempts, JobStatus, Outcome, Proven, RecordId};
use s3_migration::sqlite::Database;
use testkit::bench::measure::{self, Cost};
use testkit::process::binary;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Records in a transaction.
const BATCH: u64 = 10_000;
/// One object in this many has failed.
const FAILED: u64 = 1000;
const MIB: u64 = 1024 * 1024;

fn main() -> Result<()> {
    let (mut records, mut program) = (5_000_000, binary());
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
        match argument.as_str() {
            "--records" => records = value.parse()?,
            "--program" => program = value.into(),
            _ => return Err(format!("unknown: {argument}").into()),
        }
    }
    println!("{}", measure::machine());
    let folder = tempfile::tempdir()?;
    tokio::runtime::Runtime::new()?.block_on(fill(folder.path(), records))?;
    println!("| {records} records | seconds | CPU seconds | peak memory, MiB |\n|---|---|---|---|");
    for (what, arguments) in [
        ("all records", &["report", "--output", "all", "--json"][..]),
        ("one pair", &["report", "s3://from", "s3://to", "--output", "pair", "--json"]),
        ("`--check`", &["report", "--check", "all", "--json"]),
    ] {
        let output = folder.path().join("output");
        let mut command = Command::new(&program);
        command.args(arguments).current_dir(folder.path());
        let Cost { wall, cpu, peak, fine } =
            measure::run(&mut command, File::create(&output)?, None)?;
        let text = std::fs::read_to_string(&output)?;
        if !fine || !text.contains(&format!("\"lines\":{records}")) {
            return Err(format!("{what}: {text}").into());
        }
        println!("| {what} | {wall:.1} | {cpu:.1} | {} |", peak / MIB);
    }
    let packed = size(&folder.path().join("all"))?;
    println!(
        "\nthe report has {} MiB, {:.1} bytes for each object",
        packed / MIB,
        packed as f64 / records as f64
    );
    Ok(())
}

/// Bytes of all files below a folder.
fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => size(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(bytes)
}

async fn fill(folder: &Path, records: u64) -> Result<()> {
    let database = Database::open(folder.join("s3_migration.sqlite")).await?;
    let store = SqliteRecords::new(&database);
    for first in (0..records).step_by(BATCH as usize) {
        let last = records.min(first + BATCH);
        store.finish(&(first..last).map(outcome).collect::<Vec<_>>()).await?;
    }
    Ok(())
}

fn outcome(n: u64) -> Outcome {
    let key = format!("photos/{:04}/{:02}/image-{n:012}.jpg", 1990 + n / 200_000 % 35, n / 7 % 12);
    let etag = fastrand::Rng::with_seed(n).u128(..);
    let etag = Some(Etag::new(format!("{etag:032x}")));
    let start = UNIX_EPOCH + Duration::from_millis(1_767_225_600_000 + n * 2);
    let failed = n.is_multiple_of(FAILED);
    let (src, des) = (ObjectId::new("from", &key), ObjectId::new("to", &key));
    Outcome {
        id: RecordId { src, des },
        size: n * 7919 % (3 * MIB),
        version: None,
        etag: etag.clone().filter(|_| !failed),
        status: if failed { JobStatus::Failed } else { JobStatus::Done },
        instance: format!("i-{:017x}-4711", n % 8),
        lease: None,
        start_time: start,
        end_time: start + Duration::from_millis(37),
        error: failed.then(|| format!("GetObject from/{key}: AccessDenied; allow s3:GetObject")),
        deleted: false,
        proven: (!failed).then_some(Proven::Source),
        written: etag.filter(|_| !failed),
        order: None,
    }
}
