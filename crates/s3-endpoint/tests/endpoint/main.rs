//! The promises of the endpoint, each asked for through the client that the product uses.

mod access;
mod headers;
mod keys;
mod listing;
mod memory;
mod objects;
mod support;
mod uploads;
