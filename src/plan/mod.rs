//! Decisions without I/O, SDK or clock.

pub mod ignore;
