//! Limits of the whole fleet: rates, pause and budget, shared by way of one board of the records.
//!
//! Every process writes its part of the board from time to time, and reads those of the others with
//! the same request. There is no coordinator: each takes the share that follows from what it reads
//! (`view`), so a process that dies stops counting once its part stands still. The commands `limit`,
//! `pause` and `resume` write one part more, the control (`control`).

use crate::record::NoteKey;

pub mod beat;
pub mod control;
pub mod detail;
pub mod fleet;
pub mod pricing;
pub mod view;

/// The part of the board that the commands write.
pub const CONTROL: &str = "control";
/// The part with the counts of processes that have ended.
pub const PAST: &str = "past";
/// What the name of a process's part begins with.
pub const MEMBER: &str = "member:";

/// What the name of a Lambda function begins with.
pub const FUNCTION: &str = "lambda-";

/// The board of the workers and jobsenders of this queue.
pub fn board_of_queue(queue: &str) -> NoteKey {
    NoteKey::new(format_args!("fleet:{queue}"))
}

/// The board of all `run`s on one SQLite file.
pub fn board_of_runs() -> NoteKey {
    NoteKey::new("fleet-of-runs")
}
