//! The fault laboratory: the real binary, and between it and the servers a proxy in which things go
//! wrong. Each test ends with the right objects, no upload left and accounts that add up.
//!
//! | file | holds |
//! |---|---|
//! | `bench.rs` | two endpoints, a proxy before each, and what must be true in the end |
//! | `proxy.rs` | the proxy itself: every fault does what its name says |
//! | `line.rs` | a bad line: errors, resets, lost answers, stalls, bodies short, long and bent |
//! | `completion.rs` | CompleteMultipartUpload and its many endings |
//! | `cloud.rs` | SQS, DynamoDB, SSM and S3 on ministack, a proxy before each |
//! | `worker.rs` | a queue and a table that go away, a clock that is off, crashes, duplicates |
//! | `stores.rs` | SSE-KMS, Object Lock, checksums, answers that are no store's |
//! | `turns.rs` | objects that take more than one turn |
//! | `history.rs` | an object with a history, and the events of it |
//! | `order.rs` | events that come late, twice, in any order and at once |
//! | `deletions.rs` | what is deleted at the source, and what is never deleted |
//! | `versions.rs` | the version switches on a source that keeps versions |
//! | `tables.rs` | versions compared with either form of the table |
//! | `credentials.rs` | credentials that expire or are rotated |
//! | `sending.rs` | the jobsender: a queue, a table or a listing that fails, a kill midway |
//! | `soak.rs` | the mix of everything, by a seed |
//! | `instance.rs` | a worker with an instance's surroundings and a limit on its memory |
//! | `fleet.rs` | nine of them; some are killed and some asked to go |
//! | `death.rs` | processes that end at any moment, sources that change at any moment |

mod bench;
mod cloud;
mod completion;
mod credentials;
mod death;
mod deletions;
mod fleet;
mod history;
mod instance;
mod line;
mod order;
mod proxy;
mod sending;
mod soak;
mod stores;
mod tables;
mod turns;
mod versions;
mod worker;
