//! The address on which a process serves: a text in, an address out.

use std::net::SocketAddr;

/// What is allowed, for messages.
pub const ALLOWED: &str =
    "an IP address and a port like 127.0.0.1:8080, [::1]:8080 or 0.0.0.0:9100";

/// The address that a text means; `localhost` is 127.0.0.1, and port 0 any free one.
pub fn listen_address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::from(([127, 0, 0, 1], port.parse().ok()?))),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port() {
        let parsed = |text| listen_address(text).map(|address| address.to_string());
        for (text, address) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("localhost:0", "127.0.0.1:0"),
            ("[::1]:9100", "[::1]:9100"),
        ] {
            assert_eq!(parsed(text).as_deref(), Some(address));
        }
        for wrong in
            ["", "8080", ":8080", "127.0.0.1", "example.com:80", "localhost:x", "1.2.3.4:99999"]
        {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }
}
