//! Decisions, without I/O, SDK or clock: what is copied, how it is split, what may be trusted, what
//! it will cost.

pub mod alive;
pub mod blame;
pub mod checks;
pub mod compare;
pub mod digest;
pub mod estimate;
pub mod filter;
pub mod histogram;
pub mod kept;
pub mod keyspace;
pub mod leaving;
pub mod order;
pub mod pace;
pub mod parts;
pub mod patterns;
pub mod policy;
pub mod prices;
pub mod ranges;
pub mod tags;
pub mod tally;
pub mod work;
