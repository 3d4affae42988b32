//! The `demo` command: a real migration between two endpoints inside the process.

pub mod endpoint;
