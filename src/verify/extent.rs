//! Which objects are looked at more closely than their listings allow.
//!
//! Pure: a sample follows from the keys.

use std::fmt;

use crate::digest;
use crate::format::escape::shown;

/// How many objects are looked at, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Every object.
    All,
    /// No object.
    None,
    /// One object in this many, chosen by its key: the same ones whenever it is asked.
    OneIn(u64),
    /// Every object whose key at the source begins with this.
    Prefix(String),
}

impl Extent {
    /// Reads `all`, `none`, a number from 1, or a prefix.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match (text, text.parse()) {
            ("all", _) | (_, Ok(1)) => Ok(Self::All),
            ("none", _) => Ok(Self::None),
            ("", _) => Err("is empty: write all, none, a number or a prefix"),
            (_, Ok(0)) => Err("is 0: write none"),
            (_, Ok(number)) => Ok(Self::OneIn(number)),
            (prefix, Err(_)) => Ok(Self::Prefix(prefix.to_owned())),
        }
    }

    /// Whether the object with this key at the source is among them.
    pub fn takes(&self, key: &str) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::OneIn(number) => digest::lasting_id([key]).is_multiple_of(*number),
            Self::Prefix(prefix) => key.starts_with(prefix.as_str()),
        }
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::None => f.write_str("none"),
            Self::OneIn(number) => write!(f, "1 in {number}"),
            Self::Prefix(prefix) => write!(f, "keys that begin with {}", shown(prefix)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extent_is_all_none_a_share_or_a_prefix() {
        let prefix = |text: &str| Extent::Prefix(text.to_owned());
        for (text, expected, said) in [
            ("all", Extent::All, "all"),
            ("1", Extent::All, "all"),
            ("none", Extent::None, "none"),
            ("100", Extent::OneIn(100), "1 in 100"),
            ("2024/", prefix("2024/"), "keys that begin with 2024/"),
            ("-1", prefix("-1"), "keys that begin with -1"),
        ] {
            let extent = Extent::parse(text).unwrap();
            assert_eq!((&extent, extent.to_string().as_str()), (&expected, said), "{text}");
        }
        assert!(Extent::parse("").is_err() && Extent::parse("0").is_err());
    }

    #[test]
    fn a_share_is_near_its_rate_and_always_the_same() {
        let taken = || (0..10_000).filter(|n| Extent::OneIn(100).takes(&format!("k/{n}")));
        assert!((50..200).contains(&taken().count()), "{}", taken().count());
        assert!(taken().eq(taken()));
        assert!(Extent::Prefix("a/".into()).takes("a/b") && !Extent::None.takes("a/b"));
        assert!(!Extent::Prefix("a/".into()).takes("a"));
    }
}
