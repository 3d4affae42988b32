//! s3-migration: moves objects between buckets that S3 replication cannot connect, and proves it.
//!
//! The arrows point one way: `main` → `jobsender`, `worker`, `run` → `transfer` → `plan`.
//! ARCHITECTURE.md tells the whole story.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod config;
pub mod demo;
pub mod error;
pub mod job;
pub mod object;
pub mod params;
pub mod queue;
pub mod state;
pub mod store;
