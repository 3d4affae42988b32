//! What the benchmarks share: endpoints that cost nothing, in a process of their own, and what a
//! process costs.

pub mod listing;
pub mod measure;
pub mod null_endpoint;
pub mod served;
