//! Arguments, runtime, command, exit status: the only file that ends the process.

use std::process::ExitCode;

use clap::Parser;
use s3_migration::cli::Cli;
use s3_migration::commands;
use s3_migration::error::Error;
use s3_migration::format::escape::lines;
use s3_migration::lambda;

/// musl's own allocator needs more CPU: docs/benchmark.md has the figures.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // With huge pages, this allocator took five times the memory.
    #[cfg(target_env = "musl")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);

    if lambda::is_called() {
        return function();
    }
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
        Err(error) => return no_runtime(&error),
    };
    match commands::execute_on(&runtime, cli) {
        Ok(exit) => ExitCode::from(exit.status()),
        Err(error) => failed(&error),
    }
}

/// In Lambda there is no command line: the binary is the function's bootstrap.
fn function() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return no_runtime(&error),
    };
    match lambda::serve_on(&runtime) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn no_runtime(error: &std::io::Error) -> ExitCode {
    eprintln!("s3-migration: no runtime: {error}");
    ExitCode::from(3)
}

fn failed(error: &Error) -> ExitCode {
    eprintln!("s3-migration: {}", lines(&error.to_string()));
    ExitCode::from(error.kind().exit_status())
}
