//! Text for people: numbers, and escaping of what comes from outside.

pub mod escape;
pub mod human;
pub mod likeness;
