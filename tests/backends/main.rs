//! The implementations of the traits (queues, records, parameters), each with its real server or file.
//!
//! | file | holds |
//! |---|---|
//! | `conformance.rs` | the promises of `Queue` and `RecordStore`, on every backend |
//! | `aws.rs` | the AWS adapters, for what only they do |

mod aws;
mod conformance;
