//! What moving objects costs: `cargo bench --profile dist --bench transfer -- [SCENARIO...] [--scale 0.1]
//! [--set KEY=VALUE] [--tool NAME] [--program FILE]`. See docs/benchmark.md.
//!
//! The endpoints run in a process of their own (this very program, in another mode), the migration is
//! the real binary with a real ini. Other tools, if they are installed, run on the same endpoints.
//! Nothing is asserted about time: this prints, and fails only if a tool does not move everything.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::bench::measure::{self, Cost};
use testkit::bench::null_endpoint::{self, SINK, SOURCE, Serve};
use testkit::bench::served::Served;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const KEY: (&str, &str) = ("BENCHKEY", "not-a-secret-it-opens-loopback-only");
/// `MaxMemory` of the migration, MiB.
const MAX_MEMORY: u64 = 256;
/// Connections in each direction that the slow line's lower bound counts on: the product of the
/// defaults of `MaxParallelFile` and `MaxThread`.
const CONNECTIONS: f64 = 100.0;

/// What is moved, and over which line.
struct Scenario {
    name: &'static str,
    objects: u64,
    size: u64,
    latency: Duration,
    /// Bits a second of each connection in each direction.
    bits: Option<u64>,
    /// Flags under which rclone does as much at once.
    rclone: &'static str,
    /// And those that it has had since 1.64 only.
    rclone_1_64: &'static str,
}

const FAST: Duration = Duration::ZERO;
const SCENARIOS: [Scenario; 4] = [
    Scenario {
        name: "large",
        objects: 4,
        size: GIB,
        latency: FAST,
        bits: None,
        rclone: "--transfers 4",
        rclone_1_64: "",
    },
    Scenario {
        name: "medium",
        objects: 400,
        size: 8 * MIB,
        latency: FAST,
        bits: None,
        rclone: "--transfers 16",
        rclone_1_64: "",
    },
    Scenario {
        name: "small",
        objects: 20_000,
        size: 4 * KIB,
        latency: FAST,
        bits: None,
        rclone: "--transfers 16 --checkers 16",
        rclone_1_64: "",
    },
    Scenario {
        name: "slow",
        objects: 5,
        size: 200 * MIB,
        latency: Duration::from_millis(150),
        bits: Some(20_000_000),
        rclone: "--transfers 5 --s3-chunk-size 5Mi --s3-upload-concurrency 20",
        rclone_1_64: "--multi-thread-cutoff 5Mi --multi-thread-streams 20 \
                      --multi-thread-chunk-size 5Mi",
    },
];

/// What was asked for on the command line.
struct Asked {
    scenarios: Vec<String>,
    tools: Vec<String>,
    scale: f64,
    /// Lines for `[Mode]`, as `MaxThread = auto`.
    settings: Vec<String>,
    /// The migration's binary.
    program: String,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("serve", numbers)) = arguments.split_first().map(|(a, b)| (a.as_str(), b)) {
        null_endpoint::serve(served(numbers)?);
        return Ok(());
    }
    let asked = read(&arguments)?;
    println!("{}", measure::machine());
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    for scenario in &SCENARIOS {
        if !asked.scenarios.is_empty() && !asked.scenarios.iter().any(|s| s == scenario.name) {
            continue;
        }
        let objects = ((scenario.objects as f64 * asked.scale).ceil() as u64).max(1);
        let scenario = Scenario { objects, ..*scenario };
        println!("{}", scenario.describe());
        for (tool, version) in tools(&asked) {
            eprintln!("{} with {tool} ...", scenario.name);
            match measured(&scenario, &tool, &version, &asked) {
                Ok(row) => rows.push(row),
                Err(error) => failures.push(format!("{} with {tool}: {error}", scenario.name)),
            }
        }
    }
    println!("\n{HEADER}");
    rows.iter().for_each(|row| println!("{row}"));
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}

fn read(arguments: &[String]) -> Result<Asked> {
    let mut asked = Asked {
        scenarios: vec![],
        tools: vec![],
        scale: 1.0,
        settings: vec![],
        program: env!("CARGO_BIN_EXE_s3-migration").to_owned(),
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            // What cargo adds.
            "--bench" => {}
            "--scale" => asked.scale = value()?.parse()?,
            "--set" => asked.settings.push(value()?.replacen('=', " = ", 1)),
            "--program" => asked.program = value()?.clone(),
            "--tool" => asked.tools.push(value()?.clone()),
            name if SCENARIOS.iter().any(|scenario| scenario.name == name) => {
                asked.scenarios.push(name.to_owned());
            }
            other => {
                let names = SCENARIOS.map(|scenario| scenario.name).join(", ");
                return Err(format!(
                    "{other} is not understood; scenarios: {names}; options: --scale FACTOR, \
                     --set KEY=VALUE, --tool s3-migration|rclone|s5cmd, --program FILE"
                )
                .into());
            }
        }
    }
    Ok(asked)
}

fn served(numbers: &[String]) -> Result<Serve> {
    let number = |at: usize| -> Result<u64> { Ok(numbers.get(at).ok_or("too few")?.parse()?) };
    Ok(Serve {
        objects: number(0)?,
        size: number(1)?,
        latency: Duration::from_millis(number(2)?),
        rate: Some(number(3)?).filter(|rate| *rate > 0),
    })
}

impl Scenario {
    fn bytes(&self) -> u64 {
        self.objects * self.size
    }

    fn describe(&self) -> String {
        let (count, size) = (self.objects, human(self.size));
        let mut text = format!("- {}: {count} x {size}", self.name);
        if let Some(bits) = self.bits {
            let bound = self.bytes() as f64 * 8.0 / (bits as f64 * CONNECTIONS);
            text.push_str(&format!(
                "; {} ms before each answer and for each new connection, {} Mbit/s a connection in \
                 each direction: {CONNECTIONS} connections carry it in {bound:.1} s",
                self.latency.as_millis(),
                bits / 1_000_000,
            ));
        }
        text
    }
}

fn human(bytes: u64) -> String {
    match bytes {
        GIB.. => format!("{} GiB", bytes / GIB),
        MIB.. => format!("{} MiB", bytes / MIB),
        _ => format!("{} KiB", bytes / KIB),
    }
}

/// Source and destination, for one scenario.
fn served_for(scenario: &Scenario) -> Result<Served> {
    let rate = scenario.bits.unwrap_or_default() / 8;
    let latency = scenario.latency.as_millis() as u64;
    let numbers = [scenario.objects, scenario.size, latency, rate].map(|n| n.to_string());
    Served::start(std::iter::once("serve".to_owned()).chain(numbers), 2)
}

/// Every tool that is there, with its version.
fn tools(asked: &Asked) -> Vec<(String, String)> {
    let all = [
        ("s3-migration", asked.program.as_str(), "--version"),
        ("rclone", "rclone", "version"),
        ("s5cmd", "s5cmd", "version"),
    ];
    let wanted = |name: &str| asked.tools.is_empty() || asked.tools.iter().any(|tool| tool == name);
    let there = |(name, program, argument): (&str, &str, &str)| {
        let output = Command::new(program).arg(argument).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.split_whitespace().find(|w| w.contains('.')).unwrap_or_default();
        Some((name.to_owned(), version.trim_start_matches('v').to_owned()))
    };
    all.into_iter().filter(|(name, ..)| wanted(name)).filter_map(there).collect()
}

fn measured(scenario: &Scenario, tool: &str, version: &str, asked: &Asked) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let endpoints = served_for(scenario)?;
    let mut command = match tool {
        "rclone" => rclone(&endpoints, scenario, version),
        "s5cmd" => s5cmd(&endpoints, folder.path()),
        _ => ours(&endpoints, folder.path(), asked)?,
    };
    command.env("AWS_ACCESS_KEY_ID", KEY.0).env("AWS_SECRET_ACCESS_KEY", KEY.1);
    command.env("AWS_REGION", "us-east-1").env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("HOME", folder.path()).env("TMPDIR", folder.path());
    let log = folder.path().join("output");
    let cost = measure::run(&mut command, File::create(&log)?, None)?;
    let counts: BTreeMap<String, u64> = serde_json::from_str(&endpoints.get("/_counts")?)?;
    let arrived = ["PutObject", "CompleteMultipartUpload"].map(|op| counts.get(op).unwrap_or(&0));
    if !cost.fine || arrived.into_iter().sum::<u64>() < scenario.objects {
        let said = fs::read_to_string(log)?;
        return Err(format!("{tool} did not move everything: {counts:?}\n{said}").into());
    }
    Ok(row(scenario, &format!("{tool} {version}"), tool == "s3-migration", &cost, &counts))
}

fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command
}

fn ours(endpoints: &Served, folder: &Path, asked: &Asked) -> Result<Command> {
    let ini = folder.join("bench.ini");
    let side = |name: &str, at| {
        format!("[{name}]\nEndpoint = {}\nRegion = us-east-1\n", endpoints.url(at))
    };
    let text = format!(
        "[Mode]\nMaxMemory = {MAX_MEMORY}\n{}\n{}{}[Backend]\nPath = {}\n",
        asked.settings.join("\n"),
        side("Source", 0),
        side("Destination", 1),
        folder.join("bench.sqlite").display(),
    );
    fs::write(&ini, text)?;
    let mut command = clean(&asked.program);
    command.arg("--config").arg(ini).arg("run");
    command.args([format!("s3://{SOURCE}"), format!("s3://{SINK}")]);
    Ok(command)
}

fn rclone(endpoints: &Served, scenario: &Scenario, version: &str) -> Command {
    let mut command = clean("rclone");
    for (remote, at) in [("FROM", 0), ("TO", 1)] {
        for (name, value) in [
            ("TYPE", "s3"),
            ("PROVIDER", "Other"),
            ("ENV_AUTH", "true"),
            ("REGION", "us-east-1"),
            ("FORCE_PATH_STYLE", "true"),
            ("NO_CHECK_BUCKET", "true"),
            ("LIST_VERSION", "2"),
            ("ENDPOINT", &endpoints.url(at)),
        ] {
            command.env(format!("RCLONE_CONFIG_{remote}_{name}"), value);
        }
    }
    command.args(["--config", "", "copy"]).args(scenario.rclone.split_whitespace());
    let minor = version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
    if minor.is_some_and(|minor| minor >= 64) {
        command.args(scenario.rclone_1_64.split_whitespace());
    }
    command.args([format!("from:{SOURCE}"), format!("to:{SINK}")]);
    command
}

/// It has one set of credentials and one endpoint: down to a folder, and up from it.
fn s5cmd(endpoints: &Served, folder: &Path) -> Command {
    let mut command = clean("sh");
    let script = "s5cmd --endpoint-url \"$FROM\" cp \"s3://$SOURCE/*\" \"$DIR/\" > /dev/null && \
                  s5cmd --endpoint-url \"$TO\" cp \"$DIR/\" \"s3://$SINK/\" > /dev/null";
    command.args(["-c", script]).env("FROM", endpoints.url(0)).env("TO", endpoints.url(1));
    command.env("SOURCE", SOURCE).env("SINK", SINK).env("DIR", folder.join("objects"));
    command
}

const HEADER: &str = "\
| scenario | tool | wall s | CPU-s | CPU-s per GiB | CPU-ms per object | peak MiB | MaxMemory MiB | S3 requests per object | queue and table requests per object |
|---|---|---|---|---|---|---|---|---|---|";

fn row(
    scenario: &Scenario,
    tool: &str,
    is_ours: bool,
    cost: &Cost,
    counts: &BTreeMap<String, u64>,
) -> String {
    let objects = scenario.objects as f64;
    let total = counts.values().sum::<u64>() as f64 / objects;
    let mut by_count: Vec<_> = counts.iter().collect();
    by_count.sort_by(|a, b| b.1.cmp(a.1));
    let operations = by_count.iter().map(|(name, count)| {
        let each = **count as f64 / objects;
        if each < 0.01 { format!("{name} {count} in all") } else { format!("{name} {each:.2}") }
    });
    let operations = operations.collect::<Vec<_>>().join(", ");
    let per_gib = cost.cpu / (scenario.bytes() as f64 / GIB as f64);
    // SQLite is a file: nothing is asked over a line.
    let (memory, queue) = match is_ours {
        true => (MAX_MEMORY.to_string(), "none: SQLite"),
        false => ("-".to_owned(), "-"),
    };
    // It is a shell's child, and only the shell is looked at.
    let peak = match tool.starts_with("s5cmd") {
        true => "not seen".to_owned(),
        false => (cost.peak / MIB).to_string(),
    };
    format!(
        "| {} | {tool} | {:.1} | {:.2} | {per_gib:.2} | {:.3} | {peak} | {memory} | {total:.2}: {operations} \
         | {queue} |",
        scenario.name,
        cost.wall,
        cost.cpu,
        cost.cpu * 1000.0 / objects,
    )
}
