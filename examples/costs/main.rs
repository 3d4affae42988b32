//! What single pieces of the product cost: `cargo run --release --example costs -- PIECE`.
//!
//! | piece | measures |
//! |---|---|
//! | `hot_path [WAY]` | the calls that move bytes, on our own HTTP and by the SDK |
//! | `lanes [MIB_PER_SECOND]` | MD5 of several streams at once |
//! | `patterns` | the ignore list, for each key |
//! | `queue [JOBS]` | the embedded queue |
//!
//! One program, so that `cargo test` links it once.

mod hot_path;
mod lanes;
mod patterns;
mod queue;

use s3_migration::error::{Error, Result};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let piece = arguments.next().unwrap_or_default();
    let argument = arguments.next();
    match piece.as_str() {
        "hot_path" => hot_path::run(argument)?,
        "lanes" => lanes::run(argument),
        "patterns" => patterns::run(),
        "queue" => queue::run(argument)?,
        _ => return Err(Error::usage("name a piece: hot_path, lanes, patterns or queue")),
    }
    Ok(())
}
