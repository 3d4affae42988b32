//! Who may read, and the headers that every answer carries.
//!
//! It decides by the headers of the request alone.

use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, HeaderMap, HeaderName,
    HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

use super::token::Token;

/// The cookie of a browser that has shown the token.
pub(super) const COOKIE_NAME: &str = "s3_migration_session";

/// What needs no token: it says no more than that a process is there, and lets a person show one.
const OPEN: &[&str] = &["/healthz", "/readyz", "/login", "/login.js", "/page.css", "/icon.svg"];

/// No scripts, styles or connections except those of this server; no text can become markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It names a host that is not this one: a page elsewhere whose name was pointed here
    /// (<https://en.wikipedia.org/wiki/DNS_rebinding>).
    WrongHost,
    /// It brings no token, or a wrong one.
    NoToken,
}

/// Whether a request for `path` may be answered. Without a token, only the name by which it asks
/// shows that it comes from somebody at this machine.
pub(super) fn check(token: Option<&Token>, headers: &HeaderMap, path: &str) -> Result<(), Refusal> {
    let Some(token) = token else {
        return if is_local(headers) { Ok(()) } else { Err(Refusal::WrongHost) };
    };
    let open = OPEN.contains(&path);
    if open || bearer(headers).is_some_and(|given| token.is(given)) || has_session(token, headers) {
        return Ok(());
    }
    Err(Refusal::NoToken)
}

/// The token that a request brings.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (kind, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    kind.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn has_session(token: &Token, headers: &HeaderMap) -> bool {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    let mut pairs =
        cookies.flat_map(|cookies| cookies.split(';')).filter_map(|c| c.split_once('='));
    pairs.any(|(name, value)| name.trim() == COOKIE_NAME && token.is_session(value.trim()))
}

/// Whether the request asks for this machine by a name that only this machine has.
fn is_local(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let is_loopback = name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    is_loopback || name.eq_ignore_ascii_case("localhost")
}

/// Adds what a browser has to know of every answer.
pub(super) fn secure(headers: &mut HeaderMap) {
    let name = HeaderName::from_static;
    for (header, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (X_FRAME_OPTIONS, "DENY"),
        (CACHE_CONTROL, "no-store"),
        (name("cross-origin-opener-policy"), "same-origin"),
        (name("cross-origin-resource-policy"), "same-origin"),
        (name("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    ] {
        headers.insert(header, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(header: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn without_a_token_only_names_of_this_machine_are_answered() {
        for host in
            ["localhost", "LocalHost:8080", "127.0.0.1:1", "127.9.9.9", "[::1]:8080", "[::1]"]
        {
            assert_eq!(check(None, &with(HOST, host), "/"), Ok(()), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "10.0.0.1:80",
            "[::2]",
            "127.0.0.1.evil.example:80",
        ] {
            assert_eq!(
                check(None, &with(HOST, host), "/healthz"),
                Err(Refusal::WrongHost),
                "{host}"
            );
        }
        assert_eq!(check(None, &HeaderMap::new(), "/"), Err(Refusal::WrongHost));
    }

    #[test]
    fn with_a_token_it_is_asked_for_whatever_the_host() {
        let token = Token::new("0123456789abcdef", "a test", "1").unwrap();
        let check = |headers: &HeaderMap, path| check(Some(&token), headers, path);
        for right in ["Bearer 0123456789abcdef", "bearer  0123456789abcdef"] {
            assert_eq!(check(&with(AUTHORIZATION, right), "/metrics"), Ok(()), "{right}");
        }
        for wrong in ["Bearer", "Bearer x", "Basic 0123456789abcdef", "0123456789abcdef"] {
            let headers = with(AUTHORIZATION, wrong);
            assert_eq!(check(&headers, "/metrics"), Err(Refusal::NoToken), "{wrong}");
        }
        let cookie = |value: &str| with(COOKIE, &format!("a=b; {COOKIE_NAME}={value}"));
        assert_eq!(check(&cookie(token.session()), "/api/events"), Ok(()));
        assert_eq!(check(&cookie("0123456789abcdef"), "/"), Err(Refusal::NoToken));
        for open in OPEN {
            assert_eq!(check(&HeaderMap::new(), open), Ok(()), "{open}");
        }
        for closed in ["/", "/metrics", "/api/state", "/page.js", "/healthz/", "//healthz"] {
            assert_eq!(check(&HeaderMap::new(), closed), Err(Refusal::NoToken), "{closed}");
        }
    }
}
