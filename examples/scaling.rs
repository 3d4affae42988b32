//! How the cluster scales, played through on a model clock:
//! `cargo run --example scaling -- docs/scaling` writes a picture of each trace there, and prints the
//! tables as Markdown.

use std::path::Path;
use std::process::ExitCode;

use testkit::scaling;

fn main() -> ExitCode {
    let folder = std::env::args().nth(1);
    let results = scaling::report::all();
    print!("{}", scaling::report::markdown(&results));
    let Some(folder) = folder else { return ExitCode::SUCCESS };
    for (name, picture) in scaling::report::pictures(&results) {
        if let Err(error) = std::fs::write(Path::new(&folder).join(&name), picture) {
            eprintln!("{folder}/{name}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
