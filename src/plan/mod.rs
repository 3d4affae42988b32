//! Decisions, without I/O, SDK or clock: what is copied, how it is split, what may be trusted.

pub mod compare;
pub mod digest;
pub mod ignore;
pub mod order;
pub mod pace;
pub mod parts;
