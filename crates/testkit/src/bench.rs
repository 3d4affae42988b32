//! Shared by the benchmarks: endpoints that cost next to nothing, in a separate process, and
//! measurements of a process.

pub mod listing;
pub mod measure;
pub mod null_endpoint;
pub mod served;
