//! The real binary between stores that others wrote: started here, on loopback, each a row of what it can keep.
//!
//! | file | holds |
//! |---|---|
//! | `rows.rs` | the table: what each server does in another way than Amazon S3 |
//! | `matrix.rs` | sizes, keys, headers, second runs, checks, between every two of them |
//! | `resume.rs` | killed in the middle of an object, and gone on with |
//! | `versions.rs` | stores that keep versions |
//! | `tls.rs` | a pair over TLS: the right authority, the wrong one, none |
//! | `bulk.rs` | many small objects, more than a page has |
//! | `queue.rs` | jobsender and workers on ElasticMQ |
//! | `lambda.rs` | functions under AWS's own emulator of Lambda's runtime |
//! | `page.rs`, `page.py` | the page of a run, driven in a browser |
//! | `harness.rs` | a line for each case, also for what could not run here |
//! | `tools.rs` | the servers' programs: pinned, built or fetched once |
//! | `servers.rs` | the servers as processes |
//! | `client.rs` | a client that shares nothing with the product's |
//! | `objects.rs` | what is moved, and what must be there afterwards |
//! | `stage.rs` | two buckets and the binary between them |
//!
//! Go builds three of them, Maven fetches two, Python's package index has the others and what drives the
//! browser. Without Go, Java or Chromium the cases that need them are named as not run; in CI, and with `S3_MIGRATION_INTEROP=required`, that is a
//! failure.

mod bulk;
mod client;
mod harness;
mod lambda;
mod matrix;
mod objects;
mod page;
mod queue;
mod resume;
mod rows;
mod servers;
mod stage;
mod tls;
mod tools;
mod versions;

use std::process::ExitCode;
use std::sync::Arc;

use servers::Servers;

#[tokio::main]
async fn main() -> ExitCode {
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|set| set == value);
    let must_run = is("CI", "true") || is("S3_MIGRATION_INTEROP", "required");
    // Where and what, without the trace of a runtime.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let servers = Arc::new(Servers::default());
    let mut cases = matrix::cases(&servers);
    for more in [resume::cases, versions::cases, tls::cases, bulk::cases, queue::cases] {
        cases.extend(more(&servers));
    }
    cases.extend(page::cases());
    cases.extend(lambda::cases());
    let asked = harness::Asked::of(std::env::args().skip(1));
    harness::run(cases, &asked, must_run).await
}
