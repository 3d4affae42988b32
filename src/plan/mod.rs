//! Decisions, without I/O, SDK or clock: what is copied, how it is split, what may be trusted, what
//! it will cost.

pub mod compare;
pub mod digest;
pub mod estimate;
pub mod histogram;
pub mod ignore;
pub mod pace;
pub mod parts;
pub mod prices;
pub mod tally;
pub mod work;
