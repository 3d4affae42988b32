//! What the tests and the benchmarks share.
//!
//! | module | holds |
//! |---|---|
//! | `process` | the binary as a process: started, signalled, listened to and waited for |
//! | `local` | the binary between two endpoints of our own |
//! | `gate` | holds calls back, so that a test knows how far a process has got |
//! | `stage` | the binary between two accounts on ministack |
//! | `ministack`, `resources`, `iam` | the stand-in for AWS, what a test makes in it, its users |
//! | `metadata` | an EC2 instance's surroundings |
//! | `proxy` | a bad network between the binary and any server |
//! | `python` | tools from the Python package index |
//! | `scaling` | how the cluster scales, on a model clock |
//! | `bench` | endpoints that cost nothing, and what a process costs |
//!
//! The binary is the one that cargo has built for the tests of the main package; nothing here depends on
//! that package, so a change of its sources does not build this crate again.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod bench;
pub mod gate;
pub mod iam;
pub mod local;
pub mod metadata;
pub mod ministack;
pub mod process;
pub mod proxy;
pub mod python;
pub mod resources;
pub mod scaling;
pub mod stage;
