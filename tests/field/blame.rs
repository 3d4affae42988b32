//! Refusals and outages: of one object, of who asks, of a side, of everything.
