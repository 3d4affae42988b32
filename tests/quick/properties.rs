//! What must hold whatever comes in: of the pure decisions, and of every parser that reads what
//! others wrote.
//!
//! | file | holds |
//! |---|---|
//! | `decisions.rs` | layouts, resuming, ranges, keys, merging, the ignore list |
//! | `parsers.rs` | one function for each parser; those of `fuzz/` call them too |
//! | `sorting.rs` | the external sort against a sorted model |
//! | `inputs.rs` | what the parsers are given: good texts, bent ones, and nonsense |
//!
//! `PROPTEST_CASES=100000` tries more than the few hundred cases of an ordinary run.

mod decisions;
mod inputs;
mod parsers;
mod sorting;
