//! The token that a request has to bring if one is set.
//!
//! Pure: texts are compared by their digests, in a time that does not depend on them.

use std::fmt;
use std::hint::black_box;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Shorter ones can be guessed.
const SHORTEST: usize = 16;

/// A token. Its text is not kept.
pub(super) struct Token {
    digest: [u8; 32],
    session: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// Of this text; `origin` says in messages where it came from, `salt` makes sessions end with
    /// this process.
    pub fn new(text: &str, origin: &str, salt: &str) -> Result<Self> {
        let text = text.trim();
        if text.len() < SHORTEST || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::usage(format!(
                "the token in {origin} cannot be used: write at least {SHORTEST} letters, digits or \
                 signs without blanks, such as those of: openssl rand -hex 32"
            )));
        }
        let session = hex::encode(digest(&["session", salt, text]));
        Ok(Self { digest: digest(&["token", text]), session })
    }

    /// Whether this is the token.
    pub fn is(&self, given: &str) -> bool {
        equal(&self.digest, &digest(&["token", given]))
    }

    /// What a browser that has shown the token brings instead of it.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// Whether this is the session.
    pub fn is_session(&self, given: &str) -> bool {
        equal(&digest(&[self.session.as_str()]), &digest(&[given]))
    }
}

fn digest(texts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text.len().to_be_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

/// Looks at every byte, wherever the first difference is.
fn equal(one: &[u8; 32], other: &[u8; 32]) -> bool {
    let differing = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_and_its_session_are_accepted() {
        let token = Token::new(" 0123456789abcdef\n", "a file", "1").unwrap();
        assert!(token.is("0123456789abcdef"));
        for wrong in ["", "0123456789abcde", "0123456789abcdeF", "0123456789abcdef0"] {
            assert!(!token.is(wrong) && !token.is_session(wrong), "{wrong}");
        }
        assert!(token.is_session(token.session()) && !token.is(token.session()));
        let later = Token::new("0123456789abcdef", "a file", "2").unwrap();
        assert!(!later.is_session(token.session()), "a session ends with its process");
        assert_eq!(format!("{token:?}"), "Token");
    }

    #[test]
    fn what_can_be_guessed_is_refused_and_not_shown() {
        for text in ["", "short", "0123456789 abcdef", "0123456789äbcdef"] {
            let error = Token::new(text, "the file t", "1").unwrap_err().to_string();
            assert!(error.contains("the file t"), "{error}");
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
    }
}
