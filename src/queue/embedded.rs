//! The embedded queue: SQLite.
