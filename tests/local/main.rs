//! The real binary against the crate's own endpoints: what a user sees, what is asked of either
//! side, and what remains of it.

mod check;
mod cleanup;
mod comparing;
mod crash;
mod demo;
mod estimate;
mod failed;
mod faults;
mod fleet_status;
mod help;
mod limits;
mod logs;
mod objects;
mod original;
mod origins;
mod pace;
mod packs;
mod proofs;
mod report;
mod run;
mod serve;
mod serve_token;
mod sides;
mod status;
mod terminal;
mod unmatched;
mod verify;
mod wrong_input;
