//! What needs no server but the one in `crates/s3-endpoint`: `just quick` runs it, with the unit tests.
//!
//! | file | holds |
//! |---|---|
//! | `architecture.rs` | no cycle of rooms, files that call themselves pure, which crates a room may name |
//! | `config.rs` | the configuration and the shipped ini |
//! | `docs.rs` | the documents against the sources and the binary |
//! | `evidence.rs` | the tests that documents name for their statements exist |
//! | `listing_endpoint.rs` | the benchmark's listings against a plain sorted model |
//! | `page.rs` | the files of the page: nothing from elsewhere, the vendored library unchanged |
//! | `properties.rs` | the pure decisions and every parser, for generated input |
//! | `sources.rs` | inventories as S3 writes them, whole, damaged and over a bad network; their memory |

mod architecture;
mod config;
mod docs;
mod evidence;
mod listing_endpoint;
mod page;
mod properties;
mod sources;
