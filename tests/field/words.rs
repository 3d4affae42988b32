//! Events, notes of what was sent, and what is printed.
