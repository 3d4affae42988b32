//! Text for people: numbers, and what comes from outside, escaped.

pub mod escape;
pub mod human;
