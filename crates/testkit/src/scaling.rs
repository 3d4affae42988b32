//! Simulates how the cluster of the template scales. Only `policy.rs` repeats what the template says;
//! `tests/deploy/scaling.rs` compares the two.
//!
//! | file | holds |
//! |---|---|
//! | `policy.rs` | the template's policies, the original's, and their decisions |
//! | `trace.rs` | when messages arrive, and when EC2 takes instances away |
//! | `queue.rs` | messages: waiting, in flight, returned |
//! | `fleet.rs` | instances and the jobs on them |
//! | `simulation.rs` | runs a policy on a trace, second by second |
//! | `report.rs`, `picture.rs` | tables and pictures |

pub mod fleet;
pub mod picture;
pub mod policy;
pub mod queue;
pub mod report;
pub mod simulation;
pub mod trace;
