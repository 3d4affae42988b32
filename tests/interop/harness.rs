//! Cases one after the other, each a line: what ran, what failed, and what could not run here and why. Cargo
//! hides what a passing test prints, so this binary has no harness of libtest's; it ends with the same last line.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Instant;

use futures_util::FutureExt;

use crate::tools::Missing;

/// What a case comes to when it does not panic.
pub type Outcome = Result<(), Missing>;
type Running = Pin<Box<dyn Future<Output = Outcome>>>;

/// A case: its name and what it does.
pub struct Case {
    name: String,
    run: Box<dyn FnOnce() -> Running>,
}

impl Case {
    /// The case `name`.
    pub fn new<F>(name: impl Into<String>, run: impl FnOnce() -> F + 'static) -> Self
    where
        F: Future<Output = Outcome> + 'static,
    {
        Self { name: name.into(), run: Box::new(|| Box::pin(run())) }
    }
}

/// What the command line asks for, as libtest understands it.
#[derive(Default)]
pub struct Asked {
    filters: Vec<String>,
    is_exact: bool,
    lists: bool,
}

impl Asked {
    /// Reads the arguments; what only libtest knows is passed over.
    pub fn of(arguments: impl Iterator<Item = String>) -> Self {
        let mut asked = Self::default();
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--exact" => asked.is_exact = true,
                "--list" => asked.lists = true,
                "--test-threads" | "--format" | "--color" | "--skip" | "-Z" | "--logfile" => {
                    arguments.next();
                }
                option if option.starts_with('-') => {}
                filter => asked.filters.push(filter.to_owned()),
            }
        }
        asked
    }

    fn wants(&self, name: &str) -> bool {
        let fits = |filter: &String| match self.is_exact {
            true => name == filter,
            false => name.contains(filter.as_str()),
        };
        self.filters.is_empty() || self.filters.iter().any(fits)
    }
}

/// Runs the cases that are asked for. A case whose tool is missing fails if `must_run`.
pub async fn run(cases: Vec<Case>, asked: &Asked, must_run: bool) -> ExitCode {
    let all = cases.len();
    let wanted: Vec<Case> = cases.into_iter().filter(|case| asked.wants(&case.name)).collect();
    if asked.lists {
        wanted.iter().for_each(|case| println!("{}: test", case.name));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", wanted.len());
    let started = Instant::now();
    let (filtered, mut passed, mut failed, mut not_run) = (all - wanted.len(), 0, Vec::new(), 0);
    for Case { name, run } in wanted {
        let begun = Instant::now();
        // A panic is this case's alone.
        let ended = AssertUnwindSafe(run()).catch_unwind().await;
        let took = begun.elapsed().as_secs_f32();
        match ended {
            Ok(Ok(())) => {
                passed += 1;
                println!("test {name} ... ok ({took:.1}s)");
            }
            Ok(Err(Missing(why))) if !must_run => {
                not_run += 1;
                println!("test {name} ... ignored, not run: {why}");
            }
            Ok(Err(Missing(why))) => {
                println!("test {name} ... FAILED, it must run here: {why}");
                failed.push(name);
            }
            Err(_) => {
                println!("test {name} ... FAILED ({took:.1}s)");
                failed.push(name);
            }
        }
    }
    if !failed.is_empty() {
        println!("\nfailures:\n    {}", failed.join("\n    "));
    }
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {} failed; {not_run} ignored; 0 measured; \
         {filtered} filtered out; finished in {:.2}s\n",
        failed.len(),
        started.elapsed().as_secs_f32()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
