//! s3-migration: moves objects between buckets that S3 replication cannot connect, and proves it.
//!
//! Each module here is a room: one folder for what it does. No two rooms use each other, directly
//! or through others. ARCHITECTURE.md shows their layers, `just map` what each file is for.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![warn(clippy::unwrap_used)]

pub mod aws;
pub mod check;
pub mod cleanup;
pub mod cli;
pub mod commands;
pub mod compare;
pub mod config;
pub mod demo;
pub mod digest;
pub mod ec2;
pub mod error;
pub mod estimate;
pub mod failed;
pub mod files;
pub mod filter;
pub mod format;
pub mod job;
pub mod lambda;
pub mod limits;
pub mod logging;
pub mod monitor;
pub mod mutex;
pub mod object;
pub mod overview;
pub mod params;
pub mod progress;
pub mod queue;
pub mod quirk;
pub mod reason;
pub mod record;
pub mod report;
pub mod retry;
pub mod screens;
pub mod serve;
pub mod shutdown;
pub mod single_node;
pub mod sources;
pub mod sqlite;
pub mod store;
pub mod systemd;
pub mod transfer;
pub mod verify;
pub mod wiring;
pub mod worker;
