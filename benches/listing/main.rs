//! What listing and comparing cost: `cargo bench --profile dist --bench listing -- [SCENARIO...] [--keys N]
//! [--distant-keys N] [--latency MS] [--set KEY=VALUE] [--program FILE]`. See docs/benchmark.md.
//!
//! The endpoint runs in a process of its own (this very program, in another mode) and makes its keys
//! up; the jobsender is the real binary with a real ini. Nothing is asserted about time: this
//! prints, and fails only if a comparison does not find what is there.

mod scenario;

use std::error::Error;
use std::time::Duration;

use scenario::{Outcome, Scenario, Setup};
use testkit::bench::listing::bucket::Side;
use testkit::bench::listing::endpoint;
use testkit::bench::listing::keys::Layout;
use testkit::bench::measure;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const MIB: u64 = 1024 * 1024;

const NEAR: Scenario = Scenario {
    name: "",
    layout: Layout::Flat,
    destination: Side::Destination,
    sends: false,
    distant: false,
    at_once: None,
};
/// One side at a distance: the destination is empty.
const DISTANT: Scenario = Scenario { distant: true, destination: Side::Empty, ..NEAR };
const SCENARIOS: [Scenario; 13] = [
    Scenario { name: "one-flat", destination: Side::Empty, ..NEAR },
    Scenario { name: "one-tree", destination: Side::Empty, layout: Layout::Tree, ..NEAR },
    Scenario { name: "both-flat", ..NEAR },
    Scenario { name: "both-tree", layout: Layout::Tree, ..NEAR },
    Scenario { name: "send-flat", sends: true, ..NEAR },
    Scenario { name: "distant-flat-1", at_once: Some(1), ..DISTANT },
    Scenario { name: "distant-flat-4", at_once: Some(4), ..DISTANT },
    Scenario { name: "distant-flat-16", at_once: Some(16), ..DISTANT },
    Scenario { name: "distant-flat-64", at_once: Some(64), ..DISTANT },
    Scenario { name: "distant-tree-1", at_once: Some(1), layout: Layout::Tree, ..DISTANT },
    Scenario { name: "distant-tree-4", at_once: Some(4), layout: Layout::Tree, ..DISTANT },
    Scenario { name: "distant-tree-16", at_once: Some(16), layout: Layout::Tree, ..DISTANT },
    Scenario { name: "distant-tree-64", at_once: Some(64), layout: Layout::Tree, ..DISTANT },
];

/// What was asked for on the command line.
struct Asked {
    /// Names, or beginnings of names.
    scenarios: Vec<String>,
    /// Keys of a bucket, if answers are not delayed.
    keys: u64,
    /// And if they are.
    distant_keys: u64,
    latency: Duration,
    /// Lines for `[Mode]`, as `MaxRetry = 5`.
    settings: Vec<String>,
    program: String,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, layout, keys, latency] = arguments.as_slice()
        && first == "serve"
    {
        let layout = if layout == "flat" { Layout::Flat } else { Layout::Tree };
        endpoint::serve(layout, keys.parse()?, Duration::from_millis(latency.parse()?));
        return Ok(());
    }
    let asked = read(&arguments)?;
    println!("{}\n{HEADER}", measure::machine());
    let mut failures = Vec::new();
    for scenario in SCENARIOS.iter().filter(|scenario| asked.wants(scenario)) {
        eprintln!("{} ...", scenario.name);
        let setup = asked.setup(scenario);
        match scenario.run(&setup) {
            Ok(outcome) => println!("{}", row(scenario, &setup, &outcome)),
            Err(error) => failures.push(format!("{}: {error}", scenario.name)),
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}

impl Asked {
    fn wants(&self, scenario: &Scenario) -> bool {
        let named = |name: &String| scenario.name.starts_with(name.as_str());
        self.scenarios.is_empty() || self.scenarios.iter().any(named)
    }

    fn setup(&self, scenario: &Scenario) -> Setup<'_> {
        let (keys, latency) = match scenario.distant {
            true => (self.distant_keys, self.latency),
            false => (self.keys, Duration::ZERO),
        };
        Setup { program: &self.program, settings: &self.settings, keys, latency }
    }
}

fn read(arguments: &[String]) -> Result<Asked> {
    let mut asked = Asked {
        scenarios: vec![],
        keys: 20_000_000,
        distant_keys: 2_000_000,
        latency: Duration::from_millis(50),
        settings: vec![],
        program: env!("CARGO_BIN_EXE_s3-migration").to_owned(),
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            // What cargo adds.
            "--bench" => {}
            "--keys" => asked.keys = value()?.parse()?,
            "--distant-keys" => asked.distant_keys = value()?.parse()?,
            "--latency" => asked.latency = Duration::from_millis(value()?.parse()?),
            "--set" => asked.settings.push(value()?.replacen('=', " = ", 1)),
            "--program" => asked.program = value()?.clone(),
            name if SCENARIOS.iter().any(|scenario| scenario.name.starts_with(name)) => {
                asked.scenarios.push(name.to_owned());
            }
            other => {
                let names = SCENARIOS.map(|scenario| scenario.name).join(", ");
                return Err(format!(
                    "{other} is not understood; scenarios: {names}, or how they begin; options: \
                     --keys N, --distant-keys N, --latency MS, --set KEY=VALUE, --program FILE"
                )
                .into());
            }
        }
    }
    Ok(asked)
}

const HEADER: &str = "\
| scenario | keys at the source | wall s | CPU-s | keys/s | keys per CPU-s | pairs per CPU-s | peak MiB | requests | most at once | first job s |
|---|---|---|---|---|---|---|---|---|---|---|";

/// Keys are those of both sides; a pair is a key of the source that both sides are asked about.
fn row(scenario: &Scenario, setup: &Setup<'_>, outcome: &Outcome) -> String {
    let Outcome { cost, stats, first_job } = outcome;
    let keys = stats.keys as f64;
    let pairs = match scenario.destination {
        Side::Empty => "-".to_owned(),
        _ => format!("{:.0}", setup.keys as f64 / cost.cpu),
    };
    format!(
        "| {} | {} | {:.1} | {:.2} | {:.0} | {:.0} | {pairs} | {} | {} | {} | {first_job:.2} |",
        scenario.name,
        setup.keys,
        cost.wall,
        cost.cpu,
        keys / cost.wall,
        keys / cost.cpu,
        cost.peak / MIB,
        stats.requests,
        stats.most_at_once,
    )
}
