//! Listings that end early, repeat keys, or are written in another way.
