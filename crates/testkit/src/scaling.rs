//! The scaling of the cluster's template, played through. What the template says stands in `policy.rs`
//! and nowhere else; `tests/deploy/scaling.rs` compares the two.
//!
//! | file | holds |
//! |---|---|
//! | `policy.rs` | the template's policy, the original's, and what they decide |
//! | `trace.rs` | what arrives, and what EC2 takes away |
//! | `queue.rs` | messages: waiting, in work, come back |
//! | `fleet.rs` | instances and the jobs on them |
//! | `simulation.rs` | a policy against a trace, second by second |
//! | `report.rs`, `picture.rs` | tables and pictures |

pub mod fleet;
pub mod picture;
pub mod policy;
pub mod queue;
pub mod report;
pub mod simulation;
pub mod trace;
