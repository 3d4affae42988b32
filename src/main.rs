//! Arguments, runtime, command, exit status: the only file that ends the process.

use std::process::ExitCode;

use clap::Parser;
use s3_migration::cli::Cli;
use s3_migration::commands;
use s3_migration::format::escape::lines;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(unusable) => {
            // Also --help and --version, which are not errors. A closed pipe changes nothing.
            let _ = unusable.print();
            return ExitCode::from(if unusable.use_stderr() { 2 } else { 0 });
        }
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("s3-migration: no runtime: {error}");
            return ExitCode::from(3);
        }
    };
    match commands::execute_on(&runtime, cli) {
        Ok(exit) => ExitCode::from(exit.status()),
        Err(error) => {
            eprintln!("s3-migration: {}", lines(&error.to_string()));
            ExitCode::from(error.kind().exit_status())
        }
    }
}
