//! Parameters: the bucket list, the ignore list and the other account's credentials.

use std::fmt;

use async_trait::async_trait;

use crate::error::Result;

pub mod ssm;

/// Where parameters are kept.
#[async_trait]
pub trait ParameterStore: Send + Sync + fmt::Debug {
    /// The parameter's value, decrypted; `None` where there is no such parameter.
    async fn get(&self, name: &str) -> Result<Option<String>>;
}
