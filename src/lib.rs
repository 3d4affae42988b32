//! s3-migration: moves objects between buckets that S3 replication cannot connect, and proves it.
//!
//! The arrows point one way: `main` → `commands` → `jobsender`, `worker`, `run` → `transfer` → `plan`.
//! ARCHITECTURE.md tells the whole story.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![warn(clippy::unwrap_used)]

pub mod aws;
pub mod check;
pub mod cli;
pub mod commands;
pub mod config;
pub mod demo;
pub mod error;
pub mod human;
pub mod instance;
pub mod job;
pub mod jobsender;
pub mod lanes;
pub mod listing;
pub mod monitor;
pub mod object;
pub mod observe;
pub mod params;
pub mod plan;
pub mod profiles;
pub mod progress;
pub mod queue;
pub mod retry;
pub mod run;
pub mod sequencer;
pub mod services;
pub mod shown;
pub mod shutdown;
pub mod sources;
pub mod sqlite;
pub mod state;
pub mod store;
pub mod sums;
pub mod systemd;
pub mod transfer;
pub mod worker;
