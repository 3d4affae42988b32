//! Credentials, certificates, clocks and connections.
