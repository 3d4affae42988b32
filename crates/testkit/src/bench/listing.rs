//! An endpoint that makes its listings up: keys are arithmetic, so no bucket has to be filled.
//!
//! `tests/quick/listing_endpoint.rs` compares its pages with a plain sorted model.

pub mod ask;
pub mod bucket;
pub mod endpoint;
pub mod keys;
pub mod page;
