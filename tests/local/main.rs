//! The real binary against the crate's own endpoints: what a user sees, what is asked of either
//! side, and what is left behind.

#[path = "../support/local.rs"]
#[allow(dead_code, reason = "other test binaries may use what this one does not")]
mod local;

mod crash;
mod demo;
mod objects;
mod run;
mod wrong_input;
