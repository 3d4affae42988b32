//! The instance metadata service of EC2, version 2 only
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html>).

use aws_config::imds::Client;
use aws_config::imds::client::error::ImdsError;

use crate::error::{Error, ErrorKind, Result};

/// What an instance can read about itself. The usual variables (`AWS_EC2_METADATA_SERVICE_ENDPOINT`
/// and others) set its address.
#[derive(Clone, Debug)]
pub struct Metadata(Client);

impl Metadata {
    /// The service, without checking that it is there; `None` if `AWS_EC2_METADATA_DISABLED` is
    /// true.
    pub fn new() -> Option<Self> {
        let disabled = std::env::var("AWS_EC2_METADATA_DISABLED").unwrap_or_default();
        // The caller polls every few seconds anyway.
        let client = || Self(Client::builder().max_attempts(1).build());
        (!disabled.eq_ignore_ascii_case("true")).then(client)
    }

    /// The text at `path` below `/latest/meta-data/`; `None`: there is none. Fails within seconds
    /// with `Unavailable` if there is no answer.
    pub async fn get(&self, path: &str) -> Result<Option<String>> {
        match self.0.get(format!("/latest/meta-data/{path}")).await {
            Ok(text) => Ok(Some(text.into())),
            Err(ImdsError::ErrorResponse(answer)) if answer.response().status().as_u16() == 404 => {
                Ok(None)
            }
            Err(error) => Err(Error::new(
                ErrorKind::Unavailable,
                format!("the instance metadata service does not return {path}: {error}"),
            )),
        }
    }
}
