//! The embedded record: SQLite.
