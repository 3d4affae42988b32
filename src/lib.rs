//! s3-migration: moves objects between buckets that S3 replication cannot connect, and proves it.
//!
//! The arrows point one way: `main` → `jobsender`, `worker`, `run` → `transfer` → `plan`.
//! ARCHITECTURE.md tells the whole story.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod aws;
pub mod config;
pub mod error;
pub mod human;
pub mod job;
pub mod jobsender;
pub mod listing;
pub mod monitor;
pub mod object;
pub mod observe;
pub mod params;
pub mod plan;
pub mod queue;
pub mod retry;
pub mod shutdown;
pub mod state;
pub mod store;
pub mod transfer;
pub mod worker;
