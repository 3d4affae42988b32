//! The real program against servers that we did not write: jobsender and workers on SQS, DynamoDB and
//! SSM, moving objects between the S3 of two accounts. The accounts are `testkit::stage`.
//!
//! | file | holds |
//! |---|---|
//! | `door.rs` | a way to S3 that lets some bytes through and then waits |
//! | `functions.rs`, `function_jobsender.rs` | the functions of Lambda |
//! | `ledger.rs` | a way to the services that counts what they are asked |
//! | `original.rs`, `original/` | users of the original: its ini, its table, its messages, its tool |
//! | `packs.rs` | many small objects in one message: what they cost, and one that fails |
//! | `migration.rs` | a whole migration by a jobsender and two workers; JobType GET; the packed form |
//! | `events.rs` | objects that arrive by S3 event, in every form |
//! | `leaving.rs` | a worker whose instance goes |
//! | `limits.rs` | limits, pause and budget of a fleet |
//! | `handover.rs` | a worker is stopped in the middle of an object |
//! | `hybrid.rs` | functions and workers on one queue |
//! | `failed.rs` | `failed`: what it finds on record and among the dead letters, and sends again |
//! | `failures.rs` | what is no job, and jobs that cannot be done |
//! | `refusals.rs` | what is missing, wrong or not allowed, and what the user reads |
//! | `check.rs` | `check`: what it says of a sound set-up and of each fault, and its policies by trial |
//! | `report.rs` | `report` on the table, and what it costs to read the records |
//! | `serve.rs` | the page and the metrics of a fleet |
//! | `cleanup.rs` | `cleanup`: which uploads are whose, and which may be aborted |
//! | `store.rs`, `store/` | the promises of `ObjectStore`, on ministack and on the demo's endpoint |

mod check;
mod cleanup;
mod door;
mod events;
mod failed;
mod failures;
mod function_jobsender;
mod functions;
mod handover;
mod hybrid;
mod leaving;
mod ledger;
mod limits;
mod migration;
mod original;
mod packs;
mod refusals;
mod report;
mod role;
mod serve;
mod store;
