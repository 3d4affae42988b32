//! Shared by the tests and the benchmarks.
//!
//! | module | holds |
//! |---|---|
//! | `process` | the binary as a process: start it, signal it, read its output, wait for it |
//! | `local` | the binary between two S3 endpoints of our own |
//! | `gate` | holds calls back at a known point of a process's work |
//! | `stage` | the binary between two accounts on ministack |
//! | `ministack`, `resources`, `iam` | the stand-in for AWS, the resources of a test, IAM users |
//! | `lambda` | Lambda around the binary: invocations with deadlines, freezing, the queue's poller |
//! | `metadata` | the metadata service and the autoscaling group of an EC2 instance |
//! | `proxy` | a bad network between the binary and any server |
//! | `python` | tools from the Python package index |
//! | `web` | asks the page that the binary serves |
//! | `scaling` | a simulation of how the cluster scales |
//! | `bench` | endpoints that cost next to nothing; measures a process |
//!
//! Cargo builds the binary for the tests of the main package. Nothing here depends on that package, so
//! changes to its sources do not rebuild this crate.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod bench;
pub mod gate;
pub mod iam;
pub mod lambda;
pub mod local;
pub mod metadata;
pub mod ministack;
pub mod process;
pub mod proxy;
pub mod python;
pub mod resources;
pub mod scaling;
pub mod stage;
pub mod web;
