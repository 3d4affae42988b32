//! The promises of `demo::endpoint`, each asked for through the client that the product uses.

mod access;
mod headers;
mod keys;
mod listing;
mod objects;
mod support;
mod uploads;
