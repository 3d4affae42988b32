//! A lease as a guard.
