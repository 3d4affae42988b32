//! What stands behind the traits: queues, records, parameters, each with the server or file that it uses.
//!
//! | file | holds |
//! |---|---|
//! | `conformance.rs` | the promises of `Queue` and `RecordStore`, on every backend |
//! | `aws.rs` | the AWS adapters, for what only they do |

mod aws;
mod conformance;
