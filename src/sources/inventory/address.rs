//! Where an inventory's manifest is.

use std::fmt;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::object::ObjectId;
use crate::object::is_bucket_name;

/// The address of a `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A file on this machine.
    Local(PathBuf),
    /// An object.
    Object(ObjectId),
}

impl Address {
    /// `s3://BUCKET/KEY`, with the key unencoded, or the path of a file. Fails with `Usage`.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |what: &str| {
            Error::usage(format!(
                "{text} {what}; allowed: s3://BUCKET/KEY or a path, of an inventory's manifest.json"
            ))
        };
        if text.is_empty() || text.ends_with('/') {
            return Err(wrong("names no file"));
        }
        let Some(rest) = text.strip_prefix("s3://") else {
            return Ok(Self::Local(PathBuf::from(text)));
        };
        let (bucket, key) = rest.split_once('/').ok_or_else(|| wrong("names no object"))?;
        match is_bucket_name(bucket) {
            true => Ok(Self::Object(ObjectId::new(bucket, key))),
            false => Err(wrong("names no bucket")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::Object(id) => write!(f, "s3://{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_object_or_a_file() {
        let object = Address::parse("s3://inv/a//b c/manifest.json").unwrap();
        assert_eq!(object, Address::Object(ObjectId::new("inv", "a//b c/manifest.json")));
        assert_eq!(object.to_string(), "s3://inv/a//b c/manifest.json");
        let file = Address::parse("a/manifest.json").unwrap();
        assert_eq!(file, Address::Local("a/manifest.json".into()));
        for wrong in ["", "folder/", "s3://inv", "s3://inv/", "s3:///k", "s3://in v/k"] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }
}
