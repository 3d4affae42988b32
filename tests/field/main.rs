//! Stores and set-ups as the field reports them: the real binary against small servers that each have
//! one habit which somebody met.
//!
//! | file | holds |
//! |---|---|
//! | `store.rs` | an S3 in memory whose answers a test can replace or change |
//! | `http.rs` | its HTTP, written byte by byte, so that answers may be as odd as stores' are |
//! | `stage.rs` | the binary in a folder of its own, between the two buckets of one such store |
//! | `plain.rs` | the store itself, without a habit |
//! | `listing.rs` | listings that end early, repeat keys, or are written in another way |
//! | `proof.rs` | bytes, ETags and parts that are not what they are said to be |
//! | `proof_again.rs` | parts that are damaged on the way, found late, or continued by another attempt |
//! | `blame.rs` | refusals and outages: of one object, of who asks, of a side, of everything |
//! | `broken.rs` | `check` on set-ups that a store refuses |
//! | `stores.rs` | bodies, lengths, redirects and refusals that a store has in its own way |
//! | `uploads.rs` | answers about uploads and their parts that are cut, refused, or of another form |
//! | `refused_headers.rs` | headers that a store refuses |
//! | `kept.rs` | metadata and tags that a side drops, cannot send, or does not count |
//! | `sums.rs` | checksums that the source keeps of its objects |
//! | `wire.rs` | credentials, certificates, clocks and connections |
//! | `interop.rs` | what the servers of `tests/interop/` were seen to do |
//! | `words.rs` | events, notes of what was sent, and what is printed |

#[allow(dead_code, reason = "each habit needs a part of it")]
mod http;
#[allow(dead_code, reason = "each habit needs a part of it")]
mod stage;
#[allow(dead_code, reason = "each habit needs a part of it")]
mod store;

mod blame;
mod broken;
mod interop;
mod kept;
mod listing;
mod plain;
mod proof;
mod proof_again;
mod refused_headers;
mod stores;
mod sums;
mod uploads;
mod wire;
mod words;
