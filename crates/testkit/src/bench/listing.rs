//! An endpoint with computed listings: keys are arithmetic, so no bucket has to be filled.
//!
//! `tests/quick/listing_endpoint.rs` compares its pages with a sorted list.

pub mod ask;
pub mod bucket;
pub mod endpoint;
pub mod keys;
pub mod page;
