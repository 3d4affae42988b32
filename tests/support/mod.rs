//! What the integration tests share. Each test binary uses a part of it.
#![allow(dead_code, reason = "no test binary uses all of it")]

pub mod iam;
pub mod metadata;
pub mod ministack;
pub mod python;
pub mod resources;
