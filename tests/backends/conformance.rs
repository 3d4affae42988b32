//! One suite per trait, run on every backend.
//!
//! A suite is a set of functions, one per promise, each given a fresh backend of its own. A driver
//! (`embedded` is one) makes the backends and calls `queue_suite!` or `state_suite!`. The suites ask only for what the traits promise
//! and Amazon's services keep: they accept any order, look at counts until they are right, and
//! hide messages for whole seconds.

mod support;
#[macro_use]
mod queue;
#[macro_use]
mod state;

mod aws;
mod embedded;
mod first_version;
mod processes;
