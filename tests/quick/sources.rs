//! Inventories as S3 writes them, made here, and read as the product reads them.
//!
//! | file | holds |
//! |---|---|
//! | `make.rs` | inventories in CSV and Parquet, in S3's folders |
//! | `rows.rs` | which objects an inventory gives, and how |
//! | `refusals.rs` | damaged, incomplete and unfit ones |
//! | `remote.rs` | the same in a bucket, over a bad line |
//! | `memory.rs` | how much memory many rows take |

mod make;
mod memory;
mod refusals;
mod remote;
mod rows;
